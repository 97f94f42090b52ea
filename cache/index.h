/*
 * The SQLite side of the cache: facts that can be asked for again. Deleting
 * the file costs time, never bytes. One connection a process behind a mutex;
 * WAL, so that other processes read while one writes.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/error.h"

struct cache;
struct cache_index;

/* A damaged or newer file is removed and made anew; *ret_new tells. Where the
 * disk has no room for what SQLite keeps beside it, the index is new and in
 * memory, and what is told it is gone with it. */
int cache_index_open(struct cache *c, const char *path,
	struct cache_index **ret, bool *ret_new, struct error *why);
void cache_index_close(struct cache_index *x);
/* Forget all facts but pins. */
int cache_index_clear(struct cache_index *x);

/* Does `revision` use the object `key`? 1: yes, 0: that is not known, or
 * negative. */
int cache_index_used(struct cache_index *x, const char *revision,
	const char *key);
/* It does. */
int cache_index_use(struct cache_index *x, const char *revision,
	const char *key);

/* Nothing is known of what it uses. */
int cache_index_unuse(struct cache_index *x, const char *revision);

/* 0: it is what was written. -EBADMSG: it was not, and has been made anew (any
 * call may do that when it comes upon damage, and then knows nothing). Else why
 * it cannot be looked at now. */
int cache_index_check(struct cache_index *x);

/* A file of another tool whose digest was once compared. Get: 1 it was right,
 * 0 it was wrong, -ENOENT not known (or the file has changed since). */
int cache_index_foreign_get(struct cache_index *x, const struct stat *st,
	const struct objid *id);
int cache_index_foreign_put(struct cache_index *x, const struct stat *st,
	const struct objid *id, bool right);

#endif
