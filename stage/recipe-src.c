/*
 * A src made of extents of other srcs. A read becomes one read per REF extent
 * it touches, each straight into its place in the caller's buffer or lent by its
 * source, and one computation per XFORM extent; who completes last answers for
 * all. Nothing is copied but inline bytes.
 *
 * The caller's buffer belongs to the parts until the last of them is done, so
 * an error does not end the read: it is kept until then.
 */
#include "config.h"

#include "stage/recipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define ZEROS_LEN 65536
#define SPOTS 32
#define SPOT_MAX (8UL << 20)		/* bytes; larger when a piece is */
#define SPOT_GAP (64UL * 1024)		/* bytes fetched unasked between two */
#define COMPLETE_STEP (256UL * 1024)	/* bytes */

struct recipe_src {
	struct src base;		/* must be first */
	struct stage_recipe *recipe;	/* reference */
	uint64_t *starts;		/* output offset of each extent */
	struct src **sources;		/* references; as in the recipe */
	unsigned n_sources;
	bool whole;			/* exactly sources[0] from end to end */
};

/* One piece of a range: the part of extent i that lies inside it. */
struct piece {
	const struct stage_extent *e;
	uint64_t off;		/* as e->off, of the first byte wanted; XFORM:
				 * in the extent's output */
	uint64_t len;		/* bytes */
};

struct walk {
	const struct recipe_src *s;
	size_t i;		/* next extent */
	uint64_t off, len;	/* what is left of the range */
};

/* What peek shows for ZERO extents; nobody writes to it. */
static uint8_t zeros[ZEROS_LEN];

static struct walk walk_start(const struct recipe_src *s, uint64_t off,
	uint64_t len)
{
	size_t lo = 0, hi = s->recipe->n;

	/* The last extent that starts at or before off. */
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->starts[mid] <= off)
			lo = mid;
		else
			hi = mid;
	}
	return (struct walk){ s, lo, off, len };
}

static bool walk_next(struct walk *w, struct piece *ret)
{
	const struct stage_extent *e;
	uint64_t skip;

	if (!w->len)
		return false;
	e = &w->s->recipe->v[w->i];
	skip = w->off - w->s->starts[w->i];
	ret->e = e;
	ret->off = e->kind == STAGE_XFORM ? skip : e->off + skip;
	ret->len = e->len - skip < w->len ? e->len - skip : w->len;
	w->off += ret->len;
	w->len -= ret->len;
	w->i++;
	return true;
}

static bool has_source(const struct stage_extent *e)
{
	return e->kind == STAGE_REF || e->kind == STAGE_XFORM;
}

/* Where the piece's bytes are in its source. */
static void piece_source(const struct piece *p, uint64_t *ret_off,
	uint64_t *ret_len)
{
	*ret_off = p->off;
	*ret_len = p->len;
	if (p->e->kind == STAGE_XFORM)
		stage_xform_range(p->e, p->off, p->len, ret_off, ret_len);
}

/* ---- read ------------------------------------------------------------------ */

struct fan;

struct part {
	struct src_read r;	/* must be first */
	struct fan *fan;
	struct iovec lent;	/* what r may be answered with */
};

struct fan {
	const struct recipe_src *s;	/* the parent's caller holds it */
	struct src_read *parent;
	bool lends;		/* the parent has room for all pieces */
	atomic_size_t left;	/* parts not done, and one for the issuer */
	atomic_int err;		/* the first one */
	struct part parts[];
};

static void fan_fail(struct fan *f, int err)
{
	int none = 0;

	atomic_compare_exchange_strong(&f->err, &none, err);
}

/* true: this was the last one, and the fan is the caller's to end. */
static bool fan_drop(struct fan *f)
{
	return atomic_fetch_sub_explicit(&f->left, 1,
		       memory_order_acq_rel) == 1;
}

