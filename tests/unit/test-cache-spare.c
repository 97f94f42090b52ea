/* What is made before it is needed, and what is put off until it does not
 * matter: files for the next partial object, notes of who uses what. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (6 * MIB)	/* more than is held back until its verdict */

/* Names below `rest`; the last of them into ret_path, if there is one. */
static unsigned names(const char *dir, const char *rest, char **ret_path)
{
	char *path = t_join(dir, rest);
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	t_check(d != NULL);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (ret_path) {
			free(*ret_path);
			*ret_path = t_join(path, e->d_name);
		}
		n++;
	}
	(void) closedir(d);
	free(path);
	return n;
}

static uint64_t inode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

static bool is_ready(struct cache *c)
{
	bool ready;

	pthread_mutex_lock(&c->store_lock);
	ready = c->spare.ready;
	pthread_mutex_unlock(&c->store_lock);
	return ready;
}

/* The directory of the spare files, once they can be taken. */
static char *spare(struct cache *c, const char *dir)
{
	char *path = NULL, *map;

	while (!is_ready(c))
		usleep(1000);
	for (;;) {
		if (names(dir, "tmp", &path) == 1) {
			map = t_join(path, "map");
			if (inode(map)) {
				free(map);
				return path;
			}
			free(map);
		}
		usleep(1000);
	}
}

