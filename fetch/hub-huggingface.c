/*
 * Hugging Face (hubs.md section 1): addresses, names, and what its replies
 * say of a file. Its JSON is read in huggingface-json.c.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fetch/document.h"
#include "fetch/hub.h"
#include "fetch/huggingface-json.h"
#include "fetch/owner-json.h"
#include "fetch/search.h"
#include "fetch/url.h"

#define PAGES_MAX 4096		/* of one listing */
#define NAME_MAX_BYTES 96	/* one part of a repository's name */
#define SEARCH_PAGE (size_t)100
#define COMMIT_DIGITS 40

/* ---- names ---- */

static bool part_ok(const char *s, size_t n)
{
	if (!n || n > NAME_MAX_BYTES)
		return false;
	if (s[0] == '-' || s[0] == '.' || s[n - 1] == '-' || s[n - 1] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!isascii(c) || !(isalnum(c) || c == '-' || c == '.' ||
				c == '_'))
			return false;
		if (i && (c == '-' || c == '.') && s[i - 1] == (char)c)
			return false;
	}
	return true;
}

static bool hf_owner_ok(const char *owner)
{
	return part_ok(owner, strlen(owner));
}

static bool hf_repo_ok(const char *repo)
{
	size_t n = strlen(repo), head = strcspn(repo, "/");

	if (n >= 4 && !strcmp(repo + n - 4, ".git"))
		return false;
	if (head == n)
		return part_ok(repo, n);
	return part_ok(repo, head) && part_ok(repo + head + 1, n - head - 1);
}

static bool is_commit(const char *s)
{
	return strspn(s, "0123456789abcdef") == COMMIT_DIGITS &&
		!s[COMMIT_DIGITS];
}

static int hf_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth, struct buf *ret)
{
	int r;

	if (nth)
		return -ENOENT;
	if (!hf_repo_ok(repo) || !is_commit(revision))
		return -EINVAL;	/* a branch may move between two requests */
	r = buf_printf(ret, "%s/%s/resolve/%s/", h->endpoints[0], repo, revision);
	return r ? r : fetch_url_escape(ret, path, true);
}

/* ---- replies to /resolve/ ---- */

static int hf_vet(const struct fetch_file *f, const struct fetch_reply *r,
	struct error *why)
{
	const char *commit = fetch_reply_get(r, HEADER_REPO_COMMIT);

	if (commit && strcmp(commit, f->revision) != 0)
		return error_set(why, -ESTALE, "the hub answers for revision "
			"%.40s instead of %s", commit, f->revision);
	return fetch_linked_vet(f, r, why);
}

/* ---- questions ---- */

struct hf_job {
	struct fetch_query *query;
	struct fetch_document *doc;
	struct listing listing;
	unsigned pages;
};

/* Ends the job; snap is given away. */
static void answer(struct hf_job *j, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct fetch_query *q = j->query;
	struct listing l = j->listing;

	if (err || snap)
		listing_done(&l);
	else
		listing_sort(&l);
	fetch_query_answer(q, err, why, snap, err || snap ? NULL : &l);
	if (j->doc)
		fetch_document_free(j->doc);
	free(j);
}

static void on_snapshot(struct fetch_document *d, int err,
	const struct error *why)
{
	struct hf_job *j = d->arg;
	struct fetch_snapshot *snap = NULL;
	struct error mine = { 0 };

	if (!err) {
		err = fetch_hf_snapshot(d->body.data, d->body.len, &snap,
			&mine);
		why = &mine;
	}
	if (!err && (!hf_repo_ok(snap->repo) || !is_commit(snap->revision))) {
		err = error_set(&mine, -EIO,
			"the hub's answer names no repository and commit");
		fetch_snapshot_free(snap);
		snap = NULL;
	}
	answer(j, err, why, snap);
}

/* One page of a listing; 1: there is another. */
static int take_page(struct hf_job *j, struct error *why)
{
	struct fetch_document *d = j->doc;
	struct fetch_query *q = j->query;
	int r;

	if (q->what == FETCH_LIST)
		r = fetch_hf_tree(d->body.data, d->body.len, &j->listing,
			why);
	else
		r = fetch_json_owner(d->body.data, d->body.len, "id",
			q->name, hf_repo_ok, &j->listing, why);
	if (r || !d->next)
		return r;
	if (++j->pages >= PAGES_MAX || !strcmp(d->next, d->url))
		return error_set(why, -EIO, "the hub's listing has no end");
	return 1;
}

