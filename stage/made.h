/*
 * Sources that have to be made of a file of the repository before a byte of
 * them can be read: whole, once, as objects of the cache. A recipe names them
 * like files; their path has "//" in it, which no path of a repository has:
 *
 *	FILE//MEMBER		a member of a zip, unpacked
 *	FILE//#GROUP		what lies below a group of an HDF5 file
 *	FILE//MEMBER//#GROUP	otherwise than in one piece, decoded
 *
 * Part of stage.h; others include that.
 */
#ifndef STAGE_MADE_H
#define STAGE_MADE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/listing.h"
#include "base/src.h"

struct stage;
struct stage_archive_sink;

struct stage_made {
	char *file;		/* of the repository */
	char *member;		/* or NULL */
	char *group;		/* of the HDF5 file; or NULL */
	const char *name;	/* all behind FILE//, in the text parsed */
};

/* Is it the path of what has to be made? */
bool stage_made_is(const char *path);
/* A path of the repository, or of what is made of it? */
bool stage_made_ok(const char *path);
/* -ENOENT: stage_made_ok() says no, or it is a path of the repository. */
int stage_made_parse(const char *path, struct stage_made *ret);
void stage_made_done(struct stage_made *m);
/* The file that a source of a recipe is, or is made of. NULL: there is none. */
const struct listing_entry *stage_source_of(const struct listing *files,
	const char *path);
/* FILE//#GROUP of what may be FILE//MEMBER. The caller frees. */
char *stage_made_path(const char *file, const char *group);

/* Decode what m.group says of the HDF5 file src into the sink, as the member
 * `path` of so many bytes; in a worker, if there are any. Waits. */
int stage_work_decode(struct stage *s, const char *whose, struct src *src,
	const struct stage_made *m, uint64_t size,
	const struct stage_archive_sink *sink, struct objid *ret,
	struct error *why);

#endif
