/*
 * What comes out of a hub that does everything wrong, read through the door as
 * the cache would: by pulls. The name of the file says what the hub does.
 */
#include "config.h"

#include "fetch/fetch.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "tests/unit/fetch-server.h"
#include "tests/unit/t.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER "fedcba9876543210fedcba9876543210fedcba98"
#define SHA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHB "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KB 1024ull
#define MB (1024 * KB)
#define SIZE (3 * MB)
#define RETRIES 3

static struct server *hub, *cdn;
static struct server *_Atomic moving_cdn;

/* ---- the servers ---- */

static bool part(const struct asked *a, uint64_t first, uint64_t last,
	const char *more)
{
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%llu\r\n%s\r\n",
		(unsigned long long)(last - first + 1),
		(unsigned long long)first, (unsigned long long)last, SIZE,
		more);
	server_pattern(a, first, last);
	return true;
}

static bool right(const struct asked *a)
{
	return part(a, a->first, a->last, "");
}

static bool status(const struct asked *a, unsigned code, const char *more)
{
	server_say(a, "HTTP/1.1 %u Status\r\nContent-Length: 5\r\n%s\r\nwords",
		code, more);
	return true;
}

static bool whole(const struct asked *a, uint64_t size, const char *more)
{
	server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n%s\r\n",
		(unsigned long long)size, more);
	server_pattern(a, 0, size - 1);
	return true;
}

static bool moved(const struct asked *a, unsigned code, const char *more,
	const char *root, const char *path)
{
	server_say(a, "HTTP/1.1 %u Moved\r\nContent-Length: 5\r\n%s"
		"Location: %s%s\r\n\r\nmoved", code, more, root, path);
	return true;
}

static bool is(const struct asked *a, const char *name)
{
	const char *p = strrchr(a->path, '/') + 1;
	size_t n = strcspn(p, "?");

	return n == strlen(name) && !strncmp(p, name, n);
}

/* Half of what was asked, then the connection ends; afterwards all. */
static bool cut(const struct asked *a)
{
	uint64_t half = a->first + (a->last - a->first) / 2;

	if (a->nth)
		return right(a);
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
		(unsigned long long)(a->last - a->first + 1),
		(unsigned long long)a->first, (unsigned long long)a->last,
		SIZE);
	server_pattern(a, a->first, half);
	return false;
}

static bool stalled(const struct asked *a, bool always)
{
	if (a->nth && !always)
		return right(a);
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
		(unsigned long long)(a->last - a->first + 1),
		(unsigned long long)a->first, (unsigned long long)a->last,
		SIZE);
	server_pattern(a, a->first, a->first);
	server_stall(a);
	return false;
}

static bool lies(const struct asked *a)
{
	if (is(a, "wrong-range"))
		return part(a, a->first + 1, a->last, "");
	if (is(a, "wrong-range-once"))
		return a->nth ? right(a) : part(a, a->first + 1, a->last, "");
	if (is(a, "wrong-length"))
		return whole(a, SIZE - 1, "");
	if (is(a, "html"))
		return whole(a, SIZE, "Content-Type: text/html\r\n");
	if (is(a, "right.html"))
		return whole(a, SIZE, "Content-Type: text/html\r\n");
	if (is(a, "gzip"))
		return part(a, a->first, a->last,
			"Content-Encoding: gzip\r\n");
	if (is(a, "other-commit"))
		return part(a, a->first, a->last,
			"X-Repo-Commit: " OTHER "\r\n");
	if (is(a, "other-size"))
		return part(a, a->first, a->last, "X-Linked-Size: 1\r\n");
	if (is(a, "other-etag"))
		return part(a, a->first, a->last,
			"X-Linked-ETag: \"" SHB "\"\r\n");
	if (is(a, "true-words"))
		return part(a, a->first, a->last, "X-Repo-Commit: " COMMIT
			"\r\nX-Linked-Size: 3145728\r\nX-Linked-ETag: \"" SHA
			"\"\r\nETag: \"" SHB "\"\r\n");
	if (is(a, "goes-on")) {
		server_say(a, "HTTP/1.1 200 OK\r\n\r\n");
		server_pattern(a, 0, SIZE + 99);
		return false;
	}
	if (is(a, "long-header")) {
		for (int i = 0; i < 4; i++)
			server_say(a, "%s: %030000d\r\n", i ? "X" :
				"HTTP/1.1 200 OK\r\nX", 1);
		return false;
	}
	return status(a, 404, "");
}

