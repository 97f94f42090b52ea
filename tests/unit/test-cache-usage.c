/*
 * The count of used bytes when a process is killed while a file goes, and
 * another has the cache open all the time, so that nobody counts again. The
 * killed one is played: it leaves without cache_left().
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/lock.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

/* This process is killed at so many looks at the disk from now on. */
static unsigned dies_at;
static bool no_disk;	/* one that says nothing of itself */

static void look(void)
{
	if (dies_at && !--dies_at)
		(void) raise(SIGKILL);
}

int fstatvfs(int fd, struct statvfs *st)
{
	static int (*real)(int, struct statvfs *);

	look();
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fstatvfs");
	if (no_disk) {
		*st = (struct statvfs){ .f_namemax = 255 };
		return 0;
	}
	return real(fd, st);
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	static int (*real)(int, const char *, struct stat *, int);

	look();
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fstatat");
	return real(dir, path, st, flags);
}

static const char keys[2][65] = {
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	"ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
};

static const char rel[] = "recipes/00/"
	"112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static uint64_t total(struct cache *c)
{
	struct cache_totals t;

	t_int(cache_totals(c, &t), 0);
	return t.object_bytes + t.partial_bytes + t.recipe_bytes;
}

enum fate { NOT_YET, GONE, REPLACED };

/* Killed at the file of keys[0], which becomes 19 bytes when replaced. */
static void killed(struct cache *c, enum fate fate, uint64_t gone,
	uint64_t kept)
{
	cache_store_enter(c);
	cache_leaving(c, rel, NULL, gone, kept);
	if (fate == GONE)
		t_int(unlinkat(c->dir, rel, 0), 0);
	if (fate == REPLACED)
		t_int(cache_store_publish(c, rel, "01234567 and so on.", 19),
			0);
	cache_store_leave(c);
}

static void gc(struct cache *c)
{
	t_int(cache_gc(c, UINT64_MAX, NULL), 0);
	t_int(cache_used(c), total(c));
}

static void test_files(void)
{
	char *dir = upstream_dir("usage");
	struct cache *c = t_open_cache(dir, 0), *dead;

	t_int(cache_recipe_put(c, keys[0], "abc", 3), 0);
	t_int(cache_recipe_put(c, keys[1], "abcd", 4), 0);
	t_int(cache_used(c), 23);
	dead = t_open_cache(dir, 0);

	killed(dead, NOT_YET, 11, 0);
	t_int(cache_used(c), 23);
	gc(c);
	t_int(cache_used(c), 23);

	/* Never too low, not even before anybody looks. */
	killed(dead, GONE, 11, 0);
	t_int(cache_used(c), 23);
	gc(c);
	t_int(cache_used(c), 12);
	gc(c);
	t_int(cache_used(c), 12);

	/* It ends when the next process opens the cache, too, and when one
	 * kill comes after another. */
	t_int(cache_recipe_put(c, keys[0], "abc", 3), 0);
	killed(dead, GONE, 11, 0);
	cache_close(dead);
	dead = t_open_cache(dir, 0);
	t_int(cache_used(c), 12);
	t_int(cache_recipe_put(c, keys[0], "abc", 3), 0);
	killed(dead, NOT_YET, 11, 0);
	killed(dead, GONE, 11, 0);
	killed(dead, NOT_YET, 7, 0);
	gc(c);

	/* Reserved, and killed before or after it was there. */
	t_int(cache_reserve(dead, 19), 0);
	killed(dead, NOT_YET, 0, 19);
	gc(c);
	t_int(cache_reserve(dead, 19), 0);
	killed(dead, REPLACED, 0, 19);
	gc(c);
	t_int(cache_used(c), 31);
	t_int(cache_reserve(dead, 19), 0);
	killed(dead, REPLACED, 19, 19);
	t_int(cache_used(c), 50);
	gc(c);
	cache_close(dead);
	cache_close(c);
	free(dir);
}

/* Killed between the renaming of a directory and its end: what lies in tmp/
 * goes before its bytes are free. */
static void test_directory(void)
{
	char *dir = upstream_dir("usage-dir");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 7);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *c = t_open_cache(dir, 0), *dead = t_open_cache(dir, 0);
	struct src *s;
	char key[CACHE_KEY_HEX], part[CACHE_REL_MAX], tmp[CACHE_REL_MAX];
	uint64_t here;

	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 0, MIB);
	src_unref(s);
	here = total(c);
	t_check(here >= MIB);
	t_int(cache_used(c), here);
	t_int(cache_name_key(&n, key), 0);
	(void) snprintf(part, sizeof(part), "partial/%s", key);
	cache_store_enter(dead);
	cache_store_tmp(dead, tmp);
	cache_leaving(dead, part, tmp, here, 0);
	t_int(renameat(dead->dir, part, dead->dir, tmp), 0);
	cache_store_leave(dead);
	t_int(cache_used(c), here);
	gc(c);
	t_int(cache_used(c), 0);
	t_check(faccessat(c->dir, tmp, F_OK, 0) < 0);

	/* Nothing but what is in tmp/ goes, whatever stands there. */
	cache_store_enter(dead);
	cache_leaving(dead, "nothing", "tmp/../pins", 5, 5);
	t_int(io_mkdirs(dead->dir, "nothing"), 0);
	cache_store_leave(dead);
	gc(c);
	t_int(faccessat(c->dir, "pins", F_OK, 0), 0);
	cache_close(dead);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* What was leaving is free when room is needed. */
