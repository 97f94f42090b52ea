/* A file without a digest that has become another of the same length while a
 * part of it was here. */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (6 * MIB)	/* more than is held back until its verdict */

struct two {
	uint8_t *old, *new;
	char *dir;
	struct cache *c;
};

static struct two begin(const char *name)
{
	struct two t = { upstream_bytes(SIZE, 1), upstream_bytes(SIZE, 2),
		upstream_dir(name), NULL };

	t.c = t_open_cache(t.dir, 0);
	return t;
}

static void end(struct two *t)
{
	cache_close(t->c);
	free(t->old);
	free(t->new);
	free(t->dir);
}

static struct upstream *up_of(const uint8_t *bytes, uint64_t version)
{
	struct upstream *u = upstream_new(bytes, SIZE, 2);

	u->version = version;
	return u;
}

/* The first MiB of the old version, by a program that ends then. */
static void read_old(struct two *t, const struct cache_name *n,
	uint64_t version)
{
	struct upstream *u = up_of(t->old, version);
	struct src *s = t_open_src(t->c, n, u);

	t_expect(s, t->old, 0, MIB);
	src_unref(s);
	cache_close(t->c);
	upstream_free(u);
	t->c = t_open_cache(t->dir, 0);
}

/* All of it as it is now, kept as one object, and nothing counted twice. */
static void expect_new(struct two *t, const struct cache_name *n,
	struct upstream *u)
{
	struct src *s = t_open_src(t->c, n, u);
	int fd;

	t_expect(s, t->new, 0, SIZE);
	t_wait_state(s, n->id.alg ? SRC_VERIFIED : SRC_CACHED);
	fd = t_wait_fd(s);
	for (uint64_t at = 0; at < SIZE; at += MIB) {
		static uint8_t got[MIB];

		t_int(pread(fd, got, MIB, (off_t)at), MIB);
		t_check(!memcmp(got, t->new + at, MIB));
	}
	t_int(cache_used(t->c), SIZE);
	src_unref(s);
}

static void test_another(void)
{
	struct two t = begin("version");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u;
	struct src_stat st;
	unsigned before;
	struct src *s;

	read_old(&t, &n, 1);
	u = up_of(t.new, 2);
	s = t_open_src(t.c, &n, u);
	before = src_epoch(s);
	/* What nobody can know yet … */
	t_expect(s, t.old, 0, MIB);
	t_expect(s, t.new, 3 * MIB, MIB);
	/* … is known to whoever has got what is right. */
	t_check(src_epoch(s) != before);
	t_expect(s, t.new, 0, SIZE);
	src_stat(s, &st);
	t_int(st.last.code, 0);
	src_unref(s);
	expect_new(&t, &n, u);
	t_check(atomic_load(&u->sent) < SIZE + 3 * MIB);
	cache_close(t.c);
	t.c = t_open_cache(t.dir, 0);
	expect_new(&t, &n, u);
	end(&t);
	upstream_free(u);
}

/* What is of the same version, or may be, is not fetched again; nor what a
 * digest tells. */
static void test_kept(uint64_t old, uint64_t now, enum objid_alg alg)
{
	struct two t = begin("version-kept");
	struct cache_name n = t_name_of("a", t.old, SIZE, alg);
	struct upstream *u;

	memcpy(t.new, t.old, SIZE);
	read_old(&t, &n, old);
	u = up_of(t.new, now);
	expect_new(&t, &n, u);
	t_check(atomic_load(&u->sent) <= SIZE - MIB);
	end(&t);
	upstream_free(u);
}

/* Nothing moves, and what comes from here on is of another version. */
static void become(struct upstream *u, const uint8_t *bytes, uint64_t version)
{
	uint64_t was;

	atomic_store(&u->stalled, true);
	do {
		was = atomic_load(&u->sent);
		usleep(50000);
	} while (was != atomic_load(&u->sent));
	u->bytes = bytes;
	u->version = version;
}

/* In the middle of pulls, of this program or of another. */
static void test_midway(bool other)
{
	struct two t = begin("version-midway");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u = up_of(t.old, 1), *v = up_of(t.new, 2);
	struct cache *c = t_open_cache(t.dir, 0);
	struct src *s, *o;

	u->delay_us = 1000;
	s = t_open_src(t.c, &n, u);
	t_expect(s, t.old, 0, MIB);
	src_hint(s, MIB, 2 * MIB);
	while (atomic_load(&u->sent) < MIB + MIB / 2)
		usleep(1000);
	become(u, t.new, 2);
	if (other) {
		o = t_open_src(c, &n, v);
		/* The last that is asked for: u has not got there. */
		t_expect(o, t.new, SIZE - 4096, 4096);
		src_unref(o);
	}
	atomic_store(&u->stalled, false);
	t_expect(s, t.new, SIZE - MIB, MIB);
	t_check(src_epoch(s) != 0);
	src_unref(s);
	expect_new(&t, &n, u);
	cache_close(c);
	end(&t);
	upstream_free(u);
	upstream_free(v);
}

