/*
 * The verdict. A job on the pool hashes the front of the object as it grows,
 * so that little is left to do when the last chunk comes; then it compares.
 *
 *   right   data becomes an object (fsync, 0444, rename), the partial goes.
 *   wrong   the partial is thrown away and a new one made with `distrust`
 *           set: everything is fetched once more and nothing of it given out
 *           before its verdict. What had been given out of the first attempt
 *           is remembered by its XXH3 (blob.doubt); if the second attempt is
 *           right and some of that differs, the epoch changes. So is what was
 *           given of a chunk before its end when the end never came, whatever
 *           brings the chunk then (blob.loose).
 *   wrong again   the blob is FAILED.
 *
 * A file without a digest that has become another at the hub while it was here
 * in part (fill_pull.version) is thrown away likewise, before it is complete.
 *
 * Between processes the holder of PARTIAL_LOCK_VERDICT decides; it tells the
 * others through partial_head.state, which they look at before each read.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "cache/bitmap.h"
#include "cache/fill.h"
#include "cache/lock.h"

#define SLICE (16UL << 20)	/* bytes hashed before other jobs get a turn */

static struct blob *blob_of(struct pool_job *job)
{
	return (struct blob *)(void *)((char *)job -
		offsetof(struct blob, job));
}

/* ---- what was given out ---------------------------------------------------- */

