#include "config.h"

#include "fetch/header.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const header_name[HEADER_COUNT] = {
	[HEADER_LOCATION] = "location",
	[HEADER_CONTENT_RANGE] = "content-range",
	[HEADER_CONTENT_LENGTH] = "content-length",
	[HEADER_CONTENT_TYPE] = "content-type",
	[HEADER_CONTENT_ENCODING] = "content-encoding",
	[HEADER_ETAG] = "etag",
	[HEADER_LAST_MODIFIED] = "last-modified",
	[HEADER_DATE] = "date",
	[HEADER_LINK] = "link",
	[HEADER_RETRY_AFTER] = "retry-after",
	[HEADER_RATELIMIT] = "ratelimit",
	[HEADER_QUOTA_LEFT] = "x-ratelimit-remaining",
	[HEADER_QUOTA_RESET] = "x-ratelimit-reset",
	[HEADER_ERROR_CODE] = "x-error-code",
	[HEADER_ERROR_MESSAGE] = "x-error-message",
	[HEADER_REPO_COMMIT] = "x-repo-commit",
	[HEADER_LINKED_SIZE] = "x-linked-size",
	[HEADER_LINKED_ETAG] = "x-linked-etag",
	[HEADER_GOOG_HASH] = "x-goog-hash",
	[HEADER_GOOG_ENCODING] = "x-goog-stored-content-encoding",
};

void fetch_reply_done(struct fetch_reply *r)
{
	for (int i = 0; i < HEADER_COUNT; i++)
		free(r->value[i]);
	memset(r, 0, sizeof(*r));
}

const char *fetch_reply_get(const struct fetch_reply *r, enum fetch_header h)
{
	return r->value[h];
}

