/* Who waits for what others do: another process that has a chunk or gives the
 * verdict, other files that have all the pulls there may be; and who does not
 * wait any longer. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cache/lock.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (5 * MIB)
#define CHUNK 65536UL
#define FILES 14	/* whose hints want more pulls than there may be: … */
#define SERVED 12	/* … so many have all */

struct asked {
	struct src_read r;	/* must be first */
	atomic_int over;	/* 1 - err */
	uint8_t buf[2 * CHUNK];
};

static void asked_done(struct src_read *r, int err)
{
	atomic_store(&((struct asked *)r)->over, 1 - err);
}

static struct asked *ask(struct src *s, uint64_t off, size_t len)
{
	struct asked *a = calloc(1, sizeof(*a));

	t_check(a && len <= sizeof(a->buf));
	a->r = (struct src_read){ .off = off, .len = len, .buf = a->buf,
		.done = asked_done };
	t_int(src_read(s, &a->r), -EINPROGRESS);
	return a;
}

static void expect(struct asked *a, const uint8_t *bytes)
{
	for (int i = 0; i < 30000 && !atomic_load(&a->over); i++)
		usleep(1000);
	t_int(atomic_load(&a->over), 1);
	t_check(!memcmp(a->buf, bytes + a->r.off, a->r.len));
	free(a);
}

static void wait_sent(struct upstream *u, uint64_t want)
{
	for (int i = 0; i < 30000 && atomic_load(&u->sent) < want; i++)
		usleep(1000);
	t_int(atomic_load(&u->sent), want);
}

/* A chunk that another has comes from there, though one of ours stands still. */
static void test_chunk(void)
{
	char *dir = upstream_dir("watch-chunk");
	uint8_t *bytes = upstream_bytes(SIZE, 1);
	struct cache_name n = t_name_of("x", bytes, SIZE, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0), *other = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct upstream *theirs = upstream_new(bytes, SIZE, 1);
	struct src *s = t_open_src(c, &n, u);
	struct src *at = t_open_src(other, &n, theirs);
	struct asked *a, *b, *first;

	atomic_store(&u->stalled, true);
	atomic_store(&theirs->stalled, true);
	first = ask(at, 0, CHUNK);
	a = ask(s, 10 * CHUNK, CHUNK);
	b = ask(s, 0, CHUNK);
	atomic_store(&theirs->stalled, false);
	expect(first, bytes);
	expect(b, bytes);
	t_int(atomic_load(&u->sent), 0);
	atomic_store(&u->stalled, false);
	expect(a, bytes);
	t_int(atomic_load(&u->sent), CHUNK);
	src_unref(s);
	src_unref(at);
	cache_close(c);
	cache_close(other);
	upstream_free(u);
	upstream_free(theirs);
	free(bytes);
	free(dir);
}

