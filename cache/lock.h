/*
 * Locks between processes, all on open file descriptions, so that they go when
 * the last descriptor goes, however the process ends:
 *
 *   byte ranges (fcntl OFD)  who fetches a chunk, who gives a verdict, who
 *                            changes the directory structure
 *   whole file (flock)       this file is open: do not evict
 *
 * The two kinds do not see each other. The cache must lie on a local file
 * system. All functions return 0 or negative errno.
 */
#ifndef CACHE_LOCK_H
#define CACHE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Exclusive over [at, at+n), at once or -EAGAIN. fd must be writable. */
int cache_lock_try(int fd, uint64_t at, uint64_t n);
/* Waits. Shared may also turn an exclusive lock of the same fd into one. */
int cache_lock_wait(int fd, uint64_t at, bool shared);
void cache_lock_drop(int fd, uint64_t at, uint64_t n);

/* Mark an open file as in use, until fd is closed. May wait for an evictor
 * that looks at it right now; look at st_nlink afterwards. */
int cache_lock_mark(int fd);
/* -EBUSY: somebody has it marked. Otherwise nobody can until fd is closed. */
int cache_lock_alone(int fd);

#endif
