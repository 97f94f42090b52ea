/*
 * The door of the cache room: bytes that have been fetched once, on this disk,
 * shared by every process of this user.
 *
 *   objects/sha256/ab/cdef…   whole and verified, 0444
 *   partial/KEY/{data,map}    sparse data, and an XXH3 per chunk present
 *   recipes/ab/cdef…          planned staged files
 *   index.sqlite              what is known without asking a hub
 *
 * README.md beside this file draws the formats and states the crash rules.
 * All functions may be called from any thread. None waits for the network;
 * those that touch the disk say so.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/src.h"

struct cache;

#define CACHE_CHUNK_DEFAULT (128 * 1024)	/* bytes */

struct cache_conf {
	const char *dir;	/* made when missing, 0700 */
	uint64_t budget;	/* bytes; 0: leave 10 % of the disk free */
	uint32_t chunk;		/* bytes, a power of two of 64 KiB … 4 MiB */
	bool before_read;	/* cache.verify = before-read */
	unsigned connections;	/* pulls at once for one file */
	/* Where other tools keep their downloads; NULL: not looked at. */
	const char *tools[CONF_TOOLS];
	const char *tfhub;	/* tfhub.endpoint, in the names of modules; or
				 * NULL */
};

/* Opens or makes the cache; repairs what a crash left. Disk. -ENOTSUP: made
 * by a newer version. -EBUSY: a program of another version has it open, and
 * counts its bytes otherwise. -EROFS/-EACCES: not ours to write. */
int cache_open(const struct cache_conf *conf, struct cache **ret,
	struct error *why);
/* Every src made from it must be gone. Waits for pulls that still run: end
 * their engine first, or let them finish. NULL is fine. */
void cache_close(struct cache *c);
/* This program serves readers: have ready what the first bytes of a file would
 * have to wait for. Before the first cache_src_open(). */
void cache_prepare(struct cache *c);

/* ---- bytes ------------------------------------------------------------- */

/* What names immutable bytes. The strings are read during the call only. */
struct cache_name {
	const char *hub;	/* "huggingface" */
	const char *repo;	/* canonical, "org/name" */
	const char *revision;	/* immutable: a commit, a version */
	const char *path;	/* inside the repository */
	uint64_t size;		/* bytes */
	struct objid id;	/* OBJID_NONE: only the size can be checked */
};

/*
 * A src for `name`: answered from a whole object, from another tool's cache,
 * or from a partial object that is filled by pulling from `upstream` (a
 * reference is taken; NULL: offline, what is missing is -EHOSTUNREACH).
 * Chunks in flight are shared by all readers, in all processes.
 *
 * A digest mismatch throws the bytes away and fetches them once more; then
 * reads fail with -EIO and the reason is in src_stat().last. When bytes
 * already handed out turned out wrong, src_epoch() changes.
 *
 * Disk. At most one blob is open a name; further opens share it.
 */
int cache_src_open(struct cache *c, const struct cache_name *name,
	struct src *upstream, struct src **ret, struct error *why);

/* What is on this disk of `name`, without opening it. Disk. */
int cache_name_stat(struct cache *c, const struct cache_name *name,
	struct src_stat *ret);

/* Its size turned out wrong: what there is on the disk for it goes with who has
 * it open last, if no byte of it came. Memory only. */
void cache_name_vain(struct cache *c, const struct cache_name *name);

/* Called (on a pool thread) when src_epoch() of a src changed, so that the
 * program can drop kernel pages of it. Set once, before the first open. */
void cache_on_epoch(struct cache *c,
	void (*fn)(void *arg, const struct src *s), void *arg);
/* How often src_epoch() of any src changed. Grows before that src's does, and
 * also when nobody has it open any more. */
uint64_t cache_epochs(struct cache *c);

/* ---- bytes that are made here ------------------------------------------- */

/* An object that is written while its bytes are made (what is in an archive,
 * unpacked), in order. size bytes are reserved before the first is written;
 * who is killed meanwhile leaves nothing that is ever read. Disk. -ENOSPC. */
struct cache_put;
int cache_put_begin(struct cache *c, uint64_t size, struct cache_put **ret);
/* -EINVAL: past the size. */
int cache_put_data(struct cache_put *p, const void *buf, size_t len);
/* Every byte was there: now it is an object. p is gone either way. */
int cache_put_end(struct cache_put *p, struct objid *ret_sha256);
void cache_put_drop(struct cache_put *p);	/* NULL is fine */
/* As cache_src_open() without upstream, and -ENOENT unless it is all here; it
 * stays here until the src is gone. */
int cache_whole_open(struct cache *c, const struct cache_name *name,
	struct src **ret);

/* ---- index: small facts, by kind and key --------------------------------- */

