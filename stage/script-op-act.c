/* Activations. Where opset 13 has no operator for one, it is written out. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

static struct ts_val *num(struct ts_call *k, const struct ts_val *like,
	double v)
{
	return like ? stage_ts_scalar_like(k->c, like, v) : NULL;
}

static struct ts_val *mul(struct ts_call *k, struct ts_val *a,
	struct ts_val *b)
{
	return stage_ts_two(k->c, "Mul", a, b);
}

static struct ts_val *op_plain(struct ts_call *k)
{
	return stage_ts_same_op(k->c, k->op->onnx, stage_ts_arg(k, 0));
}

/* With alpha in argument 1. */
static struct ts_val *op_alpha(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	double alpha = stage_ts_arg_num(k, 1);

	if (k->n > 3 && (stage_ts_arg_num(k, 2) != 1 ||
	    stage_ts_arg_num(k, 3) != 1)) {
		(void) stage_ts_fail(k->c, "with a scale");
		return NULL;
	}
	return x ? stage_ts_op(k->c, k->op->onnx, &x->t, TS_IN(x),
		TS_AT(stage_ts_af("alpha", alpha))) : NULL;
}

static struct ts_val *hard_sigmoid(struct ts_call *k, struct ts_val *x)
{
	return x ? stage_ts_op(k->c, "HardSigmoid", &x->t, TS_IN(x),
		TS_AT(stage_ts_af("alpha", 1.0 / 6), stage_ts_af("beta",
		0.5))) : NULL;
}

static struct ts_val *op_hardsigmoid(struct ts_call *k)
{
	return hard_sigmoid(k, stage_ts_arg(k, 0));
}

static struct ts_val *op_hardswish(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return mul(k, x, hard_sigmoid(k, x));
}

static struct ts_val *op_hardtanh(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x ? stage_ts_op(k->c, "Clip", &x->t, TS_IN(x, num(k, x,
		stage_ts_arg_num(k, 1)), num(k, x, stage_ts_arg_num(k, 2))),
		TS_BARE) : NULL;
}

static struct ts_val *op_relu6(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x ? stage_ts_op(k->c, "Clip", &x->t, TS_IN(x, num(k, x, 0),
		num(k, x, 6)), TS_BARE) : NULL;
}

static struct ts_val *op_silu(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return mul(k, x, stage_ts_same_op(k->c, "Sigmoid", x));
}

static struct ts_val *op_gelu(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y;

	if (!strcmp(stage_ts_arg_str(k, 1), "tanh")) {
		y = mul(k, mul(k, x, x), x);
		y = stage_ts_two(k->c, "Add", x, mul(k, y, num(k, x,
			0.044715)));
		y = stage_ts_same_op(k->c, "Tanh", mul(k, y, num(k, x,
			sqrt(2 / M_PI))));
	} else {
		y = stage_ts_same_op(k->c, "Erf", mul(k, x, num(k, x,
			sqrt(0.5))));
	}
	y = stage_ts_two(k->c, "Add", y, num(k, x, 1));
	return mul(k, mul(k, x, y), num(k, x, 0.5));
}

/* log(1 + exp(beta x)) / beta, and x where beta x is over threshold. */
static struct ts_val *op_softplus(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y;
	double beta = stage_ts_arg_num(k, 1);

	/* At 20 and more the two are one in f32. */
	if (stage_ts_arg_num(k, 2) < 16) {
		(void) stage_ts_fail(k->c, "with a low threshold");
		return NULL;
	}
	if (beta == 1)
		return stage_ts_same_op(k->c, "Softplus", x);
	y = stage_ts_same_op(k->c, "Softplus", mul(k, x, num(k, x, beta)));
	return stage_ts_two(k->c, "Div", y, num(k, x, beta));
}

static struct ts_val *op_mish(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return mul(k, x, stage_ts_same_op(k->c, "Tanh",
		stage_ts_same_op(k->c, "Softplus", x)));
}

