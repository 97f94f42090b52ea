/*
 * omnihub pin: lock files. What names mean now is written down for later
 * (models.lock), or what was written down is compared with the hubs.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cache/cache.h"
#include "cli/cmd.h"
#include "cli/table.h"

#define NAMES_MAX (64u << 20)	/* bytes of all names that were looked into */

/* ---- writing one --------------------------------------------------------------- */

static int add(struct cli *c, struct fs_lock *l, const char *path)
{
	struct fs_node *n = NULL;
	struct fs_dir *dir = NULL;
	struct fs_attr a;
	int r = fs_walk_wait(c->fs, path, &n, &a);

	if (!r)
		r = fs_lock_add_wait(c->fs, l, n);
	/* A word may be no owner either: that only its listing says. */
	if (r == -EINVAL && a.dir) {
		int err = fs_readdir_wait(c->fs, n, &dir);

		r = err ? err : r;
		fs_dir_free(dir);
	}
	fs_node_unref(n);
	if (r == -EINVAL)
		return cli_fail(c, path, r, "not in a repository");
	if (r == -EEXIST)
		return cli_fail(c, path, r, "its name got another revision "
			"while the others were looked up: try again");
	return r ? cli_fail(c, path, r, NULL) : CLI_DONE;
}

static int add_given(struct cli *c, struct fs_lock *l, int argc, char **argv)
{
	int status = CLI_DONE;

	for (int i = 0; i < argc; i++) {
		cleanup_free char *path = NULL;
		int r = cli_tree_path(c, argv[i], &path);

		if (!r)
			r = cli_fs_open(c);
		if (!r)
			r = add(c, l, path);
		status = r ? r : status;
	}
	return status;
}

static int collect(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	(void) value;
	(void) len;
	(void) age;
	return buf_append(arg, key, strlen(key) + 1);
}

static int add_touched(struct cli *c, struct fs_lock *l)
{
	struct buf names cleanup_buf = BUF_INIT(NAMES_MAX);
	int status = cli_fs_open(c), r;

	if (status)
		return status;
	r = cache_index_each(fs_cache(c->fs), CACHE_KIND_TOUCHED, "", collect,
		&names);
	if (r)
		return cli_fail(c, NULL, r, NULL);
	if (!names.len)
		return cli_fail(c, NULL, -ENOENT, "no repository was looked "
			"into yet: name the PATHs to lock");
	for (size_t at = 0; at < names.len;) {
		const char *path = (const char *)names.data + at;

		r = add(c, l, path);
		status = r ? r : status;
		at += strlen(path) + 1;
	}
	return status;
}

/* What an older file of that name knows of the same bytes must not be lost.
 * Whatever else stands there is not overwritten. */
static int keep_old(struct cli *c, struct fs_lock *l)
{
	struct fs_lock *old = NULL;
	struct error why = { 0 };
	int r = fs_lock_read(c->file, &old, &why);

	if (r == -ENOENT)
		return CLI_DONE;
	if (!r)
		r = fs_lock_keep(l, old);
	fs_lock_free(old);
	return r ? cli_fail(c, NULL, r, error_text(&why, r)) : CLI_DONE;
}

static void say(struct cli *c, const struct fs_lock *l)
{
	uint64_t files = 0, weak = 0;

	for (size_t i = 0; i < fs_lock_count(l); i++) {
		struct buf names cleanup_buf = BUF_INIT(NAMES_MAX);
		struct fs_lock_counts n;

		if (fs_lock_tell(c->fs, l, i, &names, &n))
			continue;
		printf("%s  %s\n", n.revision, (const char *)names.data);
		files += n.files;
		weak += n.weak;
	}
	printf("%zu locked, %" PRIu64 " files", fs_lock_count(l), files);
	if (weak)
		printf(", %" PRIu64 " of them without SHA-256 (the hub tells "
			"none; it is added\nwhen they are here: 'omnihub get',"
			" then again)", weak);
	putchar('\n');
}

/* What the names mean at the hubs is asked for, whatever is locked now. */
static int unlock(struct cli *c)
{
	struct error why = { 0 };
	int r = conf_set(c->conf, "lock", "", CONF_ARG, &why);

	if (!r)
		r = conf_set(c->conf, "lock.strict", "0", CONF_ARG, &why);
	return r ? cli_fail(c, NULL, r, why.text) : CLI_DONE;
}

static int write_file(struct cli *c, int argc, char **argv)
{
	struct fs_lock *l = fs_lock_new(NULL);
	cleanup_free char *first = NULL;
	struct error why = { 0 };
	int r = l ? CLI_DONE : cli_fail(c, NULL, -ENOMEM, NULL);

	/* The first path may bring a mount's settings, its lock among them. */
	if (!r && argc)
		r = cli_tree_path(c, argv[0], &first);
	if (!r)
		r = unlock(c);
	if (!r)
		r = argc ? add_given(c, l, argc, argv) : add_touched(c, l);
	if (!r)
		r = keep_old(c, l);
	if (!r && fs_lock_write(l, c->file, &why))
		r = cli_fail(c, NULL, why.code, why.text);
	if (!r && !(c->given & CLI_OPT_QUIET))
		say(c, l);
	fs_lock_free(l);
	return r;
}

/* ---- comparing one ---------------------------------------------------------------- */

static int check_one(struct cli *c, const struct fs_lock *l, size_t i)
{
	struct buf names cleanup_buf = BUF_INIT(NAMES_MAX);
	struct fs_lock_counts n;
	struct error why = { 0 };
	int r = fs_lock_tell(c->fs, l, i, &names, &n);

	if (!r)
		r = fs_lock_check_wait(c->fs, i, &why);
	if (r)
		return cli_fail(c, (const char *)names.data, r,
			error_text(&why, r));
	if (!(c->given & CLI_OPT_QUIET))
		printf("ok  %s  %s\n", n.revision, (const char *)names.data);
	return CLI_DONE;
}

static int check(struct cli *c, int argc, char **argv)
{
	const struct fs_lock *l;
	struct error why = { 0 };
	int status = CLI_DONE, r;

	if (argc)
		return cli_usage(c, "--check compares the whole file: no PATH");
	(void) argv;
	if (conf_set(c->conf, "lock", c->file, CONF_ARG, &why))
		return cli_fail(c, c->file, why.code, why.text);
	r = cli_fs_open(c);
	if (r)
		return r;
	l = fs_lock_in_force(c->fs);
	for (size_t i = 0; i < fs_lock_count(l); i++) {
		r = check_one(c, l, i);
		status = r ? r : status;
	}
	return status;
}

static int run(struct cli *c, int argc, char **argv)
{
	if (!c->file || !*c->file)
		return cli_usage(c, "--file FILE is needed");
	return c->given & CLI_OPT_CHECK ? check(c, argc, argv) :
		write_file(c, argc, argv);
}

const struct cli_cmd cli_cmd_pin = {
	.name = "pin",
	.args = "--file FILE [OPTION]... [PATH]...",
	.about = "Write down what names mean now, or compare (lock files)",
	.help = "FILE gets, for the repositories of the PATHs or all that were "
		"ever looked into,\nname, revision, and every file with size "
		"and digest. 'omnihub-mount --lock FILE'\nkeeps to it; --check "
		"says whether the hubs still have exactly that. Nothing is\n"
		"downloaded or kept by it: that is 'omnihub get' and 'omnihub "
		"cache pin'.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_FILE | CLI_OPT_CHECK | CLI_OPT_QUIET,
	.run = run,
};
