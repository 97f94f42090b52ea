/* Number ↔ node, with the counts that say how long a number must stay. */
#ifndef FS_INODE_H
#define FS_INODE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct fs_node;
struct fs_snap;

#define FS_INO_ROOT 1

struct fs_inodes {
	pthread_mutex_t lock;
	struct fs_node **slots;	/* lock; chains by number */
	size_t room;		/* lock; power of two, or 0 */
	size_t n;		/* lock */
};

void fs_inodes_init(struct fs_inodes *t);
/* Every node must be gone. */
void fs_inodes_done(struct fs_inodes *t);
size_t fs_inodes_count(struct fs_inodes *t);

/* The node with this number, a reference; NULL: the number is not known. */
struct fs_node *fs_inode_find(struct fs_inodes *t, uint64_t ino);

/* The kernel was told this number once more. */
void fs_inode_looked_up(struct fs_node *n);
/* The kernel forgets it `times` times; at zero it no longer keeps the node. */
void fs_inode_forget(struct fs_inodes *t, uint64_t ino, uint64_t times);
/* Forget everything the kernel knew: the mount is gone. */
void fs_inodes_forget_all(struct fs_inodes *t);

/* Numbers of the files whose pages the kernel may hold. Returns how many;
 * *ret is the caller's to free (NULL when there are none). */
size_t fs_inodes_paged(struct fs_inodes *t, uint64_t **ret);

/* The same of the files of `repo` that the kernel knows and whose size no
 * listing tells. */
size_t fs_inodes_measured(struct fs_inodes *t, const struct fs_node *repo,
	uint64_t **ret);
/* The same of all files of that snapshot, of what is made of them and of what is
 * in them. */
size_t fs_inodes_of(struct fs_inodes *t, const struct fs_snap *s,
	uint64_t **ret);

#endif
