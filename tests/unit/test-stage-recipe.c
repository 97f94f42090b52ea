/* Recipes: building, checking, the bytes they become, and the src made of
 * them. */
#include "config.h"

#include "base/map.h"
#include "base/pool.h"
#include "stage/stage.h"
#include "tests/unit/stage-src.h"

static struct stage_recipe *new_recipe(void)
{
	struct stage_recipe *r = stage_recipe_new();

	t_check(r);
	return r;
}

static void test_join(void)
{
	struct stage_recipe *r = new_recipe();
	const struct stage_extent *v;

	t_int(stage_recipe_source(r, "a.bin", 100), 0);
	t_int(stage_recipe_source(r, "d/b.bin", 50), 1);
	t_int(stage_recipe_source(r, "a.bin", 100), 0);
	t_int(stage_recipe_source(r, "a.bin", 101), -EINVAL);
	t_int(stage_recipe_source(r, "../x", 1), -EINVAL);
	t_int(stage_recipe_inline(r, "ab", 2), 0);
	t_int(stage_recipe_inline(r, "c", 1), 0);
	t_int(stage_recipe_inline(r, "", 0), 0);
	t_int(stage_recipe_copy(r, 0, 10, 5), 0);
	t_int(stage_recipe_copy(r, 0, 15, 5), 0);	/* goes on */
	t_int(stage_recipe_copy(r, 0, 10, 5), 0);	/* goes back */
	t_int(stage_recipe_copy(r, 1, 15, 5), 0);	/* another source */
	t_int(stage_recipe_copy(r, 1, 20, 0), 0);
	t_int(stage_recipe_zero(r, 3), 0);
	t_int(stage_recipe_zero(r, 4), 0);
	t_int(stage_recipe_copy(r, 0, 96, 5), -EINVAL);
	t_int(stage_recipe_copy(r, 2, 0, 1), -EINVAL);
	t_int(stage_recipe_size(r), 3 + 10 + 5 + 5 + 7);
	t_int(stage_recipe_extents(r, &v), 5);
	t_int(v[0].kind, STAGE_INLINE);
	t_int(v[1].len, 10);
	t_int(v[2].off, 10);
	t_int(v[3].source, 1);
	t_int(v[4].len, 7);
	t_int(stage_recipe_check(r, NULL), 0);
	stage_recipe_unref(r);
}

static void test_overflow(void)
{
	struct stage_recipe *r = new_recipe();

	t_int(stage_recipe_source(r, "big", (uint64_t)INT64_MAX + 1), -EINVAL);
	t_int(stage_recipe_source(r, "big", INT64_MAX), 0);
	t_int(stage_recipe_copy(r, 0, 0, INT64_MAX), 0);
	t_int(stage_recipe_copy(r, 0, 5, 1), -EFBIG);
	t_int(stage_recipe_zero(r, 1), -EFBIG);
	t_int(stage_recipe_inline(r, "x", 1), -EFBIG);
	t_int(stage_recipe_check(r, NULL), 0);
	stage_recipe_unref(r);
}

/* INLINE "head" REF a[2,8) ZERO 3 REF b[0,4) INLINE "z" */
static struct stage_recipe *sample(void)
{
	struct stage_recipe *r = new_recipe();

	t_int(stage_recipe_source(r, "a", 8), 0);
	t_int(stage_recipe_source(r, "b", 4), 1);
	t_int(stage_recipe_inline(r, "head", 4), 0);
	t_int(stage_recipe_copy(r, 0, 2, 6), 0);
	t_int(stage_recipe_zero(r, 3), 0);
	t_int(stage_recipe_copy(r, 1, 0, 4), 0);
	t_int(stage_recipe_inline(r, "z", 1), 0);
	return r;
}

#define SAMPLE "headcdefgh\0\0\0wxyzz"
#define SAMPLE_LEN 18