/* "HTTP/1.1 200 OK", "HTTP/2 200": the status, or 0. */
static unsigned status_of(const char *line, size_t len)
{
	const char *p = memchr(line, ' ', len);
	unsigned v = 0;

	if (!p || (size_t)(line + len - p) < 4)
		return 0;
	for (int i = 1; i <= 3; i++) {
		if (!isdigit((unsigned char)p[i]))
			return 0;
		v = v * 10 + (unsigned)(p[i] - '0');
	}
	return v;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Keep the value; of a list a second line is the continuation. */
static int keep(struct fetch_reply *r, enum fetch_header h, const char *v,
	size_t len)
{
	bool list = h == HEADER_LINK || h == HEADER_GOOG_HASH;
	const char *old = list ? r->value[h] : NULL;
	size_t had = old ? strlen(old) + 2 : 0;
	char *text;

	if (had + len > HEADER_VALUE_MAX)
		return -EFBIG;
	text = malloc(had + len + 1);
	if (!text)
		return -ENOMEM;
	if (old) {
		memcpy(text, old, had - 2);
		memcpy(text + had - 2, ", ", 2);
	}
	memcpy(text + had, v, len);
	text[had + len] = '\0';
	free(r->value[h]);
	r->value[h] = text;
	return 0;
}

int fetch_reply_line(struct fetch_reply *r, const char *line, size_t len)
{
	const char *colon, *v;

	if (len >= 5 && !strncasecmp(line, "HTTP/", 5)) {
		fetch_reply_done(r);
		r->status = status_of(line, len);
		if (!r->status)
			return -EPROTO;
	}
	r->bytes += len;
	if (r->bytes > HEADER_BYTES_MAX)
		return -EFBIG;
	colon = memchr(line, ':', len);
	if (!colon || memchr(line, '\0', len))
		return 0;
	for (int i = 0; i < HEADER_COUNT; i++) {
		size_t n = strlen(header_name[i]);

		if ((size_t)(colon - line) != n ||
		    strncasecmp(line, header_name[i], n))
			continue;
		v = colon + 1;
		len -= (size_t)(v - line);
		while (len && blank(*v))
			v++, len--;
		while (len && blank(v[len - 1]))
			len--;
		return keep(r, (enum fetch_header)i, v, len);
	}
	return 0;
}

/* Digits from *p on; moves *p behind them. */
static bool digits(const char **p, uint64_t *ret)
{
	uint64_t v = 0;
	const char *s = *p;

	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	if (s == *p)
		return false;
	*p = s;
	*ret = v;
	return true;
}

bool fetch_header_u64(const char *v, uint64_t *ret)
{
	uint64_t n;

	if (!v || !digits(&v, &n) || *v)
		return false;
	*ret = n;
	return true;
}

bool fetch_header_content_range(const char *v, uint64_t *ret_first,
	uint64_t *ret_last, uint64_t *ret_total)
{
	uint64_t first, last, total = UINT64_MAX;

	if (!v || strncasecmp(v, "bytes ", 6))
		return false;
	v += 6;
	if (!digits(&v, &first) || *v++ != '-' || !digits(&v, &last) ||
	    *v++ != '/')
		return false;
	if (!strcmp(v, "*"))
		v++;
	else if (!digits(&v, &total))
		return false;
	if (*v || last < first || last >= total)
		return false;
	*ret_first = first;
	*ret_last = last;
	*ret_total = total;
	return true;
}

bool fetch_header_content_total(const char *v, uint64_t *ret)
{
	return v && !strncasecmp(v, "bytes */", 8) &&
		fetch_header_u64(v + 8, ret);
}

bool fetch_header_etag(const char *v, char *ret, size_t room)
{
	size_t n;

	if (!v)
		return false;
	if (!strncmp(v, "W/", 2))
		v += 2;
	n = strlen(v);
	if (n >= 2 && v[0] == '"' && v[n - 1] == '"') {
		v++;
		n -= 2;
	}
	if (!n || n >= room)
		return false;
	memcpy(ret, v, n);
	ret[n] = '\0';
	return true;
}

bool fetch_header_retry_after(const char *v, int64_t now, uint64_t *ret_ms)
{
	uint64_t s;
	int64_t when;

	if (!v)
		return false;
	if (fetch_header_u64(v, &s)) {
		*ret_ms = (s > 86400 ? 86400 : s) * 1000;
		return true;
	}
	when = (int64_t)curl_getdate(v, NULL);
	if (when == -1)
		return false;
	when = when > now ? when - now : 0;
	*ret_ms = (uint64_t)(when > 86400 ? 86400 : when) * 1000;
	return true;
}

/* The number behind ";k=" inside [p, end). */
static bool param(const char *p, const char *end, char k, uint64_t *ret)
{
	for (; p + 3 < end; p++) {
		const char *v = p + 3;

		if (p[0] != ';')
			continue;
		while (v < end && v[-2] == ' ')
			v++;
		if (v[-2] == k && v[-1] == '=' && v < end)
			return digits(&v, ret);
	}
	return false;
}

bool fetch_header_ratelimit(const char *v, uint64_t *ret_ms)
{
	uint64_t least = UINT64_MAX, wait = 0;
	bool found = false;

	while (v && *v) {
		const char *end = strchrnul(v, ',');
		uint64_t left = 0, t;

		if (param(v, end, 't', &t)) {
			(void) param(v, end, 'r', &left);
			if (!found || left < least) {
				least = left;
				wait = t > 86400 ? 86400 : t;
			}
			found = true;
		}
		v = *end ? end + 1 : end;
	}
	if (found)
		*ret_ms = wait * 1000;
	return found;
}

bool fetch_header_quota(const char *left, const char *reset, int64_t now,
	uint64_t *ret_ms)
{
	uint64_t n, at, wait = 0;

	if (!fetch_header_u64(left, &n) || n ||
	    !fetch_header_u64(reset, &at))
		return false;
	if (now >= 0 && at > (uint64_t)now)
		wait = at - (uint64_t)now;
	*ret_ms = (wait > 3600 ? 3600 : wait) * 1000;
	return true;
}

/* Do the parameters of one link, up to `end`, say rel=next? */
static bool is_next(const char *p, const char *end)
{
	for (; p + 8 <= end; p++) {
		const char *v;

		if (strncasecmp(p, "rel", 3) ||
		    !(p[-1] == ';' || p[-1] == ' ' || p[-1] == '\t'))
			continue;
		v = p + 3;
		while (v < end && *v == ' ')
			v++;
		if (v == end || *v++ != '=')
			continue;
		while (v < end && (*v == ' ' || *v == '"'))
			v++;
		if (end - v >= 4 && !strncasecmp(v, "next", 4) &&
		    (end - v == 4 || !isalnum((unsigned char)v[4])))
			return true;
	}
	return false;
}

char *fetch_header_link_next(const char *v)
{
	const char *open, *close, *end;

	while (v && (open = strchr(v, '<'))) {
		close = strchr(open, '>');
		if (!close)
			return NULL;
		/* a comma inside a quoted parameter ends no link, but none of
		 * those is rel=next either */
		end = strchr(close, '<');
		if (!end)
			end = close + strlen(close);
		if (is_next(close + 1, end))
			return strndup(open + 1, (size_t)(close - open - 1));
		v = end;
	}
	return NULL;
}

bool fetch_header_goog_md5(const char *v, struct objid *ret)
{
	/* 24 characters, the last two of them "==": 16 bytes and two of 0 */
	enum { CHARS = 24, RAW = 18, BYTES = 16 };
	uint8_t raw[RAW];

	while (v && *v) {
		v += strspn(v, ", ");
		if (strncmp(v, "md5=", 4)) {
			v = strchrnul(v, ',');
			continue;
		}
		v += 4;
		if (strcspn(v, ", ") != CHARS || memcmp(v + 22, "==", 2) ||
		    EVP_DecodeBlock(raw, (const unsigned char *)v, CHARS) !=
		    RAW)
			return false;
		*ret = (struct objid){ .alg = OBJID_MD5, .digits = 2 * BYTES };
		memcpy(ret->raw, raw, BYTES);
		return true;
	}
	return false;
}

bool fetch_header_is_html(const char *v)
{
	return v && (!strncasecmp(v, "text/html", 9) ||
		!strncasecmp(v, "application/xhtml", 17));
}

bool fetch_header_is_encoded(const char *v)
{
	return v && *v && strcasecmp(v, "identity") != 0;
}
