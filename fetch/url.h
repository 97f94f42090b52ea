/*
 * Addresses: build, escape, join, compare. Parsing is libcurl's. Only http,
 * https and file are known; a user name inside an address is refused
 * everywhere, so that no credential can hide in one.
 */
#ifndef FETCH_URL_H
#define FETCH_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define URL_MAX 16384			/* bytes of one address */
#define URL_LIFE_DEFAULT_MS (240 * 1000)	/* of an unsigned one */

/* A configured root: http(s)://HOST[:PORT] or file:///DIR, without a trailing
 * slash. -EINVAL with words. The caller frees. */
int fetch_url_endpoint(const char *text, char **ret, struct error *why);

bool fetch_url_is_file(const char *url);
/* Does its path end in .html or .htm? */
bool fetch_url_names_html(const char *url);

/* Append percent-escaped; '/' stays only when keep_slash. */
int fetch_url_escape(struct buf *out, const char *text, bool keep_slash);

/* A Location or Link target, relative or absolute, seen at `base`. -EIO with
 * words: not an address, or one that may not be followed from there (another
 * scheme, https to http, into a file, a user name). The caller frees. */
int fetch_url_join(const char *base, const char *target, char **ret,
	struct error *why);

/* "https://host:443" in lower case; NULL: no such. The caller frees. */
char *fetch_url_origin(const char *url);
bool fetch_url_same_origin(const char *a, const char *b);

/* For messages: without the query, which may be a signature. Points into ret;
 * cut to fit. */
const char *fetch_url_show(const char *url, char *ret, size_t room);

/* How long from now (wall clock, seconds) an address may be used again, by
 * what its query says of its signature; in ms. 0: not at all. */
uint64_t fetch_url_life(const char *url, int64_t now);

/* The path a file:// address means: query dropped, percent-decoded. -EINVAL
 * for ".." and for bytes no path can have. The caller frees. */
int fetch_url_file_path(const char *url, char **ret);

#endif
