/* What the tools' layouts have in common: names, and walking directories. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cache/foreign.h"

#define DEPTH_MAX 32

int cache_foreign_path(char **ret, const char *fmt, ...)
{
	char *rel;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&rel, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	if (!path_rel_ok(rel)) {
		free(rel);
		return -ENOENT;
	}
	*ret = rel;
	return 0;
}

bool cache_foreign_has(const char *root, const char *rel)
{
	cleanup_free char *path = path_join(root, rel);
	struct stat st;

	return path && !lstat(path, &st) && S_ISREG(st.st_mode);
}

static int tell(const char *root, const char *dir, const char *name,
	int (*fn)(void *arg, const struct foreign_entry *e), void *arg)
{
	cleanup_free char *rel = path_join(dir, name);
	cleanup_free char *file = rel ? path_join(root, rel) : NULL;
	struct stat st;

	if (!file)
		return -ENOMEM;
	if (!path_name_ok(name, strlen(name)) || lstat(file, &st) < 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return 0;
	return fn(arg, &(struct foreign_entry){ name, rel, file, &st });
}

int cache_foreign_dir(const char *root, const char *dir,
	int (*fn)(void *arg, const struct foreign_entry *e), void *arg)
{
	cleanup_free char *path = path_join(root, dir);
	struct dirent *e;
	DIR *d;
	int r = 0;

	if (!path)
		return -ENOMEM;
	d = opendir(path);
	if (!d)
		return 0;
	while (!r && (e = readdir(d)))
		r = tell(root, dir, e->d_name, fn, arg);
	(void) closedir(d);
	return r;
}

struct walk {
	const char *root;
	int (*fn)(void *arg, const struct foreign_entry *e);
	void *arg;
	int depth;
};

static int descend(void *arg, const struct foreign_entry *e)
{
	struct walk *w = arg;
	int r;

	if (S_ISREG(e->st->st_mode))
		return w->fn(w->arg, e);
	if (w->depth >= DEPTH_MAX)
		return 0;
	w->depth++;
	r = cache_foreign_dir(w->root, e->rel, descend, w);
	w->depth--;
	return r;
}

int cache_foreign_tree(const char *root, const char *dir,
	int (*fn)(void *arg, const struct foreign_entry *e), void *arg)
{
	struct walk w = { root, fn, arg, 0 };

	return cache_foreign_dir(root, dir, descend, &w);
}
