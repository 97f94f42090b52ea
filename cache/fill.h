/*
 * Who fetches which chunk, and who waits for it.
 *
 * A chunk that is absent is claimed (busy in this process, a byte lock between
 * processes), pulled, published. A read that cannot be answered becomes a
 * waiter; it is looked at again when a chunk of its range is published, when a
 * pull fails, when the verdict is in, and by the watch thread while another
 * process has the chunk or gives the verdict.
 *
 * Nothing is called outward with blob.lock held: what there is to do gathers
 * in a fill_todo and is done by cache_fill_run() afterwards.
 */
#ifndef CACHE_FILL_H
#define CACHE_FILL_H

#include "cache/blob.h"

#define FILL_PULL_MIN (1UL << 20)	/* bytes in one pull for hints, … */
#define FILL_PULL_FIRST (8UL << 20)	/* … at most, before one has ended; */
#define FILL_PULL_MAX (32UL << 20)
#define FILL_PULL_MS 500		/* … so long one is to take then */
#define FILL_HINT_PULLS 48		/* of all blobs, at once */
#define FILL_SMALL (4UL << 20)		/* bytes; one request, then verdict */

/* What a read is answered from: mapped memory, else another tool's file (a
 * reference), else the blob's own. */
struct fill_gift {
	const uint8_t *mem;
	struct foreign_file *there;
};

struct fill_waiter {
	struct fill_waiter *next;
	struct src_read *r;
	struct src *up;			/* borrowed: the reader keeps its src */
	struct fill_gift gift;		/* when err is 0 */
	bool copied;			/* r->buf is filled already: no gift */
	int err;
};

struct fill_pull;

struct fill_todo {
	struct fill_waiter *done;
	struct fill_pull *pulls;
};

int cache_fill_read(struct blob *b, struct src *up, struct src_read *r);
int cache_fill_peek(struct blob *b, uint64_t off, size_t len,
	struct iovec *iov, int max);
void cache_fill_hint(struct blob *b, uint64_t off, uint64_t len);
/* No reader is left: forget what they said they would want. */
void cache_fill_forget(struct blob *b);

/* With b->lock held: look at every waiter again. */
void cache_fill_kick(struct blob *b, struct fill_todo *todo);
/* With b->lock held: answer who waits for no more than has come of the chunk
 * that `f` is receiving into b->part. By copying: who wants bytes lent waits for
 * its end. */
void cache_fill_early(struct blob *b, struct fill_pull *f,
	struct fill_todo *todo);
/* With b->lock held: fail the waiters that overlap chunks [first, end). */
void cache_fill_fail(struct blob *b, uint64_t first, uint64_t end, int err,
	struct fill_todo *todo);
/* With b->lock held: a pull could not bring chunks [first, end). */
void cache_fill_setback(struct blob *b, uint64_t first, uint64_t end, int err);
/* With b->lock held: ask for more of what was hinted, or of everything. */
int cache_fill_pump(struct blob *b, struct fill_todo *todo);
/* Without locks. */
void cache_fill_run(struct blob *b, struct fill_todo *todo);

/* ---- pull.c ------------------------------------------------------------------ */

struct fill_pull {
	struct src_pull p;
	struct pool_job job;		/* gives the references back */
	struct fill_pull *next;		/* in a todo */
	struct blob *b;			/* a reference */
	struct src *up;			/* a reference */
	struct partial *part;		/* lives as long as b */
	uint64_t first, n;		/* chunks */
	uint64_t at;			/* chunk being received */
	uint32_t fill;			/* bytes of it */
	uint8_t *piece;			/* PIECE_LEN bytes, or NULL */
	uint32_t held;			/* of fill, in piece: not written yet */
	bool given;			/* … a part of it: counts in n_early */
	uint64_t version;		/* p.version when fill was 0 */
	struct XXH3_state_s *hash;
	bool hint;			/* counts in blob.hint_pulls */
	uint64_t began;			/* clock_ms() */
};

/* With b->lock held: claim the absent chunks from *at on, before end, at most
 * max bytes, and start a pull for them. *at moves behind them. -EAGAIN: the
 * first is not ours to fetch; -EBUSY: there may be room when what goes to the
 * disk is there; -ENOSPC, -ENOTSUP, -ENOMEM. */
int cache_pull_start(struct blob *b, struct src *up, uint64_t *at,
	uint64_t end, uint64_t max, bool hint, struct fill_todo *todo);

/* How long the next may be when one of `len` bytes took `ms`. */
uint64_t cache_pull_next(uint64_t len, uint64_t ms);

/* ---- settle.c ----------------------------------------------------------------- */

/* With b->lock held. Hash on, and give the verdict when all is here. */
void cache_settle_more(struct blob *b);
/* `f` will not bring the rest of a chunk that was given in part: what came is
 * compared when the bytes are known to be right. */
void cache_settle_loose(struct blob *b, struct fill_pull *f);
/* With b->lock held. The hub has another version than b->part is of. */
void cache_settle_other(struct blob *b);
/* See whether another process has settled or discarded b->part. */
void cache_settle_look(struct blob *b);

/* ---- adopt.c ------------------------------------------------------------------- */

/* With b->lock held. b->there was found, and compared before. */
void cache_adopt_known(struct blob *b);
/* With b->lock held. Compare b->there with the name's digest. */
void cache_adopt_check(struct blob *b);
/* With b->lock held. Nothing of the kind is here: it is fetched, after what is
 * here of it already. */
void cache_adopt_none(struct blob *b);
/* With b->lock held. `f`, given out as right, is not what it was. */
void cache_adopt_changed(struct blob *b, const struct foreign_file *f);

/* ---- watch.c ------------------------------------------------------------------- */

/* With b->lock held: look again every few milliseconds while there are
 * waiters. */
void cache_watch(struct blob *b);
int cache_watch_start(struct cache *c);	/* -ENOMEM */
void cache_watch_stop(struct cache *c);

#endif
