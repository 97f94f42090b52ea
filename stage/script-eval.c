/*
 * The walk over expressions. Its own depth is bounded, since the program may
 * call itself; so are its steps, since it may loop.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stage/script-op.h"
#include "stage/script-walk.h"

int stage_ts_step(struct ts *c, unsigned line)
{
	if (line)
		c->line = line;
	if (++c->steps > TS_STEPS_MAX)
		return stage_ts_fail(c, "more than %d steps", TS_STEPS_MAX);
	return c->err;
}

int stage_ts_enter(struct ts *c)
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
		*ret_sure = false;
		return 0;
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

	if (v && v->kind == TS_TORN)
		return stage_ts_fail(c, "%s: the elements of a tensor choose "
			"its kind, type or shape", e->text);
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

const struct ts_class *stage_ts_class(struct ts *c, struct ts_object *o)
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

int stage_ts_object_attr(struct ts *c, struct ts_object *o, const char *name,
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
	cls = stage_ts_class(c, o);
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
		return stage_ts_object_attr(c, of.u.object, e->text, ret);
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
	if (!r && !sure && v.kind == TS_TENSOR)
		return stage_ts_choose_value(c, &v, e->v[0], e->v[2], env,
			ret);
	if (!r && !sure)
		r = stage_ts_fail(c, "a choice by a size that is not known");
	return r ? r : stage_ts_eval(c, e->v[yes ? 0 : 2], env, ret);
}

/* annotate(T, v), unchecked_cast(T, v), uninitialized(T) */
static int eval_typed(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret)
{
	const char *name = e->v[0]->kind == TS_E_NAME ? e->v[0]->text : "";

	if (!strcmp(name, "uninitialized")) {
		ret->kind = TS_BLANK;
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
	return stage_ts_object_attr(c, args->v[0].u.object, args->v[1].u.s,
		ret);
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
		return stage_ts_call_method(c, of.u.object, f->text, args,
			e->keys, ret);
	if (of.kind == TS_PATH)
		r = set_path(c, &fn, of.u.s, f->text);
	if (r || fn.kind != TS_PATH)
		return r ? r : stage_ts_fail(c, "%s cannot be called",
			stage_ts_kind(f->kind == TS_E_ATTR ? &of : &fn));
	if (!strcmp(fn.u.s, "getattr"))
		return eval_getattr(c, args, ret);
	return stage_ts_call_path(c, fn.u.s, args, e->keys, ret);
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
	int r = stage_ts_step(c, e->line);

	if (!r)
		r = stage_ts_enter(c);
	if (r)
		return r;
	r = eval_kind(c, e, env, ret);
	c->depth--;
	return r;
}
