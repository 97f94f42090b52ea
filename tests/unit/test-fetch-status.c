#include "config.h"

#include "fetch/status.h"

#include <errno.h>

#include "tests/unit/t.h"

static const struct {
	unsigned status;
	const char *code, *words;
	int err;
	enum fetch_again again;
} http_row[] = {
	{ 200, NULL, "", 0, FETCH_AGAIN_NEVER },
	{ 302, NULL, "", 0, FETCH_AGAIN_NEVER },
	{ 400, NULL, "", -EIO, FETCH_AGAIN_NEVER },
	{ 401, NULL, "Invalid username or password.", -ENOENT,
		FETCH_AGAIN_NEVER },
	{ 401, NULL, "Invalid credentials in Authorization header", -EACCES,
		FETCH_AGAIN_NEVER },
	{ 401, "GatedRepo", "Access to model X is restricted.", -EACCES,
		FETCH_AGAIN_NEVER },
	{ 401, NULL, "", -EACCES, FETCH_AGAIN_NEVER },
	{ 403, "GatedRepo", "ask", -EACCES, FETCH_AGAIN_NEVER },
	{ 403, NULL, "Access to this resource is disabled.", -EACCES,
		FETCH_AGAIN_NEVER },
	{ 404, "RepoNotFound", "", -ENOENT, FETCH_AGAIN_NEVER },
	{ 404, "RevisionNotFound", "", -ENOENT, FETCH_AGAIN_NEVER },
	{ 404, "EntryNotFound", "", -ENOENT, FETCH_AGAIN_NEVER },
	{ 404, NULL, "", -ENOENT, FETCH_AGAIN_NEVER },
	{ 408, NULL, "", -ETIMEDOUT, FETCH_AGAIN_LATER },
	{ 429, NULL, "", -EIO, FETCH_AGAIN_LATER },
	{ 500, NULL, "", -EIO, FETCH_AGAIN_LATER },
	{ 501, NULL, "", -EIO, FETCH_AGAIN_NEVER },
	{ 503, NULL, "", -EIO, FETCH_AGAIN_LATER },
	{ 599, NULL, "", -EIO, FETCH_AGAIN_LATER },
};

static const struct {
	CURLcode code;
	int err;
	enum fetch_again again;
} curl_row[] = {
	{ CURLE_OK, 0, FETCH_AGAIN_NEVER },
	{ CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, FETCH_AGAIN_NET },
	{ CURLE_COULDNT_CONNECT, -EHOSTUNREACH, FETCH_AGAIN_NET },
	{ CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, FETCH_AGAIN_NET },
	{ CURLE_PARTIAL_FILE, -EIO, FETCH_AGAIN_LATER },
	{ CURLE_RECV_ERROR, -EIO, FETCH_AGAIN_LATER },
	{ CURLE_GOT_NOTHING, -EIO, FETCH_AGAIN_LATER },
	{ CURLE_PEER_FAILED_VERIFICATION, -EIO, FETCH_AGAIN_NEVER },
};

static void words(void)
{
	static const char json[] = "{\"error\":\"Repository\\nnot found\"}";
	static const char xml[] = "<?xml version='1.0'?><Error>"
		"<Code>NoSuchKey</Code><Message>The key is\nnot there</Message>"
		"</Error>";
	struct fetch_reply r = { 0 };
	char v[32], big[300];

	fetch_status_words(&r, json, strlen(json), v, sizeof(v));
	t_str(v, "Repository not found");
	fetch_status_words(&r, " plain \x01 text\n", 14, v, sizeof(v));
	t_str(v, "plain text");
	memset(big, 'x', sizeof(big));
	fetch_status_words(&r, big, sizeof(big), v, sizeof(v));
	t_str(v, "");
	fetch_status_words(&r, big, 100, v, sizeof(v));
	t_int(strlen(v), sizeof(v) - 1);
	fetch_status_words(&r, xml, strlen(xml), v, sizeof(v));
	t_str(v, "NoSuchKey: The key is not there");
	fetch_status_words(&r, xml, strlen(xml) - 30, v, sizeof(v));
	t_str(v, "NoSuchKey");
	fetch_status_words(&r, "<Error><Code>", 13, v, sizeof(v));
	t_str(v, "<Error><Code>");
	memcpy(big, "<Error><Code>", 13);
	big[200] = '<';
	fetch_status_words(&r, big, sizeof(big), v, sizeof(v));
	t_int(strlen(v), sizeof(v) - 1);
	fetch_status_words(&r, NULL, 0, v, sizeof(v));
	t_str(v, "");
	fetch_reply_line(&r, "Content-Type: text/html", 23);
	fetch_status_words(&r, "<p>", 3, v, sizeof(v));
	t_str(v, "");
	fetch_reply_line(&r, "X-Error-Message: from the header", 32);
	fetch_status_words(&r, json, strlen(json), v, sizeof(v));
	t_str(v, "from the header");
	fetch_reply_done(&r);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(http_row) / sizeof(*http_row); i++) {
		struct fetch_status s = fetch_status_http(http_row[i].status,
			http_row[i].code, http_row[i].words);

		t_int(s.err, http_row[i].err);
		t_int(s.again, http_row[i].again);
	}
	for (size_t i = 0; i < sizeof(curl_row) / sizeof(*curl_row); i++) {
		struct fetch_status s = fetch_status_curl(curl_row[i].code);

		t_int(s.err, curl_row[i].err);
		t_int(s.again, curl_row[i].again);
	}
	words();
	return 0;
}
