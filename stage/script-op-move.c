/* Operators that give the same elements in another form. */
#include "config.h"

#include <string.h>

#include "stage/script-op.h"

static struct ts_val *op_same(struct ts_call *k)
{
	return stage_ts_arg(k, 0);
}

/* ---- shapes ---------------------------------------------------------------- */

/* Fills in what -1 stands for. */
static struct ts_val *view(struct ts_call *k, struct ts_val *x,
	struct ts_dim *dims, unsigned rank)
{
	struct ts_dim all, rest = stage_ts_num(1);
	int open = -1;

	if (!x || k->c->err)
		return NULL;
	all = stage_ts_product(k->c, x->t.dim, x->t.rank);
	for (unsigned i = 0; i < rank; i++) {
		if (stage_ts_is(dims[i], -1) && open < 0)
			open = (int)i;
		else if (!dims[i].sym && dims[i].n < 0)
			(void) stage_ts_fail(k->c, "a size below 0");
		else
			rest = stage_ts_mul(k->c, rest, dims[i]);
	}
	if (open >= 0) {
		dims[open] = stage_ts_div(k->c, all, rest);
		rest = stage_ts_mul(k->c, rest, dims[open]);
	}
	stage_ts_require(k->c, all, rest);
	return stage_ts_reshape(k->c, x, dims, rank);
}

static struct ts_val *op_view(struct ts_call *k)
{
	struct ts_dim dims[STAGE_RANK_MAX];
	struct ts_val *x = stage_ts_arg(k, 0);
	size_t n = stage_ts_arg_dims(k, 1, dims, STAGE_RANK_MAX);

	return view(k, x, dims, (unsigned)n);
}

static struct ts_val *op_view_as(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y = stage_ts_arg(k, 1);
	struct ts_dim dims[STAGE_RANK_MAX];

	if (!y)
		return NULL;
	memcpy(dims, y->t.dim, sizeof(dims));
	return view(k, x, dims, y->t.rank);
}

static struct ts_val *op_flatten(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim dims[STAGE_RANK_MAX];
	unsigned a, b, n = 0;

	if (!x)
		return NULL;
	a = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	b = stage_ts_axis(k->c, stage_ts_arg_int(k, 2), x->t.rank);
	if (a > b)
		(void) stage_ts_fail(k->c, "axes %u to %u", a, b);
	if (k->c->err)
		return NULL;
	for (unsigned i = 0; i < a; i++)
		dims[n++] = x->t.dim[i];
	dims[n++] = x->t.rank ? stage_ts_product(k->c, x->t.dim + a,
		b - a + 1) : stage_ts_num(1);
	for (unsigned i = b + 1; i < x->t.rank; i++)
		dims[n++] = x->t.dim[i];
	return stage_ts_reshape(k->c, x, dims, n);
}

static struct ts_val *op_unflatten(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim dims[2 * STAGE_RANK_MAX], part[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 2, part, STAGE_RANK_MAX);
	unsigned axis, rank = 0;

	if (!x)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	for (unsigned i = 0; i < x->t.rank; i++) {
		if (i != axis)
			dims[rank++] = x->t.dim[i];
		for (size_t j = 0; i == axis && j < n; j++)
			dims[rank++] = part[j];
	}
	if (rank > STAGE_RANK_MAX) {
		(void) stage_ts_fail(k->c, "more than %d dimensions",
			STAGE_RANK_MAX);
		return NULL;
	}
	return view(k, x, dims, rank);
}

static struct ts_val *op_permute(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	int64_t axes[STAGE_RANK_MAX];
	unsigned perm[STAGE_RANK_MAX], seen = 0;
	size_t n = stage_ts_arg_ints(k, 1, 0, axes, STAGE_RANK_MAX);

	if (!x || n != x->t.rank) {
		(void) stage_ts_fail(k->c, "another number of axes");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		perm[i] = stage_ts_axis(k->c, axes[i], x->t.rank);
		seen |= 1u << perm[i];
	}
	if (seen != (1u << n) - 1)
		(void) stage_ts_fail(k->c, "an axis that comes twice");
	return stage_ts_transpose(k->c, x, perm);
}

