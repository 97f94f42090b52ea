/*
 * Which opens keep the kernel's pages, in one server of a mount and in the next
 * one: ll-file.c over the tree and doubles of libfuse.
 */
#include "config.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/handover.h"
#include "fs/inode.h"
#include "fs/ll.h"
#include "fs/tree.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

static const char late[] = "pytorch/torchvision/late.bin";
static const char staged[] = HF "org/model/pytorch/model.onnx";

/* ---- libfuse, and what else answers the kernel --------------------------- */

struct fuse_req {
	struct ll *ll;
	sem_t answered;
	int err;
	bool keep;
	uint64_t fh;
};

static uint64_t dropped;	/* the last number the kernel was told of */

void *fuse_req_userdata(fuse_req_t req)
{
	return req->ll;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->keep = fi->keep_cache;
	req->fh = fi->fh;
	t_int(sem_post(&req->answered), 0);
	return 0;
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	(void) buf;
	(void) size;
	t_int(sem_post(&req->answered), 0);
	return 0;
}

int fuse_reply_iov(fuse_req_t req, const struct iovec *iov, int count)
{
	(void) iov;
	return fuse_reply_buf(req, NULL, (size_t)count);
}

void ll_reply_err(fuse_req_t req, int err)
{
	req->err = err;
	t_int(sem_post(&req->answered), 0);
}

int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino,
	off_t off, off_t len)
{
	(void) se;
	t_int(off, 0);
	t_int(len, 0);
	dropped = ino;
	return 0;
}

struct fs_node *ll_node(fuse_req_t req, fuse_ino_t ino)
{
	return fs_inode_find(req->ll->inodes, ino);
}

struct ll_op *ll_op_new(fuse_req_t req, struct fs_node *node, size_t size,
	size_t more)
{
	struct ll_op *op = calloc(1, size + more);

	t_check(op);
	op->ll = req->ll;
	op->req = req;
	op->node = node;
	return op;
}

bool ll_op_claim(struct ll_op *op)
{
	(void) op;
	return true;
}

void ll_op_put(struct ll_op *op)
{
	fs_node_unref(op->node);
	free(op);
}

uint64_t ll_handle_out(struct ll *ll, void *p)
{
	(void) ll;
	return (uint64_t)(uintptr_t)p;
}

void *ll_handle_in(struct ll *ll, uint64_t fh)
{
	(void) ll;
	return (void *)(uintptr_t)fh;
}

void *ll_handle_last(struct ll *ll, uint64_t fh)
{
	return ll_handle_in(ll, fh);
}

int ll_backing_open(struct ll *ll, int fd)
{
	(void) ll;
	(void) fd;
	return -EPERM;
}

void ll_backing_close(struct ll *ll, int id)
{
	(void) ll;
	(void) id;
	t_check(!"a backing id");
}

/* ---- a server, and the next ---------------------------------------------- */

struct server {
	struct ll ll;
	struct fs *fs;
	uint64_t ino;		/* of the one file that is looked at */
};

static void resized(void *arg, const uint64_t *ino, size_t n,
	const char *another)
{
	for (size_t i = 0; i < n && another; i++)
		ll_file_another(arg, ino[i], another);
}

/* Behind the one before, which is gone, unless h is NULL. */
static void begin(struct server *s, const char *path, struct fs_handover *h)
{
	static char resumes;
	struct fs_node *n = NULL;

	memset(s, 0, sizeof(*s));
	s->fs = double_fs(NULL);
	s->ll.fs = s->fs;
	s->ll.inodes = &s->fs->inodes;
	s->ll.resume = h ? (struct ll_resume *)&resumes : NULL;
	t_int(pthread_mutex_init(&s->ll.open_lock, NULL), 0);
	s->fs->on_wrong_arg = &s->ll;
	s->fs->on_resized = resized;
	if (h)
		t_int(fs_handover_open(dup(fs_handover_fd(h)),
			&s->ll.handover), 0);
	else
		t_int(fs_handover_new(&s->ll.handover), 0);
	fs_handover_free(h);
	t_int(fs_handover_resume(s->ll.handover), 0);
	t_int(fs_walk_wait(s->fs, path, &n, NULL), 0);
	s->ino = n->ino;
	fs_inode_looked_up(n);
	if (!h)
		t_int(fs_handover_known(s->ll.handover, n->ino, 1, "x", 1), 0);
	fs_node_unref(n);
}

static void killed(struct server *s)
{
	fs_inodes_forget_all(s->ll.inodes);
	double_fs_free(s->fs);
	t_int(pthread_mutex_destroy(&s->ll.open_lock), 0);
}

static void done(struct server *s)
{
	killed(s);
	fs_handover_free(s->ll.handover);
}

static void ask(struct fuse_req *r, struct server *s)
{
	memset(r, 0, sizeof(*r));
	r->ll = &s->ll;
	t_int(sem_init(&r->answered, 0, 0), 0);
}

static void answer(struct fuse_req *r)
{
	t_int(sem_wait(&r->answered), 0);
	t_int(sem_destroy(&r->answered), 0);
}

