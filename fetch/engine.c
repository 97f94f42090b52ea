/*
 * One turn of the loop: take what was posted, fire timers, start what limits
 * allow, give every file:// exchange a slice, let libcurl work, collect what
 * ended, look for silence. Then sleep until something is due or posted.
 *
 * Lists are scanned whole each turn: they hold tens of entries, and a scan is
 * cheaper than being clever about it.
 */
#include "config.h"

#include "fetch/engine.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fetch/url.h"

#define SLICE (256 * 1024)	/* bytes of a file a turn */
#define HEAP_WARM (96 * 1024)	/* bytes */
#define IDLE_EASY 32		/* handles kept for the next exchange */
#define IDLE_CONNECTIONS 32L
#define TURN_MAX_MS 1000
#define LOOK_MS 250		/* for slots to lend while some wait */

struct fetch_engine {
	struct fetch_queue queue;	/* has its own lock */
	struct fetch_counters count;	/* atomic */
	atomic_bool stop;		/* set once, by fetch_engine_free */
	pthread_t thread;
	CURLM *multi;			/* the thread's, but for wakeup */

	/* constant */
	struct fetch_request_conf request;
	unsigned retries;
	bool offline;

	/* the engine thread's */
	struct fetch_limit limit;
	struct fetch_request *waiting, **waiting_tail;
	struct fetch_request *running;
	struct fetch_request *files;
	struct fetch_timer *timers;
	CURL *idle[IDLE_EASY];
	unsigned n_idle;
	bool hurry;			/* something can be done at once */
	bool posted;			/* a task, by this thread itself */
	uint32_t noise;
	uint8_t *slice;
};

struct fetch_counters *fetch_engine_counters(struct fetch_engine *e)
{
	return &e->count;
}

bool fetch_engine_offline(const struct fetch_engine *e)
{
	return e->offline;
}

unsigned fetch_engine_retries(const struct fetch_engine *e)
{
	return e->retries;
}

uint64_t fetch_engine_timeout_ms(const struct fetch_engine *e)
{
	return e->request.timeout_ms;
}

bool fetch_engine_stopping(const struct fetch_engine *e)
{
	return atomic_load(&e->stop);
}

uint32_t fetch_engine_noise(struct fetch_engine *e)
{
	e->noise ^= e->noise << 13;
	e->noise ^= e->noise >> 17;
	e->noise ^= e->noise << 5;
	return e->noise;
}

static _Thread_local const struct fetch_engine *runs_here;

void fetch_engine_post(struct fetch_engine *e, struct fetch_task *t)
{
	fetch_queue_push(&e->queue, t);
	if (runs_here == e)
		e->posted = true;
	else
		(void) curl_multi_wakeup(e->multi);
}

/* ---- lists ---- */

static void link_request(struct fetch_request **list, struct fetch_request *r)
{
	r->next = *list;
	r->link = list;
	if (r->next)
		r->next->link = &r->next;
	*list = r;
}

static void unlink_request(struct fetch_engine *e, struct fetch_request *r)
{
	if (e->waiting_tail == &r->next)
		e->waiting_tail = r->link;
	if (r->next)
		r->next->link = r->link;
	*r->link = r->next;
	r->next = NULL;
}

void fetch_engine_after(struct fetch_engine *e, struct fetch_timer *t,
	uint64_t ms)
{
	t->due = clock_ms() + ms;
	t->next = e->timers;
	t->link = &e->timers;
	if (t->next)
		t->next->link = &t->next;
	e->timers = t;
}

static void fire_timers(struct fetch_engine *e)
{
	struct fetch_timer *t, *next;
	uint64_t now = clock_ms();
	bool all = fetch_engine_stopping(e);

	for (t = e->timers; t; t = next) {
		next = t->next;
		if (!all && t->due > now)
			continue;
		if (next)
			next->link = t->link;
		*t->link = next;
		t->fire(t);	/* adds only in front of the list */
	}
}

/* ---- beginning and ending ---- */

void fetch_engine_submit(struct fetch_engine *e, struct fetch_request *r)
{
	r->next = NULL;
	r->link = e->waiting_tail;
	*e->waiting_tail = r;
	e->waiting_tail = &r->next;
	r->limit = &e->limit;
	r->received = NULL;
	r->easy = NULL;
	r->fd = -1;
	r->began_ms = 0;
	e->hurry = true;
	atomic_fetch_add(&e->count.queued, 1);
}

