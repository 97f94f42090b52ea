/*
 * Going on where another server of this mount was killed. The kernel has
 * noticed nothing: it asks about numbers and handles that were given out by
 * that server and mean nothing here yet. Such a request is taken out of the
 * stream before libfuse sees it, what it is about is made again (numbers from
 * what the handover says of them and of their directories, handles by opening
 * the number once more), and then libfuse gets the request.
 *
 * A handle is a pointer with the generation of its server above it, so those
 * of other servers are known by it. FORGET and RELEASE need nothing made.
 */
#include "config.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pool.h"
#include "fs/handover.h"
#include "fs/inode.h"
#include "fs/ll.h"
#include "fs/restore.h"
#include "fs/tree.h"

#define SHIFT 48	/* bits of a pointer that are a pointer */
#define DEPTH_MAX 256	/* directories above each other */
#define THREADS 2

struct old_handle {
	struct old_handle *next;
	uint64_t fh;
	void *p;		/* struct ll_file or fs_dir */
};

#define CHAINS 256

struct ll_resume {
	pthread_mutex_t lock;
	struct old_handle *old[CHAINS];	/* lock */
	struct parked *parked;		/* lock; a list */
	struct pool *pool;		/* gives requests back to libfuse */
};

/* ---- what the next server needs ------------------------------------------------ */

void ll_known(struct ll *ll, struct fs_node *n)
{
	struct buf words = BUF_INIT(FS_SEAT_TEXT_MAX);

	fs_inode_looked_up(n);
	if (!fs_node_describe(n, &words))
		(void) fs_handover_known(ll->handover, n->ino, n->parent ?
			n->parent->ino : 0, words.data, words.len);
	buf_done(&words);
}

static int add_name(void *arg, const char *words, size_t len)
{
	const char *name = fs_words_name(words, len);

	return name ? buf_append(arg, name, strlen(name) + 1) : 0;
}

void ll_known_names(struct ll *ll, const struct fs_node *dir, struct buf *ret)
{
	(void) fs_handover_each(ll->handover, dir->ino, add_name, ret);
}

void ll_forget(struct ll *ll, fuse_ino_t ino, uint64_t times)
{
	int backing;

	fs_inode_forget(ll->inodes, ino, times);
	backing = fs_handover_forget(ll->handover, ino, times);
	if (backing)
		ll_backing_close(ll, backing);
}

/* ---- handles ----------------------------------------------------------------------- */

/* It comes back on another thread, perhaps before this one has touched a lock
 * again: what p holds must be there for it. */
uint64_t ll_handle_out(struct ll *ll, void *p)
{
	(void) atomic_fetch_add_explicit(&ll->handed, 1, memory_order_release);
	return (uint64_t)(uintptr_t)p | (uint64_t)ll->generation << SHIFT;
}

static bool is_ours(const struct ll *ll, uint64_t fh)
{
	return fh >> SHIFT == ll->generation;
}

static struct old_handle **old_at(struct ll_resume *r, uint64_t fh)
{
	struct old_handle **at = &r->old[(fh >> 4) % CHAINS];

	while (*at && (*at)->fh != fh)
		at = &(*at)->next;
	return at;
}

void *ll_handle_in(struct ll *ll, uint64_t fh)
{
	struct ll_resume *r = ll->resume;
	struct old_handle *o;

	if (is_ours(ll, fh)) {
		(void) atomic_load_explicit(&ll->handed,
			memory_order_acquire);
		return (void *)(uintptr_t)(fh & ((1ULL << SHIFT) - 1));
	}
	if (!r)
		return NULL;
	pthread_mutex_lock(&r->lock);
	o = *old_at(r, fh);
	pthread_mutex_unlock(&r->lock);
	return o ? o->p : NULL;
}

void *ll_handle_last(struct ll *ll, uint64_t fh)
{
	struct ll_resume *r = ll->resume;
	struct old_handle **at, *o;
	void *p = NULL;

	if (is_ours(ll, fh) || !r)
		return ll_handle_in(ll, fh);
	pthread_mutex_lock(&r->lock);
	at = old_at(r, fh);
	o = *at;
	if (o) {
		*at = o->next;
		p = o->p;
	}
	pthread_mutex_unlock(&r->lock);
	free(o);
	return p;
}

