/* Elements by their numbers, borders, and rearrangements. */
#include "config.h"

#include <string.h>

#include "stage/script-op.h"

/* ---- gathering ------------------------------------------------------------- */

static struct ts_val *gather(struct ts *c, struct ts_val *x,
	struct ts_val *index, unsigned axis)
{
	struct ts_type t;
	unsigned n = 0;

	if (c->err)
		return NULL;
	t = (struct ts_type){ .dtype = x->t.dtype };
	if (x->t.rank + index->t.rank > STAGE_RANK_MAX + 1) {
		(void) stage_ts_fail(c, "more than %d dimensions",
			STAGE_RANK_MAX);
		return NULL;
	}
	for (unsigned i = 0; i < axis; i++)
		t.dim[n++] = x->t.dim[i];
	for (unsigned i = 0; i < index->t.rank; i++)
		t.dim[n++] = index->t.dim[i];
	for (unsigned i = axis + 1; i < x->t.rank; i++)
		t.dim[n++] = x->t.dim[i];
	t.rank = n;
	return stage_ts_op(c, "Gather", &t, TS_IN(x, index),
		TS_AT(stage_ts_ai("axis", axis)));
}

static bool is_index(struct ts *c, const struct ts_val *v)
{
	if (c->err)
		return false;
	if (v->t.dtype == STAGE_I64 || v->t.dtype == STAGE_I32)
		return true;
	(void) stage_ts_fail(c, "by a tensor of %s",
		stage_dtype_name(v->t.dtype));
	return false;
}

/* weight indices */
static struct ts_val *op_embedding(struct ts_call *k)
{
	struct ts_val *w = stage_ts_arg(k, 0), *i = stage_ts_arg(k, 1);

	return is_index(k->c, i) ? gather(k->c, w, i, 0) : NULL;
}

/* self dim index */
static struct ts_val *op_index_select(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *i = stage_ts_arg(k, 2);

	return is_index(k->c, i) && x->t.rank ? gather(k->c, x, i,
		stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank)) :
		NULL;
}

static struct ts_val *op_gather(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *i = stage_ts_arg(k, 2);
	struct ts_type t;

	if (!is_index(k->c, i))
		return NULL;
	t = i->t;
	t.dtype = x->t.dtype;
	return stage_ts_op(k->c, "GatherElements", &t, TS_IN(x, i),
		TS_AT(stage_ts_ai("axis", stage_ts_axis(k->c,
		stage_ts_arg_int(k, 1), x->t.rank))));
}

/* x[i, j, :]: the first n axes by tensors that broadcast */
static struct ts_val *gather_nd(struct ts_call *k, struct ts_val *x,
	struct ts_val **v, size_t n)
{
	struct ts_type all, t;
	struct ts_val *index;

	all = v[0]->t;
	for (size_t i = 1; i < n; i++)
		stage_ts_broadcast(k->c, &all, &v[i]->t, &all);
	for (size_t i = 0; i < n && !k->c->err; i++) {
		v[i] = stage_ts_cast(k->c, v[i], STAGE_I64);
		v[i] = stage_ts_expand(k->c, v[i], all.dim, all.rank);
		if (v[i])
			v[i] = stage_ts_unsqueeze(k->c, v[i], all.rank);
	}
	index = k->c->err ? NULL : stage_ts_concat(k->c, v, n, all.rank);
	if (!index || all.rank + x->t.rank - n > STAGE_RANK_MAX)
		return NULL;
	t = all;
	t.dtype = x->t.dtype;
	for (size_t i = n; i < x->t.rank; i++)
		t.dim[t.rank++] = x->t.dim[i];
	return stage_ts_op(k->c, "GatherND", &t, TS_IN(x, index), TS_BARE);
}

/* x[…] with a list of tensors and None */
static struct ts_val *op_index(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *v[STAGE_RANK_MAX];
	struct ts_call one = { .c = k->c };
	const struct ts_list *l = k->arg[1].u.list;
	unsigned axis = 0, n = 0;

	if (!x || (k->arg[1].kind != TS_LIST && k->arg[1].kind != TS_TUPLE) ||
	    l->n > x->t.rank) {
		(void) stage_ts_fail(k->c, "by something else");
		return NULL;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].kind == TS_NONE)
			continue;
		one.arg[0] = l->v[i];
		v[n] = stage_ts_arg(&one, 0);
		if (!is_index(k->c, v[n++]))
			return NULL;
		axis = (unsigned)i;
	}
	if (n == 1)
		return gather(k->c, x, v[0], axis);
	if (n && n == axis + 1)
		return gather_nd(k, x, v, n);
	(void) stage_ts_fail(k->c, "by tensors with gaps between them");
	return NULL;
}

