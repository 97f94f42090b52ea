/* Where a Git LFS server keeps an object, asked anew each time. */
#ifndef FETCH_LFS_BATCH_H
#define FETCH_LFS_BATCH_H

#include "fetch/hub.h"

/* Engine thread. root: "…/info/lfs", copied. As fetch_hub_ops.locate. */
void fetch_lfs_locate(struct fetch_hub *h, const char *root,
	const struct fetch_file *f, fetch_locate_cb *cb, void *arg);

#endif
