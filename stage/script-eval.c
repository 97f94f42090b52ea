/*
 * The walk over statements and expressions. Its own depth is bounded, since
 * the program may call itself; so are its steps, since it may loop.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/script-op.h"

#define RETURNED 1	/* not an error: the function is over */

static int exec_block(struct ts *c, const struct ts_block *b,
	struct map *env, struct ts_value *ret);

static int step(struct ts *c, unsigned line)
{
	if (line)
		c->line = line;
	if (++c->steps > TS_STEPS_MAX)
		return stage_ts_fail(c, "more than %d steps", TS_STEPS_MAX);
	return c->err;
}

static int enter(struct ts *c)
{
	if (++c->depth <= TS_DEPTH_MAX)
		return 0;
	c->depth--;
	return stage_ts_fail(c, "calls and brackets nested too deeply");
}

int stage_ts_truth(struct ts *c, const struct ts_value *v, bool *ret,
	bool *ret_sure)
{
	struct ts_dim d;
	double f;

	*ret_sure = true;
	switch (v->kind) {
	case TS_NONE:
		*ret = false;
		return 0;
	case TS_BOOL:
		*ret = v->u.b;
		return 0;
	case TS_INT:
		*ret = v->u.i != 0;
		return 0;
	case TS_FLOAT:
		*ret = v->u.f != 0;
		return 0;
	case TS_STR:
		*ret = v->u.s[0] != 0;
		return 0;
	case TS_SYM:
		d = (struct ts_dim){ 0, v->u.sym };
		*ret = stage_ts_compare(c, d, TS_NE, stage_ts_num(0)) == 1;
		*ret_sure = *ret;
		return c->err;
	case TS_UNSURE:
		*ret_sure = false;
		return 0;
	case TS_TENSOR:
		if (v->u.tensor->val->t.rank == 0 &&
		    stage_ts_known(v->u.tensor->val, 0, &f)) {
			*ret = f != 0;
			return 0;
		}
		return stage_ts_fail(c, "what happens depends on the elements "
			"of a tensor");
	default:
		return stage_ts_fail(c, "%s where a bool is needed",
			stage_ts_kind(v));
	}
}

/* ---- expressions ----------------------------------------------------------- */

static int set_path(struct ts *c, struct ts_value *ret, const char *a,
	const char *b)
{
	char path[1024];

	(void) snprintf(path, sizeof(path), "%.700s%s%.300s", a, b ? "." : "",
		b ? b : "");
	ret->kind = TS_PATH;
	ret->u.s = stage_arena_strdup(&c->arena, path);
	return ret->u.s ? 0 : stage_ts_error(c, -ENOMEM);
}

static int eval_name(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	struct ts_value *v = env ? map_get(env, e->text) : NULL;

	if (v) {
		*ret = *v;
		return 0;
	}
	if (!strcmp(e->text, "inf") || !strcmp(e->text, "nan")) {
		ret->kind = TS_FLOAT;
		ret->u.f = e->text[0] == 'i' ? (double)INFINITY : (double)NAN;
		return 0;
	}
	return set_path(c, ret, e->text, NULL);
}

static int constant(struct ts *c, const char *name, struct ts_value *ret)
{
	unsigned i;
	char end;

	if (sscanf(name, "c%u%c", &i, &end) != 1 || i >= c->n_constants)
		return stage_ts_fail(c, "there is no constant %s", name);
	*ret = c->constants[i];
	return 0;
}

static const struct ts_class *class_of(struct ts *c, struct ts_object *o)
{
	const struct ts_file *f;
	int r;

	if (o->cls)
		return o->cls;
	r = stage_ts_file(c->a, o->module, &f);
	if (r) {
		(void) stage_ts_error(c, r);
		return NULL;
	}
	for (o->cls = f->classes; o->cls; o->cls = o->cls->next)
		if (!strcmp(o->cls->name, o->name))
			return o->cls;
	(void) stage_ts_fail(c, "there is no class %s in %s", o->name,
		o->module);
	return NULL;
}

static int object_attr(struct ts *c, struct ts_object *o, const char *name,
	struct ts_value *ret)
{
	struct ts_slot *s = stage_ts_attr(c, o, name);
	const struct ts_class *cls;