static bool hub_serve(const struct asked *a, void *arg)
{
	(void) arg;
	if (is(a, "plain") || is(a, "cached"))
		return right(a);
	if (is(a, "cut"))
		return cut(a);
	if (is(a, "busy"))
		return a->nth < 2 ? status(a, 503, "") : right(a);
	if (is(a, "always-busy"))
		return status(a, 502, "");
	if (is(a, "nothing"))
		return a->nth ? right(a) : false;
	if (is(a, "stall"))
		return stalled(a, false);
	if (is(a, "always-stall"))
		return stalled(a, true);
	if (is(a, "short"))
		return part(a, a->first, a->last - a->first < 100 * KB ?
			a->last : a->first + 100 * KB, "");
	if (is(a, "ignored"))
		return whole(a, SIZE, "");
	if (is(a, "no-length")) {
		server_say(a, "HTTP/1.1 200 OK\r\n\r\n");
		server_pattern(a, 0, SIZE - 1);
		return false;
	}
	if (is(a, "missing"))
		return status(a, 404, "X-Error-Code: EntryNotFound\r\n");
	if (is(a, "gated"))
		return status(a, 403, "X-Error-Code: GatedRepo\r\n"
			"X-Error-Message: Please ask for access.\r\n");
	if (is(a, "small"))
		return moved(a, 307, "X-Repo-Commit: " COMMIT "\r\n", "",
			"/api/resolve-cache/cached?%2Fo%2Fm=&etag=%22x%22");
	if (is(a, "lfs"))
		return moved(a, 302, "X-Linked-ETag: \"" SHA "\"\r\n",
			server_root(cdn), "/lfs?Expires=99999999999&S=secret");
	if (is(a, "lfs-back"))
		return moved(a, 302, "", server_root(cdn), "/lfs-back");
	if (is(a, "expires"))
		return moved(a, 302, "", server_root(cdn), a->nth ?
			"/expires?S=2" : "/expires?S=1");
	if (is(a, "never-valid"))
		return moved(a, 302, "", server_root(cdn), "/never-valid");
	if (is(a, "moves"))
		return moved(a, 302, "", server_root(moving_cdn), "/moves");
	if (is(a, "loop"))
		return moved(a, 302, "", "", a->path);
	if (is(a, "to-file"))
		return moved(a, 302, "", "file://", "/etc/passwd");
	if (is(a, "nowhere"))
		return status(a, 302, "");
	return lies(a);
}

static bool cdn_serve(const struct asked *a, void *arg)
{
	(void) arg;
	if (is(a, "lfs-back"))
		return moved(a, 302, "", server_root(hub), "/back/plain");
	if (is(a, "expires"))	/* the first signature holds for one request */
		return strstr(a->path, "S=1") && a->nth ?
			status(a, 403, "") : right(a);
	if (is(a, "never-valid"))
		return status(a, 403, "");
	return right(a);
}

/* ---- pulls ---- */

struct pull {
	struct src_pull p;
	struct src *src;
	uint64_t got;
	bool wrong;
	int err;
	struct error why;
};

static int on_data(struct src_pull *p, const void *buf, size_t len)
{
	struct pull *u = (struct pull *)p;
	const uint8_t *b = buf;

	for (size_t i = 0; i < len; i++)
		u->wrong |= b[i] != server_byte(p->off + u->got + i);
	u->got += len;
	return 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned pending;	/* lock */

static void on_done(struct src_pull *p, int err, const struct error *why)
{
	struct pull *u = (struct pull *)p;

	u->err = err;
	if (why)
		u->why = *why;
	pthread_mutex_lock(&lock);
	pending--;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void begin(struct pull *u, struct src *s, uint64_t off, uint64_t len)
{
	*u = (struct pull){ .src = s, .p = { .off = off, .len = len,
		.data = on_data, .done = on_done } };
	pthread_mutex_lock(&lock);
	pending++;
	pthread_mutex_unlock(&lock);
	src_pull(s, &u->p);
}

static void wait_all(void)
{
	pthread_mutex_lock(&lock);
	while (pending)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
}

static struct src *file(struct fetch_hub *h, const char *name)
{
	struct objid id;
	struct src *s;

	t_int(objid_parse(OBJID_SHA256, SHA, &id), 0);
	t_int(fetch_src_new(h, "o/m", COMMIT, name, SIZE, &id, &s), 0);
	return s;
}

static struct fetch *engine(const char *root, const char *timeout,
	struct fetch_hub **ret, const char *more)
{
	struct conf *c = conf_new();
	struct fetch *f;

	t_int(conf_set(c, "huggingface.endpoint", root, CONF_ARG, NULL), 0);
	t_int(conf_set(c, "huggingface.token", "hf_secret", CONF_ARG, NULL),
		0);
	t_int(conf_set(c, "fetch.retries", "3", CONF_ARG, NULL), 0);
	t_int(conf_set(c, "fetch.timeout", timeout, CONF_ARG, NULL), 0);
	if (more)
		t_int(conf_set_arg(c, more, NULL), 0);
	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, "huggingface", c, ret, NULL), 0);
	conf_free(c);
	return f;
}

