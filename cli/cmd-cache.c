/*
 * omnihub cache: housekeeping. One row a verb; all of them work while a
 * daemon uses the same cache.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cache/cache.h"
#include "cli/cmd.h"
#include "cli/table.h"

struct verb {
	const char *name;
	int min, max;	/* arguments; max -1: any number */
	bool json;	/* can print it */
	int (*run)(struct cli *c, int argc, char **argv);
};

static void stat_row(struct cli *c, struct cli_table *t, const char *name,
	uint64_t bytes, uint64_t count)
{
	char size[CLI_SIZE_MAX], n[CLI_SIZE_MAX];

	(void) snprintf(n, sizeof(n), "%" PRIu64, count);
	(void) cli_table_row(t, name, cli_bytes(c, size, bytes), n);
}

static int do_stat(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *t = cli_table_new("lrr");
	const char *dir = fs_cache_dir(c->fs);
	char size[CLI_SIZE_MAX];
	struct cache_totals s;
	int r = cache_totals(fs_cache(c->fs), &s);

	(void) argc;
	(void) argv;
	if (r < 0 || !t)
		return cli_fail(c, dir, r < 0 ? r : -ENOMEM, NULL);
	if (c->given & CLI_OPT_JSON)
		return cli_print_json(c, json_pack(
			"{so s{sI sI} s{sI sI} s{sI sI} sI sI}", "dir",
			json_bytes(dir),
			"objects", "files", (json_int_t)s.objects,
			"bytes", (json_int_t)s.object_bytes,
			"partial", "files", (json_int_t)s.partials,
			"bytes", (json_int_t)s.partial_bytes,
			"recipes", "files", (json_int_t)s.recipes,
			"bytes", (json_int_t)s.recipe_bytes,
			"pinned_bytes", (json_int_t)s.pinned_bytes,
			"budget", (json_int_t)s.budget));
	printf("%s\n", dir);
	stat_row(c, t, "objects", s.object_bytes, s.objects);
	stat_row(c, t, "partial", s.partial_bytes, s.partials);
	stat_row(c, t, "recipes", s.recipe_bytes, s.recipes);
	(void) cli_table_row(t, "pinned", cli_bytes(c, size, s.pinned_bytes),
		"");
	(void) cli_table_row(t, "budget", s.budget ?
		cli_bytes(c, size, s.budget) : "10% free", "");
	cli_table_print(t, stdout);
	return CLI_DONE;
}

static int do_gc(struct cli *c, int argc, char **argv)
{
	struct cache *cache = fs_cache(c->fs);
	char a[CLI_SIZE_MAX];
	struct cache_totals s;
	uint64_t target, freed = 0;
	int r;

	r = cache_totals(cache, &s);
	if (r < 0)
		return cli_fail(c, NULL, r, NULL);
	target = s.budget ? s.budget : UINT64_MAX;
	if (argc && conf_parse_size(argv[0], &target) < 0)
		return cli_usage(c, "'%s' is not a size", argv[0]);
	r = cache_gc(cache, target, &freed);
	if (r < 0)
		return cli_fail(c, NULL, r, NULL);
	printf("freed %s\n", cli_bytes(c, a, freed));
	return CLI_DONE;
}

static void verify_say(void *arg, const char *what, int err, bool removed)
{
	const char *fault = err == -EBADMSG ? "contradicts its digest" :
		err == -EINVAL ? "is no file of the cache" :
		err == -EUCLEAN ? "was damaged" : "cannot be read";
	struct cli *c = arg;
	char text[128];

	(void) snprintf(text, sizeof(text), "%s, %s", fault,
		err == -EUCLEAN ? "mended" : removed ? "removed" :
		"and cannot be removed");
	if (err)
		(void) cli_fail(c, what, err, text);
}

static int do_verify(struct cli *c, int argc, char **argv)
{
	struct cache_totals s;
	uint64_t bad = 0;
	int r;

	(void) argc;
	(void) argv;
	r = cache_verify(fs_cache(c->fs), verify_say, c, &bad);
	if (!r)
		r = cache_totals(fs_cache(c->fs), &s);
	if (r < 0)
		return cli_fail(c, NULL, r, NULL);
	printf("%" PRIu64 " objects and %" PRIu64 " partial ones are right, "
	       "%" PRIu64 " bad\n", s.objects, s.partials, bad);
	return bad ? CLI_FAILED : CLI_DONE;
}

