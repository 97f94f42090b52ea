#include "config.h"

#include "fetch/kaggle-api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fetch/kaggle-json.h"
#include "fetch/kaggle-name.h"
#include "fetch/url.h"

#define PAGES_MAX 4096		/* of one listing */
#define PAGE_SIZE 200		/* entries; what the hub's own client asks */

/* Where the RPC face of the real hub is; of any other endpoint it lies below
 * the endpoint (hubs.md 3.4). */
#define REAL_ROOT "https://www.kaggle.com"
#define REAL_RPC "https://api.kaggle.com"

static const struct {
	const char *rest;	/* last part of the way; NULL: RPC only */
	const char *rpc;
	bool paged;
} ways[] = {
	[KAGGLE_MODELS] = { "list", "ListModels", true },
	[KAGGLE_SEARCH] = { "list", "ListModels", true },
	[KAGGLE_INSTANCES] = { "list", "ListModelInstances", true },
	[KAGGLE_INSTANCE] = { "get", "GetModelInstance", false },
	[KAGGLE_VERSIONS] = { "list", "ListModelInstanceVersions", true },
	[KAGGLE_FILES] = { "files", "ListModelInstanceVersionFiles", true },
	[KAGGLE_DOWNLOAD] = { NULL, "DownloadModelInstanceVersion", false },
};

int fetch_kaggle_new(struct fetch_hub *h, unsigned endpoint,
	struct fetch_kaggle **ret, struct error *why)
{
	static const char head[] = "Authorization: ";
	const char *shown = h->auths[endpoint].header;
	struct fetch_kaggle *k = calloc(1, sizeof(*k));
	unsigned n = h->n_endpoints;
	int r;

	if (!k)
		return error_set(why, -ENOMEM, "out of memory");
	k->hub = h;
	k->endpoint = endpoint;
	k->rpc_only = !strcmp(conf_get(h->conf, "kaggle.api"), "rpc");
	k->rpc = k->rpc_only;
	if (!strcmp(h->endpoints[endpoint], REAL_ROOT)) {
		r = fetch_url_endpoint(REAL_RPC, &h->endpoints[n], why);
		if (!r)
			r = fetch_auth_init(&h->auths[n], REAL_RPC, shown ?
				shown + sizeof(head) - 1 : NULL, why);
		if (r) {
			free(k);
			return r;
		}
		h->n_endpoints++;
	}
	*ret = k;
	return 0;
}

char *fetch_kaggle_credentials(const struct conf *c)
{
	struct conf_kaggle who;
	char *shown;

	conf_kaggle_login(c, &who);
	shown = who.token ? fetch_auth_bearer(who.token) :
		fetch_auth_basic(who.user, who.key);
	conf_kaggle_done(&who);
	return shown;
}

/* ---- addresses ---- */

/* What all models are asked by; NULL: it is one that is asked for. */
static const char *filter_of(const struct fetch_kaggle_call *c)
{
	return c->method == KAGGLE_MODELS ? "owner" :
		c->method == KAGGLE_SEARCH ? "search" : NULL;
}

static size_t rows_of(const struct fetch_kaggle_call *c)
{
	if (c->peek)
		return 1;
	return c->rows && c->rows < PAGE_SIZE ? c->rows : PAGE_SIZE;
}

static int rest_url(const struct fetch_kaggle_call *c, const char *root,
	struct buf *b)
{
	const char *filter = filter_of(c);
	int r = buf_printf(b, "%s/api/v1/models/", root);

	if (!r && filter)
		r = buf_printf(b, "list?%s=", filter);
	if (!r && filter)
		r = fetch_url_escape(b, c->name, false);
	else if (!r)
		r = buf_printf(b, "%s%s%s/%s", c->name, c->version ? "/" : "",
			c->version ? c->version : "", ways[c->method].rest);
	if (!r && ways[c->method].paged)
		r = buf_printf(b, "%cpageSize=%zu", filter ? '&' : '?',
			rows_of(c));
	if (!r && c->token)
		r = buf_append_str(b, "&pageToken=");
	return r || !c->token ? r : fetch_url_escape(b, c->token, false);
}

static int rpc_url(const struct fetch_kaggle_call *c, const char *root,
	struct buf *b)
{
	bool real = !strcmp(root, REAL_ROOT);

	return buf_printf(b, "%s%s/v1/models.ModelApiService/%s",
		real ? REAL_RPC : root, real ? "" : "/api",
		ways[c->method].rpc);
}

static int set_part(json_t *j, const char *key, const char *s, size_t n)
{
	return json_object_set_new(j, key, json_stringn(s, n)) ? -ENOMEM : 0;
}

