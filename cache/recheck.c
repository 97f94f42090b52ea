/*
 * With cache.verify = before-read a whole object is compared once more before
 * this process gives out any of it: what a disk has kept for a year need not
 * be what it was given. Once a process, as long as nobody writes to the file:
 * which ones were compared is remembered by inode and change time.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/fill.h"

#define HASH_BLOCK (1UL << 20)

static int hash_on(int fd, uint64_t size, uint8_t *block, struct digest *sha,
	struct digest *own)
{
	for (uint64_t off = 0; off < size; off += HASH_BLOCK) {
		size_t n = size - off < HASH_BLOCK ? (size_t)(size - off) :
			HASH_BLOCK;
		int r = io_pread(fd, block, n, off);

		if (r)
			return r;
		digest_update(sha, block, n);
		if (own)
			digest_update(own, block, n);
	}
	return 0;
}

int cache_hash_file(int fd, uint64_t size, const struct objid *want,
	struct objid *ret_sha256)
{
	bool other = want->alg != OBJID_SHA256 && want->alg != OBJID_NONE;
	struct digest *sha = digest_new(OBJID_SHA256, size);
	struct digest *own = other ? digest_new(want->alg, size) : NULL;
	uint8_t *block = malloc(HASH_BLOCK);
	struct objid got;
	int r = sha && block && (own || !other) ? 0 : -ENOMEM;

	if (!r)
		r = hash_on(fd, size, block, sha, own);
	if (!r) {
		digest_final(sha, ret_sha256);
		got = *ret_sha256;
		if (own)
			digest_final(own, &got);
		r = want->alg == OBJID_NONE || objid_match(want, &got);
	}
	digest_free(sha);
	digest_free(own);
	free(block);
	return r;
}

/* ---- what was compared -------------------------------------------------------- */

static struct cache_compared *slot_of(struct cache *c, const struct objid *id)
{
	size_t at;

	memcpy(&at, id->raw, sizeof(at));
	return &c->compared[at % CACHE_COMPARED];
}

static struct cache_compared mark_of(const struct stat *st)
{
	return (struct cache_compared){ .ino = st->st_ino,
		.ctime = (int64_t)st->st_ctim.tv_sec * 1000000000 +
			st->st_ctim.tv_nsec };
}

bool cache_compared(struct cache *c, const struct objid *sha256, int fd)
{
	struct cache_compared mark;
	struct stat st;
	bool same;

	if (fstat(fd, &st) < 0)
		return false;
	mark = mark_of(&st);
	pthread_mutex_lock(&c->compared_lock);
	same = slot_of(c, sha256)->ino == mark.ino &&
		slot_of(c, sha256)->ctime == mark.ctime;
	pthread_mutex_unlock(&c->compared_lock);
	return same;
}

void cache_compared_note(struct cache *c, const struct objid *sha256, int fd)
{
	struct stat st;

	if (!c->before_read || fstat(fd, &st) < 0)
		return;
	pthread_mutex_lock(&c->compared_lock);
	*slot_of(c, sha256) = mark_of(&st);
	pthread_mutex_unlock(&c->compared_lock);
}

/* ---- comparing ------------------------------------------------------------------ */

/* 1: right; else it is gone, unless that was not the file's fault. */
static int compare(struct cache *c, int fd, uint64_t size,
	const struct objid *sha256, const struct objid *own)
{
	char rel[CACHE_REL_MAX];
	struct objid got;
	int r = cache_hash_file(fd, size, own, &got);

	if (r == 1 && objid_match(sha256, &got)) {
		cache_compared_note(c, sha256, fd);
		return 1;
	}
	if (r == -ENOMEM)
		return r;
	cache_object_rel(sha256, rel);
	(void) cache_store_drop_judged(c, rel, fd);
	return 0;
}

int cache_recheck_now(struct cache *c, const struct objid *sha256,
	uint64_t size)
{
	cleanup_fd int fd = -1;
	int r;

	if (!c->before_read)
		return 0;
	fd = cache_object_open(c, sha256, size);
	if (fd < 0)
		return fd;
	if (cache_compared(c, sha256, fd))
		return 0;
	r = compare(c, fd, size, sha256, sha256);
	return r == 1 ? 0 : r ? r : -ENOENT;
}

static void run(struct pool_job *job)
{
	struct fill_todo todo = { NULL, NULL };
	struct blob *b = (struct blob *)(void *)((char *)job -
		offsetof(struct blob, job));
	/* Nobody else touches it while the state is CHECKING. */
	int r = compare(b->c, b->fd, b->size, &b->object, &b->id);

	pthread_mutex_lock(&b->lock);
	b->job_runs = false;
	if (r == 1) {
		cache_blob_set_whole(b, -1, b->id.alg != OBJID_NONE);
	} else {
		(void) close(b->fd);
		b->fd = -1;
		cache_adopt_none(b);
	}
	cache_fill_kick(b, &todo);
	pthread_mutex_unlock(&b->lock);
	cache_fill_run(b, &todo);
	cache_blob_unref(b);
}

void cache_recheck(struct blob *b, int fd, const struct objid *sha256)
{
	b->fd = fd;
	b->object = *sha256;
	atomic_store(&b->state, BLOB_CHECKING);
	b->job_runs = true;
	b->job.run = run;
	(void) cache_blob_ref(b);
	pool_add(b->c->pool, &b->job);
}