/* ---- a request that waits ------------------------------------------------------------ */

struct parked {
	struct pool_job job;
	struct ll *ll;
	struct parked *next, **link;	/* the list's, under its lock */
	uint64_t unique;		/* constant; the request's number */
	bool answered;			/* resume lock; it was interrupted */
	uint64_t path[DEPTH_MAX];	/* numbers to make, the last first */
	unsigned depth;
	struct fs_node *at;		/* a reference: made so far */
	uint64_t fh;			/* to open again; 0: none */
	bool dir;
	size_t len;
	char request[];
};

static void park(struct parked *k)
{
	struct ll_resume *r = k->ll->resume;

	(void) atomic_fetch_add(&k->ll->ops, 1);
	pthread_mutex_lock(&r->lock);
	k->next = r->parked;
	k->link = &r->parked;
	if (k->next)
		k->next->link = &k->next;
	r->parked = k;
	pthread_mutex_unlock(&r->lock);
}

static void give_back(struct pool_job *job)
{
	struct parked *k = (struct parked *)job;
	struct fuse_buf buf = { .size = k->len, .mem = k->request };
	struct ll *ll = k->ll;
	bool answered;

	pthread_mutex_lock(&ll->resume->lock);
	if (k->next)
		k->next->link = k->link;
	*k->link = k->next;
	answered = k->answered;
	pthread_mutex_unlock(&ll->resume->lock);
	if (!answered)
		fuse_session_process_buf(ll->se, &buf);
	fs_node_unref(k->at);
	free(k);
	(void) atomic_fetch_sub(&ll->ops, 1);
}

/* libfuse does not know what waits here. What was begun for it goes on. false:
 * it does not wait here. */
static bool interrupt(struct ll *ll, const char *body, size_t len)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = -EINTR };
	struct fuse_interrupt_in in;
	struct parked *k;

	if (len < sizeof(in))
		return false;
	memcpy(&in, body, sizeof(in));
	out.unique = in.unique;
	pthread_mutex_lock(&ll->resume->lock);
	for (k = ll->resume->parked; k && (k->unique != in.unique ||
			k->answered);)
		k = k->next;
	if (k)
		k->answered = true;
	pthread_mutex_unlock(&ll->resume->lock);
	if (k && write(ll->device, &out, sizeof(out)) < 0)
		log_debug("nobody waits for the answer: %s", strerror(errno));
	return k;
}

/* false: another request made it again meanwhile, RELEASE may have come already,
 * or no memory. */
static bool old_add(struct parked *k, void *p)
{
	struct old_handle *o = malloc(sizeof(*o)), **at;
	struct ll_resume *r = k->ll->resume;
	bool added = false;

	if (!o)
		return false;
	*o = (struct old_handle){ NULL, k->fh, p };
	pthread_mutex_lock(&r->lock);
	at = old_at(r, k->fh);
	if (!*at && !k->answered) {
		*at = o;
		added = true;
	}
	pthread_mutex_unlock(&r->lock);
	if (!added)
		free(o);
	return added;
}

/* What could not be made is answered by whoever misses it: ESTALE. */
static void done(struct parked *k)
{
	k->job.run = give_back;
	pool_add(k->ll->resume->pool, &k->job);
}

static void file_again(void *arg, struct ll_file *f)
{
	struct parked *k = arg;

	if (f && !old_add(k, f))
		ll_file_drop(f);
	done(k);
}

static void dir_again(void *arg, int err, struct fs_dir *d)
{
	struct parked *k = arg;

	if (!err && old_add(k, d))
		atomic_fetch_add(&k->ll->dirs, 1);
	else
		fs_dir_free(d);
	done(k);
}

static void next_name(struct parked *k);

static void made(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct parked *k = arg;
	uint64_t want = k->path[k->depth - 1];
	struct fs_seat seat;

	(void) a;
	if (err || n->ino != want) {
		log_debug("number %llu cannot be made again: %s",
			(unsigned long long)want,
			err ? strerror(-err) : "it is another one now");
		fs_node_unref(n);
		done(k);
		return;
	}
	/* The kernel's count is in the handover; one here keeps the node until
	 * FORGET, which may have come when the request was interrupted. */
	fs_inode_looked_up(n);
	if (fs_handover_find(k->ll->handover, want, &seat, NULL))
		fs_inode_forget(k->ll->inodes, want, 1);
	fs_node_unref(k->at);
	k->at = n;
	k->depth--;
	next_name(k);
}

