/* Between workers.c (which worker does what) and worker-proc.c (one of them). */
#ifndef BASE_WORKERS_OWN_H
#define BASE_WORKERS_OWN_H

#include <sys/types.h>

#include "base/workers.h"

/* One thread's at a time. */
struct worker_proc {
	struct worker_proc *next;
	pid_t pid;
	int fd;			/* to talk */
	const uint8_t *out;	/* the windows */
	uint8_t *in;
	char *whose;		/* NULL: it has done no job */
	uint64_t idle_at;	/* clock_ms */
	bool killed;		/* it was not its own fault that it ended */
};

/* Ready for jobs. One that is killed meanwhile is started once more. */
int worker_proc_start(const struct workers_conf *c, struct worker_proc **ret,
	struct workers_report *ret_report, struct error *why);
/* lost: it has ended, and is waited for. */
int worker_proc_run(struct worker_proc *p, const struct workers_conf *c,
	struct worker_job *j, bool *ret_lost, struct error *why);
/* Ends it at once; frees. */
void worker_proc_end(struct worker_proc *p);
void worker_proc_free(struct worker_proc *p);

#endif
