/* The operator stream as GraphDef, skimmed back: which nodes stand for which
 * operator, and what becomes of weights. What they compute is for
 * tests/oracle/test_graphdef.py. */
#include "config.h"

#include "stage/format/wire.h"
#include "stage/graph-data.h"
#include "stage/tf-names.h"
#include "stage/tf.h"
#include "tests/unit/stage-src.h"

#define I(n, v) { .name = n, .kind = STAGE_ATTR_INT, .i = v }
#define LISTED(...) ((const char *const[]){ __VA_ARGS__ }), \
	sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)

static const struct stage_dim text[2] = { { -1, "batch" }, { -1, "length" } };
static const struct stage_dim plane[4] = { { -1, "batch" }, { 4, NULL },
	{ -1, "height" }, { -1, "width" } };
static struct error why;

static void node(struct stage_graph *g, const char *op,
	const char *const *in, size_t n_in, const char *out,
	const struct stage_attr *attrs, size_t n_attrs)
{
	t_int(stage_graph_node(g, op, in, n_in, &out, 1, attrs, n_attrs), 0);
}

static void ints(struct stage_graph *g, const char *name, size_t n,
	const int64_t *v)
{
	uint64_t dim = n;

	t_int(stage_graph_constant(g, name, STAGE_I64, &dim, 1, v, 8 * n), 0);
}

static void weight(struct stage_graph *g, const char *name, unsigned rank,
	const uint64_t *dims, uint64_t off, uint64_t size)
{
	struct stage_tensor t = { .dtype = STAGE_F32, .rank = rank,
		.off = off, .len = 4 };

	for (unsigned i = 0; i < rank; i++) {
		t.dim[i] = dims[i];
		t.len *= dims[i];
	}
	t_int(stage_graph_weight(g, name, &t, "dir/w.bin", size), 0);
}

/* ---- reading back ---------------------------------------------------------- */

struct graph {
	uint8_t *data;
	size_t len;
	const struct stage_extent *v;
	size_t n;
	struct stage_recipe *r;
};

/* The recipe's bytes, those of the checkpoint as 0xee. */
static struct graph written_as(const struct stage_graph *g, bool trainable)
{
	struct graph ret = { 0 };
	struct stage_recipe *r = NULL;
	struct src *w, *s = NULL;
	uint8_t *file;

	t_str((stage_tf_from_graph(g, trainable, &r, &why), why.text), "");
	t_int(stage_recipe_check(r, &why), 0);
	ret.len = (size_t)stage_recipe_size(r);
	ret.data = malloc(ret.len);
	ret.n = stage_recipe_extents(r, &ret.v);
	ret.r = r;
	file = malloc(1024);
	t_check(ret.data && file);
	memset(file, 0xee, 1024);
	w = src_of(file, 1024);
	free(file);
	t_int(stage_recipe_src(r, &w, &s, &why), 0);
	t_int(src_read_wait(s, 0, ret.data, ret.len), 0);
	src_unref(s);
	src_unref(w);
	return ret;
}

static struct graph written(const struct stage_graph *g)
{
	return written_as(g, false);
}

static void done(struct graph *g)
{
	stage_recipe_unref(g->r);
	free(g->data);
}

static bool is(const struct stage_wire *f, const char *s)
{
	return f->value == strlen(s) && !memcmp(f->body.p, s, strlen(s));
}

/* "Op in in" of the node called so; "" when there is none. */
static const char *said(const struct graph *g, const char *name)
{
	static char ret[512];
	struct bytes m = bytes_of(g->data, g->len);
	struct stage_wire f, n;

	ret[0] = '\0';
	while (stage_wire_next(&m, &f) > 0) {
		struct bytes body = f.body;
		bool found = false;
		size_t at = 0;

		while (f.number == 1 && stage_wire_next(&body, &n) > 0) {
			if (n.number == 1)
				found = is(&n, name);
			if (found && (n.number == 2 || n.number == 3))
				at += (size_t)snprintf(ret + at,
					sizeof(ret) - at, "%s%.*s",
					at ? " " : "", (int)n.value,
					(const char *)n.body.p);
		}
		t_check(!body.bad);
		if (found)
			return ret;
	}
	t_check(!m.bad && m.p == m.end);
	return ret;
}

