/* What is only expected to be read: how it is asked for, and how much at once. */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/fill.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

struct one {
	uint64_t size;
	uint8_t *bytes;
	char *dir;
	struct cache *c;
	struct upstream *u;
	struct src *s;
};

/* A file of which nothing is here yet; so many threads serve it. */
static struct one begin(const char *name, uint64_t size, unsigned threads)
{
	struct one t = { .size = size, .bytes = upstream_bytes(size, 11),
		.dir = upstream_dir(name) };
	struct cache_name n = t_name_of("x", t.bytes, size, OBJID_SHA256);

	t.c = t_open_cache(t.dir, 0);
	t.u = upstream_new(t.bytes, size, threads);
	t.s = t_open_src(t.c, &n, t.u);
	return t;
}

static void end(struct one *t)
{
	src_unref(t->s);
	cache_close(t->c);
	upstream_free(t->u);
	free(t->bytes);
	free(t->dir);
}

/* Hints alone bring the whole file, each byte once. What is wanted is shared by
 * the connections: 20 MiB by four are pulls of 5 MiB (FILL_PULL_MIN is less,
 * FILL_PULL_FIRST more), all under way at once, and no other follows. */
static void test_shared(void)
{
	struct one t = begin("hint", 20 * MIB, 5);

	atomic_store(&t.u->stalled, true);
	src_hint(t.s, 0, t.size);
	src_hint(t.s, 0, t.size);
	for (int i = 0; i < 5000 && atomic_load(&t.u->pulls) < 4; i++)
		usleep(1000);
	t_int(atomic_load(&t.u->pulls), 4);
	t_int(atomic_load(&t.u->sent), 0);
	atomic_store(&t.u->stalled, false);
	t_expect(t.s, t.bytes, 17 * MIB, 1000);
	t_wait_state(t.s, SRC_VERIFIED);
	t_int(atomic_load(&t.u->sent), t.size);
	t_int(atomic_load(&t.u->pulls), 4);
	end(&t);
}

/* Four are on their way at once, and of the rest the newest are remembered. */
static void test_many(void)
{
	const uint64_t chunk = 64 * 1024;
	struct one t = begin("hints-many", 20 * MIB, 5);
	struct src_stat st;

	atomic_store(&t.u->stalled, true);
	for (uint64_t i = 0; i < BLOB_HINTS + 10; i++)
		src_hint(t.s, 4 * i * chunk, chunk);
	atomic_store(&t.u->stalled, false);
	while (atomic_load(&t.c->hint_pulls))
		usleep(1000);
	src_stat(t.s, &st);
	t_int(st.cached_bytes, (4 + BLOB_HINTS) * chunk);
	end(&t);
}

/* A pull is as long as half a second, once one has told how much that is. */
static void test_length(void)
{
	struct one t = begin("hint-length", 20 * MIB, 5);

	t_int(cache_pull_next(8 * MIB, 500), 8 * MIB);
	t_int(cache_pull_next(2 * MIB, 100), 10 * MIB);
	t_int(cache_pull_next(8 * MIB, 0), 32 * MIB);
	t_int(cache_pull_next(MIB, 2000), MIB);

	atomic_store(&t.u->stalled, true);
	src_hint(t.s, 0, 8 * MIB);
	clock_advance(8000);
	atomic_store(&t.u->stalled, false);
	while (atomic_load(&t.c->hint_pulls))
		usleep(1000);
	t_int(atomic_load(&t.u->pulls), 4);
	/* The first four of 1 MiB; of 1.5 there would be no other. */
	src_hint(t.s, 8 * MIB, 6 * MIB);
	while (atomic_load(&t.u->sent) < 14 * MIB)
		usleep(1000);
	t_check(atomic_load(&t.u->pulls) > 8);
	end(&t);
}

/* What could not be had a moment ago is not asked for again because somebody
 * may want it; elsewhere in the file it is. */
static void test_after_failure(void)
{
	struct one t = begin("hint-failed", 8 * MIB, 1);
	uint8_t b[10];

	t.u->fail_err = -EIO;
	t.u->fail_at = 0;
	atomic_store(&t.u->fail_times, 1);
	t_int(src_read_wait(t.s, 0, b, sizeof(b)), -EIO);
	t_int(atomic_load(&t.u->pulls), 1);
	src_hint(t.s, 0, MIB);
	src_hint(t.s, 4 * MIB, MIB);
	t_expect(t.s, t.bytes, 4 * MIB, MIB);
	t_int(atomic_load(&t.u->sent), MIB);
	t_int(atomic_load(&t.u->pulls), 2);
	end(&t);
}

/* What is on its way already does not hold up the hint after it. */
static void test_on_its_way(void)
{
	struct one t = begin("hint-busy", 8 * MIB, 2);

	atomic_store(&t.u->stalled, true);
	src_hint(t.s, 0, 100);
	src_hint(t.s, 0, 100);
	src_hint(t.s, 4 * MIB, 100);
	for (int i = 0; i < 10000 && atomic_load(&t.u->pulls) < 2; i++)
		usleep(1000);
	t_int(atomic_load(&t.u->pulls), 2);
	atomic_store(&t.u->stalled, false);
	t_expect(t.s, t.bytes, 4 * MIB, 100);
	t_expect(t.s, t.bytes, 0, 100);
	t_int(atomic_load(&t.u->pulls), 2);
	end(&t);
}

/* Wrong bytes that nobody reads are fetched once more all the same. The chunk
 * that comes last is the first, so that its pull has long ended when all is
 * hashed. */
static void test_wrong(void)
{
	const uint64_t size = 6 * MIB, chunk = 65536;
	struct one t = begin("hint-wrong", size, 1);

	t.u->wrong_at = size - 1;
	t.u->wrong_len = 1;
	atomic_store(&t.u->wrong_times, 1);
	src_hint(t.s, chunk, size - chunk);
	for (int i = 0; i < 30000 && src_present(t.s, 0, size) < size - chunk;
	     i++)
		usleep(1000);
	t_int(src_present(t.s, 0, size), size - chunk);
	src_hint(t.s, 0, chunk);
	t_wait_state(t.s, SRC_VERIFIED);
	t_expect(t.s, t.bytes, 0, size);
	end(&t);
}

int main(void)
{
	test_shared();
	test_many();
	test_length();
	test_after_failure();
	test_on_its_way();
	test_wrong();
	return 0;
}