	if (c->err)
		return c->err;
	if (s) {
		s->read_first = s->read_first || !s->written;
		*ret = s->v;
		return 0;
	}
	cls = class_of(c, o);
	for (struct ts_field *f = cls ? cls->fields : NULL; f; f = f->next)
		if (!strcmp(f->name, name) && f->value)
			return stage_ts_eval(c, f->value, NULL, ret);
	return stage_ts_fail(c, "%s has no %s", o->name, name);
}

static int eval_attr(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	struct ts_value of = { .kind = TS_UNSET };
	int r = stage_ts_eval(c, e->v[0], env, &of);

	if (r)
		return r;
	if (of.kind == TS_OBJECT)
		return object_attr(c, of.u.object, e->text, ret);
	if (of.kind != TS_PATH)
		return stage_ts_fail(c, "%s has no %s", stage_ts_kind(&of),
			e->text);
	if (!strcmp(of.u.s, "CONSTANTS"))
		return constant(c, e->text, ret);
	return set_path(c, ret, of.u.s, e->text);
}

static int eval_items(struct ts *c, const struct ts_expr *e, size_t from,
	struct map *env, struct ts_list **ret)
{
	struct ts_list *l = stage_ts_list(c, e->n);

	for (size_t i = from; l && i < e->n; i++) {
		struct ts_value v = { .kind = TS_UNSET };

		if (stage_ts_eval(c, e->v[i], env, &v) ||
		    stage_ts_push(c, l, v))
			return c->err;
	}
	*ret = l;
	return c->err;
}

static int eval_index(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	struct ts_value v[2] = { { .kind = TS_UNSET }, { .kind = TS_UNSET } };
	int r = e->n == 2 ? stage_ts_eval(c, e->v[0], env, &v[0]) :
		stage_ts_fail(c, "a subscript of %zu values", e->n - 1);

	if (!r)
		r = stage_ts_eval(c, e->v[1], env, &v[1]);
	if (!r)
		r = stage_ts_builtin(c, "__getitem__", v, 2, NULL, ret);
	return r == 1 ? stage_ts_fail(c, "%s cannot be subscripted",
		stage_ts_kind(&v[0])) : r;
}

static int eval_neg(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	struct ts_value v = { .kind = TS_UNSET };
	int r = stage_ts_eval(c, e->v[0], env, &v);

	if (!r)
		r = stage_ts_builtin(c, e->kind == TS_E_NEG ? "neg" :
			"__not__", &v, 1, NULL, ret);
	return r == 1 ? stage_ts_fail(c, "a sign before %s",
		stage_ts_kind(&v)) : r;
}

static int eval_cond(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	struct ts_value v = { .kind = TS_UNSET };
	bool yes = false, sure;
	int r = stage_ts_eval(c, e->v[1], env, &v);

	if (!r)
		r = stage_ts_truth(c, &v, &yes, &sure);
	if (!r && !sure)
		r = stage_ts_fail(c, "a choice by a size that is not known");
	return r ? r : stage_ts_eval(c, e->v[yes ? 0 : 2], env, ret);
}

/* ---- calls ----------------------------------------------------------------- */

static const struct ts_def *find_def(const struct ts_def *d, const char *name)
{
	while (d && strcmp(d->name, name) != 0)
		d = d->next;
	return d;
}

static int call_method(struct ts *c, struct ts_object *o, const char *name,
	struct ts_list *args, const char *const *keys, struct ts_value *ret)
{
	const struct ts_class *cls = class_of(c, o);
	const struct ts_def *d = cls ? find_def(cls->defs, name) : NULL;
	const char *path = c->path;
	struct ts_value *v;
	const char **k;
	int r;

	if (c->err)
		return c->err;
	if (!d)
		return stage_ts_fail(c, "%s has no method %s", o->name, name);
	v = stage_arena_array(&c->arena, args->n + 1, sizeof(*v));
	k = stage_arena_array(&c->arena, args->n + 1, sizeof(*k));
	if (!v || !k)
		return stage_ts_error(c, -ENOMEM);
	v[0] = (struct ts_value){ .kind = TS_OBJECT, .u.object = o };
	for (size_t i = 0; i < args->n; i++) {
		v[i + 1] = args->v[i];
		k[i + 1] = keys ? keys[i] : NULL;
	}
	c->path = o->path;
	r = stage_ts_invoke(c, d, v, args->n + 1, k, ret);
	c->path = path;
	return r;
}

/* __torch__.a.b.C(…): a tuple with names, or an object that __init__ makes
 * later. */
