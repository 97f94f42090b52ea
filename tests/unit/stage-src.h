/* Doubles for the tests of stage: text and memory as srcs, and a src whose
 * reads complete when the test says so. */
#ifndef TESTS_UNIT_STAGE_SRC_H
#define TESTS_UNIT_STAGE_SRC_H

#include <stdlib.h>
#include <string.h>

#include "base/src.h"
#include "tests/unit/t.h"

static inline struct src *src_of(const void *data, size_t len)
{
	void *copy = malloc(len + 1);
	struct src *s;

	t_check(copy);
	memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	t_check(s);
	return s;
}

/* Answers 10, 11, 12, … for its bytes, or lends those at `mem` to who takes
 * them; keeps up to 16 reads until late_end(). Counts the reads it gets. */
struct late_src {
	struct src base;		/* must be first */
	struct src_read *held[16];
	unsigned n_held, n_reads;
	uint8_t *mem;
	struct { uint64_t off, len; } hints[64];
	unsigned n_hints;
	uint64_t present;		/* bytes from the front */
	unsigned epoch;
	bool now;			/* complete at once */
	bool hinted, freed;
	int fail;			/* answer with this instead */
};

static inline void late_fill(struct src_read *r)
{
	for (size_t i = 0; i < r->len; i++)
		((uint8_t *)r->buf)[i] = (uint8_t)(10 + r->off + i);
}

static inline void late_answer(struct late_src *l, struct src_read *r)
{
	if (l->mem && r->max_lent > 0) {
		r->lent[0].iov_base = l->mem + r->off;
		r->lent[0].iov_len = r->len;
		r->n_lent = 1;
	} else {
		late_fill(r);
	}
}

static inline int late_read(struct src *s, struct src_read *r)
{
	struct late_src *l = (struct late_src *)s;

	l->n_reads++;
	if (l->now) {
		late_answer(l, r);
		return l->fail;
	}
	t_check(l->n_held < 16);
	l->held[l->n_held++] = r;
	return -EINPROGRESS;
}

/* Complete the oldest read that is held. */
static inline void late_end(struct late_src *l, int err)
{
	struct src_read *r = l->held[0];

	t_check(l->n_held);
	memmove(l->held, l->held + 1, --l->n_held * sizeof(l->held[0]));
	if (!err)
		late_answer(l, r);
	r->done(r, err);
}

static inline unsigned late_epoch(const struct src *s)
{
	return ((const struct late_src *)s)->epoch;
}

static inline void late_hint(struct src *s, uint64_t off, uint64_t len)
{
	struct late_src *l = (struct late_src *)s;

	l->hinted = off + len <= s->size;
	t_check(l->n_hints < 64);
	l->hints[l->n_hints].off = off;
	l->hints[l->n_hints++].len = len;
}

static inline uint64_t late_present(struct src *s, uint64_t off, uint64_t len)
{
	uint64_t have = ((struct late_src *)s)->present;

	return have <= off ? 0 : have - off < len ? have - off : len;
}

static inline void late_stat(struct src *s, struct src_stat *ret)
{
	struct late_src *l = (struct late_src *)s;

	ret->cached_bytes = l->present;
	ret->state = l->present == s->size ? SRC_VERIFIED :
		l->present ? SRC_PARTIAL : SRC_REMOTE;
	ret->last.code = l->fail;
}

static inline void late_free(struct src *s)
{
	((struct late_src *)s)->freed = true;
}

static const struct src_ops late_ops = {
	.name = "late", .read = late_read, .epoch = late_epoch,
	.hint = late_hint, .present = late_present, .stat = late_stat,
	.free = late_free,
};

static inline void late_init(struct late_src *l, uint64_t size)
{
	memset(l, 0, sizeof(*l));
	src_init(&l->base, &late_ops, size);
}

#endif
