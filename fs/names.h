/*
 * Which staged files a directory has, where a repository's listing does not
 * say (stage_asks): asked for when somebody looks inside, on a planner, and
 * kept with the snapshot and in the index under the key of the directory.
 * Until it is known the files of the layout stand in for them, if the
 * repository cannot be read just now.
 */
#ifndef FS_NAMES_H
#define FS_NAMES_H

#include "base/listing.h"
#include "fs/plan.h"
#include "fs/resolve.h"

struct fs_names;

/* The files staging adds to `dir` of s, with their paths in s: *ret is good as
 * long as s is. -EAGAIN: ask. Else why it could not be told a moment ago, and
 * *ret is the layout's. Memory only. */
int fs_names_known(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const struct listing **ret);
/* What staging adds at `path`, which is in `dir`, as entry in *ret; NULL:
 * nothing. -EAGAIN, or why that cannot be told. */
int fs_names_find(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const char *path, const struct listing_entry **ret);

/* Then fs_names_known() has an answer, unless bytes turned out wrong meanwhile:
 * who is still told -EAGAIN asks again, so often in all. snap is a new
 * reference, for failures too. */
#define FS_NAMES_TRIES 3
typedef void fs_names_cb(void *arg, int err, struct fs_snap *snap);
/* `path`: of the directory in the mount, for the list of errors. */
void fs_names_want(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const char *path, fs_names_cb *cb, void *arg);
/* Then fs_names_find() has one for `name` in `dir`: of a file whose size no
 * listing tells only who wants that name asks. */
void fs_names_want_one(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const char *name, const char *path, fs_names_cb *cb, void *arg);

/* Of a snapshot that nobody has any more. */
void fs_names_free(struct fs_names *list);

#endif
