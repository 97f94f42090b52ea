/*
 * From the operator stream to TensorFlow's operators: one of ONNX becomes one
 * or some of TensorFlow that compute exactly the same, all of which SameDiff's
 * importer maps. Inside of tf-graph*.c.
 *
 * An operator of ours is called after its first output, and the helpers
 * before it /something behind that.
 */
#ifndef STAGE_TF_GRAPH_H
#define STAGE_TF_GRAPH_H

#include "stage/graph-data.h"
#include "stage/shape.h"
#include "stage/tf-freeze.h"

#define TF_TEXT_MAX 256		/* bytes of attributes as text */

/* A value of the stream. */
struct tf_made {
	const char *ref;	/* "node", "node:1" */
	struct stage_type type;
};

struct tf_maker {
	struct tf_freezer f;
	const struct stage_graph *g;
	struct map values;	/* name -> struct tf_made */
	struct map ports;	/* name of an output -> its node's name */
	struct map fixed;	/* names of what is not trained; value:
				 * anything */
	unsigned unknowns;
};

/* One operator of the stream. */
struct tf_op {
	struct tf_maker *m;
	const struct stage_graph_node *n;
	const struct stage_op *op;
	const struct tf_made *in[STAGE_OP_INPUTS_MAX];	/* NULL: left out */
	size_t n_in;
	struct stage_type out[STAGE_OP_OUTPUTS_MAX];
	const char *ref[STAGE_OP_OUTPUTS_MAX];		/* what became of them */
	const char *name;	/* of its node */
	char t[16];		/* "T=t:1": of the first input */
};

/* TensorFlow's DataType; 0: it has none. */
unsigned stage_tf_from_dtype(enum stage_dtype t);

/* An operator of TensorFlow. suffix: "/perm", or NULL: it gives the first
 * output. */
int stage_tf_put(struct tf_op *x, const char *suffix, const char *op,
	const char *const *in, size_t n_in, const char *attrs,
	const char **ret);
/* A Const of whole numbers of one dimension; rank0: of none. */
int stage_tf_put_ints(struct tf_op *x, const char *suffix,
	enum stage_dtype t, const int64_t *v, size_t n, bool rank0,
	const char **ret);
/* A scalar like the first input. */
int stage_tf_put_float(struct tf_op *x, const char *suffix, double v,
	const char **ret);
int stage_tf_put_transpose(struct tf_op *x, const char *suffix,
	const char *in, const int64_t *perm, size_t n, const char **ret);
/* "Op of value: reason", -ENOTSUP. */
int stage_tf_op_fail(const struct tf_op *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

const struct stage_attr *stage_tf_op_attr(const struct tf_op *x,
	const char *name);
/* ONNX's defaults are in the operator's table. */
int64_t stage_tf_op_int(const struct tf_op *x, const char *name);
double stage_tf_op_float(const struct tf_op *x, const char *name);
/* Input i's elements when all are numbers; -1: not. */
int stage_tf_op_numbers(const struct tf_op *x, size_t i, int64_t *ret,
	size_t room);

/* ---- tf-graph-shape.c ------------------------------------------------------ */

int stage_tf_op_reshape(struct tf_op *x);
int stage_tf_op_slice(struct tf_op *x);
int stage_tf_op_gather(struct tf_op *x);
int stage_tf_op_expand(struct tf_op *x);
int stage_tf_op_squeeze(struct tf_op *x);
int stage_tf_op_unsqueeze(struct tf_op *x);
int stage_tf_op_concat(struct tf_op *x);
int stage_tf_op_split(struct tf_op *x);
int stage_tf_op_pad(struct tf_op *x);

/* ---- tf-graph-conv.c ------------------------------------------------------- */

int stage_tf_op_conv(struct tf_op *x);
int stage_tf_op_pool(struct tf_op *x);
int stage_tf_op_global_pool(struct tf_op *x);
int stage_tf_op_batch_norm(struct tf_op *x);

/* ---- tf-graph-ops.c -------------------------------------------------------- */

/* What ONNX's operator becomes; -ENOTSUP with its name. */
int stage_tf_op(struct tf_op *x);

#endif