static int pin(struct cli *c, const char *arg, bool on)
{
	cleanup_free char *path = NULL;
	cleanup_free char *root = NULL;
	cleanup_free char *hub = NULL;
	cleanup_free char *repo = NULL;
	cleanup_free char *revision = NULL;
	struct fs_node *n = NULL;
	struct fs_dir *dir = NULL;
	struct fs_attr a;
	int r = cli_tree_path(c, arg, &path);

	if (r)
		return r;
	r = cli_repo_of(c, path, &root);
	if (!r && root)
		r = fs_walk_wait(c->fs, root, &n, &a);
	/* A name has a revision once somebody has looked inside. */
	if (!r && root)
		r = fs_readdir_wait(c->fs, n, &dir);
	fs_dir_free(dir);
	if (r < 0) {
		fs_node_unref(n);
		return cli_fail(c, path, r, NULL);
	}
	if (!root)
		return cli_fail(c, path, -EINVAL, "not in a repository");
	hub = cli_attr(c, n, "hub");
	repo = cli_attr(c, n, "repo");
	revision = cli_attr(c, n, "revision");
	fs_node_unref(n);
	if (!hub || !repo || !revision)
		return cli_fail(c, path, -EINVAL, "not in a repository");
	r = cache_pin(fs_cache(c->fs), hub, repo, revision, on);
	if (r < 0)
		return cli_fail(c, path, r, NULL);
	printf("%s %s/%s@%s\n", on ? "pinned" : "unpinned", hub, repo,
		revision);
	return CLI_DONE;
}

static int pin_all(struct cli *c, int argc, char **argv, bool on)
{
	int i, r, status = CLI_DONE;

	for (i = 0; i < argc; i++) {
		r = pin(c, argv[i], on);
		status = r ? r : status;
	}
	return status;
}

static int do_pin(struct cli *c, int argc, char **argv)
{
	return pin_all(c, argc, argv, true);
}

static int do_unpin(struct cli *c, int argc, char **argv)
{
	return pin_all(c, argc, argv, false);
}

static int do_adopt(struct cli *c, int argc, char **argv)
{
	(void) argc;
	(void) argv;
	return cli_adopt(c);
}

static int do_clear(struct cli *c, int argc, char **argv)
{
	const char *dir = fs_cache_dir(c->fs);
	char a[CLI_SIZE_MAX], answer[8];
	uint64_t freed = 0;
	int r;

	(void) argc;
	(void) argv;
	if (!(c->given & CLI_OPT_YES) && isatty(STDIN_FILENO)) {
		fprintf(stderr, "Remove everything from %s? [y/N] ", dir);
		if (!fgets(answer, sizeof(answer), stdin) ||
		    (*answer != 'y' && *answer != 'Y'))
			return cli_fail(c, dir, -ECANCELED, "nothing removed");
	}
	r = cache_clear(fs_cache(c->fs), &freed);
	if (r < 0)
		return cli_fail(c, dir, r, NULL);
	printf("freed %s\n", cli_bytes(c, a, freed));
	return CLI_DONE;
}

static const struct verb verbs[] = {
	{ "stat", 0, 0, true, do_stat },
	{ "gc", 0, 1, false, do_gc },
	{ "verify", 0, 0, false, do_verify },
	{ "pin", 1, -1, false, do_pin },
	{ "unpin", 1, -1, false, do_unpin },
	{ "adopt", 0, 0, true, do_adopt },
	{ "clear", 0, 0, false, do_clear },
};

static int run(struct cli *c, int argc, char **argv)
{
	const struct verb *v = NULL;
	size_t i;
	int r;

	if (!argc)
		return cli_usage(c, "one of stat, gc, verify, pin, unpin, "
			"adopt, clear is needed");
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verbs[i].name, argv[0]))
			v = &verbs[i];
	if (!v)
		return cli_usage(c, "unknown action '%s'", argv[0]);
	argc--;
	argv++;
	if (argc < v->min)
		return cli_usage(c, "%s: a PATH is needed", v->name);
	if (v->max >= 0 && argc > v->max)
		return cli_usage(c, "%s: too many arguments", v->name);
	if ((c->given & CLI_OPT_JSON) && !v->json)
		return cli_usage(c, "%s: --json is for stat and adopt",
			v->name);
	r = cli_fs_open(c);
	return r ? r : v->run(c, argc, argv);
}

const struct cli_cmd cli_cmd_cache = {
	.name = "cache",
	.args = "ACTION [OPTION]... [ARG]...",
	.about = "Look after the cache",
	.help = "Actions:\n"
		"  stat           what it holds\n"
		"  gc [SIZE]      remove what was not used longest, until SIZE "
		"or the budget\n"
		"  verify         read everything again and remove what is "
		"wrong\n"
		"  pin PATH...    never evict the repositories of these paths\n"
		"  unpin PATH...  let them go again\n"
		"  adopt          compare other tools' caches with the hubs: "
		"what fits is used\n"
		"  clear          remove everything that is not open\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_BYTES | CLI_OPT_YES | CLI_OPT_JSON,
	.run = run,
};
