/*
 * The table of operators and what their rules share. An operator comes into
 * the table with its rule and its attributes, or it is not emitted at all.
 */
#include "config.h"

#include "stage/shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define I STAGE_ATTR_INT
#define F STAGE_ATTR_FLOAT
#define IS STAGE_ATTR_INTS
#define S STAGE_ATTR_STRING

/* Attributes that may be left out, those with a value that ONNX states for
 * it, and those that must be given. */
#define OPTION(name, kind) { name, kind, false, false, 0 }
#define DEFAULT(name, kind, value) { name, kind, false, true, value }
#define NEEDED(name, kind) { name, kind, true, false, 0 }

static const struct stage_op_attr no_attrs[] = { { .name = NULL } };
static const struct stage_op_attr elu_attrs[] = {
	DEFAULT("alpha", F, 1), { .name = NULL } };
static const struct stage_op_attr leaky_attrs[] = {
	DEFAULT("alpha", F, 0.01), { .name = NULL } };
static const struct stage_op_attr sigmoid_attrs[] = {
	DEFAULT("alpha", F, 0.2), DEFAULT("beta", F, 0.5), { .name = NULL } };
static const struct stage_op_attr axis_attrs[] = {
	DEFAULT("axis", I, -1), { .name = NULL } };
static const struct stage_op_attr first_axis_attrs[] = {
	DEFAULT("axis", I, 0), { .name = NULL } };
static const struct stage_op_attr concat_attrs[] = {
	NEEDED("axis", I), { .name = NULL } };
static const struct stage_op_attr arg_attrs[] = {
	DEFAULT("axis", I, 0), DEFAULT("keepdims", I, 1),
	{ .name = NULL } };
static const struct stage_op_attr conv_attrs[] = {
	OPTION("auto_pad", S), OPTION("dilations", IS), DEFAULT("group", I, 1),
	OPTION("kernel_shape", IS), OPTION("pads", IS), OPTION("strides", IS),
	{ .name = NULL } };
static const struct stage_op_attr conv_transpose_attrs[] = {
	OPTION("kernel_shape", IS), OPTION("output_padding", IS),
	OPTION("pads", IS), OPTION("strides", IS), { .name = NULL } };
static const struct stage_op_attr rnn_attrs[] = {
	OPTION("direction", S), NEEDED("hidden_size", I),
	{ .name = NULL } };
static const struct stage_op_attr gru_attrs[] = {
	OPTION("direction", S), NEEDED("hidden_size", I),
	DEFAULT("linear_before_reset", I, 0), { .name = NULL } };
static const struct stage_op_attr pool_attrs[] = {
	OPTION("auto_pad", S), DEFAULT("ceil_mode", I, 0),
	NEEDED("kernel_shape", IS),
	OPTION("pads", IS), OPTION("strides", IS), { .name = NULL } };
static const struct stage_op_attr average_attrs[] = {
	OPTION("auto_pad", S), DEFAULT("ceil_mode", I, 0),
	DEFAULT("count_include_pad", I, 0), NEEDED("kernel_shape", IS),
	OPTION("pads", IS),
	OPTION("strides", IS), { .name = NULL } };
static const struct stage_op_attr batch_norm_attrs[] = {
	DEFAULT("epsilon", F, 1e-5), { .name = NULL } };
static const struct stage_op_attr cast_attrs[] = {
	NEEDED("to", I), { .name = NULL } };
static const struct stage_op_attr cumsum_attrs[] = {
	DEFAULT("exclusive", I, 0),
	DEFAULT("reverse", I, 0), { .name = NULL } };
static const struct stage_op_attr gemm_attrs[] = {
	DEFAULT("alpha", F, 1), DEFAULT("beta", F, 1),
	DEFAULT("transA", I, 0), DEFAULT("transB", I, 0),
	{ .name = NULL } };
static const struct stage_op_attr norm_attrs[] = {
	OPTION("axis", I), OPTION("epsilon", F), { .name = NULL } };
static const struct stage_op_attr reduce_attrs[] = {
	OPTION("axes", IS), DEFAULT("keepdims", I, 1), { .name = NULL } };
static const struct stage_op_attr sum_attrs[] = {
	DEFAULT("keepdims", I, 1), { .name = NULL } };
static const struct stage_op_attr pad_attrs[] = {
	OPTION("mode", S), { .name = NULL } };
static const struct stage_op_attr resize_attrs[] = {
	NEEDED("coordinate_transformation_mode", S), NEEDED("mode", S),
	OPTION("nearest_mode", S), { .name = NULL } };
