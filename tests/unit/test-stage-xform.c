/* Computed extents: the numbers, every range of them, and sources that answer
 * at once, later, on other threads, and not at all. */
#include "config.h"

#include <math.h>

#include "base/pool.h"
#include "stage/stage.h"
#include "stage/tensor.h"
#include "tests/unit/stage-src.h"

/* ---- a source -------------------------------------------------------------- */

enum when { NOW, HELD, FAR };

struct mem_src {
	struct src base;	/* must be first */
	const uint8_t *data;
	enum when when;
	struct src_read *held[8];
	unsigned n_held, n_reads;
	size_t longest;		/* read, in bytes */
	uint64_t hint_off, hint_len, present;
	unsigned epoch;
	int fail;		/* of reads that are answered at once */
};

static struct pool *workers;

struct far_job {
	struct pool_job job;	/* must be first */
	struct src_read *r;
	const uint8_t *data;
};

static void far_run(struct pool_job *job)
{
	struct far_job *f = (struct far_job *)job;
	struct src_read *r = f->r;

	memcpy(r->buf, f->data + r->off, r->len);
	free(f);
	r->done(r, 0);
}

static int mem_read(struct src *s, struct src_read *r)
{
	struct mem_src *m = (struct mem_src *)s;
	struct far_job *f;

	if (m->when == FAR) {
		f = malloc(sizeof(*f));
		t_check(f);
		*f = (struct far_job){ { far_run, NULL }, r, m->data };
		pool_add(workers, &f->job);
		return -EINPROGRESS;
	}
	m->n_reads++;
	m->longest = r->len > m->longest ? r->len : m->longest;
	if (m->when == HELD) {
		t_check(m->n_held < 8);
		m->held[m->n_held++] = r;
		return -EINPROGRESS;
	}
	memcpy(r->buf, m->data + r->off, r->len);
	return m->fail;
}

static void mem_end(struct mem_src *m, int err)
{
	struct src_read *r = m->held[0];

	t_check(m->n_held);
	memmove(m->held, m->held + 1, --m->n_held * sizeof(m->held[0]));
	if (!err)
		memcpy(r->buf, m->data + r->off, r->len);
	r->done(r, err);
}

static void mem_hint(struct src *s, uint64_t off, uint64_t len)
{
	struct mem_src *m = (struct mem_src *)s;

	m->hint_off = off;
	m->hint_len = len;
}

static uint64_t mem_present(struct src *s, uint64_t off, uint64_t len)
{
	uint64_t have = ((struct mem_src *)s)->present;

	return have <= off ? 0 : have - off < len ? have - off : len;
}

static unsigned mem_epoch(const struct src *s)
{
	return ((const struct mem_src *)s)->epoch;
}

static void mem_free(struct src *s)
{
	(void) s;
}

static const struct src_ops mem_ops = {
	.name = "mem", .read = mem_read, .hint = mem_hint,
	.present = mem_present, .epoch = mem_epoch, .free = mem_free,
};

static void mem_init(struct mem_src *m, const void *data, size_t len)
{
	memset(m, 0, sizeof(*m));
	src_init(&m->base, &mem_ops, len);
	m->data = data;
}

static struct stage_extent how_of(enum stage_xform how, enum stage_dtype from)
{
	return (struct stage_extent){ .xform = (uint8_t)how,
		.from = (uint8_t)from };
}

/* "ab", the computed elements, "z". */
static struct src *src_with(struct mem_src *m, uint64_t off, uint64_t n,
	const struct stage_extent *how)
{
	struct stage_recipe *r = stage_recipe_new();
	struct src *one[1] = { &m->base }, *s = NULL;

	t_int(stage_recipe_source(r, "m", m->base.size), 0);
	t_int(stage_recipe_inline(r, "ab", 2), 0);
	t_int(stage_recipe_xform(r, 0, off, n, how), 0);
	t_int(stage_recipe_inline(r, "z", 1), 0);
	t_int(stage_recipe_check(r, NULL), 0);
	t_int(stage_recipe_src(r, one, &s, NULL), 0);
	stage_recipe_unref(r);
	return s;
}

