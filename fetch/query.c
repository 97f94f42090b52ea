#include "config.h"

#include "fetch/query.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "fetch/hub.h"
#include "fetch/snapshot.h"

struct fetch_waiter {
	fetch_snapshot_cb *snapshot;
	fetch_listing_cb *listing;
	void *arg;
	struct fetch_waiter *next;
};

static void query_free(struct fetch_query *q)
{
	if (!q)
		return;
	free(q->name);
	free(q->revision);
	free(q->key);
	free(q);
}

int fetch_listing_copy(const struct listing *from, struct listing *ret)
{
	struct listing l = { 0 };
	int r = 0;

	for (size_t i = 0; i < from->n && !r; i++)
		r = listing_add(&l, from->v[i].path, from->v[i].kind,
			from->v[i].size, &from->v[i].id);
	if (r) {
		listing_done(&l);
		return r;
	}
	l.refused = from->refused;
	*ret = l;
	return 0;
}

/* `last`: the answer itself may be given away. */
static void tell(struct fetch_waiter *w, int err, const struct error *why,
	struct fetch_snapshot *snap, struct listing *l, bool last)
{
	struct fetch_snapshot *s = NULL;
	struct listing copy = { 0 };

	if (w->snapshot) {
		if (!err)
			s = last ? snap : fetch_snapshot_copy(snap);
		w->snapshot(w->arg, err || s ? err : -ENOMEM, why, s);
		return;
	}
	if (!err && last)
		copy = *l;
	else if (!err)
		err = fetch_listing_copy(l, &copy);
	w->listing(w->arg, err, why, err ? NULL : &copy);
}

void fetch_query_answer(struct fetch_query *q, int err,
	const struct error *why, struct fetch_snapshot *snap,
	struct listing *l)
{
	struct fetch_hub *h = q->hub;
	struct fetch_waiter *w, *next;

	pthread_mutex_lock(&h->lock);
	(void) map_del(&h->queries, q->key);
	w = q->waiters;
	pthread_mutex_unlock(&h->lock);
	for (; w; w = next) {
		next = w->next;
		tell(w, err, why, snap, l, !next);
		free(w);
	}
	query_free(q);
}

static void run(struct fetch_task *task)
{
	struct fetch_query *q = (struct fetch_query *)(void *)((char *)task -
		offsetof(struct fetch_query, task));
	const struct fetch_hub_ops *ops = q->hub->ops;
	struct error why = { 0 };

	if (q->what == FETCH_LIST_OWNER ? !ops->owner_ok(q->name) :
			!ops->repo_ok(q->name)) {
		error_set(&why, -ENOENT, "%s has no such name: %.100s",
			ops->kind, q->name);
		fetch_query_answer(q, -ENOENT, &why, NULL, NULL);
		return;
	}
	ops->answer(q);
}

static struct fetch_query *query_new(struct fetch_hub *h,
	enum fetch_what what, const char *name, const char *revision,
	char *key)
{
	struct fetch_query *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->hub = h;
	q->what = what;
	q->name = strdup(name);
	q->revision = strdup(revision);
	if (!q->name || !q->revision || map_put(&h->queries, key, q, NULL)) {
		query_free(q);
		return NULL;
	}
	q->key = key;
	q->task.run = run;
	return q;
}

void fetch_query_ask(struct fetch_hub *h, enum fetch_what what,
	const char *name, const char *revision, fetch_snapshot_cb *snapshot,
	fetch_listing_cb *listing, void *arg)
{
	struct fetch_waiter *w = malloc(sizeof(*w));
	struct fetch_query *q = NULL;
	char *key = NULL;
	bool fresh = false;

	if (!revision)
		revision = "";
	if (w && asprintf(&key, "%d\n%s\n%s", what, name, revision) < 0)
		key = NULL;
	if (key) {
		*w = (struct fetch_waiter){ snapshot, listing, arg, NULL };
		pthread_mutex_lock(&h->lock);
		q = map_get(&h->queries, key);
		if (!q) {
			q = query_new(h, what, name, revision, key);
			fresh = q != NULL;
		}
		if (q) {
			w->next = q->waiters;
			q->waiters = w;
		}
		pthread_mutex_unlock(&h->lock);
	}
	if (fresh)
		fetch_engine_post(h->engine, &q->task);
	else
		free(key);
	if (q)
		return;
	free(w);
	if (snapshot)
		snapshot(arg, -ENOMEM, NULL, NULL);
	else
		listing(arg, -ENOMEM, NULL, NULL);
}
