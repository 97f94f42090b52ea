/*
 * What a directory shows is written down once, at opendir, and read from there
 * in any order: a listing that changes meanwhile cannot make readdir skip or
 * repeat a name.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/lookup.h"
#include "fs/names.h"
#include "fs/series.h"
#include "fs/tree.h"

struct shown {
	char *name;
	enum fs_kind kind;
	bool still;		/* whatever snapshot the directory shows */
	size_t order;		/* of adding: the first of a name wins */
};

struct fs_dir {
	struct fs *fs;
	struct fs_node *node;	/* a reference */
	struct fs_snap *snap;	/* a reference, or NULL */
	char *inner;		/* of the node in snap; NULL: the node's own */
	bool unsure;		/* some names could not be told just now */
	struct shown *v;	/* sorted by name */
	size_t n, room;
};

struct reading {
	struct fs_dir *dir;
	fs_dir_cb *cb;
	void *arg;
	int err;		/* SERIES: why its newest is not shown */
	unsigned tries;		/* of asking for names */
};

void fs_dir_free(struct fs_dir *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i].name);
	free(d->v);
	fs_snap_unref(d->snap);
	free(d->inner);
	fs_node_unref(d->node);
	free(d);
}

static int add(struct fs_dir *d, const char *name, size_t len,
	enum fs_kind kind)
{
	char *copy;

	if (d->n == d->room) {
		size_t room = d->room ? 2 * d->room : 16;
		struct shown *v = reallocarray(d->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		d->v = v;
		d->room = room;
	}
	copy = strndup(name, len);
	if (!copy)
		return -ENOMEM;
	d->v[d->n] = (struct shown){ copy, kind, false, d->n };
	d->n++;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;

	int r = strcmp(x->name, y->name);

	return r ? r : (x->order > y->order) - (x->order < y->order);
}

/* Sort, and keep one of each name. */
static void tidy(struct fs_dir *d)
{
	size_t kept = 0;

	if (!d->n)
		return;
	qsort(d->v, d->n, sizeof(*d->v), by_name);
	for (size_t i = 1; i < d->n; i++) {
		if (strcmp(d->v[kept].name, d->v[i].name))
			d->v[++kept] = d->v[i];
		else
			free(d->v[i].name);
	}
	d->n = kept + 1;
}

/* ---- what the kinds of directories show -------------------------------------------- */

static enum fs_kind place_kind(const struct fs_place *p)
{
	if (p->owner)
		return FS_OWNER;
	return p->hub->grammar == FETCH_SINGLE ? FS_REPO : FS_HUB;
}

/* The next component of every place below. */
static int show_place(struct fs_dir *d)
{
	char *path = fs_node_path(d->node);
	size_t len = path ? strlen(path) : 0;
	int r = path ? 0 : -ENOMEM;

	if (!r && d->node->kind == FS_ROOT)
		r = add(d, FS_CTL_DIR_NAME, strlen(FS_CTL_DIR_NAME),
			FS_CTL_DIR);
	for (unsigned i = 0; i < d->fs->n_places && !r; i++) {
		const struct fs_place *p = &d->fs->places[i];
		const char *name = p->path + len + (len != 0);
		size_t n;

		if (strncmp(p->path, path, len) || (len && name[-1] != '/'))
			continue;
		n = strcspn(name, "/");
		r = add(d, name, n, name[n] ? FS_PLACE : place_kind(p));
	}
	free(path);
	return r;
}

static int show_ctl(struct fs_dir *d)
{
	int r = 0;

	for (const struct fs_ctl *c = fs_ctl_table; c->name && !r; c++)
		r = add(d, c->name, strlen(c->name), FS_CTL);
	return r;
}

static int add_still(struct fs_dir *d, const char *name, size_t len,
	enum fs_kind kind)
{
	int r = add(d, name, len, kind);

