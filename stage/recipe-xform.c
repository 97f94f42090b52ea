/*
 * Computed extents. A unit of the source, which is an element or a group of
 * elements that lie together, becomes a unit of the output and depends on
 * nothing else, so that any part can be computed from the units it touches:
 * there is no state, and no pass over a tensor before its first byte. That is
 * why int8 has a scale for each group and not for each row: the scales, and
 * the numbers they scale, are each computed from the same bytes when they are
 * read.
 *
 * A read goes through the units in steps of some 256 KiB of the source, one
 * after the other, whatever its length. Where the source answers at once the
 * steps are a loop; where it answers later, the next step starts in its
 * callback. The arithmetic there is about a millisecond a step.
 *
 * What is computed is the same on every machine: a quotient is rounded once,
 * and no sum depends on its order.
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

#define STEP_LEN ((uint64_t)256 << 10)	/* bytes of the source */

/* How many steps of int8 the largest element of a group may be; outside of
 * these magnitudes it is 127. */
#define STEPS_FEWEST 116
#define STEPS_LEAST 0x1p-100f
#define STEPS_MOST 0x1p100f
#define LANES 4

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

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

/* ---- units ----------------------------------------------------------------- */

static uint64_t element(enum stage_dtype from)
{
	switch (from) {
	case STAGE_F32:
		return 4;
	case STAGE_F16:
	case STAGE_BF16:
		return 2;
	default:
		return 0;
	}
}

/* Elements; 0: no computation we know. */
static uint64_t unit(const struct stage_extent *e)
{
	switch ((enum stage_xform)e->xform) {
	case STAGE_TO_F16:
		return e->group ? 0 : 1;
	case STAGE_TO_I8:
	case STAGE_TO_SCALE:
		return e->group <= STAGE_GROUP_MAX ? e->group : 0;
	default:
		return 0;
	}
}

uint64_t stage_xform_in(const struct stage_extent *e)
{
	return unit(e) * element((enum stage_dtype)e->from);
}

