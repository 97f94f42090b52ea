/*
 * From what the user wrote to a place in the tree, and the tree opened for
 * it. A path in a live mount is looked at as that mount's daemon sees it: its
 * settings are read back from /.omnihub/config.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "base/proc.h"
#include "cli/cmd.h"
#include "cli/mounts.h"

#define CONFIG_MAX (256 * 1024)	/* bytes of /.omnihub/config */

int cli_fs_open(struct cli *c)
{
	struct error why = { 0 };
	int r;

	if (c->fs)
		return CLI_DONE;
	r = fs_new(c->conf, &c->fs, &why);
	if (r < 0)
		return cli_fail(c, NULL, r, error_text(&why, r));
	return CLI_DONE;
}

/* One "KEY = VALUE<tab># origin" line of a mount's configuration. */
static void conf_line(struct conf *conf, char *line)
{
	enum conf_origin from = CONF_ARG;
	char *eq = strchr(line, '='), *value, *end;

	if (!eq || *line == '#')
		return;
	value = eq + 1 + strspn(eq + 1, " \t");
	for (end = eq; end > line && strchr(" \t", end[-1]); end--)
		;
	*end = '\0';
	end = strchr(value, '\t');
	if (end)
		*end++ = '\0';
	/* --demo keeps its cache apart from one that was not asked for. */
	if (!strcmp(line, "cache.dir") && end && !strstr(end, "command line"))
		from = CONF_ENV;
	/* Secrets are not told ("***"): ours are used. */
	if (*value && strcmp(value, "***"))
		(void) conf_set(conf, line, value, from, NULL);
}