static int make_object(struct ts *c, const struct ts_class *cls,
	const char *module, struct ts_list *args, struct ts_value *ret)
{
	struct ts_object *o = stage_arena_alloc(&c->arena, sizeof(*o));
	struct ts_object **all;
	struct ts_field *f = cls->fields;

	if (!o)
		return stage_ts_error(c, -ENOMEM);
	all = reallocarray(c->all_objects, c->n_objects + 1, sizeof(*all));
	if (!all)
		return stage_ts_error(c, -ENOMEM);
	c->all_objects = all;
	c->room_objects = c->n_objects + 1;
	c->all_objects[c->n_objects++] = o;
	o->module = module;
	o->name = cls->name;
	o->path = "";
	o->cls = cls;
	for (size_t i = 0; i < args->n; i++) {
		if (!f)
			return stage_ts_fail(c, "too many arguments for %s",
				cls->name);
		if (stage_ts_set_attr(c, o, f->name, args->v[i]))
			return c->err;
		f = f->next;
	}
	ret->kind = TS_OBJECT;
	ret->u.object = o;
	return 0;
}

static int call_code(struct ts *c, const char *path, struct ts_list *args,
	const char *const *keys, struct ts_value *ret)
{
	const char *dot = strrchr(path, '.');
	const struct ts_file *f;
	char *module;
	int r;

	if (dot && !strcmp(dot, ".__new__")) {
		module = stage_arena_copy(&c->arena, path, (size_t)(dot -
			path));
		return module ? call_code(c, module, &(struct ts_list){
			.n = 0 }, NULL, ret) : stage_ts_error(c, -ENOMEM);
	}
	module = dot ? stage_arena_copy(&c->arena, path,
		(size_t)(dot - path)) : NULL;
	if (!module)
		return stage_ts_fail(c, "there is no function %s", path);
	r = stage_ts_file(c->a, module, &f);
	if (r)
		return stage_ts_error(c, r);
	if (find_def(f->defs, dot + 1))
		return stage_ts_invoke(c, find_def(f->defs, dot + 1), args->v,
			args->n, keys, ret);
	for (const struct ts_class *k = f->classes; k; k = k->next)
		if (!strcmp(k->name, dot + 1))
			return make_object(c, k, module, args, ret);
	return stage_ts_fail(c, "there is no function %s", path);
}

static int call_op(struct ts *c, const char *name, struct ts_list *args,
	const char *const *keys, struct ts_value *ret)
{
	const char *before = c->called;
	int r;

	c->called = name;
	r = stage_ts_builtin(c, name, args->v, args->n, keys, ret);
	if (r == 1)
		r = stage_ts_aten(c, name, args->v, args->n, keys, ret);
	c->called = before;
	return r;
}

static int call_path(struct ts *c, const char *path, struct ts_list *args,
	const char *const *keys, struct ts_value *ret)
{
	if (!strncmp(path, "torch.", 6))
		return call_op(c, path + 6, args, keys, ret);
	if (!strncmp(path, "ops.prim.", 9))
		return call_op(c, path + 4, args, keys, ret);
	if (!strncmp(path, "ops.aten.", 9))
		return call_op(c, path + 9, args, keys, ret);
	if (!strncmp(path, "__torch__.", 10))
		return call_code(c, path, args, keys, ret);
	if (strchr(path, '.'))
		return stage_ts_fail(c, "the operator %s is not known", path);
	return call_op(c, path, args, keys, ret);
}

/* annotate(T, v), unchecked_cast(T, v), uninitialized(T) */
static int eval_typed(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	const char *name = e->v[0]->kind == TS_E_NAME ? e->v[0]->text : "";

	if (!strcmp(name, "uninitialized")) {
		ret->kind = TS_UNSET;
		return 0;
	}
	if ((strcmp(name, "annotate") != 0 &&
	    strcmp(name, "unchecked_cast") != 0) || e->n != 3)
		return 1;
	return stage_ts_eval(c, e->v[2], env, ret);
}

static int eval_getattr(struct ts *c, struct ts_list *args,
	struct ts_value *ret)
{
	if (args->n != 2 || args->v[0].kind != TS_OBJECT ||
	    args->v[1].kind != TS_STR)
		return stage_ts_fail(c, "getattr of %s",
			args->n ? stage_ts_kind(&args->v[0]) : "nothing");
	return object_attr(c, args->v[0].u.object, args->v[1].u.s, ret);
}

