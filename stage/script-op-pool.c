/* Windows over images: pools, and changes of size. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

/* ---- pools ----------------------------------------------------------------- */

struct pool {
	int64_t kernel[3], stride[3], pad[3], dilation[3];
	bool ceil, ceil_matters;
	size_t n;
};

static struct ts_dim pool_dim(struct ts *c, struct pool *p, struct ts_dim d,
	size_t i)
{
	int64_t add = 2 * p->pad[i] - p->dilation[i] * (p->kernel[i] - 1) - 1;
	struct ts_dim left = stage_ts_add(c, d, stage_ts_num(add)), up, down;

	down = stage_ts_div(c, left, stage_ts_num(p->stride[i]));
	if (!p->ceil)
		return stage_ts_add(c, down, stage_ts_num(1));
	up = stage_ts_div(c, stage_ts_add(c, left,
		stage_ts_num(p->stride[i] - 1)), stage_ts_num(p->stride[i]));
	if (stage_ts_same(up, down))
		return stage_ts_add(c, down, stage_ts_num(1));
	p->ceil_matters = true;
	/* torch leaves out a window that begins behind the input; ONNX has
	 * no word for that. */
	if (!up.sym && !d.sym && up.n * p->stride[i] >= d.n + p->pad[i])
		(void) stage_ts_fail(c, "ceil_mode with a window that begins "
			"in the padding");
	else if (up.sym && p->stride[i] > p->kernel[i] - p->pad[i])
		(void) stage_ts_fixed(c, d);
	return stage_ts_add(c, up, stage_ts_num(1));
}

/* x, kernel_size, stride, padding */
static bool pool_begin(struct ts_call *k, size_t n, struct pool *p)
{
	*p = (struct pool){ .n = n, .dilation = { 1, 1, 1 } };
	(void) stage_ts_arg_ints(k, 1, n, p->kernel, 3);
	memcpy(p->stride, p->kernel, sizeof(p->stride));
	(void) stage_ts_arg_ints(k, 2, n, p->stride, 3);
	(void) stage_ts_arg_ints(k, 3, n, p->pad, 3);
	return !k->c->err;
}

static struct ts_val *pool(struct ts_call *k, struct pool *p, const char *op,
	const struct stage_attr *more, bool has_more)
{
	struct ts_val *x = stage_ts_arg(k, 0), *y;
	struct stage_attr attrs[5];
	bool batched = x && x->t.rank == p->n + 2;
	int64_t pads[6];
	struct ts_type t;

	if (x && !batched)
		x = stage_ts_unsqueeze(k->c, x, 0);
	if (!x || x->t.rank != p->n + 2) {
		(void) stage_ts_fail(k->c, "a tensor of the wrong rank");
		return NULL;
	}
	t = x->t;
	for (size_t i = 0; i < p->n; i++) {
		if (p->kernel[i] < 1 || p->stride[i] < 1 || p->pad[i] < 0 ||
		    p->dilation[i] < 1 || p->kernel[i] > 65536 ||
		    p->stride[i] > 65536 || p->dilation[i] > 65536 ||
		    p->pad[i] > p->kernel[i]) {
			(void) stage_ts_fail(k->c, "a window that cannot be");
			return NULL;
		}
		t.dim[2 + i] = pool_dim(k->c, p, t.dim[2 + i], i);
		pads[i] = pads[p->n + i] = p->pad[i];
	}
	if (p->ceil_matters && has_more && strcmp(op, "MaxPool") != 0)
		(void) stage_ts_fail(k->c, "ceil_mode where it matters");
	attrs[0] = stage_ts_al("kernel_shape", p->kernel, p->n);
	attrs[1] = stage_ts_al("strides", p->stride, p->n);
	attrs[2] = stage_ts_al("pads", pads, 2 * p->n);
	attrs[3] = stage_ts_ai("ceil_mode", p->ceil_matters);
	if (has_more)
		attrs[4] = *more;
	y = stage_ts_op(k->c, op, &t, TS_IN(x), attrs, 4 + has_more);
	return batched ? y : stage_ts_squeeze(k->c, y, 0);
}

static size_t window_rank(const struct ts_call *k)
{
	const char *d = strchr(k->op->name, 'd');

	/* "…pool2d": the digit before the last d of the name's dimension */
	while (d && !(d > k->op->name && d[-1] >= '1' && d[-1] <= '3'))
		d = strchr(d + 1, 'd');
	return d ? (size_t)(d[-1] - '0') : 2;
}

/* self kernel stride padding dilation ceil_mode */
static struct ts_val *op_max_pool(struct ts_call *k)
{
	struct stage_attr more;
	struct ts_val *y;
	struct pool p;

	if (!pool_begin(k, window_rank(k), &p))
		return NULL;
	(void) stage_ts_arg_ints(k, 4, p.n, p.dilation, 3);
	p.ceil = stage_ts_arg_bool(k, 5);
	more = stage_ts_al("dilations", p.dilation, p.n);
	y = pool(k, &p, "MaxPool", &more, true);
	if (strstr(k->op->name, "indices"))
		return stage_ts_returns(k, (struct ts_val *[]){ y, NULL }, 2,
			false);
	return y;
}

