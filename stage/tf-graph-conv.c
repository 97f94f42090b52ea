/*
 * Operators over planes. ONNX has channels first and weights as [out, in, h,
 * w]; TensorFlow's kernels for CPUs have channels last and [h, w, in, out].
 * Transposes stand around each, which TensorFlow's own optimiser takes out
 * again between neighbours, and padding is an operator of its own, which every
 * reader knows. Convolutions in groups are split: few readers have them.
 */
#include "config.h"

#include "stage/tf-graph.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t to_last[] = { 0, 2, 3, 1 }, to_first[] = { 0, 3, 1, 2 };

/* Of the two dimensions of planes. */
struct window {
	int64_t stride[2], dilation[2];
	int64_t pad[4];		/* h and w before, h and w behind */
	bool padded;
	const char *how;	/* TensorFlow's padding */
};

static int read_list(const struct tf_op *x, const char *name, size_t n,
	int64_t dflt, int64_t *ret)
{
	const struct stage_attr *a = stage_tf_op_attr(x, name);

	if (a && a->n != n)
		return stage_tf_op_fail(x, "%s has %zu numbers", name, a->n);
	for (size_t i = 0; i < n; i++) {
		ret[i] = a ? a->ints[i] : dflt;
		if (ret[i] < dflt || ret[i] > INT32_MAX)
			return stage_tf_op_fail(x, "%s is not handled", name);
	}
	return 0;
}

static int read_window(const struct tf_op *x, struct window *w)
{
	const struct stage_attr *a = stage_tf_op_attr(x, "auto_pad");
	int err;

	memset(w, 0, sizeof(*w));
	w->how = "VALID";
	if (x->in[0]->type.rank != 4)
		return stage_tf_op_fail(x, "of %u dimensions",
			x->in[0]->type.rank);
	err = read_list(x, "strides", 2, 1, w->stride);
	if (!err)
		err = read_list(x, "dilations", 2, 1, w->dilation);
	if (!err)
		err = read_list(x, "pads", 4, 0, w->pad);
	if (err)
		return err;
	for (int i = 0; i < 4; i++)
		w->padded |= w->pad[i] > 0;
	if (!a || !strcmp(a->s, "NOTSET") || !strcmp(a->s, "VALID"))
		return 0;
	if (strcmp(a->s, "SAME_UPPER") != 0 || w->padded)
		return stage_tf_op_fail(x, "auto_pad is %s", a->s);
	w->how = "SAME";
	return 0;
}

/* A list of pairs, one for each dimension of [n, h, w, c]. */
static int pad(struct tf_op *x, const struct window *w, const char *op,
	const char **v)
{
	const int64_t pairs[8] = { 0, 0, w->pad[0], w->pad[2], w->pad[1],
		w->pad[3], 0, 0 }, shape[2] = { 4, 2 };
	const char *in[3] = { *v, NULL, NULL }, *two[2];
	bool lowest = !strcmp(op, "PadV2");
	char attrs[TF_TEXT_MAX];
	int err;

	if (!w->padded)
		return 0;
	err = stage_tf_put_ints(x, "/pairs", STAGE_I32, pairs, 8, false,
		&two[0]);
	if (!err)
		err = stage_tf_put_ints(x, "/pairs/shape", STAGE_I32, shape, 2,
			false, &two[1]);
	if (!err)
		err = stage_tf_put(x, "/paddings", "Reshape", two, 2,
			"T=t:3 Tshape=t:3", &in[1]);
	if (!err && lowest)
		err = stage_tf_put_float(x, "/lowest",
			x->in[0]->type.dtype == STAGE_F64 ? -DBL_MAX :
			-(double)FLT_MAX, &in[2]);
	(void) snprintf(attrs, sizeof(attrs), "%s Tpaddings=t:3", x->t);
	return err ? err : stage_tf_put(x, "/padded", op, in, lowest ? 3 : 2,
		attrs, v);
}

/* ---- Conv ------------------------------------------------------------------ */

struct conv {
	struct window w;
	int64_t groups, in, out;	/* channels of all groups */
	char attrs[TF_TEXT_MAX];
};

static void conv_attrs(const struct tf_op *x, struct conv *c, bool depth)
{
	(void) snprintf(c->attrs, sizeof(c->attrs), "%s strides=i:1,%" PRId64
		",%" PRId64 ",1 padding=s:%s data_format=s:NHWC "
		"dilations=i:1,%" PRId64 ",%" PRId64 ",1 "
		"explicit_paddings=l:%s", x->t, c->w.stride[0],
		c->w.stride[1], c->w.how, c->w.dilation[0], c->w.dilation[1],
		depth ? "" : " use_cudnn_on_gpu=b:1");
}

