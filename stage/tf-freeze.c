/*
 * The walk: from the outputs of a signature back to its inputs and variables,
 * into the functions that are called on the way. A stack of its own instead
 * of recursion: a graph is as deep as its layers, and a stranger's is as deep
 * as he likes.
 */
#include "config.h"

#include "stage/tf-walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define VISITS_MAX 2000000	/* nodes of all calls */
#define MEMORY_MAX (256u << 20)	/* bytes */

int stage_tf_no_memory(struct tf_walk *w)
{
	return error_set(w->f.why, -EFBIG, "no memory for so large a graph");
}

/* ---- scopes ---------------------------------------------------------------- */

static struct tf_scope *new_scope(struct tf_walk *w, struct stage_tf_graph *g,
	const char *prefix, unsigned depth)
{
	struct tf_scope *s = stage_arena_alloc(&w->f.out->arena, sizeof(*s));

	if (!s)
		return NULL;
	s->g = g;
	s->prefix = prefix;
	s->depth = depth;
	s->next = w->scopes;
	w->scopes = s;
	return s;
}

int stage_tf_scope(struct tf_walk *w, struct tf_scope *s,
	const struct stage_tf_node *n, const char *suffix, size_t n_args,
	struct stage_tf_graph *g, struct tf_scope **ret)
{
	char *name = stage_tf_joined(w, s->prefix, n->name, suffix);
	int err = stage_tf_mark(g, w->f.why);

	if (err)
		return err;
	if (s->depth >= STAGE_TF_DEPTH_MAX)
		return error_set(w->f.why, -EFBIG, "calls over %u deep",
			STAGE_TF_DEPTH_MAX);
	if (n_args != g->n_arg)
		return error_set(w->f.why, -EBADMSG, "%s gives %s %zu "
			"arguments, not %zu", n->name, g->name, n_args,
			g->n_arg);
	*ret = name ? new_scope(w, g, name, s->depth + 1) : NULL;
	if (!*ret)
		return stage_tf_no_memory(w);
	(*ret)->pivot = s->pivot;
	(*ret)->fn = s->fn;
	return 0;
}

/* The function n calls: *ret NULL when it calls none. */
static int called(struct tf_walk *w, const struct stage_tf_node *n,
	struct stage_tf_graph **ret)
{
	const char *name = n->op;
	int err;

	*ret = NULL;
	if (!strcmp(n->op, "PartitionedCall") ||
	    !strcmp(n->op, "StatefulPartitionedCall")) {
		name = stage_tf_func(w->f.m, n, "f");
		if (!name)
			return error_set(w->f.why, -EBADMSG, "%s calls nothing",
				n->name);
		err = stage_savedmodel_function(w->f.m, name, ret, w->f.why);
		return err != -ENOENT ? err : error_set(w->f.why, -EBADMSG,
			"%s calls %s, which is not there", n->name, name);
	}
	err = stage_savedmodel_function(w->f.m, name, ret, w->f.why);
	return err == -ENOENT ? 0 : err;
}

char *stage_tf_joined(struct tf_walk *w, const char *a, const char *b,
	const char *c)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "%s%s%s", a, b, c) < 0) {
		text = NULL;
		return NULL;
	}
	return stage_arena_strdup(&w->f.out->arena, text);
}

/* ---- references ------------------------------------------------------------ */

static int push_work(struct tf_walk *w, const struct tf_work *new)
{
	size_t room = w->room ? 2 * w->room : 256;
	size_t n_in = new->n->n_input + 1;
	struct tf_work *v;

	if (++w->visits > VISITS_MAX)
		return error_set(w->f.why, -EFBIG, "over %u nodes, all calls "
			"inlined", VISITS_MAX);
	if (w->n == w->room) {
		v = reallocarray(w->stack, room, sizeof(*v));
		if (!v)
			return stage_tf_no_memory(w);
		w->stack = v;
		w->room = room;
	}
	v = &w->stack[w->n];
	*v = *new;
	v->in = stage_arena_array(&w->f.out->arena, n_in, sizeof(*v->in));
	v->control = stage_arena_array(&w->f.out->arena, n_in,
		sizeof(*v->control));
	if (!v->in || !v->control)
		return stage_tf_no_memory(w);
	w->n++;
	return 0;
}

