/*
 * torch.hub: repositories at GitHub (hubs.md 2.6, 4.2). Two hosts: the API
 * says what there is, github.com has the bytes, and sends those of LFS files
 * where they are kept.
 *
 *   REF ──► a commit ──► its tree, directory by directory if it is cut off
 *                          └─► .gitattributes: which files may be LFS pointers
 *
 * Who has no token gets 60 answers an hour from the API. So no question costs
 * more than it must, and once GitHub says that it is enough, nobody asks until
 * it is time again.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/path.h"
#include "fetch/document.h"
#include "fetch/hub.h"
#include "fetch/lfs.h"
#include "fetch/owner-json.h"
#include "fetch/torchhub-json.h"
#include "fetch/torchhub-name.h"
#include "fetch/url.h"

#define PAGES_MAX 1000		/* questions for one answer */
#define ATTRIBUTES_MAX 64	/* .gitattributes of one repository, … */
#define ATTRIBUTES_BYTES (1u << 20)	/* … and bytes of one */

enum host { SITE, API };	/* in endpoint_keys */

/* The engine thread's. */
struct github {
	uint64_t silent_until;	/* ms of clock_ms() */
	char why[ERROR_TEXT_MAX];
};

static int gh_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth, struct buf *ret)
{
	int r;

	if (nth)
		return -ENOENT;
	if (!fetch_github_repo_ok(repo) || !fetch_github_is_commit(revision))
		return -EINVAL;
	r = buf_printf(ret, "%s/%s/raw/%s/", h->endpoints[SITE], repo,
		revision);
	return r ? r : fetch_url_escape(ret, path, true);
}

/* ---- asking ---- */

struct gh_job {
	struct fetch_query *query;
	struct fetch_document *doc;	/* of the API */
	struct fetch_document *file;	/* of the site */
	struct listing listing;
	struct fetch_github_dirs dirs;	/* still to be asked for */
	char *path, *sha;		/* of the tree that is asked for */
	struct fetch_lfs lfs;
	unsigned asked;			/* questions so far */
	unsigned tries;			/* references tried */
	size_t seen;			/* entries looked at for attributes, */
	bool root_seen;			/* the root's before them */
	const struct listing_entry *attributes;	/* asked for; listing's */
	unsigned n_attributes;
};

static void job_free(struct gh_job *j)
{
	fetch_document_free(j->doc);
	fetch_document_free(j->file);
	fetch_github_dirs_done(&j->dirs);
	fetch_lfs_done(&j->lfs);
	free(j->path);
	free(j->sha);
	free(j);
}

/* Ends the job; snap is given away. */
static void answer(struct gh_job *j, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct listing l = j->listing;

	if (err || snap)
		listing_done(&l);
	else
		listing_sort(&l);
	fetch_query_answer(j->query, err, why, snap, err || snap ? NULL : &l);
	job_free(j);
}

static void answer_why(struct gh_job *j, int err, struct error *why)
{
	if (err && !why->code)
		(void) error_set(why, err, "%s", strerror(-err));
	answer(j, err, why, NULL);
}

/* The document's own failure, in GitHub's way of saying it. */
static int verdict(struct fetch_hub *h, struct fetch_document *d, int err,
	const struct error *why, struct error *ret)
{
	struct github *own = h->own;
	uint64_t ms = d->transfer.silent_ms;

	*ret = *why;
	if (ms) {
		err = error_set(ret, -EIO, "GitHub answers no more questions "
			"for %llu minutes%s", (unsigned long long)
			(ms / 60000 + 1), h->auths[API].header ? "" :
			": with a token (GITHUB_TOKEN) it answers more");
		own->silent_until = clock_ms() + ms;
		(void) snprintf(own->why, sizeof(own->why), "%s", ret->text);
	} else if (d->transfer.status == 403 && strstr(why->text, "rate limit")) {
		err = ret->code = -EIO;
	} else if (d->transfer.status == 409) {
		err = error_set(ret, -ENOENT, "the repository is empty");
	} else if (d->transfer.status == 422) {
		err = error_set(ret, -ENOENT, "no such branch, tag or commit");
	}
	return err;
}

/* Ask the API for root/PATH. url: what follows the host, taken over. */
static void ask(struct gh_job *j, struct buf *url, void (*done)
	(struct fetch_document *d, int err, const struct error *why))
{
	struct github *own = j->query->hub->own;
	char *text = url->data ? strdup((const char *)url->data) : NULL;
	struct error why = { 0 };

	if (text && own->silent_until > clock_ms())
		(void) error_set(&why, -EIO, "%s", own->why);
	else if (text && j->asked++ == PAGES_MAX)
		(void) error_set(&why, -EIO, "GitHub's answer has no end");
	else if (!text)
		(void) error_set(&why, -ENOMEM, "out of memory");
	if (why.code) {
		free(text);
		answer_why(j, why.code, &why);
		return;
	}
	j->doc->done = done;
	fetch_document_ask(j->doc, text);
}

