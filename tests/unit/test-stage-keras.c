/*
 * Keras: model configurations of every version as one list of layers, hostile
 * ones among them; the order of layers; and what is laid out. With an
 * argument it writes small models there for the test of the tree: model.h5,
 * the same with its weights in chunks or damaged, and the weights of a .keras.
 */
#include "config.h"

#define H5_USE_110_API
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "stage/keras.h"
#include "stage/stage.h"
#include "tests/unit/t.h"

#define T(name, node) "{\"class_name\": \"__keras_tensor__\", \"config\": " \
	"{\"keras_history\": [\"" name "\", " node ", 0]}}"
#define INPUT2(name) "{\"class_name\": \"InputLayer\", \"name\": \"" name \
	"\", \"inbound_nodes\": [], \"config\": {\"name\": \"" name "\", " \
	"\"batch_input_shape\": [null, 4], \"dtype\": \"int32\"}}"
#define LAYER(class, name, nodes) "{\"class_name\": \"" class "\", " \
	"\"name\": \"" name "\", \"config\": {\"name\": \"" name "\"}, " \
	"\"inbound_nodes\": [" nodes "]}"
#define MODEL(layers, in, out) "{\"class_name\": \"Functional\", " \
	"\"config\": {\"name\": \"m\", \"layers\": [" layers "], " \
	"\"input_layers\": " in ", \"output_layers\": " out "}}"
#define A INPUT2("a")

static const struct {
	const char *name, *text;
	const char *want;	/* "class name(inputs)outputs …", or the reason */
	int answer;
} models[] = {
	{ "the lists of Keras 2", MODEL(A ", " LAYER("Dense", "d",
		"[[\"a\", 0, 0, {}]], [[\"d\", 0, 0, {\"training\": false}]]"),
		"[[\"a\", 0, 0]]", "[[\"d\", 1, 0]]"),
		"InputLayer a() Dense d(0:0) Dense d(1:0)", 0 },
	{ "the objects of Keras 3", MODEL(A ", " LAYER("Add", "s",
		"{\"args\": [[" T("a", "0") ", " T("a", "0") "]], "
		"\"kwargs\": {\"mask\": null}}"), "[\"a\", 0, 0]",
		"[\"s\", 0, 0]"), "InputLayer a() Add s(0:0 0:0)", 0 },
	{ "layers in any order", MODEL(LAYER("Dense", "e",
		"[[\"d\", 0, 0, {}]]") ", " LAYER("Dense", "d",
		"[[\"a\", 0, 0, {}]]") ", " A, "[[\"a\", 0, 0]]",
		"[[\"e\", 0, 0]]"),
		"InputLayer a() Dense d(0:0) Dense e(1:0)", 0 },
	{ "Sequential", "{\"class_name\": \"Sequential\", \"config\": "
		"[{\"class_name\": \"Dense\", \"config\": {\"name\": \"d\", "
		"\"batch_input_shape\": [null, 3]}}]}",
		"InputLayer input() Dense d(0:0)", 0 },
	{ "a model in a model, twice", MODEL(A ", "
		"{\"class_name\": \"Functional\", \"name\": \"n\", \"config\": "
		"{\"layers\": [" INPUT2("b") ", " LAYER("Dense", "d",
		"[[\"b\", 0, 0, {}]]") "], \"input_layers\": [[\"b\", 0, 0]], "
		"\"output_layers\": [[\"d\", 0, 0]]}, \"inbound_nodes\": "
		"[[[\"a\", 0, 0, {}]], [[\"n\", 1, 0, {}]]]}",
		"[[\"a\", 0, 0]]", "[[\"n\", 2, 0]]"),
		"InputLayer a() Dense n/d(0:0) Dense n/d(2:0)", 0 },
	{ "waiting for each other", MODEL(A ", " LAYER("Dense", "d",
		"[[\"e\", 0, 0, {}]]") ", " LAYER("Dense", "e",
		"[[\"d\", 0, 0, {}]]"), "[[\"a\", 0, 0]]",
		"[[\"e\", 0, 0]]"), "wait for each other", -EBADMSG },
	{ "an output of nobody", MODEL(A, "[[\"a\", 0, 0]]",
		"[[\"z\", 0, 0]]"), "no layer gives", -EBADMSG },
	{ "no shape", "{\"class_name\": \"Sequential\", \"config\": "
		"{\"layers\": [" LAYER("Dense", "d", "") "]}}",
		"does not say the shape", -ENOTSUP },
	{ "a custom object", MODEL(A ", {\"class_name\": \"D\", \"name\": "
		"\"d\", \"registered_name\": \"mine>D\", \"config\": {}}",
		"[[\"a\", 0, 0]]", "[[\"a\", 0, 0]]"), "mine>D", -ENOTSUP },
	{ "of another module", MODEL(A ", {\"class_name\": \"Dense\", "
		"\"name\": \"d\", \"module\": \"os\", \"config\": {}}",
		"[[\"a\", 0, 0]]", "[[\"a\", 0, 0]]"), "of os", -ENOTSUP },
	{ "half the precision", MODEL(A ", {\"class_name\": \"Dense\", "
		"\"name\": \"d\", \"config\": {\"dtype\": \"mixed_float16\"}, "
		"\"inbound_nodes\": [[[\"a\", 0, 0, {}]]]}",
		"[[\"a\", 0, 0]]", "[[\"d\", 0, 0]]"), "another type",
		-ENOTSUP },
	{ "no model", "{\"class_name\": \"Dense\", \"config\": {}}",
		"class Dense", -ENOTSUP },
	{ "nothing", "{}", "without class_name", -EBADMSG },
};

