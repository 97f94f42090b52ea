#include "config.h"

#include "fetch/url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"

#define SIGNED_MARGIN_S 30
#define SIGNED_LIFE_MAX_S 86400

static void curl_url_cleanupp(CURLU **u)
{
	curl_url_cleanup(*u);
}
#define cleanup_curlu __attribute__((cleanup(curl_url_cleanupp)))

static void curl_freep(char **p)
{
	curl_free(*p);
}
#define cleanup_curl_str __attribute__((cleanup(curl_freep)))

bool fetch_url_is_file(const char *url)
{
	return !strncasecmp(url, "file://", 7);
}

/* Scheme, host and port as one lower-case word. */
static char *origin_of(CURLU *u)
{
	char *scheme cleanup_curl_str = NULL;
	char *host cleanup_curl_str = NULL;
	char *port cleanup_curl_str = NULL;
	char *ret;

	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		return NULL;
	if (asprintf(&ret, "%s://%s:%s", scheme, host, port) < 0)
		return NULL;
	for (char *p = ret; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return ret;
}

int fetch_url_endpoint(const char *text, char **ret, struct error *why)
{
	CURLU *u cleanup_curlu = curl_url();
	char *query cleanup_curl_str = NULL;
	size_t len = strlen(text);
	char *out;

	if (!u)
		return -ENOMEM;
	while (len && text[len - 1] == '/')
		len--;
	if (len > URL_MAX / 2)
		return error_set(why, -EINVAL, "the endpoint is too long");
	out = strndup(text, len);
	if (!out)
		return -ENOMEM;
	if (!strncmp(out, "file:///", 8)) {
		*ret = out;
		return 0;
	}
	if ((strncmp(out, "http://", 7) && strncmp(out, "https://", 8)) ||
	    curl_url_set(u, CURLUPART_URL, out, CURLU_DISALLOW_USER) ||
	    !curl_url_get(u, CURLUPART_QUERY, &query, 0) ||
	    strchr(out, '#')) {
		int r = error_set(why, -EINVAL, "%s is no endpoint: give "
			"https://HOST, http://HOST or file:///DIR", out);

		free(out);
		return r;
	}
	*ret = out;
	return 0;
}

int fetch_url_escape(struct buf *out, const char *text, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";
	int r = 0;

	for (const unsigned char *p = (const unsigned char *)text;
	     *p && !r; p++) {
		char esc[3] = { '%', hex[*p >> 4], hex[*p & 15] };

		if (isascii(*p) && (isalnum(*p) || strchr("-._~", *p) ||
				(keep_slash && *p == '/')))
			r = buf_append(out, p, 1);
		else
			r = buf_append(out, esc, 3);
	}
	return r;
}

int fetch_url_join(const char *base, const char *target, char **ret,
	struct error *why)
{
	CURLU *u cleanup_curlu = curl_url();
	char *full cleanup_curl_str = NULL;
	char *frag;

	if (!u)
		return -ENOMEM;
	if (strlen(target) > URL_MAX ||
	    curl_url_set(u, CURLUPART_URL, base, 0) ||
	    curl_url_set(u, CURLUPART_URL, target,
		CURLU_URLENCODE | CURLU_DISALLOW_USER) ||
	    curl_url_get(u, CURLUPART_URL, &full, 0) ||
	    strlen(full) > URL_MAX)
		return error_set(why, -EIO,
			"the hub points at something that is no address");
	if (strncmp(full, "https://", 8) &&
	    (strncmp(full, "http://", 7) || strncmp(base, "http://", 7)))
		return error_set(why, -EIO,
			"the hub points from %.8s to %.8s: refused", base,
			full);
	if (fetch_url_is_file(base))
		return error_set(why, -EIO, "a file cannot point elsewhere");
	*ret = strdup(full);
	if (!*ret)
		return -ENOMEM;
	frag = strchr(*ret, '#');
	if (frag)
		*frag = '\0';
	return 0;
}

char *fetch_url_origin(const char *url)
{
	CURLU *u cleanup_curlu = curl_url();

	if (fetch_url_is_file(url))
		return strdup("file://");
	if (!u || curl_url_set(u, CURLUPART_URL, url, 0))
		return NULL;
	return origin_of(u);
}

bool fetch_url_same_origin(const char *a, const char *b)
{
	cleanup_free char *x = fetch_url_origin(a);
	cleanup_free char *y = fetch_url_origin(b);

	return x && y && !strcmp(x, y);
}

bool fetch_url_names_html(const char *url)
{
	size_t n = strcspn(url, "?#");

	return (n >= 5 && !strncasecmp(url + n - 5, ".html", 5)) ||
		(n >= 4 && !strncasecmp(url + n - 4, ".htm", 4));
}

const char *fetch_url_show(const char *url, char *ret, size_t room)
{
	snprintf(ret, room, "%.*s", (int)strcspn(url, "?#"), url);
	return ret;
}

/* The value of `key` in the query, as a number or as text. */
static const char *query_value(const char *url, const char *key)
{
	const char *p = strchr(url, '?');
	size_t n = strlen(key);

	while (p) {
		p++;
		if (!strncasecmp(p, key, n) && p[n] == '=')
			return p + n + 1;
		p = strchr(p, '&');
	}
	return NULL;
}

/* "20260102T030405Z" → seconds since 1970, or -1. */
static int64_t amz_date(const char *v)
{
	struct tm tm = { 0 };
	const char *end;

	if (!v)
		return -1;
	end = strptime(v, "%Y%m%dT%H%M%S", &tm);
	return end ? (int64_t)timegm(&tm) : -1;
}

uint64_t fetch_url_life(const char *url, int64_t now)
{
	static const char *const brand[] = { "X-Amz-", "X-Goog-" };
	const char *v = query_value(url, "Expires");
	int64_t end = -1, left;
	char key[32];

	if (v)
		end = strtoll(v, NULL, 10);
	for (int i = 0; end < 0 && i < 2; i++) {
		int64_t from;

		snprintf(key, sizeof(key), "%sExpires", brand[i]);
		v = query_value(url, key);
		if (!v)
			continue;
		snprintf(key, sizeof(key), "%sDate", brand[i]);
		from = amz_date(query_value(url, key));
		left = strtoll(v, NULL, 10);
		if (left < 0 || left > SIGNED_LIFE_MAX_S)
			left = SIGNED_LIFE_MAX_S;
		end = (from < 0 ? now : from) + left;
	}
	if (end < 0)
		return URL_LIFE_DEFAULT_MS;
	if (end <= now)
		return 0;
	left = end - now;
	if (left > SIGNED_LIFE_MAX_S)
		left = SIGNED_LIFE_MAX_S;
	left -= left / 4 < SIGNED_MARGIN_S ? left / 4 : SIGNED_MARGIN_S;
	return (uint64_t)left * 1000;
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Is one of the components ".."? */
static bool climbs(const char *path)
{
	for (const char *p = path; *p; p = strchrnul(p, '/')) {
		while (*p == '/')
			p++;
		if (p[0] == '.' && p[1] == '.' && (!p[2] || p[2] == '/'))
			return true;
	}
	return false;
}

int fetch_url_file_path(const char *url, char **ret)
{
	const char *p = url + 7, *end = p + strcspn(p, "?#");
	cleanup_free char *out = malloc((size_t)(end - p) + 1);
	char *o = out;

	if (!out)
		return -ENOMEM;
	while (p < end) {
		if (*p != '%') {
			*o++ = *p++;
			continue;
		}
		if (end - p < 3 || hex_of(p[1]) < 0 || hex_of(p[2]) < 0)
			return -EINVAL;
		*o = (char)(hex_of(p[1]) << 4 | hex_of(p[2]));
		if (!*o++)
			return -EINVAL;
		p += 3;
	}
	*o = '\0';
	if (*out != '/' || climbs(out))
		return -EINVAL;
	*ret = steal_ptr(out);
	return 0;
}
