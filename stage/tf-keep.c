/*
 * Branches and loops kept as they are, each with functions of its own: bodies
 * go through the same walk as the graph, so that calls in them are inlined and
 * variables are what went in as values. A function's references name outputs
 * ("node:output:0"), and its arguments by their names.
 *
 * One body's nodes are made at a time: stage_tf_select() puts its list in the
 * place of the graph's.
 */
#include "config.h"

#include "stage/tf-walk.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define NAMES_MAX 100000	/* functions called alike */

static void exchange(struct tf_walk *w, struct stage_tf_frozen_function *fn)
{
	struct stage_tf_frozen *out = w->f.out;
	struct stage_tf_frozen_function was = { .v = out->v, .n = out->n,
		.room = out->room, .names = w->f.names };

	out->v = fn->v;
	out->n = fn->n;
	out->room = fn->room;
	w->f.names = fn->names;
	fn->v = was.v;
	fn->n = was.n;
	fn->room = was.room;
	fn->names = was.names;
}

void stage_tf_select(struct tf_walk *w, struct stage_tf_frozen_function *fn)
{
	if (w->fn == fn)
		return;
	if (w->fn)
		exchange(w, w->fn);
	if (fn)
		exchange(w, fn);
	w->fn = fn;
	w->f.in_function = fn != NULL;
}

/* The function's name, or one like it. */
static int name_function(struct tf_walk *w,
	struct stage_tf_frozen_function *fn, const char *name)
{
	char number[32] = "";

	for (unsigned i = 1; i < NAMES_MAX; i++) {
		char *full = stage_tf_joined(w, name, number, "");

		if (!full)
			return stage_tf_no_memory(w);
		if (!map_get(&w->functions_by_name, full)) {
			fn->name = full;
			return map_put(&w->functions_by_name, full, fn, NULL);
		}
		(void) snprintf(number, sizeof(number), "_%u", i);
	}
	return stage_tf_no_memory(w);
}

static int begin(struct tf_walk *w, struct tf_flow *x, struct tf_scope *s)
{
	struct stage_arena *a = &w->f.out->arena;
	struct stage_tf_frozen_function *fn = stage_arena_alloc(a,
		sizeof(*fn));
	int err;

	s->args = stage_arena_array(a, x->n_in + 1, sizeof(*s->args));
	if (!fn || !s->args)
		return stage_tf_no_memory(w);
	fn->next = w->f.out->functions;
	w->f.out->functions = fn;
	fn->arg = s->g->arg;
	fn->n_arg = s->g->n_arg;
	fn->out = s->g->out;
	fn->n_out = s->g->n_out;
	fn->arg_type = x->in_type;
	err = name_function(w, fn, s->g->name);
	for (size_t i = 0; i < x->n_in && !err; i++) {
		s->args[i] = (struct tf_value){ s->g->arg[i],
			x->in[i].handle };
		err = map_put(&fn->names, s->g->arg[i], fn, NULL);
	}
	s->fn = fn;
	s->prefix = "";
	s->pivot = NULL;
	return err;
}

int stage_tf_keep(struct tf_walk *w, struct tf_flow *x)
{
	int err = 0;

	for (size_t i = 0; i < x->n_body && !err; i++)
		err = begin(w, x, x->body[i]);
	return err;
}

/* ---- behind the bodies ----------------------------------------------------- */

static const unsigned cond_type[] = { STAGE_TF_BOOL };

static int end(struct tf_walk *w, const struct tf_flow *x, size_t i)
{
	struct stage_tf_frozen_function *fn = x->body[i]->fn;

	fn->ret = stage_arena_array(&w->f.out->arena, fn->n_out + 1,
		sizeof(*fn->ret));
	if (!fn->ret)
		return stage_tf_no_memory(w);
	for (size_t k = 0; k < fn->n_out; k++)
		fn->ret[k] = x->ret[i][k].ref;
	fn->out_type = x->kind != TF_WHILE ? x->out_type : i ? x->in_type :
		cond_type;
	return 0;
}

/* " KEY=T:1,9" */
static int add_types(struct buf *b, const char *key, const unsigned *v,
	size_t n)
{
	char text[64];
	int err = 0;

	(void) snprintf(text, sizeof(text), " %s=%s", key, n ? "T:" : "l:");
	err = buf_append_str(b, text);
	for (size_t i = 0; i < n && !err; i++) {
		(void) snprintf(text, sizeof(text), i ? ",%u" : "%u", v[i]);
		err = buf_append_str(b, text);
	}
	return err;
}

static int put(struct buf *b, const char *tag, const void *p, size_t len)
{
	int err = buf_append(b, tag, 1);

	if (!err)
		err = buf_append_varint(b, len);
	return err ? err : buf_append(b, p, len);
}

