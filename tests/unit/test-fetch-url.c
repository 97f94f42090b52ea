#include "config.h"

#include "fetch/url.h"

#include <errno.h>

#include "fetch/auth.h"
#include "tests/unit/t.h"

static void endpoints(void)
{
	static const struct { const char *in, *out; } row[] = {
		{ "https://huggingface.co", "https://huggingface.co" },
		{ "https://huggingface.co//", "https://huggingface.co" },
		{ "http://127.0.0.1:8000/mirror/",
			"http://127.0.0.1:8000/mirror" },
		{ "file:///srv/hub/", "file:///srv/hub" },
		{ "", NULL }, { "huggingface.co", NULL },
		{ "ftp://h", NULL }, { "file://host/x", NULL },
		{ "https://user:pw@h", NULL }, { "https://h/?q", NULL },
		{ "https://h/#f", NULL }, { "https://", NULL },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct error why = { 0 };
		char *got = NULL;
		int r = fetch_url_endpoint(row[i].in, &got, &why);

		t_int(r, row[i].out ? 0 : -EINVAL);
		if (row[i].out)
			t_str(got, row[i].out);
		else
			t_check(*why.text && !got);
		free(got);
	}
}

static void escapes(void)
{
	struct buf b = BUF_INIT(64);

	t_int(fetch_url_escape(&b, "a b/ü%?#-._~", true), 0);
	t_str((char *)b.data, "a%20b/%C3%BC%25%3F%23-._~");
	buf_clear(&b);
	t_int(fetch_url_escape(&b, "refs/pr/1", false), 0);
	t_str((char *)b.data, "refs%2Fpr%2F1");
	for (int i = 0; i < 8; i++)
		(void) fetch_url_escape(&b, "////////", false);
	t_check(b.len <= 64);
	buf_done(&b);
}

static void joins(void)
{
	static const struct { const char *base, *to, *out; } row[] = {
		{ "https://h/a/b?q", "/c?%2Fx=&e=%22S%22",
			"https://h/c?%2Fx=&e=%22S%22" },
		{ "https://h/a/b", "c", "https://h/a/c" },
		{ "https://h/a/b", "https://k/x y", "https://k/x%20y" },
		{ "https://h/a", "//k:81/z#f", "https://k:81/z" },
		{ "http://h/a", "https://k/z", "https://k/z" },
		{ "http://h/a", "http://k/z", "http://k/z" },
		{ "https://h/a", "http://h/z", NULL },
		{ "https://h/a", "file:///etc/passwd", NULL },
		{ "http://h/a", "FILE:///etc/passwd", NULL },
		{ "http://h/a", "ftp://h/a", NULL },
		{ "http://h/a", "http://u:p@h/a", NULL },
		{ "http://h/a", "http://", NULL },
		{ "file:///a", "http://h/", NULL },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct error why = { 0 };
		char *got = NULL;
		int r = fetch_url_join(row[i].base, row[i].to, &got, &why);

		t_int(r, row[i].out ? 0 : -EIO);
		if (row[i].out)
			t_str(got, row[i].out);
		else
			t_check(*why.text && !got);
		free(got);
	}
}

static void origins(void)
{
	t_check(fetch_url_same_origin("https://H.co/a", "https://h.co:443/b"));
	t_check(!fetch_url_same_origin("https://h.co/", "http://h.co/"));
	t_check(!fetch_url_same_origin("https://h.co/", "https://h.co:444/"));
	t_check(!fetch_url_same_origin("https://h.co/", "https://h.co.x/"));
	t_check(!fetch_url_same_origin("nonsense", "nonsense"));
}