/* ---- tests ----------------------------------------------------------------- */

static void test_text(void)
{
	static const uint64_t table[] = { 9, 4 }, matrix[] = { 4, 6 };
	static const int64_t shape[] = { 0, 0, 2, 3 }, swap[] = { 0, 2, 1, 3 };
	const struct stage_attr perm = { .name = "perm",
		.kind = STAGE_ATTR_INTS, .ints = swap, .n = 4 };
	const struct stage_attr axis = I("axis", 1);
	struct stage_graph *g = stage_graph_new("main");
	struct graph t;

	t_int(stage_graph_input(g, "ids", STAGE_I64, text, 2), 0);
	weight(g, "w", 2, matrix, 144, 1024);
	weight(g, "embeddings.weight", 2, table, 0, 1024);
	ints(g, "shape", 4, shape);
	node(g, "Gather", LISTED("embeddings.weight", "ids"), "/e/Gather", NULL,
		0);
	node(g, "MatMul", LISTED("/e/Gather", "w"), "/e/MatMul", NULL, 0);
	node(g, "Reshape", LISTED("/e/MatMul", "shape"), "/e/Reshape", NULL, 0);
	node(g, "Transpose", LISTED("/e/Reshape"), "/e/Transpose", &perm, 1);
	node(g, "Softmax", LISTED("/e/Transpose"), "probability", &axis, 1);
	t_int(stage_graph_output(g, "probability", STAGE_F32,
		(const struct stage_dim[]){ text[0], { 2, NULL }, text[1],
			{ 3, NULL } }, 4), 0);
	t = written(g);
	t_str(said(&t, "ids"), "Placeholder");
	t_str(said(&t, "e/Gather"), "GatherV2 embeddings.weight ids "
		"e/Gather/axis");
	t_str(said(&t, "e/MatMul"), "BatchMatMulV2 e/Gather w");
	/* Two dimensions stay what they were. */
	t_str(said(&t, "e/Reshape/was"), "Shape e/MatMul");
	t_str(said(&t, "e/Reshape/part0"), "StridedSlice e/Reshape/was "
		"e/Reshape/part0/begin e/Reshape/part0/end "
		"e/Reshape/part0/step");
	t_str(said(&t, "e/Reshape/shape"), "ConcatV2 e/Reshape/part0 "
		"e/Reshape/part1 e/Reshape/shape/axis");
	t_str(said(&t, "e/Transpose"), "Transpose e/Reshape e/Transpose/perm");
	/* Along another axis than the last. */
	t_str(said(&t, "probability/last"), "Softmax probability/in");
	t_str(said(&t, "probability"), "Transpose probability/last "
		"probability/perm");
	/* The checkpoint's bytes, in its order. */
	t_int(stage_recipe_sources(t.r), 1);
	t_int(t.n, 5);
	t_int(t.v[1].kind, STAGE_REF);
	t_int(t.v[1].off, 0);
	t_int(t.v[1].len, 144);
	t_int(t.v[3].off, 144);
	t_int(t.v[3].len, 96);
	done(&t);
	stage_graph_free(g);
}

static void convolution(struct stage_graph *g, const char *out, int64_t group,
	const int64_t *strides)
{
	static const int64_t pads[] = { 1, 0, 0, 2 };
	const struct stage_attr attrs[] = { I("group", group),
		{ .name = "pads", .kind = STAGE_ATTR_INTS, .ints = pads,
			.n = 4 },
		{ .name = "strides", .kind = STAGE_ATTR_INTS, .ints = strides,
			.n = 2 } };
	char name[8];

	(void) snprintf(name, sizeof(name), "w%d", (int)group);
	node(g, "Conv", LISTED("x", name, "b"), out, attrs, 3);
}