static uint64_t open_file(struct server *s, bool *ret_keeps)
{
	struct fuse_file_info fi = { .flags = O_RDONLY };
	struct fuse_req r;

	ask(&r, s);
	ll_op_open(&r, s->ino, &fi);
	answer(&r);
	t_int(r.err, 0);
	*ret_keeps = r.keep;
	return r.fh;
}

static int read_file(struct server *s, uint64_t fh)
{
	struct fuse_file_info fi = { .fh = fh };
	struct fuse_req r;

	ask(&r, s);
	ll_op_read(&r, s->ino, 1, 0, &fi);
	answer(&r);
	return r.err;
}

static void close_file(struct server *s, uint64_t fh)
{
	struct fuse_file_info fi = { .fh = fh };
	struct fuse_req r;

	ask(&r, s);
	ll_op_release(&r, s->ino, &fi);
	answer(&r);
}

/* Opened and closed again. */
static bool keeps(struct server *s)
{
	bool yes;

	close_file(s, open_file(s, &yes));
	return yes;
}

static void made_again(void *arg, struct ll_file *f)
{
	t_check(f);
	*(uint64_t *)arg = (uint64_t)(uintptr_t)f;
}

/* What the server before had open, as a request with its handle does it. */
static uint64_t open_again(struct server *s)
{
	struct fs_node *n = fs_inode_find(s->ll.inodes, s->ino);
	uint64_t fh = 0;

	ll_file_again(&s->ll, n, made_again, &fh);
	t_check(fh);
	fs_node_unref(n);
	return fh;
}

/* ---- what is known to be right ------------------------------------------- */

/* All of it is here, but was not compared yet; which can be done to late and to
 * what a staged file is made of. */
static void not_compared(const char *path, bool has_digest)
{
	struct server s;

	begin(&s, path, NULL);
	double_hub.here = double_hub.rough = true;
	(void) keeps(&s);
	t_int(keeps(&s), !has_digest);
	double_hub.rough = false;
	(void) keeps(&s);
	t_check(keeps(&s));
	done(&s);
}

static void becomes_another(struct server *s)
{
	struct fs_attr a;

	double_hub.grown = 5;
	double_contradict(s->fs, 8 + 40);
	t_int(double_stat(s->fs, late, &a), 0);
	t_int(a.size, 8 + 40 + 5);
}

/* Who closes the old file, which was right, knows nothing of the new one. */
static void old_was_right(bool closed)
{
	struct server s, next;
	uint64_t old, ino;
	bool yes;

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	old = open_file(&s, &yes);
	becomes_another(&s);
	if (closed)
		close_file(&s, old);
	else
		ll_file_drop(ll_handle_in(&s.ll, old));
	ino = s.ino;
	killed(&s);
	begin(&next, late, s.ll.handover);
	t_int(next.ino, ino);
	t_check(!keeps(&next));
	done(&next);
}

/* Nor was the new one right because the old one was. */
static void new_is_not_here(void)
{
	struct server s;

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	t_check(keeps(&s));
	becomes_another(&s);
	double_hub.here = false;
	t_check(!keeps(&s));
	t_check(!keeps(&s));
	done(&s);
}

/* What is right by now is not what was read, or not all that the kernel has: the
 * server before may have handed out other bytes. */
static void other_was_read(bool by_the_one_before)
{
	struct server s, next;
	uint64_t old;
	bool yes;

	begin(&s, late, NULL);
	old = open_file(&s, &yes);
	t_int(read_file(&s, old), 0);
	if (by_the_one_before) {
		ll_file_drop(ll_handle_in(&s.ll, old));
		killed(&s);
		begin(&s, late, s.ll.handover);
		old = open_again(&s);
	} else {
		double_epoch(1);
	}
	double_hub.here = true;
	close_file(&s, old);
	killed(&s);
	double_epoch(0);
	begin(&next, late, s.ll.handover);
	t_check(!keeps(&next));
	done(&next);
}

/* ---- wrong bytes --------------------------------------------------------- */

/* The next open drops pages, also when one has since the bytes were wrong: it
 * may have brought some itself. And what is known is found out anew. */
static void wrong_here(void)
{
	struct server s;

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	t_check(keeps(&s));
	dropped = 0;
	ll_files_drop(&s.ll);
	t_int(dropped, s.ino);
	double_hub.here = false;
	t_check(!keeps(&s));
	t_check(!keeps(&s));
	done(&s);

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	ll_files_drop(&s.ll);
	t_check(!keeps(&s));
	t_check(keeps(&s));
	done(&s);
}

/* A file the server before had open, of which nobody knows whether it was
 * right: the kernel's pages of it go, though nobody has asked about it here,
 * and who has it open is told. */
static void wrong_before(bool found_by_the_next)
{
	struct server s, next;
	uint64_t old;
	bool yes;

	begin(&s, late, NULL);
	old = open_file(&s, &yes);
	t_int(read_file(&s, old), 0);
	if (!found_by_the_next)
		ll_files_drop(&s.ll);
	ll_file_drop(ll_handle_in(&s.ll, old));
	killed(&s);
	begin(&next, late, s.ll.handover);
	dropped = 0;
	if (found_by_the_next) {
		ll_files_drop(&next.ll);
		t_int(dropped, next.ino);
	}
	old = open_again(&next);
	t_int(read_file(&next, old), -EIO);
	close_file(&next, old);
	done(&next);
}

