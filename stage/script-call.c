/*
 * The whole program: which inputs it has, what is known of them (an archive
 * made by tracing holds the tensors it was traced with), and runs until no
 * size has to be bound any more.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/script-op.h"

#define PORTS_MAX 256

/* ---- inputs ---------------------------------------------------------------- */

/* The i-th tensor forward was traced with, or NULL. */
static const struct stage_py *example(const struct ts_archive *a, size_t i)
{
	struct stage_py *v = a->traced ? stage_pickle_root(a->traced) : NULL;
	const char *callee;

	for (int n = 0; n < 4 && v; n++) {
		callee = stage_py_callee(v);
		if (callee && !strncmp(callee, "torch.jit._pickle ", 18))
			v = stage_py_item(v->u.call.args, 0);
		else if (stage_py_dict(v))
			v = stage_py_get(stage_py_dict(v), "forward");
		else
			break;
	}
	return stage_py_item(v, i);
}

static int port_example(struct ts_archive *a, struct ts_port *p,
	const struct stage_py *v)
{
	struct stage_tensor t;
	int r;

	if (!stage_torch_is_tensor(v))
		return 0;
	r = stage_ts_place_tensor(a, "traced_inputs/", p->name, v, &t);
	if (r)
		return r;
	p->dtype = t.dtype;
	p->rank = t.rank;
	p->ranked = true;
	for (unsigned i = 0; i < t.rank; i++) {
		p->size[i] = (int64_t)t.dim[i];
		/* Of images only their number is left open: nearly nothing
		 * can be done with the others. */
		if (t.rank < 4 || !i)
			continue;
		p->bind[i].how = TS_FIXED;
		p->bind[i].n = p->size[i];
	}
	return 0;
}

static int add_port(struct ts_archive *a, const char *name,
	const struct stage_py *v)
{
	struct ts_port *p = &a->ports[a->n_ports];

	if (a->n_ports == PORTS_MAX)
		return error_set(a->why, -EFBIG, "more than %d inputs",
			PORTS_MAX);
	p->name = stage_arena_strdup(&a->arena, name);
	a->n_ports++;
	return p->name ? port_example(a, p, v) : -ENOMEM;
}

static bool is_type(const struct ts_expr *e, const char *name)
{
	return !e || (e->kind == TS_E_NAME && !strcmp(e->text, name));
}

/* How many tensors a parameter is; 0: it is something else. */
static size_t tensors_in(const struct ts_param *p)
{
	const struct ts_expr *e = p->type;

	if (is_type(e, "Tensor"))
		return 1;
	if (e->kind != TS_E_INDEX || !is_type(e->v[0], "Tuple"))
		return 0;
	for (size_t i = 1; i < e->n; i++)
		if (!is_type(e->v[i], "Tensor"))
			return 0;
	return e->n - 1;
}

static int add_ports(struct ts_archive *a, const struct ts_def *d)
{
	a->ports = stage_arena_array(&a->arena, PORTS_MAX, sizeof(*a->ports));
	if (!a->ports)
		return -ENOMEM;
	for (size_t i = 1; i < d->n_params; i++) {
		const struct ts_param *p = &d->params[i];
		size_t n = p->dflt ? 0 : tensors_in(p);
		bool one = n == 1 && is_type(p->type, "Tensor");
		int r = 0;

		for (size_t k = 0; k < n && !r; k++) {
			char name[300];

			(void) snprintf(name, sizeof(name), one ? "%.200s" :
				"%.200s_%zu", p->name, k);
			r = add_port(a, name, one ? example(a, i - 1) :
				stage_py_item(example(a, i - 1), k));
		}
		if (!r && !n && !p->dflt)
			r = error_set(a->why, -ENOTSUP, "%s:%u: the input %s "
				"is neither a tensor nor has a default",
				d->file, d->line, p->name);
		if (r)
			return r;
	}
	return 0;
}

