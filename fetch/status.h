/*
 * What an HTTP status or a failure of libcurl means to us: errno, whether to
 * try again, and words. The only such table; hubs.md 1.9 is where the rows
 * with a hub's own words come from.
 */
#ifndef FETCH_STATUS_H
#define FETCH_STATUS_H

#include <curl/curl.h>
#include <stddef.h>

#include "base/error.h"
#include "fetch/header.h"
#include "fetch/retry.h"

struct fetch_status {
	int err;		/* negative errno; 0: it went well */
	enum fetch_again again;	/* when err */
};

/* `words`: the hub's own, may be "". A status below 400 is 0 here. */
struct fetch_status fetch_status_http(unsigned status, const char *error_code,
	const char *words);
struct fetch_status fetch_status_curl(CURLcode c);

/* The hub's words about a failure: X-Error-Message, else "error" or "message"
 * of a JSON body, else code and message of an object store's XML, else a short
 * plain body; one line, cut to fit. "" when there are
 * none. */
void fetch_status_words(const struct fetch_reply *r, const void *body,
	size_t len, char *ret, size_t room);

#endif