static int push(struct tf_walk *w, struct tf_scope *s,
	const struct stage_tf_node *n)
{
	struct tf_done *done = stage_arena_alloc(&w->f.out->arena,
		sizeof(*done));

	if (!done || map_put(&s->done, n->name, done, NULL))
		return stage_tf_no_memory(w);
	return push_work(w, &(struct tf_work){ .s = s, .n = n,
		.done = done });
}

/* Which output of n "name:out:1" (in functions) or "name:1" is. */
static int output_index(struct tf_walk *w, const struct stage_tf_node *n,
	const char *ref, struct stage_tf_graph *callee, size_t *ret)
{
	const char *out = strchr(ref, ':');
	const char *last = strrchr(ref, ':');
	cleanup_free char *name = NULL;
	unsigned long index = last ? strtoul(last + 1, NULL, 10) : 0;
	int at = 0;

	if (index > INT32_MAX)
		return error_set(w->f.why, -EBADMSG, "%s is no output", ref);
	*ret = index;
	if (out == last)
		return 0;
	name = strndup(out + 1, (size_t)(last - out - 1));
	if (!name)
		return stage_tf_no_memory(w);
	if (callee && callee->name && !strcmp(n->op, callee->name)) {
		for (at = 0; (size_t)at < callee->n_out; at++)
			if (!strcmp(callee->out[at], name))
				break;
	} else if (!callee) {
		at = stage_tf_output(n->op, name);
	}
	if (at < 0)
		return error_set(w->f.why, at, "%s (%s) has an output \"%s\", "
			"which is not known", n->name, n->op, name);
	*ret = (size_t)at + index;
	return 0;
}

static int pick(struct tf_walk *w, const struct tf_scope *s,
	const struct tf_done *d, size_t i, const char *ref,
	struct tf_value *ret)
{
	const char *out = strchr(ref, ':');
	char text[32];

	ret->handle = NULL;
	if (d->v) {
		if (i >= d->n)
			return error_set(w->f.why, -EBADMSG, "%s is no output "
				"there is", ref);
		*ret = d->v[i];
		return 0;
	}
	ret->ref = d->name;
	if (s->fn) {
		ret->ref = stage_tf_joined(w, d->name, d->other ?
			":output:0" : out ? out : "", "");
	} else if (i) {
		(void) snprintf(text, sizeof(text), ":%zu", i);
		ret->ref = stage_tf_joined(w, d->name, text, "");
	}
	return ret->ref ? 0 : stage_tf_no_memory(w);
}

int stage_tf_resolve(struct tf_walk *w, struct tf_scope *s, const char *ref,
	struct tf_value *ret)
{
	size_t len = strcspn(ref, ":"), i = 0;
	cleanup_free char *name = strndup(ref, len);
	const struct stage_tf_node *n;
	struct stage_tf_graph *callee;
	const struct tf_done *d;
	const char **arg;
	int err;

	if (!name)
		return stage_tf_no_memory(w);
	arg = map_get(&s->g->arg_of, name);
	if (arg) {
		*ret = s->args[arg - s->g->arg];
		return 1;
	}
	n = map_get(&s->g->node_of, name);
	if (!n)
		return error_set(w->f.why, -EBADMSG, "there is no node %s",
			name);
	d = map_get(&s->done, name);
	if (!d)
		return push(w, s, n);
	if (!d->ready)
		return error_set(w->f.why, -EBADMSG, "%s (%s) depends on "
			"itself", n->name, n->op);
	err = called(w, n, &callee);
	if (!err)
		err = output_index(w, n, ref, callee, &i);
	if (!err)
		err = pick(w, s, d, i, ref, ret);
	return err ? err : 1;
}

