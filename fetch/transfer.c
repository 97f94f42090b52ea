#include "config.h"

#include "fetch/transfer.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "fetch/url.h"

#define DRAIN_MAX 65536	/* bytes of an unwanted body, to keep a connection */
#define RENEW_MAX 3
#define SHOWN 256
#define POINTER_MAX 1024	/* bytes; an LFS pointer is shorter */

static const char pointer_head[] = "version https://git-lfs.github.com/spec/";

#define container_of(p, type, member) \
	((type *)(void *)((char *)(p) - offsetof(type, member)))

static void go(struct fetch_transfer *t);

void fetch_place_done(struct fetch_place *p)
{
	free(p->url);
	p->url = NULL;
}

static void forget(struct fetch_place *p, const char *url)
{
	if (p->url && !strcmp(p->url, url))
		fetch_place_done(p);
}

static const char *asked(const struct fetch_transfer *t)
{
	return t->hop ? t->hop : t->url;
}

/* ---- the end ---- */

static void finish_one(struct fetch_transfer *t, int err,
	const struct error *why)
{
	struct fetch_counters *n = fetch_engine_counters(t->engine);

	fetch_request_reset(&t->request);
	free(t->hop);
	t->hop = NULL;
	if (err && err != -ECANCELED)
		atomic_fetch_add(&n->failures, 1);
	t->done(t, err, why);
}

static void finish(struct fetch_transfer *t, int err)
{
	struct fetch_transfer *parked = NULL, *next;
	struct error why = t->why;
	bool lost = t->lost;

	if (t->place && t->place->finder == t) {
		t->place->finder = NULL;
		parked = t->place->parked;
		t->place->parked = NULL;
	}
	finish_one(t, err, &why);
	for (; parked; parked = next) {
		next = parked->next;
		parked->lost = lost;
		finish_one(parked, err, &why);
	}
}

/* ---- while a reply comes ---- */

/* What the headers say of the range; notes whether that is a range of a file
 * of another length. */
static struct fetch_range_reply range_reply(struct fetch_transfer *t,
	const struct fetch_reply *r)
{
	const char *type = fetch_reply_get(r, HEADER_CONTENT_TYPE);
	const char *range = fetch_reply_get(r, HEADER_CONTENT_RANGE);
	struct fetch_range_reply reply = {
		.status = r->status,
		.total = RANGE_UNKNOWN,
		.length = RANGE_UNKNOWN,
		.encoded = fetch_header_is_encoded(fetch_reply_get(r,
			HEADER_CONTENT_ENCODING)),
		.page = fetch_header_is_html(type) &&
			!fetch_url_names_html(t->url),
	};

	(void) fetch_header_u64(fetch_reply_get(r, HEADER_CONTENT_LENGTH),
		&reply.length);
	reply.ranged = fetch_header_content_range(range, &reply.first,
		&reply.last, &reply.total);
	if (r->status == 416)
		(void) fetch_header_content_total(range, &reply.total);
	t->contradicts = fetch_range_resized(&t->want, &reply);
	return reply;
}

static int vet_range(struct fetch_transfer *t, const struct fetch_reply *r)
{
	const struct fetch_range_reply reply = range_reply(t, r);
	int err;

	t->want.skip_max = t->retry.tries < RANGE_PATIENCE &&
		t->retry.tries < t->retry.max && !t->hasty ?
		RANGE_SKIP_MAX : RANGE_SKIP_LAST;
	err = fetch_range_vet(&t->want, &reply, &t->skip, &t->why);
	t->sniffed = 0;
	t->sniff = !err && t->skip == t->want.off &&
		t->want.size > POINTER_MAX && RANGE_UNKNOWN ==
		(r->status == 200 ? reply.length : reply.total);
	return err;
}

static int vet_document(struct fetch_transfer *t, const struct fetch_reply *r)
{
	if (r->status != 200)
		return error_set(&t->why, -EIO,
			"status %u is no answer to this question", r->status);
	if (fetch_header_is_html(fetch_reply_get(r, HEADER_CONTENT_TYPE)))
		return error_set(&t->why, -EIO,
			"an HTML page was sent instead of an answer");
	return 0;
}

/* The address is good: keep it, and let those go who waited for it. */
static void found(struct fetch_transfer *t)
{
	struct fetch_place *p = t->place;
	struct fetch_transfer *parked, *next;
	uint64_t life = fetch_url_life(asked(t), clock_wall());

	p->brief = !life;
	if (!t->remembered && life) {
		free(p->url);
		p->url = strdup(asked(t));
		p->until = clock_ms() + life;
	}
	if (p->finder != t)
		return;
	p->finder = NULL;
	parked = p->parked;
	p->parked = NULL;
	for (; parked; parked = next) {
		next = parked->next;
		go(parked);
	}
}

