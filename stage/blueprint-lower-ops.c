/*
 * Operators that the importers of blueprint-lower.c read otherwise than ONNX
 * means them, or do not know, said with others:
 *
 *   Conv               kernel_shape is not optional; one dimension is done as
 *                      two, the first of size 1
 *   Gather             by a number keeps an axis: by a list of one, and Squeeze
 *   Gemm               adds its third matrix wrongly: Add behind it
 *   GlobalAveragePool  ends the process: ReduceMean
 *   AveragePool        never counts the padding: Pad before it
 *   MaxPool            ignores ceil_mode and uneven padding: the last row
 *                      again, which is in every window it is put into
 *   Pad                is refused: zeros made of x, joined to it
 *   Split              finds no results: a Slice each
 *   HardSigmoid        has other factors: Mul, Add, Clip
 *   Reciprocal, Pow    are refused: Div, Mul, Sqrt
 *   Not                is always true: Less
 *   Where              wants three of one shape: a sum of products
 *
 * Each was tried with one-operator models; `make check-oracle` runs whole ones.
 */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/blueprint-lower.h"

static int one(const struct lower *l, const char *op, struct bp_tensor *a,
	struct bp_tensor *b, struct bp_tensor **ret)
{
	struct bp_tensor *in[2] = { a, b };

	return stage_lower_append(l->r, l->at, op, in, b ? 2 : 1, NULL, 0, ret);
}

/* Attributes are copied: the node keeps them. */
static int with_attrs(const struct lower *l, const char *op,
	struct bp_tensor *const *in, size_t n_in, const struct stage_attr *own,
	size_t n_own, struct bp_tensor **ret)
{
	struct stage_attr *attrs;
	size_t n;
	int err = stage_lower_attrs(l->r, stage_op_find(op), own, n_own,
		&attrs, &n);

	return err ? err : stage_lower_append(l->r, l->at, op, in, n_in,
		attrs, n, ret);
}

static int with_axis(const struct lower *l, const char *op,
	struct bp_tensor *const *in, size_t n_in, int64_t axis,
	struct bp_tensor **ret)
{
	const struct stage_attr a = { .name = "axis", .kind = STAGE_ATTR_INT,
		.i = axis };

	return with_attrs(l, op, in, n_in, &a, 1, ret);
}

static int number(const struct lower *l, double v, struct bp_tensor **ret)
{
	const struct bp_value value = { .kind = BP_V_FLOAT, .f = v };

	return stage_bp_operand(l->r, l->at, &value, STAGE_F32, ret);
}

static int with_number(const struct lower *l, const char *op,
	struct bp_tensor *a, double v, struct bp_tensor **ret)
{
	struct bp_tensor *b = NULL;
	int err = number(l, v, &b);

	return err ? err : one(l, op, a, b, ret);
}

static const struct stage_attr *attr(const struct lower *l, const char *name)
{
	for (size_t i = 0; i < l->n_attrs; i++)
		if (!strcmp(l->attrs[i].name, name))
			return &l->attrs[i];
	return NULL;
}

static int64_t attr_int(const struct lower *l, const char *name, int64_t dflt)
{
	const struct stage_attr *a = attr(l, name);

	return a ? a->i : dflt;
}

/* The i-th number of a list attribute. */
static int64_t attr_at(const struct lower *l, const char *name, size_t i,
	int64_t dflt)
{
	const struct stage_attr *a = attr(l, name);

	return a && i < a->n ? a->ints[i] : dflt;
}

static unsigned axis_of(const struct lower *l, int64_t dflt)
{
	int64_t axis = attr_int(l, "axis", dflt);

	return (unsigned)(axis < 0 ? axis + l->in[0]->type.rank : axis);
}

/* x[from:to] along one axis; to INT32_MAX: its end. */
static int slice(const struct lower *l, struct bp_tensor *x, int64_t axis,
	int64_t from, int64_t to, struct bp_tensor **ret)
{
	static const int64_t step = 1;
	const int64_t *v[] = { &from, &to, &axis, &step };
	struct bp_tensor *in[5] = { x };
	int err = 0;

	for (size_t i = 0; i < 4 && !err; i++)
		err = stage_lower_numbers(l->r, l->at, v[i], 1, &in[i + 1]);
	return err ? err : stage_lower_append(l->r, l->at, "Slice", in, 5,
		NULL, 0, ret);
}

/* ---- Conv ------------------------------------------------------------------ */