static void test_planes(void)
{
	static const uint64_t whole[] = { 4, 4, 3, 3 }, half[] = { 4, 2, 3, 3 },
		each[] = { 4, 1, 3, 3 }, four = 4;
	static const int64_t even[] = { 2, 2 }, odd[] = { 1, 2 };
	const struct stage_attr kernel = { .name = "kernel_shape",
		.kind = STAGE_ATTR_INTS, .ints = even, .n = 2 };
	struct stage_graph *g = stage_graph_new("main");
	struct graph t;

	t_int(stage_graph_input(g, "x", STAGE_F32, plane, 4), 0);
	weight(g, "w1", 4, whole, 0, 1024);
	weight(g, "w2", 4, half, 0, 1024);
	weight(g, "w4", 4, each, 0, 1024);
	weight(g, "b", 1, &four, 0, 1024);
	convolution(g, "one", 1, odd);
	convolution(g, "two", 2, even);
	convolution(g, "four", 4, even);
	convolution(g, "uneven", 4, odd);
	node(g, "MaxPool", LISTED("x"), "pool", &kernel, 1);
	node(g, "GlobalAveragePool", LISTED("pool"), "mean", NULL, 0);
	t_int(stage_graph_output(g, "mean", STAGE_F32, (const struct
		stage_dim[]){ plane[0], plane[1], { 1, NULL }, { 1, NULL } },
		4), 0);
	t = written(g);
	t_str(said(&t, "one/last"), "Transpose x one/last/perm");
	t_str(said(&t, "one/padded"), "Pad one/last one/paddings");
	t_str(said(&t, "one/conv"), "Conv2D one/padded one/weight");
	t_str(said(&t, "one/bias"), "BiasAdd one/conv b");
	t_str(said(&t, "one"), "Transpose one/bias one/perm");
	t_str(said(&t, "two/group1"), "Conv2D two/split:1 two/weight/split:1");
	t_str(said(&t, "two/groups"), "ConcatV2 two/group0 two/group1 "
		"two/axis");
	t_str(said(&t, "four/conv"), "DepthwiseConv2dNative four/padded "
		"four/weight/depthwise");
	/* TensorFlow has no kernel for that. */
	t_str(said(&t, "uneven/conv"), "");
	t_str(said(&t, "uneven/group3"), "Conv2D uneven/split:3 "
		"uneven/weight/split:3");
	t_str(said(&t, "pool/pool"), "MaxPool pool/last");
	t_str(said(&t, "mean"), "Mean pool mean/axes");
	done(&t);
	stage_graph_free(g);
}

static void test_indices(void)
{
	static const int64_t last[] = { -1 }, one[] = { 1 }, two[] = { 2 },
		end[] = { INT64_MAX }, wide[] = { 3, 1, 1 };
	struct stage_graph *g = stage_graph_new("main");
	struct graph t;

	t_int(stage_graph_input(g, "x", STAGE_F32, plane, 4), 0);
	ints(g, "last", 1, last);
	ints(g, "one", 1, one);
	ints(g, "two", 1, two);
	ints(g, "end", 1, end);
	ints(g, "wide", 3, wide);
	node(g, "Shape", LISTED("x"), "shape", NULL, 0);
	node(g, "Gather", LISTED("shape", "last"), "width", NULL, 0);
	node(g, "Slice", LISTED("x", "one", "width", "two"), "cut", NULL, 0);
	node(g, "Slice", LISTED("x", "one", "end", "last"), "rest", NULL, 0);
	node(g, "Unsqueeze", LISTED("x", "two"), "more", NULL, 0);
	node(g, "Expand", LISTED("more", "wide"), "y", NULL, 0);
	node(g, "Identity", LISTED("cut"), "z", NULL, 0);
	node(g, "Identity", LISTED("rest"), "v", NULL, 0);
	t_int(stage_graph_output(g, "y", STAGE_F32, plane, 4), 0);
	t_int(stage_graph_output(g, "x", STAGE_F32, plane, 4), 0);
	t = written(g);
	t_str(said(&t, "shape"), "Shape x");
	/* -1 is not known to GatherV2: it is 3. */
	t_str(said(&t, "width"), "GatherV2 shape width/index width/axis");
	t_str(said(&t, "cut"), "StridedSlice x cut/begin cut/end cut/steps");
	t_str(said(&t, "cut/end"), "ConcatV2 cut/end/before width "
		"cut/end/axis");
	t_str(said(&t, "rest"), "StridedSlice x rest/begin rest/end "
		"rest/steps");
	t_str(said(&t, "more"), "ExpandDims x more/axis2");
	t_str(said(&t, "y"), "BroadcastTo more y/shape");
	t_str(said(&t, "y/shape"), "BroadcastArgs y/was wide");
	done(&t);
	stage_graph_free(g);
}