static int on_head(struct fetch_request *r)
{
	struct fetch_transfer *t = container_of(r, struct fetch_transfer,
		request);
	unsigned status = r->reply.status;
	char shown[SHOWN];
	int err;

	t->headed = true;
	t->status = status;
	if (status >= 400 && !(t->probe && status == 416))
		return 0;
	fetch_url_show(asked(t), shown, sizeof(shown));
	if (t->vet) {
		t->final = t->vet(t, &r->reply, asked(t), &t->why);
		t->contradicts = t->lost = t->final != 0;
		if (t->final)
			return error_wrap(&t->why, "%s", shown);
	}
	if (status >= 300 && status < 400)
		return 0;
	if (t->probe) {
		t->final = t->probe(t, &r->reply, &t->why);
		t->lost = t->final != 0;
		t->accept = !t->final;
		return t->final ? error_wrap(&t->why, "%s", shown) : 0;
	}
	err = t->ranged ? vet_range(t, &r->reply) :
		vet_document(t, &r->reply);
	if (err) {
		t->refused = true;
		return error_wrap(&t->why, "%s", shown);
	}
	t->accept = true;
	if (t->place)
		found(t);
	return 0;
}

/* What nobody wants: keep the beginning for its words, read on a little so
 * that the connection can be used again. */
static int drain(struct fetch_transfer *t, const uint8_t *data, size_t len)
{
	size_t room = sizeof(t->said) - t->said_len;

	if (room > len)
		room = len;
	memcpy(t->said + t->said_len, data, room);
	t->said_len += room;
	t->skip += len;
	return t->skip > DRAIN_MAX;
}

/* Bytes of the body of a ranged reply. */
static int deliver(struct fetch_transfer *t, const uint8_t *p, size_t len)
{
	uint64_t n;

	n = t->skip < len ? t->skip : len;
	t->skip -= n;
	p += n;
	len -= (size_t)n;
	n = t->want.end - t->want.off;
	if (n > len)
		n = len;
	if (n) {
		t->final = t->data(t, p, (size_t)n);
		if (t->final)
			return t->final;
		t->want.off += n;
		t->progress += n;
	}
	if (n == len)
		return 0;
	t->contradicts = t->want.end == t->want.size;
	if (t->contradicts)
		t->final = error_set(&t->why, -EIO,
			"the file goes on behind its %llu bytes",
			(unsigned long long)t->want.size);
	return -EIO;	/* more than was asked for */
}

/* The beginning of a body of unknown length: -EIO if it is a pointer; what
 * looks like one so far is held back. */
static int sniff(struct fetch_transfer *t, const uint8_t *p, size_t len)
{
	size_t left = sizeof(pointer_head) - 1 - t->sniffed;
	size_t n = len < left ? len : left;
	char shown[SHOWN];
	int err;

	if (!memcmp(p, pointer_head + t->sniffed, n)) {
		t->sniffed += n;
		if (n < left)
			return 0;
		t->refused = true;
		return error_set(&t->why, -EIO, "%s: an LFS pointer was sent "
			"instead of the file", fetch_url_show(asked(t), shown,
			sizeof(shown)));
	}
	t->sniff = false;
	err = t->sniffed ? deliver(t, (const uint8_t *)pointer_head,
		t->sniffed) : 0;
	return err ? err : deliver(t, p, len);
}

static int on_body(struct fetch_request *r, const void *data, size_t len)
{
	struct fetch_transfer *t = container_of(r, struct fetch_transfer,
		request);

	if (t->probe && t->accept && r->reply.status == 200)
		return -EIO;	/* the whole file comes: nobody wants it */
	if (!t->accept || t->probe)
		return drain(t, data, len);
	if (t->ranged)
		return t->sniff ? sniff(t, data, len) : deliver(t, data, len);
	t->final = t->data(t, data, len);
	return t->final;
}

/* ---- when it has ended ---- */

static void on_timer(struct fetch_timer *timer)
{
	go(container_of(timer, struct fetch_transfer, timer));
}

/* t->why says what went wrong with this try. */
static void try_again(struct fetch_transfer *t, struct fetch_status s,
	uint64_t asked_ms)
{
	struct fetch_counters *n = fetch_engine_counters(t->engine);
	int64_t ms;

	if (t->place && t->remembered && !t->progress)
		forget(t->place, asked(t));
	t->lost = t->refused || s.again == FETCH_AGAIN_NEVER;
	if (t->hasty && (t->refused || t->retry.tries))
		ms = -1;
	else
		ms = fetch_retry_next(&t->retry, s.again, t->progress,
			asked_ms, fetch_engine_noise(t->engine));
	if (ms < 0) {
		if (t->retry.total)
			error_wrap(&t->why, "tried %u times",
				t->retry.total + 1);
		finish(t, s.err);
		return;
	}
	log_debug("%s: again in %lld ms", error_text(&t->why, s.err),
		(long long)ms);
	atomic_fetch_add(&n->retries, 1);
	fetch_engine_after(t->engine, &t->timer, (uint64_t)ms);
}