void fetch_engine_hold(struct fetch_engine *e, const struct fetch_request *r,
	uint64_t ms)
{
	(void) e;
	if (r->host)
		fetch_limit_hold(r->host, r->klass, clock_ms(), ms);
}

/* A handle whose transfer failed early, or was a stream of a connection still in
 * use, keeps its buffer and refuses another CURLOPT_BUFFERSIZE: it is of no use
 * to others. */
static void recycle(struct fetch_engine *e, CURL *easy)
{
	if (e->n_idle == IDLE_EASY || curl_easy_setopt(easy,
			CURLOPT_BUFFERSIZE, (long)CURL_MAX_WRITE_SIZE)) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	e->idle[e->n_idle++] = easy;
}

/* Off every list, slot given back, and told. */
static void end(struct fetch_engine *e, struct fetch_request *r)
{
	struct fetch_limit_host *host = r->host;
	long opened = 0;

	unlink_request(e, r);
	if (r->slot) {
		r->slot = false;
		r->host->open[r->klass]--;
		r->host->lent -= r->lent;
		if (r->running)
			--*r->running;
		atomic_fetch_sub(&e->count.active, 1);
	}
	if (r->easy) {
		if (!curl_easy_getinfo(r->easy, CURLINFO_NUM_CONNECTS,
				&opened) && opened > 0)
			atomic_fetch_add(&e->count.connections,
				(unsigned long long)opened);
		recycle(e, r->easy);
		r->easy = NULL;
	}
	if (r->fd >= 0)
		(void) close(r->fd);
	r->fd = -1;
	e->hurry = true;
	r->done(r);
	fetch_limit_host_put(&e->limit, host);
}

static void fail(struct fetch_engine *e, struct fetch_request *r, int err,
	enum fetch_again again)
{
	r->status = (struct fetch_status){ err, again };
	end(e, r);
}

static void start_network(struct fetch_engine *e, struct fetch_request *r)
{
	CURL *easy = e->n_idle ? e->idle[--e->n_idle] : curl_easy_init();

	if (!easy) {
		fail(e, r, -ENOMEM, FETCH_AGAIN_NEVER);
		return;
	}
	if (fetch_request_prepare(r, easy, &e->request) ||
	    curl_multi_add_handle(e->multi, easy)) {
		r->easy = easy;
		fail(e, r, -ENOMEM, FETCH_AGAIN_NEVER);
	}
}

static void start(struct fetch_engine *e, struct fetch_request *r)
{
	unlink_request(e, r);
	atomic_fetch_sub(&e->count.queued, 1);
	atomic_fetch_add(&e->count.active, 1);
	atomic_fetch_add(&e->count.requests, 1);
	r->slot = true;
	r->host->open[r->klass]++;
	if (r->running)
		++*r->running;
	r->began_ms = r->heard_ms = clock_ms();
	fetch_pace_begin(&r->pace, r->began_ms);
	r->received = &e->count.body_bytes;
	if (fetch_url_is_file(r->url)) {
		link_request(&e->files, r);
		if (fetch_request_file_open(r))
			end(e, r);
	} else {
		link_request(&e->running, r);
		start_network(e, r);
	}
}

/* The host's record; on failure r has ended. */
static bool find_host(struct fetch_engine *e, struct fetch_request *r)
{
	char *origin = fetch_url_origin(r->url);

	if (origin)
		r->host = fetch_limit_host(&e->limit, origin);
	free(origin);
	if (r->host)
		return true;
	atomic_fetch_sub(&e->count.queued, 1);
	snprintf(r->words, sizeof(r->words), "%s",
		origin ? "" : "not an address");
	fail(e, r, origin ? -ENOMEM : -EIO, FETCH_AGAIN_NEVER);
	return false;
}

static void start_waiting(struct fetch_engine *e, bool more_of_a_file)
{
	struct fetch_request *r, *next;
	uint64_t now = clock_ms();

	for (r = e->waiting; r; r = next) {
		next = r->next;
		if (!more_of_a_file && r->running && *r->running)
			continue;
		if (!r->host && !find_host(e, r))
			continue;
		if (fetch_limit_may_start(&e->limit, r->host, r->klass, now))
			start(e, r);
	}
}

