/* Layers: convolutions, products, norms, activations. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

/* ---- convolutions ---------------------------------------------------------- */

struct conv {
	struct ts_val *x, *w, *b;
	int64_t stride[3], pad[3], end[3], dilation[3], output[3];
	int64_t groups;
	bool transposed;
	size_t n;			/* spatial dimensions */
};

static struct ts_dim conv_dim(struct ts *c, const struct conv *v, size_t i)
{
	struct ts_dim d = v->x->t.dim[2 + i];
	int64_t k = stage_ts_fixed(c, v->w->t.dim[2 + i]);
	int64_t window = v->dilation[i] * (k - 1) + 1;
	int64_t pads = v->pad[i] + v->end[i];

	if (v->transposed)
		return stage_ts_add(c, stage_ts_mul(c, stage_ts_sub(c, d,
			stage_ts_num(1)), stage_ts_num(v->stride[i])),
			stage_ts_num(window - pads + v->output[i]));
	return stage_ts_add(c, stage_ts_div(c, stage_ts_add(c, d,
		stage_ts_num(pads - window)), stage_ts_num(v->stride[i])),
		stage_ts_num(1));
}

static bool conv_sane(struct ts *c, const struct conv *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->stride[i] < 1 || v->dilation[i] < 1 || v->pad[i] < 0 ||
		    v->end[i] < 0 || v->stride[i] > 65536 ||
		    v->dilation[i] > 65536 || v->pad[i] > 65536) {
			(void) stage_ts_fail(c, "a window that cannot be");
			return false;
		}
	if (v->groups < 1 || v->groups > 65536)
		(void) stage_ts_fail(c, "%lld groups", (long long)v->groups);
	return !c->err;
}

static struct ts_val *conv(struct ts *c, struct conv *v)
{
	bool batched = v->x->t.rank == v->n + 2;
	struct stage_attr attrs[5];
	struct ts_type t;
	int64_t pads[6];
	struct ts_val *y;

	if (!batched)
		v->x = stage_ts_unsqueeze(c, v->x, 0);
	if (c->err || v->x->t.rank != v->n + 2 || v->w->t.rank != v->n + 2) {
		(void) stage_ts_fail(c, "a tensor of the wrong rank");
		return NULL;
	}
	t = v->x->t;
	stage_ts_require(c, t.dim[1], stage_ts_mul(c, v->w->t.dim[v->transposed
		? 0 : 1], stage_ts_num(v->transposed ? 1 : v->groups)));
	t.dim[1] = v->transposed ? stage_ts_mul(c, v->w->t.dim[1],
		stage_ts_num(v->groups)) : v->w->t.dim[0];
	for (size_t i = 0; i < v->n; i++) {
		t.dim[2 + i] = conv_dim(c, v, i);
		pads[i] = v->pad[i];
		pads[v->n + i] = v->end[i];
	}
	attrs[0] = stage_ts_al("strides", v->stride, v->n);
	attrs[1] = stage_ts_al("pads", pads, 2 * v->n);
	attrs[2] = stage_ts_al("dilations", v->dilation, v->n);
	attrs[3] = stage_ts_ai("group", v->groups);
	attrs[4] = stage_ts_al("output_padding", v->output, v->n);
	y = stage_ts_op(c, v->transposed ? "ConvTranspose" : "Conv", &t,
		TS_IN(v->x, v->w, v->b), attrs, v->transposed ? 5 : 4);
	return batched ? y : stage_ts_squeeze(c, y, 0);
}

static bool conv_begin(struct ts_call *k, struct conv *v)
{
	*v = (struct conv){ .x = stage_ts_arg(k, 0), .w = stage_ts_arg(k, 1),
		.b = stage_ts_arg(k, 2), .groups = 1 };
	if (k->c->err)
		return false;
	v->n = v->w->t.rank - 2;
	if (v->w->t.rank < 3 || v->n > 3)
		(void) stage_ts_fail(k->c, "a kernel of %u dimensions",
			v->w->t.rank);
	return !k->c->err;
}