/* The operator again, with attributes of its own in front of the others. */
static int again(const struct lower *l, struct bp_tensor *const *in,
	const struct stage_attr *own, size_t n_own, struct bp_tensor **ret)
{
	struct stage_attr *attrs = stage_arena_array(&l->r->arena,
		n_own + l->n_attrs + 1, sizeof(*attrs));
	size_t n = 0;
	int err;

	if (!attrs)
		return -ENOMEM;
	for (size_t i = 0; i < n_own; i++)
		attrs[n++] = own[i];
	for (size_t i = 0; i < l->n_attrs; i++) {
		bool there = false;

		for (size_t k = 0; k < n_own; k++)
			there |= !strcmp(own[k].name, l->attrs[i].name);
		if (!there)
			attrs[n++] = l->attrs[i];
	}
	err = stage_lower_attrs(l->r, l->op, attrs, n, &attrs, &n);
	return err ? err : stage_bp_append(l->r, l->at, l->op, in, l->n_in,
		attrs, n, ret, 1);
}

static struct stage_attr ints(const struct lower *l, const char *name,
	const int64_t *v, size_t n)
{
	int64_t *copy = stage_arena_array(&l->r->arena, n, sizeof(*copy));

	if (copy)
		memcpy(copy, v, n * sizeof(*v));
	return (struct stage_attr){ .name = copy ? name : NULL,
		.kind = STAGE_ATTR_INTS, .ints = copy, .n = n };
}

/* Of `n` dimensions; kernel[] as the weight has it. */
static int conv(const struct lower *l, struct bp_tensor *const *in, size_t n,
	const int64_t *kernel, struct bp_tensor **ret)
{
	int64_t pads[4], strides[2], dilations[2];
	size_t skip = n == 1;	/* the dimension of size 1 is before it */
	struct stage_attr own[4];

	for (size_t i = 0; i < 2; i++) {
		bool fill = i < skip;

		pads[i] = fill ? 0 : attr_at(l, "pads", i - skip, 0);
		pads[i + 2] = fill ? 0 : attr_at(l, "pads", i - skip + n, 0);
		strides[i] = fill ? 1 : attr_at(l, "strides", i - skip, 1);
		dilations[i] = fill ? 1 : attr_at(l, "dilations", i - skip, 1);
	}
	own[0] = ints(l, "kernel_shape", kernel, 2);
	own[1] = ints(l, "pads", pads, 4);
	own[2] = ints(l, "strides", strides, 2);
	own[3] = ints(l, "dilations", dilations, 2);
	for (size_t i = 0; i < 4; i++)
		if (!own[i].name)
			return -ENOMEM;
	return again(l, in, own, 4, ret);
}

static int lower_conv(const struct lower *l, struct bp_tensor **ret)
{
	static const int64_t behind_channels = 2;
	const struct stage_type *w = &l->in[1]->type;
	struct bp_tensor *in[3] = { l->in[0], l->in[1],
		l->n_in > 2 ? l->in[2] : NULL }, *axis, *y;
	int64_t kernel[2] = { 1, 1 };
	int err;

	if (w->rank < 3 || w->rank > 4 || attr(l, "auto_pad"))
		return LOWER_AS_IT_IS;
	for (unsigned i = 2; i < w->rank; i++) {
		if (w->dim[i].symbol)
			return LOWER_AS_IT_IS;
		kernel[i - (w->rank == 4 ? 2 : 1)] = w->dim[i].size;
	}
	if (w->rank == 4)
		return conv(l, in, 2, kernel, ret);
	err = stage_lower_numbers(l->r, l->at, &behind_channels, 1, &axis);
	for (size_t i = 0; i < 2 && !err; i++)
		err = one(l, "Unsqueeze", in[i], axis, &in[i]);
	if (!err)
		err = conv(l, in, 1, kernel, &y);
	return err ? err : one(l, "Squeeze", y, axis, ret);
}

/* ---- pools, Pad ------------------------------------------------------------- */

static int lower_global_pool(const struct lower *l, struct bp_tensor **ret)
{
	unsigned rank = l->in[0]->type.rank;
	int64_t axes[STAGE_RANK_MAX];
	struct stage_attr a[2] = { { 0 }, { .name = "keepdims",
		.kind = STAGE_ATTR_INT, .i = 1 } };

	for (unsigned i = 2; i < rank; i++)
		axes[i - 2] = i;
	a[0] = ints(l, "axes", axes, rank - 2);
	return a[0].name ? with_attrs(l, "ReduceMean", l->in, 1, a, 2, ret) :
		-ENOMEM;
}

