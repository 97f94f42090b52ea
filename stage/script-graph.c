/* From the walk's operators to a graph: those that no output needs are left
 * out, weights nobody reads with them. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/script-op.h"

#define OUTPUTS_MAX 256

struct outputs {
	struct ts *c;
	struct ts_val *v[OUTPUTS_MAX];
	const char *name[OUTPUTS_MAX];
	size_t n;
};

/* ---- outputs --------------------------------------------------------------- */

static int add_value(struct outputs *o, const struct ts_value *v,
	const char *name, unsigned depth);

static int add_tensor(struct outputs *o, const struct ts_tensor *t,
	const char *name)
{
	if (o->n == OUTPUTS_MAX)
		return stage_ts_fail(o->c, "more than %d outputs",
			OUTPUTS_MAX);
	if (t->version != t->base->version)
		return stage_ts_fail(o->c, "an output's memory was written "
			"through another tensor");
	o->v[o->n] = t->val;
	o->name[o->n++] = stage_arena_strdup(&o->c->arena, name);
	return o->name[o->n - 1] ? 0 : stage_ts_error(o->c, -ENOMEM);
}

static int add_list(struct outputs *o, const struct ts_value *v,
	const char *name, unsigned depth)
{
	size_t by = v->kind == TS_DICT ? 2 : 1;
	int r = 0;

	for (size_t i = 0; i + by <= v->u.list->n && !r; i += by) {
		const struct ts_value *key = &v->u.list->v[i];
		char text[300];

		if (by == 2 && key->kind == TS_STR)
			(void) snprintf(text, sizeof(text), "%.290s",
				key->u.s);
		else
			(void) snprintf(text, sizeof(text), "%.270s_%zu",
				name, i / by);
		r = add_value(o, &v->u.list->v[i + by - 1], text, depth + 1);
	}
	return r;
}

static int add_object(struct outputs *o, struct ts_object *of,
	const char *name, unsigned depth)
{
	int r = 0;

	for (const struct ts_field *f = of->cls ? of->cls->fields : NULL;
	    f && !r; f = f->next) {
		struct ts_slot *s = stage_ts_attr(o->c, of, f->name);

		if (s)
			r = add_value(o, &s->v, f->name, depth + 1);
	}
	(void) name;
	return r;
}

static int add_value(struct outputs *o, const struct ts_value *v,
	const char *name, unsigned depth)
{
	struct ts_val *number;

	if (depth > 8)
		return stage_ts_fail(o->c, "a result nested too deeply");
	switch (v->kind) {
	case TS_TENSOR:
		return add_tensor(o, v->u.tensor, name);
	case TS_LIST:
	case TS_TUPLE:
	case TS_DICT:
		return add_list(o, v, name, depth);
	case TS_OBJECT:
		return add_object(o, v->u.object, name, depth);
	case TS_NONE:
		return 0;
	case TS_INT:
	case TS_FLOAT:
	case TS_BOOL:
	case TS_SYM:
		number = stage_ts_operand(o->c, v, 0);
		return number ? add_tensor(o, stage_ts_tensor(o->c,
			number).u.tensor, name) : o->c->err;
	default:
		return stage_ts_fail(o->c, "%s as a result",
			stage_ts_kind(v));
	}
}

/* ---- the graph ------------------------------------------------------------- */

static void want(struct ts *c, struct outputs *o)
{
	for (size_t i = 0; i < o->n; i++)
		o->v[i]->wanted = true;
	for (struct ts_node *n = c->last; n; n = n->before) {
		bool wanted = false;

		for (size_t i = 0; i < n->n_out; i++)
			wanted = wanted || n->out[i]->wanted;
		for (size_t i = 0; wanted && i < n->n_in; i++)
			if (n->in[i])
				n->in[i]->wanted = true;
	}
}

static int put_type(struct ts *c, const struct ts_type *t,
	struct stage_dim *ret)
{
	for (unsigned i = 0; i < t->rank; i++) {
		ret[i] = (struct stage_dim){ t->dim[i].n, NULL };
		if (t->dim[i].sym)
			ret[i] = (struct stage_dim){ -1,
				stage_ts_dim_text(c, t->dim[i]) };
	}
	return c->err;
}