static const struct stage_op_attr perm_attrs[] = {
	NEEDED("perm", IS), { .name = NULL } };

#define SAME(name, types) \
	{ name, 1, 1, 1, no_attrs, stage_rule_same, types }
#define BINARY(name) \
	{ name, 1, 2, 2, no_attrs, stage_rule_binary, STAGE_TYPES_NUMBER }
#define COMPARE(name, types) \
	{ name, 1, 2, 2, no_attrs, stage_rule_compare, types }
#define REDUCE(name) \
	{ name, 1, 1, 1, reduce_attrs, stage_rule_reduce, 0 }

/* Sorted by name. */
static const struct stage_op ops[] = {
	SAME("Abs", STAGE_TYPES_NUMBER),
	BINARY("Add"),
	COMPARE("And", STAGE_TYPES_BOOL),
	{ "ArgMax", 13, 1, 1, arg_attrs, stage_rule_arg, 0 },
	{ "AveragePool", 11, 1, 1, average_attrs, stage_rule_pool, 0 },
	{ "BatchNormalization", 9, 5, 5, batch_norm_attrs,
		stage_rule_batch_norm, 0 },
	{ "Cast", 1, 1, 1, cast_attrs, stage_rule_cast, 0 },
	SAME("Ceil", STAGE_TYPES_FLOAT),
	{ "Clip", 1, 1, 3, no_attrs, stage_rule_clip, 0 },
	{ "Concat", 1, 1, 16, concat_attrs, stage_rule_concat, 0 },
	{ "Conv", 11, 2, 3, conv_attrs, stage_rule_conv, 0 },
	{ "ConvTranspose", 11, 2, 3, conv_transpose_attrs,
		stage_rule_conv_transpose, 0 },
	SAME("Cos", STAGE_TYPES_FLOAT),
	{ "CumSum", 11, 2, 2, cumsum_attrs, stage_rule_cumsum, 0 },
	BINARY("Div"),
	{ "Elu", 1, 1, 1, elu_attrs, stage_rule_same, STAGE_TYPES_FLOAT },
	COMPARE("Equal", STAGE_TYPES_ANY),
	SAME("Erf", STAGE_TYPES_FLOAT),
	SAME("Exp", STAGE_TYPES_FLOAT),
	{ "Expand", 8, 2, 2, no_attrs, stage_rule_expand, 0 },
	SAME("Floor", STAGE_TYPES_FLOAT),
	{ "GRU", 7, 3, 6, gru_attrs, stage_rule_recurrent, 3 },
	{ "Gather", 1, 2, 2, first_axis_attrs, stage_rule_gather, 0 },
	{ "Gemm", 1, 2, 3, gemm_attrs, stage_rule_gemm, 0 },
	{ "GlobalAveragePool", 1, 1, 1, no_attrs, stage_rule_global_pool, 0 },
	COMPARE("Greater", STAGE_TYPES_NUMBER),
	COMPARE("GreaterOrEqual", STAGE_TYPES_NUMBER),
	{ "HardSigmoid", 1, 1, 1, sigmoid_attrs, stage_rule_same,
		STAGE_TYPES_FLOAT },
	{ "HardSwish", 14, 1, 1, no_attrs, stage_rule_same,
		STAGE_TYPES_FLOAT },
	SAME("Identity", STAGE_TYPES_ANY),
	{ "LSTM", 7, 3, 7, rnn_attrs, stage_rule_recurrent, 4 },
	{ "LayerNormalization", 17, 2, 3, norm_attrs, stage_rule_layer_norm,
		0 },
	{ "LeakyRelu", 1, 1, 1, leaky_attrs, stage_rule_same,
		STAGE_TYPES_FLOAT },
	COMPARE("Less", STAGE_TYPES_NUMBER),
	COMPARE("LessOrEqual", STAGE_TYPES_NUMBER),
	SAME("Log", STAGE_TYPES_FLOAT),
	{ "LogSoftmax", 13, 1, 1, axis_attrs, stage_rule_axis, 0 },
	{ "MatMul", 1, 2, 2, no_attrs, stage_rule_matmul, 0 },
	BINARY("Max"),
	{ "MaxPool", 11, 1, 1, pool_attrs, stage_rule_pool, 0 },
	BINARY("Min"),
	BINARY("Mul"),
	SAME("Neg", STAGE_TYPES_NUMBER),
	SAME("Not", STAGE_TYPES_BOOL),
	COMPARE("Or", STAGE_TYPES_BOOL),
	{ "Pad", 13, 2, 2, pad_attrs, stage_rule_pad, 0 },
	BINARY("Pow"),
	{ "RNN", 7, 3, 6, rnn_attrs, stage_rule_recurrent, 1 },
	{ "Range", 11, 3, 3, no_attrs, stage_rule_range, 0 },
	REDUCE("ReduceL2"),
	REDUCE("ReduceMax"),
	REDUCE("ReduceMean"),
	REDUCE("ReduceMin"),
	{ "ReduceSum", 13, 1, 2, sum_attrs, stage_rule_reduce, 1 },
	SAME("Relu", STAGE_TYPES_FLOAT),
	{ "Reshape", 5, 2, 2, no_attrs, stage_rule_reshape, 0 },
	{ "Resize", 13, 4, 4, resize_attrs, stage_rule_resize, 0 },
	SAME("Selu", STAGE_TYPES_FLOAT),
	{ "Shape", 1, 1, 1, no_attrs, stage_rule_shape, 0 },
	SAME("Sigmoid", STAGE_TYPES_FLOAT),
	SAME("Sin", STAGE_TYPES_FLOAT),
	{ "Slice", 10, 4, 5, no_attrs, stage_rule_slice, 0 },
	{ "Softmax", 13, 1, 1, axis_attrs, stage_rule_axis, 0 },
	SAME("Softplus", STAGE_TYPES_FLOAT),
	SAME("Softsign", STAGE_TYPES_FLOAT),
	{ "Split", 13, 2, 2, first_axis_attrs, stage_rule_split, 0 },
	SAME("Sqrt", STAGE_TYPES_FLOAT),
	{ "Squeeze", 13, 2, 2, no_attrs, stage_rule_squeeze, 0 },
	BINARY("Sub"),
	SAME("Tanh", STAGE_TYPES_FLOAT),
	{ "Transpose", 1, 1, 1, perm_attrs, stage_rule_transpose, 0 },
	{ "Unsqueeze", 13, 2, 2, no_attrs, stage_rule_unsqueeze, 0 },
	{ "Where", 9, 3, 3, no_attrs, stage_rule_where, 0 },
};

