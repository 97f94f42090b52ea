/*
 * Operators that move and cut. Where the two differ:
 *
 *	Reshape	ONNX's 0 is "as it was"; TensorFlow has -1 alone
 *	Slice	names axes; TensorFlow's begins at the first, with masks
 *	Gather	counts from the end, too; TensorFlow's does not
 *	Expand	widens both; TensorFlow's the tensor alone
 */
#include "config.h"

#include "stage/tf-graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LAST INT64_MAX		/* an end nobody means */

static const char *ref(const struct tf_op *x, size_t i)
{
	return x->in[i]->ref;
}

/* The numbers of `from`, a list, from start up to end: a StridedSlice. */
static int piece(struct tf_op *x, const char *suffix, const char *from,
	int64_t start, int64_t end, const char **ret)
{
	const int64_t one = 1;
	const char *in[4] = { from };
	char name[3][64];
	int err;

	(void) snprintf(name[0], sizeof(name[0]), "%s/begin", suffix);
	(void) snprintf(name[1], sizeof(name[1]), "%s/end", suffix);
	(void) snprintf(name[2], sizeof(name[2]), "%s/step", suffix);
	err = stage_tf_put_ints(x, name[0], STAGE_I32, &start, 1, false,
		&in[1]);
	if (!err)
		err = stage_tf_put_ints(x, name[1], STAGE_I32, &end, 1, false,
			&in[2]);
	if (!err)
		err = stage_tf_put_ints(x, name[2], STAGE_I32, &one, 1, false,
			&in[3]);
	return err ? err : stage_tf_put(x, suffix, "StridedSlice", in, 4,
		"T=t:9 Index=t:3 begin_mask=n:0 end_mask=n:0 ellipsis_mask=n:0 "
		"new_axis_mask=n:0 shrink_axis_mask=n:0", ret);
}

/* Lists of i64 one behind the other. in has room for the axis. */
static int join(struct tf_op *x, const char *suffix, const char **in,
	size_t n, const char **ret)
{
	const int64_t zero = 0;
	char attrs[TF_TEXT_MAX], name[64];
	int err;

	*ret = in[0];
	if (n == 1)
		return 0;
	(void) snprintf(name, sizeof(name), "%s/axis", suffix);
	err = stage_tf_put_ints(x, name, STAGE_I32, &zero, 1, true, &in[n]);
	(void) snprintf(attrs, sizeof(attrs), "T=t:9 N=n:%zu Tidx=t:3", n);
	return err ? err : stage_tf_put(x, suffix, "ConcatV2", in, n + 1,
		attrs, ret);
}

/* ---- Reshape --------------------------------------------------------------- */

static int reshape(struct tf_op *x, const char *shape)
{
	const char *in[2] = { ref(x, 0), shape };
	char attrs[TF_TEXT_MAX];

	(void) snprintf(attrs, sizeof(attrs), "%s Tshape=t:9", x->t);
	return stage_tf_put(x, NULL, "Reshape", in, 2, attrs, NULL);
}

/* Runs of numbers, and of dimensions that are as they were (copy). */
static int mixed_shape(struct tf_op *x, const int64_t *v, const bool *copy,
	size_t n, const char **ret)
{
	const char *in[STAGE_RANK_MAX + 1], *was = ref(x, 0);
	char attrs[TF_TEXT_MAX], name[32];
	size_t parts = 0, end;
	int err;

	(void) snprintf(attrs, sizeof(attrs), "%s out_type=t:9", x->t);
	err = stage_tf_put(x, "/was", "Shape", &was, 1, attrs, &was);
	for (size_t i = 0; i < n && !err; i = end) {
		for (end = i + 1; end < n && copy[end] == copy[i]; end++)
			;
		(void) snprintf(name, sizeof(name), "/part%zu", parts);
		err = copy[i] ? piece(x, name, was, (int64_t)i, (int64_t)end,
			&in[parts]) : stage_tf_put_ints(x, name, STAGE_I64,
			&v[i], end - i, false, &in[parts]);
		parts++;
	}
	return err ? err : join(x, "/shape", in, parts, ret);
}

