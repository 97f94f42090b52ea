#include "config.h"

#include "fetch/header.h"

#include <errno.h>

#include "tests/unit/t.h"

static int line(struct fetch_reply *r, const char *text)
{
	return fetch_reply_line(r, text, strlen(text));
}

static void keeps_what_we_act_on(void)
{
	struct fetch_reply r = { 0 };

	t_int(line(&r, "HTTP/1.1 100 Continue\r\n"), 0);
	t_int(line(&r, "ETag: \"early\"\r\n"), 0);
	t_int(line(&r, "\r\n"), 0);
	t_int(line(&r, "HTTP/2 302 \r\n"), 0);
	t_check(!fetch_reply_get(&r, HEADER_ETAG));
	t_int(r.status, 302);
	t_int(line(&r, "lOcAtIoN:  /x y \t\r\n"), 0);
	t_str(fetch_reply_get(&r, HEADER_LOCATION), "/x y");
	t_int(line(&r, "Locations: /no\r\n"), 0);
	t_int(line(&r, "X-Nothing: 1\r\n"), 0);
	t_int(line(&r, "no colon here\r\n"), 0);
	t_str(fetch_reply_get(&r, HEADER_LOCATION), "/x y");
	t_int(line(&r, "Link: <a>; rel=\"x\"\r\n"), 0);
	t_int(line(&r, "Link: <b>; rel=\"next\"\r\n"), 0);
	t_str(fetch_reply_get(&r, HEADER_LINK),
		"<a>; rel=\"x\", <b>; rel=\"next\"");
	t_int(line(&r, "ETag:\r\n"), 0);
	t_str(fetch_reply_get(&r, HEADER_ETAG), "");
	t_int(line(&r, "HTTP/1.1 2x0 No\r\n"), -EPROTO);
	t_int(line(&r, "HTTP/1.1  200 OK\r\n"), -EPROTO);
	t_int(r.status, 0);
	fetch_reply_done(&r);
}

static void has_ceilings(void)
{
	struct fetch_reply r = { 0 };
	static char big[HEADER_VALUE_MAX + 32];
	int n = 0;

	memset(big, 'a', sizeof(big) - 1);
	memcpy(big, "ETag: ", 6);
	t_int(line(&r, big), -EFBIG);
	fetch_reply_done(&r);
	while (!line(&r, "X-Padding: 0123456789012345678901234567890\r\n"))
		n++;
	t_check(n > 1000 && n * 44 <= HEADER_BYTES_MAX);
	fetch_reply_done(&r);
	n = 0;
	while (!line(&r, "Link: <0123456789012345678901234567890>\r\n"))
		n++;
	t_check(n > 100 && (n - 1) * 35 <= HEADER_VALUE_MAX);
	fetch_reply_done(&r);
}