	if (!r)
		d->v[d->n - 1].still = true;
	return r;
}

/* A name below a hub of versions, and of a version its archive too. */
static int show_name(struct fs_dir *d, const char *name, size_t len)
{
	const char *above = d->node->repo ? d->node->repo : "";
	enum fs_kind kind = FS_GROUP;
	char *path, *whole = NULL;
	size_t repo_len;
	int r = 0;

	if (asprintf(&path, "%s%s%.*s", above, *above ? "/" : "", (int)len,
			name) < 0)
		return -ENOMEM;
	switch (fetch_name(d->node->hub->fetch, path, &repo_len)) {
	case FETCH_NAME_NONE:
		free(path);
		return 0;
	case FETCH_NAME_GROUP:
		break;
	case FETCH_NAME_NEWEST:
		kind = FS_SERIES;
		break;
	case FETCH_NAME_VERSION:
		kind = FS_REPO;
		r = asprintf(&whole, "%.*s%s", (int)len, name,
			FETCH_ARCHIVE_SUFFIX);
		break;
	}
	free(path);
	if (r >= 0)
		r = add_still(d, name, len, kind);
	if (!r && whole)
		r = add_still(d, whole, strlen(whole), FS_FILE);
	free(whole);
	return r < 0 ? -ENOMEM : 0;
}

/* "huggingface/org/repo": below the hub it is org, below org it is repo. */
static int show_touched(void *arg, const char *name, size_t len, bool more)
{
	struct fs_dir *d = arg;

	if (d->node->hub->grammar == FETCH_VERSIONS)
		return show_name(d, name, len);
	if (more && d->node->kind == FS_OWNER)
		return 0;
	return add(d, name, len, more ? FS_OWNER : FS_REPO);
}

static int show_alias(void *arg, const char *key, const char *shown,
	enum conf_origin from)
{
	struct fs_dir *d = arg;

	if (!shown || strncmp(key, "alias.", 6))
		return 0;
	/* Ours are made for the hub; a mirror has what it has. */
	if (from == CONF_DEFAULT && fetch_lacks(d->node->hub->fetch, shown))
		return 0;
	return add(d, key + 6, strlen(key + 6), FS_REPO);
}

static int show_hub(struct fs_dir *d)
{
	int r = fs_touched_each(d->fs, d->node, show_touched, d);

	if (r || !d->node->hub->aliases)
		return r;
	return conf_each(d->fs->conf, show_alias, d);
}

static int show_owner(struct fs_dir *d, const struct fs_owner *o)
{
	int r = 0;

	for (size_t i = 0; i < o->repos.n && !r; i++) {
		const char *name = path_base(o->repos.v[i].path);

		if (d->node->kind == FS_OWNER)
			r = add(d, name, strlen(name), FS_REPO);
		else
			r = show_name(d, name, strlen(name));
	}
	return r;
}

static int show_own(void *arg, const char *name, size_t len,
	enum listing_kind kind, const struct listing_entry *e)
{
	(void) e;
	return add(arg, name, len, kind == LISTING_DIR ? FS_DIR : FS_FILE);
}

static int show_added(void *arg, const char *name, size_t len,
	enum listing_kind kind, const struct listing_entry *e)
{
	struct fs_dir *d = arg;
	const struct stage_repo repo = fs_snap_repo(d->snap);
	enum fs_kind k = FS_DIR;

	if (kind == LISTING_FILE && stage_layout_quiet(d->fs->stage, &repo,
					    e->path))
		return 0;
	if (kind == LISTING_FILE)
		k = stage_layout_original(d->fs->stage, &repo, e->path) ?
			FS_FILE : FS_STAGED;
	return add(d, name, len, k);
}

static int show_added_dir(void *arg, const char *name, size_t len,
	enum listing_kind kind, const struct listing_entry *e)
{
	(void) e;
	return kind == LISTING_DIR ? add(arg, name, len, FS_DIR) : 0;
}

static int show_archive(void *arg, const char *name, size_t len,
	enum listing_kind kind, const struct listing_entry *e)
{
	struct fs_dir *d = arg;
	size_t stem = kind == LISTING_FILE && e ?
		fs_archive_shown(d->snap, name) : 0;

