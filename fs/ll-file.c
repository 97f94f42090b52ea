/*
 * open, read, release.
 *
 * The kernel allows one way at a time for an inode: cached (reads come here
 * and fill the page cache) or passthrough (reads go straight to the cache's
 * file); mixing them is EIO for the application. So the way of the first open
 * holds until the last release:
 *
 *   none ── open of a whole verified object, and we may ──► passthrough
 *   none ── any other open ───────────────────────────────► cached
 *
 * All passthrough opens of an inode share one backing id, closed at the last
 * release. The kernel drops its own state before RELEASE comes, so counting
 * here is on the safe side.
 *
 * Cached opens keep the pages of earlier ones (the bytes of a number never
 * change), except once after bytes turned out wrong, or a file of a hub without
 * revisions has become another. That is asked at the open itself: the thread
 * that tells the kernel may come too late.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "fs/errors.h"
#include "fs/handle.h"
#include "fs/handover.h"
#include "fs/inode.h"
#include "fs/ll.h"

#define PIECES_MAX 16	/* of one reply from mapped memory */
/* Bytes; less is copied: the disk is not read around it (cache/fill.c). */
#define LEND_MIN (128u << 10)

/* Kernel headers of Debian 12 do not know it yet; fuse_open_out. */
#ifndef FOPEN_PASSTHROUGH
#define FOPEN_PASSTHROUGH (1 << 7)
#endif
#ifndef FOPEN_NOFLUSH
#define FOPEN_NOFLUSH (1 << 5)
#endif
struct px_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
_Static_assert(sizeof(struct px_open_out) == 16, "as the kernel has it");

struct ll_file {
	struct fs_handle *handle;
	struct fs_node *node;	/* a reference */
	bool direct;		/* a control file: never cached */
	atomic_uint reads;	/* about to be answered */
};

struct open_op {
	struct ll_op op;
	struct fuse_file_info fi;
};

struct read_op {
	struct ll_op op;
	struct src_read read;
	struct ll_file *file;	/* only before RELEASE: see read_done */
	struct src *src;	/* a reference: RELEASE may come first */
	struct iovec lent[PIECES_MAX];
	char buf[];
};

/* ---- open --------------------------------------------------------------------- */

/* Under the lock: the backing id to open through, or 0. */
static int choose_backing(struct ll *ll, struct fs_node *n, struct src *src)
{
	int fd, id;

	if (n->shell.opens)
		return n->shell.backing;
	if (!atomic_load(&ll->passthrough))
		return 0;
	fd = src_fd(src);
	if (fd < 0)
		return 0;
	id = ll_backing_open(ll, fd);
	if (id > 0)
		return id;
	/* Not privileged, or the cache lies on a file system that is stacked
	 * itself: neither changes while we run. */
	if (id == -EPERM || id == -ELOOP) {
		atomic_store(&ll->passthrough, false);
		fs_note_passthrough(ll->fs, false, id == -EPERM ?
			"no (needs CAP_SYS_ADMIN)" :
			"no (the cache is on a stacked file system)");
	}
	return 0;
}

/* Under the lock: a server before us may have left it open. */
static void be_seated(struct ll *ll, struct fs_node *n)
{
	struct fs_seat seat;

	if (n->shell.seated)
		return;
	n->shell.seated = true;
	if (!ll->resume || fs_handover_find(ll->handover, n->ino, &seat, NULL))
		return;
	n->shell.opens = seat.opens;
	n->shell.backing = seat.backing;
	n->shell.drop = !seat.sure;
	n->shell.epochs = 0;	/* nobody has told the kernel yet */
	atomic_store(&n->shell.sure, seat.sure);
	atomic_store(&n->shell.paged, true);
}

/* The next server has to know before the kernel does. */
static void note_opens(struct ll *ll, const struct fs_node *n)
{
	fs_handover_opened(ll->handover, n->ino, n->shell.opens,
		n->shell.backing);
}

/* Does the kernel have nothing of the number but what is read by f now? */
static bool has_only(struct ll *ll, struct ll_file *f)
{
	bool drop;

	pthread_mutex_lock(&ll->open_lock);
	drop = f->node->shell.drop;
	pthread_mutex_unlock(&ll->open_lock);
	return !drop && !fs_handle_outlived(f->handle) &&
		src_epoch(fs_handle_src(f->handle)) == f->handle->epoch;
}