static void test_io(void)
{
	struct stage_recipe *r = sample(), *back = NULL;
	struct buf b = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
	struct error why = { 0 };

	t_int(stage_recipe_write(r, &b), 0);
	t_int(stage_recipe_parse(b.data, b.len, &back, &why), 0);
	t_int(stage_recipe_size(back), SAMPLE_LEN);
	t_str(stage_recipe_source_path(back, 1), "b");
	t_int(stage_recipe_source_size(back, 0), 8);
	t_check(!stage_recipe_source_path(back, 2));
	t_int(stage_recipe_write(back, &again), 0);
	t_check(b.len == again.len && !memcmp(b.data, again.data, b.len));
	stage_recipe_unref(back);
	stage_recipe_unref(r);
	buf_done(&b);
	buf_done(&again);
}

/* Put the right hash behind changed bytes, so that only checks can object. */
static void rehash(struct buf *b)
{
	uint64_t h = map_hash(b->data, b->len - 8);

	for (unsigned i = 0; i < 8; i++)
		b->data[b->len - 8 + i] = (uint8_t)(h >> (8 * i));
}

/* Whatever single byte is changed, the answer is an error or a recipe that
 * passes its own check and writes the bytes it was read from. */
static void test_hostile(void)
{
	struct stage_recipe *r = sample(), *back;
	struct buf b = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
	static const uint8_t values[] = { 0, 1, 2, 0x7f, 0x80, 0xff };
	size_t refused = 0;

	t_int(stage_recipe_write(r, &b), 0);
	for (size_t i = 0; i < b.len; i++) {
		t_int(stage_recipe_parse(b.data, i, &back, NULL), -EBADMSG);
		b.data[i] ^= 1;
		t_int(stage_recipe_parse(b.data, b.len, &back, NULL),
			-EBADMSG);
		b.data[i] ^= 1;
	}
	for (size_t i = 0; i < (b.len - 8) * sizeof(values); i++) {
		size_t at = i / sizeof(values);
		uint8_t was = b.data[at];

		b.data[at] = values[i % sizeof(values)];
		rehash(&b);
		back = NULL;
		if (stage_recipe_parse(b.data, b.len, &back, NULL)) {
			t_check(!back);
			refused++;
		} else {
			buf_clear(&again);
			t_int(stage_recipe_check(back, NULL), 0);
			t_int(stage_recipe_write(back, &again), 0);
			t_check(again.len == b.len &&
				!memcmp(again.data, b.data, b.len));
			stage_recipe_unref(back);
		}
		b.data[at] = was;
	}
	t_check(refused > 100);
	stage_recipe_unref(r);
	buf_done(&b);
	buf_done(&again);
}

static struct src *sample_src(struct src **ret_a, struct src **ret_b)
{
	struct stage_recipe *r = sample();
	struct src *sources[2], *s = NULL;

	sources[0] = src_of("abcdefgh", 8);
	sources[1] = src_of("wxyz", 4);
	t_int(stage_recipe_src(r, sources, &s, NULL), 0);
	stage_recipe_unref(r);
	*ret_a = sources[0];
	*ret_b = sources[1];
	return s;
}

static void test_src(void)
{
	struct src *a, *b, *s = sample_src(&a, &b);
	struct iovec iov[8];
	char out[SAMPLE_LEN];

	src_unref(a);	/* the recipe's src has its own references */
	src_unref(b);
	t_int(s->size, SAMPLE_LEN);
	for (size_t off = 0; off <= SAMPLE_LEN; off++) {
		for (size_t len = 0; len <= SAMPLE_LEN - off; len++) {
			size_t got = 0;
			int n;

			memset(out, '?', sizeof(out));
			t_int(src_read_wait(s, off, out, len), 0);
			t_check(!memcmp(out, &SAMPLE[off], len));
			t_check(len == SAMPLE_LEN || out[len] == '?');
			n = src_peek(s, off, len, iov, 8);
			t_check(n >= 0);
			for (int i = 0; i < n; i++) {
				t_check(!memcmp(iov[i].iov_base,
					&SAMPLE[off + got], iov[i].iov_len));
				got += iov[i].iov_len;
			}
			t_int(got, len);
		}
	}
	t_int(src_peek(s, 0, SAMPLE_LEN, iov, 4), -EAGAIN);
	t_int(src_read_wait(s, 1, out, SAMPLE_LEN), -EINVAL);
	src_unref(s);
}

