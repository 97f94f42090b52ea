/*
 * One object as this process has it open: at most one blob a key, shared by
 * all srcs over it and by the work that goes on for it (each holds a
 * reference). It is filled through a partial, or answered from a whole file.
 *
 *   FILLING   chunk by chunk; part may be NULL until the first is wanted
 *   CHECKING  another tool's file, or with before-read an object of ours,
 *             while its digest is being compared
 *   THERE     another tool's file is right, and is read where it lies
 *   WHOLE     every byte is here and right: mem, or fd when it is not mapped
 *   FAILED    twice the wrong bytes: -EIO until a later open starts anew
 */
#ifndef CACHE_BLOB_H
#define CACHE_BLOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "base/src.h"
#include "cache/foreign.h"
#include "cache/partial.h"
#include "cache/store.h"

#define BLOB_HINTS 32	/* ranges remembered; more push out the oldest */
#define BLOB_SETBACKS 8	/* the same */
#define BLOB_LOOSE 8	/* chunks of which a part may be given */

enum blob_state {
	BLOB_FILLING, BLOB_CHECKING, BLOB_THERE, BLOB_WHOLE, BLOB_FAILED,
};

struct cached_src {
	struct src s;
	struct blob *b;
	struct src *up;				/* or NULL: offline */
	struct cached_src *next, **link;	/* blob.lock */
};

struct blob_range {
	uint64_t at, end;	/* chunks */
};

/* What a pull could not bring. Who is refused by the first of the kernel's
 * two attempts at a read (the read-ahead, then the page) must not wait for
 * the second as long again. A new open is a new attempt. */
struct blob_setback {
	struct blob_range chunks;
	uint64_t until;		/* clock_ms() */
	int err;
};

/* The beginning of a chunk that somebody was given a part of, and whose pull
 * failed: no map remembers it. */
struct blob_loose {
	uint64_t off;
	size_t len;
	uint64_t hash;	/* XXH3 */
};

struct blob {
	struct cache *c;
	char key[CACHE_KEY_HEX];
	char *what;			/* "hub/repo@revision/path" */
	char *hub, *repo, *revision, *path;	/* for foreign caches */
	uint64_t size;			/* bytes */
	struct objid id;
	bool hold;			/* hand out nothing before the verdict */
	atomic_uint refs;		/* the last goes under cache.lock */
	atomic_uint epoch;
	atomic_bool vain;		/* its size is wrong */
	_Atomic uint64_t touched;	/* see cache_blob_touched() */
	_Atomic int state;		/* enum blob_state; written under lock */
	atomic_uint n_brief;		/* waiters that want no bytes lent */

	pthread_mutex_t lock;		/* for all below */
	bool loaded;
	int load_err;
	struct cached_src *srcs;
	struct src *up;			/* the newest src's, for hints */
	struct partial *part;		/* with its discarded predecessors */
	const uint8_t *mem;		/* WHOLE; constant once set */
	int fd;				/* of the whole file, or -1 */
	bool own_mem;			/* mem is to be unmapped */
	bool no_map;			/* mmap failed: read through fd */
	bool verified;
	struct objid object;		/* CHECKING one of ours: its name */
	struct error last;
	uint64_t failed_ms;		/* clock_ms() when FAILED began */

	/* What was handed out by the attempt that turned out wrong: XXH3 a
	 * chunk, 0 for none; NULL before that. */
	uint64_t *doubt;
	uint64_t doubt_n;
	uint32_t doubt_chunk;
	struct blob_loose loose[BLOB_LOOSE];
	unsigned n_loose;
	unsigned n_early;		/* chunks under way, given in part … */
	bool early_gone;		/* … and thrown away with the rest */

	struct foreign_file *there;	/* CHECKING, THERE; a reference */
	struct foreign_at next_there;	/* where to look for another */
	unsigned there_changes;		/* how often one changed under us */

	struct fill_waiter *waiters;	/* in the order they came */
	struct blob_range hints[BLOB_HINTS];
	unsigned n_hints;
	unsigned hint_pulls;		/* running */
	uint64_t pull_max;		/* bytes of the next; 0: none has ended */
	bool want_all;			/* somebody waits for the whole */
	struct blob_setback setbacks[BLOB_SETBACKS];	/* a ring */
	unsigned n_setbacks;		/* ever */
	bool crowded;			/* there was no room when … */
	unsigned crowded_at;		/* … cache.kept was this */
	bool is_watched;		/* in cache.watched: cache.watch_lock */
	struct blob *next_watched;	/* cache.watch_lock */

	struct pool_job job;		/* settle.c */
	bool job_runs;
};

/* What the blob is called; its strings are the blob's. */
struct cache_name cache_blob_name(const struct blob *b);
/* A reference and a place in the table. Fills in what the disk knows. */
int cache_blob_open(struct cache *c, const struct cache_name *name,
	struct blob **ret, struct error *why);
struct blob *cache_blob_ref(struct blob *b);
void cache_blob_unref(struct blob *b);
/* The blob of a key, if it is open; a reference. */
struct blob *cache_blob_find(struct cache *c, const char *key);

/* `len` bytes of the blob's mapping `mem` were or will be read. What is mapped
 * counts as memory of this process though it is the page cache's; it is let go
 * of now and then. Any thread. */
void cache_blob_touched(struct blob *b, const uint8_t *mem, uint64_t len);

void cache_blob_stat(struct blob *b, struct src_stat *ret);
/* The same for a name that is not open. */
int cache_name_look(struct cache *c, const struct cache_name *name,
	const char *key, struct src_stat *ret);

/* Before anything of an object is given out. Takes fd over; CHECKING. */
void cache_recheck(struct blob *b, int fd, const struct objid *sha256);

/* With b->lock held from here on. */

/* The whole file is here: fd (taken over) and, unless part has it, to be
 * mapped when first read. */
void cache_blob_set_whole(struct blob *b, int fd, bool verified);
/* Mapped memory of a whole blob, or NULL (then fd is to be read). */
const uint8_t *cache_blob_mem(struct blob *b);
/* Look for a whole object under the name's key; true: the blob is WHOLE. */
bool cache_blob_find_object(struct blob *b);
/* Tell every src, on a pool thread, that its epoch changed. */
void cache_blob_new_epoch(struct blob *b);

#endif
