/*
 * A lock file in memory: names bound to an immutable revision, and that to its
 * files with size and digest. Read-only once it is in use, so that any thread
 * may ask it without a lock.
 *
 *   omnihub-lock 1
 *
 *   model HUB REPO@REVISION          canonical, immutable
 *   date 2024-02-19T11:06:12Z        of the revision
 *   name HUB REPO[@BRANCH]           what may be asked for; one or more
 *   file SIZE DIGEST[,DIGEST] PATH   all of them; '-' for what is not known
 *   staged KEY PATH                  stage_key() of what is made from them
 *
 *   end
 *
 * HUB is its directory in the mount; '/' and '%' in a revision are written %2F
 * and %25. Of a file's digests the first is the hub's; where that is no whole
 * SHA-256, one that was found in the cache after a download may follow. Blank
 * lines and lines that begin with '#' mean nothing. `end` tells a file that was
 * cut short.
 */
#ifndef FS_LOCK_H
#define FS_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/listing.h"
#include "base/map.h"
#include "fs/fs.h"

#define FS_LOCK_VERSION 1
#define FS_LOCK_MAX (256 << 20)		/* bytes of a file */
#define FS_LOCK_MODELS_MAX 100000
#define FS_LOCK_NAMES_MAX 64		/* of one model */

struct fs_lock_name {		/* as it is asked of the hub */
	char *hub, *repo, *rev;
};

struct fs_lock_staged {
	char *path;
	char key[65];
};

struct fs_lock_model {
	const struct fs_lock *lock;
	struct fs_lock_name is;		/* rev is the immutable revision */
	int64_t mtime;			/* seconds since 1970 */
	struct fs_lock_name *names;
	size_t n_names;
	struct listing files;		/* sorted; ids are the hub's */
	struct listing found;		/* sorted; of some, our own SHA-256 */
	struct fs_lock_staged *staged;	/* by path */
	size_t n_staged;
	unsigned line;			/* of `model`; 0: not from a file */
};

struct fs_lock {
	char *file;			/* for messages; NULL: not from one */
	struct fs_lock_model **models;
	size_t n;
	struct map by_name;		/* "hub/repo@rev" → fs_lock_model */
};

/* ---- lock.c: building and asking ------------------------------------------ */

/* A new model, or -EEXIST. The strings are copied. */
int fs_lock_model_add(struct fs_lock *l, const char *hub, const char *repo,
	const char *revision, struct fs_lock_model **ret);
/* That of the revision; NULL: none. */
struct fs_lock_model *fs_lock_model_get(struct fs_lock *l, const char *hub,
	const char *repo, const char *revision);
/* -EEXIST: the name is bound already; 0 when it is to m. */
int fs_lock_name_add(struct fs_lock *l, struct fs_lock_model *m,
	const char *hub, const char *repo, const char *rev);
int fs_lock_staged_add(struct fs_lock_model *m, const char *path,
	const char *key);

/* What the name is bound to, or whose revision it is itself; NULL: neither. */
const struct fs_lock_model *fs_lock_find(const struct fs_lock *l,
	const char *hub, const char *repo, const char *rev);
/* Is hub/word bound (2), or the beginning of a longer bound name (1)? */
int fs_lock_word(const struct fs_lock *l, const char *hub, const char *word);
/* The repositories bound below "owner/", as fetch_list_owner() gives them. */
int fs_lock_owner(const struct fs_lock *l, const char *hub,
	const char *owner, struct listing *ret);
/* The digest to hold a file to; what the hub says when the lock has none. */
struct objid fs_lock_id(const struct fs_lock_model *m,
	const struct listing_entry *e);
/* 0, or -EIO: what the hub lists is not what is locked. */
int fs_lock_compare(const struct fs_lock_model *m, const struct listing *l,
	struct error *why);
/* 0, or -EIO: it is made in another way than when it was locked. */
int fs_lock_staged_check(const struct fs_lock_model *m, const char *path,
	const char *key, struct error *why);

/* ---- lock-text.c ----------------------------------------------------------- */

/* -EINVAL with "FILE: line N: …", -ENOTSUP: of a newer version. */
int fs_lock_parse(const char *file, const char *text, size_t len,
	struct fs_lock **ret, struct error *why);
/* The same names and files give the same bytes: sorts them. Appends. */
int fs_lock_text(struct fs_lock *l, struct buf *ret);
/* "HUB REPO[@REV]" as in the file. Appends; -ENAMETOOLONG, -EINVAL: cannot be
 * written. */
int fs_lock_name_text(const struct fs_lock_name *n, struct buf *ret);

#endif
