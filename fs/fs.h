/*
 * The door of the fs room, FUSE-free: the tree of names, what stands behind
 * each, and open files. The FUSE shell (ll-*.c) and the command line are its
 * two users.
 *
 * Nothing here waits for the network: what is not known yet comes through a
 * callback. A callback may run before the function that started it returns
 * (the answer was known) or later on another thread; it must not block.
 *
 * Errors are those of the contract: ENOENT EACCES EIO ETIMEDOUT EHOSTUNREACH
 * ENOTSUP EFBIG ENOSPC EROFS, negative.
 */
#ifndef FS_FS_H
#define FS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/error.h"
#include "base/src.h"
#include "base/workers.h"
#include "cache/cache.h"

struct fs;
struct fs_node;		/* a name in the tree; counted */
struct fs_handle;	/* an open file */

/* Opens the cache, starts the engine and the planners, reads blueprints. The
 * conf is kept and read until fs_free(). */
int fs_new(const struct conf *conf, struct fs **ret, struct error *why);
/* Every node and handle must be given back first. */
void fs_free(struct fs *fs);
struct cache *fs_cache(struct fs *fs);
const char *fs_cache_dir(const struct fs *fs);	/* absolute */

/* ---- nodes ----------------------------------------------------------------- */

struct fs_attr {
	uint64_t ino;	/* stable while the node is known */
	bool dir;
	uint64_t size;	/* bytes, exact */
	int64_t mtime;	/* seconds since 1970; constant for a revision */
	bool fixed;	/* of an immutable revision: may be cached for long */
	bool bound;	/* and its directory will always mean this node by it */
	uint64_t left_ms; /* if not bound: how long the directory will */
	bool unsure;	/* from fs_lookup only: that it exists was not asked for
			 * yet, fs_getattr does */
};

struct fs_node *fs_root(struct fs *fs);		/* borrowed */
struct fs_node *fs_node_ref(struct fs_node *n);
void fs_node_unref(struct fs_node *n);

/* err 0: node is a new reference, the callee's; attr is filled. */
typedef void fs_node_cb(void *arg, int err, struct fs_node *node,
	const struct fs_attr *attr);
void fs_lookup(struct fs *fs, struct fs_node *dir, const char *name,
	fs_node_cb *cb, void *arg);
/* As fs_lookup of the node itself (a new reference too). */
void fs_getattr(struct fs *fs, struct fs_node *n, fs_node_cb *cb, void *arg);
/* Path in the mount of the repository that n is in or is, as it was looked up;
 * NULL: it is in none. The caller frees. */
char *fs_node_repo_path(const struct fs_node *n);
/* Walk a '/'-separated path from the root; "" is the root. */
void fs_walk(struct fs *fs, const char *path, fs_node_cb *cb, void *arg);

/* Believe no more what was said of n, or of the repository it is in: the next
 * look-up asks the hub. What is open stays as it is. Never waits. */
void fs_expire(struct fs *fs, struct fs_node *n);

/* What readdir shows, frozen at the moment of the call. */
struct fs_dir;
struct fs_dirent {
	const char *name;
	bool dir;
	bool again;	/* shows what is in a file beside it, or of another
			 * version: who wants every byte once leaves it out */
	uint64_t ino;	/* that its node will have */
};
typedef void fs_dir_cb(void *arg, int err, struct fs_dir *dir);
void fs_readdir(struct fs *fs, struct fs_node *dir, fs_dir_cb *cb, void *arg);
size_t fs_dir_count(const struct fs_dir *d);
void fs_dir_at(const struct fs_dir *d, size_t i, struct fs_dirent *ret);
/* Entry i as fs_lookup would give it, if that needs no waiting. -EAGAIN. */
int fs_dir_node(const struct fs_dir *d, size_t i, struct fs_node **ret,
	struct fs_attr *ret_attr);
/* Will it always show the same names? */
bool fs_dir_fixed(const struct fs_dir *d);
void fs_dir_free(struct fs_dir *d);

/* Extended attributes "user.omnihub.…": never waits. -ENODATA: not set. */
int fs_xattr_get(struct fs *fs, struct fs_node *n, const char *name,
	struct buf *ret);
/* NUL-separated names, as listxattr(2). */
int fs_xattr_list(struct fs *fs, struct fs_node *n, struct buf *ret);

/* ---- open files ------------------------------------------------------------ */

/* Grows before anybody can open a file whose bytes are others than those that
 * were handed out under the same number. */
uint64_t fs_epochs(struct fs *fs);

typedef void fs_open_cb(void *arg, int err, struct fs_handle *h);
void fs_open(struct fs *fs, struct fs_node *n, fs_open_cb *cb, void *arg);
void fs_close(struct fs_handle *h);
struct src *fs_handle_src(struct fs_handle *h);	/* borrowed */
/* 0, or -EIO once bytes this handle may have seen turned out wrong. Starts
 * read-ahead; call before src_read/src_peek of the same range. */
int fs_handle_touch(struct fs_handle *h, uint64_t off, size_t len);
/* The same in two steps: the read itself can be started in between, so that
 * what is read ahead comes behind it. *ret_len is 0 when there is nothing to
 * read ahead; else src_hint() it. */
int fs_handle_look(struct fs_handle *h, uint64_t off, size_t len,
	uint64_t *ret_off, uint64_t *ret_len);

/* ---- waiting forms, for the command line only ------------------------------- */

int fs_walk_wait(struct fs *fs, const char *path, struct fs_node **ret,
	struct fs_attr *ret_attr);
