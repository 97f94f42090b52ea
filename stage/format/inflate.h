/*
 * The bytes of a range of a src in order, as they lie there or inflated by
 * zlib. What has a check sum of its own (gzip) is held to it: the end comes
 * only after it was right. 512 KiB of memory. One thread at a time; waits.
 *
 * Source: RFC 1951 (deflate), RFC 1952 (gzip: members may follow each other).
 */
#ifndef STAGE_FORMAT_INFLATE_H
#define STAGE_FORMAT_INFLATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/src.h"

enum stage_packing {
	STAGE_PACKED_NOT,
	STAGE_PACKED_DEFLATE,	/* all of the range is one stream */
	STAGE_PACKED_GZIP,	/* what follows the last member is read, not
				 * looked at */
};

struct stage_inflate;

/* `src` and `why` are the caller's and stay as long as this does. NULL: out of
 * memory. */
struct stage_inflate *stage_inflate_new(struct src *src, uint64_t off,
	uint64_t len, enum stage_packing how, struct error *why);
/* How many bytes were put into buf; 0: that was the end. -EBADMSG: damaged, or
 * cut short; or what reading gave. */
ssize_t stage_inflate_read(struct stage_inflate *s, void *buf, size_t len);
/* NULL is fine. */
void stage_inflate_free(struct stage_inflate *s);

#endif
