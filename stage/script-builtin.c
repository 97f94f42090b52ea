/*
 * Functions of numbers, strings and lists. A function that may also be one of
 * tensors answers TS_NOT_MINE when it sees one; then script-ops.c is asked.
 */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-builtin.h"

/* ---- numbers of tensors ---------------------------------------------------- */

static int run_int(struct ts *c, const struct ts_args *a, struct ts_value *ret)
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

static int run_float(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	double f;

	if (ts_is_number(&a->v[0]))
		f = stage_ts_as_float(c, &a->v[0]);
	else if (a->v[0].kind == TS_STR)
		f = !strcmp(a->v[0].u.s, "inf") ? (double)INFINITY :
			!strcmp(a->v[0].u.s, "-inf") ? -(double)INFINITY :
			(double)NAN;
	else if (a->v[0].kind != TS_TENSOR ||
	    !stage_ts_known(a->v[0].u.tensor->val, 0, &f))
		return stage_ts_fail(c, "a number is taken out of a tensor");
	ts_set_float(ret, f);
	return c->err;
}

static int run_bool(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	bool yes = false, sure;
	int r = stage_ts_truth(c, &a->v[0], &yes, &sure);

	ts_set_bool(ret, yes);
	if (!r && !sure)
		*ret = a->v[0];
	if (!r && !sure && ret->kind == TS_TENSOR)
		*ret = stage_ts_tensor(c, stage_ts_condition(c, ret));
	return r ? r : c->err;
}

/* item(), Scalar: a number if it is known, else the tensor. */
static int run_item(struct ts *c, const struct ts_args *a, struct ts_value *ret)
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
		ts_set_float(ret, f);
	else
		*ret = stage_ts_of_dim(stage_ts_num((int64_t)f));
	return 0;
}

static int run_size(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	struct ts_call k = { .c = c, .arg = { a->v[0] }, .n = 1 };
	struct ts_val *x = a->v[0].kind == TS_TENSOR ? stage_ts_arg(&k, 0) :
		NULL;
	struct ts_list *l;
	struct ts_dim d;

	if (!x)
		return c->err ? c->err : ts_is_number(&a->v[0]) && a->n == 1 ?
			(*ret = (struct ts_value){ .kind = TS_LIST,
			.u.list = stage_ts_list(c, 0) }, c->err) : TS_NOT_MINE;
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

static int run_about(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	struct ts_call k = { .c = c, .arg = { a->v[0] }, .n = 1 };
	struct ts_dim d = stage_ts_num(0);
	struct ts_val *x;

	if (a->how == LEN && (ts_is_list(&a->v[0]) || a->v[0].kind == TS_DICT))
		d = stage_ts_num((int64_t)(a->v[0].u.list->n /
			(a->v[0].kind == TS_DICT ? 2 : 1)));
	else if (a->how == LEN && a->v[0].kind == TS_STR)
		d = stage_ts_num((int64_t)strlen(a->v[0].u.s));
	else if (ts_is_number(&a->v[0]))
		d = stage_ts_num(a->how == NUMEL ? 1 : a->how != DTYPE ? 0 :
			a->v[0].kind == TS_FLOAT ? 6 : 4);
	else if (a->v[0].kind != TS_TENSOR)
		return TS_NOT_MINE;
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
		ts_set_bool(ret, d.n != 0);
	return c->err;
}

/* ---- what has one answer --------------------------------------------------- */

static int run_true(struct ts *c, const struct ts_args *a, struct ts_value *ret)
{
	(void) c;
	ts_set_bool(ret, a->how);
	return 0;
}

static int run_first(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	if (a->v[0].kind == TS_NONE && a->how)
		return stage_ts_fail(c, "None where a value is needed");
	*ret = a->v[0];
	return 0;
}

static int run_nothing(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	(void) c;
	(void) a;
	*ret = (struct ts_value){ .kind = TS_NONE };
	return 0;
}

static int run_device(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	(void) c;
	(void) a;
	*ret = (struct ts_value){ .kind = TS_STR, .u.s = "cpu" };
	return 0;
}

static int run_raise(struct ts *c, const struct ts_args *a,
	struct ts_value *ret)
{
	(void) ret;
	return stage_ts_fail(c, "the program raises \"%s\"",
		a->v[0].kind == TS_STR ? a->v[0].u.s : "");
}

static const struct ts_builtin builtins[] = {
	{ "int", run_int, 1, 0 }, { "Int", run_int, 1, 0 },
	{ "IntImplicit", run_int, 1, 0 }, { "float", run_float, 1, 0 },
	{ "Float", run_float, 1, 0 }, { "FloatImplicit", run_float, 1, 0 },
	{ "bool", run_bool, 1, 0 }, { "Bool", run_bool, 1, 0 },
	{ "item", run_item, 1, 0 }, { "ScalarImplicit", run_item, 1, 0 },
	{ "prim.NumToTensor", run_first, 1, 0 }, { "size", run_size, 1, 0 },
	{ "prim.shape", run_size, 1, 0 }, { "dim", run_about, 1, DIM },
	{ "prim.ndim", run_about, 1, DIM }, { "numel", run_about, 1, NUMEL },
	{ "len", run_about, 1, LEN }, { "prim.dtype", run_about, 1, DTYPE },
	{ "is_floating_point", run_about, 1, IS_FLOAT },
	{ "prim.requires_grad", run_true, 0, 1 },
	{ "is_grad_enabled", run_true, 0, 1 },
	{ "is_contiguous", run_true, 0, 1 }, { "prim.is_cuda", run_true, 0, 0 },
	{ "prim.is_mps", run_true, 0, 0 }, { "prim.is_nested", run_true, 0, 0 },
	{ "prim.is_quantized", run_true, 0, 0 },
	{ "prim.is_sparse", run_true, 0, 0 },
	{ "prim.is_mkldnn", run_true, 0, 0 },
	{ "prim.is_meta", run_true, 0, 0 }, { "is_complex", run_true, 0, 0 },
	{ "is_autocast_enabled", run_true, 0, 0 },
	{ "is_autocast_cpu_enabled", run_true, 0, 0 },
	{ "has_torch_function", run_true, 0, 0 },
	{ "prim.device", run_device, 0, 0 }, { "device", run_device, 0, 0 },
	{ "prim.layout", run_nothing, 0, 0 }, { "prim.type", run_device, 0, 0 },
	{ "warn", run_nothing, 0, 0 }, { "print", run_nothing, 0, 0 },
	{ "prim.data", run_first, 1, 0 },
	{ "_unwrap_optional", run_first, 1, 1 },
	{ "prim.unchecked_unwrap_optional", run_first, 1, 1 },
	{ "prim.RaiseException", run_raise, 1, 0 },
	{ "format", run_first, 1, 0 }, { "str", run_first, 1, 0 },
	{ .name = NULL },
};

int stage_ts_builtin(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, const char *const *keys,
	struct ts_value *ret)
{
	static const struct ts_builtin *const tables[] = { builtins,
		stage_ts_builtins_number, stage_ts_builtins_compare };
	struct ts_args a = { .name = name, .v = args, .n = n, .keys = keys };

	for (size_t i = 0; i < 3; i++) {
		for (const struct ts_builtin *b = tables[i]; b->name; b++) {
			if (strcmp(b->name, name) != 0 || n < b->min)
				continue;
			a.how = b->how;
			return b->run(c, &a, ret);
		}
	}
	return stage_ts_builtin_list(c, name, args, n, ret);
}
