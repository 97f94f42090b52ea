/* Reading everything again, to find what the disk has changed. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/partial.h"
#include "cache/store.h"

#define BLOCK (1UL << 20)

struct verify {
	struct cache *c;
	void (*fn)(void *arg, const char *what, int err);
	void *arg;
	uint64_t bad;
};

static int object_right(struct cache *c, const struct cache_entry *e)
{
	cleanup_fd int fd = openat(c->dir, e->rel,
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	cleanup_free uint8_t *block = malloc(BLOCK);
	struct digest *d;
	struct objid want, got;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (!block || objid_parse(OBJID_SHA256, e->hex, &want))
		return block ? -EBADMSG : -ENOMEM;
	d = digest_new(OBJID_SHA256, e->bytes);
	if (!d)
		return -ENOMEM;
	for (uint64_t off = 0; !r && off < e->bytes; off += BLOCK) {
		size_t n = e->bytes - off < BLOCK ? (size_t)(e->bytes - off) :
			BLOCK;

		r = io_pread(fd, block, n, off);
		if (!r)
			digest_update(d, block, n);
	}
	digest_final(d, &got);
	digest_free(d);
	if (r)
		return r;
	return objid_match(&want, &got) ? 0 : -EBADMSG;
}

static int partial_right(struct cache *c, const struct cache_entry *e)
{
	struct partial *p;
	int r = cache_partial_open(c, e->hex, "", 0, 0, false, false, &p);

	if (r)
		return r;
	for (uint64_t i = 0; i < p->n; i++) {
		if (atomic_load(&p->entry[i]) && !cache_partial_has(p, i))
			r = -EBADMSG;
	}
	cache_partial_close(p);
	return r;
}

static int recipe_right(struct cache *c, const struct cache_entry *e)
{
	cleanup_buf struct buf b = BUF_INIT(1UL << 30);

	return cache_recipe_get(c, e->hex, &b);
}

static int check(void *arg, const struct cache_entry *e)
{
	struct verify *v = arg;
	int r = 0;

	switch (e->kind) {
	case CACHE_FILE_OBJECT:
		r = object_right(v->c, e);
		if (r != -EBADMSG)
			break;
		cache_store_enter(v->c);
		(void) cache_store_remove(v->c, e->rel);
		cache_store_leave(v->c);
		break;
	case CACHE_FILE_PARTIAL:
		r = partial_right(v->c, e);
		break;
	case CACHE_FILE_RECIPE:
		r = recipe_right(v->c, e);
		break;
	}
	/* Evicted while we were looking at it. */
	if (r == -ENOENT)
		return 0;
	v->bad += r != 0;
	if (v->fn)
		v->fn(v->arg, e->rel, r);
	return 0;
}

int cache_verify(struct cache *c,
	void (*fn)(void *arg, const char *what, int err), void *arg,
	uint64_t *ret_bad)
{
	struct verify v = { .c = c, .fn = fn, .arg = arg };
	int r = cache_scan(c, check, &v);

	if (!r && ret_bad)
		*ret_bad = v.bad;
	return r;
}
