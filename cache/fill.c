#include "config.h"

#include "cache/fill.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "cache/bitmap.h"

/* ---- can these bytes be given? ------------------------------------------- */

struct span {
	uint64_t first, end;	/* chunks */
};

static struct span span_of(const struct partial *p, uint64_t off, size_t len)
{
	return (struct span){
		.first = off / p->chunk,
		.end = (off + len - 1) / p->chunk + 1,
	};
}

/* Nothing is given before the verdict: small objects, cache.verify =
 * before-read, and whatever was wrong once. */
static bool holds(const struct blob *b)
{
	return b->hold || (b->part && b->part->head->distrust);
}

/*
 * All chunks of the span are here, and giving them cannot complete somebody's
 * reading of bytes that turn out wrong. Once the object is complete and not
 * yet compared, only what was given before may be given again: the chunk that
 * came last cannot have been given before it came, so nobody can have read
 * everything.
 */
static bool can_give(struct blob *b, struct span s)
{
	struct partial *p = b->part;

	if (!p || holds(b))
		return false;
	for (uint64_t i = s.first; i < s.end; i++) {
		if (!cache_partial_has(p, i))
			return false;
	}
	if (b->id.alg != OBJID_NONE && cache_partial_complete(p)) {
		for (uint64_t i = s.first; i < s.end; i++) {
			if (!cache_bitmap_get(p->handed, i))
				return false;
		}
	}
	for (uint64_t i = s.first; i < s.end; i++)
		cache_bitmap_set(p->handed, i);
	return true;
}

/* ---- what failed lately ------------------------------------------------------ */

#define SETBACK_MS 2000

void cache_fill_setback(struct blob *b, uint64_t first, uint64_t end, int err)
{
	b->setbacks[b->n_setbacks++ % BLOB_SETBACKS] = (struct blob_setback){
		.chunks = { first, end },
		.until = clock_ms() + SETBACK_MS,
		.err = err,
	};
}

/* The error that a read of this span got a moment ago, or 0. */
static int setback_of(const struct blob *b, struct span s)
{
	uint64_t now;

	if (!b->n_setbacks)
		return 0;
	now = clock_ms();
	for (unsigned i = 0; i < BLOB_SETBACKS; i++) {
		const struct blob_setback *x = &b->setbacks[i];

		if (now < x->until && (holds(b) || (s.first < x->chunks.end &&
		    x->chunks.at < s.end)))
			return x->err;
	}
	return 0;
}

/* ---- asking ---------------------------------------------------------------- */

/* Fetch the absent chunks of a span that nobody is fetching. */
static int want_span(struct blob *b, struct src *up, struct span s,
	struct fill_todo *todo)
{
	struct partial *p = b->part;
	uint64_t at = s.first;

	while (at < s.end) {
		int r;

		if (cache_bitmap_get(p->busy, at) ||
		    cache_partial_has(p, at)) {
			at++;
			continue;
		}
		if (!up)
			return -EHOSTUNREACH;
		r = cache_pull_start(b, up, &at, s.end, UINT64_MAX, false,
			todo);
		if (r && r != -EAGAIN && r != -EBUSY)
			return r;
		if (r)
			cache_watch(b);
		if (r == -EBUSY)
			break;
		if (r == -EAGAIN)
			at++;
	}
	return 0;
}

static int need_part(struct blob *b, struct src *up)
{
	if (b->part)
		return 0;
	if (!up)
		return -EHOSTUNREACH;
	return cache_partial_open(b->c, b->key, b->what, b->size,
		b->c->chunk, false, true, &b->part);
}

/*
 * One look at one read. 0: it can be answered from *ret_mem (NULL: from the
 * file). -EINPROGRESS: what is missing is on its way.
 */
static int step(struct blob *b, struct src *up, uint64_t off, size_t len,
	struct fill_todo *todo)
{
	int r;

