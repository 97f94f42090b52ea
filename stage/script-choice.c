/*
 * A choice by the elements of a tensor: both ways are walked over, and what
 * they give is chosen from by Where. Both are computed then, which no result
 * tells as long as neither writes to what was there before, and nothing in
 * them can fail by its elements: an index outside, an integer divided by 0.
 * What has another type or shape in one way than in the other is not there
 * behind the choice.
 */
#include "config.h"

#include <string.h>

#include "stage/script-op.h"
#include "stage/script-walk.h"

#define JOIN_NEST_MAX 8

struct choice {
	struct ts *c;
	struct ts_val *cond;	/* bool[] */
	unsigned born;		/* what is younger is of one of the ways */
};

struct way {
	struct map env;
	struct ts_value ret;
	int r;			/* 0 or TS_RETURNED */
};

int stage_ts_writes(struct ts *c, unsigned born)
{
	return born >= c->choice ? 0 : stage_ts_fail(c, "what was there "
		"before is written where the elements of a tensor choose");
}

bool stage_ts_may_fail(const struct ts_node *n)
{
	const struct ts_val *by = n->n_in > 1 ? n->in[1] : NULL;
	double v;

	if (!by)
		return false;
	if (!strncmp(n->op, "Gather", 6) || !strncmp(n->op, "Scatter", 7))
		return by->origin != TS_CONST && by->origin != TS_WEIGHT;
	if (strcmp(n->op, "Div") != 0 && strcmp(n->op, "Mod") != 0)
		return false;
	if (stage_ts_is_float(by->t.dtype))
		return false;
	for (size_t i = 0; stage_ts_known(by, i, &v); i++)
		if (v == 0)
			return true;
	return by->origin != TS_CONST;
}

struct ts_val *stage_ts_condition(struct ts *c, const struct ts_value *v)
{
	struct ts_val *x = v->kind == TS_TENSOR ? v->u.tensor->val : NULL;

	if (!x || !x->t.dtype || !stage_ts_is(stage_ts_product(c, x->t.dim,
	    x->t.rank), 1)) {
		(void) stage_ts_fail(c, "what happens depends on the elements "
			"of a tensor");
		return NULL;
	}
	if (v->u.tensor->version != v->u.tensor->base->version) {
		(void) stage_ts_fail(c, "a tensor is used after its memory "
			"was written through another");
		return NULL;
	}
	if (x->t.rank)
		x = stage_ts_reshape(c, x, NULL, 0);
	return c->err ? NULL : stage_ts_cast(c, x, STAGE_BOOL);
}

/* ---- what both give -------------------------------------------------------- */

static struct ts_value torn(void)
{
	return (struct ts_value){ .kind = TS_TORN };
}

static bool is_stale(const struct ts_tensor *t)
{
	return t->version != t->base->version;
}

static bool same_type(const struct ts_type *a, const struct ts_type *b)
{
	if (!a->dtype || a->dtype != b->dtype || a->rank != b->rank)
		return false;
	for (unsigned i = 0; i < a->rank; i++)
		if (!stage_ts_same(a->dim[i], b->dim[i]))
			return false;
	return true;
}

/* A tensor that one way only hands on shares its memory: a write to either
 * makes the other one useless. Where both ways do, nothing is written. */
static struct ts_value join_tensors(const struct choice *k,
	struct ts_tensor *a, struct ts_tensor *b)
{
	bool old_a = a->base->born < k->born, old_b = b->base->born < k->born;
	struct ts_value ret;

	if (is_stale(a) || is_stale(b) || !same_type(&a->val->t, &b->val->t))
		return torn();
	ret = stage_ts_tensor(k->c, a->val == b->val ? a->val :
		stage_ts_where(k->c, k->cond, &a->val->t,
		a->val, b->val));
	if (k->c->err)
		return torn();
	if (old_a && old_b && a->base != b->base) {
		a->base->fixed = b->base->fixed = true;
		ret.u.tensor->base->fixed = true;
	} else if (old_a || old_b) {
		ret.u.tensor->base = old_a ? a->base : b->base;
		ret.u.tensor->version = ret.u.tensor->base->version;
	}
	return ret;
}

/* Of the program's types a number only meets a number: a tensor that is one has
 * come out of a choice. */
static bool is_number(const struct ts_value *v)
{
	return v->kind == TS_INT || v->kind == TS_SYM ||
		v->kind == TS_FLOAT || v->kind == TS_BOOL ||
		(v->kind == TS_TENSOR && v->u.tensor->val->t.dtype &&
		!v->u.tensor->val->t.rank && !is_stale(v->u.tensor));
}

/* Two numbers become one of a tensor that still counts as a number. */
static struct ts_value join_numbers(const struct choice *k,
	const struct ts_value *a, const struct ts_value *b)
{
	struct ts_val *x = stage_ts_operand(k->c, a, 0);
	struct ts_val *y = stage_ts_operand(k->c, b, 0);
	struct ts_value ret = torn();

	if (k->c->err || x->t.dtype != y->t.dtype)
		return ret;
	ret = stage_ts_tensor(k->c, stage_ts_where(k->c, k->cond, &x->t, x,
		y));
	if (!k->c->err)
		ret.u.tensor->val->wrapped = x->t.dtype != STAGE_BOOL;
	return ret;
}

