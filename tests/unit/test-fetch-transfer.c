/*
 * What comes out of a hub that does everything wrong, read through the door as
 * the cache would: by pulls. The name of the file says what the hub does.
 */
#include "config.h"

#include "fetch/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>

#include "base/io.h"
#include "tests/unit/fetch-wrong.h"
#include "tests/unit/t.h"

#define RETRIES 3

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

static atomic_uint contradicted;

/* By the name of the file. */
static unsigned contradictions(const char *name)
{
	static const char *const those[] = { "wrong-length", "other-commit",
		"other-size", "other-etag", "goes-on", "behind-the-end",
		"behind-on-a-page", "behind-unsaid", "ends-early" };

	for (size_t i = 0; i < sizeof(those) / sizeof(*those); i++)
		if (!strcmp(name, those[i]))
			return 1;
	return 0;
}

static void on_contradicted(void *arg, const struct fetch_hub *h,
	const char *repo, const char *revision, const char *path,
	uint64_t size)
{
	(void) h;
	t_str(repo, "o/m");
	t_str(revision, COMMIT);
	t_check(contradictions(path) && size == SIZE);
	t_check(arg == &contradicted);
	atomic_fetch_add(&contradicted, 1);
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
	fetch_on_contradicted(f, on_contradicted, &contradicted);
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
	{ "wrong-length", 0, KB, -EIO, RETRIES + 1, "hub had said" },
	{ "html", 0, SIZE, -EIO, RETRIES + 1, "HTML" },
	{ "right.html", 0, SIZE, 0, 1, NULL },
	{ "gzip", 0, KB, -EIO, RETRIES + 1, "encoded" },
	{ "other-commit", 0, KB, -ESTALE, 1, "revision" },
	{ "other-size", 0, KB, -EIO, 1, "listing said" },
	{ "other-etag", 0, KB, -EIO, 1, "another file" },
	{ "true-words", 0, KB, 0, 1, NULL },
	{ "goes-on", 0, SIZE, -EIO, 1, "goes on" },
	{ "behind-the-end", SIZE - KB, KB, -EIO, RETRIES + 1, "hub had said" },
	{ "behind-on-a-page", SIZE - KB, KB, -EIO, RETRIES + 1,
		"hub had said" },
	{ "behind-unsaid", SIZE - KB, KB, -EIO, RETRIES + 1, "ends before" },
	{ "ends-early", 0, SIZE, -EIO, 0, "ended early" },
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
	unsigned want = 0;

	for (size_t i = 0; i < ROWS; i++) {
		struct fetch_hub *h;

		snprintf(root, sizeof(root), "%s/%zu", server_root(wrong.hub), i);
		/* A hub that answers may be slow to, where all are busy. */
		f[i] = engine(root, strstr(row[i].name, "stall") ? "2" : "20",
			&h, NULL);
		begin(&u[i], file(h, row[i].name), row[i].off, row[i].len);
	}
	wait_all();
	for (size_t i = 0; i < ROWS; i++)
		want += contradictions(row[i].name);
	t_int(atomic_load(&contradicted), want);
	for (size_t i = 0; i < ROWS; i++) {
		snprintf(name, sizeof(name), "/%zu/o/m/resolve/" COMMIT "/%s",
			i, row[i].name);
		check_row(i, &u[i], server_count(wrong.hub, name));
		src_unref(u[i].src);
		fetch_free(f[i]);
	}
}

static void token_goes_to_the_hub_only(void)
{
	struct asked a;

	for (unsigned i = 0; server_log(wrong.hub, "/resolve/", i, &a); i++) {
		t_str(a.auth, "Bearer hf_secret");
		t_str(a.encoding, "identity");
	}
	t_check(server_log(wrong.hub, "/api/resolve-cache/", 0, &a));
	t_str(a.auth, "Bearer hf_secret");
	t_check(server_count(wrong.cdn, "") > 2);
	for (unsigned i = 0; server_log(wrong.cdn, "", i, &a); i++)
		t_str(a.auth, "");
	/* the chain left the hub: nothing comes back with it */
	t_check(server_log(wrong.hub, "/back/plain", 0, &a));
	t_str(a.auth, "");
}

static void a_cut_body_is_taken_up(void)
{
	struct asked a;

	t_check(server_log(wrong.hub, "/cut", 1, &a));
	t_int(a.first, 5 + (MB - 1) / 2 + 1);
	t_int(a.last, 5 + MB - 1);
}

static void signed_addresses_are_used_again(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(wrong.hub), "5", &h, NULL);
	struct src *s = file(h, "expires"), *t = file(h, "lfs");
	unsigned before = server_count(wrong.hub, "/lfs");
	uint8_t byte;
	struct pull u[8];

	t_int(src_read_wait(s, 1, &byte, 1), 0);
	t_int(byte, server_byte(1));
	t_int(server_count(wrong.hub, "/expires"), 1);
	/* the second is refused, a new signature fetched and used twice */
	t_int(src_read_wait(s, 2, &byte, 1), 0);
	t_int(byte, server_byte(2));
	t_int(src_read_wait(s, 3, &byte, 1), 0);
	t_int(server_count(wrong.hub, "/expires"), 2);
	t_int(server_count(wrong.cdn, "/expires?S=1"), 2);
	t_int(server_count(wrong.cdn, "/expires?S=2"), 2);

	/* eight at once ask the hub once */
	for (int i = 0; i < 8; i++)
		begin(&u[i], t, (uint64_t)i * 1000, 1000);
	wait_all();
	for (int i = 0; i < 8; i++)
		t_check(!u[i].err && !u[i].wrong && u[i].got == 1000);
	t_int(server_count(wrong.hub, "/lfs") - before, 1);
	src_unref(s);
	src_unref(t);
	fetch_free(f);
}

