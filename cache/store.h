/*
 * The root directory of a cache: layout, budget, temporary names, and the lock
 * under which directory structure changes. README.md draws the layout.
 *
 * Lock order, outermost first: cache.lock, blob.lock, cache.evict_lock,
 * cache.store_lock, cache.watch_lock, later_lock, compared_lock and
 * the index's own (leaves).
 */
#ifndef CACHE_STORE_H
#define CACHE_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/pool.h"
#include "cache/cache.h"
#include "cache/index.h"
#include "cache/odd.h"
#include "cache/piece.h"

#define CACHE_KEY_HEX 65	/* a SHA-256 in hex, with the NUL */
#define CACHE_NOTED 1024
#define CACHE_REL_MAX 112	/* any path below the root, with the NUL */

struct blob;
struct pass;

#define CACHE_SLOTS 256

#define CACHE_USAGE_LEN 4096	/* bytes */

struct cache_leave {		/* with byte 1 of `lock` */
	char rel[CACHE_REL_MAX];	/* what goes, or is replaced */
	char tmp[CACHE_REL_MAX];	/* where it goes first, or "" */
	uint64_t ino, size;		/* of rel before; 0: there was none */
	uint64_t gone, kept;		/* bytes to be taken off `used` */
};

struct cache_usage {		/* the file `usage`, mapped by every process */
	uint64_t magic;
	/* Bytes reserved or stored; the highest bit: `leave` is valid. Read
	 * it by cache_used(). */
	_Atomic uint64_t used;
	/* Of them, reserved by pulls that are under way, a process each; who
	 * has a slot holds its byte of `lock`. Never too high. */
	_Atomic uint64_t flying[CACHE_SLOTS];
	struct cache_leave leave;
	_Atomic uint64_t pins;		/* there were ever */
};

struct cache_pair {		/* files of a partial that is to be */
	int data, map;		/* descriptors */
	size_t room;		/* bytes; map has blocks for them */
	char tmp[CACHE_REL_MAX];	/* their directory */
};

struct cache_spare {		/* store_lock */
	struct pool_job job;	/* makes it */
	struct cache *c;
	bool wanted;		/* this program serves readers */
	bool queued;		/* the job is to run */
	bool ready;		/* pair is there */
	bool warm;		/* the job's */
	struct cache_pair pair;
};

#define CACHE_COMPARED 1024

struct cache_compared {
	uint64_t ino;
	int64_t ctime;		/* ns */
};

struct cache {
	int dir;			/* the root; constant */
	int lock_fd;			/* the file `lock`; constant */
	struct cache_usage *usage;	/* shared with other processes */
	int slot;			/* ours in usage; -1: none was free */
	uint64_t budget;		/* bytes, 0: a tenth stays free */
	uint32_t chunk;			/* bytes */
	unsigned connections;
	bool before_read;
	char *tools[CONF_TOOLS];	/* other tools' caches, or NULL */
	char *tfhub;			/* or NULL */
	struct cache_index *index;
	struct pool *pool;		/* digests */
	struct pool *keepers;		/* fsync and rename */
	atomic_uint keeping;		/* objects they have yet to keep, which
					 * is when they may go; less under lock */
	atomic_uint kept;		/* ever; grows before keeping shrinks */
	pthread_cond_t kept_one;	/* with lock */
	atomic_uint tmp_seq;
	pthread_mutex_t evict_lock;	/* one eviction at a time */
	pthread_mutex_t store_lock;	/* with byte 1 of lock_fd */

	pthread_mutex_t lock;
	pthread_cond_t empty;		/* n_blobs is 0 */
	struct map blobs;		/* lock; key → struct blob */
	unsigned n_blobs;		/* lock; alive, in the map or not, and
					 * files that pass */

	atomic_uint hint_pulls;		/* of all blobs, running */
	pthread_mutex_t piece_lock;
	uint8_t *idle[PIECES];		/* piece_lock */
	unsigned n_idle, n_pieces;	/* piece_lock; there, made */
	struct pass *pass;		/* what is too large to be kept */

	pthread_mutex_t watch_lock;
	pthread_cond_t watch_more;
	struct blob *watched;		/* watch_lock */
	bool watch_stop, watch_runs;	/* watch_lock; constant */
	pthread_t watch_thread;

	atomic_uint_fast64_t epochs;	/* of all blobs, gone ones too */
	void (*on_epoch)(void *arg, const struct src *s);
	void *on_epoch_arg;