/* ---- numbers --------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, 4);
	return f;
}

static void to_f16(const float *x, size_t n, uint16_t *ret)
{
	struct stage_extent how = how_of(STAGE_TO_F16, STAGE_F32);
	struct mem_src m;
	struct src *s;

	mem_init(&m, x, n * 4);
	s = src_with(&m, 0, n, &how);
	t_int(src_read_wait(s, 2, ret, n * 2), 0);
	src_unref(s);
	src_unref(&m.base);
}

static void test_f16_table(void)
{
	static const struct {
		uint32_t f32;
		uint16_t f16;
	} table[] = {
		{ 0x00000000, 0x0000 }, { 0x80000000, 0x8000 },
		{ 0x3f800000, 0x3c00 },		/* 1 */
		{ 0xc0000000, 0xc000 },		/* -2 */
		{ 0x3dcccccd, 0x2e66 },		/* 0.1 */
		{ 0x40490fdb, 0x4248 },		/* pi */
		{ 0x477fe000, 0x7bff },		/* 65504 */
		{ 0x477fefff, 0x7bff },		/* below 65520 */
		{ 0x477ff000, 0x7bff },		/* 65520: stays finite */
		{ 0x7f7fffff, 0x7bff },		/* the largest float */
		{ 0xff7fffff, 0xfbff },
		{ 0x7f800000, 0x7c00 },		/* infinite stays so */
		{ 0xff800000, 0xfc00 },
		{ 0x7fc00001, 0x7e00 },		/* no number */
		{ 0x38800000, 0x0400 },		/* 2^-14 */
		{ 0x387fffff, 0x0400 },		/* just below rounds up */
		{ 0x33800000, 0x0001 },		/* 2^-24 */
		{ 0x33000000, 0x0000 },		/* 2^-25: to even */
		{ 0x33000001, 0x0001 },
		{ 0x33c00000, 0x0002 },		/* 1.5 * 2^-24: to even */
		{ 0x00000001, 0x0000 }, { 0x807fffff, 0x8000 },
		{ 0x3f801000, 0x3c00 },		/* half way: to even */
		{ 0x3f803000, 0x3c02 },
		{ 0x3f801001, 0x3c01 },
		{ 0x3fffffff, 0x4000 },		/* into the next exponent */
	};
	enum { N = sizeof(table) / sizeof(table[0]) };
	float x[N];
	uint16_t got[N];

	for (size_t i = 0; i < N; i++)
		x[i] = float_of(table[i].f32);
	to_f16(x, N, got);
	for (size_t i = 0; i < N; i++)
		t_int(got[i], table[i].f16);
}

/* Of a finite f16. */
static float f16_value(uint16_t h)
{
	int exp = h >> 10 & 31, frac = h & 0x3ff;

	return (float)ldexp(exp ? 1024 + frac : frac, (exp ? exp : 1) - 25);
}

/* Every f16 comes back from its own value, and from half way to the next one
 * the even of the two. */
static void test_f16_all(void)
{
	static float x[2 * 0x7c00];
	static uint16_t got[2 * 0x7c00];

	for (uint16_t h = 0; h < 0x7c00; h++) {
		x[2 * h] = -f16_value(h);
		x[2 * h + 1] = h < 0x7bff ?
			(f16_value(h) + f16_value(h + 1)) / 2 : 65519;
	}
	to_f16(x, 2 * 0x7c00, got);
	for (uint16_t h = 0; h < 0x7c00; h++) {
		t_int(got[2 * h], h | 0x8000);
		t_int(got[2 * h + 1], h == 0x7bff || !(h & 1) ? h : h + 1);
	}
}

