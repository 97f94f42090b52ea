/* Chunks that were here and are wrong, or gone, while somebody fills the rest. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/blob.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

/* The only partial of a cache. */
static char *partial_data(const char *dir)
{
	char *all = t_join(dir, "partial"), *path = NULL;
	DIR *d = opendir(all);
	struct dirent *e;

	t_check(d);
	while ((e = readdir(d))) {
		if (strlen(e->d_name) == 64)
			t_check(asprintf(&path, "%s/%s/data", all,
				e->d_name) > 0);
	}
	(void) closedir(d);
	free(all);
	t_check(path);
	return path;
}

/* Until that many chunks are hashed. */
static void wait_hashed(struct src *s, uint64_t n)
{
	struct blob *b = ((struct cached_src *)s)->b;
	uint64_t hashed = 0;

	for (int i = 0; i < 30000 && hashed < n; i++) {
		usleep(1000);
		pthread_mutex_lock(&b->lock);
		hashed = b->part->hashed;
		pthread_mutex_unlock(&b->lock);
	}
	t_int(hashed, n);
}

static void check_used(struct cache *c)
{
	struct cache_totals t;

	t_int(cache_totals(c, &t), 0);
	t_int(cache_used(c), t.object_bytes + t.partial_bytes +
		t.recipe_bytes);
}

/* What verify takes away of a file that another program is filling is fetched
 * again: nobody waits forever, and no object is made without it. `had`: so many
 * chunks were there before that program came, and are not hashed before all
 * are there; 0: they are, as they come. */
static void test_lost(uint64_t had)
{
	const uint64_t chunk = 64 * 1024, n_chunks = 200;
	char *dir = upstream_dir("lost"), *path;
	const uint64_t size = n_chunks * chunk - 5;
	const uint64_t first = (had ? had : n_chunks - 2) * chunk;
	uint8_t *bytes = upstream_bytes(size, 5);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *other = t_open_cache(dir, 0);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(had ? other : c, &n, u);
	uint64_t bad = 0;

	t_expect(s, bytes, 0, first);
	if (had) {
		src_unref(s);
		s = t_open_src(c, &n, u);
	}
	t_expect(s, bytes, first, chunk);
	if (!had)
		wait_hashed(s, n_chunks - 1);
	path = partial_data(dir);
	t_spoil(path, 5 * chunk);
	t_int(cache_verify(other, NULL, NULL, &bad), 0);
	t_int(bad, 1);
	(void) alarm(60);
	t_expect(s, bytes, 6 * chunk, size - 6 * chunk);
	t_expect(s, bytes, 0, size);
	(void) t_wait_fd(s);
	(void) alarm(0);
	t_expect(s, bytes, 0, size);
	t_int(atomic_load(&u->sent), size + chunk);
	t_int(cache_verify(other, NULL, NULL, &bad), 0);
	t_int(bad, 0);
	check_used(c);
	src_unref(s);
	cache_close(c);
	cache_close(other);
	upstream_free(u);
	free(bytes);
	free(path);
	free(dir);
}

/* What was hashed and is found wrong by another program, which gets it anew, and
 * wrong: it is hashed anew, too. */
static void test_lost_hashed(void)
{
	const uint64_t chunk = 64 * 1024, size = 200 * chunk;
	char *dir = upstream_dir("lost-hashed"), *path;
	uint8_t *bytes = upstream_bytes(size, 6), got[2];
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct upstream *liar = upstream_new(bytes, size, 1);
	struct cache *other = t_open_cache(dir, 0);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u), *theirs;
	uint64_t bad = 0;

	liar->wrong_at = 5 * chunk + 1;
	liar->wrong_len = 1;
	atomic_store(&liar->wrong_times, 1);
	t_expect(s, bytes, 0, 198 * chunk);
	wait_hashed(s, 198);
	path = partial_data(dir);
	t_spoil(path, 5 * chunk);
	theirs = t_open_src(other, &n, liar);
	t_int(src_read_wait(theirs, 5 * chunk, got, sizeof(got)), 0);
	t_check(got[1] != bytes[5 * chunk + 1]);
	src_unref(theirs);
	cache_close(other);
	t_expect(s, bytes, 198 * chunk, 2 * chunk);
	t_wait_state(s, SRC_VERIFIED);
	(void) t_wait_fd(s);
	src_unref(s);
	t_int(cache_verify(c, NULL, NULL, &bad), 0);
	t_int(bad, 0);
	cache_close(c);
	upstream_free(u);
	upstream_free(liar);
	free(bytes);
	free(path);
	free(dir);
}

