/* What is used while an eviction is under way: another cache of the directory
 * has its lock when the eviction has listed all there is and wants to begin. */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

struct evicting {
	struct cache *c;
	uint64_t freed;		/* bytes */
};

static void *evict(void *arg)
{
	struct evicting *e = arg;

	e->freed = cache_evict(e->c, 1, false);
	return NULL;
}

/* Its last use was then, in seconds. */
static void use(struct cache *c, const char *rel, time_t at)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
		{ .tv_sec = at } };

	t_int(utimensat(c->dir, rel, t, AT_SYMLINK_NOFOLLOW), 0);
}

static void put(struct cache *c, const char *text, time_t at,
	char ret_rel[CACHE_REL_MAX])
{
	struct cache_put *p;
	struct objid id;

	t_int(cache_put_begin(c, strlen(text), &p), 0);
	t_int(cache_put_data(p, text, strlen(text)), 0);
	t_int(cache_put_end(p, &id), 0);
	cache_object_rel(&id, ret_rel);
	use(c, ret_rel, at);
}

/* One byte is wanted, and `rel` is used when all is listed. */
static uint64_t evict_beside(struct cache *c, struct cache *other,
	const char *rel, time_t at)
{
	struct evicting e = { .c = c };
	pthread_t t;

	cache_store_enter(other);
	t_int(pthread_create(&t, NULL, evict, &e), 0);
	for (int i = 0; !pthread_mutex_trylock(&c->store_lock); i++) {
		pthread_mutex_unlock(&c->store_lock);
		t_check(i < 30000);
		usleep(1000);
	}
	use(other, rel, at);
	cache_store_leave(other);
	t_int(pthread_join(t, NULL), 0);
	return e.freed;
}

int main(void)
{
	char *dir = upstream_dir("evict");
	struct cache *c = t_open_cache(dir, 0), *other = t_open_cache(dir, 0);
	char old[CACHE_REL_MAX], young[CACHE_REL_MAX];

	put(c, "the oldest", 1000, old);
	put(c, "younger", 2000, young);
	/* It is not the oldest any more. */
	t_int(evict_beside(c, other, old, 3000), strlen("younger"));
	t_check(cache_object_there(c, old, strlen("the oldest")));
	t_int(faccessat(c->dir, young, F_OK, 0), -1);
	/* But it is all there is. */
	t_int(evict_beside(c, other, old, 4000), strlen("the oldest"));
	t_int(faccessat(c->dir, old, F_OK, 0), -1);
	t_int(cache_used(c), 0);
	cache_close(c);
	cache_close(other);
	free(dir);
	return 0;
}
