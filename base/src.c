/*
 * The checks and defaults that every source shares, the waiting read, and the
 * two sources that need no other room: bytes in memory and a local file. Both
 * answer at once, so that every room can be tested without disk or network.
 */
#include "config.h"

#include "base/src.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"

void src_init(struct src *s, const struct src_ops *ops, uint64_t size)
{
	s->ops = ops;
	s->size = size;
	atomic_init(&s->refs, 1);
}

struct src *src_ref(struct src *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct src *src_unref(struct src *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1,
			memory_order_acq_rel) == 1)
		s->ops->free(s);
	return NULL;
}

int src_read(struct src *s, struct src_read *r)
{
	if (!size_inside(r->off, r->len, s->size))
		return -EINVAL;
	return r->len ? s->ops->read(s, r) : 0;
}

int src_peek(struct src *s, uint64_t off, size_t len, struct iovec *iov,
	int max)
{
	if (!size_inside(off, len, s->size))
		return -EINVAL;
	if (!len)
		return 0;
	return s->ops->peek && max > 0 ?
		s->ops->peek(s, off, len, iov, max) : -EAGAIN;
}

void src_hint(struct src *s, uint64_t off, uint64_t len)
{
	if (s->ops->hint && len && size_inside(off, len, s->size))
		s->ops->hint(s, off, len);
}

int src_fd(struct src *s)
{
	return s->ops->fd ? s->ops->fd(s) : -EAGAIN;
}

unsigned src_epoch(const struct src *s)
{
	return s->ops->epoch ? s->ops->epoch(s) : 0;
}

void src_stat(struct src *s, struct src_stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->ops->stat)
		s->ops->stat(s, ret);
}

uint64_t src_present(struct src *s, uint64_t off, uint64_t len)
{
	struct src_stat st;

	if (!len || !size_inside(off, len, s->size))
		return 0;
	if (s->ops->present)
		return s->ops->present(s, off, len);
	src_stat(s, &st);
	if (st.cached_bytes >= s->size)
		return len;
	return (uint64_t)((unsigned __int128)st.cached_bytes * len / s->size);
}

void src_pull(struct src *s, struct src_pull *p)
{
	struct error why = { 0 };

	if (s->ops->pull) {
		s->ops->pull(s, p);
		return;
	}
	(void) error_set(&why, -ENOTSUP, "a %s source cannot be streamed",
		s->ops->name);
	p->done(p, why.code, &why);
}

/* ---- waiting ------------------------------------------------------------- */

struct waiter {
	struct src_read r;	/* must be first */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool over;		/* lock */
	int err;		/* lock */
};

static void wake(struct src_read *r, int err)
{
	struct waiter *w = (struct waiter *)r;

	/* The waiter may be gone as soon as the lock is let go. */
	pthread_mutex_lock(&w->lock);
	w->over = true;
	w->err = err;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int src_read_wait(struct src *s, uint64_t off, void *buf, size_t len)
{
	struct waiter w = {
		.r = { .off = off, .len = len, .buf = buf, .done = wake },
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};
	int err = src_read(s, &w.r);

	if (err == -EINPROGRESS) {
		pthread_mutex_lock(&w.lock);
		while (!w.over)
			pthread_cond_wait(&w.cond, &w.lock);
		err = w.err;
		pthread_mutex_unlock(&w.lock);
	}
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	return err;
}

/* ---- memory -------------------------------------------------------------- */

struct memory_src {
	struct src src;		/* must be first */
	uint8_t *data;
};

static int memory_read(struct src *s, struct src_read *r)
{
	const struct memory_src *m = (struct memory_src *)s;

	memcpy(r->buf, m->data + r->off, r->len);
	return 0;
}

static int memory_peek(struct src *s, uint64_t off, size_t len,
	struct iovec *iov, int max)
{
	const struct memory_src *m = (struct memory_src *)s;

	(void) max;
	iov[0] = (struct iovec){ m->data + off, len };
	return 1;
}

/* Also that of files: both are wholly here. */
static void local_stat(struct src *s, struct src_stat *ret)
{
	ret->state = SRC_CACHED;
	ret->cached_bytes = s->size;
}

static void memory_free(struct src *s)
{
	struct memory_src *m = (struct memory_src *)s;

	free(m->data);
	free(m);
}

static const struct src_ops memory_ops = {
	.name = "memory",
	.read = memory_read,
	.peek = memory_peek,
	.stat = local_stat,
	.free = memory_free,
};

struct src *src_from_memory(void *data, size_t len)
{
	struct memory_src *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	src_init(&m->src, &memory_ops, len);
	m->data = data;
	return &m->src;
}

/* ---- a local file -------------------------------------------------------- */

struct file_src {
	struct src src;		/* must be first */
	int fd;
	bool whole;		/* the file has just these bytes */
	uint8_t *map;		/* src.size bytes; NULL when size is 0 */
};

/* By the descriptor, not the mapping: a file that shrank behind our back is
 * an error here and a SIGBUS there. */
static int file_read(struct src *s, struct src_read *r)
{
	const struct file_src *f = (struct file_src *)s;

	return io_pread(f->fd, r->buf, r->len, r->off);
}

static int file_peek(struct src *s, uint64_t off, size_t len,
	struct iovec *iov, int max)
{
	const struct file_src *f = (struct file_src *)s;

	(void) max;
	iov[0] = (struct iovec){ f->map + off, len };
	return 1;
}

static void file_hint(struct src *s, uint64_t off, uint64_t len)
{
	const struct file_src *f = (struct file_src *)s;

	(void) posix_fadvise(f->fd, (off_t)off, (off_t)len,
		POSIX_FADV_WILLNEED);
}

static int file_fd(struct src *s)
{
	const struct file_src *f = (struct file_src *)s;

	return f->whole ? f->fd : -EAGAIN;
}

static void file_free(struct src *s)
{
	struct file_src *f = (struct file_src *)s;

	if (f->map)
		(void) munmap(f->map, (size_t)s->size);
	(void) close(f->fd);
	free(f);
}

static const struct src_ops file_ops = {
	.name = "file",
	.read = file_read,
	.peek = file_peek,
	.hint = file_hint,
	.fd = file_fd,
	.stat = local_stat,
	.free = file_free,
};

int src_from_fd(int fd, uint64_t size, struct src **ret)
{
	struct file_src *f;
	struct stat st;
	void *map = NULL;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < size)
		return -EINVAL;
	f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	if (size)
		map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		int err = -errno;

		free(f);
		return err;
	}
	src_init(&f->src, &file_ops, size);
	f->fd = fd;
	f->whole = (uint64_t)st.st_size == size;
	f->map = map;
	*ret = &f->src;
	return 0;
}
