/*
 * The lock file as text: one fact a line, in an order that depends on the
 * facts alone, so that two of them can be compared by diff. A path is the rest
 * of its line; no path that passes listing_add() has a line end in it.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "fs/lock.h"
#include "fs/name.h"

#define LINE_MAX_BYTES 8192
#define YEAR_MAX 9999

/* ---- reading ------------------------------------------------------------------- */

struct reading {
	struct fs_lock *lock;
	struct fs_lock_model *model;	/* of the lines that come, or NULL */
	const char *file;
	unsigned line;
	bool version, end;		/* were seen */
	struct error *why;
};

static int bad(struct reading *r, const char *what)
{
	return error_set(r->why, -EINVAL, "%s: line %u: %s", r->file, r->line,
		what);
}

/* What a function of lock.c returned, in words. */
static int told(struct reading *r, int err, const char *twice)
{
	if (!err)
		return 0;
	if (err == -EEXIST)
		return bad(r, twice);
	if (err == -EFBIG)
		return bad(r, "too many of them");
	if (err == -EINVAL)
		return bad(r, "no path or size that a file can have");
	return error_set(r->why, err, "out of memory");
}

/* The next word of *at, cut off; NULL: there is none. */
static char *word(char **at)
{
	char *w = *at;
	size_t n = strcspn(w, " ");

	if (!n)
		return NULL;
	*at = w + n;
	if (**at)
		*(*at)++ = '\0';
	return w;
}

/* "HUB REPO[@REV]" → three strings, in place; rev into `last`. */
static int name_of(char *text, char **ret_hub, char **ret_repo,
	struct fs_name *last)
{
	char *hub = word(&text), *base;

	if (!hub || !path_rel_ok(hub))
		return -EINVAL;
	*ret_hub = hub;
	*ret_repo = text;
	base = strrchr(text, '/');
	base = base ? base + 1 : text;
	if (fs_name_split(base, last))
		return -EINVAL;
	strcpy(base, last->base);
	return path_rel_ok(text) ? 0 : -EINVAL;
}

static int close_model(struct reading *r)
{
	struct fs_lock_model *m = r->model;
	struct error why = { 0 };

	if (!m)
		return 0;
	r->model = NULL;
	listing_sort(&m->files);
	listing_sort(&m->found);
	if (!m->n_names)
		(void) error_set(&why, -EINVAL, "has no name");
	else if (m->files.refused)
		(void) error_set(&why, -EINVAL,
			"has files that cannot stand beside each other");
	if (!why.code)
		return 0;
	return error_set(r->why, why.code, "%s: line %u: the model %s",
		r->file, m->line, why.text);
}

static int read_model(struct reading *r, char *rest)
{
	struct fs_name last;
	char *hub, *repo;
	int err = close_model(r);

	if (err)
		return err;
	if (name_of(rest, &hub, &repo, &last) || !*last.rev)
		return bad(r, "not HUB REPOSITORY@REVISION");
	err = fs_lock_model_add(r->lock, hub, repo, last.rev, &r->model);
	if (!err)
		r->model->line = r->line;
	return told(r, err, "this revision has a place already");
}

static int read_name(struct reading *r, char *rest)
{
	struct fs_name last;
	char *hub, *repo;

	if (name_of(rest, &hub, &repo, &last))
		return bad(r, "not HUB REPOSITORY[@REVISION]");
	if (strcmp(hub, r->model->is.hub))
		return bad(r, "not of the hub of this model");
	return told(r, fs_lock_name_add(r->lock, r->model, hub, repo, last.rev),
		"this name is bound to another revision above");
}

static int read_date(struct reading *r, char *rest)
{
	struct tm tm = { 0 };
	char *end = strptime(rest, "%Y-%m-%dT%H:%M:%SZ", &tm);
	time_t t = end && !*end ? timegm(&tm) : -1;

	if (t < 0 || tm.tm_year + 1900 > YEAR_MAX)
		return bad(r, "not a date such as 2024-02-19T11:06:12Z");
	r->model->mtime = t;
	return 0;
}

static int read_digest(char *text, struct objid *ret)
{
	static const enum objid_alg algs[] = { OBJID_SHA256, OBJID_GITSHA1,
		OBJID_MD5 };
	char *hex = strchr(text, ':');

	if (!hex)
		return -EINVAL;
	*hex++ = '\0';
	for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
		if (!strcmp(text, objid_alg_name(algs[i])))
			return objid_parse(algs[i], hex, ret);
	return -EINVAL;
}

