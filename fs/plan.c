/*
 * One job at a time for a plan; all who ask meanwhile wait for its end and are
 * served from its recipe. The recipe itself is not kept (a graph's inline bytes
 * can be large): after the job only its size stays, and, while the file is
 * open, one source that all handles share.
 */
#include "config.h"

#include "fs/plan-own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "fs/lock.h"

#define BAD_KEPT_S (24 * 3600)	/* then a refusal is tried again */

void fs_plans_init(struct fs_plans *p)
{
	pthread_mutex_init(&p->lock, NULL);
	memset(&p->by_key, 0, sizeof p->by_key);
	memset(p->recent, 0, sizeof(p->recent));
	p->next_recent = 0;
	p->planned = p->failed = 0;
	p->busy = p->expiring = 0;
}

void fs_plans_done(struct fs_plans *p)
{
	for (unsigned i = 0; i < FS_PLANS_RECENT; i++)
		fs_plan_unref(p->recent[i]);
	map_done(&p->by_key);
	pthread_mutex_destroy(&p->lock);
}

/* ---- plans ------------------------------------------------------------------- */

struct fs_plan *fs_plan_ref(struct fs_plan *p)
{
	pthread_mutex_lock(&p->plans->lock);
	p->refs++;
	pthread_mutex_unlock(&p->plans->lock);
	return p;
}

void fs_plan_unref(struct fs_plan *p)
{
	struct fs_plans *plans;
	bool last;

	if (!p)
		return;
	plans = p->plans;
	pthread_mutex_lock(&plans->lock);
	last = --p->refs == 0;
	if (last)
		map_del(&plans->by_key, p->key);
	pthread_mutex_unlock(&plans->lock);
	if (!last)
		return;
	free(p->why);
	free(p);
}

/* Under the lock. */
static struct fs_plan *plan_new(struct fs_plans *plans, const char *key,
	const struct fs_plugin *plugin)
{
	struct fs_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->plans = plans;
	p->refs = 1;
	p->plugin = plugin;
	memcpy(p->key, key, sizeof p->key);
	if (map_put(&plans->by_key, key, p, NULL)) {
		free(p);
		return NULL;
	}
	return p;
}

static int check_locked(struct fs_plans *plans, const struct fs_snap *s,
	const char *inner, const char *key)
{
	const struct fs_lock_model *m = s->locked;
	struct error why = { 0 };
	int r = fs_lock_staged_check(m, inner, key, &why);

	for (size_t i = 0; r && i < m->n_names; i++) {
		char *repo = fs_shown_path(s->hub, m->names[i].repo,
			m->names[i].rev);
		char *path = repo ? path_join(repo, inner) : NULL;

		if (path)
			fs_errors_add(plans->errors, path, r, why.text);
		free(path);
		free(repo);
	}
	return r;
}

int fs_plan_key(const struct fs_plans *p, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65],
	const struct fs_plugin **ret_plugin)
{
	int r = stage_key(p->stage, repo, revision, path, ret);

	*ret_plugin = r == -ENOENT ? fs_plugin_of(p->plugins, repo, path) :
		NULL;
	return *ret_plugin ? fs_plugin_key(*ret_plugin, repo, revision, path,
		ret) : r;
}

int fs_plan_get(struct fs_plans *plans, const struct fs_snap *s,
	const char *inner, struct fs_plan **ret)
{
	const struct stage_repo repo = fs_snap_repo(s);
	const struct fs_plugin *plugin = NULL;
	char key[65];
	struct fs_plan *p;
	int r = fs_plan_key(plans, &repo, s->scope, inner, key, &plugin);

	if (!r && s->locked)
		r = check_locked(plans, s, inner, key);
	if (r)
		return r;
	pthread_mutex_lock(&plans->lock);
	p = map_get(&plans->by_key, key);
	if (p)
		p->refs++;
	else
		p = plan_new(plans, key, plugin);
	pthread_mutex_unlock(&plans->lock);
	if (!p)
		return -ENOMEM;
	*ret = p;
	return 0;
}

/* Handles that are open go on with the source they have. */
static int find_live(void *arg, const char *key, void *value)
{
	struct fs_plan *p = value;
	struct src **ret = arg;

	(void) key;
	*ret = p->live;
	p->live = NULL;
	p->users = 0;
	return *ret != NULL;
}

/* What is under way now is in vain: it will not be believed … */
static int doubt_outcome(void *arg, const char *key, void *value)
{
	struct fs_plan *p = value;

	(void) arg;
	(void) key;
	p->forgotten++;
	return 0;
}

/* … nor is what was read back before the index had forgotten it. */
static int forget_outcome(void *arg, const char *key, void *value)
{
	struct fs_plan *p = value;

	(void) arg;
	(void) key;
	p->state = FS_PLAN_UNKNOWN;
	p->err = 0;
	p->forgotten++;
	fs_plan_recall_whole(p, "");
	return 0;
}