	/* Hashes of what was written into refs/ lately, one a slot. */
	atomic_uint_fast64_t noted[CACHE_NOTED];
	unsigned noting;		/* lock; not yet written */
	pthread_cond_t noted_all;	/* noting is 0 */

	pthread_mutex_t compared_lock;
	struct cache_compared compared[CACHE_COMPARED];	/* compared_lock */

	struct cache_spare spare;
	pthread_mutex_t later_lock;
	struct pool_job *later;		/* later_lock; for keepers */
	atomic_bool any_later;		/* set under later_lock */

	atomic_bool evicting;		/* a background eviction is queued */
	atomic_uint_fast64_t hits, misses, pulled_bytes, verified, mismatches,
		evicted_bytes, adopted_bytes;
};

/* Every change of names below the root is made between these, so that no two
 * processes move the same thing. Held for a few system calls only. */
void cache_store_enter(struct cache *c);
void cache_store_leave(struct cache *c);

/* A name below tmp/ that nobody uses. */
void cache_store_tmp(struct cache *c, char ret[CACHE_REL_MAX]);
/* Put bytes under `rel` (replacing), seen whole or not at all; makes the
 * directories above. */
int cache_store_publish(struct cache *c, const char *rel, const void *data,
	size_t len);
/* mkdir the directories above rel. */
int cache_store_parents(struct cache *c, const char *rel);
/* Between enter and leave: a directory out of everybody's way in one step, then
 * removed, then `bytes` released. Returns what was released. */
uint64_t cache_store_discard(struct cache *c, const char *rel,
	uint64_t bytes);
/* Between enter and leave: unlink a file and release its length. Returns what
 * was released. */
uint64_t cache_store_remove(struct cache *c, const char *rel);

/* ---- made before it is needed (spare.c) ---------------------------------------- */

/* The files of a partial, empty, below tmp/: to be renamed or dropped. */
int cache_pair_make(struct cache *c, struct cache_pair *ret);
void cache_pair_drop(struct cache *c, struct cache_pair *p);
/* Between enter and leave: the pair that is ready. The next is made later. */
bool cache_spare_take(struct cache *c, struct cache_pair *ret);
/* Alone. */
void cache_spare_done(struct cache *c);
/* A job for `keepers` that must not take a processor from what a reader waits
 * for. Any lock may be held. */
void cache_later(struct cache *c, struct pool_job *job);
/* What was put off: to be called when bytes have come, and by whoever gives up
 * a blob. */
void cache_later_go(struct cache *c);

/* ---- budget (usage.c) --------------------------------------------------------- */

int cache_usage_open(struct cache *c, bool fresh);
/* Not alone: those who have it open count as we do. */
bool cache_usage_ours(struct cache *c);
void cache_usage_slot(struct cache *c);
/* Alone: this much is used, nothing is on its way. */
void cache_usage_set(struct cache *c, uint64_t used);
uint64_t cache_used(struct cache *c);
/* Has the lock of names: ends what a killed process began. */
void cache_usage_enter(struct cache *c);
/*
 * Around a change of the file `rel`, between enter and leave: cache_left()
 * releases `gone` bytes when another file or none is there then (or one of
 * another length), else `kept`, and says which; it also removes `tmp` (below
 * tmp/, may be NULL). Who is killed between the two has that done by the next
 * who enters. `kept` bytes have been on their way, and are not any more.
 */
void cache_leaving(struct cache *c, const char *rel, const char *tmp,
	uint64_t gone, uint64_t kept);
bool cache_left(struct cache *c);
/* Reserve before writing; evicts when it must. From then on they are on their
 * way: what a killed process had there is released by the others. -ENOSPC. */
int cache_reserve(struct cache *c, uint64_t len);
/* The same for who may wait: what still has to reach the disk goes when it is
 * there. No lock may be held; not on a thread of the cache's. */
int cache_reserve_wait(struct cache *c, uint64_t len);
/* An object on its way to the disk is there, or could not be kept. */
void cache_kept_one(struct cache *c);
void cache_release(struct cache *c, uint64_t len);
/* They have come. */
void cache_land(struct cache *c, uint64_t len);
/* They will not: released. */
void cache_unreserve(struct cache *c, uint64_t len);
/* Release what killed processes had on its way. */
void cache_reap(struct cache *c);

/* ---- objects (object.c) ---------------------------------------------------- */

