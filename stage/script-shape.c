/* Operators that move elements and those that reduce, with the types they
 * give: what every torch operator is made of. */
#include "config.h"

#include <string.h>

#include "stage/script-op.h"

/* At most one size cannot be copied from the input or be a number: -1. */
struct ts_val *stage_ts_reshape(struct ts *c, struct ts_val *x,
	const struct ts_dim *dims, unsigned rank)
{
	struct ts_type t;
	int64_t want[STAGE_RANK_MAX];
	unsigned open = 0;
	bool same;

	if (c->err)
		return NULL;
	same = x->t.rank == rank;
	t = (struct ts_type){ .dtype = x->t.dtype, .rank = rank };
	for (unsigned i = 0; i < rank; i++) {
		t.dim[i] = dims[i];
		same = same && stage_ts_same(dims[i], x->t.dim[i]);
		if (i < x->t.rank && stage_ts_same(dims[i], x->t.dim[i]) &&
		    (dims[i].sym || !dims[i].n))
			want[i] = 0;
		else if (dims[i].sym)
			want[i] = open++ ? 0 : -1;
		else
			want[i] = dims[i].n;
		if (!dims[i].sym && !dims[i].n && want[i] != 0)
			open = 2;
	}
	if (same)
		return x;
	return stage_ts_op(c, "Reshape", &t, TS_IN(x, open > 1 ?
		stage_ts_dims(c, dims, rank) : stage_ts_numbers(c, want,
		rank)), TS_BARE);
}

struct ts_val *stage_ts_transpose(struct ts *c, struct ts_val *x,
	const unsigned *perm)
{
	int64_t p[STAGE_RANK_MAX];
	struct ts_type t;
	bool same = true;

	if (c->err)
		return NULL;
	t = x->t;
	for (unsigned i = 0; i < t.rank; i++) {
		p[i] = perm[i];
		t.dim[i] = x->t.dim[perm[i]];
		same = same && perm[i] == i;
	}
	return same ? x : stage_ts_op(c, "Transpose", &t, TS_IN(x),
		TS_AT(stage_ts_al("perm", p, t.rank)));
}

struct ts_val *stage_ts_swap(struct ts *c, struct ts_val *x, unsigned a,
	unsigned b)
{
	unsigned perm[STAGE_RANK_MAX];

	for (unsigned i = 0; i < STAGE_RANK_MAX; i++)
		perm[i] = i == a ? b : i == b ? a : i;
	return stage_ts_transpose(c, x, perm);
}

struct ts_val *stage_ts_unsqueeze(struct ts *c, struct ts_val *x,
	unsigned axis)
{
	struct ts_type t;
	int64_t a = axis;

	if (c->err)
		return NULL;
	t = x->t;
	if (t.rank == STAGE_RANK_MAX) {
		(void) stage_ts_fail(c, "more than %d dimensions",
			STAGE_RANK_MAX);
		return NULL;
	}
	memmove(&t.dim[axis + 1], &t.dim[axis],
		(t.rank - axis) * sizeof(t.dim[0]));
	t.dim[axis] = stage_ts_num(1);
	t.rank++;
	return stage_ts_op(c, "Unsqueeze", &t, TS_IN(x,
		stage_ts_numbers(c, &a, 1)), TS_BARE);
}

struct ts_val *stage_ts_squeeze(struct ts *c, struct ts_val *x, unsigned axis)
{
	struct ts_type t;
	int64_t a = axis;

	if (c->err)
		return NULL;
	t = x->t;
	t.rank--;
	memmove(&t.dim[axis], &t.dim[axis + 1],
		(t.rank - axis) * sizeof(t.dim[0]));
	return stage_ts_op(c, "Squeeze", &t, TS_IN(x,
		stage_ts_numbers(c, &a, 1)), TS_BARE);
}

struct ts_val *stage_ts_cut(struct ts *c, struct ts_val *x, unsigned axis,
	struct ts_dim from, struct ts_dim to)
{
	struct ts_type t;
	int64_t a = axis;

	if (c->err)
		return NULL;
	t = x->t;
	t.dim[axis] = stage_ts_sub(c, to, from);
	if (stage_ts_is(from, 0) && stage_ts_same(to, x->t.dim[axis]))
		return x;
	return stage_ts_op(c, "Slice", &t, TS_IN(x, stage_ts_dims(c, &from,
		1), stage_ts_dims(c, &to, 1), stage_ts_numbers(c, &a, 1)),
		TS_BARE);
}

struct ts_val *stage_ts_concat(struct ts *c, struct ts_val *const *v,
	size_t n, unsigned axis)
{
	struct ts_type t;

	if (c->err || !n)
		return NULL;
	t = v[0]->t;
	for (size_t i = 1; i < n; i++) {
		if (v[i]->t.rank != t.rank) {
			(void) stage_ts_fail(c, "tensors of %u and %u "
				"dimensions", t.rank, v[i]->t.rank);
			return NULL;
		}
		for (unsigned k = 0; k < t.rank; k++)
			if (k != axis)
				stage_ts_require(c, t.dim[k],
					v[i]->t.dim[k]);
		t.dim[axis] = stage_ts_add(c, t.dim[axis],
			v[i]->t.dim[axis]);
	}
	return n == 1 ? v[0] : stage_ts_op(c, "Concat", &t, v, n,
		TS_AT(stage_ts_ai("axis", axis)));
}

