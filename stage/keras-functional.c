/*
 * A model whose layers say which tensors they are called with: each is computed
 * as soon as what it takes is there.
 */
#include "config.h"

#include "stage/keras-scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/map.h"
#include "stage/blueprint.h"

#define PASSES_MAX 64		/* Keras writes layers in order: one is enough */

static int keep_tensors(struct stage_keras_scope *s, const char *layer,
	size_t node, const json_t *tensors)
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
	json_t *shape = stage_keras_shape(config), *out = NULL;
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
			return error_set(s->why, -EBADMSG, "the input %s "
				"has no shape", name);
		if (json_is_true(json_object_get(config, "sparse")) ||
		    json_is_true(json_object_get(config, "ragged")))
			return error_set(s->why, -ENOTSUP, "the input %s is "
				"sparse or ragged", name);
		err = stage_keras_input(s, name, shape, json_object_get(config,
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
static size_t first_call(const struct stage_keras_call *c, const json_t *node)
{
	const json_t *layers = json_object_get(c->config, "layers");
	const json_t *first = json_array_get(layers, 0);
	const char *class = json_str(first, "class_name");

	if (!json_is_array(node) || !stage_keras_is_model(c->class))
		return 0;
	return is_functional(c->class) || (class && (!strcmp(class,
		"InputLayer") || json_object_get(json_object_get(first,
		"config"), "batch_input_shape")));
}

/* One use of a layer. 1: not all it needs is there. */
static int run_node(struct stage_keras_scope *s,
	const struct stage_keras_call *layer, size_t i, const json_t *node)
{
	struct stage_keras_call c = *layer;
	cleanup_json json_t *inputs = json_array(), *kwargs = json_object();
	cleanup_json json_t *out = NULL;
	int err = inputs && kwargs ? stage_keras_arguments(s, node, inputs,
		kwargs) : -ENOMEM;

	c.inputs = inputs;
	c.kwargs = kwargs;
	if (!err)
		err = stage_keras_layer(s, &c, &out);
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
			struct stage_keras_call c = { .class = p->class,
				.name = p->name, .config = p->config,
				.store = p->store };
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
		err = stage_keras_class(s, l, v[i].class, sizeof(v[i].class));
		if (!err && !v[i].name)
			err = error_set(s->why, -EBADMSG, "a layer without "
				"name");
		if (!err)
			v[i].store = stage_keras_store(s, &seen, v[i].class);
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

int stage_keras_functional(struct stage_keras_scope *s, const json_t *config,
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