static void test_src_refuses(void)
{
	struct stage_recipe *r = sample();
	struct src *sources[2] = { src_of("abcdefgh", 8), src_of("wxy", 3) };
	struct src *s = NULL;
	struct error why = { 0 };

	t_int(stage_recipe_src(r, sources, &s, &why), -EBADMSG);
	t_check(!s && strstr(why.text, "b has changed its size"));
	src_unref(sources[0]);
	src_unref(sources[1]);
	stage_recipe_unref(r);
}

static void test_zero_peek(void)
{
	struct stage_recipe *r = new_recipe();
	struct iovec iov[4];
	struct src *s;

	t_int(stage_recipe_zero(r, 200000), 0);
	t_int(stage_recipe_src(r, NULL, &s, NULL), 0);
	t_int(src_peek(s, 0, 200000, iov, 3), -EAGAIN);
	t_int(src_peek(s, 0, 200000, iov, 4), 4);
	t_int(iov[3].iov_len, 200000 - 3 * 65536);
	src_unref(s);
	stage_recipe_unref(r);
}

/* ---- reads that complete later --------------------------------------------- */

static int done_calls, done_err;

static void on_done(struct src_read *r, int err)
{
	(void) r;
	done_calls++;
	done_err = err;
}

struct late_pair {
	struct late_src a, b;
	struct src *s;
	uint8_t out[12];
	struct src_read r;
};

/* REF a[0,4) INLINE "-+" REF b[1,3) REF a[4,8) */
static void late_start(struct late_pair *p)
{
	struct stage_recipe *r = new_recipe();
	struct src *sources[2] = { &p->a.base, &p->b.base };

	late_init(&p->a, 8);
	late_init(&p->b, 4);
	t_int(stage_recipe_source(r, "a", 8), 0);
	t_int(stage_recipe_source(r, "b", 4), 1);
	t_int(stage_recipe_copy(r, 0, 0, 4), 0);
	t_int(stage_recipe_inline(r, "-+", 2), 0);
	t_int(stage_recipe_copy(r, 1, 1, 2), 0);
	t_int(stage_recipe_copy(r, 0, 4, 4), 0);
	t_int(stage_recipe_src(r, sources, &p->s, NULL), 0);
	stage_recipe_unref(r);
	p->r = (struct src_read){ .off = 0, .len = 12, .buf = p->out,
		.done = on_done };
	done_calls = 0;
	done_err = 1;
}

static void late_finish(struct late_pair *p)
{
	src_unref(p->s);
	t_check(!p->a.freed && !p->b.freed);
	src_unref(&p->a.base);
	src_unref(&p->b.base);
	t_check(p->a.freed && p->b.freed);
}

static void test_late(void)
{
	static const uint8_t want[12] = { 10, 11, 12, 13, '-', '+', 11, 12,
		14, 15, 16, 17 };
	struct late_pair p;

	late_start(&p);
	t_int(src_read(p.s, &p.r), -EINPROGRESS);
	t_int(p.a.n_reads, 2);
	late_end(&p.a, 0);
	late_end(&p.b, 0);
	t_int(done_calls, 0);
	late_end(&p.a, 0);
	t_int(done_calls, 1);
	t_int(done_err, 0);
	t_check(!memcmp(p.out, want, 12));
	/* One source answers at once, the other later. */
	memset(p.out, 0, 12);
	p.a.now = true;
	t_int(src_read(p.s, &p.r), -EINPROGRESS);
	t_int(done_calls, 1);
	late_end(&p.b, 0);
	t_int(done_calls, 2);
	t_check(!memcmp(p.out, want, 12));
	/* Both at once: no call back. */
	memset(p.out, 0, 12);
	p.b.now = true;
	t_int(src_read(p.s, &p.r), 0);
	t_int(done_calls, 2);
	t_check(!memcmp(p.out, want, 12));
	late_finish(&p);
}