/* Every part is done, and each piece of the range is in the buffer or lent. */
static void fan_lend(const struct fan *f)
{
	struct src_read *r = f->parent;
	struct walk w = walk_start(f->s, r->off, r->len);
	uint8_t *out = r->buf, *end = NULL;
	struct piece p;
	size_t i = 0;
	int n = 0;

	for (; walk_next(&w, &p); out += p.len) {
		const struct part *part = has_source(p.e) ? &f->parts[i++] :
			NULL;
		uint8_t *at = part && part->r.n_lent ? part->lent.iov_base :
			out;

		if (at == end)
			r->lent[n - 1].iov_len += p.len;
		else
			r->lent[n++] = (struct iovec){ at, p.len };
		end = at + p.len;
	}
	r->n_lent = n;
}

static int fan_end(struct fan *f)
{
	int err = atomic_load(&f->err);

	if (!err && f->lends)
		fan_lend(f);
	free(f);
	return err;
}

static void part_done(struct src_read *r, int err)
{
	struct fan *f = ((struct part *)r)->fan;
	struct src_read *parent = f->parent;

	if (err)
		fan_fail(f, err);
	if (!fan_drop(f))
		return;
	err = fan_end(f);
	parent->done(parent, err);
}

static int read_piece(struct src *source, const struct piece *p,
	struct src_read *r)
{
	return p->e->kind == STAGE_XFORM ? stage_xform_read(source, p->e, r) :
		src_read(source, r);
}

/* refs: how many of the n pieces have a source. */
static int read_sources(struct recipe_src *s, struct src_read *r, size_t n,
	size_t refs)
{
	struct walk w = walk_start(s, r->off, r->len);
	struct fan *f = malloc(sizeof(*f) + refs * sizeof(f->parts[0]));
	uint8_t *out = r->buf;
	struct piece p;
	size_t i = 0;

	if (!f)
		return -ENOMEM;
	f->s = s;
	f->parent = r;
	f->lends = r->max_lent > 0 && n <= (size_t)r->max_lent;
	atomic_init(&f->left, 1);
	atomic_init(&f->err, 0);
	for (; walk_next(&w, &p); out += p.len) {
		struct part *part;
		int err;

		if (!has_source(p.e) || atomic_load(&f->err))
			continue;
		part = &f->parts[i++];
		part->r = (struct src_read){ .off = p.off, .len = p.len,
			.buf = out, .lent = &part->lent,
			.max_lent = f->lends, .done = part_done };
		part->fan = f;
		atomic_fetch_add(&f->left, 1);
		err = read_piece(s->sources[p.e->source], &p, &part->r);
		if (err == -EINPROGRESS)
			continue;
		if (err)
			fan_fail(f, err);
		(void) fan_drop(f);	/* never the last: ours is left */
	}
	return fan_drop(f) ? fan_end(f) : -EINPROGRESS;
}

static int recipe_read(struct src *base, struct src_read *r)
{
	struct recipe_src *s = (struct recipe_src *)base;
	struct walk w = walk_start(s, r->off, r->len);
	uint8_t *out = r->buf;
	struct piece p;
	size_t n = 0, refs = 0;

	for (; walk_next(&w, &p); out += p.len, n++) {
		if (has_source(p.e))
			refs++;
		else if (p.e->kind == STAGE_INLINE)
			memcpy(out, s->recipe->pool.data + p.off, p.len);
		else
			memset(out, 0, p.len);
	}
	return refs ? read_sources(s, r, n, refs) : 0;
}

/* ---- the rest -------------------------------------------------------------- */

static int peek_piece(struct recipe_src *s, const struct piece *p,
	struct iovec *iov, int max)
{
	uint64_t left = p->len;
	int n = 0;

	if (max <= 0)
		return -EAGAIN;
	switch (p->e->kind) {
	case STAGE_REF:
		return src_peek(s->sources[p->e->source], p->off, p->len, iov,
			max);
	case STAGE_INLINE:
		iov[0].iov_base = s->recipe->pool.data + p->off;
		iov[0].iov_len = p->len;
		return 1;
	case STAGE_XFORM:
		return -EAGAIN;
	default:
		for (; left; n++) {
			if (n == max)
				return -EAGAIN;
			iov[n].iov_base = zeros;
			iov[n].iov_len = left < ZEROS_LEN ? left : ZEROS_LEN;
			left -= iov[n].iov_len;
		}
		return n;
	}
}

