/*
 * From a directory and a name to a node with attributes. What is known is
 * answered at once; what only the hub can say is a chain of callbacks:
 * revision → commit → listing → plan, each step skipped when it is known.
 *
 * A one-word name below a hub is an alias, a repository with an old short name,
 * or an owner. If it is no alias and the index knows nothing of it, one
 * question decides: is it a repository? If not, it is taken for an owner, whose
 * children resolve although no listing shows them (renamed owners, private
 * repositories). Whether the owner exists is asked only when somebody wants its
 * attributes: walking through it does not.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/name.h"
#include "fs/tree.h"

#define NAMES_MAX (64 << 20)	/* bytes of a listing in the index */

struct looking {
	struct fs *fs;
	struct fs_node *dir;	/* a reference */
	fs_node_cb *cb;
	void *arg;
	struct fs_name word;	/* of a repository's component */
	char *repo;		/* and what the hub calls it; or NULL */
	char name[PATH_NAME_MAX + 1];
};

/* One question for the attributes of a node that only a pool can give. */
struct asking_attr {
	struct pool_job job;
	struct fs *fs;
	struct fs_node *node;	/* a reference, later the callee's */
	fs_node_cb *cb;
	void *arg;
};

/* ---- what the disk knows of names --------------------------------------------- */

const char *fs_alias(const struct fs *fs, const char *name)
{
	char key[PATH_NAME_MAX + 16];

	(void) snprintf(key, sizeof(key), "alias.%s", name);
	return conf_get(fs->conf, key);
}

struct word_search {
	const char *key;	/* "hub/word" */
	size_t len;
	enum fs_word found;
};

static int see_touched(void *arg, const char *key, const void *value,
	size_t len, int64_t age)
{
	struct word_search *w = arg;

	(void) value;
	(void) len;
	(void) age;
	if (key[w->len] == '/')
		w->found = FS_WORD_OWNER;
	else if (key[w->len] == '\0' || key[w->len] == '@')
		w->found = FS_WORD_REPO;
	return w->found != FS_WORD_UNKNOWN;
}

/* It was an owner, however long ago its repositories were asked for. */
static bool listed_before(struct fs *fs, const char *key)
{
	struct buf names = BUF_INIT(NAMES_MAX);
	int r = cache_index_get(fs->cache, CACHE_KIND_NAMES, key, &names, NULL);

	buf_done(&names);
	return r == 0;
}

enum fs_word fs_word_known(struct fs *fs, const struct fs_hub *hub,
	const char *word)
{
	char *key = path_join(hub->name, word);
	struct word_search w = { key, 0, FS_WORD_UNKNOWN };

	if (!key)
		return FS_WORD_UNKNOWN;
	w.len = strlen(key);
	(void) cache_index_each(fs->cache, CACHE_KIND_TOUCHED, key, see_touched,
		&w);
	if (w.found == FS_WORD_UNKNOWN && listed_before(fs, key))
		w.found = FS_WORD_OWNER;
	free(key);
	return w.found;
}

static bool touched(struct fs *fs, const struct fs_node *owner,
	const char *component)
{
	struct buf none = BUF_INIT(4096);
	char *key;
	int r = -ENOMEM;

	if (asprintf(&key, "%s/%s/%s", owner->hub->name, owner->name,
			component) >= 0) {
		r = cache_index_get(fs->cache, CACHE_KIND_TOUCHED, key, &none,
			NULL);
		free(key);
	}
	buf_done(&none);
	return r == 0;
}

struct touching {
	struct pool_job job;
	struct fs *fs;
	char *key;
};

static void write_touched(struct pool_job *job)
{
	struct touching *t = (struct touching *)job;

	(void) cache_index_put(t->fs->cache, CACHE_KIND_TOUCHED, t->key, "", 0);
	free(t->key);
	free(t);
}

