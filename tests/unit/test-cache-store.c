/* The root, the index, recipes, budget, pins, verify and clear. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

static void test_version(void)
{
	char *dir = upstream_dir("version"), *tmp = t_join(dir, "tmp/1-2-3");
	const struct cache_conf conf = { .dir = dir, .connections = 1 };
	struct error why = { 0 };
	struct cache *c;

	t_int(cache_open(&conf, &c, &why), 0);
	cache_close(c);
	t_int(io_publish(AT_FDCWD, tmp, "x", 1, 0600), 0);
	t_int(cache_open(&conf, &c, &why), 0);
	t_int(access(tmp, F_OK), -1);
	cache_close(c);
	free(tmp);
	tmp = t_join(dir, "VERSION");
	t_int(io_publish(AT_FDCWD, tmp, "omnihub-cache 99\n", 17, 0600), 0);
	t_int(cache_open(&conf, &c, &why), -ENOTSUP);
	t_check(strstr(why.text, "99") && strstr(why.text, dir));
	free(tmp);
	free(dir);
}

static int count(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	struct buf *b = arg;

	t_check(age >= 0);
	t_int(buf_printf(b, "%s=%.*s ", key, (int)len, (const char *)value),
		0);
	return 0;
}

static void test_index(void)
{
	char *dir = upstream_dir("index"), *path = t_join(dir, "index.sqlite");
	struct buf b = BUF_INIT(1000), tiny = BUF_INIT(2);
	struct cache *c = t_open_cache(dir, 0), *d = t_open_cache(dir, 0);
	int64_t age = -1;

	t_int(cache_index_get(c, CACHE_KIND_LISTING, "a", &b, NULL), -ENOENT);
	t_int(cache_index_put(c, CACHE_KIND_LISTING, "hf/a@1", "one", 3), 0);
	t_int(cache_index_put(c, CACHE_KIND_LISTING, "hf/a@2", "two", 3), 0);
	t_int(cache_index_put(c, CACHE_KIND_LISTING, "hf/b@1", "", 0), 0);
	t_int(cache_index_put(c, CACHE_KIND_NAMES, "hf/a@3", "x", 1), 0);
	clock_advance(5000);
	t_int(cache_index_get(d, CACHE_KIND_LISTING, "hf/a@1", &b, &age), 0);
	t_str((char *)b.data, "one");
	t_check(age >= 5 && age < 60);
	t_int(cache_index_get(d, CACHE_KIND_LISTING, "hf/a@1", &tiny, &age),
		-EFBIG);
	buf_clear(&b);
	t_int(cache_index_each(d, CACHE_KIND_LISTING, "hf/a", count, &b), 0);
	t_str((char *)b.data, "hf/a@1=one hf/a@2=two ");
	buf_clear(&b);
	t_int(cache_index_each(d, CACHE_KIND_LISTING, "", count, &b), 0);
	t_str((char *)b.data, "hf/a@1=one hf/a@2=two hf/b@1= ");
	/* The clock is set back: a little is nothing, more than that is an age
	 * that nobody knows. */
	buf_clear(&b);
	clock_advance(200000000);
	t_int(cache_index_put(d, CACHE_KIND_NEWS, "hf/a@1", "late", 4), 0);
	clock_advance(-UINT64_C(30000));
	t_int(cache_index_get(d, CACHE_KIND_NEWS, "hf/a@1", &b, &age), 0);
	t_check(!age);
	clock_advance(-UINT64_C(199970000));
	t_int(cache_index_get(d, CACHE_KIND_NEWS, "hf/a@1", &b, &age), 0);
	t_check(age > 10L * 366 * 24 * 3600);
	buf_clear(&b);
	t_int(cache_index_each(d, CACHE_KIND_NEWS, "", count, &b), 0);
	t_str((char *)b.data, "hf/a@1=late ");
	t_int(cache_index_put(d, CACHE_KIND_LISTING, "hf/a@1", "new", 3), 0);
	t_int(cache_index_del(d, CACHE_KIND_LISTING, "hf/a@2"), 0);
	buf_clear(&b);
	t_int(cache_index_each(c, CACHE_KIND_LISTING, "hf/a", count, &b), 0);
	t_str((char *)b.data, "hf/a@1=new ");
	t_int(cache_pin(c, "hf", "org/a", "1", true), 0);
	cache_close(c);
	cache_close(d);

	/* Rubbish in its place: made anew, and the pins are known again. */
	t_int(io_publish(AT_FDCWD, path, "this is no database, is it", 26,
		0600), 0);
	c = t_open_cache(dir, 0);
	buf_clear(&b);
	t_int(cache_index_each(c, CACHE_KIND_LISTING, "", count, &b), 0);
	t_int(b.len, 0);
	t_int(cache_index_each(c, CACHE_KIND_PIN, "", count, &b), 0);
	t_str((char *)b.data, "hf/org/a@1= ");
	cache_close(c);
	buf_done(&b);
	buf_done(&tiny);
	free(path);
	free(dir);
}

