/*
 * What other tools have downloaded. A tool says where its file for a name
 * would lie; the file is opened read only, has to be a regular file of the
 * right size, and its bytes are given out only after they were compared with
 * the digest that the hub tells. The verdict is kept in the index for as long
 * as the file does not change.
 *
 * Where a hub tells no digest at all, name and size speak for the file; then
 * it and the directories above it have to be this user's (or root's), so that
 * nobody else can put other bytes there.
 */
#ifndef CACHE_FOREIGN_H
#define CACHE_FOREIGN_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "cache/store.h"

/* Opened once, used by any number of reads. */
struct foreign_file {
	atomic_uint refs;
	int fd;
	struct stat st;		/* when it was found */
};

struct foreign_tool {
	const char *name;	/* "huggingface_hub" */
	/* Its layout has symbolic links; otherwise none is followed. */
	bool links;
	/* Its hub tells a whole digest of every file; without it, none is
	 * used. */
	bool digests;
	/* MUST. Where, below the tool's directory, the file of that name would
	 * be: the nth place to look at, as a relative path, the caller frees.
	 * -ENOENT: not in this place; -ENODATA: there are no more. */
	int (*place)(struct cache *c, const char *root,
		const struct cache_name *n, unsigned nth, char **ret);
	/* MUST. */
	int (*each)(struct cache *c, const char *root,
		int (*fn)(void *arg, const struct cache_foreign *f),
		void *arg);
};

extern const struct foreign_tool cache_foreign_hf, cache_foreign_kaggle,
	cache_foreign_keras, cache_foreign_onnx, cache_foreign_tfhub,
	cache_foreign_torch;

/* How far the search for a name has come; { 0, 0 } at first. */
struct foreign_at {
	unsigned tool, nth;
};

/* The next file that may be n's, of its size; *at moves behind it. 1: it was
 * compared before, and is right. 0: it has to be compared. -ENOENT: no more.
 * Disk. */
int cache_foreign_find(struct cache *c, const struct cache_name *n,
	struct foreign_at *at, struct foreign_file **ret);

struct foreign_file *cache_foreign_ref(struct foreign_file *f);
void cache_foreign_unref(struct foreign_file *f);	/* NULL is fine */
/* Not written to, cut or replaced since it was found. */
bool cache_foreign_same(const struct foreign_file *f);
/* -ESTALE: the file has changed, buf is worth nothing. */
int cache_foreign_read(const struct foreign_file *f, void *buf, size_t len,
	uint64_t off);

/* ---- for the tools (foreign-walk.c) ---------------------------------------- */

/* A relative path made like printf's; -ENOENT when it is not a safe one. */
int cache_foreign_path(char **ret, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Is there a file of that name? Symbolic links are not followed. */
bool cache_foreign_has(const char *root, const char *rel);
/*
 * Call fn for what is in ROOT/DIR (dir "": the root itself), names that are
 * safe only. Symbolic links are neither followed nor told. A directory that
 * is not there is empty.
 */
struct foreign_entry {
	const char *name;
	const char *rel;	/* below root */
	const char *file;	/* with it */
	const struct stat *st;
};
int cache_foreign_dir(const char *root, const char *dir,
	int (*fn)(void *arg, const struct foreign_entry *e), void *arg);
/* The same for every regular file in and below it; a bounded depth. */
int cache_foreign_tree(const char *root, const char *dir,
	int (*fn)(void *arg, const struct foreign_entry *e), void *arg);

#endif
