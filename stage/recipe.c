/*
 * Building and checking recipes. What a planner appends is checked when it is
 * complete, not on the way: the same check runs on a recipe read from disk,
 * so there is one place that says what a good recipe is.
 */
#include "config.h"

#include "stage/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stage/made.h"

struct stage_recipe *stage_recipe_new(void)
{
	struct stage_recipe *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	atomic_init(&r->refs, 1);
	r->pool.max = STAGE_POOL_MAX;
	return r;
}

struct stage_recipe *stage_recipe_ref(struct stage_recipe *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct stage_recipe *stage_recipe_unref(struct stage_recipe *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1,
			  memory_order_acq_rel) != 1)
		return NULL;
	for (unsigned i = 0; i < r->n_sources; i++)
		free(r->sources[i].path);
	free(r->sources);
	free(r->v);
	buf_done(&r->pool);
	free(r);
	return NULL;
}

int stage_recipe_source(struct stage_recipe *r, const char *path,
	uint64_t size)
{
	struct stage_recipe_source *v;

	for (unsigned i = 0; i < r->n_sources; i++) {
		if (!strcmp(r->sources[i].path, path))
			return r->sources[i].size == size ? (int)i : -EINVAL;
	}
	if (!stage_made_ok(path) || size > INT64_MAX)
		return -EINVAL;
	if (r->n_sources == STAGE_SOURCES_MAX)
		return -EFBIG;
	v = reallocarray(r->sources, r->n_sources + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r->sources = v;
	v += r->n_sources;
	v->path = strdup(path);
	if (!v->path)
		return -ENOMEM;
	v->size = size;
	return (int)r->n_sources++;
}

/* Does b continue a, so that one extent can say both? */
static bool continues(const struct stage_extent *a,
	const struct stage_extent *b)
{
	if (a->kind != b->kind || a->kind == STAGE_XFORM)
		return false;
	if (a->kind == STAGE_ZERO)
		return true;
	return a->source == b->source && a->off + a->len == b->off;
}

/* Make room for one more extent, so that append() cannot fail for memory. */
static int reserve(struct stage_recipe *r)
{
	size_t room = r->room ? 2 * r->room : 16;
	struct stage_extent *v;

	if (r->n < r->room)
		return 0;
	if (r->n >= STAGE_EXTENTS_MAX)
		return -EFBIG;
	v = reallocarray(r->v, room, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r->v = v;
	r->room = room;
	return 0;
}

static int append(struct stage_recipe *r, const struct stage_extent *e)
{
	struct stage_extent *last = r->n ? &r->v[r->n - 1] : NULL;
	uint64_t size;

	if (size_add(r->size, e->len, &size) || size > INT64_MAX)
		return -EFBIG;
	if (last && continues(last, e))
		last->len += e->len;
	else
		r->v[r->n++] = *e;
	r->size = size;
	return 0;
}

int stage_recipe_inline(struct stage_recipe *r, const void *data, size_t len)
{
	struct stage_extent e = { .len = len, .off = r->pool.len,
		.kind = STAGE_INLINE };
	int err;

	if (!len)
		return 0;
	err = reserve(r);
	if (err)
		return err;
	if (r->size > (uint64_t)INT64_MAX - len)
		return -EFBIG;
	err = buf_append(&r->pool, data, len);
	return err ? err : append(r, &e);
}

int stage_recipe_copy(struct stage_recipe *r, unsigned source, uint64_t off,
	uint64_t len)
{
	struct stage_extent e = { .len = len, .off = off, .source = source,
		.kind = STAGE_REF };
	int err;

	if (source >= r->n_sources ||
	    !size_inside(off, len, r->sources[source].size))
		return -EINVAL;
	if (!len)
		return 0;
	err = reserve(r);
	return err ? err : append(r, &e);
}

int stage_recipe_zero(struct stage_recipe *r, uint64_t len)
{
	struct stage_extent e = { .len = len, .kind = STAGE_ZERO };
	int err;

	if (!len)
		return 0;
	err = reserve(r);
	return err ? err : append(r, &e);
}

static const char *xform_fault(const struct stage_extent *e, uint64_t size)
{
	uint64_t in = stage_xform_in(e), out = stage_xform_out(e), len;

	if (!in || !out)
		return "is of no computation we know";
	if (e->len % out)
		return "ends inside an element or group";
	return !size_mul(e->len / out, in, &len) &&
		size_inside(e->off, len, size) ? NULL :
		"lies outside its source";
}

int stage_recipe_xform(struct stage_recipe *r, unsigned source, uint64_t off,
	uint64_t n, const struct stage_extent *how)
{
	struct stage_extent e = { .off = off, .source = source,
		.kind = STAGE_XFORM, .xform = how->xform, .from = how->from,
		.group = how->group };
	uint64_t group = e.group ? e.group : 1;
	int err;

	if (source >= r->n_sources || n % group ||
	    size_mul(n / group, stage_xform_out(&e), &e.len) ||
	    xform_fault(&e, r->sources[source].size))
		return -EINVAL;
	if (!n)
		return 0;
	err = reserve(r);
	return err ? err : append(r, &e);
}

uint64_t stage_recipe_size(const struct stage_recipe *r)
{
	return r->size;
}

unsigned stage_recipe_sources(const struct stage_recipe *r)
{
	return r->n_sources;
}

const char *stage_recipe_source_path(const struct stage_recipe *r, unsigned i)
{
	return i < r->n_sources ? r->sources[i].path : NULL;
}

uint64_t stage_recipe_source_size(const struct stage_recipe *r, unsigned i)
{
	return i < r->n_sources ? r->sources[i].size : 0;
}

size_t stage_recipe_extents(const struct stage_recipe *r,
	const struct stage_extent **ret)
{
	*ret = r->v;
	return r->n;
}

static const char *extent_fault(const struct stage_recipe *r,
	const struct stage_extent *e)
{
	if (!e->len)
		return "is empty";
	if (e->kind != STAGE_XFORM && (e->xform || e->from || e->group))
		return "has a computation and is none";
	switch (e->kind) {
	case STAGE_INLINE:
		return size_inside(e->off, e->len, r->pool.len) ? NULL :
			"lies outside the inline bytes";
	case STAGE_REF:
		if (e->source >= r->n_sources)
			return "names no source";
		return size_inside(e->off, e->len,
			       r->sources[e->source].size) ? NULL :
			"lies outside its source";
	case STAGE_ZERO:
		return NULL;
	case STAGE_XFORM:
		if (e->source >= r->n_sources)
			return "names no source";
		return xform_fault(e, r->sources[e->source].size);
	default:
		return "is of no kind we know";
	}
}

int stage_recipe_check(const struct stage_recipe *r, struct error *why)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < r->n_sources; i++) {
		if (!stage_made_ok(r->sources[i].path) ||
		    r->sources[i].size > INT64_MAX)
			return error_set(why, -EBADMSG,
				"recipe: source %u has a bad name or size", i);
		for (unsigned k = 0; k < i; k++) {
			if (!strcmp(r->sources[i].path, r->sources[k].path))
				return error_set(why, -EBADMSG,
					"recipe: source %u comes twice", i);
		}
	}
	for (size_t i = 0; i < r->n; i++) {
		const char *fault = extent_fault(r, &r->v[i]);

		if (fault)
			return error_set(why, -EBADMSG,
				"recipe: extent %zu %s", i, fault);
		if (size_add(size, r->v[i].len, &size) || size > INT64_MAX)
			return error_set(why, -EBADMSG,
				"recipe: the sizes overflow at extent %zu", i);
	}
	if (size != r->size)
		return error_set(why, -EBADMSG,
			"recipe: the extents do not add up to its size");
	return 0;
}
