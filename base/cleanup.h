/*
 * Scope-bound cleanup: `cleanup_free char *p = NULL;`. A function uses either
 * these or fail_x: labels, never both (a goto over an initialised cleanup
 * variable is a hard error in clang and silent in gcc).
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_closep(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void) close(*fd);
	errno = saved;
}

static inline void cleanup_fclosep(FILE **f)
{
	if (*f)
		(void) fclose(*f);
}

#define cleanup_free __attribute__((cleanup(cleanup_freep)))
#define cleanup_fd __attribute__((cleanup(cleanup_closep)))
#define cleanup_file __attribute__((cleanup(cleanup_fclosep)))

/* Hand a cleanup variable's value to the caller: the variable becomes NULL. */
#define steal_ptr(p) \
	__extension__({ __typeof__(p) steal_v_ = (p); (p) = NULL; steal_v_; })

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#endif