struct ts_value stage_ts_input(struct ts *c, size_t i)
{
	struct ts_port *p = &c->a->ports[i];
	struct ts_val *v = stage_arena_alloc(&c->arena, sizeof(*v));
	struct ts_value ret = { .kind = TS_UNSET };
	void *taken = NULL;

	if (!v) {
		(void) stage_ts_error(c, -ENOMEM);
		return ret;
	}
	v->origin = TS_INPUT;
	v->name = p->name;
	v->input = (unsigned)i;
	ret = stage_ts_tensor(c, v);
	if (map_put(&c->names, p->name, v, &taken))
		(void) stage_ts_error(c, -ENOMEM);
	if (c->err)
		return ret;
	c->inputs[i] = ret.u.tensor;
	if (p->dtype)
		stage_ts_settle(c, v, p->dtype, p->rank);
	return ret;
}

/* ---- one run --------------------------------------------------------------- */

static const struct ts_def *forward_of(struct ts *c, struct ts_object *o)
{
	const struct ts_file *f;
	int r = stage_ts_file(c->a, o->module, &f);

	if (r) {
		(void) stage_ts_error(c, r);
		return NULL;
	}
	for (o->cls = f->classes; o->cls; o->cls = o->cls->next) {
		if (strcmp(o->cls->name, o->name) != 0)
			continue;
		for (const struct ts_def *d = o->cls->defs; d; d = d->next)
			if (!strcmp(d->name, "forward") && d->n_params)
				return d;
	}
	(void) stage_ts_fail(c, "%s has no forward", o->name);
	return NULL;
}

/* A parameter's value out of the inputs; *at: the next of them. */
static struct ts_value argument(struct ts *c, const struct ts_param *p,
	size_t *at)
{
	struct ts_value ret = { .kind = TS_TUPLE };
	size_t n = tensors_in(p);

	if (n == 1 && is_type(p->type, "Tensor"))
		return stage_ts_input(c, (*at)++);
	ret.u.list = stage_ts_list(c, n);
	for (size_t i = 0; ret.u.list && i < n; i++)
		(void) stage_ts_push(c, ret.u.list, stage_ts_input(c,
			(*at)++));
	return ret;
}

static int call_forward(struct ts *c, const struct ts_def *d,
	const struct ts_value *self, struct ts_value *ret)
{
	struct ts_value *args = stage_arena_array(&c->arena, d->n_params,
		sizeof(*args));
	const char **keys = stage_arena_array(&c->arena, d->n_params,
		sizeof(*keys));
	size_t n = 1, at = 0;

	if (!args || !keys)
		return stage_ts_error(c, -ENOMEM);
	args[0] = *self;
	for (size_t i = 1; i < d->n_params && !c->err; i++) {
		if (d->params[i].dflt)
			continue;
		keys[n] = d->params[i].name;
		args[n++] = argument(c, &d->params[i], &at);
	}
	c->path = "";
	return c->err ? c->err : stage_ts_invoke(c, d, args, n, keys, ret);
}

int stage_ts_script(struct ts *c, struct ts_value *ret)
{
	struct ts_value self, constants;
	const struct ts_def *d;
	int r;

	c->file = "data.pkl";
	constants = stage_ts_of_py(c, stage_pickle_root(c->a->constants),
		"constants/", "constants", 0);
	if (constants.kind == TS_TUPLE) {
		c->constants = constants.u.list->v;
		c->n_constants = constants.u.list->n;
	}
	self = stage_ts_of_py(c, stage_pickle_root(c->a->data), "data/", "",
		0);
	if (c->err)
		return c->err;
	if (self.kind != TS_OBJECT)
		return stage_ts_fail(c, "the archive holds no module");
	d = forward_of(c, self.u.object);
	if (!d)
		return c->err;
	if (!c->a->ports) {
		r = add_ports(c->a, d);
		if (r)
			return stage_ts_error(c, r);
	}
	c->inputs = stage_arena_array(&c->arena, c->a->n_ports + 1,
		sizeof(struct ts_tensor *));
	return c->inputs ? call_forward(c, d, &self, ret) :
		stage_ts_error(c, -ENOMEM);
}

