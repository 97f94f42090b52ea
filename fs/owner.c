/*
 * What an owner has: asked for only when somebody lists the directory, and
 * believed for minutes. The listing also answers whether a repository exists,
 * so that `ls -l` of an owner with a thousand models asks the hub once.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "fs/lock.h"
#include "fs/resolve.h"
#include "fs/sweep.h"

#define NAMES_JSON_MAX (64 << 20)	/* bytes */

struct asked_owner {
	struct fs_resolver *resolver;
	const struct fs_hub *hub;
	char *key, *name;		/* constant; "hub/owner", "owner" */
	bool asking;			/* resolver lock */
	struct fs_waiter *waiters;	/* resolver lock */
	struct fs_owner *owner;		/* resolver lock; a reference, or NULL */
	int err;			/* resolver lock; 0 when owner is right */
	uint64_t until;			/* resolver lock; clock_ms; believe it */
	bool expired;			/* resolver lock; not from the disk */
	uint64_t used;			/* resolver lock; clock_ms */
};

struct asking {
	struct pool_job job;
	struct asked_owner *asked;
	int err;
	struct error why;
	struct listing got;
};

void fs_owner_unref(struct fs_resolver *r, struct fs_owner *o)
{
	bool last;

	if (!o)
		return;
	pthread_mutex_lock(&r->lock);
	last = --o->refs == 0;
	pthread_mutex_unlock(&r->lock);
	if (!last)
		return;
	listing_done(&o->repos);
	free(o);
}

static void owner_free(struct asked_owner *a)
{
	fs_owner_unref(a->resolver, a->owner);
	free(a->key);
	free(a->name);
	free(a);
}

static int free_each(void *arg, const char *key, void *value)
{
	(void) arg;
	(void) key;
	owner_free(value);
	return 0;
}

void fs_owners_done(struct fs_resolver *r)
{
	map_each(&r->owners, free_each, NULL);
	map_done(&r->owners);
}

static bool is_old(const void *value, uint64_t before)
{
	const struct asked_owner *a = value;

	return !a->asking && !a->expired && a->used < before;
}

static void sweep(struct fs_resolver *r)
{
	struct fs_swept old;

	pthread_mutex_lock(&r->lock);
	fs_sweep(&r->owners, &r->owners_swept, is_old, &old);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < old.n; i++)
		owner_free(old.v[i]);
}

/* Under the lock. */
static struct asked_owner *owner_get(struct fs_resolver *r,
	const struct fs_hub *hub, const char *name)
{
	struct asked_owner *a;
	char *key = path_join(hub->name, name);

	if (!key)
		return NULL;
	a = map_get(&r->owners, key);
	if (a || !(a = calloc(1, sizeof(*a)))) {
		free(key);
		return a;
	}
	a->resolver = r;
	a->hub = hub;
	a->key = key;
	a->name = strdup(name);
	if (!a->name || map_put(&r->owners, key, a, NULL)) {
		owner_free(a);
		return NULL;
	}
	return a;
}

bool fs_owner_has(struct fs_resolver *r, const struct fs_hub *hub,
	const char *owner, const char *name)
{
	char *key = path_join(hub->name, owner), *full = path_join(owner, name);
	struct asked_owner *a;
	bool has = false;

	if (key && full) {
		pthread_mutex_lock(&r->lock);
		a = map_get(&r->owners, key);
		has = a && a->owner && listing_find(&a->owner->repos, full);
		if (has)
			a->used = clock_ms();
		pthread_mutex_unlock(&r->lock);
	}
	free(key);
	free(full);
	return has;
}

void fs_owner_expire(struct fs_resolver *r, const struct fs_hub *hub,
	const char *owner)
{
	struct asked_owner *a;

	pthread_mutex_lock(&r->lock);
	a = owner_get(r, hub, owner);
	if (a) {
		a->until = 0;
		a->expired = true;
	}
	pthread_mutex_unlock(&r->lock);
}

/* ---- answers ------------------------------------------------------------------ */

static void settle(struct asking *k, int err, struct fs_owner *o,
	uint64_t believe_ms)
{
	struct asked_owner *a = k->asked;
	struct fs_resolver *r = a->resolver;
	struct fs_waiter *list, *w;
	struct fs_owner *old;

	pthread_mutex_lock(&r->lock);
	old = a->owner;
	a->owner = o;
	a->err = o ? 0 : err;
	a->until = clock_ms() + believe_ms;
	a->asking = false;
	a->expired = false;
	list = a->waiters;
	a->waiters = NULL;
	for (w = list; w && o; w = w->next)
		o->refs++;
	pthread_mutex_unlock(&r->lock);
	while ((w = list)) {
		list = w->next;
		((fs_owner_cb *)w->cb)(w->arg, o ? 0 : err, o);
		free(w);
	}
	fs_owner_unref(r, old);
	free(k);
}

