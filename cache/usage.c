/*
 * How many bytes there are, for the budget: one number that all processes
 * share, `used`. Bytes are added before they are written and taken off after
 * they are removed, so a process that is killed leaves it too high, never too
 * low; and who comes next makes it right without counting again:
 *
 *   on their way   what a process has reserved and not yet stored stands in
 *                  its slot (`flying`); whoever finds the slot unlocked
 *                  releases it.
 *   leaving        before a file goes, `leave` says which one and what that
 *                  takes off; LEAVING in `used` makes it valid. The same
 *                  step that takes the bytes off clears LEAVING. So whoever
 *                  gets the lock of names and finds it set looks whether the
 *                  file is there, and ends what the killed process began:
 *                  exactly once, however often that is interrupted.
 */
#include "config.h"

#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/lock.h"

#define MAGIC UINT64_C(0x3230454741535548)	/* "HUSAGE02" */
#define LEAVING (UINT64_C(1) << 63)		/* in `used` */
#define LOCK_SLOT 16	/* bytes of `lock` from here: whose slot it is */
#define DISK_STEP (256UL << 20)	/* bytes evicted when the disk runs full */

_Static_assert(sizeof(struct cache_usage) <= CACHE_USAGE_LEN, "usage");

uint64_t cache_used(struct cache *c)
{
	return atomic_load(&c->usage->used) & ~LEAVING;
}

/* ---- budget ---------------------------------------------------------------- */

struct evict_job {
	struct pool_job job;
	struct cache *c;
};

/* Little room is left. */
static bool is_low(struct cache *c)
{
	uint64_t used = cache_used(c), avail, keep;
	struct statvfs fs;

	if (c->budget)
		return used + c->budget / 32 > c->budget;
	if (fstatvfs(c->dir, &fs))
		return false;
	avail = (uint64_t)fs.f_bavail * fs.f_frsize;
	keep = (uint64_t)fs.f_blocks * fs.f_frsize / 10;
	return avail < keep + DISK_STEP;
}

static void run_evict(struct pool_job *job)
{
	struct evict_job *e = (struct evict_job *)job;

	pthread_mutex_lock(&e->c->evict_lock);
	if (is_low(e->c))
		(void) cache_evict(e->c, e->c->budget ?
			e->c->budget / 16 : DISK_STEP, false);
	pthread_mutex_unlock(&e->c->evict_lock);
	atomic_store(&e->c->evicting, false);
	free(e);
}

/* Make room before a reader has to wait for it. */
static void evict_early(struct cache *c)
{
	struct evict_job *e;

	if (atomic_exchange(&c->evicting, true))
		return;
	e = calloc(1, sizeof(*e));
	if (!e) {
		atomic_store(&c->evicting, false);
		return;
	}
	e->job.run = run_evict;
	e->c = c;
	pool_add(c->pool, &e->job);
}

static void fly(struct cache *c, uint64_t len)
{
	if (c->slot >= 0)
		atomic_fetch_add(&c->usage->flying[c->slot], len);
}

static int reserve_once(struct cache *c, uint64_t len, uint64_t *ret_short)
{
	uint64_t used = (atomic_fetch_add(&c->usage->used, len) & ~LEAVING) +
		len;
	uint64_t spare = 0, want = len;
	struct statvfs fs;

	/* At once: who is killed between the two leaves it counted. */
	fly(c, len);
	if (c->budget) {
		spare = used <= c->budget ? c->budget - used : 0;
		if (used <= c->budget) {
			if (spare < c->budget / 32)
				evict_early(c);
			return 0;
		}
		/* A little more, or the next pull would have to scan again. */
		want = used - c->budget + c->budget / 64;
	} else if (fstatvfs(c->dir, &fs)) {
		return 0;
	} else {
		uint64_t avail = (uint64_t)fs.f_bavail * fs.f_frsize;
		uint64_t keep = (uint64_t)fs.f_blocks * fs.f_frsize / 10;

		if (avail >= keep && avail - keep >= len) {
			if (avail - keep < DISK_STEP)
				evict_early(c);
			return 0;
		}
		want = (avail < keep ? keep - avail : 0) + len + DISK_STEP / 4;
	}
	cache_unreserve(c, len);
	*ret_short = want;
	return -ENOSPC;
}

/* Nothing need go for what there could not be room for anyway. */
static bool fits_empty(struct cache *c, uint64_t len)
{
	struct statvfs fs;

	if (c->budget)
		return len <= c->budget;
	return len <= INT64_MAX / 2 && (fstatvfs(c->dir, &fs) ||
		len <= (uint64_t)fs.f_blocks * fs.f_frsize / 10 * 9);
}

int cache_reserve(struct cache *c, uint64_t len)
{
	uint64_t lack = 0;
	int r;

	if (!fits_empty(c, len))
		return -ENOSPC;
	r = reserve_once(c, len, &lack);
	if (!r)
		return 0;
	/* One at a time: two that need the same room would evict it twice. */
	pthread_mutex_lock(&c->evict_lock);
	r = reserve_once(c, len, &lack);
	if (r) {
		cache_reap(c);
		r = reserve_once(c, len, &lack);
	}
	for (int i = 0; r && i < 3 && cache_evict(c, lack, false); i++)
		r = reserve_once(c, len, &lack);
	pthread_mutex_unlock(&c->evict_lock);
	return r;
}

int cache_reserve_wait(struct cache *c, uint64_t len)
{
	unsigned kept, keeping;
	int r;

	do {
		kept = atomic_load(&c->kept);
		keeping = atomic_load(&c->keeping);
		r = cache_reserve(c, len);
		pthread_mutex_lock(&c->lock);
		while (r && keeping && atomic_load(&c->kept) == kept)
			pthread_cond_wait(&c->kept_one, &c->lock);
		pthread_mutex_unlock(&c->lock);
	} while (r && keeping);
	return r;
}

