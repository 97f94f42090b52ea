/*
 * Which archives stand in a directory as directories. Only those of hubs whose
 * files are made to be unpacked: where archives are just files, `find` and `cp
 * -r` must not unpack them.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/archive-own.h"
#include "fs/lookup.h"
#include "fs/measure.h"

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

/* ---- another archive ----------------------------------------------------------- */

struct asking {
	struct fs *fs;
	struct fs_node *node;	/* a reference */
	fs_node_cb *cb;
	void *arg;
};

bool fs_archive_doubted(const struct fs_node *n)
{
	const struct fs_archive *a = n->snap->archive;

	return fs_measure_doubted(a->outer, a->e);
}

/* What cannot be asked for is shown as it was. */
static void told(void *arg, int err, const struct error *why,
	const struct listing_entry *e)
{
	struct asking *k = arg;
	struct fs_node *n = k->node;
	const struct fs_archive *a = n->snap->archive;
	struct fs_node_spec spec = { .kind = FS_ARCHIVE, .name = n->name,
		.hub = n->hub };

	(void) err;
	(void) why;
	(void) e;
	spec.snap = fs_archive_snap(a->outer, a->e);
	n = spec.snap ? fs_node_get(&k->fs->inodes, n->parent, &spec) : NULL;
	if (n)
		fs_attr_answer(k->fs, n, k->cb, k->arg);
	else
		k->cb(k->arg, -ENOMEM, NULL, NULL);
	fs_node_unref(k->node);
	free(k);
}

void fs_archive_answer(struct fs *fs, struct fs_node *n, fs_node_cb *cb,
	void *arg)
{
	const struct fs_archive *a = n->snap->archive;
	struct asking *k;

	if (!fs_archive_doubted(n)) {
		fs_attr_answer(fs, n, cb, arg);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		fs_node_unref(n);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*k = (struct asking){ fs, n, cb, arg };
	fs_measure(a->outer, a->e, told, k);
}
