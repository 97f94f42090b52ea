/*
 * What a model of Keras is made of: its configuration, which an .h5 has in an
 * attribute and a .keras in a member. The weights are a checkpoint like any
 * other, and look.c counts them.
 */
#include "config.h"

#include "stage/look.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stage/format/zipdir.h"
#include "stage/keras-scope.h"
#include "stage/keras.h"
#include "stage/stager.h"

#define CONFIG "config.json"
#define WEIGHTS "model.weights.h5"

/* A dtype is a name, or a policy with one. */
static const char *dtype_of(const json_t *config)
{
	const json_t *dtype = json_object_get(config, "dtype");
	const char *name = json_string_value(dtype);

	if (!name)
		name = json_str(json_object_get(dtype, "config"), "name");
	return name ? name : "float32";
}

static int note_input(json_t *out, const char *name, const json_t *config,
	json_t *shape)
{
	json_t *list = json_object_get(out, "inputs");

	if (!name || json_array_size(list) >= STAGE_LOOK_MAX)
		return 0;
	return json_array_append_new(list, json_pack("{s:s, s:s, s:O*}",
		"name", name, "type", dtype_of(config), "shape", shape)) ?
		-ENOMEM : 0;
}

/* Of a Sequential that has no layer for it: "input", as when it is staged. */
static int note_implied(json_t *out, const json_t *model)
{
	const json_t *config = json_object_get(model, "config"), *first;
	json_t *shape;

	first = json_object_get(json_array_get(json_object_get(config,
		"layers"), 0), "config");
	shape = stage_keras_shape(first);
	if (!json_is_array(shape))
		shape = json_object_get(config, "build_input_shape");
	if (json_array_size(json_object_get(out, "inputs")) ||
	    !json_is_array(shape))
		return 0;
	return note_input(out, "input", first, shape);
}

/* Layers by class, those of the models within it too. */
static int note_layers(json_t *out, const json_t *model, unsigned depth)
{
	const json_t *config = json_object_get(model, "config"), *list, *layer;
	size_t i;

	/* Keras 1 has the layers of a Sequential in place of its config. */
	list = json_is_array(config) ? config :
		json_object_get(config, "layers");
	json_array_foreach (list, i, layer) {
		const char *class = json_str(layer, "class_name");
		const json_t *own = json_object_get(layer, "config");
		int r = 0;

		if (!class)
			return -EBADMSG;
		if (stage_keras_is_model(class) && depth < STAGE_KERAS_NEST_MAX)
			r = note_layers(out, layer, depth + 1);
		else
			r = stage_look_count(json_object_get(out, "layers"),
				class, 1);
		if (!r && !depth && !strcmp(class, "InputLayer"))
			r = note_input(out, json_str(own, "name"), own,
				stage_keras_shape(own));
		if (r)
			return r;
	}
	return 0;
}

static int describe(const void *text, size_t len, json_t **ret,
	struct error *why)
{
	cleanup_json json_t *model = NULL;
	json_t *out;
	int r = json_parse(text, len, STAGE_JSON_MAX, &model, why);

	if (r)
		return r;
	out = json_pack("{s:s, s:[], s:{}}", "format", "Keras", "inputs",
		"layers");
	r = out ? note_layers(out, model, 0) : -ENOMEM;
	if (!r)
		r = note_implied(out, model);
	if (r) {
		json_decref(out);
		return error_set(why, r, "the model's configuration is none");
	}
	*ret = out;
	return 0;
}

static int look_h5(struct src *s, json_t **ret, struct src **ret_weights,
	struct error *why)
{
	cleanup_free char *text = NULL;
	struct stage_hdf5 *h = NULL;
	size_t len = 0;
	int r = stage_hdf5_open(s, &h, why);

	if (!r)
		r = stage_hdf5_text(h, "", "model_config", &text, &len, why);
	stage_hdf5_close(h);
	if (!r)
		r = describe(text, len, ret, why);
	if (!r)
		*ret_weights = src_ref(s);
	return r;
}

static int read_members(struct src *s, struct stage_window *w,
	const struct stage_zip *z, json_t **ret, struct src **ret_weights,
	struct error *why)
{
	const struct stage_zip_member *config = stage_zip_find(z, CONFIG),
		*weights = stage_zip_find(z, WEIGHTS);
	cleanup_free uint8_t *text = NULL;
	cleanup_json json_t *out = NULL;
	uint64_t off;
	int r;

	if (!config || !weights)
		return -ENOENT;
	if (config->method != STAGE_ZIP_STORED ||
	    weights->method != STAGE_ZIP_STORED)
		return error_set(why, -ENOTSUP, "its members are compressed; "
			"the .onnx beside it tells more");
	r = stage_zip_member_read(w, config, STAGE_JSON_MAX, &text, why);
	if (!r)
		r = describe(text, (size_t)config->size, &out, why);
	if (!r)
		r = stage_zip_data(w, weights, &off, why);
	if (!r)
		r = stage_keras_part(s, off, weights->size, ret_weights, why);
	if (r)
		return r;
	*ret = out;
	out = NULL;
	return 0;
}

static int look_zip(struct src *s, json_t **ret, struct src **ret_weights,
	struct error *why)
{
	struct error unused = { 0 };
	struct stage_zip z = { 0 };
	struct stage_window w;
	int r;

	/* Who reads checkpoints of torch says what is wrong with a zip. */
	if (stage_zip_list(s, &z, &unused))
		return -ENOENT;
	r = stage_window_init(&w, s, STAGE_WINDOW_ROOM);
	if (!r) {
		r = read_members(s, &w, &z, ret, ret_weights, why);
		stage_window_done(&w);
	}
	stage_zip_done(&z);
	return r;
}

int stage_look_keras(struct src *s, json_t **ret, struct src **ret_weights,
	struct error *why)
{
	static const char zip[] = { 'P', 'K', 3, 4 };
	char head[8];
	int r;

	if (s->size < sizeof(head))
		return -ENOENT;
	r = src_read_wait(s, 0, head, sizeof(head));
	if (r)
		return stage_read_error(s, r, "the file", why);
	if (stage_hdf5_probe(head, sizeof(head), s->size))
		return look_h5(s, ret, ret_weights, why);
	if (!memcmp(head, zip, sizeof(zip)))
		return look_zip(s, ret, ret_weights, why);
	return -ENOENT;
}