void cache_kept_one(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	atomic_fetch_add(&c->kept, 1);
	atomic_fetch_sub(&c->keeping, 1);
	pthread_cond_broadcast(&c->kept_one);
	pthread_mutex_unlock(&c->lock);
}

/* Files removed by hand are released twice: never below nothing. */
static void take_off(struct cache *c, uint64_t len, uint64_t clear)
{
	uint64_t had = atomic_load(&c->usage->used), bytes;

	do {
		bytes = had & ~LEAVING;
		bytes = bytes > len ? bytes - len : 0;
	} while (!atomic_compare_exchange_weak(&c->usage->used, &had,
		bytes | (had & LEAVING & ~clear)));
}

void cache_release(struct cache *c, uint64_t len)
{
	take_off(c, len, 0);
}

void cache_land(struct cache *c, uint64_t len)
{
	if (c->slot >= 0)
		atomic_fetch_sub(&c->usage->flying[c->slot], len);
}

void cache_unreserve(struct cache *c, uint64_t len)
{
	cache_land(c, len);
	cache_release(c, len);
}

static void reap_slot(struct cache *c, int slot)
{
	uint64_t lost = atomic_exchange(&c->usage->flying[slot], 0);

	if (lost)
		cache_release(c, lost);
}

void cache_reap(struct cache *c)
{
	/* Whoever enters ends what was leaving. */
	cache_store_enter(c);
	cache_store_leave(c);
	for (int i = 0; i < CACHE_SLOTS; i++) {
		if (i == c->slot || !atomic_load(&c->usage->flying[i]) ||
		    cache_lock_try(c->lock_fd, (uint64_t)LOCK_SLOT + i, 1))
			continue;
		reap_slot(c, i);
		cache_lock_drop(c->lock_fd, (uint64_t)LOCK_SLOT + i, 1);
	}
}

void cache_usage_slot(struct cache *c)
{
	c->slot = -1;
	for (int i = 0; i < CACHE_SLOTS && c->slot < 0; i++) {
		if (!cache_lock_try(c->lock_fd, (uint64_t)LOCK_SLOT + i, 1))
			c->slot = i;
	}
	if (c->slot >= 0)
		reap_slot(c, c->slot);
}

/* ---- leaving ------------------------------------------------------------------ */

/* 0: no such file, or it cannot be told (*ret_err). */
static uint64_t look(struct cache *c, const char *rel, uint64_t *ret_size,
	int *ret_err)
{
	struct stat st;

	*ret_size = 0;
	*ret_err = 0;
	if (fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*ret_err = errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
		return 0;
	}
	*ret_size = S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size;
	return st.st_ino;
}

void cache_leaving(struct cache *c, const char *rel, const char *tmp,
	uint64_t gone, uint64_t kept)
{
	struct cache_leave *l = &c->usage->leave;
	int err;

	(void) snprintf(l->rel, sizeof(l->rel), "%s", rel);
	(void) snprintf(l->tmp, sizeof(l->tmp), "%s", tmp ? tmp : "");
	l->ino = look(c, rel, &l->size, &err);
	/* Too much rather than too little, if it cannot be told. */
	l->gone = err ? 0 : gone;
	l->kept = err ? 0 : kept;
	/* As in reserve_once(). */
	cache_land(c, kept);
	atomic_fetch_or(&c->usage->used, LEAVING);
}

/* The file may have been written by anybody: only what is ours is removed. */
static void clear_tmp(struct cache *c, const char *tmp)
{
	if (!strncmp(tmp, "tmp/", 4) && tmp[4] && tmp[4] != '.' &&
	    !strchr(tmp + 4, '/'))
		(void) io_remove_tree(c->dir, tmp);
}

bool cache_left(struct cache *c)
{
	struct cache_leave l = c->usage->leave;
	uint64_t ino, size;
	bool same;
	int err;

	l.rel[sizeof(l.rel) - 1] = l.tmp[sizeof(l.tmp) - 1] = '\0';
	ino = look(c, l.rel, &size, &err);
	same = ino == l.ino && size == l.size;
	if (!same && !err)
		clear_tmp(c, l.tmp);
	take_off(c, err ? 0 : same ? l.kept : l.gone, LEAVING);
	return !same && !err;
}

void cache_usage_enter(struct cache *c)
{
	if (atomic_load(&c->usage->used) & LEAVING)
		(void) cache_left(c);
}

/* ---- open -------------------------------------------------------------------- */

int cache_usage_open(struct cache *c, bool fresh)
{
	cleanup_fd int fd = cache_store_own(c, "usage", fresh);
	void *m;
	int r;

	if (fd < 0)
		return fd;
	r = posix_fallocate(fd, 0, CACHE_USAGE_LEN);
	if (r)
		return -r;
	m = mmap(NULL, CACHE_USAGE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
		fd, 0);
	if (m == MAP_FAILED)
		return -errno;
	c->usage = m;
	return 0;
}

bool cache_usage_ours(struct cache *c)
{
	/* 0: somebody has removed the file, and all that was counted. */
	return c->usage->magic == MAGIC || !c->usage->magic;
}

void cache_usage_set(struct cache *c, uint64_t used)
{
	c->usage->magic = MAGIC;
	for (int i = 0; i < CACHE_SLOTS; i++)
		atomic_store(&c->usage->flying[i], 0);
	atomic_store(&c->usage->used, used);
}