static void test_recipes(void)
{
	static const char key[] = "00112233445566778899aabbccddeeff"
		"00112233445566778899aabbccddeeff";
	char *dir = upstream_dir("recipes"), *path;
	struct buf b = BUF_INIT(1000);
	struct cache *c = t_open_cache(dir, 0);
	struct cache_totals t;
	int fd;

	t_int(cache_recipe_get(c, key, &b), -ENOENT);
	t_int(cache_recipe_get(c, "../../../etc/passwd", &b), -EINVAL);
	t_int(cache_recipe_put(c, key, "abc", 3), 0);
	t_int(cache_recipe_put(c, key, "abcd", 4), 0);
	t_int(cache_recipe_get(c, key, &b), 0);
	t_str((char *)b.data, "abcd");
	t_int(cache_totals(c, &t), 0);
	t_int(t.recipes, 1);
	t_int(t.recipe_bytes, 12);
	t_check(asprintf(&path, "%s/recipes/00/%s", dir, key + 2) > 0);
	fd = open(path, O_RDWR);
	t_int(io_pwrite(fd, "X", 1, 9), 0);
	(void) close(fd);
	t_int(cache_recipe_get(c, key, &b), -EBADMSG);
	t_int(cache_recipe_get(c, key, &b), -ENOENT);
	cache_close(c);
	buf_done(&b);
	free(path);
	free(dir);
}

struct file {
	struct cache_name n;
	uint8_t *bytes;
	struct upstream *u;
};

static struct file make_file(const char *path, unsigned seed, uint64_t size)
{
	struct file f;

	f.bytes = upstream_bytes(size, seed);
	f.n = t_name_of(path, f.bytes, size, OBJID_SHA256);
	f.u = upstream_new(f.bytes, size, 1);
	return f;
}

static void free_file(struct file *f)
{
	upstream_free(f->u);
	free(f->bytes);
}

/* Read all of it and let it settle. */
static struct src *fetch(struct cache *c, struct file *f)
{
	struct src *s = t_open_src(c, &f->n, f->u);

	t_expect(s, f->bytes, 0, f->n.size);
	(void) t_wait_fd(s);
	usleep(20000);	/* so that last uses differ */
	return s;
}

/* Until nobody has it open any more: the pool may hold an object a moment
 * longer than its last reader. */
static void let_go(const char *dir, const struct file *f)
{
	char hex[OBJID_HEX_MAX], path[300];
	int fd;

	objid_hex(&f->n.id, hex);
	(void) snprintf(path, sizeof(path), "%.150s/objects/sha256/%.2s/%s",
		dir, hex, hex + 2);
	fd = open(path, O_RDONLY);
	t_check(fd >= 0);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		t_check(i < 4000);
		usleep(1000);
	}
	(void) close(fd);
}

static enum src_state state_of(struct cache *c, const struct file *f)
{
	struct src_stat st;

	t_int(cache_name_stat(c, &f->n, &st), 0);
	return st.state;
}

static uint64_t total(struct cache *c)
{
	struct cache_totals t;

	t_int(cache_totals(c, &t), 0);
	return t.object_bytes + t.partial_bytes + t.recipe_bytes;
}

