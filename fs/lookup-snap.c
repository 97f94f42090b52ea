/*
 * Inside a repository: its own files, and beside them what staging adds. A file
 * of its own always wins over a staged one.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lookup.h"
#include "fs/names.h"

static int staged_node(struct fs *fs, struct fs_node *dir,
	struct fs_snap *snap, const char *name, const char *inner,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_FILE, .name = name,
		.hub = dir->hub, .inner = inner };
	const struct stage_repo repo = fs_snap_repo(snap);
	const char *original = stage_layout_original(fs->stage, &repo, inner);
	int r;

	if (original) {
		s.entry = listing_find(&snap->own, original);
		if (!s.entry)
			return -EIO;
	} else {
		s.kind = FS_STAGED;
		r = fs_plan_get(&fs->plans, snap, inner, &s.plan);
		if (r)
			return fs_errno(r);
	}
	s.snap = fs_snap_ref(snap);
	return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
}

int fs_child_in_snap(struct fs *fs, struct fs_node *dir,
	struct fs_snap *snap, const char *above, const char *name,
	struct fs_node **ret)
{
	char *inner = path_join(above, name);
	struct fs_node_spec s = { .kind = FS_DIR, .name = name,
		.hub = dir->hub, .inner = inner };
	const struct listing_entry *own, *added = NULL;
	int r = -ENOENT, asked = 0;

	if (!inner)
		return -ENOMEM;
	own = listing_find(&snap->own, inner);
	if (!own && !listing_is_dir(&snap->own, inner))
		asked = fs_names_find(&fs->plans, snap, above, inner, &added);
	if (own && own->kind == LISTING_FILE) {
		s.kind = FS_FILE;
		s.entry = own;
	}
	if (asked) {
		r = asked;
	} else if (own || listing_is_dir(&snap->own, inner)) {
		s.snap = fs_snap_ref(snap);
		r = fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
	} else if (added && added->kind == LISTING_FILE) {
		r = staged_node(fs, dir, snap, name, inner, ret);
	} else if (added || listing_is_dir(&snap->layout, inner)) {
		s.snap = fs_snap_ref(snap);
		r = fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
	} else {
		r = fs_archive_child(fs, dir, snap, name, inner, ret);
	}
	free(inner);
	return r;
}

static void ask_names(struct fs_looking *k, struct fs_snap *snap);

/* The names of the directory were asked for. */
static void names_told(void *arg, int err, struct fs_snap *snap)
{
	struct fs_looking *k = arg;
	struct fs_node *n = NULL;
	int r = fs_child_in_snap(k->fs, k->dir, snap, k->inner, k->name, &n);

	if (r == -EAGAIN && !err && ++k->tries < FS_NAMES_TRIES)
		ask_names(k, snap);
	else
		fs_looking_done(k, r == -EAGAIN ? (err ? err : -EIO) : r, n);
	fs_snap_unref(snap);
}

static void ask_names(struct fs_looking *k, struct fs_snap *snap)
{
	char *path = fs_node_path(k->dir);

	if (path && k->inner)
		fs_names_want_one(&k->fs->plans, snap, k->inner, k->name, path,
			names_told, k);
	else
		fs_looking_done(k, -ENOMEM, NULL);
	free(path);
}

void fs_ask_names(struct fs_looking *k, struct fs_snap *snap,
	const char *inner)
{
	k->inner = strdup(inner);
	ask_names(k, snap);
}

static void repo_listed(void *arg, int err, struct fs_snap *snap)
{
	struct fs_looking *k = arg;
	struct fs_node *n = NULL;

	if (!err && fs_node_is_repo(k->dir))
		fs_repo_touched(k->fs, k->dir);
	if (!err)
		err = fs_child_now(k->fs, k->dir, snap, k->name, &n);
	if (err == -EAGAIN && snap)
		fs_ask_names(k, snap, "");
	else
		fs_looking_done(k, err, n);
	fs_snap_unref(snap);
}

void fs_ask_repo(struct fs_looking *k)
{
	struct fs_node *d = k->dir;

	fs_resolve_listed(&k->fs->resolver, d->hub, d->repo, d->rev,
		repo_listed, k);
}

void fs_ask_archive(struct fs_looking *k)
{
	fs_snap_list(k->dir->snap, repo_listed, k);
}
