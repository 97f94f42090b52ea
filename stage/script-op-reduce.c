/* Operators that reduce axes, or order what is along one. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

/* The axes of argument `at`; None or an empty list: all. */
static size_t axes_of(struct ts_call *k, size_t at, const struct ts_val *x,
	int64_t *ret)
{
	size_t n = at < k->n ? stage_ts_arg_ints(k, at, 0, ret,
		STAGE_RANK_MAX) : 0;

	for (size_t i = 0; i < n; i++)
		ret[i] = stage_ts_axis(k->c, ret[i], x->t.rank);
	if (n)
		return x->t.rank ? n : 0;
	for (; n < x->t.rank; n++)
		ret[n] = (int64_t)n;
	return n;
}

static struct ts_val *reduce(struct ts_call *k, const char *op,
	struct ts_val *x, size_t axes_at, size_t keep_at)
{
	int64_t axes[STAGE_RANK_MAX];
	size_t n;

	if (!x || k->c->err)
		return NULL;
	n = axes_of(k, axes_at, x, axes);
	if (!n)
		return x;
	return stage_ts_reduce(k->c, op, x, axes, n, keep_at < k->n &&
		stage_ts_arg_bool(k, keep_at));
}

/* self dim keepdim dtype */
static struct ts_val *op_sum(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (!x)
		return NULL;
	if (!stage_ts_arg_none(k, 3))
		x = stage_ts_cast(k->c, x, stage_ts_dtype(k->c,
			stage_ts_arg_int(k, 3)));
	else if (!stage_ts_is_float(x->t.dtype))
		x = stage_ts_cast(k->c, x, STAGE_I64);
	return reduce(k, k->op->onnx, x, 1, 2);
}

static struct ts_val *op_extreme(struct ts_call *k)
{
	return reduce(k, k->op->onnx, stage_ts_arg(k, 0), 1, 2);
}

static struct ts_val *arg_extreme(struct ts_call *k, struct ts_val *x,
	bool max, unsigned axis, bool keep)
{
	struct ts_type t = x->t;

	t.dtype = STAGE_I64;
	t.dim[axis] = stage_ts_num(1);
	if (!keep) {
		t.rank--;
		memmove(&t.dim[axis], &t.dim[axis + 1],
			(t.rank - axis) * sizeof(t.dim[0]));
	}
	return stage_ts_op(k->c, max ? "ArgMax" : "ArgMin", &t, TS_IN(x),
		TS_AT(stage_ts_ai("axis", axis), stage_ts_ai("keepdims",
		keep)));
}

/* self dim keepdim: values and indices */
static struct ts_val *op_extreme_dim(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *v[2];
	unsigned axis;

	if (!x || !x->t.rank)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	v[0] = reduce(k, k->op->onnx, x, 1, 2);
	v[1] = k->c->err ? NULL : arg_extreme(k, x, !strcmp(k->op->onnx,
		"ReduceMax"), axis, stage_ts_arg_bool(k, 2));
	return k->c->err ? NULL : stage_ts_returns(k, v, 2, false);
}

static struct ts_val *op_arg(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	bool max = !strcmp(k->op->onnx, "ArgMax");
	struct ts_dim all;

	if (!x || !x->t.rank)
		return NULL;
	if (!stage_ts_arg_none(k, 1))
		return arg_extreme(k, x, max, stage_ts_axis(k->c,
			stage_ts_arg_int(k, 1), x->t.rank),
			stage_ts_arg_bool(k, 2));
	all = stage_ts_product(k->c, x->t.dim, x->t.rank);
	x = stage_ts_reshape(k->c, x, &all, 1);
	return x ? arg_extreme(k, x, max, 0, false) : NULL;
}

