/* Every job runs once; pool_free waits for what jobs add, too. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/pool.h"
#include "tests/unit/t.h"

#define JOBS 2000

static atomic_int ran;

static void count(struct pool_job *job)
{
	atomic_fetch_add(&ran, 1);
	free(job);
}

struct parent {
	struct pool_job job;	/* must be first */
	struct pool *pool;
	int generations;
};

static void breed(struct pool_job *job)
{
	struct parent *p = (struct parent *)job;

	atomic_fetch_add(&ran, 1);
	if (p->generations--)
		pool_add(p->pool, &p->job);
	else
		free(p);
}

static void add_counted(struct pool *pool)
{
	struct pool_job *job = calloc(1, sizeof(*job));

	t_check(job);
	job->run = count;
	pool_add(pool, job);
}

static void *add_many(void *pool)
{
	for (int i = 0; i < JOBS; i++)
		add_counted(pool);
	return NULL;
}

static void all_run(unsigned threads)
{
	struct pool *pool = pool_new(threads, "a-rather-long-name");
	struct parent *p = calloc(1, sizeof(*p));
	pthread_t helpers[3];

	t_check(pool && p);
	atomic_store(&ran, 0);
	for (int i = 0; i < 3; i++)
		t_int(pthread_create(&helpers[i], NULL, add_many, pool), 0);
	for (int i = 0; i < 3; i++)
		t_int(pthread_join(helpers[i], NULL), 0);
	*p = (struct parent){ { breed, NULL }, pool, 100 };
	pool_add(pool, &p->job);
	pool_free(pool);
	t_int(atomic_load(&ran), 3 * JOBS + 101);
}

struct meeting {
	struct pool_job job;	/* must be first */
	pthread_barrier_t *barrier;
	sigset_t mask;
};

static void meet(struct pool_job *job)
{
	struct meeting *m = (struct meeting *)job;

	pthread_barrier_wait(m->barrier);
	pthread_sigmask(SIG_SETMASK, NULL, &m->mask);
}

/* Jobs wait for one another: they can only end if as many run at once. */
static void several_at_a_time(void)
{
	struct pool *pool = pool_new(3, "meet");
	struct meeting m[3];
	pthread_barrier_t barrier;
	sigset_t mine;

	t_check(pool);
	pthread_barrier_init(&barrier, NULL, 3);
	for (int i = 0; i < 3; i++) {
		m[i] = (struct meeting){ .job.run = meet,
			.barrier = &barrier };
		pool_add(pool, &m[i].job);
	}
	pool_free(pool);
	pthread_barrier_destroy(&barrier);
	for (int i = 0; i < 3; i++)
		t_check(sigismember(&m[i].mask, SIGTERM) == 1);
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	t_check(!sigismember(&mine, SIGTERM));
}

static void clocks(void)
{
	uint64_t ms = clock_ms();
	int64_t wall = clock_wall();

	clock_advance(3600 * 1000);
	t_check(clock_ms() >= ms + 3600 * 1000);
	t_check(clock_ms() < ms + 3700 * 1000);
	t_check(clock_wall() >= wall + 3600);
	t_check(clock_wall() < wall + 3700);
}

int main(void)
{
	all_run(1);
	all_run(4);
	all_run(0);
	several_at_a_time();
	pool_free(NULL);
	clocks();
	return 0;
}
