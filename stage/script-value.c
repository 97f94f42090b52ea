/*
 * Values of the program. What a pickle holds becomes one when it is looked at,
 * so that weights nobody uses are never placed, and calls we do not know cost
 * nothing before something needs their result.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/script-op.h"

#define PY_NEST_MAX 64

int stage_ts_error(struct ts *c, int err)
{
	if (!c->err)
		c->err = err;
	return c->err;
}

int stage_ts_fail(struct ts *c, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX / 2];
	va_list ap;

	if (c->err)
		return c->err;
	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->err = error_set(c->why, -ENOTSUP, "%s:%u: %s%s%s",
		c->file ? c->file : "?", c->line, c->called ? c->called : "",
		c->called ? ": " : "", text);
	return c->err;
}

const char *stage_ts_kind(const struct ts_value *v)
{
	static const char *const names[] = {
		[TS_NONE] = "None", [TS_BOOL] = "a bool", [TS_INT] = "an int",
		[TS_FLOAT] = "a float", [TS_STR] = "a string",
		[TS_SYM] = "a size that is not known",
		[TS_UNSURE] = "a comparison of sizes that are not known",
		[TS_LIST] = "a list", [TS_TUPLE] = "a tuple",
		[TS_DICT] = "a dictionary", [TS_TENSOR] = "a tensor",
		[TS_OBJECT] = "an object", [TS_PATH] = "a function",
		[TS_UNSET] = "a value of an unknown kind",
		[TS_BLANK] = "a value that is not initialized",
		[TS_TORN] = "what the elements of a tensor choose",
	};

	return names[v->kind];
}

/* ---- lists ----------------------------------------------------------------- */

struct ts_list *stage_ts_list(struct ts *c, size_t n)
{
	struct ts_list *l = stage_arena_alloc(&c->arena, sizeof(*l));

	if (l && n <= TS_ITEMS_MAX) {
		l->v = stage_arena_array(&c->arena, n + 1, sizeof(*l->v));
		l->room = n;
		l->born = c->births;
		if (l->v)
			return l;
	}
	(void) stage_ts_error(c, -EFBIG);
	return NULL;
}