static void test_no_room(void)
{
	char *dir = upstream_dir("usage-full");
	struct cache *c = t_open_cache(dir, 30), *dead;

	t_int(cache_recipe_put(c, keys[0], "abc", 3), 0);
	dead = t_open_cache(dir, 30);
	killed(dead, GONE, 11, 0);
	t_int(cache_used(c), 11);
	t_int(cache_reserve(c, 30), 0);
	t_int(cache_used(c), 30);
	cache_unreserve(c, 30);
	gc(c);
	cache_close(dead);
	cache_close(c);
	free(dir);
}

/* What was on its way to the disk is free again when its process is gone. */
static void test_flying(void)
{
	char *dir = upstream_dir("usage-flying");
	struct cache *c = t_open_cache(dir, 0), *dead = t_open_cache(dir, 0);

	t_int(cache_reserve(dead, 100), 0);
	t_int(cache_gc(c, UINT64_MAX, NULL), 0);
	t_int(cache_used(c), 100);
	cache_close(dead);
	t_int(cache_used(c), 100);
	gc(c);
	/* Also for who comes next, and has its place. */
	dead = t_open_cache(dir, 0);
	t_int(cache_reserve(dead, 100), 0);
	cache_close(dead);
	dead = t_open_cache(dir, 0);
	t_int(cache_used(c), 0);
	cache_close(dead);
	cache_close(c);
	free(dir);
}

/* As a process that has the cache open. */
static int hold_open(const char *dir)
{
	char *path = t_join(dir, "lock");
	int fd = open(path, O_RDWR | O_CLOEXEC);

	t_check(fd >= 0);
	t_int(cache_lock_wait(fd, 0, true), 0);
	free(path);
	return fd;
}

/* True: a program of its own is killed at the nth look while it puts a recipe
 * where there is one; false: it comes to its end before that. */
static bool is_killed_at(const char *dir, unsigned n)
{
	pid_t pid = fork();
	struct cache *c;
	int status;

	if (!pid) {
		c = t_open_cache(dir, 0);
		dies_at = n;
		t_int(cache_recipe_put(c, keys[0], "abcdefgh", 8), 0);
		_exit(0);
	}
	t_int(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Wherever a process is killed, the number is right again without counting. */
static void test_anywhere(void)
{
	char *dir = upstream_dir("usage-anywhere");
	struct cache *c;
	unsigned n = 0;
	int lock;

	cache_close(t_open_cache(dir, 0));
	/* Nobody is alone, and there are no threads yet to be forked. */
	lock = hold_open(dir);
	while (is_killed_at(dir, ++n)) {
		c = t_open_cache(dir, 0);
		cache_reap(c);
		t_int(cache_used(c), total(c));
		t_int(cache_recipe_put(c, keys[0], "abc", 3), 0);
		cache_close(c);
	}
	t_check(n > 3);
	(void) close(lock);
	free(dir);
}

/* A file system that says nothing of its size has no room, and no more. */
static void test_no_disk(void)
{
	char *dir = upstream_dir("usage-no-disk");
	struct cache *c = t_open_cache(dir, 0);

	no_disk = true;
	t_int(cache_reserve(c, 30), -ENOSPC);
	no_disk = false;
	t_int(cache_used(c), 0);
	cache_close(c);
	free(dir);
}

/* Who counts otherwise must not count along. */
static void test_version(void)
{
	char *dir = upstream_dir("usage-version");
	const struct cache_conf conf = { .dir = dir, .chunk = 64 * 1024,
		.connections = 4 };
	struct cache *c = t_open_cache(dir, 0), *other = NULL;
	uint64_t magic = c->usage->magic;
	struct error why = { 0 };

	c->usage->magic = magic - 1;
	t_int(cache_open(&conf, &other, &why), -EBUSY);
	t_check(strstr(why.text, "another version"));
	c->usage->magic = 0;
	cache_close(t_open_cache(dir, 0));
	c->usage->magic = magic - 1;
	cache_close(c);
	c = t_open_cache(dir, 0);
	t_check(c->usage->magic == magic);
	cache_close(c);
	free(dir);
}

int main(void)
{
	test_anywhere();
	test_no_disk();
	test_version();
	test_files();
	test_directory();
	test_no_room();
	test_flying();
	return 0;
}
