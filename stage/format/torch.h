/*
 * Checkpoints of torch.save: the zip form (.bin, .pth, .pt since 1.6) and the
 * older one without (a few pickles and the storages behind them). Reads the
 * archive's tail, data.pkl and the storages' local headers.
 *
 * A tensor whose elements do not lie row-major one after the other is
 * -ENOTSUP with its name. Tied weights are two tensors with one range.
 *
 * Source: caffe2/serialize/inline_container.cc, torch/serialization.py and
 * torch/_utils.py of pytorch (layout and the _rebuild_* calls).
 */
#ifndef STAGE_FORMAT_TORCH_H
#define STAGE_FORMAT_TORCH_H

#include "base/error.h"
#include "base/src.h"
#include "stage/tensor.h"

/* Adds every tensor of the state_dict in `s`, which is w->files[file]; a
 * wrapping dictionary ("state_dict", "model", …) is opened. Names are those of
 * the file. Does not sort. Waits. Errors and the state of `w` after one as in
 * stage_safetensors_read(). */
int stage_torch_read(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why);

/* As stage_safetensors_probe(). */
int stage_torch_probe(const void *head, size_t n, uint64_t size);

#endif