static bool is_same(const struct ts_value *a, const struct ts_value *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case TS_NONE:
	case TS_BLANK:
	case TS_TORN:
		return true;
	case TS_UNSET:
		return false;
	case TS_BOOL:
		return a->u.b == b->u.b;
	case TS_INT:
		return a->u.i == b->u.i;
	case TS_FLOAT:
		return !memcmp(&a->u.f, &b->u.f, sizeof(a->u.f));
	case TS_STR:
	case TS_PATH:
		return !strcmp(a->u.s, b->u.s);
	case TS_SYM:
		return stage_ts_same((struct ts_dim){ 0, a->u.sym },
			(struct ts_dim){ 0, b->u.sym });
	case TS_UNSURE:
		return a->rel == b->rel && a->u.sym == b->u.sym;
	case TS_LIST:
	case TS_TUPLE:
	case TS_DICT:
		return a->u.list == b->u.list;
	case TS_TENSOR:
		return a->u.tensor == b->u.tensor;
	case TS_OBJECT:
		return a->u.object == b->u.object;
	}
	return false;
}

static struct ts_value join(const struct choice *k, const struct ts_value *a,
	const struct ts_value *b, unsigned depth);

/* A list that was there before is the same one afterwards, or none. */
static struct ts_value join_lists(const struct choice *k,
	const struct ts_value *a, const struct ts_value *b, unsigned depth)
{
	struct ts_value ret = { .kind = a->kind };

	if (a->u.list->n != b->u.list->n || (a->kind == TS_LIST &&
	    (a->u.list->born < k->born || b->u.list->born < k->born)))
		return torn();
	ret.u.list = stage_ts_list(k->c, a->u.list->n);
	for (size_t i = 0; ret.u.list && i < a->u.list->n; i++)
		if (stage_ts_push(k->c, ret.u.list, join(k,
		    &a->u.list->v[i], &b->u.list->v[i], depth + 1)))
			break;
	return ret;
}

static struct ts_value join(const struct choice *k, const struct ts_value *a,
	const struct ts_value *b, unsigned depth)
{
	if (is_same(a, b))
		return *a;
	/* What is not initialized is not used on that way either. */
	if (a->kind == TS_BLANK || b->kind == TS_BLANK)
		return a->kind == TS_BLANK ? *b : *a;
	if (is_number(a) && is_number(b) && (a->kind != TS_TENSOR ||
	    b->kind != TS_TENSOR))
		return join_numbers(k, a, b);
	if (a->kind != b->kind || depth > JOIN_NEST_MAX || k->c->err)
		return torn();
	switch (a->kind) {
	case TS_TENSOR:
		return join_tensors(k, a->u.tensor, b->u.tensor);
	case TS_LIST:
	case TS_TUPLE:
		return join_lists(k, a, b, depth);
	default:
		return torn();
	}
}

/* ---- both ways ------------------------------------------------------------- */

static unsigned begin(struct ts *c)
{
	unsigned before = c->choice;

	c->choice = ++c->births;
	return before;
}

static int walk_way(struct ts *c, const struct ts_block *b,
	const struct map *env, struct way *w)
{
	for (size_t i = 0; i < env->room; i++)
		if (env->slots[i].key && map_put(&w->env, env->slots[i].key,
		    env->slots[i].value, NULL))
			return stage_ts_error(c, -ENOMEM);
	c->steps += env->n;
	w->r = stage_ts_exec(c, b, &w->env, &w->ret);
	return w->r < 0 ? w->r : c->err;
}

static int join_names(const struct choice *k, const struct way *w,
	struct map *env)
{
	for (size_t i = 0; i < w[0].env.room && !k->c->err; i++) {
		const char *name = w[0].env.slots[i].key;
		const struct ts_value *a = w[0].env.slots[i].value;
		const struct ts_value *b = name ? map_get(&w[1].env, name) :
			NULL;

		if (b && a != b)
			(void) stage_ts_assign(k->c, env, name, join(k, a, b,
				0));
	}
	return k->c->err;
}

int stage_ts_choose(struct ts *c, const struct ts_value *cond,
	const struct ts_stmt *s, struct map *env, struct ts_value *ret)
{
	struct choice k = { .c = c, .cond = stage_ts_condition(c, cond) };
	struct way w[2] = { { .r = 0 }, { .r = 0 } };
	unsigned before = begin(c);
	int r = c->err;

	k.born = c->choice;
	if (!r)
		r = walk_way(c, &s->body, env, &w[0]);
	if (!r)
		r = walk_way(c, &s->orelse, env, &w[1]);
	c->choice = before;
	if (!r && w[0].r != w[1].r)
		r = stage_ts_fail(c, "the elements of a tensor choose whether "
			"there is a result");
	if (!r && w[0].r == TS_RETURNED)
		*ret = join(&k, &w[0].ret, &w[1].ret, 0);
	else if (!r)
		r = join_names(&k, w, env);
	map_done(&w[0].env);
	map_done(&w[1].env);
	return r ? r : c->err ? c->err : w[0].r;
}

int stage_ts_choose_value(struct ts *c, const struct ts_value *cond,
	const struct ts_expr *yes, const struct ts_expr *no, struct map *env,
	struct ts_value *ret)
{
	struct choice k = { .c = c, .cond = stage_ts_condition(c, cond) };
	struct ts_value v[2] = { { .kind = TS_UNSET }, { .kind = TS_UNSET } };
	unsigned before = begin(c);
	int r = c->err;

	k.born = c->choice;
	if (!r)
		r = stage_ts_eval(c, yes, env, &v[0]);
	if (!r)
		r = stage_ts_eval(c, no, env, &v[1]);
	c->choice = before;
	if (!r)
		*ret = join(&k, &v[0], &v[1], 0);
	return r ? r : c->err;
}