static void text_of(const json_t *model, char *ret, size_t room)
{
	const json_t *layers = json_object_get(model, "layers");
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(layers); i++) {
		const json_t *l = json_array_get(layers, i);
		const json_t *in = json_object_get(l, "inputs");

		n += (size_t)snprintf(ret + n, room - n, "%s%s %s(",
			i ? " " : "", json_str(l, "class"),
			json_str(l, "name"));
		for (size_t k = 0; k < json_array_size(in); k++)
			n += (size_t)snprintf(ret + n, room - n, "%s%s",
				k ? " " : "", json_string_value(
				json_array_get(in, k)));
		n += (size_t)snprintf(ret + n, room - n, ")");
	}
}

static void test_models(void)
{
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		json_t *config = NULL, *model = NULL;
		struct error why = { 0 };
		char text[4096] = "";
		int r;

		r = json_parse(models[i].text, strlen(models[i].text),
			1 << 20, &config, &why);
		t_int(r, 0);
		r = stage_keras_model(config, &model, &why);
		if (r != models[i].answer)
			fprintf(stderr, "%s: %s\n", models[i].name, why.text);
		t_int(r, models[i].answer);
		if (!r) {
			text_of(model, text, sizeof(text));
			t_str(text, models[i].want);
		} else if (!strstr(why.text, models[i].want)) {
			t_str(why.text, models[i].want);
		}
		json_decref(model);
		json_decref(config);
	}
}

/* 2^8 calls a level: the ceiling ends it, not the patience of the user. */
static void test_explosion(void)
{
	json_t *config = json_pack("{s:s, s:{s:[]}}", "class_name",
		"Sequential", "config", "layers"), *model = NULL;
	struct error why = { 0 };

	for (unsigned depth = 0; depth < 7; depth++) {
		json_t *layers = json_array(), *next;

		for (unsigned k = 0; k < 256; k++)
			t_int(json_array_append_new(layers, json_pack(
				"{s:s, s:{s:s, s:O, s:[n,i]}}", "class_name",
				"Sequential", "config", "name", "s", "layers",
				json_object_get(json_object_get(config,
				"config"), "layers"), "build_input_shape",
				4)), 0);
		next = json_pack("{s:s, s:{s:s, s:o, s:[n,i]}}", "class_name",
			"Sequential", "config", "name", "s", "layers", layers,
			"build_input_shape", 4);
		json_decref(config);
		config = next;
		t_check(config);
	}
	t_check(stage_keras_model(config, &model, &why) < 0);
	t_check(!model);
	json_decref(config);
}