/* ---- work ---- */

static void step_files(struct fetch_engine *e)
{
	struct fetch_request *r, *next;

	for (r = e->files; r; r = next) {
		next = r->next;
		if (!fetch_request_file_step(r, e->slice, SLICE))
			end(e, r);
	}
}

static void collect(struct fetch_engine *e)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(e->multi, &left))) {
		struct fetch_request *r = NULL;
		CURL *easy = m->easy_handle;
		CURLcode c = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &r);
		curl_multi_remove_handle(e->multi, easy);
		fetch_request_ended(r, c);
		end(e, r);
	}
}

static void give_up(struct fetch_engine *e, struct fetch_request *r, int err)
{
	curl_multi_remove_handle(e->multi, r->easy);
	fail(e, r, err, err == -ETIMEDOUT ? FETCH_AGAIN_LATER :
		FETCH_AGAIN_NEVER);
}

/* Is it to be given up? Then with words. */
static bool too_slow(struct fetch_engine *e, struct fetch_request *r,
	uint64_t now)
{
	uint64_t limit = e->request.timeout_ms, silent = now - r->heard_ms;
	unsigned long long s = limit / 1000;

	if (silent >= limit)
		snprintf(r->words, sizeof(r->words), "no byte came for %llu s",
			s);
	else if (!fetch_pace_too_slow(&r->pace, r->klass, limit, now))
		return false;
	else if (r->klass == FETCH_META)
		snprintf(r->words, sizeof(r->words), "the answer was not "
			"complete after %llu s", PACE_META_TIMEOUTS * s);
	else
		snprintf(r->words, sizeof(r->words), "fewer than %d bytes a "
			"second came for %llu s", PACE_BULK_RATE,
			PACE_BULK_TIMEOUTS * s);
	return true;
}

/* That what it held back is refused, libcurl tells nobody but us. */
static void resume(struct fetch_engine *e, struct fetch_request *r,
	uint64_t now)
{
	struct fetch_request **at = &e->running;
	CURLcode c;

	r->paused_until = 0;
	r->heard_ms = now;
	fetch_pace_resume(&r->pace, now);
	c = curl_easy_pause(r->easy, CURLPAUSE_CONT);
	if (c) {
		curl_multi_remove_handle(e->multi, r->easy);
		fetch_request_ended(r, c);
		end(e, r);
	} else if (r->pace.bytes) {	/* now it is the others' turn */
		unlink_request(e, r);
		while (*at)
			at = &(*at)->next;
		link_request(at, r);
	}
}

/* Time-outs, slots to lend, pauses that are over. */
static void look(struct fetch_engine *e)
{
	struct fetch_request *r, *next;
	uint64_t now = clock_ms();

	for (r = e->running; r; r = next) {
		uint64_t quiet = now - r->heard_ms;

		next = r->next;
		if (r->paused_until) {
			if (now >= r->paused_until)
				resume(e, r, now);
			continue;
		}
		if (too_slow(e, r, now)) {
			give_up(e, r, -ETIMEDOUT);
			continue;
		}
		if (r->klass == FETCH_BULK &&
		    r->lent != (quiet >= LIMIT_SILENT_MS)) {
			r->lent = !r->lent;
			r->host->lent += r->lent ? 1 : -1u;
			e->hurry |= r->lent;
		}
	}
}

static void cancel_all(struct fetch_engine *e)
{
	while (e->waiting) {
		struct fetch_request *r = e->waiting;

		atomic_fetch_sub(&e->count.queued, 1);
		fail(e, r, -ECANCELED, FETCH_AGAIN_NEVER);
	}
	while (e->running)
		give_up(e, e->running, -ECANCELED);
	while (e->files)
		fail(e, e->files, -ECANCELED, FETCH_AGAIN_NEVER);
}

static void sooner(uint64_t *ms, uint64_t now, uint64_t due)
{
	uint64_t left = due > now ? due - now : 0;

	if (left < *ms)
		*ms = left;
}

