/*
 * Shape and type inference for every operator a front end may emit. A
 * dimension is a number or a symbol ("batch_size"); a rule that cannot prove
 * its result refuses, so that a wrong blueprint or a checkpoint that is not
 * what its config says is found before a byte of it is served.
 */
#ifndef STAGE_SHAPE_H
#define STAGE_SHAPE_H

#include "base/error.h"
#include "stage/arena.h"
#include "stage/graph.h"

#define STAGE_OP_INPUTS_MAX 16
#define STAGE_OP_OUTPUTS_MAX 16
#define STAGE_KNOWN_MAX 256	/* elements of a tensor that are followed */

struct stage_type {
	enum stage_dtype dtype;
	unsigned rank;
	struct stage_dim dim[STAGE_RANK_MAX];
	/* The elements of an i64 tensor of rank 0 or 1, where they are known:
	 * numbers, or the dimensions that Shape read. NULL: not known. */
	const struct stage_dim *known;
	size_t n_known;
};

struct stage_op_attr {
	const char *name;		/* NULL ends the table */
	enum stage_attr_kind kind;
	bool required;
	bool has_default;		/* a number that ONNX states */
	double dflt;
};

struct stage_infer;

struct stage_op {
	const char *name;
	unsigned since;			/* opset */
	unsigned min_in, max_in;
	const struct stage_op_attr *attrs;
	int (*infer)(struct stage_infer *x);
	unsigned arg;			/* the rule's own */
};

/* One application of an operator. */
struct stage_infer {
	const struct stage_op *op;
	const struct stage_type *in[STAGE_OP_INPUTS_MAX]; /* NULL: left out */
	size_t n_in;
	const struct stage_attr *attrs;
	size_t n_attrs;
	struct stage_type *out;		/* n_out, zeroed */
	size_t n_out;
	struct stage_arena *arena;	/* for symbols and known elements */
	unsigned *unknowns;		/* counts dims nobody can name */
	struct error *why;
};

/* NULL: no rule for it. */
const struct stage_op *stage_op_find(const char *name);
const struct stage_op_attr *stage_op_attr(const struct stage_op *op,
	const char *name);

/* Fills x->out. Attributes must fit the operator's table. -ENOTSUP with the
 * reason (without place), -ENOMEM. */
int stage_op_infer(struct stage_infer *x);

bool stage_dim_same(const struct stage_dim *a, const struct stage_dim *b);
void stage_dim_text(const struct stage_dim *d, char *ret, size_t room);
/* "f32[batch_size, sequence_length, 384]" */
void stage_type_text(const struct stage_type *t, char *ret, size_t room);

/* ---- for the rules --------------------------------------------------------- */

int stage_infer_fail(struct stage_infer *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
const struct stage_attr *stage_infer_attr(const struct stage_infer *x,
	const char *name);
int64_t stage_infer_int(const struct stage_infer *x, const char *name,
	int64_t dflt);
/* The attribute `name` (default dflt) as index into rank dims. */
int stage_infer_axis(struct stage_infer *x, const char *name, int64_t dflt,
	unsigned rank, unsigned *ret);
int stage_infer_wrap(struct stage_infer *x, int64_t axis, unsigned rank,
	unsigned *ret);
/* A dimension nobody can name. */
int stage_infer_unknown(struct stage_infer *x, struct stage_dim *ret);
/* Input i's elements, all numbers. */
int stage_infer_numbers(struct stage_infer *x, size_t i, int64_t *ret,
	size_t max, size_t *ret_n);
int stage_infer_known(struct stage_infer *x, struct stage_type *t,
	const struct stage_dim *v, size_t n);
int stage_infer_broadcast(struct stage_infer *x, const struct stage_type *a,
	const struct stage_type *b, struct stage_type *ret);

int stage_rule_same(struct stage_infer *x);	/* arg: which types */
int stage_rule_binary(struct stage_infer *x);
int stage_rule_compare(struct stage_infer *x);
int stage_rule_where(struct stage_infer *x);
int stage_rule_cast(struct stage_infer *x);
int stage_rule_clip(struct stage_infer *x);
int stage_rule_matmul(struct stage_infer *x);
int stage_rule_gemm(struct stage_infer *x);
int stage_rule_axis(struct stage_infer *x);
int stage_rule_reduce(struct stage_infer *x);
int stage_rule_cumsum(struct stage_infer *x);
int stage_rule_layer_norm(struct stage_infer *x);
int stage_rule_transpose(struct stage_infer *x);
int stage_rule_reshape(struct stage_infer *x);
int stage_rule_unsqueeze(struct stage_infer *x);
int stage_rule_squeeze(struct stage_infer *x);
int stage_rule_concat(struct stage_infer *x);
int stage_rule_split(struct stage_infer *x);
int stage_rule_slice(struct stage_infer *x);
int stage_rule_gather(struct stage_infer *x);
int stage_rule_expand(struct stage_infer *x);
int stage_rule_shape(struct stage_infer *x);
int stage_rule_range(struct stage_infer *x);
int stage_rule_conv(struct stage_infer *x);
int stage_rule_conv_transpose(struct stage_infer *x);
int stage_rule_pool(struct stage_infer *x);
int stage_rule_global_pool(struct stage_infer *x);
int stage_rule_batch_norm(struct stage_infer *x);
int stage_rule_pad(struct stage_infer *x);
int stage_rule_resize(struct stage_infer *x);
int stage_rule_recurrent(struct stage_infer *x);	/* arg: gates */
int stage_rule_arg(struct stage_infer *x);

/* What stage_rule_same and _compare take. */
enum stage_rule_types {
	STAGE_TYPES_FLOAT, STAGE_TYPES_NUMBER, STAGE_TYPES_BOOL,
	STAGE_TYPES_ANY,
};

bool stage_types_has(enum stage_rule_types set, enum stage_dtype t);

#endif
