/*
 * What nobody asked for lately leaves memory; the index still has it.
 */
#ifndef FS_SWEEP_H
#define FS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"

struct fs_swept {
	void *v[64];
	size_t n;
};

/* Takes values out of m, which the caller frees; at most once a minute.
 * *at: clock_ms of the last time. old: was it used last before `before`, and
 * does nobody need it now? */
void fs_sweep(struct map *m, uint64_t *at,
	bool (*old)(const void *value, uint64_t before), struct fs_swept *ret);

#endif
