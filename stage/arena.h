/*
 * Many small allocations with one end: graphs and pickles are built piece by
 * piece and thrown away whole. With a ceiling, as both can be fed by
 * strangers.
 */
#ifndef STAGE_ARENA_H
#define STAGE_ARENA_H

#include <stddef.h>

struct stage_arena_chunk;

struct stage_arena {
	struct stage_arena_chunk *chunks;
	size_t used;		/* bytes handed out of the first chunk */
	size_t total;		/* bytes of all chunks */
	size_t max;		/* ceiling of total */
};

#define STAGE_ARENA_INIT(ceiling) { NULL, 0, 0, (ceiling) }

/* Zeroed memory for any type; NULL: no memory or over the ceiling. */
void *stage_arena_alloc(struct stage_arena *a, size_t len);
void *stage_arena_array(struct stage_arena *a, size_t n, size_t size);
/* A copy with a NUL behind it. */
char *stage_arena_copy(struct stage_arena *a, const void *data, size_t len);
char *stage_arena_strdup(struct stage_arena *a, const char *s);
void stage_arena_done(struct stage_arena *a);

#endif