/* AttrValue.func 10, or list 1 {func 9}: NameAttrList, name 1 */
static int function_attr(struct tf_walk *w, const struct tf_flow *x,
	size_t i, const char *key, struct stage_tf_frozen_node *to)
{
	cleanup_buf struct buf all = BUF_INIT(1 << 22);
	cleanup_buf struct buf list = BUF_INIT(1 << 22);
	size_t last = x->kind == TF_CASE ? x->n_body : i + 1;
	int err = 0;

	for (; i < last && !err; i++) {
		cleanup_buf struct buf name = BUF_INIT(65536);
		const char *text = x->body[i]->fn->name;

		err = put(&name, "\x0a", text, strlen(text));
		if (!err)
			err = put(&list, x->kind == TF_CASE ? "\x4a" : "\x52",
				name.data, name.len);
	}
	if (!err && x->kind == TF_CASE)
		err = put(&all, "\x0a", list.data, list.len);
	if (err)
		return err;
	return stage_tf_attr_raw(&w->f, key, x->kind == TF_CASE ? &all : &list,
		&to->attr[to->n_attr++]);
}

static int function_attrs(struct tf_walk *w, const struct tf_flow *x,
	struct stage_tf_frozen_node *to)
{
	static const char *const keys[][2] = {
		[TF_IF] = { "else_branch", "then_branch" },
		[TF_WHILE] = { "cond", "body" },
	};
	int err;

	if (x->kind == TF_CASE)
		return function_attr(w, x, 0, "branches", to);
	err = function_attr(w, x, 0, keys[x->kind][0], to);
	return err ? err : function_attr(w, x, 1, keys[x->kind][1], to);
}

/* What else there was; not the shapes of what has become another type. */
static void other_attrs(const struct tf_work *t, const struct tf_flow *x,
	struct stage_tf_frozen_node *to)
{
	bool variables = false;

	for (size_t i = 0; i < x->n_in; i++)
		variables |= x->in[i].handle != NULL;
	for (size_t i = 0; i < t->n->n_attr; i++) {
		const struct stage_tf_attr *a = &t->n->attr[i];

		if (to->n_attr + 3 > TF_ATTRS_MORE)
			break;
		if (!strcmp(a->key, "parallel_iterations") ||
		    !strcmp(a->key, "Tcond") ||
		    (!strcmp(a->key, "output_shapes") && !variables))
			to->attr[to->n_attr++] = *a;
	}
}

/* Its outputs, as references from where it stands. */
static int outputs(struct tf_walk *w, struct tf_work *t,
	const struct tf_flow *x, const char *name)
{
	char number[48];
	int err = 0;

	for (size_t i = 0; i < x->n_out && !err; i++) {
		struct tf_value *v = &t->done->v[i];

		if (x->kind == TF_WHILE ? x->in[i].handle != NULL :
		    x->ret[0][i].handle != NULL) {
			err = x->kind == TF_WHILE ? 0 :
				stage_tf_same_variable(w, t, x, i, v);
			if (x->kind == TF_WHILE)
				*v = x->in[i];
			continue;
		}
		*number = '\0';
		if (w->f.in_function || i)
			(void) snprintf(number, sizeof(number), "%s:%zu",
				w->f.in_function ? ":output" : "", i);
		v->ref = stage_tf_joined(w, name, number, "");
		if (!v->ref)
			err = stage_tf_no_memory(w);
	}
	return err;
}

/* What came back as a variable has to be the one that went in. */
static int check(struct tf_walk *w, const struct tf_work *t,
	struct tf_flow *x)
{
	struct tf_value same;
	int err = 0;

	for (size_t i = 0; i < x->n_out && !err; i++) {
		if (x->kind == TF_WHILE &&
		    x->ret[1][i].handle != x->in[i].handle)
			return error_set(w->f.why, -ENOTSUP, "%s (%s) "
				"exchanges variables", t->n->name, t->n->op);
		if (x->kind == TF_WHILE)
			continue;
		for (size_t k = 0; k < x->n_body && !err; k++) {
			if (!x->ret[k][i].handle)
				continue;
			err = stage_tf_same_variable(w, t, x, i, &same);
			x->out_type[i] = x->ret[k][i].handle->dtype;
		}
	}
	return err;
}

int stage_tf_kept(struct tf_walk *w, struct tf_work *t, struct tf_flow *x)
{
	cleanup_buf struct buf attrs = BUF_INIT(1 << 20);
	struct stage_tf_frozen_node *to;
	const char *name;
	int err = check(w, t, x);

	for (size_t i = 0; i < x->n_body && !err; i++)
		err = end(w, x, i);
	if (!err)
		err = add_types(&attrs, x->kind == TF_WHILE ? "T" : "Tin",
			x->in_type, x->n_in);
	if (!err && x->kind != TF_WHILE)
		err = add_types(&attrs, "Tout", x->out_type, x->n_out);
	if (!err)
		err = buf_append(&attrs, "", 1);
	if (err)
		return err;
	stage_tf_select(w, t->s->fn);
	err = stage_tf_emit(&w->f, x->prefix, t->n->op, t->in, t->n_in,
		(const char *)attrs.data + 1, NULL, &name);
	if (err)
		return err;
	to = &w->f.out->v[w->f.out->n - 1];
	other_attrs(t, x, to);
	err = function_attrs(w, x, to);
	stage_tf_attr_sort(to);
	return err ? err : outputs(w, t, x, name);
}