	(void) len;
	return stem ? add(d, name, stem, FS_ARCHIVE) : 0;
}

static const char *inner_of(const struct fs_dir *d)
{
	if (d->inner)
		return d->inner;
	return d->node->inner ? d->node->inner : "";
}

/* -EAGAIN: names have to be asked for; nothing was added. */
static int show_snap(struct fs_dir *d)
{
	const char *inner = inner_of(d);
	const struct listing *added = &d->snap->layout;
	int r = fs_names_known(&d->fs->plans, d->snap, inner, &added);

	if (r == -EAGAIN)
		return r;
	d->unsure = r;
	r = listing_children(&d->snap->own, inner, show_own, d);
	if (!r)
		r = listing_children(added, inner, show_added, d);
	if (!r && added != &d->snap->layout)
		r = listing_children(&d->snap->layout, inner, show_added_dir,
			d);
	if (!r && d->snap->hub->archives)
		r = listing_children(&d->snap->own, inner, show_archive, d);
	return r;
}

/* ---- asking ------------------------------------------------------------------------ */

static void done(struct reading *k, int err)
{
	struct fs_dir *d = k->dir;

	if (err) {
		fs_dir_free(d);
		d = NULL;
	} else {
		tidy(d);
	}
	k->cb(k->arg, fs_errno(err), d);
	free(k);
}

static void owner_listed(void *arg, int err, struct fs_owner *o)
{
	struct reading *k = arg;
	struct fs_dir *d = k->dir;

	if (!err) {
		err = show_owner(d, o);
		if (!err && !d->n && !d->node->hub->has_token)
			err = -ENOENT;
		fs_owner_unref(&d->fs->resolver, o);
	}
	/* Unreachable, but something of it is here: show that. */
	if (d->n && fs_unreachable(err))
		err = 0;
	if (err == -ENOTSUP ||
		(err == -ENOENT && fs_node_is_place(d->node)))
		err = 0;
	done(k, err);
}

static void ask_names(struct reading *k);

static void names_told(void *arg, int err, struct fs_snap *snap)
{
	struct reading *k = arg;
	int r = show_snap(k->dir);

	fs_snap_unref(snap);
	if (r == -EAGAIN && !err && ++k->tries < FS_NAMES_TRIES)
		ask_names(k);
	else
		done(k, r == -EAGAIN ? (err ? err : -EIO) : r);
}

static void ask_names(struct reading *k)
{
	struct fs_dir *d = k->dir;
	char *path = fs_node_path(d->node);

	if (path)
		fs_names_want(&d->fs->plans, d->snap, inner_of(d), path,
			names_told, k);
	else
		done(k, -ENOMEM);
	free(path);
}

/* What is in dir->snap, or ask. */
static void show_or_ask(struct reading *k)
{
	int r = show_snap(k->dir);

	if (r == -EAGAIN)
		ask_names(k);
	else
		done(k, r);
}

static void repo_listed(void *arg, int err, struct fs_snap *snap)
{
	struct reading *k = arg;

	if (err) {
		done(k, err);
		return;
	}
	if (fs_node_is_repo(k->dir->node))
		fs_repo_touched(k->dir->fs, k->dir->node);
	k->dir->snap = snap;
	show_or_ask(k);
}

/* After its newest: that is shown even if its versions cannot be told. */
static void versions_listed(void *arg, int err, struct fs_owner *o)
{
	struct reading *k = arg;
	struct fs_dir *d = k->dir;

	if (!err) {
		err = show_owner(d, o);
		fs_owner_unref(&d->fs->resolver, o);
	}
	if (d->snap)
		show_or_ask(k);
	else if (d->n)
		done(k, 0);
	else
		done(k, k->err != -ENOENT || !err ? k->err : err);
}

/* If it turns out to be a directory inside the newest of another series, there
 * are no versions to ask for. */
static void newest_found(void *arg, int err, struct fs_snap *snap,
	const char *inner)
{
	struct reading *k = arg;
	struct fs_dir *d = k->dir;
	bool inside = !err && *inner;

	k->err = err;
	d->snap = snap;
	d->inner = err ? NULL : strdup(inner);
	if (!err && !d->inner)
		done(k, -ENOMEM);
	else if (inside && !listing_is_dir(&snap->own, inner))
		done(k, d->n ? 0 : -ENOENT);
	else if (inside)
		show_or_ask(k);
	else
		fs_owner_list(&d->fs->resolver, d->node->hub, d->node->repo,
			versions_listed, k);
}

static struct reading *reading_new(struct fs *fs, struct fs_node *node,
	fs_dir_cb *cb, void *arg)
{
	struct reading *k = calloc(1, sizeof(*k));
	struct fs_dir *d = calloc(1, sizeof(*d));

	if (!k || !d) {
		free(k);
		free(d);
		return NULL;
	}
	d->fs = fs;
	d->node = fs_node_ref(node);
	*k = (struct reading){ .dir = d, .cb = cb, .arg = arg };
	return k;
}

void fs_readdir(struct fs *fs, struct fs_node *n, fs_dir_cb *cb, void *arg)
{
	struct reading *k;

	if (!fs_node_is_dir(n)) {
		cb(arg, -ENOTDIR, NULL);
		return;
	}
	k = reading_new(fs, n, cb, arg);
	if (!k) {
		cb(arg, -ENOMEM, NULL);
		return;
	}
	switch (n->kind) {
	case FS_ROOT:
	case FS_PLACE:
		done(k, show_place(k->dir));
		break;
	case FS_CTL_DIR:
		done(k, show_ctl(k->dir));
		break;
	case FS_HUB:
		done(k, show_hub(k->dir));
		break;
	case FS_OWNER:
	case FS_GROUP:
		(void) fs_touched_each(fs, n, show_touched, k->dir);
		fs_owner_list(&fs->resolver, n->hub, n->repo, owner_listed, k);
		break;
	case FS_SERIES:
		(void) fs_touched_each(fs, n, show_touched, k->dir);
		fs_series_newest(fs, n, newest_found, k);
		break;
	case FS_REPO:
		fs_resolve_listed(&fs->resolver, n->hub, n->repo, n->rev,
			repo_listed, k);
		break;
	case FS_ARCHIVE:
		fs_snap_list(n->snap, repo_listed, k);
		break;
	case FS_DIR:
		k->dir->snap = fs_snap_ref(n->snap);
		show_or_ask(k);
		break;
	case FS_CTL:
	case FS_FILE:
	case FS_STAGED:
		done(k, -ENOTDIR);
		break;
	}
}

/* ---- reading it --------------------------------------------------------------------- */

size_t fs_dir_count(const struct fs_dir *d)
{
	return d->n;
}

void fs_dir_at(const struct fs_dir *d, size_t i, struct fs_dirent *ret)
{
	const struct shown *s = &d->v[i];

	ret->name = s->name;
	ret->again = s->kind == FS_ARCHIVE ||
		(s->still && (d->snap || s->kind == FS_FILE));
	ret->dir = s->kind != FS_FILE && s->kind != FS_STAGED &&
		s->kind != FS_CTL;
	ret->ino = fs_node_number(d->node, s->kind, s->name,
		s->still ? NULL : d->snap);
}

int fs_dir_node(const struct fs_dir *d, size_t i, struct fs_node **ret,
	struct fs_attr *ret_attr)
{
	struct fs_node *n = NULL;
	int r;

	if (d->inner && *d->inner)
		r = fs_child_in_snap(d->fs, d->node, d->snap, d->inner,
			d->v[i].name, &n);
	else
		r = fs_child_now(d->fs, d->node, d->snap, d->v[i].name, &n);
	if (r)
		return r;
	r = n->kind == FS_ARCHIVE && fs_archive_doubted(n) ? -EAGAIN :
		fs_attr_now(d->fs, n, ret_attr);
	if (r)
		fs_node_unref(n);
	else
		*ret = n;
	return r;
}

bool fs_dir_fixed(const struct fs_dir *d)
{
	const struct fs_node *n = d->node;

	return !d->unsure && (n->kind == FS_DIR || n->kind == FS_ARCHIVE ||
		(n->kind == FS_REPO && fs_name_is_commit(n->rev)));
}
