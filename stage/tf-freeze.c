/*
 * The walk: from the outputs of a signature back to its inputs and variables,
 * into the functions that are called on the way. A stack of its own instead
 * of recursion: a graph is as deep as its layers, and a stranger's is as deep
 * as he likes.
 */
#include "config.h"

#include "stage/tf-freeze.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define VISITS_MAX 2000000	/* nodes of all calls */
#define MEMORY_MAX (256u << 20)	/* bytes */

/* A call of a function, or the main graph. */
struct scope {
	struct stage_tf_graph *g;
	const char *prefix;		/* "call/", of its nodes' names */
	struct tf_value *args;		/* g->n_arg */
	struct map done;		/* node name -> struct tf_done */
	unsigned depth;
	struct scope *next;		/* of all, to free them */
};

/* A node whose inputs are being made. */
struct work {
	struct scope *s;
	const struct stage_tf_node *n;
	struct tf_done *done;
	struct tf_value *in;
	size_t at, n_in;		/* inputs looked at; kept */
	struct scope *body;		/* of the function it calls */
	size_t out;			/* outputs of the body that are made */
};

struct walk {
	struct tf_freezer f;
	struct work *stack;
	size_t n, room;
	size_t visits;
	struct scope *scopes;
};

static int no_memory(struct walk *w)
{
	return error_set(w->f.why, -EFBIG, "no memory for so large a graph");
}

/* ---- scopes ---------------------------------------------------------------- */

static struct scope *new_scope(struct walk *w, struct stage_tf_graph *g,
	const char *prefix, unsigned depth)
{
	struct scope *s = stage_arena_alloc(&w->f.out->arena, sizeof(*s));

	if (!s)
		return NULL;
	s->g = g;
	s->prefix = prefix;
	s->depth = depth;
	s->next = w->scopes;
	w->scopes = s;
	return s;
}

/* The function n calls: *ret NULL when it calls none. */
static int called(struct walk *w, const struct stage_tf_node *n,
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

static char *joined(struct walk *w, const char *a, const char *b, const char *c)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "%s%s%s", a, b, c) < 0) {
		text = NULL;
		return NULL;
	}
	return stage_arena_strdup(&w->f.out->arena, text);
}

/* ---- references ------------------------------------------------------------ */

static int push(struct walk *w, struct scope *s, const struct stage_tf_node *n)
{
	size_t room = w->room ? 2 * w->room : 256;
	struct work *v;
	struct work new = { .s = s, .n = n };
	int err;

	if (++w->visits > VISITS_MAX)
		return error_set(w->f.why, -EFBIG, "over %u nodes, all calls "
			"inlined", VISITS_MAX);
	if (w->n == w->room) {
		v = reallocarray(w->stack, room, sizeof(*v));
		if (!v)
			return no_memory(w);
		w->stack = v;
		w->room = room;
	}
	new.done = stage_arena_alloc(&w->f.out->arena, sizeof(*new.done));
	new.in = stage_arena_array(&w->f.out->arena, n->n_input + 1,
		sizeof(*new.in));
	if (!new.done || !new.in)
		return no_memory(w);
	err = map_put(&s->done, n->name, new.done, NULL);
	if (err)
		return no_memory(w);
	w->stack[w->n++] = new;
	return 0;
}

