/*
 * The inside of a worker: a process that runs jobs on bytes of strangers, one
 * at a time, behind the walls of base/sandbox.h. What it needs it asks its
 * parent for (base/workers.h is that side).
 */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/src.h"

/* what: those below, or from WORKER_OWN on the jobs' own. */
enum {
	WORKER_HELLO = 1,	/* ← a wire version, b seccomp, c Landlock ABI,
				 * text version of the package */
	WORKER_JOB,		/* → a kind, b bytes of input */
	WORKER_DONE,		/* ← err, text */
	WORKER_ANSWER,		/* → to each of these: */
	WORKER_READ,		/* ← a src, b offset, c length; 0 is the input */
	WORKER_HINT,		/* ← the same */
	WORKER_RESULT,		/* ← a bytes in the window */
	WORKER_OWN = 32,
};

struct worker_msg {
	uint32_t what;
	int32_t err;			/* 0 or negative errno */
	uint64_t a, b, c;
	struct objid id;
	char text[ERROR_TEXT_MAX];	/* of err */
};

struct worker;

struct worker_kind {
	uint32_t kind;
	/* `input`: what the parent gave; freed by the caller. */
	int (*run)(struct worker *w, const void *input, size_t len,
		struct error *why);
};

/* The main of a worker program. Returns its exit status when the parent has
 * gone. kinds ends with a run of NULL. */
int worker_main(const struct worker_kind *kinds, void *own);
void *worker_own(struct worker *w);

/* Ask the parent; m is the question, then the answer, whose err is returned.
 * data (may be NULL): bytes for the window, at most its size, their count in
 * m->a. */
int worker_ask(struct worker *w, struct worker_msg *m, const void *data);
/* Append to what the parent will get with the job's end. */
int worker_result(struct worker *w, const void *data, size_t len);
/* A src the parent has under this number. NULL: out of memory. */
struct src *worker_src(struct worker *w, uint64_t number, uint64_t size);

#endif