/* "-", "ALG:HEX", "-,sha256:HEX" or "ALG:HEX,sha256:HEX". */
static int read_digests(char *text, struct objid *hub, struct objid *found)
{
	char *second = strchr(text, ',');

	*hub = *found = (struct objid){ .alg = OBJID_NONE };
	if (second)
		*second++ = '\0';
	if (strcmp(text, "-") && read_digest(text, hub))
		return -EINVAL;
	if (!second)
		return 0;
	if (read_digest(second, found) || !objid_is_sha256(found) ||
		objid_is_sha256(hub))
		return -EINVAL;
	return 0;
}

static int read_size(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (!strcmp(text, "-")) {
		*ret = LISTING_SIZE_UNKNOWN;
		return 0;
	}
	if (strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	for (; *text; text++)
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return -EINVAL;
	*ret = v;
	return v > INT64_MAX ? -EINVAL : 0;
}

static int read_file(struct reading *r, char *rest)
{
	char *size = word(&rest), *ids = word(&rest);
	struct objid hub, found;
	uint64_t bytes;
	int err;

	if (!size || !ids || !*rest)
		return bad(r, "not SIZE DIGEST PATH");
	if (read_size(size, &bytes))
		return bad(r, "not a size in bytes");
	if (read_digests(ids, &hub, &found))
		return bad(r, "no digest such as sha256:12ab…");
	err = listing_add(&r->model->files, rest, LISTING_FILE, bytes, &hub);
	if (!err && found.alg != OBJID_NONE)
		err = listing_add(&r->model->found, rest, LISTING_FILE, bytes,
			&found);
	return told(r, err, "");
}

static int read_staged(struct reading *r, char *rest)
{
	char *key = word(&rest);

	if (!key || strlen(key) != 64 ||
		strspn(key, "0123456789abcdef") != 64 || !path_rel_ok(rest))
		return bad(r, "not KEY PATH");
	if (r->model->n_staged >= LISTING_MAX)
		return bad(r, "too many of them");
	return told(r, fs_lock_staged_add(r->model, rest, key), "");
}

static int read_version(struct reading *r, char *text)
{
	static const char magic[] = "omnihub-lock ";
	uint64_t v;

	if (strncmp(text, magic, sizeof(magic) - 1) ||
		read_size(text + sizeof(magic) - 1, &v))
		return bad(r, "not a lock file: it must begin with "
			"\"omnihub-lock 1\"");
	if (v != FS_LOCK_VERSION)
		return error_set(r->why, -ENOTSUP, "%s: line %u: version %"
			PRIu64 " is not known here", r->file, r->line, v);
	r->version = true;
	return 0;
}

static int read_line(struct reading *r, char *line)
{
	static const struct {
		const char *word;
		int (*read)(struct reading *r, char *rest);
		bool inside;	/* of a model */
	} table[] = {
		{ "file", read_file, true }, { "staged", read_staged, true },
		{ "name", read_name, true }, { "date", read_date, true },
		{ "model", read_model, false },
	};
	char *w;

	if (!*line || *line == '#')
		return 0;
	if (r->end)
		return bad(r, "something follows the end");
	if (!r->version)
		return read_version(r, line);
	if (!strcmp(line, "end")) {
		r->end = true;
		return close_model(r);
	}
	w = word(&line);
	for (size_t i = 0; w && i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(table[i].word, w))
			continue;
		if (table[i].inside && !r->model)
			return bad(r, "no model line above");
		return table[i].read(r, line);
	}
	return bad(r, "not a line of a lock file");
}

static int read_text(struct reading *r, const char *text, size_t len)
{
	const char *end = text + len, *eol;
	char line[LINE_MAX_BYTES];
	int err = 0;

	for (; text < end && !err; text = eol + 1) {
		eol = memchr(text, '\n', (size_t)(end - text));
		r->line++;
		if (!eol)
			eol = end;
		if ((size_t)(eol - text) >= sizeof(line))
			return bad(r, "too long");
		memcpy(line, text, (size_t)(eol - text));
		line[eol - text] = '\0';
		if (strlen(line) != (size_t)(eol - text))
			return bad(r, "not text");
		err = read_line(r, line);
	}
	if (!err && !r->end) {
		r->line++;
		err = bad(r, r->version ?
			"the file was cut short: its last line is not \"end\"" :
			"not a lock file: it is empty");
	}
	return err;
}

int fs_lock_parse(const char *file, const char *text, size_t len,
	struct fs_lock **ret, struct error *why)
{
	struct reading r = { .file = file, .why = why };
	int err;

