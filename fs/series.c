/*
 * The newest of a series. A directory below a hub of versions may be a model
 * (a series of versions), the beginning of longer names of models, or, seen
 * before anybody asked, a directory inside the newest of the series above it:
 * "publisher/model/variables" is a good name for a model. So if it is no model,
 * the one above is asked for.
 */
#include "config.h"

#include "fs/series.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct seeking {
	struct fs *fs;
	struct fs_node *dir;	/* a reference */
	struct fs_node *at;	/* dir or above it; kept by dir */
	fs_series_cb *cb;
	void *arg;
};

static void ask(struct seeking *k);

static void done(struct seeking *k, int err, struct fs_snap *snap)
{
	size_t len = strlen(k->at->repo);
	const char *inner = k->dir->repo + len;

	k->cb(k->arg, err, snap, *inner == '/' ? inner + 1 : inner);
	fs_node_unref(k->dir);
	free(k);
}

static void listed(void *arg, int err, struct fs_snap *snap)
{
	struct seeking *k = arg;

	if (!err)
		fs_repo_touched(k->fs, k->at);
	done(k, err, snap);
}

static void resolved(void *arg, int err, struct fs_snap *snap)
{
	struct seeking *k = arg;

	if (err == -ENOENT && k->at->parent->kind == FS_SERIES) {
		k->at = k->at->parent;
		ask(k);
	} else if (err) {
		done(k, err, NULL);
	} else {
		fs_snap_unref(snap);
		fs_resolve_listed(&k->fs->resolver, k->at->hub, k->at->repo,
			"", listed, k);
	}
}

static void ask(struct seeking *k)
{
	fs_resolve(&k->fs->resolver, k->at->hub, k->at->repo, "", resolved, k);
}

void fs_series_newest(struct fs *fs, struct fs_node *dir, fs_series_cb *cb,
	void *arg)
{
	struct seeking *k = calloc(1, sizeof(*k));

	if (!k) {
		cb(arg, -ENOMEM, NULL, "");
		return;
	}
	*k = (struct seeking){ fs, fs_node_ref(dir), dir, cb, arg };
	ask(k);
}

bool fs_series_known(struct fs *fs, const struct fs_node *dir)
{
	struct fs_snap *s = fs_resolve_known(&fs->resolver, dir->hub,
		dir->repo, "");

	fs_snap_unref(s);
	return s;
}
