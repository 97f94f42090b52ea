/* Chunks in a list, the one that is being filled first. */
#include "config.h"

#include "stage/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define CHUNK_FIRST 4096
#define CHUNK_LARGEST 1048576

struct stage_arena_chunk {
	struct stage_arena_chunk *next;
	size_t room;			/* bytes of data */
	alignas(max_align_t) unsigned char data[];
};

static int add_chunk(struct stage_arena *a, size_t len)
{
	size_t room = a->chunks ? 2 * a->chunks->room : CHUNK_FIRST;
	struct stage_arena_chunk *c;

	if (room > CHUNK_LARGEST)
		room = CHUNK_LARGEST;
	if (room < len)
		room = len;
	if (a->total > a->max || room > a->max - a->total)
		return -1;
	c = calloc(1, sizeof(*c) + room);
	if (!c)
		return -1;
	c->room = room;
	c->next = a->chunks;
	a->chunks = c;
	a->used = 0;
	a->total += room;
	return 0;
}

void *stage_arena_alloc(struct stage_arena *a, size_t len)
{
	const size_t align = alignof(max_align_t);
	void *p;

	if (len > SIZE_MAX / 2)
		return NULL;
	len = (len + align - 1) / align * align;
	if (!a->chunks || len > a->chunks->room - a->used) {
		if (add_chunk(a, len))
			return NULL;
	}
	p = a->chunks->data + a->used;
	a->used += len;
	return p;
}

void *stage_arena_array(struct stage_arena *a, size_t n, size_t size)
{
	uint64_t len;

	if (size_mul(n, size, &len))
		return NULL;
	return stage_arena_alloc(a, (size_t)len);
}

char *stage_arena_copy(struct stage_arena *a, const void *data, size_t len)
{
	char *p = len < SIZE_MAX / 2 ? stage_arena_alloc(a, len + 1) : NULL;

	if (p && len)
		memcpy(p, data, len);
	return p;
}

char *stage_arena_strdup(struct stage_arena *a, const char *s)
{
	return stage_arena_copy(a, s, strlen(s));
}

void stage_arena_done(struct stage_arena *a)
{
	while (a->chunks) {
		struct stage_arena_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
	a->used = 0;
	a->total = 0;
}
