/* Operators element by element. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

/* ---- two operands ---------------------------------------------------------- */

static struct ts_val *both(struct ts_call *k, const char *op, size_t a,
	size_t b, enum stage_dtype t)
{
	struct ts_val *x = stage_ts_operand(k->c, &k->arg[a], t);
	struct ts_val *y = stage_ts_operand(k->c, &k->arg[b], t);

	return stage_ts_two(k->c, op, x, y);
}

static enum stage_dtype promoted(struct ts_call *k)
{
	/* An input nobody has said anything of is settled first. */
	for (size_t i = 0; i < 2; i++)
		if (k->arg[i].kind == TS_TENSOR)
			(void) stage_ts_arg(k, i);
	return k->c->err ? STAGE_F32 : stage_ts_promote(&k->arg[0],
		&k->arg[1]);
}

/* self, other, alpha */
static struct ts_val *op_add(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);
	struct ts_val *x, *y;

	if (t == STAGE_BOOL)
		return both(k, "Or", 0, 1, t);
	x = stage_ts_operand(k->c, &k->arg[0], t);
	y = stage_ts_operand(k->c, &k->arg[1], t);
	if (!k->c->err && stage_ts_arg_num(k, 2) != 1)
		y = stage_ts_two(k->c, "Mul", y, stage_ts_scalar(k->c, t,
			stage_ts_arg_num(k, 2)));
	return stage_ts_two(k->c, k->op->onnx, x, y);
}

/* other - alpha * self */
static struct ts_val *op_rsub(struct ts_call *k)
{
	struct ts_value other = k->arg[1];

	k->arg[1] = k->arg[0];
	k->arg[0] = other;
	return op_add(k);
}

static struct ts_val *op_two(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);

	if (t == STAGE_BOOL && !strcmp(k->op->onnx, "Mul"))
		return both(k, "And", 0, 1, t);
	return both(k, k->op->onnx, 0, 1, t);
}

static struct ts_val *op_mod_int(struct ts_call *k, enum stage_dtype t)
{
	return both(k, "Mod", 0, 1, t);
}

static struct ts_val *op_div(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);
	const char *mode = k->n > 2 ? stage_ts_arg_str(k, 2) : k->op->onnx;
	struct ts_val *x, *q;

	if (!*mode && !stage_ts_is_float(t))
		t = STAGE_F32;
	if (!*mode)
		return both(k, "Div", 0, 1, t);
	if (!strcmp(mode, "floor") && !stage_ts_is_float(t)) {
		x = stage_ts_two(k->c, "Sub", stage_ts_operand(k->c,
			&k->arg[0], t), op_mod_int(k, t));
		return stage_ts_two(k->c, "Div", x, stage_ts_operand(k->c,
			&k->arg[1], t));
	}
	q = both(k, "Div", 0, 1, t);
	if (!strcmp(mode, "floor"))
		return stage_ts_same_op(k->c, "Floor", q);
	if (!stage_ts_is_float(t))
		return q;
	return stage_ts_two(k->c, "Mul", stage_ts_same_op(k->c, "Sign", q),
		stage_ts_same_op(k->c, "Floor",
		stage_ts_same_op(k->c, "Abs", q)));
}

/* a - b * floor(a / b) */
static struct ts_val *op_remainder(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);
	struct ts_val *q, *y;

	if (!stage_ts_is_float(t))
		return op_mod_int(k, t);
	q = stage_ts_same_op(k->c, "Floor", both(k, "Div", 0, 1, t));
	y = stage_ts_operand(k->c, &k->arg[1], t);
	return stage_ts_two(k->c, "Sub", stage_ts_operand(k->c, &k->arg[0],
		t), stage_ts_two(k->c, "Mul", q, y));
}

static struct ts_val *op_pow(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);
	double e = 0;

	if (k->arg[1].kind != TS_TENSOR) {
		e = stage_ts_arg_num(k, 1);
		if (stage_ts_is_float(t) && e == 0.5)
			return stage_ts_same_op(k->c, "Sqrt",
				stage_ts_operand(k->c, &k->arg[0], t));
		if (e == 2) {
			struct ts_val *x = stage_ts_operand(k->c, &k->arg[0],
				t);

			return stage_ts_two(k->c, "Mul", x, x);
		}
	}
	return both(k, "Pow", 0, 1, t);
}