/* An error waits for the parts that still write to the caller's buffer. */
static void test_late_error(void)
{
	struct late_pair p;

	late_start(&p);
	t_int(src_read(p.s, &p.r), -EINPROGRESS);
	late_end(&p.b, -ETIMEDOUT);
	late_end(&p.a, -EIO);
	t_int(done_calls, 0);
	late_end(&p.a, 0);
	t_int(done_calls, 1);
	t_int(done_err, -ETIMEDOUT);
	/* b fails at once: the rest is not asked for, a's part is awaited. */
	p.b.now = true;
	p.b.fail = -EACCES;
	p.a.n_reads = 0;
	t_int(src_read(p.s, &p.r), -EINPROGRESS);
	t_int(p.a.n_reads, 1);
	late_end(&p.a, 0);
	t_int(done_err, -EACCES);
	t_int(done_calls, 2);
	p.a.now = true;
	t_int(src_read(p.s, &p.r), -EACCES);
	t_int(done_calls, 2);
	late_finish(&p);
}

/* ---- reads that are lent ----------------------------------------------------- */

/* REF a[0,4) INLINE "-+" REF b[1,3) REF a[4,8), and what a and b lend: other
 * bytes than they copy. */
static const uint8_t mixed[12] = { 10, 11, 12, 13, '-', '+', 11, 12, 14, 15,
	16, 17 };

static void late_lend(struct late_src *l)
{
	l->mem = malloc((size_t)l->base.size);
	t_check(l->mem);
	for (size_t i = 0; i < l->base.size; i++)
		l->mem[i] = (uint8_t)(110 + i);
}

/* The answer to the read of [off, off+len): every byte of a lender comes from
 * its memory and leaves the buffer alone, all others are in the buffer. */
static void lent_check(const struct late_pair *p, size_t off, size_t len)
{
	size_t at = off;

	for (int i = 0; i < p->r.n_lent; i++) {
		const uint8_t *b = p->r.lent[i].iov_base;

		t_check(p->r.lent[i].iov_len > 0);
		for (size_t k = 0; k < p->r.lent[i].iov_len; k++, at++) {
			bool own = at == 4 || at == 5;
			bool lent = !own && (at == 6 || at == 7 ? p->b.mem :
				p->a.mem);

			t_check(at < off + len);
			t_int(b[k], mixed[at] + (lent ? 100 : 0));
			t_int(p->out[at - off],
				lent ? '?' : mixed[at]);
			t_check(lent || &b[k] == &p->out[at - off]);
		}
	}
	t_int(at, off + len);
}

static void lent_read(struct late_pair *p, size_t off, size_t len, int max)
{
	const struct iovec none = { NULL, 77 };
	struct iovec v[6] = { none, none, none, none, none, none };

	memset(p->out, '?', sizeof(p->out));
	p->r = (struct src_read){ .off = off, .len = len, .buf = p->out,
		.lent = v, .max_lent = max, .done = on_done };
	t_int(src_read(p->s, &p->r), 0);
	t_check(p->r.n_lent <= max);
	for (int i = p->r.n_lent; i < 6; i++)
		t_check(i < max || v[i].iov_len == 77);
	if (p->r.n_lent)
		lent_check(p, off, len);
	else
		t_check(!memcmp(p->out, mixed + off, len));
	/* Room for all pieces is used, too little room not at all. */
	if (max >= 4)
		t_check(!len || p->r.n_lent || (off >= 4 && off + len <= 6));
	else if (off == 0 && len == 12)
		t_int(p->r.n_lent, 0);
}

/* Whichever source lends, and whatever range is asked for. */
static void test_lent(void)
{
	for (unsigned who = 0; who < 4; who++) {
		struct late_pair p;

		late_start(&p);
		p.a.now = p.b.now = true;
		if (who & 1)
			late_lend(&p.a);
		if (who & 2)
			late_lend(&p.b);
		for (size_t off = 0; off < 12; off++) {
			for (size_t len = 1; len <= 12 - off; len++) {
				for (int max = 0; max <= 6; max++)
					lent_read(&p, off, len, max);
			}
		}
		t_int(done_calls, 0);
		free(p.a.mem);
		free(p.b.mem);
		late_finish(&p);
	}
}

