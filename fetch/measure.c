/*
 * How long is a file? A HEAD is asked; who refuses that, or answers without a
 * length or with 0, is asked for the first byte, whose reply tells it too. The
 * addresses of a file are gone through until one tells; if none does and one
 * may yet (a host that is down), once more with all patience.
 */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/path.h"
#include "fetch/fetch.h"
#include "fetch/hub.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

struct measure {
	struct fetch_hub *hub;
	char *repo, *revision, *path;
	struct objid id;		/* the listing's */
	struct fetch_file asked;	/* the same for locate(), without size */
	fetch_measure_cb *cb;
	void *arg;
	struct fetch_task task;

	/* the engine thread's */
	struct fetch_transfer transfer;
	char *url;
	unsigned nth;			/* address asked now */
	struct fetch_fact fact;
	bool located;			/* … it is where locate() said */
	struct fetch_auth auth;		/* there */
	bool page;			/* it sent an HTML page instead */
	bool empty;			/* that it has no byte, its HEAD said */
	bool patient;			/* the second round */
	bool sick;			/* an address may tell later */
	int err;			/* the most telling so far, or 0 */
	struct error why;
};

static struct measure *measure_of(struct fetch_transfer *t)
{
	return (struct measure *)(void *)((char *)t -
		offsetof(struct measure, transfer));
}

static void measure_free(struct measure *m)
{
	if (!m)
		return;
	free(m->repo);
	free(m->revision);
	free(m->path);
	free(m->url);
	fetch_auth_done(&m->auth);
	free(m);
}

static void answer(struct measure *m, int err, const struct error *why)
{
	const char *gone = m->hub->ops->gone;
	struct error longer;

	if (err == -ENOENT && gone) {
		error_set(&longer, err, "%s (%s)", error_text(why, err), gone);
		why = &longer;
	}
	m->cb(m->arg, err, why, err ? NULL : &m->fact);
	measure_free(m);
}

bool fetch_digest_goog(const struct fetch_reply *r, struct objid *ret)
{
	const char *stored = fetch_reply_get(r, HEADER_GOOG_ENCODING);

	return (!stored || !strcasecmp(stored, "identity")) &&
		fetch_header_goog_md5(fetch_reply_get(r, HEADER_GOOG_HASH),
			ret);
}

/* ---- what a reply tells ---- */

/* Of a reply to HEAD, or to a range that was ignored. */
static bool whole_length(const struct fetch_reply *r, uint64_t *ret)
{
	return r->status == 200 && !fetch_header_is_encoded(
			fetch_reply_get(r, HEADER_CONTENT_ENCODING)) &&
		fetch_header_u64(fetch_reply_get(r, HEADER_CONTENT_LENGTH),
			ret);
}

static bool total_length(const struct fetch_reply *r, uint64_t *ret)
{
	const char *v = fetch_reply_get(r, HEADER_CONTENT_RANGE);
	uint64_t first, last;

	if (r->status == 416)		/* there is no first byte */
		return fetch_header_content_total(v, ret) && !*ret;
	return r->status == 206 &&
		fetch_header_content_range(v, &first, &last, ret) &&
		first == 0 && *ret != UINT64_MAX;
}

/* That a file is empty no read would ever contradict, and there are servers that
 * say so to every HEAD: the first byte is asked for, and has to be missing. */
static bool told(struct measure *m, bool bare, const struct fetch_reply *r,
	uint64_t *ret)
{
	if (whole_length(r, ret)) {
		m->empty = bare && !*ret;
		return !m->empty;
	}
	return !bare && (total_length(r, ret) || (m->empty &&
		r->status == 416 && !fetch_reply_get(r, HEADER_CONTENT_RANGE)));
}

static bool is_page(const struct measure *m, const struct fetch_reply *r)
{
	return fetch_header_is_html(fetch_reply_get(r,
		HEADER_CONTENT_TYPE)) && !fetch_url_names_html(m->url);
}

static int on_probe(struct fetch_transfer *t, const struct fetch_reply *r,
	struct error *why)
{
	struct measure *m = measure_of(t);
	const struct fetch_hub_ops *ops = m->hub->ops;
	uint64_t size = 0;

	m->page = is_page(m, r);
	if (m->page)
		return error_set(why, -EIO,
			"an HTML page was sent instead of the file");
	if (!told(m, t->bare, r, &size))
		return error_set(why, -ENODATA,
			"the hub does not tell how long the file is");
	if (size > INT64_MAX)
		return error_set(why, -EIO,
			"no file can be as long as the hub says");
	m->fact = (struct fetch_fact){ .size = size, .id = m->id };
	if (ops->digest && m->id.alg == OBJID_NONE &&
	    !ops->digest(r, &m->fact.id))
		m->fact.id = m->id;
	return 0;
}

/* ---- who is asked ---- */

