/*
 * Everything at once: two caches on one directory, more bytes than budget,
 * upstreams that fail now and then, readers that come and go. A read is right
 * or an error, and in the end the count of used bytes is right.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

enum { FILES = 6, THREADS = 8, BUDGET_MIB = 14, MS = 1500 };

struct world {
	struct cache *c[2];
	struct cache_name n[FILES];
	uint8_t *bytes[FILES];
	struct upstream *u[FILES];
	atomic_uint right, failed;
};

struct player {
	struct world *w;
	unsigned seed;
};

static unsigned roll(unsigned *seed, uint64_t n)
{
	*seed = *seed * 1664525 + 1013904223;
	return (unsigned)((uint64_t)(*seed >> 4) % n);
}

static void visit(struct player *p, unsigned i, uint8_t *got)
{
	struct world *w = p->w;
	struct cache_name *n = &w->n[i];
	struct src *s = t_open_src(w->c[roll(&p->seed, 2)], n, w->u[i]);
	uint64_t off = roll(&p->seed, n->size);
	unsigned reads = roll(&p->seed, 12);

	if (!roll(&p->seed, 3))
		src_hint(s, off, n->size - off);
	for (unsigned k = 0; k < reads; k++) {
		size_t len = roll(&p->seed, 200000) + 1;
		int r;

		off = roll(&p->seed, n->size);
		if (len > n->size - off)
			len = (size_t)(n->size - off);
		r = src_read_wait(s, off, got, len);
		if (r) {
			t_check(r == -ETIMEDOUT || r == -ENOSPC);
			atomic_fetch_add(&w->failed, 1);
		} else {
			t_check(!memcmp(got, w->bytes[i] + off, len));
			atomic_fetch_add(&w->right, 1);
		}
	}
	src_unref(s);
}

static void *play(void *arg)
{
	struct player *p = arg;
	uint8_t *got = malloc(200000);
	uint64_t until = clock_ms() + MS;

	t_check(got);
	/* What failed fails at once for a while: on a slow machine that is most
	 * of what happens at first. */
	while (clock_ms() < until ||
		(atomic_load(&p->w->right) <= atomic_load(&p->w->failed) &&
		 clock_ms() < until + 60000))
		visit(p, roll(&p->seed, FILES), got);
	free(got);
	return NULL;
}

static void make_files(struct world *w)
{
	static const char *const paths[FILES] = {
		"a", "b", "c", "d", "e", "f",
	};
	static const enum objid_alg algs[FILES] = {
		OBJID_SHA256, OBJID_GITSHA1, OBJID_NONE, OBJID_SHA256,
		OBJID_MD5, OBJID_SHA256,
	};

	for (unsigned i = 0; i < FILES; i++) {
		uint64_t size = i & 1 ? i * MIB / 2 + i :
			4 * MIB + (i + 1) * 100000;

		w->bytes[i] = upstream_bytes(size, 70 + i);
		w->n[i] = t_name_of(paths[i], w->bytes[i], size, algs[i]);
		w->u[i] = upstream_new(w->bytes[i], size, 3);
		w->u[i]->piece = 40000;
		w->u[i]->fail_err = -ETIMEDOUT;
		w->u[i]->fail_at = size / 2;
		atomic_store(&w->u[i]->fail_times, 3);
	}
}

static void check_count(struct cache *c, const char *dir)
{
	char path[200];
	struct cache_totals t = { .budget = 0 };
	uint64_t used = 0, there = 1;
	int fd;

	(void) snprintf(path, sizeof(path), "%.150s/usage", dir);
	fd = open(path, O_RDONLY);
	/* The last pulls and fsyncs may still be on their way. */
	for (int i = 0; i < 30000 && used != there; i++) {
		t_int(io_pread(fd, &used, 8, 8), 0);
		t_int(cache_totals(c, &t), 0);
		there = t.object_bytes + t.partial_bytes + t.recipe_bytes;
		usleep(1000);
	}
	(void) close(fd);
	t_int(used, there);
	t_check(used <= BUDGET_MIB * MIB);
}

static void tell(void *arg, const char *what, int err, bool removed)
{
	(void) arg;
	if (err)
		fprintf(stderr, "%s: %s%s\n", what, strerror(-err),
			removed ? ", removed" : "");
}

int main(void)
{
	char *dir = upstream_dir("stress");
	struct world w = { .right = 0 };
	struct player p[THREADS];
	pthread_t t[THREADS];
	uint64_t bad = 0;

	make_files(&w);
	for (unsigned i = 0; i < 2; i++)
		w.c[i] = t_open_cache(dir, BUDGET_MIB * MIB);
	for (unsigned i = 0; i < THREADS; i++) {
		p[i] = (struct player){ &w, i };
		t_check(!pthread_create(&t[i], NULL, play, &p[i]));
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	t_check(atomic_load(&w.right) > atomic_load(&w.failed));
	cache_close(w.c[0]);
	t_int(cache_verify(w.c[1], tell, NULL, &bad), 0);
	t_int(bad, 0);
	check_count(w.c[1], dir);
	cache_close(w.c[1]);
	for (unsigned i = 0; i < FILES; i++) {
		upstream_free(w.u[i]);
		free(w.bytes[i]);
	}
	free(dir);
	return 0;
}