void fs_repo_touched(struct fs *fs, struct fs_node *repo)
{
	struct touching *t;

	if (atomic_exchange(&repo->touched, true))
		return;
	t = calloc(1, sizeof(*t));
	if (!t || !(t->key = fs_node_path(repo))) {
		free(t);
		return;
	}
	t->fs = fs;
	t->job.run = write_touched;
	pool_add(fs->work, &t->job);
}

/* ---- children that need no asking ----------------------------------------------- */

static int made(struct fs_node *n, struct fs_node **ret)
{
	if (!n)
		return -ENOMEM;
	*ret = n;
	return 0;
}

static int child_of_root(struct fs *fs, const char *name,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_CTL_DIR, .name = name };

	if (!strcmp(name, FS_CTL_DIR_NAME))
		return made(fs_node_get(&fs->inodes, fs->root, &s), ret);
	for (unsigned i = 0; i < fs->n_hubs; i++) {
		if (strcmp(fs->hubs[i].name, name))
			continue;
		s.kind = FS_HUB;
		s.hub = &fs->hubs[i];
		return made(fs_node_get(&fs->inodes, fs->root, &s), ret);
	}
	return -ENOENT;
}

static int ctl_child(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_CTL, .name = name };

	s.ctl = fs_ctl_find(name);
	if (!s.ctl)
		return -ENOENT;
	return made(fs_node_get(&fs->inodes, dir, &s), ret);
}

static int repo_node(struct fs *fs, struct fs_node *dir, const char *name,
	const char *repo, const char *rev, struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_REPO, .name = name,
		.hub = dir->hub, .repo = repo, .rev = rev };

	return made(fs_node_get(&fs->inodes, dir, &s), ret);
}

/* What the hub calls the repository of a component below a hub or an owner,
 * and the revision in w->rev. An alias may name one too: alias.x =
 * owner/name@rev; the component's own wins. The caller frees. */
static char *repo_of(const struct fs *fs, const struct fs_node *dir,
	struct fs_name *w)
{
	const char *target = fs_alias(fs, w->base), *base;
	struct fs_name n;
	char *repo;

	if (dir->kind == FS_OWNER)
		return path_join(dir->name, w->base);
	if (!target)
		return strdup(w->base);
	base = path_base(target);
	if (fs_name_split(base, &n) ||
		asprintf(&repo, "%.*s%s", (int)(base - target), target,
			n.base) < 0)
		return NULL;
	if (!*w->rev)
		memcpy(w->rev, n.rev, sizeof(n.rev));
	return repo;
}

static int alias_node(struct fs *fs, struct fs_node *dir, struct fs_name *w,
	const char *name, struct fs_node **ret)
{
	char *repo = repo_of(fs, dir, w);
	int r = repo ? repo_node(fs, dir, name, repo, w->rev, ret) : -ENOENT;

	free(repo);
	return r;
}

static int owner_node(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_OWNER, .name = name,
		.hub = dir->hub };

	return made(fs_node_get(&fs->inodes, dir, &s), ret);
}

static int child_of_hub(struct fs *fs, struct fs_node *dir, struct fs_name *w,
	const char *name, struct fs_node **ret)
{
	bool alias = fs_alias(fs, w->base) != NULL;

	if (!alias && fetch_repo_check(dir->hub->fetch, w->base))
		return -ENOENT;
	if (*w->rev)
		return -EAGAIN;
	if (alias)
		return alias_node(fs, dir, w, name, ret);
	switch (fs_word_known(fs, dir->hub, w->base)) {
	case FS_WORD_OWNER:
		return owner_node(fs, dir, name, ret);
	case FS_WORD_REPO:
		return repo_node(fs, dir, name, w->base, "", ret);
	case FS_WORD_UNKNOWN:
		break;
	}
	return -EAGAIN;
}