/* The three types of elements, of the same numbers. */
static void test_from(void)
{
	static const float x[6] = { 1, -0.5f, 2, 96, -1.5f, 0.0078125f };
	static const uint16_t f16[6] = { 0x3c00, 0xb800, 0x4000, 0x5600,
		0xbe00, 0x2000 };
	const enum stage_dtype from[] = { STAGE_F32, STAGE_F16, STAGE_BF16 };
	uint16_t bf16[6], got[6];
	const void *in[] = { x, f16, bf16 };
	uint32_t bits;

	for (int i = 0; i < 6; i++) {
		memcpy(&bits, &x[i], 4);
		bf16[i] = (uint16_t)(bits >> 16);
	}
	for (int t = 0; t < 3; t++) {
		struct stage_extent how = how_of(STAGE_TO_F16, from[t]);
		struct mem_src m;
		struct src *s;

		mem_init(&m, in[t], 6 * stage_dtype_size(from[t]));
		s = src_with(&m, 0, 6, &how);
		t_int(src_read_wait(s, 2, got, 12), 0);
		t_check(!memcmp(got, f16, 12));
		src_unref(s);
		src_unref(&m.base);
	}
}

/* Subnormal, infinite and odd f16 as elements. */
static void test_from_f16(void)
{
	static const uint16_t x[] = { 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x7e01,
		0x0400, 0x8000 };
	static const uint16_t want[] = { 0x0001, 0x83ff, 0x7c00, 0xfc00,
		0x7e00, 0x0400, 0x8000 };
	struct stage_extent how = how_of(STAGE_TO_F16, STAGE_F16);
	struct mem_src m;
	struct src *s;
	uint16_t got[7];

	mem_init(&m, x, sizeof(x));
	s = src_with(&m, 0, 7, &how);
	t_int(src_read_wait(s, 2, got, 14), 0);
	t_check(!memcmp(got, want, 14));
	src_unref(s);
	src_unref(&m.base);
}

/* ---- groups ---------------------------------------------------------------- */

/* The numbers and the scales of groups, as two files. */
static void to_i8(const float *x, size_t n, uint16_t group, int8_t *ret,
	float *ret_scale)
{
	struct stage_extent how = how_of(STAGE_TO_I8, STAGE_F32);
	struct mem_src m;
	struct src *s;

	how.group = group;
	mem_init(&m, x, n * 4);
	s = src_with(&m, 0, n, &how);
	t_int(src_read_wait(s, 2, ret, n), 0);
	src_unref(s);
	how.xform = STAGE_TO_SCALE;
	s = src_with(&m, 0, n, &how);
	t_int(s->size, 3 + n / group * 4);
	t_int(src_read_wait(s, 2, ret_scale, n / group * 4), 0);
	src_unref(s);
	src_unref(&m.base);
}

static void test_i8(void)
{
	static const float x[] = {
		/* To even: of numbers as large only 127 is asked. */
		127 * 0x1p101f, -63.5f * 0x1p101f, 62.5f * 0x1p101f,
		1.5f * 0x1p101f, 2.5f * 0x1p101f,
		0, 0, -0.0f, 0, 0,
		HUGE_VALF, -HUGE_VALF, 0, 1, -1,	/* a mask */
		1, NAN, 2, 3, 4,
		1e-45f, 0, 0, 0, 0,			/* no scale is so small */
		-2, 1, 0.5f, -0.25f, 2,			/* 120 loses nothing */
	};
	static const int8_t want[] = { 127, -64, 62, 2, 2, 0, 0, 0, 0, 0,
		127, -127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		-120, 60, 30, -15, 120 };
	int8_t got[30];
	float scale[6];

	to_i8(x, 30, 5, got, scale);
	for (int i = 0; i < 30; i++)
		t_int(got[i], want[i]);
	t_check(scale[0] == 0x1p101f && scale[1] == 0 && scale[4] == 0);
	t_check(scale[2] > 2e36f && scale[2] * 127 < HUGE_VALF);
	t_check(scale[3] != scale[3]);
	t_check(scale[5] == 2.0f / 120);
}

