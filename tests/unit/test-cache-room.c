/* How much may be kept, and what goes before somebody has to wait for room. The
 * disk is as large as fstatvfs() here says. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define DISK 100000UL	/* MiB, of which a tenth stays free */
#define PART 100000UL	/* bytes; the budget is 32 of them */

static atomic_uint_fast64_t avail = DISK;	/* MiB */

int fstatvfs(int fd, struct statvfs *ret)
{
	(void) fd;
	*ret = (struct statvfs){ .f_frsize = MIB, .f_blocks = DISK,
		.f_bavail = atomic_load(&avail) };
	return 0;
}

static bool passes(struct cache *c, uint64_t size)
{
	struct cache_name n = { .hub = "h", .repo = "r", .revision = "1",
		.path = "p", .size = size };
	struct src_stat st;

	t_int(cache_name_stat(c, &n, &st), 0);
	return st.passes;
}

/* Objects of that size, each older than the next. */
static void put(struct cache *c, unsigned seed, size_t len,
	char ret_rel[CACHE_REL_MAX])
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
		{ .tv_sec = 1000 + seed } };
	uint8_t *bytes = upstream_bytes(len, seed);
	struct cache_put *p;
	struct objid id;

	t_int(cache_put_begin(c, len, &p), 0);
	t_int(cache_put_data(p, bytes, len), 0);
	t_int(cache_put_end(p, &id), 0);
	cache_object_rel(&id, ret_rel);
	(void) utimensat(c->dir, ret_rel, t, 0);
	free(bytes);
}

static void wait_used(struct cache *c, uint64_t want)
{
	for (int i = 0; i < 30000 && cache_used(c) > want; i++)
		usleep(1000);
	t_int(cache_used(c), want);
}

/* What is larger than all there may be is not kept. */
static void test_kept(void)
{
	char *dir = upstream_dir("room"), rel[CACHE_REL_MAX];
	struct cache *c = t_open_cache(dir, 5 * MIB);

	t_check(!passes(c, 5 * MIB));
	t_check(passes(c, 5 * MIB + 1));
	cache_close(c);
	c = t_open_cache(dir, 0);
	atomic_store(&avail, DISK / 10 + 1000);
	t_check(!passes(c, 1000 * MIB));
	t_check(passes(c, 1000 * MIB + 1));
	put(c, 1, 77, rel);
	t_check(!passes(c, 1000 * MIB + 77));
	t_check(passes(c, 1000 * MIB + 78));
	atomic_store(&avail, DISK / 10 - 1);
	t_check(passes(c, 5 * MIB));
	cache_close(c);
	free(dir);
}

/* Little room is left of the budget: a sixteenth of it goes, each time. What
 * there can be no room for changes nothing. */
static void test_budget(void)
{
	char *dir = upstream_dir("room-budget"), rel[CACHE_REL_MAX];
	struct cache *c = t_open_cache(dir, 32 * PART);
	struct cache_put *p;

	for (unsigned i = 0; i < 31; i++)
		put(c, i, PART, rel);
	t_int(cache_used(c), 31 * PART);
	for (unsigned round = 0; round < 3; round++) {
		put(c, 40 + round, PART / 2, rel);
		wait_used(c, 29 * PART + PART / 2);
		t_check(cache_object_there(c, rel, PART / 2));
		put(c, 50 + round, PART, rel);
		put(c, 60 + round, PART / 2, rel);
		t_int(cache_used(c), 31 * PART);
	}
	t_int(cache_put_begin(c, 32 * PART + 1, &p), -ENOSPC);
	cache_close(c);
	c = t_open_cache(dir, 32 * PART);
	cache_close(c);
	free(dir);
}

/* Little room is left of the disk. */
static void test_disk(void)
{
	char *dir = upstream_dir("room-disk"), old[CACHE_REL_MAX];
	struct cache *c = t_open_cache(dir, 0);
	char rel[CACHE_REL_MAX];

	atomic_store(&avail, DISK / 10 + 256);
	put(c, 1, PART, old);
	put(c, 2, 2 * PART, rel);
	usleep(20000);
	t_int(cache_used(c), 3 * PART);
	atomic_store(&avail, DISK / 10 + 255);
	put(c, 3, 100, rel);
	for (int i = 0; i < 30000 && cache_object_there(c, old, PART); i++)
		usleep(1000);
	t_check(!cache_object_there(c, old, PART));
	atomic_store(&avail, DISK);
	cache_close(c);
	free(dir);
}

/* What is asked for goes, the oldest first, and no more; partial objects too. */
static void test_gc(void)
{
	char *dir = upstream_dir("room-gc"), rel[CACHE_REL_MAX];
	uint8_t *bytes = upstream_bytes(5 * MIB, 9);
	struct cache_name n = t_name_of("x", bytes, 5 * MIB, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, 5 * MIB, 1);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u);
	uint64_t freed = 0, sum = 0;
	struct cache_stats st;

	t_expect(s, bytes, 0, 1);
	src_unref(s);
	for (unsigned i = 1; i < 4; i++)
		put(c, i, PART, rel);
	t_int(cache_gc(c, 2 * PART + 65536, &freed), 0);
	t_int(freed, PART);
	t_int(cache_used(c), 2 * PART + 65536);
	t_check(cache_object_there(c, rel, PART));
	/* The pool may have the partial open a moment longer than its reader. */
	for (int i = 0; i < 4000 && sum < 2 * PART + 65536; i++) {
		t_int(cache_gc(c, 0, &freed), 0);
		sum += freed;
		usleep(1000);
	}
	t_int(sum, 2 * PART + 65536);
	t_int(cache_used(c), 0);
	cache_stats(c, &st);
	t_int(st.evicted_bytes, 3 * PART + 65536);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

int main(void)
{
	test_gc();
	test_kept();
	test_budget();
	test_disk();
	return 0;
}
