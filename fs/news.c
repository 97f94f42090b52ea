/*
 * What names mean here and what they mean at the hubs now. Here is the answer
 * of the last look-up, or the lock file's; what a hub said when it was asked
 * for the comparison is kept apart, so that asking moves nobody's branch.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/lock.h"
#include "fs/name.h"
#include "fs/tree.h"

#define SNAPSHOT_MAX (1 << 20)	/* bytes in the index */

struct item {
	const struct fs_hub *hub;
	char *key, *repo, *rev;		/* as asked of the hub */
	char *path;			/* in the mount */
	struct fetch_snapshot *here, *there;	/* there: NULL, not known */
	int64_t here_age, age;		/* seconds; of their answers */
	bool locked;

	struct asking *asking;		/* while the hub is asked */
	int err;
	struct error why;
};

struct items {
	struct fs *fs;
	struct item *v;
	size_t n, room;
};

static void items_done(struct items *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct item *t = &l->v[i];

		free(t->key);
		free(t->repo);
		free(t->rev);
		free(t->path);
		fetch_snapshot_free(t->here);
		fetch_snapshot_free(t->there);
	}
	free(l->v);
}

/* ---- what is here ------------------------------------------------------------ */

/* Does this name never mean anything else? */
static bool is_fixed(const struct fs_hub *hub, const char *rev)
{
	return fs_name_is_commit(rev) ||
		(hub->grammar == FETCH_VERSIONS && *rev);
}

/* here is taken over. */
static int add(struct items *l, const struct fs_hub *hub, const char *repo,
	const char *rev, struct fetch_snapshot *here)
{
	struct item t = { .hub = hub, .here = here };

	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 32;
		struct item *v = reallocarray(l->v, room, sizeof(*v));

		if (v) {
			l->v = v;
			l->room = room;
		}
	}
	t.key = fs_name_key(hub->name, repo, rev);
	t.repo = strdup(repo);
	t.rev = strdup(rev);
	t.path = fs_shown_path(hub, repo, rev);
	if (l->n == l->room || !here || !t.key || !t.repo || !t.rev ||
		!t.path) {
		struct items lost = { .v = malloc(sizeof(t)), .n = 1 };

		if (lost.v) {
			lost.v[0] = t;
			items_done(&lost);
		}
		return -ENOMEM;
	}
	l->v[l->n++] = t;
	return 0;
}

static struct fetch_snapshot *snapshot_of(const struct fs_lock_model *m)
{
	struct fetch_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->repo = strdup(m->is.repo);
	s->revision = strdup(m->is.rev);
	s->mtime = m->mtime;
	if (s->repo && s->revision)
		return s;
	fetch_snapshot_free(s);
	return NULL;
}

static const struct fs_hub *hub_named(const struct fs *fs, const char *name,
	size_t len)
{
	for (unsigned i = 0; i < fs->n_hubs; i++)
		if (strlen(fs->hubs[i].name) == len &&
			!memcmp(fs->hubs[i].name, name, len))
			return &fs->hubs[i];
	return NULL;
}

static int add_locked(struct items *l)
{
	const struct fs_lock *lock = l->fs->lock;
	int r = 0;

	for (size_t i = 0; lock && i < lock->n; i++) {
		const struct fs_lock_model *m = lock->models[i];
		const struct fs_hub *hub = hub_named(l->fs, m->is.hub,
			strlen(m->is.hub));

		for (size_t k = 0; hub && k < m->n_names && !r; k++) {
			const struct fs_lock_name *n = &m->names[k];

			if (is_fixed(hub, n->rev))
				continue;
			r = add(l, hub, n->repo, n->rev, snapshot_of(m));
			if (!r)
				l->v[l->n - 1].locked = true;
		}
	}
	return r;
}

/* One "hub/repo@rev" of the index. The index is busy meanwhile. */
static int add_known(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	struct items *l = arg;
	const struct fs_hub *hub = NULL;
	struct fetch_snapshot *here = NULL;
	const char *at;
	char *repo;
	int r = 0;

	for (at = strchr(key, '/'); at && !hub; at = strchr(at + 1, '/')) {
		hub = hub_named(l->fs, key, (size_t)(at - key));
		if (hub)
			key = at + 1;
	}
	at = strchr(key, '@');
	if (!hub || !at || is_fixed(hub, at + 1))
		return 0;
	repo = strndup(key, (size_t)(at - key));
	if (repo && !fs_lock_find(l->fs->lock, hub->name, repo, at + 1) &&
		!fetch_snapshot_from_json(value, len, &here)) {
		r = add(l, hub, repo, at + 1, here);
		if (!r)
			l->v[l->n - 1].here_age = age;
	}
	free(repo);
	return r;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->path,
		((const struct item *)b)->path);
}