int stage_tf_op_reshape(struct tf_op *x)
{
	const struct stage_type *t = &x->in[0]->type, *s = &x->in[1]->type;
	int64_t v[STAGE_RANK_MAX];
	bool copy[STAGE_RANK_MAX];
	size_t zeros = 0, copies = 0, open = 0;
	const char *shape = ref(x, 1);
	int err = 0;

	if (!s->known || s->n_known > STAGE_RANK_MAX ||
	    s->dtype != STAGE_I64)
		return stage_tf_op_fail(x, "to a shape that is not known");
	for (size_t i = 0; i < s->n_known; i++) {
		const struct stage_dim *d = &s->known[i];

		v[i] = d->size;
		copy[i] = false;
		open += !d->symbol && d->size == -1;
		if (d->symbol || d->size)
			continue;
		if (i >= t->rank)
			return stage_tf_op_fail(x, "more 0 than dimensions");
		zeros++;
		copy[i] = t->dim[i].symbol != NULL;
		copies += copy[i];
		v[i] = copy[i] ? -1 : t->dim[i].size;
	}
	for (size_t i = 0; i < s->n_known && zeros; i++)
		if (s->known[i].symbol)
			return stage_tf_op_fail(x, "0 in a computed shape");
	if (copies > 1 || (copies && open))
		err = mixed_shape(x, v, copy, s->n_known, &shape);
	else if (zeros)
		err = stage_tf_put_ints(x, "/shape", STAGE_I64, v, s->n_known,
			false, &shape);
	return err ? err : reshape(x, shape);
}

/* ---- Slice ----------------------------------------------------------------- */

struct cut {
	int64_t axis[STAGE_RANK_MAX];
	int64_t start[STAGE_RANK_MAX], end[STAGE_RANK_MAX];
	size_t n, rank;			/* rank: up to the last axis */
	unsigned begin_mask, end_mask;
};

static int cut(struct tf_op *x, const struct cut *c, const char *begin,
	const char *end)
{
	const char *in[4] = { ref(x, 0), begin, end };
	int64_t steps[STAGE_RANK_MAX];
	char attrs[TF_TEXT_MAX];
	int err;

	for (size_t i = 0; i < c->rank; i++)
		steps[i] = 1;
	err = stage_tf_put_ints(x, "/steps", STAGE_I64, steps, c->rank, false,
		&in[3]);
	(void) snprintf(attrs, sizeof(attrs), "%s Index=t:9 begin_mask=n:%u "
		"end_mask=n:%u ellipsis_mask=n:0 new_axis_mask=n:0 "
		"shrink_axis_mask=n:0", x->t, c->begin_mask, c->end_mask);
	return err ? err : stage_tf_put(x, NULL, "StridedSlice", in, 4, attrs,
		NULL);
}

static int cut_by_numbers(struct tf_op *x, struct cut *c)
{
	int64_t begin[STAGE_RANK_MAX] = { 0 }, end[STAGE_RANK_MAX] = { 0 };
	const char *in[2];
	int err;

	for (size_t i = 0; i < c->n; i++) {
		unsigned bit = 1u << c->axis[i];

		begin[c->axis[i]] = c->start[i];
		c->begin_mask &= ~bit;
		if (c->end[i] >= INT32_MAX)
			continue;
		end[c->axis[i]] = c->end[i];
		c->end_mask &= ~bit;
	}
	err = stage_tf_put_ints(x, "/begin", STAGE_I64, begin, c->rank, false,
		&in[0]);
	if (!err)
		err = stage_tf_put_ints(x, "/end", STAGE_I64, end, c->rank,
			false, &in[1]);
	return err ? err : cut(x, c, in[0], in[1]);
}

