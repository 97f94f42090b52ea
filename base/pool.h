/* A few threads for work that would hold up a FUSE worker or the engine:
 * digests, planning. Jobs run in the order they came, several at a time. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

struct pool;

struct pool_job {
	void (*run)(struct pool_job *job);	/* may free the job */
	struct pool_job *next;			/* the pool's own */
};

struct pool *pool_new(unsigned threads, const char *name);
/* The job is the caller's memory and must stay until run() is called. */
void pool_add(struct pool *p, struct pool_job *job);
/* Runs what was added, then joins. No pool_add() may come during it from
 * outside; jobs may add jobs. */
void pool_free(struct pool *p);

#endif