static void ask(struct fetch_transfer *t);

static void follow(struct fetch_transfer *t)
{
	const struct fetch_reply *r = &t->request.reply;
	const char *to = fetch_reply_get(r, HEADER_LOCATION);
	char *next = NULL;
	char shown[SHOWN];
	int err;

	fetch_url_show(asked(t), shown, sizeof(shown));
	t->lost = true;
	if (!to || r->status == 300 || (r->status > 303 && r->status < 307)) {
		finish(t, error_set(&t->why, -EIO,
			"%s: status %u leads nowhere", shown, r->status));
		return;
	}
	if (++t->hops > TRANSFER_HOPS_MAX) {
		finish(t, error_set(&t->why, -EIO,
			"%s: redirected more than %d times", shown,
			TRANSFER_HOPS_MAX));
		return;
	}
	err = fetch_url_join(asked(t), to, &next, &t->why);
	if (err) {
		error_wrap(&t->why, "%s", shown);
		finish(t, err);
		return;
	}
	t->lost = false;
	t->turned |= r->status < 307;
	if (t->arrived && t->arrived(t, next)) {
		free(next);
		finish(t, 0);
		return;
	}
	if (!fetch_url_same_origin(asked(t), next))
		t->elsewhere = true;
	free(t->hop);
	t->hop = next;
	ask(t);
}

/* How long the hub wants us to wait, ms; 0: it does not say. */
static uint64_t wait_asked(const struct fetch_reply *r)
{
	uint64_t ms = 0;

	if (fetch_header_retry_after(fetch_reply_get(r, HEADER_RETRY_AFTER),
			clock_wall(), &ms))
		return ms;
	if (r->status == 429)
		(void) fetch_header_ratelimit(fetch_reply_get(r,
			HEADER_RATELIMIT), &ms);
	return ms;
}

static void turned_down(struct fetch_transfer *t, unsigned status,
	const char *words)
{
	const struct fetch_reply *r = &t->request.reply;
	struct fetch_status s;
	char shown[SHOWN];
	uint64_t wait;

	t->status = status;
	s = fetch_status_http(status, fetch_reply_get(r, HEADER_ERROR_CODE),
		words);
	if (t->meaning)
		s = t->meaning(status, words, s);
	error_set(&t->why, s.err, "%s: HTTP %u%s%s%s",
		fetch_url_show(asked(t), shown, sizeof(shown)), status,
		*words ? ": " : "", words, status == 403 &&
		s.err == -ENOENT ? ", which there means: no such file" : "");
	if (s.again == FETCH_AGAIN_NEVER && t->remembered &&
	    t->renewed++ < RENEW_MAX) {
		forget(t->place, asked(t));
		go(t);
		return;
	}
	/* a signature that does not hold, not a refusal by the hub */
	if (t->ranged && !t->probe && t->elsewhere && s.again == FETCH_AGAIN_NEVER)
		s = (struct fetch_status){ -EIO, FETCH_AGAIN_LATER };
	wait = wait_asked(r);
	if (status == 403 || status == 429)
		(void) fetch_header_quota(fetch_reply_get(r, HEADER_QUOTA_LEFT),
			fetch_reply_get(r, HEADER_QUOTA_RESET), clock_wall(),
			&t->silent_ms);
	/* Nobody waits that long. */
	if (t->silent_ms > RETRY_ASKED_CAP_MS)
		s.again = FETCH_AGAIN_NEVER;
	else if (t->silent_ms && status == 403)
		s = (struct fetch_status){ -EIO, FETCH_AGAIN_LATER };
	if (t->silent_ms > wait)
		wait = t->silent_ms;
	if (status == 429 && s.again != FETCH_AGAIN_NEVER)
		fetch_engine_hold(t->engine, &t->request, wait ? wait :
			RETRY_FIRST_MS);
	try_again(t, s, wait);
}

static void http_failed(struct fetch_transfer *t)
{
	const struct fetch_reply *r = &t->request.reply;
	char words[256];

	fetch_status_words(r, t->said, t->said_len, words, sizeof(words));
	if (r->status == 416 && t->ranged && !t->probe) {
		const struct fetch_range_reply reply = range_reply(t, r);

		if (t->contradicts && reply.total != RANGE_UNKNOWN)
			(void) snprintf(words, sizeof(words), RANGE_RESIZED,
				reply.total, t->want.size);
		else if (t->contradicts)
			(void) snprintf(words, sizeof(words), RANGE_BEHIND,
				t->want.off, t->want.size);
	}
	turned_down(t, r->status, words);
}