/* What is found wrong when all is an object already still counts: it is there. */
static void test_lost_settled(void)
{
	const uint64_t chunk = 64 * 1024, size = 70 * chunk;
	char *dir = upstream_dir("lost-settled"), *path, key[CACHE_KEY_HEX];
	uint8_t *bytes = upstream_bytes(size, 7);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *other = t_open_cache(dir, 0);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u);
	struct partial *p;

	path = t_object_path(dir, &n);
	t_expect(s, bytes, 0, 1);
	t_int(cache_name_key(&n, key), 0);
	t_int(cache_partial_open(other, key, "", size, chunk, false, false,
		&p), 0);
	t_expect(s, bytes, 0, size);
	(void) t_wait_fd(s);
	t_spoil(path, 5 * chunk);
	t_check(!cache_partial_has(p, 5));
	check_used(c);
	cache_partial_close(p);
	src_unref(s);
	cache_close(c);
	cache_close(other);
	upstream_free(u);
	free(bytes);
	free(path);
	free(dir);
}

/* Between the verdict and its place: what is found wrong then, or is not the file
 * that was compared any more (`other_file`), is no object. */
static void test_lost_on_the_way(bool other_file)
{
	const uint64_t chunk = 64 * 1024, size = 70 * chunk;
	char *dir = upstream_dir("lost-way"), *path, *object;
	char key[CACHE_KEY_HEX];
	uint8_t *bytes = upstream_bytes(size, 9);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *other = t_open_cache(dir, 0);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u);
	struct partial *p;

	object = t_object_path(dir, &n);
	t_expect(s, bytes, 0, 1);
	path = partial_data(dir);
	t_int(cache_name_key(&n, key), 0);
	t_int(cache_partial_open(other, key, "", size, chunk, false, false,
		&p), 0);
	cache_store_enter(other);
	t_expect(s, bytes, 0, size);
	t_wait_state(s, SRC_VERIFIED);
	if (other_file) {
		t_int(unlink(path), 0);
		t_int(io_publish(AT_FDCWD, path, "", 0, 0644), 0);
		t_int(truncate(path, (off_t)size), 0);
	} else {
		t_spoil(path, 5 * chunk);
		atomic_store(&p->entry[5], 0);
	}
	cache_store_leave(other);
	while (atomic_load(&c->keeping))
		usleep(1000);
	t_check(access(object, F_OK) < 0);
	cache_partial_close(p);
	src_unref(s);
	cache_close(c);
	s = t_open_src(other, &n, u);
	t_expect(s, bytes, 0, size);
	(void) t_wait_fd(s);
	t_int(access(object, F_OK), 0);
	src_unref(s);
	cache_close(other);
	upstream_free(u);
	free(object);
	free(bytes);
	free(path);
	free(dir);
}

/* A file that is cut while it is mapped (as good as a disk that cannot read it)
 * costs the chunks that are gone, not the program. */
static void test_cut(void)
{
	const uint64_t chunk = 64 * 1024, size = 200 * chunk;
	char *dir = upstream_dir("cut"), *path;
	uint8_t *bytes = upstream_bytes(size, 6);
	struct cache_name n = t_name_of("a", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s = t_open_src(c, &n, u);
	uint64_t sent;

	t_expect(s, bytes, 0, 10 * chunk);
	src_unref(s);
	cache_close(c);
	path = partial_data(dir);
	sent = atomic_load(&u->sent);
	c = t_open_cache(dir, 0);
	s = t_open_src(c, &n, u);
	t_int(truncate(path, (off_t)(2 * chunk)), 0);
	t_expect(s, bytes, 0, 10 * chunk);
	t_check(atomic_load(&u->sent) >= sent + 8 * chunk);
	check_used(c);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(path);
	free(dir);
}

int main(void)
{
	test_cut();
	test_lost(70);
	test_lost(0);
	test_lost_hashed();
	test_lost_settled();
	test_lost_on_the_way(false);
	test_lost_on_the_way(true);
	return 0;
}
