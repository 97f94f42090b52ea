/*
 * Functions of numbers, strings and lists. A function that may also be one of
 * tensors answers 1 ("not mine") when it sees one; then script-ops.c is asked.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stage/script-op.h"

#define NOT_MINE 1

struct args {
	const char *name;
	const struct ts_value *v;
	size_t n;
	const char *const *keys;
	unsigned how;
};

struct builtin {
	const char *name;
	int (*run)(struct ts *c, const struct args *a, struct ts_value *ret);
	unsigned min, how;
};

static void set_bool(struct ts_value *ret, bool b)
{
	*ret = (struct ts_value){ .kind = TS_BOOL, .u.b = b };
}

static void set_float(struct ts_value *ret, double f)
{
	*ret = (struct ts_value){ .kind = TS_FLOAT, .u.f = f };
}

static bool is_number(const struct ts_value *v)
{
	return v->kind == TS_INT || v->kind == TS_FLOAT ||
		v->kind == TS_BOOL || v->kind == TS_SYM;
}

static bool is_list(const struct ts_value *v)
{
	return v->kind == TS_LIST || v->kind == TS_TUPLE;
}

/* A size that goes into a float has to be a number. */
static double as_float(struct ts *c, const struct ts_value *v)
{
	struct ts_dim d;

	if (v->kind == TS_FLOAT)
		return v->u.f;
	return stage_ts_to_dim(v, &d) ? (double)stage_ts_fixed(c, d) : 0;
}

static const struct ts_value *keyword(const struct args *a, const char *key)
{
	for (size_t i = 0; i < a->n && a->keys; i++)
		if (a->keys[i] && !strcmp(a->keys[i], key))
			return &a->v[i];
	return NULL;
}

/* Both are numbers, or one is and the other a constant integer of no
 * dimensions: a traced program has its sizes as such. */
