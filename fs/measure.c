#include "config.h"

#include "fs/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/name.h"
#include "fs/stack.h"

#define FACT_MAX 16384		/* bytes of an index entry */

struct fact {
	struct fact *older;		/* what was found before; or NULL */
	struct listing_entry entry;	/* constant once measured */
	struct objid listed;		/* constant; may be none */
	bool measured;			/* resolver lock; for good */
	bool looked;			/* resolver lock; the index has none */
	unsigned asked;			/* resolver lock; the snapshot's
					 * `doubts` when the hub was asked */
	unsigned nth;			/* resolver lock; its `changed` when
					 * this stood in for another; or 0 */
	unsigned wrong;			/* resolver lock; how often bytes
					 * contradicted it … */
	unsigned heard;			/* resolver lock; … before the hub was
					 * asked */
	bool busy;			/* resolver lock; a job is under way */
	int err;			/* resolver lock; of the last asking */
	uint64_t err_at;		/* resolver lock; clock_ms */
	struct error why;		/* resolver lock; of err */
	struct fs_waiter *waiters;	/* resolver lock */
};

struct asking {
	struct pool_job job;
	struct fs_snap *snap;		/* a reference */
	struct fact *fact;		/* the snapshot's */
	bool again;			/* the index knows only what is doubted */
	unsigned doubts;		/* the snapshot's, when it began */
	unsigned wrong;			/* the fact's, then */
	int err;
	struct error why;
	struct fetch_fact got;
};

static int free_each(void *arg, const char *key, void *value)
{
	struct fact *f = value, *older;

	(void) arg;
	(void) key;
	for (; f; f = older) {
		older = f->older;
		free(f->entry.path);
		free(f);
	}
	return 0;
}

void fs_facts_free(struct fs_snap *s)
{
	map_each(&s->facts, free_each, NULL);
	map_done(&s->facts);
}

/* Under the lock. In front of what there is. */
static struct fact *fact_new(struct fs_snap *s, const struct listing_entry *e)
{
	struct fact *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->older = map_get(&s->facts, e->path);
	f->listed = f->older ? f->older->listed : e->id;
	f->entry = *e;
	f->entry.path = strdup(e->path);
	if (!f->entry.path || map_put(&s->facts, e->path, f, NULL)) {
		free(f->entry.path);
		free(f);
		return NULL;
	}
	return f;
}

/* Under the lock. */
static struct fact *fact_of(struct fs_snap *s, const struct listing_entry *e)
{
	struct fact *f = map_get(&s->facts, e->path);

	return f ? f : fact_new(s, e);
}

/* Under the lock. Is what was found to be asked for again? */
static bool due(const struct fs_snap *s, const struct fact *f)
{
	return (f->wrong != f->heard || f->asked != s->doubts) &&
		!s->resolver->offline;
}

/* Under the lock. */
static void found(struct fact *f, const struct fetch_fact *got)
{
	f->entry.size = got->size;
	f->entry.id = got->id;
	f->measured = true;
}

/* Under the lock. Is that another file than was found? */
static bool other(const struct fact *f, const struct fetch_fact *got)
{
	return f->measured && (f->entry.size != got->size ||
		(f->entry.id.alg == got->id.alg &&
		 got->id.alg != OBJID_NONE &&
		 !objid_match(&f->entry.id, &got->id)));
}

/* Under the lock: the hub says now what it is. Entries of before stay, for
 * there are nodes and readers that mean them. */
static int told_now(const struct asking *k, struct fact **ret)
{
	struct fs_snap *s = k->snap;
	struct fact *now = k->fact;

	if (!now->measured) {
		found(now, &k->got);
	} else if (other(now, &k->got)) {
		now = fact_new(s, &now->entry);
		if (!now)
			return -ENOMEM;
		found(now, &k->got);
		now->nth = atomic_fetch_add(&s->resolver->changed, 1) + 1;
	}
	/* The answer may be from before what came meanwhile. */
	if (now == k->fact)
		now->heard = k->wrong;
	now->asked = k->doubts;
	*ret = now;
	return 0;
}

