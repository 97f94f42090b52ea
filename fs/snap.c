/*
 * Snapshots: an immutable commit of a repository, and its listing, which is
 * loaded when somebody looks inside. A snapshot lives as long as a node or a
 * name in memory means it; the map finds it meanwhile and counts nothing, so
 * the last reference is given back under the resolver lock.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "fs/lock.h"
#include "fs/measure.h"
#include "fs/name.h"
#include "fs/names.h"
#include "fs/resolve.h"

#define LISTING_JSON_MAX (256 << 20)	/* bytes */
#define WHOLE "whole"	/* instead of JSON: of the archive, while offline */

/* One loading: from the index on a pool thread, else from the hub and back. */
struct loading {
	struct pool_job job;
	struct fs_snap *snap;		/* a reference */
	unsigned contradicted;		/* the resolver's, when it began */
	int err;
	struct error why;
	struct listing got;
};

struct fs_snap *fs_snap_ref(struct fs_snap *s)
{
	pthread_mutex_lock(&s->resolver->lock);
	s->refs++;
	pthread_mutex_unlock(&s->resolver->lock);
	return s;
}

static void snap_free(struct fs_snap *s)
{
	listing_done(&s->own);
	listing_done(&s->layout);
	fs_names_free(s->names);
	fs_archive_free(s->archive);
	fs_facts_free(s);
	free(s->key);
	free(s->repo);
	free(s->revision);
	free(s->whole.path);
	free(s);
}

void fs_snap_unref(struct fs_snap *s)
{
	struct fs_resolver *r;
	bool last;

	if (!s)
		return;
	r = s->resolver;
	pthread_mutex_lock(&r->lock);
	last = --s->refs == 0;
	if (last)
		map_del(&r->snaps, s->key);
	pthread_mutex_unlock(&r->lock);
	if (last)
		snap_free(s);
}

static struct fs_snap *snap_new(struct fs_resolver *r,
	const struct fs_hub *hub, const struct fetch_snapshot *f,
	const char *key)
{
	struct fs_snap *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->resolver = r;
	s->refs = 1;
	s->hub = hub;
	s->mtime = f->mtime;
	s->locked = fs_lock_find(r->lock_file, hub->name, f->repo, f->revision);
	s->key = strdup(key);
	s->repo = strdup(f->repo);
	s->revision = strdup(f->revision);
	s->whole.path = strdup(FETCH_ARCHIVE_PATH);
	s->whole.size = LISTING_SIZE_UNKNOWN;
	s->scope = s->revision;
	if (s->key && s->repo && s->revision && s->whole.path &&
		!map_put(&r->snaps, key, s, NULL))
		return s;
	snap_free(s);
	return NULL;
}

struct fs_snap *fs_snap_get(struct fs_resolver *r, const struct fs_hub *hub,
	const struct fetch_snapshot *f)
{
	char *key = fs_name_key(hub->name, f->repo, f->revision);
	struct fs_snap *s;

	if (!key)
		return NULL;
	fetch_recall(hub->fetch, f);
	pthread_mutex_lock(&r->lock);
	s = map_get(&r->snaps, key);
	if (s)
		s->refs++;
	else
		s = snap_new(r, hub, f, key);
	pthread_mutex_unlock(&r->lock);
	free(key);
	return s;
}

/* Under the lock: that of what is in an archive. */
static struct fs_snap *inside_new(struct fs_snap *outer,
	const struct listing_entry *e, unsigned nth, const char *key)
{
	struct fetch_snapshot f = { .repo = outer->repo,
		.revision = outer->revision, .mtime = outer->mtime };
	struct fs_snap *s = snap_new(outer->resolver, outer->hub, &f, key);

	if (!s)
		return NULL;
	s->scope = s->key;
	s->archive = fs_archive_new(s, outer, e, nth);
	if (s->archive)
		return s;
	map_del(&outer->resolver->snaps, key);
	snap_free(s);
	return NULL;
}

