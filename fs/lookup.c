/*
 * From a directory and a name to a node with attributes. What is known is
 * answered at once; what only the hub can say is a chain of callbacks:
 * revision → commit → listing → plan, each step skipped when it is known.
 *
 * Here is what every kind of directory shares. What a name means is decided
 * where the kind is at home: lookup-place.c, lookup-owner.c,
 * lookup-versions.c, lookup-snap.c.
 */
#include "config.h"

#include "fs/lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int fs_made(struct fs_node *n, struct fs_node **ret)
{
	if (!n)
		return -ENOMEM;
	*ret = n;
	return 0;
}

int fs_word_of(const char *name, struct fs_name *ret)
{
	return fs_name_is_probe(name) ? -ENOENT : fs_name_split(name, ret);
}

int fs_repo_node(struct fs *fs, struct fs_node *dir, const char *name,
	const char *repo, const char *rev, struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_REPO, .name = name,
		.hub = dir->hub, .repo = repo, .rev = rev };

	return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
}

static int ctl_child(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_CTL, .name = name };

	s.ctl = fs_ctl_find(name);
	if (!s.ctl)
		return -ENOENT;
	return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
}

int fs_child_now(struct fs *fs, struct fs_node *dir, struct fs_snap *snap,
	const char *name, struct fs_node **ret)
{
	switch (dir->kind) {
	case FS_ROOT:
	case FS_PLACE:
		return fs_child_of_place(fs, dir, name, ret);
	case FS_CTL_DIR:
		return ctl_child(fs, dir, name, ret);
	case FS_HUB:
		if (dir->hub->grammar == FETCH_VERSIONS)
			return fs_child_of_group(fs, dir, NULL, name, ret);
		return fs_child_of_hub(fs, dir, name, ret);
	case FS_GROUP:
	case FS_SERIES:
		return fs_child_of_group(fs, dir, snap, name, ret);
	case FS_OWNER:
		return fs_child_of_owner(fs, dir, name, ret);
	case FS_ARCHIVE:
		if (!snap || !atomic_load(&snap->listed))
			return -EAGAIN;
		__attribute__((fallthrough));
	case FS_REPO:
	case FS_DIR:
		if (!path_name_ok(name, strlen(name)))
			return -ENOENT;
		return !snap ? -EAGAIN : fs_child_in_snap(fs, dir, snap,
			dir->inner ? dir->inner : "", name, ret);
	case FS_CTL:
	case FS_FILE:
	case FS_STAGED:
		break;
	}
	return -ENOTDIR;
}

/* n is taken over. */
static void answer(struct fs *fs, struct fs_node *n, fs_node_cb *cb, void *arg)
{
	if (n->kind == FS_ARCHIVE)
		fs_archive_answer(fs, n, cb, arg);
	else
		fs_attr_answer(fs, n, cb, arg);
}

/* ---- children the hub has to say ------------------------------------------------- */

void fs_looking_done(struct fs_looking *k, int err, struct fs_node *n)
{
	if (err)
		k->cb(k->arg, fs_errno(err), NULL, NULL);
	else
		answer(k->fs, n, k->cb, k->arg);
	fs_node_unref(k->dir);
	free(k->repo);
	free(k->inner);
	free(k);
}

static void ask(struct fs_looking *k)
{
	if (k->dir->kind == FS_DIR)
		fs_ask_names(k, k->dir->snap, k->dir->inner);
	else if (k->dir->kind == FS_ARCHIVE)
		fs_ask_archive(k);
	else if (k->dir->kind == FS_REPO)
		fs_ask_repo(k);
	else if (k->dir->hub->grammar == FETCH_VERSIONS)
		fs_ask_group(k);
	else
		fs_ask_word(k);
}

void fs_lookup(struct fs *fs, struct fs_node *dir, const char *name,
	fs_node_cb *cb, void *arg)
{
	struct fs_node *n = NULL;
	struct fs_looking *k;
	int r;

	if (strlen(name) > PATH_NAME_MAX) {
		cb(arg, -ENAMETOOLONG, NULL, NULL);
		return;
	}
	r = fs_child_now(fs, dir, dir->snap, name, &n);
	if (!r) {
		answer(fs, n, cb, arg);
		return;
	}
	k = r == -EAGAIN ? calloc(1, sizeof(*k)) : NULL;
	if (!k) {
		cb(arg, r == -EAGAIN ? -ENOMEM : r, NULL, NULL);
		return;
	}
	k->fs = fs;
	k->dir = fs_node_ref(dir);
	k->cb = cb;
	k->arg = arg;
	strcpy(k->name, name);
	ask(k);
}
