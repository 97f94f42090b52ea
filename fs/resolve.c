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

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/lock.h"
#include "fs/name.h"
#include "fs/sweep.h"

struct asked_name {
	struct fs_resolver *resolver;
	const struct fs_hub *hub;
	char *key, *repo, *rev;		/* constant */
	bool asking;			/* resolver lock */
	bool late;			/* resolver lock; asking takes long: snap
					 * may be used meanwhile */
	bool failing;			/* resolver lock; so did the last one */
	bool must;			/* resolver lock; only the hub's word */
	bool doubted;			/* resolver lock; and not only this */
	struct fs_waiter *waiters;	/* resolver lock */
	struct fs_snap *snap;		/* resolver lock; a reference, or NULL */
	int err;			/* resolver lock; 0 when snap is right */
	uint64_t until;			/* resolver lock; clock_ms; believe it */
	uint64_t used;			/* resolver lock; clock_ms */
};

/* One question: the hub's answer on its way from the engine thread to a pool
 * thread, and the old one for when it does not come. */
struct answer {
	struct pool_job job;
	struct fs_resolver *resolver;
	struct asked_name *name;
	unsigned refs;			/* resolver lock; answer and clock */
	bool settled;			/* resolver lock */
	struct fs_snap *old;		/* a reference, or NULL */
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
	r->swept = r->owners_swept = clock_ms();
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

static bool is_old(const void *value, uint64_t before)
{
	const struct asked_name *n = value;

	/* who is to ask the hub must not find the disk's answer instead */
	return !n->asking && !n->doubted && n->used < before;
}

static void sweep(struct fs_resolver *r)
{
	struct fs_swept old;

	pthread_mutex_lock(&r->lock);
	fs_sweep(&r->names, &r->swept, is_old, &old);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < old.n; i++)
		name_free(old.v[i]);
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
	cleanup_free char *key = fs_name_key(hub->name, repo, rev);
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
	return s;
}

uint64_t fs_resolve_left(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, const struct fs_snap *is)
{
	cleanup_free char *key = fs_name_key(hub->name, repo, rev);
	uint64_t now = clock_ms(), left = 0;
	struct asked_name *n;

	if (!key)
		return 0;
	pthread_mutex_lock(&r->lock);
	n = map_get(&r->names, key);
	if (n && n->snap == is && n->until > now && !n->asking)
		left = n->until - now;
	pthread_mutex_unlock(&r->lock);
	return left;
}

static int expire_refusal(void *arg, const char *key, void *value)
{
	struct asked_name *n = value;
	const char *prefix = arg;

	if (!n->snap && !strncmp(key, prefix, strlen(prefix)))
		n->until = 0;
	return 0;
}

void fs_resolve_expire_refusals(struct fs_resolver *r, const char *prefix)
{
	cleanup_free char *p = strdup(prefix);

	if (!p)
		return;
	pthread_mutex_lock(&r->lock);
	map_each(&r->names, expire_refusal, p);
	pthread_mutex_unlock(&r->lock);
}

void fs_resolve_expire(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, bool must)
{
	cleanup_free char *key = fs_name_key(hub->name, repo, rev);
	struct asked_name *n;

	if (!key)
		return;
	pthread_mutex_lock(&r->lock);
	n = map_get(&r->names, key);
	if (!n) /* an entry that is not new does not believe the disk */
		n = name_new(r, hub, repo, rev, key);
	if (n) {
		n->until = 0;
		n->must |= must;
		n->doubted = true;
	}
	pthread_mutex_unlock(&r->lock);
}

/* ---- answers ----------------------------------------------------------------- */

/* Call back all of a list; each has a reference to snap. */
static void tell(struct fs_waiter *list, int err, struct fs_snap *snap)
{
	struct fs_waiter *w;

	while ((w = list)) {
		list = w->next;
		((fs_snap_cb *)w->cb)(w->arg, err, snap);
		free(w);
	}
}

/* Under the lock: all who wait, with a reference for each. */
static struct fs_waiter *take_waiters(struct asked_name *n,
	struct fs_snap *snap)
{
	struct fs_waiter *list = n->waiters;

