#include "config.h"

#include "fetch/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

#define BODY_SHOWN 200	/* bytes of a plain body that may be shown */

struct http_row {
	unsigned status;	/* 0: any of 400 and more */
	const char *code;	/* X-Error-Code, NULL: any */
	const char *words;	/* begin of the hub's words, NULL: any */
	struct fetch_status means;
};

static const struct http_row http_table[] = {
	{ 0, "RepoNotFound", NULL, { -ENOENT, FETCH_AGAIN_NEVER } },
	{ 0, "RevisionNotFound", NULL, { -ENOENT, FETCH_AGAIN_NEVER } },
	{ 0, "EntryNotFound", NULL, { -ENOENT, FETCH_AGAIN_NEVER } },
	{ 0, "GatedRepo", NULL, { -EACCES, FETCH_AGAIN_NEVER } },
	/* how a missing repository looks to who has no token */
	{ 401, NULL, "Invalid username or password",
		{ -ENOENT, FETCH_AGAIN_NEVER } },
	{ 401, NULL, NULL, { -EACCES, FETCH_AGAIN_NEVER } },
	{ 403, NULL, NULL, { -EACCES, FETCH_AGAIN_NEVER } },
	{ 404, NULL, NULL, { -ENOENT, FETCH_AGAIN_NEVER } },
	{ 407, NULL, NULL, { -EACCES, FETCH_AGAIN_NEVER } },
	{ 408, NULL, NULL, { -ETIMEDOUT, FETCH_AGAIN_LATER } },
	{ 410, NULL, NULL, { -ENOENT, FETCH_AGAIN_NEVER } },
	{ 416, NULL, NULL, { -EIO, FETCH_AGAIN_LATER } },
	{ 425, NULL, NULL, { -EIO, FETCH_AGAIN_LATER } },
	{ 429, NULL, NULL, { -EIO, FETCH_AGAIN_LATER } },
	{ 451, NULL, NULL, { -EACCES, FETCH_AGAIN_NEVER } },
	{ 501, NULL, NULL, { -EIO, FETCH_AGAIN_NEVER } },
	{ 505, NULL, NULL, { -EIO, FETCH_AGAIN_NEVER } },
};

struct fetch_status fetch_status_http(unsigned status, const char *error_code,
	const char *words)
{
	if (status < 400)
		return (struct fetch_status){ 0, FETCH_AGAIN_NEVER };
	for (size_t i = 0; i < sizeof(http_table) / sizeof(*http_table); i++) {
		const struct http_row *row = &http_table[i];

		if (row->status && row->status != status)
			continue;
		if (row->code && (!error_code ||
				strcmp(row->code, error_code)))
			continue;
		if (row->words && strncmp(words, row->words,
				strlen(row->words)))
			continue;
		return row->means;
	}
	return (struct fetch_status){ -EIO, status >= 500 ?
		FETCH_AGAIN_LATER : FETCH_AGAIN_NEVER };
}

struct fetch_status fetch_status_curl(CURLcode c)
{
	switch (c) {
	case CURLE_OK:
		return (struct fetch_status){ 0, FETCH_AGAIN_NEVER };
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		return (struct fetch_status){ -EHOSTUNREACH,
			FETCH_AGAIN_NET };
	case CURLE_OPERATION_TIMEDOUT:	/* only connecting has one */
		return (struct fetch_status){ -ETIMEDOUT, FETCH_AGAIN_NET };
	case CURLE_OUT_OF_MEMORY:
		return (struct fetch_status){ -ENOMEM, FETCH_AGAIN_NEVER };
	case CURLE_URL_MALFORMAT:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_LOGIN_DENIED:
		return (struct fetch_status){ -EIO, FETCH_AGAIN_NEVER };
	default:
		/* cut, reset, garbled (CURLE_UNSUPPORTED_PROTOCOL as well:
		 * HTTP/0.9): the next connection may do better */
		return (struct fetch_status){ -EIO, FETCH_AGAIN_LATER };
	}
}

/* One line: control characters and runs of blanks become one blank. */
static void put_line(char *ret, size_t room, const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < room; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c > ' ' && c != 0x7f)
			ret[n++] = (char)c;
		else if (n && ret[n - 1] != ' ')
			ret[n++] = ' ';
	}
	while (n && ret[n - 1] == ' ')
		n--;
	ret[n] = '\0';
}

/* What stands between <NAME> and the next '<' of an XML text. */
static size_t element(const char *text, size_t len, const char *name,
	const char **ret)
{
	char open[16];
	size_t n = (size_t)snprintf(open, sizeof(open), "<%s>", name);
	const char *p = memmem(text, len, open, n), *end;

	if (!p)
		return 0;
	p += n;
	end = memchr(p, '<', len - (size_t)(p - text));
	*ret = p;
	return end ? (size_t)(end - p) : 0;
}

/* <Error><Code>…</Code><Message>…</Message> of S3 and Google's storage. */
static bool put_xml(char *ret, size_t room, const char *text, size_t len)
{
	const char *code = "", *message = "";
	size_t n_code, n_message;
	char both[BODY_SHOWN + 64];
	int n;

	if (!memmem(text, len, "<Error>", 7))
		return false;
	n_code = element(text, len, "Code", &code);
	n_message = element(text, len, "Message", &message);
	if (!n_code)
		return false;
	n = snprintf(both, sizeof(both), "%.*s%s%.*s",
		(int)(n_code < 64 ? n_code : 64), code,
		n_message ? ": " : "",
		(int)(n_message < BODY_SHOWN ? n_message : BODY_SHOWN),
		message);
	put_line(ret, room, both, (size_t)n < sizeof(both) ? (size_t)n :
		sizeof(both) - 1);
	return true;
}

/* {"error": W}, {"message": W}, {"error": {"message": W}}, {"errors": [W]} */
static const char *words_of(const json_t *j)
{
	const json_t *error = json_object_get(j, "error");
	const char *v = json_string_value(error);

	if (!v)
		v = json_str(j, "message");
	if (!v)
		v = json_str(error, "message");
	if (!v)
		v = json_string_value(json_array_get(json_object_get(j,
			"errors"), 0));
	return v;
}

void fetch_status_words(const struct fetch_reply *r, const void *body,
	size_t len, char *ret, size_t room)
{
	const char *v = fetch_reply_get(r, HEADER_ERROR_MESSAGE);
	const char *type = fetch_reply_get(r, HEADER_CONTENT_TYPE);
	json_t *j cleanup_json = NULL;

	if (!v && len && !json_parse(body, len, len, &j, NULL))
		v = words_of(j);
	if (v)
		put_line(ret, room, v, strlen(v));
	else if (len && put_xml(ret, room, body, len))
		return;
	else if (len && len <= BODY_SHOWN && !fetch_header_is_html(type))
		put_line(ret, room, body, len);
	else
		put_line(ret, room, "", 0);
}