static int api_url(const struct gh_job *j, struct buf *b)
{
	return buf_printf(b, "%s/repos/%s/", j->query->hub->endpoints[API],
		j->query->name);
}

/* ---- which commit ---- */

/* The nth reference to ask for: a branch goes before a tag of the same name,
 * as torch.hub has it. */
static int nth_ref(const char *ref, unsigned nth, struct buf *b)
{
	static const char *const usual[] = { "heads/main", "heads/master" };
	bool full = !strncmp(ref, "refs/", 5);
	int r = 0;

	if (nth > ((full || fetch_github_is_commit(ref)) ? 0 : 1))
		return -ENOENT;
	if (!*ref)
		return buf_append_str(b, usual[nth]);
	if (full)
		ref += 5;
	else if (!fetch_github_is_commit(ref) && !nth)
		r = buf_append_str(b, "heads/");
	return r ? r : fetch_url_escape(b, ref, true);
}

static void ask_commit(struct gh_job *j, int err, const struct error *why);

static void on_commit(struct fetch_document *d, int err,
	const struct error *why)
{
	struct gh_job *j = d->arg;
	struct fetch_snapshot *snap = NULL;
	struct error mine = { 0 };
	unsigned status = d->transfer.status;

	if (err) {
		err = verdict(j->query->hub, d, err, why, &mine);
		if (err == -ENOENT && (status == 404 || status == 422))
			ask_commit(j, err, &mine);
		else
			answer(j, err, &mine, NULL);
		return;
	}
	err = fetch_github_commit(d->body.data, d->body.len, j->query->name,
		&snap, &mine);
	if (!err && !fetch_github_repo_ok(snap->repo)) {
		err = error_set(&mine, -EIO,
			"GitHub's answer names no repository");
		fetch_snapshot_free(snap);
		snap = NULL;
	}
	answer(j, err, &mine, snap);
}

/* err: what became of the reference before. */
static void ask_commit(struct gh_job *j, int err, const struct error *why)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct error mine = { 0 };
	int r = api_url(j, &b);

	if (!r)
		r = buf_append_str(&b, "commits/");
	if (!r)
		r = nth_ref(j->query->revision, j->tries++, &b);
	if (r == -ENOENT && err) {
		mine = *why;
		r = err;
	}
	if (r)
		answer_why(j, r, &mine);
	else
		ask(j, &b, on_commit);
}

/* ---- which files ---- */

static void ask_tree(struct gh_job *j, bool deep);
static void ask_attributes(struct gh_job *j);

static void next_tree(struct gh_job *j)
{
	struct fetch_github_dir *d;

	free(j->path);
	free(j->sha);
	j->path = j->sha = NULL;
	if (!j->dirs.n) {
		ask_attributes(j);
		return;
	}
	d = &j->dirs.v[--j->dirs.n];
	j->path = d->path;
	j->sha = d->sha;
	ask_tree(j, true);
}

static void on_tree(struct fetch_document *d, int err,
	const struct error *why, bool deep)
{
	struct gh_job *j = d->arg;
	struct error mine = { 0 };

	if (err)
		err = verdict(j->query->hub, d, err, why, &mine);
	else
		err = fetch_github_tree(d->body.data, d->body.len, j->path,
			&j->listing, deep ? NULL : &j->dirs, &mine);
	if (err == 1)
		ask_tree(j, false);
	else if (err)
		answer_why(j, err, &mine);
	else
		next_tree(j);
}

static void on_deep_tree(struct fetch_document *d, int err,
	const struct error *why)
{
	on_tree(d, err, why, true);
}

static void on_flat_tree(struct fetch_document *d, int err,
	const struct error *why)
{
	on_tree(d, err, why, false);
}

static void ask_tree(struct gh_job *j, bool deep)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct error why = { 0 };
	int r = api_url(j, &b);

	if (!r)
		r = buf_printf(&b, "git/trees/%s%s", j->sha,
			deep ? "?recursive=1" : "");
	if (r)
		answer_why(j, r, &why);
	else
		ask(j, &b, deep ? on_deep_tree : on_flat_tree);
}

/* ---- which of them are LFS files ---- */

