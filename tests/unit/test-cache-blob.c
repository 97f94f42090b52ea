/* Filling, sharing, verdicts: one object at a time. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cache/cache.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

/* Is any object of the cache in dir mapped here? */
static bool is_mapped(const char *dir)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[4096];
	bool found = false;

	t_check(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, dir) && strstr(line, "/objects/");
	fclose(f);
	return found;
}

/* Read from the middle, then all, in order; then again without upstream. */
static void test_whole(enum objid_alg alg, enum src_state want)
{
	char *dir = upstream_dir("whole");
	uint64_t size = 5 * MIB + 12345;
	uint8_t *bytes = upstream_bytes(size, 1);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 2);
	struct cache_name n = t_name_of("a/model.bin", bytes, size, alg);
	struct src *s = t_open_src(c, &n, u);
	struct src_stat st;
	struct cache_totals t;
	struct iovec iov;
	struct stat file;

	src_stat(s, &st);
	t_int(st.state, SRC_REMOTE);
	t_expect(s, bytes, 3 * MIB + 1, 100000);
	t_check(atomic_load(&u->sent) <= 3 * 65536);
	src_stat(s, &st);
	t_int(st.state, SRC_PARTIAL);
	t_int(src_present(s, 3 * MIB, 65536), 65536);
	t_int(src_present(s, 0, 65536), 0);
	t_int(src_peek(s, 3 * MIB + 1, 100, &iov, 1), 1);
	t_check(!memcmp(iov.iov_base, bytes + 3 * MIB + 1, 100));
	t_int(src_peek(s, 0, 100, &iov, 1), -EAGAIN);
	t_int(src_fd(s), -EAGAIN);
	for (uint64_t off = 0; off < size; off += 100000)
		t_expect(s, bytes, off, size - off < 100000 ?
			(size_t)(size - off) : 100000);
	t_wait_state(s, want);
	t_int(atomic_load(&u->sent), size);
	t_int(fstat(t_wait_fd(s), &file), 0);
	t_int(file.st_mode & 07777, 0444);
	t_int(src_peek(s, 0, size, &iov, 1), 1);
	t_check(!memcmp(iov.iov_base, bytes, size));
	src_unref(s);
	cache_close(c);

	c = t_open_cache(dir, 0);
	s = t_open_src(c, &n, NULL);
	t_wait_state(s, want);
	t_expect(s, bytes, 0, size);
	t_check(!is_mapped(dir));
	t_int(src_peek(s, 1, 100, &iov, 1), 1);
	t_check(!memcmp(iov.iov_base, bytes + 1, 100));
	t_check(is_mapped(dir));
	t_int(cache_totals(c, &t), 0);
	t_int(t.objects, 1);
	t_int(t.object_bytes, size);
	t_int(t.partials, 0);
	src_unref(s);
	t_int(cache_name_stat(c, &n, &st), 0);
	t_int(st.state, want);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Chunks smaller and larger than what is written at once, from pieces that
 * divide them and that do not. */
static void test_pieces(uint32_t chunk, size_t piece)
{
	char *dir = upstream_dir("pieces");
	uint64_t size = 9 * MIB + 777;
	uint8_t *bytes = upstream_bytes(size, 3);
	struct cache_conf conf = { .dir = dir, .chunk = chunk,
		.connections = 2 };
	struct error why = { 0 };
	struct cache *c = NULL;
	struct upstream *u = upstream_new(bytes, size, 4);
	struct cache_name n = t_name_of("pieces", bytes, size, OBJID_SHA256);
	struct src *s;

	u->piece = piece;
	t_int(cache_open(&conf, &c, &why), 0);
	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 5 * MIB + 3, 2 * MIB);
	t_expect(s, bytes, 0, size);
	t_wait_state(s, SRC_VERIFIED);
	t_int(atomic_load(&u->sent), size);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

struct lent {
	struct src_read r;	/* must be first */
	atomic_int over;	/* 1 + -err */
};

static void lent_done(struct src_read *r, int err)
{
	atomic_store(&((struct lent *)r)->over, 1 - err);
}

