#include "config.h"

#include "fetch/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define CONNECT_MAX_MS 10000L
#define BULK_BUFFER (512L * 1024)	/* 1.7 times the rate of 16K, measured */
/* For a range that is no longer than that: a large buffer is mapped and faulted
 * in for each exchange, which takes as long as a fifth of a first read. */
#define BRIEF_BUFFER (32L * 1024)
#define BRIEF_MAX (256UL * 1024)	/* bytes */

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct fetch_request *r = arg;
	int err;

	n *= size;
	r->heard_ms = clock_ms();
	if (r->head_told)
		return n;	/* trailers */
	r->head_whole = n <= 2 && (*line == '\r' || *line == '\n');
	err = fetch_reply_line(&r->reply, line, n);
	if (err) {
		r->stopped = true;
		r->status = (struct fetch_status){ err, err == -EPROTO ?
			FETCH_AGAIN_LATER : FETCH_AGAIN_NEVER };
		return 0;
	}
	return n;
}

/* Called before the first byte of the body, or at the end without one. */
static int tell_head(struct fetch_request *r)
{
	int err;

	if (r->head_told)
		return 0;
	r->head_told = true;
	err = r->head(r);
	if (err)
		r->stopped = true;
	return err;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct fetch_request *r = arg;
	uint64_t wait;

	n *= size;
	r->heard_ms = clock_ms();
	if (tell_head(r))
		return n + 1;
	wait = r->klass == FETCH_BULK ?
		fetch_limit_take(r->limit, n, r->heard_ms) : 0;
	if (wait) {
		r->paused_until = r->heard_ms + wait;
		return CURL_WRITEFUNC_PAUSE;
	}
	atomic_fetch_add(r->received, n);
	r->pace.bytes += n;
	if (r->body(r, data, n)) {
		r->stopped = true;
		return n + 1;
	}
	return n;
}

/* To libcurl it is all one why it cannot connect. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose,
	struct curl_sockaddr *at)
{
	struct fetch_request *r = arg;
	int fd = socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);

	(void) purpose;
	if (fd >= 0)
		return fd;
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
	    errno == ENOMEM)
		r->no_socket = errno;
	return CURL_SOCKET_BAD;
}

static int add_lines(struct fetch_request *r, const char *lines)
{
	while (lines && *lines) {
		const char *end = strchrnul(lines, '\n');
		cleanup_free char *line = strndup(lines,
			(size_t)(end - lines));
		struct curl_slist *l = line ?
			curl_slist_append(r->slist, line) : NULL;

		if (!l)
			return -ENOMEM;
		r->slist = l;
		lines = *end ? end + 1 : end;
	}
	return 0;
}

static int set_lines(struct fetch_request *r)
{
	int err = add_lines(r, r->auth);

	if (!err)
		err = add_lines(r, r->lines);
	if (!err && (r->range || r->bare))
		err = add_lines(r, "Accept-Encoding: identity");
	return err;
}

static bool is_brief(const struct fetch_request *r)
{
	return r->range && r->range->end - r->range->off <= BRIEF_MAX;
}

int fetch_request_prepare(struct fetch_request *r, CURL *easy,
	const struct fetch_request_conf *conf)
{
	char range[RANGE_TEXT_MAX];
	CURLcode c = CURLE_OK;

#define set(option, value) \
	do { \
		if (!c) \
			c = curl_easy_setopt(easy, option, value); \
	} while (0)

	if (set_lines(r))
		return -ENOMEM;
	set(CURLOPT_URL, r->url);
	set(CURLOPT_PROTOCOLS_STR, "http,https");
	set(CURLOPT_FOLLOWLOCATION, 0L);
	set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	set(CURLOPT_NOSIGNAL, 1L);
	/* else a stuck name look-up is waited for when it is given up */
	set(CURLOPT_QUICK_EXIT, 1L);
	set(CURLOPT_TCP_KEEPALIVE, 1L);
	set(CURLOPT_CONNECTTIMEOUT_MS, conf->timeout_ms < CONNECT_MAX_MS ?
		(long)conf->timeout_ms : CONNECT_MAX_MS);
	set(CURLOPT_USERAGENT, "omnihub/" PACKAGE_VERSION);
	set(CURLOPT_ERRORBUFFER, r->words);
	set(CURLOPT_PRIVATE, r);
	set(CURLOPT_HEADERFUNCTION, on_header);
	set(CURLOPT_HEADERDATA, r);
	set(CURLOPT_WRITEFUNCTION, on_body);
	set(CURLOPT_WRITEDATA, r);
	set(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	set(CURLOPT_OPENSOCKETDATA, r);
	set(CURLOPT_HTTPHEADER, r->slist);
	if (r->post)
		set(CURLOPT_POSTFIELDS, r->post);
	if (conf->ca_file)
		set(CURLOPT_CAINFO, conf->ca_file);
	if (r->klass == FETCH_BULK) {
		set(CURLOPT_BUFFERSIZE, is_brief(r) ? BRIEF_BUFFER :
			BULK_BUFFER);
		/* A connection each: one that stalls holds up no other, and
		 * it is faster than streams of one connection. */
		if (conf->streams)
			set(CURLOPT_PIPEWAIT, 1L);
		else
			set(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	}
	if (r->range) {
		fetch_range_text(r->range, range);
		set(CURLOPT_RANGE, range);
	} else if (r->bare) {
		set(CURLOPT_NOBODY, 1L);
	} else {
		set(CURLOPT_ACCEPT_ENCODING, "");
	}
#undef set
	r->easy = easy;
	r->words[0] = '\0';
	return c ? -ENOMEM : 0;
}

static void bad_headers(struct fetch_request *r)
{
	const char *words = "";

	if (r->status.err == -EFBIG)
		words = "the headers of the reply are too long";
	else if (r->status.err == -EPROTO)
		words = "the reply has no status";
	if (*words)
		r->status.err = -EIO;
	snprintf(r->words, sizeof(r->words), "%s", words);
}

void fetch_request_ended(struct fetch_request *r, CURLcode c)
{
	/* to libcurl a reply that was cut in its headers is one without body */
	if (!c && r->reply.status && !r->head_whole && !r->head_told) {
		c = CURLE_RECV_ERROR;
		snprintf(r->words, sizeof(r->words),
			"the reply ended inside its headers");
	}
	if (!c && r->reply.status)
		(void) tell_head(r);
	if (r->stopped && r->status.err) {	/* by on_header */
		bad_headers(r);
		return;
	}
	if (r->stopped)
		c = CURLE_OK;
	r->status = fetch_status_curl(c);
	if (c == CURLE_COULDNT_CONNECT && r->no_socket) {
		r->status = (struct fetch_status){ -EIO, FETCH_AGAIN_LATER };
		snprintf(r->words, sizeof(r->words), "no connection: %s",
			strerror(r->no_socket));
	}
	if (c && !r->words[0])
		snprintf(r->words, sizeof(r->words), "%s",
			curl_easy_strerror(c));
}

void fetch_request_reset(struct fetch_request *r)
{
	fetch_reply_done(&r->reply);
	curl_slist_free_all(r->slist);
	r->slist = NULL;
	r->status = (struct fetch_status){ 0, FETCH_AGAIN_NEVER };
	r->stopped = false;
	r->no_socket = 0;
	r->words[0] = '\0';
	r->head_told = r->head_whole = false;
	r->lent = false;
	r->slot = false;
	r->paused_until = 0;
	r->host = NULL;
	r->fd = -1;
}