static void content_range(void)
{
	static const char *const bad[] = {
		"", "bytes", "bytes 0-", "bytes 0-9", "bytes 0-9/",
		"bytes 9-0/10", "bytes 0-10/10", "bytes */10", "bytes 0-9/9",
		"bytes 0-9/10 ", "bytes -1-9/10", "items 0-9/10",
		"bytes 0-9/99999999999999999999", "bytes 0-9/1x",
	};
	uint64_t a = 1, b = 2, c = 3;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		t_check(!fetch_header_content_range(bad[i], &a, &b, &c));
	t_check(!fetch_header_content_range(NULL, &a, &b, &c));
	t_check(a == 1 && b == 2 && c == 3);
	t_check(fetch_header_content_range("Bytes 5-9/10", &a, &b, &c));
	t_check(a == 5 && b == 9 && c == 10);
	t_check(fetch_header_content_range("bytes 0-0/*", &a, &b, &c));
	t_check(a == 0 && b == 0 && c == UINT64_MAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		t_check(fetch_header_content_total(bad[i], &c) ==
			!strcmp(bad[i], "bytes */10"));
	t_check(c == 10);
	t_check(!fetch_header_content_total(NULL, &c));
	t_check(!fetch_header_content_total("bytes */", &c));
	t_check(!fetch_header_content_total("bytes */*", &c) && c == 10);
}

static void etags(void)
{
	char v[8];

	t_check(fetch_header_etag("\"abc\"", v, sizeof(v)));
	t_str(v, "abc");
	t_check(fetch_header_etag("W/\"abc\"", v, sizeof(v)));
	t_str(v, "abc");
	t_check(fetch_header_etag("abcdefg", v, sizeof(v)));
	t_str(v, "abcdefg");
	t_check(!fetch_header_etag("abcdefgh", v, sizeof(v)));
	t_check(!fetch_header_etag("\"\"", v, sizeof(v)));
	t_check(!fetch_header_etag(NULL, v, sizeof(v)));
}

static void waits(void)
{
	uint64_t ms = 7;

	t_check(!fetch_header_retry_after(NULL, 0, &ms));
	t_check(!fetch_header_retry_after("soon", 0, &ms));
	t_int(ms, 7);
	t_check(fetch_header_retry_after("120", 0, &ms));
	t_int(ms, 120000);
	t_check(fetch_header_retry_after("99999999999", 0, &ms));
	t_int(ms, 86400000);
	t_check(fetch_header_retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40,
		&ms));
	t_int(ms, 60000);
	t_check(fetch_header_retry_after("Thu, 01 Jan 1970 00:01:40 GMT",
		1000, &ms));
	t_int(ms, 0);

	t_check(!fetch_header_quota(NULL, "100", 40, &ms));
	t_check(!fetch_header_quota("1", "100", 40, &ms));
	t_check(!fetch_header_quota("0", NULL, 40, &ms));
	t_check(fetch_header_quota("0", "100", 40, &ms));
	t_int(ms, 60000);
	t_check(fetch_header_quota("0", "100", 100, &ms));
	t_int(ms, 0);
	t_check(fetch_header_quota("0", "99999999999", 40, &ms));
	t_int(ms, 3600000);
	t_check(!fetch_header_ratelimit(NULL, &ms));
	t_check(!fetch_header_ratelimit("\"api\";r=1", &ms));
	t_check(fetch_header_ratelimit("\"api\";r=499;t=295", &ms));
	t_int(ms, 295000);
	t_check(fetch_header_ratelimit("\"api\"; r=0; t=3", &ms));
	t_int(ms, 3000);
	t_check(fetch_header_ratelimit("\"a\";r=9;t=1, \"b\";r=0;t=60", &ms));
	t_int(ms, 60000);
	t_check(fetch_header_ratelimit("\"a\";r=0;t=60, \"b\";r=7;t=1", &ms));
	t_int(ms, 60000);
}

static void links(void)
{
	static const struct { const char *v, *next; } row[] = {
		{ NULL, NULL },
		{ "", NULL },
		{ "<a>", NULL },
		{ "<a", NULL },
		{ "<a>; rel=\"prev\"", NULL },
		{ "<a>; rel=\"nextish\"", NULL },
		{ "<a>; barrel=next", NULL },
		{ "<https://h/x?a=1,2&b>; rel=\"next\"", "https://h/x?a=1,2&b" },
		{ "<a>; rel=\"prev\", <b>; title=\"t\"; rel=next", "b" },
		{ "<a>;rel=next", "a" },
		{ "<t>; rel=\"xet-auth\", <u>; rel=\"xet-info\"", NULL },
		{ "<>; rel=next", "" },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		char *got = fetch_header_link_next(row[i].v);

		if (row[i].next)
			t_str(got, row[i].next);
		else
			t_check(!got);
		free(got);
	}
	t_check(fetch_header_is_html("text/html; charset=utf-8"));
	t_check(!fetch_header_is_html("text/plain"));
	t_check(!fetch_header_is_html(NULL));
}

static void goog_hashes(void)
{
	static const char *const bad[] = { NULL, "", "crc32c=AAAAAA==",
		"md5=", "md5=1B2M2Y8AsgTpgAmY7PhCf",
		"xmd5=1B2M2Y8AsgTpgAmY7PhCfg==",
		"md5=1B2M2Y8AsgTpgAmY7PhCfgg=", "md5=1B2M2Y8A gTpgAmY7PhCfg==",
		"md5=1B2M2Y8A!gTpgAmY7PhCfg==" };
	static const char *const good[] = { "md5=1B2M2Y8AsgTpgAmY7PhCfg==",
		"crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==",
		"crc32c=AAAAAA==, md5=1B2M2Y8AsgTpgAmY7PhCfg==, x" };
	char hex[OBJID_HEX_MAX];
	struct objid id;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		t_check(!fetch_header_goog_md5(bad[i], &id));
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		t_check(fetch_header_goog_md5(good[i], &id));
		t_int(id.alg, OBJID_MD5);
		objid_hex(&id, hex);
		t_str(hex, "d41d8cd98f00b204e9800998ecf8427e");
	}
}

int main(void)
{
	keeps_what_we_act_on();
	has_ceilings();
	content_range();
	etags();
	waits();
	links();
	goog_hashes();
	return 0;
}