/* Each input channel by itself: [c * m, 1, h, w] as [h, w, c, m]. */
static int depthwise(struct tf_op *x, struct conv *c, const char *v,
	const char **ret)
{
	static const int64_t perm[] = { 2, 3, 0, 1 };
	const struct stage_type *w = &x->in[1]->type;
	const int64_t shape[] = { w->dim[2].size, w->dim[3].size, c->in,
		c->out / c->in };
	const char *in[2] = { v, NULL }, *two[2];
	char attrs[TF_TEXT_MAX];
	int err = stage_tf_put_transpose(x, "/weight", x->in[1]->ref, perm, 4,
		&two[0]);

	if (!err)
		err = stage_tf_put_ints(x, "/weight/shape", STAGE_I32, shape,
			4, false, &two[1]);
	(void) snprintf(attrs, sizeof(attrs), "%s Tshape=t:3", x->t);
	if (!err)
		err = stage_tf_put(x, "/weight/depthwise", "Reshape", two, 2,
			attrs, &in[1]);
	conv_attrs(x, c, true);
	return err ? err : stage_tf_put(x, "/conv", "DepthwiseConv2dNative",
		in, 2, c->attrs, ret);
}

/* The i-th of n equal parts along the last axis. */
static int part(struct tf_op *x, const char *split, int64_t i,
	const char **ret)
{
	char text[512];

	(void) snprintf(text, sizeof(text), i ? "%s:%" PRId64 : "%s", split,
		i);
	*ret = stage_arena_strdup(&x->m->f.out->arena, text);
	return *ret ? 0 : -ENOMEM;
}

static int split(struct tf_op *x, const char *suffix, const char *v,
	int64_t n, const char **ret)
{
	const int64_t last = 3;
	const char *in[2] = { NULL, v };
	char attrs[TF_TEXT_MAX], name[64];
	int err;

	(void) snprintf(name, sizeof(name), "%s/axis", suffix);
	err = stage_tf_put_ints(x, name, STAGE_I32, &last, 1, true, &in[0]);
	(void) snprintf(attrs, sizeof(attrs), "%s num_split=n:%" PRId64, x->t,
		n);
	return err ? err : stage_tf_put(x, suffix, "Split", in, 2, attrs, ret);
}

#define GROUPS_MAX 4096

static int grouped(struct tf_op *x, struct conv *c, const char *v,
	const char *weight, const char **ret)
{
	struct stage_arena *a = &x->m->f.out->arena;
	struct tf_value *parts = stage_arena_array(a,
		(size_t)c->groups + 1, sizeof(*parts));
	const char *vs, *ws, *in[2];
	const int64_t last = 3;
	char attrs[TF_TEXT_MAX], name[512];
	int err = parts && c->groups <= GROUPS_MAX ? split(x, "/split", v,
		c->groups, &vs) : stage_tf_op_fail(x, "in so many groups");

	if (!err)
		err = split(x, "/weight/split", weight, c->groups, &ws);
	for (int64_t i = 0; i < c->groups && !err; i++) {
		err = part(x, vs, i, &in[0]);
		if (!err)
			err = part(x, ws, i, &in[1]);
		(void) snprintf(name, sizeof(name), "/group%" PRId64, i);
		if (!err)
			err = stage_tf_put(x, name, "Conv2D", in, 2, c->attrs,
				&parts[i].ref);
	}
	if (!err)
		err = stage_tf_put_ints(x, "/axis", STAGE_I32, &last, 1, true,
			&parts[c->groups].ref);
	(void) snprintf(attrs, sizeof(attrs), "%s N=n:%" PRId64 " Tidx=t:3",
		x->t, c->groups);
	(void) snprintf(name, sizeof(name), "%s/groups", x->name);
	return err ? err : stage_tf_emit(&x->m->f, name, "ConcatV2", parts,
		(size_t)c->groups + 1, attrs, NULL, ret);
}

static int convolve(struct tf_op *x, struct conv *c, const char *v,
	const char **ret)
{
	static const int64_t perm[] = { 2, 3, 1, 0 };
	const char *in[2] = { v, NULL };
	int err;

	if (c->groups > 1 && c->groups == c->in &&
	    c->w.stride[0] == c->w.stride[1] && c->w.dilation[0] == 1 &&
	    c->w.dilation[1] == 1)
		return depthwise(x, c, v, ret);
	conv_attrs(x, c, false);
	err = stage_tf_put_transpose(x, "/weight", x->in[1]->ref, perm, 4,
		&in[1]);
	if (err)
		return err;
	if (c->groups > 1)
		return grouped(x, c, v, in[1], ret);
	return stage_tf_put(x, "/conv", "Conv2D", in, 2, c->attrs, ret);
}

int stage_tf_op_conv(struct tf_op *x)
{
	const struct stage_type *w = &x->in[1]->type;
	struct conv c = { .groups = stage_tf_op_int(x, "group") };
	const char *in[2] = { x->in[0]->ref, NULL };
	char attrs[TF_TEXT_MAX];
	int err = read_window(x, &c.w);

	if (err)
		return err;
	c.out = w->dim[0].size;
	c.in = w->dim[1].size * c.groups;
	err = stage_tf_put_transpose(x, "/last", in[0], to_last, 4, &in[0]);
	if (!err)
		err = pad(x, &c.w, "Pad", &in[0]);
	if (!err)
		err = convolve(x, &c, in[0], &in[0]);
	if (!err && x->n_in > 2 && x->in[2]) {
		in[1] = x->in[2]->ref;
		(void) snprintf(attrs, sizeof(attrs), "%s data_format=s:NHWC",
			x->t);
		err = stage_tf_put(x, "/bias", "BiasAdd", in, 2, attrs,
			&in[0]);
	}
	return err ? err : stage_tf_put_transpose(x, NULL, in[0], to_first, 4,
		NULL);
}

