#include "config.h"

#include "fs/sweep.h"

#include "base/clock.h"

#define SWEEP_MS 60000
#define KEEP_MS 600000
#define SWEPT_MAX (sizeof(((struct fs_swept *)0)->v) / sizeof(void *))

struct sweep {
	bool (*old)(const void *value, uint64_t before);
	uint64_t before;
	const char *keys[SWEPT_MAX];	/* the map's */
	size_t n;
};

static int collect_old(void *arg, const char *key, void *value)
{
	struct sweep *s = arg;

	if (s->old(value, s->before))
		s->keys[s->n++] = key;
	return s->n == SWEPT_MAX;
}

void fs_sweep(struct map *m, uint64_t *at,
	bool (*old)(const void *value, uint64_t before), struct fs_swept *ret)
{
	uint64_t now = clock_ms();
	struct sweep s = { .old = old };

	ret->n = 0;
	if (now - *at <= SWEEP_MS || now <= KEEP_MS)
		return;
	*at = now;
	s.before = now - KEEP_MS;
	map_each(m, collect_old, &s);
	for (size_t i = 0; i < s.n; i++)
		ret->v[ret->n++] = map_del(m, s.keys[i]);
}