/* Who can do without a copy gets none, late or at once. */
static void test_lent(void)
{
	char *dir = upstream_dir("lent");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 4), buf[100] = { 0 };
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("lent", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);

	for (int i = 0; i < 2; i++) {
		struct iovec piece;
		struct lent l = { .r = { .off = MIB - 50, .len = 100,
			.buf = buf, .lent = &piece, .max_lent = 1,
			.done = lent_done } };
		int r = src_read(s, &l.r);

		t_int(r, i ? 0 : -EINPROGRESS);
		while (r && !atomic_load(&l.over))
			usleep(1000);
		t_int(atomic_load(&l.over), r ? 1 : 0);
		t_int(l.r.n_lent, 1);
		t_int(piece.iov_len, 100);
		t_check(!memcmp(piece.iov_base, bytes + MIB - 50, 100));
		t_int(buf[0] | buf[99], 0);
	}
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* What is given without a wait is a hit, also by a peek; all else is a miss. */
static void counted(struct cache *c, uint64_t hits, uint64_t misses)
{
	struct cache_stats st;

	cache_stats(c, &st);
	t_int(st.hits, hits);
	t_int(st.misses, misses);
}

static void test_hits(void)
{
	char *dir = upstream_dir("hits");
	uint8_t *bytes = upstream_bytes(3 * MIB, 3), b[10];
	struct cache *c = t_open_cache(dir, 0);
	struct cache_name n = t_name_of("x", bytes, 3 * MIB, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, 3 * MIB, 1);
	struct src_read r = { .buf = b, .len = 10 };
	struct src *s = t_open_src(c, &n, NULL);
	struct t_asked *a;
	struct iovec piece;

	t_int(src_peek(s, 0, 10, &piece, 1), -EAGAIN);
	counted(c, 0, 0);
	t_int(src_read(s, &r), -EHOSTUNREACH);
	counted(c, 0, 1);
	src_unref(s);
	s = t_open_src(c, &n, u);
	atomic_store(&u->stalled, true);
	a = t_ask(s, 0, 10);
	counted(c, 0, 2);
	atomic_store(&u->stalled, false);
	t_int(t_over(a), 1);
	free(a);
	t_wait_state(s, SRC_VERIFIED);
	t_int(src_read(s, &r), 0);
	counted(c, 1, 2);
	t_int(src_peek(s, 0, 10, &piece, 1), 1);
	counted(c, 2, 2);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

static void test_offline(void)
{
	char *dir = upstream_dir("offline");
	uint8_t *bytes = upstream_bytes(6 * MIB, 2), b[10];
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, 6 * MIB, 1);
	struct cache_name n = t_name_of("x", bytes, 6 * MIB, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, NULL);
	struct src_stat st;

	t_int(src_read_wait(s, 0, b, 10), -EHOSTUNREACH);
	src_stat(s, &st);
	t_int(st.last.code, -EHOSTUNREACH);
	src_unref(s);

	/* What is here is given, what is not is not waited for. */
	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 0, 10);
	src_unref(s);
	s = t_open_src(c, &n, NULL);
	t_expect(s, bytes, 0, 10);
	t_int(src_read_wait(s, 5 * MIB, b, 10), -EHOSTUNREACH);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

static void test_empty(void)
{
	char *dir = upstream_dir("empty");
	struct cache *c = t_open_cache(dir, 0);
	struct cache_name n = t_name_of("x", (const uint8_t *)"", 0,
		OBJID_GITSHA1);
	struct src *s = t_open_src(c, &n, NULL);

	t_wait_state(s, SRC_VERIFIED);
	src_unref(s);
	cache_close(c);
	free(dir);
}

/* A pull fails half-way: its waiters hear why, what came stays, and the read
 * that follows at once is answered without another attempt. */
