/*
 * Text of a path in the mount and what it means. A repository stands in one
 * component, "NAME[@REVISION]"; a '/' in the revision is written %2F and a '%'
 * is written %25 ("refs%2Fpr%2F1").
 */
#ifndef FS_NAME_H
#define FS_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/path.h"

struct fs_name {
	char base[PATH_NAME_MAX + 1];	/* "bert-base-uncased" */
	char rev[PATH_NAME_MAX + 1];	/* decoded; "": the default branch */
};

/* -ENOENT: cannot be the name of anything. */
int fs_name_split(const char *component, struct fs_name *ret);

/* The reverse. -ENAMETOOLONG over PATH_NAME_MAX bytes. */
int fs_name_join(const char *base, const char *rev,
	char ret[PATH_NAME_MAX + 1]);

/* Forty hex digits: a commit, which never moves. */
bool fs_name_is_commit(const char *rev);

/* The index's name of a snapshot, "hub/repo@rev". The caller frees; NULL: out
 * of memory. */
char *fs_name_key(const char *hub, const char *repo, const char *rev);

/* Names that shells, desktops and tools probe for in every directory and that
 * no hub has: they are answered without asking. */
bool fs_name_is_probe(const char *component);

#endif
