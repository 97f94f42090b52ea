/* omnihub du: bytes in all and bytes on this disk. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/cmd.h"
#include "cli/table.h"

struct report {
	struct cli *c;
	struct cli_table *table;
	json_t *json;
};

static int usage_of(struct report *rep, const char *arg)
{
	char size[CLI_SIZE_MAX], here[CLI_SIZE_MAX], files[CLI_SIZE_MAX];
	cleanup_free char *path = NULL;
	struct fs_node *n = NULL;
	struct fs_usage u = { 0 };
	struct fs_attr a;
	int r;

	r = cli_tree_path(rep->c, arg, &path);
	if (!r)
		r = cli_fs_open(rep->c);
	if (r)
		return r;
	r = fs_walk_wait(rep->c->fs, path, &n, &a);
	if (!r) {
		r = fs_usage_wait(rep->c->fs, n, &u);
		fs_node_unref(n);
	}
	if (r < 0)
		return cli_fail(rep->c, path, r, NULL);
	if (rep->json)
		return json_array_append_new(rep->json, json_pack(
			"{ss sI sI sI sI}", "path", path,
			"bytes", (json_int_t)u.bytes,
			"cached_bytes", (json_int_t)u.cached_bytes,
			"files", (json_int_t)u.files,
			"unknown", (json_int_t)u.unknown)) ?
			CLI_FAILED : CLI_DONE;
	(void) snprintf(files, sizeof(files), "%llu",
		(unsigned long long)u.files);
	(void) cli_table_row(rep->table, cli_bytes(rep->c, size, u.bytes),
		cli_bytes(rep->c, here, u.cached_bytes), files,
		*path ? path : "/");
	if (u.unknown)
		fprintf(stderr, "omnihub: du: %s: %llu names are not counted, "
			"their size cannot be told\n", path,
			(unsigned long long)u.unknown);
	return CLI_DONE;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *table = cli_table_new("rrrl");
	struct report rep = { c, table, NULL };
	int i, r, status = CLI_DONE;

	if (!argc)
		return cli_usage(c, "a PATH is needed");
	if (!table)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	if (c->given & CLI_OPT_JSON)
		rep.json = json_array();
	(void) cli_table_row(table, "SIZE", "HERE", "FILES", "PATH");
	for (i = 0; i < argc; i++) {
		r = usage_of(&rep, argv[i]);
		if (r)
			status = r;
	}
	if (rep.json) {
		r = cli_print_json(c, rep.json);
		return status ? status : r;
	}
	cli_table_print(table, stdout);
	return status;
}

const struct cli_cmd cli_cmd_du = {
	.name = "du",
	.args = "[OPTION]... PATH...",
	.about = "Bytes of files and directories, and how many are on this "
		 "disk",
	.help = "Weights that several files show (a staged model.onnx and "
		"its checkpoint) are\nkept once and counted for each.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_BYTES | CLI_OPT_JSON,
	.run = run,
};
