/*
 * What a call does: a method or function of the program gets its parameters
 * and runs, a class makes an object, an operator goes to the tables.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stage/script-op.h"
#include "stage/script-walk.h"

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
		if (stage_ts_assign(c, env, d->params[i].name, v))
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
	int r = stage_ts_enter(c);

	if (r)
		return r;
	*ret = (struct ts_value){ .kind = TS_NONE };
	c->file = d->file;
	r = bind_params(c, d, args, n, keys, &env);
	if (!r)
		r = stage_ts_exec(c, &d->body, &env, ret);
	map_done(&env);
	c->depth--;
	if (r < 0)
		return stage_ts_error(c, r);
	c->file = file;
	c->line = line;
	return 0;
}

static const struct ts_def *find_def(const struct ts_def *d, const char *name)
{
	while (d && strcmp(d->name, name) != 0)
		d = d->next;
	return d;
}

int stage_ts_call_method(struct ts *c, struct ts_object *o, const char *name,
	struct ts_list *args, const char *const *keys, struct ts_value *ret)
{
	const struct ts_class *cls = stage_ts_class(c, o);
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
	o->born = c->births;
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

int stage_ts_call_path(struct ts *c, const char *path, struct ts_list *args,
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