static void ask_next(struct measure *m);
static void ask(struct measure *m, bool bare);

/* Would the first byte tell more than this HEAD did? */
static bool head_said_nothing(const struct measure *m, int err)
{
	unsigned status = m->transfer.status;

	return m->page || err == -ENODATA || status == 403 ||
		status == 405 || status == 501;
}

static void on_done(struct fetch_transfer *t, int err,
	const struct error *why)
{
	struct measure *m = measure_of(t);

	if (!err) {
		answer(m, 0, NULL);
		return;
	}
	if (t->bare && head_said_nothing(m, err)) {
		ask(m, false);
		return;
	}
	if (err == -ECANCELED || err == -ENOMEM) {
		answer(m, err, why);
		return;
	}
	m->sick |= !t->lost;
	/* that one has it not says less than that one is down */
	if (!m->err || m->err == -ENOENT) {
		m->err = err;
		m->why = *why;
	}
	ask_next(m);
}

/* Append the nth address. */
static int address(const struct measure *m, unsigned nth, struct buf *ret)
{
	return m->hub->ops->url(m->hub, m->repo, m->revision, m->path, nth,
		ret);
}

static void ask(struct measure *m, bool bare)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct fetch_transfer *t = &m->transfer;
	bool more = m->nth > 1 || !address(m, m->nth, &b);

	m->page = false;
	m->empty &= !bare;
	*t = (struct fetch_transfer){
		.engine = m->hub->engine,
		.url = m->url,
		.auth = m->located ? &m->auth :
			fetch_hub_auth(m->hub, m->url),
		.klass = FETCH_META,
		.hasty = more && !m->patient,
		.bare = bare,
		.ranged = !bare,
		.want = { 0, 1, RANGE_UNKNOWN, 0 },
		.probe = on_probe,
		.meaning = m->hub->ops->meaning,
		.done = on_done,
	};
	fetch_transfer_start(t);
}

/* The place that only a question can tell (hub.h, locate). */
static void on_located(void *arg, int err, const struct error *why,
	struct fetch_located *found)
{
	struct measure *m = arg;
	struct error first = m->why;

	if (!err) {
		free(m->url);
		m->url = found->url;
		err = fetch_auth_init(&m->auth, m->url, NULL, NULL);
		m->auth.header = found->lines;
	}
	if (!err)
		ask(m, false);
	else if (m->err)
		answer(m, m->err, &first);
	else
		answer(m, err, why);
}

static void locate(struct measure *m)
{
	m->located = true;
	m->asked = (struct fetch_file){ .repo = m->repo,
		.revision = m->revision, .path = m->path, .id = m->id };
	m->hub->ops->locate(m->hub, &m->asked, on_located, m);
}

static void ask_next(struct measure *m)
{
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	struct error why = { 0 };
	int r = address(m, m->nth, &b);

	if (r == -ENOENT && m->nth > 1 && m->sick && !m->patient) {
		m->patient = true;
		m->nth = 0;
		m->err = 0;
		r = address(m, m->nth, &b);
	}
	if (r == -ENOENT && m->hub->ops->locate && !m->located) {
		locate(m);
		return;
	}
	if (r == -ENOENT && m->err) {
		why = m->why;
		answer(m, m->err, &why);
		return;
	}
	free(m->url);
	m->url = r ? NULL : strdup((const char *)b.data);
	if (!r && !m->url)
		r = -ENOMEM;
	if (r) {
		error_set(&why, r, "%s: no address for this file", m->path);
		answer(m, r, &why);
		return;
	}
	m->nth++;
	ask(m, !m->hub->ops->no_head);
}

static void begin(struct fetch_task *task)
{
	struct measure *m = (struct measure *)(void *)((char *)task -
		offsetof(struct measure, task));
	const struct fetch_hub_ops *ops = m->hub->ops;
	struct error why = { 0 };

	if (ops->repo_ok(m->repo) && path_rel_ok(m->path)) {
		if (ops->measure && ops->measure(m->hub, m->repo, &m->id,
				m->cb, m->arg))
			measure_free(m);
		else
			ask_next(m);
		return;
	}
	error_set(&why, -EINVAL, "%s has no such file", m->hub->ops->kind);
	answer(m, -EINVAL, &why);
}

void fetch_measure(struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, const struct objid *id,
	fetch_measure_cb *cb, void *arg)
{
	struct measure *m = calloc(1, sizeof(*m));

	if (m) {
		m->hub = h;
		m->repo = strdup(repo);
		m->revision = strdup(revision);
		m->path = strdup(path);
		m->id = *id;
		m->cb = cb;
		m->arg = arg;
		m->task.run = begin;
	}
	if (!m || !m->repo || !m->revision || !m->path) {
		measure_free(m);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	fetch_engine_post(h->engine, &m->task);
}
