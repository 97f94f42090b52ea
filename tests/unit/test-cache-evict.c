/* What is used while an eviction is under way: another cache of the directory
 * has its lock when the eviction has listed all there is and wants to begin. */
#include "config.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

/* Between the look at the pins and the first that is to go. */
static struct cache *pins;

static int in_order(const void *a, const void *b, void *less)
{
	return (*(int (**)(const void *, const void *))less)(a, b);
}

/* The library's own, but that what is listed is pinned meanwhile, within the
 * tick of the clock in which the pins were last changed. */
void qsort(void *v, size_t n, size_t size,
	int (*less)(const void *a, const void *b))
{
	struct cache *c = pins;
	struct stat st;

	pins = NULL;
	if (c) {
		t_int(fstatat(c->dir, "pins", &st, 0), 0);
		t_int(cache_pin(c, "hub", "org/name", "rev", true), 0);
		t_int(utimensat(c->dir, "pins", (struct timespec[2]){
			st.st_atim, st.st_mtim }, 0), 0);
	}
	qsort_r(v, n, size, in_order, &less);
}

/* A directory that cannot be read to its end. */
static const char *unreadable;

struct dirent *readdir(DIR *d)
{
	static struct dirent *(*real)(DIR *d);
	char path[64], dir[4096];
	ssize_t n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd(d));
	n = unreadable ? readlink(path, dir, sizeof(dir) - 1) : -1;
	if (n > 0) {
		dir[n] = '\0';
		if (strstr(dir, unreadable)) {
			errno = EIO;
			return NULL;
		}
	}
	return real(d);
}

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

/* Pinned while an eviction looks for what may go. */
static void test_pinned(void)
{
	char *dir = upstream_dir("evict-pinned");
	struct cache *c = t_open_cache(dir, 0), *other = t_open_cache(dir, 0);
	uint8_t *bytes = upstream_bytes(MIB, 7);
	struct cache_name n = t_name_of("a", bytes, MIB, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, MIB, 1);
	struct src *s;

	n.hub = "hub";
	n.repo = "org/name";
	n.revision = "rev";
	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 0, MIB);
	(void) t_wait_fd(s);
	src_unref(s);
	cache_ref_settle(c);
	pins = other;
	t_int(cache_evict(c, 1, false), 0);
	t_check(!pins);

	/* And what is pinned is not known: then nothing goes. */
	t_int(cache_pin(c, "hub", "org/name", "none", true), 0);
	t_int(cache_pin(c, "hub", "org/name", "rev", true), 0);
	unreadable = "/pins";
	t_int(cache_evict(c, 1, false), 0);
	unreadable = NULL;
	t_int(cache_pin(c, "hub", "org/name", "rev", false), 0);
	t_int(cache_evict(c, 1, false), MIB);
	t_int(cache_used(c), 0);
	cache_close(c);
	cache_close(other);
	upstream_free(u);
	free(bytes);
	free(dir);
}

static int count_link(void *arg, const struct cache_entry *e)
{
	*(unsigned *)arg += e->kind == CACHE_FILE_LINK;
	return 0;
}

static void found(void *arg, const char *rel, int err, bool removed)
{
	t_check(!strncmp(rel, "objects/sha256", 14));
	t_int(err, -EIO);
	t_int(removed, 0);
	++*(int *)arg;
}

/* What cannot be listed to its end is told, and stays. */
static void test_unreadable(void)
{
	char *dir = upstream_dir("evict-unreadable");
	struct cache *c = t_open_cache(dir, 0);
	char rel[CACHE_REL_MAX];
	uint64_t bad = 0;
	int told = 0;

	put(c, "some bytes", 1000, rel);
	unreadable = "/objects/sha256";
	t_int(cache_verify(c, found, &told, &bad), 0);
	unreadable = NULL;
	t_int(told, 1);
	t_int(bad, 1);
	t_int(cache_verify(c, NULL, NULL, &bad), 0);
	t_int(bad, 0);
	cache_close(c);
	free(dir);
}

static unsigned links(struct cache *c)
{
	unsigned n = 0;

	t_int(cache_scan_notes(c, count_link, &n), 0);
	return n;
}

/* Links go with the object they lead to, and no others. */
static void test_links(void)
{
	char *dir = upstream_dir("evict-links");
	struct cache *c = t_open_cache(dir, 0);
	uint8_t *bytes = upstream_bytes(MIB + 1, 8);
	struct upstream *u[2];

	for (unsigned i = 0; i < 2; i++) {
		struct cache_name n = t_name_of(i ? "b" : "a", bytes + i, MIB,
			OBJID_GITSHA1);
		char rel[CACHE_REL_MAX];
		struct objid id;
		struct src *s;

		u[i] = upstream_new(bytes + i, MIB, 1);
		s = t_open_src(c, &n, u[i]);
		t_expect(s, bytes + i, 0, MIB);
		(void) t_wait_fd(s);
		src_unref(s);
		digest_sha256(bytes + i, MIB, &id);
		cache_object_rel(&id, rel);
		use(c, rel, 1000 * (time_t)(i + 1));
	}
	for (unsigned left = 2; left; left--) {
		t_int(links(c), left);
		t_int(cache_evict(c, 1, false), MIB);
		cache_close(c);
		c = t_open_cache(dir, 0);
	}
	t_int(links(c), 0);
	cache_close(c);
	upstream_free(u[0]);
	upstream_free(u[1]);
	free(bytes);
	free(dir);
}

static void test_used(void)
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
}

int main(void)
{
	test_used();
	test_pinned();
	test_unreadable();
	test_links();
	return 0;
}
