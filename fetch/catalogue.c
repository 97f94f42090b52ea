#include "config.h"

#include "fetch/catalogue.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/conf.h"
#include "base/io.h"
#include "base/path.h"
#include "fetch/url.h"

enum column { MODEL, URL, DIGEST, WHAT, DEFAULT, ABOUT, CACHED_AS, COLUMNS };

static const char *const column_name[COLUMNS] = {
	[MODEL] = "model",
	[URL] = "url",
	[DIGEST] = "digest",
	[WHAT] = "what",
	[DEFAULT] = "default",
	[ABOUT] = "about",
	[CACHED_AS] = "cached-as",
};

struct reading {
	struct fetch_catalogue *c;
	const char *const *bases;
	enum column order[COLUMNS];	/* of the fields of a line */
	unsigned n;			/* 0: no line has named them yet */
	struct map seen, seen_dirs;	/* paths and models of this text */
	struct error *why;
};

static void row_free(struct fetch_catalogue_row *r)
{
	if (!r)
		return;
	free(r->path);
	free(r->tail);
	free(r->what);
	free(r->cached_as);
	free(r);
}

void fetch_catalogue_done(struct fetch_catalogue *c)
{
	struct fetch_catalogue_row *r;

	while ((r = c->list)) {
		c->list = r->next;
		row_free(r);
	}
	map_done(&c->rows);
	map_done(&c->dirs);
	*c = (struct fetch_catalogue){ 0 };
}

/* ---- one line ---- */

static int header(struct reading *g, char *line)
{
	bool has[COLUMNS] = { false };
	const char *name;

	while ((name = strsep(&line, "\t"))) {
		unsigned i = 0;

		while (i < COLUMNS && strcmp(column_name[i], name) != 0)
			i++;
		if (i == COLUMNS)
			return error_set(g->why, -EINVAL,
				"there is no column \"%.40s\"", name);
		if (has[i])
			return error_set(g->why, -EINVAL,
				"column \"%s\" comes twice", name);
		has[i] = true;
		g->order[g->n++] = (enum column)i;
	}
	return has[URL] ? 0 : error_set(g->why, -EINVAL,
		"there is no column \"url\"");
}

/* Bytes that stand for themselves in an address and in a file's name. */
static bool plain(const char *s)
{
	for (; *s; s++)
		if (!isascii((unsigned char)*s) ||
		    !(isalnum((unsigned char)*s) || strchr("-._~/+@", *s)))
			return false;
	return true;
}

static int take_url(struct reading *g, struct fetch_catalogue_row *r,
	const char *url)
{
	for (unsigned i = 0; g->bases[i]; i++) {
		size_t n = strlen(g->bases[i]);

		if (strncmp(url, g->bases[i], n) || url[n] != '/')
			continue;
		if (!plain(url + n + 1) || !path_rel_ok(url + n + 1))
			break;
		r->base = i;
		r->tail = strdup(url + n + 1);
		return r->tail ? 0 : -ENOMEM;
	}
	return error_set(g->why, -EINVAL, "\"%.200s\" is no address below %s",
		url, g->bases[0]);
}

static int take_digest(struct reading *g, struct fetch_catalogue_row *r,
	const char *text)
{
	static const struct { const char *name; enum objid_alg alg; } algs[] = {
		{ "sha256:", OBJID_SHA256 }, { "md5:", OBJID_MD5 },
	};

	for (size_t i = 0; i < sizeof(algs) / sizeof(*algs); i++) {
		size_t n = strlen(algs[i].name);

		if (!strncmp(text, algs[i].name, n) &&
		    !objid_parse(algs[i].alg, text + n, &r->id))
			return 0;
	}
	return error_set(g->why, -EINVAL,
		"\"%.80s\" is neither sha256:HEX nor md5:HEX", text);
}

static int take_about(struct reading *g, struct fetch_catalogue_row *r,
	const char *text)
{
	if (strspn(text, "0123456789") != strlen(text) ||
	    conf_parse_size(text, &r->about))
		return error_set(g->why, -EINVAL,
			"\"%.40s\" is no number of bytes", text);
	return 0;
}