/* ---- runs ------------------------------------------------------------------ */

static void run_done(struct ts *c)
{
	for (size_t i = 0; i < c->n_objects; i++)
		map_done(&c->all_objects[i]->attrs);
	free(c->all_objects);
	map_done(&c->names);
	map_done(&c->objects);
	map_done(&c->consts);
	map_done(&c->atoms_by_text);
	stage_arena_done(&c->arena);
}

/* What was written in one call and read before that in the next would be. */
static int check_state(struct ts *c)
{
	for (size_t i = 0; i < c->n_objects; i++) {
		const struct map *m = &c->all_objects[i]->attrs;

		if (!c->all_objects[i]->state)
			continue;
		for (size_t k = 0; k < m->room; k++) {
			const struct ts_slot *s = m->slots[k].key ?
				m->slots[k].value : NULL;

			if (s && s->written && s->read_first)
				return stage_ts_fail(c, "%s of %s changes "
					"from one call to the next, and a "
					"graph keeps nothing",
					m->slots[k].key,
					c->all_objects[i]->name);
		}
	}
	return 0;
}

static int run_once(struct ts_archive *a, unsigned opset,
	int (*walk)(struct ts *c, struct ts_value *ret),
	struct stage_graph **ret)
{
	struct ts c = { .a = a, .opset = opset, .why = a->why,
		.arena = STAGE_ARENA_INIT(TS_ARENA_MAX) };
	struct ts_value result = { .kind = TS_UNSET };
	int r;

	c.atoms = stage_arena_array(&c.arena, TS_ATOMS_MAX,
		sizeof(*c.atoms));
	r = c.atoms ? walk(&c, &result) : -ENOMEM;
	if (!r)
		r = check_state(&c);
	if (!r)
		r = stage_ts_graph(&c, &result, ret);
	if (!r && c.err)
		r = c.err;
	run_done(&c);
	return r;
}

int stage_ts_runs(struct ts_archive *a, unsigned opset,
	int (*walk)(struct ts *c, struct ts_value *ret),
	struct stage_graph **ret)
{
	int r = TS_RESTART;

	for (unsigned i = 0; i < TS_RUNS_MAX && r == TS_RESTART; i++)
		r = run_once(a, opset, walk, ret);
	return r != TS_RESTART ? r : error_set(a->why, -ENOTSUP, "the sizes "
		"of its inputs do not come to rest");
}

static void forget_ports(struct ts_archive *a)
{
	a->ports = NULL;
	a->n_ports = 0;
	a->guessed = false;
}

static int run_script(struct ts_archive *a, unsigned opset,
	struct stage_graph **ret)
{
	static const unsigned ranks[] = { 4, 3, 2, 1 };
	struct error first = { 0 };
	int r = stage_ts_open(a);

	for (size_t i = 0; !r; i++) {
		a->guess = ranks[i];
		r = stage_ts_runs(a, opset, stage_ts_script, ret);
		if (r != -ENOTSUP || !a->guessed || i + 1 == 4)
			break;
		if (!i)
			first = *a->why;
		forget_ports(a);
		r = 0;
	}
	if (r == -ENOTSUP && a->guessed && first.code)
		*a->why = first;
	return r;
}

int stage_script_run(struct src *s, const char *path, unsigned opset,
	struct stage_graph **ret, struct error *why)
{
	struct ts_archive a = { .guess = 0 };
	struct error inner = { 0 };
	const char *kind = NULL;
	int r = stage_script_probe(s, &kind, why);

	if (r)
		return r;
	stage_ts_begin(&a, s, path, why ? why : &inner);
	if (kind && !strcmp(kind, "export")) {
		r = stage_ts_open_program(&a);
		if (!r)
			r = stage_ts_runs(&a, opset, stage_ts_program, ret);
	} else {
		r = run_script(&a, opset, ret);
	}
	if (r && !a.why->code)
		(void) error_set(a.why, r, "%s", strerror(-r));
	stage_ts_close(&a);
	return r;
}