/* MetaGraphDef's graph_def 2, and how many collections 4 there are. */
static struct graph graph_of(const struct graph *meta, unsigned *ret_lists)
{
	struct bytes m = bytes_of(meta->data, meta->len);
	struct graph ret = { 0 };
	struct stage_wire f;

	*ret_lists = 0;
	while (stage_wire_next(&m, &f) > 0) {
		*ret_lists += f.number == 4;
		if (f.number == 2) {
			ret.data = (uint8_t *)(uintptr_t)f.body.p;
			ret.len = (size_t)f.value;
		}
	}
	t_check(!m.bad && m.p == m.end && ret.data);
	return ret;
}

/* Weights become variables; statistics, tables, single numbers and what nobody
 * uses do not. */
static void test_training(void)
{
	static const uint64_t four = 4, one = 1;
	static const float table[4] = { 1, 2, 3, 4 };
	struct stage_graph *g = stage_graph_new("main");
	struct stage_recipe *r = NULL;
	struct graph meta, t;
	unsigned lists;

	t_int(stage_graph_input(g, "x", STAGE_F32, plane, 4), 0);
	weight(g, "scale", 1, &four, 0, 1024);
	weight(g, "bias", 1, &four, 16, 1024);
	weight(g, "mean", 1, &four, 32, 1024);
	weight(g, "var", 1, &four, 48, 1024);
	weight(g, "single", 1, &one, 64, 1024);
	weight(g, "unused", 1, &four, 80, 1024);
	t_int(stage_graph_constant(g, "table", STAGE_F32, &four, 1, table,
		sizeof(table)), 0);
	node(g, "BatchNormalization", LISTED("x", "scale", "bias", "mean",
		"var"), "norm", NULL, 0);
	node(g, "Mul", LISTED("norm", "single"), "y", NULL, 0);
	node(g, "Add", LISTED("scale", "table"), "scale/Read", NULL, 0);
	t_int(stage_graph_output(g, "y", STAGE_F32, plane, 4), 0);
	meta = written_as(g, true);
	t = graph_of(&meta, &lists);
	t_int(lists, 2);
	t_str(said(&t, "scale"), "VarHandleOp");
	t_str(said(&t, "scale/initial_value"), "Const");
	t_str(said(&t, "scale/Assign"), "AssignVariableOp scale "
		"scale/initial_value");
	t_str(said(&t, "scale/Read_1"), "ReadVariableOp scale");
	t_str(said(&t, "scale/Read"), "AddV2 scale/Read_1 table");
	t_str(said(&t, "bias/Read"), "ReadVariableOp bias");
	t_str(said(&t, "mean"), "Const");
	t_str(said(&t, "var"), "Const");
	t_str(said(&t, "single"), "Const");
	t_str(said(&t, "unused"), "Const");
	t_str(said(&t, "table"), "Const");
	t_check(!strncmp(said(&t, "init"), "NoOp ^", 6));
	done(&meta);
	stage_graph_free(g);

	g = stage_graph_new("main");
	t_int(stage_graph_input(g, "x", STAGE_F32, plane, 4), 0);
	node(g, "Tanh", LISTED("x"), "y", NULL, 0);
	t_int(stage_graph_output(g, "y", STAGE_F32, plane, 4), 0);
	t_int(stage_tf_from_graph(g, true, &r, &why), -ENOTSUP);
	t_check(strstr(why.text, "no weights that could be trained"));
	memset(&why, 0, sizeof(why));
	stage_graph_free(g);
}

static void refused(struct stage_graph *g, int err, const char *reason)
{
	struct stage_recipe *r = NULL;

	memset(&why, 0, sizeof(why));
	t_int(stage_tf_from_graph(g, false, &r, &why), err);
	t_check(!r);
	t_check(strstr(why.text, reason));
	memset(&why, 0, sizeof(why));
	stage_graph_free(g);
}

