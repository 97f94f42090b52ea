/*
 * The source stack of a file, put together in one place:
 *
 *   repository file   cached-src ← remote-src
 *   member of an archive  a range of the archive's, or an object; may wait
 *   made of a file        an object; waits until it is made
 *   staged file       recipe-src ← one of these a source
 *
 * Offline leaves the remote out; nobody else knows of it. Local disk only,
 * but for members.
 */
#ifndef FS_STACK_H
#define FS_STACK_H

#include <stdbool.h>

#include "base/error.h"
#include "base/src.h"
#include "cache/cache.h"
#include "fs/resolve.h"
#include "stage/stage.h"

struct fs_stack {
	struct cache *cache;
	bool offline;
	bool here;	/* and never wait: what an archive has to be unpacked
			 * for is a src without bytes */
};

/* What names the bytes of a repository file in the cache, measured if that is
 * known; the strings are the snapshot's. */
struct cache_name fs_stack_name(struct fs_snap *s,
	const struct listing_entry *e);

/* -EAGAIN: the file is not measured yet. */
int fs_stack_file(const struct fs_stack *k, struct fs_snap *s,
	const struct listing_entry *e, struct src **ret, struct error *why);
/* The same on a thread that may wait: measures it. */
int fs_stack_file_wait(const struct fs_stack *k, struct fs_snap *s,
	const struct listing_entry *e, struct src **ret, struct error *why);

/* -EBADMSG: a source of the recipe is no file of the snapshot. */
int fs_stack_staged(const struct fs_stack *k, struct fs_snap *s,
	struct stage_recipe *recipe, struct src **ret, struct error *why);

#endif
