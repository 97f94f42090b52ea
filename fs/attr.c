/*
 * Attributes of a node. Most are known; a staged file's need a plan, the size
 * of some files is a question of its own, a control file's is that of its text,
 * and whether an owner exists at all only the hub can say.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/measure.h"
#include "fs/name.h"
#include "fs/series.h"
#include "fs/tree.h"

/* One question for the attributes of a node that only a pool can give. */
struct asking_attr {
	struct pool_job job;
	struct fs *fs;
	struct fs_node *node;	/* a reference, later the callee's */
	fs_node_cb *cb;
	void *arg;
};

static bool bound(const struct fs_node *n)
{
	const struct fs_node *p = n->parent;

	if (fs_node_is_place(n) || p->kind == FS_CTL_DIR ||
		p->kind == FS_DIR || p->kind == FS_ARCHIVE)
		return true;
	return p->kind == FS_REPO && fs_name_is_commit(p->rev);
}

/* A child of a branch is another one when the branch has moved. */
static uint64_t left(struct fs *fs, const struct fs_node *n)
{
	const struct fs_node *p = n->parent;

	if (!p || !fs_node_is_repo(p) || !n->snap)
		return FS_MOVING_MS;
	return fs_resolve_left(&fs->resolver, p->hub, p->repo, p->rev, n->snap);
}

static int attr_of_repo(struct fs *fs, struct fs_node *n, struct fs_attr *a)
{
	struct fs_snap *s = fs_resolve_known(&fs->resolver, n->hub, n->repo,
		n->rev);

	a->mtime = s ? s->mtime : 0;
	a->fixed = s && fs_name_is_commit(n->rev);
	fs_snap_unref(s);
	return 0;
}

/* Is it known to exist? What the directory above was listed with does. */
static bool seen(struct fs *fs, struct fs_node *n)
{
	const struct fs_node *p = n->parent;
	bool known;

	if (n->kind != FS_SERIES && atomic_load(&n->touched))
		return true;
	known = fs_node_is_place(n) ||
		(p->repo && fs_owner_has(&fs->resolver, n->hub, p->repo,
				n->name)) ||
		(n->kind == FS_SERIES && fs_series_known(fs, n)) ||
		fs_word_known(fs, p, n->name) != FS_WORD_UNKNOWN;
	if (known && n->kind != FS_SERIES)
		atomic_store(&n->touched, true);
	return known;
}

int fs_attr_now(struct fs *fs, struct fs_node *n, struct fs_attr *ret)
{
	struct fs_attr a = { .ino = n->ino, .dir = fs_node_is_dir(n),
		.mtime = n->snap ? n->snap->mtime : fs->started,
		.fixed = n->snap, .bound = bound(n), .left_ms = left(fs, n) };
	int r = 0;

	switch (n->kind) {
	case FS_REPO:
		r = attr_of_repo(fs, n, &a);
		break;
	case FS_FILE:
		a.size = fs_measured(n->snap, n->entry)->size;
		if (fs_measure_due(n->snap, n->entry))
			r = -EAGAIN;
		break;
	case FS_STAGED:
		r = fs_plan_known(n->plan, &a.size);
		if (r && r != -EAGAIN) {
			a.fixed = false;
			r = 0;
		}
		break;
	case FS_SERIES:
		r = attr_of_repo(fs, n, &a);
		a.unsure = !seen(fs, n);
		break;
	case FS_OWNER:
	case FS_GROUP:
		a.unsure = !seen(fs, n);
		break;
	case FS_CTL:
		r = -EAGAIN;
		break;
	case FS_ROOT:
	case FS_CTL_DIR:
	case FS_PLACE:
	case FS_HUB:
	case FS_DIR:
	case FS_ARCHIVE:
		break;
	}
	if (!r)
		*ret = a;
	return r;
}

static void answer_attr(struct asking_attr *k, int err, uint64_t size,
	bool fixed)
{
	struct fs_node *n = k->node;
	struct fs_attr a = { .ino = n->ino, .size = size, .fixed = fixed,
		.mtime = n->snap ? n->snap->mtime : k->fs->started,
		.bound = bound(n), .left_ms = left(k->fs, n) };

	if (err)
		fs_node_unref(n);
	k->cb(k->arg, err, err ? NULL : n, &a);
	free(k);
}

