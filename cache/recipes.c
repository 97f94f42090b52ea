/* recipes/ab/cdef…: eight bytes (little-endian), XXH3 of the recipe xor XXH3 of
 * its key; then the recipe. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "cache/store.h"

#define RECIPE_MAX (1UL << 30)	/* bytes */
#define HEAD 8

static bool key_ok(const char *key)
{
	return strlen(key) == 64 && strspn(key, "0123456789abcdef") == 64;
}

/* Of the key as well: a recipe is not another file's. */
static uint64_t hash_of(const char *key, const void *data, size_t len)
{
	return map_hash(data, len) ^ map_hash(key, strlen(key));
}

int cache_recipe_get(struct cache *c, const char *key, struct buf *ret)
{
	cleanup_buf struct buf b = BUF_INIT(RECIPE_MAX + HEAD);
	char rel[CACHE_REL_MAX];
	cleanup_fd int fd = -1;
	const struct timespec now[2] = {
		{ .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW },
	};
	struct bytes in;
	uint64_t hash;
	size_t len;
	int r;

	if (!key_ok(key))
		return -EINVAL;
	cache_fan("recipes", key, rel);
	fd = cache_store_open(c, rel, O_RDONLY);
	r = fd < 0 ? fd : io_read_fd(fd, &b);
	if (r && r != -EBADMSG && r != -EACCES)
		return r;
	in = bytes_of(b.data, b.len);
	hash = bytes_le64(&in);
	len = bytes_left(&in);
	if (r || in.bad || hash_of(key, in.p, len) != hash) {
		(void) cache_store_drop_judged(c, rel, fd);
		return -EBADMSG;
	}
	(void) utimensat(c->dir, rel, now, 0);
	return buf_append(ret, in.p, len);
}

int cache_recipe_put(struct cache *c, const char *key, const void *data,
	size_t len)
{
	cleanup_buf struct buf b = BUF_INIT(RECIPE_MAX + HEAD);
	char rel[CACHE_REL_MAX];
	struct stat st;
	uint64_t had = 0;
	int r;

	if (!key_ok(key))
		return -EINVAL;
	cache_fan("recipes", key, rel);
	r = buf_append_le(&b, hash_of(key, data, len), HEAD);
	if (!r)
		r = buf_append(&b, data, len);
	if (!r)
		r = cache_reserve_wait(c, b.len);
	if (r)
		return r;
	cache_store_enter(c);
	cache_store_make_way(c, rel);
	if (!fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISREG(st.st_mode))
		had = (uint64_t)st.st_size;
	cache_leaving(c, rel, NULL, had, b.len);
	r = cache_store_publish(c, rel, b.data, b.len);
	(void) cache_left(c);
	cache_store_leave(c);
	return r;
}