static int recipe_peek(struct src *base, uint64_t off, size_t len,
	struct iovec *iov, int max)
{
	struct recipe_src *s = (struct recipe_src *)base;
	struct walk w = walk_start(s, off, len);
	struct piece p;
	int n = 0;

	while (walk_next(&w, &p)) {
		int got = peek_piece(s, &p, iov + n, max - n);

		if (got < 0)
			return -EAGAIN;
		n += got;
	}
	return n;
}

/* What is hinted of a source in one go. A checkpoint has the tensors of a layer
 * together, in another order than we: many small ranges that make few large
 * ones, which are worth a request each and are not forgotten for their number.
 * They stay about in the order in which they will be read. */
struct spot {
	unsigned source;
	uint64_t off, end;
};

static void hint_spots(struct recipe_src *s, const struct spot *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		src_hint(s->sources[v[i].source], v[i].off,
			v[i].end - v[i].off);
}

/* true: [off, end) is part of it now. */
static bool spot_join(struct spot *v, unsigned source, uint64_t off,
	uint64_t end)
{
	uint64_t a = off < v->off ? off : v->off;
	uint64_t b = end > v->end ? end : v->end;

	if (v->source != source || b - a > SPOT_MAX ||
	    off > v->end + SPOT_GAP || v->off > end + SPOT_GAP)
		return false;
	v->off = a;
	v->end = b;
	return true;
}

static void recipe_hint(struct src *base, uint64_t off, uint64_t len)
{
	struct recipe_src *s = (struct recipe_src *)base;
	struct walk w = walk_start(s, off, len);
	struct spot v[SPOTS];
	struct piece p;
	size_t n = 0;

	while (walk_next(&w, &p)) {
		size_t i = 0;

		if (!has_source(p.e))
			continue;
		piece_source(&p, &off, &len);
		while (i < n && !spot_join(&v[i], p.e->source, off, off + len))
			i++;
		if (i < n)
			continue;
		if (n == SPOTS) {
			hint_spots(s, v, n);
			n = 0;
		}
		v[n++] = (struct spot){ p.e->source, off, off + len };
	}
	hint_spots(s, v, n);
}

static int recipe_fd(struct src *base)
{
	struct recipe_src *s = (struct recipe_src *)base;

	return s->whole ? src_fd(s->sources[0]) : -EAGAIN;
}

static unsigned recipe_epoch(const struct src *base)
{
	const struct recipe_src *s = (const struct recipe_src *)base;
	unsigned sum = 0;

	for (unsigned i = 0; i < s->n_sources; i++)
		sum += src_epoch(s->sources[i]);
	return sum;
}

/* Of a computed piece, the share whose source bytes are here. */
static uint64_t piece_present(struct src *source, const struct piece *p)
{
	uint64_t off, len, have;

	piece_source(p, &off, &len);
	have = src_present(source, off, len);
	if (have >= len)
		return p->len;
	return (uint64_t)((double)p->len * ((double)have / (double)len));
}

static uint64_t recipe_present(struct src *base, uint64_t off, uint64_t len)
{
	struct recipe_src *s = (struct recipe_src *)base;
	struct walk w = walk_start(s, off, len);
	uint64_t sum = 0;
	struct piece p;

	while (walk_next(&w, &p))
		sum += !has_source(p.e) ? p.len :
			piece_present(s->sources[p.e->source], &p);
	return sum;
}

/* Inline bytes count as present: they are in the recipe, on this disk. A
 * staged file has no digest of its own; it is verified when all it is made of
 * is. */
