#include "config.h"

#include "fetch/search.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "fetch/document.h"
#include "fetch/hub.h"
#include "fetch/url.h"

struct search {
	struct fetch_task task;
	struct fetch_hub *hub;
	char *words;
	struct fetch_hits hits;
	struct fetch_document *doc;
	unsigned pages;
	fetch_hits_cb *cb;
	void *arg;
};

/* ---- hits ---------------------------------------------------------------------- */

int fetch_hits_add(struct fetch_hits *l, const char *repo,
	const char *task, int64_t downloads, int64_t likes)
{
	struct fetch_hit *v;

	if (l->n >= l->max && !l->all)
		return -EFBIG;
	v = reallocarray(l->v, l->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	v[l->n] = (struct fetch_hit){ strdup(repo), task ? strdup(task) : NULL,
		downloads, likes };
	if (!v[l->n].repo || (task && !v[l->n].task)) {
		free(v[l->n].repo);
		free(v[l->n].task);
		return -ENOMEM;
	}
	l->n++;
	return 0;
}

bool fetch_words_in(const char *text, const char *words)
{
	char word[256];

	while (*(words += strspn(words, " "))) {
		size_t n = strcspn(words, " ");

		if (n >= sizeof(word))
			return false;
		memcpy(word, words, n);
		word[n] = '\0';
		if (!strcasestr(text, word))
			return false;
		words += n;
	}
	return true;
}

void fetch_hits_done(struct fetch_hits *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].repo);
		free(l->v[i].task);
	}
	free(l->v);
	*l = (struct fetch_hits){ .max = l->max };
}

static int64_t count(const json_t *obj, const char *key)
{
	uint64_t v;

	return json_u64(obj, key, &v) ? -1 : (int64_t)v;
}

int fetch_hf_hits(const void *text, size_t len, bool (*ok)(const char *repo),
	struct fetch_hits *l, struct error *why)
{
	json_t *j cleanup_json = NULL, *e;
	size_t i;
	int r = json_parse(text, len, DOCUMENT_MAX, &j, why);

	if (r || !json_is_array(j))
		return error_set(why, r == -ENOMEM ? r : -EIO,
			"the hub's answer is no list");
	json_array_foreach(j, i, e) {
		const char *id = json_str(e, "id");

		if (!id || !ok(id))
			continue;
		r = fetch_hits_add(l, id, json_str(e, "pipeline_tag"),
			count(e, "downloads"), count(e, "likes"));
		if (r)
			break;
	}
	return r == -EFBIG ? 0 : r;
}

/* ---- pages --------------------------------------------------------------------- */

/* Ends the search. */
static void finish(struct search *s, int err, const struct error *why)
{
	s->cb(s->arg, err, why, err ? NULL : &s->hits);
	fetch_hits_done(&s->hits);
	fetch_document_free(s->doc);
	free(s->words);
	free(s);
}

/* A mirror on disk cannot search: it has them all. */
static void keep_found(struct search *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->hits.n; i++) {
		struct fetch_hit *h = &s->hits.v[i];

		if (fetch_words_in(h->repo, s->words)) {
			s->hits.v[kept++] = *h;
		} else {
			free(h->repo);
			free(h->task);
		}
	}
	for (s->hits.n = kept; s->hits.n > s->hits.max;) {
		free(s->hits.v[--s->hits.n].repo);
		free(s->hits.v[s->hits.n].task);
	}
}

static void on_page(struct fetch_document *d, int err, const struct error *why)
{
	struct search *s = d->arg;
	struct error mine = { 0 };

	if (!err) {
		err = s->hub->ops->search_page(d->body.data, d->body.len,
			&s->hits, &mine);
		why = &mine;
	}
	if (s->hits.all)
		keep_found(s);
	if (!err && d->next && s->hits.n < s->hits.max &&
	    ++s->pages < FETCH_SEARCH_PAGES)
		fetch_document_ask(d, steal_ptr(d->next));
	else
		finish(s, err, why);
}

/* Of an adapter that turns the pages itself. */
static void on_found(void *arg, int err, const struct error *why)
{
	struct search *s = arg;

	if (s->hits.all)
		keep_found(s);
	finish(s, err, why);
}

static void run(struct fetch_task *task)
{
	struct search *s = (struct search *)(void *)((char *)task -
		offsetof(struct search, task));
	struct buf url cleanup_buf = BUF_INIT(URL_MAX);
	struct error why = { 0 };
	int r;

	if (s->hub->ops->search) {
		s->hub->ops->search(s->hub, s->words, &s->hits, on_found, s);
		return;
	}
	r = s->hub->ops->search_url(s->hub, s->words, s->hits.max, &url);
	if (!r) {
		s->doc = fetch_document_new(s->hub->engine,
			fetch_hub_auth(s->hub, (const char *)url.data));
		r = s->doc ? 0 : -ENOMEM;
	}
	if (r) {
		(void) error_set(&why, r, "no address for this search");
		finish(s, r, &why);
		return;
	}
	s->doc->arg = s;
	s->doc->done = on_page;
	fetch_document_ask(s->doc, (char *)steal_ptr(url.data));
}

bool fetch_can_search(const struct fetch_hub *h)
{
	return h->ops->search || h->ops->search_url;
}

void fetch_search(struct fetch_hub *h, const char *words, size_t limit,
	fetch_hits_cb *cb, void *arg)
{
	struct search *s = calloc(1, sizeof(*s));

	if (s)
		s->words = strdup(words);
	if (!s || !s->words) {
		free(s);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	s->hub = h;
	s->hits.max = limit;
	s->hits.all = fetch_url_is_file(h->endpoints[0]);
	s->cb = cb;
	s->arg = arg;
	s->task.run = run;
	fetch_engine_post(h->engine, &s->task);
}
