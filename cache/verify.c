/* Reading everything again, to find what the disk has changed. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "cache/partial.h"
#include "cache/store.h"

struct verify {
	struct cache *c;
	cache_verify_fn *fn;
	void *arg;
	uint64_t bad;
};

static int object_right(struct cache *c, const struct cache_entry *e)
{
	cleanup_fd int fd = cache_store_open(c, e->rel, O_RDONLY);
	struct objid want, got;
	int r;

	if (fd < 0)
		return fd;
	if (objid_parse(OBJID_SHA256, e->hex, &want))
		return -EBADMSG;
	r = cache_hash_file(fd, e->bytes, &want, &got);
	return r < 0 ? r : r ? 0 : -EBADMSG;
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

static int note_right(struct cache *c, const struct cache_entry *e)
{
	int r;

	cache_store_enter(c);
	r = e->kind == CACHE_FILE_REF ? cache_ref_check(c, e->hex) :
		cache_pin_check(c, e->hex);
	cache_store_leave(c);
	return r;
}

/* It is the file's fault, not of this moment. */
static bool is_lasting(const struct cache_entry *e, int err)
{
	if (e->kind == CACHE_FILE_ODD)
		return err == -EINVAL;
	return err && err != -EUCLEAN && err != -ENOMEM && err != -EMFILE &&
		err != -ENFILE;
}

static int check(void *arg, const struct cache_entry *e)
{
	struct verify *v = arg;
	bool removed = false;
	struct objid to;
	int r = 0;

	switch (e->kind) {
	case CACHE_FILE_OBJECT:
		r = object_right(v->c, e);
		break;
	case CACHE_FILE_PARTIAL:
		r = partial_right(v->c, e);
		break;
	case CACHE_FILE_RECIPE:
		r = recipe_right(v->c, e);
		break;
	case CACHE_FILE_LINK:
		r = cache_link_get(v->c, e->hex, &to) ? -EBADMSG : 0;
		break;
	case CACHE_FILE_REF:
	case CACHE_FILE_PIN:
		r = note_right(v->c, e);
		break;
	case CACHE_FILE_ODD:
		r = e->err;
		break;
	}
	/* Evicted while we were looking at it. */
	if (r == -ENOENT)
		return 0;
	/* A partial has lost what was wrong of it. */
	if (is_lasting(e, r) && e->kind == CACHE_FILE_PARTIAL) {
		removed = true;
	} else if (is_lasting(e, r)) {
		cache_store_enter(v->c);
		removed = cache_store_drop(v->c, e->rel);
		cache_store_leave(v->c);
	}
	v->bad += r != 0;
	if (v->fn)
		v->fn(v->arg, e->rel, r, removed);
	return 0;
}

int cache_verify(struct cache *c, cache_verify_fn *fn, void *arg,
	uint64_t *ret_bad)
{
	struct verify v = { .c = c, .fn = fn, .arg = arg };
	int r;

	/* First of all, or what hangs on it is judged by what is wrong. */
	if (cache_index_check(c->index)) {
		v.bad++;
		if (fn)
			fn(arg, "index.sqlite", -EBADMSG, true);
	}
	r = cache_scan(c, check, &v);
	if (!r)
		r = cache_scan_notes(c, check, &v);
	if (!r && ret_bad)
		*ret_bad = v.bad;
	return r;
}