/* An initializer when it is the first time. */
static int put_source(struct ts *c, struct stage_graph *g, struct ts_val *v)
{
	uint64_t dims[STAGE_RANK_MAX];
	char name[40];
	char *copy;

	if (v->origin == TS_WEIGHT) {
		if (map_get(&c->weights, v->name))
			return 0;
		if (map_put(&c->weights, v->name, v, NULL))
			return -ENOMEM;
		return stage_graph_weight(g, v->name, &v->weight, c->a->path,
			c->a->src->size);
	}
	if (v->origin != TS_CONST || v->input)
		return 0;
	v->input = 1;
	do {
		(void) snprintf(name, sizeof(name), "constant_%zu",
			++c->n_names);
	} while (map_get(&c->names, name));
	copy = stage_arena_strdup(&c->arena, name);
	if (!copy)
		return -ENOMEM;
	v->name = copy;
	for (unsigned i = 0; i < v->t.rank; i++)
		dims[i] = (uint64_t)v->t.dim[i].n;
	return stage_graph_constant(g, v->name, v->t.dtype, dims, v->t.rank,
		v->data, v->len);
}

static int put_node(struct ts *c, struct stage_graph *g,
	const struct ts_node *n)
{
	const char **names = stage_arena_array(&c->arena, n->n_in + n->n_out,
		sizeof(*names));
	int r = names ? 0 : -ENOMEM;

	if (!r && n->op[0] == '?')
		r = stage_ts_fail(c, "%s has no form in ONNX", n->op + 1);
	for (size_t i = 0; i < n->n_in && !r; i++) {
		if (n->in[i])
			r = put_source(c, g, n->in[i]);
		if (!r)
			names[i] = n->in[i] ? n->in[i]->name : "";
	}
	for (size_t i = 0; i < n->n_out && !r; i++)
		names[n->n_in + i] = n->out[i]->name;
	return r ? r : stage_graph_node(g, n->op, names, n->n_in,
		names + n->n_in, n->n_out, n->attrs, n->n_attrs);
}

static bool is_wanted(const struct ts_node *n)
{
	for (size_t i = 0; i < n->n_out; i++)
		if (n->out[i]->wanted)
			return true;
	return false;
}

/* The result of an operator takes an output's name; all else is copied. */
static int name_output(struct ts *c, struct outputs *o, size_t i)
{
	char text[400];
	void *owner = map_get(&c->names, o->name[i]);

	for (unsigned n = 1; owner; n++) {
		(void) snprintf(text, sizeof(text), "%.300s_%u", o->name[i],
			n);
		owner = map_get(&c->names, text);
		if (!owner)
			o->name[i] = stage_arena_strdup(&c->arena, text);
	}
	if (!o->name[i] || map_put(&c->names, o->name[i], o, NULL))
		return stage_ts_error(c, -ENOMEM);
	for (size_t k = 0; k < i; k++)
		if (o->v[k] == o->v[i])
			owner = o;
	if (o->v[i]->origin != TS_RESULT || owner) {
		o->v[i] = stage_ts_same_op(c, "Identity", o->v[i]);
		if (!o->v[i])
			return c->err;
	}
	o->v[i]->name = o->name[i];
	return 0;
}

static int put_ports(struct ts *c, struct stage_graph *g,
	const struct outputs *o)
{
	struct stage_dim dims[STAGE_RANK_MAX];
	int r = 0;

	for (size_t i = 0; i < c->a->n_ports && !r; i++) {
		const struct ts_val *v = c->inputs[i] ? c->inputs[i]->val :
			NULL;

		/* Written in place: what it was is behind the program. */
		if (!v || v->origin != TS_INPUT)
			v = map_get(&c->names, c->a->ports[i].name);
		if (!v || !v->t.dtype)
			continue;	/* not looked at */
		r = put_type(c, &v->t, dims);
		if (!r)
			r = stage_graph_input(g, v->name, v->t.dtype, dims,
				v->t.rank);
	}
	for (size_t i = 0; i < o->n && !r; i++) {
		r = put_type(c, &o->v[i]->t, dims);
		if (!r)
			r = stage_graph_output(g, o->name[i],
				o->v[i]->t.dtype, dims, o->v[i]->t.rank);
	}
	return r;
}

static int build(struct ts *c, struct outputs *o, struct stage_graph *g)
{
	int r = 0;

	for (size_t i = 0; i < o->n && !r; i++)
		r = name_output(c, o, i);
	if (r)
		return r;
	want(c, o);
	r = put_ports(c, g, o);
	for (const struct ts_node *n = c->first; n && !r; n = n->next)
		if (is_wanted(n))
			r = put_node(c, g, n);
	return r;
}

int stage_ts_graph(struct ts *c, const struct ts_value *result,
	struct stage_graph **ret)
{
	struct outputs o = { .c = c };
	struct stage_graph *g;
	int r;

	c->path = "";
	c->called = NULL;
	r = add_value(&o, result, "output", 0);
	if (!r && !o.n)
		r = stage_ts_fail(c, "the program gives no tensor");
	if (r)
		return r;
	g = stage_graph_new("torch");
	r = g ? build(c, &o, g) : -ENOMEM;
	map_done(&c->weights);
	if (r) {
		stage_graph_free(g);
		return r;
	}
	*ret = g;
	return 0;
}
