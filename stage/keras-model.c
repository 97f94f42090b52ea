/*
 * From model_config to a list of layers: what Keras wrote in three ways over
 * the years becomes one, and models in models are laid out flat. Every layer
 * is kept as it is; what it computes says keras.bp.
 */
#include "config.h"

#include "stage/keras-scope.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/map.h"
#include "stage/blueprint.h"

#define PASSES_MAX 64		/* Keras writes layers in order: one is enough */

static int flatten(struct stage_keras_scope *s, const char *class,
	const json_t *config, json_t **ret);

/* ---- names ----------------------------------------------------------------- */

/* Conv2DTranspose: conv2d_transpose, as keras.src.utils.naming does. */
static void snake(const char *class, char *ret, size_t room)
{
	size_t n = 0;

	for (const char *p = class; *p && n + 2 < room; p++) {
		bool up = isupper((unsigned char)*p);

		if (up && p > class && (islower((unsigned char)p[1]) ||
		    islower((unsigned char)p[-1])))
			ret[n++] = '_';
		ret[n++] = (char)tolower((unsigned char)*p);
	}
	ret[n] = '\0';
}

/* "layers/conv2d_1" below s->store, for the second of its class. */
static char *store_of(const struct stage_keras_scope *s, struct map *seen,
	const char *class)
{
	char name[256], *text;
	size_t before;

	snake(class, name, sizeof(name));
	/* Counted from 1, as a map has no NULL. */
	before = (size_t)(uintptr_t)map_get(seen, name);
	if (map_put(seen, name, (void *)(uintptr_t)(before + 1), NULL))
		return NULL;
	if (asprintf(&text, before ? "%slayers/%s_%zu" : "%slayers/%s",
	    s->store, name, before) < 0)
		return NULL;
	return text;
}

static bool is_model(const char *class)
{
	return !strcmp(class, "Functional") || !strcmp(class, "Model") ||
		!strcmp(class, "Sequential");
}

/* ---- one layer ------------------------------------------------------------- */

/* float32, or a policy of that name. What layers compute with is not handled
 * otherwise; what an input is made of is its own. */
static bool plain_dtype(const json_t *dtype)
{
	const char *name = json_string_value(dtype);

	if (json_is_object(dtype))
		name = json_str(json_object_get(dtype, "config"), "name");
	return !dtype || json_is_null(dtype) ||
		(name && (!strcmp(name, "float32") ||
		!strcmp(name, "_infer")));
}

/* keras.src.ops.numpy: what is called is no layer but a function. */
static int class_of(struct stage_keras_scope *s, const json_t *layer, char *ret,
	size_t room)
{
	const char *class = json_str(layer, "class_name");
	const char *module = json_str(layer, "module");
	const char *custom = json_str(layer, "registered_name");
	bool op = module && !strncmp(module, "keras.src.ops", 13);

	if (!class || strlen(class) > 200)
		return error_set(s->why, -EBADMSG,
			"a layer without class_name");
	if (custom && strcmp(custom, class) != 0)
		return error_set(s->why, -ENOTSUP, "the custom object %s "
			"is not handled", custom);
	if (module && !op && strncmp(module, "keras", 5) != 0)
		return error_set(s->why, -ENOTSUP, "%s of %s is not "
			"handled", class, module);
	(void) snprintf(ret, room, "%s%s", op ? "ops." : "", class);
	return 0;
}

struct call {
	const char *class, *name;
	const json_t *config;
	json_t *inputs, *kwargs;	/* references are kept by who has it */
	const char *store;
};

/* How many tensors a layer gives. */
static size_t count_outputs(const struct call *c)
{
	const char *class = c->class;

	if (!json_is_true(json_object_get(c->config, "return_state")))
		return 1;
	return !strcmp(class, "LSTM") ? 3 : !strcmp(class, "GRU") ||
		!strcmp(class, "SimpleRNN") ? 2 : 1;
}

