/* A graph written as ONNX and skimmed back; what a writer and a reader that
 * share a mistake would agree on is left to tests/oracle. */
#include "config.h"

#include "base/json.h"
#include "stage/graph.h"
#include "tests/unit/stage-src.h"

static const struct stage_dim batch[2] = { { -1, "batch" }, { 3, NULL } };
static const char *const gemm_in[] = { "x", "w", "b" };
static const char *const gemm_out[] = { "y" };
static const char *const metadata[] = { "key", "value", NULL };

/* y = Gemm(x, w', b), w = 24 bytes at 8 of dir/w.bin, which has 40. */
static struct stage_graph *sample(void)
{
	struct stage_graph *g = stage_graph_new("main");
	struct stage_tensor t = { .name = NULL, .dtype = STAGE_F32, .rank = 2,
		.dim = { 2, 3 }, .off = 8, .len = 24 };
	static const int64_t ints[2] = { 1, -2 };
	const struct stage_attr attrs[] = {
		{ .name = "transB", .kind = STAGE_ATTR_INT, .i = 1 },
		{ .name = "list", .kind = STAGE_ATTR_INTS, .ints = ints,
			.n = 2 },
		{ .name = "word", .kind = STAGE_ATTR_STRING, .s = "s" },
	};
	uint64_t dim = 2;

	t_check(g);
	t_int(stage_graph_input(g, "x", STAGE_F32, batch, 2), 0);
	t_int(stage_graph_weight(g, "w", &t, "dir/w.bin", 40), 0);
	t_int(stage_graph_constant(g, "b", STAGE_F32, &dim, 1, "12345678", 8),
		0);
	t_int(stage_graph_node(g, "Gemm", gemm_in, 3, gemm_out, 1, attrs, 3),
		0);
	t_int(stage_graph_output(g, "y", STAGE_F32, batch, 2), 0);
	return g;
}

static struct stage_onnx_options options(bool external)
{
	return (struct stage_onnx_options){ .opset = 13, .external = external,
		.producer_version = "0", .metadata = metadata };
}

static struct src *written(const struct stage_graph *g, bool external,
	struct stage_recipe **ret)
{
	struct stage_onnx_options o = options(external);
	struct src *w = src_of("01234567abcdefghijklmnopqrstuvwx89012345", 40);
	struct error why = { 0 };
	struct src *s = NULL;

	t_int(stage_onnx_write(g, &o, ret, &why), 0);
	t_int(stage_recipe_sources(*ret), !external);
	t_int(stage_recipe_src(*ret, &w, &s, &why), 0);
	src_unref(w);
	return s;
}

static json_t *info_of(struct src *s)
{
	struct error why = { 0 };
	json_t *j = NULL;
	char *text;

	t_str((stage_onnx_info(s, &text, &why), why.text), "");
	t_int(json_parse(text, strlen(text), 1 << 20, &j, &why), 0);
	free(text);
	return j;
}

static int64_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static void check_info(struct src *s, int external)
{
	json_t *j = info_of(s), *x, *shape;

	t_int(number(j, "ir_version"), 7);
	t_int(number(j, "opset"), 13);
	t_int(number(j, "nodes"), 1);
	t_int(number(j, "initializers"), 2);
	t_int(number(j, "parameters"), 8);
	t_int(number(json_object_get(j, "operators"), "Gemm"), 1);
	t_str(json_str(json_object_get(j, "metadata"), "key"), "value");
	t_int(json_array_size(json_object_get(j, "inputs")), 1);
	x = json_array_get(json_object_get(j, "inputs"), 0);
	t_str(json_str(x, "name"), "x");
	t_str(json_str(x, "type"), "float32");
	shape = json_object_get(x, "shape");
	t_str(json_string_value(json_array_get(shape, 0)), "batch");
	t_int(json_integer_value(json_array_get(shape, 1)), 3);
	t_int(number(json_object_get(j, "external_data"), "w.bin"), external);
	json_decref(j);
}

static void test_inline(void)
{
	struct stage_graph *g = sample();
	struct stage_recipe *r = NULL;
	const struct stage_extent *v;
	struct src *s = written(g, false, &r);
	size_t n = stage_recipe_extents(r, &v), refs = 0;

	check_info(s, 0);
	for (size_t i = 0; i < n; i++) {
		if (v[i].kind != STAGE_REF)
			continue;
		refs++;
		t_int(v[i].off, 8);
		t_int(v[i].len, 24);
	}
	t_int(refs, 1);
	src_unref(s);
	stage_recipe_unref(r);
	stage_graph_free(g);
}

static void test_external(void)
{
	struct stage_graph *g = sample();
	struct stage_recipe *r = NULL;
	struct src *s = written(g, true, &r);

	check_info(s, 1);
	src_unref(s);
	stage_recipe_unref(r);
	stage_graph_free(g);
}

