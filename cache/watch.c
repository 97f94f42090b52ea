/*
 * Waiting for other processes. The kernel tells nobody when a byte lock goes
 * or a shared page changes, so one thread looks, and only while some blob has
 * a reason. A look that still finds a reason asks for the next one itself.
 */
#include "config.h"

#include <errno.h>
#include <time.h>

#include "cache/fill.h"

#define WATCH_NS 15000000L

static void look(struct blob *b)
{
	struct fill_todo todo = { NULL, NULL };

	pthread_mutex_lock(&b->lock);
	cache_fill_kick(b, &todo);
	/* Nobody waits, but who was to give the verdict may have died. */
	if (atomic_load(&b->state) == BLOB_FILLING && b->part &&
	    cache_partial_complete(b->part))
		cache_settle_more(b);
	(void) cache_fill_pump(b, &todo);
	pthread_mutex_unlock(&b->lock);
	cache_fill_run(b, &todo);
	cache_blob_unref(b);
}

static void pause_a_little(struct cache *c)
{
	struct timespec until;

	(void) clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WATCH_NS;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	while (!c->watch_stop &&
	       !pthread_cond_timedwait(&c->watch_more, &c->watch_lock, &until))
		;
}

static void *watch(void *arg)
{
	struct cache *c = arg;
	struct blob *list;

	pthread_mutex_lock(&c->watch_lock);
	while (!c->watch_stop) {
		if (!c->watched) {
			pthread_cond_wait(&c->watch_more, &c->watch_lock);
			continue;
		}
		pause_a_little(c);
		list = c->watched;
		c->watched = NULL;
		while (list) {
			struct blob *b = list;

			list = b->next_watched;
			b->is_watched = false;
			pthread_mutex_unlock(&c->watch_lock);
			look(b);
			pthread_mutex_lock(&c->watch_lock);
		}
	}
	pthread_mutex_unlock(&c->watch_lock);
	return NULL;
}

int cache_watch_start(struct cache *c)
{
	c->watch_runs = !pthread_create(&c->watch_thread, NULL, watch, c);
	return c->watch_runs ? 0 : -ENOMEM;
}

void cache_watch(struct blob *b)
{
	struct cache *c = b->c;

	pthread_mutex_lock(&c->watch_lock);
	if (!b->is_watched) {
		b->is_watched = true;
		b->next_watched = c->watched;
		c->watched = cache_blob_ref(b);
		pthread_cond_signal(&c->watch_more);
	}
	pthread_mutex_unlock(&c->watch_lock);
}

void cache_watch_stop(struct cache *c)
{
	pthread_mutex_lock(&c->watch_lock);
	c->watch_stop = true;
	pthread_cond_broadcast(&c->watch_more);
	pthread_mutex_unlock(&c->watch_lock);
	if (c->watch_runs)
		(void) pthread_join(c->watch_thread, NULL);
}
