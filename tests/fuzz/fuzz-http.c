/*
 * What a server says outside its bodies: each line of the input is a header
 * line, then every value is read by whoever reads such values, and followed
 * if it is an address.
 */
#include <stdlib.h>
#include <string.h>

#include "fetch/header.h"
#include "fetch/range.h"
#include "fetch/status.h"
#include "fetch/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void follow(const char *base, const char *to)
{
	char shown[64];
	char *url = NULL, *origin, *path = NULL;
	struct error why = { 0 };

	if (fetch_url_join(base, to, &url, &why)) {
		if (url || !*why.text)
			abort();
		return;
	}
	if (strncmp(url, "http", 4) != 0 || strlen(url) > URL_MAX ||
	    strlen(fetch_url_show(url, shown, sizeof(shown))) >= 64)
		abort();
	if (!strncmp(base, "https", 5) && strncmp(url, "https", 5) != 0)
		abort();
	if (fetch_url_life(url, 1800000000) > 86400000)
		abort();
	origin = fetch_url_origin(url);
	if (origin && !fetch_url_same_origin(url, url))
		abort();
	free(origin);
	free(url);
	if (!strncmp(to, "file://", 7) && !fetch_url_file_path(to, &path)) {
		if (*path != '/' || strstr(path, "/../"))
			abort();
		free(path);
	}
}

static void ranges(const struct fetch_reply *r)
{
	struct fetch_range want = { 1000, 2000, 5000, 500 };
	struct fetch_range_reply got = { .status = r->status,
		.length = RANGE_UNKNOWN };
	uint64_t skip = 0;

	(void) fetch_header_u64(fetch_reply_get(r, HEADER_CONTENT_LENGTH),
		&got.length);
	got.ranged = fetch_header_content_range(fetch_reply_get(r,
		HEADER_CONTENT_RANGE), &got.first, &got.last, &got.total);
	if (got.ranged && got.first > got.last)
		abort();
	if (!fetch_range_vet(&want, &got, &skip, NULL) &&
	    (skip > want.off || (got.status == 206 &&
			(skip > 500 || got.first + skip != want.off))))
		abort();
}

static void values(const struct fetch_reply *r)
{
	char text[64];
	uint64_t ms = 0;
	char *next;

	if (fetch_header_etag(fetch_reply_get(r, HEADER_ETAG), text,
			sizeof(text)) && !*text)
		abort();
	(void) fetch_header_retry_after(fetch_reply_get(r,
		HEADER_RETRY_AFTER), 1800000000, &ms);
	if (ms > 86400000)
		abort();
	(void) fetch_header_ratelimit(fetch_reply_get(r, HEADER_RATELIMIT),
		&ms);
	if (ms > 86400000)
		abort();
	(void) fetch_header_is_html(fetch_reply_get(r, HEADER_CONTENT_TYPE));
	next = fetch_header_link_next(fetch_reply_get(r, HEADER_LINK));
	if (next)
		follow("https://hub.example/api", next);
	free(next);
	if (fetch_reply_get(r, HEADER_LOCATION)) {
		follow("https://hub.example/a/b",
			fetch_reply_get(r, HEADER_LOCATION));
		follow("http://hub.example/a/b?c",
			fetch_reply_get(r, HEADER_LOCATION));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fetch_reply r = { 0 };
	const char *p = (const char *)data, *end = p + len;
	char words[64];

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl + 1 - p) : (size_t)(end - p);

		if (fetch_reply_line(&r, p, n))
			break;
		p += n;
	}
	values(&r);
	ranges(&r);
	fetch_status_words(&r, data, len, words, sizeof(words));
	for (const char *w = words; *w; w++)
		if ((unsigned char)*w < ' ')
			abort();
	fetch_reply_done(&r);
	return 0;
}
