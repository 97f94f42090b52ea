/*
 * What a worker and its parent say to each other, for worker.c and workers.c.
 * One message of a fixed size at a time, over a SOCK_SEQPACKET pair: after a
 * JOB the worker asks and the parent answers each, until the worker says DONE.
 * Longer bytes lie in memory both have mapped:
 *
 *   [0, WINDOW)          from the parent to the worker
 *   [WINDOW, 2 WINDOW)   from the worker to the parent
 *
 * The parent never reads what it wrote there, copies what it reads before it
 * looks at it, and the memory is sealed: it cannot be made shorter under it.
 */
#ifndef BASE_WORKER_WIRE_H
#define BASE_WORKER_WIRE_H

#include "base/worker.h"

#define WORKER_WIRE 1u		/* version */
#define WORKER_WINDOW (256u << 10)	/* bytes, one way */
/* Descriptors a worker starts with. */
#define WORKER_FD_TALK 0
#define WORKER_FD_WINDOW 1
#define WORKER_FDS 3		/* and stderr */

#endif