/* padding="same": one more at the end when it does not divide. */
static void conv_pads(struct ts_call *k, struct conv *v, size_t at)
{
	if (k->arg[at].kind != TS_STR) {
		(void) stage_ts_arg_ints(k, at, v->n, v->pad, 3);
		memcpy(v->end, v->pad, sizeof(v->end));
		return;
	}
	if (strcmp(k->arg[at].u.s, "same") != 0)
		return;
	for (size_t i = 0; i < v->n; i++) {
		int64_t all = v->dilation[i] * (stage_ts_fixed(k->c,
			v->w->t.dim[2 + i]) - 1);

		v->pad[i] = all / 2;
		v->end[i] = all - all / 2;
	}
}

/* input weight bias stride padding dilation groups */
static struct ts_val *op_conv(struct ts_call *k)
{
	struct conv v;

	if (!conv_begin(k, &v))
		return NULL;
	(void) stage_ts_arg_ints(k, 3, v.n, v.stride, 3);
	(void) stage_ts_arg_ints(k, 5, v.n, v.dilation, 3);
	conv_pads(k, &v, 4);
	v.groups = stage_ts_arg_int(k, 6);
	return conv_sane(k->c, &v) ? conv(k->c, &v) : NULL;
}

/* input weight bias stride padding output_padding groups dilation */
static struct ts_val *op_conv_transpose(struct ts_call *k)
{
	struct conv v;

	if (!conv_begin(k, &v))
		return NULL;
	v.transposed = true;
	(void) stage_ts_arg_ints(k, 3, v.n, v.stride, 3);
	(void) stage_ts_arg_ints(k, 5, v.n, v.output, 3);
	(void) stage_ts_arg_ints(k, 7, v.n, v.dilation, 3);
	conv_pads(k, &v, 4);
	v.groups = stage_ts_arg_int(k, 6);
	return conv_sane(k->c, &v) ? conv(k->c, &v) : NULL;
}

/* input weight bias stride padding dilation transposed output_padding groups */
static struct ts_val *op_convolution(struct ts_call *k)
{
	struct conv v;

	if (!conv_begin(k, &v))
		return NULL;
	(void) stage_ts_arg_ints(k, 3, v.n, v.stride, 3);
	(void) stage_ts_arg_ints(k, 5, v.n, v.dilation, 3);
	(void) stage_ts_arg_ints(k, 7, v.n, v.output, 3);
	v.transposed = stage_ts_arg_bool(k, 6);
	conv_pads(k, &v, 4);
	v.groups = stage_ts_arg_int(k, 8);
	return conv_sane(k->c, &v) ? conv(k->c, &v) : NULL;
}

/* ---- products -------------------------------------------------------------- */

static struct ts_val *op_linear(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *w = stage_ts_arg(k, 1);
	struct ts_val *b = stage_ts_arg(k, 2), *y;

	if (k->c->err)
		return NULL;
	if (w->t.rank != 2 || !x->t.rank) {
		(void) stage_ts_fail(k->c, "weights of %u dimensions",
			w->t.rank);
		return NULL;
	}
	if (x->t.rank == 2 && b) {
		struct ts_type t = x->t;

		stage_ts_require(k->c, x->t.dim[1], w->t.dim[1]);
		t.dim[1] = w->t.dim[0];
		return stage_ts_op(k->c, "Gemm", &t, TS_IN(x, w, b),
			TS_AT(stage_ts_ai("transB", 1)));
	}
	y = stage_ts_matmul(k->c, x, stage_ts_swap(k->c, w, 0, 1));
	return b ? stage_ts_two(k->c, "Add", y, b) : y;
}

static struct ts_val *op_matmul(struct ts_call *k)
{
	return stage_ts_matmul(k->c, stage_ts_arg(k, 0), stage_ts_arg(k, 1));
}

