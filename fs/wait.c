/* Walking a path, and the forms that wait: what the command line needs. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/tree.h"

/* ---- walk ------------------------------------------------------------------------ */

struct walking {
	struct fs *fs;
	fs_node_cb *cb;
	void *arg;
	char *at;	/* the next component */
	char path[];
};

static void step(struct walking *w, struct fs_node *n);

static void stepped(void *arg, int err, struct fs_node *n,
	const struct fs_attr *attr)
{
	struct walking *w = arg;

	if (!err && !*w->at) {
		w->cb(w->arg, 0, n, attr);
		free(w);
	} else if (err) {
		w->cb(w->arg, err, NULL, NULL);
		free(w);
	} else {
		step(w, n);
	}
}

static char *skip(char *p)
{
	while (*p == '/' || (*p == '.' && (p[1] == '/' || !p[1])))
		p++;
	return p;
}

/* n is given back. */
static void step(struct walking *w, struct fs_node *n)
{
	char *name = w->at;
	size_t len = strcspn(name, "/");

	if (!len) {
		fs_getattr(w->fs, n, stepped, w);
	} else {
		w->at = name + len;
		if (*w->at) {
			*w->at = '\0';
			w->at = skip(w->at + 1);
		}
		fs_lookup(w->fs, n, name, stepped, w);
	}
	fs_node_unref(n);
}

void fs_walk(struct fs *fs, const char *path, fs_node_cb *cb, void *arg)
{
	struct walking *w = calloc(1, sizeof(*w) + strlen(path) + 1);

	if (!w) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	strcpy(w->path, path);
	w->fs = fs;
	w->cb = cb;
	w->arg = arg;
	w->at = skip(w->path);
	step(w, fs_node_ref(fs->root));
}

/* ---- waiting --------------------------------------------------------------------- */

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;		/* lock */
	int err;		/* lock */
	void *got;		/* lock */
	struct fs_attr attr;	/* lock */
};

#define WAIT_INIT { .lock = PTHREAD_MUTEX_INITIALIZER, \
	.cond = PTHREAD_COND_INITIALIZER }

static void arrive(struct wait *w, int err, void *got,
	const struct fs_attr *attr)
{
	pthread_mutex_lock(&w->lock);
	w->err = err;
	w->got = got;
	if (attr)
		w->attr = *attr;
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int await(struct wait *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->err;
}

static void node_came(void *arg, int err, struct fs_node *n,
	const struct fs_attr *attr)
{
	arrive(arg, err, n, err ? NULL : attr);
}

static void dir_came(void *arg, int err, struct fs_dir *d)
{
	arrive(arg, err, d, NULL);
}

static void handle_came(void *arg, int err, struct fs_handle *h)
{
	arrive(arg, err, h, NULL);
}

int fs_walk_wait(struct fs *fs, const char *path, struct fs_node **ret,
	struct fs_attr *ret_attr)
{
	struct wait w = WAIT_INIT;
	int r;

	fs_walk(fs, path, node_came, &w);
	r = await(&w);
	if (r)
		return r;
	*ret = w.got;
	if (ret_attr)
		*ret_attr = w.attr;
	return 0;
}

int fs_readdir_wait(struct fs *fs, struct fs_node *dir, struct fs_dir **ret)
{
	struct wait w = WAIT_INIT;
	int r;

	fs_readdir(fs, dir, dir_came, &w);
	r = await(&w);
	if (!r)
		*ret = w.got;
	return r;
}

int fs_open_wait(struct fs *fs, struct fs_node *n, struct fs_handle **ret)
{
	struct wait w = WAIT_INIT;
	int r;

	fs_open(fs, n, handle_came, &w);
	r = await(&w);
	if (!r)
		*ret = w.got;
	return r;
}

static int lookup_wait(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret, struct fs_attr *ret_attr)
{
	struct wait w = WAIT_INIT;
	int r;

	fs_lookup(fs, dir, name, node_came, &w);
	r = await(&w);
	if (r)
		return r;
	*ret = w.got;
	*ret_attr = w.attr;
	return 0;
}

/* Every name on the way may move. */
static void refresh(struct fs *fs, struct fs_node *n, bool last)
{
	if (fs_node_is_repo(n))
		fs_resolve_expire(&fs->resolver, n->hub, n->repo, n->rev,
			true);
	if (last && (n->kind == FS_OWNER || n->kind == FS_GROUP ||
			n->kind == FS_SERIES))
		fs_owner_expire(&fs->resolver, n->hub, n->repo);
}

int fs_refresh_wait(struct fs *fs, const char *path)
{
	struct fs_node *n = fs_node_ref(fs->root), *child;
	struct fs_attr a = { .dir = true };
	struct fs_dir *d = NULL;
	char name[PATH_NAME_MAX + 1];
	size_t len;
	int r = 0;

	for (; !r && *path; path += len + (path[len] == '/')) {
		len = strcspn(path, "/");
		refresh(fs, n, false);
		if (len > PATH_NAME_MAX)
			r = -ENAMETOOLONG;
		if (r || !len)
			continue;
		memcpy(name, path, len);
		name[len] = '\0';
		r = lookup_wait(fs, n, name, &child, &a);
		if (!r) {
			fs_node_unref(n);
			n = child;
		}
	}
	if (!r && a.dir) {
		refresh(fs, n, true);
		r = fs_readdir_wait(fs, n, &d);
		fs_dir_free(d);
	}
	fs_node_unref(n);
	return r;
}

/* ---- usage ------------------------------------------------------------------------ */

static int add_file(struct fs *fs, struct fs_node *n, uint64_t size,
	struct fs_usage *u)
{
	struct buf b = BUF_INIT(64);
	int r = fs_xattr_get(fs, n, "user.omnihub.cached_bytes", &b);

	if (!r) {
		u->bytes += size;
		u->cached_bytes += strtoull((const char *)b.data, NULL, 10);
		u->files++;
	}
	buf_done(&b);
	return r == -ENODATA ? 0 : r;
}

/* What cannot be told is no reason not to tell the rest. */
static bool goes_on(int err)
{
	return err != -EINTR && err != -ENOMEM;
}

static int add_node(struct fs *fs, struct fs_node *n,
	const struct fs_attr *attr, struct fs_usage *u)
{
	struct fs_dir *d = NULL;
	int r;

	if (!attr->dir)
		return add_file(fs, n, attr->size, u);
	r = fs_readdir_wait(fs, n, &d);
	for (size_t i = 0; !r && i < fs_dir_count(d); i++) {
		struct fs_node *child = NULL;
		struct fs_dirent e;
		struct fs_attr a;

		fs_dir_at(d, i, &e);
		if (e.again || (n->kind == FS_ROOT &&
				!strcmp(e.name, FS_CTL_DIR_NAME)))
			continue;
		r = lookup_wait(fs, n, e.name, &child, &a);
		if (!r)
			r = add_node(fs, child, &a, u);
		if (r && goes_on(r)) {
			u->unknown++;
			r = 0;
		}
		fs_node_unref(child);
	}
	fs_dir_free(d);
	return r;
}

int fs_usage_wait(struct fs *fs, struct fs_node *n, struct fs_usage *ret)
{
	struct fs_usage u = { 0 };
	struct wait w = WAIT_INIT;
	struct fs_node *self;
	int r;

	fs_getattr(fs, n, node_came, &w);
	r = await(&w);
	if (r)
		return r;
	self = w.got;
	r = add_node(fs, self, &w.attr, &u);
	fs_node_unref(self);
	if (!r)
		*ret = u;
	return r;
}
