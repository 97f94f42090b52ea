/*
 * Operators whose meaning is one of TensorFlow's, or a few of them. Where the
 * two differ:
 *
 *	Div	of whole numbers truncates
 *	Gemm	has factors and a third matrix
 *	Softmax	of any axis; TensorFlow's of the last
 *	ReduceL2, Clip	are several operators
 *	ArgMax	may keep its axis
 */
#include "config.h"

#include "stage/tf-graph.h"

#include <stdio.h>
#include <string.h>

static const char *ref(const struct tf_op *x, size_t i)
{
	return x->in[i]->ref;
}

static bool is_float(const struct tf_op *x)
{
	return x->in[0]->type.dtype == STAGE_F32 ||
		x->in[0]->type.dtype == STAGE_F64 ||
		x->in[0]->type.dtype == STAGE_F16;
}

/* The operator `op` on all inputs. */
static int all(struct tf_op *x, const char *op, const char *attrs)
{
	const char *in[STAGE_OP_INPUTS_MAX];

	for (size_t i = 0; i < x->n_in; i++) {
		if (!x->in[i])
			return stage_tf_op_fail(x, "an input is left out");
		in[i] = ref(x, i);
	}
	return stage_tf_put(x, NULL, op, in, x->n_in, attrs, NULL);
}

static unsigned axis_of(const struct tf_op *x, const char *name)
{
	int64_t axis = stage_tf_op_int(x, name);

	return (unsigned)(axis < 0 ? axis + x->in[0]->type.rank : axis);
}

static int op_div(struct tf_op *x)
{
	return all(x, is_float(x) ? "RealDiv" : "TruncateDiv", x->t);
}

static int op_cast(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	(void) snprintf(attrs, sizeof(attrs), "SrcT=t:%u DstT=t:%u "
		"Truncate=b:0", stage_tf_from_dtype(x->in[0]->type.dtype),
		stage_tf_from_dtype(x->out[0].dtype));
	if (!stage_tf_from_dtype(x->out[0].dtype))
		return stage_tf_op_fail(x, "to that type");
	return all(x, "Cast", attrs);
}

static int op_shape(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	(void) snprintf(attrs, sizeof(attrs), "%s out_type=t:9", x->t);
	return all(x, "Shape", attrs);
}

static int op_where(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	(void) snprintf(attrs, sizeof(attrs), "T=t:%u",
		stage_tf_from_dtype(x->out[0].dtype));
	return all(x, "SelectV2", attrs);
}

static int op_range(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	(void) snprintf(attrs, sizeof(attrs), "Tidx=%s", x->t + 2);
	return all(x, "Range", attrs);
}

static int op_clip(struct tf_op *x)
{
	const char *in[2] = { ref(x, 0), NULL };
	bool low = x->n_in > 1 && x->in[1], high = x->n_in > 2 && x->in[2];
	int err = 0;

	if (low) {
		in[1] = ref(x, 1);
		err = stage_tf_put(x, high ? "/low" : NULL, "Maximum", in, 2,
			x->t, &in[0]);
	}
	if (err || (low && !high))
		return err;
	if (!high)
		return stage_tf_put(x, NULL, "Identity", in, 1, x->t, NULL);
	in[1] = ref(x, 2);
	return stage_tf_put(x, NULL, "Minimum", in, 2, x->t, NULL);
}

static int op_matmul(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	if (x->in[0]->type.rank < 2 || x->in[1]->type.rank < 2)
		return stage_tf_op_fail(x, "of a vector");
	if (x->in[0]->type.rank == 2 && x->in[1]->type.rank == 2) {
		(void) snprintf(attrs, sizeof(attrs),
			"%s transpose_a=b:0 transpose_b=b:0", x->t);
		return all(x, "MatMul", attrs);
	}
	(void) snprintf(attrs, sizeof(attrs), "%s adj_x=b:0 adj_y=b:0", x->t);
	return all(x, "BatchMatMulV2", attrs);
}