static void whole(struct fetch_transfer *t)
{
	char words[256];
	unsigned status = t->judge ? t->judge(t, words, sizeof(words)) : 0;

	if (status >= 400)
		turned_down(t, status, words);
	else
		finish(t, 0);
}

static void on_done(struct fetch_request *r)
{
	struct fetch_transfer *t = container_of(r, struct fetch_transfer,
		request);
	struct fetch_status s = r->status;
	unsigned status = t->headed ? r->reply.status : 0;
	char shown[SHOWN];

	if (r->began_ms)
		t->retry.spent_ms += clock_ms() - r->began_ms;
	if (fetch_engine_stopping(t->engine))
		finish(t, error_set(&t->why, -ECANCELED, "going down"));
	else if (t->final)
		finish(t, t->final);
	else if (t->probe ? t->accept :
			t->ranged && t->want.off == t->want.end)
		finish(t, 0);
	else if (t->refused)
		try_again(t, (struct fetch_status){ -EIO,
			FETCH_AGAIN_LATER }, 0);
	else if (status >= 400)
		http_failed(t);
	else if (status == 304 && t->lines && !t->ranged) {
		t->unchanged = true;
		finish(t, 0);
	} else if (status >= 300 && !(s.err && !fetch_reply_get(&r->reply,
			HEADER_LOCATION)))	/* its body may count */
		follow(t);
	else if (s.err || t->ranged) {
		/* all of the file came, and was less */
		t->contradicts = !s.err && status == 200;
		if (!s.err)
			s = (struct fetch_status){ -EIO, FETCH_AGAIN_LATER };
		error_set(&t->why, s.err, "%s: %s", fetch_url_show(asked(t),
			shown, sizeof(shown)), *r->words ? r->words :
			"the body ended early");
		try_again(t, s, 0);
	} else {
		whole(t);
	}
}

/* ---- one try ---- */

static void ask(struct fetch_transfer *t)
{
	struct fetch_request *r = &t->request;

	fetch_request_reset(r);
	t->headed = t->refused = t->accept = false;
	t->contradicts = false;
	t->why = (struct error){ 0 };
	t->skip = 0;
	t->said_len = 0;
	t->status = 0;
	t->silent_ms = 0;
	r->url = asked(t);
	r->auth = t->elsewhere ? NULL : fetch_auth_for(t->auth, r->url);
	r->klass = t->klass;
	r->lines = t->lines;
	r->post = t->turned ? NULL : t->post;
	r->running = t->place ? &t->place->running : NULL;
	r->range = t->ranged ? &t->want : NULL;
	r->bare = t->bare;
	r->head = on_head;
	r->body = on_body;
	r->done = on_done;
	if (!t->ranged && !t->probe)
		t->restart(t);
	fetch_engine_submit(t->engine, r);
}

/* Wait for who is looking for the place already. */
static bool park(struct fetch_transfer *t)
{
	struct fetch_place *p = t->place;

	if (p->brief)
		return false;
	if (p->finder && p->finder != t) {
		t->next = p->parked;
		p->parked = t;
		return true;
	}
	p->finder = t;
	return false;
}

static void go(struct fetch_transfer *t)
{
	struct fetch_place *p = t->place;

	free(t->hop);
	t->hop = NULL;
	t->hops = 0;
	t->elsewhere = t->turned = false;
	t->remembered = false;
	t->progress = 0;
	if (fetch_engine_stopping(t->engine)) {
		finish(t, error_set(&t->why, -ECANCELED, "going down"));
		return;
	}
	if (p && p->url && clock_ms() < p->until) {
		t->hop = strdup(p->url);
		t->remembered = t->hop != NULL;
		t->elsewhere = t->hop && !fetch_url_same_origin(t->url,
			t->hop);
	}
	if (p && !t->remembered && park(t))
		return;
	ask(t);
}

static void begin(struct fetch_task *task)
{
	struct fetch_transfer *t = container_of(task, struct fetch_transfer,
		task);

	if (fetch_engine_offline(t->engine) && !fetch_url_is_file(t->url))
		finish(t, error_set(&t->why, -EHOSTUNREACH,
			"offline: the network is switched off"));
	else
		go(t);
}

static uint64_t patience(const struct fetch_engine *e)
{
	uint64_t ms = 3 * fetch_engine_timeout_ms(e);

	return ms > RETRY_SPENT_MS ? ms : RETRY_SPENT_MS;
}

void fetch_transfer_start(struct fetch_transfer *t)
{
	t->retry = (struct fetch_retry){
		.max = fetch_engine_retries(t->engine),
		.spent_max_ms = patience(t->engine),
	};
	t->why = (struct error){ 0 };
	t->unchanged = t->lost = false;
	t->final = 0;
	t->renewed = 0;
	t->request.fd = -1;
	t->timer.fire = on_timer;
	t->task.run = begin;
	fetch_engine_post(t->engine, &t->task);
}
