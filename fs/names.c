/*
 * One job at a time for the names of a directory; all who ask meanwhile wait
 * for its end. What was once given to somebody stays in memory as long as the
 * snapshot, even when it is asked for again because bytes it came from turned
 * out wrong: directories that are open point into it.
 */
#include "config.h"

#include "fs/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"

#define NAMES_JSON_MAX (16 << 20)	/* bytes of an index entry */

struct fs_names {
	struct fs_names *next;
	char *dir;
	struct listing got;	/* constant once known */
	uint64_t epochs;	/* plans lock; at the asking */
	bool known;		/* plans lock */
	bool anew;		/* constant: the index may be wrong too */
	bool busy;		/* plans lock; a job is under way */
	int err;		/* plans lock; of the last asking */
	uint64_t err_at;	/* plans lock; clock_ms */
	struct fs_waiter *waiters;	/* plans lock */
};

struct names_job {
	struct pool_job job;
	struct fs_plans *plans;
	struct fs_snap *snap;	/* a reference */
	struct fs_names *names;	/* the snapshot's */
	struct error why;
	char key[65];
	char *path;
	uint64_t epochs;	/* fs_plans_epoch() before anything is read */
};

void fs_names_free(struct fs_names *list)
{
	struct fs_names *n;

	while ((n = list)) {
		list = n->next;
		listing_done(&n->got);
		free(n->dir);
		free(n);
	}
}

/* ---- what is known ------------------------------------------------------------- */

/* Under the lock. The newest of `dir`, or NULL. */
static struct fs_names *find(const struct fs_snap *s, const char *dir)
{
	struct fs_names *n = s->names;

	while (n && strcmp(n->dir, dir) != 0)
		n = n->next;
	return n;
}

/* Under the lock. */
static int state_of(const struct fs_names *n, uint64_t epochs)
{
	if (n && n->known)
		return n->epochs == epochs ? 0 : -EAGAIN;
	if (n && n->err && !n->busy && clock_ms() - n->err_at < FS_NEGATIVE_MS)
		return n->err;
	return -EAGAIN;
}

int fs_names_known(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const struct listing **ret)
{
	const struct stage_repo repo = fs_snap_repo(s);
	uint64_t epochs = fs_plans_epoch(p);
	const struct fs_names *n;
	int r;

	if (!stage_asks(p->stage, &repo, dir)) {
		*ret = &s->layout;
		return 0;
	}
	pthread_mutex_lock(&p->lock);
	n = find(s, dir);
	r = state_of(n, epochs);
	pthread_mutex_unlock(&p->lock);
	if (r != -EAGAIN)
		*ret = r ? &s->layout : &n->got;
	return r;
}

int fs_names_find(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const char *path, const struct listing_entry **ret)
{
	const struct stage_repo repo = fs_snap_repo(s);
	const struct listing *l = NULL;
	const struct listing_entry *e = listing_find(&s->layout, path);
	const char *holder = stage_holder(p->stage, &repo, path);
	int r;

	if (listing_is_dir(&s->layout, path) ||
		(e && stage_layout_original(p->stage, &repo, path))) {
		*ret = e;
		return 0;
	}
	r = fs_names_known(p, s, holder ? holder : dir, &l);
	if (!l)
		return r;
	e = listing_find(l, path);
	if (r && !e)
		return r;
	*ret = e;
	return 0;
}

/* ---- asking -------------------------------------------------------------------- */

static void settle(struct names_job *j, int err, struct listing *got)
{
	struct fs_names *n = j->names;
	struct fs_waiter *list, *w;

	if (err)
		fs_errors_add(j->plans->errors, j->path, fs_errno(err),
			error_text(&j->why, err));
	else
		fs_errors_clear(j->plans->errors, j->path);
	pthread_mutex_lock(&j->plans->lock);
	n->busy = false;
	j->plans->busy--;
	n->err = err;
	n->err_at = clock_ms();
	if (!err) {
		n->got = *got;
		n->known = true;
	}
	list = n->waiters;
	n->waiters = NULL;
	pthread_mutex_unlock(&j->plans->lock);
	while ((w = list)) {
		list = w->next;
		((fs_names_cb *)w->cb)(w->arg, err, fs_snap_ref(j->snap));
		free(w);
	}
	fs_snap_unref(j->snap);
	free(j->path);
	free(j);
}

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	const struct names_job *j = arg;

	return fs_stack_file_wait(&j->plans->stack, j->snap, e, ret, why);
}

/* Unless bytes turned out wrong meanwhile: who clears the index for that may be
 * through with it. */
