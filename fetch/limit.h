/*
 * Who may start now: connections per host, pauses that a host asked for, and
 * fetch.rate. Pure but for its own memory; belongs to the engine thread.
 *
 * Bulk transfers take slots, LIMIT_BULK a host (or fetch.connections, if that
 * is more). Metadata takes slots of its own, so that `ls` never waits behind
 * downloads. A bulk transfer that has been silent for LIMIT_SILENT_MS lends its
 * slot out, until LIMIT_LENT times as many are open: sixteen stalled downloads
 * must not stop the seventeenth. Of those that wait, the ones whose file has
 * nothing running begin first.
 *
 * fetch.rate is a bucket that fills with `rate` bytes a second up to a quarter
 * second's worth. Bytes are taken as they come, also when that makes the
 * bucket negative; nothing more is taken until it is above zero again. Example:
 * 1 MB/s, a buffer of 512 KB comes: the bucket stands at -262 KB, reading goes
 * on after 262 ms.
 */
#ifndef FETCH_LIMIT_H
#define FETCH_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"

#define LIMIT_BULK 16
#define LIMIT_LENT 16
#define LIMIT_META 32
#define LIMIT_HOSTS 64	/* remembered without being in use */
#define LIMIT_SILENT_MS 1000

enum fetch_class { FETCH_META, FETCH_BULK, FETCH_CLASSES };

struct fetch_limit_host {
	unsigned open[FETCH_CLASSES];	/* running exchanges */
	unsigned lent;			/* of the bulk ones, silent */
	unsigned users;			/* who hold this pointer */
	uint64_t held[FETCH_CLASSES];	/* ms: none starts before */
};

struct fetch_limit {
	struct map hosts;	/* origin → struct fetch_limit_host */
	unsigned bulk;		/* slots a host */
	uint64_t rate;		/* bytes a second; 0: no limit */
	int64_t bucket;		/* bytes */
	uint64_t filled;	/* ms of the last filling */
};

void fetch_limit_init(struct fetch_limit *l, unsigned connections,
	uint64_t rate, uint64_t now);
void fetch_limit_done(struct fetch_limit *l);
/* Stays until put back. NULL: out of memory. */
struct fetch_limit_host *fetch_limit_host(struct fetch_limit *l,
	const char *origin);
/* NULL is fine. Redirects may name any number of hosts: beyond LIMIT_HOSTS
 * the ones nobody uses are forgotten. */
void fetch_limit_host_put(struct fetch_limit *l, struct fetch_limit_host *h);

bool fetch_limit_may_start(const struct fetch_limit *l,
	const struct fetch_limit_host *h, enum fetch_class c, uint64_t now);
/* Nothing of this class starts at this host for `ms` more, RETRY_ASKED_CAP_MS
 * at most: some ask for a day and do not mean it. */
void fetch_limit_hold(struct fetch_limit_host *h, enum fetch_class c,
	uint64_t now, uint64_t ms);

/* 0: go on, and len is taken; otherwise ms to wait before asking again. */
uint64_t fetch_limit_take(struct fetch_limit *l, uint64_t len, uint64_t now);

#endif
