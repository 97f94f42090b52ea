/* What the disk, or somebody, has changed while nobody looked. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define REST_A "112233445566778899aabbccddeeff" \
	"00112233445566778899aabbccddeeff"
#define REST_B "112233445566778899aabbccddeeff" \
	"00112233445566778899aabbccddee00"
#define KEY_A "00" REST_A
#define KEY_B "00" REST_B

/* Until nobody has it open: a thread may have its blob longer than its last
 * reader, and who opens it again would share that. */
static void let_go(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	t_check(fd >= 0);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		t_check(i < 30000);
		usleep(1000);
	}
	(void) close(fd);
}

static struct cache *open_strict(const char *dir)
{
	const struct cache_conf conf = { .dir = dir, .connections = 1,
		.before_read = true };
	struct cache *c;

	t_int(cache_open(&conf, &c, NULL), 0);
	return c;
}

/* Compared once a program, and again after every change. */
static void test_recheck(void)
{
	char *dir = upstream_dir("recheck"), *path;
	const uint64_t size = 5 * MIB + 77;
	uint8_t *bytes = upstream_bytes(size, 1);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u);

	t_expect(s, bytes, 0, size);
	(void) t_wait_fd(s);
	src_unref(s);
	cache_close(c);
	t_int(atomic_load(&u->sent), size);
	path = t_object_path(dir, &n);
	for (int i = 0; i < 2; i++) {
		c = open_strict(dir);
		/* Once before anything was read, once after it was. */
		if (i) {
			s = t_open_src(c, &n, u);
			t_expect(s, bytes, 0, size);
			src_unref(s);
			t_int(atomic_load(&u->sent), 2 * size);
			let_go(path);
			usleep(20000);	/* its change time moves on */
		}
		t_spoil(path, 3 * MIB);
		s = t_open_src(c, &n, u);
		t_expect(s, bytes, 0, size);
		t_wait_state(s, SRC_VERIFIED);
		(void) t_wait_fd(s);
		src_unref(s);
		t_int(atomic_load(&u->sent), (2 + i) * size);
		cache_close(c);
	}
	/* Offline there is nothing instead. */
	t_spoil(path, 7);
	c = open_strict(dir);
	t_int(cache_whole_open(c, &n, &s), -ENOENT);
	t_int(access(path, F_OK), -1);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(path);
	free(dir);
}

/* What is in the way of an object, while others have the cache open: nobody
 * counts anew. */
static void test_replaced(void)
{
	char *dir = upstream_dir("replaced"), *path;
	const uint64_t size = MIB;
	uint8_t *bytes = upstream_bytes(size, 2);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *other = t_open_cache(dir, 3 * MIB);
	struct cache *c = t_open_cache(dir, 3 * MIB);
	struct src *s;

	path = t_object_path(dir, &n);
	/* Five times what would fit three times. */
	for (int i = 0; i < 5; i++) {
		s = t_open_src(c, &n, u);
		t_expect(s, bytes, 0, size);
		(void) t_wait_fd(s);
		src_unref(s);
		t_int(truncate(path, MIB - 1), 0);
	}
	t_int(unlink(path), 0);
	t_int(mkdir(path, 0700), 0);
	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 0, size);
	(void) t_wait_fd(s);
	src_unref(s);
	cache_close(c);
	cache_close(other);
	upstream_free(u);
	free(bytes);
	free(path);
	free(dir);
}

/* A recipe under another's name is none. */
static void test_recipe(void)
{
	char *dir = upstream_dir("rotten-recipe");
	char *a = t_join(dir, "recipes/00/" REST_A);
	char *b = t_join(dir, "recipes/00/" REST_B);
	struct buf got = BUF_INIT(100);
	struct cache *c = t_open_cache(dir, 0);

	t_int(cache_recipe_put(c, KEY_A, "abc", 3), 0);
	t_int(rename(a, b), 0);
	t_int(cache_recipe_get(c, KEY_B, &got), -EBADMSG);
	t_int(access(b, F_OK), -1);
	/* Nobody writes into it: whoever reads would wait. */
	t_int(mkfifo(a, 0600), 0);
	t_int(cache_recipe_get(c, KEY_A, &got), -EBADMSG);
	t_int(mkdir(a, 0700), 0);
	t_int(cache_recipe_put(c, KEY_A, "abc", 3), 0);
	t_int(cache_recipe_get(c, KEY_A, &got), 0);
	t_str((char *)got.data, "abc");
	cache_close(c);
	buf_done(&got);
	free(a);
	free(b);
	free(dir);
}

