/*
 * Arithmetic of numbers; with lists and strings where the name is the same.
 */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-builtin.h"

double stage_ts_as_float(struct ts *c, const struct ts_value *v)
{
	struct ts_dim d;

	if (v->kind == TS_FLOAT)
		return v->u.f;
	return stage_ts_to_dim(v, &d) ? (double)stage_ts_fixed(c, d) : 0;
}

static const struct ts_value *keyword(const struct ts_args *a, const char *key)
{
	for (size_t i = 0; i < a->n && a->keys; i++)
		if (a->keys[i] && !strcmp(a->keys[i], key))
			return &a->v[i];
	return NULL;
}

/* Both are numbers, or one is and the other a constant integer of no
 * dimensions: a traced program has its sizes as such. */
static bool two_numbers(const struct ts_args *a)
{
	struct ts_dim d;

	if (ts_is_number(&a->v[0]) && ts_is_number(&a->v[1]))
		return true;
	for (size_t i = 0; i < 2; i++) {
		const struct ts_value *x = &a->v[i], *y = &a->v[!i];

		if ((x->kind == TS_SYM || x->kind == TS_INT) &&
		    y->kind == TS_TENSOR && !y->u.tensor->val->t.rank &&
		    stage_ts_to_dim(y, &d))
			return true;
	}
	return false;
}

enum arith { ADD, SUB, MUL, DIV, FLOORDIV, MOD, POW };

static int64_t int_pow(struct ts *c, int64_t a, int64_t b)
{
	int64_t all = 1;

	while (b-- > 0 && !c->err)
		if (__builtin_mul_overflow(all, a, &all))
			(void) stage_ts_fail(c, "a number is too large");
		else if (all == 0 || all == 1)
			break;
	return all;
}

static struct ts_dim arith_dim(struct ts *c, enum arith op, struct ts_dim a,
	struct ts_dim b)
{
	switch (op) {
	case ADD:
		return stage_ts_add(c, a, b);
	case SUB:
		return stage_ts_sub(c, a, b);
	case MUL:
		return stage_ts_mul(c, a, b);
	case FLOORDIV:
		return stage_ts_div(c, a, b);
	case MOD:
		return stage_ts_sub(c, a, stage_ts_mul(c, b,
			stage_ts_div(c, a, b)));
	default:
		return stage_ts_num(int_pow(c, stage_ts_fixed(c, a),
			stage_ts_fixed(c, b)));
	}
}

static double arith_float(enum arith op, double a, double b)
{
	switch (op) {
	case ADD:
		return a + b;
	case SUB:
		return a - b;
	case MUL:
		return a * b;
	case DIV:
		return a / b;
	case FLOORDIV:
		return floor(a / b);
	case MOD:
		return a - b * floor(a / b);
	case POW:
		return pow(a, b);
	}
	return 0;
}