/* The weights stand in the order of their bytes, whatever order they came. */
static void test_order(void)
{
	struct stage_graph *g = stage_graph_new("g");
	struct stage_onnx_options o = options(false);
	struct stage_recipe *r = NULL;
	const struct stage_extent *v;
	uint64_t last = 0;
	size_t n;

	for (int i = 0; i < 10; i++) {
		struct stage_tensor t = { .dtype = STAGE_U8, .rank = 1,
			.dim = { 10 }, .len = 10,
			.off = (uint64_t)(i * 7 % 10) * 10 };
		char name[16];

		snprintf(name, sizeof(name), "w%d", i);
		t_int(stage_graph_weight(g, name, &t, "w", 100), 0);
	}
	t_int(stage_onnx_write(g, &o, &r, NULL), 0);
	n = stage_recipe_extents(r, &v);
	for (size_t i = 0; i < n; i++) {
		if (v[i].kind != STAGE_REF)
			continue;
		t_int(v[i].off, last);
		last = v[i].off + v[i].len;
	}
	t_int(last, 100);
	stage_recipe_unref(r);
	stage_graph_free(g);
}

static int write_error(const struct stage_graph *g, bool external,
	const char *text)
{
	struct stage_onnx_options o = options(external);
	struct stage_recipe *r = NULL;
	struct error why = { 0 };
	int err = stage_onnx_write(g, &o, &r, &why);

	t_check(!r);
	if (!strstr(why.text, text)) {
		fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	return err;
}

static void test_refuses(void)
{
	struct stage_graph *g = sample();
	static const char *const late[] = { "z" }, *const z[] = { "z2" };
	struct stage_tensor big = { .dtype = STAGE_U8, .rank = 1,
		.dim = { (uint64_t)1 << 31 }, .len = (uint64_t)1 << 31 };
	struct stage_tensor one = { .dtype = STAGE_U8, .rank = 1,
		.dim = { 2 }, .len = 1 };
	struct stage_onnx_options o = options(false);
	struct stage_recipe *r = NULL;

	/* Names are unique, and a failed call leaves nothing behind. */
	t_int(stage_graph_node(g, "Relu", gemm_out, 1, gemm_out, 1, NULL, 0),
		-EEXIST);
	t_int(stage_graph_nodes(g), 1);
	t_int(stage_graph_input(g, "w", STAGE_F32, NULL, 0), -EEXIST);
	t_int(stage_graph_output(g, "y", STAGE_F32, NULL, 0), -EEXIST);
	t_int(stage_graph_input(g, "q", (enum stage_dtype)99, NULL, 0),
		-EINVAL);
	o.opset = 14;
	t_int(stage_onnx_write(g, &o, &r, NULL), -EINVAL);
	t_int(stage_graph_weight(g, "big", &big, "big.bin", big.len), 0);
	t_int(write_error(g, false, "2 GiB"), -EFBIG);
	t_int(stage_graph_weight(g, "other", &big, "dir2/big.bin", big.len),
		0);
	t_int(write_error(g, true, "big.bin"), -ENOTSUP);
	/* z2 = Relu(z), z = Relu(y): the wrong way round. */
	t_int(stage_graph_node(g, "Relu", late, 1, z, 1, NULL, 0), 0);
	t_int(write_error(g, true, "z is not defined"), -EINVAL);
	t_int(stage_graph_node(g, "Relu", gemm_out, 1, late, 1, NULL, 0), 0);
	t_int(write_error(g, true, "z is used before"), -EINVAL);
	stage_graph_free(g);
	g = sample();
	t_int(stage_graph_weight(g, "one", &one, "one.bin", 4), 0);
	t_int(write_error(g, false, "one has not the bytes"), -EINVAL);
	stage_graph_free(g);
	g = sample();
	t_int(stage_graph_output(g, "nobody", STAGE_F32, NULL, 0), 0);
	t_int(write_error(g, false, "nobody is not defined"), -EINVAL);
	stage_graph_free(g);
}

/* A file cut anywhere is refused, and never with another complaint than that
 * its bytes are bad. */
static void test_cut(void)
{
	struct stage_graph *g = sample();
	struct stage_recipe *r = NULL;
	struct src *s = written(g, false, &r), *cut;
	char data[4096], *json;
	size_t refused = 0;

	t_check(s->size < sizeof(data));
	t_int(src_read_wait(s, 0, data, s->size), 0);
	for (size_t n = 0; n < s->size; n++) {
		int err;

		cut = src_of(data, n);
		err = stage_onnx_info(cut, &json, NULL);
		t_check(!err || err == -EBADMSG);
		if (err)
			refused++;
		else
			free(json);
		src_unref(cut);
	}
	/* What follows the graph may be missing at a field's end. */
	t_check(refused >= s->size - 3);
	src_unref(s);
	stage_recipe_unref(r);
	stage_graph_free(g);
}

/* A node that is longer than its graph, but not than the file. */
static void test_overrun(void)
{
	static const char data[] = "\x08\x07"		/* ir_version */
		"\x3a\x04"		/* graph, 4 bytes */
		"\x0a\x06\x22\x01"	/* node, 6 bytes: op_type */
		"A\x3a\x01\x42\x00\x00";
	struct src *s = src_of(data, sizeof(data) - 1);
	struct error why = { 0 };
	char *json;

	t_int(stage_onnx_info(s, &json, &why), -EBADMSG);
	t_check(strstr(why.text, "longer than what it is part of"));
	src_unref(s);
}

int main(void)
{
	test_inline();
	test_external();
	test_order();
	test_refuses();
	test_cut();
	test_overrun();
	return 0;
}