/* A value times the factor, when that is not 1. */
static int scaled(struct tf_op *x, const char *suffix, double by,
	const char **v)
{
	const char *in[2] = { *v, NULL };
	char name[64];
	int err;

	if (by == 1)
		return 0;
	(void) snprintf(name, sizeof(name), "%s/factor", suffix);
	err = stage_tf_put_float(x, name, by, &in[1]);
	return err ? err : stage_tf_put(x, suffix, "Mul", in, 2, x->t, v);
}

static int op_gemm(struct tf_op *x)
{
	const char *in[2] = { ref(x, 0), ref(x, 1) };
	bool third = x->n_in > 2 && x->in[2];
	double alpha = stage_tf_op_float(x, "alpha");
	bool plain = !third && alpha == 1;
	char attrs[TF_TEXT_MAX];
	int err;

	(void) snprintf(attrs, sizeof(attrs), "%s transpose_a=b:%d "
		"transpose_b=b:%d", x->t, stage_tf_op_int(x, "transA") != 0,
		stage_tf_op_int(x, "transB") != 0);
	err = stage_tf_put(x, plain ? NULL : "/product", "MatMul", in, 2,
		attrs, &in[0]);
	if (err || plain)
		return err;
	err = scaled(x, "/scaled", alpha, &in[0]);
	if (err)
		return err;
	if (!third)
		return stage_tf_put(x, NULL, "Identity", in, 1, x->t, NULL);
	in[1] = ref(x, 2);
	err = scaled(x, "/added", stage_tf_op_float(x, "beta"), &in[1]);
	return err ? err : stage_tf_put(x, NULL, "AddV2", in, 2, x->t, NULL);
}

static int op_transpose(struct tf_op *x)
{
	const struct stage_attr *perm = stage_tf_op_attr(x, "perm");

	return stage_tf_put_transpose(x, NULL, ref(x, 0), perm->ints, perm->n,
		NULL);
}

static int op_softmax(struct tf_op *x)
{
	unsigned rank = x->in[0]->type.rank, axis = axis_of(x, "axis");
	int64_t perm[STAGE_RANK_MAX];
	const char *v = ref(x, 0);
	int err;

	if (axis + 1 == rank)
		return all(x, x->n->op, x->t);
	for (unsigned i = 0; i < rank; i++)
		perm[i] = i;
	perm[axis] = rank - 1;
	perm[rank - 1] = axis;
	err = stage_tf_put_transpose(x, "/in", v, perm, rank, &v);
	if (!err)
		err = stage_tf_put(x, "/last", x->n->op, &v, 1, x->t, &v);
	return err ? err : stage_tf_put_transpose(x, NULL, v, perm, rank,
		NULL);
}

/* ---- along axes ------------------------------------------------------------ */

/* The axes a reduction goes over, as Const. */
static int axes(struct tf_op *x, const char **ret)
{
	const struct stage_attr *a = stage_tf_op_attr(x, "axes");
	int64_t v[STAGE_RANK_MAX];
	int n = stage_tf_op_numbers(x, 1, v, STAGE_RANK_MAX);

	if (x->n_in > 1 && x->in[1] && n < 0)
		return stage_tf_op_fail(x, "its axes are not constant");
	if (a) {
		n = (int)a->n;
		for (int i = 0; i < n && i < STAGE_RANK_MAX; i++)
			v[i] = a->ints[i];
	} else if (n < 0) {
		n = (int)x->in[0]->type.rank;
		for (int i = 0; i < n; i++)
			v[i] = i;
	}
	return stage_tf_put_ints(x, "/axes", STAGE_I32, v, (size_t)n, false,
		ret);
}