/* ---- steps ----------------------------------------------------------------- */

/* What an operator without inputs waits for that becomes of t. */
static int set_control(struct tf_walk *w, struct tf_work *t)
{
	const char *at, *ref;

	w->f.control = t->control;
	w->f.n_control = t->n_control;
	if (t->n_control || (!t->s->pivot && !t->n->flow))
		return 0;
	if (!t->s->pivot && !t->n_in)
		return 0;
	w->f.n_control = 1;
	t->control[0] = t->s->pivot;
	if (t->s->pivot)
		return 0;
	ref = t->in[t->n_in - 1].ref;
	at = stage_arena_copy(&w->f.out->arena, ref, strcspn(ref, ":"));
	t->control[0] = at ? stage_tf_joined(w, "^", at, "") : NULL;
	return t->control[0] ? 0 : stage_tf_no_memory(w);
}

static int enter(struct tf_walk *w, struct tf_work *t,
	struct stage_tf_graph *g)
{
	int err = stage_tf_scope(w, t->s, t->n, "/", t->n_in, g, &t->body);

	if (!err)
		err = set_control(w, t);
	if (err)
		return err;
	if (w->f.n_control)
		t->body->pivot = w->f.control[0];
	t->done->v = stage_arena_array(&w->f.out->arena, g->n_out + 1,
		sizeof(*t->done->v));
	if (!t->done->v)
		return stage_tf_no_memory(w);
	t->body->args = t->in;
	return 0;
}

/* One output of the body. 1: all are there. */
static int leave(struct tf_walk *w, struct tf_work *t)
{
	const struct stage_tf_graph *g = t->body->g;
	struct tf_value v;
	size_t at = w->n - 1;
	int r;

	while (t->out < g->n_out) {
		r = stage_tf_resolve(w, t->body, g->ret[t->out], &v);
		if (r <= 0)
			return r;
		t = &w->stack[at];
		t->done->v[t->out++] = v;
	}
	t->done->n = g->n_out;
	t->done->ready = true;
	return 1;
}

/* All inputs are there: a call, or a node of its own. */
static int make(struct tf_walk *w, struct tf_work *t)
{
	struct stage_tf_graph *g;
	const char *name;
	int err;

	stage_tf_select(w, t->s->fn);
	if (t->body)
		return leave(w, t);
	if (stage_tf_is_flow(t->n->op)) {
		err = set_control(w, t);
		return err ? err : stage_tf_flow(w);
	}
	err = called(w, t->n, &g);
	if (err)
		return err;
	if (g) {
		err = enter(w, t, g);
		return err ? err : leave(w, t);
	}
	name = stage_tf_joined(w, t->s->prefix, t->n->name, "");
	if (!name)
		return stage_tf_no_memory(w);
	err = set_control(w, t);
	w->f.reserved = t->promised;
	if (!err)
		err = stage_tf_rewrite(&w->f, t->n, name, t->in, t->n_in,
			t->done);
	w->flow |= stage_tf_is_frame(t->n->op);
	return err ? err : 1;
}

/* Has it nothing but the edges that say what comes before it? */
static bool is_order_only(const struct stage_tf_node *n)
{
	return !n->n_input || n->input[0][0] == '^' || !strcmp(n->op, "Assert");
}

/* Control edges matter to nodes without inputs, which would run outside of the
 * loop or branch they stand in; what else they order is not in the graph. */
static bool is_kept(const struct tf_work *t, const char *ref)
{
	const struct stage_tf_node *n;
	const struct tf_done *d;

	if (*ref != '^')
		return strcmp(t->n->op, "Assert") || !t->at;
	if (!is_order_only(t->n))
		return false;
	n = map_get(&t->s->g->node_of, ref + 1);
	d = map_get(&t->s->done, ref + 1);
	return n && n->flow && !(d && d->ready && d->v && !d->n);
}