/* self kernel stride padding ceil_mode count_include_pad divisor_override */
static struct ts_val *op_avg_pool(struct ts_call *k)
{
	struct stage_attr more;
	struct pool p;

	if (!pool_begin(k, window_rank(k), &p))
		return NULL;
	p.ceil = stage_ts_arg_bool(k, 4);
	if (k->n > 6 && !stage_ts_arg_none(k, 6)) {
		(void) stage_ts_fail(k->c, "with a divisor of its own");
		return NULL;
	}
	more = stage_ts_ai("count_include_pad", stage_ts_arg_bool(k, 5));
	return pool(k, &p, "AveragePool", &more, true);
}

/* To a size that divides the input's. */
static struct ts_val *op_adaptive(struct ts_call *k)
{
	bool max = k->op->onnx[0] == 'M';
	struct ts_val *x = stage_ts_arg(k, 0);
	struct ts_dim want[3];
	struct pool p = { .n = window_rank(k), .dilation = { 1, 1, 1 } };
	bool one = true, same = true;
	size_t n = 0;
	struct ts_type t;

	if (k->arg[1].kind == TS_LIST || k->arg[1].kind == TS_TUPLE)
		n = k->arg[1].u.list->n;
	if (!x || x->t.rank < p.n || (n && n != p.n)) {
		(void) stage_ts_fail(k->c, "a tensor of the wrong rank");
		return NULL;
	}
	for (size_t i = 0; i < p.n; i++) {
		const struct ts_value *v = n ? &k->arg[1].u.list->v[i] :
			&k->arg[1];
		struct ts_dim d = x->t.dim[x->t.rank - p.n + i];

		/* None: as it is */
		want[i] = d;
		if (v->kind != TS_NONE && !stage_ts_to_dim(v, &want[i]))
			(void) stage_ts_fail(k->c, "a size that is no number");
		one = one && stage_ts_is(want[i], 1);
		same = same && stage_ts_same(want[i], d);
	}
	if (same)
		return x;
	if (one && x->t.rank == p.n + 2) {
		t = x->t;
		for (size_t i = 0; i < p.n; i++)
			t.dim[2 + i] = stage_ts_num(1);
		return stage_ts_op(k->c, max ? "GlobalMaxPool" :
			"GlobalAveragePool", &t, TS_IN(x), TS_BARE);
	}
	for (size_t i = 0; i < p.n && !k->c->err; i++) {
		int64_t d = stage_ts_fixed(k->c,
			x->t.dim[x->t.rank - p.n + i]);
		int64_t w = stage_ts_fixed(k->c, want[i]);

		if (w < 1 || d % w) {
			(void) stage_ts_fail(k->c, "from %lld to %lld, which "
				"does not divide it", (long long)d,
				(long long)w);
			return NULL;
		}
		p.kernel[i] = p.stride[i] = d / w;
	}
	return k->c->err ? NULL : pool(k, &p, max ? "MaxPool" : "AveragePool",
		NULL, false);
}

static struct ts_val *op_adaptive_max(struct ts_call *k)
{
	struct ts_val *y = op_adaptive(k);

	return stage_ts_returns(k, (struct ts_val *[]){ y, NULL }, 2, false);
}

/* ---- changes of size ------------------------------------------------------- */

static struct ts_val *floats(struct ts *c, const float *v, size_t n)
{
	uint64_t dims[1] = { n };
	uint8_t data[8 * 4];

	for (size_t i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &v[i], sizeof(bits));
		for (int b = 0; b < 4; b++)
			data[4 * i + (size_t)b] = (uint8_t)(bits >> (8 * b));
	}
	return stage_ts_const(c, STAGE_F32, dims, 1, data, 4 * n);
}

/* Factors: a list in one argument, or one argument an axis; false: none. */
static bool factors(struct ts_call *k, size_t at, size_t n, double *ret)
{
	const struct ts_value *v = &k->arg[at];

	if (v->kind == TS_LIST || v->kind == TS_TUPLE) {
		if (v->u.list->n != n)
			return false;
		for (size_t i = 0; i < n; i++) {
			if (v->u.list->v[i].kind != TS_FLOAT)
				return false;
			ret[i] = v->u.list->v[i].u.f;
		}
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (at + i >= k->n || k->arg[at + i].kind != TS_FLOAT)
			return false;
		ret[i] = k->arg[at + i].u.f;
	}
	return true;
}

static struct ts_dim scaled(struct ts_call *k, struct ts_dim d, double by)
{
	if (by == floor(by) && by >= 1 && by < 65536)
		return stage_ts_mul(k->c, d, stage_ts_num((int64_t)by));
	if (!(by > 0 && by < 65536)) {
		(void) stage_ts_fail(k->c, "by %g", by);
		return d;
	}
	return stage_ts_num((int64_t)floor((double)stage_ts_fixed(k->c, d) *
		by));
}