static void read_one(struct cache *c, unsigned seed)
{
	uint8_t *bytes = upstream_bytes(SIZE, seed);
	struct cache_name n = t_name_of("a", bytes, SIZE, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct src *s = t_open_src(c, &n, u);

	t_expect(s, bytes, 0, 4096);
	src_unref(s);
	while (atomic_load(&u->s.refs) > 1)	/* its pull ends */
		usleep(1000);
	upstream_free(u);
	free(bytes);
}

static uint64_t data_of_partial(const char *dir)
{
	char *path = NULL, *data, *map;
	uint64_t ino;

	t_int(names(dir, "partial", &path), 1);
	data = t_join(path, "data");
	map = t_join(path, "map");
	ino = inode(data);
	t_check(inode(map) != 0);
	free(map);
	free(data);
	free(path);
	return ino;
}

/* A spare pair is used, another is made, and none is left. */
static void test_used(void)
{
	char *dir = upstream_dir("spare"), *at, *data;
	struct cache *c = t_open_cache(dir, 0);
	uint64_t ino;

	t_int(names(dir, "tmp", NULL), 0);
	cache_prepare(c);
	at = spare(c, dir);
	data = t_join(at, "data");
	ino = inode(data);
	read_one(c, 1);
	t_int(inode(data), 0);
	t_check(data_of_partial(dir) == ino);
	free(data);
	free(at);
	at = spare(c, dir);
	cache_close(c);
	t_int(names(dir, "tmp", NULL), 0);
	/* What was fetched is there for who comes next. */
	c = t_open_cache(dir, 0);
	read_one(c, 1);
	t_check(data_of_partial(dir) == ino);
	cache_close(c);
	free(at);
	free(dir);
}

/* Somebody swept it away, in part or whole: then others are made. */
static void test_swept(const char *what)
{
	char *dir = upstream_dir("swept"), *at, *gone;
	struct cache *c = t_open_cache(dir, 0);

	cache_prepare(c);
	at = spare(c, dir);
	gone = t_join(at, what);
	t_int(io_remove_tree(AT_FDCWD, *what ? gone : at), 0);
	read_one(c, 2);
	t_check(data_of_partial(dir) != 0);
	free(gone);
	free(at);
	at = spare(c, dir);
	cache_close(c);
	t_int(names(dir, "tmp", NULL), 0);
	free(at);
	free(dir);
}

static bool is_queued(struct cache *c)
{
	bool queued;

	pthread_mutex_lock(&c->store_lock);
	queued = c->spare.queued;
	pthread_mutex_unlock(&c->store_lock);
	return queued;
}

/* What could not be made is not ready; the next is made when it can be. */
static void test_not_made(void)
{
	char *dir = upstream_dir("spare-none"), *tmp = t_join(dir, "tmp");
	struct cache *c = t_open_cache(dir, 0);

	t_int(rmdir(tmp), 0);
	cache_prepare(c);
	while (is_queued(c))
		usleep(1000);
	t_check(!is_ready(c));
	t_int(mkdir(tmp, 0700), 0);
	read_one(c, 6);
	t_check(data_of_partial(dir) != 0);
	free(spare(c, dir));
	cache_close(c);
	t_int(names(dir, "tmp", NULL), 0);
	free(tmp);
	free(dir);
}

/* Two are wanted at once, and one is ready. */
static void test_two(void)
{
	char *dir = upstream_dir("spare-two");
	struct cache *c = t_open_cache(dir, 0);
	struct cache_name n[2];
	struct upstream *u[2];
	uint8_t *bytes[2];
	struct src *s[2];

	cache_prepare(c);
	free(spare(c, dir));
	cache_prepare(c);
	for (unsigned i = 0; i < 2; i++) {
		bytes[i] = upstream_bytes(SIZE, 4 + i);
		n[i] = t_name_of("a", bytes[i], SIZE, OBJID_SHA256);
		u[i] = upstream_new(bytes[i], SIZE, 1);
		atomic_store(&u[i]->stalled, true);
		s[i] = t_open_src(c, &n[i], u[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		src_hint(s[i], 0, SIZE);
	t_int(names(dir, "partial", NULL), 2);
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&u[i]->stalled, false);
	for (unsigned i = 0; i < 2; i++) {
		t_expect(s[i], bytes[i], 0, SIZE);
		(void) t_wait_fd(s[i]);
		src_unref(s[i]);
	}
	free(spare(c, dir));
	cache_close(c);
	for (unsigned i = 0; i < 2; i++) {
		upstream_free(u[i]);
		free(bytes[i]);
	}
	free(dir);
}

/* Opened and given up before a byte came: noted all the same. */
static void test_noted(void)
{
	uint8_t *bytes = upstream_bytes(SIZE, 3);
	struct cache_name n = t_name_of("a", bytes, SIZE, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	char *dir = upstream_dir("noted");
	struct cache *c = t_open_cache(dir, 0);
	struct cache_totals t;
	struct src *s;

	s = t_open_src(c, &n, u);
	src_unref(s);
	t_int(cache_totals(c, &t), 0);
	t_int(names(dir, "refs", NULL), 1);
	cache_close(c);
	free(dir);
	/* Nor does who asks for totals miss what is open still. */
	dir = upstream_dir("noted");
	c = t_open_cache(dir, 0);
	s = t_open_src(c, &n, u);
	t_int(cache_totals(c, &t), 0);
	t_int(names(dir, "refs", NULL), 1);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* What waits to be noted is noted before gc looks at who has what pinned: the
 * bytes came by another program, of a revision that is not. */
static void test_noted_for_gc(void)
{
	uint8_t *bytes = upstream_bytes(SIZE, 7);
	struct cache_name n = t_name_of("a", bytes, SIZE, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	char *dir = upstream_dir("noted-gc"), *object;
	struct cache *c = t_open_cache(dir, 0), *other = t_open_cache(dir, 0);
	struct src *s, *filled;

	object = t_object_path(dir, &n);
	t_int(cache_pin(c, n.hub, n.repo, "pinned", true), 0);
	n.revision = "pinned";
	s = t_open_src(c, &n, u);
	n.revision = "free";
	filled = t_open_src(other, &n, u);
	t_expect(filled, bytes, 0, SIZE);
	t_wait_state(filled, SRC_VERIFIED);
	src_unref(filled);
	cache_close(other);
	t_check(inode(object) != 0);
	t_int(cache_gc(c, 0, NULL), 0);
	t_check(inode(object) != 0);
	src_unref(s);
	t_int(cache_pin(c, n.hub, n.repo, "pinned", false), 0);
	t_int(cache_gc(c, 0, NULL), 0);
	t_int(inode(object), 0);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(object);
	free(dir);
}

int main(void)
{
	unsigned open_files;

	test_used();
	open_files = names("/proc/self", "fd", NULL);
	test_swept("map");
	test_swept("data");
	test_swept("");
	test_not_made();
	test_two();
	test_noted();
	test_noted_for_gc();
	t_int(names("/proc/self", "fd", NULL), open_files);
	return 0;
}