static bool is_right(struct ll_file *f)
{
	struct src_stat st;

	src_stat(fs_handle_src(f->handle), &st);
	/* A file the hub tells no digest of has nothing to be compared with. */
	return st.state == SRC_VERIFIED || (st.state == SRC_CACHED &&
		!f->handle->plan && st.id.alg == OBJID_NONE);
}

/* What was right may have been evicted since, and what comes through f instead
 * was not compared: a server that is killed must not have said it was. */
static void doubt_anew(struct ll *ll, struct ll_file *f)
{
	if (!atomic_load(&f->node->shell.sure) || is_right(f))
		return;
	atomic_store(&f->node->shell.sure, false);
	fs_handover_unsure(ll->handover, f->node->ino);
}

/* Will the bytes that were handed out stay right? */
static bool is_sure(struct ll *ll, struct ll_file *f)
{
	struct fs_node_shell *shell = &f->node->shell;

	if (atomic_load(&shell->sure))
		return true;
	if (has_only(ll, f) && is_right(f)) {
		atomic_store(&shell->sure, true);
		fs_handover_sure(ll->handover, f->node->ino);
	}
	return atomic_load(&shell->sure);
}

static void begin(struct ll *ll, struct ll_file *f, int *ret_backing,
	bool *ret_keep)
{
	uint64_t epochs = fs_epochs(ll->fs);
	struct fs_node *n = f->node;
	bool fresh;

	pthread_mutex_lock(&ll->open_lock);
	be_seated(ll, n);
	fresh = !atomic_load(&n->shell.paged);
	*ret_backing = choose_backing(ll, n, fs_handle_src(f->handle));
	n->shell.backing = *ret_backing;
	n->shell.opens++;
	note_opens(ll, n);
	*ret_keep = !n->shell.drop && n->shell.epochs == epochs;
	n->shell.drop = false;
	n->shell.epochs = epochs;
	if (!*ret_backing)
		atomic_store(&n->shell.paged, true);
	pthread_mutex_unlock(&ll->open_lock);
	doubt_anew(ll, f);
	/* Right as it is opened: the next server need not wait for its close.
	 * But pages that this open is to drop stay if we are killed before it
	 * is answered. */
	if (fresh)
		(void) is_sure(ll, f);
}

/* Under the lock: one open less of n. The backing id nobody uses now, or 0. */
static int close_one(struct ll *ll, struct fs_node *n, bool sure)
{
	int id = 0;

	be_seated(ll, n);
	if (n->shell.opens && --n->shell.opens == 0) {
		id = n->shell.backing;
		n->shell.backing = 0;
		n->shell.drop |= !sure;
	}
	note_opens(ll, n);
	return id;
}

/* Under the lock: of a number nobody has asked about here. */
static int close_seat(struct ll *ll, fuse_ino_t ino)
{
	struct fs_seat seat;
	int id = 0;

	if (fs_handover_find(ll->handover, ino, &seat, NULL) || !seat.opens)
		return 0;
	if (--seat.opens == 0) {
		id = seat.backing;
		seat.backing = 0;
	}
	fs_handover_opened(ll->handover, ino, seat.opens, seat.backing);
	return id;
}

static void end(struct ll *ll, struct ll_file *f)
{
	struct fs_node *n = f->node;
	int id = 0;
	bool sure;

	(void) atomic_load_explicit(&f->reads, memory_order_acquire);
	if (!f->direct) {
		sure = is_sure(ll, f);
		pthread_mutex_lock(&ll->open_lock);
		id = close_one(ll, n, sure);
		pthread_mutex_unlock(&ll->open_lock);
	}
	if (id)
		ll_backing_close(ll, id);
	fs_close(f->handle);
	fs_node_unref(n);
	free(f);
}

/* RELEASE of a handle that no server after the one that made it has used. Who
 * opens the number at this moment counts from what is left here. */
static void end_unused(struct ll *ll, fuse_ino_t ino)
{
	struct fs_node *n;
	int id = 0;

	pthread_mutex_lock(&ll->open_lock);
	n = fs_inode_find(ll->inodes, ino);
	if (!n) {
		id = close_seat(ll, ino);
	} else if (n->kind != FS_CTL) {
		be_seated(ll, n);
		id = close_one(ll, n, atomic_load(&n->shell.sure));
	}
	pthread_mutex_unlock(&ll->open_lock);
	if (id)
		ll_backing_close(ll, id);
	fs_node_unref(n);
}

