/* The table of hubs, and the door's functions that only look things up. */
#include "config.h"

#include "fetch/hub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/fetch.h"
#include "fetch/url.h"

static const struct fetch_hub_ops *const hub_table[] = {
	&fetch_hub_huggingface,
	&fetch_hub_kaggle,
	&fetch_hub_keras,
	&fetch_hub_torchhub,
	&fetch_hub_tensorflow,
	&fetch_hub_torchserve,
	&fetch_hub_torchvision,
	&fetch_hub_onnx,
};

struct fetch {
	struct fetch_engine *engine;
	struct cache *cache;
	fetch_contradicted_fn *contradicted;
	void *contradicted_arg;
	pthread_mutex_t lock;
	struct fetch_hub *hubs;		/* lock */
};

void fetch_keep_in(struct fetch *f, struct cache *cache)
{
	f->cache = cache;
}

void fetch_on_contradicted(struct fetch *f, fetch_contradicted_fn *fn,
	void *arg)
{
	f->contradicted = fn;
	f->contradicted_arg = arg;
}

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
	if (h->ops->close)
		h->ops->close(h);
	pthread_mutex_destroy(&h->lock);
	map_done(&h->queries);
	for (unsigned i = 0; i < FETCH_ENDPOINTS_MAX; i++) {
		fetch_auth_done(&h->auths[i]);
		free(h->endpoints[i]);
	}
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

static int endpoint_open(struct fetch_hub *h, const struct conf *conf,
	struct error *why)
{
	unsigned i = h->n_endpoints;
	const char *key = h->ops->endpoint_keys[i];
	const char *root = conf_get(conf, key);
	cleanup_free char *shown = h->ops->credentials ?
		h->ops->credentials(conf, i) : NULL;
	int r = fetch_url_endpoint(root ? root : "", &h->endpoints[i], why);

	if (!r)
		r = fetch_auth_init(&h->auths[i], h->endpoints[i], shown, why);
	if (r)
		error_wrap(why, "%s", key);
	else
		h->n_endpoints++;
	return r;
}

static int hub_new(struct fetch *f, const struct fetch_hub_ops *ops,
	const struct conf *conf, struct fetch_hub **ret, struct error *why)
{
	struct fetch_hub *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return error_set(why, -ENOMEM, "out of memory");
	pthread_mutex_init(&h->lock, NULL);
	h->ops = ops;
	h->engine = f->engine;
	h->cache = f->cache;
	h->contradicted = f->contradicted;
	h->contradicted_arg = f->contradicted_arg;
	while (!r && ops->endpoint_keys[h->n_endpoints])
		r = endpoint_open(h, conf, why);
	h->conf = conf;
	if (!r && ops->open)
		r = ops->open(h, why);
	h->conf = NULL;
	if (r) {
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

bool fetch_is_local(const struct fetch_hub *h)
{
	return h->ops->local;
}

bool fetch_lacks(const struct fetch_hub *h, const char *repo)
{
	return h->ops->lacks && h->ops->lacks(h, repo);
}

bool fetch_known(const struct fetch_hub *h, const char *path,
	struct fetch_known *ret)
{
	return h->ops->known && h->ops->known(h, path, ret);
}

const char *fetch_hub_endpoint(const struct fetch_hub *h)
{
	return h->endpoints[0];
}

enum fetch_grammar fetch_grammar(const struct fetch_hub *h)
{
	return h->ops->grammar;
}

enum fetch_name fetch_name(const struct fetch_hub *h, const char *path,
	size_t *ret_len)
{
	return h->ops->name ? h->ops->name(path, ret_len) : FETCH_NAME_NONE;
}

const struct fetch_auth *fetch_hub_auth(const struct fetch_hub *h,
	const char *url)
{
	for (unsigned i = 1; i < h->n_endpoints; i++)
		if (fetch_auth_for(&h->auths[i], url))
			return &h->auths[i];
	return &h->auths[0];
}

int fetch_repo_check(const struct fetch_hub *h, const char *repo)
{
	return h->ops->repo_ok(repo) ? 0 : -ENOENT;
}

int fetch_owner_check(const struct fetch_hub *h, const char *owner)
{
	return h->ops->owner_ok(owner) ? 0 : -ENOENT;
}

void fetch_resolve(struct fetch_hub *h, const char *repo, const char *rev,
	fetch_snapshot_cb *cb, void *arg)
{
	fetch_query_ask(h, FETCH_RESOLVE, repo, rev, cb, NULL, arg);
}

void fetch_recall(struct fetch_hub *h, const struct fetch_snapshot *s)
{
	if (h->ops->recall)
		h->ops->recall(h, s);
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

int fetch_linked_vet(const struct fetch_file *f, const struct fetch_reply *r,
	struct error *why)
{
	char etag[OBJID_HEX_MAX];
	struct objid id;
	uint64_t size;

	if (fetch_header_u64(fetch_reply_get(r, HEADER_LINKED_SIZE), &size) &&
	    size != f->size)
		return error_set(why, -EIO, "the hub now says the file has %"
			PRIu64 " bytes, its listing said %" PRIu64, size,
			f->size);
	if (!fetch_header_etag(fetch_reply_get(r, HEADER_LINKED_ETAG), etag,
			sizeof(etag)))
		return 0;
	/* of another kind than the listing's (a git id): says nothing */
	if (strlen(etag) != f->id.digits ||
	    objid_parse(f->id.alg, etag, &id) || objid_match(&id, &f->id))
		return 0;
	return error_set(why, -EIO, "another file lies there now than the hub "
		"listed: %s", etag);
}

char *fetch_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);

	if (h->ops->url(h, repo, revision, path, 0, &b))
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