/* OWNER/MODEL/FRAMEWORK/VARIATION, as far as there. */
static int set_name(json_t *j, const char *name)
{
	static const char *const keys[] = { "ownerSlug", "modelSlug",
		"framework", "instanceSlug" };
	char framework[KAGGLE_FRAMEWORK_MAX];
	int r = 0;

	for (unsigned i = 0; i < 4 && *name && !r; i++) {
		size_t n = strcspn(name, "/");

		if (i != 2)
			r = set_part(j, keys[i], name, n);
		else if (fetch_kaggle_framework_enum(name, n, framework))
			r = set_part(j, keys[i], framework,
				strlen(framework));
		else
			r = -EINVAL;
		name += n + (name[n] == '/');
	}
	return r;
}

static char *rpc_post(const struct fetch_kaggle_call *c)
{
	json_t *j cleanup_json = json_object();
	const char *filter = filter_of(c);
	int r = j ? 0 : -ENOMEM;

	if (!r && filter)
		r = set_part(j, filter, c->name, strlen(c->name));
	else if (!r)
		r = set_name(j, c->name);
	if (!r && c->version)
		r = json_object_set_new(j, "versionNumber",
			json_integer(atoi(c->version)));
	if (!r && c->path && strcmp(c->path, FETCH_ARCHIVE_PATH) != 0)
		r = set_part(j, "path", c->path, strlen(c->path));
	if (!r && ways[c->method].paged)
		r = json_object_set_new(j, "pageSize",
			json_integer((json_int_t)rows_of(c)));
	if (!r && c->token)
		r = set_part(j, "pageToken", c->token, strlen(c->token));
	return r ? NULL : json_dumps(j, JSON_COMPACT);
}

int fetch_kaggle_file_url(const char *root, const char *name,
	const char *version, const char *path, struct buf *ret)
{
	int r = buf_printf(ret, "%s/api/v1/models/%s/%s/download", root, name,
		version);

	if (r || !strcmp(path, FETCH_ARCHIVE_PATH))
		return r;
	r = buf_append_str(ret, "/");
	return r ? r : fetch_url_escape(ret, path, true);
}

/* ---- one exchange ---- */

static struct fetch_kaggle_call *call_of(struct fetch_transfer *t)
{
	struct fetch_document *d = (struct fetch_document *)(void *)
		((char *)t - offsetof(struct fetch_document, transfer));

	return d->arg;
}

static unsigned judge(struct fetch_transfer *t, char *words, size_t room)
{
	const struct buf *body = &call_of(t)->doc->body;

	return fetch_kaggle_refusal(body->data, body->len, words, room);
}

/* A model that is not there looks like a private one (hubs.md 3.4). */
struct fetch_status fetch_kaggle_meaning(unsigned status, const char *words,
	struct fetch_status usual)
{
	if ((status == 401 || status == 403) &&
	    !strncmp(words, "Permission '", 12))
		return (struct fetch_status){ -ENOENT, FETCH_AGAIN_NEVER };
	return usual;
}

static int ask(struct fetch_kaggle_call *c)
{
	const struct fetch_hub *hub = c->kaggle->hub;
	const char *root = hub->endpoints[c->kaggle->endpoint];
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct fetch_document *d = c->doc;
	int r = c->rpc ? rpc_url(c, root, &b) : rest_url(c, root, &b);
	char *url;

	free(c->post);
	c->post = !r && c->rpc ? rpc_post(c) : NULL;
	if (r || (c->rpc && !c->post))
		return r ? r : -ENOMEM;
	url = strdup((const char *)b.data);
	if (!url)
		return -ENOMEM;
	d->post = c->post;
	d->lines = c->rpc ? "Content-Type: application/json" : NULL;
	d->transfer.auth = fetch_hub_auth(hub, url);
	fetch_document_ask(d, url);
	return 0;
}

/* Was it the way that is not there, rather than what was asked for? The API
 * itself answers in JSON. */
static bool no_such_way(const struct fetch_kaggle_call *c)
{
	const struct fetch_transfer *t = &c->doc->transfer;
	json_t *j cleanup_json = NULL;

	if (c->rpc || fetch_url_is_file(c->doc->url) || c->doc->body.len)
		return false;
	return (t->status == 404 || t->status == 405 || t->status == 410) &&
		(!t->said_len || json_parse(t->said, t->said_len,
			t->said_len, &j, NULL) || !json_is_object(j));
}