static struct ts_val *op_compare(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);
	bool ne = !strcmp(k->op->onnx, "NotEqual");
	struct ts_val *r;

	if (t == STAGE_BOOL && !ne && strcmp(k->op->onnx, "Equal") != 0)
		t = STAGE_I32;
	r = both(k, ne ? "Equal" : k->op->onnx, 0, 1, t);
	if (r)
		r->t.dtype = STAGE_BOOL;
	return ne ? stage_ts_same_op(k->c, "Not", r) : r;
}

static struct ts_val *op_logic(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);

	if (t != STAGE_BOOL && k->op->name[0] != 'l') {
		(void) stage_ts_fail(k->c, "of integers, is not handled");
		return NULL;
	}
	return both(k, k->op->onnx, 0, 1, STAGE_BOOL);
}

static struct ts_val *op_not(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (x && x->t.dtype != STAGE_BOOL && k->op->name[0] != 'l') {
		(void) stage_ts_fail(k->c, "of integers, is not handled");
		return NULL;
	}
	return k->c->err ? NULL : stage_ts_same_op(k->c, "Not",
		stage_ts_cast(k->c, x, STAGE_BOOL));
}

/* ---- one operand ----------------------------------------------------------- */

static struct ts_val *real(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x && !stage_ts_is_float(x->t.dtype) ?
		stage_ts_cast(k->c, x, STAGE_F32) : x;
}

static struct ts_val *op_real(struct ts_call *k)
{
	return stage_ts_same_op(k->c, k->op->onnx, real(k));
}

/* Of integers too. */
static struct ts_val *op_any(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (x && !stage_ts_is_float(x->t.dtype) &&
	    strcmp(k->op->onnx, "Abs") != 0 && strcmp(k->op->onnx, "Neg") &&
	    strcmp(k->op->onnx, "Sign") != 0)
		return x;	/* rounding */
	return stage_ts_same_op(k->c, k->op->onnx, x);
}

static struct ts_val *op_scaled_log(struct ts_call *k)
{
	struct ts_val *x = stage_ts_same_op(k->c, "Log", real(k));
	double by = !strcmp(k->op->name, "log2") ? log(2) : log(10);

	return stage_ts_two(k->c, "Div", x, x ? stage_ts_scalar_like(k->c, x,
		by) : NULL);
}

static struct ts_val *op_shifted(struct ts_call *k)
{
	struct ts_val *x = real(k), *one = x ? stage_ts_scalar_like(k->c, x,
		1) : NULL;

	if (!strcmp(k->op->name, "log1p"))
		return stage_ts_same_op(k->c, "Log", stage_ts_two(k->c, "Add",
			x, one));
	return stage_ts_two(k->c, "Sub", stage_ts_same_op(k->c, "Exp", x),
		one);
}

static struct ts_val *op_rsqrt(struct ts_call *k)
{
	struct ts_val *x = stage_ts_same_op(k->c, "Sqrt", real(k));

	return stage_ts_two(k->c, "Div", x ? stage_ts_scalar_like(k->c, x,
		1) : NULL, x);
}

static struct ts_val *op_square(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return stage_ts_two(k->c, "Mul", x, x);
}

static struct ts_val *op_is(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_type t;

	if (!x)
		return NULL;
	t = x->t;
	t.dtype = STAGE_BOOL;
	return stage_ts_op(k->c, k->op->onnx, &t, TS_IN(x), TS_BARE);
}

/* No operator of ONNX: refused only when the result is used. */
static struct ts_val *op_never(struct ts_call *k)
{
	enum stage_dtype t = promoted(k);

	return both(k, k->op->onnx, 0, 1, t);
}

/* ---- bounds and choices ---------------------------------------------------- */