static int open_data(const char *dir)
{
	char path[256];
	struct dirent *e;
	int fd = -1;
	DIR *d;

	(void) snprintf(path, sizeof(path), "%.100s/partial", dir);
	d = opendir(path);
	t_check(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		(void) snprintf(path, sizeof(path), "%.100s/partial/%.64s/data",
			dir, e->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	(void) closedir(d);
	t_check(fd >= 0);
	return fd;
}

/* Another process is at the verdict: what was given before may be given again,
 * but nothing with a chunk that was not. When it dies the verdict is given here,
 * whether somebody waits for it or not. */
static void test_verdict(bool waits)
{
	char *dir = upstream_dir("watch-verdict");
	uint8_t *bytes = upstream_bytes(SIZE, 2);
	struct cache_name n = t_name_of("x", bytes, SIZE, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct src *s = t_open_src(c, &n, u);
	uint64_t last = SIZE - CHUNK;
	struct asked *a = NULL;
	struct iovec iov;
	int fd;

	t_expect(s, bytes, 0, CHUNK);
	fd = open_data(dir);
	/* Our own job may have it for a moment. */
	for (int i = 0; cache_lock_try(fd, 0, 1); i++) {
		t_check(i < 30000);
		usleep(1000);
	}
	t_expect(s, bytes, 0, last);
	src_hint(s, last, CHUNK);
	wait_sent(u, SIZE);
	for (int i = 0; src_present(s, last, CHUNK) < CHUNK; i++) {
		t_check(i < 30000);
		usleep(1000);
	}
	t_expect(s, bytes, last - CHUNK, CHUNK);
	t_int(src_peek(s, last - CHUNK, 2 * CHUNK, &iov, 1), -EAGAIN);
	if (waits)
		a = ask(s, last - CHUNK, 2 * CHUNK);
	usleep(50000);
	t_int(waits ? atomic_load(&a->over) : 0, 0);
	(void) close(fd);
	if (waits)
		expect(a, bytes);
	t_wait_state(s, SRC_VERIFIED);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* There are as many pulls for hints as there may be: who has none gets some when
 * others are over, though nobody reads. */
static void test_hints(void)
{
	char *dir = upstream_dir("watch-hints"), name[20];
	uint8_t *bytes = upstream_bytes(SIZE + FILES, 3);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u[FILES];
	struct cache_name n;
	struct src *s[FILES];

	for (unsigned i = 0; i < FILES; i++) {
		u[i] = upstream_new(bytes + i, SIZE, 1);
		(void) snprintf(name, sizeof(name), "f%u", i);
		n = t_name_of(name, bytes + i, SIZE, OBJID_SHA256);
		s[i] = t_open_src(c, &n, u[i]);
		atomic_store(&u[i]->stalled, i < SERVED);
		src_hint(s[i], 0, SIZE);
	}
	/* However often it is said. */
	for (unsigned i = 0; i < 60; i++)
		src_hint(s[SERVED], 0, SIZE);
	usleep(50000);
	for (unsigned i = SERVED; i < FILES; i++)
		t_int(atomic_load(&u[i]->pulls), 0);
	for (unsigned i = 0; i < FILES; i++)
		atomic_store(&u[i]->stalled, false);
	for (unsigned i = 0; i < FILES; i++) {
		wait_sent(u[i], SIZE);
		t_wait_state(s[i], SRC_VERIFIED);
		src_unref(s[i]);
	}
	cache_close(c);
	for (unsigned i = 0; i < FILES; i++)
		upstream_free(u[i]);
	free(bytes);
	free(dir);
}

/* A hint for what another process has is no pull. */
static void test_hints_elsewhere(void)
{
	char *dir = upstream_dir("watch-hinted");
	uint8_t *bytes = upstream_bytes(SIZE + 1, 7);
	struct cache_name n = t_name_of("x", bytes, SIZE, OBJID_SHA256);
	struct cache_name n2 = t_name_of("y", bytes + 1, SIZE, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0), *other = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct upstream *u2 = upstream_new(bytes + 1, SIZE, 1);
	struct upstream *theirs = upstream_new(bytes, SIZE, 1);
	struct src *s = t_open_src(c, &n, u), *s2 = t_open_src(c, &n2, u2);
	struct src *at = t_open_src(other, &n, theirs);

	atomic_store(&theirs->stalled, true);
	src_hint(at, 0, SIZE);
	src_hint(s, 0, SIZE);
	src_hint(s2, 0, SIZE);
	wait_sent(u2, SIZE);
	t_int(atomic_load(&u->pulls), 0);
	atomic_store(&theirs->stalled, false);
	wait_sent(theirs, SIZE);
	t_wait_state(s, SRC_VERIFIED);
	src_unref(s);
	src_unref(s2);
	src_unref(at);
	cache_close(c);
	cache_close(other);
	upstream_free(u);
	upstream_free(u2);
	upstream_free(theirs);
	free(bytes);
	free(dir);
}

/* What failed a moment ago fails at once; not what lies beside it. */
static void test_setbacks(void)
{
	char *dir = upstream_dir("watch-setbacks");
	uint8_t *bytes = upstream_bytes(SIZE, 4), b[10];
	struct cache_name n = t_name_of("x", bytes, SIZE, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct src *s = t_open_src(c, &n, u);
	unsigned pulls;

	u->fail_err = -ETIMEDOUT;
	for (uint64_t i = 5; i < 10; i += 4) {
		u->fail_at = i * CHUNK;
		atomic_store(&u->fail_times, 1);
		t_int(src_read_wait(s, i * CHUNK, b, 10), -ETIMEDOUT);
	}
	pulls = atomic_load(&u->pulls);
	t_int(src_read_wait(s, 5 * CHUNK, b, 10), -ETIMEDOUT);
	t_int(src_read_wait(s, 9 * CHUNK, b, 10), -ETIMEDOUT);
	t_int(atomic_load(&u->pulls), pulls);
	t_expect(s, bytes, 4 * CHUNK, CHUNK);
	t_expect(s, bytes, 6 * CHUNK, CHUNK);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* One pull fails, another beside it does not: neither do those who wait for it.
 * Without a hub what is here is given, and the rest is not. */
static void test_beside_failure(void)
{
	char *dir = upstream_dir("watch-beside");
	uint8_t *bytes = upstream_bytes(SIZE, 8), b[10];
	struct cache_name n = t_name_of("x", bytes, SIZE, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct src *s = t_open_src(c, &n, u);
	struct asked *fails, *before, *behind;

	atomic_store(&u->stalled, true);
	u->fail_err = -ETIMEDOUT;
	u->fail_at = 20 * CHUNK;
	atomic_store(&u->fail_times, 1);
	fails = ask(s, 20 * CHUNK, CHUNK);
	before = ask(s, 19 * CHUNK, CHUNK);
	behind = ask(s, 21 * CHUNK, CHUNK);
	atomic_store(&u->stalled, false);
	expect(before, bytes);
	expect(behind, bytes);
	t_int(atomic_load(&fails->over), 1 + ETIMEDOUT);
	free(fails);
	src_unref(s);
	while (atomic_load(&u->s.refs) > 1)	/* its pulls end */
		usleep(1000);
	s = t_open_src(c, &n, NULL);
	t_expect(s, bytes, 19 * CHUNK, CHUNK);
	t_int(src_read_wait(s, 20 * CHUNK, b, 10), -EHOSTUNREACH);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Nothing before the verdict, and no hub for who reads: he has what another one
 * fetches, and else is told so. */
static void test_offline_beside(void)
{
	char *dir = upstream_dir("watch-offline");
	const struct cache_conf conf = { .dir = dir, .chunk = CHUNK,
		.connections = 2, .before_read = true };
	uint8_t *bytes = upstream_bytes(SIZE, 5), b[10];
	struct cache_name n = t_name_of("x", bytes, SIZE, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, SIZE, 2);
	struct asked *a, *beside;
	struct src *s, *offline;
	struct cache *c;

	t_int(cache_open(&conf, &c, NULL), 0);
	s = t_open_src(c, &n, u);
	u->fail_err = -ETIMEDOUT;
	u->fail_at = MIB;
	atomic_store(&u->fail_times, 1);
	t_int(src_read_wait(s, 0, b, 10), -ETIMEDOUT);
	src_unref(s);
	while (atomic_load(&u->s.refs) > 1)	/* its pulls end */
		usleep(1000);
	offline = t_open_src(c, &n, NULL);
	t_int(src_read_wait(offline, 0, b, 10), -EHOSTUNREACH);
	atomic_store(&u->stalled, true);
	s = t_open_src(c, &n, u);
	a = ask(s, 0, 10);
	beside = ask(offline, 100, 10);
	atomic_store(&u->stalled, false);
	expect(a, bytes);
	expect(beside, bytes);
	src_unref(s);
	src_unref(offline);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* As large as a small file may be: one request. */
static void test_small(void)
{
	char *dir = upstream_dir("watch-small");
	uint8_t *bytes = upstream_bytes(4 * MIB, 6);
	struct cache_name n = t_name_of("x", bytes, 4 * MIB, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, 4 * MIB, 4);
	struct src *s = t_open_src(c, &n, u);

	t_expect(s, bytes, MIB, 10);
	t_int(atomic_load(&u->pulls), 1);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

int main(void)
{
	test_chunk();
	test_verdict(false);
	test_verdict(true);
	test_hints();
	test_hints_elsewhere();
	test_setbacks();
	test_beside_failure();
	test_offline_beside();
	test_small();
	return 0;
}
