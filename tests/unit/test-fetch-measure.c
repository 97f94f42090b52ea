/*
 * How long is a file? Asked through the door of servers that answer HEAD as
 * they like. The name of the file says what the server does.
 */
#include "config.h"

#include "fetch/fetch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fetch-server.h"
#include "tests/unit/t.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define SIZE 5000000000ull

static struct server *hub, *cdn;

struct answer {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool here;
	int err;
	struct error why;
	struct fetch_fact fact;
};

static void on_fact(void *arg, int err, const struct error *why,
	const struct fetch_fact *fact)
{
	struct answer *a = arg;

	t_check(!err == (fact != NULL));
	pthread_mutex_lock(&a->lock);
	t_check(!a->here);
	a->here = true;
	a->err = err;
	if (err && why)
		a->why = *why;
	if (fact)
		a->fact = *fact;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

static int measure_of(struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, struct answer *a)
{
	struct objid none = { .alg = OBJID_NONE };

	*a = (struct answer){ .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
	fetch_measure(h, repo, revision, path, &none, on_fact, a);
	pthread_mutex_lock(&a->lock);
	while (!a->here)
		pthread_cond_wait(&a->cond, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return a->err;
}

static int measure(struct fetch_hub *h, const char *path, struct answer *a)
{
	return measure_of(h, "o/m", COMMIT, path, a);
}

/* ---- the servers ---- */

static bool status(const struct asked *a, unsigned code)
{
	server_say(a, "HTTP/1.1 %u Status\r\nContent-Length: 5\r\n\r\n%s",
		code, a->head ? "" : "words");
	return true;
}

static bool length(const struct asked *a, const char *more)
{
	server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n%s\r\n",
		SIZE, more);
	return true;
}

static bool first_byte(const struct asked *a, const char *total)
{
	t_check(a->ranged && a->first == 0 && a->last == 0);
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: 1\r\n"
		"Content-Range: bytes 0-0/%s\r\n\r\nx", total);
	return true;
}

static bool is(const struct asked *a, const char *name)
{
	return !strcmp(strrchr(a->path, '/') + 1, name);
}

static bool get(const struct asked *a)
{
	if (is(a, "403") || is(a, "405") || is(a, "501") ||
	    is(a, "no-length") || is(a, "gzip") || is(a, "page-for-head") ||
	    is(a, "0-for-head"))
		return first_byte(a, "5000000000");
	if (is(a, "ignores-range")) {
		(void) length(a, "");
		server_pattern(a, 0, 99999);
		server_stall(a);
		return false;
	}
	if (is(a, "star"))
		return first_byte(a, "*");
	if (is(a, "empty")) {
		server_say(a, "HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\n"
			"Content-Length: 0\r\n\r\n");
		return true;
	}
	if (is(a, "nothing"))
		return status(a, 416);
	if (is(a, "other-range")) {
		server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: 1\r\n"
			"Content-Range: bytes 7-7/9\r\n\r\nx");
		return true;
	}
	if (is(a, "page")) {
		server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
			"Content-Type: text/html\r\n\r\n<p/>");
		return true;
	}
	if (is(a, "chunked") || is(a, "chunked-0")) {
		server_say(a, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
			"\r\n\r\n5\r\nwords\r\n0\r\n\r\n");
		return true;
	}
	return status(a, is(a, "refused") ? 403 : 404);
}

static bool head(const struct asked *a)
{
	t_str(a->encoding, "identity");
	if (is(a, "right"))
		return length(a, "");
	if (is(a, "gzip"))
		return length(a, "Content-Encoding: gzip\r\n");
	if (is(a, "0-for-head") || is(a, "nothing") || is(a, "chunked-0")) {
		server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		return true;
	}
	if (is(a, "too-long")) {
		server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: "
			"9223372036854775808\r\n\r\n");
		return false;
	}
	if (is(a, "busy"))
		return a->nth ? length(a, "") : status(a, 503);
	if (is(a, "moved")) {
		server_say(a, "HTTP/1.1 302 Moved\r\nContent-Length: 17\r\n"
			"Location: %s/there\r\n\r\n", server_root(cdn));
		return true;
	}
	if (is(a, "signed")) {	/* its signature is for GET alone */
		server_say(a, "HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n"
			"Location: %s/403\r\n\r\n", server_root(cdn));
		return true;
	}
	if (is(a, "odd")) {	/* curl passes over the second blank */
		server_say(a, "HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\n");
		return true;
	}
	if (is(a, "page") || is(a, "page-for-head"))
		return length(a, "Content-Type: text/html\r\n");
	if (is(a, "405") || is(a, "501"))
		return status(a, (unsigned)atoi(strrchr(a->path, '/') + 1));
	if (is(a, "missing"))
		return status(a, 404);
	if (is(a, "403") || is(a, "refused") || is(a, "ignores-range") ||
	    is(a, "star") || is(a, "other-range") || is(a, "empty"))
		return status(a, 403);
	server_say(a, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	return false;
}

