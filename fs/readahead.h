/*
 * From the recent reads of one open file to what it will want next. Pure: no
 * clock, no lock, no I/O.
 *
 * A file may be read by several threads at once (an importer that loads
 * tensors in parallel), so a few streams are followed, each with its own
 * window: twice what it has read so far, from 256 KiB to 128 MiB. Example: reads
 * of 128 KiB from 0 on; the second hints at 512 KiB behind it, and when a
 * quarter of that has been read the next window begins. A read elsewhere starts
 * a stream that has no window before its second read. A large read comes from
 * who reads on: it is a stream at once.
 */
#ifndef FS_READAHEAD_H
#define FS_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define FS_RA_STREAMS 4
#define FS_RA_WINDOW_MIN (256 * 1024)		/* bytes */
#define FS_RA_WINDOW_MAX (128 * 1024 * 1024)	/* bytes */
#define FS_RA_LARGE (512 * 1024)		/* bytes of one read */
/* A gap up to this many bytes (or half the window, if that is more) is still
 * the same stream: alignment padding, a tensor that was not wanted. */
#define FS_RA_SKIP (512 * 1024)

struct fs_ra_stream {
	uint64_t start;		/* where its first read began */
	uint64_t next;		/* where its next read is expected */
	uint64_t hinted;	/* all before this was asked for already */
	uint64_t window;	/* bytes; 0: not yet known to be sequential */
	uint64_t used;		/* value of fs_ra.clock at its last read */
};

struct fs_ra {
	struct fs_ra_stream streams[FS_RA_STREAMS];
	uint64_t clock;		/* reads seen */
};

struct fs_ra_hint {
	uint64_t off, len;	/* bytes; inside the file */
};

/* A read of [off, off+len) of a file of `size` bytes. True: fetch *ret too. */
bool fs_ra_touch(struct fs_ra *ra, uint64_t off, uint64_t len, uint64_t size,
	struct fs_ra_hint *ret);

#endif