	n->waiters = NULL;
	for (struct fs_waiter *w = list; w && snap; w = w->next)
		snap->refs++;
	return list;
}

/* Give the answer to all who wait. snap: a reference, taken over. err and no
 * snap: a refusal; err and snap: the old answer, used though asking failed,
 * unless somebody must have the hub's word: they are told. */
static void settle(struct asked_name *n, int err, struct fs_snap *snap,
	uint64_t believe_ms)
{
	struct fs_resolver *r = n->resolver;
	struct fs_waiter *list;
	struct fs_snap *old;
	bool refuse;

	pthread_mutex_lock(&r->lock);
	refuse = !snap || (err && n->must);
	old = n->snap;
	n->snap = snap;
	n->err = snap ? 0 : err;
	n->until = clock_ms() + believe_ms;
	n->asking = n->late = n->must = false;
	if (snap && n->doubted) {
		snap->doubts++;
		snap->err = 0;	/* listing it is tried again */
	}
	n->doubted = false;
	n->failing = err && snap;
	list = take_waiters(n, refuse ? NULL : snap);
	pthread_mutex_unlock(&r->lock);
	tell(list, refuse ? err : 0, refuse ? NULL : snap);
	fs_snap_unref(old);
}

/* Its name may have gone since it was settled. */
static void answer_put(struct answer *a)
{
	struct fs_resolver *r = a->resolver;
	bool last;

	pthread_mutex_lock(&r->lock);
	last = --a->refs == 0;
	pthread_mutex_unlock(&r->lock);
	if (!last)
		return;
	fs_snap_unref(a->old);
	free(a);
}

/* The hub takes its time: what was known is good enough for those who wait,
 * and for those who come until it has answered. On the engine thread. */
static void out_of_patience(void *arg)
{
	struct answer *a = arg;
	struct asked_name *n = a->name;
	struct fs_resolver *r = a->resolver;
	struct fs_waiter *list = NULL;
	struct fs_snap *before = NULL;

	pthread_mutex_lock(&r->lock);
	if (!a->settled && !n->must) {
		before = n->snap;
		n->snap = a->old;
		n->snap->refs++;
		n->err = 0;
		n->late = true;
		list = take_waiters(n, a->old);
	}
	pthread_mutex_unlock(&r->lock);
	tell(list, 0, a->old);
	fs_snap_unref(before);
	answer_put(a);
}

/* Was it asked only to learn whether this is the name of an owner? */
static bool perhaps_owner(const struct asked_name *n)
{
	return n->hub->grammar == FETCH_OWNERS && !strchr(n->repo, '/') &&
		!*n->rev;
}

/* Is that it names nothing what we asked to learn? */
static bool asked_to_learn(const struct asked_name *n, int err)
{
	return perhaps_owner(n) || (err == -ENOENT && !*n->rev &&
		n->hub->grammar == FETCH_VERSIONS);
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
	cleanup_free char *json = fetch_snapshot_to_json(f);

	if (json)
		(void) cache_index_put(n->resolver->cache, CACHE_KIND_REVISION,
			n->key, json, strlen(json));
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
	cleanup_free char *path = fs_shown_path(n->hub, n->repo, n->rev);

	if (path && err)
		fs_errors_add(n->resolver->errors, path, fs_errno(err),
			why->text);
	else if (path)
		fs_errors_clear(n->resolver->errors, path);
}

