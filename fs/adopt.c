/* What another tool has of a file, compared without asking a hub for bytes. */
#include "config.h"

#include <errno.h>

#include "fs/stack.h"
#include "fs/tree.h"

/* Opening takes it over where the file system can share blocks. */
static void take(struct fs *fs, struct fs_node *n)
{
	const struct fs_stack k = { .cache = fs->cache, .offline = true };
	struct error why = { 0 };
	struct src *s;
	char byte;

	if (fs_stack_file(&k, n->snap, n->entry, &s, &why))
		return;
	(void) src_read_wait(s, 0, &byte, s->size ? 1 : 0);
	src_unref(s);
}

int fs_adopt_wait(struct fs *fs, struct fs_node *n, uint64_t *ret_size)
{
	struct cache_name name;
	int r;

	if (n->kind != FS_FILE)
		return -EINVAL;
	name = fs_stack_name(n->snap, n->entry);
	r = cache_foreign_check(fs->cache, &name, ret_size);
	if (r >= 0)
		take(fs, n);
	return r;
}