static int reduce(struct tf_op *x, const char *op, const char *in,
	const char *suffix, const char **ret)
{
	const char *two[2] = { in, NULL };
	char attrs[TF_TEXT_MAX];
	int err = axes(x, &two[1]);

	(void) snprintf(attrs, sizeof(attrs), "%s keep_dims=b:%d Tidx=t:3",
		x->t, stage_tf_op_int(x, "keepdims") != 0);
	return err ? err : stage_tf_put(x, suffix, op, two, 2, attrs, ret);
}

static int op_reduce(struct tf_op *x)
{
	return reduce(x, x->n->op + strlen("Reduce"), ref(x, 0), NULL, NULL);
}

static int op_reduce_l2(struct tf_op *x)
{
	const char *v = ref(x, 0);
	int err = stage_tf_put(x, "/square", "Square", &v, 1, x->t, &v);

	if (!err)
		err = reduce(x, "Sum", v, "/sum", &v);
	return err ? err : stage_tf_put(x, NULL, "Sqrt", &v, 1, x->t, NULL);
}

static int op_cumsum(struct tf_op *x)
{
	const char *in[2] = { ref(x, 0), NULL };
	char attrs[TF_TEXT_MAX];
	int64_t axis;
	int err;

	if (stage_tf_op_numbers(x, 1, &axis, 1) != 1)
		return stage_tf_op_fail(x, "its axis is not constant");
	err = stage_tf_put_ints(x, "/axis", STAGE_I32, &axis, 1, true, &in[1]);
	(void) snprintf(attrs, sizeof(attrs), "%s Tidx=t:3 exclusive=b:%d "
		"reverse=b:%d", x->t, stage_tf_op_int(x, "exclusive") != 0,
		stage_tf_op_int(x, "reverse") != 0);
	return err ? err : stage_tf_put(x, NULL, "Cumsum", in, 2, attrs, NULL);
}

static int op_arg_max(struct tf_op *x)
{
	bool keep = stage_tf_op_int(x, "keepdims") != 0;
	const char *in[2] = { ref(x, 0), NULL };
	int64_t axis = axis_of(x, "axis");
	char attrs[TF_TEXT_MAX];
	int err = stage_tf_put_ints(x, "/axis", STAGE_I32, &axis, 1, true,
		&in[1]);

	(void) snprintf(attrs, sizeof(attrs), "%s Tidx=t:3 output_type=t:9",
		x->t);
	if (!err)
		err = stage_tf_put(x, keep ? "/index" : NULL, "ArgMax", in, 2,
			attrs, &in[0]);
	return err || !keep ? err : stage_tf_put(x, NULL, "ExpandDims", in, 2,
		"T=t:9 Tdim=t:3", NULL);
}

static int op_alpha(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	if (!strcmp(x->n->op, "Elu"))
		return stage_tf_op_float(x, "alpha") == 1 ? all(x, "Elu",
			x->t) : stage_tf_op_fail(x, "its alpha is not 1");
	(void) snprintf(attrs, sizeof(attrs), "%s alpha=f:%.9g", x->t,
		stage_tf_op_float(x, "alpha"));
	return all(x, "LeakyRelu", attrs);
}

/* ---- which ----------------------------------------------------------------- */

enum how {
	TYPED,			/* the same operator, with T */
	UNTYPED,
	MADE,
};