/* ---- the cases ---- */

static const struct {
	const char *name;
	uint64_t off, len;
	int err;
	unsigned asked;		/* requests at the hub */
	const char *words;	/* in the error */
} row[] = {
	{ "plain", 0, SIZE, 0, 1, NULL },
	{ "plain", SIZE - 1, 1, 0, 1, NULL },
	{ "plain", 7 * KB, 2 * MB, 0, 1, NULL },
	{ "cut", 5, MB, 0, 2, NULL },
	{ "busy", 0, KB, 0, 3, NULL },
	{ "always-busy", 0, KB, -EIO, RETRIES + 1, "502: words" },
	{ "nothing", 0, KB, 0, 2, NULL },
	{ "stall", 0, KB, 0, 2, NULL },
	{ "always-stall", 0, KB, -ETIMEDOUT, 0, "no byte" },
	{ "short", 100, 250 * KB, 0, 3, NULL },
	{ "ignored", 100 * KB, KB, 0, 1, NULL },
	{ "ignored", 0, SIZE, 0, 1, NULL },
	{ "ignored", 2 * MB, KB, 0, 3, NULL },
	{ "no-length", 0, SIZE, 0, 1, NULL },
	{ "missing", 0, KB, -ENOENT, 1, "404" },
	{ "gated", 0, KB, -EACCES, 1, "Please ask for access." },
	{ "small", 0, KB, 0, 1, NULL },
	{ "lfs", 0, MB, 0, 1, NULL },
	{ "lfs-back", 0, MB, 0, 1, NULL },
	{ "never-valid", 0, KB, -EIO, RETRIES + 1, "403" },
	{ "loop", 0, KB, -EIO, 9, "redirected more than" },
	{ "to-file", 0, KB, -EIO, 1, "refused" },
	{ "nowhere", 0, KB, -EIO, 1, "leads nowhere" },
	{ "wrong-range", 0, KB, -EIO, RETRIES + 1, "were sent" },
	{ "wrong-range-once", 0, KB, 0, 2, NULL },
	{ "wrong-length", 0, KB, -EIO, RETRIES + 1, "in the listing" },
	{ "html", 0, SIZE, -EIO, RETRIES + 1, "HTML" },
	{ "right.html", 0, SIZE, 0, 1, NULL },
	{ "gzip", 0, KB, -EIO, RETRIES + 1, "encoded" },
	{ "other-commit", 0, KB, -ESTALE, 1, "revision" },
	{ "other-size", 0, KB, -EIO, 1, "listing said" },
	{ "other-etag", 0, KB, -EIO, 1, "another file" },
	{ "true-words", 0, KB, 0, 1, NULL },
	{ "goes-on", 0, SIZE, -EIO, 1, "goes on" },
	{ "long-header", 0, KB, -EIO, 1, "too long" },
};
#define ROWS (sizeof(row) / sizeof(*row))

static void check_row(size_t i, const struct pull *u, unsigned asked)
{
	struct src_stat st;

	if (u->wrong || u->err != row[i].err ||
	    (!u->err && u->got != row[i].len) ||
	    (row[i].asked && asked != row[i].asked) ||
	    (row[i].words && !strstr(u->why.text, row[i].words))) {
		fprintf(stderr, "%s: error %d (%s), %llu bytes%s, "
			"%u requests\n", row[i].name, u->err, u->why.text,
			(unsigned long long)u->got,
			u->wrong ? ", wrong ones" : "", asked);
		exit(1);
	}
	t_check(!strstr(u->why.text, "secret"));
	src_stat(u->src, &st);
	t_int(st.last.code, u->err);
	if (u->err)
		t_str(st.last.text, u->why.text);
}

