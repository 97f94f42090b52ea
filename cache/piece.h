/*
 * Buffers in which a pull gathers what comes in pieces too small to be written
 * one by one. There are only so many, kept from pull to pull: memory is bounded
 * whatever the load, and who gets none writes its pieces as they come.
 */
#ifndef CACHE_PIECE_H
#define CACHE_PIECE_H

#include <stdint.h>

#define PIECE_LEN (128U * 1024)	/* bytes */
#define PIECES 16

struct cache;

/* NULL: all are in use, or out of memory. */
uint8_t *cache_piece_take(struct cache *c);
/* NULL is fine. */
void cache_piece_give(struct cache *c, uint8_t *piece);
/* All have been given back. */
void cache_piece_done(struct cache *c);

#endif
