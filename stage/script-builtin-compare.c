/*
 * What is so: comparisons, their logic, and the largest of numbers.
 */
#include "config.h"

#include <string.h>

#include "stage/script-builtin.h"

static int set_compare(struct ts *c, struct ts_dim x, enum ts_rel rel,
	struct ts_dim y, struct ts_value *ret)
{
	int known = stage_ts_compare(c, x, rel, y);

	ts_set_bool(ret, known == 1);
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
		return TS_NOT_MINE;
	if (ts_is_number(x) && ts_is_number(y)) {
		if (stage_ts_to_dim(x, &dx) && stage_ts_to_dim(y, &dy))
			return set_compare(c, dx, rel, dy, ret);
		ts_set_bool(ret, float_compare(stage_ts_as_float(c, x), rel,
			stage_ts_as_float(c, y)));
		return c->err;
	}
	if (rel != TS_EQ && rel != TS_NE)
		return TS_NOT_MINE;
	if (x->kind == TS_STR && y->kind == TS_STR) {
		same = !strcmp(x->u.s, y->u.s);
	} else if (ts_is_list(x) && ts_is_list(y)) {
		r = list_compare(c, x, y, depth, &same);
		if (r)
			return r;
	} else {
		same = x->kind == y->kind && x->kind == TS_NONE;
	}
	ts_set_bool(ret, same == (rel == TS_EQ));
	return 0;
}

static int run_compare(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	return compare(c, &a->v[0], (enum ts_rel)a->how, &a->v[1], 0, ret);
}

static int run_is(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	const struct ts_value *x = &a->v[0], *y = &a->v[1];
	bool same = x->kind == y->kind;

	(void) c;
	if (same && x->kind == TS_TENSOR)
		same = x->u.tensor == y->u.tensor;
	else if (same && x->kind == TS_OBJECT)
		same = x->u.object == y->u.object;
	else if (same && (ts_is_list(x) || x->kind == TS_DICT))
		same = x->u.list == y->u.list;
	ts_set_bool(ret, same == !a->how);
	return 0;
}

static int run_not(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	static const enum ts_rel other[] = { [TS_EQ] = TS_NE,
		[TS_NE] = TS_EQ, [TS_LT] = TS_GE, [TS_LE] = TS_GT,
		[TS_GT] = TS_LE, [TS_GE] = TS_LT };
	bool yes = false, sure;
	struct ts_val *x;
	int r = stage_ts_truth(c, &a->v[0], &yes, &sure);

	ts_set_bool(ret, !yes);
	if (!r && !sure && a->v[0].kind == TS_TENSOR) {
		x = stage_ts_condition(c, &a->v[0]);
		*ret = stage_ts_tensor(c, x ? stage_ts_same_op(c, "Not", x) :
			NULL);
		return c->err;
	}
	if (!r && !sure) {
		*ret = a->v[0];
		ret->rel = a->v[0].kind == TS_SYM ? TS_EQ :
			other[a->v[0].rel];
		ret->kind = TS_UNSURE;
	}
	return r;
}

static int run_logic(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	bool is_or = a->how != 0;

	for (size_t i = 0; i < 2; i++)
		if (a->v[i].kind != TS_BOOL && a->v[i].kind != TS_UNSURE)
			return TS_NOT_MINE;
	for (size_t i = 0; i < 2; i++) {
		if (a->v[i].kind != TS_BOOL)
			continue;
		*ret = a->v[i].u.b == is_or ? a->v[i] : a->v[!i];
		return 0;
	}
	return stage_ts_fail(c, "two comparisons of sizes that are not known");
}

static int run_extreme(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	const struct ts_value *v = a->v;
	size_t n = a->n, best = 0;

	if (n == 1 && ts_is_list(v)) {
		n = v->u.list->n;
		v = v->u.list->v;
	}
	for (size_t i = 0; i < n; i++) {
		struct ts_value less = { .kind = TS_UNSET };
		int r;

		if (!ts_is_number(&v[i]))
			return TS_NOT_MINE;
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
		return TS_NOT_MINE;
	*ret = v[best];
	return 0;
}

const struct ts_builtin stage_ts_builtins_compare[] = {
	{ "eq", run_compare, 2, TS_EQ }, { "ne", run_compare, 2, TS_NE },
	{ "lt", run_compare, 2, TS_LT }, { "le", run_compare, 2, TS_LE },
	{ "gt", run_compare, 2, TS_GT }, { "ge", run_compare, 2, TS_GE },
	{ "__is__", run_is, 2, 0 }, { "__isnot__", run_is, 2, 1 },
	{ "__not__", run_not, 1, 0 }, { "__and__", run_logic, 2, 0 },
	{ "__or__", run_logic, 2, 1 }, { "prim.max", run_extreme, 1, 1 },
	{ "prim.min", run_extreme, 1, 0 },
	{ .name = NULL },
};
