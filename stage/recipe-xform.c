/*
 * Computed extents. A row of the source becomes a row of the output and
 * depends on nothing else, so that any part can be computed from the rows it
 * touches: there is no state, and no pass over a tensor before its first byte.
 *
 * A read goes through the rows in steps of some 256 KiB of the source, one
 * after the other, whatever its length. Where the source answers at once the
 * steps are a loop; where it answers later, the next step starts in its
 * callback. The arithmetic there is a fraction of a millisecond a step.
 *
 * Numbers are read and written as this machine has them, little-endian, which
 * is also what checkpoints and ONNX say.
 */
#include "config.h"

#include "stage/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stage/tensor.h"

#define STEP_LEN ((uint64_t)256 << 10)	/* bytes of the source, or one row */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"the arithmetic on tensors is that of little-endian machines");

/* ---- numbers --------------------------------------------------------------- */

static float of_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint32_t bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static float of_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, a = h & 0x7fff;

	if (a >= 0x7c00)	/* infinite, or no number */
		return of_bits(sign | 0x7f800000 | (a & 0x3ff) << 13);
	if (a >= 0x400)
		return of_bits(sign | ((a << 13) + (112u << 23)));
	return of_bits(sign | bits_of((float)a * 0x1p-24f));
}

/* To nearest even. What is finite stays so: at most 65504. */
static uint16_t to_f16(float f)
{
	uint32_t bits = bits_of(f), a = bits & 0x7fffffff;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);

	if (a > 0x7f800000)
		return sign | 0x7e00;
	if (a == 0x7f800000)
		return sign | 0x7c00;
	if (a >= 0x477fe000)
		return sign | 0x7bff;
	/* Below 2^-14 the addition rounds: the last bit of 0.5 is 2^-24. */
	if (a < 0x38800000)
		return (uint16_t)(sign | (bits_of(of_bits(a) + 0.5f) -
			bits_of(0.5f)));
	a += 0xfff + (a >> 13 & 1) - (112u << 23);
	return (uint16_t)(sign | a >> 13);
}

/* The larger of |x|, in bits: they are in the order of their numbers, and
 * what is no number is above them all. */
static uint32_t row_max(const float *x, size_t n)
{
	uint32_t max = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t a = bits_of(x[i]) & 0x7fffffff;

		max = a > max ? a : max;
	}
	return max;
}

/* A row with an infinite element has an infinite scale and is no number
 * throughout: eight bits cannot say it, and nobody shall take it for one. */
static float row_scale(const float *x, size_t n)
{
	float scale = of_bits(row_max(x, n)) / 127;

	/* A scale that lost bits would not give 127 back. */
	return scale < 0x1p-126f ? 1 : scale;
}

static int8_t to_i8(float x, float scale)
{
	float q = rintf(x / scale);

	if (!(q > -127))	/* also what is no number */
		return isnan(q) ? 0 : -127;
	return q < 127 ? (int8_t)q : 127;
}

/* ---- rows ------------------------------------------------------------------ */

uint64_t stage_xform_in(const struct stage_extent *e)
{
	if (!e->row || e->row > STAGE_ROW_MAX)
		return 0;
	switch ((enum stage_dtype)e->from) {
	case STAGE_F32:
		return (uint64_t)e->row * 4;
	case STAGE_F16:
	case STAGE_BF16:
		return (uint64_t)e->row * 2;
	default:
		return 0;
	}
}

uint64_t stage_xform_out(const struct stage_extent *e)
{
	switch ((enum stage_xform)e->xform) {
	case STAGE_TO_F16:
		return (uint64_t)e->row * 2;
	case STAGE_ROW_SCALE:
		return 4;
	case STAGE_ROW_I8:
		return e->row;
	default:
		return 0;
	}
}

void stage_xform_range(const struct stage_extent *e, uint64_t off,
	uint64_t len, uint64_t *ret_off, uint64_t *ret_len)
{
	uint64_t in = stage_xform_in(e), out = stage_xform_out(e);
	uint64_t first = off / out;
	uint64_t end = len ? (off + len - 1) / out + 1 : first;

	*ret_off = e->off + first * in;
	*ret_len = (end - first) * in;
}

/* n elements at `in`, which may lie anywhere, as floats. */
static void load(enum stage_dtype from, const uint8_t *in, size_t n,
	float *ret)
{
	uint16_t half;

	if (from == STAGE_F32) {
		memcpy(ret, in, n * sizeof(*ret));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		memcpy(&half, in + 2 * i, 2);
		ret[i] = from == STAGE_F16 ? of_f16(half) :
			of_bits((uint32_t)half << 16);
	}
}

/* n elements, which are one row unless each is computed for itself; `out`
 * lies anywhere too. */