static void lives(void)
{
	static const struct { const char *url; int64_t now, ms; } row[] = {
		{ "https://h/x", 0, URL_LIFE_DEFAULT_MS },
		{ "https://h/x?Expires=1100&S=1", 1000, 75000 },
		{ "https://h/x?a=1&Expires=4600", 1000, 3570000 },
		{ "https://h/x?Expires=1000", 1000, 0 },
		{ "https://h/x?Expires=900", 1000, 0 },
		{ "https://h/x?Expires=99999999999999999999", 0,
			86370000 },
		{ "https://h/x?X-Amz-Expires=40", 5, 30000 },
		{ "https://h/x?X-Amz-Date=19700101T000010Z&X-Amz-Expires=100",
			70, 30000 },
		{ "https://h/x?X-Goog-Date=19700101T000010Z&"
			"X-Goog-Expires=100", 110, 0 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++)
		t_int(fetch_url_life(row[i].url, row[i].now), row[i].ms);
}

static void file_paths(void)
{
	static const struct { const char *url, *path; } row[] = {
		{ "file:///a/b%20c?x=/../y", "/a/b c" },
		{ "file:///a/refs%2Fpr%2F1", "/a/refs/pr/1" },
		{ "file:///a/..b/c..", "/a/..b/c.." },
		{ "file:///a/../b", NULL }, { "file:///a/%2e%2E/b", NULL },
		{ "file:///a/%2E%2e", NULL }, { "file:///a%2F..%2Fb", NULL },
		{ "file:///a%00b", NULL }, { "file:///a%4", NULL },
		{ "file:///a%zz", NULL }, { "file://host/a", NULL },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		char *got = NULL;
		int r = fetch_url_file_path(row[i].url, &got);

		t_int(r, row[i].path ? 0 : -EINVAL);
		if (row[i].path)
			t_str(got, row[i].path);
		free(got);
	}
}

static void shows_no_signature(void)
{
	char v[64];

	t_str(fetch_url_show("https://h/x?sig=secret", v, sizeof(v)),
		"https://h/x");
	t_str(fetch_url_show("https://h/long", v, 10), "https://h");
}

static void tokens(void)
{
	struct fetch_auth a = { 0 };

	t_int(fetch_auth_init(&a, "https://hub.co", "Bearer hf_x", NULL), 0);
	t_str(fetch_auth_for(&a, "https://hub.co/a"),
		"Authorization: Bearer hf_x");
	t_str(fetch_auth_for(&a, "https://HUB.co:443/a"),
		"Authorization: Bearer hf_x");
	t_check(!fetch_auth_for(&a, "http://hub.co/a"));
	t_check(!fetch_auth_for(&a, "https://hub.co:8443/a"));
	t_check(!fetch_auth_for(&a, "https://cdn.hub.co/a"));
	t_check(!fetch_auth_for(&a, "https://hub.co.evil/a"));
	t_check(!fetch_auth_for(&a, "file:///hub.co/a"));
	fetch_auth_done(&a);
	t_int(fetch_auth_init(&a, "https://hub.co", NULL, NULL), 0);
	t_check(!fetch_auth_for(&a, "https://hub.co/a"));
	fetch_auth_done(&a);
	t_int(fetch_auth_init(&a, "https://hub.co", "Bearer x\r\nHost: y", NULL),
		-EINVAL);
	t_int(fetch_auth_init(&a, "https://hub.co", "Bearer x y", NULL), -EINVAL);
	t_check(!a.origin && !a.header);
}

static void credentials(void)
{
	char *s = fetch_auth_basic("Aladdin", "open sesame");

	t_str(s, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	free(s);
	s = fetch_auth_bearer("hf_x");
	t_str(s, "Bearer hf_x");
	free(s);
	t_check(!fetch_auth_bearer(NULL) && !fetch_auth_bearer(""));
	t_check(!fetch_auth_basic(NULL, "x") && !fetch_auth_basic("", "x") &&
		!fetch_auth_basic("u", NULL));
}

int main(void)
{
	endpoints();
	escapes();
	joins();
	origins();
	lives();
	file_paths();
	shows_no_signature();
	tokens();
	credentials();
	return 0;
}
