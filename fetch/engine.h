/*
 * The thread that owns the CURLM. Others hand it tasks; everything it calls
 * back runs on it and must not block. Only fetch_engine_new, _free, _post and
 * _stats are for other threads.
 *
 * libcurl: only this thread calls curl_multi_* and curl_easy_*, except
 * curl_multi_wakeup, which its manual allows from any thread.
 */
#ifndef FETCH_ENGINE_H
#define FETCH_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/error.h"
#include "fetch/queue.h"
#include "fetch/request.h"

struct fetch_engine;

struct fetch_timer {
	uint64_t due;			/* ms */
	void (*fire)(struct fetch_timer *t);
	struct fetch_timer *next, **link;	/* the engine's */
};

struct fetch_counters {
	atomic_ullong requests, retries, failures, body_bytes, connections;
	atomic_ullong active, queued;
};

int fetch_engine_new(const struct conf *conf, struct fetch_engine **ret,
	struct error *why);
/* Ends everything with -ECANCELED and joins. NULL is fine. */
void fetch_engine_free(struct fetch_engine *e);
/* Any thread: run the task on the engine thread, soon, never at once. */
void fetch_engine_post(struct fetch_engine *e, struct fetch_task *t);
/* Any thread. */
struct fetch_counters *fetch_engine_counters(struct fetch_engine *e);
bool fetch_engine_offline(const struct fetch_engine *e);
unsigned fetch_engine_retries(const struct fetch_engine *e);
uint64_t fetch_engine_timeout_ms(const struct fetch_engine *e);

/* ---- the engine thread ---- */

/* Begins as soon as limits allow. done() is never called from inside. */
void fetch_engine_submit(struct fetch_engine *e, struct fetch_request *r);
/* Hold back requests of this one's class to its host; r has just ended. */
void fetch_engine_hold(struct fetch_engine *e, const struct fetch_request *r,
	uint64_t ms);
/* Fires once; at once when the engine is going down. */
void fetch_engine_after(struct fetch_engine *e, struct fetch_timer *t,
	uint64_t ms);
/* Everything must end with -ECANCELED now. */
bool fetch_engine_stopping(const struct fetch_engine *e);
uint32_t fetch_engine_noise(struct fetch_engine *e);

#endif
