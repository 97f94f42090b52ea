/* Between the files that look names up: one a kind of directory. */
#ifndef FS_LOOKUP_H
#define FS_LOOKUP_H

#include "base/path.h"
#include "fs/name.h"
#include "fs/tree.h"

/* A look-up that has to wait for the hub. */
struct fs_looking {
	struct fs *fs;
	struct fs_node *dir;	/* a reference */
	fs_node_cb *cb;
	void *arg;
	struct fs_name word;	/* of a repository's component */
	char *repo;		/* and what the hub calls it; or NULL */
	char *inner;		/* of dir, whose names are asked for; or NULL */
	unsigned tries;		/* of asking for them */
	char name[PATH_NAME_MAX + 1];
};

/* Its end. n: a reference, taken over, when err is 0. */
void fs_looking_done(struct fs_looking *k, int err, struct fs_node *n);

/* n, or -ENOMEM when there is none. */
int fs_made(struct fs_node *n, struct fs_node **ret);
/* Is `name` a component that could be a repository or an owner? */
int fs_word_of(const char *name, struct fs_name *ret);
int fs_repo_node(struct fs *fs, struct fs_node *dir, const char *name,
	const char *repo, const char *rev, struct fs_node **ret);

/* lookup-place.c: FS_ROOT and FS_PLACE. */
int fs_child_of_place(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret);
/* lookup-owner.c: FS_HUB of FETCH_OWNERS, and FS_OWNER. */
int fs_child_of_hub(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret);
int fs_child_of_owner(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret);
void fs_ask_word(struct fs_looking *k);
/* lookup-versions.c: FS_HUB of FETCH_VERSIONS, FS_GROUP, FS_SERIES. snap: the
 * newest of a series, listed, or NULL. */
int fs_child_of_group(struct fs *fs, struct fs_node *dir,
	struct fs_snap *snap, const char *name, struct fs_node **ret);
void fs_ask_group(struct fs_looking *k);
/* lookup-snap.c: FS_REPO, FS_DIR and FS_ARCHIVE. `inner`: the path of dir in
 * snap. */
int fs_child_in_snap(struct fs *fs, struct fs_node *dir, struct fs_snap *snap,
	const char *inner, const char *name, struct fs_node **ret);
void fs_ask_repo(struct fs_looking *k);
void fs_ask_archive(struct fs_looking *k);
void fs_ask_names(struct fs_looking *k, struct fs_snap *snap,
	const char *inner);

#endif