int stage_ts_push(struct ts *c, struct ts_list *l, struct ts_value v)
{
	size_t room = l->room ? 2 * l->room : 8;
	struct ts_value *more;

	if (l->n >= TS_ITEMS_MAX)
		return stage_ts_fail(c, "a list of more than %d items",
			TS_ITEMS_MAX);
	if (l->n == l->room) {
		more = stage_arena_array(&c->arena, room, sizeof(*more));
		if (!more)
			return stage_ts_error(c, -ENOMEM);
		if (l->n)
			memcpy(more, l->v, l->n * sizeof(*more));
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = v;
	return 0;
}

struct ts_value stage_ts_of_dim(struct ts_dim d)
{
	if (d.sym)
		return (struct ts_value){ .kind = TS_SYM, .u.sym = d.sym };
	return (struct ts_value){ .kind = TS_INT, .u.i = d.n };
}

bool stage_ts_to_dim(const struct ts_value *v, struct ts_dim *ret)
{
	const struct ts_val *t;
	double f;

	if (v->kind == TS_INT || v->kind == TS_BOOL) {
		*ret = stage_ts_num(v->kind == TS_INT ? v->u.i : v->u.b);
		return true;
	}
	if (v->kind == TS_SYM) {
		*ret = (struct ts_dim){ 0, v->u.sym };
		return true;
	}
	if (v->kind != TS_TENSOR)
		return false;
	t = v->u.tensor->val;
	if (t->origin != TS_CONST || t->len != stage_dtype_size(t->t.dtype) ||
	    stage_ts_is_float(t->t.dtype) || !stage_ts_known(t, 0, &f))
		return false;
	*ret = stage_ts_num((int64_t)f);
	return true;
}

struct ts_value stage_ts_tensor(struct ts *c, struct ts_val *v)
{
	struct ts_value ret = { .kind = TS_UNSET };
	struct ts_tensor *t = stage_arena_alloc(&c->arena, sizeof(*t));
	struct ts_base *base = stage_arena_alloc(&c->arena, sizeof(*base));

	if (!v || !t || !base) {
		(void) stage_ts_error(c, -ENOMEM);
		return ret;
	}
	t->val = v;
	t->base = base;
	base->born = c->births;
	ret.kind = TS_TENSOR;
	ret.u.tensor = t;
	return ret;
}

/* ---- from pickles ---------------------------------------------------------- */

static const char *unique(struct ts *c, const char *base)
{
	char *name = stage_arena_strdup(&c->arena, *base ? base : "value");
	char text[700];

	if (name && map_get(&c->names, name)) {
		(void) snprintf(text, sizeof(text), "%.600s_%zu", name,
			++c->n_names);
		name = stage_arena_strdup(&c->arena, text);
	}
	if (!name || map_put(&c->names, name, name, NULL)) {
		(void) stage_ts_error(c, -ENOMEM);
		return NULL;
	}
	return name;
}

/* Constants and numbers are read, weights are only placed. */
static int load(struct ts *c, struct ts_val *v, bool constant)
{
	uint64_t len = v->weight.len;
	uint8_t *data;
	int r;

	if (len > 64)
		return 0;
	data = stage_arena_alloc(&c->arena, (size_t)len + 1);
	if (!data)
		return stage_ts_error(c, -ENOMEM);
	r = len ? stage_window_read(&c->a->zip.w, v->weight.off, data,
		(size_t)len) : 0;
	if (r)
		return stage_ts_error(c, r);
	v->origin = TS_CONST;
	v->wrapped = !v->t.rank && constant;
	v->data = data;
	v->len = (size_t)len;
	return 0;
}

struct ts_value stage_ts_weight(struct ts *c, const struct stage_tensor *t,
	const char *name, bool read, bool constant)
{
	struct ts_value ret = { .kind = TS_UNSET };
	struct ts_val *v = stage_arena_alloc(&c->arena, sizeof(*v));

	if (!v) {
		(void) stage_ts_error(c, -ENOMEM);
		return ret;
	}
	v->origin = TS_WEIGHT;
	v->name = unique(c, name);
	v->weight = *t;
	v->t.dtype = t->dtype;
	v->t.rank = t->rank;
	for (unsigned i = 0; i < t->rank; i++)
		v->t.dim[i] = stage_ts_num((int64_t)t->dim[i]);
	if (c->err || (read && load(c, v, constant)))
		return ret;
	ret = stage_ts_tensor(c, v);
	if (!c->err)
		ret.u.tensor->base->fixed = true;
	return ret;
}

static struct ts_value tensor_of(struct ts *c, const struct stage_py *py,
	const char *dir, const char *path)
{
	struct stage_tensor t;
	int r = stage_ts_place_tensor(c->a, dir, path, py, &t);

	if (r) {
		(void) stage_ts_error(c, r);
		return (struct ts_value){ .kind = TS_UNSET };
	}
	return stage_ts_weight(c, &t, path, !t.rank || dir[0] == 'c',
		dir[0] == 'c');
}

static struct ts_value object_of(struct ts *c, const struct stage_py *py,
	const char *callee, const char *path)
{
	struct ts_value ret = { .kind = TS_OBJECT };
	struct ts_object *o = stage_arena_alloc(&c->arena, sizeof(*o));
	const char *space = strchr(callee, ' ');
	size_t room = c->room_objects ? 2 * c->room_objects : 64;
	struct ts_object **all;

	if (!o || !space) {
		(void) stage_ts_error(c, -ENOMEM);
		return ret;
	}
	if (c->n_objects == c->room_objects) {
		all = reallocarray(c->all_objects, room, sizeof(*all));
		if (!all) {
			(void) stage_ts_error(c, -ENOMEM);
			return ret;
		}
		c->all_objects = all;
		c->room_objects = room;
	}
	c->all_objects[c->n_objects++] = o;
	o->module = stage_arena_copy(&c->arena, callee,
		(size_t)(space - callee));
	o->name = stage_arena_strdup(&c->arena, space + 1);
	o->path = stage_arena_strdup(&c->arena, path);
	o->state = py ? stage_py_dict(py->u.call.state) : NULL;
	if (!o->module || !o->name || !o->path)
		(void) stage_ts_error(c, -ENOMEM);
	ret.u.object = o;
	return ret;
}

static struct ts_value call_of(struct ts *c, const struct stage_py *v,
	const char *dir, const char *path, unsigned depth)
{
	struct ts_value ret = { .kind = TS_UNSET }, *memo;
	const char *callee = stage_py_callee(v);
	char key[32];

	if (!callee)
		return ret;
	if (!strncmp(callee, "torch.jit._pickle ", 18))
		return stage_ts_of_py(c, stage_py_item(v->u.call.args, 0), dir,
			path, depth + 1);
	if (strncmp(callee, "__torch__", 9) != 0 && !stage_torch_is_tensor(v))
		return ret;
	(void) snprintf(key, sizeof(key), "%p", (const void *)v);
	memo = map_get(&c->objects, key);
	if (memo)
		return *memo;
	ret = stage_torch_is_tensor(v) ? tensor_of(c, v, dir, path) :
		object_of(c, v, callee, path);
	memo = stage_arena_alloc(&c->arena, sizeof(*memo));
	if (!memo || map_put(&c->objects, key, memo, NULL))
		(void) stage_ts_error(c, -ENOMEM);
	else
		*memo = ret;
	return ret;
}

static struct ts_value list_of(struct ts *c, const struct stage_py *v,
	enum ts_kind kind, const char *dir, const char *path, unsigned depth)
{
	struct ts_value ret = { .kind = kind };
	struct ts_list *l = stage_ts_list(c, v->u.seq.n);

	for (size_t i = 0; l && i < v->u.seq.n && !c->err; i++) {
		char name[512];

		(void) snprintf(name, sizeof(name), "%.480s.%zu", path, i);
		(void) stage_ts_push(c, l, stage_ts_of_py(c, v->u.seq.v[i],
			dir, name, depth + 1));
	}
	if (l)
		l->born = 0;
	ret.u.list = l;
	return ret;
}

struct ts_value stage_ts_of_py(struct ts *c, const struct stage_py *v,
	const char *dir, const char *path, unsigned depth)
{
	struct ts_value ret = { .kind = TS_UNSET };
	const struct stage_py *dict;

	if (depth > PY_NEST_MAX || ++c->steps > TS_STEPS_MAX) {
		(void) stage_ts_fail(c, "the values of %s are nested too "
			"deeply", path);
		return ret;
	}
	if (!v || c->err)
		return ret;
	switch (v->kind) {
	case STAGE_PY_NONE:
		ret.kind = TS_NONE;
		break;
	case STAGE_PY_BOOL:
		ret.kind = TS_BOOL;
		ret.u.b = v->u.b;
		break;
	case STAGE_PY_INT:
		ret.kind = TS_INT;
		ret.u.i = v->u.i;
		break;
	case STAGE_PY_FLOAT:
		ret.kind = TS_FLOAT;
		ret.u.f = v->u.f;
		break;
	case STAGE_PY_STR:
		ret.kind = TS_STR;
		ret.u.s = v->u.str.s;
		break;
	case STAGE_PY_TUPLE:
	case STAGE_PY_LIST:
		return list_of(c, v, v->kind == STAGE_PY_LIST ? TS_LIST :
			TS_TUPLE, dir, path, depth);
	case STAGE_PY_DICT:
		return list_of(c, v, TS_DICT, dir, path, depth);
	case STAGE_PY_CALL:
		if (stage_py_callee(v) && !strcmp(stage_py_callee(v),
		    "collections OrderedDict")) {
			dict = stage_py_dict((struct stage_py *)(uintptr_t)v);
			return dict ? list_of(c, dict, TS_DICT, dir, path,
				depth) : ret;
		}
		return call_of(c, v, dir, path, depth);
	default:
		break;
	}
	return ret;
}

/* ---- objects --------------------------------------------------------------- */

static struct ts_slot *slot_new(struct ts *c, struct ts_object *o,
	const char *name, struct ts_value v)
{
	struct ts_slot *s = stage_arena_alloc(&c->arena, sizeof(*s));

	if (!s || map_put(&o->attrs, name, s, NULL)) {
		(void) stage_ts_error(c, -ENOMEM);
		return NULL;
	}
	s->v = v;
	return s;
}

/* NULL, without an error, when there is none. */
struct ts_slot *stage_ts_attr(struct ts *c, struct ts_object *o,
	const char *name)
{
	struct ts_slot *s = map_get(&o->attrs, name);
	const struct stage_py *v = s || !o->state ? NULL :
		stage_py_get(o->state, name);
	char path[512];

	if (s || !v)
		return s;
	(void) snprintf(path, sizeof(path), "%.400s%s%.100s", o->path,
		*o->path ? "." : "", name);
	return slot_new(c, o, name, stage_ts_of_py(c, v, "data/", path, 0));
}

int stage_ts_set_attr(struct ts *c, struct ts_object *o, const char *name,
	struct ts_value v)
{
	struct ts_slot *s = stage_ts_attr(c, o, name);

	if (stage_ts_writes(c, o->born))
		return c->err;
	if (!s)
		s = slot_new(c, o, name, v);
	if (!s)
		return c->err;
	s->v = v;
	s->written = true;
	return 0;
}
