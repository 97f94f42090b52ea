/*
 * The pool. A thread of its own (the keeper) starts workers, so that they end
 * with the process and not with the thread that wanted one first, and ends
 * those that are idle. It lives from the first worker on.
 */
#include "config.h"

#include "base/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/workers-own.h"

#define USED_CPU_MS 10000	/* then a worker is not used again */
#define USED_RESIDENT (48u << 20)	/* bytes; the same */

struct workers {
	struct workers_conf conf;
	char *program;
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* for all that follows */
	pthread_t keeper;
	bool running;			/* lock; there is a keeper */
	bool closing;			/* lock */
	unsigned wanted;		/* lock; workers somebody waits for */
	bool spare;			/* lock; and one more, for later */
	uint64_t failed;		/* lock; starts that failed, counted */
	struct worker_proc *idle;	/* lock; newest first */
	unsigned n_idle;		/* lock */
	struct workers_report report;	/* lock */
};

/* ---- the keeper ------------------------------------------------------------- */

static void start_one(struct workers *w)
{
	struct error why = { 0 };
	struct worker_proc *p = NULL;
	struct workers_report now = { .tried = true };
	int r;

	pthread_mutex_unlock(&w->lock);
	r = worker_proc_start(&w->conf, &p, &now, &why);
	pthread_mutex_lock(&w->lock);
	now.started = w->report.started + (r == 0);
	now.lost = w->report.lost;
	now.err = why;
	w->report = now;
	if (r) {
		w->failed++;
		w->wanted = 0;
	} else {
		p->idle_at = clock_ms();
		p->next = w->idle;
		w->idle = p;
		w->n_idle++;
		if (w->wanted)
			w->wanted--;
	}
	w->spare = false;
	pthread_cond_broadcast(&w->changed);
}

/* Under the lock. One that is too old, or one too many; NULL: none. */
static struct worker_proc *to_end(struct workers *w, uint64_t now)
{
	struct worker_proc **at = &w->idle, *p;
	unsigned n = 0;

	for (; (p = *at); at = &p->next) {
		if (++n <= WORKERS_IDLE && !w->closing &&
			now - p->idle_at < w->conf.idle_ms)
			continue;
		*at = p->next;
		w->n_idle--;
		return p;
	}
	return NULL;
}