/* Two places of the same files; the path says which of them has what. */
static bool mar(const struct asked *a, bool second)
{
	if (is(a, "alexnet.mar"))	/* only the second has it */
		return second && a->head ? length(a, "") : status(a, 403);
	if (is(a, "vgg16.mar"))		/* the first is down */
		return second && a->head ? length(a, "") : status(a, 503);
	if (is(a, "resnet-18.mar"))	/* … and comes back */
		return second ? status(a, 403) :
			a->nth < 2 ? status(a, 503) : length(a, "");
	return status(a, second ? 403 : 503);
}

static bool hub_serve(const struct asked *a, void *arg)
{
	(void) arg;
	if (strstr(a->path, "/mar_files/"))
		return mar(a, false);
	if (!a->head && is(a, "signed")) {
		server_say(a, "HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n"
			"Location: %s/403\r\n\r\n", server_root(cdn));
		return true;
	}
	return a->head ? head(a) : get(a);
}

static bool cdn_serve(const struct asked *a, void *arg)
{
	(void) arg;
	t_str(a->auth, "");
	if (strstr(a->path, "/mar_files/"))
		return mar(a, true);
	if (is(a, "there"))
		return length(a, "");
	return a->head ? head(a) : get(a);
}

/* ---- the tests ---- */

static void lengths(struct fetch_hub *h)
{
	static const struct {
		const char *path;
		unsigned requests;	/* to the hub */
	} rows[] = {
		{ "right", 1 }, { "moved", 1 }, { "busy", 2 }, { "403", 2 },
		{ "405", 2 }, { "501", 2 }, { "no-length", 2 }, { "gzip", 2 },
		{ "ignores-range", 2 }, { "page-for-head", 2 },
		{ "signed", 2 }, { "0-for-head", 2 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		unsigned before = server_count(hub, "");
		struct answer a;

		if (measure(h, rows[i].path, &a))
			fprintf(stderr, "%s: %s\n", rows[i].path, a.why.text);
		t_int(a.err, 0);
		t_int(a.fact.size, SIZE);
		t_int(a.fact.id.alg, OBJID_NONE);
		t_int(server_count(hub, "") - before, rows[i].requests);
	}
}

static void refusals(struct fetch_hub *h)
{
	static const struct {
		const char *path;
		int err;
		const char *words;
	} rows[] = {
		{ "missing", -ENOENT, "404" }, { "refused", -EACCES, "words" },
		{ "star", -ENODATA, "how long" },
		{ "chunked", -ENODATA, "how long" },
		{ "chunked-0", -ENODATA, "how long" },
		{ "other-range", -ENODATA, "how long" },
		{ "odd", -EIO, "no status" },
		{ "page", -EIO, "HTML" }, { "too-long", -EIO, "as long" },
		{ "../x", -EINVAL, "no such file" },
	};
	struct answer a;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		t_int(measure(h, rows[i].path, &a), rows[i].err);
		if (!strstr(a.why.text, rows[i].words))
			fprintf(stderr, "%s: %s\n", rows[i].path, a.why.text);
		t_check(strstr(a.why.text, rows[i].words));
	}
	t_int(measure(h, "empty", &a), 0);
	t_int(a.fact.size, 0);
	t_int(measure(h, "nothing", &a), 0);
	t_int(a.fact.size, 0);
}

static struct fetch *engine(const char *root, bool offline,
	struct fetch_hub **ret)
{
	struct conf *c = conf_new();
	struct fetch *f;

	t_int(conf_set(c, "huggingface.endpoint", root, CONF_ARG, NULL), 0);
	t_int(conf_set(c, "huggingface.token", "secret", CONF_ARG, NULL), 0);
	t_int(conf_set(c, "offline", offline ? "1" : "0", CONF_ARG, NULL), 0);
	t_int(conf_set(c, "fetch.retries", "1", CONF_ARG, NULL), 0);
	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, "huggingface", c, ret, NULL), 0);
	conf_free(c);
	return f;
}