static void on_page(struct fetch_document *d, int err,
	const struct error *why)
{
	struct hf_job *j = d->arg;
	struct error mine = { 0 };
	char *next;

	if (!err) {
		err = take_page(j, &mine);
		why = &mine;
	}
	if (err == 1) {
		next = steal_ptr(d->next);
		fetch_document_ask(d, next);
		return;
	}
	answer(j, err, why, NULL);
}

static int question_url(const struct fetch_query *q, struct buf *b)
{
	const char *root = q->hub->endpoints[0];
	int r;

	switch (q->what) {
	case FETCH_RESOLVE:
		r = buf_printf(b, "%s/api/models/%s/revision/", root, q->name);
		return r ? r : fetch_url_escape(b, *q->revision ?
			q->revision : "main", false);
	case FETCH_LIST:
		if (!is_commit(q->revision))
			return -EINVAL;
		return buf_printf(b, "%s/api/models/%s/tree/%s?recursive=true",
			root, q->name, q->revision);
	case FETCH_LIST_OWNER:
		return buf_printf(b, "%s/api/models?author=%s&limit=500",
			root, q->name);
	}
	return -EINVAL;
}

static void hf_answer(struct fetch_query *q)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct hf_job *j = calloc(1, sizeof(*j));
	struct error why = { 0 };
	char *url = NULL;
	int r = j ? 0 : -ENOMEM;

	if (!r)
		r = question_url(q, &b);
	if (r) {
		error_set(&why, r, "no address for this question");
		fetch_query_answer(q, r, &why, NULL, NULL);
		free(j);
		return;
	}
	j->query = q;
	j->doc = fetch_document_new(q->hub->engine, &q->hub->auths[0]);
	url = strdup((const char *)b.data);
	if (!j->doc || !url) {
		free(url);
		error_set(&why, -ENOMEM, "out of memory");
		answer(j, -ENOMEM, &why, NULL);
		return;
	}
	j->doc->arg = j;
	j->doc->done = q->what == FETCH_RESOLVE ? on_snapshot : on_page;
	fetch_document_ask(j->doc, url);
}

static char *hf_credentials(const struct conf *c, unsigned nth)
{
	cleanup_free char *token = conf_hf_token(c);

	(void) nth;
	return fetch_auth_bearer(token);
}

/* ---- searching ---- */

static int hf_search_url(const struct fetch_hub *h, const char *words,
	size_t limit, struct buf *ret)
{
	int r = buf_printf(ret, "%s/api/models?search=", h->endpoints[0]);

	if (!r)
		r = fetch_url_escape(ret, words, false);
	return r ? r : buf_printf(ret, "&limit=%zu", limit < SEARCH_PAGE ?
		limit : SEARCH_PAGE);
}

static int hf_search_page(const void *text, size_t len,
	struct fetch_hits *ret, struct error *why)
{
	return fetch_hf_hits(text, len, hf_repo_ok, ret, why);
}

/* Of a mirror on disk: is the directory of the repository's answers missing? */
static bool hf_lacks(const struct fetch_hub *h, const char *repo)
{
	struct buf url cleanup_buf = BUF_INIT(URL_MAX);
	cleanup_free char *path = NULL;

	return fetch_url_is_file(h->endpoints[0]) &&
		!buf_printf(&url, "%s/api/models/%s", h->endpoints[0], repo) &&
		!fetch_url_file_path((const char *)url.data, &path) &&
		access(path, F_OK) < 0 && errno == ENOENT;
}

const struct fetch_hub_ops fetch_hub_huggingface = {
	.kind = "huggingface",
	.grammar = FETCH_OWNERS,
	.endpoint_keys = { "huggingface.endpoint" },
	.credentials = hf_credentials,
	.repo_ok = hf_repo_ok,
	.owner_ok = hf_owner_ok,
	.answer = hf_answer,
	.url = hf_url,
	.vet = hf_vet,
	.lacks = hf_lacks,
	.search_url = hf_search_url,
	.search_page = hf_search_page,
};
