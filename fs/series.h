#ifndef FS_SERIES_H
#define FS_SERIES_H

#include "fs/tree.h"

/* err 0: snap is a new reference, listed, and `dir` stands for the directory
 * `inner` of it ("" in most cases; it may not be there). */
typedef void fs_series_cb(void *arg, int err, struct fs_snap *snap,
	const char *inner);
void fs_series_newest(struct fs *fs, struct fs_node *dir, fs_series_cb *cb,
	void *arg);
/* Has it been found to be one, however long ago? Memory only. */
bool fs_series_known(struct fs *fs, const struct fs_node *dir);

#endif