static int eval_call(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	struct ts_value fn = { .kind = TS_UNSET }, of = fn;
	const struct ts_expr *f = e->v[0];
	struct ts_list *args;
	unsigned line = e->line;
	int r = eval_typed(c, e, env, ret);

	if (r != 1)
		return r;
	/* The object first, as what is called on it may be a method. */
	if (f->kind == TS_E_ATTR)
		r = stage_ts_eval(c, f->v[0], env, &of);
	else
		r = stage_ts_eval(c, f, env, &fn);
	if (r)
		return r;
	r = eval_items(c, e, 1, env, &args);
	c->line = line;
	if (r)
		return r;
	if (of.kind == TS_OBJECT)
		return call_method(c, of.u.object, f->text, args, e->keys,
			ret);
	if (of.kind == TS_PATH)
		r = set_path(c, &fn, of.u.s, f->text);
	if (r || fn.kind != TS_PATH)
		return r ? r : stage_ts_fail(c, "%s cannot be called",
			stage_ts_kind(f->kind == TS_E_ATTR ? &of : &fn));
	if (!strcmp(fn.u.s, "getattr"))
		return eval_getattr(c, args, ret);
	return call_path(c, fn.u.s, args, e->keys, ret);
}

static int eval_kind(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	switch (e->kind) {
	case TS_E_NAME:
		return eval_name(c, e, env, ret);
	case TS_E_INT:
		*ret = (struct ts_value){ .kind = TS_INT, .u.i = e->i };
		return 0;
	case TS_E_FLOAT:
		*ret = (struct ts_value){ .kind = TS_FLOAT, .u.f = e->f };
		return 0;
	case TS_E_STR:
		*ret = (struct ts_value){ .kind = TS_STR, .u.s = e->text };
		return 0;
	case TS_E_NONE:
		*ret = (struct ts_value){ .kind = TS_NONE };
		return 0;
	case TS_E_TRUE:
	case TS_E_FALSE:
		*ret = (struct ts_value){ .kind = TS_BOOL,
			.u.b = e->kind == TS_E_TRUE };
		return 0;
	case TS_E_ATTR:
		return eval_attr(c, e, env, ret);
	case TS_E_INDEX:
		return eval_index(c, e, env, ret);
	case TS_E_CALL:
		return eval_call(c, e, env, ret);
	case TS_E_LIST:
	case TS_E_TUPLE:
	case TS_E_DICT:
		ret->kind = e->kind == TS_E_LIST ? TS_LIST :
			e->kind == TS_E_TUPLE ? TS_TUPLE : TS_DICT;
		return eval_items(c, e, 0, env, &ret->u.list);
	case TS_E_NEG:
	case TS_E_NOT:
		return eval_neg(c, e, env, ret);
	case TS_E_COND:
		return eval_cond(c, e, env, ret);
	}
	return -EINVAL;
}

int stage_ts_eval(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	int r = step(c, e->line);

	if (!r)
		r = enter(c);
	if (r)
		return r;
	r = eval_kind(c, e, env, ret);
	c->depth--;
	return r;
}

/* ---- statements ------------------------------------------------------------ */

static int assign_name(struct ts *c, struct map *env, const char *name,
	struct ts_value v)
{
	struct ts_value *slot = stage_arena_alloc(&c->arena, sizeof(*slot));

	if (!slot || map_put(env, name, slot, NULL))
		return stage_ts_error(c, -ENOMEM);
	*slot = v;
	return 0;
}

static int assign_tuple(struct ts *c, const struct ts_expr *to,
	struct map *env, const struct ts_value *v)
{
	struct ts_list *l = v->u.list;
	int r = 0;

	if (v->kind == TS_OBJECT) {	/* a tuple with names */
		struct ts_field *f = class_of(c, v->u.object) ?
			v->u.object->cls->fields : NULL;

		for (size_t i = 0; i < to->n && !r; i++, f = f->next) {
			struct ts_value item = { .kind = TS_UNSET };

			if (!f)
				return stage_ts_fail(c, "too few values");
			r = object_attr(c, v->u.object, f->name, &item);
			if (!r)
				r = assign_name(c, env, to->v[i]->text, item);
		}
		return r;
	}
	if ((v->kind != TS_TUPLE && v->kind != TS_LIST) || l->n != to->n)
		return stage_ts_fail(c, "%s cannot be taken apart into %zu",
			stage_ts_kind(v), to->n);
	for (size_t i = 0; i < to->n && !r; i++)
		r = assign_name(c, env, to->v[i]->text, l->v[i]);
	return r;
}

