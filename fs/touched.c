/*
 * Names somebody looked into, kept in the index so that `ls` shows them again
 * and so that walking through them asks no hub. A key is the path in the mount
 * of what is a repository there.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/lock.h"
#include "fs/tree.h"

#define NAMES_MAX (64 << 20)	/* bytes of a listing in the index */

struct touching {
	struct pool_job job;
	struct fs *fs;
	char *key;
};

static void write_touched(struct pool_job *job)
{
	struct touching *t = (struct touching *)job;

	(void) cache_index_put(t->fs->cache, CACHE_KIND_TOUCHED, t->key, "", 0);
	free(t->key);
	free(t);
}

void fs_repo_touched(struct fs *fs, struct fs_node *repo)
{
	struct touching *t;

	/* What stands in the mount by itself is shown anyway. */
	if (fs_node_is_place(repo) || atomic_exchange(&repo->touched, true))
		return;
	t = calloc(1, sizeof(*t));
	if (!t || !(t->key = fs_node_path(repo))) {
		free(t);
		return;
	}
	t->fs = fs;
	t->job.run = write_touched;
	pool_add(fs->work, &t->job);
}

/* The caller frees. */
static char *child_path(const struct fs_node *dir, const char *name)
{
	char *path = fs_node_path(dir), *child = NULL;

	if (path)
		child = path_join(path, name);
	free(path);
	return child;
}

bool fs_touched(struct fs *fs, const struct fs_node *dir, const char *name)
{
	struct buf none = BUF_INIT(4096);
	char *key = child_path(dir, name);
	int r = key ? cache_index_get(fs->cache, CACHE_KIND_TOUCHED, key, &none,
			      NULL) : -ENOMEM;

	free(key);
	buf_done(&none);
	return r == 0;
}

struct word_search {
	size_t len;		/* of the path that is looked for */
	enum fs_word found;
};

static int see_word(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	struct word_search *w = arg;

	(void) value;
	(void) len;
	(void) age;
	if (key[w->len] == '/')
		w->found = FS_WORD_OWNER;
	else if (key[w->len] == '\0' || key[w->len] == '@')
		w->found = FS_WORD_REPO;
	return w->found != FS_WORD_UNKNOWN;
}

/* It was an owner, however long ago its repositories were asked for. */
static bool listed_before(struct fs *fs, const char *key)
{
	struct buf names = BUF_INIT(NAMES_MAX);
	int r = cache_index_get(fs->cache, CACHE_KIND_NAMES, key, &names, NULL);

	buf_done(&names);
	return r == 0;
}

enum fs_word fs_word_known(struct fs *fs, const struct fs_node *dir,
	const char *name)
{
	char *key = child_path(dir, name);
	struct word_search w = { 0, FS_WORD_UNKNOWN };
	int locked = dir->hub ? fs_lock_word(fs->lock, dir->hub->name, name) :
		0;

	if (!key || locked) {
		free(key);
		return locked == 2 ? FS_WORD_REPO : locked ? FS_WORD_OWNER :
			FS_WORD_UNKNOWN;
	}
	w.len = strlen(key);
	(void) cache_index_each(fs->cache, CACHE_KIND_TOUCHED, key, see_word,
		&w);
	if (w.found == FS_WORD_UNKNOWN && listed_before(fs, key))
		w.found = FS_WORD_OWNER;
	free(key);
	return w.found;
}

struct below {
	size_t prefix;		/* bytes of a key before the name */
	int (*fn)(void *arg, const char *name, size_t len, bool more);
	void *arg;
	int err;
};

static int see_below(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	struct below *b = arg;
	const char *name = key + b->prefix;
	size_t n = strcspn(name, "/");

	(void) value;
	(void) len;
	(void) age;
	if (n)
		b->err = b->fn(b->arg, name, n, name[n] != '\0');
	return b->err;
}

int fs_touched_each(struct fs *fs, const struct fs_node *dir,
	int (*fn)(void *arg, const char *name, size_t len, bool more),
	void *arg)
{
	char *path = fs_node_path(dir), *prefix;
	struct below b = { .fn = fn, .arg = arg };

	if (!path)
		return -ENOMEM;
	b.prefix = strlen(path) + 1;
	prefix = realloc(path, b.prefix + 1);
	if (!prefix) {
		free(path);
		return -ENOMEM;
	}
	strcpy(prefix + b.prefix - 1, "/");
	(void) cache_index_each(fs->cache, CACHE_KIND_TOUCHED, prefix,
		see_below, &b);
	free(prefix);
	return b.err;
}