static struct ts_val *resize(struct ts_call *k, const char *mode,
	const char *where, size_t scale_at)
{
	struct ts_val *x = stage_ts_arg(k, 0);
	struct stage_attr attrs[3];
	struct ts_dim want[3];
	float all[5] = { 1, 1 };
	double by[3];
	struct ts_type t;
	size_t n;
	bool scales;

	if (!x || x->t.rank < 3 || x->t.rank > 5)
		return NULL;
	n = x->t.rank - 2;
	t = x->t;
	scales = factors(k, scale_at, n, by);
	if (!stage_ts_arg_none(k, 1) && stage_ts_arg_dims(k, 1, want, 3) != n)
		(void) stage_ts_fail(k->c, "another number of sizes");
	for (size_t i = 0; i < n; i++) {
		if (stage_ts_arg_none(k, 1) && !scales)
			(void) stage_ts_fail(k->c, "neither sizes nor scales");
		else
			t.dim[2 + i] = stage_ts_arg_none(k, 1) ? scaled(k,
				x->t.dim[2 + i], by[i]) : want[i];
		all[2 + i] = scales ? (float)by[i] : 1;
	}
	attrs[0] = stage_ts_as("mode", mode);
	attrs[1] = stage_ts_as("coordinate_transformation_mode", where);
	attrs[2] = stage_ts_as("nearest_mode", "floor");
	/* Scales say where an element comes from, where they are known. */
	if (scales && strcmp(where, "align_corners") != 0)
		return stage_ts_op(k->c, "Resize", &t, TS_IN(x, NULL,
			floats(k->c, all, n + 2)), attrs, 3);
	return stage_ts_op(k->c, "Resize", &t, TS_IN(x, NULL, NULL,
		stage_ts_dims(k->c, t.dim, t.rank)), attrs, 3);
}

static struct ts_val *op_nearest(struct ts_call *k)
{
	return resize(k, "nearest", "asymmetric", 2);
}

/* self output_size align_corners scales */
static struct ts_val *op_linear_resize(struct ts_call *k)
{
	return resize(k, "linear", stage_ts_arg_bool(k, 2) ? "align_corners" :
		"half_pixel", 3);
}

#define MAXP "self:T kernel_size:I stride:I=N padding:I=0 dilation:I=1 " \
	"ceil_mode:b=F"
#define AVGP "self:T kernel_size:I stride:I=N padding:I=0 ceil_mode:b=F " \
	"count_include_pad:b=T divisor_override:i=N"
#define ADAPT "self:T output_size:?"
#define NEAR1 "self:T output_size:I scales:d=N"
#define NEAR2 "self:T output_size:I scales_h:d=N scales_w:d=N"
#define VEC "input:T output_size:I=N scale_factors:?=N"
#define BI2 "self:T output_size:I align_corners:b scales_h:d=N scales_w:d=N"
#define BIVEC "input:T output_size:I=N align_corners:b scale_factors:?=N"

const struct ts_op stage_ts_ops_pool[] = {
	{ "max_pool1d", MAXP, op_max_pool, "", 0 },
	{ "max_pool2d", MAXP, op_max_pool, "", 0 },
	{ "max_pool3d", MAXP, op_max_pool, "", 0 },
	{ "max_pool2d_with_indices", MAXP, op_max_pool, "", 0 },
	{ "max_pool3d_with_indices", MAXP, op_max_pool, "", 0 },
	{ "avg_pool1d", AVGP, op_avg_pool, "", 0 },
	{ "avg_pool2d", AVGP, op_avg_pool, "", 0 },
	{ "avg_pool3d", AVGP, op_avg_pool, "", 0 },
	{ "adaptive_avg_pool1d", ADAPT, op_adaptive, "A", 0 },
	{ "adaptive_avg_pool2d", ADAPT, op_adaptive, "A", 0 },
	{ "adaptive_avg_pool3d", ADAPT, op_adaptive, "A", 0 },
	{ "_adaptive_avg_pool2d", ADAPT, op_adaptive, "A", 0 },
	{ "_adaptive_avg_pool3d", ADAPT, op_adaptive, "A", 0 },
	{ "adaptive_max_pool1d", ADAPT, op_adaptive_max, "M", 0 },
	{ "adaptive_max_pool2d", ADAPT, op_adaptive_max, "M", 0 },
	{ "upsample_nearest1d", VEC, op_nearest, "", 0 },
	{ "upsample_nearest1d", NEAR1, op_nearest, "", 0 },
	{ "upsample_nearest2d", VEC, op_nearest, "", 0 },
	{ "upsample_nearest2d", NEAR2, op_nearest, "", 0 },
	{ "upsample_bilinear2d", BIVEC, op_linear_resize, "", 0 },
	{ "upsample_bilinear2d", BI2, op_linear_resize, "", 0 },
	{ "upsample_linear1d", BIVEC, op_linear_resize, "", 0 },
	{ "upsample_linear1d", "self:T output_size:I align_corners:b "
		"scales:d=N", op_linear_resize, "", 0 },
	{ .name = NULL },
};