static void next_name(struct parked *k)
{
	struct buf words = BUF_INIT(FS_SEAT_TEXT_MAX);
	struct ll *ll = k->ll;
	struct fs_node *there;
	struct fs_seat seat;

	while (k->depth && (there = fs_inode_find(ll->inodes,
			k->path[k->depth - 1]))) {
		fs_node_unref(k->at);
		k->at = there;
		k->depth--;
	}
	if (k->depth) {
		if (fs_handover_find(ll->handover, k->path[k->depth - 1],
				&seat, &words))
			done(k);
		else
			fs_restore(ll->fs, k->at, words.data, words.len, made,
				k);
		buf_done(&words);
	} else if (k->fh && k->dir) {
		fs_readdir(ll->fs, k->at, dir_again, k);
	} else if (k->fh) {
		ll_file_again(ll, k->at, file_again, k);
	} else {
		done(k);
	}
}

/* The numbers from ino up to one that is known here. false: nobody knows. */
static bool find_path(struct parked *k, uint64_t ino)
{
	struct fs_seat seat;
	struct fs_node *n;

	for (; k->depth < DEPTH_MAX; ino = seat.parent) {
		n = fs_inode_find(k->ll->inodes, ino);
		if (!n && ino == FS_INO_ROOT)
			n = fs_node_ref(fs_root(k->ll->fs));
		if (n) {
			k->at = n;
			return true;
		}
		if (fs_handover_find(k->ll->handover, ino, &seat, NULL))
			return false;
		k->path[k->depth++] = ino;
	}
	return false;
}

static bool needs_none(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_INIT:
	case FUSE_DESTROY:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_STATFS:
		return true;
	default:
		return false;
	}
}

/* The handle a request is about, if it is of a server before us and unknown
 * here; else 0. */
static uint64_t old_handle(struct ll *ll, const struct fuse_in_header *h,
	const char *body, size_t len)
{
	struct fuse_read_in in;

	if ((h->opcode != FUSE_READ && h->opcode != FUSE_READDIR &&
	     h->opcode != FUSE_READDIRPLUS) || len < sizeof(in))
		return 0;
	memcpy(&in, body, sizeof(in));
	return ll_handle_in(ll, in.fh) ? 0 : in.fh;
}

bool ll_resume_take(struct ll *ll, const void *buf, size_t len)
{
	struct fuse_in_header h;
	struct fs_node *n;
	struct parked *k;
	uint64_t fh;

	if (len < sizeof(h))
		return false;
	memcpy(&h, buf, sizeof(h));
	if (h.opcode == FUSE_INTERRUPT)
		return interrupt(ll, (const char *)buf + sizeof(h),
			len - sizeof(h));
	if (needs_none(h.opcode))
		return false;
	fh = old_handle(ll, &h, (const char *)buf + sizeof(h),
		len - sizeof(h));
	n = h.nodeid == FS_INO_ROOT ? NULL :
		fs_inode_find(ll->inodes, h.nodeid);
	fs_node_unref(n);
	if (!fh && (n || h.nodeid == FS_INO_ROOT))
		return false;
	k = calloc(1, sizeof(*k) + len);
	if (!k)
		return false;
	k->ll = ll;
	k->fh = fh;
	k->dir = h.opcode != FUSE_READ;
	k->len = len;
	k->unique = h.unique;
	memcpy(k->request, buf, len);
	if (!find_path(k, h.nodeid)) {
		free(k);
		return false;
	}
	park(k);
	next_name(k);
	return true;
}

/* ---- beginning and end ------------------------------------------------------------------ */

int ll_resume_start(struct ll *ll)
{
	struct ll_resume *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	(void) pthread_mutex_init(&r->lock, NULL);
	r->pool = pool_new(THREADS, "resume");
	if (!r->pool) {
		free(r);
		return -ENOMEM;
	}
	ll->resume = r;
	return 0;
}

void ll_resume_stop(struct ll *ll)
{
	struct ll_resume *r = ll->resume;

	if (!r)
		return;
	pool_free(r->pool);
	(void) pthread_mutex_destroy(&r->lock);
	ll->resume = NULL;
	free(r);
}