/* a -> b -> c -> e and a -> d -> e: d waits beside c. */
static void test_order(void)
{
	json_t *layers = json_pack("[{s:s,s:[],s:[s]},{s:s,s:[s],s:[s]},"
		"{s:s,s:[s],s:[s]},{s:s,s:[s],s:[s]},{s:s,s:[s,s],s:[s]}]",
		"name", "a", "inputs", "outputs", "0",
		"name", "d", "inputs", "0", "outputs", "1",
		"name", "b", "inputs", "0", "outputs", "2",
		"name", "c", "inputs", "2", "outputs", "3",
		"name", "e", "inputs", "1", "3", "outputs", "4");
	json_t *outputs = json_pack("[s]", "4");
	char names[16] = "";
	size_t *order = NULL, n = 0;

	t_check(layers && outputs);
	t_int(stage_keras_order(layers, outputs, &order, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		strcat(names, json_str(json_array_get(layers, order[i]),
			"name"));
	t_str(names, "abdce");
	free(order);
	json_decref(outputs);
	outputs = json_pack("[s]", "9");
	t_int(stage_keras_order(layers, outputs, &order, &n, NULL), -EBADMSG);
	json_decref(outputs);
	json_decref(layers);
}

static void test_vars(void)
{
	struct stage_keras_var v[STAGE_KERAS_VARS_MAX];
	json_t *c = json_pack("{s:b, s:{s:s, s:{s:b}}}", "scale", 0, "layer",
		"class_name", "LSTM", "config", "use_bias", 0);
	size_t n = 0;

	t_int(stage_keras_vars("BatchNormalization", c, v, &n), 0);
	t_int(n, 3);
	t_str(v[0].name, "beta");
	t_str(v[2].store, "vars/2");
	t_int(stage_keras_vars("Bidirectional", c, v, &n), 0);
	t_int(n, 4);
	t_str(v[3].name, "backward.recurrent_kernel");
	t_str(v[3].store, "backward_layer/cell/vars/1");
	t_int(stage_keras_vars("Lambda", c, v, &n), 0);
	t_int(n, 0);
	json_decref(c);
}

/* ---- a file ---------------------------------------------------------------- */

static void put_text(hid_t at, const char *name, const char *text)
{
	hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR), id;

	t_check(H5Tset_size(type, strlen(text)) >= 0);
	id = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	t_check(id >= 0 && H5Awrite(id, type, text) >= 0);
	t_check(H5Aclose(id) >= 0 && H5Sclose(space) >= 0 &&
		H5Tclose(type) >= 0);
}

static void put_names(hid_t at, const char *name, const char *names,
	hsize_t n)
{
	hid_t type = H5Tcopy(H5T_C_S1), space, id;

	t_check(H5Tset_size(type, 16) >= 0);
	space = H5Screate_simple(1, &n, NULL);
	id = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	t_check(id >= 0 && H5Awrite(id, type, names) >= 0);
	t_check(H5Aclose(id) >= 0 && H5Sclose(space) >= 0 &&
		H5Tclose(type) >= 0);
}

enum form {
	PLAIN,
	CHUNKS,		/* through shuffle, deflate and fletcher32 */
	FOREIGN,	/* through a filter nobody has */
	CUT,		/* a chunk ends too early */
};

static hid_t plist_of(enum form form, int rank)
{
	static const hsize_t chunk[2] = { 2, 2 };
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	if (form != PLAIN)
		t_check(H5Pset_chunk(p, rank, chunk) >= 0);
	if (form == CHUNKS)
		t_check(H5Pset_shuffle(p) >= 0);
	if (form == CHUNKS || form == CUT)
		t_check(H5Pset_deflate(p, 9) >= 0);
	if (form == CHUNKS)
		t_check(H5Pset_fletcher32(p) >= 0);
	if (form == FOREIGN)
		t_check(H5Pset_filter(p, 32000, H5Z_FLAG_OPTIONAL, 0,
			NULL) >= 0);
	return p;
}

static void put_set(hid_t at, const char *name, int rank, const hsize_t *dims,
	enum form form)
{
	static const float v[6] = { 1, 2, 3, 4, 5, 6 };
	const hsize_t first[2] = { 0, 0 };
	hid_t space = H5Screate_simple(rank, dims, NULL);
	hid_t p = plist_of(form, rank);
	hid_t set = H5Dcreate2(at, name, H5T_IEEE_F32LE, space, H5P_DEFAULT,
		p, H5P_DEFAULT);

	t_check(set >= 0);
	if (form == PLAIN || form == CHUNKS)
		t_check(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL,
			H5P_DEFAULT, v) >= 0);
	if (form == CUT)
		t_check(H5Dwrite_chunk(set, H5P_DEFAULT, 0, first, 3,
			"\x78\xda\x63") >= 0);
	t_check(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 &&
		H5Pclose(p) >= 0);
}

