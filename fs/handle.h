/* An open file: the source it reads, and what it read lately. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/fs.h"
#include "fs/readahead.h"

struct fs_plan;

struct fs_handle {
	struct fs *fs;
	struct fs_node *node;	/* a reference */
	struct src *src;	/* a reference */
	struct fs_plan *plan;	/* a reference; NULL: no staged file */
	unsigned epoch;		/* of src, when it was opened */
	atomic_uint made;	/* fs_plan_made_at(), or the resolver's `changed`
				 * when nothing it is made of was another; of
				 * what is not made UINT_MAX, as its size and
				 * digest tell; 0: fs_handle_resumed() */
	atomic_uint changed;	/* the resolver's, when it was seen to be
				 * still that file; 0: not looked at */
	pthread_mutex_t lock;
	struct fs_ra ra;	/* lock */
	uint8_t *unread;	/* lock; of a staged file: a byte for each
				 * FS_PART, or NULL: nobody asks */
	size_t n_unread;	/* lock; parts */
};

#define FS_PART (1UL << 20)	/* bytes */

/* Takes src over; plan is counted here. NULL: out of memory, src is the
 * caller's still. */
struct fs_handle *fs_handle_new(struct fs *fs, struct fs_node *n,
	struct src *src, struct fs_plan *plan);

/* Is it another file by now? */
bool fs_handle_outlived(struct fs_handle *h);
/* It was open in a server before us: whatever of it has become another file
 * since we began, it is not that. */
void fs_handle_resumed(struct fs_handle *h);
/* Is n, an FS_FILE or FS_STAGED, that file of its repository, or made of it, or
 * in it? Reads local disk. */
bool fs_node_of_file(struct fs_node *n, const char *path);

/* A read failed with err: keep the reason where users look for it. */
void fs_handle_failed(struct fs_handle *h, int err);

#endif
