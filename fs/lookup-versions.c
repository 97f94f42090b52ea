/*
 * Names below a hub of versions, of any number of components:
 *
 *   PUBLISHER/…/MODEL                 FS_GROUP …, FS_SERIES
 *   PUBLISHER/…/MODEL/VERSION         FS_REPO
 *   PUBLISHER/…/MODEL/VERSION.tar.gz  the same as one file
 *   PUBLISHER/…/MODEL/FILE            a file of the newest version
 *
 * The text says what is a version; whether MODEL is one only the hub can say,
 * and of a long name each prefix could be. Nothing is asked for what may be a
 * prefix: walking to a version costs the one question whether that exists.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lookup.h"
#include "fs/series.h"

struct name {
	enum fetch_name what;
	bool whole;		/* VERSION.tar.gz */
	char *path;		/* below the hub, without that suffix */
	char *rev;		/* VERSION: in path; path ends before it */
};

/* Cut the repository and its revision apart. */
static void cut(struct name *n, size_t repo_len)
{
	n->path[repo_len] = '\0';
	n->rev = n->path + repo_len + 1;
}

static enum fetch_name classify(const struct fs_node *dir, struct name *n)
{
	size_t len = strlen(n->path), repo_len = 0;
	size_t suffix = strlen(FETCH_ARCHIVE_SUFFIX);
	enum fetch_name what = fetch_name(dir->hub->fetch, n->path, &repo_len);

	if (what == FETCH_NAME_VERSION) {
		cut(n, repo_len);
	} else if (len > suffix &&
		!strcmp(n->path + len - suffix, FETCH_ARCHIVE_SUFFIX)) {
		n->path[len - suffix] = '\0';
		n->whole = fetch_name(dir->hub->fetch, n->path, &repo_len) ==
			FETCH_NAME_VERSION;
		n->path[len - suffix] = FETCH_ARCHIVE_SUFFIX[0];
		if (n->whole) {
			n->path[len - suffix] = '\0';
			cut(n, repo_len);
			what = FETCH_NAME_VERSION;
		}
	}
	return what;
}

/* free() path. -ENOENT: it means nothing. */
static int read_name(const struct fs_node *dir, const char *text,
	struct name *ret)
{
	struct name n = { .path = NULL };

	if (fs_name_is_probe(text) || !path_name_ok(text, strlen(text)))
		return -ENOENT;
	n.path = path_join(dir->repo ? dir->repo : "", text);
	if (!n.path)
		return -ENOMEM;
	n.what = classify(dir, &n);
	*ret = n;
	return 0;
}

static int names_node(struct fs *fs, struct fs_node *dir, const char *name,
	const struct name *w, struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_GROUP, .name = name,
		.hub = dir->hub, .repo = w->path };

	if (w->what == FETCH_NAME_NEWEST) {
		s.kind = FS_SERIES;
		s.rev = "";
	}
	return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
}

static int whole_node(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_snap *snap, struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_FILE, .name = name,
		.hub = dir->hub, .snap = fs_snap_ref(snap),
		.entry = &snap->whole, .inner = FETCH_ARCHIVE_PATH,
		.still = true };

	return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
}

static int version_now(struct fs *fs, struct fs_node *dir, const char *name,
	const struct name *w, struct fs_node **ret)
{
	struct fs_snap *s = fs_resolve_known(&fs->resolver, dir->hub, w->path,
		w->rev);
	int r = -EAGAIN;

	if (w->whole && s)
		r = whole_node(fs, dir, name, s, ret);
	else if (!w->whole && (s || fs_touched(fs, dir, name) ||
			fs_owner_has(&fs->resolver, dir->hub, dir->repo,
				name)))
		r = fs_repo_node(fs, dir, name, w->path, w->rev, ret);
	fs_snap_unref(s);
	return r;
}

/* Below a series, a name that is no version: of the newest, or of a longer
 * name of a model? Names of files have dots, those of models hardly ever. */
static bool ask_newest(struct fs *fs, struct fs_node *dir, const char *name,
	const struct name *w)
{
	return w->what == FETCH_NAME_NONE || strchr(name, '.') ||
		fs_series_known(fs, dir) ||
		fs_word_known(fs, dir->parent, dir->name) == FS_WORD_REPO;
}

/* snap: listed, `inner` is what dir means in it; or NULL. */
static int child_in_newest(struct fs *fs, struct fs_node *dir,
	struct fs_snap *snap, const char *inner, const char *name,
	const struct name *w, struct fs_node **ret)
{
	int r = -ENOENT;

	if (snap)
		r = fs_child_in_snap(fs, dir, snap, inner, name, ret);
	if (r == -ENOENT && w->what != FETCH_NAME_NONE)
		r = names_node(fs, dir, name, w, ret);
	return r;
}

int fs_child_of_group(struct fs *fs, struct fs_node *dir,
	struct fs_snap *snap, const char *name, struct fs_node **ret)
{
	struct name w;
	int r = read_name(dir, name, &w);

	if (r)
		return r;
	if (w.what == FETCH_NAME_VERSION)
		r = version_now(fs, dir, name, &w, ret);
	else if (snap)
		r = child_in_newest(fs, dir, snap, "", name, &w, ret);
	else if (dir->kind == FS_SERIES && ask_newest(fs, dir, name, &w))
		r = -EAGAIN;
	else if (w.what == FETCH_NAME_NONE)
		r = -ENOENT;
	else
		r = names_node(fs, dir, name, &w, ret);
	free(w.path);
	return r;
}

/* ---- asking -------------------------------------------------------------------- */

static void version_resolved(void *arg, int err, struct fs_snap *snap)
{
	struct fs_looking *k = arg;
	struct fs_node *n = NULL;
	struct name w;

	if (!err)
		err = read_name(k->dir, k->name, &w);
	if (!err) {
		err = w.whole ? whole_node(k->fs, k->dir, k->name, snap, &n) :
			fs_repo_node(k->fs, k->dir, k->name, w.path, w.rev, &n);
		free(w.path);
	}
	fs_snap_unref(snap);
	fs_looking_done(k, err, n);
}

static void newest_found(void *arg, int err, struct fs_snap *snap,
	const char *inner)
{
	struct fs_looking *k = arg;
	struct fs_node *n = NULL;
	struct name w;
	int r = 0;

	/* A prefix of names: then this is one more of their components. */
	if (err != -ENOENT)
		r = err;
	if (!r)
		r = read_name(k->dir, k->name, &w);
	if (!r) {
		r = child_in_newest(k->fs, k->dir, snap, inner, k->name, &w,
			&n);
		free(w.path);
	}
	if (r == -EAGAIN)
		fs_ask_names(k, snap, inner);
	else
		fs_looking_done(k, r, n);
	fs_snap_unref(snap);
}

void fs_ask_group(struct fs_looking *k)
{
	struct name w;
	int r = read_name(k->dir, k->name, &w);

	if (r) {
		fs_looking_done(k, r, NULL);
	} else if (w.what == FETCH_NAME_VERSION) {
		fs_resolve(&k->fs->resolver, k->dir->hub, w.path, w.rev,
			version_resolved, k);
		free(w.path);
	} else {
		free(w.path);
		fs_series_newest(k->fs, k->dir, newest_found, k);
	}
}
