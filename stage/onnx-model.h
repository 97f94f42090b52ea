/*
 * Any ONNX file as what its variants are made of: where each field of its
 * graph lies, which tensors it has and where their bytes are, what its
 * operators are called. Payloads and attributes are never read.
 *
 * Names are those of the main graph; a graph inside an operator is seen only
 * by the names it uses and makes.
 */
#ifndef STAGE_ONNX_MODEL_H
#define STAGE_ONNX_MODEL_H

#include <stdbool.h>

#include "base/map.h"
#include "stage/arena.h"
#include "stage/onnx-wire.h"
#include "stage/tensor.h"

/* Fields by number (onnx/onnx.proto). */
enum {
	ONNX_MODEL_IR = 1, ONNX_MODEL_GRAPH = 7, ONNX_MODEL_OPSET = 8,
	ONNX_MODEL_METADATA = 14, ONNX_MODEL_TRAINING = 20,
	ONNX_GRAPH_NODE = 1, ONNX_GRAPH_NAME = 2, ONNX_GRAPH_INIT = 5,
	ONNX_GRAPH_INPUT = 11, ONNX_GRAPH_OUTPUT = 12,
	ONNX_GRAPH_QUANT = 14, ONNX_GRAPH_SPARSE = 15,
	ONNX_NODE_INPUT = 1, ONNX_NODE_OUTPUT = 2, ONNX_NODE_OP = 4,
	ONNX_NODE_ATTR = 5, ONNX_NODE_DOMAIN = 7,
	ONNX_TENSOR_DIMS = 1, ONNX_TENSOR_TYPE = 2, ONNX_TENSOR_FLOATS = 4,
	ONNX_TENSOR_NAME = 8, ONNX_TENSOR_RAW = 9, ONNX_TENSOR_DOUBLES = 10,
	ONNX_TENSOR_EXTERNAL = 13,
	ONNX_TENSOR_LOCATION = 14,
};

enum stage_onnx_place {
	STAGE_ONNX_SPREAD,	/* one by one, in fields of the message */
	STAGE_ONNX_HERE,	/* [off, off+len) of the file, little-endian */
	STAGE_ONNX_OUTSIDE,	/* the same of the file `location` */
};

struct stage_onnx_tensor {
	const char *name;	/* of the value it gives */
	uint32_t dtype;		/* TensorProto.DataType, of any number */
	unsigned rank;
	uint64_t dim[STAGE_RANK_MAX];
	bool plain;		/* rank and dtype are ones we know, and off
				 * and len agree with them */
	uint64_t n;		/* elements; 0 unless plain */
	enum stage_onnx_place place;
	uint64_t off, len;	/* bytes */
	const char *location;	/* as the file says it; not checked */
	bool spread;		/* it has elements and is not plain */
	bool constant;		/* what a node Constant gives */
	bool gone;		/* for who makes a variant: it, or its node,
				 * is not in the variant */
};

struct stage_onnx_node {
	const char *op, *domain;	/* "" for ONNX's own */
	const char **in, **out;
	unsigned n_in, n_out, n_attrs;
	bool inner;		/* has graphs in its attributes */
	bool gone;
};

/* What is said of a value's name, in the main graph or in one inside it. */
enum {
	STAGE_ONNX_MADE = 1,	/* by a node, an input or an initializer */
	STAGE_ONNX_USED = 2,	/* by something else than the next ones */
	STAGE_ONNX_USED_CAST = 4,
	STAGE_ONNX_USED_STATS = 8,	/* mean, variance of a batch norm */
	STAGE_ONNX_USED_INNER = 16,
	STAGE_ONNX_OUTPUT = 32,
	STAGE_ONNX_INPUT = 64,
	STAGE_ONNX_USED_SIZES = 128,	/* scales, regions: no parameters */
};

struct stage_onnx_value {
	unsigned said;		/* the above, or'ed */
	/* For who makes a variant: another name; it is no input any more. */
	const char *instead;
	bool no_input;
};

/* A field of GraphProto, or of ModelProto. */
struct stage_onnx_part {
	uint32_t number;
	uint32_t index;		/* NODE, INIT: in nodes, tensors; else 0 */
	uint64_t start, len;	/* bytes, with tag and length */
	const char *name;	/* INPUT, OUTPUT; else NULL */
};

struct stage_onnx {
	struct stage_onnx_part *model, *graph;
	size_t n_model, room_model, n_graph, room_graph;
	struct stage_onnx_tensor *tensors;
	size_t n_tensors, room_tensors;
	struct stage_onnx_node *nodes;
	size_t n_nodes, room_nodes;
	uint32_t *constants;	/* of nodes: its tensor + 1, or 0 */
	struct map values;	/* name -> struct stage_onnx_value */
	uint64_t ir, opset;	/* opset: of ONNX's own operators */
	bool has_training, has_half;
	struct stage_arena arena;	/* names and lists */
};

#define STAGE_ONNX_ARENA_MAX ((size_t)64 << 20)	/* bytes */
#define STAGE_ONNX_PARTS_MAX 1000000

/* Reads the structure. -EBADMSG: no ONNX model, or one that contradicts
 * itself; -EFBIG; -ENOTSUP; or what reading gave. Waits. On failure too, *ret
 * is for stage_onnx_done(). */
int stage_onnx_read(struct src *s, struct stage_onnx *ret, struct error *why);
void stage_onnx_done(struct stage_onnx *m);

struct stage_onnx_value *stage_onnx_value(const struct stage_onnx *m,
	const char *name);

/* For onnx-model.c: one TensorProto; t->name is set when it has one. */
int stage_onnx_tensor(struct stage_onnx_reader *x, struct stage_arena *a,
	struct stage_onnx_msg m, struct stage_onnx_tensor *t);
/* The bytes of a field as text in the arena. -EBADMSG: not one. */
int stage_onnx_string(struct stage_onnx_reader *x, struct stage_arena *a,
	const struct stage_onnx_field *f, const char **ret);

#endif
