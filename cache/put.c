/*
 * Objects that are made here: written to tmp/put-… as the bytes come, renamed
 * when the last one is there. The file has its full length from the start, so
 * that whoever finds it left behind knows what was reserved for it; and its
 * writer holds a shared flock on it, so that nobody takes it for a leftover.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/blob.h"
#include "cache/lock.h"
#include "cache/store.h"

#define PREFIX "put-"
#define SWEEP_AGE_S 3600

struct cache_put {
	struct cache *c;
	uint64_t size, at;	/* bytes */
	struct digest *sha256;
	int fd;
	char tmp[CACHE_REL_MAX];
};

static void put_free(struct cache_put *p)
{
	if (p->fd >= 0)
		(void) close(p->fd);
	digest_free(p->sha256);
	free(p);
}

void cache_put_drop(struct cache_put *p)
{
	if (!p)
		return;
	cache_store_enter(p->c);
	(void) cache_store_remove(p->c, p->tmp);
	cache_store_leave(p->c);
	put_free(p);
}

/* Nobody may see the file before it is marked. */
static int make_file(struct cache_put *p)
{
	char name[CACHE_REL_MAX];
	struct cache *c = p->c;
	int r = 0;

	cache_store_tmp(c, name);
	(void) snprintf(p->tmp, sizeof(p->tmp), "tmp/" PREFIX "%.90s",
		name + strlen("tmp/"));
	cache_store_enter(c);
	p->fd = openat(c->dir, p->tmp,
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (p->fd < 0)
		r = -errno;
	if (!r)
		r = cache_lock_mark(p->fd);
	cache_leaving(c, p->tmp, NULL, 0, p->size);
	if (!r && ftruncate(p->fd, (off_t)p->size) < 0)
		r = -errno;
	(void) cache_left(c);
	cache_store_leave(c);
	return r;
}

int cache_put_begin(struct cache *c, uint64_t size, struct cache_put **ret)
{
	struct cache_put *p;
	int r;

	if (size > INT64_MAX)
		return -EFBIG;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->c = c;
	p->size = size;
	p->fd = -1;
	p->sha256 = digest_new(OBJID_SHA256, size);
	r = p->sha256 ? cache_reserve_wait(c, size) : -ENOMEM;
	if (r) {
		put_free(p);
		return r;
	}
	r = make_file(p);
	if (r) {
		cache_put_drop(p);
		return r;
	}
	*ret = p;
	return 0;
}

int cache_put_data(struct cache_put *p, const void *buf, size_t len)
{
	int r;

	if (len > p->size - p->at)
		return -EINVAL;
	r = io_pwrite(p->fd, buf, len, p->at);
	if (r)
		return r;
	digest_update(p->sha256, buf, len);
	p->at += len;
	return 0;
}

/* Between enter and leave. Another process may have been first. */
static int move_in(struct cache_put *p, const char *rel)
{
	if (cache_object_there(p->c, rel, p->size)) {
		(void) cache_store_remove(p->c, p->tmp);
		return 0;
	}
	return cache_store_replace(p->c, p->tmp, rel, 0);
}

int cache_put_end(struct cache_put *p, struct objid *ret)
{
	char rel[CACHE_REL_MAX];
	struct objid id;
	int r = p->at == p->size ? 0 : -EINVAL;

	if (!r && (fsync(p->fd) < 0 || fchmod(p->fd, 0444) < 0))
		r = -errno;
	if (!r) {
		digest_final(p->sha256, &id);
		cache_object_rel(&id, rel);
		r = cache_store_parents(p->c, rel);
	}
	if (!r) {
		cache_store_enter(p->c);
		r = move_in(p, rel);
		cache_store_leave(p->c);
	}
	if (r) {
		cache_put_drop(p);
		return r;
	}
	*ret = id;
	put_free(p);
	return 0;
}

int cache_whole_open(struct cache *c, const struct cache_name *name,
	struct src **ret)
{
	struct src *s;
	int fd, r = 0;

	if (name->id.alg == OBJID_SHA256 && cache_id_full(&name->id))
		r = cache_recheck_now(c, &name->id, name->size);
	if (!r)
		r = cache_src_open(c, name, NULL, &s, NULL);
	if (r)
		return r;
	if (atomic_load(&((struct cached_src *)s)->b->state) == BLOB_WHOLE) {
		*ret = s;
		return 0;
	}
	/* A blob that was opened before the object came; it goes on filling. */
	(void) src_unref(s);
	if (name->id.alg != OBJID_SHA256 || !cache_id_full(&name->id))
		return -ENOENT;
	fd = cache_object_open(c, &name->id, name->size);
	if (fd < 0)
		return fd;
	r = src_from_fd(fd, name->size, ret);
	if (r)
		(void) close(fd);
	return r;
}

/* Between enter and leave. */
static void sweep_one(struct cache *c, int dir, const char *name)
{
	cleanup_fd int fd = openat(dir, name,
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char rel[CACHE_REL_MAX];

	if (fd < 0 || cache_lock_alone(fd))
		return;
	(void) snprintf(rel, sizeof(rel), "tmp/%.100s", name);
	(void) cache_store_remove(c, rel);
}

/* Of a killed process: its other names live for seconds, unless it died. */
static void sweep_old(struct cache *c, int dir, const char *name)
{
	struct stat st;

	if (!strcmp(name, ".") || !strcmp(name, "..") ||
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_ctim.tv_sec + SWEEP_AGE_S > time(NULL))
		return;
	cache_store_enter(c);
	(void) io_remove_tree(dir, name);
	cache_store_leave(c);
}

void cache_put_sweep(struct cache *c)
{
	int fd = openat(c->dir, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		if (fd >= 0)
			(void) close(fd);
		return;
	}
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, PREFIX, strlen(PREFIX))) {
			sweep_old(c, dirfd(d), e->d_name);
			continue;
		}
		cache_store_enter(c);
		sweep_one(c, dirfd(d), e->d_name);
		cache_store_leave(c);
	}
	(void) closedir(d);
}