/* No element is further off than half a step. */
static void test_i8_error(void)
{
	static float x[64 * 96];
	static int8_t got[64 * 96];
	float scale[96];

	for (size_t i = 0; i < 64 * 96; i++)
		x[i] = (float)((int)(i * 2654435761u >> 8 & 0xffff) - 32768) /
			(float)(1 + i % 1000);
	to_i8(x, 64 * 96, 64, got, scale);
	for (size_t i = 0; i < 64 * 96; i++) {
		float off = (float)got[i] * scale[i / 64] - x[i];

		t_check(off <= scale[i / 64] * 0.50001f &&
			-off <= scale[i / 64] * 0.50001f);
	}
}

/* The squared error of a group of 16 with one scale. */
static double squares(const float *x, double scale)
{
	double sum = 0;

	for (int i = 0; i < 16; i++) {
		double off = x[i] - nearbyint(x[i] / scale) * scale;

		sum += off * off;
	}
	return sum;
}

/* Of the scales there are, the one taken has the least squared error, which
 * over all groups is well below that of the largest magnitude / 127. */
static void test_i8_scale(void)
{
	static float x[1024 * 16];
	static int8_t got[1024 * 16];
	static float scale[1024];
	double sum = 0, plain = 0;
	uint32_t r = 1;

	for (size_t i = 0; i < 1024 * 16; i++) {
		x[i] = 0;
		for (int k = 0; k < 4; k++) {
			r = r * 1664525u + 1013904223u;
			x[i] += (float)(int32_t)r * 0x1p-36f;
		}
	}
	to_i8(x, 1024 * 16, 16, got, scale);
	for (size_t g = 0; g < 1024; g++) {
		const float *in = x + 16 * g;
		double most = 0, ours = 0;

		for (int i = 0; i < 16; i++) {
			double off = in[i] - (double)scale[g] * got[16 * g + i];

			most = fmax(most, fabs((double)in[i]));
			ours += off * off;
		}
		for (int steps = 127; steps >= 116; steps--)
			t_check(ours <= 1.05 * squares(in, most / steps));
		sum += ours;
		plain += squares(in, most / 127);
	}
	t_check(sum < 0.72 * plain);
}

/* ---- ranges ---------------------------------------------------------------- */

static void every_range(const struct stage_extent *how, uint64_t elements)
{
	static uint8_t data[1024];
	uint8_t whole[512], part[512];
	struct mem_src m;
	struct iovec iov[4];
	struct src *s;
	size_t n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 167 + i / 7);
	mem_init(&m, data, sizeof(data));
	s = src_with(&m, 3, elements, how);	/* not where floats like to lie */
	n = s->size;
	t_check(n <= sizeof(whole));
	t_int(src_read_wait(s, 0, whole, n), 0);
	t_check(whole[1] == 'b' && whole[n - 1] == 'z');
	for (size_t off = 0; off < n; off++) {
		for (size_t len = 0; len <= n - off; len++) {
			memset(part, '?', sizeof(part));
			t_int(src_read_wait(s, off, part, len), 0);
			t_check(!memcmp(part, &whole[off], len));
			t_check(len == sizeof(part) || part[len] == '?');
		}
	}
	t_int(src_peek(s, 0, 2, iov, 4), 1);
	t_int(src_peek(s, 0, 3, iov, 4), -EAGAIN);
	t_int(src_peek(s, 4, 1, iov, 4), -EAGAIN);
	src_unref(s);
	src_unref(&m.base);
}

static void test_ranges(void)
{
	const enum stage_dtype from[] = { STAGE_F32, STAGE_F16, STAGE_BF16 };

	for (int t = 0; t < 3; t++) {
		struct stage_extent how = how_of(STAGE_TO_F16, from[t]);

		every_range(&how, 63);
		every_range(&how, 2);
		how = how_of(STAGE_TO_I8, from[t]);
		how.group = 9;
		every_range(&how, 63);
		how = how_of(STAGE_TO_SCALE, from[t]);
		how.group = 3;
		every_range(&how, 63);
	}
}

