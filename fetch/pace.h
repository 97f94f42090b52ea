/*
 * Is an exchange too slow to go on? Silence is one thing (fetch.timeout); a
 * server that sends a byte now and then is never silent, and must not keep a
 * reader for ever either. Pure: no clock.
 *
 * A whole answer to a question may take PACE_META_TIMEOUTS times fetch.timeout.
 * A download may take as long as it likes, but in each window of
 * PACE_BULK_TIMEOUTS times fetch.timeout it must bring PACE_BULK_RATE bytes a
 * second on the average. Example, fetch.timeout = 30 s: an answer 120 s; a
 * download 60 KiB in each 60 s. What fetch.rate holds back is not counted: the
 * window begins anew after each pause.
 */
#ifndef FETCH_PACE_H
#define FETCH_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "fetch/limit.h"

#define PACE_META_TIMEOUTS 4
#define PACE_BULK_TIMEOUTS 2
#define PACE_BULK_RATE 1024	/* bytes a second */

struct fetch_pace {
	uint64_t began;		/* ms: of the exchange */
	uint64_t since;		/* ms: of this window */
	uint64_t bytes;		/* in this window; the asker adds */
};

static inline void fetch_pace_begin(struct fetch_pace *p, uint64_t now)
{
	*p = (struct fetch_pace){ now, now, 0 };
}

static inline void fetch_pace_resume(struct fetch_pace *p, uint64_t now)
{
	p->since = now;
	p->bytes = 0;
}

/* Every second or so. */
static inline bool fetch_pace_too_slow(struct fetch_pace *p,
	enum fetch_class klass, uint64_t timeout_ms, uint64_t now)
{
	uint64_t window = PACE_BULK_TIMEOUTS * timeout_ms;
	uint64_t bytes = p->bytes;

	if (klass == FETCH_META)
		return now - p->began >= PACE_META_TIMEOUTS * timeout_ms;
	if (now - p->since < window)
		return false;
	window = now - p->since;
	fetch_pace_resume(p, now);
	return bytes < PACE_BULK_RATE * window / 1000;
}

#endif
