/* New tensors, and other types of elements. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

#define COUNT_MAX 65536		/* elements of a constant that is made here */

/* ---- types ----------------------------------------------------------------- */

static enum stage_dtype type_of(struct ts_call *k, size_t at,
	enum stage_dtype dflt)
{
	return stage_ts_arg_none(k, at) ? dflt : stage_ts_dtype(k->c,
		stage_ts_arg_int(k, at));
}

static struct ts_val *op_to_named(struct ts_call *k)
{
	static const struct {
		const char *name;
		enum stage_dtype to;
	} names[] = { { "float", STAGE_F32 }, { "double", STAGE_F64 },
		{ "half", STAGE_F16 }, { "long", STAGE_I64 },
		{ "int", STAGE_I32 }, { "bool", STAGE_BOOL } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(k->op->onnx, names[i].name))
			return stage_ts_cast(k->c, stage_ts_arg(k, 0),
				names[i].to);
	return stage_ts_arg(k, 0);
}

/* Of dtype in argument 1, or of the other's type. */
static struct ts_val *op_to(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y;

	if (!x)
		return NULL;
	if (k->arg[1].kind == TS_TENSOR) {
		y = stage_ts_arg(k, 1);
		return y ? stage_ts_cast(k->c, x, y->t.dtype) : NULL;
	}
	return stage_ts_cast(k->c, x, type_of(k, 1, x->t.dtype));
}

/* to(device, dtype): the device is a string here. */
static struct ts_val *op_to_device(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x ? stage_ts_cast(k->c, x, type_of(k, 2, x->t.dtype)) : NULL;
}

/* ---- filled ---------------------------------------------------------------- */

static struct ts_val *filled(struct ts_call *k, const struct ts_dim *dims,
	size_t n, enum stage_dtype t, const struct ts_value *v)
{
	return k->c->err ? NULL : stage_ts_expand(k->c, stage_ts_operand(k->c,
		v, t), dims, (unsigned)n);
}

static struct ts_value constant(const struct ts_call *k)
{
	return (struct ts_value){ .kind = TS_INT,
		.u.i = k->op->onnx[0] == '1' };
}

/* size dtype */
static struct ts_val *op_fill(struct ts_call *k)
{
	struct ts_dim dims[STAGE_RANK_MAX];
	struct ts_value v = constant(k);
	size_t n = stage_ts_arg_dims(k, 0, dims, STAGE_RANK_MAX);

	return filled(k, dims, n, type_of(k, 1, STAGE_F32), &v);
}

static enum stage_dtype natural(const struct ts_value *v)
{
	return v->kind == TS_FLOAT ? STAGE_F32 : v->kind == TS_BOOL ?
		STAGE_BOOL : v->kind == TS_TENSOR ?
		v->u.tensor->val->t.dtype : STAGE_I64;
}

/* size fill_value dtype */
static struct ts_val *op_full(struct ts_call *k)
{
	struct ts_dim dims[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 0, dims, STAGE_RANK_MAX);

	return filled(k, dims, n, type_of(k, 2, natural(&k->arg[1])),
		&k->arg[1]);
}

/* self dtype */
static struct ts_val *op_like(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_value v = constant(k);

	return x ? filled(k, x->t.dim, x->t.rank, type_of(k, 1, x->t.dtype),
		&v) : NULL;
}

static struct ts_val *op_full_like(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x ? filled(k, x->t.dim, x->t.rank, type_of(k, 2, x->t.dtype),
		&k->arg[1]) : NULL;
}

/* self size dtype */
static struct ts_val *op_new(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim dims[STAGE_RANK_MAX];
	struct ts_value v = constant(k);
	size_t n = stage_ts_arg_dims(k, 1, dims, STAGE_RANK_MAX);

	return x ? filled(k, dims, n, type_of(k, 2, x->t.dtype), &v) : NULL;
}

/* self size fill_value dtype */
static struct ts_val *op_new_full(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim dims[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 1, dims, STAGE_RANK_MAX);

	return x ? filled(k, dims, n, type_of(k, 3, x->t.dtype), &k->arg[2]) :
		NULL;
}

/* fill_(self, value) */
static struct ts_val *op_fill_self(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_value v = constant(k);

	return x ? filled(k, x->t.dim, x->t.rank, x->t.dtype, k->n > 1 ?
		&k->arg[1] : &v) : NULL;
}

