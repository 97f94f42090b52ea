/*
 * What the parts of the HDF5 reader share, and the virtual file driver under
 * them: libhdf5 reads a src instead of a file. It opens exactly one file, that
 * src, and only while no other is open, so that what a file says of other
 * files has no way out of it.
 */
#ifndef STAGE_FORMAT_HDF5_DRIVER_H
#define STAGE_FORMAT_HDF5_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

/* The functions as of 1.10, which later versions have too. */
#define H5_USE_110_API
#include <hdf5.h>

#include "base/error.h"
#include "base/src.h"
#include "stage/format/hdf5.h"

/* Headers lie all over a file, a few hundred bytes each: small pages, the ones
 * used last are kept. What is looked through lies together, for each of the
 * many small reads does. */
#define STAGE_HDF5_PAGE 4096
#define STAGE_HDF5_PAGES 256

struct stage_hdf5_page {
	uint64_t no;		/* in units of STAGE_HDF5_PAGE */
	uint64_t used;		/* when, by clock; 0: never */
	uint8_t *data;		/* STAGE_HDF5_PAGE bytes; or NULL: not yet */
};

struct stage_hdf5_source {
	struct src *src;		/* the caller's */
	struct stage_hdf5_page pages[STAGE_HDF5_PAGES];
	uint64_t clock;
	bool open;			/* libhdf5 has it open */
	int err;			/* of the first read that failed */
	const uint8_t *limit_at;	/* to this address at most `limit`
					 * bytes are read; or NULL */
	size_t limit;
};

struct stage_hdf5 {
	struct stage_hdf5_source source;
	hid_t file;
};

/* Every call of libhdf5 is between these. -ENOTSUP: it does not start. */
int stage_hdf5_enter(struct error *why);
void stage_hdf5_leave(void);
/* Why a call of libhdf5 failed: what the read below it gave, or -EBADMSG with
 * what the library says. */
int stage_hdf5_fail(struct stage_hdf5 *h, const char *what,
	struct error *why);
/* A group by its path, by hard links only; -ENOENT, `why` unset. */
int stage_hdf5_group(struct stage_hdf5 *h, const char *path, hid_t *ret,
	struct error *why);

/* ---- hdf5-driver.c --------------------------------------------------------- */

/* A file access property list that opens `s` (which stays where it is while
 * the file is open), or negative. */
hid_t stage_hdf5_access(struct stage_hdf5_source *s);
/* The only name the driver opens. */
extern const char stage_hdf5_name[];

#endif
