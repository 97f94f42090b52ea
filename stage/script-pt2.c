/*
 * torch.export's program: a list of ATen calls as JSON, with the type of every
 * tensor. What it was exported with as example is its inputs' types; sizes it
 * calls by a name stay open.
 *
 * Source: torch/_export/serde/schema.py (Argument, Node, Graph, TensorMeta),
 * torch/export/pt2_archive (names of members) of pytorch; schema version 8.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stage/script-op.h"

#define PORTS_MAX 1024

/* ---- types ----------------------------------------------------------------- */

struct program {
	struct ts *c;
	json_t *graph, *types;
	struct map env;			/* name -> struct ts_value */
};

static const char *name_of(const json_t *v)
{
	const char *name = json_string_value(json_object_get(v, "name"));

	return name ? name : json_string_value(json_object_get(v, "as_name"));
}

/* "Symbol('s77', positive=True, integer=True)" or "s77": s77; else NULL. */
static const char *symbol_of(struct ts *c, const json_t *size)
{
	const char *text = json_string_value(json_object_get(
		json_object_get(size, "as_expr"), "expr_str"));
	size_t n;

	if (!text)
		return NULL;
	if (!strncmp(text, "Symbol('", 8))
		text += 8;
	n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789");
	if (!n || (text[n] && text[n] != '\''))
		return NULL;
	return stage_arena_copy(&c->a->arena, text, n);
}

/* Where a size of that name was first; a new one stays as it is. */
static void bind_symbol(struct ts_archive *a, size_t port, unsigned axis,
	const char *symbol)
{
	struct ts_bind *b = &a->ports[port].bind[axis];

	b->how = TS_FREE;
	b->symbol = NULL;
	for (size_t i = 0; i <= port; i++) {
		for (unsigned k = 0; k < a->ports[i].rank; k++) {
			const struct ts_bind *o = &a->ports[i].bind[k];

			if ((i == port && k >= axis) || !o->symbol ||
			    o->how != TS_FREE || strcmp(o->symbol, symbol))
				continue;
			*b = (struct ts_bind){ .how = TS_SAME,
				.input = (unsigned)i, .axis = k };
			return;
		}
	}
	b->symbol = symbol;
}

static int add_port(struct program *p, const char *name)
{
	struct ts *c = p->c;
	struct ts_port *port = &c->a->ports[c->a->n_ports];
	const json_t *type = json_object_get(p->types, name);
	const json_t *sizes = json_object_get(type, "sizes");

	if (c->a->n_ports == PORTS_MAX || !json_is_array(sizes) ||
	    json_array_size(sizes) > STAGE_RANK_MAX)
		return stage_ts_fail(c, "the type of %s is not said", name);
	port->name = stage_arena_strdup(&c->a->arena, name);
	if (!port->name)
		return stage_ts_error(c, -ENOMEM);
	port->dtype = stage_ts_dtype(c, stage_ts_scalar_of(json_integer_value(
		json_object_get(type, "dtype"))));
	port->rank = (unsigned)json_array_size(sizes);
	port->ranked = true;
	for (unsigned i = 0; i < port->rank; i++) {
		const json_t *size = json_array_get(sizes, i);
		const json_t *n = json_object_get(size, "as_int");
		const char *symbol = symbol_of(c, size);

		if (n) {
			port->bind[i] = (struct ts_bind){ .how = TS_FIXED,
				.n = json_integer_value(n) };
			if (port->bind[i].n < 0)
				return stage_ts_fail(c, "%s has a size below "
					"0", name);
		} else if (symbol) {
			bind_symbol(c->a, c->a->n_ports, i, symbol);
		}
	}
	c->a->n_ports++;
	return c->err;
}

static int put(struct program *p, const char *name, struct ts_value v)
{
	struct ts_value *slot = stage_arena_alloc(&p->c->arena,
		sizeof(*slot));

	if (!name)
		return stage_ts_fail(p->c, "a value without a name");
	if (!slot || map_put(&p->env, name, slot, NULL))
		return stage_ts_error(p->c, -ENOMEM);
	*slot = v;
	return 0;
}

/* ---- inputs ---------------------------------------------------------------- */

