/*
 * A graph with its weights in another form. The initializer X becomes X_fp16,
 * computed from the same bytes of the checkpoint, and an operator in front of
 * the others gives X. Nothing else changes, so that what holds of the graph
 * (names, types, shapes) still does, in every runtime; those that fold
 * constants have the operator away at load.
 *
 * Vectors stay as they are: biases and norms are a thousandth of the bytes and
 * what rounding hurts most.
 */
#include "config.h"

#include "stage/graph-data.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define NAME_ROOM 8192		/* bytes of a value's name, with its suffix */

struct variant {
	const struct stage_graph *g;
	enum stage_variant kind;
	struct stage_graph *to;
	struct error *why;
};

/* One init and its suffix as a new name. */
static int named(const struct variant *v, const struct stage_graph_init *init,
	const char *suffix, char name[NAME_ROOM])
{
	int n = snprintf(name, NAME_ROOM, "%s%s", init->value, suffix);

	if (n < 0 || n >= NAME_ROOM)
		return error_set(v->why, -EFBIG, "a weight's name is too long");
	if (map_get(&v->g->values, name))
		return error_set(v->why, -ENOTSUP, "the graph has a value %s "
			"of its own", name);
	return 0;
}

/* X of any type into f16, each element for itself. */
static struct stage_graph_init as_f16(const struct stage_graph_init *init)
{
	struct stage_graph_init half = *init;

	half.dtype = STAGE_F16;
	half.n = init->len / stage_dtype_size(init->dtype);
	half.len = half.n * 2;
	half.how = (struct stage_extent){ .xform = STAGE_TO_F16,
		.from = (uint8_t)init->dtype };
	return half;
}

/* X_fp16, and X = Cast(X_fp16). */
static int add_f16(const struct variant *v,
	const struct stage_graph_init *init)
{
	const struct stage_attr to = { .name = "to", .kind = STAGE_ATTR_INT,
		.i = STAGE_F32 };
	struct stage_graph_init half = as_f16(init);
	char name[NAME_ROOM];
	const char *const in[] = { name }, *const out[] = { init->value };
	int r = named(v, init, "_fp16", name);

	half.value = name;
	if (!r)
		r = stage_graph_init_add(v->to, &half);
	return r ? r : stage_graph_node(v->to, "Cast", in, 1, out, 1, &to, 1);
}

static int add_weight(const struct variant *v,
	const struct stage_graph_init *init)
{
	struct stage_graph_init half;

	/* A Cast reads it already, and does not mind which half it is. */
	if (init->dtype == STAGE_BF16) {
		half = as_f16(init);
		return stage_graph_init_add(v->to, &half);
	}
	if (init->dtype == STAGE_F32 && init->rank >= 2)
		return add_f16(v, init);
	return stage_graph_init_add(v->to, init);
}

static int add_all(const struct variant *v)
{
	const struct stage_graph *g = v->g;
	int r = 0;

	for (size_t i = 0; i < g->n_inputs && !r; i++)
		r = stage_graph_input(v->to, g->inputs[i].name,
			g->inputs[i].dtype, g->inputs[i].dims,
			g->inputs[i].rank);
	for (size_t i = 0; i < g->n_inits && !r; i++)
		r = g->inits[i].data || !g->inits[i].len ?
			stage_graph_init_add(v->to, &g->inits[i]) :
			add_weight(v, &g->inits[i]);
	for (size_t i = 0; i < g->n_nodes && !r; i++) {
		const struct stage_graph_node *n = &g->nodes[i];

		r = stage_graph_node(v->to, n->op, n->inputs, n->n_inputs,
			n->outputs, n->n_outputs, n->attrs, n->n_attrs);
	}
	for (size_t i = 0; i < g->n_outputs && !r; i++)
		r = stage_graph_output(v->to, g->outputs[i].name,
			g->outputs[i].dtype, g->outputs[i].dims,
			g->outputs[i].rank);
	return r;
}

int stage_graph_variant(const struct stage_graph *g, enum stage_variant kind,
	struct stage_graph **ret, struct error *why)
{
	struct variant v = { g, kind, stage_graph_new(g->name), why };
	int r = v.to ? add_all(&v) : -ENOMEM;

	if (r)
		stage_graph_free(v.to);
	else
		*ret = v.to;
	return r;
}
