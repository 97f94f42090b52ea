#include "config.h"

#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

int io_pread(int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ENODATA;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pwrite(int fd, const void *buf, size_t len, uint64_t off)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_fd(int fd, struct buf *ret)
{
	uint8_t block[16384];

	for (;;) {
		ssize_t n = read(fd, block, sizeof(block));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return 0;
		r = buf_append(ret, block, (size_t)n);
		if (r)
			return r;
	}
}

int io_read_file(int dirfd, const char *path, struct buf *ret)
{
	cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : io_read_fd(fd, ret);
}

int io_mkdirs(int dirfd, const char *path)
{
	cleanup_free char *part = strdup(path);
	struct stat st;
	char *p = part;

	if (!part)
		return -ENOMEM;
	while (*p) {
		char end;

		p += strspn(p, "/");
		p += strcspn(p, "/");
		end = *p;
		*p = '\0';
		if (mkdirat(dirfd, part, 0700) < 0 && errno != EEXIST) {
			int err = errno;

			/* A read-only parent may hold it all the same. */
			if (fstatat(dirfd, part, &st, 0) < 0)
				return -err;
		}
		*p = end;
	}
	if (fstatat(dirfd, path, &st, 0) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int io_fsync_dir(int dirfd)
{
	/* dirfd may be AT_FDCWD or O_PATH, which fsync() refuses. */
	cleanup_fd int fd = openat(dirfd, ".",
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

void io_hold_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void) open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

/* Open the directory that holds `path`; *ret_name is the last component. */
static int open_parent(int dirfd, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir = NULL;
	int fd;

	if (slash == path)
		dir = strdup("/");
	else
		dir = slash ? strndup(path, (size_t)(slash - path)) :
			      strdup(".");
	if (!dir)
		return -ENOMEM;
	*ret_name = slash ? slash + 1 : path;
	fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

#define TMP_NAME ".tmp-%ld-%u"
#define TMP_TRIES 100

/* A new file, locked: see is_left(). A name that is taken is left over from who
 * had our number, or of somebody at it who has it in another container. */
static int make_tmp(int dir, char *name, size_t room, mode_t mode)
{
	static atomic_uint serial;
	int fd = -1;

	for (int i = 0; i < TMP_TRIES && fd < 0; i++) {
		(void) snprintf(name, room, TMP_NAME, (long)getpid(),
			atomic_fetch_add(&serial, 1));
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			mode);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	if (fd < 0)
		return -errno;
	(void) flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

/* Did somebody leave it who was killed while he published? His number may mean
 * nobody here and somebody in another container: then it is locked. */
static bool is_left(int dir, const char *name)
{
	cleanup_fd int fd = -1;
	struct stat st;
	char again[48];
	unsigned n;
	long pid;

	if (sscanf(name, TMP_NAME, &pid, &n) != 2 || pid <= 0 ||
	    pid > INT_MAX)
		return false;
	(void) snprintf(again, sizeof(again), TMP_NAME, pid, n);
	if (strcmp(name, again) || !kill((pid_t)pid, 0) || errno != ESRCH)
		return false;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
		st.st_uid == geteuid() && !flock(fd, LOCK_EX | LOCK_NB);
}

static void remove_left(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (fd >= 0 && !d)
		(void) close(fd);
	while (d && (e = readdir(d)))
		if (is_left(dir, e->d_name))
			(void) unlinkat(dir, e->d_name, 0);
	if (d)
		(void) closedir(d);
}

int io_publish(int dirfd, const char *path, const void *data, size_t len,
	mode_t mode)
{
	const char *name;
	cleanup_fd int dir = open_parent(dirfd, path, &name);
	cleanup_fd int fd = -1;		/* locked until it has its name */
	char tmp[48];
	int r;

	if (dir < 0)
		return dir;
	remove_left(dir);
	fd = make_tmp(dir, tmp, sizeof(tmp), mode);
	if (fd < 0)
		return fd;
	r = io_pwrite(fd, data, len, 0);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (!r && renameat(dir, tmp, dir, name) < 0)
		r = -errno;
	if (r) {
		(void) unlinkat(dir, tmp, 0);
		return r;
	}
	return io_fsync_dir(dir);
}

static int remove_entries(int fd)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		(void) close(fd);
		return r;
	}
	while (!r) {
		errno = 0;
		e = readdir(d);
		if (!e) {
			r = -errno;
			break;
		}
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = io_remove_tree(fd, e->d_name);
	}
	(void) closedir(d);
	return r;
}

/* A directory to be emptied. Its mode is changed by a descriptor: never that of
 * a file, nor of what a link leads to. */
static int open_to_empty(int dirfd, const char *path)
{
	const int how = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	cleanup_fd int at = openat(dirfd, path, O_PATH | how);
	char self[40];
	struct stat st;
	int fd;

	if (at < 0 || fstat(at, &st) < 0)
		return -errno;
	(void) snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	if ((st.st_mode & 0700) != 0700)
		(void) chmod(self, 0700);
	fd = openat(dirfd, path, O_RDONLY | how);
	return fd < 0 ? -errno : fd;
}

int io_remove_tree(int dirfd, const char *path)
{
	int fd, r;

	if (!unlinkat(dirfd, path, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = open_to_empty(dirfd, path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = remove_entries(fd);
	if (!r && unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}