static int child_of_owner(struct fs *fs, struct fs_node *dir,
	const struct fs_name *w, const char *name, struct fs_node **ret)
{
	char *repo = path_join(dir->name, w->base);
	int r = -ENOMEM;

	if (repo) {
		r = fetch_repo_check(dir->hub->fetch, repo) ? -ENOENT : -EAGAIN;
		if (r == -EAGAIN &&
			((!*w->rev && fs_owner_has(&fs->resolver, dir->hub,
						dir->name, w->base)) ||
				touched(fs, dir, name)))
			r = repo_node(fs, dir, name, repo, w->rev, ret);
	}
	free(repo);
	return r;
}

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
	return made(fs_node_get(&fs->inodes, dir, &s), ret);
}

static int child_in_snap(struct fs *fs, struct fs_node *dir,
	struct fs_snap *snap, const char *name, struct fs_node **ret)
{
	char *inner = path_join(dir->inner ? dir->inner : "", name);
	struct fs_node_spec s = { .kind = FS_DIR, .name = name,
		.hub = dir->hub, .inner = inner };
	const struct listing_entry *own, *added = NULL;
	int r = -ENOENT, asked = 0;

	if (!inner)
		return -ENOMEM;
	own = listing_find(&snap->own, inner);
	if (!own && !listing_is_dir(&snap->own, inner))
		asked = fs_names_find(&fs->plans, snap,
			dir->inner ? dir->inner : "", inner, &added);
	if (own && own->kind == LISTING_FILE) {
		s.kind = FS_FILE;
		s.entry = own;
	}
	if (asked) {
		r = asked;
	} else if (own || listing_is_dir(&snap->own, inner)) {
		s.snap = fs_snap_ref(snap);
		r = made(fs_node_get(&fs->inodes, dir, &s), ret);
	} else if (added && added->kind == LISTING_FILE) {
		r = staged_node(fs, dir, snap, name, inner, ret);
	} else if (added || listing_is_dir(&snap->layout, inner)) {
		s.snap = fs_snap_ref(snap);
		r = made(fs_node_get(&fs->inodes, dir, &s), ret);
	}
	free(inner);
	return r;
}

/* Is `name` a component that could be a repository or an owner? */
static int word_of(const char *name, struct fs_name *ret)
{
	return fs_name_is_probe(name) ? -ENOENT : fs_name_split(name, ret);
}

int fs_child_now(struct fs *fs, struct fs_node *dir, struct fs_snap *snap,
	const char *name, struct fs_node **ret)
{
	struct fs_name w;
	int r;

	switch (dir->kind) {
	case FS_ROOT:
		return child_of_root(fs, name, ret);
	case FS_CTL_DIR:
		return ctl_child(fs, dir, name, ret);
	case FS_HUB:
		r = word_of(name, &w);
		return r ? r : child_of_hub(fs, dir, &w, name, ret);
	case FS_OWNER:
		r = word_of(name, &w);
		return r ? r : child_of_owner(fs, dir, &w, name, ret);
	case FS_REPO:
	case FS_DIR:
		if (!path_name_ok(name, strlen(name)))
			return -ENOENT;
		return snap ? child_in_snap(fs, dir, snap, name, ret) : -EAGAIN;
	case FS_CTL:
	case FS_FILE:
	case FS_STAGED:
		break;
	}
	return -ENOTDIR;
}

/* ---- attributes ------------------------------------------------------------------ */

static bool bound(const struct fs_node *n)
{
	const struct fs_node *p = n->parent;

	if (!p || p->kind == FS_ROOT || p->kind == FS_CTL_DIR ||
		p->kind == FS_DIR)
		return true;
	return p->kind == FS_REPO && fs_name_is_commit(p->rev);
}

static int attr_of_repo(struct fs *fs, struct fs_node *n, struct fs_attr *a)
{
	struct fs_snap *s = fs_resolve_known(&fs->resolver, n->hub, n->repo,
		n->rev);

	a->mtime = s ? s->mtime : 0;
	a->fixed = s && fs_name_is_commit(n->rev);
	fs_snap_unref(s);
	return 0;
}

static bool owner_seen(struct fs *fs, struct fs_node *n)
{
	if (!atomic_load(&n->touched) &&
		fs_word_known(fs, n->hub, n->name) == FS_WORD_OWNER)
		atomic_store(&n->touched, true);
	return atomic_load(&n->touched);
}

