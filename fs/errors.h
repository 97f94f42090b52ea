/*
 * The last failures in words, for /.omnihub/errors, for `user.omnihub.error`
 * and for the line a command prints. A repeated failure of one path takes one
 * place.
 */
#ifndef FS_ERRORS_H
#define FS_ERRORS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define FS_ERRORS_MAX 128

struct fs_error_line {
	char *path;		/* in the mount, without a leading '/' */
	int code;		/* negative errno; 0: free place */
	unsigned count;
	int64_t when;		/* seconds since 1970 */
	uint64_t order;		/* larger is newer */
	char text[ERROR_TEXT_MAX];
};

struct fs_errors {
	pthread_mutex_t lock;	/* innermost: nothing is taken under it */
	struct fs_error_line line[FS_ERRORS_MAX];	/* lock */
	uint64_t total;					/* lock */
};

void fs_errors_init(struct fs_errors *e);
void fs_errors_done(struct fs_errors *e);
/* text NULL: strerror's. */
void fs_errors_add(struct fs_errors *e, const char *path, int code,
	const char *text);
/* The failure of `path` is over. */
void fs_errors_clear(struct fs_errors *e, const char *path);
/* Appends the newest text of exactly `path`. -ENODATA: none. */
int fs_errors_find(struct fs_errors *e, const char *path, struct buf *ret);
/* Newest first, one a line: time, errno, path, text. */
int fs_errors_show(struct fs_errors *e, size_t max, struct buf *ret);
uint64_t fs_errors_total(struct fs_errors *e);

/* Any negative errno as one of the contract's. */
int fs_errno(int err);

#endif