/* Takes the listing over. */
static struct fs_owner *owner_new(struct listing *got)
{
	struct fs_owner *o = calloc(1, sizeof(*o));

	if (!o) {
		listing_done(got);
		return NULL;
	}
	o->refs = 1;
	o->repos = *got;
	listing_sort(&o->repos);
	return o;
}

static struct fs_owner *old_answer(struct asked_owner *a, int64_t *ret_age)
{
	struct buf json = BUF_INIT(NAMES_JSON_MAX);
	struct listing got = { 0 };
	struct fs_owner *o = NULL;

	if (cache_index_get(a->resolver->cache, CACHE_KIND_NAMES, a->key,
			&json, ret_age) == 0 &&
		listing_from_json((const char *)json.data, json.len, &got,
			NULL) == 0)
		o = owner_new(&got);
	buf_done(&json);
	return o;
}

static void take_names(struct pool_job *job)
{
	struct asking *k = (struct asking *)job;
	struct asked_owner *a = k->asked;
	struct fs_owner *o = NULL;
	int64_t age;
	char *json;

	if (!k->err) {
		json = listing_to_json(&k->got);
		if (json)
			(void) cache_index_put(a->resolver->cache,
				CACHE_KIND_NAMES, a->key, json, strlen(json));
		free(json);
		settle(k, -ENOMEM, owner_new(&k->got),
			FS_OWNER_FRESH_S * 1000);
		return;
	}
	if (fs_unreachable(k->err))
		o = old_answer(a, &age);
	if (!o)
		fs_errors_add(a->resolver->errors, a->key, fs_errno(k->err),
			k->why.text);
	settle(k, k->err, o, o ? FS_STALE_RETRY_MS : FS_NEGATIVE_MS);
}

/* On the engine thread. */
static void got_names(void *arg, int err, const struct error *why,
	struct listing *got)
{
	struct asking *k = arg;

	k->err = err;
	if (why)
		k->why = *why;
	if (!err) {
		k->got = *got;
		memset(got, 0, sizeof(*got));
	}
	k->job.run = take_names;
	pool_add(k->asked->resolver->work, &k->job);
}

/* Nothing else may be looked into, so nothing else is shown. */
static void settle_locked(struct asking *k)
{
	struct asked_owner *a = k->asked;
	struct listing l = { 0 };
	int r = fs_lock_owner(a->resolver->lock_file, a->hub->name, a->name,
		&l);
	struct fs_owner *o = r ? NULL : owner_new(&l);

	if (r)
		listing_done(&l);
	settle(k, r ? r : -ENOMEM, o, FS_LOCKED_MS);
}

static void ask(struct pool_job *job)
{
	struct asking *k = (struct asking *)job;
	struct asked_owner *a = k->asked;
	struct fs_resolver *r = a->resolver;
	struct fs_owner *o;
	int64_t age = 0;
	bool expired;

	pthread_mutex_lock(&r->lock);
	expired = a->expired;
	pthread_mutex_unlock(&r->lock);
	if (r->lock_strict) {
		settle_locked(k);
		return;
	}
	o = old_answer(a, &age);
	if (o && (r->offline || (!expired && age < FS_OWNER_FRESH_S))) {
		settle(k, 0, o, FS_OWNER_FRESH_S * 1000 / 2);
	} else {
		fs_owner_unref(r, o);
		if (r->offline)
			settle(k, -EHOSTUNREACH, NULL, FS_NEGATIVE_MS);
		else
			fetch_list_owner(a->hub->fetch, a->name, got_names, k);
	}
}

/* Under the lock; as join() of resolve.c. */
static int join(struct asked_owner *a, fs_owner_cb *cb, void *arg,
	bool *ask_now, struct fs_owner **ret)
{
	a->used = clock_ms();
	if (!a->asking && (a->owner || a->err) && a->used < a->until) {
		*ret = a->owner;
		if (a->owner)
			a->owner->refs++;
		return a->err;
	}
	if (fs_waiter_add(&a->waiters, (void (*)(void))cb, arg))
		return -ENOMEM;
	*ask_now = !a->asking;
	a->asking = true;
	return -EINPROGRESS;
}

void fs_owner_list(struct fs_resolver *r, const struct fs_hub *hub,
	const char *owner, fs_owner_cb *cb, void *arg)
{
	struct asking *k = calloc(1, sizeof(*k));
	struct asked_owner *a = NULL;
	struct fs_owner *o = NULL;
	bool ask_now = false;
	int err = -ENOMEM;

	sweep(r);
	if (k) {
		pthread_mutex_lock(&r->lock);
		a = owner_get(r, hub, owner);
		if (a)
			err = join(a, cb, arg, &ask_now, &o);
		pthread_mutex_unlock(&r->lock);
	}
	if (ask_now) {
		k->asked = a;
		k->job.run = ask;
		pool_add(r->work, &k->job);
		return;
	}
	free(k);
	if (err != -EINPROGRESS)
		cb(arg, err, o);
}