struct ts_val *stage_ts_expand(struct ts *c, struct ts_val *x,
	const struct ts_dim *dims, unsigned rank)
{
	struct ts_type t;
	bool same;

	if (c->err)
		return NULL;
	t = (struct ts_type){ .dtype = x->t.dtype, .rank = rank };
	same = x->t.rank == rank;
	for (unsigned i = 0; i < rank; i++) {
		unsigned lead = rank - x->t.rank;

		t.dim[i] = dims[i];
		if (i >= lead && !stage_ts_is(x->t.dim[i - lead], 1))
			stage_ts_require(c, x->t.dim[i - lead], dims[i]);
		same = same && stage_ts_same(dims[i], x->t.dim[i]);
	}
	return same ? x : stage_ts_op(c, "Expand", &t, TS_IN(x,
		stage_ts_dims(c, dims, rank)), TS_BARE);
}

/* As numpy's, which torch.matmul is too. */
struct ts_val *stage_ts_matmul(struct ts *c, struct ts_val *a,
	struct ts_val *b)
{
	struct ts_type t, ta, tb;
	struct ts_dim m, n;

	if (c->err)
		return NULL;
	ta = a->t;
	tb = b->t;
	if (!ta.rank || !tb.rank) {
		(void) stage_ts_fail(c, "a product with a number");
		return NULL;
	}
	stage_ts_require(c, ta.dim[ta.rank - 1], tb.dim[tb.rank > 1 ?
		tb.rank - 2 : 0]);
	m = ta.rank > 1 ? ta.dim[ta.rank - 2] : stage_ts_num(1);
	n = tb.dim[tb.rank - 1];
	t = (struct ts_type){ .dtype = ta.dtype };
	ta.rank = ta.rank > 2 ? ta.rank - 2 : 0;
	tb.rank = tb.rank > 2 ? tb.rank - 2 : 0;
	stage_ts_broadcast(c, &ta, &tb, &t);
	if (a->t.rank > 1)
		t.dim[t.rank++] = m;
	if (b->t.rank > 1)
		t.dim[t.rank++] = n;
	return stage_ts_op(c, "MatMul", &t, TS_IN(a, b), TS_BARE);
}

struct ts_val *stage_ts_reduce(struct ts *c, const char *op, struct ts_val *x,
	const int64_t *axes, size_t n, bool keep)
{
	bool gone[STAGE_RANK_MAX] = { false };
	struct stage_attr attrs[2];
	struct ts_type t;

	if (c->err)
		return NULL;
	t = (struct ts_type){ .dtype = x->t.dtype };
	for (size_t i = 0; i < n; i++)
		gone[axes[i]] = true;
	for (unsigned i = 0; i < x->t.rank; i++) {
		if (gone[i] && keep)
			t.dim[t.rank++] = stage_ts_num(1);
		else if (!gone[i])
			t.dim[t.rank++] = x->t.dim[i];
	}
	attrs[0] = stage_ts_ai("keepdims", keep);
	attrs[1] = stage_ts_al("axes", axes, n);
	if (!strcmp(op, "ReduceSum"))
		return stage_ts_op(c, op, &t, TS_IN(x, stage_ts_numbers(c,
			axes, n)), attrs, 1);
	return stage_ts_op(c, op, &t, TS_IN(x), attrs, 2);
}

struct ts_val *stage_ts_softmax(struct ts *c, const char *op,
	struct ts_val *x, unsigned axis)
{
	return c->err ? NULL : stage_ts_op(c, op, &x->t, TS_IN(x),
		TS_AT(stage_ts_ai("axis", axis)));
}

/* ---- types ----------------------------------------------------------------- */

static int category(enum stage_dtype t)
{
	return t == STAGE_BOOL ? 0 : stage_ts_is_float(t) ? 2 : 1;
}

static enum stage_dtype value_type(const struct ts_value *v, int *ret_level)
{
	*ret_level = 0;
	switch (v->kind) {
	case TS_TENSOR:
		if (v->u.tensor->val->wrapped)
			return v->u.tensor->val->t.dtype == STAGE_F64 ?
				STAGE_F32 : v->u.tensor->val->t.dtype;
		*ret_level = v->u.tensor->val->t.rank ? 2 : 1;
		return v->u.tensor->val->t.dtype;
	case TS_BOOL:
		return STAGE_BOOL;
	case TS_FLOAT:
		return STAGE_F32;
	default:
		return STAGE_I64;
	}
}

/* Of one category: the one that holds both. */
static enum stage_dtype wider(enum stage_dtype a, enum stage_dtype b)
{
	if (a == b)
		return a;
	if (stage_ts_is_float(a)) {
		if (a == STAGE_F64 || b == STAGE_F64)
			return STAGE_F64;
		return STAGE_F32;	/* f16 and bf16 too */
	}
	if (stage_dtype_size(a) == stage_dtype_size(b))
		return STAGE_I16;	/* u8 and i8 */
	return stage_dtype_size(a) > stage_dtype_size(b) ? a : b;
}

/* A tensor with dimensions counts more than one without, and that more than
 * a number, within a category. */
enum stage_dtype stage_ts_promote(const struct ts_value *a,
	const struct ts_value *b)
{
	int la, lb;
	enum stage_dtype ta = value_type(a, &la), tb = value_type(b, &lb);

	if (category(ta) != category(tb))
		return category(ta) > category(tb) ? ta : tb;
	return la == lb ? wider(ta, tb) : la > lb ? ta : tb;
}

void stage_ts_settle(struct ts *c, struct ts_val *x, enum stage_dtype t,
	unsigned rank)
{
	struct ts_port *port;

	if (c->err || x->origin != TS_INPUT || x->t.dtype)
		return;
	port = &c->a->ports[x->input];
	port->dtype = t;
	if (!port->ranked) {
		port->ranked = true;
		port->rank = rank;
	}
	x->t.dtype = t;
	x->t.rank = port->rank;
	for (unsigned i = 0; i < port->rank; i++)
		x->t.dim[i] = stage_ts_size(c, x->input, i);
}