/* ---- pools, norms ---------------------------------------------------------- */

int stage_tf_op_pool(struct tf_op *x)
{
	bool max = !strcmp(x->n->op, "MaxPool");
	const char *v = x->in[0]->ref;
	char attrs[TF_TEXT_MAX];
	struct window w;
	int64_t kernel[2] = { 0 };
	int err = read_window(x, &w);

	if (!err)
		err = read_list(x, "kernel_shape", 2, 1, kernel);
	if (err)
		return err;
	if (stage_tf_op_int(x, "ceil_mode"))
		return stage_tf_op_fail(x, "ceil_mode is set");
	if (!max && w.padded && !stage_tf_op_int(x, "count_include_pad"))
		return stage_tf_op_fail(x, "it does not count its padding");
	err = stage_tf_put_transpose(x, "/last", v, to_last, 4, &v);
	if (!err)
		err = pad(x, &w, max ? "PadV2" : "Pad", &v);
	(void) snprintf(attrs, sizeof(attrs), "%s ksize=i:1,%" PRId64 ",%"
		PRId64 ",1 strides=i:1,%" PRId64 ",%" PRId64 ",1 "
		"padding=s:VALID data_format=s:NHWC", x->t, kernel[0],
		kernel[1], w.stride[0], w.stride[1]);
	if (!err)
		err = stage_tf_put(x, "/pool", max ? "MaxPool" : "AvgPool", &v,
			1, attrs, &v);
	return err ? err : stage_tf_put_transpose(x, NULL, v, to_first, 4,
		NULL);
}

int stage_tf_op_global_pool(struct tf_op *x)
{
	const char *in[2] = { x->in[0]->ref, NULL };
	unsigned n = x->in[0]->type.rank - 2;
	int64_t axes[STAGE_RANK_MAX];
	char attrs[TF_TEXT_MAX];
	int err;

	for (unsigned i = 0; i < n; i++)
		axes[i] = i + 2;
	err = stage_tf_put_ints(x, "/axes", STAGE_I32, axes, n, false, &in[1]);
	(void) snprintf(attrs, sizeof(attrs), "%s keep_dims=b:1 Tidx=t:3",
		x->t);
	return err ? err : stage_tf_put(x, NULL, "Mean", in, 2, attrs, NULL);
}

/* One vector as [c, 1, …]. */
static int column(struct tf_op *x, const char *suffix, const char *v,
	const char *shape, const char **ret)
{
	const char *in[2] = { v, shape };
	char attrs[TF_TEXT_MAX];

	(void) snprintf(attrs, sizeof(attrs), "%s Tshape=t:3", x->t);
	return stage_tf_put(x, suffix, "Reshape", in, 2, attrs, ret);
}

/* x * m + (b - mean * m), m = scale / sqrt(variance + epsilon) */
int stage_tf_op_batch_norm(struct tf_op *x)
{
	const char *two[2] = { x->in[4]->ref, NULL };
	const char *m = NULL, *shape = NULL, *rest = NULL;
	int64_t dims[STAGE_RANK_MAX] = { -1, 1, 1, 1, 1, 1, 1, 1 };
	unsigned rank = x->in[0]->type.rank;
	int err = stage_tf_put_float(x, "/epsilon",
		stage_tf_op_float(x, "epsilon"), &two[1]);

	if (!err)
		err = stage_tf_put(x, "/variance", "AddV2", two, 2, x->t,
			&two[0]);
	if (!err)
		err = stage_tf_put(x, "/rsqrt", "Rsqrt", two, 1, x->t,
			&two[0]);
	two[1] = x->in[1]->ref;
	if (!err)
		err = stage_tf_put(x, "/factor", "Mul", two, 2, x->t, &m);
	two[0] = m;
	two[1] = x->in[3]->ref;
	if (!err)
		err = stage_tf_put(x, "/mean", "Mul", two, 2, x->t, &two[1]);
	two[0] = x->in[2]->ref;
	if (!err)
		err = stage_tf_put(x, "/offset", "Sub", two, 2, x->t, &rest);
	if (!err)
		err = stage_tf_put_ints(x, "/shape", STAGE_I32, dims, rank - 1,
			false, &shape);
	if (!err)
		err = column(x, "/factors", m, shape, &m);
	if (!err)
		err = column(x, "/offsets", rest, shape, &rest);
	two[0] = x->in[0]->ref;
	two[1] = m;
	if (!err)
		err = stage_tf_put(x, "/scaled", "Mul", two, 2, x->t, &two[0]);
	two[1] = rest;
	return err ? err : stage_tf_put(x, NULL, "AddV2", two, 2, x->t, NULL);
}