static int list_add(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	struct ts_list *l = stage_ts_list(c, 0);

	for (size_t k = 0; l && k < 2; k++)
		for (size_t i = 0; i < a->v[k].u.list->n && !c->err; i++)
			(void) stage_ts_push(c, l, a->v[k].u.list->v[i]);
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

static int list_mul(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	struct ts_list *l = stage_ts_list(c, 0);

	for (int64_t k = 0; l && k < a->v[1].u.i && a->v[0].u.list->n; k++)
		for (size_t i = 0; i < a->v[0].u.list->n; i++)
			if (stage_ts_push(c, l, a->v[0].u.list->v[i]))
				return c->err;
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

static int run_arith(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	const struct ts_value *mode = keyword(a, "rounding_mode");
	enum arith op = (enum arith)a->how;
	struct ts_dim x, y;

	if (op == ADD && ts_is_list(&a->v[0]) && ts_is_list(&a->v[1]))
		return list_add(c, a, ret);
	if (op == MUL && ts_is_list(&a->v[0]) && a->v[1].kind == TS_INT)
		return list_mul(c, a, ret);
	if (op == ADD && a->v[0].kind == TS_STR && a->v[1].kind == TS_STR) {
		*ret = a->v[0];
		return 0;
	}
	if (!two_numbers(a) || keyword(a, "alpha") || (a->n > 2 && !mode))
		return TS_NOT_MINE;
	if (op == DIV && mode && mode->kind == TS_STR)
		op = FLOORDIV;	/* sizes are not negative */
	if (op != DIV && stage_ts_to_dim(&a->v[0], &x) &&
	    stage_ts_to_dim(&a->v[1], &y) &&
	    (op != POW || y.sym || y.n >= 0)) {
		*ret = stage_ts_of_dim(arith_dim(c, op, x, y));
		return c->err;
	}
	ts_set_float(ret, arith_float(op, stage_ts_as_float(c, &a->v[0]),
		stage_ts_as_float(c, &a->v[1])));
	return c->err;
}

static int run_neg(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	struct ts_dim d;

	if (a->v[0].kind == TS_FLOAT) {
		ts_set_float(ret, a->how ? fabs(a->v[0].u.f) : -a->v[0].u.f);
		return 0;
	}
	if (!ts_is_number(&a->v[0]))
		return TS_NOT_MINE;
	(void) stage_ts_to_dim(&a->v[0], &d);
	if (!a->how || (!d.sym && d.n < 0))
		d = stage_ts_sub(c, stage_ts_num(0), d);
	*ret = stage_ts_of_dim(d);
	return c->err;
}

enum real { SQRT, LOG, EXP, SIN, COS, FLOOR, CEIL, ROUND };

static int run_real(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	static double (*const run[])(double) = { [SQRT] = sqrt, [LOG] = log,
		[EXP] = exp, [SIN] = sin, [COS] = cos, [FLOOR] = floor,
		[CEIL] = ceil, [ROUND] = nearbyint };
	double f;

	if (!ts_is_number(&a->v[0]))
		return TS_NOT_MINE;
	f = run[a->how](stage_ts_as_float(c, &a->v[0]));
	if (a->how < FLOOR) {
		ts_set_float(ret, f);
		return c->err;
	}
	if (!(fabs(f) < 9e15))
		return stage_ts_fail(c, "%g is no integer", f);
	*ret = stage_ts_of_dim(stage_ts_num((int64_t)f));
	return c->err;
}

static int run_range_length(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	struct ts_dim d[3];
	int64_t n[3];

	for (size_t i = 0; i < 3; i++) {
		if (a->n != 3 || !stage_ts_to_dim(&a->v[i], &d[i]))
			return TS_NOT_MINE;
		n[i] = stage_ts_fixed(c, d[i]);
	}
	if (!n[2])
		return stage_ts_fail(c, "a range with step 0");
	d[0] = stage_ts_sub(c, stage_ts_num(n[2] > 0 ? n[1] : n[0]),
		stage_ts_num(n[2] > 0 ? n[0] : n[1]));
	n[2] = n[2] > 0 ? n[2] : -n[2];
	*ret = stage_ts_of_dim(stage_ts_num(d[0].n > 0 && n[2] > 0 ?
		(d[0].n - 1) / n[2] + 1 : 0));
	return c->err;
}

static int run_derive_index(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	struct ts_dim i, from, by;

	if (a->n != 3 || !stage_ts_to_dim(&a->v[0], &i) ||
	    !stage_ts_to_dim(&a->v[1], &from) ||
	    !stage_ts_to_dim(&a->v[2], &by))
		return TS_NOT_MINE;
	*ret = stage_ts_of_dim(stage_ts_add(c, from, stage_ts_mul(c, i, by)));
	return c->err;
}

const struct ts_builtin stage_ts_builtins_number[] = {
	{ "add", run_arith, 2, ADD }, { "sub", run_arith, 2, SUB },
	{ "mul", run_arith, 2, MUL }, { "div", run_arith, 2, DIV },
	{ "floordiv", run_arith, 2, FLOORDIV },
	{ "floor_divide", run_arith, 2, FLOORDIV },
	{ "remainder", run_arith, 2, MOD }, { "fmod", run_arith, 2, MOD },
	{ "pow", run_arith, 2, POW }, { "add_", run_arith, 2, ADD },
	{ "mul_", run_arith, 2, MUL }, { "sub_", run_arith, 2, SUB },
	{ "neg", run_neg, 1, 0 }, { "abs", run_neg, 1, 1 },
	{ "prim.abs", run_neg, 1, 1 }, { "sqrt", run_real, 1, SQRT },
	{ "floor", run_real, 1, FLOOR }, { "ceil", run_real, 1, CEIL },
	{ "log", run_real, 1, LOG }, { "exp", run_real, 1, EXP },
	{ "round", run_real, 1, ROUND }, { "sin", run_real, 1, SIN },
	{ "cos", run_real, 1, COS },
	{ "__range_length", run_range_length, 3, 0 },
	{ "__derive_index", run_derive_index, 3, 0 },
	{ .name = NULL },
};
