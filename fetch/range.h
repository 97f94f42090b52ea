/*
 * May these headers be believed for the bytes we asked for? Pure.
 *
 * A server may ignore a range and answer 200 with everything, cut the range
 * short, or begin before it: then the bytes in front are skipped, if they are
 * few. Whatever says that its bytes are others than the ones wanted is
 * refused: bytes must never land at a wrong offset.
 */
#ifndef FETCH_RANGE_H
#define FETCH_RANGE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Bytes received for nothing at most: while another try may do better, and
 * when a server has shown that it ignores every range. */
#define RANGE_SKIP_MAX (1024 * 1024)
#define RANGE_SKIP_LAST (64 * 1024 * 1024)
#define RANGE_PATIENCE 2	/* tries before it is believed */
#define RANGE_UNKNOWN UINT64_MAX
#define RANGE_TEXT_MAX 48
#define RANGE_BEHIND "the file ends before byte %" PRIu64 " there; the hub " \
	"had said %" PRIu64
#define RANGE_RESIZED "the file has %" PRIu64 " bytes there; the hub had " \
	"said %" PRIu64

struct fetch_range {
	uint64_t off;	/* the next byte wanted */
	uint64_t end;	/* one past the last byte wanted, > off */
	uint64_t size;	/* of the whole object, as the listing promised */
	uint64_t skip_max;	/* bytes in front that may be skipped */
};

struct fetch_range_reply {
	unsigned status;
	bool ranged;		/* there was a Content-Range that parsed */
	uint64_t first, last;	/* of it, inclusive */
	uint64_t total;		/* of it, or of a 416's, or RANGE_UNKNOWN
				   ("*") */
	uint64_t length;	/* Content-Length or RANGE_UNKNOWN */
	bool encoded;		/* a Content-Encoding other than identity */
	bool page;		/* an HTML page where none was asked for */
};

/* The value of a Range header for libcurl: "a-b". */
void fetch_range_text(const struct fetch_range *want,
	char ret[RANGE_TEXT_MAX]);

/* 0 and how many bytes of the body come before want->off; or -EIO with words:
 * not these bytes. */
int fetch_range_vet(const struct fetch_range *want,
	const struct fetch_range_reply *reply, uint64_t *ret_skip,
	struct error *why);

/* Do these headers, of a 200, 206 or 416, say that the object has another
 * length than want->size? A 416 does, unless it tells that very length: none of
 * what was asked for is there. */
bool fetch_range_resized(const struct fetch_range *want,
	const struct fetch_range_reply *reply);

#endif
