/*
 * What other tools have downloaded. Files are opened read only, and their
 * bytes are given out only after their digest was compared once; the verdict
 * is kept in the index for as long as the file does not change.
 */
#ifndef CACHE_FOREIGN_H
#define CACHE_FOREIGN_H

#include "cache/store.h"

struct foreign_tool {
	const char *name;	/* "huggingface_hub" */
	const char *hub;	/* the hub whose names it keeps */
	/* MUST. Open a file that claims to be these bytes, or -ENOENT. */
	int (*open)(struct cache *c, const char *repo, const char *revision,
		const char *path, const struct objid *id);
	/* MUST. */
	int (*each)(struct cache *c,
		int (*fn)(void *arg, const struct cache_foreign *f),
		void *arg);
};

extern const struct foreign_tool cache_foreign_hf;

/* 1: *ret_fd holds these bytes, compared before. 0: *ret_fd has to be
 * compared. -ENOENT: none, or known to be wrong. */
int cache_foreign_find(struct cache *c, const char *hub, const char *repo,
	const char *revision, const char *path, uint64_t size,
	const struct objid *id, int *ret_fd);

#endif
