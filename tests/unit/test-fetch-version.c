/*
 * Where no digest tells, a pull and a read tell of which version of the file
 * their bytes are: the same for every source, another when the file has become
 * another, nothing when the reply has nothing to be relied on.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "fetch/fetch.h"
#include "tests/unit/fetch-server.h"
#include "tests/unit/t.h"

#define NAME "densenet161.mar"
#define IN_ONE_PLACE "dog_breed_wf.war"
#define LEN 100U
#define DATE "Date: Sun, 22 Nov 2026 10:00:00 GMT\r\n"
#define OLDER "Last-Modified: Sun, 22 Nov 2026 09:59:59 GMT\r\n"
#define OLD "Last-Modified: Sun, 22 Nov 2026 09:00:00 GMT\r\n"
#define NOW "Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\n"
#define CUT "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"

/* What a place says with the bytes; NULL: it has them not. Before that, if it is
 * told so: whole replies, each once. */
struct place {
	const char *says;
	const char *const *before;	/* up to a NULL; NULL: none */
	struct server *server;
};

static bool serve(const struct asked *a, void *arg)
{
	struct place *p = arg;

	if (p->before && *p->before) {
		server_say(a, "%s", *p->before++);
		return true;
	}
	if (!p->says) {
		server_say(a, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
		return true;
	}
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %u\r\n"
		"Content-Range: bytes 0-%u/%u\r\n%s\r\n", LEN, LEN - 1, LEN,
		p->says);
	server_pattern(a, 0, LEN - 1);
	return true;
}

static struct fetch *engine(const char *first, const char *second,
	struct fetch_hub **ret)
{
	struct conf *c = conf_new();
	struct fetch *f;

	t_int(conf_set(c, "torchserve.endpoint", first, CONF_ARG, NULL), 0);
	t_int(conf_set(c, "torchserve.s3", second, CONF_ARG, NULL), 0);
	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, "torchserve", c, ret, NULL), 0);
	conf_free(c);
	return f;
}

static struct src *named(struct fetch_hub *h, const char *name,
	enum objid_alg alg)
{
	struct objid id = { .alg = alg, .digits = alg ? 64 : 0 };
	struct src *s;

	t_int(fetch_src_new(h, FETCH_THE_REPO, "catalogue", name, LEN, &id,
		&s), 0);
	return s;
}

static struct src *source(struct fetch_hub *h, enum objid_alg alg)
{
	return named(h, NAME, alg);
}

/* ---- what is told ---- */

struct whole {
	struct src_pull p;	/* must be first */
	uint64_t version;	/* with the data */
	int err;
	sem_t over;
};

static int on_data(struct src_pull *p, const void *buf, size_t len)
{
	(void) buf;
	(void) len;
	((struct whole *)p)->version = p->version;
	return 0;
}

static void on_done(struct src_pull *p, int err, const struct error *why)
{
	struct whole *w = (struct whole *)p;

	(void) why;
	w->err = err;
	t_int(sem_post(&w->over), 0);
}

static int pull(struct src *s, uint64_t *ret)
{
	struct whole w = { .p = { .len = LEN, .data = on_data,
		.done = on_done } };

	t_int(sem_init(&w.over, 0, 0), 0);
	src_pull(s, &w.p);
	while (sem_wait(&w.over) < 0)
		;
	t_int(sem_destroy(&w.over), 0);
	*ret = w.version;
	return w.err;
}

struct part {
	struct src_read r;	/* must be first */
	char buf[LEN];
	int err;
	sem_t over;
};

static void on_read(struct src_read *r, int err)
{
	struct part *p = (struct part *)(void *)r;

	p->err = err;
	t_int(sem_post(&p->over), 0);
}

/* Of a source of its own, by a pull and by a read. */
static uint64_t version(struct fetch_hub *h, enum objid_alg alg)
{
	struct part p = { .r = { .len = LEN, .done = on_read } };
	struct src *s = source(h, alg);
	uint64_t v;

	t_int(pull(s, &v), 0);
	src_unref(s);
	s = source(h, alg);
	p.r.buf = p.buf;
	t_int(sem_init(&p.over, 0, 0), 0);
	t_int(src_read(s, &p.r), -EINPROGRESS);
	while (sem_wait(&p.over) < 0)
		;
	t_int(sem_destroy(&p.over), 0);
	t_int(p.err, 0);
	t_check(p.r.version == v);
	src_unref(s);
	return v;
}

static uint64_t says(struct place *p, struct fetch_hub *h, const char *lines)
{
	p->says = lines;
	return version(h, OBJID_NONE);
}

static void test_replies(struct place *p, struct fetch_hub *h)
{
	uint64_t a = says(p, h, "ETag: \"a\"\r\n" DATE OLD), v;

	t_check(a && a >> 32);
	t_check(says(p, h, "ETag: \"a\"\r\n") == a);
	v = says(p, h, "ETag: \"b\"\r\n" DATE OLD);
	t_check(v && v >> 32 == a >> 32 && !src_same_version(a, v));
	t_check(says(p, h, "") == 0);
	t_check(says(p, h, "ETag: W/\"a\"\r\n") == 0);
	v = says(p, h, "ETag: W/\"a\"\r\n" DATE OLD);
	t_check(v && says(p, h, DATE OLD) == v);
	t_check(!src_same_version(v, says(p, h, DATE OLDER)));
	/* It may change once more in this second, or is always now. */
	t_check(says(p, h, DATE NOW) == 0);
	t_check(says(p, h, OLD) == 0);
	t_check(says(p, h, "Last-Modified: lately\r\n" DATE) == 0);
	p->says = "ETag: \"a\"\r\n";
	t_check(version(h, OBJID_SHA256) == 0);
}

