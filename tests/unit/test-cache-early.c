/*
 * Who wants no more than has come of a chunk is answered before its end. The
 * upstream sends 10000 bytes at a time and holds back what lies behind its gate;
 * chunks are of 64 KiB, and what is gathered before it is written of 128.
 */
#include "config.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/blob.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (5 * MIB)
#define CHUNK 65536UL

struct rig {
	char *dir;
	uint8_t *bytes;
	struct cache *c;
	struct upstream *u;
	struct cache_name n;
	struct src *s;
};

static struct rig set_up(const char *name, uint64_t size, uint32_t chunk,
	bool before_read)
{
	struct rig g = { .dir = upstream_dir(name) };
	const struct cache_conf conf = { .dir = g.dir, .chunk = chunk,
		.connections = 4, .before_read = before_read };

	g.bytes = upstream_bytes(size, 1);
	t_int(cache_open(&conf, &g.c, NULL), 0);
	g.u = upstream_new(g.bytes, size, 8);
	g.n = t_name_of("early", g.bytes, size, OBJID_SHA256);
	g.s = t_open_src(g.c, &g.n, g.u);
	return g;
}

static void tear_down(struct rig *g)
{
	src_unref(g->s);
	cache_close(g->c);
	upstream_free(g->u);
	free(g->bytes);
	free(g->dir);
}

static struct t_asked *ask(struct rig *g, uint64_t off, size_t len)
{
	return t_ask(g->s, off, len);
}

/* It ends well, with these bytes. */
static void expect(struct t_asked *a, const uint8_t *bytes)
{
	t_int(t_over(a), 1);
	t_check(!memcmp(a->buf, bytes + a->r.off, a->r.len));
	free(a);
}

/* What the gate lets through has come and been looked at, and `a` still waits. */
static void expect_waits(struct rig *g, struct t_asked *a, uint64_t sent)
{
	for (int i = 0; i < 30000 && atomic_load(&g->u->sent) < sent; i++)
		usleep(1000);
	usleep(20000);
	t_int(atomic_load(&g->u->sent), sent);
	t_int(atomic_load(&a->over), 0);
}

/* From what is gathered, and, in chunks that are written in parts, from the file
 * and from both. */
static void test_some(uint32_t chunk, uint64_t from, uint64_t gate)
{
	struct rig g = set_up("some", SIZE, chunk, false);
	struct t_asked *a, *b, *end, *across, *lent;
	struct src_stat st;
	struct iovec piece;

	atomic_store(&g.u->stalled, true);
	atomic_store(&g.u->gate, gate);
	a = ask(&g, from, 4096);
	b = ask(&g, from + 5000, 100);
	end = ask(&g, chunk - 100, 100);
	across = ask(&g, chunk - 100, 200);
	lent = calloc(1, sizeof(*lent));
	t_check(lent);
	lent->r = (struct src_read){ .off = from, .len = 100, .buf = lent->buf,
		.lent = &piece, .max_lent = 1, .done = a->r.done };
	t_int(src_read(g.s, &lent->r), -EINPROGRESS);
	atomic_store(&g.u->stalled, false);
	expect(a, g.bytes);
	expect(b, g.bytes);
	t_int(src_peek(g.s, from, 100, &piece, 1), -EAGAIN);
	t_int(atomic_load(&end->over) | atomic_load(&across->over) |
		atomic_load(&lent->over), 0);
	src_stat(g.s, &st);
	t_int(st.cached_bytes, 0);

	atomic_store(&g.u->gate, 0);
	expect(end, g.bytes);
	expect(across, g.bytes);
	t_int(t_over(lent), 1);
	t_int(lent->r.n_lent, 1);
	t_check(!memcmp(piece.iov_base, g.bytes + from, 100));
	free(lent);
	t_expect(g.s, g.bytes, 0, SIZE);
	t_wait_state(g.s, SRC_VERIFIED);
	t_int(atomic_load(&g.u->sent), SIZE);
	t_int(src_epoch(g.s), 0);
	tear_down(&g);
}

/* Nothing before the verdict where that is so: small, or asked for. */
static void test_held(uint64_t size, bool before_read)
{
	struct rig g = set_up("held", size, CHUNK, before_read);
	struct t_asked *a;

	atomic_store(&g.u->gate, 20000);
	a = ask(&g, 0, 100);
	while (!atomic_load(&g.u->sent))
		usleep(1000);
	usleep(20000);
	t_int(atomic_load(&a->over), 0);
	atomic_store(&g.u->gate, 0);
	expect(a, g.bytes);
	tear_down(&g);
}