/* What was lent lasts as long as the recipe's src, which alone holds the
 * sources; pieces that come late and in another order are in theirs. */
static void test_lent_late(void)
{
	struct late_pair p;
	struct iovec v[4];

	late_start(&p);
	late_lend(&p.a);
	late_lend(&p.b);
	src_unref(&p.a.base);
	src_unref(&p.b.base);
	memset(p.out, '?', sizeof(p.out));
	p.r.lent = v;
	p.r.max_lent = 4;
	t_int(src_read(p.s, &p.r), -EINPROGRESS);
	t_int(p.b.n_held, 1);
	late_end(&p.b, 0);
	late_end(&p.a, 0);
	t_int(p.r.n_lent, 0);
	late_end(&p.a, 0);
	t_int(done_calls, 1);
	t_int(done_err, 0);
	t_int(p.r.n_lent, 4);
	t_check(!p.a.freed && !p.b.freed);
	lent_check(&p, 0, 12);
	/* After an error there is nothing. */
	p.r.n_lent = 0;
	t_int(src_read(p.s, &p.r), -EINPROGRESS);
	late_end(&p.a, 0);
	late_end(&p.b, -EIO);
	late_end(&p.a, 0);
	t_int(done_err, -EIO);
	t_int(p.r.n_lent, 0);
	src_unref(p.s);
	t_check(p.a.freed && p.b.freed);
	free(p.a.mem);
	free(p.b.mem);
}

/* ---- hints ------------------------------------------------------------------- */

#define K 1024UL

static struct src *layer_src(struct late_src *l, const uint64_t (*v)[2],
	size_t n)
{
	struct stage_recipe *r = new_recipe();
	struct src *one = &l->base, *s;

	late_init(l, 1024 * 1024 * K);
	t_int(stage_recipe_source(r, "a", l->base.size), 0);
	for (size_t i = 0; i < n; i++)
		t_int(stage_recipe_copy(r, 0, v[i][0] * K, v[i][1] * K), 0);
	t_int(stage_recipe_src(r, &one, &s, NULL), 0);
	stage_recipe_unref(r);
	src_hint(s, 0, s->size);
	return s;
}

static void hint_is(const struct late_src *l, unsigned i, uint64_t off,
	uint64_t len)
{
	t_check(i < l->n_hints);
	t_int(l->hints[i].off, off * K);
	t_int(l->hints[i].len, len * K);
}

/* Tensors of a layer in another order than the checkpoint's. */
static void test_hints(void)
{
	static const uint64_t layer[][2] = {
		{ 5000, 4096 }, { 4996, 4 },		/* joined in front */
		{ 900, 4092 },				/* would be too large */
		{ 20000, 4 }, { 9096, 4 }, { 20032, 8 },	/* a small gap */
		{ 20200, 8 },				/* a larger one */
		{ 30000, 16384 },			/* large from the start */
	};
	uint64_t many[40][2];
	struct late_src l;
	struct src *s = layer_src(&l, layer, 8);

	t_int(l.n_hints, 5);
	hint_is(&l, 0, 4996, 4104);
	hint_is(&l, 1, 900, 4092);
	hint_is(&l, 2, 20000, 40);
	hint_is(&l, 3, 20200, 8);
	hint_is(&l, 4, 30000, 16384);
	src_unref(s);
	/* More than are kept at once: none is lost. */
	for (unsigned i = 0; i < 40; i++) {
		many[i][0] = 40000 - i * 1000;
		many[i][1] = 4;
	}
	s = layer_src(&l, many, 40);
	t_int(l.n_hints, 40);
	for (unsigned i = 0; i < 40; i++)
		hint_is(&l, i, many[i][0], 4);
	src_unref(s);
}