static struct ts_val *clamp(struct ts_call *k, struct ts_val *x, size_t min,
	size_t max)
{
	enum stage_dtype t = x ? x->t.dtype : STAGE_F32;
	bool tensors = false;

	for (size_t i = 0; i < 2; i++) {
		size_t at = i ? max : min;

		if (!at || k->arg[at].kind == TS_NONE)
			continue;
		if (k->arg[at].kind == TS_TENSOR &&
		    stage_ts_arg(k, at) && stage_ts_arg(k, at)->t.rank)
			tensors = true;
		if (k->arg[at].kind == TS_FLOAT && !stage_ts_is_float(t))
			t = STAGE_F32;
	}
	x = stage_ts_cast(k->c, x, t);
	if (tensors) {
		if (min && !stage_ts_arg_none(k, min))
			x = stage_ts_two(k->c, "Max", x, stage_ts_operand(
				k->c, &k->arg[min], t));
		if (max && !stage_ts_arg_none(k, max))
			x = stage_ts_two(k->c, "Min", x, stage_ts_operand(
				k->c, &k->arg[max], t));
		return x;
	}
	return k->c->err ? NULL : stage_ts_op(k->c, "Clip", &x->t, TS_IN(x,
		min && !stage_ts_arg_none(k, min) ? stage_ts_operand(k->c,
		&k->arg[min], t) : NULL,
		max && !stage_ts_arg_none(k, max) ? stage_ts_operand(k->c,
		&k->arg[max], t) : NULL), TS_BARE);
}

static struct ts_val *op_clamp(struct ts_call *k)
{
	return clamp(k, stage_ts_arg(k, 0), 1, 2);
}

static struct ts_val *op_clamp_min(struct ts_call *k)
{
	return clamp(k, stage_ts_arg(k, 0), 1, 0);
}

static struct ts_val *op_clamp_max(struct ts_call *k)
{
	return clamp(k, stage_ts_arg(k, 0), 0, 1);
}

static struct ts_val *choose(struct ts *c, struct ts_val *cond,
	struct ts_val *a, struct ts_val *b)
{
	struct ts_type t;

	cond = c->err ? NULL : stage_ts_cast(c, cond, STAGE_BOOL);
	if (c->err)
		return NULL;
	t = a->t;
	stage_ts_broadcast(c, &a->t, &b->t, &t);
	stage_ts_broadcast(c, &t, &cond->t, &t);
	return stage_ts_where(c, cond, &t, a, b);
}

static struct ts_val *op_where(struct ts_call *k)
{
	struct ts_val *cond = stage_ts_arg(k, 0);
	enum stage_dtype t = k->c->err ? STAGE_F32 :
		stage_ts_promote(&k->arg[1], &k->arg[2]);

	return choose(k->c, cond, stage_ts_operand(k->c, &k->arg[1], t),
		stage_ts_operand(k->c, &k->arg[2], t));
}

static struct ts_val *op_masked_fill(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *mask = stage_ts_arg(k, 1);

	return choose(k->c, mask, x ? stage_ts_operand(k->c, &k->arg[2],
		x->t.dtype) : NULL, x);
}

/* self + value * a * b, or a / b */
static struct ts_val *op_addc(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_val *y = stage_ts_two(k->c, k->op->onnx, stage_ts_arg(k, 1),
		stage_ts_arg(k, 2));

	if (y && stage_ts_arg_num(k, 3) != 1)
		y = stage_ts_two(k->c, "Mul", y, stage_ts_scalar_like(k->c, y,
			stage_ts_arg_num(k, 3)));
	return stage_ts_two(k->c, "Add", x, y);
}

#define TWO "self:? other:?"
#define ONE "self:T"

