/*
 * One thing wanted from a hub, whatever it takes: redirects followed by hand,
 * tries again after failures, a range taken up where it broke off.
 *
 *   want ──► exchange ──► 3xx: next hop ──► 2xx: bytes ──► all here: done
 *              ▲            │                │ cut, refused, stalled
 *              └── wait ◄───┴────────────────┘
 *
 * Belongs to the engine thread from fetch_transfer_start() on.
 */
#ifndef FETCH_TRANSFER_H
#define FETCH_TRANSFER_H

#include "base/error.h"
#include "fetch/auth.h"
#include "fetch/engine.h"

#define TRANSFER_HOPS_MAX 8

/* Where a file was last found after redirects, for the next transfers of it.
 * The engine thread's; shared by the transfers of one file. */
struct fetch_transfer;
struct fetch_place {
	char *url;		/* NULL: not known */
	uint64_t until;		/* ms; not used after */
	bool brief;		/* addresses here serve once: waiting for
				   another's is no use */
	/* One transfer looks for the place; those that come meanwhile wait
	 * for what it finds, and share its failure if it finds nothing. */
	struct fetch_transfer *finder;
	struct fetch_transfer *parked;
	unsigned running;	/* exchanges now */
};
void fetch_place_done(struct fetch_place *p);

struct fetch_transfer {
	/* the asker's; strings stay until done() */
	struct fetch_engine *engine;
	const char *url;		/* where it begins */
	const struct fetch_auth *auth;	/* NULL: none */
	enum fetch_class klass;
	const char *lines;		/* of every request, as request.h */
	const char *post;		/* NULL: GET */
	/* The file may lie elsewhere too: a refusal ends it at once, what may
	 * pass after one more try. `lost` says which it was. */
	bool hasty;
	bool ranged;
	struct fetch_range want;	/* if ranged; off moves on delivery */
	struct fetch_place *place;	/* NULL: not remembered */
	/* Only headers are wanted. It sees those of the last reply, 2xx or
	 * 416, and the body is not read; not 0: the transfer ends so. With it
	 * go `bare`, or `ranged` and the range to show for it. */
	int (*probe)(struct fetch_transfer *t, const struct fetch_reply *r,
		struct error *why);
	bool bare;			/* ask HEAD */
	/* What a status of 400 and more means at this hub. MAY be NULL. */
	struct fetch_status (*meaning)(unsigned status, const char *words,
		struct fetch_status usual);
	/* Each hop's reply below 400 with its address, before it is followed
	 * or believed. Not 0: the transfer ends so. MAY be NULL. */
	int (*vet)(struct fetch_transfer *t, const struct fetch_reply *r,
		const char *url, struct error *why);
	/* Asked before a redirect is followed. true: where it leads is all
	 * that was wanted, and the transfer ends well. MAY be NULL. */
	bool (*arrived)(struct fetch_transfer *t, const char *to);
	/* Of a whole document: the status of 400 and more that its body tells
	 * in spite of its 200, with words; 0: none. MAY be NULL. */
	unsigned (*judge)(struct fetch_transfer *t, char *words, size_t room);
	/* Bytes: of the range in order; of a document from its beginning,
	 * after restart() once more. Not 0: the transfer ends so. */
	int (*data)(struct fetch_transfer *t, const void *buf, size_t len);
	void (*restart)(struct fetch_transfer *t);	/* unless ranged or
							   a probe */
	/* Last. May free t. `why` is valid during the call. */
	void (*done)(struct fetch_transfer *t, int err,
		const struct error *why);

	/* told with done() */
	bool unchanged;		/* 304: what `lines` names is still right */
	bool lost;		/* err: asking here again is no use */
	bool contradicts;	/* err: the last reply had, or spoke of, another
				 * file: of another length than want.size, or
				 * not the one that vet() knows */
	uint64_t silent_ms;	/* err: the hub will answer nobody so long */

	/* its own */
	struct fetch_task task;
	struct fetch_timer timer;
	struct fetch_request request;
	struct fetch_retry retry;
	struct error why;	/* of the last failure */
	unsigned status;	/* of the last reply; 0: none came */
	char *hop;		/* the address asked now, if not url */
	unsigned hops;
	bool turned;		/* a redirect has made a GET of the POST */
	bool elsewhere;		/* a hop has left the first origin */
	bool remembered;	/* this try began at place->url */
	bool accept;		/* the body is what is wanted */
	bool headed;		/* on_head() was called in this exchange */
	bool refused;		/* the body contradicts what is wanted */
	bool sniff;		/* it may be an LFS pointer: … */
	size_t sniffed;		/* … so many bytes are those of one */
	unsigned renewed;	/* remembered places that were refused */
	int final;		/* errno that no other try can change */
	uint64_t skip;		/* body bytes before want.off */
	uint64_t progress;	/* bytes delivered in this try */
	uint8_t said[1024];	/* begin of the body of a failure */
	size_t said_len;
	struct fetch_transfer *next;	/* in place->parked */
};

/* Any thread. */
void fetch_transfer_start(struct fetch_transfer *t);
#endif