struct keys {
	struct buf text;	/* NUL-separated */
};

static int collect_key(void *arg, const char *key, const void *value,
	size_t len, int64_t age)
{
	struct keys *k = arg;

	(void) value;
	(void) len;
	(void) age;
	return buf_append(&k->text, key, strlen(key) + 1);
}

void fs_plans_expire(struct fs_plans *p)
{
	struct keys k = { .text = BUF_INIT(64 << 20) };
	struct src *live;

	pthread_mutex_lock(&p->lock);
	p->expiring++;
	map_each(&p->by_key, doubt_outcome, NULL);
	pthread_mutex_unlock(&p->lock);
	if (!cache_index_each(p->cache, CACHE_KIND_PLAN, "", collect_key, &k))
		for (size_t at = 0; at < k.text.len;) {
			const char *key = (const char *)k.text.data + at;

			(void) cache_index_del(p->cache, CACHE_KIND_PLAN, key);
			at += strlen(key) + 1;
		}
	buf_done(&k.text);
	pthread_mutex_lock(&p->lock);
	map_each(&p->by_key, forget_outcome, NULL);
	p->expiring--;
	pthread_mutex_unlock(&p->lock);
	atomic_fetch_add(&p->expired, 1);
	do {
		live = NULL;
		pthread_mutex_lock(&p->lock);
		map_each(&p->by_key, find_live, &live);
		pthread_mutex_unlock(&p->lock);
		src_unref(live);
	} while (live);
}

uint64_t fs_plans_epoch(struct fs_plans *p)
{
	return cache_epochs(p->cache) + atomic_load(&p->expired);
}

/* ---- what is known ------------------------------------------------------------ */

void fs_plan_set_why(struct fs_plan *p, const char *text)
{
	free(p->why);
	p->why = text && *text ? strdup(text) : NULL;
}

unsigned fs_plan_forgotten(struct fs_plan *p)
{
	unsigned r;

	pthread_mutex_lock(&p->plans->lock);
	r = p->forgotten;
	pthread_mutex_unlock(&p->plans->lock);
	return r;
}

/* What is put behind the back of who clears the index would stay in it. */
static bool to_keep(struct fs_plan *p, unsigned forgotten)
{
	bool r;

	pthread_mutex_lock(&p->plans->lock);
	r = p->forgotten == forgotten && !p->plans->expiring;
	pthread_mutex_unlock(&p->plans->lock);
	return r;
}

void fs_plan_remember(struct fs_plan *p, const char *key, unsigned forgotten,
	const void *text, size_t len)
{
	struct cache *c = p->plans->cache;

	if (!to_keep(p, forgotten))
		return;
	(void) cache_index_put(c, CACHE_KIND_PLAN, key, text, len);
	if (!to_keep(p, forgotten))
		(void) cache_index_del(c, CACHE_KIND_PLAN, key);
}

/* Read the index's word into the plan. False: it has none. */
static bool recall(struct fs_plan *p)
{
	unsigned forgotten = fs_plan_forgotten(p);
	struct fs_plans *plans = p->plans;
	struct buf b = BUF_INIT(FS_OUTCOME_MAX);
	int64_t age = 0;
	char hex[OBJID_HEX_MAX] = "";
	struct objid made = { .alg = OBJID_NONE };
	uint64_t n;
	int at = 0;
	bool known = false;

	if (!cache_index_get(plans->cache, CACHE_KIND_PLAN, p->key, &b, &age)) {
		const char *s = (const char *)b.data;

		pthread_mutex_lock(&plans->lock);
		if (p->forgotten != forgotten) {
			known = false;
		} else if (sscanf(s, "ok %" SCNu64 " %64s", &n, hex) >= 1 &&
			(!p->plugin || !objid_parse(OBJID_SHA256, hex,
				&made))) {
			p->state = FS_PLAN_OK;
			p->size = n;
			p->made = made;
			fs_plan_recall_whole(p, hex);
			known = true;
		} else if (sscanf(s, "no %" SCNu64 " %n", &n, &at) == 1 &&
			n && n < 4096 && age < BAD_KEPT_S) {
			p->state = FS_PLAN_BAD;
			p->err = -(int)n;
			fs_plan_set_why(p, s + at);
			known = true;
		}
		pthread_mutex_unlock(&plans->lock);
	}
	buf_done(&b);
	return known;
}

struct cache_name fs_plan_made(struct fs_plan *p, uint64_t size)
{
	struct cache_name n = { .hub = "plug-in", .repo = p->plugin->name,
		.revision = p->key, .path = "output", .size = size };

	pthread_mutex_lock(&p->plans->lock);
	n.id = p->made;
	pthread_mutex_unlock(&p->plans->lock);
	return n;
}

int fs_plan_recipe(struct fs_plan *p, struct stage_recipe **ret)
{
	struct buf b = BUF_INIT(FS_RECIPE_MAX);
	int r = cache_recipe_get(p->plans->cache, p->key, &b);

	if (!r)
		r = stage_recipe_parse(b.data, b.len, ret, NULL);
	buf_done(&b);
	return r;
}