/* Zeros before and behind along one axis, for not more than x has there. */
static int pad_axis(const struct lower *l, unsigned axis, int64_t before,
	int64_t behind, struct bp_tensor **x)
{
	const struct stage_dim *d = &(*x)->type.dim[axis];
	int64_t most = before > behind ? before : behind;
	struct bp_tensor *part[3], *some, *zeros;
	size_t n = 0;
	int err;

	if (!most)
		return 0;
	if (before < 0 || behind < 0 || (d->symbol ? most > 1 :
			d->size < most))
		return LOWER_AS_IT_IS;
	err = slice(l, *x, axis, 0, most, &some);
	if (!err)
		err = with_number(l, "Mul", some, 0, &zeros);
	for (int side = 0; side < 2 && !err; side++) {
		int64_t want = side ? behind : before;

		if (side)
			part[n++] = *x;
		if (!want)
			continue;
		part[n++] = zeros;
		if (want < most)
			err = slice(l, zeros, axis, 0, want, &part[n - 1]);
	}
	return err ? err : with_axis(l, "Concat", part, n, axis, x);
}

static bool zero(const struct bp_tensor *t)
{
	float f = 1;

	if (t->kind == BP_CONSTANT && t->type.dtype == STAGE_F32 &&
	    t->len == sizeof(f))
		memcpy(&f, t->data, sizeof(f));
	return f == 0;
}

static int lower_pad(const struct lower *l, struct bp_tensor **ret)
{
	struct bp_tensor *x = l->in[0];
	unsigned rank = x->type.rank;
	int64_t v[STAGE_RANK_MAX];
	size_t n;
	int err = 0;

	if (x->type.dtype != STAGE_F32 || attr(l, "mode") ||
	    !stage_lower_constant(l->in[1], v, &n) || n != 2 * rank ||
	    (l->n_in > 2 && l->in[2] && !zero(l->in[2])))
		return LOWER_AS_IT_IS;
	for (unsigned i = 0; i < rank && !err; i++)
		err = pad_axis(l, i, v[i], v[i + rank], &x);
	if (!err)
		*ret = x;
	return err;
}

static int lower_average_pool(const struct lower *l, struct bp_tensor **ret)
{
	unsigned n = l->in[0]->type.rank - 2;
	struct bp_tensor *x = l->in[0];
	int64_t none[2 * STAGE_RANK_MAX] = { 0 };
	struct stage_attr own;
	int err = 0;

	if (!attr_int(l, "count_include_pad", 0) || attr(l, "auto_pad") ||
	    attr_int(l, "ceil_mode", 0))
		return LOWER_AS_IT_IS;
	for (unsigned i = 0; i < n; i++)
		if (l->in[0]->type.dim[i + 2].symbol)
			return LOWER_AS_IT_IS;
	for (unsigned i = 0; i < n && !err; i++)
		err = pad_axis(l, i + 2, attr_at(l, "pads", i, 0),
			attr_at(l, "pads", i + n, 0), &x);
	own = ints(l, "pads", none, 2 * (size_t)n);
	if (!err && !own.name)
		err = -ENOMEM;
	return err ? err : again(l, &x, &own, 1, ret);
}

/* How many times the last element must be there again, so that a pool with
 * even padding has the same windows; -1: cannot be said so. */
static int64_t missing(const struct lower *l, size_t i, unsigned n)
{
	const struct stage_dim *d = &l->in[0]->type.dim[i + 2];
	int64_t before = attr_at(l, "pads", i, 0);
	int64_t behind = attr_at(l, "pads", i + n, 0);

	if (behind == before)
		return 0;
	/* with gaps a window may step over the last element */
	return d->symbol || behind < before ||
		attr_at(l, "dilations", i, 1) != 1 ? -1 : behind - before;
}