static void test_budget(void)
{
	char *dir = upstream_dir("budget");
	struct cache *c = t_open_cache(dir, 8 * MIB);
	struct file f[4] = {
		make_file("a", 20, MIB), make_file("b", 21, MIB),
		make_file("c", 22, MIB), make_file("d", 23, 6 * MIB + 65536),
	};
	struct src *s[4], *d;
	uint8_t b[16];
	uint64_t freed = 0;

	for (int i = 0; i < 3; i++)
		s[i] = fetch(c, &f[i]);
	/* b is open, a was used after c, c is the oldest that may go. */
	src_unref(s[2]);
	let_go(dir, &f[2]);
	usleep(20000);
	src_unref(s[0]);
	src_unref(t_open_src(c, &f[0].n, f[0].u));
	let_go(dir, &f[0]);
	d = t_open_src(c, &f[3].n, f[3].u);
	t_expect(d, f[3].bytes, 0, 5 * MIB + 65536);
	t_int(state_of(c, &f[2]), SRC_REMOTE);
	t_int(state_of(c, &f[0]), SRC_VERIFIED);
	t_int(state_of(c, &f[1]), SRC_VERIFIED);
	t_check(total(c) <= 8 * MIB);
	t_expect(d, f[3].bytes, 0, 6 * MIB + 65536);
	t_int(state_of(c, &f[0]), SRC_REMOTE);
	t_int(state_of(c, &f[1]), SRC_VERIFIED);
	t_check(total(c) <= 8 * MIB);
	(void) t_wait_fd(d);
	/* Everything is open: no room at all. */
	s[0] = t_open_src(c, &f[0].n, f[0].u);
	t_int(src_read_wait(s[0], 0, b, 16), -ENOSPC);
	t_check(total(c) <= 8 * MIB);
	src_unref(s[1]);
	let_go(dir, &f[1]);
	t_expect(s[0], f[0].bytes, 0, 16);
	(void) t_wait_fd(s[0]);
	src_unref(s[0]);
	src_unref(d);
	let_go(dir, &f[0]);
	let_go(dir, &f[3]);
	t_int(cache_gc(c, 2 * MIB, &freed), 0);
	t_check(total(c) <= 2 * MIB);
	t_check(freed >= 2 * MIB);
	cache_close(c);
	for (int i = 0; i < 4; i++)
		free_file(&f[i]);
	free(dir);
}

struct evictor {
	struct cache *c;
	atomic_bool stop;
};

static void *evict_on(void *arg)
{
	struct evictor *e = arg;

	while (!atomic_load(&e->stop))
		t_int(cache_gc(e->c, 0, NULL), 0);
	cache_close(e->c);
	return NULL;
}

/* What is pinned before it is closed stays, though an eviction is under way
 * that has looked at the pins before. */
static void test_pin_meanwhile(void)
{
	char *dir = upstream_dir("pin-meanwhile");
	struct evictor e = { .c = t_open_cache(dir, 0) };
	struct cache *c = t_open_cache(dir, 0);
	struct file f = make_file("a", 26, MIB);
	char path[200], revision[20];
	struct src *s;
	pthread_t t;

	f.n.revision = revision;
	/* It takes a while to look through these. */
	for (unsigned i = 0; i < 256; i++) {
		(void) snprintf(path, sizeof(path),
			"%.100s/objects/sha256/%02x", dir, i);
		t_int(io_mkdirs(AT_FDCWD, path), 0);
	}
	(void) snprintf(revision, sizeof(revision), "r");
	src_unref(fetch(c, &f));
	t_check(!pthread_create(&t, NULL, evict_on, &e));
	for (unsigned i = 0; i < 12; i++) {
		(void) snprintf(revision, sizeof(revision), "r%u", i);
		s = fetch(c, &f);
		t_int(cache_pin(c, f.n.hub, f.n.repo, revision, true), 0);
		src_unref(s);
		usleep(3000);
		t_int(state_of(c, &f), SRC_VERIFIED);
		t_int(cache_pin(c, f.n.hub, f.n.repo, revision, false), 0);
	}
	atomic_store(&e.stop, true);
	pthread_join(t, NULL);
	cache_close(c);
	free_file(&f);
	free(dir);
}

