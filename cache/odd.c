/*
 * Names below the root at which something else lies than the program put
 * there: a pipe, a directory, a link to somewhere, a file that cannot be
 * opened. None of it is followed or waited for. It is put out of the way when
 * its name is needed, or by verify.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/store.h"

int cache_store_open(struct cache *c, const char *rel, int flags)
{
	cleanup_fd int fd = openat(c->dir, rel, flags | O_CLOEXEC |
		O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat st;

	if (fd < 0)
		return errno == ELOOP || errno == EISDIR || errno == ENXIO ?
			-EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EBADMSG;
}

int cache_store_read(struct cache *c, const char *rel, struct buf *ret)
{
	cleanup_fd int fd = cache_store_open(c, rel, O_RDONLY);

	return fd < 0 ? fd : io_read_fd(fd, ret);
}

bool cache_store_is(struct cache *c, const char *rel, int fd)
{
	struct stat here, there;

	return !fstat(fd, &here) &&
		!fstatat(c->dir, rel, &there, AT_SYMLINK_NOFOLLOW) &&
		here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

bool cache_store_drop_judged(struct cache *c, const char *rel, int fd)
{
	cleanup_fd int now = -1;
	bool gone;

	cache_store_enter(c);
	if (fd < 0)
		now = cache_store_open(c, rel, O_RDONLY);
	gone = fd < 0 ? now != fd : !cache_store_is(c, rel, fd);
	if (!gone)
		gone = cache_store_drop(c, rel);
	cache_store_leave(c);
	return gone;
}

int cache_store_own(struct cache *c, const char *rel, bool fresh)
{
	int fd = cache_store_open(c, rel, O_RDWR | O_CREAT);

	if (fd != -EBADMSG || fresh)
		return fd == -EBADMSG ? -EEXIST : fd;
	fd = io_remove_tree(c->dir, rel);
	return fd ? fd : cache_store_open(c, rel, O_RDWR | O_CREAT);
}

bool cache_store_drop(struct cache *c, const char *rel)
{
	struct stat st;

	if (fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT;
	if (S_ISDIR(st.st_mode))
		(void) cache_store_discard(c, rel, 0);
	else if (S_ISREG(st.st_mode))
		(void) cache_store_remove(c, rel);
	else
		(void) unlinkat(c->dir, rel, 0);
	return fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
		errno == ENOENT;
}

void cache_store_make_way(struct cache *c, const char *rel)
{
	struct stat st;

	if (!fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISDIR(st.st_mode))
		(void) cache_store_discard(c, rel, 0);
}

int cache_store_replace(struct cache *c, const char *from, const char *rel,
	uint64_t flying)
{
	uint64_t had = 0;
	struct stat st;
	int r = 0;

	cache_store_make_way(c, rel);
	if (!fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISREG(st.st_mode))
		had = (uint64_t)st.st_size;
	cache_leaving(c, rel, NULL, had, flying);
	if (renameat(c->dir, from, c->dir, rel) < 0)
		r = -errno;
	(void) cache_left(c);
	return r;
}
