/*
 * Workers from their parent's side: processes of one program (base/worker.h)
 * that run jobs on bytes of strangers. One worker runs one job at a time; who
 * runs a job waits for it, and answers the worker's questions meanwhile.
 *
 * A worker that ran a job of one repository never sees a job of another: a
 * model that took one over would otherwise choose what the next model becomes.
 * A fresh one is kept ready while there is something to do, so that nobody
 * waits for a start. What comes from a worker is a stranger's, too: it is
 * checked here and by the job.
 *
 * At most as many workers as threads that run jobs, plus WORKERS_IDLE.
 */
#ifndef BASE_WORKERS_H
#define BASE_WORKERS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/worker.h"

#define WORKERS_IDLE 3
#define WORKERS_SRCS 4096	/* a job may open */

struct workers;

struct workers_conf {
	const char *program;		/* its file; copied */
	bool strict;	/* without all walls no job is run: -EACCES */
	/* The first job of every worker; the memory stays the caller's. */
	uint32_t setup_kind;
	const void *setup;
	size_t setup_len;
	unsigned cpu_s;			/* seconds of computing a job may take */
	unsigned wall_s;		/* and of silence */
	unsigned idle_ms;		/* then a worker is ended */
};

/* What the newest worker said of its walls; err: why there is none. */
struct workers_report {
	bool tried;
	bool seccomp;
	unsigned landlock;
	struct error err;
	uint64_t started, lost;		/* workers; ended by what a job did */
};

struct worker_job {
	uint32_t kind;
	const char *whose;	/* the repository; NULL: a worker of its own */
	const char *what;	/* in messages: "the planner" */
	const void *input;
	size_t len;
	bool bulk;		/* computing time grows with the bytes moved */
	/* A question of the worker's own kind; out: its window, which changes
	 * when it likes. Fills m as the answer. Negative: no worker of ours
	 * would ask that, it is ended. NULL: none is asked. */
	int (*serve)(struct worker_job *j, struct worker_msg *m,
		const uint8_t *out);
	/* All of it from the start: the worker was killed. */
	void (*again)(struct worker_job *j);
	void *arg;
	struct buf result;	/* with its ceiling; the caller's to free */

	/* workers.c's own */
	struct src **srcs;
	unsigned n_srcs;
	uint64_t moved;		/* bytes */
	bool no_memory;		/* it was us who had none */
};

int workers_new(const struct workers_conf *conf, struct workers **ret);
/* No job may run. */
void workers_free(struct workers *w);
/* A worker will be wanted: start one, without waiting. */
void workers_expect(struct workers *w);
/* Starts one if none was, and waits for it. */
void workers_report(struct workers *w, bool start, struct workers_report *ret);

/* Waits. The job's own error; -ENOTSUP with the reason when the worker crashed,
 * computed too long, wanted too much memory or broke the rules; -EIO when it
 * was killed from outside twice, or fell silent. */
int workers_run(struct workers *w, struct worker_job *job, struct error *why);
/* For serve(): the number by which the worker may read s, which is taken over.
 * -EMFILE. */
int worker_job_src(struct worker_job *j, struct src *s);
/* For serve(): text of len bytes in the window, NUL-ended copy. -EPROTO: too
 * long, or with a NUL. */
int worker_job_text(const uint8_t *out, uint64_t len, char *buf, size_t room);

#endif