static int add_layer(struct stage_keras_scope *s, const struct call *c,
	json_t **ret)
{
	const char *group = s->group ? s->group : c->name;
	char path[STAGE_KERAS_NAME_MAX], id[48];
	json_t *outputs, *one;

	if (!json_is_object(c->config))
		return error_set(s->why, -EBADMSG, "%s has no config",
			c->name);
	if (strcmp(c->class, "InputLayer") != 0 &&
	    !plain_dtype(json_object_get(c->config, "dtype")))
		return error_set(s->why, -ENOTSUP, "%s computes with "
			"another type than float32", c->name);
	if (snprintf(path, sizeof(path), "%s%s", s->path, c->name) >=
	    (int)sizeof(path))
		return error_set(s->why, -EFBIG, "a name of over %d bytes",
			STAGE_KERAS_NAME_MAX);
	outputs = json_array();
	for (size_t i = 0; outputs && i < count_outputs(c); i++) {
		(void) snprintf(id, sizeof(id), "%zu:%zu", s->f->calls - 1, i);
		(void) json_array_append_new(outputs, json_string(id));
	}
	one = json_pack("{s:s, s:s, s:O, s:O, s:O, s:O, s:s, s:s}", "class",
		c->class, "name", path, "config", c->config, "inputs",
		c->inputs, "kwargs", c->kwargs, "outputs", outputs, "group",
		group, "store", c->store);
	if (!outputs || !one || json_array_append_new(s->f->layers, one)) {
		json_decref(outputs);
		return -ENOMEM;
	}
	*ret = outputs;
	return 0;
}

static int count_call(struct stage_keras_flat *f)
{
	if (f->calls++ < STAGE_LAYERS_MAX)
		return 0;
	return error_set(f->why, -EFBIG, "over %u layers", STAGE_LAYERS_MAX);
}

/* A layer or a model within; *ret: its tensors. */
static int call_layer(struct stage_keras_scope *s, const struct call *c,
	json_t **ret)
{
	cleanup_free char *path = NULL, *store = NULL;
	struct stage_keras_scope inner = { .f = s->f, .why = s->why,
		.inputs = c->inputs, .group = s->group ? s->group : c->name };
	int err;

	err = count_call(s->f);
	if (err || !is_model(c->class))
		return err ? err : add_layer(s, c, ret);
	if (json_object_size(c->kwargs))
		return error_set(s->why, -ENOTSUP, "the model %s is called "
			"with more than inputs", c->name);
	if (asprintf(&path, "%s%s/", s->path, c->name) < 0)
		path = NULL;
	if (asprintf(&store, "%s/", c->store) < 0)
		store = NULL;
	if (!path || !store)
		return -ENOMEM;
	inner.path = path;
	inner.store = store;
	if (++s->f->depth > STAGE_KERAS_NEST_MAX)
		return error_set(s->why, -EFBIG, "over %u models in each "
			"other", STAGE_KERAS_NEST_MAX);
	err = flatten(&inner, c->class, c->config, ret);
	s->f->depth--;
	return err;
}

/* ---- Sequential ------------------------------------------------------------ */

static int add_input(struct stage_keras_scope *s, const char *name, json_t *shape,
	const json_t *dtype, json_t **ret)
{
	struct call c = { .class = "InputLayer", .name = name, .store = "",
		.inputs = json_array(), .kwargs = json_object() };
	json_t *config = json_pack("{s:O, s:s}", "batch_shape", shape, "dtype",
		json_is_string(dtype) ? json_string_value(dtype) : "float32");
	int err = config && c.inputs && c.kwargs ? count_call(s->f) : -ENOMEM;

	c.config = config;
	if (!err)
		err = add_layer(s, &c, ret);
	json_decref(c.inputs);
	json_decref(c.kwargs);
	json_decref(config);
	return err;
}

/* What comes into a Sequential that says so in its first layer or for all. */
static int implied_input(struct stage_keras_scope *s, const json_t *config,
	const json_t *first, json_t **ret)
{
	json_t *shape = json_object_get(first, "batch_input_shape");

	if (s->inputs) {
		*ret = json_deep_copy(s->inputs);
		return *ret ? 0 : -ENOMEM;
	}
	if (!json_is_array(shape))
		shape = json_object_get(first, "batch_shape");
	if (!json_is_array(shape))
		shape = json_object_get(config, "build_input_shape");
	if (!json_is_array(shape))
		return error_set(s->why, -ENOTSUP, "the model does not say "
			"the shape of its input");
	return add_input(s, "input", shape, json_object_get(first, "dtype"),
		ret);
}

