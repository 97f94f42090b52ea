/*
 * What a hub lists and what a stager lays out: paths with kind, size and
 * digest. Directories that only follow from files need no entry of their own.
 * Hostile names never get in (listing_add checks them).
 */
#ifndef BASE_LISTING_H
#define BASE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"

#define LISTING_MAX 1000000	/* entries; more is -EFBIG */
#define LISTING_BYTES_MAX (256UL << 20)	/* of all paths; more is -EFBIG */
#define LISTING_SIZE_UNKNOWN UINT64_MAX

enum listing_kind { LISTING_FILE, LISTING_DIR };

struct listing_entry {
	char *path;		/* relative, '/'-separated, checked */
	enum listing_kind kind;
	uint32_t seq;		/* the order they came in; the listing's own */
	uint64_t size;		/* bytes or LISTING_SIZE_UNKNOWN; 0 for dirs */
	struct objid id;	/* OBJID_NONE when the hub tells none */
};

struct listing {
	struct listing_entry *v;	/* sorted by path after listing_sort */
	size_t n;
	size_t room;
	size_t path_bytes;		/* of all paths, without NULs */
	size_t refused;			/* entries left out as unsafe */
};

/* Returns 0, -EINVAL (unsafe path or size over INT64_MAX: counted in refused,
 * nothing added), -EFBIG, -ENOMEM. */
int listing_add(struct listing *l, const char *path, enum listing_kind kind,
	uint64_t size, const struct objid *id);
/* Sort by path, '/' before every other byte (what is in a directory follows it
 * at once), and drop what cannot stand beside another entry: of duplicates the
 * first added stays, of a file and what lies below it the file. Counted in
 * refused, unless it is a directory named twice. */
void listing_sort(struct listing *l);
/* After listing_sort. NULL: no such entry. */
const struct listing_entry *listing_find(const struct listing *l,
	const char *path);
/* Does `dir` exist, as an entry or as the parent of one? "" always does. */
bool listing_is_dir(const struct listing *l, const char *dir);
/* Call fn for each child of `dir` ("" is the root), in order, once a name;
 * e is NULL for directories that only follow from files. Stops when fn
 * returns not 0, and returns that. */
int listing_children(const struct listing *l, const char *dir,
	int (*fn)(void *arg, const char *name, size_t name_len,
		enum listing_kind kind, const struct listing_entry *e),
	void *arg);
void listing_done(struct listing *l);

/* As compact JSON, for the index. The caller frees the text. */
char *listing_to_json(const struct listing *l);
int listing_from_json(const char *text, size_t len, struct listing *ret,
	struct error *why);

#endif
