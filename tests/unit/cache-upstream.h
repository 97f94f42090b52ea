/*
 * An upstream for tests of the cache: bytes in memory, streamed on a thread of
 * its own in pieces, with faults to order. Set the knobs before use.
 */
#ifndef TESTS_UNIT_CACHE_UPSTREAM_H
#define TESTS_UNIT_CACHE_UPSTREAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/src.h"
#include "cache/cache.h"

#define MIB (1024UL * 1024)

struct up_job;

struct upstream {
	struct src s;
	const uint8_t *bytes;		/* borrowed, s.size bytes */
	size_t piece;			/* bytes a data() call */
	unsigned delay_us;		/* before each piece */
	int fail_err;			/* with this … */
	uint64_t fail_at;		/* … before this byte, … */
	atomic_int fail_times;		/* … so many times */
	atomic_bool cut;		/* … all that move, while it is set */
	uint64_t wrong_at;		/* this byte is flipped … */
	uint64_t wrong_len;		/* (and those after it) */
	atomic_int wrong_times;		/* … in so many pulls that have it */
	uint64_t version;		/* of the bytes; 0: not told */
	atomic_bool stalled;		/* nothing moves while it is set */
	atomic_uint_fast64_t gate;	/* nothing behind this byte goes out; 0:
					 * there is none */
	atomic_uint_fast64_t sent;	/* bytes, all pulls */
	atomic_uint pulls;

	pthread_mutex_t lock;
	pthread_cond_t more;
	struct up_job *head, **tail;	/* lock */
	bool stop;			/* lock */
	unsigned n_threads;
	pthread_t threads[8];
};

struct upstream *upstream_new(const uint8_t *bytes, uint64_t size,
	unsigned threads);
/* Waits for its threads; the last reference must be this one. */
void upstream_free(struct upstream *u);

/* `size` bytes that do not repeat, from a seed. */
uint8_t *upstream_bytes(uint64_t size, unsigned seed);

/* A fresh directory below the build tree's, removed by the next. */
char *upstream_dir(const char *name);

/* Small chunks, four pulls a file. */
struct cache *t_open_cache(const char *dir, uint64_t budget);
/* Of the repository org/name; with the right digest unless OBJID_NONE. */
struct cache_name t_name_of(const char *path, const uint8_t *bytes,
	uint64_t size, enum objid_alg alg);
struct src *t_open_src(struct cache *c, const struct cache_name *n,
	struct upstream *u);
/* Reads and compares. */
void t_expect(struct src *s, const uint8_t *bytes, uint64_t off, size_t len);
void t_wait_state(struct src *s, enum src_state want);
int t_wait_fd(struct src *s);

/* A read that has to wait. */
struct t_asked {
	struct src_read r;	/* must be first */
	atomic_int over;	/* 1 - err */
	uint8_t buf[128 * 1024];
};

/* The caller frees what is over. */
struct t_asked *t_ask(struct src *s, uint64_t off, size_t len);
/* Waits for its end; 1 - err. */
int t_over(struct t_asked *a);

/* Paths; the caller frees. */
char *t_join(const char *dir, const char *rest);
/* Of the object with the digest of n, which is SHA-256, in the cache `dir`. */
char *t_object_path(const char *dir, const struct cache_name *n);
/* Another byte than before stands at `at`. */
void t_spoil(const char *path, uint64_t at);

#endif
