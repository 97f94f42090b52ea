/*
 * Searching every hub that can be: those with a search of their own are asked
 * all at once, the catalogues are looked through here.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/tree.h"

struct searching;

struct one {			/* a hub */
	struct searching *all;
	const struct fs_hub *hub;
	struct fetch_hits hits;
	struct fs_snap *snap;	/* of a catalogue */
	int err;
	struct error why;
};

struct searching {
	struct fs *fs;
	const char *words;
	size_t limit;
	int (*found)(void *arg, const struct fs_found *f);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned left;		/* lock */
};

/* ---- asking -------------------------------------------------------------------- */

static void ended(struct one *o, int err, const struct error *why)
{
	struct searching *s = o->all;

	pthread_mutex_lock(&s->lock);
	o->err = err;
	if (why)
		o->why = *why;
	s->left--;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void hits_came(void *arg, int err, const struct error *why,
	const struct fetch_hits *hits)
{
	struct one *o = arg;

	for (size_t i = 0; !err && i < hits->n; i++) {
		char *repo = strdup(hits->v[i].repo);
		char *task = hits->v[i].task ? strdup(hits->v[i].task) : NULL;

		o->hits.v[i] = hits->v[i];
		o->hits.v[i].repo = repo;
		o->hits.v[i].task = task;
		o->hits.n = i + 1;
		if (!repo)
			err = -ENOMEM;
	}
	ended(o, err, why);
}

static void catalogue_listed(void *arg, int err, struct fs_snap *snap)
{
	struct one *o = arg;

	o->snap = snap;
	ended(o, err, NULL);
}

/* False: this hub cannot be searched now. */
static bool start(struct one *o)
{
	struct searching *s = o->all;

	if (o->hub->grammar == FETCH_SINGLE) {
		fs_resolve_listed(&s->fs->resolver, o->hub, FETCH_THE_REPO, "",
			catalogue_listed, o);
		return true;
	}
	if (s->fs->offline || !fetch_can_search(o->hub->fetch))
		return false;
	o->hits.v = calloc(s->limit, sizeof(*o->hits.v));
	o->hits.max = s->limit;
	if (o->hits.v)
		fetch_search(o->hub->fetch, s->words, s->limit, hits_came, o);
	else
		ended(o, -ENOMEM, NULL);
	return true;
}

/* ---- telling -------------------------------------------------------------------- */

static int tell(struct searching *s, const struct fs_hub *hub,
	const char *inner, const struct fs_found *more)
{
	struct fs_found f = *more;
	char *path = path_join(hub->name, inner);
	int r;

	if (!path)
		return -ENOMEM;
	f.path = path;
	r = s->found(s->arg, &f);
	free(path);
	return r;
}

static int tell_hits(struct searching *s, const struct one *o)
{
	int r = 0;

	for (size_t i = 0; i < o->hits.n && !r; i++) {
		const struct fetch_hit *h = &o->hits.v[i];
		struct fs_found f = { .task = h->task, .size = UINT64_MAX,
			.downloads = h->downloads, .likes = h->likes };

		r = tell(s, o->hub, h->repo, &f);
	}
	return r;
}

static int tell_catalogue(struct searching *s, const struct one *o)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < o->snap->own.n && n < s->limit && !r; i++) {
		const struct listing_entry *e = &o->snap->own.v[i];
		struct fs_found f = { .size = e->size, .downloads = -1,
			.likes = -1 };

		if (e->kind != LISTING_FILE || !fetch_words_in(e->path, s->words))
			continue;
		n++;
		r = tell(s, o->hub, e->path, &f);
	}
	return r;
}

/* ---- what is known without a hub --------------------------------------------------- */

struct touched {
	struct searching *s;
	const char *only;
	struct buf paths;	/* NUL-terminated one after the other */
	size_t n;
};

static int see(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	struct touched *t = arg;
	size_t n = t->only ? strlen(t->only) : 0;

	(void) value;
	(void) len;
	(void) age;
	if (t->n >= t->s->limit || !fetch_words_in(key, t->s->words) ||
		(n && (strncmp(key, t->only, n) || key[n] != '/')))
		return 0;
	t->n++;
	return buf_append(&t->paths, key, strlen(key) + 1);
}

static int tell_touched(struct searching *s, const char *only)
{
	struct touched t = { .s = s, .only = only,
		.paths = BUF_INIT(64 << 20) };
	struct fs_found f = { .size = UINT64_MAX, .downloads = -1,
		.likes = -1 };
	int r = cache_index_each(s->fs->cache, CACHE_KIND_TOUCHED, "", see,
		&t);

	for (size_t at = 0; at < t.paths.len && !r;) {
		f.path = (const char *)t.paths.data + at;
		at += strlen(f.path) + 1;
		r = s->found(s->arg, &f);
	}
	buf_done(&t.paths);
	return r;
}

/* ---- all of it ------------------------------------------------------------------------ */

static int search_all(struct searching *s, struct one *v, const char *only,
	unsigned *ret_n)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->fs->n_hubs; i++) {
		struct one *o = &v[n];

		o->hub = &s->fs->hubs[i];
		o->all = s;
		if (only && strcmp(only, o->hub->name))
			continue;
		pthread_mutex_lock(&s->lock);
		s->left++;
		pthread_mutex_unlock(&s->lock);
		if (start(o)) {
			n++;
			continue;
		}
		pthread_mutex_lock(&s->lock);
		s->left--;
		pthread_mutex_unlock(&s->lock);
		if (only && !s->fs->offline)
			return -ENOTSUP;
	}
	pthread_mutex_lock(&s->lock);
	while (s->left)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
	*ret_n = n;
	return 0;
}

static bool has_hub(const struct fs *fs, const char *name)
{
	for (unsigned i = 0; i < fs->n_hubs; i++)
		if (!strcmp(fs->hubs[i].name, name))
			return true;
	return false;
}

int fs_search_wait(struct fs *fs, const char *words, const char *only,
	size_t limit, int (*found)(void *arg, const struct fs_found *f),
	void (*failed)(void *arg, const char *hub, int err, const char *why),
	void *arg)
{
	struct searching s = { .fs = fs, .words = words, .limit = limit,
		.found = found, .arg = arg,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
	struct one *v = calloc(fs->n_hubs + 1, sizeof(*v));
	unsigned n = 0, good = 0;
	int r = v ? 0 : -ENOMEM;

	if (!r && only && !has_hub(fs, only))
		r = -ENOENT;
	if (!r)
		r = search_all(&s, v, only, &n);
	for (unsigned i = 0; i < n; i++) {
		struct one *o = &v[i];

		if (o->err)
			failed(arg, o->hub->name, fs_errno(o->err),
				error_text(&o->why, o->err));
		else if (!r)
			r = o->snap ? tell_catalogue(&s, o) : tell_hits(&s, o);
		good += !o->err;
		fetch_hits_done(&o->hits);
		fs_snap_unref(o->snap);
	}
	free(v);
	if (!r && fs->offline) {
		r = tell_touched(&s, only);
		good++;
	}
	return r ? r : (int)good;
}