static int assign(struct ts *c, const struct ts_expr *to, struct map *env,
	const struct ts_value *v)
{
	struct ts_value args[3] = { { .kind = TS_UNSET },
		{ .kind = TS_UNSET }, *v }, none;
	int r;

	if (to->kind == TS_E_NAME)
		return assign_name(c, env, to->text, *v);
	if (to->kind == TS_E_TUPLE)
		return assign_tuple(c, to, env, v);
	r = stage_ts_eval(c, to->v[0], env, &args[0]);
	if (!r && to->kind == TS_E_INDEX) {
		r = stage_ts_eval(c, to->v[1], env, &args[1]);
		if (!r)
			r = stage_ts_builtin(c, "_set_item", args, 3, NULL,
				&none);
		return r == 1 ? stage_ts_fail(c, "%s cannot be written to",
			stage_ts_kind(&args[0])) : r;
	}
	if (!r && args[0].kind != TS_OBJECT)
		return stage_ts_fail(c, "%s has no attributes",
			stage_ts_kind(&args[0]));
	return r ? r : stage_ts_set_attr(c, args[0].u.object, to->text, *v);
}

/* Does the block raise, whatever happens in it? */
static bool raises(const struct ts_block *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct ts_expr *e = b->v[i]->value;

		if (b->v[i]->kind == TS_S_EXPR && e->kind == TS_E_CALL &&
		    e->v[0]->kind == TS_E_ATTR &&
		    !strcmp(e->v[0]->text, "RaiseException"))
			return true;
	}
	return false;
}

/* A condition on sizes nobody knows. Where one way raises, the sizes are such
 * that the other is taken, as torch would give no result either. */
static int decide(struct ts *c, const struct ts_stmt *s,
	const struct ts_value *v, bool *ret)
{
	struct ts_dim d = { 0, v->u.sym };
	enum ts_rel rel = v->kind == TS_SYM ? TS_NE : v->rel;
	bool yes = raises(&s->body), no = raises(&s->orelse);

	if (yes != no) {
		*ret = no;
		if ((*ret && rel == TS_EQ) || (!*ret && rel == TS_NE))
			stage_ts_require(c, d, stage_ts_num(0));
		return c->err;
	}
	(void) stage_ts_fixed(c, d);
	return c->err ? c->err : stage_ts_fail(c, "a choice by a size");
}

static int exec_if(struct ts *c, const struct ts_stmt *s, struct map *env,
	struct ts_value *ret)
{
	struct ts_value v = { .kind = TS_UNSET };
	bool yes = false, sure;
	int r = stage_ts_eval(c, s->value, env, &v);

	if (!r)
		r = stage_ts_truth(c, &v, &yes, &sure);
	if (!r && !sure)
		r = decide(c, s, &v, &yes);
	return r ? r : exec_block(c, yes ? &s->body : &s->orelse, env, ret);
}

static int exec_while(struct ts *c, const struct ts_stmt *s, struct map *env,
	struct ts_value *ret)
{
	for (;;) {
		struct ts_value v = { .kind = TS_UNSET };
		bool yes = false, sure;
		int r = stage_ts_eval(c, s->value, env, &v);

		if (!r)
			r = stage_ts_truth(c, &v, &yes, &sure);
		if (!r && !sure)
			r = stage_ts_fail(c, "a loop by a size that is not "
				"known");
		if (r || !yes)
			return r;
		r = exec_block(c, &s->body, env, ret);
		if (r)
			return r;
	}
}

/* range(n) has no list made of it: n is what the program likes. */
static int exec_range(struct ts *c, const struct ts_stmt *s, struct map *env,
	struct ts_value *ret)
{
	struct ts_value v = { .kind = TS_UNSET };
	struct ts_dim d;
	int64_t n;
	int r = stage_ts_eval(c, s->value->v[1], env, &v);

	if (!r && !stage_ts_to_dim(&v, &d))
		r = stage_ts_fail(c, "a loop over %s", stage_ts_kind(&v));
	if (r)
		return r;
	n = stage_ts_fixed(c, d);
	for (int64_t i = 0; i < n && !c->err && !r; i++) {
		r = step(c, s->line);
		if (!r)
			r = assign_name(c, env, s->target->text,
				(struct ts_value){ .kind = TS_INT,
				.u.i = i });
		if (!r)
			r = exec_block(c, &s->body, env, ret);
	}
	return c->err ? c->err : r;
}