static void compute(enum stage_xform how, const float *x, size_t n,
	uint8_t *out)
{
	float scale;

	if (how == STAGE_TO_F16) {
		for (size_t i = 0; i < n; i++) {
			uint16_t h = to_f16(x[i]);

			memcpy(out + 2 * i, &h, 2);
		}
		return;
	}
	scale = row_scale(x, n);
	if (how == STAGE_ROW_SCALE) {
		memcpy(out, &scale, 4);
		return;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)to_i8(x[i], scale);
}

/* ---- reads ----------------------------------------------------------------- */

struct job {
	struct src_read r;	/* must be first; what is asked of the source */
	struct src *source;
	struct src_read *parent;
	struct stage_extent e;
	uint64_t in, out;	/* bytes of a row */
	uint64_t next, end;	/* rows, of the extent; next is the first of r */
	uint64_t step;		/* rows of one read, at most */
	float *x;		/* the elements of one compute() */
	uint8_t *bytes;		/* `step` rows of the source */
	uint8_t *row;		/* one row of output, for those cut */
};

/* k rows from row i on: what the parent wants of them. */
static void put_rows(struct job *j, uint64_t i, uint64_t k, const uint8_t *in)
{
	const struct src_read *p = j->parent;
	enum stage_xform how = (enum stage_xform)j->e.xform;
	uint64_t start = i * j->out, end = start + k * j->out;
	uint64_t a = start > p->off ? start : p->off;
	uint64_t b = end < p->off + p->len ? end : p->off + p->len;
	uint8_t *to = (uint8_t *)p->buf + (a - p->off);
	size_t n = (size_t)(k * j->e.row);

	load((enum stage_dtype)j->e.from, in, n, j->x);
	if (b - a == end - start) {
		compute(how, j->x, n, to);
		return;
	}
	compute(how, j->x, n, j->row);
	memcpy(to, j->row + (a - start), b - a);
}

/* How many rows from row i on can be computed at once: one, or when elements
 * do not depend on each other all that are wanted whole. */
static uint64_t together(const struct job *j, uint64_t i, uint64_t n)
{
	const struct src_read *p = j->parent;
	uint64_t whole;

	if (j->e.xform != STAGE_TO_F16 || i * j->out < p->off)
		return 1;
	whole = (p->off + p->len - i * j->out) / j->out;
	whole = whole < n ? whole : n;
	return whole ? whole : 1;
}

static void take_rows(struct job *j)
{
	const uint8_t *in = j->bytes;
	uint64_t n = j->r.len / j->in;

	while (n) {
		uint64_t k = together(j, j->next, n);

		put_rows(j, j->next, k, in);
		j->next += k;
		in += k * j->in;
		n -= k;
	}
}

static void step_done(struct src_read *r, int err);

/* -EINPROGRESS: from here on the job is the callback's. */
static int run(struct job *j)
{
	while (j->next < j->end) {
		uint64_t n = j->end - j->next;
		int err;

		n = n < j->step ? n : j->step;
		j->r = (struct src_read){ .off = j->e.off + j->next * j->in,
			.len = n * j->in, .buf = j->bytes, .done = step_done };
		err = src_read(j->source, &j->r);
		if (err)
			return err;
		take_rows(j);
	}
	return 0;
}

static void step_done(struct src_read *r, int err)
{
	struct job *j = (struct job *)r;
	struct src_read *parent = j->parent;

	if (!err) {
		take_rows(j);
		err = run(j);
		if (err == -EINPROGRESS)
			return;
	}
	free(j);
	parent->done(parent, err);
}

/* Memory for `rows` rows, or for as many as a step has. */
static struct job *job_new(const struct stage_extent *e, uint64_t rows)
{
	uint64_t in = stage_xform_in(e), out = stage_xform_out(e);
	uint64_t step = STEP_LEN / in;
	size_t n_x, n_in;
	struct job *j;

	step = step ? step : 1;
	step = rows < step ? rows : step;
	n_x = (size_t)(e->xform == STAGE_TO_F16 ? step * e->row : e->row);
	n_in = (size_t)(step * in);
	j = malloc(sizeof(*j) + n_x * sizeof(*j->x) + n_in + (size_t)out);
	if (!j)
		return NULL;
	j->e = *e;
	j->in = in;
	j->out = out;
	j->step = step;
	j->x = (float *)(void *)(j + 1);
	j->bytes = (uint8_t *)(j->x + n_x);
	j->row = j->bytes + n_in;
	return j;
}

int stage_xform_read(struct src *source, const struct stage_extent *e,
	struct src_read *r)
{
	uint64_t in = stage_xform_in(e), off, len;
	struct job *j;
	int err;

	stage_xform_range(e, r->off, r->len, &off, &len);
	j = job_new(e, len / in);
	if (!j)
		return -ENOMEM;
	j->source = source;
	j->parent = r;
	j->next = (off - e->off) / in;
	j->end = j->next + len / in;
	if (len / in > j->step)
		src_hint(source, off, len);
	err = run(j);
	if (err != -EINPROGRESS)
		free(j);
	return err;
}
