/*
 * Whole reads and writes, and files that appear only when they are complete.
 * All functions return 0 or negative errno.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

/* Exactly len bytes; a short file is -ENODATA. EINTR is retried. */
int io_pread(int fd, void *buf, size_t len, uint64_t off);
int io_pwrite(int fd, const void *buf, size_t len, uint64_t off);

/* Append a whole file to `ret`; -EFBIG past its ceiling. */
int io_read_file(int dirfd, const char *path, struct buf *ret);
/* The same, from where fd stands. */
int io_read_fd(int fd, struct buf *ret);

/* mkdir -p below dirfd, mode 0700 (the process's umask applies). */
int io_mkdirs(int dirfd, const char *path);

int io_fsync_dir(int dirfd);

/* Of standard input, output and error what is closed becomes what fails: no
 * file is opened in its place, to be read or written as that. For main(). */
void io_hold_standard(void);

/* Write data to a temporary name beside `path` and rename it into place
 * (replacing what is there): readers see the old file or the new, whole. What
 * the same left beside it, of ours, killed before the rename, goes. */
int io_publish(int dirfd, const char *path, const void *data, size_t len,
	mode_t mode);

/* Remove a directory tree below dirfd; a missing one is not an error. Never
 * follows symbolic links. Directories in it that are ours and let nobody in or
 * change nothing go too. */
int io_remove_tree(int dirfd, const char *path);

#endif
