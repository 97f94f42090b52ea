/*
 * Another tool's file: compared once with what the hub says, then cloned into
 * an object where the file system can share blocks, else read where it lies.
 *
 * It is not ours, and may be written to, cut or replaced at any time. So it is
 * never mapped and its descriptor never given away: every read looks at the
 * file's times afterwards (cache_foreign_read()). A change makes it a file
 * that has to be compared again; one that only its size spoke for is left
 * alone from then on.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/fill.h"
#include "cache/lock.h"

/* A file's times may stand still for a tick of the kernel's clock. */
#define TICK_NS 20000000
#define CHANGES_MAX 3

/* After this, whoever writes to the file changes its times. */
static void let_clock_move(const struct stat *st)
{
	struct timespec now, pause = { .tv_nsec = TICK_NS };
	int64_t age;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	age = (int64_t)(now.tv_sec - st->st_ctim.tv_sec) * 1000000000 +
		(now.tv_nsec - st->st_ctim.tv_nsec);
	if (age < TICK_NS)
		(void) nanosleep(&pause, NULL);
}

/* A copy that shares its blocks, if the file system can; else -1. Counted when
 * it is there: it takes no room by itself, and most file systems cannot. */
static int clone_file(struct cache *c, int from, uint64_t size,
	const char *tmp)
{
	int fd = openat(c->dir, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		0600);

	if (fd < 0)
		return -1;
	/* Marked: it is not evicted before it is opened as an object. */
	if (!cache_lock_mark(fd) && !ioctl(fd, FICLONE, from) &&
	    !cache_reserve(c, size))
		return fd;
	(void) close(fd);
	(void) unlinkat(c->dir, tmp, 0);
	return -1;
}

static void drop_clone(struct blob *b, const char *tmp)
{
	(void) unlinkat(b->c->dir, tmp, 0);
	cache_unreserve(b->c, b->size);
}

/* The clone becomes an object, or goes; returns it opened, or negative. */
static int keep_clone(struct blob *b, int fd, const char *tmp,
	const struct objid *sha256)
{
	char rel[CACHE_REL_MAX];
	struct cache *c = b->c;
	int r = 0;

	cache_object_rel(sha256, rel);
	if (fsync(fd) < 0 || fchmod(fd, 0444) < 0)
		r = -errno;
	if (!r)
		r = cache_store_parents(c, rel);
	if (r) {
		drop_clone(b, tmp);
		return r;
	}
	cache_store_enter(c);
	r = cache_store_replace(c, tmp, rel, b->size);
	/* Without a link it is cloned again when it is opened next. */
	if (!r)
		(void) cache_link_put(c, b->key, sha256);
	else
		(void) unlinkat(c->dir, tmp, 0);
	cache_store_leave(c);
	return r ? r : cache_object_open(c, sha256, b->size);
}

/* 1: right; 0: wrong, where it lies. */
static int judge(struct cache *c, struct foreign_file *f,
	const struct objid *want)
{
	struct objid sha256;
	int r;

	let_clock_move(&f->st);
	if (!cache_foreign_same(f))
		return -ESTALE;
	r = cache_hash_file(f->fd, (uint64_t)f->st.st_size, want, &sha256);
	if (r >= 0 && !cache_foreign_same(f))
		r = -ESTALE;
	if (r >= 0)
		(void) cache_index_foreign_put(c->index, &f->st, want, r == 1);
	return r;
}

int cache_foreign_check(struct cache *c, const struct cache_name *name,
	uint64_t *ret_size)
{
	struct foreign_at at = { 0, 0 };
	struct foreign_file *f;
	int r = 0, found;

	if (name->size == CACHE_SIZE_ANY && name->id.alg != OBJID_SHA256 &&
	    name->id.alg != OBJID_MD5)
		return -ENOENT;
	while ((found = cache_foreign_find(c, name, &at, &f)) >= 0) {
		r = found || name->id.alg == OBJID_NONE ? 1 :
			judge(c, f, &name->id);
		if (r == 1)
			*ret_size = (uint64_t)f->st.st_size;
		cache_foreign_unref(f);
		if (r == 1)
			return name->id.alg != OBJID_NONE;
	}
	return found;
}

