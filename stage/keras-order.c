/*
 * Weights of keras.applications are stored in the order in which Keras numbers
 * the layers of a model, and their names are those of the day they were
 * stored. So the order is made again, as keras.src.ops.function does: by
 * distance from the outputs, then in the order in which a walk from the
 * outputs meets the layers.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "stage/keras.h"

struct node {
	size_t index;		/* when the walk met it, from 1; 0: not yet */
	size_t depth;
	bool open;		/* the walk is below it */
	bool done;
};

struct order {
	const json_t *layers;
	struct map by_output;	/* tensor: layer + 1 */
	struct node *v;
	size_t n, met;
	size_t *finished;	/* layers, an input before its users */
	size_t n_finished;
	struct error *why;
};

static int name_outputs(struct order *o)
{
	for (size_t i = 0; i < o->n; i++) {
		const json_t *outputs = json_object_get(
			json_array_get(o->layers, i), "outputs");

		for (size_t k = 0; k < json_array_size(outputs); k++) {
			const char *id = json_string_value(
				json_array_get(outputs, k));

			if (!id || map_put(&o->by_output, id,
			    (void *)(uintptr_t)(i + 1), NULL))
				return -ENOMEM;
		}
	}
	return 0;
}

/* The k-th input of a layer as layer + 1; 0: it has no more. */
static size_t input_of(const struct order *o, size_t i, size_t k)
{
	const char *id = json_string_value(json_array_get(json_object_get(
		json_array_get(o->layers, i), "inputs"), k));

	return id ? (size_t)(uintptr_t)map_get(&o->by_output, id) : 0;
}

/* Depth first, without recursion: stack[] has the layers above, next[] the
 * input of each to look at. */
static int walk(struct order *o, size_t from, size_t *stack, size_t *next)
{
	size_t n = 0;

	if (o->v[from].done)
		return 0;
	stack[n++] = from;
	while (n) {
		size_t at = stack[n - 1], in;
		struct node *node = &o->v[at];

		if (!node->open) {
			node->open = true;
			node->index = ++o->met;
			next[at] = 0;
		}
		in = input_of(o, at, next[at]++);
		if (!in) {
			node->open = false;
			node->done = true;
			o->finished[o->n_finished++] = at;
			n--;
		} else if (o->v[in - 1].open) {
			return error_set(o->why, -EBADMSG, "layers that wait "
				"for each other");
		} else if (!o->v[in - 1].done) {
			stack[n++] = in - 1;
		}
	}
	return 0;
}

static void set_depths(struct order *o)
{
	for (size_t k = o->n_finished; k-- > 0;) {
		size_t i = o->finished[k], in;

		for (size_t m = 0; (in = input_of(o, i, m)) != 0; m++)
			if (o->v[in - 1].depth < o->v[i].depth + 1)
				o->v[in - 1].depth = o->v[i].depth + 1;
	}
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct order *o = arg;
	const struct node *x = &o->v[*(const size_t *)a];
	const struct node *y = &o->v[*(const size_t *)b];

	if (x->depth != y->depth)
		return x->depth > y->depth ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int walk_all(struct order *o, const json_t *outputs)
{
	size_t *stack = calloc(o->n + 1, sizeof(*stack));
	size_t *next = calloc(o->n + 1, sizeof(*next));
	int err = stack && next ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(outputs) && !err; i++) {
		const char *id = json_string_value(json_array_get(outputs, i));
		size_t at = id ? (size_t)(uintptr_t)map_get(&o->by_output,
			id) : 0;

		err = at ? walk(o, at - 1, stack, next) : error_set(o->why,
			-EBADMSG, "an output that no layer gives");
	}
	free(stack);
	free(next);
	return err;
}

int stage_keras_order(const json_t *layers, const json_t *outputs,
	size_t **ret, size_t *ret_n, struct error *why)
{
	struct order o = { .layers = layers, .n = json_array_size(layers),
		.why = why };
	int err;

	o.v = calloc(o.n + 1, sizeof(*o.v));
	o.finished = calloc(o.n + 1, sizeof(*o.finished));
	err = o.v && o.finished ? name_outputs(&o) : -ENOMEM;
	if (!err)
		err = walk_all(&o, outputs);
	if (!err) {
		set_depths(&o);
		qsort_r(o.finished, o.n_finished, sizeof(*o.finished), compare,
			&o);
		*ret_n = o.n_finished;
		*ret = o.finished;
		o.finished = NULL;
	}
	free(o.v);
	free(o.finished);
	map_done(&o.by_output);
	return err;
}
