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
#define SHOWN 4				/* names in a row; --json has all */

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

static int join_word(struct buf *b, const char *word)
{
	return buf_printf(b, "%s%s", b->len ? ", " : "", word ? word : "?");
}

/* Of an array the first strings, of an object the keys: "a, b, c, … (9)". */
static int join(const json_t *v, struct buf *ret)
{
	const char *key;
	const json_t *e;
	size_t i;
	void *it;
	int r = 0;

	json_array_foreach (v, i, e)
		if (!r && i < SHOWN)
			r = join_word(ret, json_string_value(e));
	if (!r && json_array_size(v) > SHOWN)
		r = buf_printf(ret, ", … (%zu)", json_array_size(v));
	for (it = json_object_iter((json_t *)(uintptr_t)v); it && !r;
	     it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
		key = json_object_iter_key(it);
		r = join_word(ret, key);
	}
	return r;
}

static int row(struct cli_table *t, const json_t *family)
{
	cleanup_buf struct buf types = BUF_INIT(FAMILIES_MAX);
	cleanup_buf struct buf tasks = BUF_INIT(FAMILIES_MAX);
	int r;

	r = join(json_object_get(family, "model_types"), &types);
	if (!r)
		r = join(json_object_get(family, "tasks"), &tasks);
	return r ? r : cli_table_row(t, json_str(family, "family"),
		json_str(family, "library"),
		(const char *)types.data, (const char *)tasks.data);
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *t = cli_table_new("llll");
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
	(void) cli_table_row(t, "FAMILY", "LIBRARY", "MODELS", "TASKS");
	json_array_foreach (list, i, v) {
		r = row(t, v);
		if (r < 0)
			return cli_fail(c, NULL, r, NULL);
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
