/*
 * Functional branches and loops as the frames that TensorFlow's executor and
 * older readers run, the way TensorFlow itself lowers them:
 *
 *	If	each input through a Switch, both bodies, each output
 *		through a Merge
 *	Case	the same with a Switch for every branch
 *	While	Enter, Merge, the condition, LoopCond, Switch, the body,
 *		NextIteration back to Merge; Exit from Switch
 *
 * What a variable holds goes the same way; who reads it inside reads what came
 * through Switch or Enter. It cannot change on the way: no graph we freeze
 * writes to a variable.
 *
 * Operators without inputs have to be told that they stand in a body, by a
 * control edge from its pivot.
 */
#include "config.h"

#include "stage/tf-walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TYPES_MAX 4096		/* inputs or outputs of one loop */
#define BRANCHES_MAX 256
#define LOOP_PARALLEL 10	/* parallel_iterations when it is not told */

static const struct {
	const char *op;
	enum tf_flow_kind kind;
} ops[] = {
	{ "If", TF_IF }, { "StatelessIf", TF_IF }, { "Case", TF_CASE },
	{ "StatelessCase", TF_CASE }, { "While", TF_WHILE },
	{ "StatelessWhile", TF_WHILE },
};

bool stage_tf_is_flow(const char *op)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(ops[i].op, op))
			return true;
	return false;
}

/* ---- pieces ---------------------------------------------------------------- */

static void *array(struct tf_walk *w, size_t n, size_t size)
{
	return stage_arena_array(&w->f.out->arena, n + 1, size);
}

/* OP of these inputs as PREFIX/NAME_i, of type `type`. */
static int emit(struct tf_walk *w, const struct tf_flow *x, const char *name,
	size_t i, const char *op, const struct tf_value *in, size_t n_in,
	unsigned type, struct tf_value *ret)
{
	char attrs[32], number[32];
	char *full;

	(void) snprintf(number, sizeof(number), "_%zu", i);
	*attrs = '\0';
	if (type)
		(void) snprintf(attrs, sizeof(attrs), "T=t:%u", type);
	full = stage_tf_joined(w, x->prefix, name, number);
	if (!full)
		return stage_tf_no_memory(w);
	ret->handle = NULL;
	return stage_tf_emit(&w->f, full, op, in, n_in, attrs, NULL,
		&ret->ref);
}

/* Output `i` of what v is the first of. */
static int second(struct tf_walk *w, const struct tf_value *v,
	const struct tf_variable *handle, struct tf_value *ret)
{
	ret->ref = stage_tf_joined(w, v->ref, ":1", "");
	ret->handle = handle;
	return ret->ref ? 0 : stage_tf_no_memory(w);
}

/* An Identity of v, as the control edge of what stands in s. */
static int set_pivot(struct tf_walk *w, const struct tf_flow *x, size_t i,
	const struct tf_value *v, unsigned type, struct tf_scope *s)
{
	struct tf_value pivot;
	int err = emit(w, x, "/pivot", i, "Identity", v, 1, type, &pivot);

	if (err)
		return err;
	s->pivot = stage_tf_joined(w, "^", pivot.ref, "");
	return s->pivot ? 0 : stage_tf_no_memory(w);
}

static int broken(struct tf_walk *w, const struct stage_tf_node *n,
	const char *what)
{
	return error_set(w->f.why, -EBADMSG, "%s (%s): %s", n->name, n->op,
		what);
}

/* What types these inputs have; a variable that of what it holds. */
static int types(struct tf_walk *w, const struct stage_tf_node *n,
	const char *key, const struct tf_value *in, size_t n_in,
	unsigned **ret, size_t *ret_n)
{
	unsigned all[TYPES_MAX];
	int got = stage_tf_types(n, key, all, TYPES_MAX);
	size_t count = got < 0 ? 0 : (size_t)got;

	if (got < 0 && stage_tf_attr(n, key))
		return broken(w, n, "its types are broken");
	if (in && count != n_in)
		return broken(w, n, "it has not as many inputs as types");
	*ret = array(w, count, sizeof(**ret));
	if (!*ret)
		return stage_tf_no_memory(w);
	for (size_t i = 0; i < count; i++) {
		if (all[i] == STAGE_TF_STRING)
			return error_set(w->f.why, -ENOTSUP, "%s (%s) works "
				"on strings", n->name, n->op);
		(*ret)[i] = in && in[i].handle ? in[i].handle->dtype : all[i];
	}
	*ret_n = count;
	return 0;
}

