#include "config.h"

#include "cache/piece.h"

#include <pthread.h>
#include <stdlib.h>

#include "cache/store.h"

uint8_t *cache_piece_take(struct cache *c)
{
	uint8_t *piece = NULL;
	bool more = false;

	pthread_mutex_lock(&c->piece_lock);
	if (c->n_idle)
		piece = c->idle[--c->n_idle];
	else if (c->n_pieces < PIECES)
		more = true;
	if (more)
		c->n_pieces++;
	pthread_mutex_unlock(&c->piece_lock);
	if (!more)
		return piece;
	piece = malloc(PIECE_LEN);
	if (piece)
		return piece;
	pthread_mutex_lock(&c->piece_lock);
	c->n_pieces--;
	pthread_mutex_unlock(&c->piece_lock);
	return NULL;
}

void cache_piece_give(struct cache *c, uint8_t *piece)
{
	if (!piece)
		return;
	pthread_mutex_lock(&c->piece_lock);
	c->idle[c->n_idle++] = piece;
	pthread_mutex_unlock(&c->piece_lock);
}

void cache_piece_done(struct cache *c)
{
	while (c->n_idle)
		free(c->idle[--c->n_idle]);
}