/* Variance over axes, divided by n - correction. */
static struct ts_val *variance(struct ts_call *k, double correction,
	size_t axes_at, bool keep)
{
	struct ts_val *x = stage_ts_arg(k, 0), *d;
	struct ts_dim all = stage_ts_num(1);
	int64_t axes[STAGE_RANK_MAX];
	double count;
	size_t n;

	if (!x)
		return NULL;
	n = axes_of(k, axes_at, x, axes);
	d = stage_ts_two(k->c, "Sub", x, stage_ts_reduce(k->c, "ReduceMean",
		x, axes, n, true));
	d = stage_ts_reduce(k->c, "ReduceMean", stage_ts_two(k->c, "Mul", d,
		d), axes, n, keep);
	if (!d || correction == 0)
		return d;
	for (size_t i = 0; i < n; i++)
		all = stage_ts_mul(k->c, all, x->t.dim[axes[i]]);
	count = (double)stage_ts_fixed(k->c, all);
	if (count <= correction) {
		(void) stage_ts_fail(k->c, "of %g elements", count);
		return NULL;
	}
	return stage_ts_two(k->c, "Mul", d, stage_ts_scalar_like(k->c, d,
		count / (count - correction)));
}

static struct ts_val *root(struct ts_call *k, struct ts_val *v)
{
	return k->op->name[0] == 's' ? stage_ts_same_op(k->c, "Sqrt", v) : v;
}

/* self unbiased */
static struct ts_val *op_var_all(struct ts_call *k)
{
	return root(k, variance(k, stage_ts_arg_bool(k, 1), k->n, false));
}

/* self dim unbiased keepdim */
static struct ts_val *op_var(struct ts_call *k)
{
	return root(k, variance(k, stage_ts_arg_bool(k, 2), 1,
		stage_ts_arg_bool(k, 3)));
}

/* self dim correction keepdim */
static struct ts_val *op_var_correction(struct ts_call *k)
{
	return root(k, variance(k, stage_ts_arg_none(k, 2) ? 1 :
		stage_ts_arg_num(k, 2), 1, stage_ts_arg_bool(k, 3)));
}

static struct ts_val *op_var_mean(struct ts_call *k)
{
	struct ts_val *v[2];

	v[0] = variance(k, stage_ts_arg_none(k, 2) ? 1 : k->arg[2].kind ==
		TS_BOOL ? stage_ts_arg_bool(k, 2) : stage_ts_arg_num(k, 2), 1,
		stage_ts_arg_bool(k, 3));
	v[1] = reduce(k, "ReduceMean", stage_ts_arg(k, 0), 1, 3);
	return k->c->err ? NULL : stage_ts_returns(k, v, 2, false);
}

/* self p dim keepdim */
static struct ts_val *op_norm(struct ts_call *k)
{
	double p = stage_ts_arg_none(k, 1) ? 2 : stage_ts_arg_num(k, 1);
	struct ts_val *x = stage_ts_arg(k, 0);

	if (p == 1)
		return reduce(k, "ReduceL1", x, 2, 3);
	if (p == 2)
		return reduce(k, "ReduceL2", x, 2, 3);
	if (p == (double)INFINITY)
		return reduce(k, "ReduceMax", stage_ts_same_op(k->c, "Abs",
			x), 2, 3);
	(void) stage_ts_fail(k->c, "with p = %g", p);
	return NULL;
}

/* any, all: of 0 and 1 */
static struct ts_val *op_bools(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (!x)
		return NULL;
	x = stage_ts_cast(k->c, stage_ts_cast(k->c, x, STAGE_BOOL),
		STAGE_I32);
	x = reduce(k, k->op->onnx, x, 1, 2);
	return x ? stage_ts_cast(k->c, x, STAGE_BOOL) : NULL;
}

static struct ts_val *op_cumsum(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (!x || !x->t.rank)
		return x;
	if (!stage_ts_arg_none(k, 2))
		x = stage_ts_cast(k->c, x, stage_ts_dtype(k->c,
			stage_ts_arg_int(k, 2)));
	else if (!stage_ts_is_float(x->t.dtype))
		x = stage_ts_cast(k->c, x, STAGE_I64);
	return x ? stage_ts_op(k->c, "CumSum", &x->t, TS_IN(x,
		stage_ts_scalar(k->c, STAGE_I64, stage_ts_axis(k->c,
		stage_ts_arg_int(k, 1), x->t.rank))), TS_BARE) : NULL;
}

static struct ts_val *top(struct ts_call *k, struct ts_val *x, unsigned axis,
	struct ts_dim n, bool largest, bool sorted)
{
	struct ts_type t[2] = { x->t, x->t };
	struct ts_val *v[2];

