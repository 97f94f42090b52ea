/* The whole of a mounted tree, FUSE aside: what struct fs of the door holds. */
#ifndef FS_TREE_H
#define FS_TREE_H

#include <stdatomic.h>

#include "base/pool.h"
#include "fs/ctl.h"
#include "fs/errors.h"
#include "fs/fs.h"
#include "fs/inode.h"
#include "fs/names.h"
#include "fs/node.h"
#include "fs/plan.h"
#include "fs/plugin.h"
#include "fs/resolve.h"

#define FS_HUBS_MAX 16

/* What stands where in the mount: a hub, or one owner of it. The directories
 * above are FS_PLACE. */
struct fs_place {
	const char *path;		/* "pytorch/timm" */
	const struct fs_hub *hub;
	const char *owner;		/* NULL: the whole hub */
};

struct fs {
	const struct conf *conf;	/* the caller's; read only */
	char *cache_dir;
	struct cache *cache;
	struct fetch *fetch;
	struct stage *stage;
	struct pool *work;		/* short jobs: disk and JSON */
	struct pool *planners;		/* jobs that wait for bytes */
	struct fs_lock *lock;		/* what resolver.lock_file is; or NULL */
	struct fs_archives archives;
	struct fs_plugins plugins;
	bool offline;
	int64_t started;		/* seconds since 1970 */
	struct fs_hub hubs[FS_HUBS_MAX];
	unsigned n_hubs;
	struct fs_place places[FS_HUBS_MAX];
	unsigned n_places;

	struct fs_errors errors;
	struct fs_inodes inodes;
	struct fs_resolver resolver;
	struct fs_plans plans;
	struct fs_notes notes;
	struct fs_node *root;
	atomic_uint open_files, open_controls;	/* the latter in /.omnihub */

	pthread_mutex_t closing_lock;
	bool closing;			/* closing_lock; work takes no more */

	/* Set once before the first open: bytes of files the kernel may hold
	 * turned out wrong. Called on any thread. */
	void (*on_wrong)(void *arg);
	void *on_wrong_arg;
	/* The same of sizes: of these files the kernel may know old ones. Called
	 * before anybody is told a new one; must not wait. another: the file of
	 * their repository that becomes another one; NULL: none does yet. */
	void (*on_resized)(void *arg, const uint64_t *ino, size_t n,
		const char *another);
};

/* ---- hubs.c ----------------------------------------------------------------- */

int fs_hubs_open(struct fs *fs, struct error *why);

/* ---- lookup.c and lookup-*.c, for readdir.c and xattr.c ---------------------- */

/* The child `name` of a directory inside a snapshot that is listed, or of a
 * directory whose children need no asking; never waits. -ENOENT, -EAGAIN: the
 * hub has to say. A reference. */
int fs_child_now(struct fs *fs, struct fs_node *dir, struct fs_snap *snap,
	const char *name, struct fs_node **ret);
/* The repository an alias stands for, "owner/name"; NULL: no alias. */
const char *fs_alias(const struct fs *fs, const struct fs_hub *hub,
	const char *name);

/* ---- attr.c ------------------------------------------------------------------ */

/* Attributes without waiting. -EAGAIN: of a file that is not planned or not
 * measured yet. */
int fs_attr_now(struct fs *fs, struct fs_node *n, struct fs_attr *ret);
/* Attributes for who looked n up; a reference to n is taken over. */
void fs_attr_answer(struct fs *fs, struct fs_node *n, fs_node_cb *cb,
	void *arg);

/* ---- touched.c: names the index remembers, by their path in the mount --------- */

/* Somebody looked inside this repository: `ls` shows it from now on. */
void fs_repo_touched(struct fs *fs, struct fs_node *repo);
/* Was the child `name` of `dir` itself looked into? */
bool fs_touched(struct fs *fs, const struct fs_node *dir, const char *name);
enum fs_word { FS_WORD_UNKNOWN, FS_WORD_OWNER, FS_WORD_REPO };
/* What that child was last time: looked into, or only something below it. */
enum fs_word fs_word_known(struct fs *fs, const struct fs_node *dir,
	const char *name);
/* The next component of every touched name below `dir`, repeated as often as
 * there are names; `more`: something follows it. Stops when fn returns not 0,
 * and returns that. */
int fs_touched_each(struct fs *fs, const struct fs_node *dir,
	int (*fn)(void *arg, const char *name, size_t len, bool more),
	void *arg);

#endif