static struct ts_val *op_transpose(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x ? stage_ts_swap(k->c, x, stage_ts_axis(k->c,
		stage_ts_arg_int(k, 1), x->t.rank), stage_ts_axis(k->c,
		stage_ts_arg_int(k, 2), x->t.rank)) : NULL;
}

static struct ts_val *op_t(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (x && x->t.rank > 2)
		(void) stage_ts_fail(k->c, "of %u dimensions", x->t.rank);
	return x && x->t.rank == 2 ? stage_ts_swap(k->c, x, 0, 1) : x;
}

static struct ts_val *op_unsqueeze(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	return x ? stage_ts_unsqueeze(k->c, x, stage_ts_axis(k->c,
		stage_ts_arg_int(k, 1), x->t.rank + 1)) : NULL;
}

/* All axes of size 1, or those named that are. */
static struct ts_val *op_squeeze(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	int64_t axes[STAGE_RANK_MAX];
	bool named[STAGE_RANK_MAX] = { false }, open;
	size_t n = 0;

	if (!x)
		return NULL;
	if (k->n > 1)
		n = stage_ts_arg_ints(k, 1, 0, axes, STAGE_RANK_MAX);
	for (size_t i = 0; i < n; i++)
		named[stage_ts_axis(k->c, axes[i], x->t.rank)] = true;
	for (unsigned i = x->t.rank; i-- && !k->c->err;) {
		if (k->n > 1 && !named[i])
			continue;
		/* A size that is open is not meant, unless it is named:
		 * then Squeeze fails when it is not 1. */
		open = k->n > 1 && !stage_ts_exemplified(k->c, x->t.dim[i]);
		if (open || stage_ts_is(x->t.dim[i], 1))
			x = stage_ts_squeeze(k->c, x, i);
	}
	return k->c->err ? NULL : x;
}

static struct ts_val *op_expand(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim dims[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 1, dims, STAGE_RANK_MAX);

	if (!x || n < x->t.rank) {
		(void) stage_ts_fail(k->c, "to fewer dimensions");
		return NULL;
	}
	for (size_t i = 0; i < x->t.rank; i++)
		if (stage_ts_is(dims[n - x->t.rank + i], -1))
			dims[n - x->t.rank + i] = x->t.dim[i];
	return stage_ts_expand(k->c, x, dims, (unsigned)n);
}

static struct ts_val *op_expand_as(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y = stage_ts_arg(k, 1);

	return x && y && x->t.rank <= y->t.rank ? stage_ts_expand(k->c, x,
		y->t.dim, y->t.rank) : NULL;
}

static struct ts_val *op_repeat(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim by[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 1, by, STAGE_RANK_MAX);
	struct ts_type t;

	if (!x)
		return NULL;
	if (n < x->t.rank && !strcmp(k->op->name, "tile")) {
		memmove(&by[x->t.rank - n], by, n * sizeof(by[0]));
		for (size_t i = 0; i < x->t.rank - n; i++)
			by[i] = stage_ts_num(1);
		n = x->t.rank;
	}
	if (n < x->t.rank) {
		(void) stage_ts_fail(k->c, "of too few dimensions");
		return NULL;
	}
	while (!k->c->err && x->t.rank < n)
		x = stage_ts_unsqueeze(k->c, x, 0);
	if (k->c->err)
		return NULL;
	t = x->t;
	for (size_t i = 0; i < n; i++)
		t.dim[i] = stage_ts_mul(k->c, t.dim[i], by[i]);
	return stage_ts_op(k->c, "Tile", &t, TS_IN(x, stage_ts_dims(k->c, by,
		n)), TS_BARE);
}

