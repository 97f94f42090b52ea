/*
 * The inside of an archive, as a snapshot of its own: what is in NAME.tar.gz
 * stands in the directory NAME beside it. Everything that works on a snapshot
 * (staging, plans, attributes) works on this one; only where its bytes come
 * from is another matter, and decided here:
 *
 *   stored in a zip      a range of the archive
 *   deflated in a zip    an object of the cache, inflated when first opened
 *   in a tar or tar.gz   an object too; the first hundreds are made in the one
 *                        pass that lists the archive, and what is not here when
 *                        somebody opens it in another
 *
 * A listing is kept in the index under what names the archive's bytes, so it is
 * made once and then needs neither the hub nor the archive.
 *
 * Whatever waits for bytes runs on a pool of its own (FS_ARCHIVE_THREADS; each
 * has at most 2 MiB of buffers), or on the planner that wants a member. One
 * archive is unpacked by one thread at a time.
 */
#ifndef FS_ARCHIVE_H
#define FS_ARCHIVE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/listing.h"
#include "base/pool.h"
#include "base/src.h"
#include "cache/cache.h"

#define FS_ARCHIVE_THREADS 8

struct fs;
struct fs_archive;
struct fs_attr;
struct fs_node;
struct fs_snap;

struct fs_archives {
	struct pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t idle;	/* some archive is not busy any more */
};

void fs_archives_init(struct fs_archives *a);	/* pool is the caller's */
void fs_archives_done(struct fs_archives *a);
/* Bytes that listings came from were wrong: forget what the index has. */
void fs_archives_expire(struct cache *c);

/* ---- which archives are directories ------------------------------------------ */

/* The child of `dir` that shows what is in an archive of s beside it; `inner`
 * is its path in s. -ENOENT: there is none, or the hub's are not shown. */
int fs_archive_child(struct fs *fs, struct fs_node *dir, struct fs_snap *s,
	const char *name, const char *inner, struct fs_node **ret);
/* May what n shows, an FS_ARCHIVE, be another archive by now? */
bool fs_archive_doubted(const struct fs_node *n);
/* As fs_attr_answer() of n, which is taken over; or of the directory that shows
 * what is in the archive by now. */
void fs_archive_answer(struct fs *fs, struct fs_node *n,
	void (*cb)(void *arg, int err, struct fs_node *n,
		const struct fs_attr *attr), void *arg);
/* Bytes of `name`, a file of s, that name such a directory; 0: no archive, or
 * not shown. */
size_t fs_archive_shown(const struct fs_snap *s, const char *name);

struct stage_archive;
/* As stage_archive_listing(). If all lies in one directory the paths begin in
 * it, and *ret_top is its name (the caller frees); else that is left alone. */
int fs_archive_flat(const struct stage_archive *a, char **ret_top,
	struct listing *ret);

/* ---- the snapshot of an inside (snap.c) ---------------------------------------- */

/* What is in the file `e` of `outer`, with outer's name and time; when that has
 * become another file it is another snapshot. A reference to one that
 * fs_snap_list() lists; NULL: no memory. */
struct fs_snap *fs_archive_snap(struct fs_snap *outer,
	const struct listing_entry *e);

/* ---- for snap.c, stack.c, open.c and xattr.c ----------------------------------- */

/* Of s, which will own it and is not counted: what is in the file e of `outer`,
 * which may be s itself and is counted else. Under the resolver lock, unless
 * it is s. nth: fs_measure_nth(). NULL: no memory. */
struct fs_archive *fs_archive_new(struct fs_snap *s, struct fs_snap *outer,
	const struct listing_entry *e, unsigned nth);
void fs_archive_free(struct fs_archive *a);
/* For who shows it; constant. */
const char *fs_archive_path(const struct fs_archive *a);

/* The members as listing. From the index: -ENOENT. */
int fs_archive_recall(struct fs_archive *a, struct listing *ret);
/* From the archive. Waits. */
int fs_archive_list(struct fs_archive *a, struct listing *ret,
	struct error *why);

/* A member, of a snapshot that is listed. Without `wait` local disk only, and
 * -EAGAIN when that is not enough. */
int fs_archive_member(struct fs_archive *a, const struct listing_entry *e,
	bool wait, struct src **ret, struct error *why);
/* The same, now or from the pool; src is a new reference. */
typedef void fs_archive_cb(void *arg, int err, struct src *src,
	const struct error *why);
void fs_archive_open(struct fs_snap *s, const struct listing_entry *e,
	fs_archive_cb *cb, void *arg);
/* How much of a member is here, as far as local disk can tell. */
int fs_archive_stat(struct fs_archive *a, const struct listing_entry *e,
	struct src_stat *ret);
/* For fs_stack_staged() on local disk only: a src of the right size, with what
 * is here of the member. */
int fs_archive_here(struct fs_archive *a, const struct listing_entry *e,
	struct src **ret);
/* What is made of a file of s (stage/made.h), of so many bytes. Waits while it
 * is made; `here`: never, and what is not here is a src without bytes. */
int fs_archive_made(struct fs_snap *s, const char *path, uint64_t size,
	bool here, struct src **ret, struct error *why);
/* Run when nobody unpacks this archive, on the pool: what fs_archive_list() is
 * to be called from. */
void fs_archive_later(const struct fs_snap *s, struct pool_job *job);

#endif
