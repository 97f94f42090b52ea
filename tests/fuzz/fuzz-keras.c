/*
 * What a stranger's file says of its layers: a model_config, and the shapes of
 * weights that lie in a file beside it. Layers are each with inputs and outputs
 * that are there, their weights have names that end; what becomes of them is a
 * graph the ONNX writer takes, and a refusal has its reason.
 *
 *	{"model": {"class_name": …, "config": …}, "old": false,
 *	 "weights": {"dense.kernel": [4, 3], …}}
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "stage/keras.h"
#include "stage/stager.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define GRAPH "model_config"
#define FILE_SIZE (1u << 24)	/* bytes, of which none is read */

static struct stage *library(void)
{
	const char *src = getenv("SRCDIR");
	char dir[4096];
	const char *const dirs[] = { dir, NULL };
	const struct stage_conf conf = { .opset = 13, .blueprint_dirs = dirs };
	struct stage *s = NULL;
	struct error why = { 0 };

	(void) snprintf(dir, sizeof(dir), "%s/stage/blueprints",
		src ? src : ".");
	if (stage_new(&conf, &s, &why) ||
	    !stage_find_blueprint(s, "keras", GRAPH)) {
		fprintf(stderr, "SRCDIR is to be the sources: %s\n", why.text);
		exit(99);
	}
	return s;
}

static bool refused(int err, const struct error *why)
{
	if (err && (!why->code || !why->text[0]))
		abort();
	return err != 0;
}

/* What cannot be a tensor is left out, as a file without it. */
static void read_weights(const json_t *shapes, struct stage_weights *ret)
{
	const char *name;
	json_t *shape, *n;
	uint64_t at = 0;
	size_t i;

	if (stage_weights_file(ret, "m.h5", FILE_SIZE))
		abort();
	json_object_foreach((json_t *)(uintptr_t)shapes, name, shape) {
		char copy[256];
		struct stage_tensor t = { .name = copy, .dtype = STAGE_F32,
			.off = at, .len = 4 };

		(void) snprintf(copy, sizeof(copy), "%s", name);
		json_array_foreach(shape, i, n) {
			if (t.rank == STAGE_RANK_MAX)
				break;
			t.dim[t.rank] = (uint64_t)json_integer_value(n) & 4095;
			t.len *= t.dim[t.rank++];
		}
		if (!stage_weights_add(ret, &t, NULL))
			at += t.len;
	}
}

static void check_layers(const json_t *model)
{
	const json_t *layers = json_object_get(model, "layers");
	struct stage_keras_var v[STAGE_KERAS_VARS_MAX];
	struct error why = { 0 };
	size_t *order = NULL, n = 0, i;
	json_t *layer;

	json_array_foreach((json_t *)(uintptr_t)layers, i, layer) {
		if (!json_str(layer, "class") || !json_str(layer, "name") ||
		    !json_is_array(json_object_get(layer, "inputs")))
			abort();
		if (stage_keras_vars(json_str(layer, "class"),
		    json_object_get(layer, "config"), v, &n))
			continue;
		for (size_t k = 0; k < n; k++)
			if (n > STAGE_KERAS_VARS_MAX || !v[k].name[0] ||
			    !memchr(v[k].name, 0, sizeof(v[k].name)) ||
			    !memchr(v[k].store, 0, sizeof(v[k].store)))
				abort();
	}
	n = 0;
	if (refused(stage_keras_order(layers, json_object_get(model,
	    "outputs"), &order, &n, &why), &why))
		return;
	for (i = 0; i < n; i++)
		if (order[i] >= json_array_size(layers))
			abort();
	free(order);
}

static void make_graph(const struct stage *s, unsigned opset,
	const json_t *model, const struct stage_weights *w)
{
	const struct stage_blueprint *bp = stage_find_blueprint(s, "keras",
		GRAPH);
	struct stage_blueprint_args args = { .opset = opset, .weights = w,
		.config = model, .task = stage_blueprint_task(bp, GRAPH) };
	static const char *const metadata[] = { "library", "keras", NULL };
	struct stage_recipe *r = NULL;
	struct stage_graph *g = NULL;
	struct error why = { 0 };

	if (refused(stage_blueprint_run(bp, &args, &g, &why), &why))
		return;
	if (!refused(stage_onnx_write_model(g, opset, metadata, &r, &why),
	    &why) && (stage_recipe_check(r, &why) || !stage_recipe_size(r)))
		abort();
	stage_recipe_unref(r);
	stage_graph_free(g);
}

static void use(const struct stage *s, json_t *in)
{
	struct stage_weights w = { 0 };
	struct error why = { 0 };
	json_t *model = NULL;

	if (refused(stage_keras_model(json_object_get(in, "model"), &model,
	    &why), &why))
		return;
	check_layers(model);
	read_weights(json_object_get(in, "weights"), &w);
	if (!stage_weights_sort(&w, NULL)) {
		if (json_object_set_new(model, "old", json_boolean(
		    json_is_true(json_object_get(in, "old")))))
			abort();
		make_graph(s, 13, model, &w);
		make_graph(s, 17, model, &w);
	}
	stage_weights_done(&w);
	json_decref(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct stage *s;
	struct error why = { 0 };
	json_t *in = NULL;

	if (!s)
		s = library();
	if (refused(json_parse(data, len, STAGE_JSON_MAX, &in, &why), &why))
		return 0;
	use(s, in);
	json_decref(in);
	return 0;
}
