/*
 * A handle is not the name of anything at Kaggle: only the redirect tells what
 * has become of it. It is not followed to its end, which is a page for people.
 */
#include "config.h"

#include "fetch/tfhub-ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "fetch/document.h"
#include "fetch/gcs-json.h"
#include "fetch/kaggle-name.h"
#include "fetch/tfhub-name.h"
#include "fetch/url.h"

#define ANSWER_MAX 65536u	/* bytes; the place, of a mirror on disk */
#define PAGES_MAX 4096

struct lead {
	struct fetch_hub *hub;
	struct fetch_document *doc;
	char *name;			/* HANDLE[/VERSION] */
	char *instance;
	char version[KAGGLE_DIGITS_MAX + 1];
	bool gone;
	fetch_tfhub_led *led;		/* one of the two */
	fetch_tfhub_unpacked_cb *unpacked;
	struct error otherwise;		/* told when there is no place */
	void *arg;
};

static void lead_free(struct lead *l)
{
	if (!l)
		return;
	fetch_document_free(l->doc);
	free(l->name);
	free(l->instance);
	free(l);
}

/* Where deleted models lead: the page of all models. */
static bool all_models(const char *url)
{
	const char *p = strstr(url, "://");
	size_t n;

	p = p ? strchr(p + 3, '/') : NULL;
	n = p ? strcspn(p, "?#") : 0;
	return (n == 7 && !strncmp(p, "/models", n)) ||
		(n == 8 && !strncmp(p, "/models/", n));
}

static bool arrived(struct fetch_transfer *t, const char *to)
{
	struct fetch_document *d = (struct fetch_document *)(void *)
		((char *)t - offsetof(struct fetch_document, transfer));
	struct lead *l = d->arg;

	l->gone = all_models(to);
	return l->gone || !fetch_kaggle_of_url(to, &l->instance, l->version);
}

/* A mirror on disk has no redirects, but {"location": "/models/…"}. */
static int read_place(struct lead *l, struct error *why)
{
	const struct buf *b = &l->doc->body;
	json_t *j cleanup_json = NULL;
	const char *to;

	if (b->len && !json_parse(b->data, b->len, ANSWER_MAX, &j, NULL) &&
	    (to = json_str(j, "location")) &&
	    !fetch_kaggle_of_url(to, &l->instance, l->version))
		return 0;
	return error_set(why, -EIO, "%s: TensorFlow Hub does not say what has "
		"become of it", l->name);
}

static void on_lead(struct fetch_document *d, int err,
	const struct error *why)
{
	struct lead *l = d->arg;
	struct error mine = { 0 };

	if (err)
		error_set(&mine, err, "%s", error_text(why, err));
	else if (l->gone)
		err = error_set(&mine, -ENOENT,
			"%s has been deleted from TensorFlow Hub", l->name);
	else if (!l->instance)
		err = read_place(l, &mine);
	l->led(l->arg, err, err ? &mine : NULL, l->instance, l->version);
	lead_free(l);
}

/* A page for people is what has no place. */
static int vet_unpacked(struct fetch_transfer *t, const struct fetch_reply *r,
	const char *url, struct error *why)
{
	(void) t;
	(void) url;
	return r->status == 200 ? error_set(why, -ENOENT,
		"TensorFlow Hub tells no place of the files") : 0;
}

/* The place is the body of a 303 that has no Location. */
static void on_unpacked(struct fetch_document *d, int err,
	const struct error *why)
{
	const struct fetch_transfer *t = &d->transfer;
	struct lead *l = d->arg;
	cleanup_free char *place = NULL;
	struct error mine = { 0 };

	/* all of it came, and there was room for it */
	if (err == -EIO && t->status == 303 && t->lost &&
	    t->said_len < sizeof(t->said))
		err = fetch_tfhub_gs(t->said, t->said_len, &place) ? -EIO : 0;
	if (err)
		error_set(&mine, err, "%s", error_text(why, err));
	if (err == -ENOENT && l->otherwise.code) {
		mine = l->otherwise;
		err = mine.code;
	}
	l->unpacked(l->arg, err, err ? &mine : NULL, place);
	lead_free(l);
}

static struct lead *lead_new(struct fetch_hub *h, const char *handle,
	const char *version)
{
	struct lead *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->hub = h;
	l->doc = fetch_document_new(h->engine, &h->auths[0]);
	l->name = *version ? NULL : strdup(handle);
	if (*version && asprintf(&l->name, "%s/%s", handle, version) < 0)
		l->name = NULL;
	if (!l->doc || !l->name) {
		lead_free(l);
		return NULL;
	}
	l->doc->arg = l;
	l->doc->body.max = ANSWER_MAX;
	return l;
}