static bool two_numbers(const struct args *a)
{
	struct ts_dim d;

	if (is_number(&a->v[0]) && is_number(&a->v[1]))
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

/* ---- arithmetic ------------------------------------------------------------ */

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

static int list_add(struct ts *c, const struct args *a, struct ts_value *ret)
{
	struct ts_list *l = stage_ts_list(c, 0);

	for (size_t k = 0; l && k < 2; k++)
		for (size_t i = 0; i < a->v[k].u.list->n && !c->err; i++)
			(void) stage_ts_push(c, l, a->v[k].u.list->v[i]);
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

static int list_mul(struct ts *c, const struct args *a, struct ts_value *ret)
{
	struct ts_list *l = stage_ts_list(c, 0);

	for (int64_t k = 0; l && k < a->v[1].u.i && a->v[0].u.list->n; k++)
		for (size_t i = 0; i < a->v[0].u.list->n; i++)
			if (stage_ts_push(c, l, a->v[0].u.list->v[i]))
				return c->err;
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

static int run_arith(struct ts *c, const struct args *a, struct ts_value *ret)
{
	const struct ts_value *mode = keyword(a, "rounding_mode");
	enum arith op = (enum arith)a->how;
	struct ts_dim x, y;

	if (op == ADD && is_list(&a->v[0]) && is_list(&a->v[1]))
		return list_add(c, a, ret);
	if (op == MUL && is_list(&a->v[0]) && a->v[1].kind == TS_INT)
		return list_mul(c, a, ret);
	if (op == ADD && a->v[0].kind == TS_STR && a->v[1].kind == TS_STR) {
		*ret = a->v[0];
		return 0;
	}
	if (!two_numbers(a) || keyword(a, "alpha") || (a->n > 2 && !mode))
		return NOT_MINE;
	if (op == DIV && mode && mode->kind == TS_STR)
		op = FLOORDIV;	/* sizes are not negative */
	if (op != DIV && stage_ts_to_dim(&a->v[0], &x) &&
	    stage_ts_to_dim(&a->v[1], &y) &&
	    (op != POW || y.sym || y.n >= 0)) {
		*ret = stage_ts_of_dim(arith_dim(c, op, x, y));
		return c->err;
	}
	set_float(ret, arith_float(op, as_float(c, &a->v[0]),
		as_float(c, &a->v[1])));
	return c->err;
}

static int run_neg(struct ts *c, const struct args *a, struct ts_value *ret)
{
	struct ts_dim d;

	if (a->v[0].kind == TS_FLOAT) {
		set_float(ret, a->how ? fabs(a->v[0].u.f) : -a->v[0].u.f);
		return 0;
	}
	if (!is_number(&a->v[0]))
		return NOT_MINE;
	(void) stage_ts_to_dim(&a->v[0], &d);
	if (!a->how || (!d.sym && d.n < 0))
		d = stage_ts_sub(c, stage_ts_num(0), d);
	*ret = stage_ts_of_dim(d);
	return c->err;
}

enum real { SQRT, FLOOR, CEIL, LOG, EXP, ROUND, SIN, COS };

static int run_real(struct ts *c, const struct args *a, struct ts_value *ret)
{
	double f;

	if (!is_number(&a->v[0]))
		return NOT_MINE;
	f = as_float(c, &a->v[0]);
	switch ((enum real)a->how) {
	case FLOOR:
	case CEIL:
	case ROUND:
		f = a->how == FLOOR ? floor(f) : a->how == CEIL ? ceil(f) :
			nearbyint(f);
		if (!(fabs(f) < 9e15))
			return stage_ts_fail(c, "%g is no integer", f);
		*ret = stage_ts_of_dim(stage_ts_num((int64_t)f));
		return c->err;
	case SQRT:
		f = sqrt(f);
		break;
	case LOG:
		f = log(f);
		break;
	case EXP:
		f = exp(f);
		break;
	case SIN:
		f = sin(f);
		break;
	case COS:
		f = cos(f);
		break;
	}
	set_float(ret, f);
	return c->err;
}

/* ---- comparing ------------------------------------------------------------- */

static int set_compare(struct ts *c, struct ts_dim x, enum ts_rel rel,
	struct ts_dim y, struct ts_value *ret)
{
	int known = stage_ts_compare(c, x, rel, y);

	set_bool(ret, known == 1);
	if (known < 0 && !c->err)
		*ret = (struct ts_value){ .kind = TS_UNSURE, .rel = rel,
			.u.sym = stage_ts_sub(c, x, y).sym };
	return c->err;
}

static bool float_compare(double x, enum ts_rel rel, double y)
{
	switch (rel) {
	case TS_EQ:
		return x == y;
	case TS_NE:
		return x != y;
	case TS_LT:
		return x < y;
	case TS_LE:
		return x <= y;
	case TS_GT:
		return x > y;
	case TS_GE:
		return x >= y;
	}
	return false;
}

static int compare(struct ts *c, const struct ts_value *x, enum ts_rel rel,
	const struct ts_value *y, unsigned depth, struct ts_value *ret);

/* [a, b] == [c, d]; what is not known of an item has to be so. */
static int list_compare(struct ts *c, const struct ts_value *x,
	const struct ts_value *y, unsigned depth, bool *ret)
{
	*ret = x->u.list->n == y->u.list->n;
	for (size_t i = 0; *ret && i < x->u.list->n; i++) {
		struct ts_value v;
		int r = compare(c, &x->u.list->v[i], TS_EQ,
			&y->u.list->v[i], depth + 1, &v);

		if (r)
			return r;
		if (v.kind == TS_UNSURE) {
			stage_ts_require(c, (struct ts_dim){ 0, v.u.sym },
				stage_ts_num(0));
			return c->err;
		}
		*ret = v.u.b;
	}
	return 0;
}

static int compare(struct ts *c, const struct ts_value *x, enum ts_rel rel,
	const struct ts_value *y, unsigned depth, struct ts_value *ret)
{
	struct ts_dim dx, dy;
	bool same = false;
	int r;

	if (x->kind == TS_TENSOR || y->kind == TS_TENSOR || depth > 8)
		return NOT_MINE;
	if (is_number(x) && is_number(y)) {
		if (stage_ts_to_dim(x, &dx) && stage_ts_to_dim(y, &dy))
			return set_compare(c, dx, rel, dy, ret);
		set_bool(ret, float_compare(as_float(c, x), rel,
			as_float(c, y)));
		return c->err;
	}
	if (rel != TS_EQ && rel != TS_NE)
		return NOT_MINE;
	if (x->kind == TS_STR && y->kind == TS_STR) {
		same = !strcmp(x->u.s, y->u.s);
	} else if (is_list(x) && is_list(y)) {
		r = list_compare(c, x, y, depth, &same);
		if (r)
			return r;
	} else {
		same = x->kind == y->kind && x->kind == TS_NONE;
	}
	set_bool(ret, same == (rel == TS_EQ));
	return 0;
}

static int run_compare(struct ts *c, const struct args *a,
	struct ts_value *ret)
{
	return compare(c, &a->v[0], (enum ts_rel)a->how, &a->v[1], 0, ret);
}

static int run_is(struct ts *c, const struct args *a, struct ts_value *ret)
{
	const struct ts_value *x = &a->v[0], *y = &a->v[1];
	bool same = x->kind == y->kind;

	(void) c;
	if (same && x->kind == TS_TENSOR)
		same = x->u.tensor == y->u.tensor;
	else if (same && x->kind == TS_OBJECT)
		same = x->u.object == y->u.object;
	else if (same && (is_list(x) || x->kind == TS_DICT))
		same = x->u.list == y->u.list;
	set_bool(ret, same == !a->how);
	return 0;
}

static int run_not(struct ts *c, const struct args *a, struct ts_value *ret)
{
	static const enum ts_rel other[] = { [TS_EQ] = TS_NE,
		[TS_NE] = TS_EQ, [TS_LT] = TS_GE, [TS_LE] = TS_GT,
		[TS_GT] = TS_LE, [TS_GE] = TS_LT };
	bool yes = false, sure;
	int r = stage_ts_truth(c, &a->v[0], &yes, &sure);

	set_bool(ret, !yes);
	if (!r && !sure) {
		*ret = a->v[0];
		ret->rel = a->v[0].kind == TS_SYM ? TS_EQ :
			other[a->v[0].rel];
		ret->kind = TS_UNSURE;
	}
	return r;
}

static int run_logic(struct ts *c, const struct args *a, struct ts_value *ret)
{
	bool is_or = a->how != 0;

	for (size_t i = 0; i < 2; i++)
		if (a->v[i].kind != TS_BOOL && a->v[i].kind != TS_UNSURE)
			return NOT_MINE;
	for (size_t i = 0; i < 2; i++) {
		if (a->v[i].kind != TS_BOOL)
			continue;
		*ret = a->v[i].u.b == is_or ? a->v[i] : a->v[!i];
		return 0;
	}
	return stage_ts_fail(c, "two comparisons of sizes that are not known");
}

/* ---- numbers of tensors ---------------------------------------------------- */

static int run_int(struct ts *c, const struct args *a, struct ts_value *ret)
{
	struct ts_dim d;
	double f;

	if (stage_ts_to_dim(&a->v[0], &d)) {
		*ret = stage_ts_of_dim(d);
		return 0;
	}
	if (a->v[0].kind == TS_FLOAT)
		f = a->v[0].u.f;
	else if (a->v[0].kind != TS_TENSOR ||
	    !stage_ts_known(a->v[0].u.tensor->val, 0, &f))
		return stage_ts_fail(c, "a number is taken out of a tensor");
	if (!(fabs(f) < 9e15))
		return stage_ts_fail(c, "%g is no integer", f);
	*ret = stage_ts_of_dim(stage_ts_num((int64_t)f));
	return 0;
}

static int run_float(struct ts *c, const struct args *a, struct ts_value *ret)
{
	double f;

	if (is_number(&a->v[0]))
		f = as_float(c, &a->v[0]);
	else if (a->v[0].kind == TS_STR)
		f = !strcmp(a->v[0].u.s, "inf") ? (double)INFINITY :
			!strcmp(a->v[0].u.s, "-inf") ? -(double)INFINITY :
			(double)NAN;
	else if (a->v[0].kind != TS_TENSOR ||
	    !stage_ts_known(a->v[0].u.tensor->val, 0, &f))
		return stage_ts_fail(c, "a number is taken out of a tensor");
	set_float(ret, f);
	return c->err;
}

static int run_bool(struct ts *c, const struct args *a, struct ts_value *ret)
{
	bool yes = false, sure;
	int r = stage_ts_truth(c, &a->v[0], &yes, &sure);

	set_bool(ret, yes);
	if (!r && !sure)
		*ret = a->v[0];
	return r;
}

/* item(), Scalar: a number if it is known, else the tensor. */
static int run_item(struct ts *c, const struct args *a, struct ts_value *ret)
{
	const struct ts_val *t;
	double f;

	(void) c;
	*ret = a->v[0];
	if (a->v[0].kind != TS_TENSOR)
		return 0;
	t = a->v[0].u.tensor->val;
	if (t->t.rank || !stage_ts_known(t, 0, &f))
		return stage_ts_fail(c, "a number is taken out of a tensor");
	if (stage_ts_is_float(t->t.dtype))
		set_float(ret, f);
	else
		*ret = stage_ts_of_dim(stage_ts_num((int64_t)f));
	return 0;
}

static int run_size(struct ts *c, const struct args *a, struct ts_value *ret)
{
	struct ts_call k = { .c = c, .arg = { a->v[0] }, .n = 1 };
	struct ts_val *x = a->v[0].kind == TS_TENSOR ? stage_ts_arg(&k, 0) :
		NULL;
	struct ts_list *l;
	struct ts_dim d;

	if (!x)
		return c->err ? c->err : is_number(&a->v[0]) && a->n == 1 ?
			(*ret = (struct ts_value){ .kind = TS_LIST,
			.u.list = stage_ts_list(c, 0) }, c->err) : NOT_MINE;
	if (a->n > 1) {
		if (!stage_ts_to_dim(&a->v[1], &d) || d.sym)
			return stage_ts_fail(c, "the size of an axis that is "
				"not known");
		*ret = stage_ts_of_dim(x->t.dim[stage_ts_axis(c, d.n,
			x->t.rank)]);
		return c->err;
	}
	l = stage_ts_list(c, x->t.rank);
	for (unsigned i = 0; l && i < x->t.rank; i++)
		(void) stage_ts_push(c, l, stage_ts_of_dim(x->t.dim[i]));
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

enum about { DIM, NUMEL, LEN, DTYPE, IS_FLOAT };

static const struct {
	enum stage_dtype dtype;
	int64_t scalar;
} scalar_types[] = {
	{ STAGE_U8, 0 }, { STAGE_I8, 1 }, { STAGE_I16, 2 }, { STAGE_I32, 3 },
	{ STAGE_I64, 4 }, { STAGE_F16, 5 }, { STAGE_F32, 6 },
	{ STAGE_F64, 7 }, { STAGE_BOOL, 11 }, { STAGE_BF16, 15 },
};

enum stage_dtype stage_ts_dtype(struct ts *c, int64_t scalar_type)
{
	for (size_t i = 0; i < sizeof(scalar_types) /
	    sizeof(scalar_types[0]); i++)
		if (scalar_types[i].scalar == scalar_type)
			return scalar_types[i].dtype;
	(void) stage_ts_fail(c, "the element type %lld is not handled",
		(long long)scalar_type);
	return STAGE_F32;
}

static int64_t scalar_of(enum stage_dtype t)
{
	for (size_t i = 0; i < sizeof(scalar_types) /
	    sizeof(scalar_types[0]); i++)
		if (scalar_types[i].dtype == t)
			return scalar_types[i].scalar;
	return -1;
}

static int run_about(struct ts *c, const struct args *a, struct ts_value *ret)
{
	struct ts_call k = { .c = c, .arg = { a->v[0] }, .n = 1 };
	struct ts_dim d = stage_ts_num(0);
	struct ts_val *x;

	if (a->how == LEN && (is_list(&a->v[0]) || a->v[0].kind == TS_DICT))
		d = stage_ts_num((int64_t)(a->v[0].u.list->n /
			(a->v[0].kind == TS_DICT ? 2 : 1)));
	else if (a->how == LEN && a->v[0].kind == TS_STR)
		d = stage_ts_num((int64_t)strlen(a->v[0].u.s));
	else if (is_number(&a->v[0]))
		d = stage_ts_num(a->how == NUMEL ? 1 : a->how != DTYPE ? 0 :
			a->v[0].kind == TS_FLOAT ? 6 : 4);
	else if (a->v[0].kind != TS_TENSOR)
		return NOT_MINE;
	if (a->v[0].kind == TS_TENSOR) {
		x = stage_ts_arg(&k, 0);
		if (!x)
			return c->err;
		if (a->how == LEN && !x->t.rank)
			return stage_ts_fail(c, "a tensor of no dimensions");
		d = a->how == DIM ? stage_ts_num(x->t.rank) :
			a->how == NUMEL ? stage_ts_product(c, x->t.dim,
				x->t.rank) :
			a->how == LEN ? x->t.dim[0] :
			stage_ts_num(a->how == DTYPE ? scalar_of(x->t.dtype) :
				stage_ts_is_float(x->t.dtype));
	}
	*ret = stage_ts_of_dim(d);
	if (a->how == IS_FLOAT)
		set_bool(ret, d.n != 0);
	return c->err;
}

/* ---- what has one answer --------------------------------------------------- */

static int run_true(struct ts *c, const struct args *a, struct ts_value *ret)
{
	(void) c;
	set_bool(ret, a->how);
	return 0;
}

static int run_first(struct ts *c, const struct args *a, struct ts_value *ret)
{
	if (a->v[0].kind == TS_NONE && a->how)
		return stage_ts_fail(c, "None where a value is needed");
	*ret = a->v[0];
	return 0;
}

static int run_nothing(struct ts *c, const struct args *a,
	struct ts_value *ret)
{
	(void) c;
	(void) a;
	*ret = (struct ts_value){ .kind = TS_NONE };
	return 0;
}

static int run_device(struct ts *c, const struct args *a,
	struct ts_value *ret)
{
	(void) c;
	(void) a;
	*ret = (struct ts_value){ .kind = TS_STR, .u.s = "cpu" };
	return 0;
}

static int run_raise(struct ts *c, const struct args *a, struct ts_value *ret)
{
	(void) ret;
	return stage_ts_fail(c, "the program raises \"%s\"",
		a->v[0].kind == TS_STR ? a->v[0].u.s : "");
}

static int run_extreme(struct ts *c, const struct args *a,
	struct ts_value *ret)
{
	const struct ts_value *v = a->v;
	size_t n = a->n, best = 0;

	if (n == 1 && is_list(v)) {
		n = v->u.list->n;
		v = v->u.list->v;
	}
	for (size_t i = 0; i < n; i++) {
		struct ts_value less = { .kind = TS_UNSET };
		int r;

		if (!is_number(&v[i]))
			return NOT_MINE;
		r = compare(c, &v[i], a->how ? TS_GT : TS_LT, &v[best], 0,
			&less);
		if (!r && less.kind == TS_UNSURE)
			(void) stage_ts_fixed(c, (struct ts_dim){ 0,
				less.u.sym });
		if (r || c->err)
			return r ? r : c->err;
		if (less.kind == TS_BOOL && less.u.b)
			best = i;
	}
	if (!n)
		return NOT_MINE;
	*ret = v[best];
	return 0;
}

static int run_range_length(struct ts *c, const struct args *a,
	struct ts_value *ret)
{
	struct ts_dim d[3];
	int64_t n[3];

	for (size_t i = 0; i < 3; i++) {
		if (a->n != 3 || !stage_ts_to_dim(&a->v[i], &d[i]))
			return NOT_MINE;
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

static int run_derive_index(struct ts *c, const struct args *a,
	struct ts_value *ret)
{
	struct ts_dim i, from, by;

	if (a->n != 3 || !stage_ts_to_dim(&a->v[0], &i) ||
	    !stage_ts_to_dim(&a->v[1], &from) ||
	    !stage_ts_to_dim(&a->v[2], &by))
		return NOT_MINE;
	*ret = stage_ts_of_dim(stage_ts_add(c, from, stage_ts_mul(c, i, by)));
	return c->err;
}

static const struct builtin builtins[] = {
	{ "add", run_arith, 2, ADD }, { "sub", run_arith, 2, SUB },
	{ "mul", run_arith, 2, MUL }, { "div", run_arith, 2, DIV },
	{ "floordiv", run_arith, 2, FLOORDIV },
	{ "floor_divide", run_arith, 2, FLOORDIV },
	{ "remainder", run_arith, 2, MOD }, { "fmod", run_arith, 2, MOD },
	{ "pow", run_arith, 2, POW }, { "add_", run_arith, 2, ADD },
	{ "mul_", run_arith, 2, MUL }, { "sub_", run_arith, 2, SUB },
	{ "neg", run_neg, 1, 0 }, { "abs", run_neg, 1, 1 },
	{ "prim.abs", run_neg, 1, 1 },
	{ "sqrt", run_real, 1, SQRT }, { "floor", run_real, 1, FLOOR },
	{ "ceil", run_real, 1, CEIL }, { "log", run_real, 1, LOG },
	{ "exp", run_real, 1, EXP }, { "round", run_real, 1, ROUND },
	{ "sin", run_real, 1, SIN }, { "cos", run_real, 1, COS },
	{ "eq", run_compare, 2, TS_EQ }, { "ne", run_compare, 2, TS_NE },
	{ "lt", run_compare, 2, TS_LT }, { "le", run_compare, 2, TS_LE },
	{ "gt", run_compare, 2, TS_GT }, { "ge", run_compare, 2, TS_GE },
	{ "__is__", run_is, 2, 0 }, { "__isnot__", run_is, 2, 1 },
	{ "__not__", run_not, 1, 0 },
	{ "__and__", run_logic, 2, 0 }, { "__or__", run_logic, 2, 1 },
	{ "int", run_int, 1, 0 }, { "Int", run_int, 1, 0 },
	{ "IntImplicit", run_int, 1, 0 },
	{ "float", run_float, 1, 0 }, { "Float", run_float, 1, 0 },
	{ "FloatImplicit", run_float, 1, 0 },
	{ "bool", run_bool, 1, 0 }, { "Bool", run_bool, 1, 0 },
	{ "item", run_item, 1, 0 }, { "ScalarImplicit", run_item, 1, 0 },
	{ "prim.NumToTensor", run_first, 1, 0 },
	{ "size", run_size, 1, 0 }, { "prim.shape", run_size, 1, 0 },
	{ "dim", run_about, 1, DIM }, { "prim.ndim", run_about, 1, DIM },
	{ "numel", run_about, 1, NUMEL }, { "len", run_about, 1, LEN },
	{ "prim.dtype", run_about, 1, DTYPE },
	{ "is_floating_point", run_about, 1, IS_FLOAT },
	{ "prim.requires_grad", run_true, 0, 1 },
	{ "is_grad_enabled", run_true, 0, 1 },
	{ "is_contiguous", run_true, 0, 1 },
	{ "prim.is_cuda", run_true, 0, 0 }, { "prim.is_mps", run_true, 0, 0 },
	{ "prim.is_nested", run_true, 0, 0 },
	{ "prim.is_quantized", run_true, 0, 0 },
	{ "prim.is_sparse", run_true, 0, 0 },
	{ "prim.is_mkldnn", run_true, 0, 0 },
	{ "prim.is_meta", run_true, 0, 0 },
	{ "is_complex", run_true, 0, 0 },
	{ "is_autocast_enabled", run_true, 0, 0 },
	{ "is_autocast_cpu_enabled", run_true, 0, 0 },
	{ "has_torch_function", run_true, 0, 0 },
	{ "prim.device", run_device, 0, 0 }, { "device", run_device, 0, 0 },
	{ "prim.layout", run_nothing, 0, 0 },
	{ "prim.type", run_device, 0, 0 },
	{ "warn", run_nothing, 0, 0 }, { "print", run_nothing, 0, 0 },
	{ "prim.data", run_first, 1, 0 },
	{ "_unwrap_optional", run_first, 1, 1 },
	{ "prim.unchecked_unwrap_optional", run_first, 1, 1 },
	{ "prim.RaiseException", run_raise, 1, 0 },
	{ "prim.max", run_extreme, 1, 1 }, { "prim.min", run_extreme, 1, 0 },
	{ "__range_length", run_range_length, 3, 0 },
	{ "__derive_index", run_derive_index, 3, 0 },
	{ "format", run_first, 1, 0 }, { "str", run_first, 1, 0 },
};

/* script-builtin-list.c */
int stage_ts_builtin_list(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, struct ts_value *ret);

int stage_ts_builtin(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, const char *const *keys,
	struct ts_value *ret)
{
	struct args a = { .name = name, .v = args, .n = n, .keys = keys };

	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++) {
		if (strcmp(builtins[i].name, name) != 0 ||
		    n < builtins[i].min)
			continue;
		a.how = builtins[i].how;
		return builtins[i].run(c, &a, ret);
	}
	return stage_ts_builtin_list(c, name, args, n, ret);
}