static int remember(struct blob *b, const struct partial *p)
{
	uint64_t *v;

	if (b->doubt)
		return 0;
	v = calloc((size_t)p->n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (uint64_t i = 0; i < p->n; i++) {
		if (cache_bitmap_get(p->handed, i) ||
		    cache_bitmap_get(p->found, i))
			v[i] = atomic_load(&p->entry[i]);
	}
	b->doubt = v;
	b->doubt_n = p->n;
	b->doubt_chunk = p->chunk;
	return 0;
}

void cache_settle_loose(struct blob *b, struct fill_pull *f)
{
	struct blob_loose *l = &b->loose[b->n_loose++];

	l->off = f->at * f->part->chunk;
	l->len = f->fill;
	if (f->held == f->fill)
		(void) XXH3_64bits_reset(f->hash);
	(void) XXH3_64bits_update(f->hash, f->piece, f->held);
	l->hash = XXH3_64bits_digest(f->hash);
	b->n_early--;
}

static bool loose_differs(const struct blob_loose *l, const struct partial *p)
{
	return !p || XXH3_64bits(p->mem + l->off, l->len) != l->hash;
}

/* The bytes are right now (p), or never will be (NULL). */
static void settle_doubt(struct blob *b, const struct partial *p)
{
	bool differ = b->early_gone;

	b->early_gone = false;
	while (b->n_loose)
		differ |= loose_differs(&b->loose[--b->n_loose], p);
	for (uint64_t i = 0; i < b->doubt_n && b->doubt && !differ; i++)
		differ = b->doubt[i] && (!p || p->chunk != b->doubt_chunk ||
			atomic_load(&p->entry[i]) != b->doubt[i]);
	if (differ)
		cache_blob_new_epoch(b);
	free(b->doubt);
	b->doubt = NULL;
	b->doubt_n = 0;
}

static void fail(struct blob *b, int err)
{
	settle_doubt(b, NULL);
	b->failed_ms = clock_ms();
	cache_fill_forget(b);
	if (!b->last.code)
		(void) error_set(&b->last, err, "%s: %s", b->what,
			strerror(-err));
	atomic_store(&b->state, BLOB_FAILED);
}

/* b->part was discarded, here or elsewhere: the next attempt, if any. */
static void next_attempt(struct blob *b, struct partial *fresh, int err)
{
	struct partial *p = b->part;

	b->early_gone |= b->n_early != 0;
	if (!err)
		err = remember(b, p);
	if (err) {
		cache_partial_close(fresh);
		fail(b, err);
		return;
	}
	cache_partial_retire(p);
	fresh->older = p;
	b->part = fresh;
}

void cache_settle_look(struct blob *b)
{
	struct partial *p = b->part, *fresh = NULL;
	struct objid id = { .alg = OBJID_SHA256, .digits = 64 };
	int fd, r;

	switch (atomic_load(&p->head->state)) {
	case PARTIAL_SETTLED:
		memcpy(id.raw, p->head->settled, sizeof(p->head->settled));
		fd = cache_object_open(b->c, &id, b->size);
		settle_doubt(b, p);
		b->last.code = 0;
		cache_blob_set_whole(b, fd, b->id.alg != OBJID_NONE);
		cache_partial_close_fd(p);
		break;
	case PARTIAL_DISCARDED:
		if (p->head->distrust) {
			(void) error_set(&b->last, -EIO, "%s: the bytes "
				"were wrong twice", b->what);
			(void) remember(b, p);
			fail(b, -EIO);
			break;
		}
		r = cache_partial_open(b->c, b->key, b->what, b->size,
			p->chunk, true, true, &fresh);
		next_attempt(b, fresh, r);
		break;
	default:
		break;
	}
}

/* ---- right ------------------------------------------------------------------- */

static void sync_above(struct cache *c, const char *rel)
{
	char dir[CACHE_REL_MAX];
	int fd;

	(void) snprintf(dir, sizeof(dir), "%s", rel);
	*strrchr(dir, '/') = '\0';
	fd = openat(c->dir, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		(void) fsync(fd);
		(void) close(fd);
	}
}

/* Between enter and leave: data becomes the object. */
static int move_in(struct blob *b, struct partial *p,
	const struct objid *sha256, const char *rel)
{
	char from[CACHE_REL_MAX], dir[CACHE_REL_MAX];
	struct cache *c = b->c;
	uint64_t twice = 0;
	int r = 0;

	(void) snprintf(dir, sizeof(dir), "partial/%s", b->key);
	(void) snprintf(from, sizeof(from), "partial/%s/data", b->key);
	if (!cache_store_is(c, from, p->data) ||
	    cache_partial_present(p, 0, p->size) != p->size)
		return -ESTALE;
	if (!c->before_read && cache_object_there(c, rel, p->size))
		twice = p->size;
	else
		r = cache_store_replace(c, from, rel, 0);
	if (r)
		return r;
	r = cache_link_put(c, b->key, sha256);
	atomic_store(&p->head->state, PARTIAL_SETTLED);
	(void) cache_store_discard(c, dir, twice);
	return r;
}

/* Once b is WHOLE, on a pool of its own: fsync() may take long, and others
 * wait for their verdicts. The descriptor of p is this job's alone now. */
static void run_keep(struct pool_job *job)
{
	struct objid id = { .alg = OBJID_SHA256, .digits = 64 };
	struct blob *b = blob_of(job);
	struct partial *p = b->part;
	char rel[CACHE_REL_MAX];
	struct cache *c = b->c;
	int fd = -1, r = 0;

	memcpy(id.raw, p->head->settled, sizeof(p->head->settled));
	cache_object_rel(&id, rel);
	if (fsync(p->data) < 0 || fchmod(p->data, 0444) < 0)
		r = -errno;
	if (!r)
		r = cache_store_parents(c, rel);
	if (!r) {
		cache_store_enter(c);
		r = move_in(b, p, &id, rel);
		cache_store_leave(c);
	}
	if (!r) {
		sync_above(c, rel);
		fd = cache_object_open(c, &id, b->size);
	}
	if (fd >= 0)
		cache_compared_note(c, &id, fd);
	pthread_mutex_lock(&b->lock);
	if (fd >= 0)
		b->fd = fd;
	cache_partial_close_fd(p);
	pthread_mutex_unlock(&b->lock);
	cache_blob_unref(b);
	cache_kept_one(c);
}

/* ---- wrong -------------------------------------------------------------------- */

static const char *and_then(const struct blob *b)
{
	return b->part->head->distrust ? "; twice" : "; fetched once more";
}

/* b->last says why. */
static void throw_away(struct blob *b)
{
	struct partial *p = b->part, *fresh = NULL;
	char rel[CACHE_REL_MAX], data[CACHE_REL_MAX];
	bool again = !p->head->distrust;
	int r = 0;

	(void) snprintf(rel, sizeof(rel), "partial/%s", b->key);
	(void) snprintf(data, sizeof(data), "partial/%s/data", b->key);
	cache_store_enter(b->c);
	atomic_store(&p->head->state, PARTIAL_DISCARDED);
	if (cache_store_is(b->c, data, p->data))
		(void) cache_store_discard(b->c, rel,
			cache_partial_present(p, 0, p->size));
	if (again)
		r = cache_partial_open_locked(b->c, b->key, b->what, b->size,
			p->chunk, true, true, &fresh);
	cache_store_leave(b->c);
	if (again) {
		next_attempt(b, fresh, r);
		b->want_all = b->srcs && b->up;
	} else {
		(void) remember(b, p);
		cache_partial_retire(p);
		fail(b, -EIO);
	}
}

static void contradicted(struct blob *b, const struct objid *got)
{
	char want_hex[OBJID_HEX_MAX], got_hex[OBJID_HEX_MAX];

	objid_hex(&b->id, want_hex);
	objid_hex(got, got_hex);
	(void) error_set(&b->last, -EIO, "%s: the hub's bytes have %s %s, not "
		"%s%s", b->what, objid_alg_name(b->id.alg), got_hex, want_hex,
		and_then(b));
	throw_away(b);
}

void cache_settle_other(struct blob *b)
{
	if (atomic_load(&b->state) != BLOB_FILLING)
		return;
	(void) error_set(&b->last, -EIO, "%s: the file has become another "
		"while it was read%s", b->what, and_then(b));
	throw_away(b);
}

/* ---- the job -------------------------------------------------------------------- */

static void drop_digests(struct partial *p)
{
	digest_free(p->sha256);
	digest_free(p->own);
	p->sha256 = p->own = NULL;
	p->hashed = 0;
	p->rehash = false;
}

static int make_digests(struct blob *b, struct partial *p)
{
	if (p->rehash)
		drop_digests(p);
	if (p->sha256)
		return 0;
	p->sha256 = digest_new(OBJID_SHA256, b->size);
	if (b->id.alg != OBJID_NONE && b->id.alg != OBJID_SHA256)
		p->own = digest_new(b->id.alg, b->size);
	if (p->sha256 && (p->own || b->id.alg == OBJID_NONE ||
	    b->id.alg == OBJID_SHA256))
		return 0;
	drop_digests(p);
	return -ENOMEM;
}

/* Hash what is here, at most a slice; unlocks meanwhile. */
static void hash_on(struct blob *b, struct partial *p)
{
	uint64_t done = 0;

	while (done < SLICE && p->hashed < p->n && !p->rehash &&
	       cache_partial_has(p, p->hashed)) {
		uint64_t i = p->hashed;
		size_t len = (size_t)cache_partial_len(p, i);

		pthread_mutex_unlock(&b->lock);
		digest_update(p->sha256, p->mem + i * p->chunk, len);
		if (p->own)
			digest_update(p->own, p->mem + i * p->chunk, len);
		cache_blob_touched(b, p->mem, len);
		pthread_mutex_lock(&b->lock);
		p->hashed++;
		done += len;
	}
}

/* All is hashed. Returns true when run_keep() is to follow. */
static bool decide(struct blob *b, struct partial *p, struct objid *sha256)
{
	struct objid own;

	digest_final(p->sha256, sha256);
	own = *sha256;
	if (p->own)
		digest_final(p->own, &own);
	drop_digests(p);
	if (b->id.alg != OBJID_NONE && !objid_match(&b->id, &own)) {
		atomic_fetch_add(&b->c->mismatches, 1);
		contradicted(b, &own);
		return false;
	}
	if (b->id.alg != OBJID_NONE)
		atomic_fetch_add(&b->c->verified, 1);
	settle_doubt(b, p);
	b->last.code = 0;
	atomic_fetch_add(&b->c->keeping, 1);
	cache_blob_set_whole(b, -1, b->id.alg != OBJID_NONE);
	return true;
}

enum turn { TURN_IDLE, TURN_AGAIN, TURN_DECIDED, TURN_KEEP, TURN_NOMEM };

static enum turn take_turn(struct blob *b, struct partial *p,
	struct objid *sha256)
{
	bool whole;

	if (atomic_load(&b->state) != BLOB_FILLING)
		return TURN_IDLE;
	if (cache_lock_try(p->data, PARTIAL_LOCK_VERDICT, 1)) {
		cache_watch(b);
		return TURN_IDLE;
	}
	cache_settle_look(b);
	if (atomic_load(&b->state) != BLOB_FILLING || b->part != p)
		return TURN_DECIDED;
	if (make_digests(b, p)) {
		cache_lock_drop(p->data, PARTIAL_LOCK_VERDICT, 1);
		return TURN_NOMEM;
	}
	hash_on(b, p);
	if (b->part != p || atomic_load(&b->state) != BLOB_FILLING)
		return TURN_DECIDED;
	whole = cache_partial_complete(p);
	if (p->rehash)
		return TURN_AGAIN;
	if (p->hashed == p->n && whole)
		return decide(b, p, sha256) ? TURN_KEEP : TURN_DECIDED;
	if (p->hashed < p->n && cache_partial_has(p, p->hashed))
		return TURN_AGAIN;
	cache_lock_drop(p->data, PARTIAL_LOCK_VERDICT, 1);
	return TURN_IDLE;
}

static void run_hash(struct pool_job *job)
{
	struct fill_todo todo = { NULL, NULL };
	struct blob *b = blob_of(job);
	struct objid sha256;
	struct partial *p;
	enum turn t;

	pthread_mutex_lock(&b->lock);
	p = b->part;
	t = take_turn(b, p, &sha256);
	b->job_runs = t == TURN_AGAIN;
	if (t == TURN_AGAIN) {
		pool_add(b->c->pool, job);
		pthread_mutex_unlock(&b->lock);
		return;
	}
	if (t == TURN_NOMEM)
		cache_fill_fail(b, 0, p->n, -ENOMEM, &todo);
	/* Always: chunks may have come or gone bad while the lock was open, and
	 * a reader may have learnt before us that another process settled. */
	cache_fill_kick(b, &todo);
	(void) cache_fill_pump(b, &todo);
	pthread_mutex_unlock(&b->lock);
	cache_fill_run(b, &todo);
	if (t == TURN_KEEP) {
		memcpy(p->head->settled, sha256.raw, sizeof(p->head->settled));
		job->run = run_keep;
		pool_add(b->c->keepers, job);
	} else {
		cache_blob_unref(b);
	}
}

void cache_settle_more(struct blob *b)
{
	struct partial *p = b->part;

	if (b->job_runs || atomic_load(&b->state) != BLOB_FILLING)
		return;
	if (p->hashed < p->n && !atomic_load(&p->entry[p->hashed]))
		return;
	/* Reopened far from its end: hashing the front again at each reopening
	 * would cost more than one long pass at the end. */
	if (!p->hashed && !cache_partial_complete(p) &&
	    p->first_absent > 64 && p->first_absent < p->n / 2)
		return;
	b->job_runs = true;
	b->job.run = run_hash;
	(void) cache_blob_ref(b);
	pool_add(b->c->pool, &b->job);
}