/* beta * self + alpha * (a @ b) */
static struct ts_val *op_addmm(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_val *y = stage_ts_matmul(k->c, stage_ts_arg(k, 1),
		stage_ts_arg(k, 2));
	double beta = stage_ts_arg_num(k, 3), alpha = stage_ts_arg_num(k, 4);

	if (k->c->err)
		return NULL;
	if (alpha != 1)
		y = stage_ts_two(k->c, "Mul", y, stage_ts_scalar_like(k->c, y,
			alpha));
	if (beta == 0)
		return y;
	if (beta != 1)
		x = stage_ts_two(k->c, "Mul", x, stage_ts_scalar_like(k->c, x,
			beta));
	return stage_ts_two(k->c, "Add", y, x);
}

/* ---- norms ----------------------------------------------------------------- */

static struct ts_val *filled(struct ts *c, const struct ts_val *like,
	struct ts_dim n, double v)
{
	return stage_ts_expand(c, stage_ts_scalar_like(c, like, v), &n, 1);
}

/* Over the last n axes: (x - mean) / sqrt(variance + eps) */
static struct ts_val *normalized(struct ts *c, struct ts_val *x, unsigned n,
	double eps)
{
	int64_t axes[STAGE_RANK_MAX];
	struct ts_val *d, *var;

	if (c->err || n > x->t.rank || !n) {
		(void) stage_ts_fail(c, "over %u axes", n);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++)
		axes[i] = x->t.rank - n + i;
	d = stage_ts_two(c, "Sub", x, stage_ts_reduce(c, "ReduceMean", x,
		axes, n, true));
	var = stage_ts_reduce(c, "ReduceMean", stage_ts_two(c, "Mul", d, d),
		axes, n, true);
	var = stage_ts_two(c, "Add", var, stage_ts_scalar_like(c, x, eps));
	return stage_ts_two(c, "Div", d, stage_ts_same_op(c, "Sqrt", var));
}

static struct ts_val *scaled(struct ts *c, struct ts_val *x, struct ts_val *w,
	struct ts_val *b)
{
	if (w)
		x = stage_ts_two(c, "Mul", x, w);
	return b ? stage_ts_two(c, "Add", x, b) : x;
}

/* input shape weight bias eps */
static struct ts_val *op_layer_norm(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *w = stage_ts_arg(k, 2);
	struct ts_val *b = stage_ts_arg(k, 3), *y;
	struct ts_dim shape[STAGE_RANK_MAX];
	double eps = stage_ts_arg_num(k, 4);
	unsigned n = (unsigned)stage_ts_arg_dims(k, 1, shape, STAGE_RANK_MAX);

	for (unsigned i = 0; x && i < n && n <= x->t.rank; i++)
		stage_ts_require(k->c, x->t.dim[x->t.rank - n + i], shape[i]);
	if (k->c->err)
		return NULL;
	if (k->c->opset >= 17 && w && n <= x->t.rank)
		y = stage_ts_op(k->c, "LayerNormalization", &x->t,
			TS_IN(x, w, b), TS_AT(stage_ts_ai("axis",
			-(int64_t)n), stage_ts_af("epsilon", eps)));
	else
		y = scaled(k->c, normalized(k->c, x, n, eps), w, b);
	if (!strcmp(k->op->name, "native_layer_norm"))
		return stage_ts_returns(k, (struct ts_val *[]){ y, NULL,
			NULL }, 3, false);
	return y;
}

/* C values along axis 1 of a tensor of this rank. */
static struct ts_val *channels(struct ts *c, struct ts_val *v, unsigned rank)
{
	struct ts_dim dims[STAGE_RANK_MAX];

	if (!v || c->err)
		return NULL;
	for (unsigned i = 0; i + 1 < rank; i++)
		dims[i] = i ? stage_ts_num(1) : v->t.dim[0];
	return stage_ts_reshape(c, v, dims, rank - 1);
}

static struct ts_val *group_norm(struct ts_call *k, size_t groups, size_t w,
	size_t eps)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y;
	struct ts_dim dims[3], g = stage_ts_num(stage_ts_arg_int(k, groups));

	if (k->c->err || x->t.rank < 2)
		return NULL;
	dims[0] = x->t.dim[0];
	dims[1] = g;
	dims[2] = stage_ts_div(k->c, stage_ts_product(k->c, x->t.dim + 1,
		x->t.rank - 1), g);
	y = normalized(k->c, stage_ts_reshape(k->c, x, dims, 3), 1,
		stage_ts_arg_num(k, eps));
	y = stage_ts_reshape(k->c, y, x->t.dim, x->t.rank);
	y = scaled(k->c, y, channels(k->c, stage_ts_arg(k, w), x->t.rank),
		channels(k->c, stage_ts_arg(k, w + 1), x->t.rank));
	return y;
}