static int exec_for(struct ts *c, const struct ts_stmt *s, struct map *env,
	struct ts_value *ret)
{
	const struct ts_expr *e = s->value;
	struct ts_value v = { .kind = TS_UNSET };
	int r;

	if (e->kind == TS_E_CALL && e->n == 2 &&
	    e->v[0]->kind == TS_E_NAME && !strcmp(e->v[0]->text, "range"))
		return exec_range(c, s, env, ret);
	r = stage_ts_eval(c, e, env, &v);
	if (!r && v.kind != TS_LIST && v.kind != TS_TUPLE)
		r = stage_ts_fail(c, "a loop over %s", stage_ts_kind(&v));
	for (size_t i = 0; !r && i < v.u.list->n; i++) {
		r = assign_name(c, env, s->target->text, v.u.list->v[i]);
		if (!r)
			r = exec_block(c, &s->body, env, ret);
	}
	return r;
}

static int exec_stmt(struct ts *c, const struct ts_stmt *s, struct map *env,
	struct ts_value *ret)
{
	struct ts_value v = { .kind = TS_NONE };
	int r;

	switch (s->kind) {
	case TS_S_PASS:
	case TS_S_ASSERT:
		return 0;
	case TS_S_IF:
		return exec_if(c, s, env, ret);
	case TS_S_WHILE:
		return exec_while(c, s, env, ret);
	case TS_S_FOR:
		return exec_for(c, s, env, ret);
	case TS_S_WITH:
		r = stage_ts_eval(c, s->value, env, &v);
		return r ? r : exec_block(c, &s->body, env, ret);
	case TS_S_RETURN:
		r = s->value ? stage_ts_eval(c, s->value, env, &v) : 0;
		*ret = v;
		return r ? r : RETURNED;
	case TS_S_EXPR:
		return stage_ts_eval(c, s->value, env, &v);
	case TS_S_ASSIGN:
		r = stage_ts_eval(c, s->value, env, &v);
		return r ? r : assign(c, s->target, env, &v);
	}
	return -EINVAL;
}

static int exec_block(struct ts *c, const struct ts_block *b,
	struct map *env, struct ts_value *ret)
{
	int r = enter(c);

	if (r)
		return r;
	for (size_t i = 0; i < b->n && !r; i++) {
		r = step(c, b->v[i]->line);
		if (!r)
			r = exec_stmt(c, b->v[i], env, ret);
	}
	c->depth--;
	return r;
}

/* ---- functions ------------------------------------------------------------- */

static int bind_params(struct ts *c, const struct ts_def *d,
	const struct ts_value *args, size_t n, const char *const *keys,
	struct map *env)
{
	size_t used = 0;

	for (size_t i = 0; i < d->n_params; i++) {
		struct ts_value v = { .kind = TS_UNSET };
		size_t at = i < n && (!keys || !keys[i]) ? i : n;

		for (size_t k = 0; k < n && keys && at == n; k++)
			if (keys[k] && !strcmp(keys[k], d->params[i].name))
				at = k;
		if (at < n) {
			v = args[at];
			used++;
		} else if (!d->params[i].dflt) {
			return stage_ts_fail(c, "%s needs %s", d->name,
				d->params[i].name);
		} else if (stage_ts_eval(c, d->params[i].dflt, NULL, &v)) {
			return c->err;
		}
		if (assign_name(c, env, d->params[i].name, v))
			return c->err;
	}
	return used == n ? 0 : stage_ts_fail(c, "%s takes %zu arguments, not "
		"%zu", d->name, d->n_params, n);
}

int stage_ts_invoke(struct ts *c, const struct ts_def *d,
	const struct ts_value *args, size_t n, const char *const *keys,
	struct ts_value *ret)
{
	const char *file = c->file;
	unsigned line = c->line;
	struct map env = { NULL, 0, 0 };
	int r = enter(c);

	if (r)
		return r;
	*ret = (struct ts_value){ .kind = TS_NONE };
	c->file = d->file;
	r = bind_params(c, d, args, n, keys, &env);
	if (!r)
		r = exec_block(c, &d->body, &env, ret);
	map_done(&env);
	c->depth--;
	if (r < 0)
		return stage_ts_error(c, r);
	c->file = file;
	c->line = line;
	return 0;
}