enum cache_kind {
	CACHE_KIND_REVISION,	/* hub/repo@rev → snapshot (JSON) */
	CACHE_KIND_LISTING,	/* hub/repo@commit → listing (JSON) */
	CACHE_KIND_NAMES,	/* hub/owner → listing of repositories */
	CACHE_KIND_PLAN,	/* plan key → "ok", or why it cannot be staged */
	CACHE_KIND_TOUCHED,	/* hub/name that somebody opened */
	CACHE_KIND_PIN,		/* hub/repo@commit kept by the user */
	CACHE_KIND_ARCHIVE,	/* hub/repo@commit/path → what is in it (JSON);
				 * and "!", a member → its SHA-256 */
	CACHE_KIND_FACT,	/* hub/repo@rev/path → size and digest that no
				 * listing told */
	CACHE_KIND_NEWS,	/* hub/repo@rev → what the hub said when it was
				 * only asked for news (JSON) */
};

/* Append the value to `ret`; *ret_age (may be NULL) is in seconds, decades when
 * the clock has been set back since. -ENOENT. */
int cache_index_get(struct cache *c, enum cache_kind kind, const char *key,
	struct buf *ret, int64_t *ret_age);
int cache_index_put(struct cache *c, enum cache_kind kind, const char *key,
	const void *value, size_t len);
int cache_index_del(struct cache *c, enum cache_kind kind, const char *key);
/* In key order, for keys that begin with prefix. fn must not use the index. */
int cache_index_each(struct cache *c, enum cache_kind kind,
	const char *prefix,
	int (*fn)(void *arg, const char *key, const void *value, size_t len,
		int64_t age), void *arg);

/* ---- recipes -------------------------------------------------------------- */

/* Content-addressed by `key` (hex of a SHA-256). Get appends; -ENOENT. The
 * bytes are checked against an XXH3 kept with them (-EBADMSG: dropped). */
int cache_recipe_get(struct cache *c, const char *key, struct buf *ret);
int cache_recipe_put(struct cache *c, const char *key, const void *data,
	size_t len);

/* ---- housekeeping (disk, may take long: never on a FUSE worker) ----------- */

struct cache_totals {
	uint64_t object_bytes, partial_bytes, recipe_bytes;	/* on disk */
	uint64_t objects, partials, recipes;
	uint64_t pinned_bytes;
	uint64_t budget;	/* bytes, 0: a tenth of the disk stays free */
};

int cache_totals(struct cache *c, struct cache_totals *ret);
/* Evict least recently used, not open, not pinned, until `target` bytes. */
int cache_gc(struct cache *c, uint64_t target, uint64_t *ret_freed);
/* Look at everything again: objects and chunks by their digests, recipes, the
 * index, links, refs and pins. What is wrong is removed or mended. fn is told of
 * each file, and of the index if it was wrong (err 0: right; -EBADMSG: wrong;
 * -EINVAL: no file; -EUCLEAN: a note that is right again, as far as it could be;
 * else why it cannot be read). It may be NULL. */
typedef void cache_verify_fn(void *arg, const char *what, int err,
	bool removed);
int cache_verify(struct cache *c, cache_verify_fn *fn, void *arg,
	uint64_t *ret_bad);
/* Remove everything not open. */
int cache_clear(struct cache *c, uint64_t *ret_freed);
/* Objects of hub/repo@revision (the key of CACHE_KIND_PIN) stay or may go. */
int cache_pin(struct cache *c, const char *hub, const char *repo,
	const char *revision, bool pinned);

/*
 * What other tools' caches hold that would be used, file by file: the names as
 * in struct cache_name, as far as a tool keeps them. torch.hub and Keras keep
 * the last part of the path only; torch.hub keeps a branch or tag where we
 * have the commit, huggingface_hub perhaps a name from before a renaming.
 */
struct cache_foreign {
	const char *tool;	/* "huggingface_hub" */
	const char *hub, *repo, *revision, *path;
	const char *file;	/* where it lies */
	uint64_t size;		/* bytes */
};
/* Stops when fn returns not 0, and returns that. Disk. */
int cache_foreign_each(struct cache *c,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg);
const char *cache_foreign_tool(enum conf_tool tool);
/*
 * Compare what other tools have under this name, whatever is in the cache: 1 a
 * file with the right digest, 0 one of the right size where no digest is known,
 * -ENOENT none. name->size may be CACHE_SIZE_ANY: then a digest of the bytes
 * alone (SHA-256, MD5) has to be known. Reads the files, once: may take long.
 */
#define CACHE_SIZE_ANY UINT64_MAX
int cache_foreign_check(struct cache *c, const struct cache_name *name,
	uint64_t *ret_size);

struct cache_stats {	/* counters since cache_open, for /.omnihub */
	uint64_t hits, misses;		/* reads */
	uint64_t pulled_bytes;		/* asked from upstreams and stored */
	uint64_t verified, mismatches;	/* objects */
	uint64_t evicted_bytes, adopted_bytes;
};
void cache_stats(struct cache *c, struct cache_stats *ret);

#endif