/* Zeros for the axes before the first, which the masks make whole. */
static int behind(struct tf_op *x, const char *suffix, size_t zeros,
	const char *v, const char **ret)
{
	const int64_t none[STAGE_RANK_MAX] = { 0 };
	const char *in[3] = { NULL, v, NULL };
	char name[64];
	int err;

	*ret = v;
	if (!zeros)
		return 0;
	(void) snprintf(name, sizeof(name), "%s/before", suffix);
	err = stage_tf_put_ints(x, name, STAGE_I64, none, zeros, false,
		&in[0]);
	return err ? err : join(x, suffix, in, 2, ret);
}

static int cut_by_values(struct tf_op *x, struct cut *c, bool to_end)
{
	const char *begin, *end;
	int err;

	for (size_t i = 0; i < c->n; i++) {
		if (c->axis[i] != c->axis[0] + (int64_t)i)
			return stage_tf_op_fail(x, "computed bounds of axes "
				"that are not neighbours");
		c->begin_mask &= ~(1u << c->axis[i]);
		if (!to_end)
			c->end_mask &= ~(1u << c->axis[i]);
	}
	err = behind(x, "/begin", (size_t)c->axis[0], ref(x, 1), &begin);
	if (!err)
		err = behind(x, "/end", (size_t)c->axis[0], ref(x, 2), &end);
	return err ? err : cut(x, c, begin, end);
}

int stage_tf_op_slice(struct tf_op *x)
{
	struct cut c = { .n = 0 };
	int n = stage_tf_op_numbers(x, 3, c.axis, STAGE_RANK_MAX);
	int starts = stage_tf_op_numbers(x, 1, c.start, STAGE_RANK_MAX);
	int ends = stage_tf_op_numbers(x, 2, c.end, STAGE_RANK_MAX);

	if (n < 1 || x->in[1]->type.dtype != STAGE_I64 ||
	    x->in[2]->type.dtype != STAGE_I64)
		return stage_tf_op_fail(x, "its axes are not constant");
	c.n = (size_t)n;
	for (size_t i = 0; i < c.n; i++) {
		if (c.axis[i] < 0)
			c.axis[i] += x->in[0]->type.rank;
		if (c.axis[i] < 0 || c.axis[i] >= x->in[0]->type.rank)
			return stage_tf_op_fail(x, "an axis it has not");
		if ((size_t)c.axis[i] >= c.rank)
			c.rank = (size_t)c.axis[i] + 1;
	}
	c.begin_mask = c.end_mask = (1u << c.rank) - 1;
	if (starts == n && ends == n)
		return cut_by_numbers(x, &c);
	for (int i = 0; i < ends; i++)
		if (c.end[i] >= INT32_MAX && n > 1)
			return stage_tf_op_fail(x, "bounds of two kinds");
	return cut_by_values(x, &c, ends == 1 && c.end[0] >= INT32_MAX);
}

/* ---- the others ------------------------------------------------------------ */

/* op(inputs…, axis) */
static int with_axis(struct tf_op *x, const char *op, int64_t axis,
	const char *attrs)
{
	const char *in[STAGE_OP_INPUTS_MAX + 1];
	int err;

	for (size_t i = 0; i < x->n_in; i++)
		in[i] = ref(x, i);
	err = stage_tf_put_ints(x, "/axis", STAGE_I32, &axis, 1, true,
		&in[x->n_in]);
	return err ? err : stage_tf_put(x, NULL, op, in, x->n_in + 1, attrs,
		NULL);
}

static int64_t axis_of(const struct tf_op *x)
{
	int64_t axis = stage_tf_op_int(x, "axis");

	return axis < 0 ? axis + x->in[0]->type.rank : axis;
}