static int next_layer(struct stage_keras_scope *s, const json_t *layer,
	struct map *seen, json_t **at)
{
	const json_t *config = json_object_get(layer, "config");
	cleanup_free char *store = NULL;
	char class[256];
	struct call c = { .class = class, .config = config, .inputs = *at,
		.name = json_str(config, "name") };
	json_t *out = NULL;
	int err = class_of(s, layer, class, sizeof(class));

	if (err)
		return err;
	if (!strcmp(class, "InputLayer"))
		return 0;
	if (!c.name)
		return error_set(s->why, -EBADMSG, "a layer without name");
	store = store_of(s, seen, class);
	c.store = store;
	c.kwargs = json_object();
	err = store && c.kwargs ? call_layer(s, &c, &out) : -ENOMEM;
	json_decref(c.kwargs);
	if (err)
		return err;
	json_decref(*at);
	*at = out;
	return 0;
}

static int flatten_sequential(struct stage_keras_scope *s, const json_t *config,
	json_t **ret)
{
	const json_t *layers = json_is_array(config) ? config :
		json_object_get(config, "layers");
	const json_t *first = json_object_get(json_array_get(layers, 0),
		"config");
	const char *class = json_str(json_array_get(layers, 0), "class_name");
	struct map seen = { 0 };
	json_t *at = NULL;
	int err;

	if (!json_is_array(layers) || !class || !json_is_object(first))
		return error_set(s->why, -EBADMSG, "a Sequential without "
			"layers");
	if (is_model(class))
		first = NULL;
	if (!s->inputs && first && !strcmp(class, "InputLayer") &&
	    json_str(first, "name") && (json_object_get(first,
		"batch_shape") || json_object_get(first, "batch_input_shape")))
		err = add_input(s, json_str(first, "name"),
			json_is_array(json_object_get(first, "batch_shape")) ?
			json_object_get(first, "batch_shape") :
			json_object_get(first, "batch_input_shape"),
			json_object_get(first, "dtype"), &at);
	else
		err = implied_input(s, config, first, &at);
	for (size_t i = 0; i < json_array_size(layers) && !err; i++)
		err = next_layer(s, json_array_get(layers, i), &seen, &at);
	map_done(&seen);
	if (err)
		json_decref(at);
	else
		*ret = at;
	return err;
}

/* ---- Functional ------------------------------------------------------------ */

static int keep_tensors(struct stage_keras_scope *s, const char *layer, size_t node,
	const json_t *tensors)
{
	char key[STAGE_KERAS_NAME_MAX + 64];

	for (size_t i = 0; i < json_array_size(tensors); i++) {
		(void) snprintf(key, sizeof(key), "%.*s/%zu/%zu",
			STAGE_KERAS_NAME_MAX, layer, node, i);
		if (json_object_set(s->tensors, key,
		    json_array_get(tensors, i)))
			return -ENOMEM;
	}
	return 0;
}

/* ["a", 0, 0], [["a", 0, 0], …] or {"x": ["a", 0, 0]} as a list of them. */
static json_t *ports(const json_t *v)
{
	json_t *list = json_array(), *item;
	const char *key;
	size_t i;

	if (stage_keras_history(v)) {
		(void) json_array_append(list, (json_t *)(uintptr_t)v);
	} else if (json_is_object(v)) {
		json_object_foreach((json_t *)(uintptr_t)v, key, item)
			(void) json_array_append(list, item);
	} else {
		json_array_foreach((json_t *)(uintptr_t)v, i, item)
			(void) json_array_append(list, item);
	}
	return list;
}

/* Which input of the model a layer is; -1: none. */
static long input_index(const json_t *inputs, const char *name)
{
	for (size_t i = 0; i < json_array_size(inputs); i++) {
		const json_t *p = json_array_get(inputs, i);

		if (stage_keras_history(p) && !strcmp(name, json_string_value(
		    json_array_get(p, 0))))
			return (long)i;
	}
	return -1;
}