/* A number, or a list of them. */
static struct ts_val *op_tensor(struct ts_call *k)
{
	const struct ts_value *v = &k->arg[0];
	struct ts_val *items[64];
	enum stage_dtype t = type_of(k, 1, 0);

	if (v->kind != TS_LIST && v->kind != TS_TUPLE)
		return stage_ts_operand(k->c, v, t ? t : natural(v));
	if (!v->u.list->n || v->u.list->n > 64) {
		(void) stage_ts_fail(k->c, "of %zu items", v->u.list->n);
		return NULL;
	}
	for (size_t i = 0; i < v->u.list->n && !t; i++)
		if (v->u.list->v[i].kind == TS_FLOAT)
			t = STAGE_F32;
	if (!t)
		t = natural(&v->u.list->v[0]);
	for (size_t i = 0; i < v->u.list->n && !k->c->err; i++) {
		items[i] = stage_ts_operand(k->c, &v->u.list->v[i], t);
		if (items[i])
			items[i] = stage_ts_unsqueeze(k->c, items[i], 0);
	}
	return k->c->err ? NULL : stage_ts_concat(k->c, items, v->u.list->n,
		0);
}

/* ---- ranges ---------------------------------------------------------------- */

static struct ts_val *range(struct ts_call *k, const struct ts_value *from,
	const struct ts_value *to, const struct ts_value *by,
	enum stage_dtype t)
{
	struct ts_type type = { .rank = 1 };
	struct ts_dim a, b, s;
	struct ts_val *v;

	if (!stage_ts_to_dim(from, &a) || !stage_ts_to_dim(to, &b) ||
	    !stage_ts_to_dim(by, &s) || s.sym || !s.n) {
		(void) stage_ts_fail(k->c, "of numbers that are no integers");
		return NULL;
	}
	if (s.n < 0)
		type.dim[0] = stage_ts_div(k->c, stage_ts_add(k->c,
			stage_ts_sub(k->c, a, b), stage_ts_num(-s.n - 1)),
			stage_ts_num(-s.n));
	else
		type.dim[0] = stage_ts_div(k->c, stage_ts_add(k->c,
			stage_ts_sub(k->c, b, a), stage_ts_num(s.n - 1)), s);
	if (!type.dim[0].sym && type.dim[0].n < 0)
		type.dim[0] = stage_ts_num(0);
	type.dtype = STAGE_I64;
	v = stage_ts_op(k->c, "Range", &type, TS_IN(stage_ts_dim_scalar(k->c,
		a), stage_ts_dim_scalar(k->c, b), stage_ts_dim_scalar(k->c,
		s)), TS_BARE);
	return stage_ts_cast(k->c, v, t);
}

static const struct ts_value zero = { .kind = TS_INT, .u.i = 0 };
static const struct ts_value one = { .kind = TS_INT, .u.i = 1 };

static struct ts_val *op_arange_end(struct ts_call *k)
{
	return range(k, &zero, &k->arg[0], &one, type_of(k, 1, STAGE_I64));
}

static struct ts_val *op_arange(struct ts_call *k)
{
	return range(k, &k->arg[0], &k->arg[1], &one, type_of(k, 2,
		STAGE_I64));
}

static struct ts_val *op_arange_step(struct ts_call *k)
{
	return range(k, &k->arg[0], &k->arg[1], &k->arg[2], type_of(k, 3,
		STAGE_I64));
}

/* start end steps dtype */
static struct ts_val *op_linspace(struct ts_call *k)
{
	double a = stage_ts_arg_num(k, 0), b = stage_ts_arg_num(k, 1);
	int64_t n = stage_ts_arg_int(k, 2);
	uint64_t dims[1] = { (uint64_t)n };
	uint8_t *data;

	if (n < 1 || n > COUNT_MAX || type_of(k, 3, STAGE_F32) != STAGE_F32) {
		(void) stage_ts_fail(k->c, "of %lld steps", (long long)n);
		return NULL;
	}
	data = stage_arena_alloc(&k->c->arena, (size_t)n * 4);
	for (int64_t i = 0; data && i < n; i++) {
		float step = n > 1 ? ((float)b - (float)a) / (float)(n - 1) :
			0;
		float f = i < n / 2 ? (float)a + step * (float)i :
			(float)b - step * (float)(n - 1 - i);
		uint32_t bits;

		memcpy(&bits, &f, sizeof(bits));
		for (int j = 0; j < 4; j++)
			data[4 * i + j] = (uint8_t)(bits >> (8 * j));
	}
	return data ? stage_ts_const(k->c, STAGE_F32, dims, 1, data,
		(size_t)n * 4) : NULL;
}

