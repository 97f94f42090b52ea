/* The table of hubs, and the door's functions that only look things up. */
#include "config.h"

#include "fetch/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/fetch.h"
#include "fetch/url.h"

static const struct fetch_hub_ops *const hub_table[] = {
	&fetch_hub_huggingface,
};

struct fetch {
	struct fetch_engine *engine;
	pthread_mutex_t lock;
	struct fetch_hub *hubs;		/* lock */
};

int fetch_new(const struct conf *conf, struct fetch **ret, struct error *why)
{
	struct fetch *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return error_set(why, -ENOMEM, "out of memory");
	r = fetch_engine_new(conf, &f->engine, why);
	if (r) {
		free(f);
		return r;
	}
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

static void hub_free(struct fetch_hub *h)
{
	pthread_mutex_destroy(&h->lock);
	map_done(&h->queries);
	fetch_auth_done(&h->auth);
	free(h->endpoint);
	free(h);
}

void fetch_free(struct fetch *f)
{
	struct fetch_hub *next;

	if (!f)
		return;
	fetch_engine_free(f->engine);
	for (struct fetch_hub *h = f->hubs; h; h = next) {
		next = h->next;
		hub_free(h);
	}
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static int hub_new(struct fetch *f, const struct fetch_hub_ops *ops,
	const struct conf *conf, struct fetch_hub **ret, struct error *why)
{
	const char *endpoint = conf_get(conf, ops->endpoint_key);
	cleanup_free char *token = ops->token ? ops->token(conf) : NULL;
	struct fetch_hub *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return error_set(why, -ENOMEM, "out of memory");
	pthread_mutex_init(&h->lock, NULL);
	h->ops = ops;
	h->engine = f->engine;
	r = fetch_url_endpoint(endpoint ? endpoint : "", &h->endpoint, why);
	if (!r)
		r = fetch_auth_init(&h->auth, h->endpoint, token, why);
	if (r) {
		error_wrap(why, "%s", ops->endpoint_key);
		hub_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

int fetch_hub_open(struct fetch *f, const char *kind, const struct conf *conf,
	struct fetch_hub **ret, struct error *why)
{
	struct fetch_hub *h = NULL;
	int r;

	for (size_t i = 0; i < sizeof(hub_table) / sizeof(*hub_table); i++) {
		if (strcmp(hub_table[i]->kind, kind))
			continue;
		r = hub_new(f, hub_table[i], conf, &h, why);
		if (r)
			return r;
		pthread_mutex_lock(&f->lock);
		h->next = f->hubs;
		f->hubs = h;
		pthread_mutex_unlock(&f->lock);
		*ret = h;
		return 0;
	}
	return error_set(why, -ENOENT, "there is no hub %s", kind);
}

const char *fetch_hub_name(const struct fetch_hub *h)
{
	return h->ops->kind;
}

int fetch_repo_check(const struct fetch_hub *h, const char *repo)
{
	return h->ops->repo_ok(repo) ? 0 : -ENOENT;
}

void fetch_resolve(struct fetch_hub *h, const char *repo, const char *rev,
	fetch_snapshot_cb *cb, void *arg)
{
	fetch_query_ask(h, FETCH_RESOLVE, repo, rev, cb, NULL, arg);
}

void fetch_list(struct fetch_hub *h, const char *repo, const char *revision,
	fetch_listing_cb *cb, void *arg)
{
	fetch_query_ask(h, FETCH_LIST, repo, revision, NULL, cb, arg);
}

void fetch_list_owner(struct fetch_hub *h, const char *owner,
	fetch_listing_cb *cb, void *arg)
{
	fetch_query_ask(h, FETCH_LIST_OWNER, owner, "", NULL, cb, arg);
}

char *fetch_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);

	if (h->ops->url(h, repo, revision, path, &b))
		return NULL;
	return strdup((const char *)b.data);
}

void fetch_stats(struct fetch *f, struct fetch_stats *ret)
{
	struct fetch_counters *n = fetch_engine_counters(f->engine);

	*ret = (struct fetch_stats){
		.requests = atomic_load(&n->requests),
		.retries = atomic_load(&n->retries),
		.failures = atomic_load(&n->failures),
		.body_bytes = atomic_load(&n->body_bytes),
		.active = atomic_load(&n->active),
		.queued = atomic_load(&n->queued),
		.connections = atomic_load(&n->connections),
	};
}
