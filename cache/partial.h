/*
 * A partial object on disk: partial/KEY/data, sparse at full size, and
 * partial/KEY/map, a header and one XXH3 a chunk (0: not here). Both are
 * mapped and shared with every process that has the object open.
 *
 * A chunk is written into data first and then into the map. After a power cut
 * the map may be ahead of the data, so each process compares a chunk with its
 * hash before it uses it for the first time.
 */
#ifndef CACHE_PARTIAL_H
#define CACHE_PARTIAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache/store.h"

#define PARTIAL_HEAD 4096	/* bytes before the first hash */
#define PARTIAL_NAME_MAX 3072
#define PARTIAL_PLACES 8

enum partial_state {
	PARTIAL_FILLING,
	PARTIAL_SETTLED,	/* verified, and data is an object now */
	PARTIAL_DISCARDED,	/* contradicted its digest, or was of another
				 * version than the hub has now */
};

struct partial_head {		/* in the byte order of the machine */
	uint64_t magic;
	uint32_t version;
	uint32_t chunk;			/* bytes, a power of two */
	uint64_t size;			/* bytes of the object */
	_Atomic uint32_t state;		/* enum partial_state */
	uint32_t distrust;		/* the second attempt: see settle.c */
	uint8_t settled[32];		/* SHA-256, before state says so */
	char name[PARTIAL_NAME_MAX];	/* what it is, for people */
	_Atomic uint32_t lost;		/* chunks found wrong, ever */
	_Atomic uint64_t at_hub[PARTIAL_PLACES];	/* src_pull.version of
					 * the chunks of each place; 0: free */
};

/* Which process fetches chunk i holds byte PARTIAL_LOCK_CHUNK + i of data, who
 * compares the whole with its digest byte PARTIAL_LOCK_VERDICT. All locks are
 * on data, so that an open partial is one descriptor. */
#define PARTIAL_LOCK_VERDICT 0
#define PARTIAL_LOCK_CHUNK 1

struct digest;

struct partial {	/* all fields: the blob's lock, if not constant */
	struct cache *c;
	struct partial *older;		/* discarded, its mapping still used */
	int data;			/* descriptor, -1 once settled */
	const uint8_t *mem;		/* the data, `size` bytes */
	struct partial_head *head;
	_Atomic uint64_t *entry;	/* XXH3 a chunk, behind the head */
	uint64_t size, n;		/* bytes; chunks */
	uint32_t chunk;			/* bytes */
	uint64_t first_absent;		/* no chunk before it is absent, … */
	uint32_t lost;			/* … when head->lost was this */
	uint64_t n_busy;
	bool over;			/* data goes with the last busy one */
	uint64_t *busy;			/* chunks this process fetches */
	uint64_t *checked;		/* compared with their XXH3 here */
	uint64_t *handed;		/* bytes of it were handed out */
	uint64_t *found;		/* was there when we came: an earlier
					 * owner may have handed it out; or we
					 * did with a part, before its end */
	/* The whole-object digests, as far as the front is here (settle.c). */
	struct digest *sha256, *own;	/* own: of the name's algorithm */
	uint64_t hashed;		/* chunks */
	bool rehash;			/* begin again */
};

/* Opens what is there, or makes it when `make`; -ENOENT else. chunk and
 * distrust are for making; size 0: any that is there. Takes cache_store_enter(). */
int cache_partial_open(struct cache *c, const char *key, const char *name,
	uint64_t size, uint32_t chunk, bool distrust, bool make,
	struct partial **ret);
/* As above; the caller is between enter and leave. */
int cache_partial_open_locked(struct cache *c, const char *key,
	const char *name, uint64_t size, uint32_t chunk, bool distrust,
	bool make, struct partial **ret);
void cache_partial_close(struct partial *p);
/* The descriptor only: the mappings stay. */
void cache_partial_close_fd(struct partial *p);
/* The same, once no pull writes to it. */
void cache_partial_retire(struct partial *p);

static inline uint64_t cache_partial_len(const struct partial *p, uint64_t i)
{
	return i + 1 < p->n ? p->chunk : p->size - i * p->chunk;
}

/* Is chunk i here and right? A wrong one becomes absent. */
bool cache_partial_has(struct partial *p, uint64_t i);
/* Every chunk is here (not all of them compared yet). Sets rehash when
 * another process has found one wrong. */
bool cache_partial_complete(struct partial *p);
/* Chunk i, claimed here, will not come whole: its blocks, which nobody counts,
 * are given back. */
void cache_partial_clear(struct partial *p, uint64_t i);
/* The data of chunk i are written: say so to everybody. */
void cache_partial_publish(struct partial *p, uint64_t i, uint64_t hash);
/* Bytes of chunks that overlap [off, off+len), cut to it. */
uint64_t cache_partial_present(const struct partial *p, uint64_t off,
	uint64_t len);

/* Look without opening: the bytes present; -ENOENT. */
int cache_partial_peek(struct cache *c, const char *key, uint64_t size,
	uint64_t *ret_bytes);

#endif