/* What the server before knew to be right is not for that right for ever. */
static void sure_before(void)
{
	struct server s, next;
	uint64_t old;
	bool yes;

	begin(&s, late, NULL);
	double_hub.here = true;
	old = open_file(&s, &yes);
	(void) keeps(&s);
	ll_file_drop(ll_handle_in(&s.ll, old));
	killed(&s);
	begin(&next, late, s.ll.handover);
	old = open_again(&next);
	dropped = 0;
	ll_files_drop(&next.ll);
	t_int(dropped, next.ino);
	t_int(read_file(&next, old), 0);
	close_file(&next, old);
	t_check(!keeps(&next));
	done(&next);
}

/* Its pages stay, also when all that comes of it is the close. */
static void kept_before(void)
{
	struct server s, next;
	bool yes;

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	ll_file_drop(ll_handle_in(&s.ll, open_file(&s, &yes)));
	t_check(yes);
	killed(&s);
	begin(&next, late, s.ll.handover);
	close_file(&next, 0);
	t_check(keeps(&next));
	done(&next);
}

static bool is_noted(struct server *s)
{
	struct fs_seat seat;

	t_int(fs_handover_find(s->ll.handover, s->ino, &seat, NULL), 0);
	return seat.sure;
}

/* Right as it was opened: whoever has it open goes on behind the next server,
 * whatever was wrong meanwhile. */
static void right_at_once(void)
{
	struct server s, next;
	uint64_t old;
	bool yes;

	begin(&s, late, NULL);
	double_hub.here = true;
	old = open_file(&s, &yes);
	t_check(is_noted(&s));
	ll_files_drop(&s.ll);
	ll_file_drop(ll_handle_in(&s.ll, old));
	killed(&s);
	begin(&next, late, s.ll.handover);
	old = open_again(&next);
	t_int(read_file(&next, old), 0);
	close_file(&next, old);
	done(&next);
}

/* Not while the kernel has something that is not: open, or to be dropped by the
 * answer to this open, or of a server before. */
static void not_at_once(void)
{
	struct server s, next;
	uint64_t first, second;
	bool yes;

	begin(&s, late, NULL);
	double_hub.here = false;
	first = open_file(&s, &yes);
	double_hub.here = true;
	second = open_file(&s, &yes);
	t_check(!is_noted(&s));
	close_file(&s, second);
	close_file(&s, first);
	done(&s);

	begin(&s, late, NULL);
	double_hub.here = false;
	(void) keeps(&s);
	double_hub.here = true;
	first = open_file(&s, &yes);
	t_check(!yes);
	t_check(!is_noted(&s));
	ll_file_drop(ll_handle_in(&s.ll, first));
	killed(&s);
	begin(&next, late, s.ll.handover);
	double_hub.here = true;
	close_file(&next, 0);
	first = open_file(&next, &yes);
	t_check(!yes);
	t_check(!is_noted(&next));
	close_file(&next, first);
	t_check(is_noted(&next));
	done(&next);

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	t_check(is_noted(&s));
	becomes_another(&s);
	t_check(!is_noted(&s));
	first = open_file(&s, &yes);
	t_check(!yes);
	t_check(!is_noted(&s));
	close_file(&s, first);
	done(&s);
}

/* What was right is evicted, and comes anew while who brings it is killed: here,
 * or before the next one. That is not known to be right. */
static void evicted(bool between)
{
	struct server s, next;
	uint64_t old;
	bool yes;

	begin(&s, late, NULL);
	double_hub.here = true;
	(void) keeps(&s);
	double_hub.here = false;
	t_check(keeps(&s));
	t_check(!keeps(&s));
	double_hub.here = true;
	(void) keeps(&s);
	double_hub.here = between;
	old = open_file(&s, &yes);
	t_check(yes);
	t_int(is_noted(&s), between);
	t_int(read_file(&s, old), 0);
	ll_file_drop(ll_handle_in(&s.ll, old));
	killed(&s);
	begin(&next, late, s.ll.handover);
	if (between) {
		old = open_again(&next);
		t_check(!is_noted(&next));
		t_int(read_file(&next, old), 0);
		ll_file_drop(ll_handle_in(&next.ll, old));
		killed(&next);
		begin(&next, late, next.ll.handover);
	}
	dropped = 0;
	ll_files_drop(&next.ll);
	t_int(dropped, next.ino);
	old = open_again(&next);
	t_int(read_file(&next, old), -EIO);
	close_file(&next, old);
	done(&next);
}

int main(void)
{
	not_compared(staged, true);
	not_compared(late, true);
	not_compared(HF "org/model/config.json", false);
	old_was_right(true);
	old_was_right(false);
	new_is_not_here();
	other_was_read(false);
	other_was_read(true);
	wrong_here();
	wrong_before(false);
	wrong_before(true);
	sure_before();
	kept_before();
	right_at_once();
	not_at_once();
	evicted(false);
	evicted(true);
	return 0;
}
