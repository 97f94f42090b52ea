#include "config.h"

#include "fetch/hub-catalogue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/catalogue.h"

struct own {
	struct fetch_catalogue catalogue;
	const struct fetch_catalogue_about *about;
};

int fetch_catalogue_open(struct fetch_hub *h, const struct fetch_catalogue_about
	*about, struct error *why)
{
	struct own *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	if (o)
		r = fetch_catalogue_load(&o->catalogue, h->ops->kind,
			h->endpoints[0], about->bases, why);
	if (r) {
		if (o)
			fetch_catalogue_done(&o->catalogue);
		free(o);
		return r;
	}
	o->about = about;
	h->own = o;
	return 0;
}

void fetch_catalogue_close(struct fetch_hub *h)
{
	struct own *o = h->own;

	if (o)
		fetch_catalogue_done(&o->catalogue);
	free(o);
}

bool fetch_catalogue_repo_ok(const char *repo)
{
	return !strcmp(repo, FETCH_THE_REPO);
}

bool fetch_catalogue_owner_ok(const char *owner)
{
	(void) owner;
	return false;
}

/* ---- questions ---- */

static void answer_snapshot(struct fetch_query *q, const struct own *o)
{
	struct fetch_snapshot *s = calloc(1, sizeof(*s));
	struct error why = { 0 };
	int r = 0;

	if (*q->revision && strcmp(q->revision, CATALOGUE_REVISION) != 0)
		r = error_set(&why, -ENOENT, "%s has no revisions",
			q->hub->ops->kind);
	else if (!o->catalogue.list)
		r = error_set(&why, -ENOENT,
			"there is no catalogue of %s in %s/catalogues",
			q->hub->ops->kind, conf_datadir());
	if (s && !r) {
		s->repo = strdup(q->name);
		s->revision = strdup(CATALOGUE_REVISION);
		s->mtime = o->about->mtime;
	}
	if (!r && (!s || !s->repo || !s->revision))
		r = error_set(&why, -ENOMEM, "out of memory");
	if (r) {
		fetch_snapshot_free(s);
		s = NULL;
	}
	fetch_query_answer(q, r, &why, s, NULL);
}

static void answer_listing(struct fetch_query *q, const struct own *o)
{
	struct listing l = { 0 };
	struct error why = { 0 };
	int r = strcmp(q->revision, CATALOGUE_REVISION) ? -EINVAL :
		fetch_catalogue_list(&o->catalogue, &l);

	if (r)
		error_set(&why, r, "no listing of this");
	fetch_query_answer(q, r, &why, NULL, r ? NULL : &l);
}

void fetch_catalogue_answer(struct fetch_query *q)
{
	const struct own *o = q->hub->own;
	struct error why = { 0 };

	switch (q->what) {
	case FETCH_RESOLVE:
		answer_snapshot(q, o);
		return;
	case FETCH_LIST:
		answer_listing(q, o);
		return;
	default:
		error_set(&why, -ENOENT, "%s has no such names",
			q->hub->ops->kind);
		fetch_query_answer(q, -ENOENT, &why, NULL, NULL);
	}
}

/* ---- files ---- */

int fetch_catalogue_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth,
	struct buf *ret)
{
	const struct own *o = h->own;
	const struct fetch_catalogue_row *row = fetch_catalogue_find(
		&o->catalogue, path);

	if (!row || !fetch_catalogue_repo_ok(repo) ||
	    strcmp(revision, CATALOGUE_REVISION) != 0)
		return -EINVAL;
	if (nth > (row->base ? 0 : o->about->mirrors))
		return -ENOENT;
	return buf_printf(ret, "%s/%s", h->endpoints[row->base + nth],
		row->tail);
}

bool fetch_catalogue_known(const struct fetch_hub *h, const char *path,
	struct fetch_known *ret)
{
	const struct own *o = h->own;
	const struct fetch_catalogue_row *row = fetch_catalogue_find(
		&o->catalogue, path);

	if (!row)
		return false;
	*ret = (struct fetch_known){ .what = row->what,
		.cached_as = row->cached_as, .about = row->about,
		.preferred = row->preferred };
	return true;
}

struct fetch_status fetch_catalogue_meaning(unsigned status,
	const char *words, struct fetch_status usual)
{
	(void) words;
	if (status == 403)
		return (struct fetch_status){ -ENOENT, FETCH_AGAIN_NEVER };
	return usual;
}