const struct ts_op stage_ts_ops_math[] = {
	{ "add", TWO " alpha:d=1", op_add, "Add", 0 },
	{ "sub", TWO " alpha:d=1", op_add, "Sub", 0 },
	{ "subtract", TWO " alpha:d=1", op_add, "Sub", 0 },
	{ "rsub", TWO " alpha:d=1", op_rsub, "Sub", 0 },
	{ "mul", TWO, op_two, "Mul", 0 },
	{ "multiply", TWO, op_two, "Mul", 0 },
	{ "maximum", TWO, op_two, "Max", 0 },
	{ "minimum", TWO, op_two, "Min", 0 },
	{ "div", TWO " rounding_mode:s=N", op_div, "", 0 },
	{ "divide", TWO " rounding_mode:s=N", op_div, "", 0 },
	{ "true_divide", TWO, op_div, "", 0 },
	{ "floor_divide", TWO, op_div, "floor", 0 },
	{ "floordiv", TWO, op_div, "floor", 0 },
	{ "remainder", TWO, op_remainder, "", 0 },
	{ "pow", "self:? exponent:?", op_pow, "Pow", 0 },
	{ "atan2", TWO, op_never, "?atan2", 0 },
	{ "eq", TWO, op_compare, "Equal", 0 },
	{ "ne", TWO, op_compare, "NotEqual", 0 },
	{ "lt", TWO, op_compare, "Less", 0 },
	{ "le", TWO, op_compare, "LessOrEqual", 0 },
	{ "gt", TWO, op_compare, "Greater", 0 },
	{ "ge", TWO, op_compare, "GreaterOrEqual", 0 },
	{ "logical_and", TWO, op_logic, "And", 0 },
	{ "logical_or", TWO, op_logic, "Or", 0 },
	{ "logical_xor", TWO, op_logic, "Xor", 0 },
	{ "__and__", TWO, op_logic, "And", 0 },
	{ "__or__", TWO, op_logic, "Or", 0 },
	{ "bitwise_and", TWO, op_logic, "And", 0 },
	{ "bitwise_or", TWO, op_logic, "Or", 0 },
	{ "logical_not", ONE, op_not, "Not", 0 },
	{ "bitwise_not", ONE, op_not, "Not", 0 },
	{ "abs", ONE, op_any, "Abs", 0 },
	{ "neg", ONE, op_any, "Neg", 0 },
	{ "sign", ONE, op_any, "Sign", 0 },
	{ "floor", ONE, op_any, "Floor", 0 },
	{ "ceil", ONE, op_any, "Ceil", 0 },
	{ "round", ONE, op_any, "Round", 0 },
	{ "exp", ONE, op_real, "Exp", 0 },
	{ "log", ONE, op_real, "Log", 0 },
	{ "sqrt", ONE, op_real, "Sqrt", 0 },
	{ "sin", ONE, op_real, "Sin", 0 },
	{ "cos", ONE, op_real, "Cos", 0 },
	{ "tan", ONE, op_real, "Tan", 0 },
	{ "atan", ONE, op_real, "Atan", 0 },
	{ "asin", ONE, op_real, "Asin", 0 },
	{ "acos", ONE, op_real, "Acos", 0 },
	{ "sinh", ONE, op_real, "Sinh", 0 },
	{ "cosh", ONE, op_real, "Cosh", 0 },
	{ "erf", ONE, op_real, "Erf", 0 },
	{ "reciprocal", ONE, op_real, "Reciprocal", 0 },
	{ "rsqrt", ONE, op_rsqrt, "", 0 },
	{ "square", ONE, op_square, "", 0 },
	{ "log2", ONE, op_scaled_log, "", 0 },
	{ "log10", ONE, op_scaled_log, "", 0 },
	{ "log1p", ONE, op_shifted, "", 0 },
	{ "expm1", ONE, op_shifted, "", 0 },
	{ "isnan", ONE, op_is, "IsNaN", 0 },
	{ "isinf", ONE, op_is, "IsInf", 0 },
	{ "clamp", "self:T min:?=N max:?=N", op_clamp, "", 0 },
	{ "clip", "self:T min:?=N max:?=N", op_clamp, "", 0 },
	{ "clamp_min", "self:T min:?", op_clamp_min, "", 0 },
	{ "clamp_max", "self:T max:?", op_clamp_max, "", 0 },
	{ "where", "condition:T self:? other:?", op_where, "", 0 },
	{ "masked_fill", "self:T mask:T value:?", op_masked_fill, "", 0 },
	{ "addcmul", "self:T tensor1:T tensor2:T value:d=1", op_addc, "Mul",
		0 },
	{ "addcdiv", "self:T tensor1:T tensor2:T value:d=1", op_addc, "Div",
		0 },
	{ .name = NULL },
};