/* ---- the index ----------------------------------------------------------------- */

/* The entry is a listing of one. An archive's inside has the key of what it is
 * in. The caller frees; NULL: no memory. */
static char *key_of(const struct fs_snap *s, const char *path)
{
	char *key;

	return asprintf(&key, "%s/%s@%s/%s", s->hub->name, s->repo,
		s->revision, path) < 0 ? NULL : key;
}

static int recall(const struct fs_snap *s, const char *path,
	struct fetch_fact *ret)
{
	struct buf b = BUF_INIT(FACT_MAX);
	struct listing l = { 0 };
	char *key = key_of(s, path);
	int r = key ? cache_index_get(s->resolver->cache, CACHE_KIND_FACT, key,
			      &b, NULL) : -ENOMEM;

	free(key);
	if (!r)
		r = listing_from_json((const char *)b.data, b.len, &l, NULL);
	if (!r && (l.n != 1 || strcmp(l.v[0].path, path) ||
			l.v[0].kind != LISTING_FILE ||
			l.v[0].size == LISTING_SIZE_UNKNOWN))
		r = -EBADMSG;
	if (!r)
		*ret = (struct fetch_fact){ l.v[0].size, l.v[0].id };
	listing_done(&l);
	buf_done(&b);
	return r;
}

static void remember(const struct fs_snap *s, const char *path,
	const struct fetch_fact *got)
{
	struct listing l = { 0 };
	char *key = key_of(s, path), *json = NULL;

	if (key && !listing_add(&l, path, LISTING_FILE, got->size, &got->id))
		json = listing_to_json(&l);
	if (json)
		(void) cache_index_put(s->resolver->cache, CACHE_KIND_FACT, key,
			json, strlen(json));
	free(json);
	free(key);
	listing_done(&l);
}

const struct listing_entry *fs_measured(struct fs_snap *s,
	const struct listing_entry *e)
{
	pthread_mutex_t *lock = &s->resolver->lock;
	struct fetch_fact got;
	struct fact *f;
	int r;

	if (e->size != LISTING_SIZE_UNKNOWN)
		return e;
	pthread_mutex_lock(lock);
	f = map_get(&s->facts, e->path);
	if (f && f->measured)
		e = &f->entry;
	r = f && (f->measured || f->looked);
	pthread_mutex_unlock(lock);
	if (r)
		return e;
	r = recall(s, e->path, &got);
	pthread_mutex_lock(lock);
	f = fact_of(s, e);
	if (f && !r && !f->measured)
		found(f, &got);
	if (f && f->measured)
		e = &f->entry;
	else if (f)
		f->looked = true;
	pthread_mutex_unlock(lock);
	return e;
}

bool fs_measure_due(struct fs_snap *s, const struct listing_entry *e)
{
	pthread_mutex_t *lock = &s->resolver->lock;
	const struct fact *f;
	bool r;

	if (e->size != LISTING_SIZE_UNKNOWN)
		return false;
	pthread_mutex_lock(lock);
	f = map_get(&s->facts, e->path);
	r = !f || !f->measured || due(s, f);
	pthread_mutex_unlock(lock);
	return r;
}

bool fs_measure_doubted(struct fs_snap *s, const struct listing_entry *e)
{
	const struct fact *f;
	bool r;

	(void) fs_measured(s, e);
	pthread_mutex_lock(&s->resolver->lock);
	f = map_get(&s->facts, e->path);
	r = f && f->measured && due(s, f);
	pthread_mutex_unlock(&s->resolver->lock);
	return r;
}

unsigned fs_measure_nth(struct fs_snap *s, const struct listing_entry *e)
{
	const struct fact *f;
	unsigned r;

	pthread_mutex_lock(&s->resolver->lock);
	f = map_get(&s->facts, e->path);
	r = f ? f->nth : 0;
	pthread_mutex_unlock(&s->resolver->lock);
	return r;
}

/* ---- asking --------------------------------------------------------------------- */

static void make_way(const struct asking *k)
{
	const struct fs_resolver *r = k->snap->resolver;

	if (r->forget_sizes)
		r->forget_sizes(r->forget_arg, k->snap,
			k->fact->entry.path);
}