int stage_tf_op_gather(struct tf_op *x)
{
	const struct stage_type *t = &x->in[0]->type, *i = &x->in[1]->type;
	const char *in[3] = { ref(x, 0), ref(x, 1), NULL };
	int64_t axis = axis_of(x), v[STAGE_KNOWN_MAX];
	int n = stage_tf_op_numbers(x, 1, v, STAGE_KNOWN_MAX), err = 0;
	bool from_end = false;
	char attrs[TF_TEXT_MAX];

	for (int k = 0; k < n; k++) {
		if (v[k] >= 0)
			continue;
		if (t->dim[axis].symbol)
			return stage_tf_op_fail(x, "it counts from an end "
				"that is not known");
		v[k] += t->dim[axis].size;
		from_end = true;
	}
	if (from_end)
		err = stage_tf_put_ints(x, "/index", STAGE_I64, v, (size_t)n,
			i->rank == 0, &in[1]);
	if (!err)
		err = stage_tf_put_ints(x, "/axis", STAGE_I32, &axis, 1, true,
			&in[2]);
	(void) snprintf(attrs, sizeof(attrs), "Tparams=%s Tindices=t:%u "
		"Taxis=t:3 batch_dims=n:0", x->t + 2,
		stage_tf_from_dtype(i->dtype));
	return err ? err : stage_tf_put(x, NULL, "GatherV2", in, 3, attrs,
		NULL);
}

int stage_tf_op_concat(struct tf_op *x)
{
	char attrs[TF_TEXT_MAX];

	if (x->n_in == 1)
		return stage_tf_put(x, NULL, "Identity", &x->in[0]->ref, 1,
			x->t, NULL);
	(void) snprintf(attrs, sizeof(attrs), "%s N=n:%zu Tidx=t:3", x->t,
		x->n_in);
	return with_axis(x, "ConcatV2", axis_of(x), attrs);
}

/* Is the shape that is asked for the one that comes out? */
static bool is_exact(const struct tf_op *x)
{
	const struct stage_type *s = &x->in[1]->type, *o = &x->out[0];

	if (!s->known || s->n_known != o->rank)
		return false;
	for (unsigned i = 0; i < o->rank; i++)
		if (!stage_dim_same(&s->known[i], &o->dim[i]))
			return false;
	return true;
}

int stage_tf_op_expand(struct tf_op *x)
{
	const char *in[2] = { ref(x, 0), ref(x, 1) }, *two[2];
	char attrs[TF_TEXT_MAX];
	int err = 0;

	if (!is_exact(x)) {
		(void) snprintf(attrs, sizeof(attrs), "%s out_type=t:9", x->t);
		err = stage_tf_put(x, "/was", "Shape", in, 1, attrs, &two[0]);
		two[1] = in[1];
		if (!err)
			err = stage_tf_put(x, "/shape", "BroadcastArgs", two,
				2, "T=t:9", &in[1]);
	}
	(void) snprintf(attrs, sizeof(attrs), "%s Tidx=t:9", x->t);
	return err ? err : stage_tf_put(x, NULL, "BroadcastTo", in, 2, attrs,
		NULL);
}

int stage_tf_op_squeeze(struct tf_op *x)
{
	int64_t v[STAGE_RANK_MAX];
	int n = stage_tf_op_numbers(x, 1, v, STAGE_RANK_MAX);
	char attrs[TF_TEXT_MAX];
	int at = snprintf(attrs, sizeof(attrs), "%s squeeze_dims=i:", x->t);

	if (n < 1)
		return stage_tf_op_fail(x, "its axes are not constant");
	for (int i = 0; i < n; i++)
		at += snprintf(attrs + at, sizeof(attrs) - (size_t)at,
			i ? ",%d" : "%d", (int)v[i]);
	return stage_tf_put(x, NULL, "Squeeze", &x->in[0]->ref, 1, attrs,
		NULL);
}