static int reply_passthrough(fuse_req_t req, struct ll_file *f, int id)
{
	struct px_open_out o = {
		.fh = ll_handle_out(ll_of(req), f),
		.open_flags = FOPEN_PASSTHROUGH | FOPEN_NOFLUSH,
		.backing_id = id,
	};

	return fuse_reply_buf(req, (const char *)&o, sizeof(o));
}

static void reply_open(struct open_op *o, struct ll_file *f)
{
	struct ll *ll = o->op.ll;
	bool keep = false;
	int id = 0, r;

	if (!f->direct)
		begin(ll, f, &id, &keep);
	if (id) {
		r = reply_passthrough(o->op.req, f, id);
	} else {
		o->fi.fh = ll_handle_out(ll, f);
		o->fi.direct_io = f->direct;
		o->fi.keep_cache = keep;
		o->fi.noflush = 1;
		r = fuse_reply_open(o->op.req, &o->fi);
	}
	if (r) /* the opener is gone: no RELEASE will come */
		end(ll, f);
}

static void opened(void *arg, int err, struct fs_handle *h)
{
	struct open_op *o = arg;
	struct ll_file *f = NULL;

	if (!ll_op_claim(&o->op)) {
		fs_close(h);
		ll_op_put(&o->op);
		return;
	}
	if (!err) {
		f = calloc(1, sizeof(*f));
		err = f ? 0 : -ENOMEM;
	}
	if (err) {
		fs_close(h);
		ll_reply_err(o->op.req, err);
	} else {
		f->handle = h;
		f->node = fs_node_ref(o->op.node);
		f->direct = f->node->kind == FS_CTL;
		reply_open(o, f);
	}
	ll_op_put(&o->op);
}

void ll_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_node *n;
	struct open_op *o;

	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		ll_reply_err(req, -EROFS);
		return;
	}
	n = ll_node(req, ino);
	if (!n)
		return;
	o = (struct open_op *)ll_op_new(req, n, sizeof(*o), 0);
	if (!o)
		return;
	o->fi = *fi;
	fs_open(o->op.ll->fs, n, opened, o);
}

void ll_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ll *ll = ll_of(req);
	struct ll_file *f = ll_handle_last(ll, fi->fh);

	/* Answered first: who is killed in between leaves the file open for
	 * the next server, not closed though it is open. */
	ll_reply_err(req, 0);
	if (f)
		end(ll, f);
	else
		end_unused(ll, ino);
}

/* ---- what a server before us had open ----------------------------------------- */

struct again {
	struct ll *ll;
	struct fs_node *node;	/* a reference */
	ll_file_cb *cb;
	void *arg;
};

static void opened_again(void *arg, int err, struct fs_handle *h)
{
	struct again *a = arg;
	struct fs_seat seat = { 0 };
	struct ll_file *f = NULL;

	(void) fs_handover_find(a->ll->handover, a->node->ino, &seat, NULL);
	if (!err)
		f = calloc(1, sizeof(*f));
	if (f) {
		f->handle = h;
		f->node = a->node;
		f->direct = a->node->kind == FS_CTL;
		/* It goes on failing: see fs_handle_touch(). */
		h->epoch -= seat.doubt;
		fs_handle_resumed(h);
		pthread_mutex_lock(&a->ll->open_lock);
		be_seated(a->ll, f->node);
		pthread_mutex_unlock(&a->ll->open_lock);
		if (!f->direct)
			doubt_anew(a->ll, f);
	} else {
		fs_close(h);
		fs_node_unref(a->node);
	}
	a->cb(a->arg, f);
	free(a);
}

/* It stays open in the kernel. */
void ll_file_drop(struct ll_file *f)
{
	fs_close(f->handle);
	fs_node_unref(f->node);
	free(f);
}

void ll_file_again(struct ll *ll, struct fs_node *n, ll_file_cb *cb, void *arg)
{
	struct again *a = calloc(1, sizeof(*a));

	if (!a) {
		cb(arg, NULL);
		return;
	}
	*a = (struct again){ ll, fs_node_ref(n), cb, arg };
	fs_open(ll->fs, n, opened_again, a);
}

/* ---- read --------------------------------------------------------------------- */

/* RELEASE comes on another thread: only the kernel puts it behind all that was
 * looked at here, and C does not know that. */
static void done_with(struct ll_file *f)
{
	(void) atomic_fetch_add_explicit(&f->reads, 1, memory_order_release);
}

static void reply_read(struct read_op *o)
{
	const struct src_read *r = &o->read;

	if (r->n_lent)
		(void) fuse_reply_iov(o->op.req, r->lent, r->n_lent);
	else
		(void) fuse_reply_buf(o->op.req, r->buf, r->len);
}

