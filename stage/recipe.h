/*
 * A recipe's inside, for recipe.c, recipe-io.c and recipe-src.c alone.
 *
 *   extents  [INLINE off 0][REF src 0][INLINE off 40][ZERO] ...  output order
 *   pool     the bytes of all INLINE extents, one behind the other
 *
 * Built by one thread; from then on nobody changes it, so readers need no
 * lock.
 */
#ifndef STAGE_RECIPE_H
#define STAGE_RECIPE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "stage/stage.h"

#define STAGE_EXTENTS_MAX 4000000
#define STAGE_SOURCES_MAX 4096
#define STAGE_POOL_MAX (512u << 20)	/* bytes */

struct stage_recipe_source {
	char *path;		/* in the repository */
	uint64_t size;		/* bytes */
};

struct stage_recipe {
	atomic_uint refs;
	struct stage_extent *v;
	size_t n, room;
	struct stage_recipe_source *sources;
	unsigned n_sources;
	struct buf pool;
	uint64_t size;		/* sum of v[].len */
};

#endif
