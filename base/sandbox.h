/*
 * Walls around a process that looks at bytes of strangers. What is put up
 * cannot be taken down, and holds for every program started from there.
 *
 *   worker   one of ours that computes and talks to its parent through the
 *            descriptors it has: no file, no network, no process, no program
 *   program  somebody else's: files below the paths it is given, no network,
 *            no other user's business
 *
 * Where the kernel (or a container) refuses a wall the others are put up all
 * the same; the caller is told which stand.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Under the sanitizers memory and files are not limited, and what is forbidden
 * fails instead of killing: their run time has to be able to report. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_LENIENT 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define SANDBOX_LENIENT 1
#endif
#endif
#ifndef SANDBOX_LENIENT
#define SANDBOX_LENIENT 0
#endif

struct sandbox_limits {
	uint64_t memory;	/* bytes of address space */
	uint64_t cpu_s;		/* seconds of computing; 0: no limit */
	uint64_t file_bytes;	/* of a file it writes */
	unsigned files;		/* open at a time */
};

struct sandbox_path {
	const char *path;
	bool write;		/* else read, and run what is there */
};

/* Which walls stand. */
struct sandbox_walls {
	bool seccomp;
	unsigned landlock;	/* its ABI; 0: none */
};

/* Of this process, from now on. Only the limits and "no new privileges" may
 * fail it; the thread must be the only one. */
int sandbox_worker(const struct sandbox_limits *l, struct sandbox_walls *ret);
/* A path that is not there is left out. */
int sandbox_program(const struct sandbox_limits *l,
	const struct sandbox_path *paths, size_t n, struct sandbox_walls *ret);

/* What this kernel has; changes nothing. */
struct sandbox_walls sandbox_offered(void);

#endif