/* ---- borders --------------------------------------------------------------- */

/* torch counts from the last axis: left, right, top, bottom, … */
static struct ts_val *pad(struct ts_call *k, const char *mode,
	const struct ts_value *value)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim by[2 * STAGE_RANK_MAX], all[2 * STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 1, by, 2 * STAGE_RANK_MAX);
	struct ts_type t;
	unsigned rank;

	if (!x || n % 2 || n / 2 > x->t.rank) {
		(void) stage_ts_fail(k->c, "by %zu numbers", n);
		return NULL;
	}
	t = x->t;
	rank = t.rank;
	for (unsigned i = 0; i < 2 * rank; i++)
		all[i] = stage_ts_num(0);
	for (size_t i = 0; i < n / 2; i++) {
		size_t axis = rank - 1 - i;

		all[axis] = by[2 * i];
		all[rank + axis] = by[2 * i + 1];
		t.dim[axis] = stage_ts_add(k->c, t.dim[axis], stage_ts_add(
			k->c, by[2 * i], by[2 * i + 1]));
	}
	return stage_ts_op(k->c, "Pad", &t, TS_IN(x, stage_ts_dims(k->c, all,
		2 * rank), value && value->kind != TS_NONE ?
		stage_ts_operand(k->c, value, t.dtype) : NULL),
		TS_AT(stage_ts_as("mode", mode)));
}

/* self pad mode value */
static struct ts_val *op_pad(struct ts_call *k)
{
	const char *mode = stage_ts_arg_str(k, 2);

	if (!strcmp(mode, "constant"))
		return pad(k, mode, &k->arg[3]);
	if (!strcmp(mode, "reflect"))
		return pad(k, mode, NULL);
	if (!strcmp(mode, "replicate"))
		return pad(k, "edge", NULL);
	(void) stage_ts_fail(k->c, "with mode %s", mode);
	return NULL;
}

static struct ts_val *op_pad_constant(struct ts_call *k)
{
	return pad(k, "constant", &k->arg[2]);
}

static struct ts_val *op_pad_mode(struct ts_call *k)
{
	return pad(k, k->op->onnx, NULL);
}

/* ---- rearrangements -------------------------------------------------------- */