/* The tags of two places are not compared. */
static void test_places(struct place *p, struct place *q, struct fetch_hub *h)
{
	uint64_t a = says(p, h, "ETag: \"a\"\r\n"), b;

	q->says = "ETag: \"b\"\r\n";
	b = says(p, h, NULL);
	t_check(b && src_same_version(a, b));
	q->says = "ETag: \"c\"\r\n";
	t_check(!src_same_version(b, says(p, h, NULL)));
}

/* ---- replies that are not of the file ---- */

#define PAGE_OF(tag) "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" \
	"Content-Length: 5\r\nETag: \"" tag "\"\r\n\r\nsorry"
#define PACKED "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" \
	"Content-Length: 5\r\nETag: \"packed\"\r\n\r\nbytes"
#define LATER "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n" \
	"ETag: \"later\"\r\n\r\nbytes"
#define ELSEWHERE "HTTP/1.1 206 Part\r\nContent-Range: bytes 1-5/100\r\n" \
	"Content-Length: 5\r\nETag: \"part\"\r\n\r\nbytes"

/* A proxy's page, and whatever else is refused, has a tag of its own: before the
 * file has come and after it. */
static void test_pages(struct place *p, struct fetch_hub *h)
{
	static const char *const first[] = { PAGE_OF("1"), PAGE_OF("2"), NULL },
		*const packed[] = { PACKED, NULL },
		*const later[] = { LATER, NULL },
		*const part[] = { ELSEWHERE, NULL };
	const char *const *const all[] = { first, packed, later,
		part };
	struct src *s;
	uint64_t v;

	p->says = "ETag: \"a\"\r\n";
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		s = named(h, IN_ONE_PLACE, OBJID_NONE);
		p->before = all[i];
		t_int(pull(s, &v), 0);
		t_check(v);
		if (all[i] != part) {
			p->before = all[i];
			t_int(pull(s, &v), 0);
			t_check(v);
		}
		src_unref(s);
	}
	p->before = NULL;
}

static int refuse(struct src_pull *p, const void *buf, size_t len)
{
	(void) p;
	(void) buf;
	(void) len;
	return -ENOSPC;
}

/* No other place is asked, and none blamed, for what the reader refuses. */
static void test_reader(struct place *p, struct place *q, struct fetch_hub *h)
{
	static const char *const before[] = { CUT, CUT, ELSEWHERE, NULL };
	struct whole w = { .p = { .len = LEN, .data = refuse,
		.done = on_done } };
	struct src *s = source(h, OBJID_NONE);
	struct src_stat st;

	p->says = "";
	p->before = before;
	q->says = NULL;
	t_int(sem_init(&w.over, 0, 0), 0);
	src_pull(s, &w.p);
	while (sem_wait(&w.over) < 0)
		;
	t_int(sem_destroy(&w.over), 0);
	t_int(w.err, -ENOSPC);
	t_check(!*p->before);
	src_stat(s, &st);
	t_check(!strstr(st.last.text, "places"));
	p->before = NULL;
	src_unref(s);
}

static void put(const char *dir, const char *text, long ns)
{
	const struct timespec at[2] = { { .tv_nsec = UTIME_OMIT },
		{ 1700000000, ns } };
	char path[256];

	snprintf(path, sizeof(path), "%s/mar_files/" NAME, dir);
	t_int(io_publish(AT_FDCWD, path, text, LEN, 0644), 0);
	t_int(utimensat(AT_FDCWD, path, at, 0), 0);
}

/* A mirror on disk whose file is replaced. */
static void test_on_disk(void)
{
	char dir[] = "/tmp/omnihub-test-XXXXXX", root[64], sub[64];
	char text[LEN] = "";
	struct fetch_hub *h;
	struct fetch *f;
	struct src *s;
	uint64_t a, v;

	t_check(mkdtemp(dir));
	snprintf(sub, sizeof(sub), "%s/mar_files", dir);
	t_int(io_mkdirs(AT_FDCWD, sub), 0);
	snprintf(root, sizeof(root), "file://%s", dir);
	f = engine(root, root, &h);
	put(dir, text, 1);
	a = version(h, OBJID_NONE);
	t_check(a && version(h, OBJID_NONE) == a);
	s = source(h, OBJID_NONE);
	t_int(pull(s, &v), 0);
	put(dir, text, 2);
	t_check(!src_same_version(version(h, OBJID_NONE), a));
	/* who has begun with the other one hears of it */
	t_int(pull(s, &v), -EIO);
	src_unref(s);
	fetch_free(f);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
}

int main(void)
{
	struct place p = { .says = NULL }, q = { .says = NULL };
	const char *src = getenv("SRCDIR");
	struct fetch_hub *h;
	struct fetch *f;
	char share[4096];

	snprintf(share, sizeof(share), "%s/fetch", src ? src : "..");
	t_int(setenv("OMNIHUB_DATADIR", share, 1), 0);
	t_int(setenv("XDG_CONFIG_HOME", "/nonexistent", 1), 0);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	p.server = server_new(serve, &p);
	q.server = server_new(serve, &q);
	f = engine(server_root(p.server), server_root(q.server), &h);
	test_replies(&p, h);
	test_places(&p, &q, h);
	test_pages(&q, h);
	test_reader(&p, &q, h);
	fetch_free(f);
	test_on_disk();
	server_free(p.server);
	server_free(q.server);
	return 0;
}