static void remember(const struct names_job *j, const struct listing *got)
{
	struct cache *c = j->plans->cache;
	char *json = listing_to_json(got);

	if (json && fs_plans_epoch(j->plans) == j->epochs) {
		(void) cache_index_put(c, CACHE_KIND_PLAN, j->key, json,
			strlen(json));
		if (fs_plans_epoch(j->plans) != j->epochs)
			(void) cache_index_del(c, CACHE_KIND_PLAN, j->key);
	}
	free(json);
}

static void ask_stage(struct pool_job *job)
{
	struct names_job *j = (struct names_job *)job;
	struct fs_plans *p = j->plans;
	const struct stage_input in = {
		fs_snap_repo(j->snap), open_file, j, NULL
	};
	struct listing got = { 0 };
	int err = stage_names(p->stage, &in, j->names->dir, &got, &j->why);

	if (err)
		listing_done(&got);
	else
		remember(j, &got);
	settle(j, err, &got);
}

static void ask_index(struct pool_job *job)
{
	struct names_job *j = (struct names_job *)job;
	struct buf json = BUF_INIT(NAMES_JSON_MAX);
	struct listing got = { 0 };
	int err = j->names->anew ? -ENOENT : cache_index_get(j->plans->cache,
		CACHE_KIND_PLAN, j->key, &json, NULL);

	if (!err)
		err = listing_from_json((const char *)json.data, json.len,
			&got, NULL);
	buf_done(&json);
	if (err) {
		j->job.run = ask_stage;
		pool_add(j->plans->planners, &j->job);
		return;
	}
	listing_sort(&got);
	settle(j, 0, &got);
}

static struct names_job *job_new(struct fs_plans *p, struct fs_snap *s,
	const char *dir, const char *path)
{
	const struct stage_repo repo = fs_snap_repo(s);
	struct names_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->path = strdup(path);
	if (!j->path ||
		stage_key(p->stage, &repo, s->scope, dir, j->key)) {
		free(j->path);
		free(j);
		return NULL;
	}
	j->job.run = ask_index;
	j->plans = p;
	j->snap = fs_snap_ref(s);
	return j;
}

static void job_free(struct names_job *j)
{
	fs_snap_unref(j->snap);
	free(j->path);
	free(j);
}

/* Under the lock. The entry to ask for: there was none, or it is old. */
static struct fs_names *renew(struct fs_snap *s, const char *dir,
	uint64_t epochs)
{
	struct fs_names *n = find(s, dir), *add;

	if (n && (!n->known || n->epochs == epochs))
		return n;
	add = calloc(1, sizeof(*add));
	if (!add)
		return NULL;
	add->dir = strdup(dir);
	if (!add->dir) {
		free(add);
		return NULL;
	}
	add->anew = n != NULL;
	add->next = s->names;
	s->names = add;
	return add;
}

/* Under the lock. 0: the job is to be started. */
static int join(struct names_job *j, const char *dir, uint64_t epochs,
	fs_names_cb *cb, void *arg)
{
	struct fs_names *n = renew(j->snap, dir, epochs);
	int r;

	if (!n)
		return -ENOMEM;
	r = state_of(n, epochs);
	if (r != -EAGAIN)
		return r ? r : -EALREADY;
	if (fs_waiter_add(&n->waiters, (void (*)(void))cb, arg))
		return -ENOMEM;
	if (n->busy)
		return -EINPROGRESS;
	n->busy = true;
	n->epochs = j->epochs = epochs;
	j->plans->busy++;
	j->names = n;
	return 0;
}

void fs_names_want_one(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const char *name, const char *path, fs_names_cb *cb, void *arg)
{
	const struct stage_repo repo = fs_snap_repo(s);
	char *inner = path_join(dir, name);
	const char *holder;

	if (!inner) {
		cb(arg, -ENOMEM, fs_snap_ref(s));
		return;
	}
	holder = stage_holder(p->stage, &repo, inner);
	free(inner);
	fs_names_want(p, s, holder ? holder : dir, path, cb, arg);
}

void fs_names_want(struct fs_plans *p, struct fs_snap *s, const char *dir,
	const char *path, fs_names_cb *cb, void *arg)
{
	struct names_job *j = job_new(p, s, dir, path);
	uint64_t epochs = fs_plans_epoch(p);
	int r = -ENOMEM;

	if (j) {
		pthread_mutex_lock(&p->lock);
		r = join(j, dir, epochs, cb, arg);
		pthread_mutex_unlock(&p->lock);
	}
	if (j && !r) {
		pool_add(p->work, &j->job);
		return;
	}
	if (j)
		job_free(j);
	if (r != -EINPROGRESS)
		cb(arg, r == -EALREADY ? 0 : r, fs_snap_ref(s));
}