/* Merge comes before the NextIteration it waits for: that one's name is
 * promised. */
static int promise(struct tf_walk *w, struct tf_scope *s, const char *ref)
{
	cleanup_free char *name = strndup(ref, strcspn(ref, ":"));
	const struct stage_tf_node *n = name ? map_get(&s->g->node_of, name) :
		NULL;
	struct tf_promise *p;
	struct tf_done *d;
	char *full;
	int err;

	if (!n || map_get(&s->done, name) || (strcmp(n->op, "NextIteration") &&
	    strcmp(n->op, "RefNextIteration")))
		return 0;
	p = stage_arena_alloc(&w->f.out->arena, sizeof(*p));
	d = stage_arena_alloc(&w->f.out->arena, sizeof(*d));
	full = stage_tf_joined(w, s->prefix, n->name, "");
	if (!p || !d || !full || map_put(&s->done, name, d, NULL))
		return stage_tf_no_memory(w);
	*p = (struct tf_promise){ s, n, NULL, w->promises };
	w->promises = p;
	err = stage_tf_reserve(&w->f, full, &p->name);
	d->name = p->name;
	d->ready = true;
	return err;
}

/* The input ref of the node on top, which is kept. */
static int take(struct tf_walk *w, const char *ref)
{
	struct tf_work *t = &w->stack[w->n - 1];
	bool order = *ref == '^' || !strcmp(t->n->op, "Assert");
	size_t top = w->n - 1;
	struct tf_value v;
	char *name;
	int r = 0;

	if (!strcmp(t->n->op, "Merge") || !strcmp(t->n->op, "RefMerge"))
		r = promise(w, t->s, ref);
	if (!r)
		r = stage_tf_resolve(w, t->s, ref + (*ref == '^'), &v);
	if (r <= 0)
		return r;
	t = &w->stack[top];
	if (!order) {
		t->in[t->n_in++] = v;
		return 1;
	}
	name = stage_arena_copy(&w->f.out->arena, v.ref, strcspn(v.ref, ":"));
	name = name ? stage_tf_joined(w, "^", name, "") : NULL;
	t->control[t->n_control++] = name;
	return name ? 1 : stage_tf_no_memory(w);
}

static int step(struct tf_walk *w)
{
	size_t top = w->n - 1;
	struct tf_work *t = &w->stack[top];
	int r;

	while (t->at < t->n->n_input) {
		const char *ref = t->n->input[t->at];

		r = is_kept(t, ref) ? take(w, ref) : 1;
		if (r <= 0)
			return r;
		t->at++;
	}
	r = make(w, t);
	if (r > 0)
		w->n--;
	return r < 0 ? r : 0;
}

static int run(struct tf_walk *w)
{
	int err = 0;

	while (w->n && !err)
		err = step(w);
	return err;
}

static int keep_promises(struct tf_walk *w)
{
	struct tf_promise *p;
	int err = 0;

	while ((p = w->promises) != NULL && !err) {
		struct tf_work t = { .s = p->s, .n = p->n,
			.promised = p->name };

		w->promises = p->next;
		t.done = stage_arena_alloc(&w->f.out->arena, sizeof(*t.done));
		err = t.done ? push_work(w, &t) : stage_tf_no_memory(w);
		if (!err)
			err = run(w);
	}
	return err;
}

/* ---- signatures ------------------------------------------------------------ */

/* What a main graph's tensor becomes. */
static int value_of(struct tf_walk *w, struct tf_scope *s, const char *tensor,
	struct tf_value *ret)
{
	int r;

	while ((r = stage_tf_resolve(w, s, tensor, ret)) == 0) {
		r = run(w);
		if (r)
			return r;
	}
	return r < 0 ? r : 0;
}

