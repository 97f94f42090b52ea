/*
 * What the kernel has to be told unasked. When bytes turn out wrong, it must
 * drop the pages it has of them; when a user wants a hub asked again, it must
 * look names up again. Telling it may wait for a page that is being read, or
 * for a directory somebody is looking in, whose answer waits for the hub; so a
 * thread of its own does it.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#include "fs/ll.h"
#include "fs/tree.h"

struct ll_refresh {
	struct ll_op op;
	struct ll_refresh *next;	/* ll.notify_lock */
	size_t size;			/* bytes there is room for */
};

void ll_note_missing(struct ll *ll, fuse_ino_t dir, const char *name)
{
	char *copy = strdup(name), *old;
	struct ll_missing *m;

	pthread_mutex_lock(&ll->notify_lock);
	m = &ll->missing[ll->next_missing++ % LL_MISSING];
	old = m->name;
	*m = (struct ll_missing){ dir, copy };
	pthread_mutex_unlock(&ll->notify_lock);
	free(old);
}

/* Take those of dir out, behind the names that are there. */
static void missing_names(struct ll *ll, fuse_ino_t dir, struct buf *ret)
{
	pthread_mutex_lock(&ll->notify_lock);
	for (unsigned i = 0; i < LL_MISSING; i++) {
		struct ll_missing *m = &ll->missing[i];

		if (!m->name || m->dir != dir)
			continue;
		(void) buf_append(ret, m->name, strlen(m->name) + 1);
		free(m->name);
		m->name = NULL;
	}
	pthread_mutex_unlock(&ll->notify_lock);
}

/* Names are only made old, not dropped: they stay those of who stands in them
 * or has them open, and are looked up by the next who walks there. */
static void expire_names(struct ll *ll, struct fs_node *dir)
{
	struct buf names = BUF_INIT(64 << 20);

	ll_known_names(ll, dir, &names);
	missing_names(ll, dir->ino, &names);
	for (size_t at = 0; at < names.len;) {
		const char *name = (const char *)names.data + at;
		size_t len = strlen(name);

		if (fuse_lowlevel_notify_expire_entry(ll->se, dir->ino, name,
				len, FUSE_LL_EXPIRE_ONLY) == -ENOSYS)
			(void) fuse_lowlevel_notify_inval_entry(ll->se,
				dir->ino, name, len);
		at += len + 1;
	}
	buf_done(&names);
	(void) fuse_lowlevel_notify_inval_inode(ll->se, dir->ino, -1, 0);
}

/* Sizes that were asked for are so again. */
static void expire_sizes(struct ll *ll, const struct fs_node *repo)
{
	uint64_t *ino;
	size_t n = fs_inodes_measured(&ll->fs->inodes, repo, &ino);

	for (size_t i = 0; i < n; i++)
		(void) fuse_lowlevel_notify_inval_inode(ll->se, ino[i], -1, 0);
	free(ino);
}

static void refresh(struct ll_refresh *k)
{
	static const char said[] = "asked again at the next look-up";
	struct ll *ll = k->op.ll;
	struct fs_node *repo = fs_node_repo(k->op.node);

	expire_names(ll, repo ? repo : k->op.node);
	if (repo)
		expire_sizes(ll, repo);
	if (!ll_op_claim(&k->op))
		;
	else if (!k->size)
		(void) fuse_reply_xattr(k->op.req, sizeof(said) - 1);
	else if (k->size < sizeof(said) - 1)
		ll_reply_err(k->op.req, -ERANGE);
	else
		(void) fuse_reply_buf(k->op.req, said, sizeof(said) - 1);
	ll_op_put(&k->op);
}

void ll_op_refresh(fuse_req_t req, struct fs_node *n, size_t size)
{
	struct ll_refresh *k = (struct ll_refresh *)ll_op_new(req, n,
		sizeof(*k), 0);
	struct ll *ll;

	if (!k)
		return;
	ll = k->op.ll;
	k->size = size;
	fs_expire(ll->fs, n);
	pthread_mutex_lock(&ll->notify_lock);
	k->next = ll->refresh;
	ll->refresh = k;
	pthread_cond_signal(&ll->notify_cond);
	pthread_mutex_unlock(&ll->notify_lock);
}

static void *notify(void *arg)
{
	struct ll *ll = arg;

	pthread_mutex_lock(&ll->notify_lock);
	while (!ll->stopping) {
		struct ll_refresh *k = ll->refresh;
		bool drop = ll->notify;

		if (!drop && !k) {
			pthread_cond_wait(&ll->notify_cond, &ll->notify_lock);
			continue;
		}
		ll->notify = false;
		if (k)
			ll->refresh = k->next;
		pthread_mutex_unlock(&ll->notify_lock);
		if (drop)
			ll_files_drop(ll);
		if (k)
			refresh(k);
		pthread_mutex_lock(&ll->notify_lock);
	}
	pthread_mutex_unlock(&ll->notify_lock);
	return NULL;
}

static void wrong(void *arg)
{
	struct ll *ll = arg;

	pthread_mutex_lock(&ll->notify_lock);
	ll->notify = true;
	pthread_cond_signal(&ll->notify_cond);
	pthread_mutex_unlock(&ll->notify_lock);
}

/* Attributes only: that waits for no page, whoever reads one. */
static void resized(void *arg, const uint64_t *ino, size_t n,
	const char *another)
{
	struct ll *ll = arg;

	for (size_t i = 0; i < n && another; i++)
		ll_file_another(ll, ino[i], another);
	pthread_mutex_lock(&ll->notify_lock);
	for (size_t i = 0; i < n && !ll->stopping; i++)
		(void) fuse_lowlevel_notify_inval_inode(ll->se, ino[i], -1, 0);
	pthread_mutex_unlock(&ll->notify_lock);
}

int ll_notify_start(struct ll *ll)
{
	int r;

	pthread_mutex_init(&ll->notify_lock, NULL);
	pthread_cond_init(&ll->notify_cond, NULL);
	r = pthread_create(&ll->notifier, NULL, notify, ll);
	if (r)
		return -r;
	ll->fs->on_wrong_arg = ll;
	ll->fs->on_wrong = wrong;
	ll->fs->on_resized = resized;
	return 0;
}

void ll_notify_stop(struct ll *ll)
{
	pthread_mutex_lock(&ll->notify_lock);
	ll->stopping = true;
	pthread_cond_signal(&ll->notify_cond);
	pthread_mutex_unlock(&ll->notify_lock);
	pthread_join(ll->notifier, NULL);
	for (unsigned i = 0; i < LL_MISSING; i++)
		free(ll->missing[i].name);
}
