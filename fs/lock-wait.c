/*
 * Making a lock file from what names mean now, and comparing one with what the
 * hubs have now: what the command line needs, so everything here waits.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "fs/lock.h"
#include "fs/measure.h"
#include "fs/name.h"
#include "fs/tree.h"

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;			/* lock */
	int err;			/* lock */
	struct error why;		/* lock */
	struct fs_snap *snap;		/* lock; a reference */
	struct listing listing;		/* lock */
};

#define WAITING_INIT { .lock = PTHREAD_MUTEX_INITIALIZER, \
	.cond = PTHREAD_COND_INITIALIZER }

static void arrive(struct waiting *w, int err, const struct error *why)
{
	w->err = err;
	if (why)
		w->why = *why;
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void snap_came(void *arg, int err, struct fs_snap *snap)
{
	struct waiting *w = arg;

	pthread_mutex_lock(&w->lock);
	w->snap = snap;
	arrive(w, err, NULL);
}

static void listing_came(void *arg, int err, const struct error *why,
	struct listing *l)
{
	struct waiting *w = arg;

	pthread_mutex_lock(&w->lock);
	if (!err) {
		w->listing = *l;
		memset(l, 0, sizeof(*l));
	}
	arrive(w, err, why);
}

static int await(struct waiting *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	w->done = false;
	pthread_mutex_unlock(&w->lock);
	return w->err;
}

/* What a name means, with its files. A reference. */
static int snap_wait(struct fs *fs, const struct fs_hub *hub,
	const char *repo, const char *rev, struct fs_snap **ret)
{
	struct waiting w = WAITING_INIT;
	int r;

	fs_resolve_listed(&fs->resolver, hub, repo, rev, snap_came, &w);
	r = await(&w);
	if (!r)
		*ret = w.snap;
	return r;
}

/* ---- making one ----------------------------------------------------------------- */

/* The SHA-256 that was taken of these very bytes when they were fetched. */
static int found_id(struct fs *fs, struct fs_snap *s,
	const struct listing_entry *listed, struct objid *ret)
{
	const struct listing_entry *e = fs_measured(s, listed);
	struct cache_name name = { .hub = s->hub->name, .repo = s->repo,
		.revision = s->revision, .path = e->path, .size = e->size,
		.id = e->id };
	struct src_stat st = { 0 };
	int r = e->size == LISTING_SIZE_UNKNOWN || !e->size ? -ENOENT :
		cache_name_stat(fs->cache, &name, &st);

	if (r || st.state < SRC_CACHED || !objid_is_sha256(&st.id))
		return -ENOENT;
	*ret = st.id;
	return 0;
}

static int add_files(struct fs *fs, struct fs_lock_model *m,
	struct fs_snap *s)
{
	struct objid id;
	int r = 0;

	for (size_t i = 0; i < s->own.n && !r; i++) {
		const struct listing_entry *e = &s->own.v[i];

		if (e->kind != LISTING_FILE)
			continue;
		r = listing_add(&m->files, e->path, e->kind, e->size, &e->id);
		if (!r && !objid_is_sha256(&e->id) &&
			!found_id(fs, s, e, &id))
			r = listing_add(&m->found, e->path, e->kind, e->size,
				&id);
	}
	listing_sort(&m->files);
	listing_sort(&m->found);
	return r;
}

static int add_staged(struct fs *fs, struct fs_lock_model *m,
	const struct fs_snap *s)
{
	const struct stage_repo repo = fs_snap_repo(s);
	const struct fs_plugin *plugin;
	char key[65];
	int r = 0;

	for (size_t i = 0; i < s->layout.n && !r; i++) {
		const struct listing_entry *e = &s->layout.v[i];

		if (e->kind != LISTING_FILE ||
			stage_layout_original(fs->stage, &repo, e->path))
			continue;
		r = fs_plan_key(&fs->plans, &repo, s->revision, e->path, key,
			&plugin);
		if (!r)
			r = fs_lock_staged_add(m, e->path, key);
	}
	return r;
}

static int add_snap(struct fs *fs, struct fs_lock *l, struct fs_snap *s,
	const struct fs_node *repo)
{
	struct fs_lock_model *m = fs_lock_model_get(l, s->hub->name, s->repo,
		s->revision);
	int r = 0;

	if (!m) {
		r = fs_lock_model_add(l, s->hub->name, s->repo, s->revision,
			&m);
		if (r)
			return r;
		m->mtime = s->mtime;
		r = add_files(fs, m, s);
		if (!r)
			r = add_staged(fs, m, s);
	}
	if (!r)
		r = fs_lock_name_add(l, m, s->hub->name, repo->repo, repo->rev);
	/* After a rename, or of a short name: both. */
	if (!r)
		r = fs_lock_name_add(l, m, s->hub->name, s->repo, repo->rev);
	return r;
}

int fs_lock_add_wait(struct fs *fs, struct fs_lock *l, struct fs_node *n)
{
	struct fs_node *repo = fs_node_repo(n);
	struct fs_snap *s = NULL;
	int r;

	if (!repo)
		return -EINVAL;
	r = snap_wait(fs, repo->hub, repo->repo, repo->rev, &s);
	if (r)
		return r;
	r = add_snap(fs, l, s, repo);
	fs_snap_unref(s);
	return r;
}

static bool same_file(const struct listing_entry *a,
	const struct listing_entry *b)
{
	char x[OBJID_HEX_MAX], y[OBJID_HEX_MAX];

	if (a->size != b->size || a->id.alg != b->id.alg)
		return false;
	objid_hex(&a->id, x);
	objid_hex(&b->id, y);
	return !strcmp(x, y);
}

int fs_lock_keep(struct fs_lock *l, const struct fs_lock *old)
{
	int r = 0;

	for (size_t i = 0; i < l->n && !r; i++) {
		struct fs_lock_model *m = l->models[i];
		const struct fs_lock_model *o = fs_lock_find(old, m->is.hub,
			m->is.repo, m->is.rev);

		for (size_t k = 0; o && k < o->found.n && !r; k++) {
			const struct listing_entry *e = &o->found.v[k];
			const struct listing_entry *a =
				listing_find(&m->files, e->path);
			const struct listing_entry *b =
				listing_find(&o->files, e->path);

			if (a && b && same_file(a, b))
				r = listing_add(&m->found, e->path, e->kind,
					e->size, &e->id);
		}
		listing_sort(&m->found);
	}
	return r;
}

/* ---- files ------------------------------------------------------------------------ */

int fs_lock_read(const char *file, struct fs_lock **ret, struct error *why)
{
	struct buf b cleanup_buf = BUF_INIT(FS_LOCK_MAX);
	int r = io_read_file(AT_FDCWD, file, &b);

	if (r)
		return error_set(why, r, "%s: %s", file, strerror(-r));
	return fs_lock_parse(file, b.len ? (const char *)b.data : "", b.len,
		ret, why);
}

int fs_lock_write(struct fs_lock *l, const char *file,
	struct error *why)
{
	struct buf b cleanup_buf = BUF_INIT(FS_LOCK_MAX);
	int r = fs_lock_text(l, &b);

	if (!r)
		r = io_publish(AT_FDCWD, file, b.data, b.len, 0666);
	return r ? error_set(why, r, "%s: %s", file, strerror(-r)) : 0;
}

size_t fs_lock_count(const struct fs_lock *l)
{
	return l->n;
}

static bool is_strong(const struct fs_lock_model *m,
	const struct listing_entry *e)
{
	return objid_is_sha256(&e->id) || listing_find(&m->found, e->path);
}

static const struct fs_hub *hub_of(struct fs *fs, const char *name)
{
	for (unsigned i = 0; i < fs->n_hubs; i++)
		if (!strcmp(fs->hubs[i].name, name))
			return &fs->hubs[i];
	return NULL;
}

/* As a path of the mount, or as it stands in the file. */
static int show_name(struct fs *fs, const struct fs_lock_name *n,
	struct buf *ret)
{
	const struct fs_hub *hub = hub_of(fs, n->hub);
	char *path = hub ? fs_shown_path(hub, n->repo, n->rev) : NULL;
	int r = path ? buf_append_str(ret, path) : fs_lock_name_text(n, ret);

	free(path);
	return r;
}

int fs_lock_tell(struct fs *fs, const struct fs_lock *l, size_t i,
	struct buf *name, struct fs_lock_counts *ret)
{
	const struct fs_lock_model *m = l->models[i];
	struct fs_lock_counts c = { .staged = m->n_staged,
		.mtime = m->mtime, .revision = m->is.rev };
	int r = 0;

	for (size_t k = 0; k < m->files.n; k++) {
		const struct listing_entry *e = &m->files.v[k];

		c.files++;
		c.weak += !is_strong(m, e);
		if (e->size != LISTING_SIZE_UNKNOWN)
			c.bytes += e->size;
	}
	for (size_t k = 0; k < m->n_names && !r; k++) {
		r = k ? buf_append_str(name, " ") : 0;
		if (!r)
			r = show_name(fs, &m->names[k], name);
	}
	*ret = c;
	return r;
}

/* ---- comparing one ------------------------------------------------------------------ */

/* The listing as the hub gives it now, whatever the index remembers. */
static int check_hub(const struct fs_hub *hub,
	const struct fs_lock_model *m, struct error *why)
{
	struct waiting w = WAITING_INIT;
	int r;

	fetch_list(hub->fetch, m->is.repo, m->is.rev, listing_came, &w);
	r = await(&w);
	if (r == -ENODATA)
		return 0;	/* its archive is opened by snap_wait() */
	if (r) {
		*why = w.why;
		return r;
	}
	listing_sort(&w.listing);
	r = fs_lock_compare(m, &w.listing, why);
	listing_done(&w.listing);
	return r;
}

/* Bytes that came before the lock file was in force. */
static int check_cached(struct fs *fs, const struct fs_lock_model *m,
	struct fs_snap *s, struct error *why)
{
	for (size_t i = 0; i < s->own.n; i++) {
		const struct listing_entry *e = &s->own.v[i];
		struct objid want = fs_lock_id(m, e), have;

		if (e->kind != LISTING_FILE || !objid_is_sha256(&want) ||
			found_id(fs, s, e, &have) || objid_match(&want, &have))
			continue;
		return error_set(why, -EIO, "%s: line %u: %s/%s: %.200s: the "
			"bytes in the cache have another SHA-256",
			m->lock->file, m->line, m->is.hub, m->is.repo,
			e->path);
	}
	return 0;
}

static int check_staged(struct fs *fs, const struct fs_lock_model *m,
	const struct fs_snap *s, struct error *why)
{
	const struct stage_repo repo = fs_snap_repo(s);
	const struct fs_plugin *plugin;
	char key[65];
	int r = 0;

	for (size_t i = 0; i < m->n_staged && !r; i++) {
		const char *path = m->staged[i].path;

		r = fs_plan_key(&fs->plans, &repo, s->revision, path, key,
			&plugin);
		r = r ? error_set(why, r, "%s: line %u: %.200s: is no longer "
				"made", m->lock->file, m->line, path) :
			fs_lock_staged_check(m, path, key, why);
	}
	return r;
}

int fs_lock_check_wait(struct fs *fs, size_t i, struct error *why)
{
	const struct fs_lock_model *m = fs->resolver.lock_file->models[i];
	const struct fs_hub *hub = hub_of(fs, m->is.hub);
	struct fs_snap *s = NULL;
	int r = 0;

	if (!hub)
		return error_set(why, -ENOENT, "%s: line %u: there is no hub "
			"%s", m->lock->file, m->line, m->is.hub);
	if (!fs->offline)
		r = check_hub(hub, m, why);
	if (!r) {
		r = snap_wait(fs, hub, m->is.repo, m->is.rev, &s);
		if (r) {
			struct buf text cleanup_buf = BUF_INIT(4096);
			char *path = fs_shown_path(hub, m->is.repo, m->is.rev);

			if (path)
				(void) fs_errors_find(&fs->errors, path, &text);
			free(path);
			return error_set(why, r, "%s", text.len ?
				(const char *)text.data : strerror(-r));
		}
	}
	if (!r)
		r = check_cached(fs, m, s, why);
	if (!r)
		r = check_staged(fs, m, s, why);
	fs_snap_unref(s);
	return r;
}

const struct fs_lock *fs_lock_in_force(struct fs *fs)
{
	return fs->resolver.lock_file;
}
