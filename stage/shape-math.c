/* Rules of the operators that compute: element-wise, products, reductions. */
#include "config.h"

#include <string.h>

#include "stage/shape.h"

static int wrong_type(struct stage_infer *x, size_t i)
{
	char text[160];

	stage_type_text(x->in[i], text, sizeof(text));
	return stage_infer_fail(x, "input %zu cannot be %s", i + 1, text);
}

int stage_rule_same(struct stage_infer *x)
{
	if (!stage_types_has((enum stage_rule_types)x->op->arg,
	    x->in[0]->dtype))
		return wrong_type(x, 0);
	*x->out = *x->in[0];
	if (strcmp(x->op->name, "Identity") != 0)
		x->out->known = NULL;
	return 0;
}

/* Two numbers known: the result is too. */
static int fold(struct stage_infer *x)
{
	const struct stage_type *a = x->in[0], *b = x->in[1];
	struct stage_dim v = { 0, NULL };
	bool bad;

	if (!a->known || !b->known || a->n_known != 1 || b->n_known != 1 ||
	    a->known->symbol || b->known->symbol)
		return 0;
	if (!strcmp(x->op->name, "Add"))
		bad = __builtin_add_overflow(a->known->size, b->known->size,
			&v.size);
	else if (!strcmp(x->op->name, "Sub"))
		bad = __builtin_sub_overflow(a->known->size, b->known->size,
			&v.size);
	else if (!strcmp(x->op->name, "Mul"))
		bad = __builtin_mul_overflow(a->known->size, b->known->size,
			&v.size);
	else
		return 0;
	return bad ? 0 : stage_infer_known(x, x->out, &v, 1);
}

int stage_rule_binary(struct stage_infer *x)
{
	int r;

	if (!stage_types_has(STAGE_TYPES_NUMBER, x->in[0]->dtype))
		return wrong_type(x, 0);
	if (x->in[0]->dtype != x->in[1]->dtype)
		return wrong_type(x, 1);
	x->out->dtype = x->in[0]->dtype;
	r = stage_infer_broadcast(x, x->in[0], x->in[1], x->out);
	return r ? r : fold(x);
}

int stage_rule_compare(struct stage_infer *x)
{
	if (!stage_types_has((enum stage_rule_types)x->op->arg,
	    x->in[0]->dtype))
		return wrong_type(x, 0);
	if (x->in[0]->dtype != x->in[1]->dtype)
		return wrong_type(x, 1);
	x->out->dtype = STAGE_BOOL;
	return stage_infer_broadcast(x, x->in[0], x->in[1], x->out);
}

int stage_rule_where(struct stage_infer *x)
{
	struct stage_type both = { .dtype = x->in[1]->dtype };
	int r;

	if (x->in[0]->dtype != STAGE_BOOL)
		return wrong_type(x, 0);
	if (x->in[1]->dtype != x->in[2]->dtype)
		return wrong_type(x, 2);
	r = stage_infer_broadcast(x, x->in[1], x->in[2], &both);
	if (r)
		return r;
	x->out->dtype = both.dtype;
	return stage_infer_broadcast(x, x->in[0], &both, x->out);
}

int stage_rule_cast(struct stage_infer *x)
{
	int64_t to = stage_infer_int(x, "to", 0);

	*x->out = *x->in[0];
	if (to != STAGE_F32 && to != STAGE_I64 && to != STAGE_I32 &&
	    to != STAGE_BOOL)
		return stage_infer_fail(x, "to %lld is not supported",
			(long long)to);
	x->out->dtype = (enum stage_dtype)to;
	if (to != STAGE_I64)
		x->out->known = NULL;
	return 0;
}

int stage_rule_clip(struct stage_infer *x)
{
	if (!stage_types_has(STAGE_TYPES_NUMBER, x->in[0]->dtype))
		return wrong_type(x, 0);
	for (size_t i = 1; i < x->n_in; i++)
		if (x->in[i] && (x->in[i]->rank ||
		    x->in[i]->dtype != x->in[0]->dtype))
			return wrong_type(x, i);
	*x->out = *x->in[0];
	x->out->known = NULL;
	return 0;
}

static int no_product(struct stage_infer *x)
{
	char ta[160], tb[160];

	stage_type_text(x->in[0], ta, sizeof(ta));
	stage_type_text(x->in[1], tb, sizeof(tb));
	return stage_infer_fail(x, "%s times %s", ta, tb);
}

int stage_rule_matmul(struct stage_infer *x)
{
	const struct stage_type *a = x->in[0], *b = x->in[1];
	struct stage_type ba, bb;
	int r;

	if (a->rank < 2 || b->rank < 2 || a->dtype != b->dtype ||
	    !stage_types_has(STAGE_TYPES_FLOAT, a->dtype) ||
	    !stage_dim_same(&a->dim[a->rank - 1], &b->dim[b->rank - 2]))
		return no_product(x);
	ba = *a;
	bb = *b;
	ba.rank -= 2;
	bb.rank -= 2;
	x->out->dtype = a->dtype;
	r = stage_infer_broadcast(x, &ba, &bb, x->out);
	if (r)
		return r;
	x->out->dim[x->out->rank++] = a->dim[a->rank - 2];
	x->out->dim[x->out->rank++] = b->dim[b->rank - 1];
	return 0;
}