static struct ts_val *op_group_norm(struct ts_call *k)
{
	return group_norm(k, 1, 2, 4);
}

/* input weight bias N C HxW group eps */
static struct ts_val *op_native_group_norm(struct ts_call *k)
{
	struct ts_val *y = group_norm(k, 6, 1, 7);

	return stage_ts_returns(k, (struct ts_val *[]){ y, NULL, NULL }, 3,
		false);
}

/* input weight bias mean var training eps */
static struct ts_val *batch_norm(struct ts_call *k, size_t eps)
{
	struct ts_val *x = stage_ts_arg(k, 0), *v[4];
	struct ts_dim n;

	if (k->c->err)
		return NULL;
	for (size_t i = 0; i < 4; i++)
		v[i] = stage_ts_arg(k, i + 1);
	if (x->t.rank < 2 || !v[2] || !v[3]) {
		(void) stage_ts_fail(k->c, "statistics of the batch itself");
		return NULL;
	}
	n = v[2]->t.dim[0];
	stage_ts_require(k->c, x->t.dim[1], n);
	if (!v[0])
		v[0] = filled(k->c, x, n, 1);
	if (!v[1])
		v[1] = filled(k->c, x, n, 0);
	return stage_ts_op(k->c, "BatchNormalization", &x->t, TS_IN(x, v[0],
		v[1], v[2], v[3]), TS_AT(stage_ts_af("epsilon",
		stage_ts_arg_num(k, eps))));
}

static struct ts_val *op_batch_norm(struct ts_call *k)
{
	if (stage_ts_arg_bool(k, 5)) {
		(void) stage_ts_fail(k->c, "in training mode");
		return NULL;
	}
	return batch_norm(k, 7);
}

static struct ts_val *op_batch_norm_eval(struct ts_call *k)
{
	struct ts_val *y = batch_norm(k, 6);

	return stage_ts_returns(k, (struct ts_val *[]){ y, NULL, NULL }, 3,
		false);
}

/* input weight bias mean var use_input_stats momentum eps */
static struct ts_val *op_instance_norm(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *w = stage_ts_arg(k, 1);
	struct ts_val *b = stage_ts_arg(k, 2);

	if (k->c->err)
		return NULL;
	if (!stage_ts_arg_bool(k, 5))
		return batch_norm(k, 7);
	if (!w)
		w = filled(k->c, x, x->t.dim[1], 1);
	if (!b)
		b = filled(k->c, x, x->t.dim[1], 0);
	return stage_ts_op(k->c, "InstanceNormalization", &x->t, TS_IN(x, w,
		b), TS_AT(stage_ts_af("epsilon", stage_ts_arg_num(k, 7))));
}

/* ---- what is nothing, or not far from it ----------------------------------- */

static struct ts_val *op_dropout(struct ts_call *k)
{
	if (stage_ts_arg_bool(k, 2) && stage_ts_arg_num(k, 1) != 0) {
		(void) stage_ts_fail(k->c, "in training mode");
		return NULL;
	}
	return stage_ts_arg(k, 0);
}

static struct ts_val *op_softmax(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0);

	if (!x)
		return NULL;
	if (k->op->name[0] != '_' && !stage_ts_arg_none(k, 2))
		x = stage_ts_cast(k->c, x, stage_ts_dtype(k->c,
			stage_ts_arg_int(k, 2)));
	return k->c->err ? NULL : stage_ts_softmax(k->c, k->op->onnx, x,
		stage_ts_axis(k->c, stage_ts_arg_int(k, 1), x->t.rank));
}

#define CONV "input:T weight:T bias:N=N stride:I=1 padding:?=0 dilation:I=1 " \
	"groups:i=1"
