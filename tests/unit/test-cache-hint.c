/* What is only expected to be read: how it is asked for, and how much at once. */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/fill.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

/* Hints alone bring the whole file, each byte once. What is wanted is shared by
 * the connections: 20 MiB by four are pulls of 5 MiB (FILL_PULL_MIN is less,
 * FILL_PULL_FIRST more), all under way at once, and no other follows. */
static void test_shared(void)
{
	char *dir = upstream_dir("hint");
	uint64_t size = 20 * MIB;
	uint8_t *bytes = upstream_bytes(size, 11);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 5);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);

	atomic_store(&u->stalled, true);
	src_hint(s, 0, size);
	src_hint(s, 0, size);
	for (int i = 0; i < 5000 && atomic_load(&u->pulls) < 4; i++)
		usleep(1000);
	t_int(atomic_load(&u->pulls), 4);
	t_int(atomic_load(&u->sent), 0);
	atomic_store(&u->stalled, false);
	t_expect(s, bytes, 17 * MIB, 1000);
	t_wait_state(s, SRC_VERIFIED);
	t_int(atomic_load(&u->sent), size);
	t_int(atomic_load(&u->pulls), 4);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Four are on their way at once, and of the rest the newest are remembered. */
static void test_many(void)
{
	const uint64_t chunk = 64 * 1024;
	char *dir = upstream_dir("hints-many");
	uint64_t size = 20 * MIB;
	uint8_t *bytes = upstream_bytes(size, 29);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 5);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);
	struct src_stat st;

	atomic_store(&u->stalled, true);
	for (uint64_t i = 0; i < BLOB_HINTS + 10; i++)
		src_hint(s, 4 * i * chunk, chunk);
	atomic_store(&u->stalled, false);
	while (atomic_load(&c->hint_pulls))
		usleep(1000);
	src_stat(s, &st);
	t_int(st.cached_bytes, (4 + BLOB_HINTS) * chunk);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* A pull is as long as half a second, once one has told how much that is. */
static void test_length(void)
{
	char *dir = upstream_dir("hint-length");
	uint64_t size = 20 * MIB;
	uint8_t *bytes = upstream_bytes(size, 23);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 5);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);

	t_int(cache_pull_next(8 * MIB, 500), 8 * MIB);
	t_int(cache_pull_next(2 * MIB, 100), 10 * MIB);
	t_int(cache_pull_next(8 * MIB, 0), 32 * MIB);
	t_int(cache_pull_next(MIB, 2000), MIB);

	atomic_store(&u->stalled, true);
	src_hint(s, 0, 8 * MIB);
	clock_advance(8000);
	atomic_store(&u->stalled, false);
	while (atomic_load(&c->hint_pulls))
		usleep(1000);
	t_int(atomic_load(&u->pulls), 4);
	/* The first four of 1 MiB; of 1.5 there would be no other. */
	src_hint(s, 8 * MIB, 6 * MIB);
	while (atomic_load(&u->sent) < 14 * MIB)
		usleep(1000);
	t_check(atomic_load(&u->pulls) > 8);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* What could not be had a moment ago is not asked for again because somebody
 * may want it; elsewhere in the file it is. */
static void test_after_failure(void)
{
	char *dir = upstream_dir("hint-failed");
	uint64_t size = 8 * MIB;
	uint8_t *bytes = upstream_bytes(size, 19), b[10];
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);

	u->fail_err = -EIO;
	u->fail_at = 0;
	atomic_store(&u->fail_times, 1);
	t_int(src_read_wait(s, 0, b, sizeof(b)), -EIO);
	t_int(atomic_load(&u->pulls), 1);
	src_hint(s, 0, MIB);
	src_hint(s, 4 * MIB, MIB);
	t_expect(s, bytes, 4 * MIB, MIB);
	t_int(atomic_load(&u->sent), MIB);
	t_int(atomic_load(&u->pulls), 2);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* What is on its way already does not hold up the hint after it. */
static void test_on_its_way(void)
{
	char *dir = upstream_dir("hint-busy");
	uint64_t size = 8 * MIB;
	uint8_t *bytes = upstream_bytes(size, 20);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 2);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);

	atomic_store(&u->stalled, true);
	src_hint(s, 0, 100);
	src_hint(s, 0, 100);
	src_hint(s, 4 * MIB, 100);
	for (int i = 0; i < 10000 && atomic_load(&u->pulls) < 2; i++)
		usleep(1000);
	t_int(atomic_load(&u->pulls), 2);
	atomic_store(&u->stalled, false);
	t_expect(s, bytes, 4 * MIB, 100);
	t_expect(s, bytes, 0, 100);
	t_int(atomic_load(&u->pulls), 2);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Wrong bytes that nobody reads are fetched once more all the same. The chunk
 * that comes last is the first, so that its pull has long ended when all is
 * hashed. */
static void test_wrong(void)
{
	const uint64_t size = 6 * MIB, chunk = 65536;
	char *dir = upstream_dir("hint-wrong");
	uint8_t *bytes = upstream_bytes(size, 9);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u);

	u->wrong_at = size - 1;
	u->wrong_len = 1;
	atomic_store(&u->wrong_times, 1);
	src_hint(s, chunk, size - chunk);
	for (int i = 0; i < 30000 && src_present(s, 0, size) < size - chunk;
	     i++)
		usleep(1000);
	t_int(src_present(s, 0, size), size - chunk);
	src_hint(s, 0, chunk);
	t_wait_state(s, SRC_VERIFIED);
	t_expect(s, bytes, 0, size);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
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
