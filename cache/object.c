/*
 * Names of bytes on disk. An object's file name is the SHA-256 of what is in
 * it; a key stands for what a hub calls the same bytes (a git blob name, or
 * only a path in a revision), and a link leads from the key to the object.
 *
 * A link is a symbolic link whose text is the hex digest: made in one step,
 * read in one step, and it needs no index.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/lock.h"
#include "cache/store.h"

void cache_fan(const char *dir, const char *hex, char ret[CACHE_REL_MAX])
{
	(void) snprintf(ret, CACHE_REL_MAX, "%s/%.2s/%.62s", dir, hex,
		hex + 2);
}

void cache_object_rel(const struct objid *sha256, char ret[CACHE_REL_MAX])
{
	char hex[OBJID_HEX_MAX];

	objid_hex(sha256, hex);
	cache_fan("objects/sha256", hex, ret);
}

int cache_object_open(struct cache *c, const struct objid *sha256,
	uint64_t size)
{
	cleanup_fd int fd = -1;
	char rel[CACHE_REL_MAX];
	struct stat st;
	const struct timespec now[2] = {
		{ .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW },
	};
	bool known;
	int r;

	cache_object_rel(sha256, rel);
	fd = cache_store_open(c, rel, O_RDONLY);
	if (fd < 0)
		return fd == -EBADMSG ? -ENOENT : fd;
	r = cache_lock_mark(fd);
	if (r)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!st.st_nlink || (uint64_t)st.st_size != size)
		return -ENOENT;
	known = c->before_read && cache_compared(c, sha256, fd);
	(void) futimens(fd, now);
	/* Its change time is new, too. */
	if (known)
		cache_compared_note(c, sha256, fd);
	return steal_fd(&fd);
}

bool cache_object_there(struct cache *c, const char *rel, uint64_t size)
{
	cleanup_fd int fd = cache_store_open(c, rel, O_RDONLY);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && (uint64_t)st.st_size == size;
}

int cache_link_get(struct cache *c, const char *key, struct objid *ret)
{
	char rel[CACHE_REL_MAX], hex[OBJID_HEX_MAX];
	struct objid id;
	ssize_t n;
	int r;

	cache_fan("links", key, rel);
	n = readlinkat(c->dir, rel, hex, sizeof(hex));
	if (n < 0)
		return -errno;
	if (n != 64)
		return -ENOENT;
	hex[n] = '\0';
	r = objid_parse(OBJID_SHA256, hex, &id);
	if (r)
		return -ENOENT;
	*ret = id;
	return 0;
}

int cache_link_put(struct cache *c, const char *key,
	const struct objid *sha256)
{
	char rel[CACHE_REL_MAX], tmp[CACHE_REL_MAX], hex[OBJID_HEX_MAX];
	struct objid old;
	int r;

	if (!cache_link_get(c, key, &old) && objid_match(&old, sha256))
		return 0;
	objid_hex(sha256, hex);
	cache_fan("links", key, rel);
	cache_store_tmp(c, tmp);
	r = cache_store_parents(c, rel);
	if (r)
		return r;
	if (symlinkat(hex, c->dir, tmp) < 0)
		return -errno;
	cache_store_make_way(c, rel);
	if (renameat(c->dir, tmp, c->dir, rel) < 0) {
		r = -errno;
		(void) unlinkat(c->dir, tmp, 0);
	}
	return r;
}

bool cache_id_full(const struct objid *id)
{
	return objid_is_sha256(id) ||
		(id->alg == OBJID_GITSHA1 && id->digits == 40);
}

int cache_name_key(const struct cache_name *n, char ret[CACHE_KEY_HEX])
{
	cleanup_buf struct buf b = BUF_INIT(64 * 1024);
	char hex[OBJID_HEX_MAX];
	struct objid key;
	int r;

	objid_hex(&n->id, hex);
	r = buf_printf(&b, "%s %s %llu\n", objid_alg_name(n->id.alg), hex,
		(unsigned long long)n->size);
	if (!r && !cache_id_full(&n->id))
		r = buf_printf(&b, "%s\n%s\n%s\n%s\n", n->hub, n->repo,
			n->revision, n->path);
	if (r)
		return r;
	digest_sha256(b.data, b.len, &key);
	objid_hex(&key, ret);
	return 0;
}