static int put_weight(struct program *p, const char *arg, const char *name)
{
	struct ts_value v = stage_ts_program_weight(p->c, name);

	return p->c->err ? p->c->err : put(p, arg, v);
}

static int put_input(struct program *p, const json_t *spec, bool first,
	size_t *port)
{
	static const struct {
		const char *kind, *key;
	} held[] = { { "parameter", "parameter_name" },
		{ "buffer", "buffer_name" },
		{ "tensor_constant", "tensor_constant_name" } };
	const json_t *user = json_object_get(spec, "user_input");
	const json_t *tensor = json_object_get(json_object_get(user, "arg"),
		"as_tensor");

	for (size_t i = 0; i < 3; i++) {
		const json_t *v = json_object_get(spec, held[i].kind);

		if (v)
			return put_weight(p, name_of(json_object_get(v,
				"arg")), json_string_value(json_object_get(v,
				held[i].key)));
	}
	if (!user)
		return json_object_get(spec, "constant_input") ? 0 :
			stage_ts_fail(p->c, "an input of an unknown kind");
	if (!tensor)	/* a number the program was made for */
		return json_object_get(json_object_get(user, "arg"),
			"as_sym_int") ? stage_ts_fail(p->c, "an input that "
			"is a number") : 0;
	if (!name_of(tensor))
		return stage_ts_fail(p->c, "an input without a name");
	if (first && add_port(p, name_of(tensor)))
		return p->c->err;
	if (*port >= p->c->a->n_ports)
		return -EINVAL;
	return put(p, name_of(tensor), stage_ts_input(p->c, (*port)++));
}

/* ---- arguments ------------------------------------------------------------- */

static struct ts_value value_of(struct program *p, const json_t *arg,
	unsigned depth);

static struct ts_value list_of(struct program *p, const json_t *items,
	const char *as, unsigned depth)
{
	struct ts_value ret = { .kind = TS_LIST };
	size_t n = json_array_size(items);
	json_t *item;
	size_t i;

	ret.u.list = stage_ts_list(p->c, n);
	json_array_foreach(items, i, item) {
		/* Items of one kind are there without its name. */
		cleanup_json json_t *one = as ? json_pack("{s:O}", as, item) :
			json_incref(item);

		if (!ret.u.list || !one || p->c->err)
			break;
		(void) stage_ts_push(p->c, ret.u.list, value_of(p, one,
			depth + 1));
	}
	return ret;
}

static struct ts_value named(struct program *p, const json_t *v)
{
	const struct ts_value *found = name_of(v) ? map_get(&p->env,
		name_of(v)) : NULL;

	if (found)
		return *found;
	(void) stage_ts_fail(p->c, "%s is not there", name_of(v) ?
		name_of(v) : "a value");
	return (struct ts_value){ .kind = TS_UNSET };
}

static struct ts_value plain_of(struct program *p, const char *kind,
	const json_t *v)
{
	struct ts_value ret = { .kind = TS_NONE };

	if (!strcmp(kind, "as_int")) {
		ret.kind = TS_INT;
		ret.u.i = json_integer_value(v);
	} else if (!strcmp(kind, "as_float")) {
		ret.kind = TS_FLOAT;
		ret.u.f = json_is_string(v) ? strtod(json_string_value(v),
			NULL) : json_number_value(v);
	} else if (!strcmp(kind, "as_bool")) {
		ret.kind = TS_BOOL;
		ret.u.b = json_is_true(v);
	} else if (!strcmp(kind, "as_string")) {
		ret.kind = TS_STR;
		ret.u.s = stage_arena_strdup(&p->c->arena,
			json_string_value(v) ? json_string_value(v) : "");
		if (!ret.u.s)
			(void) stage_ts_error(p->c, -ENOMEM);
	} else if (!strcmp(kind, "as_scalar_type")) {
		ret.kind = TS_INT;
		ret.u.i = stage_ts_scalar_of(json_integer_value(v));
	} else if (strcmp(kind, "as_none") != 0 &&
	    strcmp(kind, "as_device") != 0 && strcmp(kind, "as_layout") &&
	    strcmp(kind, "as_memory_format") != 0) {
		(void) stage_ts_fail(p->c, "an argument %s", kind);
	}
	return ret;
}