static int conf_from_mount(struct cli *c, const char *dir)
{
	cleanup_buf struct buf text = BUF_INIT(CONFIG_MAX);
	cleanup_free char *file = path_join(dir, ".omnihub/config");
	char *line, *save = NULL;
	int r = file ? io_read_file(AT_FDCWD, file, &text) : -ENOMEM;

	if (!r)
		r = buf_append(&text, "", 1);
	if (r)
		return r;
	for (line = strtok_r((char *)text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		conf_line(c->conf, line);
	return 0;
}

/* Work with the settings of the mount at dir. -EACCES: it must not say where our
 * tokens go; -EXDEV: those of another are there; -ETIMEDOUT: it is silent;
 * -ENOTCONN: its daemon is gone. */
static int use_mount(struct cli *c, const char *dir)
{
	int r;

	if (!c->conf || c->conf_given)
		return 0;
	if (c->mount)
		return strcmp(c->mount, dir) ? -EXDEV : 0;
	if (c->fs)
		return 0;
	if (!cli_mount_is_own(dir))
		return -EACCES;
	r = cli_mount_probe(dir);
	if (!r)
		r = conf_from_mount(c, dir);
	if (r)
		return r;
	c->mount = strdup(dir);
	return c->mount ? 0 : -ENOMEM;
}

/* Path in the tree of an absolute, clean path; NULL: not in any mount, or
 * (*ret_err) in the one at *ret_dir, whose settings cannot be taken. */
static char *from_mount(struct cli *c, const char *path, char **ret_dir,
	int *ret_err)
{
	cleanup_free char *dir = cli_mount_of(path);
	cleanup_free char *home = NULL;
	cleanup_free char *real = NULL;
	const char *rest;
	int r;

	if (dir) {
		*ret_err = use_mount(c, dir);
		if (!*ret_err)
			return strdup(cli_below(path, dir));
		*ret_dir = steal_ptr(dir);
		return NULL;
	}
	home = conf_mountpoint();	/* nothing mounted there now */
	rest = home ? cli_below(path, home) : NULL;
	if (rest)
		return strdup(rest);
	r = proc_real_path(path, &real);	/* a link to the mount? */
	if (!r && strcmp(real, path))
		return from_mount(c, real, ret_dir, ret_err);
	*ret_err = r == -ETIMEDOUT || r == -ENOTCONN ? r : 0;
	return NULL;
}

/* dir: the mount that `arg` lies in; NULL: it is not known. */
static int refuse(const struct cli *c, const char *arg, const char *dir,
	int err)
{
	char gone[PATH_MAX + 128];

	switch (err) {
	case -EACCES:
		return cli_fail(c, arg, err, "in the mount of another user, "
			"whose settings are not taken: give --cache or "
			"--config");
	case -EXDEV:
		return cli_fail(c, arg, err, "in another mount than the name "
			"before it: one at a time");
	case -ETIMEDOUT:
		return cli_fail(c, arg, err, "in a mount that does not answer");
	case -ENOTCONN:
		(void) snprintf(gone, sizeof(gone), "the daemon of this mount "
			"is gone: 'omnihub mount%s%s' mounts it again (or give "
			"--cache or --config)", dir ? " " : "", dir ? dir : "");
		return cli_fail(c, arg, err, gone);
	default:
		return cli_fail(c, arg, err, NULL);
	}
}

static int ask_access(const char *path)
{
	return access(path, F_OK) ? -errno : 0;
}

static bool begins(const char *path, size_t n, const char *with)
{
	return with && strlen(with) == n && !strncmp(path, with, n);
}

/* Is there such a name where we stand? That may be in a mount which does not
 * answer: of each directory a child asks first. 1, 0, -ETIMEDOUT, -ENOTCONN. */
static int is_there(struct cli *c, const char *arg)
{
	size_t top = strcspn(arg, "/"), dir = (size_t)(path_base(arg) - arg);
	cleanup_free char *first = strndup(arg, top);
	int r;

	if (!first || begins(arg, top, c->missing))
		return 0;
	if (begins(arg, dir, c->answered))
		return !access(arg, F_OK);
	r = proc_ask(ask_access, arg);
	if (r == -ETIMEDOUT || r == -ENOTCONN)
		return c->conf_given ? 0 : r;
	free(c->answered);
	c->answered = strndup(arg, dir);
	if (r == -ENOENT && access(first, F_OK) < 0 && errno == ENOENT) {
		free(c->missing);
		c->missing = steal_ptr(first);
	}
	return !r;
}

int cli_tree_path(struct cli *c, const char *arg, char **ret)
{
	cleanup_free char *clean = cli_path_clean(arg);
	cleanup_free char *tree = NULL;
	cleanup_free char *dir = NULL;
	bool here = *arg == '.' && (!arg[1] || strchr("./", arg[1]));
	int err = *arg == '/' || here || !*arg ? 1 : is_there(c, arg);
	size_t n;

	/* Relative names are the tree's, unless they exist where we stand in
	 * a mount. "./x" and "../x" always mean where we stand. */
	if (err > 0 && *arg) {
		err = 0;
		tree = clean ? from_mount(c, clean, &dir, &err) : NULL;
	}
	if (err < 0 && !dir && clean)
		dir = cli_mount_of(clean);
	if (err < 0)
		return refuse(c, arg, dir, err);
	if (!tree && (*arg == '/' || here))
		return cli_fail(c, arg, -ENOENT,
			"not below a mountpoint of OmniHub");
	if (!tree) {
		tree = strdup(arg);
		if (!tree)
			return cli_fail(c, arg, -ENOMEM, NULL);
		for (n = strlen(tree); n && tree[n - 1] == '/'; n--)
			tree[n - 1] = '\0';
	}
	if (*tree && !path_rel_ok(tree))
		return cli_fail(c, arg, -ENOENT, "not a path of the tree");
	*ret = steal_ptr(tree);
	return CLI_DONE;
}

char *cli_attr(struct cli *c, struct fs_node *n, const char *name)
{
	cleanup_buf struct buf b = BUF_INIT(1024 * 1024);
	char full[128];

	(void) snprintf(full, sizeof(full), "user.omnihub.%s", name);
	if (fs_xattr_get(c->fs, n, full, &b) < 0 || !b.len)
		return NULL;
	return (char *)steal_ptr(b.data);
}

int cli_repo_of(struct cli *c, const char *path, char **ret)
{
	struct fs_node *n = NULL;
	struct fs_dir *dir = NULL;
	struct fs_attr a;
	char *repo = NULL;
	int r = fs_walk_wait(c->fs, path, &n, &a);

	if (!r)
		repo = fs_node_repo_path(n);
	/* No repository, and nobody has asked yet whether it is an owner. */
	if (!r && !repo && a.unsure)
		r = fs_readdir_wait(c->fs, n, &dir);
	fs_dir_free(dir);
	fs_node_unref(n);
	if (!r)
		*ret = repo;
	return r;
}

struct each {
	struct cli *c;
	int (*fn)(void *arg, const char *path, struct fs_node *n,
		const struct fs_attr *attr);
	void *arg;
	bool *failed;
};

static int each_file(const struct each *e, const char *path);

static int each_child(const struct each *e, const char *path,
	struct fs_node *node)
{
	struct fs_dir *dir = NULL;
	struct fs_dirent ent;
	char *child;
	size_t i;
	int r;

	r = fs_readdir_wait(e->c->fs, node, &dir);
	if (r < 0) {
		(void) cli_fail(e->c, path, r, NULL);
		*e->failed = true;
		return 0;
	}
	for (i = 0, r = 0; !r && i < fs_dir_count(dir); i++) {
		fs_dir_at(dir, i, &ent);
		/* An archive with what is in it, a model in its newest version. */
		if (ent.again || (!*path && !strcmp(ent.name, ".omnihub")))
			continue;
		child = path_join(path, ent.name);
		r = child ? each_file(e, child) : -ENOMEM;
		free(child);
	}
	fs_dir_free(dir);
	return r;
}

static int each_file(const struct each *e, const char *path)
{
	struct fs_node *node = NULL;
	struct fs_attr attr;
	int r;

	r = fs_walk_wait(e->c->fs, path, &node, &attr);
	if (r < 0) {
		(void) cli_fail(e->c, path, r, NULL);
		*e->failed = true;
		return 0;
	}
	r = attr.dir ? each_child(e, path, node) :
		e->fn(e->arg, path, node, &attr);
	fs_node_unref(node);
	return r;
}

int cli_each_file(struct cli *c, const char *path,
	int (*fn)(void *arg, const char *path, struct fs_node *n,
		const struct fs_attr *attr), void *arg, bool *ret_failed)
{
	struct each e = { c, fn, arg, ret_failed };

	return each_file(&e, path);
}
