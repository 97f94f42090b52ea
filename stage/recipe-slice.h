/* Recipes made of parts of recipes. */
#ifndef STAGE_RECIPE_SLICE_H
#define STAGE_RECIPE_SLICE_H

#include "stage/stage.h"

/* Parts of another recipe, best from front to back. `from` stays as it is. */
struct stage_cursor {
	const struct stage_recipe *from;
	size_t i;		/* the extent looked at last */
	uint64_t start;		/* of it; bytes */
};

/* The bytes [off, off+len). -EINVAL: outside of it, or a part of something
 * computed that cannot stand alone. */
int stage_recipe_slice(struct stage_recipe *r, struct stage_cursor *c,
	uint64_t off, uint64_t len);
/* As stage_recipe_xform(), of n elements at off. -ENOTSUP: they are not all
 * bytes of sources, in pieces of whole groups. */
int stage_recipe_slice_xform(struct stage_recipe *r, struct stage_cursor *c,
	uint64_t off, uint64_t n, const struct stage_extent *how);
/* The extent that has all of [off, off+len), at off - c->start, or NULL. */
const struct stage_extent *stage_recipe_whole(struct stage_cursor *c,
	uint64_t off, uint64_t len);

#endif
