/*
 * One stream from upstream into the partial: pwrite, hash, publish at each
 * chunk's end. A pull that fails leaves what it finished; what it did not is
 * unclaimed again and its waiters get the error.
 *
 * What comes in small pieces (libcurl's are 16 KiB) is gathered first: a file
 * system takes a write of 128 KiB, and later the faults of who maps it, at about
 * half of what eight small ones cost. Who waits for no more than what has come of
 * a chunk gets it out of there.
 *
 * data() and done() run on whatever thread the upstream has for it.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/io.h"
#include "cache/bitmap.h"
#include "cache/fill.h"
#include "cache/lock.h"
#include "cache/piece.h"

static uint64_t bytes_of(const struct partial *p, uint64_t first, uint64_t n)
{
	uint64_t end = (first + n) * p->chunk;

	return (end < p->size ? end : p->size) - first * p->chunk;
}

static void unclaim(struct partial *p, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		cache_bitmap_clear(p->busy, i);
	p->n_busy -= n;
	if (p->data >= 0)
		cache_lock_drop(p->data, PARTIAL_LOCK_CHUNK + first, n);
	if (p->over)
		cache_partial_retire(p);
}

/* How many chunks from `at` on we could claim: absent and not busy. */
static uint64_t run_length(struct partial *p, uint64_t at, uint64_t end,
	uint64_t max)
{
	uint64_t n = 0;

	while (at + n < end && n * p->chunk < max &&
	       !cache_bitmap_get(p->busy, at + n) &&
	       !atomic_load(&p->entry[at + n]))
		n++;
	return n;
}

/* Lock chunks between processes; returns how many from `at` on. */
static uint64_t claim(struct partial *p, uint64_t at, uint64_t n)
{
	uint64_t got = n;

	if (cache_lock_try(p->data, PARTIAL_LOCK_CHUNK + at, n)) {
		for (got = 0; got < n; got++) {
			if (cache_lock_try(p->data,
				    PARTIAL_LOCK_CHUNK + at + got, 1))
				break;
		}
	}
	/* Another process may have published some before we had the lock. */
	for (uint64_t i = 0; i < got; i++) {
		if (atomic_load(&p->entry[at + i])) {
			cache_lock_drop(p->data, PARTIAL_LOCK_CHUNK + at + i,
				got - i);
			got = i;
		}
	}
	for (uint64_t i = 0; i < got; i++)
		cache_bitmap_set(p->busy, at + i);
	p->n_busy += got;
	return got;
}

static void give_back(struct pool_job *job)
{
	struct fill_pull *f = (struct fill_pull *)(void *)((char *)job -
		offsetof(struct fill_pull, job));

	(void) src_unref(f->up);
	cache_blob_unref(f->b);
	(void) XXH3_freeState(f->hash);
	free(f);
}

/* A hub may tell a digest with the bytes only: then nobody can have read
 * everything before it is compared, because it comes before the last chunk. */
static void learn_digest(struct blob *b, struct partial *p,
	const struct objid *id)
{
	if (b->id.alg != OBJID_NONE || id->alg == OBJID_NONE)
		return;
	b->id = *id;
	p->rehash = p->sha256 != NULL;
}

/* Is the chunk of the version that the partial is of? The first chunk of a place
 * decides, of all processes. */
static bool same_version(const struct fill_pull *f)
{
	uint64_t told = f->p.version;

	if (f->b->id.alg != OBJID_NONE || !told)
		return true;
	if (!src_same_version(f->version, told))
		return false;
	for (unsigned i = 0; i < PARTIAL_PLACES; i++) {
		uint64_t of = 0;

		if (atomic_compare_exchange_strong(&f->part->head->at_hub[i],
			    &of, told) || of == told)
			return true;
		if (!src_same_version(of, told))
			return false;
	}
	return true;
}

/* With b->lock held. May the chunk be published? */
static bool fits(struct fill_pull *f)
{
	struct blob *b = f->b;
	struct partial *p = f->part;

	if (p == b->part && atomic_load(&b->state) == BLOB_FILLING)
		cache_settle_look(b);
	if (p != b->part || atomic_load(&p->head->state) != PARTIAL_FILLING)
		return false;
	if (same_version(f))
		return true;
	cache_settle_other(b);
	return false;
}

