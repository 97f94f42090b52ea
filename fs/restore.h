/* Nodes made again in another process, from a few words about each. */
#ifndef FS_RESTORE_H
#define FS_RESTORE_H

#include <stddef.h>

#include "fs/fs.h"

/* The words for n; what its directory tells is left out. Appends. */
int fs_node_describe(const struct fs_node *n, struct buf *ret);

/* The name among them; NULL: they are none. */
const char *fs_words_name(const char *words, size_t len);

/*
 * The child of `dir` that the words are about: the same revision, whatever a
 * branch means by now, and without asking a hub where the words do. cb's attr
 * is NULL. -ESTALE: it cannot be made any more.
 */
void fs_restore(struct fs *fs, struct fs_node *dir, const void *words,
	size_t len, fs_node_cb *cb, void *arg);

#endif
