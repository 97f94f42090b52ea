/* omnihub search: what the hubs have by these words, as paths of the mount. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cmd.h"
#include "cli/table.h"

#define LIMIT 20		/* a hub */
#define LIMIT_MAX 10000
#define WORDS_MAX 1024		/* bytes */

struct search {
	struct cli *c;
	struct cli_table *table;
	json_t *json;
};

static void count(int64_t v, char *ret, size_t room)
{
	(void) snprintf(ret, room, "%" PRId64, v);
}

static int found_json(struct search *s, const struct fs_found *f)
{
	json_t *j = json_pack("{ss ss?}", "path", f->path, "task", f->task);

	if (f->size != UINT64_MAX)
		(void) json_object_set_new(j, "size",
			json_integer((json_int_t)f->size));
	if (f->downloads >= 0)
		(void) json_object_set_new(j, "downloads",
			json_integer((json_int_t)f->downloads));
	if (f->likes >= 0)
		(void) json_object_set_new(j, "likes",
			json_integer((json_int_t)f->likes));
	return json_array_append_new(s->json, j) ? -ENOMEM : 0;
}

static int found(void *arg, const struct fs_found *f)
{
	struct search *s = arg;
	char size[CLI_SIZE_MAX], downloads[24], likes[24];

	if (s->json)
		return found_json(s, f);
	count(f->downloads, downloads, sizeof(downloads));
	count(f->likes, likes, sizeof(likes));
	return cli_table_row(s->table, f->path,
		f->size == UINT64_MAX ? NULL : cli_bytes(s->c, size, f->size),
		f->downloads < 0 ? NULL : downloads,
		f->likes < 0 ? NULL : likes, f->task);
}

static void failed(void *arg, const char *hub, int err, const char *why)
{
	struct search *s = arg;

	(void) cli_fail(s->c, hub, err, why);
}

/* The arguments as one text, a space between them. */
static int join(struct cli *c, int argc, char **argv, char ret[WORDS_MAX])
{
	size_t n = 0;

	for (int i = 0; i < argc; i++) {
		int k = snprintf(ret + n, WORDS_MAX - n, "%s%s", i ? " " : "",
			argv[i]);

		if (k < 0 || (size_t)k >= WORDS_MAX - n)
			return cli_usage(c, "too many words");
		n += (size_t)k;
	}
	if (strspn(ret, " ") == n)
		return cli_usage(c, "WORDS are needed");
	return CLI_DONE;
}

static int limit_of(struct cli *c, size_t *ret)
{
	char *end = NULL;
	unsigned long v;

	*ret = LIMIT;
	if (!c->limit)
		return CLI_DONE;
	errno = 0;
	v = strtoul(c->limit, &end, 10);
	if (errno || !v || v > LIMIT_MAX || *end || *c->limit < '0' ||
		*c->limit > '9')
		return cli_usage(c, "--limit: '%s' is not between 1 and %d",
			c->limit, LIMIT_MAX);
	*ret = v;
	return CLI_DONE;
}

static int search(struct search *s, const char *words, size_t limit)
{
	struct cli *c = s->c;
	int r = fs_search_wait(c->fs, words, c->hub, limit, found, failed, s);

	if (r == -ENOENT)
		return cli_fail(c, c->hub, r, "there is no such hub; "
			"'omnihub ls' shows them");
	if (r == -ENOTSUP)
		return cli_fail(c, c->hub, r, "this hub cannot be searched");
	if (r < 0)
		return cli_fail(c, NULL, r, NULL);
	if (conf_flag(c->conf, "offline"))
		fprintf(stderr, "omnihub: search: offline: only catalogues, "
			"and what was looked into before\n");
	return r ? CLI_DONE : CLI_FAILED;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *t = cli_table_new("lrrrl");
	struct search s = { .c = c, .table = t };
	char words[WORDS_MAX] = "";
	size_t limit;
	int r = join(c, argc, argv, words);

	if (!r)
		r = limit_of(c, &limit);
	if (!r)
		r = cli_fs_open(c);
	if (r)
		return r;
	if (c->given & CLI_OPT_JSON)
		s.json = json_array();
	else
		(void) cli_table_row(t, "PATH", "SIZE", "DOWNLOADS", "LIKES",
			"TASK");
	r = search(&s, words, limit);
	if (s.json && !r)
		return cli_print_json(c, s.json);
	json_decref(s.json);
	if (!r)
		cli_table_print(t, stdout);
	return r;
}

const struct cli_cmd cli_cmd_search = {
	.name = "search",
	.args = "[OPTION]... WORDS...",
	.about = "Search the hubs for models",
	.help = "Prints paths that can be opened in the mount, with what the "
		"hub tells of them.\nHugging Face and Kaggle search "
		"themselves; the catalogues (ONNX, torchvision,\nTorchServe, "
		"Keras) are searched by the names they list, which have to "
		"hold every\nword. A hub that does not answer is told on "
		"standard error; only when none does\nthe command fails.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_HUB | CLI_OPT_LIMIT | CLI_OPT_BYTES |
		CLI_OPT_JSON,
	.run = run,
};
