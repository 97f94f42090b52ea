/*
 * Reply headers: the few we act on, kept under a ceiling, and the parsers of
 * their values. Everything here is a server's text and untrusted; a value that
 * does not parse counts as absent unless said otherwise.
 */
#ifndef FETCH_HEADER_H
#define FETCH_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

#define HEADER_BYTES_MAX 65536	/* of one reply, all lines */
#define HEADER_VALUE_MAX 16384	/* one value; signed addresses are long */

enum fetch_header {
	HEADER_LOCATION,
	HEADER_CONTENT_RANGE,
	HEADER_CONTENT_LENGTH,
	HEADER_CONTENT_TYPE,
	HEADER_CONTENT_ENCODING,
	HEADER_ETAG,
	HEADER_LAST_MODIFIED,
	HEADER_DATE,
	HEADER_LINK,
	HEADER_RETRY_AFTER,
	HEADER_RATELIMIT,
	HEADER_QUOTA_LEFT,	/* X-RateLimit-Remaining, of GitHub */
	HEADER_QUOTA_RESET,
	HEADER_ERROR_CODE,	/* X-Error-Code, hubs.md 1.9 */
	HEADER_ERROR_MESSAGE,
	HEADER_REPO_COMMIT,	/* X-Repo-Commit, hubs.md 1.7 */
	HEADER_LINKED_SIZE,
	HEADER_LINKED_ETAG,
	HEADER_GOOG_HASH,	/* x-goog-hash, hubs.md 5.3 */
	HEADER_GOOG_ENCODING,	/* x-goog-stored-content-encoding */
	HEADER_COUNT
};

struct fetch_reply {
	unsigned status;		/* 0: none came */
	char *value[HEADER_COUNT];	/* trimmed; NULL: absent */
	size_t bytes;			/* of all lines of this reply */
};

/* One line as the network gave it, line end included. A status line begins the
 * reply anew (1xx and a proxy's own replies go before the real one). -EPROTO: one
 * without a status; -EFBIG over a ceiling, -ENOMEM. */
int fetch_reply_line(struct fetch_reply *r, const char *line, size_t len);
void fetch_reply_done(struct fetch_reply *r);
/* NULL: absent. */
const char *fetch_reply_get(const struct fetch_reply *r, enum fetch_header h);

/* "bytes 0-9/100" or "bytes 0-9/ *"; total UINT64_MAX for the latter. */
bool fetch_header_content_range(const char *v, uint64_t *ret_first,
	uint64_t *ret_last, uint64_t *ret_total);
/* The N of "bytes *" "/N", which a 416 has. */
bool fetch_header_content_total(const char *v, uint64_t *ret);
/* Digits only. */
bool fetch_header_u64(const char *v, uint64_t *ret);
/* Without W/ and quotes, into ret; false: too long or empty. */
bool fetch_header_etag(const char *v, char *ret, size_t room);
/* Seconds or an HTTP date, as milliseconds from `now` (wall clock, s). */
bool fetch_header_retry_after(const char *v, int64_t now, uint64_t *ret_ms);
/* t= of the RateLimit member with the least r=, as milliseconds. */
bool fetch_header_ratelimit(const char *v, uint64_t *ret_ms);
/* GitHub's: nothing is left until that time (seconds since 1970); as
 * milliseconds from `now`, an hour at most. false: something is left. */
bool fetch_header_quota(const char *left, const char *reset, int64_t now,
	uint64_t *ret_ms);
/* The target of rel="next"; NULL: none. The caller frees. */
char *fetch_header_link_next(const char *v);
/* md5= of an x-goog-hash ("crc32c=…,md5=…", base64), a full OBJID_MD5. */
bool fetch_header_goog_md5(const char *v, struct objid *ret);
/* Is this Content-Type that of a web page? */
bool fetch_header_is_html(const char *v);
/* Is this Content-Encoding any but identity? */
bool fetch_header_is_encoded(const char *v);

#endif
