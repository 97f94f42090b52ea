/*
 * How libfuse 3.14 interrupts: while a request is alive, INTERRUPT calls the
 * function set for it, under the request's own lock. Setting a function also
 * calls it, under the same lock, when the interrupt was there before; and a
 * function may be fetched by libfuse just before the request is answered. From
 * that follow the three rules below:
 *
 *  - who answers first sets the function to NULL: that waits for one that runs;
 *  - from INTERRUPT the function may answer itself, because libfuse holds a
 *    count of the request meanwhile;
 *  - from the setting it may not (the request would be freed under its own
 *    lock), so it only leaves a mark and the setter answers.
 */
#include "config.h"

#include "fs/ll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/errors.h"
#include "fs/inode.h"

enum ll_op_state {
	OP_WAITING,
	OP_ANSWERED,	/* by fs */
	OP_INTERRUPTED,	/* answered EINTR */
	OP_MARKED,	/* interrupted before it began; not answered */
};

const struct fuse_lowlevel_ops fs_ll_ops = {
	.init = ll_op_init,
	.lookup = ll_op_lookup,
	.forget = ll_op_forget,
	.forget_multi = ll_op_forget_multi,
	.getattr = ll_op_getattr,
	.open = ll_op_open,
	.read = ll_op_read,
	.release = ll_op_release,
	.opendir = ll_op_opendir,
	.readdir = ll_op_readdir,
	.readdirplus = ll_op_readdirplus,
	.releasedir = ll_op_releasedir,
	.statfs = ll_op_statfs,
	.getxattr = ll_op_getxattr,
	.listxattr = ll_op_listxattr,
};

void ll_reply_err(fuse_req_t req, int err)
{
	(void) fuse_reply_err(req, -err);
}

struct fs_node *ll_node(fuse_req_t req, fuse_ino_t ino)
{
	struct ll *ll = ll_of(req);
	struct fs_node *n = fs_inode_find(ll->inodes, ino);

	if (!n)
		ll_reply_err(req, -ESTALE);
	return n;
}

/* ---- ops ------------------------------------------------------------------------ */

static _Thread_local struct ll_op *arming;

static void op_interrupted(fuse_req_t req, void *data)
{
	struct ll_op *op = data;
	int waiting = OP_WAITING;

	if (!atomic_compare_exchange_strong(&op->state, &waiting,
			arming == op ? OP_MARKED : OP_INTERRUPTED))
		return;
	/* From here on op may be gone. */
	if (arming != op)
		ll_reply_err(req, -EINTR);
}

struct ll_op *ll_op_new(fuse_req_t req, struct fs_node *node, size_t size,
	size_t more)
{
	struct ll_op *op = malloc(size + more);

	if (!op) {
		ll_reply_err(req, -ENOMEM);
		fs_node_unref(node);
		return NULL;
	}
	memset(op, 0, size);
	op->ll = ll_of(req);
	op->req = req;
	op->node = node;
	atomic_init(&op->state, OP_WAITING);
	atomic_fetch_add(&op->ll->ops, 1);
	arming = op;
	fuse_req_interrupt_func(req, op_interrupted, op);
	arming = NULL;
	if (atomic_load(&op->state) == OP_WAITING)
		return op;
	if (atomic_load(&op->state) == OP_MARKED)
		ll_reply_err(req, -EINTR);
	ll_op_put(op);
	return NULL;
}

bool ll_op_claim(struct ll_op *op)
{
	int waiting = OP_WAITING;

	if (!atomic_compare_exchange_strong(&op->state, &waiting, OP_ANSWERED))
		return false;
	fuse_req_interrupt_func(op->req, NULL, NULL);
	return true;
}

void ll_op_put(struct ll_op *op)
{
	fs_node_unref(op->node);
	atomic_fetch_sub(&op->ll->ops, 1);
	free(op);
}

/* ---- attributes ------------------------------------------------------------------ */

double ll_attr_timeout(const struct fs_attr *a)
{
	if (a->fixed)
		return LL_FOREVER;
	return a->dir && !a->unsure ? LL_MOVING : 0;
}

double ll_entry_timeout(const struct fs_attr *a)
{
	return a->bound ? LL_FOREVER : (double)a->left_ms / 1000;
}

void ll_fill_stat(const struct ll *ll, const struct fs_attr *a,
	struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = a->ino,
		.st_mode = a->dir ? S_IFDIR | 0555 : S_IFREG | 0444,
		.st_nlink = a->dir ? 2 : 1,
		.st_uid = ll->uid,
		.st_gid = ll->gid,
		.st_size = (off_t)a->size,
		.st_blksize = LL_BLOCK,
		/* tar and cp take missing blocks for holes and would write
		 * zeros; what is really here says user.omnihub.cached_bytes. */
		.st_blocks = (blkcnt_t)((a->size + 511) / 512),
		.st_mtim.tv_sec = a->mtime,
		.st_ctim.tv_sec = a->mtime,
		.st_atim.tv_sec = a->mtime,
	};
}

void ll_fill_entry(const struct ll *ll, const struct fs_attr *a,
	struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = a->ino,
		.attr_timeout = ll_attr_timeout(a),
		.entry_timeout = ll_entry_timeout(a),
	};
	ll_fill_stat(ll, a, &ret->attr);
}
