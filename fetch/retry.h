/*
 * Is another try worth it, and when? Pure: no clock, no network.
 *
 * Tries without progress are counted up to fetch.retries; a try that brought
 * RETRY_PROGRESS bytes starts the count anew. Over the whole life of a
 * transfer there are at most RETRY_ROUNDS times as many, so that a hub which
 * sends a little and hangs up cannot keep a reader for ever.
 *
 * And a read must end some day: no new try begins RETRY_SPENT_MS after the last
 * progress (or three times fetch.timeout, if that is more). What counts is the
 * time that exchanges took and our own waits between them, not the waits that
 * the hub asked for. Example: silence for fetch.timeout = 30 s ends the third
 * try after 90.6 s, and there is no fourth.
 *
 * Waits double from RETRY_FIRST_MS to RETRY_CAP_MS, each shortened by up to a
 * quarter at random so that many readers do not come back as one. Example,
 * without the random part: 200, 400, 800, 1600, 3200 ms, then give up.
 */
#ifndef FETCH_RETRY_H
#define FETCH_RETRY_H

#include <stdint.h>

#define RETRY_FIRST_MS 200
#define RETRY_CAP_MS 20000
#define RETRY_ASKED_CAP_MS 60000	/* the longest wait a hub may ask for */
#define RETRY_PROGRESS 65536		/* bytes */
#define RETRY_ROUNDS 16
#define RETRY_SPENT_MS 90000
#define RETRY_NET_MAX 2			/* when there is nobody to talk to */

enum fetch_again {
	FETCH_AGAIN_NEVER,	/* the answer is final */
	FETCH_AGAIN_NET,	/* no name, no route, nobody listens */
	FETCH_AGAIN_LATER,	/* may work after a while */
};

struct fetch_retry {
	unsigned max;		/* fetch.retries */
	unsigned tries;		/* since the last progress */
	unsigned total;
	uint64_t spent_ms;	/* since the last progress; the caller adds */
	uint64_t spent_max_ms;	/* 0: RETRY_SPENT_MS */
};

/*
 * Milliseconds to wait before the next try, or -1: give up. progress: bytes
 * the last try delivered. asked_ms: what the hub asked for (Retry-After,
 * RateLimit), 0: nothing. noise: a random number.
 */
int64_t fetch_retry_next(struct fetch_retry *r, enum fetch_again again,
	uint64_t progress, uint64_t asked_ms, uint32_t noise);

#endif
