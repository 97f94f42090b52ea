/*
 * The table of open blobs. A blob enters it before the disk is looked at, with
 * its own lock held, so that openers of the same name wait for each other and
 * openers of other names do not.
 */
#include "config.h"

#include "cache/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cache/fill.h"
#include "cache/lock.h"

#define TOUCHED_MAX (8UL << 20)	/* bytes */

#define FAILED_MS 3000	/* how long a failed blob answers new opens */

struct blob *cache_blob_ref(struct blob *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

static void free_blob(struct blob *b)
{
	while (b->part) {
		struct partial *p = b->part;

		b->part = p->older;
		cache_partial_close(p);
	}
	if (b->own_mem)
		(void) munmap((void *)(uintptr_t)b->mem, (size_t)b->size);
	if (b->fd >= 0)
		(void) close(b->fd);
	cache_foreign_unref(b->there);
	(void) src_unref(b->up);
	pthread_mutex_destroy(&b->lock);
	free(b->doubt);
	free(b->what);
	free(b->hub);
	free(b->repo);
	free(b->revision);
	free(b->path);
	free(b);
}

/* A partial of which nothing is here, unless somebody else has it open. */
static void drop_empty(struct cache *c, const char *key)
{
	char dir[CACHE_REL_MAX], rel[CACHE_REL_MAX];
	cleanup_fd int fd = -1;
	uint64_t bytes = 0;

	(void) snprintf(dir, sizeof(dir), "partial/%s", key);
	(void) snprintf(rel, sizeof(rel), "partial/%s/data", key);
	cache_store_enter(c);
	fd = openat(c->dir, rel, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK);
	if (fd >= 0 && !cache_lock_alone(fd) &&
	    !cache_partial_peek(c, key, 0, &bytes) && !bytes)
		(void) cache_store_discard(c, dir, 0);
	cache_store_leave(c);
}

void cache_name_vain(struct cache *c, const struct cache_name *name)
{
	char key[CACHE_KEY_HEX];
	struct blob *b = cache_name_key(name, key) ? NULL :
		cache_blob_find(c, key);

	if (!b)
		return;
	atomic_store(&b->vain, true);
	cache_blob_unref(b);
}

void cache_blob_unref(struct blob *b)
{
	struct cache *c = b->c;
	char key[CACHE_KEY_HEX];
	bool last, vain;

	cache_later_go(c);
	pthread_mutex_lock(&c->lock);
	last = atomic_fetch_sub(&b->refs, 1) == 1;
	if (last && map_get(&c->blobs, b->key) == b)
		(void) map_del(&c->blobs, b->key);
	pthread_mutex_unlock(&c->lock);
	if (!last)
		return;
	vain = atomic_load(&b->vain);
	memcpy(key, b->key, sizeof(key));
	free_blob(b);
	if (vain)
		drop_empty(c, key);
	pthread_mutex_lock(&c->lock);
	if (!--c->n_blobs)
		pthread_cond_broadcast(&c->empty);
	pthread_mutex_unlock(&c->lock);
}

struct blob *cache_blob_find(struct cache *c, const char *key)
{
	struct blob *b;

	pthread_mutex_lock(&c->lock);
	b = map_get(&c->blobs, key);
	if (b)
		(void) cache_blob_ref(b);
	pthread_mutex_unlock(&c->lock);
	return b;
}

static struct blob *new_blob(struct cache *c, const struct cache_name *n,
	const char *key)
{
	struct blob *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->c = c;
	memcpy(b->key, key, sizeof(b->key));
	b->size = n->size;
	b->id = n->id;
	b->fd = -1;
	/* Without a digest there is no verdict worth waiting for. */
	b->hold = n->size <= FILL_SMALL ||
		(c->before_read && n->id.alg != OBJID_NONE);
	atomic_init(&b->refs, 1);
	(void) pthread_mutex_init(&b->lock, NULL);
	b->hub = strdup(n->hub);
	b->repo = strdup(n->repo);
	b->revision = strdup(n->revision);
	b->path = strdup(n->path);
	if (!b->hub || !b->repo || !b->revision || !b->path ||
	    asprintf(&b->what, "%s/%s@%s/%s", n->hub, n->repo, n->revision,
		    n->path) < 0) {
		free_blob(b);
		return NULL;
	}
	return b;
}

void cache_blob_set_whole(struct blob *b, int fd, bool verified)
{
	if (b->part && b->part->mem && !b->mem)
		b->mem = b->part->mem;
	if (fd >= 0) {
		if (b->fd >= 0)
			(void) close(b->fd);
		b->fd = fd;
	}
	b->verified = verified;
	b->n_hints = 0;
	b->want_all = false;
	atomic_store(&b->state, BLOB_WHOLE);
}

void cache_blob_touched(struct blob *b, const uint8_t *mem, uint64_t len)
{
	uint64_t before = atomic_fetch_add(&b->touched, len);

	if (before / TOUCHED_MAX != (before + len) / TOUCHED_MAX)
		(void) madvise((void *)(uintptr_t)mem, (size_t)b->size,
			MADV_DONTNEED);
}

const uint8_t *cache_blob_mem(struct blob *b)
{
	void *m;

	if (b->mem || b->no_map)
		return b->mem;
	m = mmap(NULL, (size_t)b->size, PROT_READ, MAP_SHARED, b->fd, 0);
	if (m == MAP_FAILED) {
		b->no_map = true;
		return NULL;
	}
	b->mem = m;
	b->own_mem = true;
	return b->mem;
}

bool cache_blob_find_object(struct blob *b)
{
	struct objid id = b->id;
	int fd = -1;

	if (objid_is_sha256(&id))
		fd = cache_object_open(b->c, &id, b->size);
	else if (!cache_link_get(b->c, b->key, &id))
		fd = cache_object_open(b->c, &id, b->size);
	if (fd < 0)
		return false;
	if (b->c->before_read && !cache_compared(b->c, &id, fd))
		cache_recheck(b, fd, &id);
	else
		cache_blob_set_whole(b, fd, b->id.alg != OBJID_NONE);
	return true;
}

/* No bytes: nothing to fetch, and the digest can be compared at once. */
static void load_empty(struct blob *b)
{
	struct digest *d;
	struct objid got = { .alg = OBJID_NONE };

	if (b->id.alg != OBJID_NONE) {
		d = digest_new(b->id.alg, 0);
		if (d)
			digest_final(d, &got);
		digest_free(d);
	}
	b->mem = (const uint8_t *)"";
	cache_blob_set_whole(b, -1, objid_match(&b->id, &got));
}

struct cache_name cache_blob_name(const struct blob *b)
{
	return (struct cache_name){ .hub = b->hub, .repo = b->repo,
		.revision = b->revision, .path = b->path, .size = b->size,
		.id = b->id };
}

static int load(struct blob *b)
{
	struct cache_name n = cache_blob_name(b);
	int r;

	if (!b->size) {
		load_empty(b);
		return 0;
	}
	if (cache_blob_find_object(b))
		return 0;
	r = cache_foreign_find(b->c, &n, &b->next_there, &b->there);
	if (r > 0) {
		cache_adopt_known(b);
		return 0;
	}
	if (!r) {
		cache_adopt_check(b);
		return 0;
	}
	r = cache_partial_open(b->c, b->key, b->what, b->size, b->c->chunk,
		false, false, &b->part);
	/* Between the two looks another process may have settled it. */
	if (r == -ENOENT && cache_blob_find_object(b))
		return 0;
	if (!r && cache_partial_complete(b->part))
		cache_settle_more(b);
	return r == -ENOENT ? 0 : r;
}

/* Failed for long enough that a new open deserves a new attempt. */
static bool outdated(const struct blob *b)
{
	return atomic_load(&b->state) == BLOB_FAILED &&
		clock_ms() - b->failed_ms >= FAILED_MS;
}

/* Returns with the blob's lock held when *ret_new. */
static int enter(struct cache *c, const struct cache_name *name,
	const char *key, struct blob **ret, bool *ret_new)
{
	struct blob *b;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	b = map_get(&c->blobs, key);
	if (b && outdated(b)) {
		(void) map_del(&c->blobs, key);
		b = NULL;
	}
	*ret_new = !b;
	if (b) {
		(void) cache_blob_ref(b);
	} else {
		b = new_blob(c, name, key);
		r = b ? map_put(&c->blobs, key, b, NULL) : -ENOMEM;
		if (r && b)
			free_blob(b);
		if (!r) {
			c->n_blobs++;
			pthread_mutex_lock(&b->lock);
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (!r)
		*ret = b;
	return r;
}

int cache_blob_open(struct cache *c, const struct cache_name *name,
	struct blob **ret, struct error *why)
{
	char key[CACHE_KEY_HEX];
	struct blob *b = NULL;
	bool fresh = false, nothing;
	int r;

	r = cache_name_key(name, key);
	if (!r)
		r = enter(c, name, key, &b, &fresh);
	if (r)
		return error_set(why, r, "%s/%s: %s", name->repo, name->path,
			strerror(-r));
	if (fresh) {
		b->load_err = load(b);
		b->loaded = true;
	} else {
		pthread_mutex_lock(&b->lock);
	}
	r = b->load_err;
	nothing = atomic_load(&b->state) == BLOB_FILLING && !b->part;
	pthread_mutex_unlock(&b->lock);
	if (r) {
		(void) error_set(why, r, "%s: %s", b->what, strerror(-r));
		cache_blob_unref(b);
		return r;
	}
	cache_ref_note(c, name, key, nothing);
	*ret = b;
	return 0;
}

void cache_blob_stat(struct blob *b, struct src_stat *ret)
{
	struct src_stat st = { .state = SRC_REMOTE };

	pthread_mutex_lock(&b->lock);
	if (atomic_load(&b->state) == BLOB_FILLING && b->part)
		cache_settle_look(b);
	st.id = b->id;
	st.last = b->last;
	switch (atomic_load(&b->state)) {
	case BLOB_WHOLE:
		st.state = b->verified ? SRC_VERIFIED : SRC_CACHED;
		st.cached_bytes = b->size;
		break;
	case BLOB_THERE:
		st.state = b->id.alg != OBJID_NONE ? SRC_VERIFIED : SRC_CACHED;
		st.cached_bytes = b->size;
		break;
	case BLOB_CHECKING:
		st.state = SRC_CACHED;
		st.cached_bytes = b->size;
		break;
	case BLOB_FILLING:
		if (b->part)
			st.cached_bytes = cache_partial_present(b->part, 0,
				b->size);
		if (st.cached_bytes)
			st.state = SRC_PARTIAL;
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&b->lock);
	if (st.cached_bytes == b->size && st.state >= SRC_CACHED &&
		(st.id.alg != OBJID_SHA256 || st.id.digits < 64))
		(void) cache_link_get(b->c, b->key, &st.id);
	*ret = st;
}

int cache_name_look(struct cache *c, const struct cache_name *name,
	const char *key, struct src_stat *ret)
{
	struct src_stat st = { .state = SRC_REMOTE, .id = name->id };
	struct objid id = name->id;
	struct foreign_file *there;
	struct foreign_at at = { 0, 0 };
	char rel[CACHE_REL_MAX];
	struct stat file;
	int r;

	if (objid_is_sha256(&id))
		r = 0;
	else
		r = cache_link_get(c, key, &id);
	if (!r) {
		cache_object_rel(&id, rel);
		r = fstatat(c->dir, rel, &file, AT_SYMLINK_NOFOLLOW);
	}
	if (!name->size || (!r && (uint64_t)file.st_size == name->size)) {
		st.state = name->id.alg == OBJID_NONE ? SRC_CACHED :
			SRC_VERIFIED;
		st.cached_bytes = name->size;
		if (name->size)
			st.id = id;	/* the object's own */
	} else if ((r = cache_foreign_find(c, name, &at, &there)) >= 0) {
		st.state = r ? SRC_VERIFIED : SRC_CACHED;
		st.cached_bytes = name->size;
		cache_foreign_unref(there);
	} else if (!cache_partial_peek(c, key, name->size,
			   &st.cached_bytes) && st.cached_bytes) {
		st.state = SRC_PARTIAL;
	}
	*ret = st;
	return 0;
}

struct epoch_job {
	struct pool_job job;
	struct blob *b;
};

/* A src whose last reference is going must not come back to life. */
static bool try_ref(struct src *s)
{
	unsigned n = atomic_load(&s->refs);

	while (n) {
		if (atomic_compare_exchange_weak(&s->refs, &n, n + 1))
			return true;
	}
	return false;
}

static void run_epoch(struct pool_job *job)
{
	struct epoch_job *e = (struct epoch_job *)job;
	struct blob *b = e->b;
	struct src **v = NULL;
	size_t n = 0;

	pthread_mutex_lock(&b->lock);
	for (struct cached_src *s = b->srcs; s; s = s->next)
		n++;
	if (n)
		v = calloc(n, sizeof(struct src *));
	n = 0;
	for (struct cached_src *s = b->srcs; s && v; s = s->next) {
		if (try_ref(&s->s))
			v[n++] = &s->s;
	}
	pthread_mutex_unlock(&b->lock);
	for (size_t i = 0; i < n; i++) {
		b->c->on_epoch(b->c->on_epoch_arg, v[i]);
		(void) src_unref(v[i]);
	}
	free(v);
	cache_blob_unref(b);
	free(e);
}

void cache_blob_new_epoch(struct blob *b)
{
	struct epoch_job *e;

	atomic_fetch_add(&b->c->epochs, 1);
	atomic_fetch_add(&b->epoch, 1);
	if (!b->c->on_epoch)
		return;
	e = calloc(1, sizeof(*e));
	if (!e)
		return;
	e->job.run = run_epoch;
	e->b = cache_blob_ref(b);
	pool_add(b->c->pool, &e->job);
}
