/* Making and copying what fetch.h calls a snapshot. */
#ifndef FETCH_SNAPSHOT_H
#define FETCH_SNAPSHOT_H

#include "fetch/fetch.h"

/* NULL: out of memory. Strings are copied. */
struct fetch_snapshot *fetch_snapshot_new(const char *repo,
	const char *revision);
struct fetch_snapshot *fetch_snapshot_copy(const struct fetch_snapshot *s);

#endif
