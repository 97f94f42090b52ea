/*
 * The directory of a zip archive over a src: which members there are and
 * where the bytes of the stored ones lie. One 64 KiB read of the tail brings
 * the whole directory of nearly every archive.
 *
 * The directory is untrusted: counts, sizes and offsets are checked against
 * the file, names are unique, and members do not overlap. A directory that
 * breaks off is an error; a member that contradicts the others or the file is
 * marked, and an error only for stage_zip_read().
 *
 * Source: APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12
 * (directory), 4.3.14-16 (end records), 4.5.3 (zip64 extra field).
 */
#ifndef STAGE_FORMAT_ZIPDIR_H
#define STAGE_FORMAT_ZIPDIR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stage/window.h"

#define STAGE_ZIP_MEMBERS_MAX 400000
#define STAGE_ZIP_DIR_MAX (64u << 20)	/* bytes of central directory */

enum stage_zip_method { STAGE_ZIP_STORED = 0, STAGE_ZIP_DEFLATED = 8 };

struct stage_zip_member {
	const char *name;	/* NUL-terminated, in the directory's memory */
	uint16_t method;
	uint16_t flags;		/* bit 0: encrypted */
	uint32_t crc32;
	uint64_t packed;	/* bytes in the archive */
	uint64_t size;		/* bytes unpacked */
	uint64_t header;	/* offset of the local header */
	uint64_t end;		/* where the next header or the directory is */
	uint32_t mode;		/* st_mode of Unix archivers, or 0 */
	const char *bad;	/* what is wrong with it, after its name; NULL:
				 * nothing. Static */
};

struct stage_zip {
	struct stage_zip_member *v;	/* sorted by name */
	size_t n;
	uint64_t dir_off;		/* where the directory starts */
	char *names;			/* all of them, NUL-ended */
};

/* Waits. -EBADMSG; -ENOTSUP: several disks, encrypted directory; -EFBIG. A
 * member's name has '?' for NULs, and is marked then. */
int stage_zip_list(struct src *s, struct stage_zip *ret, struct error *why);
/* The same; any member that is marked is -EBADMSG. */
int stage_zip_read(struct src *s, struct stage_zip *ret, struct error *why);
/* NULL: no such member. */
const struct stage_zip_member *stage_zip_find(const struct stage_zip *z,
	const char *name);
/* Where the member's (packed) bytes start, from its local header, which has
 * to agree with the directory (name, method, and what it says of sizes and
 * CRC-32). Waits. */
int stage_zip_data(struct stage_window *w, const struct stage_zip_member *m,
	uint64_t *ret_off, struct error *why);
/* The bytes of a stored member, NUL behind; the caller frees. -ENOTSUP: not
 * stored, or encrypted; -EFBIG: over max. Waits. */
int stage_zip_member_read(struct stage_window *w,
	const struct stage_zip_member *m, size_t max, uint8_t **ret,
	struct error *why);
void stage_zip_done(struct stage_zip *z);

#endif