/* An ExpandDims for each axis, from the first on. */
int stage_tf_op_unsqueeze(struct tf_op *x)
{
	int64_t v[STAGE_RANK_MAX];
	int n = stage_tf_op_numbers(x, 1, v, STAGE_RANK_MAX), left = n;
	const char *in[2] = { ref(x, 0), NULL };
	bool is[STAGE_RANK_MAX] = { false };
	char attrs[TF_TEXT_MAX], name[32];
	int err = 0;

	if (n < 1)
		return stage_tf_op_fail(x, "its axes are not constant");
	for (int i = 0; i < n; i++)
		is[v[i] < 0 ? v[i] + x->out[0].rank : v[i]] = true;
	(void) snprintf(attrs, sizeof(attrs), "%s Tdim=t:3", x->t);
	for (int64_t i = 0; i < x->out[0].rank && !err; i++) {
		if (!is[i])
			continue;
		(void) snprintf(name, sizeof(name), "/axis%d", (int)i);
		err = stage_tf_put_ints(x, name, STAGE_I32, &i, 1, true,
			&in[1]);
		(void) snprintf(name, sizeof(name), "/with%d", (int)i);
		if (!err)
			err = stage_tf_put(x, --left ? name : NULL,
				"ExpandDims", in, 2, attrs, &in[0]);
	}
	return err;
}

int stage_tf_op_split(struct tf_op *x)
{
	int64_t v[STAGE_OP_OUTPUTS_MAX], axis = axis_of(x);
	int n = stage_tf_op_numbers(x, 1, v, STAGE_OP_OUTPUTS_MAX);
	const char *in[3] = { ref(x, 0), NULL, NULL };
	char attrs[TF_TEXT_MAX];
	char text[512];
	int err;

	if (n < 1 || (size_t)n != x->n->n_outputs)
		return stage_tf_op_fail(x, "its lengths are not constant");
	err = stage_tf_put_ints(x, "/lengths", STAGE_I64, v, (size_t)n, false,
		&in[1]);
	if (!err)
		err = stage_tf_put_ints(x, "/axis", STAGE_I32, &axis, 1, true,
			&in[2]);
	(void) snprintf(attrs, sizeof(attrs), "%s Tlen=t:9 num_split=n:%d",
		x->t, n);
	if (!err)
		err = stage_tf_put(x, NULL, "SplitV", in, 3, attrs, NULL);
	for (int i = 1; i < n && !err; i++) {
		(void) snprintf(text, sizeof(text), "%s:%d", x->ref[0], i);
		x->ref[i] = stage_arena_strdup(&x->m->f.out->arena, text);
		if (!x->ref[i])
			err = -ENOMEM;
	}
	return err;
}

/* ONNX has all beginnings, then all ends. */
int stage_tf_op_pad(struct tf_op *x)
{
	const struct stage_attr *mode = stage_tf_op_attr(x, "mode");
	int64_t v[2 * STAGE_RANK_MAX], pairs[2 * STAGE_RANK_MAX];
	const int64_t two = 2;
	int n = stage_tf_op_numbers(x, 1, v, 2 * STAGE_RANK_MAX), err;
	const char *in[2] = { NULL, NULL };
	const char *shape[2] = { NULL, NULL };
	int64_t dims[2];
	char attrs[TF_TEXT_MAX];

	if (n < 0 || (unsigned)n != 2 * x->in[0]->type.rank || x->n_in > 2 ||
	    (mode && strcmp(mode->s, "constant") != 0))
		return stage_tf_op_fail(x, "with anything but zeros");
	for (int i = 0; i < n; i++) {
		if (v[i] < 0)
			return stage_tf_op_fail(x, "it takes away");
		pairs[i] = v[i / 2 + (i & 1) * (n / 2)];
	}
	dims[0] = n / 2;
	dims[1] = two;
	err = stage_tf_put_ints(x, "/pairs", STAGE_I32, pairs, (size_t)n,
		false, &shape[0]);
	if (!err)
		err = stage_tf_put_ints(x, "/dims", STAGE_I32, dims, 2, false,
			&shape[1]);
	if (!err)
		err = stage_tf_put(x, "/paddings", "Reshape", shape, 2,
			"T=t:3 Tshape=t:3", &in[1]);
	in[0] = ref(x, 0);
	(void) snprintf(attrs, sizeof(attrs), "%s Tpaddings=t:3", x->t);
	return err ? err : stage_tf_put(x, NULL, "Pad", in, 2, attrs, NULL);
}
