/*
 * One question to a hub and everybody who waits for its answer: the same
 * question asked again while it is under way joins it.
 */
#ifndef FETCH_QUERY_H
#define FETCH_QUERY_H

#include "base/listing.h"
#include "fetch/fetch.h"
#include "fetch/queue.h"

enum fetch_what { FETCH_RESOLVE, FETCH_LIST, FETCH_LIST_OWNER };

struct fetch_waiter;

struct fetch_query {
	struct fetch_hub *hub;
	enum fetch_what what;
	char *name;			/* repository or owner, checked */
	char *revision;			/* "" where there is none */

	char *key;			/* in hub->queries */
	struct fetch_waiter *waiters;	/* hub->lock */
	struct fetch_task task;
};

/* Any thread. Exactly one of the callbacks is given. */
void fetch_query_ask(struct fetch_hub *h, enum fetch_what what,
	const char *name, const char *revision, fetch_snapshot_cb *snapshot,
	fetch_listing_cb *listing, void *arg);

/* Engine thread: the answer. q is freed; snap and l (moved out) are taken.
 * Both NULL exactly when err. */
void fetch_query_answer(struct fetch_query *q, int err,
	const struct error *why, struct fetch_snapshot *snap,
	struct listing *l);

/* 0 or -ENOMEM. */
int fetch_listing_copy(const struct listing *from, struct listing *ret);

#endif