/* The host that a remembered address names is gone: the hub knows another. */
static void a_dead_place_is_left(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(wrong.hub), "5", &h, NULL);
	struct src *s = file(h, "moves");
	struct server *old = server_new(wrong_cdn, NULL);
	uint8_t byte;

	wrong.moving_cdn = old;
	t_int(src_read_wait(s, 1, &byte, 1), 0);
	wrong.moving_cdn = wrong.cdn;
	t_int(src_read_wait(s, 2, &byte, 1), 0);
	t_int(server_count(old, "/moves"), 2);
	server_free(old);
	t_int(src_read_wait(s, 3, &byte, 1), 0);
	t_int(byte, server_byte(3));
	t_int(server_count(wrong.hub, "/moves"), 2);
	t_int(server_count(wrong.cdn, "/moves"), 1);
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
	struct fetch *f = engine(server_root(wrong.hub), "5", &h, "fetch.rate=2M");
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

static struct pull pair[2];
static uint64_t behind;		/* bytes the other had at the first one's end */

static void on_one_done(struct src_pull *p, int err, const struct error *why)
{
	if (!behind)
		behind = pair[p == &pair[0].p].got;
	on_done(p, err, why);
}

/* Nobody waits until all that began later is there. */
static void rate_is_shared(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(wrong.hub), "5", &h,
		"fetch.rate=4M");
	struct src *s = file(h, "plain");

	for (unsigned i = 0; i < 2; i++) {
		pair[i] = (struct pull){ .src = s, .p = { .len = SIZE,
			.data = on_data, .done = on_one_done } };
		pthread_mutex_lock(&lock);
		pending++;
		pthread_mutex_unlock(&lock);
		src_pull(s, &pair[i].p);
	}
	wait_all();
	t_check(!pair[0].err && !pair[0].wrong && pair[0].got == SIZE);
	t_check(!pair[1].err && !pair[1].wrong && pair[1].got == SIZE);
	t_check(behind > SIZE / 3);
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
	struct fetch *f = engine(server_root(wrong.hub), "5", &h, NULL);
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
	struct fetch *f = engine(server_root(wrong.hub), "5", &h, NULL);
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

/* A disk that was full for a moment. */
static int refuse_once(struct src_pull *p, const void *buf, size_t len)
{
	struct pull *u = (struct pull *)p;
	bool full = !u->wrong && u->got >= SIZE / 3;

	if (full) {
		u->wrong = true;	/* nothing may come behind it */
		return -ENOSPC;
	}
	t_check(!u->wrong);
	return on_data(p, buf, len);
}

/* What fetch.rate held back is given out of libcurl's memory, between reads. */
static void sink_errors_end_what_was_held_back(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(wrong.hub), "5", &h,
		"fetch.rate=4M");
	struct src *s = file(h, "plain");
	struct pull u = { .p = { .len = SIZE, .data = refuse_once,
		.done = on_done } };

	pending++;
	src_pull(s, &u.p);
	wait_all();
	t_int(u.err, -ENOSPC);
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
	/* a name server that is asked twice takes 5 s for it */
	f = engine("http://nowhere.invalid", "20", &h, NULL);
	s = file(h, "plain");
	t_int(src_read_wait(s, 0, &b, 1), -EHOSTUNREACH);
	src_unref(s);
	fetch_free(f);
}

static void offline(void)
{
	unsigned before = server_count(wrong.hub, "");
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(wrong.hub), "5", &h, "offline=1");
	struct src *s = file(h, "plain");
	struct src_stat st;
	uint8_t b;

	t_int(src_read_wait(s, 0, &b, 1), -EHOSTUNREACH);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "offline"));
	t_int(server_count(wrong.hub, ""), before);
	src_unref(s);
	fetch_free(f);
}

/* Two hundred stalled pulls: another file still comes through, and going down
 * does not wait for them. */
static void stalled_ones_lend_their_slots(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(wrong.hub), "30", &h, NULL);
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

/* A file on disk that became shorter, read behind its new end. */
static void a_mirror_is_shorter(void)
{
	static const char below[] = "o/m/resolve/" COMMIT;
	char dir[] = "/tmp/t-transfer-XXXXXX", path[256], root[64], byte;
	unsigned before = atomic_load(&contradicted);
	struct fetch_hub *h;
	struct src_stat st;
	struct fetch *f;
	struct src *s;

	t_check(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/%s", dir, below);
	t_int(io_mkdirs(AT_FDCWD, path), 0);
	snprintf(path, sizeof(path), "%s/%s/behind-the-end", dir, below);
	t_int(io_publish(AT_FDCWD, path, "short", 5, 0644), 0);
	snprintf(root, sizeof(root), "file://%s", dir);
	f = engine(root, "2", &h, NULL);
	s = file(h, "behind-the-end");
	t_int(src_read_wait(s, SIZE - 1, &byte, 1), -EIO);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "hub had said"));
	t_int(atomic_load(&contradicted), before + 1);
	src_unref(s);
	fetch_free(f);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
}

int main(void)
{
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	wrong.hub = server_new(wrong_hub, NULL);
	wrong.cdn = server_new(wrong_cdn, NULL);
	every_case();
	token_goes_to_the_hub_only();
	a_cut_body_is_taken_up();
	signed_addresses_are_used_again();
	a_dead_place_is_left();
	rate_is_kept();
	rate_is_shared();
	many_threads();
	sink_errors_end_it();
	sink_errors_end_what_was_held_back();
	nobody_there();
	offline();
	stalled_ones_lend_their_slots();
	a_mirror_is_shorter();
	server_free(wrong.hub);
	server_free(wrong.cdn);
	return 0;
}
