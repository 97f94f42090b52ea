/*
 * What a layer is called with: tensors by layer, call and output, in the
 * nested lists of Keras 2 or the objects of Keras 3, and other arguments.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "stage/keras-scope.h"

#define NEST_MAX 4	/* lists in each other */

/* ["conv1", 0, 0] */
bool stage_keras_history(const json_t *v)
{
	return json_is_array(v) && json_array_size(v) >= 3 &&
		json_is_string(json_array_get(v, 0)) &&
		json_is_integer(json_array_get(v, 1)) &&
		json_is_integer(json_array_get(v, 2));
}

/* Its tensor; NULL: not there yet. */
static json_t *find_tensor(const struct stage_keras_scope *s, const json_t *history)
{
	char key[STAGE_KERAS_NAME_MAX];

	if (snprintf(key, sizeof(key), "%s/%lld/%lld",
	    json_string_value(json_array_get(history, 0)),
	    (long long)json_integer_value(json_array_get(history, 1)),
	    (long long)json_integer_value(json_array_get(history, 2))) >=
	    (int)sizeof(key))
		return NULL;
	return json_object_get(s->tensors, key);
}

/* The tensors of an argument behind each other, numbers as they are. 1: one of
 * them is not there yet. */
static int add_argument(const struct stage_keras_scope *s, const json_t *v,
	json_t *ret, unsigned depth)
{
	const json_t *history = NULL;
	json_t *tensor;
	int err = 0;

	if (stage_keras_history(v))
		history = v;
	else if (json_str(v, "class_name") &&
	    !strcmp(json_str(v, "class_name"), "__keras_tensor__"))
		history = json_object_get(json_object_get(v, "config"),
			"keras_history");
	if (history) {
		if (!stage_keras_history(history))
			return error_set(s->why, -EBADMSG,
				"a bad keras_history");
		tensor = find_tensor(s, history);
		return !tensor ? 1 : json_array_append(ret, tensor) ?
			-ENOMEM : 0;
	}
	if (json_is_number(v))
		return json_array_append(ret, (json_t *)(uintptr_t)v) ?
			-ENOMEM : 0;
	if (!json_is_array(v) || depth > NEST_MAX)
		return error_set(s->why, -ENOTSUP, "an argument of a layer "
			"that is no tensor");
	for (size_t i = 0; i < json_array_size(v) && !err; i++)
		err = add_argument(s, json_array_get(v, i), ret, depth + 1);
	return err;
}

/* Arguments that change nothing when a model is only run. */
static bool idle(const char *key, const json_t *v)
{
	return json_is_null(v) || (!strcmp(key, "training") &&
		!json_is_object(v) && !json_is_array(v)) ||
		(json_is_false(v) && (!strcmp(key, "use_causal_mask") ||
		!strcmp(key, "return_attention_scores")));
}

static int add_kwargs(const struct stage_keras_scope *s, const json_t *from,
	json_t *ret)
{
	const char *key;
	json_t *v;

	/* The cast: jansson's macro wants it, nothing is changed. */
	json_object_foreach((json_t *)(uintptr_t)from, key, v) {
		cleanup_json json_t *list = NULL;
		int err;

		if (idle(key, v))
			continue;
		if (json_is_boolean(v) || json_is_string(v)) {
			if (json_object_set(ret, key, v))
				return -ENOMEM;
			continue;
		}
		list = json_array();
		err = list ? add_argument(s, v, list, 0) : -ENOMEM;
		if (err)
			return err;
		/* The rest of them are told by where they stand. */
		if (json_object_set(ret, key, json_array_size(list) == 1 ?
		    json_array_get(list, 0) : list))
			return -ENOMEM;
	}
	return 0;
}

/* The states a layer begins with stand behind its input. */
static int add_states(json_t *inputs, json_t *kwargs)
{
	json_t *states = json_object_get(kwargs, "initial_state");
	int r = json_is_array(states) ? json_array_extend(inputs, states) :
		states ? json_array_append(inputs, states) : 0;

	(void) json_object_del(kwargs, "initial_state");
	return r ? -ENOMEM : 0;
}

/* {"args": […], "kwargs": {…}}, or [["conv1", 0, 0, {…}], …] */
static int arguments(const struct stage_keras_scope *s, const json_t *node,
	json_t *inputs, json_t *kwargs)
{
	const json_t *args = json_object_get(node, "args");
	int err = 0;

	if (json_is_object(node)) {
		for (size_t i = 0; i < json_array_size(args) && !err; i++)
			if (!json_is_null(json_array_get(args, i)))
				err = add_argument(s, json_array_get(args, i),
					inputs, 0);
		return err ? err : add_kwargs(s, json_object_get(node,
			"kwargs"), kwargs);
	}
	if (!json_is_array(node))
		return error_set(s->why, -EBADMSG, "bad inbound_nodes");
	if (stage_keras_history(node)) {
		err = add_argument(s, node, inputs, 0);
		return err ? err : add_kwargs(s, json_array_get(node, 3),
			kwargs);
	}
	for (size_t i = 0; i < json_array_size(node) && !err; i++) {
		const json_t *one = json_array_get(node, i);

		if (!stage_keras_history(one))
			return error_set(s->why, -ENOTSUP, "an input of a "
				"layer that is no tensor");
		err = add_argument(s, one, inputs, 0);
		if (!err)
			err = add_kwargs(s, json_array_get(one, 3), kwargs);
	}
	return err;
}

int stage_keras_arguments(const struct stage_keras_scope *s,
	const json_t *node, json_t *inputs, json_t *kwargs)
{
	int err = arguments(s, node, inputs, kwargs);

	return err ? err : add_states(inputs, kwargs);
}

int stage_keras_argument(const struct stage_keras_scope *s, const json_t *v,
	json_t *ret)
{
	return add_argument(s, v, ret, 0);
}