static void recipe_stat(struct src *base, struct src_stat *ret)
{
	struct recipe_src *s = (struct recipe_src *)base;
	bool verified = s->n_sources > 0;

	if (s->whole) {
		src_stat(s->sources[0], ret);
		return;
	}
	ret->cached_bytes = recipe_present(base, 0, base->size);
	for (unsigned i = 0; i < s->n_sources; i++) {
		struct src_stat st;

		src_stat(s->sources[i], &st);
		verified = verified && st.state == SRC_VERIFIED;
		if (st.last.code && !ret->last.code)
			ret->last = st.last;
	}
	if (verified)
		ret->state = SRC_VERIFIED;
	else if (ret->cached_bytes == base->size)
		ret->state = SRC_CACHED;
	else
		ret->state = ret->cached_bytes ? SRC_PARTIAL : SRC_REMOTE;
}

static void recipe_free(struct src *base)
{
	struct recipe_src *s = (struct recipe_src *)base;

	for (unsigned i = 0; i < s->n_sources; i++)
		src_unref(s->sources[i]);
	free(s->sources);
	free(s->starts);
	stage_recipe_unref(s->recipe);
	free(s);
}

static const struct src_ops recipe_ops = {
	.name = "recipe",
	.read = recipe_read,
	.peek = recipe_peek,
	.hint = recipe_hint,
	.fd = recipe_fd,
	.epoch = recipe_epoch,
	.stat = recipe_stat,
	.present = recipe_present,
	.free = recipe_free,
};

static bool is_whole(const struct stage_recipe *r)
{
	const struct stage_extent *e = r->v;

	return r->n == 1 && r->n_sources == 1 && e->kind == STAGE_REF &&
		!e->off && e->len == r->sources[0].size;
}

/* Sources are taken one by one, so that recipe_free() can undo any prefix. */
static int take(struct recipe_src *s, struct src *const *sources)
{
	const struct stage_recipe *r = s->recipe;
	uint64_t at = 0;

	s->starts = calloc(r->n ? r->n : 1, sizeof(*s->starts));
	s->sources = calloc(r->n_sources ? r->n_sources : 1,
		sizeof(*s->sources));
	if (!s->starts || !s->sources)
		return -ENOMEM;
	for (size_t i = 0; i < r->n; i++) {
		s->starts[i] = at;
		at += r->v[i].len;
	}
	for (; s->n_sources < r->n_sources; s->n_sources++)
		s->sources[s->n_sources] = src_ref(sources[s->n_sources]);
	return 0;
}

int stage_recipe_src(struct stage_recipe *r, struct src *const *sources,
	struct src **ret, struct error *why)
{
	int err = stage_recipe_check(r, why);
	struct recipe_src *s;

	for (unsigned i = 0; !err && i < r->n_sources; i++) {
		if (sources[i]->size != r->sources[i].size)
			err = error_set(why, -EBADMSG,
				"%s has changed its size since it was planned",
				r->sources[i].path);
	}
	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	src_init(&s->base, &recipe_ops, r->size);
	s->recipe = stage_recipe_ref(r);
	s->whole = is_whole(r);
	err = take(s, sources);
	if (err) {
		recipe_free(&s->base);
		return err;
	}
	*ret = &s->base;
	return 0;
}

/* ---- all of the sources ----------------------------------------------------- */

static int complete_one(struct src *source, void *buf)
{
	int r = 0;

	for (uint64_t at = 0; at < source->size && !r; at += COMPLETE_STEP) {
		uint64_t left = source->size - at;
		size_t n = left < COMPLETE_STEP ? (size_t)left : COMPLETE_STEP;

		if (src_present(source, at, n) < n)
			r = src_read_wait(source, at, buf, n);
	}
	return r;
}

int stage_recipe_src_complete(struct src *base, uint64_t most)
{
	struct recipe_src *s = (struct recipe_src *)base;
	uint64_t missing = 0;
	void *buf;
	int r = 0;

	for (unsigned i = 0; i < s->n_sources; i++)
		missing += s->sources[i]->size -
			src_present(s->sources[i], 0, s->sources[i]->size);
	if (missing > most)
		return -EFBIG;
	buf = malloc(COMPLETE_STEP);
	if (!buf)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n_sources && !r; i++)
		r = complete_one(s->sources[i], buf);
	free(buf);
	return r;
}