static void test_maps(void)
{
	static uint8_t data[4000];
	struct stage_extent how = how_of(STAGE_TO_F16, STAGE_F32);
	struct mem_src m;
	struct src_stat st;
	struct src *s;

	mem_init(&m, data, sizeof(data));
	s = src_with(&m, 400, 900, &how);
	src_hint(s, 2 + 151, 102);	/* elements 75 to 126, both cut */
	t_int(m.hint_off, 400 + 300);
	t_int(m.hint_len, 208);
	src_stat(s, &st);
	t_int(st.cached_bytes, 3);
	m.present = 400 + 1800;		/* half of the elements */
	src_stat(s, &st);
	t_int(st.cached_bytes, 3 + 900);
	t_int(src_present(s, 2, 100), 100);
	t_int(src_present(s, 2 + 850, 100), 50);
	t_int(src_present(s, 2 + 1600, 100), 0);
	m.present = 4000;
	src_stat(s, &st);
	t_int(st.cached_bytes, s->size);
	m.epoch = 7;
	t_int(src_epoch(s), 7);
	t_int(src_fd(s), -EAGAIN);
	src_unref(s);
	src_unref(&m.base);
}

/* ---- building -------------------------------------------------------------- */

static void test_build(void)
{
	struct stage_recipe *r = stage_recipe_new(), *back = NULL;
	struct stage_extent f16 = how_of(STAGE_TO_F16, STAGE_F32);
	struct stage_extent bf16 = how_of(STAGE_TO_F16, STAGE_BF16);
	struct stage_extent bad;
	struct buf b = BUF_INIT(1 << 16), again = BUF_INIT(1 << 16);
	const struct stage_extent *v;

	t_int(stage_recipe_source(r, "a", 400), 0);
	t_int(stage_recipe_xform(r, 0, 0, 100, &f16), 0);
	t_int(stage_recipe_xform(r, 0, 40, 45, &bf16), 0);
	t_int(stage_recipe_xform(r, 0, 0, 0, &bf16), 0);
	t_int(stage_recipe_xform(r, 0, 4, 100, &f16), -EINVAL);
	t_int(stage_recipe_xform(r, 1, 0, 1, &f16), -EINVAL);
	t_int(stage_recipe_xform(r, 0, 0, UINT64_MAX, &f16), -EINVAL);
	t_int(stage_recipe_xform(r, 0, 0, 1ull << 62, &f16), -EINVAL);
	bad = how_of(STAGE_TO_F16, STAGE_F64);
	t_int(stage_recipe_xform(r, 0, 0, 1, &bad), -EINVAL);
	bad = how_of((enum stage_xform)0, STAGE_F32);
	t_int(stage_recipe_xform(r, 0, 0, 1, &bad), -EINVAL);
	bad = how_of((enum stage_xform)2, STAGE_F32);
	t_int(stage_recipe_xform(r, 0, 0, 1, &bad), -EINVAL);
	t_int(stage_recipe_size(r), 200 + 90);
	t_int(stage_recipe_extents(r, &v), 2);
	t_int(v[1].kind, STAGE_XFORM);
	t_int(v[1].len, 90);
	t_int(stage_recipe_write(r, &b), 0);
	t_int(stage_recipe_parse(b.data, b.len, &back, NULL), 0);
	t_int(stage_recipe_extents(back, &v), 2);
	t_int(v[0].xform, STAGE_TO_F16);
	t_int(v[1].from, STAGE_BF16);
	t_int(v[1].off, 40);
	t_int(stage_recipe_write(back, &again), 0);
	t_check(b.len == again.len && !memcmp(b.data, again.data, b.len));
	stage_recipe_unref(back);
	stage_recipe_unref(r);
	buf_done(&b);
	buf_done(&again);
}