static void settle(struct asking *k)
{
	struct fact *f = k->fact, *asked = f;
	struct fs_waiter *list, *w;
	bool changed;

	pthread_mutex_lock(&k->snap->resolver->lock);
	changed = !k->err && other(f, &k->got);
	/* Before anybody learns of it, nobody may have the old size, or what
	 * was made of the old bytes, any more. */
	if (changed) {
		pthread_mutex_unlock(&k->snap->resolver->lock);
		make_way(k);
		pthread_mutex_lock(&k->snap->resolver->lock);
	}
	if (!k->err)
		k->err = told_now(k, &f);
	asked->busy = false;
	asked->err = k->err;
	asked->err_at = clock_ms();
	asked->why = k->why;
	list = asked->waiters;
	asked->waiters = NULL;
	/* Who cannot be asked does not take back what was said before. */
	if (k->err && f->measured && fs_unreachable(k->err))
		k->err = 0;
	pthread_mutex_unlock(&k->snap->resolver->lock);
	/* What began to be made meanwhile began with them. */
	if (changed)
		make_way(k);
	while ((w = list)) {
		list = w->next;
		((fs_measure_cb *)w->cb)(w->arg, k->err, &k->why,
			k->err ? NULL : &f->entry);
		free(w);
	}
	fs_snap_unref(k->snap);
	free(k);
}

static void take_answer(struct pool_job *job)
{
	struct asking *k = (struct asking *)job;

	if (!k->err && k->got.size > INT64_MAX)
		k->err = error_set(&k->why, -EIO, "the hub tells no size");
	if (!k->err)
		remember(k->snap, k->fact->entry.path, &k->got);
	settle(k);
}

/* On the engine thread. */
static void told(void *arg, int err, const struct error *why,
	const struct fetch_fact *got)
{
	struct asking *k = arg;

	k->err = err;
	if (why)
		k->why = *why;
	if (!err)
		k->got = *got;
	k->job.run = take_answer;
	pool_add(k->snap->resolver->work, &k->job);
}

/* Another tool may have it, and a digest say that it is the right one. */
static int foreign(struct asking *k)
{
	const struct listing_entry *e = &k->fact->entry;
	struct cache_name name = fs_stack_name(k->snap, e);

	name.size = CACHE_SIZE_ANY;
	k->got.id = k->fact->listed;
	return cache_foreign_check(k->snap->resolver->cache, &name,
		&k->got.size) == 1 ? 0 : -ENOENT;
}

/* What another one is told from is what the index has, not what the hub says
 * first here. */
static void take_known(struct asking *k)
{
	pthread_mutex_lock(&k->snap->resolver->lock);
	if (!k->fact->measured)
		found(k->fact, &k->got);
	pthread_mutex_unlock(&k->snap->resolver->lock);
}

/* Another process may have asked since we looked. */
static void look(struct pool_job *job)
{
	struct asking *k = (struct asking *)job;
	struct fs_snap *s = k->snap;
	const struct listing_entry *e = &k->fact->entry;
	bool known = !recall(s, e->path, &k->got);

	if (known)
		take_known(k);
	if (!k->again && known) {
		settle(k);
	} else if (s->resolver->offline && !foreign(k)) {
		take_answer(job);
	} else if (s->resolver->offline) {
		k->err = error_set(&k->why, -EHOSTUNREACH,
			"%s: its size is not known here, and the network is "
			"switched off", e->path);
		settle(k);
	} else {
		fetch_measure(s->hub->fetch, s->repo, s->revision, e->path,
			&k->fact->listed, told, k);
	}
}

