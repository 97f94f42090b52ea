/*
 * What passes through memory: files, and the blocks they share (pass.c), and
 * the digest that follows the blocks (pass-digest.c).
 */
#ifndef CACHE_PASSING_H
#define CACHE_PASSING_H

#include "cache/store.h"

#define PASS_BLOCK (1UL << 20)	/* bytes */
#define PASS_BLOCKS 16		/* in all, of one cache */

/* One file, shared by all srcs over it. */
struct passing {
	struct passing *next;		/* pass.lock */
	struct cache *c;
	char key[CACHE_KEY_HEX];
	char *what;
	uint64_t size;			/* bytes */
	struct objid id;
	uint64_t at_hub;		/* pass.lock: src_read.version, as the
					 * first place told it; 0: not told */
	unsigned refs;			/* pass.lock: srcs, busy blocks */
	atomic_uint epoch;
	bool wrong, right;		/* pass.lock; the last verdict */
	bool awaited;			/* pass.lock: a read waits for the
					 * block that is hashed next */
	struct error last;		/* pass.lock */
	pthread_mutex_t hash_lock;	/* outside pass.lock */
	struct digest *digest;		/* hash_lock */
	uint64_t hashed;		/* both locks to write, but pass.lock
					 * where nothing can be hashed: bytes */
};

enum block_state { EMPTY, FILLING, FULL };

struct block {
	struct src_read read;		/* of upstream */
	struct pool_job job;
	struct passing *p;		/* counted while FILLING or hashed */
	struct src *up;			/* a reference, while FILLING */
	uint64_t i;			/* number in its file */
	unsigned epoch;			/* of who asked for it */
	enum block_state state;
	bool hashing;			/* stays */
	bool given;			/* who reads along with the digest
					 * has it: he will not ask again */
	int err;			/* of the read */
	uint64_t used;			/* greater: later */
	uint8_t *mem;			/* PASS_BLOCK bytes or NULL */
};

struct pass {
	pthread_mutex_t lock;
	struct passing *files;
	struct block block[PASS_BLOCKS];
	uint64_t clock;
	struct pass_read *waiting;	/* lock; who came first is first */
	struct pass_read **waiting_end;	/* lock; where the next is put */
};

/* Under the lock. The block that has or gets number i of p, or NULL. */
struct block *cache_pass_find(struct pass *s, const struct passing *p,
	uint64_t i);
/* Bytes of number i. */
uint64_t cache_pass_len(const struct passing *p, uint64_t i);

/* Under the lock: so much of p is hashed, and what is awaited by that. */
void cache_pass_hashed(struct pass *s, struct passing *p, uint64_t hashed);

/* Under the lock: will the digest go on, or does the block it waits for come? */
bool cache_pass_nearer(struct pass *s, const struct passing *p);
/* Under the lock. The first block is wanted: unless the digest is on its way to
 * the end for somebody else, it follows this reader, who asks for what others
 * were given. */
void cache_pass_begin(struct pass *s, struct passing *p);
/* Under the lock. Is what came into b of the file as it is? One that has become
 * another has a new epoch, and its blocks are empty. */
bool cache_pass_fits(struct pass *s, struct block *b);

/* With p->hash_lock: hash what is here and follows, and give the verdict at the
 * end. */
void cache_pass_hash(struct pass *s, struct passing *p);

#endif
