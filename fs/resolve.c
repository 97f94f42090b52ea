/*
 * One entry a name. The thread that finds no answer becomes the asker; all who
 * come meanwhile wait in its list. The index is read on the asker's thread (a
 * disk look-up) and written on a pool thread, because the hub's answer comes on
 * the engine's, which must not wait for a disk.
 */
#include "config.h"

#include "fs/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/name.h"

#define SWEEP_MS 60000
#define KEEP_MS 600000

struct asked_name {
	struct fs_resolver *resolver;
	const struct fs_hub *hub;
	char *key, *repo, *rev;		/* constant */
	bool asking;			/* resolver lock */
	struct fs_waiter *waiters;	/* resolver lock */
	struct fs_snap *snap;		/* resolver lock; a reference, or NULL */
	int err;			/* resolver lock; 0 when snap is right */
	uint64_t until;			/* resolver lock; clock_ms; believe it */
	uint64_t used;			/* resolver lock; clock_ms */
};

/* The hub's answer on its way from the engine thread to a pool thread. */
struct answer {
	struct pool_job job;
	struct asked_name *name;
	int err;
	struct error why;
	struct fetch_snapshot *snap;
};

int fs_waiter_add(struct fs_waiter **list, void (*cb)(void), void *arg)
{
	struct fs_waiter *w = malloc(sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct fs_waiter){ NULL, cb, arg };
	while (*list)
		list = &(*list)->next;
	*list = w;
	return 0;
}

bool fs_unreachable(int err)
{
	return err == -EHOSTUNREACH || err == -ETIMEDOUT || err == -EIO ||
		err == -EPROTO || err == -ECANCELED;
}

void fs_resolver_init(struct fs_resolver *r)
{
	pthread_mutex_init(&r->lock, NULL);
	memset(&r->names, 0, sizeof r->names);
	memset(&r->snaps, 0, sizeof r->snaps);
	memset(&r->owners, 0, sizeof r->owners);
	r->swept = clock_ms();
}

static void name_free(struct asked_name *n)
{
	fs_snap_unref(n->snap);
	free(n->key);
	free(n->repo);
	free(n->rev);
	free(n);
}

static int free_each(void *arg, const char *key, void *value)
{
	(void) arg;
	(void) key;
	name_free(value);
	return 0;
}

void fs_resolver_done(struct fs_resolver *r)
{
	map_each(&r->names, free_each, NULL);
	map_done(&r->names);
	fs_owners_done(r);
	map_done(&r->snaps);
	pthread_mutex_destroy(&r->lock);
}

/* ---- old names go ------------------------------------------------------------ */

struct sweep {
	uint64_t before;
	struct asked_name *old[64];
	size_t n;
};

static int collect_old(void *arg, const char *key, void *value)
{
	struct sweep *s = arg;
	struct asked_name *n = value;

	(void) key;
	if (!n->asking && n->used < s->before)
		s->old[s->n++] = n;
	return s->n == sizeof(s->old) / sizeof(s->old[0]);
}

/* What nobody asked for lately leaves memory; the index still has it. */
static void sweep(struct fs_resolver *r)
{
	uint64_t now = clock_ms();
	struct sweep s = { .n = 0 };

	pthread_mutex_lock(&r->lock);
	if (now - r->swept > SWEEP_MS && now > KEEP_MS) {
		r->swept = now;
		s.before = now - KEEP_MS;
		map_each(&r->names, collect_old, &s);
		for (size_t i = 0; i < s.n; i++)
			map_del(&r->names, s.old[i]->key);
	}
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < s.n; i++)
		name_free(s.old[i]);
}

/* ---- entries ----------------------------------------------------------------- */

static struct asked_name *name_new(struct fs_resolver *r,
	const struct fs_hub *hub, const char *repo, const char *rev, char *key)
{
	struct asked_name *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->resolver = r;
	n->hub = hub;
	n->key = strdup(key);
	n->repo = strdup(repo);
	n->rev = strdup(rev);
	if (!n->key || !n->repo || !n->rev || map_put(&r->names, key, n, NULL)) {
		name_free(n);
		return NULL;
	}
	return n;
}