static char *address(const struct lead *l, const char *query)
{
	char *url;

	return asprintf(&url, "%s/%s%s", l->hub->endpoints[0], l->name,
		query) < 0 ? NULL : url;
}

void fetch_tfhub_lead(struct fetch_hub *h, const char *handle,
	const char *version, fetch_tfhub_led *cb, void *arg)
{
	struct lead *l = lead_new(h, handle, version);
	char *url = l ? address(l, "") : NULL;

	if (!url) {
		lead_free(l);
		cb(arg, -ENOMEM, NULL, NULL, NULL);
		return;
	}
	l->led = cb;
	l->arg = arg;
	l->doc->done = on_lead;
	l->doc->transfer.arrived = arrived;
	fetch_document_ask(l->doc, url);
}

void fetch_tfhub_unpacked(struct fetch_hub *h, const char *handle,
	const char *version, const struct error *otherwise,
	fetch_tfhub_unpacked_cb *cb, void *arg)
{
	struct lead *l = lead_new(h, handle, version);
	char *url = l ? address(l, "?tf-hub-format=uncompressed") : NULL;

	if (!url) {
		lead_free(l);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	l->unpacked = cb;
	l->arg = arg;
	if (otherwise)
		l->otherwise = *otherwise;
	l->doc->done = on_unpacked;
	l->doc->transfer.vet = vet_unpacked;
	fetch_document_ask(l->doc, url);
}

/* ---- a directory in Google's storage ---- */

struct gcs_job {
	struct fetch_document *doc;
	const char *root;		/* the hub's */
	char *bucket, *prefix;
	struct listing listing;
	unsigned pages;
	fetch_listing_cb *cb;
	void *arg;
};

static void gcs_answer(struct gcs_job *j, int err, const struct error *why)
{
	if (err)
		listing_done(&j->listing);
	else
		listing_sort(&j->listing);
	j->cb(j->arg, err, why, err ? NULL : &j->listing);
	fetch_document_free(j->doc);
	free(j->bucket);
	free(j->prefix);
	free(j);
}

static int gcs_ask(struct gcs_job *j, const char *token)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	char *url;
	int r = buf_printf(&b, "%s/storage/v1/b/%s/o?prefix=", j->root,
		j->bucket);

	if (!r)
		r = fetch_url_escape(&b, j->prefix, false);
	if (!r && token)
		r = buf_append_str(&b, "&pageToken=");
	if (!r && token)
		r = fetch_url_escape(&b, token, false);
	if (r)
		return r;
	url = strdup((const char *)b.data);
	if (!url)
		return -ENOMEM;
	fetch_document_ask(j->doc, url);
	return 0;
}

static void on_objects(struct fetch_document *d, int err,
	const struct error *why)
{
	struct gcs_job *j = d->arg;
	cleanup_free char *next = NULL;
	struct error mine = { 0 };

	if (!err) {
		err = fetch_gcs_objects(d->body.data, d->body.len, j->prefix,
			&j->listing, &next, &mine);
		why = &mine;
	}
	if (!err && next && ++j->pages >= PAGES_MAX)
		err = error_set(&mine, -EIO,
			"the store's listing has no end");
	if (!err && next) {
		err = gcs_ask(j, next);
		if (!err)
			return;
	}
	/* a store knows no directories: what is not there is empty */
	if (!err && !j->listing.n) {
		err = error_set(&mine, -ENOENT, "the store has nothing at "
			"%s/%s", j->bucket, j->prefix);
		why = &mine;
	}
	gcs_answer(j, err, why);
}

void fetch_gcs_list(struct fetch_hub *h, const char *root, const char *place,
	fetch_listing_cb *cb, void *arg)
{
	struct gcs_job *j = calloc(1, sizeof(*j));
	const char *slash = strchr(place, '/');
	int r = -ENOMEM;

	if (!j) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	j->root = root;
	j->cb = cb;
	j->arg = arg;
	j->doc = fetch_document_new(h->engine, NULL);
	j->bucket = strndup(place, (size_t)(slash - place));
	if (asprintf(&j->prefix, "%s/", slash + 1) < 0)
		j->prefix = NULL;
	if (j->doc && j->bucket && j->prefix) {
		j->doc->arg = j;
		j->doc->done = on_objects;
		r = gcs_ask(j, NULL);
	}
	if (r)
		gcs_answer(j, r, NULL);
}