uint64_t stage_xform_out(const struct stage_extent *e)
{
	switch ((enum stage_xform)e->xform) {
	case STAGE_TO_F16:
		return 2;
	case STAGE_TO_I8:
		return e->group;
	case STAGE_TO_SCALE:
		return 4;
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

/* The largest magnitude of n elements. One that is infinite counts as the
 * largest number: masks are made of it. */
static float most_of(const float *x, size_t n)
{
	uint32_t most = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t a = bits_of(x[i]) & 0x7fffffff;

		most = a > most ? a : most;
	}
	return of_bits(most == 0x7f800000 ? 0x7f7fffff : most);
}

/* How far |x| <= 127 are from whole numbers, squared. Adding 1.5 * 2^15 leaves
 * multiples of 2^-8, 1.5 * 2^23 whole numbers. */
static vector squares(vector x)
{
	x = (x + 0x1.8p15f) - 0x1.8p15f;
	x -= (x + 0x1.8p23f) - 0x1.8p23f;
	return x * x;
}

/* What rounding to multiples of `scale` loses, in squares of a step. Every
 * distance is a multiple of 2^-8 and no more than a half, so that the sum of
 * STAGE_GROUP_MAX squares is exact: in any order, on any machine. */
static float loss(const float *x, size_t n, float scale)
{
	vector sum = { 0 }, y = { 0 };

	for (; n >= LANES; x += LANES, n -= LANES) {
		memcpy(&y, x, sizeof(y));
		sum += squares(y / scale);
	}
	if (n) {
		y = (vector){ 0 };
		memcpy(&y, x, n * sizeof(*x));
		sum += squares(y / scale);
	}
	return sum[0] + sum[1] + sum[2] + sum[3];
}

/* What the elements of a group are multiples of: the largest is 127, or one
 * of the eleven numbers below it, with which the squared error is least: with
 * sixteen elements that takes 30 % off it. */
static float scale_of(const float *x, size_t n)
{
	float most = most_of(x, n), least = HUGE_VALF, scale = most / 127;

	/* What was finite stays so. */
	if (scale * 127 > 0x1.fffffep127f)
		return of_bits(bits_of(scale) - 1);
	if (!(most > STEPS_LEAST && most < STEPS_MOST))
		return scale;
	for (int steps = 127; steps >= STEPS_FEWEST; steps--) {
		float f = (float)steps;
		float lost = loss(x, n, most / f) / (f * f);

		if (lost < least) {
			least = lost;
			scale = most / f;
		}
	}
	return scale;
}

static int8_t to_i8(float x, float scale)
{
	float q = scale > 0 ? x / scale : 0;	/* NaN gives 0 */

	q = q > 127 ? 127 : q < -127 ? -127 : q;
	return (int8_t)((q + 0x1.8p23f) - 0x1.8p23f);	/* to even */
}

/* A group of n. */
static void compute_group(const struct stage_extent *e, const float *x,
	uint8_t *out)
{
	float scale = scale_of(x, e->group);

	if (e->xform == STAGE_TO_SCALE) {
		memcpy(out, &scale, sizeof(scale));
		return;
	}
	for (size_t i = 0; i < e->group; i++)
		out[i] = (uint8_t)to_i8(x[i], scale);
}

/* n units; `out` lies anywhere too. */
static void compute(const struct stage_extent *e, const float *x, size_t n,
	uint8_t *out)
{
	for (size_t i = 0; i < n; i++) {
		if (e->xform == STAGE_TO_F16) {
			uint16_t h = to_f16(x[i]);

			memcpy(out + 2 * i, &h, 2);
		} else {
			compute_group(e, x + i * e->group,
				out + i * stage_xform_out(e));
		}
	}
}

/* ---- reads ----------------------------------------------------------------- */

struct job {
	struct src_read r;	/* must be first; what is asked of the source */
	struct src *source;
	struct src_read *parent;
	struct stage_extent e;
	uint64_t in, out;	/* bytes of a unit */
	uint64_t next, end;	/* units; next is the first of r */
	uint64_t step;		/* units of one read, at most */
	float *x;		/* the elements of one compute() */
	uint8_t *bytes;		/* `step` units of the source */
};

/* n units from unit i on: what the parent wants of them, which is all of them
 * or a part of one. */
static void put(struct job *j, uint64_t i, uint64_t n, const uint8_t *in)
{
	const struct src_read *p = j->parent;
	uint64_t start = i * j->out, end = start + n * j->out;
	uint64_t a = start > p->off ? start : p->off;
	uint64_t b = end < p->off + p->len ? end : p->off + p->len;
	uint8_t *to = (uint8_t *)p->buf + (a - p->off);
	uint8_t one[STAGE_GROUP_MAX];

	load((enum stage_dtype)j->e.from, in, (size_t)(n * unit(&j->e)), j->x);
	if (b - a == end - start) {
		compute(&j->e, j->x, (size_t)n, to);
		return;
	}
	compute(&j->e, j->x, 1, one);
	memcpy(to, one + (a - start), b - a);
}

/* How many units from unit i on go into the buffer at once: all that are wanted
 * whole, or one. */
static uint64_t together(const struct job *j, uint64_t i, uint64_t n)
{
	const struct src_read *p = j->parent;
	uint64_t whole;

	if (i * j->out < p->off)
		return 1;
	whole = (p->off + p->len - i * j->out) / j->out;
	whole = whole < n ? whole : n;
	return whole ? whole : 1;
}

static void take(struct job *j)
{
	const uint8_t *in = j->bytes;
	uint64_t n = j->r.len / j->in;

	while (n) {
		uint64_t k = together(j, j->next, n);

		put(j, j->next, k, in);
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
		take(j);
	}
	return 0;
}

static void step_done(struct src_read *r, int err)
{
	struct job *j = (struct job *)r;
	struct src_read *parent = j->parent;

	if (!err) {
		take(j);
		err = run(j);
		if (err == -EINPROGRESS)
			return;
	}
	free(j);
	parent->done(parent, err);
}

/* Memory for n units, or for as many as a step has. */
static struct job *job_new(const struct stage_extent *e, uint64_t n)
{
	uint64_t in = stage_xform_in(e), step = STEP_LEN / in;
	struct job *j;

	step = n < step ? n : step;
	j = malloc(sizeof(*j) + (size_t)step *
		(sizeof(*j->x) * (size_t)unit(e) + (size_t)in));
	if (!j)
		return NULL;
	j->e = *e;
	j->in = in;
	j->out = stage_xform_out(e);
	j->step = step;
	j->x = (float *)(void *)(j + 1);
	j->bytes = (uint8_t *)(j->x + step * unit(e));
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