	r.lock = fs_lock_new(file);
	if (!r.lock)
		return error_set(why, -ENOMEM, "out of memory");
	err = read_text(&r, text, len);
	if (err) {
		fs_lock_free(r.lock);
		return err;
	}
	*ret = r.lock;
	return 0;
}

/* ---- writing --------------------------------------------------------------------- */

int fs_lock_name_text(const struct fs_lock_name *n, struct buf *ret)
{
	char last[PATH_NAME_MAX + 1];
	const char *base = path_base(n->repo);
	struct fs_name back;
	int r = fs_name_join(base, n->rev, last);

	if (r)
		return r;
	/* What could not be read back is not written. */
	if (fs_name_split(last, &back) || strcmp(back.rev, n->rev) ||
		strcmp(back.base, base) || strchr(n->hub, ' '))
		return -EINVAL;
	return buf_printf(ret, "%s %.*s%s", n->hub, (int)(base - n->repo),
		n->repo, last);
}

static int put_name(struct buf *b, const char *what,
	const struct fs_lock_name *n)
{
	int r = buf_printf(b, "%s ", what);

	if (!r)
		r = fs_lock_name_text(n, b);
	return r ? r : buf_append_str(b, "\n");
}

static int put_id(struct buf *b, const struct objid *id)
{
	char hex[OBJID_HEX_MAX];

	if (id->alg == OBJID_NONE)
		return buf_append_str(b, "-");
	objid_hex(id, hex);
	return buf_printf(b, "%s:%s", objid_alg_name(id->alg), hex);
}

static int put_file(struct buf *b, const struct fs_lock_model *m,
	const struct listing_entry *e)
{
	const struct listing_entry *f = listing_find(&m->found, e->path);
	int r;

	if (e->size == LISTING_SIZE_UNKNOWN)
		r = buf_append_str(b, "file - ");
	else
		r = buf_printf(b, "file %" PRIu64 " ", e->size);
	if (!r)
		r = put_id(b, &e->id);
	if (!r && f && !objid_is_sha256(&e->id)) {
		r = buf_append_str(b, ",");
		if (!r)
			r = put_id(b, &f->id);
	}
	return r ? r : buf_printf(b, " %s\n", e->path);
}

static int by_name(const void *a, const void *b)
{
	const struct fs_lock_name *x = a, *y = b;
	int r = strcmp(x->hub, y->hub);

	if (!r)
		r = strcmp(x->repo, y->repo);
	return r ? r : strcmp(x->rev, y->rev);
}

static int by_is(const void *a, const void *b)
{
	return by_name(&(*(struct fs_lock_model *const *)a)->is,
		&(*(struct fs_lock_model *const *)b)->is);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct fs_lock_staged *)a)->path,
		((const struct fs_lock_staged *)b)->path);
}

static int put_model(struct buf *b, struct fs_lock_model *m)
{
	time_t t = m->mtime > 0 ? (time_t)m->mtime : 0;
	char date[32] = "";
	struct tm tm;
	int r = buf_append_str(b, "\n");

	if (!r)
		r = put_name(b, "model", &m->is);
	if (!r && gmtime_r(&t, &tm) &&
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm))
		r = buf_printf(b, "date %s\n", date);
	if (m->n_names)
		qsort(m->names, m->n_names, sizeof(*m->names), by_name);
	if (m->n_staged)
		qsort(m->staged, m->n_staged, sizeof(*m->staged), by_path);
	for (size_t i = 0; i < m->n_names && !r; i++)
		r = put_name(b, "name", &m->names[i]);
	for (size_t i = 0; i < m->files.n && !r; i++)
		if (m->files.v[i].kind == LISTING_FILE)
			r = put_file(b, m, &m->files.v[i]);
	for (size_t i = 0; i < m->n_staged && !r; i++)
		r = buf_printf(b, "staged %s %s\n", m->staged[i].key,
			m->staged[i].path);
	return r;
}

int fs_lock_text(struct fs_lock *l, struct buf *ret)
{
	int r = buf_printf(ret, "omnihub-lock %d\n"
		"# Written by `omnihub pin`, kept to by `omnihub-mount --lock`."
		"\n", FS_LOCK_VERSION);

	if (l->n)
		qsort(l->models, l->n, sizeof(*l->models), by_is);
	for (size_t i = 0; i < l->n && !r; i++)
		r = put_model(ret, l->models[i]);
	return r ? r : buf_append_str(ret, "\nend\n");
}
