/*
 * Git LFS as far as it shows in a repository (git-lfs docs/spec.md, hubs.md
 * 2.6): pointer files, and which paths .gitattributes says have them.
 * Untrusted text, no network.
 */
#ifndef FETCH_LFS_H
#define FETCH_LFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

#define LFS_POINTER_MAX 1023	/* bytes; by the specification */

/* Size and SHA-256 of the file that a pointer stands for. -ENOENT: the text is
 * none. */
int fetch_lfs_pointer(const void *text, size_t len, uint64_t *ret_size,
	struct objid *ret_id);

#define LFS_RULES_MAX 4096	/* of all .gitattributes of a repository */

struct fetch_lfs_rule {
	char *dir;		/* of the .gitattributes, "" is the root */
	char *pattern;
	bool lfs;
};

struct fetch_lfs {
	struct fetch_lfs_rule *v;
	size_t n;
};

/* Add the rules of dir/.gitattributes; those nearer to a file come later.
 * -EFBIG, -ENOMEM. */
int fetch_lfs_add(struct fetch_lfs *l, const char *dir, const char *text,
	size_t len);
/* May the file of that path be a pointer? Where git's patterns are more exact
 * than ours the answer is yes. */
bool fetch_lfs_match(const struct fetch_lfs *l, const char *path);
void fetch_lfs_done(struct fetch_lfs *l);

#endif