struct fs_snap *fs_resolve_known(struct fs_resolver *r,
	const struct fs_hub *hub, const char *repo, const char *rev)
{
	char *key = fs_name_key(hub->name, repo, rev);
	struct asked_name *n;
	struct fs_snap *s = NULL;

	if (!key)
		return NULL;
	pthread_mutex_lock(&r->lock);
	n = map_get(&r->names, key);
	if (n && n->snap) {
		s = n->snap;
		s->refs++;
	}
	pthread_mutex_unlock(&r->lock);
	free(key);
	return s;
}

void fs_resolve_expire(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev)
{
	char *key = fs_name_key(hub->name, repo, rev);
	struct asked_name *n;

	if (!key)
		return;
	pthread_mutex_lock(&r->lock);
	n = map_get(&r->names, key);
	if (!n) /* an entry that is not new does not believe the disk */
		n = name_new(r, hub, repo, rev, key);
	if (n)
		n->until = 0;
	pthread_mutex_unlock(&r->lock);
	free(key);
}

/* ---- answers ----------------------------------------------------------------- */

/* Give the answer to all who wait. snap: a reference, taken over. err and no
 * snap: a refusal; err and snap: the old answer, used though asking failed. */
static void settle(struct asked_name *n, int err, struct fs_snap *snap,
	uint64_t believe_ms)
{
	struct fs_resolver *r = n->resolver;
	struct fs_waiter *list, *w;
	struct fs_snap *old;

	pthread_mutex_lock(&r->lock);
	old = n->snap;
	n->snap = snap;
	n->err = snap ? 0 : err;
	n->until = clock_ms() + believe_ms;
	n->asking = false;
	list = n->waiters;
	n->waiters = NULL;
	for (w = list; w && snap; w = w->next)
		snap->refs++;
	pthread_mutex_unlock(&r->lock);
	while ((w = list)) {
		list = w->next;
		((fs_snap_cb *)w->cb)(w->arg, snap ? 0 : err, snap);
		free(w);
	}
	fs_snap_unref(old);
}

/* Was it asked only to learn whether this is the name of an owner? */
static bool perhaps_owner(const struct asked_name *n)
{
	return n->hub->grammar == FETCH_OWNERS && !strchr(n->repo, '/') &&
		!*n->rev;
}

static uint64_t believe_refusal(const struct asked_name *n, int err)
{
	if ((err == -ENOENT || err == -EACCES) && perhaps_owner(n))
		return FS_NOT_A_REPO_MS;
	return FS_NEGATIVE_MS;
}

/* What memory or the index says, however old; NULL: nothing. A reference. */
static struct fs_snap *old_answer(struct asked_name *n, int64_t *ret_age)
{
	struct fs_resolver *r = n->resolver;
	struct buf json = BUF_INIT(64 * 1024);
	struct fetch_snapshot *f = NULL;
	struct fs_snap *s = NULL;

	if (cache_index_get(r->cache, CACHE_KIND_REVISION, n->key, &json,
			ret_age) == 0 &&
		fetch_snapshot_from_json((const char *)json.data, json.len,
			&f) == 0)
		s = fs_snap_get(r, n->hub, f);
	fetch_snapshot_free(f);
	buf_done(&json);
	return s;
}

static void store_answer(struct asked_name *n, const struct fetch_snapshot *f)
{
	char *json = fetch_snapshot_to_json(f);

	if (json)
		(void) cache_index_put(n->resolver->cache, CACHE_KIND_REVISION,
			n->key, json, strlen(json));
	free(json);
}

char *fs_shown_path(const struct fs_hub *hub, const char *repo,
	const char *rev)
{
	char name[PATH_NAME_MAX + 1], *path = NULL;
	int r;

	if (hub->grammar == FETCH_SINGLE)
		return strdup(hub->name);
	if (hub->grammar == FETCH_VERSIONS || !*rev ||
		fs_name_join("", rev, name))
		r = asprintf(&path, "%s/%s%s%s", hub->name, repo,
			*rev ? "/" : "", rev);
	else
		r = asprintf(&path, "%s/%s%s", hub->name, repo, name);
	return r < 0 ? NULL : path;
}

static void note_error(const struct asked_name *n, int err,
	const struct error *why)
{
	char *path = fs_shown_path(n->hub, n->repo, n->rev);

	if (path && err)
		fs_errors_add(n->resolver->errors, path, fs_errno(err),
			why->text);
	else if (path)
		fs_errors_clear(n->resolver->errors, path);
	free(path);
}