static struct ts_val *op_movedim(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	unsigned perm[STAGE_RANK_MAX], from, to, n = 0;

	if (!x)
		return NULL;
	from = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	to = stage_ts_axis(k->c, stage_ts_arg_int(k, 2), x->t.rank);
	for (unsigned i = 0; i < x->t.rank; i++) {
		if (n == from)
			n++;
		perm[i] = i == to ? from : n++;
	}
	return stage_ts_transpose(k->c, x, perm);
}

/* ---- joining --------------------------------------------------------------- */

#define LIST_MAX 1024

static size_t list_of(struct ts_call *k, struct ts_val **v)
{
	size_t n = stage_ts_arg_list(k, 0, v, LIST_MAX), kept = 0;
	struct ts_value all = { .kind = TS_UNSET };
	enum stage_dtype t;

	/* torch ignores empty tensors of one dimension. */
	for (size_t i = 0; i < n; i++)
		if (n == 1 || v[i]->t.rank != 1 || !stage_ts_is(v[i]->t.dim[0],
		    0))
			v[kept++] = v[i];
	for (size_t i = 0; i < kept; i++) {
		struct ts_value x = stage_ts_tensor(k->c, v[i]);

		if (k->c->err)
			return 0;
		t = all.kind == TS_UNSET ? v[i]->t.dtype :
			stage_ts_promote(&all, &x);
		if (all.kind == TS_UNSET || t == v[i]->t.dtype)
			all = x;
	}
	for (size_t i = 0; i < kept; i++)
		v[i] = stage_ts_cast(k->c, v[i],
			all.u.tensor->val->t.dtype);
	if (!kept)
		(void) stage_ts_fail(k->c, "of nothing");
	return k->c->err ? 0 : kept;
}

static struct ts_val *op_cat(struct ts_call *k)
{
	struct ts_val *v[LIST_MAX];
	size_t n = list_of(k, v);

	return n ? stage_ts_concat(k->c, v, n, stage_ts_axis(k->c,
		stage_ts_arg_int(k, 1), v[0]->t.rank)) : NULL;
}

static struct ts_val *op_stack(struct ts_call *k)
{
	struct ts_val *v[LIST_MAX];
	size_t n = list_of(k, v);
	unsigned axis = n ? stage_ts_axis(k->c, stage_ts_arg_int(k, 1),
		v[0]->t.rank + 1) : 0;

	for (size_t i = 0; i < n && !k->c->err; i++)
		v[i] = stage_ts_unsqueeze(k->c, v[i], axis);
	return n && !k->c->err ? stage_ts_concat(k->c, v, n, axis) : NULL;
}

/* ---- cutting --------------------------------------------------------------- */

/* Where a slice begins or ends in [0, d]. */
static struct ts_dim slice_bound(struct ts_call *k, size_t at,
	struct ts_dim d, struct ts_dim dflt)
{
	struct ts_dim v;

	if (stage_ts_arg_none(k, at))
		return dflt;
	v = stage_ts_arg_dim(k, at);
	if (!v.sym && v.n > INT32_MAX)
		return d;
	if (!v.sym && v.n < 0) {
		v = stage_ts_add(k->c, d, v);
		if (v.sym && stage_ts_compare(k->c, v, TS_GE,
		    stage_ts_num(0)) != 1)
			(void) stage_ts_fixed(k->c, v);
		return !v.sym && v.n < 0 ? stage_ts_num(0) : v;
	}
	switch (stage_ts_compare(k->c, v, TS_LE, d)) {
	case 1:
		return v;
	case 0:
		return d;
	default:
		(void) stage_ts_fixed(k->c, stage_ts_sub(k->c, d, v));
		return d;
	}
}

