/*
 * One exchange: a request, the headers of its reply, its body, how it ended.
 * It follows no redirect and tries nothing twice: fetch/transfer.c does.
 *
 * The asker fills the first part and hands it to fetch_engine_submit(); all
 * three callbacks come on the engine thread. The struct is the asker's and may
 * be used again, or freed, once done() is called.
 */
#ifndef FETCH_REQUEST_H
#define FETCH_REQUEST_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fetch/header.h"
#include "fetch/limit.h"
#include "fetch/pace.h"
#include "fetch/range.h"
#include "fetch/status.h"

struct fetch_request {
	/* the asker's */
	const char *url;
	const char *auth;		/* header lines or NULL */
	const char *lines;		/* more of them, a '\n' between two;
					   or NULL */
	const char *post;		/* what to POST, or NULL: GET */
	enum fetch_class klass;
	unsigned *running;		/* exchanges for the same file, kept up
					   by the engine; NULL: not counted */
	const struct fetch_range *range;	/* NULL: everything, and it
						   may come compressed */
	bool bare;			/* HEAD: no body; range is NULL */
	/* The headers are here (of the reply that counts, not of a 1xx).
	 * Not 0: the body is not wanted, the exchange ends. */
	int (*head)(struct fetch_request *r);
	/* Not 0: the exchange ends. */
	int (*body)(struct fetch_request *r, const void *data, size_t len);
	void (*done)(struct fetch_request *r);

	/* the outcome */
	struct fetch_reply reply;	/* freed by fetch_request_reset() */
	struct fetch_status status;	/* of the connection, not of HTTP */
	bool stopped;			/* head() or body() ended it */
	char words[CURL_ERROR_SIZE];	/* about status.err, may be "" */

	/* the engine's */
	CURL *easy;			/* NULL: not over the network */
	int no_socket;			/* errno, when there was none to have */
	struct curl_slist *slist;
	struct fetch_limit_host *host;
	bool slot;			/* it takes one there */
	struct fetch_limit *limit;
	atomic_ullong *received;	/* counter of body bytes */
	uint64_t began_ms;		/* 0: not yet */
	struct fetch_pace pace;
	uint64_t heard_ms;		/* when the last byte came */
	uint64_t paused_until;		/* ms; 0: not paused by fetch.rate */
	bool head_told;
	bool head_whole;	/* its last line, the empty one, came */
	bool lent;			/* its slot is lent out */
	int fd;				/* of a file:// exchange, or -1 */
	uint64_t at, end;		/* of it, bytes */
	struct fetch_request *next, **link;	/* a list of the engine */
};

/* What the whole engine has in common. */
struct fetch_request_conf {
	const char *ca_file;	/* NULL: libcurl's default */
	uint64_t timeout_ms;	/* without a byte */
	bool streams;		/* bulk may share a connection (HTTP/2) */
};

/* Sets up `easy`, which is new or reset. -ENOMEM. */
int fetch_request_prepare(struct fetch_request *r, CURL *easy,
	const struct fetch_request_conf *conf);
/* Takes the outcome of libcurl. */
void fetch_request_ended(struct fetch_request *r, CURLcode c);
/* Forget the outcome, so that it can be asked again. */
void fetch_request_reset(struct fetch_request *r);

/* file:// exchanges: status and headers as a server would give them; head()
 * is called. 0: call fetch_request_file_step() until it is not 1. */
int fetch_request_file_open(struct fetch_request *r);
/* 1: there is more. 0: ended, as r->status and r->stopped say. */
int fetch_request_file_step(struct fetch_request *r, void *scratch,
	size_t room);

#endif
