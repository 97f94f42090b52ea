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
char *stage_keras_store(const struct stage_keras_scope *s, struct map *seen,
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

bool stage_keras_is_model(const char *class)
{
	return !strcmp(class, "Functional") || !strcmp(class, "Model") ||
		!strcmp(class, "Sequential");
}

/* What comes into a model, as the first layer says in one of two ways. */
json_t *stage_keras_shape(const json_t *config)
{
	json_t *shape = json_object_get(config, "batch_shape");

	return json_is_array(shape) ? shape :
		json_object_get(config, "batch_input_shape");
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
int stage_keras_class(struct stage_keras_scope *s, const json_t *layer,
	char *ret, size_t room)
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

/* How many tensors a layer gives. */
static size_t count_outputs(const struct stage_keras_call *c)
{
	const char *class = c->class;

	if (!json_is_true(json_object_get(c->config, "return_state")))
		return 1;
	return !strcmp(class, "LSTM") ? 3 : !strcmp(class, "GRU") ||
		!strcmp(class, "SimpleRNN") ? 2 : 1;
}

static int add_layer(struct stage_keras_scope *s,
	const struct stage_keras_call *c, json_t **ret)
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
int stage_keras_layer(struct stage_keras_scope *s,
	const struct stage_keras_call *c, json_t **ret)
{
	cleanup_free char *path = NULL, *store = NULL;
	struct stage_keras_scope inner = { .f = s->f, .why = s->why,
		.inputs = c->inputs, .group = s->group ? s->group : c->name };
	int err;

	err = count_call(s->f);
	if (err || !stage_keras_is_model(c->class))
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

int stage_keras_input(struct stage_keras_scope *s, const char *name,
	json_t *shape, const json_t *dtype, json_t **ret)
{
	struct stage_keras_call c = { .class = "InputLayer", .name = name,
		.store = "", .inputs = json_array(), .kwargs = json_object() };
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
	json_t *shape = stage_keras_shape(first);

	if (s->inputs) {
		*ret = json_deep_copy(s->inputs);
		return *ret ? 0 : -ENOMEM;
	}
	if (!json_is_array(shape))
		shape = json_object_get(config, "build_input_shape");
	if (!json_is_array(shape))
		return error_set(s->why, -ENOTSUP, "the model does not say "
			"the shape of its input");
	return stage_keras_input(s, "input", shape, json_object_get(first,
		"dtype"), ret);
}

static int next_layer(struct stage_keras_scope *s, const json_t *layer,
	struct map *seen, json_t **at)
{
	const json_t *config = json_object_get(layer, "config");
	cleanup_free char *store = NULL;
	char class[256];
	struct stage_keras_call c = { .class = class, .config = config,
		.inputs = *at, .name = json_str(config, "name") };
	json_t *out = NULL;
	int err = stage_keras_class(s, layer, class, sizeof(class));

	if (err)
		return err;
	if (!strcmp(class, "InputLayer"))
		return 0;
	if (!c.name)
		return error_set(s->why, -EBADMSG, "a layer without name");
	store = stage_keras_store(s, seen, class);
	c.store = store;
	c.kwargs = json_object();
	err = store && c.kwargs ? stage_keras_layer(s, &c, &out) : -ENOMEM;
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
	if (stage_keras_is_model(class))
		first = NULL;
	if (!s->inputs && first && !strcmp(class, "InputLayer") &&
	    json_str(first, "name") && json_is_array(stage_keras_shape(first)))
		err = stage_keras_input(s, json_str(first, "name"),
			stage_keras_shape(first), json_object_get(first,
			"dtype"), &at);
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

/* ---- the door -------------------------------------------------------------- */

static int flatten(struct stage_keras_scope *s, const char *class,
	const json_t *config, json_t **ret)
{
	return !strcmp(class, "Sequential") ?
		flatten_sequential(s, config, ret) :
		stage_keras_functional(s, config, ret);
}

int stage_keras_model(const json_t *model, json_t **ret, struct error *why)
{
	struct stage_keras_flat f = { .layers = json_array(), .why = why };
	struct stage_keras_scope s = { .f = &f, .why = why, .path = "",
		.store = "" };
	json_t *outputs = NULL;
	char class[256];
	int err = f.layers ? stage_keras_class(&s, model, class, sizeof(class)) :
		-ENOMEM;

	if (!err && !stage_keras_is_model(class))
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