/* self dim start end step */
static struct ts_val *op_slice(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	int64_t step = stage_ts_arg_none(k, 4) ? 1 : stage_ts_arg_int(k, 4);
	struct ts_dim from, to, d;
	struct ts_type t;
	int64_t a;

	if (!x || !x->t.rank || step < 1) {
		(void) stage_ts_fail(k->c, "with step %lld", (long long)step);
		return NULL;
	}
	a = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	d = x->t.dim[a];
	from = slice_bound(k, 2, d, stage_ts_num(0));
	to = slice_bound(k, 3, d, d);
	if (!from.sym && !to.sym && from.n > to.n)
		to = from;
	if (step == 1)
		return stage_ts_cut(k->c, x, (unsigned)a, from, to);
	t = x->t;
	t.dim[a] = stage_ts_div(k->c, stage_ts_add(k->c, stage_ts_sub(k->c,
		to, from), stage_ts_num(step - 1)), stage_ts_num(step));
	return stage_ts_op(k->c, "Slice", &t, TS_IN(x, stage_ts_dims(k->c,
		&from, 1), stage_ts_dims(k->c, &to, 1), stage_ts_numbers(k->c,
		&a, 1), stage_ts_numbers(k->c, &step, 1)), TS_BARE);
}

/* self dim start length */
static struct ts_val *op_narrow(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim from = stage_ts_arg_dim(k, 2);
	unsigned axis;

	if (!x)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	if (!from.sym && from.n < 0)
		from = stage_ts_add(k->c, x->t.dim[axis], from);
	return stage_ts_cut(k->c, x, axis, from, stage_ts_add(k->c, from,
		stage_ts_arg_dim(k, 3)));
}

static struct ts_val *select_one(struct ts *c, struct ts_val *x,
	unsigned axis, struct ts_dim i)
{
	struct ts_type t;

	if (c->err)
		return NULL;
	if (!i.sym && i.n < 0)
		i = stage_ts_add(c, x->t.dim[axis], i);
	t = x->t;
	t.rank--;
	memmove(&t.dim[axis], &t.dim[axis + 1],
		(t.rank - axis) * sizeof(t.dim[0]));
	return stage_ts_op(c, "Gather", &t, TS_IN(x, stage_ts_dim_scalar(c,
		i)), TS_AT(stage_ts_ai("axis", axis)));
}

static struct ts_val *op_select(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (!x || !x->t.rank)
		return NULL;
	return select_one(k->c, x, stage_ts_axis(k->c, stage_ts_arg_int(k, 1),
		x->t.rank), stage_ts_arg_dim(k, 2));
}

static struct ts_val *op_unbind(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *v[LIST_MAX];
	unsigned axis;
	int64_t n;

	if (!x || !x->t.rank)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank);
	n = stage_ts_fixed(k->c, x->t.dim[axis]);
	if (n > LIST_MAX)
		(void) stage_ts_fail(k->c, "into %lld", (long long)n);
	for (int64_t i = 0; i < n && !k->c->err; i++)
		v[i] = select_one(k->c, x, axis, stage_ts_num(i));
	return k->c->err ? NULL : stage_ts_returns(k, v, (size_t)n, true);
}

static struct ts_val *cut_all(struct ts_call *k, struct ts_val *x,
	unsigned axis, const struct ts_dim *sizes, size_t n)
{
	struct ts_dim from = stage_ts_num(0), to;
	struct ts_val *v[LIST_MAX];

	for (size_t i = 0; i < n && !k->c->err; i++) {
		to = stage_ts_add(k->c, from, sizes[i]);
		v[i] = stage_ts_cut(k->c, x, axis, from, to);
		from = to;
	}
	if (!k->c->err)
		stage_ts_require(k->c, from, x->t.dim[axis]);
	return k->c->err ? NULL : stage_ts_returns(k, v, n, true);
}

/* self, sizes or one size, dim */
static struct ts_val *op_split(struct ts_call *k)
{
	bool chunk = k->op->onnx[0] == 'c';
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim sizes[LIST_MAX];
	int64_t d, by;
	unsigned axis;
	size_t n = 0;

