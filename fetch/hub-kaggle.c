/*
 * Kaggle Models (hubs.md 3.4): OWNER/MODEL/FRAMEWORK/VARIATION/VERSION. What is
 * asked is in kaggle-query.c, how in kaggle-api.c; names and replies are read
 * in kaggle-name.c and kaggle-json.c.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/hub.h"
#include "fetch/kaggle-json.h"
#include "fetch/kaggle-name.h"
#include "fetch/kaggle-query.h"
#include "fetch/search.h"

#define SEARCH_PAGE (size_t)50

static bool kaggle_repo_ok(const char *repo)
{
	return fetch_kaggle_parts(repo) == 4;
}

static bool kaggle_owner_ok(const char *owner)
{
	unsigned parts = fetch_kaggle_parts(owner);

	return parts >= 1 && parts <= 4;
}

static int kaggle_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth, struct buf *ret)
{
	const struct fetch_kaggle *k = h->own;

	if (nth || k->rpc_only)
		return -ENOENT;
	if (!kaggle_repo_ok(repo) || !fetch_kaggle_version_ok(revision,
			strlen(revision)))
		return -EINVAL;
	return fetch_kaggle_file_url(h->endpoints[0], repo, revision, path,
		ret);
}

static void kaggle_locate(struct fetch_hub *h, const struct fetch_file *f,
	fetch_locate_cb *cb, void *arg)
{
	fetch_kaggle_locate(h->own, f->repo, f->revision, f->path, cb, arg);
}

static void kaggle_answer(struct fetch_query *q)
{
	struct fetch_kaggle *k = q->hub->own;
	cleanup_free char *name = fetch_kaggle_parts(q->name) == 1 ?
		strdup(q->name) : fetch_kaggle_canonical(q->name);
	struct error why = { 0 };

	if (!name || (*q->revision && !fetch_kaggle_version_ok(q->revision,
			strlen(q->revision)))) {
		error_set(&why, -ENOENT, "Kaggle has no such name: %.100s %s",
			q->name, q->revision);
		fetch_query_answer(q, -ENOENT, &why, NULL, NULL);
		return;
	}
	switch (q->what) {
	case FETCH_RESOLVE:
		fetch_kaggle_resolve(q, k, name, q->revision, NULL);
		break;
	case FETCH_LIST:
		fetch_kaggle_list(q, k, name, q->revision, NULL);
		break;
	case FETCH_LIST_OWNER:
		fetch_kaggle_below(q, k, name);
		break;
	}
}

static int kaggle_open(struct fetch_hub *h, struct error *why)
{
	return fetch_kaggle_new(h, 0, (struct fetch_kaggle **)&h->own, why);
}

static void kaggle_close(struct fetch_hub *h)
{
	free(h->own);
}

static char *kaggle_credentials(const struct conf *c, unsigned nth)
{
	(void) nth;
	return fetch_kaggle_credentials(c);
}

/* ---- searching ---- */

struct finding {
	struct fetch_kaggle_call call;
	struct fetch_hits *hits;
	bool enough;
	fetch_found_cb *done;
	void *arg;
};

static struct finding *finding_of(struct fetch_kaggle_call *c)
{
	return (struct finding *)(void *)((char *)c -
		offsetof(struct finding, call));
}

static int on_hits(struct fetch_kaggle_call *c, const json_t *page,
	struct error *why)
{
	struct finding *f = finding_of(c);
	int r = fetch_kaggle_hits(page, f->hits, why);

	f->enough = r == -EFBIG || (!r && !f->hits->all &&
		(f->hits->n >= f->hits->max ||
		 c->pages + 1 >= FETCH_SEARCH_PAGES));
	return f->enough ? -EFBIG : r;
}

static void on_found(struct fetch_kaggle_call *c, int err,
	const struct error *why)
{
	struct finding *f = finding_of(c);

	if (f->enough)
		err = 0;
	f->done(f->arg, err, err ? why : NULL);
	fetch_kaggle_call_done(&f->call);
	free(f);
}

static void kaggle_search(struct fetch_hub *h, const char *words,
	struct fetch_hits *ret, fetch_found_cb *done, void *arg)
{
	struct finding *f = calloc(1, sizeof(*f));
	struct error why = { 0 };
	int r;

	if (!f) {
		done(arg, -ENOMEM, NULL);
		return;
	}
	f->hits = ret;
	f->done = done;
	f->arg = arg;
	f->call = (struct fetch_kaggle_call){ .kaggle = h->own,
		.method = KAGGLE_SEARCH, .name = words,
		.rows = ret->max < SEARCH_PAGE ? ret->max : SEARCH_PAGE,
		.page = on_hits, .done = on_found };
	r = fetch_kaggle_call_start(&f->call);
	if (!r)
		return;
	(void) error_set(&why, r, "this cannot be searched for");
	on_found(&f->call, r, &why);
}

const struct fetch_hub_ops fetch_hub_kaggle = {
	.kind = "kaggle",
	.grammar = FETCH_VERSIONS,
	.endpoint_keys = { "kaggle.endpoint" },
	.open = kaggle_open,
	.close = kaggle_close,
	.credentials = kaggle_credentials,
	.repo_ok = kaggle_repo_ok,
	.owner_ok = kaggle_owner_ok,
	.name = fetch_kaggle_name,
	.answer = kaggle_answer,
	.url = kaggle_url,
	.locate = kaggle_locate,
	.no_head = true,
	.digest = fetch_digest_goog,
	.meaning = fetch_kaggle_meaning,
	.search = kaggle_search,
};
