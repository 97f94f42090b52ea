/* The root and the plain directories between it and the hubs. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lookup.h"

/* What stands at p: the directory a hub's grammar begins with. */
static struct fs_node *node_of_place(struct fs *fs, struct fs_node *dir,
	const struct fs_place *p)
{
	struct fs_node_spec s = { .kind = FS_HUB, .name = path_base(p->path),
		.hub = p->hub };

	if (p->owner) {
		s.kind = FS_OWNER;
		s.repo = p->owner;
	} else if (p->hub->grammar == FETCH_SINGLE) {
		s.kind = FS_REPO;
		s.repo = FETCH_THE_REPO;
		s.rev = "";
	}
	return fs_node_get(&fs->inodes, dir, &s);
}

static int child_at(struct fs *fs, struct fs_node *dir, const char *path,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_PLACE, .name = path_base(path) };
	size_t len = strlen(path);

	for (unsigned i = 0; i < fs->n_places; i++) {
		const struct fs_place *p = &fs->places[i];

		if (strncmp(p->path, path, len))
			continue;
		if (!p->path[len])
			return fs_made(node_of_place(fs, dir, p), ret);
		if (p->path[len] == '/')
			return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
	}
	return -ENOENT;
}

int fs_child_of_place(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_CTL_DIR, .name = name };
	char *above, *path = NULL;
	int r = -ENOMEM;

	if (dir->kind == FS_ROOT && !strcmp(name, FS_CTL_DIR_NAME))
		return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
	above = fs_node_path(dir);
	if (above)
		path = path_join(above, name);
	if (path)
		r = child_at(fs, dir, path, ret);
	free(path);
	free(above);
	return r;
}
