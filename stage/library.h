/*
 * The blueprints there are, from their directories or from the packed texts
 * another process has read.
 */
#ifndef STAGE_LIBRARY_H
#define STAGE_LIBRARY_H

#include "base/bytes.h"
#include "stage/stager.h"

/* Part of every key: raise it when the same inputs give another recipe. */
#define STAGE_VERSION 4

/* Fills s->v, s->lib, s->digest and s->pack. */
int stage_library_read(struct stage *s, const char *const *dirs,
	struct error *why);
/* The same from s->pack of another; all of b. */
int stage_library_take(struct stage *s, struct bytes *b, struct error *why);

#endif
