/*
 * TensorFlow's checkpoint, a "tensor bundle": PREFIX.index says of every
 * tensor where it lies in PREFIX.data-NNNNN-of-MMMMM. Reads the index only.
 *
 * A tensor saved in parts is one entry here whose pieces, in order, are its
 * bytes; parts have to cover it along axis 0 and be whole along the others
 * (-ENOTSUP). Big-endian bundles are refused. Entries of element types that
 * have no fixed size (strings) stay in the list without pieces, as every
 * checkpoint has some that nobody asks for.
 *
 * Source: tensorflow/core/protobuf/tensor_bundle.proto and
 * tensorflow/core/util/{saved_tensor_slice_util,tensor_bundle}.
 */
#ifndef STAGE_FORMAT_BUNDLE_H
#define STAGE_FORMAT_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stage/arena.h"
#include "stage/stage.h"
#include "stage/tensor.h"

#define STAGE_BUNDLE_SHARDS_MAX 1000
#define STAGE_BUNDLE_MEMORY_MAX (256u << 20)	/* bytes */
#define STAGE_BUNDLE_PIECES_MAX 65536		/* of one tensor */

struct stage_bundle_piece {
	unsigned file;		/* index into stage_bundle.files */
	uint64_t off, len;	/* bytes in that file */
};

struct stage_bundle_tensor {
	const char *key;	/* may hold NULs: parts of tensors have keys */
	size_t key_len;
	unsigned dtype;		/* TensorFlow's DataType */
	unsigned rank;
	uint64_t dim[STAGE_RANK_MAX];
	uint64_t len;		/* bytes of all pieces */
	struct stage_bundle_piece *pieces;	/* NULL: no fixed size */
	unsigned n_pieces;
	const uint8_t *slices;	/* while reading: the BundleEntryProto */
	size_t slices_len;	/* 0: not saved in parts */
};

struct stage_bundle {
	struct stage_bundle_tensor *v;	/* sorted by key */
	size_t n, room;
	char **files;			/* repository paths */
	uint64_t *file_sizes;		/* bytes; LISTING_SIZE_UNKNOWN: absent */
	unsigned n_files;
	struct stage_arena arena;
};

/* prefix: a path without ".index". *ret is for stage_bundle_done() in every
 * case. -EBADMSG: not as the format says, or a range outside its file;
 * -ENOTSUP; -EFBIG; -ENOENT: a file is not listed; what reading gave. */
int stage_bundle_read(const struct stage_input *in, const char *prefix,
	struct stage_bundle *ret, struct error *why);
const struct stage_bundle_tensor *stage_bundle_find(
	const struct stage_bundle *b, const void *key, size_t key_len);
void stage_bundle_done(struct stage_bundle *b);

/* Bytes of one element of TensorFlow's DataType; 0: no fixed size. */
unsigned stage_tf_dtype_size(unsigned dtype);

#endif