/* Under the lock; as join() of resolve.c. */
static int join(struct asking *k, fs_measure_cb *cb, void *arg)
{
	struct fact *f = k->fact;

	if (f->measured && !due(k->snap, f))
		return 0;
	if (!f->busy && f->err && clock_ms() - f->err_at < FS_NEGATIVE_MS) {
		k->why = f->why;
		return f->measured && fs_unreachable(f->err) ? 0 : f->err;
	}
	k->again = due(k->snap, f);
	k->doubts = k->snap->doubts;
	k->wrong = f->wrong;
	if (fs_waiter_add(&f->waiters, (void (*)(void))cb, arg))
		return -ENOMEM;
	if (f->busy)
		return -EINPROGRESS;
	f->busy = true;
	k->snap->refs++;
	return -EAGAIN;
}

void fs_measure(struct fs_snap *s, const struct listing_entry *e,
	fs_measure_cb *cb, void *arg)
{
	struct asking *k;
	int r = -ENOMEM;

	if (e->size != LISTING_SIZE_UNKNOWN) {
		cb(arg, 0, NULL, e);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (k) {
		k->job.run = look;
		k->snap = s;
		pthread_mutex_lock(&s->resolver->lock);
		k->fact = fact_of(s, e);
		if (k->fact)
			r = join(k, cb, arg);
		pthread_mutex_unlock(&s->resolver->lock);
	}
	if (r == -EAGAIN) {
		pool_add(s->resolver->work, &k->job);
		return;
	}
	if (r != -EINPROGRESS)
		cb(arg, r, k ? &k->why : NULL, r ? NULL : &k->fact->entry);
	free(k);
}

/* ---- contradicted --------------------------------------------------------------- */

struct dropping {
	struct pool_job job;
	struct fs_snap *snap;		/* a reference */
	const struct fact *fact;	/* the snapshot's */
};

/* Other processes, and the next one, shall not believe it either. Somebody may
 * know better by now. */
static void drop(struct pool_job *job)
{
	struct dropping *d = (struct dropping *)job;
	const struct listing_entry *e = &d->fact->entry;
	char *key = key_of(d->snap, e->path);
	struct fetch_fact here;

	if (key && !recall(d->snap, e->path, &here) && here.size == e->size)
		(void) cache_index_del(d->snap->resolver->cache,
			CACHE_KIND_FACT, key);
	free(key);
	fs_snap_unref(d->snap);
	free(d);
}

/* Under the lock. False: it is not what was measured. */
static bool doubt(struct fs_resolver *r, const char *key, const char *path,
	uint64_t size, struct dropping *ret)
{
	struct fs_snap *s = map_get(&r->snaps, key);
	struct fact *f = s ? map_get(&s->facts, path) : NULL;

	if (!f || !f->measured || f->entry.size != size)
		return false;
	f->wrong++;
	s->refs++;
	*ret = (struct dropping){ { .run = drop }, s, f };
	return true;
}

void fs_measure_contradicted(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *revision, const char *path,
	uint64_t size)
{
	char *key = fs_name_key(hub->name, repo, revision);
	struct dropping *d = calloc(1, sizeof(*d));
	struct cache_name name;
	bool is = false;

	if (key && d) {
		pthread_mutex_lock(&r->lock);
		is = doubt(r, key, path, size, d);
		pthread_mutex_unlock(&r->lock);
	}
	free(key);
	if (!is) {
		free(d);
		return;
	}
	atomic_fetch_add(&r->contradicted, 1);
	name = fs_stack_name(d->snap, &d->fact->entry);
	cache_name_vain(r->cache, &name);
	if (r->forget_sizes)
		r->forget_sizes(r->forget_arg, d->snap, NULL);
	pool_add(r->work, &d->job);
}

/* ---- waiting --------------------------------------------------------------------- */

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;			/* lock */
	int err;			/* lock */
	struct error why;		/* lock */
	const struct listing_entry *e;	/* lock */
};

static void arrive(void *arg, int err, const struct error *why,
	const struct listing_entry *e)
{
	struct wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	w->err = err;
	if (err && why)
		w->why = *why;
	w->e = e;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int fs_measure_wait(struct fs_snap *s, const struct listing_entry *e,
	const struct listing_entry **ret, struct error *why)
{
	struct wait w = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };

	fs_measure(s, e, arrive, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	if (w.err)
		return error_set(why, w.err, "%s", error_text(&w.why, w.err));
	*ret = w.e;
	return 0;
}
