/*
 * What every checkpoint reader gives: names, element types, shapes, and where
 * the bytes lie. The readers never read a payload.
 */
#ifndef STAGE_TENSOR_H
#define STAGE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define STAGE_RANK_MAX 8
#define STAGE_TENSORS_MAX 200000

/* The numbers are those of ONNX TensorProto.DataType. */
enum stage_dtype {
	STAGE_F32 = 1, STAGE_U8 = 2, STAGE_I8 = 3, STAGE_U16 = 4,
	STAGE_I16 = 5, STAGE_I32 = 6, STAGE_I64 = 7, STAGE_BOOL = 9,
	STAGE_F16 = 10, STAGE_F64 = 11, STAGE_U32 = 12, STAGE_U64 = 13,
	STAGE_C64 = 14, STAGE_BF16 = 16, STAGE_F8E4M3 = 17, STAGE_F8E5M2 = 19,
};

/* Bytes of one element; 0: unknown type. */
unsigned stage_dtype_size(enum stage_dtype t);
const char *stage_dtype_name(enum stage_dtype t);	/* "f32" */

/* How the bytes of a tensor lie: by the dimensions in this order. */
enum stage_order {
	STAGE_ORDER_SAME,
	STAGE_ORDER_10,		/* a matrix as [in, out] */
	STAGE_ORDER_210,	/* a kernel as [width, in, out] */
	STAGE_ORDER_2310,	/* a kernel as [height, width, in, out] */
};

struct stage_tensor {
	char *name;
	enum stage_dtype dtype;
	unsigned rank;
	uint64_t dim[STAGE_RANK_MAX];	/* elements, row-major */
	unsigned file;			/* index into stage_weights.files */
	enum stage_order order;
	uint64_t off, len;		/* bytes in that file */
};

/* All tensors of one checkpoint, whatever number of files it has. */
struct stage_weights {
	struct stage_tensor *v;		/* sorted by name */
	size_t n, room;
	char **files;			/* repository paths */
	uint64_t *file_sizes;		/* bytes */
	unsigned n_files;
};

/* Adds a file; returns its index or negative errno. */
int stage_weights_file(struct stage_weights *w, const char *path,
	uint64_t size);
/* Copies *t (name too). Checks rank, len == product of dims * element size,
 * and that the range is inside the file. -EBADMSG, -EFBIG, -ENOMEM. */
int stage_weights_add(struct stage_weights *w, const struct stage_tensor *t,
	struct error *why);
/* Sorts; a name that comes twice is -EBADMSG. */
int stage_weights_sort(struct stage_weights *w, struct error *why);
const struct stage_tensor *stage_weights_find(const struct stage_weights *w,
	const char *name);
void stage_weights_done(struct stage_weights *w);

#endif