/* An InputLayer: what the model is called with, or an input of all. */
static int input_layer(struct stage_keras_scope *s, const char *name,
	const json_t *layer, const json_t *inputs)
{
	const json_t *config = json_object_get(layer, "config");
	json_t *shape = json_object_get(config, "batch_shape"), *out = NULL;
	long i = input_index(inputs, name);
	int err;

	if (s->inputs) {
		json_t *given = i < 0 ? NULL : json_array_get(s->inputs,
			(size_t)i);

		if (!given)
			return error_set(s->why, -EBADMSG, "the input %s "
				"is not given", name);
		out = json_pack("[O]", given);
		err = out ? 0 : -ENOMEM;
	} else {
		if (!json_is_array(shape))
			shape = json_object_get(config, "batch_input_shape");
		if (!json_is_array(shape))
			return error_set(s->why, -EBADMSG, "the input %s "
				"has no shape", name);
		if (json_is_true(json_object_get(config, "sparse")) ||
		    json_is_true(json_object_get(config, "ragged")))
			return error_set(s->why, -ENOTSUP, "the input %s is "
				"sparse or ragged", name);
		err = add_input(s, name, shape, json_object_get(config,
			"dtype"), &out);
	}
	if (!err)
		err = keep_tensors(s, name, 0, out);
	json_decref(out);
	return err;
}

static bool is_functional(const char *class)
{
	return !strcmp(class, "Functional") || !strcmp(class, "Model");
}

/* By which number the first call of a model goes: Keras 2 counts one that
 * made it, when its input was known then. */
static size_t first_call(const struct call *c, const json_t *node)
{
	const json_t *layers = json_object_get(c->config, "layers");
	const json_t *first = json_array_get(layers, 0);
	const char *class = json_str(first, "class_name");

	if (!json_is_array(node) || !is_model(c->class))
		return 0;
	return is_functional(c->class) || (class && (!strcmp(class,
		"InputLayer") || json_object_get(json_object_get(first,
		"config"), "batch_input_shape")));
}

/* One use of a layer. 1: not all it needs is there. */
static int run_node(struct stage_keras_scope *s, const struct call *layer, size_t i,
	const json_t *node)
{
	struct call c = *layer;
	cleanup_json json_t *inputs = json_array(), *kwargs = json_object();
	cleanup_json json_t *out = NULL;
	int err = inputs && kwargs ? stage_keras_arguments(s, node, inputs,
		kwargs) : -ENOMEM;

	c.inputs = inputs;
	c.kwargs = kwargs;
	if (!err)
		err = call_layer(s, &c, &out);
	return err ? err : keep_tensors(s, layer->name,
		i + first_call(layer, node), out);
}

struct pending {
	char class[256];
	char *store;
	const char *name;
	const json_t *config, *nodes;
	size_t done;		/* of nodes */
};

/* All layers that can be computed, again and again until all are. */
static int run_nodes(struct stage_keras_scope *s, struct pending *v, size_t n)
{
	bool more = true, left = true;

	for (unsigned k = 0; k < PASSES_MAX && more && left; k++) {
		more = left = false;
		for (size_t i = 0; i < n; i++) {
			struct pending *p = &v[i];
			struct call c = { .class = p->class, .name = p->name,
				.config = p->config, .store = p->store };
			int err = 0;

			while (p->done < json_array_size(p->nodes) && !err) {
				err = run_node(s, &c, p->done, json_array_get(
					p->nodes, p->done));
				if (err < 0)
					return err;
				p->done += !err;
				more |= !err;
			}
			left |= err != 0;
		}
	}
	return !left ? 0 : error_set(s->why, -EBADMSG, "layers that wait "
		"for each other");
}

static int prepare(struct stage_keras_scope *s, const json_t *layers,
	const json_t *inputs, struct pending *v)
{
	struct map seen = { 0 };
	int err = 0;

	for (size_t i = 0; i < json_array_size(layers) && !err; i++) {
		const json_t *l = json_array_get(layers, i);

		v[i].config = json_object_get(l, "config");
		v[i].nodes = json_object_get(l, "inbound_nodes");
		v[i].name = json_str(l, "name");
		if (!v[i].name)
			v[i].name = json_str(v[i].config, "name");
		err = class_of(s, l, v[i].class, sizeof(v[i].class));
		if (!err && !v[i].name)
			err = error_set(s->why, -EBADMSG, "a layer without "
				"name");
		if (!err)
			v[i].store = store_of(s, &seen, v[i].class);
		if (!err && !v[i].store)
			err = -ENOMEM;
		if (!err && !strcmp(v[i].class, "InputLayer")) {
			err = input_layer(s, v[i].name, l, inputs);
			v[i].nodes = NULL;
		}
	}
	map_done(&seen);
	return err;
}