/* A pointer's size and name are not those of its file: whoever wants to know
 * them asks for the pointer, which the git name leads to. */
static void mark_pointers(struct gh_job *j)
{
	for (size_t i = 0; i < j->listing.n; i++) {
		struct listing_entry *e = &j->listing.v[i];

		if (e->size && e->size <= LFS_POINTER_MAX &&
		    fetch_lfs_match(&j->lfs, e->path))
			e->size = LISTING_SIZE_UNKNOWN;
	}
}

/* The directory of a .gitattributes; the caller frees. NULL: out of memory. */
static char *dir_of(const struct listing_entry *e)
{
	const char *base = path_base(e->path);

	return strndup(e->path, base == e->path ? 0 :
		(size_t)(base - e->path - 1));
}

static void on_attributes(struct fetch_document *d, int err,
	const struct error *why)
{
	struct gh_job *j = d->arg;
	cleanup_free char *dir = dir_of(j->attributes);
	struct error mine = { 0 };

	if (err) {
		answer(j, err, why, NULL);
		return;
	}
	err = fetch_github_blob(d->body.data, d->body.len, &j->attributes->id,
		&mine);
	if (err)
		error_wrap(&mine, "%s", j->attributes->path);
	else if (d->body.len)
		err = dir ? fetch_lfs_add(&j->lfs, dir,
			(const char *)d->body.data, d->body.len) : -ENOMEM;
	if (err)
		answer_why(j, err, &mine);
	else
		ask_attributes(j);
}

/* The root's comes first, for the others may use what it defines. NULL: that was
 * all. */
static const struct listing_entry *next_attributes(struct gh_job *j)
{
	while (!j->root_seen || j->seen < j->listing.n) {
		const struct listing_entry *e;
		bool root;

		if (j->seen == j->listing.n) {
			j->root_seen = true;
			j->seen = 0;
			continue;
		}
		e = &j->listing.v[j->seen++];
		root = !strcmp(e->path, ".gitattributes");
		if (e->size && root != j->root_seen &&
		    !strcmp(path_base(e->path), ".gitattributes"))
			return e;
	}
	return NULL;
}

/* What there is of them beyond the limit may say anything. */
static int leave_unread(struct gh_job *j)
{
	int r = 0;

	for (; j->attributes && !r; j->attributes = next_attributes(j)) {
		cleanup_free char *dir = dir_of(j->attributes);

		r = dir ? fetch_lfs_unread(&j->lfs, dir) : -ENOMEM;
	}
	return r;
}

static void ask_attributes(struct gh_job *j)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	const struct fetch_query *q = j->query;
	struct error why = { 0 };
	char *url = NULL;
	int r;

	j->attributes = next_attributes(j);
	if (!j->attributes || j->n_attributes++ == ATTRIBUTES_MAX) {
		r = leave_unread(j);
		if (r) {
			answer_why(j, r, &why);
			return;
		}
		mark_pointers(j);
		answer(j, 0, NULL, NULL);
		return;
	}
	r = gh_url(q->hub, q->name, q->revision, j->attributes->path, 0, &b);
	if (!r)
		url = strdup((const char *)b.data);
	if (r || !url) {
		answer_why(j, r ? r : -ENOMEM, &why);
		return;
	}
	j->file->body.max = ATTRIBUTES_BYTES;
	j->file->done = on_attributes;
	fetch_document_ask(j->file, url);
}

/* What a pointer stands for; its git name is the listing's. */
struct gh_pointer {
	struct fetch_document *doc;
	struct fetch_hub *hub;
	struct objid id;
	fetch_measure_cb *cb;
	void *arg;
};

static void on_pointer(struct fetch_document *d, int err,
	const struct error *why)
{
	struct gh_pointer *p = d->arg;
	struct fetch_fact fact = { .size = d->body.len, .id = p->id };
	struct error mine = { 0 };

	if (err)
		err = verdict(p->hub, d, err, why, &mine);
	else
		err = fetch_github_blob(d->body.data, d->body.len, &p->id,
			&mine);
	if (!err && d->body.len)	/* not one: it is the file itself */
		(void) fetch_lfs_pointer(d->body.data, d->body.len,
			&fact.size, &fact.id);
	p->cb(p->arg, err, &mine, err ? NULL : &fact);
	fetch_document_free(d);
	free(p);
}