const struct stage_op *stage_op_find(const char *name)
{
	size_t lo = 0, hi = sizeof(ops) / sizeof(ops[0]);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(name, ops[mid].name);

		if (!c)
			return &ops[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct stage_op_attr *stage_op_attr(const struct stage_op *op,
	const char *name)
{
	for (const struct stage_op_attr *a = op->attrs; a->name; a++)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

bool stage_types_has(enum stage_rule_types set, enum stage_dtype t)
{
	bool real = t == STAGE_F32 || t == STAGE_F16 || t == STAGE_F64;

	switch (set) {
	case STAGE_TYPES_FLOAT:
		return real;
	case STAGE_TYPES_NUMBER:
		return real || t == STAGE_I64 || t == STAGE_I32;
	case STAGE_TYPES_BOOL:
		return t == STAGE_BOOL;
	case STAGE_TYPES_ANY:
		return true;
	}
	return false;
}

static int check_attrs(struct stage_infer *x)
{
	for (size_t i = 0; i < x->n_attrs; i++) {
		const struct stage_op_attr *a = stage_op_attr(x->op,
			x->attrs[i].name);

		if (!a)
			return stage_infer_fail(x, "has no attribute %s",
				x->attrs[i].name);
		if (a->kind != x->attrs[i].kind)
			return stage_infer_fail(x, "attribute %s is of the "
				"wrong kind", a->name);
	}
	for (const struct stage_op_attr *a = x->op->attrs; a->name; a++)
		if (a->required && !stage_infer_attr(x, a->name))
			return stage_infer_fail(x, "needs attribute %s",
				a->name);
	return 0;
}

int stage_op_infer(struct stage_infer *x)
{
	int r;

	if (x->n_in < x->op->min_in || x->n_in > x->op->max_in)
		return stage_infer_fail(x, "has another number of inputs");
	for (size_t i = 0; i < x->op->min_in; i++)
		if (!x->in[i] && x->op->infer != stage_rule_resize)
			return stage_infer_fail(x, "input %zu must be given",
				i + 1);
	if (x->n_out != 1 && x->op->infer != stage_rule_split &&
	    x->op->infer != stage_rule_recurrent)
		return stage_infer_fail(x, "has one output");
	r = check_attrs(x);
	return r ? r : x->op->infer(x);
}

/* ---- what the rules share -------------------------------------------------- */

int stage_infer_fail(struct stage_infer *x, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return error_set(x->why, -ENOTSUP, "%s: %s", x->op->name, text);
}

const struct stage_attr *stage_infer_attr(const struct stage_infer *x,
	const char *name)
{
	for (size_t i = 0; i < x->n_attrs; i++)
		if (!strcmp(x->attrs[i].name, name))
			return &x->attrs[i];
	return NULL;
}

int64_t stage_infer_int(const struct stage_infer *x, const char *name,
	int64_t dflt)
{
	const struct stage_attr *a = stage_infer_attr(x, name);

	return a ? a->i : dflt;
}

int stage_infer_wrap(struct stage_infer *x, int64_t axis, unsigned rank,
	unsigned *ret)
{
	if (axis < -(int64_t)rank || axis >= (int64_t)rank)
		return stage_infer_fail(x, "axis %lld of %u dimensions",
			(long long)axis, rank);
	*ret = (unsigned)(axis < 0 ? axis + rank : axis);
	return 0;
}

int stage_infer_axis(struct stage_infer *x, const char *name, int64_t dflt,
	unsigned rank, unsigned *ret)
{
	return stage_infer_wrap(x, stage_infer_int(x, name, dflt), rank, ret);
}

int stage_infer_unknown(struct stage_infer *x, struct stage_dim *ret)
{
	char name[32];
	int n = snprintf(name, sizeof(name), "unknown_%u", ++*x->unknowns);
	char *symbol = stage_arena_copy(x->arena, name, (size_t)n);

	if (!symbol)
		return -ENOMEM;
	*ret = (struct stage_dim){ -1, symbol };
	return 0;
}

int stage_infer_numbers(struct stage_infer *x, size_t i, int64_t *ret,
	size_t max, size_t *ret_n)
{
	const struct stage_type *t = x->in[i];

	if (!t->known || t->n_known > max)
		return stage_infer_fail(x, "input %zu must be constant",
			i + 1);
	for (size_t k = 0; k < t->n_known; k++) {
		if (t->known[k].symbol)
			return stage_infer_fail(x, "input %zu must be "
				"constant", i + 1);
		ret[k] = t->known[k].size;
	}
	*ret_n = t->n_known;
	return 0;
}

int stage_infer_known(struct stage_infer *x, struct stage_type *t,
	const struct stage_dim *v, size_t n)
{
	struct stage_dim *copy;

	if (n > STAGE_KNOWN_MAX)
		return 0;
	copy = stage_arena_array(x->arena, n + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, v, n * sizeof(*copy));
	t->known = copy;
	t->n_known = n;
	return 0;
}

bool stage_dim_same(const struct stage_dim *a, const struct stage_dim *b)
{
	if (a->symbol && b->symbol)
		return !strcmp(a->symbol, b->symbol);
	return !a->symbol && !b->symbol && a->size == b->size;
}

static bool dim_is_one(const struct stage_dim *d)
{
	return !d->symbol && d->size == 1;
}

int stage_infer_broadcast(struct stage_infer *x, const struct stage_type *a,
	const struct stage_type *b, struct stage_type *ret)
{
	unsigned rank = a->rank > b->rank ? a->rank : b->rank;
	char ta[160], tb[160];

	ret->rank = rank;
	for (unsigned i = 0; i < rank; i++) {
		const struct stage_dim one = { 1, NULL };
		unsigned from = rank - i;	/* dims from the right */
		const struct stage_dim *da = from > a->rank ? &one :
			&a->dim[a->rank - from];
		const struct stage_dim *db = from > b->rank ? &one :
			&b->dim[b->rank - from];

		if (stage_dim_same(da, db) || dim_is_one(db)) {
			ret->dim[i] = *da;
		} else if (dim_is_one(da)) {
			ret->dim[i] = *db;
		} else {
			stage_type_text(a, ta, sizeof(ta));
			stage_type_text(b, tb, sizeof(tb));
			return stage_infer_fail(x, "%s and %s do not fit", ta,
				tb);
		}
	}
	return 0;
}

void stage_dim_text(const struct stage_dim *d, char *ret, size_t room)
{
	if (d->symbol)
		(void) snprintf(ret, room, "%s", d->symbol);
	else
		(void) snprintf(ret, room, "%lld", (long long)d->size);
}

void stage_type_text(const struct stage_type *t, char *ret, size_t room)
{
	int n = snprintf(ret, room, "%s[", stage_dtype_name(t->dtype));

	for (unsigned i = 0; i < t->rank && n > 0 && (size_t)n < room; i++) {
		char dim[96];

		stage_dim_text(&t->dim[i], dim, sizeof(dim));
		n += snprintf(ret + n, room - (size_t)n, "%s%s", i ? ", " : "",
			dim);
	}
	if (n > 0 && (size_t)n < room)
		(void) snprintf(ret + n, room - (size_t)n, "]");
}
