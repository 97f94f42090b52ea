#include "config.h"

#include "fetch/document.h"

#include <curl/curl.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/url.h"

static struct fetch_document *of(struct fetch_transfer *t)
{
	return (struct fetch_document *)(void *)((char *)t -
		offsetof(struct fetch_document, transfer));
}

static int64_t date_of(const char *v)
{
	time_t t = v ? curl_getdate(v, NULL) : 0;

	return t > 0 ? (int64_t)t : 0;
}

/* An entity tag is better than a date; a text that could end the line is
 * neither. */
static char *validator_of(const struct fetch_reply *r)
{
	const char *etag = fetch_reply_get(r, HEADER_ETAG);
	const char *date = fetch_reply_get(r, HEADER_LAST_MODIFIED);
	char *line = NULL;

	if ((etag || date) && asprintf(&line, "%s: %s", etag ?
			"If-None-Match" : "If-Modified-Since",
			etag ? etag : date) < 0)
		return NULL;
	if (line && strpbrk(line, "\r\n")) {
		free(line);
		return NULL;
	}
	return line;
}

static int on_vet(struct fetch_transfer *t, const struct fetch_reply *r,
	const char *url, struct error *why)
{
	struct fetch_document *d = of(t);
	cleanup_free char *link = NULL;

	free(d->next);
	d->next = NULL;
	if (r->status != 200)
		return 0;
	free(d->validator);
	d->validator = validator_of(r);
	d->modified = date_of(fetch_reply_get(r, HEADER_LAST_MODIFIED));
	link = fetch_header_link_next(fetch_reply_get(r, HEADER_LINK));
	if (!link)
		return 0;
	if (fetch_url_join(url, link, &d->next, why))
		return -EIO;
	if (!fetch_url_same_origin(d->next, t->url))
		return error_set(why, -EIO,
			"the next page lies on another host: refused");
	return 0;
}

static void on_restart(struct fetch_transfer *t)
{
	buf_clear(&of(t)->body);
}

static int on_data(struct fetch_transfer *t, const void *data, size_t len)
{
	int r = buf_append(&of(t)->body, data, len);

	if (r == -EFBIG)
		error_set(&t->why, r, "the answer is longer than %zu bytes",
			of(t)->body.max);
	return r;
}

static void on_done(struct fetch_transfer *t, int err,
	const struct error *why)
{
	struct fetch_document *d = of(t);

	d->unchanged = t->unchanged;
	d->done(d, err, why);
}

struct fetch_document *fetch_document_new(struct fetch_engine *e,
	const struct fetch_auth *auth)
{
	struct fetch_document *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->body = (struct buf)BUF_INIT(DOCUMENT_MAX);
	d->transfer.engine = e;
	d->transfer.auth = auth;
	d->transfer.klass = FETCH_META;
	d->transfer.vet = on_vet;
	d->transfer.restart = on_restart;
	d->transfer.data = on_data;
	d->transfer.done = on_done;
	return d;
}

void fetch_document_free(struct fetch_document *d)
{
	if (!d)
		return;
	buf_done(&d->body);
	free(d->next);
	free(d->validator);
	free(d->url);
	free(d);
}

void fetch_document_ask(struct fetch_document *d, char *url)
{
	free(d->url);
	d->url = url;
	d->transfer.url = url;
	d->transfer.lines = d->lines;
	d->transfer.post = d->post;
	fetch_transfer_start(&d->transfer);
}