/* The rest does not come: what was answered stands, who waits hears why, and a
 * later read gets the right bytes. `wrong`: what was answered was none of them,
 * and that is told once it is known. */
static void test_fails(uint32_t chunk, uint64_t at, bool wrong)
{
	struct rig g = set_up("fails", SIZE, chunk, false);
	struct t_asked *a, *b;
	struct src *again;

	atomic_store(&g.u->stalled, true);
	g.u->fail_err = -ETIMEDOUT;
	g.u->fail_at = at;
	atomic_store(&g.u->fail_times, 1);
	g.u->wrong_at = 10;
	g.u->wrong_len = wrong;
	atomic_store(&g.u->wrong_times, 1);
	a = ask(&g, 0, 4096);
	b = ask(&g, at, 100);
	atomic_store(&g.u->stalled, false);
	t_int(t_over(b), 1 + ETIMEDOUT);
	t_int(t_over(a), 1);
	t_int(a->buf[10] ^ g.bytes[10], wrong ? 0x55 : 0);
	free(a);
	free(b);
	again = t_open_src(g.c, &g.n, g.u);
	t_expect(again, g.bytes, 0, SIZE - chunk);
	t_int(src_epoch(g.s), 0);
	t_expect(again, g.bytes, 0, SIZE);
	t_wait_state(again, SRC_VERIFIED);
	t_int(src_epoch(g.s), wrong);
	src_unref(again);
	tear_down(&g);
}

/* However often it fails: what cannot be remembered is not given. */
static void test_fails_often(void)
{
	struct rig g = set_up("often", SIZE, CHUNK, false);
	unsigned given = 0;

	g.u->fail_err = -ETIMEDOUT;
	for (uint64_t i = 0; i < 20; i++) {
		struct t_asked *a, *b;

		atomic_store(&g.u->stalled, true);
		g.u->fail_at = i * CHUNK + 30000;
		atomic_store(&g.u->fail_times, 1);
		a = ask(&g, i * CHUNK, 4096);
		b = ask(&g, i * CHUNK + 40000, 4096);
		atomic_store(&g.u->stalled, false);
		t_int(t_over(b), 1 + ETIMEDOUT);
		given += t_over(a) == 1;
		free(a);
		free(b);
	}
	t_int(given, 8);
	clock_advance(2500);
	t_expect(g.s, g.bytes, 0, SIZE);
	t_wait_state(g.s, SRC_VERIFIED);
	t_int(src_epoch(g.s), 0);
	tear_down(&g);
}

/* Nor what may have to be, for all that are under way may fail. */
static void test_fails_at_once(void)
{
	struct rig g = set_up("at-once", SIZE, CHUNK, false);
	struct t_asked *a[8], *end;
	unsigned given = 0;

	g.u->fail_err = -ETIMEDOUT;
	g.u->fail_at = 30000;
	atomic_store(&g.u->fail_times, 1);
	atomic_store(&g.u->stalled, true);
	a[0] = ask(&g, 0, 4096);
	end = ask(&g, 40000, 4096);
	atomic_store(&g.u->stalled, false);
	t_int(t_over(a[0]), 1);
	t_int(t_over(end), 1 + ETIMEDOUT);
	free(a[0]);
	free(end);
	/* One of eight places is taken; eight come at once, and slowly. */
	g.u->delay_us = 100000;
	for (uint64_t i = 0; i < 8; i++)
		a[i] = ask(&g, (1 + i) * CHUNK, 4096);
	for (int i = 0; i < 30000 && given < 7; i++) {
		usleep(1000);
		given = 0;
		for (unsigned k = 0; k < 8; k++)
			given += atomic_load(&a[k]->over) == 1;
	}
	usleep(50000);
	atomic_store(&g.u->cut, true);
	given = 0;
	for (unsigned i = 0; i < 8; i++) {
		given += t_over(a[i]) == 1;
		free(a[i]);
	}
	t_int(given, 7);
	atomic_store(&g.u->cut, false);
	g.u->delay_us = 0;
	clock_advance(2500);
	t_expect(g.s, g.bytes, 0, SIZE);
	t_wait_state(g.s, SRC_VERIFIED);
	t_int(src_epoch(g.s), 0);
	tear_down(&g);
}

