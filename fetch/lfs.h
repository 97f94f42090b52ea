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
#define LFS_MACROS_MAX 16

struct fetch_lfs_rule {
	char *dir;		/* of the .gitattributes, "" is the root */
	char *pattern;
};

struct fetch_lfs {
	struct fetch_lfs_rule *v;
	size_t n;
	char *macros[LFS_MACROS_MAX];	/* names that set the filter */
	size_t n_macros;
	bool all;		/* there are too many to tell */
};

/* Add what dir/.gitattributes says (gitattributes(5)). That of the root first:
 * what it defines holds for all. -ENOMEM. */
int fetch_lfs_add(struct fetch_lfs *l, const char *dir, const char *text,
	size_t len);
/* There is one in dir, and it is not looked at. -ENOMEM. */
int fetch_lfs_unread(struct fetch_lfs *l, const char *dir);
/* May the file of that path be a pointer? Where git's patterns are more exact
 * than ours the answer is yes. */
bool fetch_lfs_match(const struct fetch_lfs *l, const char *path);
void fetch_lfs_done(struct fetch_lfs *l);

#endif