int fs_attr_now(struct fs *fs, struct fs_node *n, struct fs_attr *ret)
{
	struct fs_attr a = { .ino = n->ino, .dir = fs_node_is_dir(n),
		.mtime = n->snap ? n->snap->mtime : fs->started,
		.fixed = n->snap, .bound = bound(n) };
	int r = 0;

	switch (n->kind) {
	case FS_REPO:
		r = attr_of_repo(fs, n, &a);
		break;
	case FS_FILE:
		a.size = n->entry->size == LISTING_SIZE_UNKNOWN ? 0 :
			n->entry->size;
		break;
	case FS_STAGED:
		r = fs_plan_known(n->plan, &a.size);
		if (r && r != -EAGAIN) {
			a.fixed = false;
			r = 0;
		}
		break;
	case FS_OWNER:
		a.unsure = !owner_seen(fs, n);
		break;
	case FS_CTL:
		r = -EAGAIN;
		break;
	case FS_ROOT:
	case FS_CTL_DIR:
	case FS_HUB:
	case FS_DIR:
		break;
	}
	if (!r)
		*ret = a;
	return r;
}

static void answer_attr(struct asking_attr *k, int err, uint64_t size,
	bool fixed)
{
	struct fs_node *n = k->node;
	struct fs_attr a = { .ino = n->ino, .size = size, .fixed = fixed,
		.mtime = n->snap ? n->snap->mtime : k->fs->started,
		.bound = bound(n) };

	if (err)
		fs_node_unref(n);
	k->cb(k->arg, err, err ? NULL : n, &a);
	free(k);
}

static void planned(void *arg, int err, uint64_t size)
{
	/* What can never be made is a file all the same: its open says why. */
	bool refused = err == -ENOTSUP || err == -EFBIG;

	answer_attr(arg, refused ? 0 : err, refused ? 0 : size, !err);
}

static void measure_ctl(struct pool_job *job)
{
	struct asking_attr *k = (struct asking_attr *)job;
	struct buf b = BUF_INIT(FS_CTL_MAX);
	int r = k->node->ctl->show(k->fs, &b);
	size_t len = b.len;

	buf_done(&b);
	answer_attr(k, r, len, false);
}