static void bad_index(void *arg, const char *what, int err, bool removed)
{
	if (!err)
		return;
	t_str(what, "index.sqlite");
	t_int(err, -EBADMSG);
	t_check(removed);
	++*(int *)arg;
}

static void change(const char *path, const char *sql)
{
	sqlite3 *db;

	t_int(sqlite3_open(path, &db), SQLITE_OK);
	t_int(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	(void) sqlite3_close(db);
}

/* A fact that nobody put is not known; verify begins anew, and knows the
 * pins. */
static void test_facts(void)
{
	char *dir = upstream_dir("facts"), *path = t_join(dir, "index.sqlite");
	struct buf b = BUF_INIT(100);
	struct cache *c = t_open_cache(dir, 0);
	uint64_t bad = 9;
	int told = 0;

	t_int(cache_index_put(c, CACHE_KIND_FACT, "a", "one", 3), 0);
	t_int(cache_index_put(c, CACHE_KIND_FACT, "b", "", 0), 0);
	t_int(cache_pin(c, "hub", "org/a", "1", true), 0);
	t_int(cache_verify(c, bad_index, &told, &bad), 0);
	t_int(bad, 0);
	change(path, "UPDATE facts SET value='two' WHERE key='a'");
	t_int(cache_index_get(c, CACHE_KIND_FACT, "a", &b, NULL), -ENOENT);
	t_int(cache_index_get(c, CACHE_KIND_FACT, "b", &b, NULL), 0);
	t_int(cache_verify(c, bad_index, &told, &bad), 0);
	t_int(bad, 1);
	t_int(told, 1);
	t_int(cache_index_get(c, CACHE_KIND_FACT, "b", &b, NULL), -ENOENT);
	t_int(cache_index_get(c, CACHE_KIND_PIN, "hub/org/a@1", &b, NULL), 0);
	t_int(cache_index_put(c, CACHE_KIND_FACT, "a", "one", 3), 0);
	t_int(cache_index_get(c, CACHE_KIND_FACT, "a", &b, NULL), 0);
	t_int(cache_verify(c, bad_index, &told, &bad), 0);
	t_int(bad, 0);
	cache_close(c);
	buf_done(&b);
	free(path);
	free(dir);
}

static int count(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	(void) key;
	(void) value;
	(void) len;
	(void) age;
	++*(int *)arg;
	return 0;
}

/* Nor is one that stands under another's key or kind. */
static void test_facts_moved(void)
{
	char *dir = upstream_dir("facts-moved");
	char *path = t_join(dir, "index.sqlite"), sql[100];
	struct buf b = BUF_INIT(100);
	struct cache *c = t_open_cache(dir, 0);
	int n = 0;

	t_int(cache_index_put(c, CACHE_KIND_FACT, "a", "one", 3), 0);
	t_int(cache_index_put(c, CACHE_KIND_FACT, "b", "two", 3), 0);
	(void) snprintf(sql, sizeof(sql), "UPDATE facts SET kind=%d WHERE "
		"key='b'", CACHE_KIND_NEWS);
	change(path, "UPDATE facts SET key='c' WHERE key='a'");
	change(path, sql);
	t_int(cache_index_get(c, CACHE_KIND_FACT, "c", &b, NULL), -ENOENT);
	t_int(cache_index_get(c, CACHE_KIND_NEWS, "b", &b, NULL), -ENOENT);
	t_int(cache_index_each(c, CACHE_KIND_FACT, "", count, &n), 0);
	t_int(cache_index_each(c, CACHE_KIND_NEWS, "", count, &n), 0);
	t_int(n, 0);
	cache_close(c);
	buf_done(&b);
	free(path);
	free(dir);
}

/* Somebody's directory in which there is no cache keeps what is in tmp/. */
static void test_stranger(void)
{
	char *dir = upstream_dir("stranger"), *mine = t_join(dir, "tmp/mine");
	const struct cache_conf conf = { .dir = dir };
	struct error why = { 0 };
	struct cache *c;

	t_int(io_mkdirs(AT_FDCWD, dir), 0);
	t_int(io_mkdirs(AT_FDCWD, mine), 0);
	t_int(cache_open(&conf, &c, &why), -ENOTEMPTY);
	t_check(strstr(why.text, "that is no cache"));
	t_int(access(mine, F_OK), 0);
	t_int(rmdir(mine), 0);
	t_int(cache_open(&conf, &c, &why), 0);
	cache_close(c);
	free(mine);
	free(dir);
}

struct looker {
	struct cache *c;
	atomic_bool stop;
};

static void look_at(void *arg, const char *what, int err, bool removed)
{
	(void) arg;
	(void) what;
	/* A thing of which nobody knows what it was to be has gone, or what is
	 * there now is another. */
	t_check(err == 0 || removed);
}

/* Finds what is damaged, and takes it away. */
static void *look_on(void *arg)
{
	struct looker *l = arg;
	struct buf got = BUF_INIT(100);

	while (!atomic_load(&l->stop)) {
		(void) cache_recipe_get(l->c, KEY_A, &got);
		t_int(cache_verify(l->c, look_at, NULL, NULL), 0);
		buf_clear(&got);
	}
	cache_close(l->c);
	buf_done(&got);
	return NULL;
}

/* What is put in the place of what was damaged stays, whoever was still looking
 * at the damage. */
static void test_put_anew(void)
{
	char *dir = upstream_dir("anew"), *path = t_join(dir, "recipes/00/" REST_A);
	char *link = t_join(dir, "links/00/" REST_A);
	char *bad = t_join(dir, "bad"), *pipe = t_join(dir, "pipe");
	struct looker l = { .c = t_open_cache(dir, 0) };
	struct cache *c = t_open_cache(dir, 0);
	struct buf got = BUF_INIT(100);
	struct objid to, id;
	pthread_t t;

	digest_sha256("abc", 3, &id);
	t_int(cache_recipe_put(c, KEY_A, "abc", 3), 0);
	t_check(!pthread_create(&t, NULL, look_on, &l));
	for (unsigned i = 0; i < 25; i++) {
		int fd = open(bad, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		t_int(io_pwrite(fd, "not a recipe", 12, 0), 0);
		(void) close(fd);
		t_int(mkfifo(pipe, 0600), 0);
		t_int(rename(i & 1 ? bad : pipe, path), 0);
		(void) unlink(i & 1 ? pipe : bad);
		t_int(cache_recipe_put(c, KEY_A, "abc", 3), 0);
		usleep(200);
		t_int(cache_recipe_get(c, KEY_A, &got), 0);
		buf_clear(&got);
		(void) unlink(link);
		(void) symlink("nowhere", link);
		cache_store_enter(c);
		t_int(cache_link_put(c, KEY_A, &id), 0);
		cache_store_leave(c);
		usleep(200);
		t_int(cache_link_get(c, KEY_A, &to), 0);
	}
	atomic_store(&l.stop, true);
	pthread_join(t, NULL);
	cache_close(c);
	buf_done(&got);
	free(path);
	free(link);
	free(bad);
	free(pipe);
	free(dir);
}

/* The same of an object, which verify reads for some time. */
static void test_made_anew(void)
{
	char *dir = upstream_dir("made-anew"), *path;
	const uint64_t size = 3 * MIB;
	uint8_t *bytes = upstream_bytes(size, 3);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct looker l = { .c = t_open_cache(dir, 0) };
	struct cache *c = t_open_cache(dir, 0);
	struct cache_put *put;
	struct objid id;
	pthread_t t;

	path = t_object_path(dir, &n);
	t_check(!pthread_create(&t, NULL, look_on, &l));
	for (unsigned i = 0; i < 15; i++) {
		t_int(cache_put_begin(c, size, &put), 0);
		t_int(cache_put_data(put, bytes, size), 0);
		if (i)
			t_int(truncate(path, size - 1), 0);
		t_int(cache_put_end(put, &id), 0);
		usleep(2000);
		t_int(access(path, F_OK), 0);
	}
	atomic_store(&l.stop, true);
	pthread_join(t, NULL);
	cache_close(c);
	free(bytes);
	free(path);
	free(dir);
}

int main(void)
{
	test_put_anew();
	test_made_anew();
	test_recheck();
	test_replaced();
	test_recipe();
	test_facts();
	test_facts_moved();
	test_stranger();
	return 0;
}
