#include "config.h"

#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct pool_job *head;		/* lock */
	struct pool_job **tail;		/* lock; where the next job is hung */
	bool closing;			/* lock; leave once the list is empty */
	unsigned n;			/* threads; constant after pool_new */
	pthread_t threads[];
};

static void *work(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct pool_job *job = p->head;

		/* What a job adds from now on, its own thread still runs. */
		if (!job && p->closing)
			break;
		if (!job) {
			pthread_cond_wait(&p->more, &p->lock);
			continue;
		}
		p->head = job->next;
		if (!p->head)
			p->tail = &p->head;
		pthread_mutex_unlock(&p->lock);
		job->run(job);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the program's own threads: block them all here. */
static void start(struct pool *p, unsigned threads, const char *name)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (p->n < threads) {
		char label[16];	/* the kernel's limit, with the NUL */

		if (pthread_create(&p->threads[p->n], NULL, work, p))
			break;
		(void) snprintf(label, sizeof(label), "%.11s-%u", name, p->n);
		(void) pthread_setname_np(p->threads[p->n], label);
		p->n++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct pool *pool_new(unsigned threads, const char *name)
{
	struct pool *p;

	if (!threads)
		threads = 1;
	p = calloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
	if (!p)
		return NULL;
	p->tail = &p->head;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	start(p, threads, name);
	if (p->n)
		return p;
	pool_free(p);
	return NULL;
}

void pool_add(struct pool *p, struct pool_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->tail = job;
	p->tail = &job->next;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
