/*
 * Files that are larger than the cache may be: their bytes pass through a few
 * blocks of memory, shared by all of them, and are not kept.
 *
 * Who reads such a file from its beginning to its end has its digest compared:
 * the last block is given out only when it is right. Bytes that are read in
 * another order come as the hub sends them, compared with nothing. Where the hub
 * tells no digest but versions, who has read of one has EIO once another comes.
 */
#ifndef CACHE_PASS_H
#define CACHE_PASS_H

#include "cache/store.h"

struct pass;

/* Part of a cache; NULL: out of memory. */
struct pass *cache_pass_new(void);
void cache_pass_free(struct pass *p);

/* Can bytes of this size never be kept? */
bool cache_pass_must(struct cache *c, uint64_t size);
int cache_pass_open(struct cache *c, const struct cache_name *name,
	const char *key, struct src *upstream, struct src **ret);
/* What those who have it open know of its digest. */
bool cache_pass_right(struct cache *c, const char *key);

#endif