bool fs_plan_parts(const struct stage_recipe *recipe)
{
	unsigned n = stage_recipe_sources(recipe);

	while (n--)
		if (stage_made_is(stage_recipe_source_path(recipe, n)))
			return true;
	return false;
}

/* ---- asking ------------------------------------------------------------------- */

int fs_plan_known(struct fs_plan *p, uint64_t *ret_size)
{
	int r = -EAGAIN;
	bool again;

	do {
		pthread_mutex_lock(&p->plans->lock);
		again = r == -EAGAIN && p->state == FS_PLAN_UNKNOWN;
		if (p->state == FS_PLAN_OK) {
			*ret_size = p->size;
			r = 0;
		} else if (p->state == FS_PLAN_BAD) {
			r = p->err;
		}
		pthread_mutex_unlock(&p->plans->lock);
	} while (again && recall(p));
	return r;
}

int fs_plan_why(struct fs_plan *p, struct buf *ret)
{
	int r = -ENODATA;

	pthread_mutex_lock(&p->plans->lock);
	if (p->err && p->why)
		r = buf_append_str(ret, p->why);
	pthread_mutex_unlock(&p->plans->lock);
	return r;
}

/* Wait for the job that runs, or start one. 0 or -ENOMEM. */
static int wait_for_job(struct fs_plan *p, const struct fs_plan_for *whom,
	const struct fs_plan_waiter *w)
{
	struct fs_plan_waiter *own = malloc(sizeof(*own)), **at;
	struct fs_plan_job *j = fs_plan_job_new(p, whom);
	bool start;

	if (!own || !j) {
		free(own);
		if (j)
			fs_plan_job_free(j);
		return -ENOMEM;
	}
	*own = *w;
	pthread_mutex_lock(&p->plans->lock);
	for (at = &p->waiters; *at;)
		at = &(*at)->next;
	*at = own;
	start = !p->busy;
	p->busy = true;
	p->plans->busy += start;
	pthread_mutex_unlock(&p->plans->lock);
	if (start)
		pool_add(p->plans->work, &j->job);
	else
		fs_plan_job_free(j);
	return 0;
}

/* Under the lock: did an attempt fail a moment ago? */
static bool just_failed(const struct fs_plan *p)
{
	return p->state == FS_PLAN_UNKNOWN && p->err && !p->busy &&
		clock_ms() - p->err_at < FS_NEGATIVE_MS;
}

void fs_plan_want(struct fs_plan *p, const struct fs_plan_for *whom,
	fs_plan_cb *cb, void *arg)
{
	struct fs_plan_waiter w = { NULL, false, (void (*)(void))cb, arg };
	uint64_t size = 0;
	int r = fs_plan_known(p, &size);

	if (r == -EAGAIN) {
		pthread_mutex_lock(&p->plans->lock);
		if (just_failed(p))
			r = p->err;
		pthread_mutex_unlock(&p->plans->lock);
	}
	if (r == -EAGAIN)
		r = wait_for_job(p, whom, &w) ? -ENOMEM : -EINPROGRESS;
	if (r != -EINPROGRESS)
		cb(arg, r, size);
}

void fs_plan_open(struct fs_plan *p, const struct fs_plan_for *whom,
	fs_plan_open_cb *cb, void *arg)
{
	struct fs_plan_waiter w = { NULL, true, (void (*)(void))cb, arg };
	struct src *src = NULL;
	uint64_t size;
	int r = fs_plan_known(p, &size);

	if (!r || r == -EAGAIN) {
		pthread_mutex_lock(&p->plans->lock);
		/* What was contradicted may be among its sources. */
		src = p->live_at == atomic_load(&whom->snap->resolver->
			contradicted) ? p->live : NULL;
		if (src) {
			src_ref(src);
			p->users++;
		}
		r = !src && just_failed(p) ? p->err : 0;
		pthread_mutex_unlock(&p->plans->lock);
		if (!r && !src)
			r = wait_for_job(p, whom, &w) ? -ENOMEM : -EINPROGRESS;
	}
	if (r != -EINPROGRESS)
		cb(arg, r, src);
}

/* One that newer ones have replaced by now may be as old as any. */
unsigned fs_plan_made_at(struct fs_plan *p, const struct src *src)
{
	unsigned r;

	pthread_mutex_lock(&p->plans->lock);
	r = src == p->live ? p->live_from : 0;
	pthread_mutex_unlock(&p->plans->lock);
	return r;
}

void fs_plan_close(struct fs_plan *p, struct src *src)
{
	struct src *last = NULL;

	pthread_mutex_lock(&p->plans->lock);
	if (src == p->live && --p->users == 0) {
		last = p->live;
		p->live = NULL;
	}
	pthread_mutex_unlock(&p->plans->lock);
	src_unref(last);
	src_unref(src);
}
