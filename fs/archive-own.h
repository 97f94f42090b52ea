/* Between the files of archive.h: archive.c (which archive, its list),
 * archive-object.c (members in the cache), archive-open.c. */
#ifndef FS_ARCHIVE_OWN_H
#define FS_ARCHIVE_OWN_H

#include "fs/archive.h"
#include "fs/resolve.h"

struct fs_archive {
	struct fs_snap *snap;		/* the inside's; it owns this */
	struct fs_snap *outer;		/* that the archive is a file of:
					 * counted, unless it is snap */
	const struct listing_entry *e;	/* outer's */
	char *path;
	char *key;			/* what the index knows it by, and see
					 * fs_archive_key() */
	unsigned nth;			/* fs_measure_nth() of the file that it
					 * is; constant once snap is listed */
	struct stage_archive list;	/* constant once snap is listed */
	char *top;	/* "DIR" that is left out of what is shown, or NULL;
			 * constant then too */

	bool busy;			/* archives lock; somebody unpacks */
	struct pool_job *waiting;	/* archives lock; for the end of that */
};

/* ---- archive.c ----------------------------------------------------------------- */

/* One thread at a time unpacks it: wait for that, or (false) have the job run
 * again when it may be possible. */
void fs_archive_enter(struct fs_archive *a);
bool fs_archive_enter_or_wait(struct fs_archive *a, struct pool_job *job);
void fs_archive_leave(struct fs_archive *a);
/* The member behind what is shown as e; NULL: none. */
const struct stage_member *fs_archive_find(const struct fs_archive *a,
	const struct listing_entry *e);
/* Is the file still that archive? */
bool fs_archive_holds(const struct fs_archive *a);
/* What the index knows the file's bytes by, whichever they are now. Who finds or
 * keeps something under it then asks whether it holds: so it does for as long.
 * The caller frees; NULL: no memory. */
char *fs_archive_key(const struct fs_archive *a);
/* The archive itself, as any file of its repository. far: what is missing is
 * fetched, and its size asked for, if that is not known: waits, then. -EIO: the
 * file is another one by now. */
int fs_archive_bytes(const struct fs_archive *a, bool far, bool wait,
	struct src **ret, struct error *why);
/* Were the bytes it was read from right all the while? */
int fs_archive_check(const struct src *s, unsigned epoch, struct error *why);

/* ---- archive-object.c ---------------------------------------------------------- */

/* A sink that makes objects, of all members or of those that are not here. */
struct fs_archive_putting {
	struct fs_archive *a;
	const char *wanted;	/* this one has to be kept; NULL: nothing has */
	bool again;		/* the archive is listed already */
	bool skip;		/* of this member nothing is needed */
	unsigned puts;		/* objects begun; the others are for the pass
				 * that wants them */
	struct cache_put *put;
	struct digest *d;	/* the bytes are not kept: their digest only */
};
struct stage_archive_sink fs_archive_sink(struct fs_archive_putting *k);
/* A member that is an object by now. -ENOENT. */
int fs_archive_object(const struct fs_archive *a, const struct stage_member *m,
	struct src **ret);
/* The digest of a member of a zip became known. */
void fs_archive_remember(const struct fs_archive *a, const char *path,
	const struct objid *id);
/* All of it, once: lists, and makes objects of what is not here. Waits. */
int fs_archive_pass(struct fs_archive *a, struct fs_archive_putting *k,
	struct stage_archive *ret, struct error *why);

/* ---- archive-open.c ------------------------------------------------------------ */

/* A stored member of a zip. Without `wait` as fs_archive_member(). */
int fs_archive_stored(const struct fs_archive *a, const struct stage_member *m,
	bool wait, struct src **ret, struct error *why);
/* Make an object of a deflated one; the caller has entered. Waits. */
int fs_archive_inflate(struct fs_archive *a, const struct stage_member *m,
	struct error *why);
/* So many bytes that are not here. */
int fs_archive_absent(uint64_t size, struct src **ret);

#endif