	t[0].dim[axis] = n;
	t[1] = t[0];
	t[1].dtype = STAGE_I64;
	if (stage_ts_node(k->c, "TopK", t, v, 2, TS_IN(x, stage_ts_dims(k->c,
	    &n, 1)), TS_AT(stage_ts_ai("axis", axis), stage_ts_ai("largest",
	    largest), stage_ts_ai("sorted", sorted))))
		return NULL;
	return stage_ts_returns(k, v, 2, false);
}

/* self k dim largest sorted */
static struct ts_val *op_topk(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x && x->t.rank ? top(k, x, stage_ts_axis(k->c,
		stage_ts_arg_int(k, 2), x->t.rank), stage_ts_arg_dim(k, 1),
		stage_ts_arg_bool(k, 3), stage_ts_arg_bool(k, 4)) : NULL;
}

/* self dim descending */
static struct ts_val *op_sort(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	unsigned axis;

	if (!x || !x->t.rank)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	return top(k, x, axis, x->t.dim[axis], stage_ts_arg_bool(k, 2), true);
}

#define DIMS "self:T dim:I=N keepdim:b=F"
#define SUM(name, op) \
	{ name, DIMS " dtype:i=N", op_sum, op, 0 }
#define VAR(name) \
	{ name, "self:T unbiased:b", op_var_all, "", 0 }, \
	{ name, "self:T dim:I unbiased:b keepdim:b=F", op_var, "", 0 }, \
	{ name, "self:T dim:I=N correction:d=N keepdim:b=F", \
		op_var_correction, "", 0 }
#define EXTREME(name, op) \
	{ name, "self:T", op_extreme, op, 0 }, \
	{ name, "self:T dim:i keepdim:b=F", op_extreme_dim, op, 0 }

static struct ts_val *op_pair(struct ts_call *k)
{
	enum stage_dtype t = stage_ts_promote(&k->arg[0], &k->arg[1]);

	return stage_ts_two(k->c, k->op->onnx, stage_ts_operand(k->c,
		&k->arg[0], t), stage_ts_operand(k->c, &k->arg[1], t));
}

const struct ts_op stage_ts_ops_reduce[] = {
	SUM("sum", "ReduceSum"), SUM("mean", "ReduceMean"),
	SUM("prod", "ReduceProd"),
	EXTREME("max", "ReduceMax"),
	{ "max", "self:T other:T", op_pair, "Max", 0 },
	EXTREME("min", "ReduceMin"),
	{ "min", "self:T other:T", op_pair, "Min", 0 },
	{ "amax", "self:T dim:I=N keepdim:b=F", op_extreme, "ReduceMax", 0 },
	{ "amin", "self:T dim:I=N keepdim:b=F", op_extreme, "ReduceMin", 0 },
	{ "logsumexp", "self:T dim:I keepdim:b=F", op_extreme,
		"ReduceLogSumExp", 0 },
	{ "argmax", "self:T dim:i=N keepdim:b=F", op_arg, "ArgMax", 0 },
	{ "argmin", "self:T dim:i=N keepdim:b=F", op_arg, "ArgMin", 0 },
	VAR("var"), VAR("std"),
	{ "var_mean", "self:T dim:I=N correction:?=N keepdim:b=F",
		op_var_mean, "", 0 },
	{ "norm", "self:T p:d=N dim:I=N keepdim:b=F", op_norm, "", 0 },
	{ "linalg_vector_norm", "self:T ord:d=2 dim:I=N keepdim:b=F "
		"dtype:i=N", op_norm, "", 0 },
	{ "any", DIMS, op_bools, "ReduceMax", 0 },
	{ "all", DIMS, op_bools, "ReduceMin", 0 },
	{ "cumsum", "self:T dim:i dtype:i=N", op_cumsum, "", 0 },
	{ "topk", "self:T k:i dim:i=-1 largest:b=T sorted:b=T", op_topk, "",
		0 },
	{ "sort", "self:T dim:i=-1 descending:b=F", op_sort, "", 0 },
	{ .name = NULL },
};