static const struct {
	const char *onnx;
	enum how how;
	const char *name;	/* NULL: the same */
	int (*make)(struct tf_op *x);
} ops[] = {
	{ "Abs", TYPED, NULL, NULL },
	{ "Add", TYPED, "AddV2", NULL },
	{ "And", UNTYPED, "LogicalAnd", NULL },
	{ "ArgMax", MADE, NULL, op_arg_max },
	{ "AveragePool", MADE, NULL, stage_tf_op_pool },
	{ "BatchNormalization", MADE, NULL, stage_tf_op_batch_norm },
	{ "Cast", MADE, NULL, op_cast },
	{ "Ceil", TYPED, NULL, NULL },
	{ "Clip", MADE, NULL, op_clip },
	{ "Concat", MADE, NULL, stage_tf_op_concat },
	{ "Conv", MADE, NULL, stage_tf_op_conv },
	{ "Cos", TYPED, NULL, NULL },
	{ "CumSum", MADE, NULL, op_cumsum },
	{ "Div", MADE, NULL, op_div },
	{ "Elu", MADE, NULL, op_alpha },
	{ "Equal", TYPED, NULL, NULL },
	{ "Erf", TYPED, NULL, NULL },
	{ "Exp", TYPED, NULL, NULL },
	{ "Expand", MADE, NULL, stage_tf_op_expand },
	{ "Floor", TYPED, NULL, NULL },
	{ "Gather", MADE, NULL, stage_tf_op_gather },
	{ "Gemm", MADE, NULL, op_gemm },
	{ "GlobalAveragePool", MADE, NULL, stage_tf_op_global_pool },
	{ "Greater", TYPED, NULL, NULL },
	{ "GreaterOrEqual", TYPED, "GreaterEqual", NULL },
	{ "Identity", TYPED, NULL, NULL },
	{ "LeakyRelu", MADE, NULL, op_alpha },
	{ "Less", TYPED, NULL, NULL },
	{ "LessOrEqual", TYPED, "LessEqual", NULL },
	{ "Log", TYPED, NULL, NULL },
	{ "LogSoftmax", MADE, NULL, op_softmax },
	{ "MatMul", MADE, NULL, op_matmul },
	{ "Max", TYPED, "Maximum", NULL },
	{ "MaxPool", MADE, NULL, stage_tf_op_pool },
	{ "Min", TYPED, "Minimum", NULL },
	{ "Mul", TYPED, NULL, NULL },
	{ "Neg", TYPED, NULL, NULL },
	{ "Not", UNTYPED, "LogicalNot", NULL },
	{ "Or", UNTYPED, "LogicalOr", NULL },
	{ "Pad", MADE, NULL, stage_tf_op_pad },
	{ "Pow", TYPED, NULL, NULL },
	{ "Range", MADE, NULL, op_range },
	{ "ReduceL2", MADE, NULL, op_reduce_l2 },
	{ "ReduceMax", MADE, NULL, op_reduce },
	{ "ReduceMean", MADE, NULL, op_reduce },
	{ "ReduceMin", MADE, NULL, op_reduce },
	{ "ReduceSum", MADE, NULL, op_reduce },
	{ "Relu", TYPED, NULL, NULL },
	{ "Reshape", MADE, NULL, stage_tf_op_reshape },
	{ "Shape", MADE, NULL, op_shape },
	{ "Sigmoid", TYPED, NULL, NULL },
	{ "Sin", TYPED, NULL, NULL },
	{ "Slice", MADE, NULL, stage_tf_op_slice },
	{ "Softmax", MADE, NULL, op_softmax },
	{ "Softplus", TYPED, NULL, NULL },
	{ "Split", MADE, NULL, stage_tf_op_split },
	{ "Sqrt", TYPED, NULL, NULL },
	{ "Squeeze", MADE, NULL, stage_tf_op_squeeze },
	{ "Sub", TYPED, NULL, NULL },
	{ "Tanh", TYPED, NULL, NULL },
	{ "Transpose", MADE, NULL, op_transpose },
	{ "Unsqueeze", MADE, NULL, stage_tf_op_unsqueeze },
	{ "Where", MADE, NULL, op_where },
};

int stage_tf_op(struct tf_op *x)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(ops[i].onnx, x->n->op) != 0)
			continue;
		if (ops[i].make)
			return ops[i].make(x);
		return all(x, ops[i].name ? ops[i].name : ops[i].onnx,
			ops[i].how == TYPED ? x->t : NULL);
	}
	return error_set(x->m->f.why, -ENOTSUP, "the operator %s has no form "
		"in TensorFlow", x->n->op);
}