/* The functions it calls. */
static int bodies(struct tf_walk *w, struct tf_work *t, struct tf_flow *x)
{
	static const char *const keys[][2] = {
		[TF_IF] = { "else_branch", "then_branch" },
		[TF_WHILE] = { "cond", "body" },
	};
	static const char *const scopes[][2] = {
		[TF_IF] = { "else", "then" }, [TF_WHILE] = { "cond", "body" },
	};
	const char *names[BRANCHES_MAX] = { NULL };
	int n = 2, err = 0;

	if (x->kind == TF_CASE)
		n = stage_tf_funcs(w->f.m, t->n, "branches", names,
			BRANCHES_MAX);
	for (int i = 0; x->kind != TF_CASE && i < n; i++)
		names[i] = stage_tf_func(w->f.m, t->n, keys[x->kind][i]);
	if (n < 1)
		return broken(w, t->n, "its branches are broken");
	x->n_body = (size_t)n;
	x->body = array(w, x->n_body, sizeof(struct tf_scope *));
	x->ret = array(w, x->n_body, sizeof(struct tf_value *));
	if (!x->body || !x->ret)
		return stage_tf_no_memory(w);
	for (size_t i = 0; i < x->n_body && !err; i++) {
		struct stage_tf_graph *g;
		char suffix[32];

		if (!names[i])
			return broken(w, t->n, "it calls nothing");
		err = stage_savedmodel_function(w->f.m, names[i], &g,
			w->f.why);
		if (err)
			return err != -ENOENT ? err : broken(w, t->n,
				"what it calls is not there");
		if (x->kind == TF_CASE)
			(void) snprintf(suffix, sizeof(suffix), "/branch%zu/",
				i);
		else
			(void) snprintf(suffix, sizeof(suffix), "/%s/",
				scopes[x->kind][i]);
		err = stage_tf_scope(w, t->s, t->n, suffix, x->n_in, g,
			&x->body[i]);
		if (!err && g->n_out != (x->kind == TF_WHILE && !i ? 1 :
			    x->n_out))
			err = broken(w, t->n, "a body has another number of "
				"outputs");
		x->ret[i] = array(w, g->n_out, sizeof(**x->ret));
		if (!err && (!x->ret[i]))
			err = stage_tf_no_memory(w);
	}
	return err;
}

/* ---- branches -------------------------------------------------------------- */

/* Input i by `choice`, out of whose outputs (1: taken) come what is for two
 * bodies; one may be NULL. */
static int switch_input(struct tf_walk *w, const struct tf_flow *x, size_t i,
	const struct tf_value *choice, struct tf_value *not_taken,
	struct tf_value *taken)
{
	struct tf_value in[] = { x->in[i], *choice }, out;
	int err = emit(w, x, "/Switch", i, "Switch", in, 2, x->in_type[i],
		&out);

	if (err)
		return err;
	out.handle = x->in[i].handle;
	if (not_taken)
		*not_taken = out;
	return second(w, &out, out.handle, taken);
}

/* The choice itself, switched: what the pivots are made of. */
static int pivots(struct tf_walk *w, const struct tf_flow *x, size_t i,
	const struct tf_value *choice, struct tf_scope *not_taken,
	struct tf_scope *taken)
{
	struct tf_value in[] = { *choice, *choice }, no, yes;
	int err = emit(w, x, "/choice", i, "Switch", in, 2, STAGE_TF_BOOL, &no);

	if (!err && not_taken)
		err = set_pivot(w, x, i, &no, STAGE_TF_BOOL, not_taken);
	if (!err)
		err = second(w, &no, NULL, &yes);
	return err ? err : set_pivot(w, x, i + 1, &yes, STAGE_TF_BOOL, taken);
}