/* ---- later ----------------------------------------------------------------- */

#define MANY 300000		/* elements: five steps of 256 KiB */

static float many[MANY];
static uint16_t many_f16[MANY];

static int done_calls, done_err;

static void on_done(struct src_read *r, int err)
{
	(void) r;
	done_calls++;
	done_err = err;
}

static void test_steps(void)
{
	static uint16_t got[MANY];
	struct stage_extent how = how_of(STAGE_TO_F16, STAGE_F32);
	struct src_read r = { .off = 2, .len = sizeof(got), .buf = got,
		.done = on_done };
	struct mem_src m;
	struct src *s;

	for (size_t i = 0; i < MANY; i++)
		many[i] = (float)i / 7 - 20000;
	to_f16(many, MANY, many_f16);
	mem_init(&m, many, sizeof(many));
	s = src_with(&m, 0, MANY, &how);
	m.when = HELD;
	t_int(src_read(s, &r), -EINPROGRESS);
	t_int(m.hint_len, sizeof(many));
	for (int i = 0; i < 5; i++) {
		t_int(done_calls, 0);
		t_int(m.n_held, 1);
		mem_end(&m, 0);
	}
	t_int(done_calls, 1);
	t_int(done_err, 0);
	t_int(m.n_reads, 5);
	t_int(m.longest, 256 << 10);
	t_check(!memcmp(got, many_f16, sizeof(got)));
	/* One later, the rest at once. */
	memset(got, 0, sizeof(got));
	t_int(src_read(s, &r), -EINPROGRESS);
	m.when = NOW;
	mem_end(&m, 0);
	t_int(done_calls, 2);
	t_check(!memcmp(got, many_f16, sizeof(got)));
	/* An error on the way, in both. */
	m.when = HELD;
	t_int(src_read(s, &r), -EINPROGRESS);
	mem_end(&m, 0);
	mem_end(&m, -ETIMEDOUT);
	t_int(done_calls, 3);
	t_int(done_err, -ETIMEDOUT);
	t_int(src_read(s, &r), -EINPROGRESS);
	m.when = NOW;
	m.fail = -EACCES;
	mem_end(&m, 0);
	t_int(done_calls, 4);
	t_int(done_err, -EACCES);
	t_int(src_read(s, &r), -EACCES);
	t_int(done_calls, 4);
	src_unref(s);
	src_unref(&m.base);
}

static void test_threads(void)
{
	static uint16_t got[MANY];
	struct stage_extent how = how_of(STAGE_TO_F16, STAGE_F32);
	struct stage_recipe *r = stage_recipe_new();
	struct mem_src m;
	struct src *one[1] = { &m.base }, *s = NULL;

	mem_init(&m, many, sizeof(many));
	m.when = FAR;
	workers = pool_new(3, "far");
	t_check(workers);
	t_int(stage_recipe_source(r, "m", sizeof(many)), 0);
	for (uint64_t i = 0; i < 3; i++)
		t_int(stage_recipe_xform(r, 0, i * (MANY / 3) * 4, MANY / 3,
			&how), 0);
	t_int(stage_recipe_src(r, one, &s, NULL), 0);
	stage_recipe_unref(r);
	for (size_t round = 0; round < 50; round++) {
		memset(got, 0, sizeof(got));
		t_int(src_read_wait(s, round, (uint8_t *)got + round,
			sizeof(got) - 2 * round), 0);
		t_check(!memcmp((uint8_t *)got + round,
			(uint8_t *)many_f16 + round,
			sizeof(got) - 2 * round));
	}
	src_unref(s);
	src_unref(&m.base);
	pool_free(workers);
}

int main(void)
{
	test_f16_table();
	test_f16_all();
	test_from();
	test_from_f16();
	test_i8();
	test_i8_error();
	test_i8_scale();
	test_ranges();
	test_maps();
	test_build();
	test_steps();
	test_threads();
	return 0;
}