	if (b->part && atomic_load(&b->state) == BLOB_FILLING)
		cache_settle_look(b);
	switch (atomic_load(&b->state)) {
	case BLOB_WHOLE:
	case BLOB_THERE:
		return 0;
	case BLOB_FAILED:
		return -EIO;
	case BLOB_CHECKING:
		return -EINPROGRESS;
	default:
		break;
	}
	r = need_part(b, up);
	if (r)
		return r;
	if (can_give(b, span_of(b->part, off, len)))
		return 0;
	if (cache_partial_complete(b->part)) {
		cache_settle_more(b);
		/* Another process has just found one wrong. */
		if (!b->job_runs)
			cache_watch(b);
		return -EINPROGRESS;
	}
	r = setback_of(b, span_of(b->part, off, len));
	if (r)
		return r;
	if (!holds(b)) {
		r = want_span(b, up, span_of(b->part, off, len), todo);
	} else if (b->size <= FILL_SMALL) {
		r = want_span(b, up, span_of(b->part, 0, b->size), todo);
	} else if (up || b->part->n_busy) {
		b->want_all = true;
		r = cache_fill_pump(b, todo);
	} else {
		r = -EHOSTUNREACH;
	}
	/* Another process may have published the last of it since we looked:
	 * then there is neither a pull nor a lock to wait for. */
	if (!r && !b->part->n_busy)
		cache_watch(b);
	return r ? r : -EINPROGRESS;
}

static const char *reason(int err)
{
	switch (err) {
	case -EHOSTUNREACH:
		return "offline, and not in the cache";
	case -ENOSPC:
		return "the cache is full and nothing in it may go";
	case -ENOTSUP:
		return "its source cannot be streamed";
	default:
		return strerror(-err);
	}
}

static void note(struct blob *b, int err)
{
	/* FAILED keeps the story of the digests, and who failed a moment ago
	 * said more than the errno does. */
	if (atomic_load(&b->state) != BLOB_FAILED && b->last.code != err)
		(void) error_set(&b->last, err, "%s: %s", b->what,
			reason(err));
}

/* ---- waiters ---------------------------------------------------------------- */

/* With b->lock held. A whole file is mapped to be lent only: to copy out of a
 * mapping would be to read the disk by faults, each with the disk's read-ahead
 * (8 MiB have been seen) around it, where a few bytes are wanted. */
static struct fill_gift gift_of(struct blob *b, const struct src_read *r)
{
	struct fill_gift g = { NULL, NULL };
	int state = atomic_load(&b->state);

	if (state == BLOB_THERE)
		g.there = cache_foreign_ref(b->there);
	else if (state == BLOB_WHOLE && (r->max_lent > 0 || b->fd < 0))
		g.mem = cache_blob_mem(b);
	else if (state != BLOB_WHOLE)
		g.mem = b->part->mem;
	return g;
}

/* No errno: the upstream's are passed on, and any may be among them. */
#define LOOK_AGAIN 1

/* Takes the gift. LOOK_AGAIN: another tool has changed its file, and the blob
 * knows. */
static int take(struct blob *b, struct src_read *r, struct fill_gift *g)
{
	int err;

	if (g->mem) {
		if (r->max_lent > 0) {
			r->lent[0].iov_base = (void *)(uintptr_t)(g->mem +
				r->off);
			r->lent[0].iov_len = r->len;
			r->n_lent = 1;
		} else {
			memcpy(r->buf, g->mem + r->off, r->len);
		}
		cache_blob_touched(b, g->mem, r->len);
		return 0;
	}
	if (!g->there)
		return io_pread(b->fd, r->buf, r->len, r->off);
	err = cache_foreign_read(g->there, r->buf, r->len, r->off);
	if (err) {
		pthread_mutex_lock(&b->lock);
		cache_adopt_changed(b, g->there);
		pthread_mutex_unlock(&b->lock);
	}
	cache_foreign_unref(g->there);
	g->there = NULL;
	return err ? LOOK_AGAIN : 0;
}

/* With b->lock held. */
static void wait_for(struct blob *b, struct fill_waiter *w)
{
	struct fill_waiter **at = &b->waiters;

	while (*at)
		at = &(*at)->next;
	w->next = NULL;
	*at = w;
	if (!w->r->max_lent)
		atomic_fetch_add(&b->n_brief, 1);
}

static int try_read(struct blob *b, struct src *up, struct src_read *r,
	struct fill_waiter **w, struct fill_todo *todo)
{
	struct fill_gift gift;
	int err;

	pthread_mutex_lock(&b->lock);
	err = step(b, up, r->off, r->len, todo);
	if (!err) {
		gift = gift_of(b, r);
		atomic_fetch_add(&b->c->hits, 1);
	} else {
		atomic_fetch_add(&b->c->misses, 1);
	}
	if (err == -EINPROGRESS) {
		(*w)->r = r;
		(*w)->up = up;
		wait_for(b, *w);
		*w = NULL;
	} else if (err) {
		note(b, err);
	}
	pthread_mutex_unlock(&b->lock);
	return err ? err : take(b, r, &gift);
}

