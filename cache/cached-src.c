/* The src that callers see: one a caller, all over one blob. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/fill.h"
#include "cache/pass.h"

static struct cached_src *of(struct src *s)
{
	return (struct cached_src *)s;
}

static int cached_read(struct src *s, struct src_read *r)
{
	return cache_fill_read(of(s)->b, of(s)->up, r);
}

static int cached_peek(struct src *s, uint64_t off, size_t len,
	struct iovec *iov, int max)
{
	return cache_fill_peek(of(s)->b, off, len, iov, max);
}

static void cached_hint(struct src *s, uint64_t off, uint64_t len)
{
	if (of(s)->up)
		cache_fill_hint(of(s)->b, off, len);
}

static int cached_fd(struct src *s)
{
	struct blob *b = of(s)->b;
	int fd = -EAGAIN;

	pthread_mutex_lock(&b->lock);
	if (atomic_load(&b->state) == BLOB_WHOLE && b->fd >= 0)
		fd = b->fd;
	pthread_mutex_unlock(&b->lock);
	return fd;
}

static unsigned cached_epoch(const struct src *s)
{
	return atomic_load(&((const struct cached_src *)s)->b->epoch);
}

static void cached_stat(struct src *s, struct src_stat *ret)
{
	cache_blob_stat(of(s)->b, ret);
}

static uint64_t cached_present(struct src *s, uint64_t off, uint64_t len)
{
	struct blob *b = of(s)->b;
	uint64_t n = 0;

	pthread_mutex_lock(&b->lock);
	switch (atomic_load(&b->state)) {
	case BLOB_WHOLE:
	case BLOB_THERE:
	case BLOB_CHECKING:
		n = len;
		break;
	case BLOB_FILLING:
		if (b->part)
			n = cache_partial_present(b->part, off, len);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&b->lock);
	return n;
}

static void cached_free(struct src *s)
{
	struct cached_src *cs = of(s);
	struct blob *b = cs->b;
	struct src *up = NULL;

	pthread_mutex_lock(&b->lock);
	*cs->link = cs->next;
	if (cs->next)
		cs->next->link = cs->link;
	if (!b->srcs) {
		cache_fill_forget(b);
		up = b->up;
		b->up = NULL;
	}
	pthread_mutex_unlock(&b->lock);
	(void) src_unref(up);
	(void) src_unref(cs->up);
	cache_blob_unref(b);
	free(cs);
}

static const struct src_ops cached_ops = {
	.name = "cached",
	.read = cached_read,
	.peek = cached_peek,
	.hint = cached_hint,
	.fd = cached_fd,
	.epoch = cached_epoch,
	.stat = cached_stat,
	.present = cached_present,
	.free = cached_free,
};

/* It is not here, and there can never be room for it. Nothing is given out
 * before its verdict where the user wants that: then there is no way. */
static bool must_pass(struct blob *b, const struct src *upstream)
{
	return upstream && !b->hold &&
		atomic_load(&b->state) == BLOB_FILLING &&
		cache_pass_must(b->c, b->size);
}

int cache_src_open(struct cache *c, const struct cache_name *name,
	struct src *upstream, struct src **ret, struct error *why)
{
	struct cached_src *cs;
	struct src *old = NULL;
	struct blob *b;
	int r;

	if (name->size > INT64_MAX - (1 << 30))
		return error_set(why, -EFBIG, "%s: too large", name->path);
	if (upstream && upstream->size != name->size)
		return error_set(why, -EINVAL, "%s: two different sizes",
			name->path);
	cs = calloc(1, sizeof(*cs));
	if (!cs)
		return error_set(why, -ENOMEM, "out of memory");
	r = cache_blob_open(c, name, &b, why);
	if (r) {
		free(cs);
		return r;
	}
	if (must_pass(b, upstream)) {
		r = cache_pass_open(c, name, b->key, upstream, ret);
		cache_blob_unref(b);
		free(cs);
		return r ? error_set(why, r, "out of memory") : 0;
	}
	/* What is whole stays so while it is open: nothing is asked of it. */
	if (atomic_load(&b->state) == BLOB_WHOLE)
		upstream = NULL;
	src_init(&cs->s, &cached_ops, name->size);
	cs->b = b;
	cs->up = upstream ? src_ref(upstream) : NULL;
	pthread_mutex_lock(&b->lock);
	cs->next = b->srcs;
	cs->link = &b->srcs;
	if (b->srcs)
		b->srcs->link = &cs->next;
	b->srcs = cs;
	b->n_setbacks = 0;
	memset(b->setbacks, 0, sizeof(b->setbacks));
	if (upstream) {
		old = b->up;
		b->up = src_ref(upstream);
	}
	pthread_mutex_unlock(&b->lock);
	(void) src_unref(old);
	*ret = &cs->s;
	return 0;
}

int cache_name_stat(struct cache *c, const struct cache_name *name,
	struct src_stat *ret)
{
	char key[CACHE_KEY_HEX];
	struct blob *b;
	int r;

	r = cache_name_key(name, key);
	if (r)
		return r;
	b = cache_blob_find(c, key);
	if (b) {
		cache_blob_stat(b, ret);
		cache_blob_unref(b);
		return 0;
	}
	r = cache_name_look(c, name, key, ret);
	if (!r && ret->state == SRC_REMOTE && !c->before_read &&
	    name->size > FILL_SMALL && name->size <= INT64_MAX &&
	    cache_pass_must(c, name->size)) {
		ret->passes = true;
		ret->passed_right = cache_pass_right(c, key);
	}
	return r;
}