static void several_places(void)
{
	static const struct {
		const char *path;
		int err;
		unsigned first, second;	/* requests */
	} rows[] = {
		{ "alexnet.mar", 0, 2, 1 }, { "vgg16.mar", 0, 2, 1 },
		{ "resnet-18.mar", 0, 3, 2 }, { "densenet161.mar", -EIO, 4, 4 },
	};
	struct conf *c = conf_new();
	struct fetch_hub *h;
	struct fetch *f;

	t_int(setenv("XDG_CONFIG_HOME", "/nonexistent", 1), 0);
	t_int(conf_set(c, "torchserve.endpoint", server_root(hub), CONF_ARG,
		NULL), 0);
	t_int(conf_set(c, "torchserve.s3", server_root(cdn), CONF_ARG, NULL),
		0);
	t_int(conf_set(c, "fetch.retries", "1", CONF_ARG, NULL), 0);
	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, "torchserve", c, &h, NULL), 0);
	conf_free(c);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct answer a;

		t_int(measure_of(h, FETCH_THE_REPO, "catalogue", rows[i].path,
			&a), rows[i].err);
		if (!a.err)
			t_int(a.fact.size, SIZE);
		else	/* that it is down, not that the other has it not */
			t_check(strstr(a.why.text, "HTTP 503"));
		t_int(server_count(hub, rows[i].path), rows[i].first);
		t_int(server_count(cdn, rows[i].path), rows[i].second);
	}
	fetch_free(f);
}

static void on_disk(void)
{
	char dir[] = "/tmp/t-measure-XXXXXX", path[128], root[64];
	const char *parts[] = { "/o", "/o/m", "/o/m/resolve",
		("/o/m/resolve/" COMMIT) };
	struct fetch_hub *h;
	struct fetch *f;
	struct answer a;

	t_check(mkdtemp(dir));
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
		t_int(mkdir(path, 0700), 0);
	}
	snprintf(path, sizeof(path), "%s%s/file", dir, parts[3]);
	t_int(symlink("/proc/self/exe", path), 0);
	snprintf(root, sizeof(root), "file://%s", dir);
	f = engine(root, true, &h);
	t_int(measure(h, "file", &a), 0);
	t_check(a.fact.size > 10000);
	t_int(measure(h, "none", &a), -ENOENT);
	fetch_free(f);
	t_int(unlink(path), 0);
	for (size_t i = 4; i--; ) {
		snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
		t_int(rmdir(path), 0);
	}
	t_int(rmdir(dir), 0);
}

static void without_network(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), true, &h);
	unsigned before = server_count(hub, "");
	struct answer a;

	t_int(measure(h, "right", &a), -EHOSTUNREACH);
	t_int(server_count(hub, ""), before);
	fetch_free(f);
}

/* That we can open nothing says nothing of the network. */
static void without_descriptors(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), false, &h);
	struct rlimit was, few;
	struct answer a;

	t_int(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = (struct rlimit){ 3, was.rlim_max };
	t_int(setrlimit(RLIMIT_NOFILE, &few), 0);
	t_int(measure(h, "right", &a), -EIO);
	t_int(setrlimit(RLIMIT_NOFILE, &was), 0);
	t_check(strstr(a.why.text, strerror(EMFILE)));
	t_int(measure(h, "right", &a), 0);
	fetch_free(f);
}

/* Whoever waits is told when the engine goes. */
static void going_down(void)
{
	struct objid none = { .alg = OBJID_NONE };
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), false, &h);
	struct answer a = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };

	fetch_measure(h, "o/m", COMMIT, "right", &none, on_fact, &a);
	fetch_free(f);
	t_check(a.here && (!a.err || a.err == -ECANCELED));
}

int main(void)
{
	const char *src = getenv("SRCDIR");
	char share[4096];
	struct fetch_hub *h;
	struct fetch *f;

	hub = server_new(hub_serve, NULL);
	cdn = server_new(cdn_serve, NULL);
	f = engine(server_root(hub), false, &h);
	lengths(h);
	refusals(h);
	fetch_free(f);
	snprintf(share, sizeof(share), "%s/fetch", src ? src : "..");
	t_int(setenv("OMNIHUB_DATADIR", share, 1), 0);
	several_places();
	without_network();
	without_descriptors();
	going_down();
	on_disk();
	server_free(hub);
	server_free(cdn);
	return 0;
}
