/*
 * Any checkpoint of a repository by its path: one weights file, or the index
 * of a sharded one (model.safetensors.index.json,
 * pytorch_model.bin.index.json). The first bytes choose the reader, not the
 * name.
 */
#ifndef STAGE_FORMAT_CHECKPOINT_H
#define STAGE_FORMAT_CHECKPOINT_H

#include <stddef.h>

#include "base/error.h"
#include "base/src.h"
#include "stage/stage.h"
#include "stage/tensor.h"

#define STAGE_SHARDS_MAX 1000
#define STAGE_INDEX_MAX (32u << 20)	/* bytes of an index file */

/* Adds the tensors of one weights file (w->files[file] is s). 0; 1: no format
 * we know, `w` is untouched; or negative errno (of reading or of the reader
 * that recognised the file). Waits. */
int stage_weights_read(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why);

/* *ret is empty before; sorted after. path ending in ".json" is an index: each
 * of its shards is read, and every name of weight_map has to be in the shard
 * it names (-EBADMSG). -ENOENT: not in the listing; -ENOTSUP: no format we
 * know; else as stage_weights_read(). Waits. */
int stage_checkpoint_read(const struct stage_input *in, const char *path,
	struct stage_weights *ret, struct error *why);

#endif