static struct ts_value value_of(struct program *p, const json_t *arg,
	unsigned depth)
{
	static const struct {
		const char *kind, *item;
	} lists[] = { { "as_tensors", "as_tensor" }, { "as_ints", "as_int" },
		{ "as_floats", "as_float" }, { "as_bools", "as_bool" },
		{ "as_strings", "as_string" },
		{ "as_sym_ints", "as_sym_int" },
		{ "as_optional_tensors", NULL } };
	void *at = json_object_iter((json_t *)(uintptr_t)arg);
	const char *kind = at ? json_object_iter_key(at) : "?";
	const json_t *v = at ? json_object_iter_value(at) : NULL;

	if (depth > 8 || p->c->err) {
		(void) stage_ts_fail(p->c, "arguments nested too deeply");
		return (struct ts_value){ .kind = TS_UNSET };
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (!strcmp(kind, lists[i].kind))
			return list_of(p, v, lists[i].item, depth);
	if (!strcmp(kind, "as_tensor"))
		return named(p, v);
	if (strncmp(kind, "as_sym_", 7) != 0)
		return plain_of(p, kind, v);
	/* {"as_name": "s"} or {"as_int": 2} */
	return json_object_get(v, "as_name") ? named(p, v) :
		value_of(p, v, depth + 1);
}

/* ---- nodes ----------------------------------------------------------------- */

/* "torch.ops.aten.conv2d.default": conv2d. "_operator.mul": mul. */
static const char *operator_of(struct ts *c, const char *target)
{
	static const struct {
		const char *from, *to;
	} same[] = { { "sym_size", "size" }, { "truediv", "div" },
		{ "mod", "remainder" }, { "sym_numel", "numel" } };
	const char *dot;
	char *name;

	if (!strncmp(target, "torch.ops.aten.", 15))
		target += 15;
	else if (!strncmp(target, "_operator.", 10))
		target += 10;
	else
		return target;
	dot = strchr(target, '.');
	name = stage_arena_copy(&c->arena, target, dot ? (size_t)(dot -
		target) : strlen(target));
	for (size_t i = 0; name && i < sizeof(same) / sizeof(same[0]); i++)
		if (!strcmp(name, same[i].from))
			return same[i].to;
	return name;
}

/* What checks the inputs, and gives nothing. */
static bool is_check(const char *name)
{
	return !strncmp(name, "_assert_", 8) ||
		!strncmp(name, "sym_constrain_range", 19);
}

static int put_result(struct program *p, const json_t *out,
	const struct ts_value *v)
{
	const json_t *many = json_object_get(out, "as_tensors");
	const json_t *one = json_object_get(out, "as_tensor");
	size_t i;
	json_t *t;

	if (!one)
		one = json_object_get(out, "as_sym_int");
	if (!one)
		one = json_object_get(out, "as_sym_bool");
	if (one)
		return put(p, name_of(one), *v);
	if (many && (v->kind == TS_LIST || v->kind == TS_TUPLE)) {
		json_array_foreach(many, i, t)
			if (i >= v->u.list->n || put(p, name_of(t),
			    v->u.list->v[i]))
				return stage_ts_fail(p->c, "another number "
					"of results");
		return 0;
	}
	return json_object_get(out, "as_none") ? 0 : stage_ts_fail(p->c,
		"a result of an unknown kind");
}

static int put_results(struct program *p, const json_t *outs,
	const struct ts_value *v)
{
	size_t n = json_array_size(outs);

	if (n == 1 && !((v->kind == TS_TUPLE) && v->u.list->n == 1))
		return put_result(p, json_array_get(outs, 0), v);
	for (size_t i = 0; i < n; i++) {
		const json_t *out = json_array_get(outs, i);

		if (v->kind != TS_TUPLE && v->kind != TS_LIST)
			return stage_ts_fail(p->c, "one result for %zu", n);
		if (i < v->u.list->n && put_result(p, out,
		    &v->u.list->v[i]))
			return p->c->err;
	}
	return 0;
}

static int run_node(struct program *p, const json_t *node)
{
	const char *target = json_string_value(json_object_get(node,
		"target"));
	const json_t *inputs = json_object_get(node, "inputs");
	size_t n = json_array_size(inputs), i;
	struct ts_value result = { .kind = TS_NONE }, *args;
	struct ts *c = p->c;
	const char **keys;
	json_t *input;
	int r;

	args = stage_arena_array(&c->arena, n + 1, sizeof(*args));
	keys = stage_arena_array(&c->arena, n + 1, sizeof(*keys));
	c->called = target ? operator_of(c, target) : NULL;
	if (!args || !keys || !c->called)
		return stage_ts_error(c, -ENOMEM);
	if (is_check(c->called))
		return 0;
	json_array_foreach(inputs, i, input) {
		args[i] = value_of(p, json_object_get(input, "arg"), 0);
		if (json_integer_value(json_object_get(input, "kind")) == 2)
			keys[i] = json_string_value(json_object_get(input,
				"name"));
		if (c->err)
			return c->err;
	}
	if (++c->steps > TS_STEPS_MAX)
		return stage_ts_fail(c, "more than %d steps", TS_STEPS_MAX);
	r = stage_ts_builtin(c, c->called, args, n, keys, &result);
	if (r == 1)
		r = stage_ts_aten(c, c->called, args, n, keys, &result);
	return r ? r : put_results(p, json_object_get(node, "outputs"),
		&result);
}

/* ---- the whole ------------------------------------------------------------- */

static int run_nodes(struct program *p)
{
	json_t *node;
	size_t i;

	json_array_foreach(json_object_get(p->graph, "nodes"), i, node) {
		p->c->line = (unsigned)i + 1;
		if (run_node(p, node))
			return p->c->err ? p->c->err : -EINVAL;
	}
	p->c->called = NULL;
	return 0;
}

static int results(struct program *p, const json_t *specs,
	struct ts_value *ret)
{
	const json_t *outs = json_object_get(p->graph, "outputs");
	struct ts_list *l = stage_ts_list(p->c, json_array_size(outs));
	json_t *out;
	size_t i;

	json_array_foreach(outs, i, out) {
		const json_t *spec = json_array_get(specs, i);

		if (!json_object_get(spec, "user_output"))
			return stage_ts_fail(p->c, "a buffer changes from one "
				"call to the next, and a graph keeps nothing");
		if (!l || stage_ts_push(p->c, l, value_of(p, out, 0)))
			return p->c->err;
	}
	if (!l || p->c->err)
		return p->c->err;
	*ret = (struct ts_value){ .kind = TS_TUPLE, .u.list = l };
	if (l->n == 1)
		*ret = l->v[0];
	return 0;
}

static int walk(struct program *p, const json_t *signature,
	struct ts_value *ret)
{
	const json_t *specs = json_object_get(signature, "input_specs");
	struct ts_archive *a = p->c->a;
	bool first = !a->ports;
	size_t port = 0, i;
	json_t *spec;
	int r = 0;

	if (first)
		a->ports = stage_arena_array(&a->arena, PORTS_MAX,
			sizeof(*a->ports));
	p->c->inputs = stage_arena_array(&p->c->arena, PORTS_MAX,
		sizeof(struct ts_tensor *));
	if (!a->ports || !p->c->inputs)
		return stage_ts_error(p->c, -ENOMEM);
	json_array_foreach(specs, i, spec) {
		r = put_input(p, spec, first, &port);
		if (r || p->c->err)
			return p->c->err ? p->c->err : r;
	}
	r = run_nodes(p);
	return r ? r : results(p, json_object_get(signature, "output_specs"),
		ret);
}

int stage_ts_program(struct ts *c, struct ts_value *ret)
{
	const json_t *module = json_object_get(c->a->program,
		"graph_module");
	struct program p = { .c = c, .graph = json_object_get(module,
		"graph") };
	int r;

	c->file = "models/model.json";
	p.types = json_object_get(p.graph, "tensor_values");
	r = walk(&p, json_object_get(module, "signature"), ret);
	map_done(&p.env);
	return r;
}