static int feed(struct tf_walk *w, struct tf_scope *s,
	const struct stage_tf_info *info)
{
	cleanup_free char *name = strndup(info->tensor,
		strcspn(info->tensor, ":"));
	const struct stage_tf_node *n = name ? map_get(&s->g->node_of, name) :
		NULL;
	struct tf_done *d;
	int err;

	if (!n)
		return error_set(w->f.why, -EBADMSG, "the input %s is %s, "
			"which is not there", info->key, info->tensor);
	if (map_get(&s->done, name) || !strcmp(n->op, "PlaceholderWithDefault"))
		return 0;
	d = stage_arena_alloc(&w->f.out->arena, sizeof(*d));
	if (!d)
		return stage_tf_no_memory(w);
	err = stage_tf_feed(&w->f, n, info, d);
	return err ? err : map_put(&s->done, name, d, NULL);
}

static int by_key(const void *a, const void *b)
{
	const struct stage_tf_info *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int fetch(struct tf_walk *w, const struct stage_tf_signature *sig,
	const struct tf_value *outs)
{
	struct map roots = { 0 };
	int err = 0;

	w->f.n_control = 0;
	for (size_t i = 0; i < sig->n_out && !err; i++) {
		const char *name;

		err = stage_tf_fetch(&w->f, &sig->out[i], &outs[i], &name);
		if (!err)
			err = map_put(&roots, name, &roots, NULL);
	}
	if (!err && w->flow)
		err = stage_tf_prune(w->f.out, &roots, w->f.why);
	map_done(&roots);
	return err;
}

static int freeze(struct tf_walk *w, const struct stage_tf_signature *sig)
{
	struct tf_scope *s = new_scope(w, &w->f.m->graph, "", 0);
	struct tf_value *outs = stage_arena_array(&w->f.out->arena,
		sig->n_out + 1, sizeof(*outs));
	int err;

	if (!s || !outs)
		return stage_tf_no_memory(w);
	err = stage_tf_mark(s->g, w->f.why);
	if (err)
		return err;
	if (!sig->n_out)
		return error_set(w->f.why, -ENOTSUP, "the signature %s has no "
			"outputs", sig->name);
	/* The order of a map on disk is chance; that of a recipe is not. */
	if (sig->n_in)
		qsort(sig->in, sig->n_in, sizeof(*sig->in), by_key);
	qsort(sig->out, sig->n_out, sizeof(*sig->out), by_key);
	for (size_t i = 0; i < sig->n_in && !err; i++)
		err = feed(w, s, &sig->in[i]);
	for (size_t i = 0; i < sig->n_out && !err; i++)
		err = value_of(w, s, sig->out[i].tensor, &outs[i]);
	if (!err)
		err = keep_promises(w);
	stage_tf_select(w, NULL);
	return err ? err : fetch(w, sig, outs);
}

int stage_tf_freeze(struct stage_savedmodel *m, const struct stage_bundle *b,
	const struct map *vars, const struct stage_tf_signature *s,
	bool functions, struct stage_tf_frozen *ret, struct error *why)
{
	struct tf_walk w = { .f = { .m = m, .b = b, .vars = vars, .out = ret,
		.why = why }, .functions = functions };
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->arena.max = MEMORY_MAX;
	err = freeze(&w, s);
	stage_tf_select(&w, NULL);
	for (struct tf_scope *scope = w.scopes; scope; scope = scope->next)
		map_done(&scope->done);
	map_done(&w.f.names);
	map_done(&w.functions_by_name);
	free(w.stack);
	return err;
}

void stage_tf_frozen_done(struct stage_tf_frozen *f)
{
	struct stage_tf_frozen_function *fn;

	for (fn = f->functions; fn; fn = fn->next) {
		map_done(&fn->names);
		free(fn->v);
	}
	free(f->v);
	stage_arena_done(&f->arena);
	memset(f, 0, sizeof(*f));
}