static void take_answer(struct pool_job *job)
{
	struct answer *a = (struct answer *)job;
	struct asked_name *n = a->name;
	struct fs_snap *s = NULL;
	int64_t age;

	if (!a->err) {
		note_error(n, 0, NULL);
		store_answer(n, a->snap);
		s = fs_snap_get(n->resolver, n->hub, a->snap);
		settle(n, -ENOMEM, s, FS_BRANCH_FRESH_S * 1000);
	} else if (fs_unreachable(a->err) && (s = old_answer(n, &age))) {
		log_debug("%s: %s; the last answer is used", n->key,
			error_text(&a->why, a->err));
		settle(n, a->err, s, FS_STALE_RETRY_MS);
	} else {
		if (!perhaps_owner(n))
			note_error(n, a->err, &a->why);
		settle(n, a->err, NULL, believe_refusal(n, a->err));
	}
	fetch_snapshot_free(a->snap);
	free(a);
}

/* On the engine thread. */
static void got_answer(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct answer *a = arg;

	a->err = err;
	if (why)
		a->why = *why;
	a->snap = snap;
	pool_add(a->name->resolver->work, &a->job);
}

/* May the hub be asked although there is no network? The one repository of a
 * hub is often a catalogue that its adapter carries; if its revision does not
 * name its content, its listing is not kept (fetch_is_local). What does need
 * the network is refused by the engine. */
static bool ask_offline(const struct asked_name *n)
{
	return n->hub->grammar == FETCH_SINGLE;
}

/* Nobody else asks for n now, and none of the locks is held. */
static void ask(struct asked_name *n, bool believe_disk)
{
	struct fs_resolver *r = n->resolver;
	struct fs_snap *s;
	struct answer *a;
	int64_t age = 0;
	bool offline = r->offline && !ask_offline(n);

	s = old_answer(n, &age);
	if (s && (offline || fs_name_is_commit(n->rev) ||
			(believe_disk && age < FS_BRANCH_FRESH_S))) {
		uint64_t left = FS_BRANCH_FRESH_S;

		if (age > 0 && age < FS_BRANCH_FRESH_S)
			left = (uint64_t)(FS_BRANCH_FRESH_S - age);
		settle(n, 0, s, left * 1000);
		return;
	}
	fs_snap_unref(s);
	if (offline) {
		settle(n, -EHOSTUNREACH, NULL, FS_NEGATIVE_MS);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		settle(n, -ENOMEM, NULL, 0);
		return;
	}
	a->job.run = take_answer;
	a->name = n;
	fetch_resolve(n->hub->fetch, n->repo, n->rev, got_answer, a);
}

/* Under the lock. -EINPROGRESS: the caller is in the list; *ask_now: and must
 * ask. Otherwise the answer, with a reference in *ret. */
static int join(struct asked_name *n, fs_snap_cb *cb, void *arg,
	bool *ask_now, struct fs_snap **ret)
{
	uint64_t now = clock_ms();

	n->used = now;
	if (!n->asking && (n->snap || n->err)) {
		bool fixed = n->snap && fs_name_is_commit(n->rev);

		if (now < n->until || fixed) {
			*ret = n->snap;
			if (n->snap)
				n->snap->refs++;
			return n->snap ? 0 : n->err;
		}
	}
	if (fs_waiter_add(&n->waiters, (void (*)(void))cb, arg))
		return -ENOMEM;
	*ask_now = !n->asking;
	n->asking = true;
	return -EINPROGRESS;
}

void fs_resolve(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, fs_snap_cb *cb, void *arg)
{
	char *key = fs_name_key(hub->name, repo, rev);
	struct asked_name *n = NULL;
	struct fs_snap *snap = NULL;
	bool ask_now = false, first = false;
	int err = -ENOMEM;

	sweep(r);
	if (key) {
		pthread_mutex_lock(&r->lock);
		n = map_get(&r->names, key);
		first = !n;
		if (!n)
			n = name_new(r, hub, repo, rev, key);
		if (n)
			err = join(n, cb, arg, &ask_now, &snap);
		pthread_mutex_unlock(&r->lock);
	}
	free(key);
	if (err != -EINPROGRESS)
		cb(arg, err, snap);
	else if (ask_now)
		ask(n, first);
}
