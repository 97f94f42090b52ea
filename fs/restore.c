/*
 * What a node is made from, as text: its name, for a repository what the hub
 * is asked for, and where its directory could mean another snapshot by now,
 * the snapshot.
 */
#include "config.h"

#include "fs/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lookup.h"
#include "fs/names.h"

enum word {
	W_KIND,		/* decimal */
	W_NAME, W_REPO, W_REV,
	W_SNAP_REPO, W_SNAP_REV, W_MTIME, /* "" unless it is the first below
					   * a repository's node */
	W_ABOVE,	/* where it lies in that snapshot */
	W_COUNT,
};

static int put_word(struct buf *b, const char *s)
{
	return buf_append(b, s ? s : "", s ? strlen(s) + 1 : 1);
}

/* Its directory's node stands for one snapshot now and another one later. */
static bool is_first(const struct fs_node *n)
{
	return n->snap && n->parent && fs_node_is_repo(n->parent) &&
		n->entry != &n->snap->whole;
}

int fs_node_describe(const struct fs_node *n, struct buf *ret)
{
	const struct fs_snap *s = is_first(n) ? n->snap : NULL;
	const char *slash = n->inner ? strrchr(n->inner, '/') : NULL;
	char kind[16], mtime[32] = "", *above = NULL;
	int r;

	(void) snprintf(kind, sizeof(kind), "%d", (int)n->kind);
	if (s)
		(void) snprintf(mtime, sizeof(mtime), "%" PRId64, s->mtime);
	if (s && slash) {
		above = strndup(n->inner, (size_t)(slash - n->inner));
		if (!above)
			return -ENOMEM;
	}
	r = put_word(ret, kind);
	if (!r)
		r = put_word(ret, n->name);
	if (!r)
		r = put_word(ret, n->repo);
	if (!r)
		r = put_word(ret, n->rev);
	if (!r)
		r = put_word(ret, s ? s->repo : NULL);
	if (!r)
		r = put_word(ret, s ? s->revision : NULL);
	if (!r)
		r = put_word(ret, mtime);
	if (!r)
		r = put_word(ret, above);
	free(above);
	return r;
}

/* ---- and back ------------------------------------------------------------------ */

struct restoring {
	struct fs *fs;
	struct fs_node *dir;	/* a reference */
	fs_node_cb *cb;
	void *arg;
	const char *word[W_COUNT];	/* in text */
	bool asked;		/* names of the directory were asked for */
	char text[];
};

static void finish(struct restoring *k, int err, struct fs_node *n)
{
	k->cb(k->arg, err, n, NULL);
	fs_node_unref(k->dir);
	free(k);
}

static void names_told(void *arg, int err, struct fs_snap *snap);

/* snap: listed, given back. */
static void in_snap(struct restoring *k, struct fs_snap *snap)
{
	struct fs_node *n = NULL;
	char *path;
	int r = fs_child_in_snap(k->fs, k->dir, snap, k->word[W_ABOVE],
		k->word[W_NAME], &n);

	if (r == -EAGAIN && !k->asked) {
		k->asked = true;
		path = fs_node_path(k->dir);
		if (path) {
			fs_names_want_one(&k->fs->plans, snap,
				k->word[W_ABOVE], k->word[W_NAME], path,
				names_told, k);
			fs_snap_unref(snap);
			free(path);
			return;
		}
		r = -ENOMEM;
	}
	fs_snap_unref(snap);
	finish(k, r, n);
}

static void names_told(void *arg, int err, struct fs_snap *snap)
{
	(void) err;
	in_snap(arg, snap);
}

static void listed(void *arg, int err, struct fs_snap *snap)
{
	struct restoring *k = arg;

	if (err) {
		fs_snap_unref(snap);
		finish(k, err, NULL);
	} else {
		in_snap(k, snap);
	}
}

static void from_snap(struct restoring *k)
{
	struct fetch_snapshot f = {
		.repo = (char *)(uintptr_t)k->word[W_SNAP_REPO],
		.revision = (char *)(uintptr_t)k->word[W_SNAP_REV],
		.mtime = strtoll(k->word[W_MTIME], NULL, 10),
	};
	struct fs_snap *s = fs_snap_get(&k->fs->resolver, k->dir->hub, &f);

	if (!s) {
		finish(k, -ENOMEM, NULL);
		return;
	}
	fs_snap_list(s, listed, k);
	fs_snap_unref(s);
}

static void looked_up(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	(void) a;
	finish(arg, err, n);
}

/* Names that exist because a hub said so once. */
static bool is_named(enum fs_kind kind)
{
	return kind == FS_OWNER || kind == FS_GROUP || kind == FS_SERIES ||
		kind == FS_REPO;
}

static int split(const char *text, size_t len, const char *ret[W_COUNT])
{
	const char *at = text;

	for (size_t i = 0; i < W_COUNT; i++) {
		const char *end = memchr(at, '\0', len - (size_t)(at - text));

		if (!end)
			return -EBADMSG;
		ret[i] = at;
		at = end + 1;
	}
	return 0;
}

const char *fs_words_name(const char *words, size_t len)
{
	const char *word[W_COUNT];

	return split(words, len, word) ? NULL : word[W_NAME];
}

static void begin(struct restoring *k)
{
	enum fs_kind kind = (enum fs_kind)atoi(k->word[W_KIND]);
	struct fs_node_spec s = { .kind = kind, .name = k->word[W_NAME],
		.hub = k->dir->hub, .repo = k->word[W_REPO],
		.rev = k->word[W_REV] };
	struct fs_node *n = NULL;
	int r;

	if (is_named(kind) && k->dir->hub) {
		r = fs_made(fs_node_get(&k->fs->inodes, k->dir, &s), &n);
		finish(k, r, n);
		return;
	}
	if (*k->word[W_SNAP_REV] && k->dir->hub) {
		from_snap(k);
		return;
	}
	r = fs_child_now(k->fs, k->dir, k->dir->snap, k->word[W_NAME], &n);
	if (r == -EAGAIN)
		fs_lookup(k->fs, k->dir, k->word[W_NAME], looked_up, k);
	else
		finish(k, r, n);
}

void fs_restore(struct fs *fs, struct fs_node *dir, const void *words,
	size_t len, fs_node_cb *cb, void *arg)
{
	struct restoring *k = calloc(1, sizeof(*k) + len + 1);
	int r;

	if (!k) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	memcpy(k->text, words, len);
	k->fs = fs;
	k->dir = fs_node_ref(dir);
	k->cb = cb;
	k->arg = arg;
	r = split(k->text, len, k->word);
	if (r)
		finish(k, r, NULL);
	else
		begin(k);
}