static void test_pin(enum objid_alg alg)
{
	char *dir = upstream_dir("pin"), *index = t_join(dir, "index.sqlite");
	struct cache *c = t_open_cache(dir, 0);
	struct file f = make_file("a", 24, MIB), g = make_file("b", 25, MIB);
	struct cache_totals t;
	uint64_t freed = 0;

	f.n = t_name_of("a", f.bytes, MIB, alg);
	g.n.revision = "another";
	src_unref(fetch(c, &f));
	src_unref(fetch(c, &g));
	t_int(cache_pin(c, f.n.hub, f.n.repo, f.n.revision, true), 0);
	cache_close(c);
	t_int(unlink(index), 0);
	c = t_open_cache(dir, 0);
	t_int(cache_totals(c, &t), 0);
	t_int(t.pinned_bytes, MIB);
	t_int(cache_gc(c, 0, &freed), 0);
	t_int(freed, MIB);
	t_check(state_of(c, &f) >= SRC_CACHED);
	t_int(state_of(c, &g), SRC_REMOTE);
	t_int(cache_pin(c, f.n.hub, f.n.repo, f.n.revision, false), 0);
	t_int(cache_gc(c, 0, &freed), 0);
	t_int(freed, MIB);
	t_int(state_of(c, &f), SRC_REMOTE);
	cache_close(c);
	free_file(&f);
	free_file(&g);
	free(index);
	free(dir);
}

/* Clear until so many bytes went: the pool may hold an object a moment longer
 * than its last reader. */
static void clear(struct cache *c, uint64_t want)
{
	uint64_t sum = 0, freed = 0;

	for (int i = 0; i < 4000 && sum < want; i++) {
		t_int(cache_clear(c, &freed), 0);
		sum += freed;
		usleep(1000);
	}
	t_int(sum, want);
}

/* Nothing stays but what the user asked to keep: facts, and what was being
 * written when somebody was killed. */
static void test_clear(void)
{
	struct buf value cleanup_buf = BUF_INIT(100);
	char *dir = upstream_dir("clear"), *left = t_join(dir, "tmp/put-1");
	struct cache *c = t_open_cache(dir, 0);
	uint64_t freed;

	t_int(cache_index_put(c, CACHE_KIND_FACT, "k", "v", 1), 0);
	t_int(cache_index_put(c, CACHE_KIND_PIN, "k", "v", 1), 0);
	t_int(io_publish(AT_FDCWD, left, "x", 1, 0600), 0);
	t_int(cache_clear(c, &freed), 0);
	t_int(cache_index_get(c, CACHE_KIND_FACT, "k", &value, NULL), -ENOENT);
	t_int(cache_index_get(c, CACHE_KIND_PIN, "k", &value, NULL), 0);
	t_check(access(left, F_OK) < 0);
	cache_close(c);
	free(left);
	free(dir);
}

/* A process that has an object open keeps it from being evicted by others. */
static void test_open_elsewhere(void)
{
	char *dir = upstream_dir("elsewhere-open");
	struct cache *c = t_open_cache(dir, 0), *d = t_open_cache(dir, 0);
	struct file f = make_file("a", 26, 5 * MIB);
	struct src *s = fetch(c, &f);
	uint64_t freed = 1;

	t_int(cache_clear(d, &freed), 0);
	t_int(freed, 0);
	t_int(state_of(d, &f), SRC_VERIFIED);
	src_unref(s);
	s = t_open_src(c, &f.n, NULL);
	t_expect(s, f.bytes, 0, 100);
	src_unref(s);
	clear(d, 5 * MIB);
	t_int(total(d), 0);
	/* A partial too. */
	s = t_open_src(c, &f.n, f.u);
	t_expect(s, f.bytes, 0, 100);
	t_int(cache_clear(d, &freed), 0);
	t_int(freed, 0);
	src_unref(s);
	clear(d, 65536);
	cache_close(c);
	cache_close(d);
	free_file(&f);
	free(dir);
}

static void note_bad(void *arg, const char *what, int err, bool removed)
{
	unsigned *n = arg;

	t_check(removed == (err != 0));
	if (strstr(what, "objects/") || strstr(what, "partial/"))
		n[err ? 1 : 0]++;
	else
		t_int(err, 0);
}

