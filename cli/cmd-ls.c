/* omnihub ls: names, or with -l what each is and how much of it is here. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cli/cmd.h"
#include "cli/mounts.h"
#include "cli/table.h"

struct list {
	struct cli *c;
	struct cli_table *table;	/* -l */
	json_t *json;			/* --json */
	bool failed;
};

/* A name whose size cannot be told: the reason goes to stderr, the name stays
 * in the list. */
static void row_failed(struct list *l, const char *path, const char *name,
	int err)
{
	(void) cli_fail(l->c, path, err, NULL);
	l->failed = true;
	if (l->json)
		(void) json_array_append_new(l->json, json_pack("{ss ss}",
			"name", name, "error", cli_errno_name(err)));
	else
		(void) cli_table_row(l->table, cli_errno_name(err), NULL,
			NULL, NULL, name);
}

static void row_json(struct list *l, const char *name,
	const struct fs_attr *a, const char *state, const char *cached)
{
	json_t *j = json_pack("{ss ss sI}", "name", name, "type",
		a->dir ? "directory" : "file", "mtime", (json_int_t)a->mtime);

	if (!a->dir) {
		(void) json_object_set_new(j, "size",
			json_integer((json_int_t)a->size));
		(void) json_object_set_new(j, "cached_bytes", json_integer(
			cached ? strtoll(cached, NULL, 10) : 0));
		(void) json_object_set_new(j, "state", json_string(
			state ? state : "remote"));
	}
	(void) json_array_append_new(l->json, j);
}

static void row_long(struct list *l, const char *name,
	const struct fs_attr *a, const char *state, const char *cached)
{
	char size[CLI_SIZE_MAX], here[CLI_SIZE_MAX], date[32] = "-";
	cleanup_free char *shown = NULL;
	time_t t = (time_t)a->mtime;
	struct tm tm;

	if (t > 0 && gmtime_r(&t, &tm))
		(void) strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	if (a->dir) {
		if (asprintf(&shown, "%s/", name) < 0)
			shown = NULL;
		(void) cli_table_row(l->table, "dir", NULL, NULL, date, shown);
		return;
	}
	(void) cli_table_row(l->table, state ? state : "remote",
		cli_bytes(l->c, size, a->size),
		cli_bytes(l->c, here, cached ? strtoull(cached, NULL, 10) : 0),
		date, name);
}

static void row(struct list *l, const char *path, const char *name)
{
	cleanup_free char *state = NULL;
	cleanup_free char *cached = NULL;
	struct fs_node *n = NULL;
	struct fs_attr a;
	int r;

	r = fs_walk_wait(l->c->fs, path, &n, &a);
	if (r < 0) {
		row_failed(l, path, name, r);
		return;
	}
	state = cli_attr(l->c, n, "state");
	cached = cli_attr(l->c, n, "cached_bytes");
	if (l->json)
		row_json(l, name, &a, state, cached);
	else
		row_long(l, name, &a, state, cached);
	fs_node_unref(n);
}

static int list_dir(struct list *l, const char *path, struct fs_node *n)
{
	struct fs_dir *dir = NULL;
	struct fs_dirent e;
	char *child;
	size_t i;
	int r;

	r = fs_readdir_wait(l->c->fs, n, &dir);
	if (r < 0)
		return cli_fail(l->c, path, r, NULL);
	for (i = 0; i < fs_dir_count(dir); i++) {
		fs_dir_at(dir, i, &e);
		if (!l->json && !l->table) {
			printf("%s%s\n", e.name, e.dir ? "/" : "");
			continue;
		}
		child = path_join(path, e.name);
		if (child)
			row(l, child, e.name);
		free(child);
	}
	fs_dir_free(dir);
	return CLI_DONE;
}

static int list(struct list *l, const char *path)
{
	struct fs_node *n = NULL;
	struct fs_attr a;
	int r;

	if (l->c->given & CLI_OPT_REFRESH) {
		cli_mounts_refresh(fs_cache_dir(l->c->fs), path);
		r = fs_refresh_wait(l->c->fs, path);
		if (r < 0)
			return cli_fail(l->c, path, r, NULL);
	}
	r = fs_walk_wait(l->c->fs, path, &n, &a);
	if (r < 0)
		return cli_fail(l->c, path, r, NULL);
	if (a.dir)
		r = list_dir(l, path, n);
	else if (l->json || l->table)
		row(l, path, path);
	else
		puts(path);
	fs_node_unref(n);
	return r;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *table = NULL;
	cleanup_free char *path = NULL;
	struct list l = { .c = c };
	int r;

	if (argc > 1)
		return cli_usage(c, "one PATH at most");
	r = cli_tree_path(c, argc ? argv[0] : "", &path);
	if (!r)
		r = cli_fs_open(c);
	if (r)
		return r;
	if (c->given & CLI_OPT_JSON) {
		l.json = json_array();
	} else if (c->given & (CLI_OPT_LONG | CLI_OPT_BYTES)) {
		table = cli_table_new("lrrll");
		l.table = table;
	}
	r = list(&l, path);
	if (l.table)
		cli_table_print(l.table, stdout);
	if (l.json && !r)
		r = cli_print_json(c, l.json);
	else
		json_decref(l.json);
	return r ? r : l.failed ? CLI_FAILED : CLI_DONE;
}

const struct cli_cmd cli_cmd_ls = {
	.name = "ls",
	.args = "[OPTION]... [PATH]",
	.about = "List a directory of the tree",
	.help = "Without PATH the hubs. Directories end in '/'. With -l: "
		"state (remote, partial,\ncached, verified), size, bytes on "
		"this disk, date of the revision, name.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_LONG | CLI_OPT_REFRESH |
		CLI_OPT_BYTES | CLI_OPT_JSON,
	.run = run,
};