/* 1: right (*ret_fd: an object, or -1 to stay in place); 0: wrong. */
static int compare(struct blob *b, struct foreign_file *f, int *ret_fd)
{
	struct cache *c = b->c;
	char tmp[CACHE_REL_MAX];
	struct objid sha256;
	cleanup_fd int clone = -1;
	int r;

	let_clock_move(&f->st);
	if (!cache_foreign_same(f))
		return -ESTALE;
	cache_store_tmp(c, tmp);
	clone = clone_file(c, f->fd, b->size, tmp);
	/* Of a file that nothing but its size speaks for there is nothing to
	 * learn; an object has to have its digest. */
	if (clone < 0 && b->id.alg == OBJID_NONE)
		return 1;
	r = cache_hash_file(clone >= 0 ? clone : f->fd, b->size, &b->id,
		&sha256);
	if (clone >= 0 && r == 1)
		*ret_fd = keep_clone(b, clone, tmp, &sha256);
	else if (clone >= 0)
		drop_clone(b, tmp);
	if (*ret_fd >= 0)
		return r;
	if (r >= 0 && !cache_foreign_same(f))
		r = -ESTALE;
	if (r >= 0 && b->id.alg != OBJID_NONE)
		(void) cache_index_foreign_put(c->index, &f->st, &b->id,
			r == 1);
	return r;
}

void cache_adopt_none(struct blob *b)
{
	atomic_store(&b->state, BLOB_FILLING);
	(void) cache_partial_open(b->c, b->key, b->what, b->size, b->c->chunk,
		false, false, &b->part);
}

static void run(struct pool_job *job)
{
	struct fill_todo todo = { NULL, NULL };
	struct blob *b = (struct blob *)(void *)((char *)job -
		offsetof(struct blob, job));
	struct cache_name n = cache_blob_name(b);
	int fd = -1, r;

	/* Nobody else touches these while the state is CHECKING. */
	while ((r = compare(b, b->there, &fd)) <= 0) {
		cache_foreign_unref(b->there);
		b->there = NULL;
		r = cache_foreign_find(b->c, &n, &b->next_there, &b->there);
		if (r)
			break;
	}
	pthread_mutex_lock(&b->lock);
	b->job_runs = false;
	if (r == 1) {
		atomic_fetch_add(&b->c->adopted_bytes, b->size);
		if (fd >= 0)
			cache_blob_set_whole(b, fd, b->id.alg != OBJID_NONE);
		else
			cache_adopt_known(b);
	} else {
		cache_adopt_none(b);
	}
	cache_fill_kick(b, &todo);
	pthread_mutex_unlock(&b->lock);
	cache_fill_run(b, &todo);
	cache_blob_unref(b);
}

void cache_adopt_known(struct blob *b)
{
	b->n_hints = 0;
	b->want_all = false;
	atomic_store(&b->state, BLOB_THERE);
}

void cache_adopt_check(struct blob *b)
{
	atomic_store(&b->state, BLOB_CHECKING);
	b->job_runs = true;
	b->job.run = run;
	(void) cache_blob_ref(b);
	pool_add(b->c->pool, &b->job);
}

void cache_adopt_changed(struct blob *b, const struct foreign_file *f)
{
	struct cache_name n = cache_blob_name(b);
	int r = -ENOENT;

	/* In this order: while the state is CHECKING the job has `there`. */
	if (atomic_load(&b->state) != BLOB_THERE || b->there != f)
		return;
	cache_foreign_unref(b->there);
	b->there = NULL;
	b->next_there = (struct foreign_at){ 0, 0 };
	/* What was read so far may have been of other bytes than what would
	 * be read now, when no digest holds them together. */
	if (b->id.alg != OBJID_NONE && b->there_changes++ < CHANGES_MAX)
		r = cache_foreign_find(b->c, &n, &b->next_there, &b->there);
	if (r > 0)
		cache_adopt_known(b);
	else if (!r)
		cache_adopt_check(b);
	else
		cache_adopt_none(b);
}