static bool gh_measure(struct fetch_hub *h, const char *repo,
	const struct objid *id, fetch_measure_cb *cb, void *arg)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct github *own = h->own;
	struct gh_pointer *p;
	char hex[OBJID_HEX_MAX], *url;

	if (id->alg != OBJID_GITSHA1 || own->silent_until > clock_ms())
		return false;
	objid_hex(id, hex);
	if (buf_printf(&b, "%s/repos/%s/git/blobs/%s", h->endpoints[API], repo,
		    hex))
		return false;
	p = calloc(1, sizeof(*p));
	url = strdup((const char *)b.data);
	if (p)
		p->doc = fetch_document_new(h->engine, &h->auths[API]);
	if (!p || !p->doc || !url) {
		if (p)
			fetch_document_free(p->doc);
		free(url);
		free(p);
		return false;
	}
	p->hub = h;
	p->id = *id;
	p->cb = cb;
	p->arg = arg;
	p->doc->arg = p;
	p->doc->body.max = 2 * LFS_POINTER_MAX;
	p->doc->lines = "Accept: application/vnd.github.raw+json";
	p->doc->done = on_pointer;
	fetch_document_ask(p->doc, url);
	return true;
}

/* ---- which repositories ---- */

static void on_owner(struct fetch_document *d, int err,
	const struct error *why)
{
	struct gh_job *j = d->arg;
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct error mine = { 0 };

	if (err)
		err = verdict(j->query->hub, d, err, why, &mine);
	else
		err = fetch_json_owner(d->body.data, d->body.len, "full_name",
			j->query->name, fetch_github_repo_ok, &j->listing, &mine);
	if (!err && d->next && !strcmp(d->next, d->url))
		err = error_set(&mine, -EIO, "GitHub's answer has no end");
	if (!err && d->next) {
		err = buf_append_str(&b, d->next);
		if (!err) {
			ask(j, &b, on_owner);
			return;
		}
	}
	answer_why(j, err, &mine);
}

static void ask_owner(struct gh_job *j)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct error why = { 0 };
	int r = buf_printf(&b, "%s/users/%s/repos?per_page=100",
		j->query->hub->endpoints[API], j->query->name);

	if (r)
		answer_why(j, r, &why);
	else
		ask(j, &b, on_owner);
}

/* ---- the hub ---- */

static struct gh_job *new_job(struct fetch_query *q)
{
	struct gh_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->query = q;
	j->doc = fetch_document_new(q->hub->engine, &q->hub->auths[API]);
	j->file = fetch_document_new(q->hub->engine, &q->hub->auths[SITE]);
	j->path = strdup("");
	j->sha = strdup(q->revision);
	if (!j->doc || !j->file || !j->path || !j->sha) {
		job_free(j);
		return NULL;
	}
	j->doc->arg = j->file->arg = j;
	return j;
}

static void gh_answer(struct fetch_query *q)
{
	struct gh_job *j = new_job(q);
	struct error why = { 0 };

	if (!j) {
		(void) error_set(&why, -ENOMEM, "out of memory");
		fetch_query_answer(q, -ENOMEM, &why, NULL, NULL);
	} else if (q->what == FETCH_RESOLVE && *q->revision &&
		   !fetch_github_ref_ok(q->revision)) {
		(void) error_set(&why, -ENOENT, "no reference can be called "
			"%.100s", q->revision);
		answer(j, -ENOENT, &why, NULL);
	} else if (q->what == FETCH_RESOLVE) {
		ask_commit(j, 0, NULL);
	} else if (q->what == FETCH_LIST_OWNER) {
		ask_owner(j);
	} else if (fetch_github_is_commit(q->revision)) {
		ask_tree(j, true);
	} else {
		(void) error_set(&why, -EINVAL, "no commit: %.100s",
			q->revision);
		answer(j, -EINVAL, &why, NULL);
	}
}

static int gh_open(struct fetch_hub *h, struct error *why)
{
	h->own = calloc(1, sizeof(struct github));
	return h->own ? 0 : error_set(why, -ENOMEM, "out of memory");
}

static void gh_close(struct fetch_hub *h)
{
	free(h->own);
}

static char *gh_credentials(const struct conf *c, unsigned nth)
{
	cleanup_free char *token = nth == API ? conf_github_token() : NULL;

	(void) c;
	return fetch_auth_bearer(token);
}

const struct fetch_hub_ops fetch_hub_torchhub = {
	.kind = "torchhub",
	.grammar = FETCH_OWNERS,
	.endpoint_keys = { "torchhub.endpoint", "torchhub.api" },
	.open = gh_open,
	.close = gh_close,
	.credentials = gh_credentials,
	.repo_ok = fetch_github_repo_ok,
	.owner_ok = fetch_github_owner_ok,
	.answer = gh_answer,
	.url = gh_url,
	.measure = gh_measure,
};