static int collect(struct fs *fs, struct items *ret)
{
	struct items l = { .fs = fs };
	int r = add_locked(&l);

	if (!r)
		r = cache_index_each(fs->cache, CACHE_KIND_REVISION, "",
			add_known, &l);
	if (r) {
		items_done(&l);
		return r;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_path);
	*ret = l;
	return 0;
}

/* ---- what is there ------------------------------------------------------------- */

/* The younger of what was asked for this and of what a look-up got. */
static void recall(struct fs *fs, struct item *t)
{
	struct buf json = BUF_INIT(SNAPSHOT_MAX);

	if (!cache_index_get(fs->cache, CACHE_KIND_NEWS, t->key, &json,
			&t->age) && (t->locked || t->age <= t->here_age))
		(void) fetch_snapshot_from_json((const char *)json.data,
			json.len, &t->there);
	buf_done(&json);
}

int fs_news_each(struct fs *fs, int (*fn)(void *arg, const struct fs_news *n),
	void *arg)
{
	struct items l;
	int r = collect(fs, &l);

	if (r)
		return r;
	for (size_t i = 0; i < l.n && !r; i++) {
		struct item *t = &l.v[i];
		const struct fetch_snapshot *there;
		struct fs_news n = { .name = t->path, .locked = t->locked,
			.here = t->here->revision,
			.here_mtime = t->here->mtime };

		recall(fs, t);
		there = t->there;
		if (!there && !t->locked) {
			there = t->here;
			t->age = t->here_age;
		}
		if (there) {
			n.hub = there->revision;
			n.hub_mtime = there->mtime;
			n.age = t->age;
			n.newer = strcmp(n.hub, n.here) != 0;
		}
		r = fn(arg, &n);
	}
	items_done(&l);
	return r;
}

/* ---- asking ---------------------------------------------------------------------- */

struct asking {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	size_t left;		/* lock */
};

/* On the engine thread. */
static void answered(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct item *t = arg;
	struct asking *a = t->asking;

	pthread_mutex_lock(&a->lock);
	t->err = err;
	if (why)
		t->why = *why;
	t->there = snap;
	a->left--;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

static void remember(struct fs *fs, const struct item *t)
{
	char *json = fetch_snapshot_to_json(t->there);

	if (json)
		(void) cache_index_put(fs->cache, CACHE_KIND_NEWS, t->key,
			json, strlen(json));
	free(json);
}

int fs_news_ask_wait(struct fs *fs, void (*failed)(void *arg,
	const char *name, int err, const char *why), void *arg)
{
	struct asking a = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
	struct items l;
	int r = fs->offline ? -EHOSTUNREACH : collect(fs, &l);

	if (r)
		return r;
	a.left = l.n;
	for (size_t i = 0; i < l.n; i++) {
		l.v[i].asking = &a;
		fetch_resolve(l.v[i].hub->fetch, l.v[i].repo, l.v[i].rev,
			answered, &l.v[i]);
	}
	pthread_mutex_lock(&a.lock);
	while (a.left)
		pthread_cond_wait(&a.cond, &a.lock);
	pthread_mutex_unlock(&a.lock);
	for (size_t i = 0; i < l.n; i++) {
		const struct item *t = &l.v[i];

		if (!t->err)
			remember(fs, t);
		else if (failed)
			failed(arg, t->path, fs_errno(t->err),
				error_text(&t->why, t->err));
	}
	items_done(&l);
	return 0;
}

/* ---- the line of /.omnihub/status ------------------------------------------------ */

struct count {
	uint64_t names, newer, unknown;
	int64_t oldest;
};

static int count(void *arg, const struct fs_news *n)
{
	struct count *c = arg;

	c->names++;
	c->newer += n->newer;
	c->unknown += !n->hub;
	if (n->hub && n->age > c->oldest)
		c->oldest = n->age;
	return 0;
}

int fs_news_status(struct fs *fs, struct buf *ret)
{
	struct count c = { 0 };
	int r = fs_news_each(fs, count, &c);

	if (r)
		return r;
	r = buf_printf(ret, "%-19s %" PRIu64 " of %" PRIu64 " names",
		"newer at the hub", c.newer, c.names);
	if (!r && c.names > c.unknown)
		r = buf_printf(ret, ", as told up to %" PRId64 " s ago",
			c.oldest);
	if (!r && c.unknown)
		r = buf_printf(ret, ", %" PRIu64 " never asked for", c.unknown);
	return r ? r : buf_append_str(ret, "\n");
}