int stage_rule_gemm(struct stage_infer *x)
{
	const struct stage_type *a = x->in[0], *b = x->in[1];
	const struct stage_type *c = x->n_in > 2 ? x->in[2] : NULL;
	bool ta = stage_infer_int(x, "transA", 0) != 0;
	bool tb = stage_infer_int(x, "transB", 0) != 0;
	struct stage_type sum = { 0 };
	int r;

	if (a->rank != 2 || b->rank != 2 || a->dtype != b->dtype ||
	    !stage_types_has(STAGE_TYPES_FLOAT, a->dtype) ||
	    !stage_dim_same(&a->dim[!ta], &b->dim[tb]))
		return no_product(x);
	x->out->dtype = a->dtype;
	x->out->rank = 2;
	x->out->dim[0] = a->dim[ta];
	x->out->dim[1] = b->dim[!tb];
	if (!c)
		return 0;
	if (c->dtype != a->dtype)
		return wrong_type(x, 2);
	r = stage_infer_broadcast(x, x->out, c, &sum);
	if (r)
		return r;
	for (unsigned i = 0; i < 2; i++)
		if (sum.rank != 2 ||
		    !stage_dim_same(&sum.dim[i], &x->out->dim[i]))
			return wrong_type(x, 2);
	return 0;
}

int stage_rule_axis(struct stage_infer *x)
{
	unsigned axis;

	if (!stage_types_has(STAGE_TYPES_FLOAT, x->in[0]->dtype))
		return wrong_type(x, 0);
	*x->out = *x->in[0];
	return stage_infer_axis(x, "axis", -1, x->in[0]->rank, &axis);
}

/* Which axes; ReduceSum takes them as input, the others as attribute. */
static int reduce_axes(struct stage_infer *x, bool *ret)
{
	const struct stage_attr *attr = stage_infer_attr(x, "axes");
	int64_t axes[STAGE_RANK_MAX];
	size_t n = 0;
	unsigned axis;
	int r = 0;

	if (x->op->arg && x->n_in > 1 && x->in[1]) {
		r = stage_infer_numbers(x, 1, axes, STAGE_RANK_MAX, &n);
	} else if (attr && attr->n <= STAGE_RANK_MAX) {
		n = attr->n;
		memcpy(axes, attr->ints, n * sizeof(axes[0]));
	}
	if (!r && !n)
		r = stage_infer_fail(x, "needs axes");
	for (size_t i = 0; i < n && !r; i++) {
		r = stage_infer_wrap(x, axes[i], x->in[0]->rank, &axis);
		if (!r)
			ret[axis] = true;
	}
	return r;
}

int stage_rule_reduce(struct stage_infer *x)
{
	bool gone[STAGE_RANK_MAX] = { false };
	bool keep = stage_infer_int(x, "keepdims", 1) != 0;
	const struct stage_type *t = x->in[0];
	int r;

	if (!stage_types_has(STAGE_TYPES_NUMBER, t->dtype))
		return wrong_type(x, 0);
	r = reduce_axes(x, gone);
	if (r)
		return r;
	x->out->dtype = t->dtype;
	for (unsigned i = 0; i < t->rank; i++) {
		if (!gone[i])
			x->out->dim[x->out->rank++] = t->dim[i];
		else if (keep)
			x->out->dim[x->out->rank++] = (struct stage_dim){ 1,
				NULL };
	}
	return 0;
}

int stage_rule_cumsum(struct stage_infer *x)
{
	int64_t axis;
	unsigned at;
	size_t n;
	int r;

	if (!stage_types_has(STAGE_TYPES_NUMBER, x->in[0]->dtype))
		return wrong_type(x, 0);
	r = stage_infer_numbers(x, 1, &axis, 1, &n);
	if (!r && n != 1)
		r = wrong_type(x, 1);
	if (!r)
		r = stage_infer_wrap(x, axis, x->in[0]->rank, &at);
	*x->out = *x->in[0];
	x->out->known = NULL;
	return r;
}

int stage_rule_layer_norm(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	unsigned axis;
	int r;

	if (!stage_types_has(STAGE_TYPES_FLOAT, t->dtype))
		return wrong_type(x, 0);
	r = stage_infer_axis(x, "axis", -1, t->rank, &axis);
	if (r)
		return r;
	for (size_t i = 1; i < x->n_in; i++) {
		const struct stage_type *w = x->in[i];

		if (!w)
			continue;
		if (w->dtype != t->dtype || w->rank != t->rank - axis)
			return wrong_type(x, i);
		for (unsigned k = 0; k < w->rank; k++)
			if (!stage_dim_same(&w->dim[k], &t->dim[axis + k]))
				return wrong_type(x, i);
	}
	*x->out = *t;
	return 0;
}