/* Which output of n "name:out:1" (in functions) or "name:1" is. */
static int output_index(struct walk *w, const struct stage_tf_node *n,
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
		return no_memory(w);
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

static int pick(struct walk *w, const struct tf_done *d, size_t i,
	const char *what, struct tf_value *ret)
{
	char text[32];

	ret->handle = NULL;
	if (d->v) {
		if (i >= d->n)
			return error_set(w->f.why, -EBADMSG, "%s has no output "
				"%zu", what, i);
		*ret = d->v[i];
		return 0;
	}
	ret->ref = d->name;
	if (i) {
		(void) snprintf(text, sizeof(text), ":%zu", i);
		ret->ref = joined(w, d->name, text, "");
	}
	return ret->ref ? 0 : no_memory(w);
}

/* 1: *ret is what ref stands for in s; 0: its node has been pushed. */
static int resolve(struct walk *w, struct scope *s, const char *ref,
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
		return no_memory(w);
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
		return error_set(w->f.why, -ENOTSUP, "%s (%s) is part of a "
			"loop, which is not lowered", n->name, n->op);
	err = called(w, n, &callee);
	if (!err)
		err = output_index(w, n, ref, callee, &i);
	if (!err)
		err = pick(w, d, i, n->name, ret);
	return err ? err : 1;
}

/* ---- steps ----------------------------------------------------------------- */

static int enter(struct walk *w, struct work *t, struct stage_tf_graph *g)
{
	const char *name;

	if (t->s->depth >= STAGE_TF_DEPTH_MAX)
		return error_set(w->f.why, -EFBIG, "calls over %u deep",
			STAGE_TF_DEPTH_MAX);
	if (t->n_in != g->n_arg)
		return error_set(w->f.why, -EBADMSG, "%s gives %s %zu "
			"arguments, not %zu", t->n->name, g->name, t->n_in,
			g->n_arg);
	name = joined(w, t->s->prefix, t->n->name, "/");
	t->body = name ? new_scope(w, g, name, t->s->depth + 1) : NULL;
	t->done->v = stage_arena_array(&w->f.out->arena, g->n_out + 1,
		sizeof(*t->done->v));
	if (!t->body || !t->done->v)
		return no_memory(w);
	t->body->args = t->in;
	return 0;
}

/* One output of the body. 1: all are there. */
static int leave(struct walk *w, struct work *t)
{
	const struct stage_tf_graph *g = t->body->g;
	struct tf_value v;
	size_t at = w->n - 1;
	int r;

	while (t->out < g->n_out) {
		r = resolve(w, t->body, g->ret[t->out], &v);
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
static int make(struct walk *w, struct work *t)
{
	struct stage_tf_graph *g;
	const char *name;
	int err;

	if (t->body)
		return leave(w, t);
	err = called(w, t->n, &g);
	if (err)
		return err;
	if (g) {
		err = enter(w, t, g);
		return err ? err : leave(w, t);
	}
	name = joined(w, t->s->prefix, t->n->name, "");
	if (!name)
		return no_memory(w);
	err = stage_tf_rewrite(&w->f, t->n, name, t->in, t->n_in, t->done);
	return err ? err : 1;
}

static int step(struct walk *w)
{
	size_t top = w->n - 1;
	struct work *t = &w->stack[top];
	int r;

	while (t->at < t->n->n_input) {
		const char *ref = t->n->input[t->at];
		struct tf_value v;

		if (*ref != '^') {
			r = resolve(w, t->s, ref, &v);
			if (r <= 0)
				return r;
			t->in[t->n_in++] = v;
		}
		t->at++;
	}
	r = make(w, t);
	if (r > 0)
		w->n--;
	return r < 0 ? r : 0;
}

/* ---- signatures ------------------------------------------------------------ */

/* What a main graph's tensor becomes. */
static int value_of(struct walk *w, struct scope *s, const char *tensor,
	struct tf_value *ret)
{
	int r;

	while ((r = resolve(w, s, tensor, ret)) == 0) {
		while (w->n && !r)
			r = step(w);
		if (r)
			return r;
	}
	return r < 0 ? r : 0;
}

static int feed(struct walk *w, struct scope *s,
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
		return no_memory(w);
	err = stage_tf_feed(&w->f, n, info, d);
	return err ? err : map_put(&s->done, name, d, NULL);
}

static int by_key(const void *a, const void *b)
{
	const struct stage_tf_info *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int freeze(struct walk *w, const struct stage_tf_signature *sig)
{
	struct scope *s = new_scope(w, &w->f.m->graph, "", 0);
	struct tf_value *outs = stage_arena_array(&w->f.out->arena,
		sig->n_out + 1, sizeof(*outs));
	int err = 0;

	if (!s || !outs)
		return no_memory(w);
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
	for (size_t i = 0; i < sig->n_out && !err; i++)
		err = stage_tf_fetch(&w->f, &sig->out[i], &outs[i]);
	return err;
}

int stage_tf_freeze(struct stage_savedmodel *m, const struct stage_bundle *b,
	const struct map *vars, const struct stage_tf_signature *s,
	struct stage_tf_frozen *ret, struct error *why)
{
	struct walk w = { .f = { .m = m, .b = b, .vars = vars, .out = ret,
		.why = why } };
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->arena.max = MEMORY_MAX;
	err = freeze(&w, s);
	for (struct scope *scope = w.scopes; scope; scope = scope->next)
		map_done(&scope->done);
	map_done(&w.f.names);
	free(w.stack);
	return err;
}

void stage_tf_frozen_done(struct stage_tf_frozen *f)
{
	free(f->v);
	stage_arena_done(&f->arena);
	memset(f, 0, sizeof(*f));
}