/* All at once, each on a hub of its own root so that requests can be told
 * apart. */
static void every_case(void)
{
	struct fetch *f[ROWS];
	struct pull u[ROWS];
	char root[256], name[128];

	for (size_t i = 0; i < ROWS; i++) {
		struct fetch_hub *h;

		snprintf(root, sizeof(root), "%s/%zu", server_root(hub), i);
		f[i] = engine(root, "1", &h, NULL);
		begin(&u[i], file(h, row[i].name), row[i].off, row[i].len);
	}
	wait_all();
	for (size_t i = 0; i < ROWS; i++) {
		snprintf(name, sizeof(name), "/%zu/o/m/resolve/" COMMIT "/%s",
			i, row[i].name);
		check_row(i, &u[i], server_count(hub, name));
		src_unref(u[i].src);
		fetch_free(f[i]);
	}
}

static void token_goes_to_the_hub_only(void)
{
	struct asked a;

	for (unsigned i = 0; server_log(hub, "/resolve/", i, &a); i++) {
		t_str(a.auth, "Bearer hf_secret");
		t_str(a.encoding, "identity");
	}
	t_check(server_log(hub, "/api/resolve-cache/", 0, &a));
	t_str(a.auth, "Bearer hf_secret");
	t_check(server_count(cdn, "") > 2);
	for (unsigned i = 0; server_log(cdn, "", i, &a); i++)
		t_str(a.auth, "");
	/* the chain left the hub: nothing comes back with it */
	t_check(server_log(hub, "/back/plain", 0, &a));
	t_str(a.auth, "");
}

static void a_cut_body_is_taken_up(void)
{
	struct asked a;

	t_check(server_log(hub, "/cut", 1, &a));
	t_int(a.first, 5 + (MB - 1) / 2 + 1);
	t_int(a.last, 5 + MB - 1);
}

static void signed_addresses_are_used_again(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "5", &h, NULL);
	struct src *s = file(h, "expires"), *t = file(h, "lfs");
	unsigned before = server_count(hub, "/lfs");
	uint8_t byte;
	struct pull u[8];

	t_int(src_read_wait(s, 1, &byte, 1), 0);
	t_int(byte, server_byte(1));
	t_int(server_count(hub, "/expires"), 1);
	/* the second is refused, a new signature fetched and used twice */
	t_int(src_read_wait(s, 2, &byte, 1), 0);
	t_int(byte, server_byte(2));
	t_int(src_read_wait(s, 3, &byte, 1), 0);
	t_int(server_count(hub, "/expires"), 2);
	t_int(server_count(cdn, "/expires?S=1"), 2);
	t_int(server_count(cdn, "/expires?S=2"), 2);

	/* eight at once ask the hub once */
	for (int i = 0; i < 8; i++)
		begin(&u[i], t, (uint64_t)i * 1000, 1000);
	wait_all();
	for (int i = 0; i < 8; i++)
		t_check(!u[i].err && !u[i].wrong && u[i].got == 1000);
	t_int(server_count(hub, "/lfs") - before, 1);
	src_unref(s);
	src_unref(t);
	fetch_free(f);
}

/* The host that a remembered address names is gone: the hub knows another. */
static void a_dead_place_is_left(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "5", &h, NULL);
	struct src *s = file(h, "moves");
	struct server *old = server_new(cdn_serve, NULL);
	uint8_t byte;

	moving_cdn = old;
	t_int(src_read_wait(s, 1, &byte, 1), 0);
	moving_cdn = cdn;
	t_int(src_read_wait(s, 2, &byte, 1), 0);
	t_int(server_count(old, "/moves"), 2);
	server_free(old);
	t_int(src_read_wait(s, 3, &byte, 1), 0);
	t_int(byte, server_byte(3));
	t_int(server_count(hub, "/moves"), 2);
	t_int(server_count(cdn, "/moves"), 1);
	src_unref(s);
	fetch_free(f);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void rate_is_kept(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "5", &h, "fetch.rate=2M");
	struct src *s = file(h, "plain");
	uint64_t from = now_ms();
	struct pull u;

	begin(&u, s, 0, SIZE);
	wait_all();
	t_check(!u.err && !u.wrong && u.got == SIZE);
	from = now_ms() - from;
	t_check(from >= 900 && from < 5000);
	src_unref(s);
	fetch_free(f);
}

