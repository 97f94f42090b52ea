/* omnihub families: what can be staged, as the blueprints themselves say. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "cli/cmd.h"
#include "cli/table.h"
#include "stage/stage.h"

#define FAMILIES_MAX (1024 * 1024)	/* bytes of JSON */

static int load(struct cli *c, json_t **ret)
{
	cleanup_free char *dir = path_join(conf_datadir(), "blueprints");
	cleanup_free char *text = NULL;
	const char *dirs[] = { dir, NULL };
	struct stage_conf conf = {
		.opset = (unsigned)conf_u64(c->conf, "stage.opset"),
		.blueprint_dirs = dirs,
	};
	struct error why = { 0 };
	struct stage *s = NULL;
	int r;

	if (!dir)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	r = stage_new(&conf, &s, &why);
	if (r < 0)
		return cli_fail(c, dir, r, error_text(&why, r));
	text = stage_families_json(s);
	stage_free(s);
	if (!text)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	r = json_parse(text, strlen(text), FAMILIES_MAX, ret, &why);
	return r < 0 ? cli_fail(c, NULL, r, why.text) : CLI_DONE;
}

/* "a, b, c" of an array of strings. */
static int join(const json_t *list, struct buf *ret)
{
	const json_t *v;
	size_t i;
	int r;

	json_array_foreach (list, i, v) {
		r = buf_printf(ret, "%s%s", i ? ", " : "",
			json_is_string(v) ? json_string_value(v) : "?");
		if (r < 0)
			return r;
	}
	return 0;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *t = cli_table_new("ll");
	cleanup_json json_t *list = NULL;
	const json_t *v;
	size_t i;
	int r;

	(void) argv;
	if (argc)
		return cli_usage(c, "no arguments are taken");
	r = load(c, &list);
	if (r)
		return r;
	if (c->given & CLI_OPT_JSON)
		return cli_print_json(c, json_incref(list));
	if (!t)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	(void) cli_table_row(t, "FAMILY", "TASKS");
	json_array_foreach (list, i, v) {
		cleanup_buf struct buf tasks = BUF_INIT(FAMILIES_MAX);

		r = join(json_object_get(v, "tasks"), &tasks);
		if (r < 0)
			return cli_fail(c, NULL, r, NULL);
		(void) cli_table_row(t, json_str(v, "family"),
			(const char *)tasks.data);
	}
	cli_table_print(t, stdout);
	return CLI_DONE;
}

const struct cli_cmd cli_cmd_families = {
	.name = "families",
	.args = "[OPTION]...",
	.about = "List the model families and tasks that can be staged",
	.opts = CLI_OPT_COMMON | CLI_OPT_JSON,
	.run = run,
};