static void test_stat(void)
{
	struct late_pair p;
	struct src_stat st;

	late_start(&p);
	src_stat(p.s, &st);
	t_int(st.state, SRC_PARTIAL);
	t_int(st.cached_bytes, 2);
	p.a.present = 5;
	p.b.present = 2;
	p.b.fail = -EIO;
	src_stat(p.s, &st);
	t_int(st.cached_bytes, 2 + 4 + 1 + 1);
	t_int(st.last.code, -EIO);
	t_int(src_present(p.s, 3, 4), 1 + 2 + 1);
	p.a.present = 8;
	p.b.present = 3;
	src_stat(p.s, &st);
	t_int(st.state, SRC_CACHED);
	p.b.present = 4;
	src_stat(p.s, &st);
	t_int(st.state, SRC_VERIFIED);
	t_int(src_epoch(p.s), 0);
	p.a.epoch = 2;
	p.b.epoch = 3;
	t_int(src_epoch(p.s), 5);
	src_hint(p.s, 0, 5);
	t_check(p.a.hinted && !p.b.hinted);
	t_int(src_fd(p.s), -EAGAIN);
	late_finish(&p);
}

/* Without `present`, totals are scaled. */
static void test_scaled(void)
{
	struct src *a = src_of("abcdefgh", 8);

	t_int(src_present(a, 0, 8), 8);
	t_int(src_present(a, 8, 1), 0);
	src_unref(a);
}

static void test_whole(void)
{
	struct stage_recipe *r = new_recipe();
	struct late_src a;
	struct src *sources[1] = { &a.base }, *s;
	struct src_stat st;

	late_init(&a, 8);
	a.present = 8;
	t_int(stage_recipe_source(r, "a", 8), 0);
	t_int(stage_recipe_copy(r, 0, 0, 8), 0);
	t_int(stage_recipe_src(r, sources, &s, NULL), 0);
	src_stat(s, &st);
	t_int(st.state, SRC_VERIFIED);
	src_unref(s);
	stage_recipe_unref(r);
	src_unref(&a.base);
}

/* ---- parts that complete on other threads ---------------------------------- */

static struct pool *workers;

struct far_job {
	struct pool_job job;		/* must be first */
	struct src_read *r;
};

static void far_run(struct pool_job *job)
{
	struct src_read *r = ((struct far_job *)job)->r;

	free(job);
	late_fill(r);
	r->done(r, 0);
}

static int far_read(struct src *s, struct src_read *r)
{
	struct far_job *j = malloc(sizeof(*j));

	(void) s;
	t_check(j);
	j->job.run = far_run;
	j->r = r;
	pool_add(workers, &j->job);
	return -EINPROGRESS;
}

static const struct src_ops far_ops = {
	.name = "far", .read = far_read, .free = late_free,
};

/* 50 pieces of one source, backwards: out[i] is 10 + the mirror of i. */
static void test_threads(void)
{
	struct stage_recipe *r = new_recipe();
	struct late_src far;
	struct src *sources[1] = { &far.base }, *s;
	uint8_t out[200];

	late_init(&far, 200);
	far.base.ops = &far_ops;
	workers = pool_new(3, "far");
	t_check(workers);
	t_int(stage_recipe_source(r, "far", 200), 0);
	for (unsigned i = 0; i < 50; i++)
		t_int(stage_recipe_copy(r, 0, 196 - 4 * i, 4), 0);
	t_int(stage_recipe_src(r, sources, &s, NULL), 0);
	stage_recipe_unref(r);
	for (int round = 0; round < 300; round++) {
		memset(out, 0, sizeof(out));
		t_int(src_read_wait(s, 0, out, sizeof(out)), 0);
		for (unsigned i = 0; i < 200; i++)
			t_int(out[i], (uint8_t)(10 + 196 - i / 4 * 4 + i % 4));
	}
	src_unref(s);
	src_unref(&far.base);
	pool_free(workers);
}

int main(void)
{
	test_join();
	test_overflow();
	test_io();
	test_hostile();
	test_src();
	test_src_refuses();
	test_zero_peek();
	test_late();
	test_late_error();
	test_lent();
	test_lent_late();
	test_hints();
	test_stat();
	test_scaled();
	test_whole();
	test_threads();
	return 0;
}