static int start_if(struct tf_walk *w, struct tf_work *t, struct tf_flow *x)
{
	struct tf_value choice = t->in[0];
	unsigned type = stage_tf_type(t->n, "Tcond");
	char attrs[32];
	int err = 0;

	(void) snprintf(attrs, sizeof(attrs), "T=t:%u", type);
	if (type != STAGE_TF_BOOL)
		err = stage_tf_emit(&w->f, stage_tf_joined(w, x->prefix,
			"/ToBool", ""), "ToBool", t->in, 1, attrs, NULL,
			&choice.ref);
	for (size_t k = 0; k < 2 && !err; k++) {
		x->body[k]->args = array(w, x->n_in, sizeof(*x->in));
		if (!x->body[k]->args)
			return stage_tf_no_memory(w);
	}
	if (!err)
		err = pivots(w, x, 0, &choice, x->body[0], x->body[1]);
	for (size_t i = 0; i < x->n_in && !err; i++)
		err = switch_input(w, x, i, &choice, &x->body[0]->args[i],
			&x->body[1]->args[i]);
	return err;
}

/* Is branch i taken? The last one is when no other is. */
static int chosen(struct tf_walk *w, const struct tf_flow *x, size_t i,
	const struct tf_value *index, struct tf_value *any,
	struct tf_value *ret)
{
	struct tf_value in[] = { *index, { NULL, NULL } };
	int err;

	if (x->n_body == 1)
		in[1] = *index;
	if (i && i + 1 == x->n_body)
		return emit(w, x, "/last", i, "LogicalNot", any, 1, 0, ret);
	err = in[1].ref ? 0 : stage_tf_emit_int(&w->f, stage_tf_joined(w,
		x->prefix, "/index", ""), i, &in[1]);
	if (!err)
		err = emit(w, x, "/is", i, "Equal", in, 2, STAGE_TF_INT32,
			ret);
	if (err)
		return err;
	in[0] = *any;
	in[1] = *ret;
	if (any->ref)
		return emit(w, x, "/any", i, "LogicalOr", in, 2, 0, any);
	*any = *ret;
	return 0;
}

static int start_case(struct tf_walk *w, struct tf_work *t, struct tf_flow *x)
{
	struct tf_value any = { NULL, NULL }, choice;
	int err = 0;

	for (size_t k = 0; k < x->n_body && !err; k++) {
		struct tf_scope *s = x->body[k];

		s->args = array(w, x->n_in, sizeof(*s->args));
		if (!s->args)
			return stage_tf_no_memory(w);
		err = chosen(w, x, k, &t->in[0], &any, &choice);
		if (!err)
			err = pivots(w, x, k, &choice, NULL, s);
		for (size_t i = 0; i < x->n_in && !err; i++)
			err = switch_input(w, x, i, &choice, NULL,
				&s->args[i]);
	}
	return err;
}

int stage_tf_same_variable(struct tf_walk *w, const struct tf_work *t,
	const struct tf_flow *x, size_t i, struct tf_value *ret)
{
	const struct tf_variable *handle = x->ret[0][i].handle;

	for (size_t k = 0; k < x->n_body; k++)
		if (x->ret[k][i].handle != handle)
			handle = NULL;
	for (size_t k = 0; k < x->n_in && handle; k++) {
		if (x->in[k].handle == handle) {
			*ret = x->in[k];
			return 0;
		}
	}
	return error_set(w->f.why, -ENOTSUP, "%s (%s) chooses one of several "
		"variables", t->n->name, t->n->op);
}

static int merge_outputs(struct tf_walk *w, struct tf_work *t,
	struct tf_flow *x)
{
	struct tf_value *in = array(w, x->n_body, sizeof(*in));
	int err = in ? 0 : stage_tf_no_memory(w);