/* "dir/ab/cdef…" from hex. */
void cache_fan(const char *dir, const char *hex, char ret[CACHE_REL_MAX]);
void cache_object_rel(const struct objid *sha256, char ret[CACHE_REL_MAX]);
/* Open and mark a whole object of this size. Returns the descriptor, or
 * -ENOENT. Its last use is now. */
int cache_object_open(struct cache *c, const struct objid *sha256,
	uint64_t size);
/* A file of this size that can be read is there. */
bool cache_object_there(struct cache *c, const char *rel, uint64_t size);
/* Of a whole file; 1: it has the digest `want`, as far as that says anything.
 * 0: another. Disk. */
int cache_hash_file(int fd, uint64_t size, const struct objid *want,
	struct objid *ret_sha256);
/* This process has compared the object, and it is as it was then. */
bool cache_compared(struct cache *c, const struct objid *sha256, int fd);
void cache_compared_note(struct cache *c, const struct objid *sha256, int fd);
/* With before-read: 0 only if the object is right. -ENOENT: now it is gone. */
int cache_recheck_now(struct cache *c, const struct objid *sha256,
	uint64_t size);
/* links/ab/cdef… : which object holds the bytes of a key. */
int cache_link_get(struct cache *c, const char *key, struct objid *ret);
int cache_link_put(struct cache *c, const char *key,
	const struct objid *sha256);

/* The key of a name: hex of a SHA-256 over what makes its bytes immutable. */
int cache_name_key(const struct cache_name *n, char ret[CACHE_KEY_HEX]);
/* The digest is whole and strong enough to be the name itself. */
bool cache_id_full(const struct objid *id);

/* ---- revisions (refs.c) ------------------------------------------------------ */

/* Note that hub/repo@revision uses `key`, for pins: soon, on a pool thread,
 * because the index may have to wait for another process. `later`: nothing of
 * it is here yet, and it is a cache_later(). */
void cache_ref_note(struct cache *c, const struct cache_name *n,
	const char *key, bool later);
/* What was noted before is written when this returns. Never on `keepers`. */
void cache_ref_settle(struct cache *c);
/* Keys and objects (hex) of pinned revisions into `ret`; values are not NULL
 * and mean nothing. map_done() it. */
int cache_ref_pinned(struct cache *c, struct map *ret);
/* Is refs/… or pins/… what was written? -EUCLEAN: no, and what could be kept
 * of it is; else why it has to go. Between enter and leave. */
int cache_ref_check(struct cache *c, const char *hex);
int cache_pin_check(struct cache *c, const char *hex);
/* Into a new index. */
void cache_ref_restore(struct cache *c);

/* ---- what is there (scan.c) --------------------------------------------------- */

enum cache_file {
	CACHE_FILE_OBJECT, CACHE_FILE_PARTIAL, CACHE_FILE_RECIPE,
	CACHE_FILE_LINK, CACHE_FILE_REF, CACHE_FILE_PIN,	/* notes */
	CACHE_FILE_ODD,		/* -EINVAL: no file where one should be;
				 * else: a directory that cannot be read */
};

struct cache_entry {
	enum cache_file kind;
	char rel[CACHE_REL_MAX];	/* of a partial: its directory */
	char hex[CACHE_KEY_HEX];	/* digest, or key */
	int err;			/* of an odd one, which has no hex, … */
	mode_t type;			/* … and should be this: S_IFREG … */
	uint64_t bytes;			/* that count in the budget */
	int64_t used_ns;		/* last use, since 1970 */
};

/* Visit everything that counts. Stops when fn returns not 0. */
int cache_scan(struct cache *c,
	int (*fn)(void *arg, const struct cache_entry *e), void *arg);

/* Visit what does not: links, refs and pins. */
int cache_scan_notes(struct cache *c,
	int (*fn)(void *arg, const struct cache_entry *e), void *arg);

/* ---- eviction (evict.c) ------------------------------------------------------- */

/* Bytes on disk of all objects, partials and recipes: what `used` must be. */
int cache_evict_count(struct cache *c, uint64_t *ret);
/* Free at least `want` bytes of what is least recently used. */
uint64_t cache_evict(struct cache *c, uint64_t want, bool pinned_too);

/* ---- objects made here (put.c) ------------------------------------------------ */

/* Remove what killed processes left half written. */
void cache_put_sweep(struct cache *c);

#endif
