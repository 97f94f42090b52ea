/*
 * Programs started beside this one: with the descriptors they are given and no
 * other, no inherited signal mask, a process group of their own (Ctrl-C at a
 * terminal is for us alone), and an environment that holds no secret.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_spec {
	const char *program;		/* its file */
	const char *const *argv;	/* NULL-ended */
	const char *const *env;		/* NULL-ended "NAME=VALUE", beside those
					 * that every program is given */
	const int *fds;			/* become 0, 1, …; stay the caller's */
	unsigned n_fds;
};

/* How one ended; both 0: well, or nobody can tell. */
struct proc_end {
	int sig;		/* that killed it */
	int status;		/* it ended with */
};

int proc_start(const struct proc_spec *spec, pid_t *ret);
/* Has it ended? Then it is gone: its number may be another's. */
bool proc_gone(pid_t pid, struct proc_end *ret);
/* The same, or it ends in so many ms. */
bool proc_gone_within(pid_t pid, uint64_t ms, struct proc_end *ret);
/* SIGKILL to its whole group. It is gone, as after proc_gone(); but who cannot
 * be killed, for a disk or another machine does not answer it, is waited for a
 * second only, and buried when it has ended and another is started. */
struct proc_end proc_kill(pid_t pid);

/* Runs argv to its end: the file that argv[0] is by proc_look_up(), without any
 * input. What it writes to standard error goes to said, NUL-ended, as far as
 * there is room. 0: it succeeded; -ENOENT: there is no such program; -ETIMEDOUT:
 * it was not done after `ms`; -EIO: it failed. */
int proc_run(const char *const *argv, uint64_t ms, char *said, size_t room);

/* What may never come back, in a child: a look at a file system whose daemon
 * stands still. ask() is given `what`, calls only what signal-safety(7) lists,
 * has no descriptors but 0 to 2, which lead nowhere, and returns 0 or negative
 * errno. -ETIMEDOUT: no answer within PROC_ANSWER_MS; the child ends by itself
 * if it cannot be killed. */
#define PROC_ANSWER_MS 5000
int proc_ask(int (*ask)(const char *what), const char *what);

/* `path` as the kernel knows it: absolute, without links and dots. What it names
 * is not looked at, for that may be a dead mount, or one that does not answer.
 * -ETIMEDOUT: it lies in such a one. The caller frees. */
int proc_real_path(const char *path, char **ret);

uint64_t proc_cpu_ms(pid_t pid);	/* it has computed; 0: unknown */
uint64_t proc_resident(pid_t pid);	/* bytes; 0: unknown */

/* The file of a program that is not for people: in $OMNIHUB_LIBEXECDIR, else
 * beside the program that runs (a build tree), else where `make install` put
 * it. NULL: nowhere. The caller frees. */
char *proc_find(const char *name);
/* That of a program of the system: in $PATH, as far as that is absolute, else
 * where distributions have it. NULL: nowhere. The caller frees. */
char *proc_look_up(const char *name);

#endif