/* In the middle of the very first chunk. */
static void test_first(void)
{
	struct two t = begin("version-first");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u = up_of(t.old, 1);
	struct src *s;

	atomic_store(&u->gate, 20000);
	s = t_open_src(t.c, &n, u);
	src_hint(s, 0, MIB);
	while (atomic_load(&u->sent) < 20000)
		usleep(1000);
	become(u, t.new, 2);
	atomic_store(&u->gate, 0);
	atomic_store(&u->stalled, false);
	t_expect(s, t.new, 0, SIZE);
	src_unref(s);
	expect_new(&t, &n, u);
	end(&t);
	upstream_free(u);
}

/* It does not stay what it is long enough to be fetched: an error, and not for
 * ever. */
static void test_restless(void)
{
	struct two t = begin("version-restless");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u;
	uint8_t got[4096];
	struct src_stat st;
	struct src *s;

	read_old(&t, &n, 1);
	u = up_of(t.new, 2);
	u->delay_us = 2000;
	s = t_open_src(t.c, &n, u);
	src_hint(s, MIB, SIZE - MIB);
	while (!atomic_load(&u->sent))
		usleep(1000);
	/* The second attempt has begun when the first is thrown away. */
	do {
		usleep(1000);
		src_stat(s, &st);
	} while (!st.last.code);
	while (st.cached_bytes < 2 * 64 * 1024) {
		usleep(1000);
		src_stat(s, &st);
	}
	become(u, t.old, 3);
	atomic_store(&u->stalled, false);
	t_int(src_read_wait(s, 4 * MIB, got, sizeof(got)), -EIO);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "become another"));
	src_unref(s);
	become(u, t.new, 4);
	atomic_store(&u->stalled, false);
	sleep(4);
	expect_new(&t, &n, u);
	end(&t);
	upstream_free(u);
}

/* What comes of another version is not given either before its chunk has ended:
 * the old version's beginning is here, the new one's gets stuck. */
static void test_early(void)
{
	struct two t = begin("version-early");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u;
	struct t_asked *a;
	struct src_stat st;
	struct src *s;

	read_old(&t, &n, 1);
	u = up_of(t.new, 2);
	atomic_store(&u->gate, 3 * MIB + 20000);
	s = t_open_src(t.c, &n, u);
	a = t_ask(s, 3 * MIB, 4096);
	do {
		usleep(1000);
		src_stat(s, &st);
	} while (!st.last.code && !atomic_load(&a->over));
	usleep(20000);
	t_int(atomic_load(&a->over), 0);
	atomic_store(&u->gate, 0);
	t_int(t_over(a), 1);
	t_check(!memcmp(a->buf, t.new + 3 * MIB, 4096));
	free(a);
	src_unref(s);
	expect_new(&t, &n, u);
	end(&t);
	upstream_free(u);
}

/* What was given so is of the version it was, and told when that is thrown away,
 * though its pull does not end. */
static void test_early_gone(void)
{
	struct two t = begin("version-gone");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u = up_of(t.old, 1), *v = up_of(t.new, 2);
	struct t_asked *a;
	struct src *s, *o;

	atomic_store(&u->gate, 20000);
	s = t_open_src(t.c, &n, u);
	a = t_ask(s, 0, 4096);
	t_int(t_over(a), 1);
	t_check(!memcmp(a->buf, t.old, 4096));
	free(a);
	t_int(src_epoch(s), 0);
	o = t_open_src(t.c, &n, v);
	t_expect(o, t.new, MIB, MIB);
	t_wait_state(o, SRC_CACHED);
	t_int(src_epoch(s), 1);
	atomic_store(&u->gate, 0);
	src_unref(s);
	src_unref(o);
	expect_new(&t, &n, v);
	t_check(atomic_load(&u->sent) <= 2 * 64 * 1024);
	end(&t);
	upstream_free(u);
	upstream_free(v);
}

/* Who reads without a hub what somebody fetches who has gone since: it is thrown
 * away, nobody fetches it once more, and he is told. */
static void test_offline(void)
{
	struct two t = begin("version-offline");
	struct cache_name n = t_name_of("a", t.old, SIZE, OBJID_NONE);
	struct upstream *u = up_of(t.new, 2);
	struct t_asked *a;
	struct src *s, *o;

	read_old(&t, &n, 1);
	atomic_store(&u->stalled, true);
	s = t_open_src(t.c, &n, u);
	src_hint(s, 2 * MIB, MIB);
	src_unref(s);
	o = t_open_src(t.c, &n, NULL);
	a = t_ask(o, 2 * MIB, 10);
	atomic_store(&u->stalled, false);
	t_int(t_over(a), 1 + EHOSTUNREACH);
	free(a);
	src_unref(o);
	end(&t);
	upstream_free(u);
}

int main(void)
{
	test_another();
	test_kept(1, 1, OBJID_NONE);
	test_kept(0, 1, OBJID_NONE);
	test_kept(1, 0, OBJID_NONE);
	test_kept(1, 2, OBJID_SHA256);
	test_midway(false);
	test_midway(true);
	test_first();
	test_restless();
	test_early();
	test_early_gone();
	test_offline();
	return 0;
}