static void planned(void *arg, int err, uint64_t size)
{
	/* What can never be made is a file all the same: its open says why. */
	bool refused = err == -ENOTSUP || err == -EFBIG;

	answer_attr(arg, refused ? 0 : err, refused ? 0 : size, !err);
}

static void measured(void *arg, int err, const struct error *why,
	const struct listing_entry *e)
{
	struct asking_attr *k = arg;
	char *path = err ? fs_node_path(k->node) : NULL;

	if (path)
		fs_errors_add(&k->fs->errors, path, fs_errno(err),
			error_text(why, err));
	free(path);
	answer_attr(k, fs_errno(err), err ? 0 : e->size, true);
}

static void measure_ctl(struct pool_job *job)
{
	struct asking_attr *k = (struct asking_attr *)job;
	struct buf b = BUF_INIT(FS_CTL_MAX);
	int r = k->node->ctl->show(k->fs, &b);
	size_t len = b.len;

	buf_done(&b);
	answer_attr(k, r, len, false);
}

void fs_attr_answer(struct fs *fs, struct fs_node *n, fs_node_cb *cb,
	void *arg)
{
	struct fs_attr a;
	struct asking_attr *k;
	int r = fs_attr_now(fs, n, &a);

	if (!r) {
		cb(arg, 0, n, &a);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		fs_node_unref(n);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*k = (struct asking_attr){ .fs = fs, .node = n, .cb = cb, .arg = arg };
	if (n->kind == FS_STAGED) {
		char *path = fs_node_path(n);
		struct fs_plan_for whom = { n->snap, n->inner, path };

		if (path)
			fs_plan_want(n->plan, &whom, planned, k);
		else
			answer_attr(k, -ENOMEM, 0, false);
		free(path);
	} else if (n->kind == FS_FILE) {
		fs_measure(n->snap, n->entry, measured, k);
	} else {
		k->job.run = measure_ctl;
		pool_add(fs->work, &k->job);
	}
}

/* ---- does it exist? --------------------------------------------------------- */

static void exists(struct asking_attr *k, int err)
{
	struct fs_node *n = k->node;
	struct fs_attr a = { 0 };

	if (!err)
		err = fs_attr_now(k->fs, n, &a);
	a.unsure = false;
	if (err)
		fs_node_unref(n);
	k->cb(k->arg, fs_errno(err), err ? NULL : n, &a);
	free(k);
}

/* Who has nothing does not exist; unless the hub cannot say so, or a token may
 * open what no listing shows. */
static void owner_listed(void *arg, int err, struct fs_owner *o)
{
	struct asking_attr *k = arg;
	bool none = err == -ENOENT || (!err && !o->repos.n);

	if (!err && o->repos.n)
		atomic_store(&k->node->touched, true);
	if (!err)
		fs_owner_unref(&k->fs->resolver, o);
	exists(k, none && !k->node->hub->has_token ? -ENOENT : 0);
}

static void newest_found(void *arg, int err, struct fs_snap *snap,
	const char *inner)
{
	if (!err && !listing_is_dir(&snap->own, inner))
		err = -ENOENT;
	fs_snap_unref(snap);
	exists(arg, err);
}

void fs_getattr(struct fs *fs, struct fs_node *n, fs_node_cb *cb, void *arg)
{
	bool asks = n->kind == FS_OWNER || n->kind == FS_GROUP ||
		n->kind == FS_SERIES;
	struct asking_attr *k;

	if (!asks || seen(fs, n)) {
		fs_attr_answer(fs, fs_node_ref(n), cb, arg);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*k = (struct asking_attr){ .fs = fs, .node = fs_node_ref(n), .cb = cb,
		.arg = arg };
	if (n->kind == FS_SERIES)
		fs_series_newest(fs, n, newest_found, k);
	else
		fs_owner_list(&fs->resolver, n->hub, n->repo, owner_listed, k);
}