static void *reader(void *arg)
{
	struct src *s = arg;
	uint8_t b[5000];

	for (unsigned i = 0; i < 20; i++) {
		uint64_t off = (i * 131071u) % (SIZE - sizeof(b));

		t_int(src_read_wait(s, off, b, sizeof(b)), 0);
		for (size_t k = 0; k < sizeof(b); k++)
			t_int(b[k], server_byte(off + k));
	}
	return NULL;
}

static void many_threads(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "5", &h, NULL);
	struct src *s = file(h, "plain");
	struct fetch_stats st;
	pthread_t t[16];

	for (int i = 0; i < 16; i++)
		t_int(pthread_create(&t[i], NULL, reader, s), 0);
	for (int i = 0; i < 16; i++)
		pthread_join(t[i], NULL);
	fetch_stats(f, &st);
	t_int(st.requests, 16 * 20);
	t_int(st.failures, 0);
	t_int(st.active + st.queued, 0);
	t_check(st.connections <= 17);	/* kept alive */
	src_unref(s);
	fetch_free(f);
}

static int refuse(struct src_pull *p, const void *buf, size_t len)
{
	(void) p, (void) buf, (void) len;
	return -ENOSPC;
}

static void sink_errors_end_it(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "5", &h, NULL);
	struct src *s = file(h, "plain");
	struct fetch_stats st;
	struct pull u = { .p = { .len = SIZE, .data = refuse,
		.done = on_done } };

	pending++;
	src_pull(s, &u.p);
	wait_all();
	t_int(u.err, -ENOSPC);
	fetch_stats(f, &st);
	t_int(st.requests, 1);
	src_unref(s);
	fetch_free(f);
}

static void nobody_there(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine("http://127.0.0.1:1", "5", &h, NULL);
	struct src *s = file(h, "plain");
	uint8_t b;

	t_int(src_read_wait(s, 0, &b, 1), -EHOSTUNREACH);
	src_unref(s);
	fetch_free(f);
	f = engine("http://nowhere.invalid", "5", &h, NULL);
	s = file(h, "plain");
	t_int(src_read_wait(s, 0, &b, 1), -EHOSTUNREACH);
	src_unref(s);
	fetch_free(f);
}

static void offline(void)
{
	unsigned before = server_count(hub, "");
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "5", &h, "offline=1");
	struct src *s = file(h, "plain");
	struct src_stat st;
	uint8_t b;

	t_int(src_read_wait(s, 0, &b, 1), -EHOSTUNREACH);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "offline"));
	t_int(server_count(hub, ""), before);
	src_unref(s);
	fetch_free(f);
}

/* Two hundred stalled pulls: another file still comes through, and going down
 * does not wait for them. */
static void stalled_ones_lend_their_slots(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "30", &h, NULL);
	struct src *bad = file(h, "always-stall"), *good = file(h, "plain");
	struct pull u[200];
	uint64_t from = now_ms();
	uint8_t b;

	for (int i = 0; i < 200; i++)
		begin(&u[i], bad, (uint64_t)i, 10);
	t_int(src_read_wait(good, 9, &b, 1), 0);
	t_int(b, server_byte(9));
	t_check(now_ms() - from < 5000);
	from = now_ms();
	src_unref(good);
	/* their src stays until they called back */
	fetch_free(f);
	t_check(now_ms() - from < 2000);
	t_int(pending, 0);
	for (int i = 0; i < 200; i++)
		t_int(u[i].err, -ECANCELED);
	src_unref(bad);
}

int main(void)
{
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	hub = server_new(hub_serve, NULL);
	cdn = server_new(cdn_serve, NULL);
	every_case();
	token_goes_to_the_hub_only();
	a_cut_body_is_taken_up();
	signed_addresses_are_used_again();
	a_dead_place_is_left();
	rate_is_kept();
	many_threads();
	sink_errors_end_it();
	nobody_there();
	offline();
	stalled_ones_lend_their_slots();
	server_free(hub);
	server_free(cdn);
	return 0;
}