/* -ESTALE: what comes is of no use any more. */
static int publish(struct fill_pull *f)
{
	struct fill_todo todo = { NULL, NULL };
	struct src_stat st = { .state = SRC_REMOTE };
	struct blob *b = f->b;
	struct partial *p = f->part;
	uint64_t h = XXH3_64bits_digest(f->hash);

	if (f->at == f->first)
		src_stat(f->up, &st);
	pthread_mutex_lock(&b->lock);
	learn_digest(b, p, &st.id);
	if (!fits(f)) {
		pthread_mutex_unlock(&b->lock);
		return -ESTALE;
	}
	cache_land(b->c, cache_partial_len(p, f->at));
	cache_partial_publish(p, f->at, h ? h : 1);
	unclaim(p, f->at, 1);
	atomic_fetch_add(&b->c->pulled_bytes, f->fill);
	f->at++;
	f->fill = 0;
	b->n_early -= f->given;
	f->given = false;
	/* Why the first attempt was thrown away stays to be read. */
	if (!p->head->distrust)
		b->last.code = 0;
	if (b->waiters)
		cache_fill_kick(b, &todo);
	pthread_mutex_unlock(&b->lock);
	cache_fill_run(b, &todo);
	/* Who waits is answered before other threads get something to do. */
	pthread_mutex_lock(&b->lock);
	if (p == b->part)
		cache_settle_more(b);
	pthread_mutex_unlock(&b->lock);
	cache_later_go(b->c);
	return 0;
}

/* The next n bytes of the chunk. */
static int write_out(struct fill_pull *f, const uint8_t *at, size_t n)
{
	struct partial *p = f->part;
	uint64_t done = f->fill - f->held;
	int r = io_pwrite(p->data, at, n, f->at * p->chunk + done);

	if (r)
		return r;
	if (!done)
		(void) XXH3_64bits_reset(f->hash);
	(void) XXH3_64bits_update(f->hash, at, n);
	return 0;
}

/* Takes what it can of len bytes that belong to the chunk; `last`: they end
 * it. */
static int take_in(struct fill_pull *f, const uint8_t *at, size_t len,
	bool last, size_t *ret)
{
	size_t n = len;
	int r;

	if (!f->piece && len < PIECE_LEN && !(last && !f->fill))
		f->piece = cache_piece_take(f->b->c);
	if (!f->piece || (!f->held && (last || len >= PIECE_LEN))) {
		r = write_out(f, at, n);
		if (r)
			return r;
		f->fill += (uint32_t)n;
		*ret = n;
		return 0;
	}
	if (n > PIECE_LEN - f->held)
		n = PIECE_LEN - f->held;
	memcpy(f->piece + f->held, at, n);
	f->held += (uint32_t)n;
	f->fill += (uint32_t)n;
	*ret = n;
	if (f->held < PIECE_LEN && (!last || n < len))
		return 0;
	r = write_out(f, f->piece, f->held);
	if (!r)
		f->held = 0;
	return r;
}

/* As publish(). */
static int answer_early(struct fill_pull *f)
{
	struct fill_todo todo = { NULL, NULL };
	int r = 0;

	if (!atomic_load(&f->b->n_brief))
		return 0;
	pthread_mutex_lock(&f->b->lock);
	if (fits(f))
		cache_fill_early(f->b, f, &todo);
	else
		r = -ESTALE;
	pthread_mutex_unlock(&f->b->lock);
	cache_fill_run(f->b, &todo);
	return r;
}

static int on_data(struct src_pull *sp, const void *buf, size_t len)
{
	struct fill_pull *f = (struct fill_pull *)sp;
	const uint8_t *at = buf;

	while (len) {
		size_t want, n;
		int r;

		if (f->at >= f->first + f->n)
			return -EPROTO;
		if (!f->fill)
			f->version = sp->version;
		want = (size_t)(cache_partial_len(f->part, f->at) - f->fill);
		n = len < want ? len : want;
		r = take_in(f, at, n, n == want, &n);
		if (r)
			return r;
		at += n;
		len -= n;
		r = n == want ? publish(f) : answer_early(f);
		if (r)
			return r;
	}
	return 0;
}

/* With b->lock held: chunks before `end` did not come. */
static void failed(struct fill_pull *f, uint64_t end, int err,
	const struct error *why, struct fill_todo *todo)
{
	struct blob *b = f->b;

	(void) error_set(&b->last, err, "%s", error_text(why, err));
	if (err != -ECANCELED)
		cache_fill_setback(b, f->at, end, err);
	b->n_hints = 0;
	b->want_all = false;
	cache_fill_fail(b, f->at, end, err, todo);
}

