/*
 * Which archives stand in a directory as directories. Only those of hubs whose
 * files are made to be unpacked: where archives are just files, `find` and `cp
 * -r` must not unpack them.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/archive.h"
#include "fs/lookup.h"

size_t fs_archive_shown(const struct fs_snap *s, const char *name)
{
	/* Archives in archives stay files. */
	return s->hub->archives && !s->archive ? stage_archive_stem(name) : 0;
}

static const struct listing_entry *find(const struct fs_snap *s,
	const char *inner)
{
	const struct listing_entry *e = NULL;
	char *path;

	for (size_t i = 0; stage_archive_endings[i] && !e; i++) {
		if (asprintf(&path, "%s%s", inner, stage_archive_endings[i]) <
			0)
			return NULL;
		e = listing_find(&s->own, path);
		if (e && e->kind != LISTING_FILE)
			e = NULL;
		free(path);
	}
	return e;
}

int fs_archive_child(struct fs *fs, struct fs_node *dir, struct fs_snap *s,
	const char *name, const char *inner, struct fs_node **ret)
{
	struct fs_node_spec spec = { .kind = FS_ARCHIVE, .name = name,
		.hub = dir->hub };
	const struct listing_entry *e;

	if (!s->hub->archives || s->archive)
		return -ENOENT;
	e = find(s, inner);
	if (!e)
		return -ENOENT;
	spec.snap = fs_archive_snap(s, e);
	if (!spec.snap)
		return -ENOMEM;
	return fs_made(fs_node_get(&fs->inodes, dir, &spec), ret);
}