int cache_fill_read(struct blob *b, struct src *up, struct src_read *r)
{
	struct fill_todo todo = { NULL, NULL };
	struct fill_waiter *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	do
		err = try_read(b, up, r, &w, &todo);
	while (err == LOOK_AGAIN);
	free(w);
	cache_fill_run(b, &todo);
	return err;
}

int cache_fill_peek(struct blob *b, uint64_t off, size_t len,
	struct iovec *iov, int max)
{
	const uint8_t *mem = NULL;

	if (max < 1)
		return -EAGAIN;
	pthread_mutex_lock(&b->lock);
	if (b->part && atomic_load(&b->state) == BLOB_FILLING)
		cache_settle_look(b);
	if (atomic_load(&b->state) == BLOB_WHOLE)
		mem = cache_blob_mem(b);
	else if (atomic_load(&b->state) == BLOB_FILLING && b->part && len &&
		 can_give(b, span_of(b->part, off, len)))
		mem = b->part->mem;
	pthread_mutex_unlock(&b->lock);
	if (!mem)
		return -EAGAIN;
	atomic_fetch_add(&b->c->hits, 1);
	cache_blob_touched(b, mem, len);
	iov[0].iov_base = (void *)(uintptr_t)(mem + off);
	iov[0].iov_len = len;
	return 1;
}

static void finish(struct blob *b, struct fill_waiter **at, int err,
	struct fill_todo *todo)
{
	struct fill_waiter *w = *at;

	*at = w->next;
	if (!w->r->max_lent)
		atomic_fetch_sub(&b->n_brief, 1);
	w->err = err;
	if (!err && !w->copied)
		w->gift = gift_of(b, w->r);
	w->next = todo->done;
	todo->done = w;
}

void cache_fill_kick(struct blob *b, struct fill_todo *todo)
{
	struct fill_waiter **at = &b->waiters;

	while (*at) {
		struct fill_waiter *w = *at;
		int err = step(b, w->up, w->r->off, w->r->len, todo);

		if (err == -EINPROGRESS) {
			at = &w->next;
			continue;
		}
		if (err)
			note(b, err);
		finish(b, at, err, todo);
	}
}

/* A part of the chunk is written, the end of what came is still held. */
static void copy_out(const struct fill_pull *f, struct src_read *r)
{
	size_t at = (size_t)(r->off - f->at * f->part->chunk), n = 0;
	uint32_t written = f->fill - f->held;

	if (at < written) {
		n = written - at < r->len ? written - at : r->len;
		memcpy(r->buf, f->part->mem + r->off, n);
		cache_blob_touched(f->b, f->part->mem, n);
	}
	if (n < r->len)
		memcpy((uint8_t *)r->buf + n, f->piece + (at + n - written),
			r->len - n);
}

/*
 * The chunk does not count as handed: what comes last of it is given out of the
 * whole chunk only, so nobody reads to the end of wrong bytes this way either.
 * What was given of a pull that fails is remembered (settle.c), and there is room
 * for so much of that.
 */
void cache_fill_early(struct blob *b, struct fill_pull *f,
	struct fill_todo *todo)
{
	uint64_t from = f->at * f->part->chunk;
	struct fill_waiter **at = &b->waiters;

	if (holds(b) || atomic_load(&b->state) != BLOB_FILLING ||
	    (!f->given && b->n_early + b->n_loose >= BLOB_LOOSE))
		return;
	while (*at) {
		struct src_read *r = (*at)->r;

		if (r->off < from || r->off + r->len > from + f->fill ||
		    r->max_lent > 0) {
			at = &(*at)->next;
			continue;
		}
		if (!f->given)
			b->n_early++;
		f->given = true;
		cache_bitmap_set(f->part->found, f->at);
		copy_out(f, r);
		(*at)->copied = true;
		finish(b, at, 0, todo);
	}
}

void cache_fill_fail(struct blob *b, uint64_t first, uint64_t end, int err,
	struct fill_todo *todo)
{
	struct fill_waiter **at = &b->waiters;

	while (*at) {
		struct span s = span_of(b->part, (*at)->r->off, (*at)->r->len);

		if (holds(b) || (s.first < end && first < s.end))
			finish(b, at, err, todo);
		else
			at = &(*at)->next;
	}
}

void cache_fill_run(struct blob *b, struct fill_todo *todo)
{
	while (todo->done) {
		struct fill_waiter *w = todo->done;
		int err = w->err;

		todo->done = w->next;
		if (!err && !w->copied)
			err = take(b, w->r, &w->gift);
		if (err == LOOK_AGAIN) {
			pthread_mutex_lock(&b->lock);
			wait_for(b, w);
			cache_fill_kick(b, todo);
			pthread_mutex_unlock(&b->lock);
			continue;
		}
		w->r->done(w->r, err);
		free(w);
	}
	while (todo->pulls) {
		struct fill_pull *p = todo->pulls;

		todo->pulls = p->next;
		src_pull(p->up, &p->p);
	}
}