static int take_name(struct reading *g, const char *text, char **ret)
{
	if (!path_name_ok(text, strlen(text)))
		return error_set(g->why, -EINVAL,
			"\"%.80s\" can name no file", text);
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int take(struct reading *g, struct fetch_catalogue_row *r,
	enum column c, const char *text, char **model)
{
	if (!strcmp(text, "-"))
		return c == URL ? error_set(g->why, -EINVAL, "no address") : 0;
	switch (c) {
	case MODEL:
		return take_name(g, text, model);
	case URL:
		return take_url(g, r, text);
	case DIGEST:
		return take_digest(g, r, text);
	case WHAT:
		r->what = strdup(text);
		return r->what ? 0 : -ENOMEM;
	case DEFAULT:
		r->preferred = !strcmp(text, "yes");
		return r->preferred ? 0 : error_set(g->why, -EINVAL,
			"default is \"yes\" or \"-\", not \"%.40s\"", text);
	case ABOUT:
		return take_about(g, r, text);
	case CACHED_AS:
		return take_name(g, text, &r->cached_as);
	case COLUMNS:
		break;
	}
	return -EINVAL;
}

static int fill(struct reading *g, struct fetch_catalogue_row *r, char *line)
{
	cleanup_free char *model = NULL;
	const char *field;
	unsigned n = 0;
	int err = 0;

	while (!err && (field = strsep(&line, "\t"))) {
		if (n == g->n)
			return error_set(g->why, -EINVAL,
				"more than %u fields", g->n);
		err = *field ? take(g, r, g->order[n++], field, &model) :
			error_set(g->why, -EINVAL,
				"an empty field (\"-\" is nothing)");
	}
	if (err)
		return err;
	if (n < g->n)
		return error_set(g->why, -EINVAL, "%u fields instead of %u", n,
			g->n);
	r->path = path_join(model ? model : "", path_base(r->tail));
	return r->path ? 0 : -ENOMEM;
}

/* A name cannot be a file and a model with files. dir: "" is none. */
static bool clashes(const struct map *files, const struct map *dirs,
	const char *path, const char *dir)
{
	return map_get(dirs, path) || (*dir && map_get(files, dir));
}

static int note(struct map *files, struct map *dirs, const char *path,
	const char *dir, void *value)
{
	int err = *dir ? map_put(dirs, dir, dirs, NULL) : 0;

	return err ? err : map_put(files, path, value, NULL);
}

/* r is taken over, also on failure. */
static int keep(struct reading *g, struct fetch_catalogue_row *r)
{
	struct fetch_catalogue *c = g->c;
	const char *slash = strchr(r->path, '/');
	cleanup_free char *dir = strndup(r->path, slash ?
		(size_t)(slash - r->path) : 0);
	int err = dir ? 0 : -ENOMEM;

	if (!err && map_get(&g->seen, r->path))
		err = error_set(g->why, -EINVAL, "%s comes twice", r->path);
	else if (!err && clashes(&g->seen, &g->seen_dirs, r->path, dir))
		err = error_set(g->why, -EINVAL, "%s would be a file and a "
			"directory", *dir && map_get(&g->seen, dir) ? dir :
			r->path);
	if (!err)
		err = note(&g->seen, &g->seen_dirs, r->path, dir, g);
	if (!err && (map_get(&c->rows, r->path) ||
	    clashes(&c->rows, &c->dirs, r->path, dir))) {
		row_free(r);
		return 0;
	}
	if (!err)
		err = note(&c->rows, &c->dirs, r->path, dir, r);
	if (err) {
		row_free(r);
		return err;
	}
	r->next = c->list;
	c->list = r;
	return 0;
}

static int read_line(struct reading *g, const char *text, size_t len)
{
	struct fetch_catalogue_row *r;
	char line[CATALOGUE_LINE_MAX];
	int err;

	if (len && text[len - 1] == '\r')
		len--;
	if (!len || text[0] == '#')
		return 0;
	if (len >= sizeof(line))
		return error_set(g->why, -EINVAL, "longer than %u bytes",
			CATALOGUE_LINE_MAX);
	if (memchr(text, '\0', len))
		return error_set(g->why, -EINVAL, "not text");
	memcpy(line, text, len);
	line[len] = '\0';
	if (!g->n)
		return header(g, line);
	r = calloc(1, sizeof(*r));
	err = r ? fill(g, r, line) : -ENOMEM;
	if (err) {
		row_free(r);
		return err;
	}
	return keep(g, r);
}

int fetch_catalogue_read(struct fetch_catalogue *c, const char *name,
	const char *text, size_t len, const char *const *bases,
	struct error *why)
{
	struct error mine = { 0 };
	struct reading g = { .c = c, .bases = bases, .why = &mine };
	const char *end = text + len;
	unsigned number = 0;
	int err = 0;

	while (!err && text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));

		if (!stop)
			stop = end;
		number++;
		err = read_line(&g, text, (size_t)(stop - text));
		text = stop + 1;
	}
	map_done(&g.seen);
	map_done(&g.seen_dirs);
	return err ? error_set(why, err, "%s:%u: %s", name, number,
		error_text(&mine, err)) : 0;
}