#define CONVT "input:T weight:T bias:N=N stride:I=1 padding:I=0 " \
	"output_padding:I=0 groups:i=1 dilation:I=1"
#define BN "input:T weight:N bias:N running_mean:N running_var:N "
#define ADDMM(a, b) "self:T " a ":T " b ":T beta:d=1 alpha:d=1"
#define DROP "input:T p:d train:b"
#define SOFTMAX "self:T dim:i dtype:i=N"

const struct ts_op stage_ts_ops_nn[] = {
	{ "conv1d", CONV, op_conv, "", 0 },
	{ "conv2d", CONV, op_conv, "", 0 },
	{ "conv3d", CONV, op_conv, "", 0 },
	{ "conv_transpose1d", CONVT, op_conv_transpose, "", 0 },
	{ "conv_transpose2d", CONVT, op_conv_transpose, "", 0 },
	{ "conv_transpose3d", CONVT, op_conv_transpose, "", 0 },
	{ "_convolution", "input:T weight:T bias:N stride:I padding:I "
		"dilation:I transposed:b output_padding:I groups:i "
		"benchmark:b=F deterministic:b=F cudnn_enabled:b=F "
		"allow_tf32:b=F", op_convolution, "", 0 },
	{ "_convolution_mode", "input:T weight:T bias:N stride:I padding:s "
		"dilation:I groups:i", op_conv, "", 0 },
	{ "convolution", "input:T weight:T bias:N stride:I padding:I "
		"dilation:I transposed:b output_padding:I groups:i",
		op_convolution, "", 0 },
	{ "linear", "input:T weight:T bias:N=N", op_linear, "", 0 },
	{ "matmul", "self:T other:T", op_matmul, "", 0 },
	{ "mm", "self:T mat2:T", op_matmul, "", 0 },
	{ "bmm", "self:T mat2:T", op_matmul, "", 0 },
	{ "mv", "self:T vec:T", op_matmul, "", 0 },
	{ "dot", "self:T tensor:T", op_matmul, "", 0 },
	{ "addmm", ADDMM("mat1", "mat2"), op_addmm, "", 0 },
	{ "addmv", ADDMM("mat", "vec"), op_addmm, "", 0 },
	{ "baddbmm", ADDMM("batch1", "batch2"), op_addmm, "", 0 },
	{ "layer_norm", "input:T normalized_shape:I weight:N=N bias:N=N "
		"eps:d=1e-5 cudnn_enable:b=F", op_layer_norm, "", 0 },
	{ "native_layer_norm", "input:T normalized_shape:I weight:N bias:N "
		"eps:d", op_layer_norm, "", 0 },
	{ "group_norm", "input:T num_groups:i weight:N=N bias:N=N eps:d=1e-5 "
		"cudnn_enabled:b=F", op_group_norm, "", 0 },
	{ "native_group_norm", "input:T weight:N bias:N N:i C:i HxW:i group:i "
		"eps:d", op_native_group_norm, "", 0 },
	{ "batch_norm", BN "training:b momentum:d eps:d cudnn_enabled:b=F",
		op_batch_norm, "", 0 },
	{ "_native_batch_norm_legit_no_training", BN "momentum:d eps:d",
		op_batch_norm_eval, "", 0 },
	{ "instance_norm", BN "use_input_stats:b momentum:d eps:d "
		"cudnn_enabled:b=F", op_instance_norm, "", 0 },
	{ "dropout", DROP, op_dropout, "", 0 },
	{ "feature_dropout", DROP, op_dropout, "", 0 },
	{ "alpha_dropout", DROP, op_dropout, "", 0 },
	{ "feature_alpha_dropout", DROP, op_dropout, "", 0 },
	{ "softmax", SOFTMAX, op_softmax, "Softmax", 0 },
	{ "log_softmax", SOFTMAX, op_softmax, "LogSoftmax", 0 },
	{ "_softmax", "self:T dim:i half_to_float:b", op_softmax, "Softmax",
		0 },
	{ "_log_softmax", "self:T dim:i half_to_float:b", op_softmax,
		"LogSoftmax", 0 },
	{ .name = NULL },
};
