/*
 * A planner's small reads, near each other, through one buffer: each read of
 * a src may be a round trip to a hub. One thread at a time; waits.
 */
#ifndef STAGE_WINDOW_H
#define STAGE_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/src.h"

struct stage_window {
	struct src *src;	/* the caller's; no reference is taken */
	uint8_t *buf;
	size_t room;		/* bytes of buf */
	uint64_t off;		/* of buf[0] in src */
	size_t len;		/* bytes of buf that are filled */
	size_t ahead;		/* bytes read at once, at least what is asked
				 * for; 0: all of the buffer. Doubled while
				 * reads go on where the last one ended */
};

#define STAGE_WINDOW_ROOM 65536
#define STAGE_WINDOW_JUMP 1024	/* ahead, after a jump */

int stage_window_init(struct stage_window *w, struct src *src, size_t room);
/* len <= room bytes at off, in place until the next call. Reads ahead to fill
 * the buffer. -EBADMSG: outside the src; or what reading gave. */
int stage_window_get(struct stage_window *w, uint64_t off, size_t len,
	const uint8_t **ret);
/* Any len; what does not fit in the buffer goes straight to `to`. */
int stage_window_read(struct stage_window *w, uint64_t off, void *to,
	size_t len);
void stage_window_done(struct stage_window *w);

/* Why a read of s failed, in the words of s when it has some: "WHAT: reason".
 * Returns err. */
int stage_read_error(struct src *s, int err, const char *what,
	struct error *why);

#endif