/* What has come to its end need not be remembered. */
static void test_many(void)
{
	struct rig g = set_up("many", SIZE, CHUNK, false);

	for (uint64_t i = 0; i < 20; i++) {
		struct t_asked *a, *b;

		atomic_store(&g.u->gate, i * CHUNK + 20000);
		a = ask(&g, i * CHUNK, 4096);
		expect(a, g.bytes);
		b = ask(&g, i * CHUNK + 40000, 4096);
		atomic_store(&g.u->gate, 0);
		expect(b, g.bytes);
		t_expect(g.s, g.bytes, i * CHUNK, CHUNK);
	}
	t_int(src_epoch(g.s), 0);
	tear_down(&g);
}

/* Given before its end, and never again, and wrong: told. */
static void test_wrong(void)
{
	struct rig g = set_up("wrong", SIZE, CHUNK, false);
	struct t_asked *a;

	g.u->wrong_at = 10;
	g.u->wrong_len = 1;
	atomic_store(&g.u->wrong_times, 1);
	atomic_store(&g.u->gate, 20000);
	a = ask(&g, 0, 100);
	t_int(t_over(a), 1);
	t_check(a->buf[10] != g.bytes[10]);
	free(a);
	atomic_store(&g.u->gate, 0);
	t_expect(g.s, g.bytes, CHUNK, SIZE - CHUNK);
	t_wait_state(g.s, SRC_VERIFIED);
	t_int(src_epoch(g.s), 1);
	tear_down(&g);
}

/* The chunk that comes last: given in part, and not to its end. */
static void test_last(void)
{
	struct rig g = set_up("last", SIZE, CHUNK, false);
	uint64_t last = SIZE - CHUNK;
	struct t_asked *a, *all;

	t_expect(g.s, g.bytes, 0, last);
	g.u->wrong_at = SIZE - 1;
	g.u->wrong_len = 1;
	atomic_store(&g.u->wrong_times, 1);
	atomic_store(&g.u->gate, last + 20000);
	a = ask(&g, last, 4096);
	expect(a, g.bytes);
	all = ask(&g, last, CHUNK);
	expect_waits(&g, all, last + 20000);
	atomic_store(&g.u->gate, 0);
	expect(all, g.bytes);
	t_wait_state(g.s, SRC_VERIFIED);
	tear_down(&g);
}

/* Whatever the upstream's error is, who waits hears it, and who asks again at
 * once; later it is asked for again. */
static void test_stale(void)
{
	struct rig g = set_up("stale", SIZE, CHUNK, false);
	struct t_asked *a;

	g.u->fail_err = -ESTALE;
	g.u->fail_at = 30000;
	atomic_store(&g.u->fail_times, 1);
	a = ask(&g, 40000, 100);
	t_int(t_over(a), 1 + ESTALE);
	t_int(src_read(g.s, &a->r), -ESTALE);
	free(a);
	clock_advance(2500);
	t_expect(g.s, g.bytes, 0, SIZE);
	t_wait_state(g.s, SRC_VERIFIED);
	tear_down(&g);
}

/* What came of a chunk, and is not counted, takes no room on the disk. */
static void test_cut_off(void)
{
	struct rig g = set_up("cut-off", SIZE, MIB, false);
	struct blob *b = ((struct cached_src *)g.s)->b;
	struct t_asked *a;
	struct stat st;

	t_expect(g.s, g.bytes, 0, MIB);
	g.u->fail_err = -ETIMEDOUT;
	g.u->fail_at = 3 * MIB - 1000;
	atomic_store(&g.u->fail_times, 1);
	a = ask(&g, 3 * MIB - 100, 100);
	t_int(t_over(a), 1 + ETIMEDOUT);
	free(a);
	t_int(fstat(b->part->data, &st), 0);
	t_check(st.st_blocks * 512 < (blkcnt_t)(MIB + MIB / 2));
	clock_advance(2500);
	t_expect(g.s, g.bytes, 0, SIZE);
	t_wait_state(g.s, SRC_VERIFIED);
	tear_down(&g);
}

int main(void)
{
	test_some(CHUNK, 100, 20000);
	test_some(MIB, 100, 20000);
	test_some(MIB, 100000, 150000);
	test_some(MIB, 129000, 150000);
	test_some(MIB, 500000, 900000);
	test_held(SIZE, true);
	test_held(MIB, false);
	test_fails(CHUNK, 30000, false);
	test_fails(CHUNK, 30000, true);
	test_fails(MIB, 150000, false);
	test_fails(MIB, 150000, true);
	test_fails_often();
	test_stale();
	test_cut_off();
	test_fails_at_once();
	test_many();
	test_wrong();
	test_last();
	return 0;
}
