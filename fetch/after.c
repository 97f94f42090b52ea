/* A moment later, by the engine's clock: for who cannot wait for ever. */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "fetch/fetch.h"
#include "fetch/hub.h"

struct after {
	struct fetch_task task;
	struct fetch_timer timer;
	struct fetch_engine *engine;
	uint64_t ms;
	void (*fn)(void *arg);
	void *arg;
};

static void fire(struct fetch_timer *t)
{
	struct after *a = (struct after *)(void *)((char *)t -
		offsetof(struct after, timer));

	a->fn(a->arg);
	free(a);
}

static void arm(struct fetch_task *t)
{
	struct after *a = (struct after *)(void *)((char *)t -
		offsetof(struct after, task));

	a->timer.fire = fire;
	fetch_engine_after(a->engine, &a->timer, a->ms);
}

int fetch_hub_after(struct fetch_hub *h, uint64_t ms, void (*fn)(void *arg),
	void *arg)
{
	struct after *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	*a = (struct after){ .task = { .run = arm }, .engine = h->engine,
		.ms = ms, .fn = fn, .arg = arg };
	fetch_engine_post(h->engine, &a->task);
	return 0;
}
