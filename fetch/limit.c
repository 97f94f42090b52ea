#include "config.h"

#include "fetch/limit.h"

#include <stdlib.h>

#include "fetch/retry.h"

void fetch_limit_init(struct fetch_limit *l, unsigned connections,
	uint64_t rate, uint64_t now)
{
	*l = (struct fetch_limit){
		.bulk = connections > LIMIT_BULK ? connections : LIMIT_BULK,
		.rate = rate,
		.filled = now,
	};
}

static int free_host(void *arg, const char *key, void *value)
{
	(void) arg;
	(void) key;
	free(value);
	return 0;
}

void fetch_limit_done(struct fetch_limit *l)
{
	map_each(&l->hosts, free_host, NULL);
	map_done(&l->hosts);
}

struct fetch_limit_host *fetch_limit_host(struct fetch_limit *l,
	const char *origin)
{
	struct fetch_limit_host *h = map_get(&l->hosts, origin);

	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return NULL;
		if (map_put(&l->hosts, origin, h, NULL)) {
			free(h);
			return NULL;
		}
	}
	h->users++;
	return h;
}

static int find_idle(void *arg, const char *key, void *value)
{
	const struct fetch_limit_host *h = value;
	const char **ret = arg;

	if (h->users)
		return 0;
	*ret = key;
	return 1;
}

void fetch_limit_host_put(struct fetch_limit *l, struct fetch_limit_host *h)
{
	const char *idle = NULL;

	if (!h || --h->users || l->hosts.n <= LIMIT_HOSTS)
		return;
	map_each(&l->hosts, find_idle, &idle);
	free(map_del(&l->hosts, idle));
}

bool fetch_limit_may_start(const struct fetch_limit *l,
	const struct fetch_limit_host *h, enum fetch_class c, uint64_t now)
{
	if (now < h->held[c])
		return false;
	if (c == FETCH_META)
		return h->open[c] < LIMIT_META;
	return h->open[c] - h->lent < l->bulk &&
		h->open[c] < l->bulk * LIMIT_LENT;
}

void fetch_limit_hold(struct fetch_limit_host *h, enum fetch_class c,
	uint64_t now, uint64_t ms)
{
	if (ms > RETRY_ASKED_CAP_MS)
		ms = RETRY_ASKED_CAP_MS;
	if (h->held[c] < now + ms)
		h->held[c] = now + ms;
}

static void fill(struct fetch_limit *l, uint64_t now)
{
	uint64_t ms = now - l->filled;
	uint64_t more, most = l->rate / 4 + 1;

	if (ms > 60000)
		ms = 60000;
	more = l->rate * ms / 1000;
	if (!more)
		return;		/* too early for a whole byte */
	l->filled = now;
	l->bucket += (int64_t)more;
	if (l->bucket > (int64_t)most)
		l->bucket = (int64_t)most;
}

uint64_t fetch_limit_take(struct fetch_limit *l, uint64_t len, uint64_t now)
{
	if (!l->rate)
		return 0;
	fill(l, now);
	if (l->bucket < 0)
		return (uint64_t)-l->bucket * 1000 / l->rate + 1;
	l->bucket -= (int64_t)len;
	return 0;
}