/* ceil_mode stays: what it adds depends on sizes that may be free. */
static int lower_max_pool(const struct lower *l, struct bp_tensor **ret)
{
	unsigned n = l->in[0]->type.rank - 2;
	struct bp_tensor *x = l->in[0];
	int64_t pads[2 * STAGE_RANK_MAX];
	struct stage_attr own[2] = { { 0 }, { .name = "ceil_mode",
		.kind = STAGE_ATTR_INT, .i = 0 } };
	bool other = false;
	int err = 0;

	if (attr_int(l, "ceil_mode", 0) || attr(l, "auto_pad"))
		return LOWER_AS_IT_IS;
	for (unsigned i = 0; i < n; i++) {
		int64_t more = missing(l, i, n);

		if (more < 0)
			return LOWER_AS_IT_IS;
		other |= more > 0;
	}
	if (!other || n > 3)
		return LOWER_AS_IT_IS;
	for (unsigned i = 0; i < n && !err; i++) {
		struct bp_tensor *part[2] = { x };
		int64_t more = missing(l, i, n);

		pads[i] = pads[i + n] = attr_at(l, "pads", i, 0);
		while (more-- > 0 && !err) {
			part[0] = x;
			err = slice(l, x, i + 2, -1, INT32_MAX, &part[1]);
			if (!err)
				err = with_axis(l, "Concat", part, 2, i + 2,
					&x);
		}
	}
	own[0] = ints(l, "pads", pads, 2 * (size_t)n);
	if (!err && !own[0].name)
		err = -ENOMEM;
	return err ? err : again(l, &x, own, 2, ret);
}

/* ---- Gather, Split ---------------------------------------------------------- */

static int lower_gather(const struct lower *l, struct bp_tensor **ret)
{
	unsigned axis = axis_of(l, 0);
	const struct stage_dim *d = &l->in[0]->type.dim[axis];
	struct bp_tensor *in[2] = { l->in[0], l->in[1] }, *y, *gone;
	int64_t v[STAGE_RANK_MAX], at = axis;
	size_t n;
	int err = 0;

	if (l->in[0]->type.rank < 2 || l->in[1]->type.rank ||
	    !stage_lower_constant(l->in[1], v, &n))
		return LOWER_AS_IT_IS;
	if (v[0] < 0 && d->symbol) {
		err = slice(l, in[0], at, v[0], v[0] == -1 ? INT32_MAX :
			v[0] + 1, &in[0]);
		v[0] = 0;
	} else if (v[0] < 0) {
		v[0] += d->size;
	}
	if (!err)
		err = stage_lower_numbers(l->r, l->at, v, 1, &in[1]);
	if (!err)
		err = with_axis(l, "Gather", in, 2, axis, &y);
	if (!err)
		err = stage_lower_numbers(l->r, l->at, &at, 1, &gone);
	return err ? err : one(l, "Squeeze", y, gone, ret);
}

static int lower_split(const struct lower *l, struct bp_tensor **ret)
{
	unsigned axis = axis_of(l, 0);
	struct bp_tensor *part[STAGE_OP_OUTPUTS_MAX];
	int64_t v[STAGE_RANK_MAX], from = 0;
	size_t n = 0;
	int err = 0;

	if (l->n_out > STAGE_OP_OUTPUTS_MAX || l->n_in < 2 ||
	    !stage_lower_constant(l->in[1], v, &n) || n != l->n_out)
		return LOWER_AS_IT_IS;
	for (size_t i = 0; i < n && !err; from += v[i], i++)
		err = slice(l, l->in[0], axis, from, from + v[i], &part[i]);
	if (!err)
		memcpy(ret, part, n * sizeof(*part));
	return err;
}

static int lower_gemm(const struct lower *l, struct bp_tensor **ret)
{
	const struct stage_attr *beta = attr(l, "beta");
	struct bp_tensor *y;
	struct stage_attr *attrs;
	size_t n;
	int err;

	if (l->n_in < 3 || !l->in[2] || (beta && beta->f != 1))
		return LOWER_AS_IT_IS;
	err = stage_lower_attrs(l->r, l->op, l->attrs, l->n_attrs, &attrs, &n);
	if (!err)
		err = stage_bp_append(l->r, l->at, l->op, l->in, 2, attrs, n,
			&y, 1);
	return err ? err : one(l, "Add", y, l->in[2], ret);
}

/* ---- one element at a time ---------------------------------------------------- */

static int lower_hard_sigmoid(const struct lower *l, struct bp_tensor **ret)
{
	const struct stage_attr *a = attr(l, "alpha"), *b = attr(l, "beta");
	struct bp_tensor *in[3];
	int err = with_number(l, "Mul", l->in[0], a ? (double)a->f : 0.2,
		&in[0]);

	if (!err)
		err = with_number(l, "Add", in[0], b ? (double)b->f : 0.5,
			&in[0]);
	if (!err)
		err = number(l, 0, &in[1]);
	if (!err)
		err = number(l, 1, &in[2]);
	return err ? err : stage_lower_append(l->r, l->at, "Clip", in, 3, NULL,
		0, ret);
}

static int lower_reciprocal(const struct lower *l, struct bp_tensor **ret)
{
	struct bp_tensor *top;
	int err = number(l, 1, &top);

	return err ? err : one(l, "Div", top, l->in[0], ret);
}