/* Where Keras 3 says which call of a model gives an output, and only there, it
 * counts the one that made it. */
static json_t *output_call(const struct pending *v, size_t n,
	const json_t *output)
{
	json_t *copy = json_deep_copy(output);
	json_int_t i = json_integer_value(json_array_get(output, 1));

	for (size_t k = 0; copy && k < n; k++)
		if (is_functional(v[k].class) && i > 0 &&
		    json_is_object(json_array_get(v[k].nodes, 0)) &&
		    !strcmp(v[k].name, json_string_value(json_array_get(
			output, 0))))
			(void) json_array_set_new(copy, 1,
				json_integer(i - 1));
	return copy;
}

static int take_outputs(const struct stage_keras_scope *s,
	const struct pending *v, size_t n, const json_t *outputs,
	json_t **ret)
{
	json_t *list = json_array();
	int err = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(outputs) && !err; i++) {
		const json_t *p = json_array_get(outputs, i);

		cleanup_json json_t *call = stage_keras_history(p) ?
			output_call(v, n, p) : NULL;

		err = call ? stage_keras_argument(s, call, list) : 1;
		if (err > 0)
			err = error_set(s->why, -EBADMSG, "an output that "
				"no layer gives");
	}
	if (!err && !json_array_size(list))
		err = error_set(s->why, -EBADMSG, "a model without output");
	if (err)
		json_decref(list);
	else
		*ret = list;
	return err;
}

static int flatten_functional(struct stage_keras_scope *s, const json_t *config,
	json_t **ret)
{
	const json_t *layers = json_object_get(config, "layers");
	cleanup_json json_t *inputs = ports(json_object_get(config,
		"input_layers"));
	cleanup_json json_t *outputs = ports(json_object_get(config,
		"output_layers"));
	size_t n = json_array_size(layers);
	struct pending *v;
	int err;

	if (!json_is_array(layers) || n > STAGE_LAYERS_MAX)
		return error_set(s->why, -EBADMSG, "a model without "
			"layers");
	v = calloc(n + 1, sizeof(*v));
	s->tensors = json_object();
	err = v && s->tensors && inputs && outputs ? 0 : -ENOMEM;
	if (!err)
		err = prepare(s, layers, inputs, v);
	if (!err)
		err = run_nodes(s, v, n);
	if (!err)
		err = take_outputs(s, v, n, outputs, ret);
	for (size_t i = 0; v && i < n; i++)
		free(v[i].store);
	free(v);
	json_decref(s->tensors);
	return err;
}

/* ---- the door -------------------------------------------------------------- */

static int flatten(struct stage_keras_scope *s, const char *class,
	const json_t *config, json_t **ret)
{
	return !strcmp(class, "Sequential") ?
		flatten_sequential(s, config, ret) :
		flatten_functional(s, config, ret);
}

int stage_keras_model(const json_t *model, json_t **ret, struct error *why)
{
	struct stage_keras_flat f = { .layers = json_array(), .why = why };
	struct stage_keras_scope s = { .f = &f, .why = why, .path = "",
		.store = "" };
	json_t *outputs = NULL;
	char class[256];
	int err = f.layers ? class_of(&s, model, class, sizeof(class)) :
		-ENOMEM;

	if (!err && !is_model(class))
		err = error_set(why, -ENOTSUP, "a model of class %s is not "
			"handled", class);
	if (!err)
		err = flatten(&s, class, json_object_get(model, "config"),
			&outputs);
	if (!err) {
		*ret = json_pack("{s:O, s:O}", "layers", f.layers, "outputs",
			outputs);
		err = *ret ? 0 : -ENOMEM;
	}
	json_decref(outputs);
	json_decref(f.layers);
	return err;
}