uint64_t cache_pull_next(uint64_t len, uint64_t ms)
{
	uint64_t max = len * FILL_PULL_MS / (ms ? ms : 1);

	if (max < FILL_PULL_MIN)
		return FILL_PULL_MIN;
	return max < FILL_PULL_MAX ? max : FILL_PULL_MAX;
}

static void on_done(struct src_pull *sp, int err, const struct error *why)
{
	struct fill_pull *f = (struct fill_pull *)sp;
	struct fill_todo todo = { NULL, NULL };
	struct blob *b = f->b;
	struct partial *p = f->part;
	uint64_t end = f->first + f->n;

	if (!err && f->at < end)
		err = -EPROTO;
	pthread_mutex_lock(&b->lock);
	if (f->given)
		cache_settle_loose(b, f);
	if (f->hint) {
		b->hint_pulls--;
		atomic_fetch_sub(&b->c->hint_pulls, 1);
		if (f->at == end && f->p.len >= FILL_PULL_MIN)
			b->pull_max = cache_pull_next(f->p.len,
				clock_ms() - f->began);
	}
	if (f->at < end) {
		if (f->fill > f->held)
			cache_partial_clear(p, f->at);
		unclaim(p, f->at, end - f->at);
		cache_unreserve(b->c, bytes_of(p, f->at, end - f->at));
		if (p == b->part && atomic_load(&b->state) == BLOB_FILLING)
			failed(f, end, err, why, &todo);
	}
	if (p != b->part || atomic_load(&b->state) != BLOB_FILLING)
		cache_fill_kick(b, &todo);
	if (f->at == end || p != b->part)
		(void) cache_fill_pump(b, &todo);
	pthread_mutex_unlock(&b->lock);
	cache_piece_give(b->c, f->piece);
	f->piece = NULL;
	cache_fill_run(b, &todo);
	f->job.run = give_back;
	pool_add(b->c->pool, &f->job);
}

static struct fill_pull *new_pull(struct blob *b, struct src *up,
	uint64_t first, uint64_t n, bool hint)
{
	struct fill_pull *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->hash = XXH3_createState();
	if (!f->hash) {
		free(f);
		return NULL;
	}
	f->p.off = first * b->part->chunk;
	f->p.len = bytes_of(b->part, first, n);
	f->p.again = b->part->head->distrust != 0;
	f->p.data = on_data;
	f->p.done = on_done;
	f->b = cache_blob_ref(b);
	f->up = src_ref(up);
	f->part = b->part;
	f->first = f->at = first;
	f->n = n;
	f->hint = hint;
	f->began = clock_ms();
	return f;
}

/* What has just been closed may still have to reach the disk, and cannot be
 * evicted before. Nobody looks twice between two of those. */
static int reserve(struct blob *b, uint64_t len)
{
	unsigned kept = atomic_load(&b->c->kept);
	bool keeping = atomic_load(&b->c->keeping);

	if (keeping && b->crowded && b->crowded_at == kept)
		return -EBUSY;
	b->crowded = cache_reserve(b->c, len) != 0;
	b->crowded_at = kept;
	if (!b->crowded)
		return 0;
	return keeping ? -EBUSY : -ENOSPC;
}

int cache_pull_start(struct blob *b, struct src *up, uint64_t *at,
	uint64_t end, uint64_t max, bool hint, struct fill_todo *todo)
{
	struct partial *p = b->part;
	uint64_t first = *at, n;
	struct fill_pull *f, **tail;
	int r;

	if (!up->ops->pull)
		return -ENOTSUP;
	n = run_length(p, first, end, max);
	if (n)	/* a byte lock of length 0 would reach to the end */
		n = claim(p, first, n);
	if (!n)
		return -EAGAIN;
	r = reserve(b, bytes_of(p, first, n));
	if (r) {
		unclaim(p, first, n);
		return r;
	}
	f = new_pull(b, up, first, n, hint);
	if (!f) {
		unclaim(p, first, n);
		cache_unreserve(b->c, bytes_of(p, first, n));
		return -ENOMEM;
	}
	if (hint)
		b->hint_pulls++;
	for (tail = &todo->pulls; *tail; tail = &(*tail)->next)
		;
	*tail = f;
	*at = first + n;
	return 0;
}