static void read_finish(struct read_op *o, int err)
{
	if (ll_op_claim(&o->op)) {
		/* RELEASE cannot have come: the kernel waits for us. */
		if (!err && src_epoch(o->src) !=
				o->file->handle->epoch)
			err = -EIO;
		if (err)
			fs_handle_failed(o->file->handle, err);
		done_with(o->file);
		if (err)
			ll_reply_err(o->op.req, fs_errno(err));
		else
			reply_read(o);
	}
	src_unref(o->src);
	ll_op_put(&o->op);
}

static void read_done(struct src_read *r, int err)
{
	read_finish((struct read_op *)((char *)r -
			offsetof(struct read_op, read)), err);
}

static void read_wait(fuse_req_t req, struct ll_file *f, uint64_t off,
	size_t len)
{
	/* From ll_op_new() on INTERRUPT may answer, and RELEASE free f. */
	struct src *src = src_ref(fs_handle_src(f->handle));
	struct read_op *o;
	int r;

	done_with(f);
	o = (struct read_op *)ll_op_new(req, fs_node_ref(f->node),
		sizeof(*o), len);
	if (!o) {
		(void) src_unref(src);
		return;
	}
	o->file = f;
	o->src = src;
	o->read.off = off;
	o->read.len = len;
	o->read.buf = o->buf;
	o->read.lent = o->lent;
	o->read.max_lent = len < LEND_MIN ? 0 : PIECES_MAX;
	o->read.done = read_done;
	r = src_read(o->src, &o->read);
	if (r != -EINPROGRESS)
		read_finish(o, r);
}

void ll_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct ll_file *f = ll_handle_in(ll_of(req), fi->fh);
	struct iovec iov[PIECES_MAX];
	uint64_t at = off < 0 ? UINT64_MAX : (uint64_t)off, more_at, more;
	struct src *src;
	int n;

	(void) ino;
	if (!f) {
		ll_reply_err(req, -ESTALE);
		return;
	}
	src = fs_handle_src(f->handle);
	if (at >= src->size || !size) {
		done_with(f);
		(void) fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (size > src->size - at)
		size = (size_t)(src->size - at);
	if (fs_handle_look(f->handle, at, size, &more_at, &more)) {
		fs_handle_failed(f->handle, -EIO);
		done_with(f);
		ll_reply_err(req, -EIO);
		return;
	}
	/* The reader may have its bytes and close before the reply returns. */
	(void) src_ref(src);
	n = size < LEND_MIN ? 0 : src_peek(src, at, size, iov, PIECES_MAX);
	if (n <= 0) {
		read_wait(req, f, at, size);
	} else {
		done_with(f);
		(void) fuse_reply_iov(req, iov, n);
	}
	if (more)
		src_hint(src, more_at, more);
	(void) src_unref(src);
}

/* Files that no server after the one before us has looked at. */
static void drop_unseen(struct ll *ll)
{
	uint64_t *ino = NULL;
	size_t n = fs_handover_doubt(ll->handover, &ino);

	for (size_t i = 0; ll->resume && i < n; i++)
		(void) fuse_lowlevel_notify_inval_inode(ll->se, ino[i], 0, 0);
	free(ino);
}

/* The next server shall know it, too. */
void ll_file_another(struct ll *ll, fuse_ino_t ino, const char *path)
{
	struct fs_node *n = fs_inode_find(ll->inodes, ino);

	if (!n)
		return;
	if (fs_node_of_file(n, path)) {
		atomic_store(&n->shell.sure, false);
		fs_handover_another(ll->handover, ino);
	}
	fs_node_unref(n);
}

void ll_files_drop(struct ll *ll)
{
	uint64_t *ino = NULL;
	size_t n = fs_inodes_paged(ll->inodes, &ino);

	drop_unseen(ll);

	for (size_t i = 0; i < n; i++) {
		struct fs_node *node = fs_inode_find(ll->inodes, ino[i]);

		if (!node)
			continue;
		pthread_mutex_lock(&ll->open_lock);
		node->shell.drop = true;
		atomic_store(&node->shell.sure, false);
		pthread_mutex_unlock(&ll->open_lock);
		/* Attributes too: a staged file may come out otherwise. */
		(void) fuse_lowlevel_notify_inval_inode(ll->se, ino[i], 0, 0);
		fs_node_unref(node);
	}
	free(ino);
}
