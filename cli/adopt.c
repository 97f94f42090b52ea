/*
 * omnihub cache adopt: what other tools' caches hold, under which name of the
 * mount it is, and whether it is that. Hubs are asked for their listings only.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/path.h"
#include "cache/cache.h"
#include "cli/cmd.h"
#include "cli/table.h"

struct found {
	const char *tool;		/* static */
	char *hub, *repo, *revision, *path, *file;
	uint64_t size;			/* bytes */
};

struct adopt {
	struct cli *c;
	struct found *v;
	size_t n;
	struct cli_table *table;
	json_t *json;
	uint64_t bytes;			/* of those that are used */
	size_t used;
	struct map names[2];		/* of `single`: key → path in the mount */
	bool have[2];
};

/* Their tools keep a file's last name only. */
static const char *const single[2] = { "pytorch/torchvision", "keras" };

/* ---- what there is ------------------------------------------------------------- */

static void found_done(struct found *f)
{
	free(f->hub);
	free(f->repo);
	free(f->revision);
	free(f->path);
	free(f->file);
}

static int find(void *arg, const struct cache_foreign *f)
{
	struct adopt *a = arg;
	struct found *v = a->v, *x;

	if (!(a->n & (a->n - 1))) {
		v = reallocarray(v, a->n ? 2 * a->n : 1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		a->v = v;
	}
	x = &v[a->n];
	*x = (struct found){ .tool = f->tool, .size = f->size,
		.hub = strdup(f->hub), .repo = strdup(f->repo),
		.revision = strdup(f->revision), .path = strdup(f->path),
		.file = strdup(f->file) };
	if (!x->hub || !x->repo || !x->revision || !x->path || !x->file) {
		found_done(x);
		return -ENOMEM;
	}
	a->n++;
	return 0;
}

/* ---- its name in the mount -------------------------------------------------------- */

/* NASNet-large.h5 is nasnet_large.h5 in Keras' cache. */
static void plain(char *s)
{
	for (; *s; s++)
		*s = *s == '-' ? '_' : (char)tolower((unsigned char)*s);
}

static int note_name(struct map *m, const char *path)
{
	cleanup_free char *key = strdup(path_base(path));
	cleanup_free char *value = strdup(path);
	int r;

	if (!key || !value)
		return -ENOMEM;
	plain(key);
	if (map_get(m, key))
		return 0;
	r = map_put(m, key, value, NULL);
	if (!r)
		value = NULL;
	return r;
}

/* Names only: to look at the files could mean to ask for their sizes. */
static int note_dir(struct adopt *a, struct map *m, const char *path,
	int depth)
{
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	struct fs_attr attr;
	struct fs_dirent e;
	int r = fs_walk_wait(a->c->fs, path, &n, &attr);

	if (r)
		return r;
	r = fs_readdir_wait(a->c->fs, n, &d);
	for (size_t i = 0; !r && i < fs_dir_count(d); i++) {
		cleanup_free char *below = NULL;

		fs_dir_at(d, i, &e);
		below = path_join(path, e.name);
		if (!below)
			r = -ENOMEM;
		else if (!e.dir)
			r = note_name(m, below);
		else if (depth)
			r = note_dir(a, m, below, depth - 1);
	}
	if (d)
		fs_dir_free(d);
	fs_node_unref(n);
	return r;
}

static int name_by_catalogue(struct adopt *a, size_t which,
	const struct found *f, char **ret)
{
	cleanup_free char *key = strdup(f->path);
	const char *path;
	int r;

	if (!key)
		return -ENOMEM;
	if (!a->have[which]) {
		r = note_dir(a, &a->names[which], single[which], 1);
		if (r)
			return r;
		a->have[which] = true;
	}
	plain(key);
	path = map_get(&a->names[which], key);
	if (!path)
		return -ENOENT;
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}

static int name_of(struct adopt *a, const struct found *f, char **ret)
{
	bool versions = !strcmp(f->hub, "kaggle") ||
		!strcmp(f->hub, "tensorflow");
	int r;

	for (size_t i = 0; i < 2; i++)
		if (!strcmp(f->hub, single[i]))
			return name_by_catalogue(a, i, f, ret);
	if (!*f->revision)
		r = asprintf(ret, "%s/%s", f->hub, f->path);
	else
		r = asprintf(ret, "%s/%s%c%s/%s", f->hub, f->repo,
			versions ? '/' : '@', f->revision, f->path);
	return r < 0 ? -ENOMEM : 0;
}

/* ---- is it that? -------------------------------------------------------------------- */

/* One word: how far the file is what the hub has under that name. */
static const char *verdict(struct adopt *a, const struct found *f,
	const char *name, int *ret_err)
{
	struct fs_node *n = NULL;
	uint64_t size = 0;
	struct fs_attr attr;
	int r = fs_walk_wait(a->c->fs, name, &n, &attr);

	*ret_err = r;
	if (r)
		return "unknown";
	r = fs_adopt_wait(a->c->fs, n, &size);
	fs_node_unref(n);
	if (r >= 0 && size != f->size)
		r = -ENOENT;
	*ret_err = r < 0 ? r : 0;
	if (r < 0)
		return r == -ENOENT ? "differs" : "unknown";
	return r ? "verified" : "size";
}

static int say(struct adopt *a, const struct found *f)
{
	cleanup_free char *name = NULL;
	char size[CLI_SIZE_MAX];
	const char *word = "unknown";
	int err = name_of(a, f, &name);

	if (!err)
		word = verdict(a, f, name, &err);
	if (!err) {
		a->bytes += f->size;
		a->used++;
	}
	if (a->json)
		return json_array_append_new(a->json, json_pack(
			"{ss ss ss ss ss ss ss* so sI ss*}", "tool", f->tool,
			"state", word, "hub", f->hub, "repo", f->repo,
			"revision", f->revision, "path", f->path,
			"name", name, "file", json_bytes(f->file),
			"size", (json_int_t)f->size,
			"error", err ? cli_errno_name(err) : NULL)) ?
			-ENOMEM : 0;
	return cli_table_row(a->table, f->tool, word,
		cli_bytes(a->c, size, f->size), name ? name : "-", f->file);
}

static int all(struct adopt *a)
{
	int r = cache_foreign_each(fs_cache(a->c->fs), find, a);

	for (size_t i = 0; !r && i < a->n; i++)
		r = say(a, &a->v[i]);
	return r;
}

static int drop_name(void *arg, const char *key, void *value)
{
	(void) arg;
	(void) key;
	free(value);
	return 0;
}

int cli_adopt(struct cli *c)
{
	cleanup_table struct cli_table *t = cli_table_new("llrll");
	struct adopt a = { .c = c, .table = t };
	char size[CLI_SIZE_MAX];
	int r = -ENOMEM;

	if (c->given & CLI_OPT_JSON)
		a.json = json_array();
	if (t && (a.json || !(c->given & CLI_OPT_JSON)))
		r = all(&a);
	for (size_t i = 0; i < a.n; i++)
		found_done(&a.v[i]);
	free(a.v);
	for (size_t i = 0; i < 2; i++) {
		(void) map_each(&a.names[i], drop_name, NULL);
		map_done(&a.names[i]);
	}
	if (r < 0) {
		json_decref(a.json);
		return cli_fail(c, NULL, r, NULL);
	}
	if (a.json)
		return cli_print_json(c, a.json);
	cli_table_print(t, stdout);
	printf("%zu files, %s, are used where they lie\n", a.used,
		cli_bytes(c, size, a.bytes));
	if (a.used < a.n)
		printf("%zu are not: no hub here is known to have them so\n",
			a.n - a.used);
	return CLI_DONE;
}