	for (size_t i = 0; i < x->n_out && !err; i++) {
		bool handle = false;
		char attrs[64];

		for (size_t k = 0; k < x->n_body; k++) {
			in[k] = x->ret[k][i];
			handle |= in[k].handle != NULL;
		}
		if (handle) {
			err = stage_tf_same_variable(w, t, x, i, &t->done->v[i]);
			continue;
		}
		(void) snprintf(attrs, sizeof(attrs), "T=t:%u N=n:%zu",
			x->out_type[i], x->n_body);
		err = stage_tf_emit(&w->f, stage_tf_joined(w, x->prefix,
			"/Merge", ""), "Merge", in, x->n_body, attrs, NULL,
			&t->done->v[i].ref);
	}
	return err;
}

/* ---- loops ----------------------------------------------------------------- */

static int enter(struct tf_walk *w, const struct tf_work *t,
	const struct tf_flow *x, size_t i)
{
	bool fixed = x->in[i].handle != NULL;
	struct stage_wire f = { .value = LOOP_PARALLEL };
	char attrs[128];

	(void) stage_tf_value(stage_tf_attr(t->n, "parallel_iterations"), 3,
		&f);
	(void) snprintf(attrs, sizeof(attrs), "T=t:%u is_constant=b:%d "
		"parallel_iterations=n:%" PRIu64, x->in_type[i], fixed,
		f.value & INT32_MAX);
	x->enter[i].handle = x->in[i].handle;
	return stage_tf_emit(&w->f, stage_tf_joined(w, x->prefix, "/Enter",
		""), "Enter", &x->in[i], 1, attrs, x->prefix,
		&x->enter[i].ref);
}

static int merge(struct tf_walk *w, const struct tf_flow *x, size_t i)
{
	struct tf_value in[] = { x->enter[i], { NULL, NULL } };
	char attrs[64];
	int err;

	if (x->in[i].handle) {
		x->merge[i] = x->enter[i];
		return 0;
	}
	err = stage_tf_reserve(&w->f, stage_tf_joined(w, x->prefix,
		"/NextIteration", ""), &x->next[i]);
	in[1].ref = x->next[i];
	(void) snprintf(attrs, sizeof(attrs), "T=t:%u N=n:2", x->in_type[i]);
	return err ? err : stage_tf_emit(&w->f, stage_tf_joined(w, x->prefix,
		"/Merge", ""), "Merge", in, 2, attrs, NULL, &x->merge[i].ref);
}

static int start_while(struct tf_walk *w, struct tf_work *t,
	struct tf_flow *x)
{
	struct tf_value **lists[] = { &x->enter, &x->merge, &x->inside,
		&x->outside };
	size_t first = x->n_in;
	int err = 0;

	for (size_t i = 0; i < 4; i++) {
		*lists[i] = array(w, x->n_in, sizeof(**lists[i]));
		if (!*lists[i])
			return stage_tf_no_memory(w);
	}
	x->next = array(w, x->n_in, sizeof(*x->next));
	if (!x->next)
		return stage_tf_no_memory(w);
	for (size_t i = 0; i < x->n_in && !err; i++) {
		err = enter(w, t, x, i);
		if (!err)
			err = merge(w, x, i);
		if (first == x->n_in && !x->in[i].handle)
			first = i;
	}
	if (!err && first == x->n_in)
		return error_set(w->f.why, -ENOTSUP, "%s (%s) loops over "
			"nothing but variables", t->n->name, t->n->op);
	x->body[0]->args = x->merge;
	x->body[1]->args = x->inside;
	return err ? err : set_pivot(w, x, 0, &x->merge[first],
		x->in_type[first], x->body[0]);
}

/* The condition is there: what goes on and what leaves. */
static int turn(struct tf_walk *w, struct tf_flow *x)
{
	bool first = true;
	int err = emit(w, x, "/LoopCond", 0, "LoopCond", x->ret[0], 1, 0,
		&x->cond);

	for (size_t i = 0; i < x->n_in && !err; i++) {
		struct tf_value in[] = { x->merge[i], x->cond };

		if (x->in[i].handle) {
			x->inside[i] = x->enter[i];
			continue;
		}
		err = emit(w, x, "/Switch", i, "Switch", in, 2, x->in_type[i],
			&x->outside[i]);
		if (!err)
			err = second(w, &x->outside[i], NULL, &x->inside[i]);
		if (!err && first)
			err = set_pivot(w, x, 1, &x->inside[i], x->in_type[i],
				x->body[1]);
		first = false;
	}
	return err;
}