static void take_answer(struct pool_job *job)
{
	struct answer *a = (struct answer *)job;
	struct asked_name *n = a->name;
	uint64_t fresh_ms = n->resolver->fresh_ms;
	struct fs_snap *s = NULL;
	int64_t age;

	pthread_mutex_lock(&n->resolver->lock);
	a->settled = true;
	pthread_mutex_unlock(&n->resolver->lock);
	if (!a->err) {
		note_error(n, 0, NULL);
		if (!a->snap->at_hand_ms)
			store_answer(n, a->snap);
		else if (a->snap->at_hand_ms < fresh_ms)
			fresh_ms = a->snap->at_hand_ms;
		s = fs_snap_get(n->resolver, n->hub, a->snap);
		settle(n, s ? 0 : -ENOMEM, s, fresh_ms);
	} else if (fs_unreachable(a->err) && (s = old_answer(n, &age))) {
		log_debug("%s: %s; the last answer is used", n->key,
			error_text(&a->why, a->err));
		settle(n, a->err, s, FS_STALE_RETRY_MS);
	} else {
		if (!asked_to_learn(n, a->err))
			note_error(n, a->err, &a->why);
		settle(n, a->err, NULL, believe_refusal(n, a->err));
	}
	fetch_snapshot_free(a->snap);
	answer_put(a);
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

/* Whether the lock file has the last word on n; then it is settled. */
static bool ask_lock(struct asked_name *n)
{
	struct fs_resolver *r = n->resolver;
	const struct fs_lock_model *m = fs_lock_find(r->lock_file,
		n->hub->name, n->repo, n->rev);
	struct fetch_snapshot f = { 0 };
	struct error why = { 0 };
	struct fs_snap *s;

	if (m) {
		f = (struct fetch_snapshot){ .repo = m->is.repo,
			.revision = m->is.rev, .mtime = m->mtime };
		s = fs_snap_get(r, n->hub, &f);
		settle(n, s ? 0 : -ENOMEM, s, FS_LOCKED_MS);
		return true;
	}
	if (!r->lock_strict)
		return false;
	(void) error_set(&why, -EACCES, "%s: not in this lock file, and "
		"lock.strict is set", r->lock_file->file);
	if (!perhaps_owner(n))
		note_error(n, -EACCES, &why);
	settle(n, -EACCES, NULL, FS_LOCKED_MS);
	return true;
}

/* old: a reference, or NULL. */
static void ask_hub(struct asked_name *n, struct fs_snap *old)
{
	struct fs_resolver *r = n->resolver;
	struct fetch_hub *hub = n->hub->fetch;
	struct answer *a = calloc(1, sizeof(*a));
	uint64_t patience;
	bool waits;

	if (!a) {
		fs_snap_unref(old);
		settle(n, -ENOMEM, NULL, 0);
		return;
	}
	a->job.run = take_answer;
	a->resolver = r;
	a->name = n;
	a->old = old;
	pthread_mutex_lock(&r->lock);
	waits = old && !n->must;
	patience = n->failing ? 0 : FS_PATIENCE_MS;
	a->refs = waits ? 2 : 1;
	pthread_mutex_unlock(&r->lock);
	fetch_resolve(hub, n->repo, n->rev, got_answer, a);
	if (waits && fetch_hub_after(hub, patience, out_of_patience, a))
		answer_put(a);
}

/* Nobody else asks for n now, and none of the locks is held. */
static void ask(struct asked_name *n, bool believe_disk)
{
	struct fs_resolver *r = n->resolver;
	bool offline = r->offline && !ask_offline(n);
	int64_t age = 0;
	uint64_t age_ms;
	struct fs_snap *s;

	if (ask_lock(n))
		return;
	s = old_answer(n, &age);
	age_ms = (uint64_t)age * 1000;
	if (s && (offline || fs_name_is_commit(n->rev) ||
			(believe_disk && age_ms < r->fresh_ms))) {
		settle(n, 0, s, age_ms < r->fresh_ms ? r->fresh_ms - age_ms :
			r->fresh_ms);
	} else if (offline) {
		settle(n, -EHOSTUNREACH, NULL, FS_NEGATIVE_MS);
	} else {
		ask_hub(n, s);
	}
}

/* Under the lock. -EINPROGRESS: the caller is in the list; *ask_now: and must
 * ask. Otherwise the answer, with a reference in *ret. */
static int join(struct asked_name *n, fs_snap_cb *cb, void *arg,
	bool *ask_now, struct fs_snap **ret)
{
	uint64_t now = clock_ms();

	n->used = now;
	if ((!n->asking || (n->late && !n->must)) && (n->snap || n->err)) {
		bool fixed = n->snap && fs_name_is_commit(n->rev);

		if (now < n->until || fixed || n->late) {
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
	cleanup_free char *key = fs_name_key(hub->name, repo, rev);
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
	if (err != -EINPROGRESS)
		cb(arg, err, snap);
	else if (ask_now)
		ask(n, first);
}