static struct ts_val *op_flip(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	int64_t axes[STAGE_RANK_MAX], from[STAGE_RANK_MAX];
	int64_t to[STAGE_RANK_MAX], step[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_ints(k, 1, 0, axes, STAGE_RANK_MAX);

	for (size_t i = 0; x && i < n; i++) {
		axes[i] = stage_ts_axis(k->c, axes[i], x->t.rank);
		from[i] = -1;
		to[i] = INT64_MIN;
		step[i] = -1;
	}
	return x ? stage_ts_op(k->c, "Slice", &x->t, TS_IN(x,
		stage_ts_numbers(k->c, from, n), stage_ts_numbers(k->c, to,
		n), stage_ts_numbers(k->c, axes, n), stage_ts_numbers(k->c,
		step, n)), TS_BARE) : NULL;
}

/* self shifts dims: the end of an axis comes before its begin. */
static struct ts_val *op_roll(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *part[2];
	struct ts_dim by[STAGE_RANK_MAX];
	int64_t axes[STAGE_RANK_MAX];
	size_t n = stage_ts_arg_dims(k, 1, by, STAGE_RANK_MAX);

	if (!x || stage_ts_arg_ints(k, 2, n, axes, STAGE_RANK_MAX) != n || !n) {
		(void) stage_ts_fail(k->c, "of all axes as one");
		return NULL;
	}
	for (size_t i = 0; i < n && !k->c->err; i++) {
		unsigned axis = stage_ts_axis(k->c, axes[i], x->t.rank);
		struct ts_dim d = x->t.dim[axis], at;

		at = by[i].sym || by[i].n > 0 ? stage_ts_sub(k->c, d, by[i]) :
			stage_ts_sub(k->c, stage_ts_num(0), by[i]);
		if (!at.sym && !d.sym && d.n)
			at.n = ((at.n % d.n) + d.n) % d.n;
		part[0] = stage_ts_cut(k->c, x, axis, at, d);
		part[1] = stage_ts_cut(k->c, x, axis, stage_ts_num(0), at);
		if (!stage_ts_is(at, 0) && !k->c->err)
			x = stage_ts_concat(k->c, part, 2, axis);
	}
	return k->c->err ? NULL : x;
}

/* [N, C r r, H, W] and [N, C, H r, W r] */
static struct ts_val *op_shuffle(struct ts_call *k)
{
	static const unsigned up[] = { 0, 1, 4, 2, 5, 3 };
	static const unsigned down[] = { 0, 1, 3, 5, 2, 4 };
	bool grow = !strcmp(k->op->name, "pixel_shuffle");
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim r = stage_ts_num(stage_ts_arg_int(k, 1)), d[6], *s;

	if (!x || x->t.rank != 4)
		return NULL;
	s = x->t.dim;
	if (grow) {
		struct ts_dim c = stage_ts_div(k->c, s[1], stage_ts_mul(k->c,
			r, r));
		struct ts_dim in[] = { s[0], c, r, r, s[2], s[3] };
		struct ts_dim out[] = { s[0], c, stage_ts_mul(k->c, s[2], r),
			stage_ts_mul(k->c, s[3], r) };

		memcpy(d, in, sizeof(d));
		x = stage_ts_reshape(k->c, x, d, 6);
		x = x ? stage_ts_transpose(k->c, x, up) : NULL;
		return x ? stage_ts_reshape(k->c, x, out, 4) : NULL;
	}
	struct ts_dim h = stage_ts_div(k->c, s[2], r);
	struct ts_dim w = stage_ts_div(k->c, s[3], r);
	struct ts_dim in[] = { s[0], s[1], h, r, w, r };
	struct ts_dim out[] = { s[0], stage_ts_mul(k->c, s[1],
		stage_ts_mul(k->c, r, r)), h, w };

	x = stage_ts_reshape(k->c, x, in, 6);
	x = x ? stage_ts_transpose(k->c, x, down) : NULL;
	return x ? stage_ts_reshape(k->c, x, out, 4) : NULL;
}

static struct ts_val *op_channel_shuffle(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y;
	struct ts_dim d[STAGE_RANK_MAX], g;

	if (!x || x->t.rank < 3 || x->t.rank + 1 > STAGE_RANK_MAX)
		return NULL;
	g = stage_ts_num(stage_ts_arg_int(k, 1));
	d[0] = x->t.dim[0];
	d[1] = g;
	d[2] = stage_ts_div(k->c, x->t.dim[1], g);
	for (unsigned i = 2; i < x->t.rank; i++)
		d[i + 1] = x->t.dim[i];
	y = stage_ts_reshape(k->c, x, d, x->t.rank + 1);
	y = y ? stage_ts_swap(k->c, y, 1, 2) : NULL;
	return y ? stage_ts_reshape(k->c, y, x->t.dim, x->t.rank) : NULL;
}

#define PADS "self:T padding:I"

const struct ts_op stage_ts_ops_index[] = {
	{ "embedding", "weight:T indices:T padding_idx:i=-1 "
		"scale_grad_by_freq:b=F sparse:b=F", op_embedding, "", 0 },
	{ "index_select", "self:T dim:i index:T", op_index_select, "", 0 },
	{ "gather", "self:T dim:i index:T sparse_grad:b=F", op_gather, "",
		0 },
	{ "index", "self:T indices:?", op_index, "", 0 },
	{ "pad", "self:T pad:I mode:s=constant value:d=N", op_pad, "", 0 },
	{ "constant_pad_nd", "self:T pad:I value:d=0", op_pad_constant, "",
		0 },
	{ "reflection_pad1d", PADS, op_pad_mode, "reflect", 0 },
	{ "reflection_pad2d", PADS, op_pad_mode, "reflect", 0 },
	{ "replication_pad1d", PADS, op_pad_mode, "edge", 0 },
	{ "replication_pad2d", PADS, op_pad_mode, "edge", 0 },
	{ "flip", "self:T dims:I", op_flip, "", 0 },
	{ "roll", "self:T shifts:I dims:I=N", op_roll, "", 0 },
	{ "pixel_shuffle", "self:T upscale_factor:i", op_shuffle, "", 0 },
	{ "pixel_unshuffle", "self:T downscale_factor:i", op_shuffle, "",
		0 },
	{ "channel_shuffle", "self:T groups:i", op_channel_shuffle, "", 0 },
	{ .name = NULL },
};