/* ---- triangles ------------------------------------------------------------- */

/* Element (i, j) stays where j - i <= diagonal (tril), or >= (triu). */
static struct ts_val *op_triangle(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *i, *j, *keep;
	struct ts_value h, w;
	struct ts_type t;

	if (!x || x->t.rank < 2)
		return NULL;
	h = stage_ts_of_dim(x->t.dim[x->t.rank - 2]);
	w = stage_ts_of_dim(x->t.dim[x->t.rank - 1]);
	i = range(k, &zero, &h, &one, STAGE_I64);
	i = stage_ts_two(k->c, "Add", i, stage_ts_scalar(k->c, STAGE_I64,
		(double)stage_ts_arg_int(k, 1)));
	i = i ? stage_ts_unsqueeze(k->c, i, 1) : NULL;
	j = range(k, &zero, &w, &one, STAGE_I64);
	keep = stage_ts_two(k->c, k->op->onnx, j, i);
	if (!keep)
		return NULL;
	keep->t.dtype = STAGE_BOOL;
	t = x->t;
	return stage_ts_op(k->c, "Where", &t, TS_IN(keep, x,
		stage_ts_scalar_like(k->c, x, 0)), TS_BARE);
}

#define LIKE "self:T dtype:i=N"
#define NEW "self:T size:I dtype:i=N"
#define FLAGS " non_blocking:b=F copy:b=F memory_format:?=N"
#define AS(name, to) { name, "self:T a:?=N", op_to_named, to, TS_VIEW }

const struct ts_op stage_ts_ops_make[] = {
	{ "to", "self:T dtype:i" FLAGS, op_to, "", TS_VIEW },
	{ "to", "self:T other:T" FLAGS, op_to, "", TS_VIEW },
	{ "to", "self:T device:s dtype:i=N" FLAGS, op_to_device, "",
		TS_VIEW },
	{ "to", "self:T dtype:i=N layout:?=N device:?=N pin_memory:?=N" FLAGS,
		op_to, "", TS_VIEW },
	{ "_to_copy", LIKE, op_to, "", 0 },
	{ "type_as", "self:T other:T", op_to, "", TS_VIEW },
	AS("float", "float"), AS("double", "double"), AS("half", "half"),
	AS("long", "long"), AS("int", "int"), AS("bool", "bool"),
	{ "zeros", "size:I dtype:i=N", op_fill, "0", 0 },
	{ "ones", "size:I dtype:i=N", op_fill, "1", 0 },
	{ "full", "size:I fill_value:? dtype:i=N", op_full, "", 0 },
	{ "zeros_like", LIKE, op_like, "0", 0 },
	{ "ones_like", LIKE, op_like, "1", 0 },
	{ "full_like", "self:T fill_value:? dtype:i=N", op_full_like, "", 0 },
	{ "new_zeros", NEW, op_new, "0", 0 },
	{ "new_ones", NEW, op_new, "1", 0 },
	{ "new_full", "self:T size:I fill_value:? dtype:i=N", op_new_full, "",
		0 },
	{ "fill", "self:T value:?", op_fill_self, "", 0 },
	{ "zero", "self:T", op_fill_self, "0", 0 },
	{ "tensor", "data:? dtype:i=N", op_tensor, "", 0 },
	{ "as_tensor", "data:? dtype:i=N", op_tensor, "", 0 },
	{ "scalar_tensor", "s:d dtype:i=N", op_tensor, "", 0 },
	{ "arange", "end:d dtype:i=N layout:?=N device:?=N pin_memory:?=N",
		op_arange_end, "", 0 },
	{ "arange", "start:d end:d dtype:i=N layout:?=N device:?=N "
		"pin_memory:?=N", op_arange, "", 0 },
	{ "arange", "start:d end:d step:d dtype:i=N layout:?=N device:?=N "
		"pin_memory:?=N", op_arange_step, "", 0 },
	{ "linspace", "start:d end:d steps:i dtype:i=N", op_linspace, "", 0 },
	{ "tril", "self:T diagonal:i=0", op_triangle, "LessOrEqual", 0 },
	{ "triu", "self:T diagonal:i=0", op_triangle, "GreaterOrEqual", 0 },
	{ .name = NULL },
};