static void test_verify(void)
{
	char *dir = upstream_dir("verify"), *path, *rel;
	struct cache *c = t_open_cache(dir, 0);
	struct file f = make_file("a", 27, 2 * MIB),
		g = make_file("b", 28, 5 * MIB), h = make_file("c", 29, MIB);
	char hex[OBJID_HEX_MAX];
	unsigned n[2] = { 0, 0 };
	struct src *s;
	uint64_t bad = 0;
	int fd;

	src_unref(fetch(c, &f));
	src_unref(fetch(c, &h));
	s = t_open_src(c, &g.n, g.u);
	t_expect(s, g.bytes, 0, MIB);
	src_unref(s);
	t_int(cache_verify(c, note_bad, n, &bad), 0);
	t_int(bad, 0);
	t_int(n[0], 3);
	objid_hex(&f.n.id, hex);
	t_check(asprintf(&rel, "objects/sha256/%.2s/%s", hex, hex + 2) > 0);
	path = t_join(dir, rel);
	t_int(chmod(path, 0644), 0);
	fd = open(path, O_RDWR);
	t_int(io_pwrite(fd, "X", 1, 77777), 0);
	(void) close(fd);
	t_int(cache_verify(c, note_bad, n, &bad), 0);
	t_int(bad, 1);
	t_int(n[1], 1);
	t_int(state_of(c, &f), SRC_REMOTE);
	src_unref(fetch(c, &f));
	cache_close(c);
	free_file(&f);
	free_file(&g);
	free_file(&h);
	free(path);
	free(rel);
	free(dir);
}

/* The same bytes in two repositories are stored and fetched once. */
static void test_same_bytes(void)
{
	char *dir = upstream_dir("same");
	struct cache *c = t_open_cache(dir, 0);
	struct file f = make_file("a", 30, MIB), g = make_file("b", 30, MIB),
		k;
	struct cache_totals t;

	g.n.repo = "other/repo";
	src_unref(fetch(c, &f));
	src_unref(fetch(c, &g));
	t_int(atomic_load(&g.u->sent), 0);
	/* Without a digest they must be fetched, but are kept once. */
	k = make_file("k", 30, MIB);
	k.n.id.alg = OBJID_NONE;
	src_unref(fetch(c, &k));
	t_int(atomic_load(&k.u->sent), MIB);
	t_int(cache_totals(c, &t), 0);
	t_int(t.objects, 1);
	cache_close(c);
	free_file(&f);
	free_file(&g);
	free_file(&k);
	free(dir);
}

/* Another process writes into the index for long: neither an open nor a
 * question to the index waits. */
static void test_index_busy(void)
{
	char *dir = upstream_dir("busy"), *index = t_join(dir, "index.sqlite");
	struct cache *c = t_open_cache(dir, 0);
	struct file f = make_file("a/b", 7, MIB);
	struct buf none = BUF_INIT(16);
	struct cache_totals t;
	uint64_t start;
	sqlite3 *db;

	t_int(sqlite3_open(index, &db), SQLITE_OK);
	t_int(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	start = clock_ms();
	src_unref(fetch(c, &f));
	t_int(cache_index_get(c, CACHE_KIND_TOUCHED, "x", &none, NULL),
		-ENOENT);
	t_check(clock_ms() - start < 3000);
	t_int(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	t_int(sqlite3_close(db), SQLITE_OK);
	/* What was to be noted is noted in time for a pin. */
	t_int(cache_pin(c, f.n.hub, f.n.repo, f.n.revision, true), 0);
	t_int(cache_totals(c, &t), 0);
	t_int(t.pinned_bytes, MIB);
	cache_close(c);
	free_file(&f);
	free(index);
	free(dir);
}

/* Something that is no file lies where an object was. */
static void test_odd_object(void)
{
	char *dir = upstream_dir("odd"), hex[OBJID_HEX_MAX], rel[256];
	struct cache *c = t_open_cache(dir, 0);
	struct file f = make_file("a/b", 8, MIB);
	char *path;

	src_unref(fetch(c, &f));
	cache_close(c);
	objid_hex(&f.n.id, hex);
	(void) snprintf(rel, sizeof(rel), "objects/sha256/%.2s/%s", hex,
		hex + 2);
	path = t_join(dir, rel);
	t_int(unlink(path), 0);
	t_int(mkfifo(path, 0444), 0);
	c = t_open_cache(dir, 0);
	src_unref(fetch(c, &f));
	t_int(atomic_load(&f.u->sent), 2 * MIB);
	cache_close(c);
	free_file(&f);
	free(path);
	free(dir);
}

int main(void)
{
	test_odd_object();
	test_index_busy();
	test_version();
	test_index();
	test_recipes();
	test_budget();
	test_pin_meanwhile();
	test_pin(OBJID_SHA256);
	test_pin(OBJID_GITSHA1);
	test_clear();
	test_open_elsewhere();
	test_verify();
	test_same_bytes();
	return 0;
}