struct fs_snap *fs_archive_snap(struct fs_snap *outer,
	const struct listing_entry *e)
{
	struct fs_resolver *r = outer->resolver;
	unsigned nth = fs_measure_nth(outer, e);
	struct fs_snap *s;
	char *key, number[16] = "";

	if (nth)
		(void) snprintf(number, sizeof(number), "//%u", nth);
	if (asprintf(&key, "%s/%s%s", outer->key, e->path, number) < 0)
		return NULL;
	pthread_mutex_lock(&r->lock);
	s = map_get(&r->snaps, key);
	if (s)
		s->refs++;
	else
		s = inside_new(outer, e, nth, key);
	pthread_mutex_unlock(&r->lock);
	free(key);
	return s;
}

static bool preferred(const void *arg, const char *path)
{
	const struct fs_snap *s = arg;
	struct fetch_known k;

	return !s->archive && fetch_known(s->hub->fetch, path, &k) &&
		k.preferred;
}

static struct stage_repo repo_of(const struct fs_snap *s,
	const struct listing *own)
{
	return (struct stage_repo){ .hub = s->hub->name, .repo = s->repo,
		.listing = own, .preferred = preferred, .arg = s };
}

struct stage_repo fs_snap_repo(const struct fs_snap *s)
{
	return repo_of(s, &s->own);
}

/* ---- loading ------------------------------------------------------------------ */

static void loaded(struct loading *l, int err)
{
	struct fs_snap *s = l->snap;
	struct fs_waiter *list, *w;

	pthread_mutex_lock(&s->resolver->lock);
	s->loading = false;
	s->loads++;
	s->err = err;
	/* Now that a size is known to be wrong, the next try may do better. */
	s->err_at = atomic_load(&s->resolver->contradicted) ==
		l->contradicted ? clock_ms() : 0;
	list = s->waiters;
	s->waiters = NULL;
	for (w = list; w && !err; w = w->next)
		s->refs++;
	pthread_mutex_unlock(&s->resolver->lock);
	while ((w = list)) {
		list = w->next;
		((fs_snap_cb *)w->cb)(w->arg, err, err ? NULL : s);
		free(w);
	}
	fs_snap_unref(s);
	free(l);
}

/* Under every name it has. */
static void note_locked(struct fs_snap *s, int err, const struct error *why)
{
	struct fs_errors *errors = s->resolver->errors;
	const struct fs_lock_model *m = s->locked;

	for (size_t i = 0; i <= m->n_names; i++) {
		const struct fs_lock_name *n = i < m->n_names ? &m->names[i] :
			&m->is;
		char *path = fs_shown_path(s->hub, n->repo, n->rev);

		if (path)
			fs_errors_add(errors, path, err, why->text);
		free(path);
	}
}

/* The repository's files are there; say what staging adds. */
static void lay_out(struct loading *l)
{
	struct fs_snap *s = l->snap;
	struct stage_repo repo = repo_of(s, &l->got);
	int err = s->locked ? fs_lock_compare(s->locked, &l->got, &l->why) : 0;

	if (err)
		note_locked(s, err, &l->why);
	else
		err = stage_layout(s->resolver->stage, &repo, &s->layout);
	if (!err)
		err = fs_plugins_layout(s->resolver->plugins, &repo,
			&s->layout);
	if (err) {
		listing_done(&l->got);
		loaded(l, err);
		return;
	}
	s->own = l->got;
	atomic_store(&s->listed, true);
	loaded(l, 0);
}

/* Without the hub, a lock file is listing enough. */
static int copy_locked(const struct fs_lock_model *m, struct listing *ret)
{
	int r = 0;

	for (size_t i = 0; i < m->files.n && !r; i++)
		r = listing_add(ret, m->files.v[i].path, LISTING_FILE,
			m->files.v[i].size, &m->files.v[i].id);
	listing_sort(ret);
	if (r)
		listing_done(ret);
	return r;
}