static void test_refusals(void)
{
	static const uint64_t large[] = { 32768, 16385 };
	const struct stage_attr ceil[] = { I("ceil_mode", 1),
		{ .name = "kernel_shape", .kind = STAGE_ATTR_INTS,
			.ints = (const int64_t[]){ 2, 2 }, .n = 2 } };
	struct stage_graph *g = stage_graph_new("main");

	t_int(stage_graph_input(g, "x", STAGE_F32, plane, 4), 0);
	node(g, "Fancy", LISTED("x"), "y", NULL, 0);
	refused(g, -ENOTSUP, "the operator Fancy has no form in TensorFlow");

	g = stage_graph_new("main");
	t_int(stage_graph_input(g, "x", STAGE_F32, plane, 4), 0);
	node(g, "MaxPool", LISTED("x"), "y", ceil, 2);
	refused(g, -ENOTSUP, "ceil_mode");

	/* A weight of 2 GiB and 64 KiB. */
	g = stage_graph_new("main");
	weight(g, "w", 2, large, 0, 1ull << 32);
	node(g, "Tanh", LISTED("w"), "y", NULL, 0);
	t_int(stage_graph_output(g, "y", STAGE_F32, (const struct
		stage_dim[]){ { 32768, NULL }, { 16385, NULL } }, 2), 0);
	refused(g, -EFBIG, "2 GiB");
}

/* ---- tf_model.h5 ----------------------------------------------------------- */

static void add(struct stage_weights *w, const char *name, unsigned rank,
	const uint64_t *dims)
{
	struct stage_tensor t = { .name = (char *)(uintptr_t)name,
		.dtype = STAGE_F32, .rank = rank, .len = 4 };

	for (unsigned i = 0; i < rank; i++) {
		t.dim[i] = dims[i];
		t.len *= dims[i];
	}
	t_int(stage_weights_add(w, &t, &why), 0);
}

static void test_names(void)
{
	static const uint64_t d[] = { 1, 2, 3, 4 };
	struct stage_weights w = { 0 };
	const struct stage_tensor *t;
	struct stage_graph *g = stage_graph_new("main");

	t_int(stage_weights_file(&w, "tf_model.h5", 1000), 0);
	add(&w, "bert/tf_bert/bert/layer_._0/dense/kernel:0", 2, d + 1);
	add(&w, "bert/tf_bert/bert/layer_._0/LayerNorm/gamma:0", 1, d);
	add(&w, "mlm___cls/tf_bert/mlm___cls/bias:0", 1, d);
	add(&w, "vit/tf_vit/vit/projection/kernel:0", 4, d);
	add(&w, "gpt/tf_gpt/gpt//h_._1/c_fc/bias:0", 2, d);
	t_int(stage_tf_weight_names(&w, &why), 0);
	t = stage_weights_find(&w, "bert.layer.0.dense.weight");
	t_check(t && t->dim[0] == 3 && t->dim[1] == 2);
	t_int(t->order, STAGE_ORDER_10);
	t_check(stage_weights_find(&w, "bert.layer.0.LayerNorm.weight"));
	t_check(stage_weights_find(&w, "cls.bias"));
	t_int(stage_weights_find(&w, "gpt.h.1.c_fc.bias")->rank, 1);
	/* Height, width, in, out. */
	t = stage_weights_find(&w, "vit.projection.weight");
	t_check(t && t->dim[0] == 4 && t->dim[1] == 3 && t->dim[2] == 1 &&
		t->dim[3] == 2);
	t_int(stage_graph_weight(g, "w", t, "tf_model.h5", 1000), 0);
	t_str(g->inits[0].value, "w/stored");
	t_check(!memcmp(g->inits[0].dim, d, sizeof(d)));
	t_str(g->nodes[0].op, "Transpose");
	t_str(g->nodes[0].outputs[0], "w");
	stage_graph_free(g);
	stage_weights_done(&w);
	memset(&w, 0, sizeof(w));
	t_int(stage_weights_file(&w, "tf_model.h5", 1000), 0);
	add(&w, "a/x/b/kernel:0", 1, d);
	add(&w, "b/y/b/weight:0", 1, d);
	t_int(stage_tf_weight_names(&w, &why), -EBADMSG);
	memset(&why, 0, sizeof(why));
	stage_weights_done(&w);
}

int main(void)
{
	test_names();
	test_text();
	test_planes();
	test_indices();
	test_training();
	test_refusals();
	return 0;
}