static void test_error(void)
{
	char *dir = upstream_dir("error");
	uint64_t size = 6 * MIB;
	uint8_t *bytes = upstream_bytes(size, 3), *got = malloc(MIB);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u), *again;
	struct src_stat st;
	unsigned pulls;

	u->piece = 65536;
	u->fail_err = -ETIMEDOUT;
	u->fail_at = MIB / 2;
	atomic_store(&u->fail_times, 1);
	t_int(src_read_wait(s, 0, got, MIB), -ETIMEDOUT);
	src_stat(s, &st);
	t_int(st.last.code, -ETIMEDOUT);
	t_int(st.cached_bytes, MIB / 2);
	pulls = atomic_load(&u->pulls);
	t_int(src_read_wait(s, MIB / 2, got, 4096), -ETIMEDOUT);
	t_int(atomic_load(&u->pulls), pulls);
	t_expect(s, bytes, 0, MIB / 2);
	t_expect(s, bytes, 2 * MIB, 4096);
	clock_advance(2500);
	t_expect(s, bytes, 0, MIB);
	t_check(atomic_load(&u->sent) < MIB + 3 * 65536);
	src_stat(s, &st);
	t_int(st.last.code, 0);

	/* Who opens anew wants another attempt. */
	u->fail_at = 3 * MIB;
	atomic_store(&u->fail_times, 1);
	t_int(src_read_wait(s, 3 * MIB, got, 4096), -ETIMEDOUT);
	t_int(src_read_wait(s, 3 * MIB, got, 4096), -ETIMEDOUT);
	again = t_open_src(c, &n, u);
	t_expect(again, bytes, 3 * MIB, 4096);
	t_expect(s, bytes, 3 * MIB, 4096);
	src_unref(again);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(got);
	free(bytes);
	free(dir);
}

static atomic_uint epochs;

static void on_epoch(void *arg, const struct src *s)
{
	(void) s;
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Returns the error of reading everything in order, and when. */
static int read_all(struct src *s, const uint8_t *bytes, uint64_t *ret_at,
	bool *ret_wrong)
{
	size_t step = 65536;
	uint8_t *got = malloc(step);
	int r = 0;

	*ret_wrong = false;
	for (*ret_at = 0; !r && *ret_at < s->size; *ret_at += step) {
		size_t n = s->size - *ret_at < step ?
			(size_t)(s->size - *ret_at) : step;

		r = src_read_wait(s, *ret_at, got, n);
		if (!r && memcmp(got, bytes + *ret_at, n))
			*ret_wrong = true;
	}
	free(got);
	return r;
}

/* A wrong byte once: the end waits, the epoch tells. */
static void test_wrong_once(void)
{
	char *dir = upstream_dir("once");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 4);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct cache_stats cs;
	struct src *s;
	unsigned before;
	uint64_t at;
	bool wrong;

	atomic_store(&epochs, 0);
	cache_on_epoch(c, on_epoch, &epochs);
	s = t_open_src(c, &n, u);
	u->wrong_at = 70000;
	u->wrong_len = 1;
	atomic_store(&u->wrong_times, 1);
	before = src_epoch(s);
	t_int(read_all(s, bytes, &at, &wrong), 0);
	t_check(wrong);
	t_check(src_epoch(s) != before);
	t_wait_state(s, SRC_VERIFIED);
	t_int(read_all(s, bytes, &at, &wrong), 0);
	t_check(!wrong);
	cache_stats(c, &cs);
	t_int(cs.mismatches, 1);
	t_int(cs.verified, 1);
	for (int i = 0; i < 4000 && !atomic_load(&epochs); i++)
		usleep(1000);
	t_int(atomic_load(&epochs), 1);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* The wrong byte is in the last chunk, which nobody has seen. */
static void test_wrong_unseen(void)
{
	char *dir = upstream_dir("unseen");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 5);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_GITSHA1);
	struct src *s = t_open_src(c, &n, u);
	unsigned before = src_epoch(s);
	uint64_t at;
	bool wrong;

	u->wrong_at = size - 5;
	u->wrong_len = 1;
	atomic_store(&u->wrong_times, 1);
	t_int(read_all(s, bytes, &at, &wrong), 0);
	t_check(!wrong);
	t_int(src_epoch(s), before);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