static int close_loop(struct tf_walk *w, struct tf_work *t,
	struct tf_flow *x)
{
	struct tf_value unused;
	int err = 0;

	for (size_t i = 0; i < x->n_in && !err; i++) {
		const struct tf_value *back = &x->ret[1][i];

		if (back->handle != x->in[i].handle)
			return error_set(w->f.why, -ENOTSUP, "%s (%s) "
				"exchanges variables", t->n->name, t->n->op);
		if (back->handle) {
			t->done->v[i] = x->in[i];
			continue;
		}
		w->f.reserved = x->next[i];
		err = emit(w, x, "/NextIteration", i, "NextIteration", back, 1,
			x->in_type[i], &unused);
		if (!err)
			err = emit(w, x, "/Exit", i, "Exit", &x->outside[i], 1,
				x->in_type[i], &t->done->v[i]);
	}
	return err;
}

/* ---- steps ----------------------------------------------------------------- */

static int start(struct tf_walk *w, struct tf_work *t)
{
	struct tf_flow *x = stage_arena_alloc(&w->f.out->arena, sizeof(*x));
	size_t skip;
	int err;

	if (!x)
		return stage_tf_no_memory(w);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(ops[i].op, t->n->op))
			x->kind = ops[i].kind;
	skip = x->kind != TF_WHILE;
	if (t->n_in < skip || (skip && t->in[0].handle))
		return broken(w, t->n, "nothing says which branch");
	x->prefix = stage_tf_joined(w, t->s->prefix, t->n->name, "");
	x->in = t->in + skip;
	x->n_in = t->n_in - skip;
	if (!x->prefix)
		return stage_tf_no_memory(w);
	err = types(w, t->n, skip ? "Tin" : "T", x->in, x->n_in, &x->in_type,
		&x->n_in);
	if (!err)
		err = types(w, t->n, skip ? "Tout" : "T", NULL, 0,
			&x->out_type, &x->n_out);
	if (err)
		return err;
	t->done->v = array(w, x->n_out, sizeof(*t->done->v));
	t->flow = x;
	if (!t->done->v)
		return stage_tf_no_memory(w);
	err = bodies(w, t, x);
	if (err)
		return err;
	if (w->functions)
		return stage_tf_keep(w, x);
	w->flow = true;
	return x->kind == TF_IF ? start_if(w, t, x) : x->kind == TF_CASE ?
		start_case(w, t, x) : start_while(w, t, x);
}

/* The outputs of body x->at. 1: all are there. */
static int walk_body(struct tf_walk *w, struct tf_flow *x, size_t *out)
{
	struct tf_scope *s = x->body[x->at];
	struct tf_value v;
	int r;

	while (*out < s->g->n_out) {
		r = stage_tf_resolve(w, s, s->g->ret[*out], &v);
		if (r <= 0)
			return r;
		x->ret[x->at][(*out)++] = v;
	}
	return 1;
}

int stage_tf_flow(struct tf_walk *w)
{
	size_t top = w->n - 1;
	struct tf_work *t = &w->stack[top];
	struct tf_flow *x;
	int r = t->flow ? 0 : start(w, t);

	if (r)
		return r;
	for (x = t->flow; x->at < x->n_body; x->at++) {
		size_t out = w->stack[top].out;

		r = walk_body(w, x, &out);
		w->stack[top].out = r > 0 ? 0 : out;
		if (r <= 0)
			return r;
		if (x->kind == TF_WHILE && !x->at && !w->functions)
			r = turn(w, x);
		if (r < 0)
			return r;
	}
	t = &w->stack[top];
	r = w->functions ? stage_tf_kept(w, t, x) :
		x->kind == TF_WHILE ? close_loop(w, t, x) : merge_outputs(w, t, x);
	if (r)
		return r;
	t->done->n = x->n_out;
	t->done->ready = true;
	return 1;
}
