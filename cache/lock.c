#include "config.h"
#include "cache/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

static int set(int fd, int cmd, short type, uint64_t at, uint64_t n)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)at,
		.l_len = (off_t)n,
	};

	while (fcntl(fd, cmd, &fl) < 0) {
		if (errno == EACCES)
			return -EAGAIN;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int cache_lock_try(int fd, uint64_t at, uint64_t n)
{
	return set(fd, F_OFD_SETLK, F_WRLCK, at, n);
}

int cache_lock_wait(int fd, uint64_t at, bool shared)
{
	return set(fd, F_OFD_SETLKW, shared ? F_RDLCK : F_WRLCK, at, 1);
}

void cache_lock_drop(int fd, uint64_t at, uint64_t n)
{
	(void) set(fd, F_OFD_SETLK, F_UNLCK, at, n);
}

int cache_lock_mark(int fd)
{
	while (flock(fd, LOCK_SH) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int cache_lock_alone(int fd)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return -EBUSY;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}