/* A reference to n is taken over. */
static void finish(struct fs *fs, struct fs_node *n, fs_node_cb *cb, void *arg)
{
	struct fs_attr a;
	struct asking_attr *k;
	int r = fs_attr_now(fs, n, &a);

	if (!r) {
		cb(arg, 0, n, &a);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		fs_node_unref(n);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*k = (struct asking_attr){ .fs = fs, .node = n, .cb = cb, .arg = arg };
	if (n->kind == FS_STAGED) {
		char *path = fs_node_path(n);
		struct fs_plan_for whom = { n->snap, n->inner, path };

		if (path)
			fs_plan_want(n->plan, &whom, planned, k);
		else
			answer_attr(k, -ENOMEM, 0, false);
		free(path);
	} else {
		k->job.run = measure_ctl;
		pool_add(fs->work, &k->job);
	}
}

/* Who has nothing does not exist; unless the hub cannot say so, or a token may
 * open what no listing shows. */
static void owner_listed(void *arg, int err, struct fs_owner *o)
{
	struct asking_attr *k = arg;
	struct fs_node *n = k->node;
	struct fs_attr a = { 0 };
	bool none = err == -ENOENT || (!err && !o->repos.n);

	if (!err && o->repos.n)
		atomic_store(&n->touched, true);
	if (!err)
		fs_owner_unref(&k->fs->resolver, o);
	err = none && !n->hub->has_token ? -ENOENT :
		fs_attr_now(k->fs, n, &a);
	if (err)
		fs_node_unref(n);
	k->cb(k->arg, err, err ? NULL : n, &a);
	free(k);
}

void fs_getattr(struct fs *fs, struct fs_node *n, fs_node_cb *cb, void *arg)
{
	struct asking_attr *k;

	if (n->kind != FS_OWNER || owner_seen(fs, n)) {
		finish(fs, fs_node_ref(n), cb, arg);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*k = (struct asking_attr){ .fs = fs, .node = fs_node_ref(n), .cb = cb,
		.arg = arg };
	fs_owner_list(&fs->resolver, n->hub, n->name, owner_listed, k);
}

/* ---- children the hub has to say ------------------------------------------------- */

static void done(struct looking *k, int err, struct fs_node *n)
{
	if (err)
		k->cb(k->arg, fs_errno(err), NULL, NULL);
	else
		finish(k->fs, n, k->cb, k->arg);
	fs_node_unref(k->dir);
	free(k->repo);
	free(k);
}

/* The names of the directory were asked for. */
static void names_told(void *arg, int err, struct fs_snap *snap)
{
	struct looking *k = arg;
	struct fs_node *n = NULL;
	int r = fs_child_now(k->fs, k->dir, snap, k->name, &n);

	fs_snap_unref(snap);
	done(k, r == -EAGAIN ? (err ? err : -EIO) : r, n);
}

static void ask_names(struct looking *k, struct fs_snap *snap)
{
	char *path = fs_node_path(k->dir);

	if (path)
		fs_names_want(&k->fs->plans, snap,
			k->dir->inner ? k->dir->inner : "", path, names_told,
			k);
	else
		done(k, -ENOMEM, NULL);
	free(path);
}

static void repo_listed(void *arg, int err, struct fs_snap *snap)
{
	struct looking *k = arg;
	struct fs_node *n = NULL;

	if (!err) {
		fs_repo_touched(k->fs, k->dir);
		err = fs_child_now(k->fs, k->dir, snap, k->name, &n);
	}
	if (err == -EAGAIN && snap)
		ask_names(k, snap);
	else
		done(k, err, n);
	fs_snap_unref(snap);
}

static void repo_resolved(void *arg, int err, struct fs_snap *snap)
{
	if (err) {
		done(arg, err, NULL);
		return;
	}
	fs_snap_list(snap, repo_listed, arg);
	fs_snap_unref(snap);
}

static void component_resolved(void *arg, int err, struct fs_snap *snap)
{
	struct looking *k = arg;
	struct fs_node *n = NULL;

	fs_snap_unref(snap);
	if (!err && k->dir->kind == FS_OWNER)
		atomic_store(&k->dir->touched, true);
	if (!err)
		err = repo_node(k->fs, k->dir, k->name, k->repo, k->word.rev,
			&n);
	else if (k->dir->kind == FS_HUB && !*k->word.rev && err != -ENOMEM)
		err = owner_node(k->fs, k->dir, k->name, &n);
	done(k, err, n);
}

static void ask(struct looking *k)
{
	struct fs_node *d = k->dir;
	struct fs_resolver *r = &k->fs->resolver;

	if (d->kind == FS_DIR) {
		ask_names(k, d->snap);
		return;
	}
	if (d->kind == FS_REPO) {
		fs_resolve(r, d->hub, d->repo, d->rev, repo_resolved, k);
		return;
	}
	(void) fs_name_split(k->name, &k->word);
	k->repo = repo_of(k->fs, d, &k->word);
	if (k->repo)
		fs_resolve(r, d->hub, k->repo, k->word.rev, component_resolved,
			k);
	else
		done(k, -ENOMEM, NULL);
}

void fs_lookup(struct fs *fs, struct fs_node *dir, const char *name,
	fs_node_cb *cb, void *arg)
{
	struct fs_node *n = NULL;
	struct looking *k;
	int r;

	if (strlen(name) > PATH_NAME_MAX) {
		cb(arg, -ENAMETOOLONG, NULL, NULL);
		return;
	}
	r = fs_child_now(fs, dir, dir->snap, name, &n);
	if (!r) {
		finish(fs, n, cb, arg);
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