static hid_t new_file(const char *dir, const char *name)
{
	char path[4096];
	hid_t f;

	(void) snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	t_check(f >= 0);
	return f;
}

static void put_weights(hid_t at, const char *kernel, const char *bias,
	enum form form)
{
	const hsize_t dims[2] = { 2, 3 };

	put_set(at, kernel, 2, dims, form);
	put_set(at, bias, 1, dims + 1, form);
}

/* y = relu(x [2, 3] + b), as Keras 2 keeps it. */
static void write_model(const char *dir, const char *name, enum form form)
{
	static const char names[2][16] = { "d/kernel:0", "d/bias:0" };
	hid_t f = new_file(dir, name), top, g, d;

	put_text(f, "keras_version", "2.15.0");
	put_text(f, "model_config", "{\"class_name\": \"Sequential\", "
		"\"config\": {\"name\": \"s\", \"layers\": [{\"class_name\": "
		"\"Dense\", \"config\": {\"name\": \"d\", "
		"\"batch_input_shape\": [null, 2], \"dtype\": \"float32\", "
		"\"units\": 3, \"activation\": \"relu\", \"use_bias\": true}}"
		"]}}");
	top = H5Gcreate2(f, "model_weights", H5P_DEFAULT, H5P_DEFAULT,
		H5P_DEFAULT);
	g = H5Gcreate2(top, "d", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	d = H5Gcreate2(g, "d", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	t_check(top >= 0 && g >= 0 && d >= 0);
	put_names(top, "layer_names", "d\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1);
	put_names(g, "weight_names", names[0], 2);
	put_weights(d, "kernel:0", "bias:0", form);
	t_check(H5Gclose(d) >= 0 && H5Gclose(g) >= 0 && H5Gclose(top) >= 0 &&
		H5Fclose(f) >= 0);
}

/* The same weights as Keras 3 has them in a .keras. */
static void write_store(const char *dir, const char *name, enum form form)
{
	hid_t links = H5Pcreate(H5P_LINK_CREATE);
	hid_t f = new_file(dir, name), g;

	t_check(H5Pset_create_intermediate_group(links, 1) >= 0);
	g = H5Gcreate2(f, "layers/dense/vars", links, H5P_DEFAULT,
		H5P_DEFAULT);
	t_check(g >= 0);
	put_weights(g, "0", "1", form);
	t_check(H5Gclose(g) >= 0 && H5Fclose(f) >= 0 && H5Pclose(links) >= 0);
}

static void write_all(const char *dir)
{
	write_model(dir, "model.h5", PLAIN);
	write_model(dir, "chunks.h5", CHUNKS);
	write_model(dir, "foreign.h5", FOREIGN);
	write_model(dir, "cut.h5", CUT);
	write_store(dir, "plain.weights.h5", PLAIN);
	write_store(dir, "chunks.weights.h5", CHUNKS);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		write_all(argv[1]);
		return 0;
	}
	test_models();
	test_explosion();
	test_order();
	test_vars();
	return 0;
}