static struct ts_val *op_log_sigmoid(struct ts_call *k)
{
	struct ts_val *x = stage_ts_same_op(k->c, "Neg", stage_ts_arg(k, 0));

	return stage_ts_same_op(k->c, "Neg", stage_ts_same_op(k->c,
		"Softplus", x));
}

static struct ts_val *op_prelu(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *w = stage_ts_arg(k, 1);
	struct ts_dim dims[STAGE_RANK_MAX];

	if (k->c->err)
		return NULL;
	if (w->t.rank == 1 && x->t.rank > 2) {
		for (unsigned i = 0; i + 1 < x->t.rank; i++)
			dims[i] = i ? stage_ts_num(1) : w->t.dim[0];
		w = stage_ts_reshape(k->c, w, dims, x->t.rank - 1);
	}
	return k->c->err ? NULL : stage_ts_op(k->c, "PRelu", &x->t,
		TS_IN(x, w), TS_BARE);
}

/* The first half of an axis times the sigmoid of the second. */
static struct ts_val *op_glu(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *a, *b;
	struct ts_dim half;
	unsigned axis;

	if (!x)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	half = stage_ts_div(k->c, x->t.dim[axis], stage_ts_num(2));
	a = stage_ts_cut(k->c, x, axis, stage_ts_num(0), half);
	b = stage_ts_cut(k->c, x, axis, half, x->t.dim[axis]);
	return mul(k, a, stage_ts_same_op(k->c, "Sigmoid", b));
}

static struct ts_val *op_threshold(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *cond;
	struct ts_type t;

	if (!x)
		return NULL;
	t = x->t;
	t.dtype = STAGE_BOOL;
	cond = stage_ts_op(k->c, "Greater", &t, TS_IN(x, num(k, x,
		stage_ts_arg_num(k, 1))), TS_BARE);
	return stage_ts_op(k->c, "Where", &x->t, TS_IN(cond, x, num(k, x,
		stage_ts_arg_num(k, 2))), TS_BARE);
}

#define ONE "self:T"

const struct ts_op stage_ts_ops_act[] = {
	{ "relu", ONE, op_plain, "Relu", 0 },
	{ "sigmoid", ONE, op_plain, "Sigmoid", 0 },
	{ "tanh", ONE, op_plain, "Tanh", 0 },
	{ "softsign", ONE, op_plain, "Softsign", 0 },
	{ "relu6", ONE, op_relu6, "", 0 },
	{ "hardsigmoid", ONE, op_hardsigmoid, "", 0 },
	{ "hardswish", ONE, op_hardswish, "", 0 },
	{ "hardtanh", "self:T min_val:d=-1 max_val:d=1", op_hardtanh, "", 0 },
	{ "silu", ONE, op_silu, "", 0 },
	{ "gelu", "self:T approximate:s=none", op_gelu, "", 0 },
	{ "mish", ONE, op_mish, "", 0 },
	{ "softplus", "self:T beta:d=1 threshold:d=20", op_softplus, "", 0 },
	{ "log_sigmoid", ONE, op_log_sigmoid, "", 0 },
	{ "elu", "self:T alpha:d=1 scale:d=1 input_scale:d=1", op_alpha,
		"Elu", 0 },
	{ "celu", "self:T alpha:d=1.0", op_alpha, "Celu", 0 },
	{ "selu", ONE, op_plain, "Selu", 0 },
	{ "leaky_relu", "self:T negative_slope:d=0.01", op_alpha,
		"LeakyRelu", 0 },
	{ "prelu", "self:T weight:T", op_prelu, "", 0 },
	{ "_prelu_kernel", "self:T weight:T", op_prelu, "", 0 },
	{ "glu", "self:T dim:i=-1", op_glu, "", 0 },
	{ "threshold", "self:T threshold:d value:d", op_threshold, "", 0 },
	{ .name = NULL },
};
