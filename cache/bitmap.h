/* Fixed sets of chunk numbers. Not locked. */
#ifndef CACHE_BITMAP_H
#define CACHE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* All clear, for numbers 0 … n-1; free() it. NULL: out of memory. */
static inline uint64_t *cache_bitmap_new(uint64_t n)
{
	return calloc((size_t)(n / 64 + 1), sizeof(uint64_t));
}

static inline bool cache_bitmap_get(const uint64_t *b, uint64_t i)
{
	return b[i / 64] >> (i % 64) & 1;
}

static inline void cache_bitmap_set(uint64_t *b, uint64_t i)
{
	b[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void cache_bitmap_clear(uint64_t *b, uint64_t i)
{
	b[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

#endif