static int nap(struct fetch_engine *e)
{
	uint64_t ms = e->waiting ? LOOK_MS : TURN_MAX_MS;
	uint64_t now = clock_ms();

	if (e->hurry || e->posted || e->files)
		return 0;
	for (struct fetch_timer *t = e->timers; t; t = t->next)
		sooner(&ms, now, t->due);
	for (struct fetch_request *r = e->running; r; r = r->next)
		sooner(&ms, now, r->paused_until ? r->paused_until :
			r->heard_ms + e->request.timeout_ms);
	return (int)ms;
}

static bool run_tasks(struct fetch_engine *e)
{
	struct fetch_task *t, *next;
	bool any = false;

	do {
		e->posted = false;
		for (t = fetch_queue_take(&e->queue); t; t = next) {
			next = t->next;
			any = true;
			t->run(t);
		}
	} while (e->posted);
	return any;
}

/* libcurl takes a buffer from this thread's heap for each exchange: so much has
 * its memory before the first reply comes. */
static void warm_heap(void)
{
	void *p = malloc(HEAP_WARM);

	if (p)
		explicit_bzero(p, HEAP_WARM);
	free(p);
}

static void *engine_main(void *arg)
{
	struct fetch_engine *e = arg;
	int n;

	runs_here = e;
	warm_heap();
	for (;;) {
		bool busy = run_tasks(e);

		if (fetch_engine_stopping(e)) {
			fire_timers(e);
			cancel_all(e);
			if (!busy && !e->posted && !e->timers && !e->waiting)
				return NULL;
			continue;
		}
		fire_timers(e);
		e->hurry = false;
		start_waiting(e, false);
		start_waiting(e, true);
		step_files(e);
		curl_multi_perform(e->multi, &n);
		collect(e);
		look(e);
		curl_multi_poll(e->multi, NULL, 0, nap(e), NULL);
	}
}

/* ---- life ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_start(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* All signals stay with the threads that expect them. */
static int spawn(struct fetch_engine *e)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&e->thread, NULL, engine_main, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

static void engine_done(struct fetch_engine *e)
{
	while (e->n_idle)
		curl_easy_cleanup(e->idle[--e->n_idle]);
	if (e->multi)
		curl_multi_cleanup(e->multi);
	fetch_limit_done(&e->limit);
	fetch_queue_done(&e->queue);
	free(e->slice);
	free(e);
}

/* The names the curl command honours; the library itself does not. */
static const char *ca_file(void)
{
	const char *v = getenv("CURL_CA_BUNDLE");

	if (!v || !*v)
		v = getenv("SSL_CERT_FILE");
	return v && *v ? v : NULL;
}

int fetch_engine_new(const struct conf *conf, struct fetch_engine **ret,
	struct error *why)
{
	struct fetch_engine *e = calloc(1, sizeof(*e));
	uint64_t timeout = conf_u64(conf, "fetch.timeout");
	uint64_t retries = conf_u64(conf, "fetch.retries");
	int r = -ENOMEM;

	pthread_once(&curl_once, curl_start);
	if (curl_ready) {
		free(e);
		return error_set(why, -EIO, "libcurl does not start: %s",
			curl_easy_strerror(curl_ready));
	}
	if (!e)
		return error_set(why, -ENOMEM, "out of memory");
	fetch_queue_init(&e->queue);
	fetch_limit_init(&e->limit,
		(unsigned)conf_u64(conf, "fetch.connections"),
		conf_u64(conf, "fetch.rate"), clock_ms());
	e->waiting_tail = &e->waiting;
	e->noise = (uint32_t)clock_ms() | 1;
	e->request.timeout_ms = (timeout && timeout < 3600 ? timeout : 3600)
		* 1000;
	e->request.ca_file = ca_file();
	e->request.streams = !strcmp(conf_get(conf, "fetch.http"), "2");
	e->retries = retries < 100 ? (unsigned)retries : 100;
	e->offline = conf_flag(conf, "offline");
	e->slice = malloc(SLICE);
	e->multi = curl_multi_init();
	if (e->slice && e->multi) {
		curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS,
			IDLE_CONNECTIONS);
		r = spawn(e);
	}
	if (r) {
		engine_done(e);
		return error_set(why, r, "the network engine does not start");
	}
	*ret = e;
	return 0;
}

void fetch_engine_free(struct fetch_engine *e)
{
	if (!e)
		return;
	atomic_store(&e->stop, true);
	(void) curl_multi_wakeup(e->multi);
	pthread_join(e->thread, NULL);
	engine_done(e);
}
