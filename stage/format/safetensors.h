/*
 * safetensors: u64 LE header length, a JSON header, the data. Reads the first
 * 16 KiB, and the rest of the header in one more read when there is more.
 *
 * Strict, as the format's own reader is: header at most 100,000,000 bytes,
 * data_offsets without hole or overlap up to the end of the file, length
 * equal to shape times element size, names once and in UTF-8. Headers over
 * 32 MiB are not read: they would name more tensors than STAGE_TENSORS_MAX.
 *
 * Source: the format section of huggingface/safetensors README.md.
 */
#ifndef STAGE_FORMAT_SAFETENSORS_H
#define STAGE_FORMAT_SAFETENSORS_H

#include "base/error.h"
#include "base/src.h"
#include "stage/tensor.h"

/* Adds every tensor of `s`, which is w->files[file]. Does not sort. Waits.
 * -EBADMSG: not as the format says; -ENOTSUP: an element type we do not
 * know; -EFBIG; or what reading gave. On failure `w` may hold some tensors
 * and is good for stage_weights_done() only. */
int stage_safetensors_read(struct src *s, unsigned file,
	struct stage_weights *w, struct error *why);

/* Three answers from the first n bytes: 1 yes, 0 no; a src that cannot be
 * read is the caller's third. */
int stage_safetensors_probe(const void *head, size_t n, uint64_t size);

#endif
