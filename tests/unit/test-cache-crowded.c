/*
 * No room but what still has to reach the disk: it may go when it is there, and
 * until then nobody is told that the cache is full. The disk is as slow as
 * fsync() here says.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (5 * MIB)
#define BUDGET (SIZE + MIB / 2)

static atomic_bool slow;

int fsync(int fd)
{
	while (atomic_load(&slow))
		usleep(1000);
	return fdatasync(fd);
}

struct asked {
	struct src_read r;	/* must be first */
	atomic_int over;	/* 1 - err */
};

static void asked_done(struct src_read *r, int err)
{
	atomic_store(&((struct asked *)r)->over, 1 - err);
}

static struct cache *open_new(const char *name, bool before_read)
{
	char *dir = upstream_dir(name);
	const struct cache_conf conf = { .dir = dir, .chunk = 64 * 1024,
		.connections = 4, .budget = BUDGET,
		.before_read = before_read };
	struct cache *c = NULL;

	t_int(cache_open(&conf, &c, NULL), 0);
	free(dir);
	return c;
}

/* All of it, right, and on its way to a disk that is slow from now on. */
static struct src *fill(struct cache *c, const uint8_t *bytes,
	struct upstream *u)
{
	struct cache_name n = t_name_of("first", bytes, SIZE, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);

	atomic_store(&slow, true);
	t_expect(s, bytes, 0, SIZE);
	t_wait_state(s, SRC_VERIFIED);
	return s;
}

/* `held`: it stays open, so it may not go at all. */
static void test_read(const char *name, size_t size, bool before_read,
	bool held)
{
	struct cache *c = open_new(name, before_read);
	uint8_t *bytes = upstream_bytes(SIZE, 1), *buf = malloc(MIB);
	struct asked a = { .r = { .len = MIB, .buf = buf,
		.done = asked_done } };
	struct cache_name n = t_name_of("second", bytes, size, OBJID_SHA256);
	struct upstream *u1 = upstream_new(bytes, SIZE, 1);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *first = fill(c, bytes, u1), *s;

	s = t_open_src(c, &n, u);
	if (!held)
		src_unref(first);
	t_int(src_read(s, &a.r), -EINPROGRESS);
	/* Long enough for who looks again every few milliseconds. */
	for (int i = 0; i < 50; i++) {
		t_int(atomic_load(&a.over), 0);
		usleep(1000);
	}
	t_int(atomic_load(&u->pulls), 0);
	atomic_store(&slow, false);
	while (!atomic_load(&a.over))
		usleep(1000);
	t_int(1 - atomic_load(&a.over), held ? -ENOSPC : 0);
	t_check(held || !memcmp(buf, bytes, MIB));
	t_check(cache_used(c) <= BUDGET);
	if (held) {
		t_int(src_read_wait(s, 0, buf, MIB), -ENOSPC);
		src_unref(first);
	}
	src_unref(s);
	cache_close(c);
	upstream_free(u1);
	upstream_free(u);
	free(bytes);
	free(buf);
}

struct putting {
	struct cache *c;
	struct cache_put *p;
	int r;
	bool before;	/* it came before the disk was ready */
};

static void *put(void *arg)
{
	struct putting *p = arg;

	p->r = cache_put_begin(p->c, SIZE, &p->p);
	p->before = atomic_load(&slow);
	return NULL;
}

static void test_put(void)
{
	struct putting p = { .c = open_new("crowded-put", false) };
	uint8_t *bytes = upstream_bytes(SIZE, 1);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	pthread_t thread;

	src_unref(fill(p.c, bytes, u));
	t_int(pthread_create(&thread, NULL, put, &p), 0);
	usleep(50000);
	atomic_store(&slow, false);
	t_int(pthread_join(thread, NULL), 0);
	t_int(p.r, 0);
	t_check(!p.before);
	t_check(cache_used(p.c) <= BUDGET);
	cache_put_drop(p.p);
	cache_close(p.c);
	upstream_free(u);
	free(bytes);
}

/* Its place is free once its bytes have reached the disk and nobody has it. */
static void close_kept(struct cache *c, struct src *first)
{
	unsigned n = 2;

	(void) t_wait_fd(first);
	src_unref(first);
	for (int i = 0; i < 30000 && n > 1; i++) {
		usleep(1000);
		pthread_mutex_lock(&c->lock);
		n = c->n_blobs;
		pthread_mutex_unlock(&c->lock);
	}
	t_int(n, 1);
}

/* Room for some of it only: who waits for all is not told while that comes, for
 * the rest may have room by then. */
static void test_some(void)
{
	const size_t size = BUDGET - MIB;
	struct cache *c = open_new("crowded-some", true);
	uint8_t *bytes = upstream_bytes(SIZE, 1), *small;
	struct upstream *u = upstream_new(bytes, size, 1), *u1;
	struct cache_name n = t_name_of("second", bytes, size, OBJID_SHA256);
	struct cache_name n1;
	struct t_asked *a;
	struct src *first, *s;

	small = upstream_bytes(2 * MIB, 2);
	n1 = t_name_of("first", small, 2 * MIB, OBJID_SHA256);
	u1 = upstream_new(small, 2 * MIB, 1);
	first = t_open_src(c, &n1, u1);
	t_expect(first, small, 0, 2 * MIB);
	(void) t_wait_fd(first);
	atomic_store(&u->stalled, true);
	s = t_open_src(c, &n, u);
	a = t_ask(s, 0, 4096);
	t_check(cache_used(c) > 2 * MIB);
	t_check(cache_used(c) < 2 * MIB + size);
	close_kept(c, first);
	atomic_store(&u->stalled, false);
	t_int(t_over(a), 1);
	t_check(!memcmp(a->buf, bytes, 4096));
	free(a);
	src_unref(s);
	cache_close(c);
	upstream_free(u1);
	upstream_free(u);
	free(bytes);
	free(small);
}

/* A hint for which there is no room is forgotten: room is not looked for again
 * and again for what nobody waits for. */
static void test_hint(void)
{
	struct cache *c = open_new("crowded-hint", false);
	uint8_t *bytes = upstream_bytes(SIZE, 1);
	struct upstream *u1 = upstream_new(bytes, SIZE, 1);
	struct upstream *u = upstream_new(bytes, SIZE - 1, 1);
	struct cache_name n = t_name_of("second", bytes, SIZE - 1,
		OBJID_SHA256);
	struct src *first = fill(c, bytes, u1), *s;

	atomic_store(&slow, false);
	(void) t_wait_fd(first);
	s = t_open_src(c, &n, u);
	src_hint(s, 0, MIB);
	close_kept(c, first);
	t_int(atomic_load(&u->pulls), 0);
	src_hint(s, 2 * MIB, MIB);
	for (int i = 0; i < 30000 && src_present(s, 2 * MIB, MIB) < MIB; i++)
		usleep(1000);
	t_int(src_present(s, 2 * MIB, MIB), MIB);
	t_int(src_present(s, 0, MIB), 0);
	src_unref(s);
	cache_close(c);
	upstream_free(u1);
	upstream_free(u);
	free(bytes);
}

int main(void)
{
	test_read("crowded", SIZE - MIB / 2, false, false);
	test_read("crowded-small", 4 * MIB, false, false);
	test_read("crowded-before", SIZE - MIB / 2, true, false);
	test_read("crowded-held", SIZE - MIB / 2, false, true);
	test_read("crowded-held-small", 4 * MIB, false, true);
	test_read("crowded-held-before", SIZE - MIB / 2, true, true);
	test_put();
	test_some();
	test_hint();
	return 0;
}
