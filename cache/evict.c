/*
 * Which bytes go when there is no room. Least recently used first (the file's
 * mtime is its last use); never what some process has open (it holds a shared
 * flock), never what a pinned revision uses.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/lock.h"
#include "cache/partial.h"
#include "cache/store.h"

struct list {
	struct cache_entry *v;
	size_t n, room;
};

static int add(void *arg, const struct cache_entry *e)
{
	struct list *l = arg;
	struct cache_entry *v;

	if (e->kind == CACHE_FILE_ODD)
		return 0;
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;

		v = reallocarray(l->v, room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = *e;
	return 0;
}

static int older(const void *a, const void *b)
{
	const struct cache_entry *x = a, *y = b;

	return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

/* Between enter and leave. Since it was listed it may have become an object,
 * or gone and come back with other chunks: what goes is counted here. */
static uint64_t drop_partial(struct cache *c, const struct cache_entry *e)
{
	char rel[CACHE_REL_MAX];
	cleanup_fd int fd = -1;
	uint64_t bytes = 0;

	(void) snprintf(rel, sizeof(rel), "%.100s/data", e->rel);
	fd = openat(c->dir, rel, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK);
	if (fd < 0 ? errno != ENOENT : cache_lock_alone(fd) != 0)
		return 0;
	(void) cache_partial_peek(c, e->hex, 0, &bytes);
	return cache_store_discard(c, e->rel, bytes);
}

static uint64_t drop_file(struct cache *c, const struct cache_entry *e)
{
	cleanup_fd int fd = openat(c->dir, e->rel,
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || cache_lock_alone(fd) || fstat(fd, &st) < 0 ||
	    !st.st_nlink)
		return 0;
	return cache_store_remove(c, e->rel);
}

struct pinned {
	struct map keys;
	struct timespec at;	/* change of pins/ when keys were read, … */
	uint64_t ever;		/* … and pins there were ever, for two may
				 * come within a tick of the kernel's clock */
};

/* Reads them (again) when there are others than at the last call. */
static int look_at_pins(struct cache *c, struct pinned *p)
{
	uint64_t ever = atomic_load(&c->usage->pins);
	struct stat st;

	if (fstatat(c->dir, "pins", &st, 0) < 0)
		return -errno;
	if (st.st_mtim.tv_sec == p->at.tv_sec &&
	    st.st_mtim.tv_nsec == p->at.tv_nsec && ever == p->ever)
		return 0;
	p->at = st.st_mtim;
	p->ever = ever;
	map_done(&p->keys);
	p->keys = (struct map){ NULL, 0, 0 };
	return cache_ref_pinned(c, &p->keys);
}

/* Between enter and leave. Since it was listed it may have been used: then it is
 * not among the oldest any more, and a pin may be on its way. */
static bool is_used_since(struct cache *c, const struct cache_entry *e)
{
	char rel[CACHE_REL_MAX];
	struct stat st;

	(void) snprintf(rel, sizeof(rel), "%.100s%s", e->rel,
		e->kind == CACHE_FILE_PARTIAL ? "/map" : "");
	return !fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) &&
		(int64_t)st.st_mtim.tv_sec * 1000000000 +
		st.st_mtim.tv_nsec != e->used_ns;
}

/* ---- links to what has gone ----------------------------------------------- */

struct gone {
	struct pool_job job;
	struct cache *c;
	struct map objects;	/* digest in hex → anything */
};

/* A link takes a block of the disk as well, which nobody counts. */
static int drop_link(void *arg, const struct cache_entry *e)
{
	const struct gone *g = arg;
	char hex[OBJID_HEX_MAX], rel[CACHE_REL_MAX];
	struct objid id;

	if (e->kind != CACHE_FILE_LINK || cache_link_get(g->c, e->hex, &id))
		return 0;
	objid_hex(&id, hex);
	if (!map_get(&g->objects, hex))
		return 0;
	cache_object_rel(&id, rel);
	cache_store_enter(g->c);
	/* It may have come again. */
	if (faccessat(g->c->dir, rel, F_OK, AT_SYMLINK_NOFOLLOW))
		(void) unlinkat(g->c->dir, e->rel, 0);
	cache_store_leave(g->c);
	return 0;
}

static void run_links(struct pool_job *job)
{
	struct gone *g = (struct gone *)job;

	(void) cache_scan_notes(g->c, drop_link, g);
	map_done(&g->objects);
	free(g);
}