/* 1: there is another page. */
static int take(struct fetch_kaggle_call *c, struct error *why)
{
	json_t *j cleanup_json = NULL;
	cleanup_free char *next = NULL;
	int r = fetch_kaggle_page(c->doc->body.data, c->doc->body.len, &j,
		&next, why);

	if (!r)
		r = c->page(c, j, why);
	if (r || !next || c->peek)
		return r;
	if (++c->pages >= PAGES_MAX || (c->token && !strcmp(c->token, next)))
		return error_set(why, -EIO, "Kaggle's listing has no end");
	free(c->token);
	c->token = steal_ptr(next);
	return 1;
}

/* Say what can be done about it. */
static void consent(const struct fetch_kaggle_call *c, struct error *why)
{
	const char *model = strchr(c->name, '/');
	size_t n = model ? (size_t)(model + 1 - c->name) +
		strcspn(model + 1, "/") : strlen(c->name);
	struct error old = *why;

	error_set(why, old.code, "%.300s; log in (kaggle.token), and accept "
		"the model's terms at " REAL_ROOT "/models/%.*s", old.text,
		(int)n, c->name);
}

static void on_reply(struct fetch_document *d, int err,
	const struct error *why)
{
	struct fetch_kaggle_call *c = d->arg;
	struct error mine = { 0 };

	if (err)
		error_set(&mine, err, "%s", error_text(why, err));
	if (err && !c->kaggle->rpc_only && no_such_way(c)) {
		c->rpc = true;
		err = ask(c);
		if (!err)
			return;
	} else if (!err && c->doc->transfer.status < 300) {
		c->kaggle->rpc |= c->rpc && ways[c->method].rest;
		err = take(c, &mine);
	}
	if (err == 1) {
		err = ask(c);
		if (!err)
			return;
	}
	if (err == -EACCES && c->method != KAGGLE_SEARCH)
		consent(c, &mine);
	c->done(c, err, err ? &mine : NULL);
}

int fetch_kaggle_call_start(struct fetch_kaggle_call *c)
{
	free(c->token);
	c->token = NULL;
	c->pages = 0;
	c->rpc = c->kaggle->rpc || !ways[c->method].rest;
	if (!c->doc)
		c->doc = fetch_document_new(c->kaggle->hub->engine, NULL);
	if (!c->doc)
		return -ENOMEM;
	c->doc->arg = c;
	c->doc->done = on_reply;
	c->doc->transfer.judge = judge;
	c->doc->transfer.meaning = fetch_kaggle_meaning;
	c->doc->transfer.arrived = c->arrived;
	return ask(c);
}

void fetch_kaggle_call_done(struct fetch_kaggle_call *c)
{
	fetch_document_free(c->doc);
	free(c->token);
	free(c->post);
	c->doc = NULL;
	c->token = c->post = NULL;
}

/* ---- where a file lies, by RPC ---- */

#define LOCATED_MIN_MS 60000	/* of an address that tells no end */

struct locating {
	struct fetch_kaggle_call call;
	char *name, *version, *path;
	struct fetch_located found;
	fetch_locate_cb *cb;
	void *arg;
};

static bool arrived(struct fetch_transfer *t, const char *to)
{
	struct locating *l = (struct locating *)(void *)((char *)call_of(t) -
		offsetof(struct locating, call));

	l->found.url = strdup(to);
	l->found.life_ms = fetch_url_life(to, clock_wall());
	if (l->found.life_ms < LOCATED_MIN_MS)
		l->found.life_ms = LOCATED_MIN_MS;
	return true;
}

static int no_page(struct fetch_kaggle_call *c, const json_t *page,
	struct error *why)
{
	(void) c;
	(void) page;
	return error_set(why, -EIO, "Kaggle tells no place of the file");
}

static void on_located(struct fetch_kaggle_call *c, int err,
	const struct error *why)
{
	struct locating *l = (struct locating *)(void *)((char *)c -
		offsetof(struct locating, call));

	if (!err && !l->found.url)
		err = -ENOMEM;
	if (err)
		fetch_located_done(&l->found);
	l->cb(l->arg, err, why, err ? NULL : &l->found);
	fetch_kaggle_call_done(&l->call);
	free(l->name);
	free(l->version);
	free(l->path);
	free(l);
}

void fetch_kaggle_locate(struct fetch_kaggle *k, const char *name,
	const char *version, const char *path, fetch_locate_cb *cb, void *arg)
{
	struct locating *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (!l) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	l->cb = cb;
	l->arg = arg;
	l->name = strdup(name);
	l->version = strdup(version);
	l->path = strdup(path);
	l->call = (struct fetch_kaggle_call){ .kaggle = k,
		.method = KAGGLE_DOWNLOAD, .name = l->name,
		.version = l->version, .path = l->path, .page = no_page,
		.arrived = arrived, .done = on_located };
	if (l->name && l->version && l->path)
		r = fetch_kaggle_call_start(&l->call);
	if (r)
		on_located(&l->call, r, NULL);
}