static void note_error(const struct loading *l)
{
	const struct fs_snap *s = l->snap;
	char *path = fs_shown_path(s->hub, s->repo, s->revision), *inside;

	if (path && s->archive && (inside = path_join(path,
			fs_archive_path(s->archive)))) {
		free(path);
		path = inside;
	}
	if (path)
		fs_errors_add(s->resolver->errors, path, fs_errno(l->err),
			l->why.text);
	free(path);
}

/* Waits for the archive's bytes. */
static void unpack(struct pool_job *job)
{
	struct loading *l = (struct loading *)job;

	l->err = fs_archive_list(l->snap->archive, &l->got, &l->why);
	if (!l->err) {
		lay_out(l);
		return;
	}
	note_error(l);
	loaded(l, l->err == -EBADMSG ? -EIO : l->err);
}

static void load_archive(struct loading *l)
{
	if (!fs_archive_recall(l->snap->archive, &l->got)) {
		lay_out(l);
		return;
	}
	l->job.run = unpack;
	fs_archive_later(l->snap, &l->job);
}

/* The hub lists nothing: look into its archive of the whole. */
static int take_whole(struct loading *l)
{
	struct fs_snap *s = l->snap;

	s->archive = fs_archive_new(s, s, &s->whole, 0);
	if (!s->archive)
		return -ENOMEM;
	load_archive(l);
	return 0;
}

static void take_listing(struct pool_job *job)
{
	struct loading *l = (struct loading *)job;
	struct fs_resolver *r = l->snap->resolver;
	char *json;
	int err;

	if (l->err && l->snap->locked && fs_unreachable(l->err) &&
		!copy_locked(l->snap->locked, &l->got)) {
		lay_out(l);
		return;
	}
	if (l->err == -ENODATA) {
		(void) cache_index_put(r->cache, CACHE_KIND_LISTING,
			l->snap->key, WHOLE, strlen(WHOLE));
		err = take_whole(l);
		if (!err)
			return;		/* and l is not ours any more */
		l->err = err;
	}
	if (l->err) {
		note_error(l);
		loaded(l, l->err);
		return;
	}
	json = fetch_is_local(l->snap->hub->fetch) ? NULL :
		listing_to_json(&l->got);
	if (json)
		(void) cache_index_put(r->cache, CACHE_KIND_LISTING,
			l->snap->key, json, strlen(json));
	free(json);
	lay_out(l);
}

/* On the engine thread. */
static void got_listing(void *arg, int err, const struct error *why,
	struct listing *got)
{
	struct loading *l = arg;

	l->err = err;
	if (why)
		l->why = *why;
	if (!err) {
		l->got = *got;
		memset(got, 0, sizeof(*got));
	}
	l->job.run = take_listing;
	pool_add(l->snap->resolver->work, &l->job);
}

static void load(struct pool_job *job)
{
	struct loading *l = (struct loading *)job;
	struct fs_snap *s = l->snap;
	struct fs_resolver *r = s->resolver;
	struct buf json = BUF_INIT(LISTING_JSON_MAX);
	int err = -ENOENT;
	bool whole;

	if (s->archive) {
		load_archive(l);
		return;
	}
	/* what is on this disk anyhow is not kept, it may have grown since */
	if (!fetch_is_local(s->hub->fetch))
		err = cache_index_get(r->cache, CACHE_KIND_LISTING, s->key,
			&json, NULL);
	whole = !err && json.len == strlen(WHOLE) &&
		!memcmp(json.data, WHOLE, json.len);
	if (whole && r->offline) {
		buf_done(&json);
		if (take_whole(l))
			loaded(l, -ENOMEM);
		return;
	}
	/* It was so when nothing better could be had. */
	if (whole)
		err = -ENOENT;
	if (!err)
		err = listing_from_json((const char *)json.data, json.len,
			&l->got, NULL);
	buf_done(&json);
	if (!err) {
		listing_sort(&l->got);
		lay_out(l);
	} else if (r->offline && s->locked) {
		err = copy_locked(s->locked, &l->got);
		if (err)
			loaded(l, err);
		else
			lay_out(l);
	} else if (r->offline && s->hub->grammar != FETCH_SINGLE) {
		loaded(l, -EHOSTUNREACH);
	} else {
		fetch_list(s->hub->fetch, s->repo, s->revision, got_listing, l);
	}
}