int fs_readdir_wait(struct fs *fs, struct fs_node *dir, struct fs_dir **ret);
int fs_open_wait(struct fs *fs, struct fs_node *n, struct fs_handle **ret);
/* Of a repository's file: compare what other tools' caches have of it, as
 * cache_foreign_check(), and use it. No hub is asked for bytes. -EINVAL: n is
 * no such file. */
int fs_adopt_wait(struct fs *fs, struct fs_node *n, uint64_t *ret_size);
/* Ask the hub again for what the names of this path mean, and for what the
 * last of them shows. An older answer does not do. */
int fs_refresh_wait(struct fs *fs, const char *path);
/* How far: bytes here and in all for a file or everything below a directory
 * (listings that are not known yet are asked for). */
struct fs_usage {
	uint64_t bytes, cached_bytes, files;
	uint64_t unknown;	/* files and directories below it whose size
				 * cannot be told, now or at all */
};
int fs_usage_wait(struct fs *fs, struct fs_node *n, struct fs_usage *ret);

/* ---- lock files: names bound to revisions, files and digests (lock.h) -------- */

struct fs_lock;

struct fs_lock *fs_lock_new(const char *file);
/* -EINVAL: no lock file, with its line in `why`. */
int fs_lock_read(const char *file, struct fs_lock **ret, struct error *why);
void fs_lock_free(struct fs_lock *l);
/* Add what the repository that n is or lies in means now. -EINVAL: in none;
 * -EEXIST: its name is there with another revision. */
int fs_lock_add_wait(struct fs *fs, struct fs_lock *l, struct fs_node *n);
/* Take over what `old` knows of the same revisions' files beyond the hub. */
int fs_lock_keep(struct fs_lock *l, const struct fs_lock *old);
/* Replaces the file in one step. */
int fs_lock_write(struct fs_lock *l, const char *file, struct error *why);

struct fs_lock_counts {
	const char *revision;		/* the lock's */
	int64_t mtime;			/* of it, seconds since 1970 */
	uint64_t files, bytes, staged;
	uint64_t weak;			/* files without SHA-256 */
};
size_t fs_lock_count(const struct fs_lock *l);
/* Of the ith: appends its names, separated by spaces. */
int fs_lock_tell(struct fs *fs, const struct fs_lock *l, size_t i,
	struct buf *names, struct fs_lock_counts *ret);
/* The one that key `lock` named; NULL: none. */
const struct fs_lock *fs_lock_in_force(struct fs *fs);
/* Compare the ith of it with what the hub has now (offline: with what is
 * known), and with the bytes that are here. */
int fs_lock_check_wait(struct fs *fs, size_t i, struct error *why);

/* ---- names that may have moved (news.c) ---------------------------------------- */

struct fs_news {
	const char *name;	/* path in the mount */
	const char *here;	/* its revision: locked, or as last looked up */
	int64_t here_mtime;	/* of that, seconds since 1970 */
	const char *hub;	/* the hub's; NULL: nobody asked */
	int64_t hub_mtime;
	int64_t age;		/* seconds; of what the hub said */
	bool newer;		/* the two differ */
	bool locked;
};
/* Every branch and tag somebody looked into, by name. Disk. */
int fs_news_each(struct fs *fs, int (*fn)(void *arg, const struct fs_news *n),
	void *arg);
/* Ask the hubs what they mean now; nobody's names move by that. failed (may be
 * NULL) is told of those without an answer. -EHOSTUNREACH: offline. */
int fs_news_ask_wait(struct fs *fs, void (*failed)(void *arg,
	const char *name, int err, const char *why), void *arg);

/* ---- searching (search.c) -------------------------------------------------------- */

struct fs_found {
	const char *path;	/* in the mount */
	const char *task;	/* in the hub's words; or NULL */
	uint64_t size;		/* bytes; UINT64_MAX: not told */
	int64_t downloads, likes;	/* -1: not told */
};
/* At most `limit` a hub, of the hub at `only` ("huggingface") or all that can
 * be searched; words are separated by spaces. Hubs without a search of their own
 * are searched by the names they list; offline, so is what was looked into.
 * failed is told of a hub that did not answer. Returns how many did, or
 * negative errno: -ENOENT, there is no such hub. */
int fs_search_wait(struct fs *fs, const char *words, const char *only,
	size_t limit, int (*found)(void *arg, const struct fs_found *f),
	void (*failed)(void *arg, const char *hub, int err, const char *why),
	void *arg);

/* Why the last operation on this thread's path failed, in words: the newest
 * entries of /.omnihub/errors. Appends to ret. */
void fs_errors(struct fs *fs, size_t max, struct buf *ret);
/* Text of /.omnihub/status and stats.json. */
int fs_status_text(struct fs *fs, struct buf *ret);
int fs_stats_json(struct fs *fs, struct buf *ret);
/* A model's structure, as JSON (stage_look). Waits. */
int fs_look(struct fs *fs, struct fs_handle *h, char **ret_json,
	struct error *why);
/* What stands around the workers; starts one and waits. False: there are none,
 * the key `sandbox` or a missing program says so. */
bool fs_sandbox(struct fs *fs, struct workers_report *ret);
/* Work for them will come. */
void fs_sandbox_expect(struct fs *fs);
/* Lines the FUSE shell adds to status ("passthrough: yes"). Copied. */
void fs_status_note(struct fs *fs, const char *key, const char *value);
/* Whether the kernel reads whole objects by itself. */
void fs_note_passthrough(struct fs *fs, bool yes, const char *words);

#endif
