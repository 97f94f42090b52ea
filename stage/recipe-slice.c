/*
 * Recipes made of parts of recipes. A file that is made of a staged file is
 * made of what that one is made of: nothing is read through two recipes.
 */
#include "config.h"

#include "stage/recipe-slice.h"

#include "stage/recipe.h"

#include "base/bytes.h"

/* A part of an extent: skip bytes from its start, then len. */
static int slice_one(struct stage_recipe *r, const struct stage_recipe *from,
	const struct stage_extent *e, uint64_t skip, uint64_t len)
{
	const struct stage_recipe_source *s = NULL;
	uint64_t out;
	int source = 0;

	if (e->kind == STAGE_REF || e->kind == STAGE_XFORM) {
		s = &from->sources[e->source];
		source = stage_recipe_source(r, s->path, s->size);
		if (source < 0)
			return source;
	}
	switch (e->kind) {
	case STAGE_INLINE:
		return stage_recipe_inline(r, from->pool.data + e->off + skip,
			(size_t)len);
	case STAGE_REF:
		return stage_recipe_copy(r, (unsigned)source, e->off + skip,
			len);
	case STAGE_ZERO:
		return stage_recipe_zero(r, len);
	default:
		out = stage_xform_out(e);
		if (skip % out || len % out)
			return -EINVAL;
		return stage_recipe_xform(r, (unsigned)source,
			e->off + skip / out * stage_xform_in(e),
			len / out * (e->group ? e->group : 1), e);
	}
}

/* The extent with the byte at off, from where the last one was. */
static void seek(struct stage_cursor *c, uint64_t off)
{
	if (off < c->start) {
		c->i = 0;
		c->start = 0;
	}
	while (c->i < c->from->n && off - c->start >= c->from->v[c->i].len)
		c->start += c->from->v[c->i++].len;
}

int stage_recipe_slice(struct stage_recipe *r, struct stage_cursor *c,
	uint64_t off, uint64_t len)
{
	uint64_t skip, n;
	int err = 0;

	if (!size_inside(off, len, c->from->size))
		return -EINVAL;
	for (; len && !err; off += n, len -= n) {
		const struct stage_extent *e;

		seek(c, off);
		e = &c->from->v[c->i];
		skip = off - c->start;
		n = e->len - skip < len ? e->len - skip : len;
		err = slice_one(r, c->from, e, skip, n);
	}
	return err;
}

int stage_recipe_slice_xform(struct stage_recipe *r, struct stage_cursor *c,
	uint64_t off, uint64_t n, const struct stage_extent *how)
{
	uint64_t in = stage_xform_in(how), group = how->group ? how->group : 1;
	uint64_t len, part;
	int err = 0;

	if (!in || n % group || size_mul(n / group, in, &len) ||
	    !size_inside(off, len, c->from->size))
		return -EINVAL;
	for (; len && !err; off += part, len -= part) {
		const struct stage_recipe_source *s;
		const struct stage_extent *e;
		uint64_t skip;
		int source;

		seek(c, off);
		e = &c->from->v[c->i];
		skip = off - c->start;
		part = e->len - skip < len ? e->len - skip : len;
		if (e->kind != STAGE_REF || part % in)
			return -ENOTSUP;
		s = &c->from->sources[e->source];
		source = stage_recipe_source(r, s->path, s->size);
		err = source < 0 ? source : stage_recipe_xform(r,
			(unsigned)source, e->off + skip, part / in * group,
			how);
	}
	return err;
}

const struct stage_extent *stage_recipe_whole(struct stage_cursor *c,
	uint64_t off, uint64_t len)
{
	const struct stage_extent *e;

	if (!len || !size_inside(off, len, c->from->size))
		return NULL;
	seek(c, off);
	e = &c->from->v[c->i];
	return len <= e->len - (off - c->start) ? e : NULL;
}
