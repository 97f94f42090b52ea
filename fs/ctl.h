/*
 * The files of /.omnihub: made anew for every open, so that what is read is of
 * one moment. Making one may look at the disk; it runs on a pool thread.
 */
#ifndef FS_CTL_H
#define FS_CTL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define FS_CTL_DIR_NAME ".omnihub"
#define FS_CTL_MAX (4 << 20)	/* bytes of one file */

struct fs;

struct fs_ctl {
	const char *name;
	int (*show)(struct fs *fs, struct buf *ret);
};

/* In the order `ls` shows them; ended by a NULL name. */
extern const struct fs_ctl fs_ctl_table[];
const struct fs_ctl *fs_ctl_find(const char *name);

/* Lines other rooms add to status. */
#define FS_NOTES_MAX 16
struct fs_notes {
	pthread_mutex_t lock;	/* innermost */
	struct {
		char *key, *value;
	} note[FS_NOTES_MAX];	/* lock */
	unsigned n;		/* lock */
};
void fs_notes_init(struct fs_notes *n);
void fs_notes_done(struct fs_notes *n);

/* ctl-stats.c, ctl-conf.c */
int fs_ctl_stats(struct fs *fs, struct buf *ret);
/* news.c: its line of status. */
int fs_news_status(struct fs *fs, struct buf *ret);
int fs_ctl_status(struct fs *fs, struct buf *ret);
int fs_ctl_errors(struct fs *fs, struct buf *ret);
int fs_ctl_config(struct fs *fs, struct buf *ret);

#endif