static void test_wrong_always(uint64_t size)
{
	char *dir = upstream_dir("always");
	uint8_t *bytes = upstream_bytes(size, 6);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u), *again;
	unsigned before = src_epoch(s);
	struct cache_totals t;
	struct src_stat st;
	uint8_t b[16];
	uint64_t at;
	bool wrong;

	u->wrong_at = 10;
	u->wrong_len = 1;
	atomic_store(&u->wrong_times, 100);
	t_int(read_all(s, bytes, &at, &wrong), -EIO);
	t_int(wrong, size > 4 * MIB);
	t_int(src_read_wait(s, 0, b, 16), -EIO);
	t_int(src_epoch(s) != before, size > 4 * MIB);
	src_stat(s, &st);
	t_int(st.last.code, -EIO);
	t_check(strstr(st.last.text, "sha256") && strstr(st.last.text, "org/"));
	t_int(atomic_load(&u->sent), 2 * size);
	t_int(cache_totals(c, &t), 0);
	t_int(t.objects + t.partials, 0);

	/* Too early, then late enough and right. */
	again = t_open_src(c, &n, u);
	t_int(src_read_wait(again, 0, b, 16), -EIO);
	src_unref(again);
	atomic_store(&u->wrong_times, 0);
	clock_advance(10000);
	again = t_open_src(c, &n, u);
	t_expect(again, bytes, 0, size);
	t_int(src_read_wait(s, 0, b, 16), -EIO);
	src_unref(again);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

static uint64_t partials(struct cache *c)
{
	struct cache_totals t;

	t_int(cache_totals(c, &t), 0);
	return t.partials;
}

static struct src *read_some(struct cache *c, const struct cache_name *n,
	struct upstream *u, int want)
{
	struct src *s = t_open_src(c, n, u);
	uint8_t b[16];

	t_int(src_read_wait(s, 0, b, sizeof(b)), want);
	return s;
}

/* What a name has on the disk goes with its last reader when its size was wrong:
 * unless a byte of it came, or another process has it open. */
static void test_vain(void)
{
	char *dir = upstream_dir("vain");
	const uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 14);
	struct cache_name n = t_name_of("vain", bytes, size, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0), *other = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *s, *theirs;

	u->fail_err = -ETIMEDOUT;
	atomic_store(&u->fail_times, 1000);
	src_unref(read_some(c, &n, u, -ETIMEDOUT));
	cache_close(c);
	t_int(partials(other), 1);

	theirs = read_some(other, &n, u, -ETIMEDOUT);
	for (unsigned alone = 0; alone < 2; alone++) {
		c = t_open_cache(dir, 0);
		s = read_some(c, &n, u, -ETIMEDOUT);
		if (alone) {
			src_unref(theirs);
			cache_close(other);
			other = t_open_cache(dir, 0);
		}
		cache_name_vain(c, &n);
		t_int(partials(other), 1);
		src_unref(s);
		cache_close(c);
		t_int(partials(other), !alone);
	}

	atomic_store(&u->fail_times, 0);
	c = t_open_cache(dir, 0);
	s = read_some(c, &n, u, 0);
	cache_name_vain(c, &n);
	src_unref(s);
	cache_close(c);
	src_unref(read_some(other, &n, NULL, 0));
	cache_close(other);
	upstream_free(u);
	free(bytes);
	free(dir);
}

int main(void)
{
	test_whole(OBJID_SHA256, SRC_VERIFIED);
	test_whole(OBJID_GITSHA1, SRC_VERIFIED);
	test_whole(OBJID_NONE, SRC_CACHED);
	for (size_t i = 0; i < 3; i++) {
		static const uint32_t chunk[] = { 65536, 131072, MIB };

		test_pieces(chunk[i], 777);
		test_pieces(chunk[i], 16384);
		test_pieces(chunk[i], 131072);
		test_pieces(chunk[i], 200000);
	}
	test_lent();
	test_hits();
	test_offline();
	test_empty();
	test_error();
	test_wrong_once();
	test_wrong_unseen();
	test_wrong_always(5 * MIB);
	test_wrong_always(MIB / 2);
	test_vain();
	return 0;
}