static void nap(struct workers *w)
{
	struct timespec until;

	if (!w->idle) {
		pthread_cond_wait(&w->changed, &w->lock);
		return;
	}
	(void) clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 1;
	(void) pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

static void *keep(void *arg)
{
	struct workers *w = arg;
	struct worker_proc *p;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		p = to_end(w, clock_ms());
		if (p) {
			pthread_mutex_unlock(&w->lock);
			worker_proc_end(p);
			pthread_mutex_lock(&w->lock);
		} else if (w->closing) {
			break;
		} else if (w->wanted || w->spare) {
			start_one(w);
		} else {
			nap(w);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Under the lock. */
static int want_keeper(struct workers *w)
{
	sigset_t all, old;
	int r;

	if (w->running)
		return 0;
	(void) sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->keeper, NULL, keep, w);
	(void) pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return -r;
	(void) pthread_setname_np(w->keeper, "keep-workers");
	w->running = true;
	return 0;
}

int workers_new(const struct workers_conf *conf, struct workers **ret)
{
	struct workers *w = calloc(1, sizeof(*w));
	pthread_condattr_t at;

	if (!w)
		return -ENOMEM;
	w->program = strdup(conf->program);
	if (!w->program) {
		free(w);
		return -ENOMEM;
	}
	w->conf = *conf;
	w->conf.program = w->program;
	(void) pthread_mutex_init(&w->lock, NULL);
	(void) pthread_condattr_init(&at);
	(void) pthread_condattr_setclock(&at, CLOCK_MONOTONIC);
	(void) pthread_cond_init(&w->changed, &at);
	(void) pthread_condattr_destroy(&at);
	*ret = w;
	return 0;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->closing = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->running)
		(void) pthread_join(w->keeper, NULL);
	(void) pthread_cond_destroy(&w->changed);
	(void) pthread_mutex_destroy(&w->lock);
	free(w->program);
	free(w);
}

void workers_expect(struct workers *w)
{
	pthread_mutex_lock(&w->lock);
	if (!want_keeper(w)) {
		w->spare = true;
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
}

void workers_report(struct workers *w, bool start, struct workers_report *ret)
{
	if (start)
		workers_expect(w);
	pthread_mutex_lock(&w->lock);
	while (start && w->running && !w->report.tried)
		pthread_cond_wait(&w->changed, &w->lock);
	*ret = w->report;
	pthread_mutex_unlock(&w->lock);
}

/* ---- taking one, giving it back ------------------------------------------------ */

/* Under the lock. One that was killed while it had nothing to do is no loss to
 * anybody. */
static void bury(struct workers *w)
{
	struct worker_proc **at = &w->idle, *p;
	struct proc_end end;

	while ((p = *at)) {
		if (!proc_gone(p->pid, &end)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		w->n_idle--;
		worker_proc_free(p);
	}
}

/* Under the lock: one that has worked for `whose`, else a fresh one. */
static struct worker_proc *take_idle(struct workers *w, const char *whose)
{
	struct worker_proc **at, **fresh = NULL, *p;

	bury(w);
	for (at = &w->idle; (p = *at); at = &p->next) {
		if (!p->whose && !fresh)
			fresh = at;
		if (whose && p->whose && !strcmp(p->whose, whose))
			break;
	}
	if (!p && fresh) {
		at = fresh;
		p = *at;
	}
	if (p) {
		*at = p->next;
		w->n_idle--;
	}
	return p;
}

static bool has_fresh(const struct workers *w)
{
	const struct worker_proc *p = w->idle;

	while (p && p->whose)
		p = p->next;
	return p != NULL;
}

static int take(struct workers *w, const char *whose, struct worker_proc **ret,
	struct error *why)
{
	struct worker_proc *p;
	uint64_t failed;
	int r = 0;

	pthread_mutex_lock(&w->lock);
	failed = w->failed;
	p = take_idle(w, whose);
	if (!p)
		r = want_keeper(w);
	if (!p && !r) {
		w->wanted++;
		pthread_cond_broadcast(&w->changed);
		while (!(p = take_idle(w, whose)) && w->failed == failed) {
			/* ours was killed, or another has taken it */
			if (!w->wanted) {
				w->wanted++;
				pthread_cond_broadcast(&w->changed);
			}
			pthread_cond_wait(&w->changed, &w->lock);
		}
		if (!p) {
			r = w->report.err.code;
			if (why)
				*why = w->report.err;
		}
	}
	if (p && !p->whose && !has_fresh(w)) {
		w->spare = true;
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	if (r)
		return r;
	if (!p->whose && whose)
		p->whose = strdup(whose);
	*ret = p;
	return 0;
}

/* Nothing speaks against using it once more, for the same repository. */
static bool is_fit(const struct worker_proc *p, int err)
{
	return p->whose && (!err || err == -ENOENT || err == -ENOTSUP) &&
		proc_cpu_ms(p->pid) < USED_CPU_MS &&
		proc_resident(p->pid) < USED_RESIDENT;
}

static void give_back(struct workers *w, struct worker_proc *p)
{
	p->idle_at = clock_ms();
	pthread_mutex_lock(&w->lock);
	p->next = w->idle;
	w->idle = p;
	w->n_idle++;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void forget_srcs(struct worker_job *j)
{
	for (unsigned i = 0; i < j->n_srcs; i++)
		src_unref(j->srcs[i]);
	free(j->srcs);
	j->srcs = NULL;
	j->n_srcs = 0;
	j->moved = 0;
}

int workers_run(struct workers *w, struct worker_job *job, struct error *why)
{
	struct worker_proc *p;
	bool lost, killed = false;
	int r;

	for (unsigned attempt = 0; attempt < 2; attempt++) {
		r = take(w, job->whose, &p, why);
		if (r)
			return r;
		r = worker_proc_run(p, &w->conf, job, &lost, why);
		forget_srcs(job);
		killed = lost && p->killed;
		if (!lost && is_fit(p, r)) {
			give_back(w, p);
			return r;
		}
		if (!lost)
			worker_proc_end(p);
		else
			worker_proc_free(p);
		if (lost) {
			pthread_mutex_lock(&w->lock);
			w->report.lost++;
			pthread_mutex_unlock(&w->lock);
		}
		if (!killed)
			break;
		buf_clear(&job->result);
		if (job->again && attempt == 0)
			job->again(job);
	}
	return r;
}

int worker_job_src(struct worker_job *j, struct src *s)
{
	struct src **v;

	if (j->n_srcs >= WORKERS_SRCS)
		return -EMFILE;
	v = realloc(j->srcs, (j->n_srcs + 1) * sizeof(struct src *));
	if (!v)
		return -ENOMEM;
	j->srcs = v;
	j->srcs[j->n_srcs++] = s;
	return (int)j->n_srcs;
}

int worker_job_text(const uint8_t *out, uint64_t len, char *buf, size_t room)
{
	if (len >= room)
		return -EPROTO;
	memcpy(buf, out, len);
	buf[len] = '\0';
	return strlen(buf) == len ? 0 : -EPROTO;
}