/* *g is made with the first; out of memory: its links stay. */
static void note_gone(struct cache *c, const struct cache_entry *e,
	struct gone **g)
{
	if (e->kind != CACHE_FILE_OBJECT)
		return;
	if (!*g) {
		*g = calloc(1, sizeof(**g));
		if (!*g)
			return;
		(*g)->job.run = run_links;
		(*g)->c = c;
	}
	(void) map_put(&(*g)->objects, e->hex, *g, NULL);
}

/* *ret_used: something stayed because it was used meanwhile. */
static uint64_t evict_listed(struct cache *c, uint64_t want, bool pinned_too,
	bool *ret_used)
{
	struct gone *gone = NULL;
	struct list l = { NULL, 0, 0 };
	struct pinned pinned = { .keys = { NULL, 0, 0 } };
	uint64_t freed = 0;
	int r = 0;

	if (!pinned_too)
		r = look_at_pins(c, &pinned);
	if (!r)
		r = cache_scan(c, add, &l);
	if (!r && l.n)
		qsort(l.v, l.n, sizeof(*l.v), older);
	for (size_t i = 0; !r && i < l.n && freed < want; i++) {
		const struct cache_entry *e = &l.v[i];
		uint64_t got = 0;

		if (map_get(&pinned.keys, e->hex))
			continue;
		cache_store_enter(c);
		if (!pinned_too)
			r = look_at_pins(c, &pinned);
		if (r || map_get(&pinned.keys, e->hex))
			;
		else if (!pinned_too && is_used_since(c, e))
			*ret_used = true;
		else
			got = e->kind == CACHE_FILE_PARTIAL ?
				drop_partial(c, e) : drop_file(c, e);
		cache_store_leave(c);
		if (got)
			note_gone(c, e, &gone);
		freed += got;
	}
	/* There may be a million, and somebody waits for the room. */
	if (gone)
		cache_later(c, &gone->job);
	map_done(&pinned.keys);
	free(l.v);
	return freed;
}

uint64_t cache_evict(struct cache *c, uint64_t want, bool pinned_too)
{
	bool used = false;
	uint64_t freed = evict_listed(c, want, pinned_too, &used);

	/* Listed anew, what was used is the youngest, but it is listed. */
	if (used && freed < want)
		freed += evict_listed(c, want - freed, pinned_too, &used);
	atomic_fetch_add(&c->evicted_bytes, freed);
	return freed;
}

struct sums {
	struct cache_totals t;
	struct map pinned;
};

static int sum(void *arg, const struct cache_entry *e)
{
	struct sums *s = arg;

	switch (e->kind) {
	case CACHE_FILE_OBJECT:
		s->t.objects++;
		s->t.object_bytes += e->bytes;
		break;
	case CACHE_FILE_PARTIAL:
		s->t.partials++;
		s->t.partial_bytes += e->bytes;
		break;
	case CACHE_FILE_RECIPE:
		s->t.recipes++;
		s->t.recipe_bytes += e->bytes;
		break;
	default:
		break;
	}
	if (map_get(&s->pinned, e->hex))
		s->t.pinned_bytes += e->bytes;
	return 0;
}

int cache_totals(struct cache *c, struct cache_totals *ret)
{
	struct sums s = { .t.budget = c->budget };
	int r;

	cache_ref_settle(c);
	r = cache_ref_pinned(c, &s.pinned);

	if (!r)
		r = cache_scan(c, sum, &s);
	map_done(&s.pinned);
	if (!r)
		*ret = s.t;
	return r;
}

int cache_evict_count(struct cache *c, uint64_t *ret)
{
	struct sums s = { .t.budget = 0 };
	int r = cache_scan(c, sum, &s);

	if (!r)
		*ret = s.t.object_bytes + s.t.partial_bytes +
			s.t.recipe_bytes;
	return r;
}

int cache_gc(struct cache *c, uint64_t target, uint64_t *ret_freed)
{
	uint64_t used = 0, freed = 0;
	int r;

	cache_ref_settle(c);
	cache_put_sweep(c);
	pthread_mutex_lock(&c->evict_lock);
	cache_reap(c);
	pthread_mutex_unlock(&c->evict_lock);
	r = cache_evict_count(c, &used);

	if (r)
		return r;
	if (used > target)
		freed = cache_evict(c, used - target, false);
	if (ret_freed)
		*ret_freed = freed;
	return 0;
}

int cache_clear(struct cache *c, uint64_t *ret_freed)
{
	uint64_t freed;
	int r;

	cache_put_sweep(c);
	freed = cache_evict(c, UINT64_MAX, true);
	r = cache_index_clear(c->index);

	if (!r && ret_freed)
		*ret_freed = freed;
	return r;
}