	if (!x || !x->t.rank)
		return NULL;
	axis = stage_ts_axis(k->c, stage_ts_arg_int(k, 2), x->t.rank);
	if (k->arg[1].kind == TS_LIST || k->arg[1].kind == TS_TUPLE) {
		n = stage_ts_arg_dims(k, 1, sizes, LIST_MAX);
		return k->c->err ? NULL : cut_all(k, x, axis, sizes, n);
	}
	d = stage_ts_fixed(k->c, x->t.dim[axis]);
	by = stage_ts_arg_int(k, 1);
	if (by < 1 || d < 1) {
		(void) stage_ts_fail(k->c, "%lld by %lld", (long long)d,
			(long long)by);
		return NULL;
	}
	if (chunk)
		by = (d + by - 1) / by;
	for (int64_t at = 0; at < d && n < LIST_MAX; at += by)
		sizes[n++] = stage_ts_num(d - at < by ? d - at : by);
	return k->c->err ? NULL : cut_all(k, x, axis, sizes, n);
}

#define LOOK(name, params, run) { name, params, run, "", TS_VIEW }
#define SAME(name) LOOK(name, "self:T a:?=N b:?=N c:?=N", op_same)

const struct ts_op stage_ts_ops_move[] = {
	SAME("contiguous"), SAME("detach"), SAME("alias"), SAME("cpu"),
	SAME("cuda"), SAME("identity"), SAME("positive"),
	SAME("lift_fresh"), SAME("requires_grad"),
	{ "clone", "self:T", op_same, "", TS_COPY },
	{ "lift_fresh_copy", "self:T", op_same, "", TS_COPY },
	LOOK("view", "self:T size:I", op_view),
	LOOK("reshape", "self:T shape:I", op_view),
	LOOK("_unsafe_view", "self:T size:I", op_view),
	LOOK("_reshape_alias", "self:T size:I stride:?=N", op_view),
	LOOK("view_as", "self:T other:T", op_view_as),
	LOOK("reshape_as", "self:T other:T", op_view_as),
	LOOK("flatten", "self:T start_dim:i=0 end_dim:i=-1", op_flatten),
	LOOK("unflatten", "self:T dim:i sizes:I", op_unflatten),
	LOOK("permute", "self:T dims:I", op_permute),
	LOOK("transpose", "self:T dim0:i dim1:i", op_transpose),
	LOOK("swapaxes", "self:T axis0:i axis1:i", op_transpose),
	LOOK("movedim", "self:T source:i destination:i", op_movedim),
	LOOK("t", "self:T", op_t),
	LOOK("numpy_T", "self:T", op_t),
	LOOK("unsqueeze", "self:T dim:i", op_unsqueeze),
	LOOK("squeeze", "self:T", op_squeeze),
	LOOK("squeeze", "self:T dim:I", op_squeeze),
	LOOK("expand", "self:T size:I implicit:b=F", op_expand),
	LOOK("expand_as", "self:T other:T", op_expand_as),
	{ "repeat", "self:T repeats:I", op_repeat, "", 0 },
	{ "tile", "self:T dims:I", op_repeat, "", 0 },
	{ "cat", "tensors:L dim:i=0", op_cat, "", 0 },
	{ "concat", "tensors:L dim:i=0", op_cat, "", 0 },
	{ "stack", "tensors:L dim:i=0", op_stack, "", 0 },
	LOOK("slice", "self:T dim:i=0 start:i=N end:i=N step:i=1", op_slice),
	LOOK("narrow", "self:T dim:i start:i length:i", op_narrow),
	LOOK("select", "self:T dim:i index:i", op_select),
	LOOK("unbind", "self:T dim:i=0", op_unbind),
	{ "split", "self:T split_size:I dim:i=0", op_split, "s", TS_VIEW },
	{ "split_with_sizes", "self:T split_sizes:I dim:i=0", op_split, "s",
		TS_VIEW },
	{ "chunk", "self:T chunks:i dim:i=0", op_split, "c", TS_VIEW },
	{ "unsafe_chunk", "self:T chunks:i dim:i=0", op_split, "c", 0 },
	{ "unsafe_split", "self:T split_size:I dim:i=0", op_split, "s", 0 },
	{ .name = NULL },
};