/* Under the lock; as join() of resolve.c. */
static int join(struct fs_snap *s, fs_snap_cb *cb, void *arg, bool *load_now)
{
	if (atomic_load(&s->listed))
		return 0;
	if (!s->loading && s->err && clock_ms() - s->err_at < FS_NEGATIVE_MS)
		return s->err;
	if (fs_waiter_add(&s->waiters, (void (*)(void))cb, arg))
		return -ENOMEM;
	*load_now = !s->loading;
	s->loading = true;
	return -EINPROGRESS;
}

void fs_snap_list(struct fs_snap *s, fs_snap_cb *cb, void *arg)
{
	struct loading *l = calloc(1, sizeof(*l));
	bool load_now = false;
	int err = -ENOMEM;

	if (l) {
		pthread_mutex_lock(&s->resolver->lock);
		err = join(s, cb, arg, &load_now);
		if (!err || load_now)
			s->refs++; /* the callee's or the loading's */
		pthread_mutex_unlock(&s->resolver->lock);
	}
	if (load_now) {
		l->snap = s;
		l->contradicted = atomic_load(&s->resolver->contradicted);
		l->job.run = load;
		pool_add(s->resolver->work, &l->job);
		return;
	}
	free(l);
	if (err != -EINPROGRESS)
		cb(arg, err, err ? NULL : s);
}

/* ---- what a name means, listed --------------------------------------------------- */

struct meaning {
	struct fs_resolver *r;
	const struct fs_hub *hub;
	char *repo, *rev;
	fs_snap_cb *cb;
	void *arg;
	struct fs_snap *snap;		/* that is being listed; a reference */
	unsigned loads;			/* of snap, before that */
	bool again;			/* for the second time */
};

static void meaning_end(struct meaning *m, int err, struct fs_snap *snap)
{
	m->cb(m->arg, err, snap);
	fs_snap_unref(m->snap);
	free(m->repo);
	free(m->rev);
	free(m);
}

/* The hub has just said so, of what a name meant. */
static bool is_lost(const struct meaning *m, int err)
{
	bool now;

	if (err != -ENOENT || m->again || m->snap->locked ||
		fs_name_is_commit(m->rev))
		return false;
	pthread_mutex_lock(&m->r->lock);
	now = m->snap->loads != m->loads;
	pthread_mutex_unlock(&m->r->lock);
	return now;
}

static void meaning_resolved(void *arg, int err, struct fs_snap *snap);

static void meaning_listed(void *arg, int err, struct fs_snap *snap)
{
	struct meaning *m = arg;

	if (!is_lost(m, err)) {
		meaning_end(m, err, snap);
		return;
	}
	log_debug("%s: the hub does not know it any more", m->snap->key);
	m->again = true;
	fs_resolve_expire(m->r, m->hub, m->repo, m->rev, false);
	fs_resolve(m->r, m->hub, m->repo, m->rev, meaning_resolved, m);
}

static void meaning_resolved(void *arg, int err, struct fs_snap *snap)
{
	struct meaning *m = arg;

	fs_snap_unref(m->snap);
	m->snap = snap;
	if (err) {
		meaning_end(m, err, NULL);
		return;
	}
	pthread_mutex_lock(&m->r->lock);
	m->loads = snap->loads;
	pthread_mutex_unlock(&m->r->lock);
	fs_snap_list(snap, meaning_listed, m);
}

void fs_resolve_listed(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, fs_snap_cb *cb, void *arg)
{
	struct meaning *m = calloc(1, sizeof(*m));

	if (m) {
		*m = (struct meaning){ r, hub, strdup(repo), strdup(rev), cb,
			arg, NULL, 0, false };
		if (m->repo && m->rev)
			fs_resolve(r, hub, repo, rev, meaning_resolved, m);
		else
			meaning_end(m, -ENOMEM, NULL);
	} else {
		cb(arg, -ENOMEM, NULL);
	}
}