/* ---- where they lie ---- */

static bool is_absent(int err)
{
	return err == -ENOENT || err == -ENOTDIR;
}

static int read_file(struct fetch_catalogue *c, const char *path,
	const char *const *bases, struct error *why)
{
	struct buf text cleanup_buf = BUF_INIT(CATALOGUE_BYTES_MAX);
	int err = io_read_file(AT_FDCWD, path, &text);

	if (is_absent(err))
		return err;
	if (err)
		return error_set(why, err, "%s: %s", path,
			error_text(NULL, err));
	return text.len ? fetch_catalogue_read(c, path,
		(const char *)text.data, text.len, bases, why) : 0;
}

/* dir/catalogues/kind.tsv; dir is freed. */
static int read_place(struct fetch_catalogue *c, char *dir, const char *kind,
	const char *const *bases, struct error *why)
{
	cleanup_free char *path = NULL;
	int err;

	if (dir && asprintf(&path, "%s/catalogues/%s.tsv", dir, kind) < 0)
		path = NULL;
	free(dir);
	if (!path)
		return error_set(why, -ENOMEM, "out of memory");
	err = read_file(c, path, bases, why);
	return is_absent(err) ? 0 : err;
}

int fetch_catalogue_load(struct fetch_catalogue *c, const char *kind,
	const char *endpoint, const char *const *bases, struct error *why)
{
	cleanup_free char *root = NULL, *path = NULL;
	int err = -ENOENT;

	if (fetch_url_is_file(endpoint)) {
		err = fetch_url_file_path(endpoint, &root);
		if (err)
			return error_set(why, err, "%s is no place on this "
				"disk", endpoint);
		path = path_join(root, "catalogue.tsv");
		err = path ? read_file(c, path, bases, why) :
			error_set(why, -ENOMEM, "out of memory");
	}
	if (!is_absent(err))
		return err;
	err = read_place(c, conf_own_dir(), kind, bases, why);
	if (!err)
		err = read_place(c, strdup(conf_datadir()), kind, bases, why);
	return err;
}

/* ---- what is in them ---- */

const struct fetch_catalogue_row *fetch_catalogue_find(
	const struct fetch_catalogue *c, const char *path)
{
	return map_get(&c->rows, path);
}

int fetch_catalogue_list(const struct fetch_catalogue *c,
	struct listing *ret)
{
	struct listing l = { 0 };
	int err = 0;

	for (const struct fetch_catalogue_row *r = c->list; r && !err;
			r = r->next)
		err = listing_add(&l, r->path, LISTING_FILE,
			LISTING_SIZE_UNKNOWN, &r->id);
	if (err) {
		listing_done(&l);
		return err;
	}
	listing_sort(&l);
	*ret = l;
	return 0;
}