static int lower_pow(const struct lower *l, struct bp_tensor **ret)
{
	struct bp_tensor *x = l->in[0], *y = l->in[1];
	float p = NAN;
	int err;

	if (y->kind == BP_CONSTANT && y->type.dtype == STAGE_F32 &&
	    y->len == sizeof(p))
		memcpy(&p, y->data, sizeof(p));
	if (x->type.dtype != STAGE_F32 || !(p == 2 || p == 3 || p == 0.5f))
		return LOWER_AS_IT_IS;
	if (p == 0.5f)
		return one(l, "Sqrt", x, NULL, ret);
	err = one(l, "Mul", x, x, &y);
	if (err || p == 2) {
		if (!err)
			*ret = y;
		return err;
	}
	return one(l, "Mul", y, x, ret);
}

static int as_number(const struct lower *l, struct bp_tensor *flag,
	struct bp_tensor **ret)
{
	const struct stage_attr to = { .name = "to", .kind = STAGE_ATTR_INT,
		.i = STAGE_F32 };

	return with_attrs(l, "Cast", &flag, 1, &to, 1, ret);
}

static int lower_not(const struct lower *l, struct bp_tensor **ret)
{
	struct bp_tensor *x;
	int err = as_number(l, l->in[0], &x);

	return err ? err : with_number(l, "Less", x, 0.5, ret);
}

static bool same_shape(const struct stage_type *a, const struct stage_type *b)
{
	bool same = a->rank == b->rank;

	for (unsigned i = 0; i < a->rank && same; i++)
		same = stage_dim_same(&a->dim[i], &b->dim[i]);
	return same;
}

/* Exact for what is finite, as the values of a mask are. */
static int lower_where(const struct lower *l, struct bp_tensor **ret)
{
	struct bp_tensor *yes, *no, *a, *b;
	int err;

	if (l->in[1]->type.dtype != STAGE_F32 || (l->in[0]->kind == BP_RESULT &&
			same_shape(&l->in[0]->type, &l->in[1]->type) &&
			same_shape(&l->in[0]->type, &l->in[2]->type)))
		return LOWER_AS_IT_IS;
	err = as_number(l, l->in[0], &yes);
	if (!err)
		err = number(l, 1, &no);
	if (!err)
		err = one(l, "Sub", no, yes, &no);
	if (!err)
		err = one(l, "Mul", l->in[1], yes, &a);
	if (!err)
		err = one(l, "Mul", l->in[2], no, &b);
	return err ? err : one(l, "Add", a, b, ret);
}

/* ---- the table ----------------------------------------------------------------- */

static const struct {
	const char *op;
	int (*fn)(const struct lower *l, struct bp_tensor **ret);
} lower_table[] = {
	{ "AveragePool", lower_average_pool },
	{ "Conv", lower_conv },
	{ "Gather", lower_gather },
	{ "Gemm", lower_gemm },
	{ "GlobalAveragePool", lower_global_pool },
	{ "HardSigmoid", lower_hard_sigmoid },
	{ "MaxPool", lower_max_pool },
	{ "Not", lower_not },
	{ "Pad", lower_pad },
	{ "Pow", lower_pow },
	{ "Reciprocal", lower_reciprocal },
	{ "Split", lower_split },
	{ "Where", lower_where },
};

/* Would ONNX take it? What it refuses must not pass in other words. */
static bool allowed(const struct lower *l)
{
	struct stage_type types[STAGE_OP_OUTPUTS_MAX];
	unsigned unknowns = l->r->unknowns;
	struct stage_infer x = {
		.op = l->op, .n_in = l->n_in, .attrs = l->attrs,
		.n_attrs = l->n_attrs, .out = types, .n_out = l->n_out,
		.arena = &l->r->arena, .unknowns = &unknowns,
	};

	if (l->op->since > l->r->args->opset ||
		l->n_out > STAGE_OP_OUTPUTS_MAX)
		return false;
	memset(types, 0, sizeof(types));
	for (size_t i = 0; i < l->n_in; i++)
		x.in[i] = l->in[i] ? &l->in[i]->type : NULL;
	return !stage_op_infer(&x);
}

int stage_lower_op(const struct lower *l, struct bp_tensor **ret)
{
	size_t n = sizeof(lower_table) / sizeof(lower_table[0]);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(lower_table[i].op, l->op->name))
			return allowed(l) ? lower_table[i].fn(l, ret) :
				LOWER_AS_IT_IS;
	return LOWER_AS_IT_IS;
}