/* ---- hints ------------------------------------------------------------------- */

static bool take_slot(struct blob *b)
{
	struct cache *c = b->c;
	bool got;

	if (b->hint_pulls >= c->connections)
		return false;
	got = atomic_fetch_add(&c->hint_pulls, 1) < FILL_HINT_PULLS;
	if (!got)
		atomic_fetch_sub(&c->hint_pulls, 1);
	/* A blob without pulls of its own has nobody to remind it. */
	if (!got && !b->hint_pulls)
		cache_watch(b);
	return got;
}

/* What is wanted is shared by the connections that are free, in pieces worth a
 * round trip, and no longer than a connection may be lost to somebody who reads
 * on elsewhere. */
static uint64_t share_of(const struct blob *b, const struct blob_range *r)
{
	uint64_t max = b->pull_max ? b->pull_max : FILL_PULL_FIRST;
	uint64_t left = (r->end - r->at) * b->part->chunk;
	unsigned slots = b->c->connections > b->hint_pulls ?
		b->c->connections - b->hint_pulls : 1;

	left /= slots;
	if (left < FILL_PULL_MIN)
		return FILL_PULL_MIN;
	return left < max ? left : max;
}

/* Start one pull for chunks of r from r->at on; r->at moves. 1: started. */
static int pump_range(struct blob *b, struct blob_range *r,
	struct fill_todo *todo)
{
	struct partial *p = b->part;

	while (r->at < r->end) {
		uint64_t share = share_of(b, r);
		int err;

		if (cache_bitmap_get(p->busy, r->at) ||
		    atomic_load(&p->entry[r->at])) {
			r->at++;
			continue;
		}
		if (!take_slot(b))
			return 0;
		err = cache_pull_start(b, b->up, &r->at, r->end,
			share, true, todo);
		if (!err)
			return 1;
		atomic_fetch_sub(&b->c->hint_pulls, 1);
		if (err != -EAGAIN && err != -EBUSY)
			return err;
		if (b->want_all)
			cache_watch(b);
		if (err == -EBUSY)
			return 0;
		r->at++;
	}
	return 0;
}

int cache_fill_pump(struct blob *b, struct fill_todo *todo)
{
	struct blob_range all;
	int r = 1;

	if (!b->up || !b->part || atomic_load(&b->state) != BLOB_FILLING)
		return 0;
	all = (struct blob_range){ b->part->first_absent, b->part->n };
	while (r == 1 && b->want_all)
		r = pump_range(b, &all, todo);
	while (r >= 0 && b->n_hints) {
		r = pump_range(b, &b->hints[0], todo);
		if (b->hints[0].at < b->hints[0].end && r != 1)
			break;
		if (b->hints[0].at >= b->hints[0].end)
			memmove(&b->hints[0], &b->hints[1],
				--b->n_hints * sizeof(b->hints[0]));
	}
	if (r < 0) {
		b->n_hints = 0;
		/* Who waits for all may still get it from running pulls. */
		return b->part->n_busy ? 0 : r;
	}
	return 0;
}

void cache_fill_hint(struct blob *b, uint64_t off, uint64_t len)
{
	struct fill_todo todo = { NULL, NULL };

	if (!len || off >= b->size)
		return;
	if (len > b->size - off)
		len = b->size - off;
	pthread_mutex_lock(&b->lock);
	if (atomic_load(&b->state) == BLOB_FILLING &&
	    !need_part(b, b->up)) {
		struct blob_range r = {
			off / b->part->chunk,
			(off + len - 1) / b->part->chunk + 1,
		};

		while (r.at < r.end && atomic_load(&b->part->entry[r.at]))
			r.at++;
		/* What failed a moment ago is not asked for again by guess. */
		if (r.at < r.end && !setback_of(b,
		    (struct span){ r.at, r.end })) {
			if (b->n_hints == BLOB_HINTS)
				memmove(&b->hints[0], &b->hints[1],
					--b->n_hints * sizeof(r));
			b->hints[b->n_hints++] = r;
		}
		(void) cache_fill_pump(b, &todo);
	}
	pthread_mutex_unlock(&b->lock);
	cache_fill_run(b, &todo);
}

void cache_fill_forget(struct blob *b)
{
	b->n_hints = 0;
	b->want_all = false;
}
