/*
 * Files of the cache, where something else may lie in their place: a link, a
 * pipe, a directory, a file that cannot be opened.
 */
#ifndef CACHE_ODD_H
#define CACHE_ODD_H

#include <stdbool.h>

#include "base/buf.h"

struct cache;

/* Open a regular file: never through a link, never waiting for a pipe.
 * -EBADMSG: something else lies there. O_CREAT makes it 0600. */
int cache_store_open(struct cache *c, const char *rel, int flags);
/* Append the whole of one to `ret`. */
int cache_store_read(struct cache *c, const char *rel, struct buf *ret);
/* Open a file for writing that must be there: made, in the place of whatever
 * else lies there, unless nothing there is known to be ours yet (fresh). */
int cache_store_own(struct cache *c, const char *rel, bool fresh);
/* The file that fd has open is still the one of this name. */
bool cache_store_is(struct cache *c, const char *rel, int fd);
/* What was judged goes, as by cache_store_drop(): the file that fd has open, or
 * what could not be opened (fd is the error). What somebody has put in its
 * place since stays. Takes cache_store_enter(). True: it is gone. */
bool cache_store_drop_judged(struct cache *c, const char *rel, int fd);
/* Between enter and leave, all of these. Whatever lies there goes; its length
 * is released when it is a file. True: there is nothing now. */
bool cache_store_drop(struct cache *c, const char *rel);
/* A directory goes, which no rename could replace. */
void cache_store_make_way(struct cache *c, const char *rel);
/* Rename, replacing whatever lies there and releasing its length. `flying` bytes
 * of `from` have been on their way (cache_reserve()): now they are there, or, on
 * failure, released. */
int cache_store_replace(struct cache *c, const char *from, const char *rel,
	uint64_t flying);

#endif
