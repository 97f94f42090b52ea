/*
 * The walk over statements.
 */
#include "config.h"

#include <string.h>

#include "stage/script-op.h"
#include "stage/script-walk.h"

int stage_ts_assign(struct ts *c, struct map *env, const char *name,
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
		struct ts_field *f = stage_ts_class(c, v->u.object) ?
			v->u.object->cls->fields : NULL;

		for (size_t i = 0; i < to->n && !r; i++, f = f->next) {
			struct ts_value item = { .kind = TS_UNSET };

			if (!f)
				return stage_ts_fail(c, "too few values");
			r = stage_ts_object_attr(c, v->u.object, f->name,
				&item);
			if (!r)
				r = stage_ts_assign(c, env, to->v[i]->text,
					item);
		}
		return r;
	}
	if ((v->kind != TS_TUPLE && v->kind != TS_LIST) || l->n != to->n)
		return stage_ts_fail(c, "%s cannot be taken apart into %zu",
			stage_ts_kind(v), to->n);
	for (size_t i = 0; i < to->n && !r; i++)
		r = stage_ts_assign(c, env, to->v[i]->text, l->v[i]);
	return r;
}

static int assign(struct ts *c, const struct ts_expr *to, struct map *env,
	const struct ts_value *v)
{
	struct ts_value args[3] = { { .kind = TS_UNSET },
		{ .kind = TS_UNSET }, *v }, none;
	int r;

	if (to->kind == TS_E_NAME)
		return stage_ts_assign(c, env, to->text, *v);
	if (to->kind == TS_E_TUPLE)
		return assign_tuple(c, to, env, v);
	if (to->kind == TS_E_INDEX && to->n != 2)
		return stage_ts_fail(c, "a subscript of %zu values", to->n - 1);
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

	if (raises(&s->body) != raises(&s->orelse)) {
		*ret = raises(&s->orelse);
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
	if (!r && !sure && v.kind == TS_TENSOR) {
		yes = raises(&s->orelse);
		if (yes == raises(&s->body))
			return stage_ts_choose(c, &v, s, env, ret);
	} else if (!r && !sure) {
		r = decide(c, s, &v, &yes);
	}
	return r ? r : stage_ts_exec(c, yes ? &s->body : &s->orelse, env, ret);
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
			r = stage_ts_fail(c, "a loop by what is not known");
		if (r || !yes)
			return r;
		r = stage_ts_exec(c, &s->body, env, ret);
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
		r = stage_ts_step(c, s->line);
		if (!r)
			r = stage_ts_assign(c, env, s->target->text,
				(struct ts_value){ .kind = TS_INT,
				.u.i = i });
		if (!r)
			r = stage_ts_exec(c, &s->body, env, ret);
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
		r = stage_ts_assign(c, env, s->target->text, v.u.list->v[i]);
		if (!r)
			r = stage_ts_exec(c, &s->body, env, ret);
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
		return r ? r : stage_ts_exec(c, &s->body, env, ret);
	case TS_S_RETURN:
		r = s->value ? stage_ts_eval(c, s->value, env, &v) : 0;
		*ret = v;
		return r ? r : TS_RETURNED;
	case TS_S_EXPR:
		return stage_ts_eval(c, s->value, env, &v);
	case TS_S_ASSIGN:
		r = stage_ts_eval(c, s->value, env, &v);
		return r ? r : assign(c, s->target, env, &v);
	}
	return -EINVAL;
}

int stage_ts_exec(struct ts *c, const struct ts_block *b,
	struct map *env, struct ts_value *ret)
{
	int r = stage_ts_enter(c);

	if (r)
		return r;
	for (size_t i = 0; i < b->n && !r; i++) {
		r = stage_ts_step(c, b->v[i]->line);
		if (!r)
			r = exec_stmt(c, b->v[i], env, ret);
	}
	c->depth--;
	return r;
}
