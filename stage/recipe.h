/*
 * A recipe's inside, for recipe.c and recipe-*.c alone.
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

/* Of an XFORM extent: bytes of an element, or group of them, in the source, and
 * of what becomes of it. 0: the extent names no computation we know. */
uint64_t stage_xform_in(const struct stage_extent *e);
uint64_t stage_xform_out(const struct stage_extent *e);
/* The bytes of the source that [off, off+len) of a checked extent's output
 * comes from. */
void stage_xform_range(const struct stage_extent *e, uint64_t off,
	uint64_t len, uint64_t *ret_off, uint64_t *ret_len);
/* As src_read(); r->off is in the extent's output. The caller holds `source`
 * until the read is done. */
int stage_xform_read(struct src *source, const struct stage_extent *e,
	struct src_read *r);

#endif
