/*
 * Is there somebody at a hub's addresses? HEAD of the root; any answer will do,
 * also that there is no page. A mirror on disk is there when its file or
 * directory is.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fetch/fetch.h"
#include "fetch/hub.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

struct reach {
	struct fetch_transfer transfer;	/* must be first */
	char *url;
	fetch_reach_cb *cb;
	void *arg;
	int64_t skew;
};

static void answer(struct reach *k, int err, const struct error *why)
{
	k->cb(k->arg, err, why, k->skew);
	free(k->url);
	free(k);
}

/* Curl knows the ways a date is written. */
static int on_probe(struct fetch_transfer *t, const struct fetch_reply *r,
	struct error *why)
{
	struct reach *k = (struct reach *)t;
	const char *date = fetch_reply_get(r, HEADER_DATE);
	time_t at = date ? curl_getdate(date, NULL) : -1;

	(void) why;
	if (at >= 0)
		k->skew = clock_wall() - at;
	return 0;
}

static void on_done(struct fetch_transfer *t, int err,
	const struct error *why)
{
	unsigned status = t->status;
	bool spoke = status >= 400 && status < 500 && status != 407 &&
		status != 408;

	answer((struct reach *)t, spoke ? 0 : err, why);
}

static int look_at_mirror(const char *url, struct error *why)
{
	char *path = NULL;
	struct stat st;
	int r = fetch_url_file_path(url, &path);

	if (!r)
		r = stat(path, &st) ? -errno : 0;

	free(path);
	return r ? error_set(why, r, "%s: %s", url, strerror(-r)) : 0;
}

const char *fetch_hub_endpoint_at(const struct fetch_hub *h, unsigned nth)
{
	return nth < h->n_endpoints ? h->endpoints[nth] : NULL;
}

void fetch_reach(struct fetch_hub *h, unsigned nth, fetch_reach_cb *cb,
	void *arg)
{
	struct reach *k = calloc(1, sizeof(*k));
	struct error why = { 0 };

	if (!k || asprintf(&k->url, "%s/", h->endpoints[nth]) < 0) {
		free(k);
		cb(arg, -ENOMEM, NULL, FETCH_NO_DATE);
		return;
	}
	k->cb = cb;
	k->arg = arg;
	k->skew = FETCH_NO_DATE;
	if (fetch_url_is_file(k->url)) {
		int r = look_at_mirror(h->endpoints[nth], &why);

		answer(k, r, &why);
		return;
	}
	k->transfer = (struct fetch_transfer){ .engine = h->engine,
		.url = k->url, .auth = fetch_hub_auth(h, k->url),
		.klass = FETCH_META, .hasty = true, .bare = true,
		.probe = on_probe, .done = on_done };
	fetch_transfer_start(&k->transfer);
}
