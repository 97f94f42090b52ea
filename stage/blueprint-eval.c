/*
 * Walks a blueprint's statements and expressions. Every expression costs a
 * step and may lie only so deep in others, so a run ends whatever the text
 * says; what ends it early names file, line and column.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "stage/blueprint-run.h"

#define VARS_MAX 4096

int stage_bp_fail(struct bp_run *r, const struct bp_place *at,
	const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return error_set(r->why, -ENOTSUP, "%s:%u:%u: %s", at->file, at->line,
		at->col, text);
}

static int over_budget(struct bp_run *r, const struct bp_place *at,
	const char *what)
{
	return error_set(r->why, -EFBIG, "%s:%u:%u: over the limit of %s",
		at->file, at->line, at->col, what);
}

/* ---- variables ------------------------------------------------------------- */

static struct bp_value *find_in(struct bp_scope *s, const char *name)
{
	for (size_t i = s ? s->n : 0; i-- > 0;)
		if (!strcmp(s->v[i].name, name))
			return &s->v[i].v;
	return NULL;
}

static int set_in(struct bp_run *r, struct bp_scope *s,
	const struct bp_place *at, const char *name, const struct bp_value *v)
{
	struct bp_value *old = find_in(s, name);
	size_t room = s->room ? s->room * 2 : 16;
	struct bp_var *vars;

	if (old) {
		*old = *v;
		return 0;
	}
	if (s->n >= VARS_MAX)
		return over_budget(r, at, "variables");
	if (s->n == s->room) {
		vars = stage_arena_array(&r->arena, room, sizeof(*vars));
		if (!vars)
			return -ENOMEM;
		if (s->n)
			memcpy(vars, s->v, s->n * sizeof(*vars));
		s->v = vars;
		s->room = room;
	}
	s->v[s->n++] = (struct bp_var){ name, *v };
	return 0;
}

static int set_var(struct bp_run *r, const struct bp_place *at,
	const char *name, const struct bp_value *v)
{
	return set_in(r, r->locals ? r->locals : &r->globals, at, name, v);
}

int stage_bp_set_global(struct bp_run *r, const struct bp_place *at,
	const char *name, const struct bp_value *v)
{
	return set_in(r, &r->globals, at, name, v);
}

const struct bp_value *stage_bp_find(struct bp_run *r, const char *name)
{
	const struct bp_value *v = find_in(r->locals, name);

	return v ? v : find_in(&r->globals, name);
}

/* ---- expressions ----------------------------------------------------------- */

static int eval_string(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	char text[BP_STRING_MAX];
	size_t len = 0;
	int err;

	text[0] = '\0';
	for (size_t i = 0; i < e->n_args; i++) {
		struct bp_value v;

		err = stage_bp_eval(r, e->args[i].e, &v);
		if (!err)
			err = stage_bp_to_text(r, &e->at, &v, text + len,
				sizeof(text) - len);
		if (err)
			return err;
		len += strlen(text + len);
	}
	*ret = (struct bp_value){ .kind = BP_V_TEXT,
		.s = stage_arena_copy(&r->arena, text, len) };
	return ret->s ? 0 : -ENOMEM;
}

static int eval_weight(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_tensor *t;
	struct bp_value name;
	int err = stage_bp_eval(r, e->a, &name);

	if (!err)
		err = stage_bp_weight(r, &e->at, name.s, &t);
	if (!err)
		*ret = stage_bp_tensor(t);
	return err;
}

static int eval_list(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_value *v = stage_arena_array(&r->arena, e->n_args + 1,
		sizeof(*v));
	int err = v ? 0 : -ENOMEM;

	for (size_t i = 0; i < e->n_args && !err; i++)
		err = stage_bp_eval(r, e->args[i].e, &v[i]);
	if (!err)
		*ret = (struct bp_value){ .kind = BP_V_LIST, .n = e->n_args,
			.list = v };
	return err;
}

static int eval_condition(struct bp_run *r, const struct bp_expr *e, bool *ret)
{
	struct bp_value v;
	int err = stage_bp_eval(r, e, &v);

	if (!err && v.kind != BP_V_BOOL)
		err = stage_bp_fail(r, &e->at, "a condition that is %s",
			stage_bp_kind_name(&v));
	if (!err)
		*ret = v.b;
	return err;
}

static int eval_binary(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	bool is_or = e->punct == BP_P2('|', '|');
	struct bp_value a, b;
	bool first;
	int err;

	if (is_or || e->punct == BP_P2('&', '&')) {
		err = eval_condition(r, e->a, &first);
		if (!err && first != is_or)
			err = eval_condition(r, e->b, &first);
		if (!err)
			*ret = stage_bp_bool(first);
		return err;
	}
	err = stage_bp_eval(r, e->a, &a);
	if (!err && e->punct == BP_P2('?', '?')) {
		if (a.kind == BP_V_NONE)
			return stage_bp_eval(r, e->b, ret);
		*ret = a;
		return 0;
	}
	if (!err)
		err = stage_bp_eval(r, e->b, &b);
	return err ? err : stage_bp_binary(r, e, &a, &b, ret);
}

static int eval_index(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_value a, i;
	int err = stage_bp_eval(r, e->a, &a);

	if (!err)
		err = stage_bp_eval(r, e->b, &i);
	if (err)
		return err;
	if (a.kind == BP_V_OBJECT && i.kind == BP_V_TEXT)
		return stage_bp_from_json(r, &e->at,
			json_object_get(a.object, i.s), ret);
	if (a.kind != BP_V_LIST || i.kind != BP_V_INT)
		return stage_bp_fail(r, &e->at, "%s has no [%s]",
			stage_bp_kind_name(&a), stage_bp_kind_name(&i));
	if (i.i < 0 || (uint64_t)i.i >= a.n)
		return stage_bp_fail(r, &e->at, "item %lld of a list of %zu",
			(long long)i.i, a.n);
	*ret = a.list[i.i];
	return 0;
}

static int eval_field(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_value a;
	int err = stage_bp_eval(r, e->a, &a);

	if (!err && a.kind != BP_V_OBJECT)
		err = stage_bp_fail(r, &e->at, "%s has no .%s",
			stage_bp_kind_name(&a), e->name);
	if (!err && a.object == r->args->config)
		err = stage_bp_key_seen(r, e->name);
	return err ? err : stage_bp_from_json(r, &e->at,
		json_object_get(a.object, e->name), ret);
}

/* ---- operators and calls --------------------------------------------------- */

static int attr_ints(struct bp_run *r, const struct bp_value *v,
	struct stage_attr *ret)
{
	int64_t *ints = stage_arena_array(&r->arena, v->n + 1, sizeof(*ints));

	if (!ints)
		return -ENOMEM;
	for (size_t i = 0; i < v->n; i++) {
		if (v->list[i].kind != BP_V_INT)
			return -EINVAL;
		ints[i] = v->list[i].i;
	}
	ret->ints = ints;
	ret->n = v->n;
	return 0;
}

static int attr_value(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *v, struct stage_attr *ret)
{
	int err = -EINVAL;

	if (ret->kind == STAGE_ATTR_INT &&
	    (v->kind == BP_V_INT || v->kind == BP_V_BOOL)) {
		ret->i = v->kind == BP_V_INT ? v->i : v->b;
		return 0;
	}
	if (ret->kind == STAGE_ATTR_FLOAT &&
	    (v->kind == BP_V_FLOAT || v->kind == BP_V_INT)) {
		ret->f = v->kind == BP_V_FLOAT ? (float)v->f : (float)v->i;
		return 0;
	}
	if (ret->kind == STAGE_ATTR_STRING && v->kind == BP_V_TEXT) {
		ret->s = v->s;
		return 0;
	}
	if (ret->kind == STAGE_ATTR_INTS && v->kind == BP_V_LIST)
		err = attr_ints(r, v, ret);
	if (err == -EINVAL)
		return stage_bp_fail(r, &e->at, "%s: attribute %s cannot be "
			"%s", e->name, ret->name, stage_bp_kind_name(v));
	return err;
}

static int eval_inputs(struct bp_run *r, const struct bp_expr *e,
	struct bp_tensor **in, size_t *n_in, struct stage_attr *attrs,
	size_t *n_attrs)
{
	int err = 0;

	for (size_t i = 0; i < e->n_args && !err; i++) {
		const struct bp_arg *a = &e->args[i];
		struct bp_value v = { .kind = BP_V_NONE };

		if (a->e->kind != BP_E_OMIT)
			err = stage_bp_eval(r, a->e, &v);
		if (err)
			return err;
		if (!a->name) {
			err = stage_bp_operand(r, &a->e->at, &v, 0,
				&in[(*n_in)++]);
		} else if (v.kind != BP_V_NONE) {
			struct stage_attr *at = &attrs[(*n_attrs)++];

			at->name = a->name;
			at->kind = stage_op_attr(e->op, a->name)->kind;
			err = attr_value(r, e, &v, at);
		}
	}
	while (!err && *n_in && !in[*n_in - 1])
		(*n_in)--;
	return err;
}

int stage_bp_eval_op(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret, size_t n)
{
	struct bp_tensor *in[STAGE_OP_INPUTS_MAX];
	struct bp_tensor *out[STAGE_OP_OUTPUTS_MAX];
	struct stage_attr *attrs;
	size_t n_in = 0, n_attrs = 0;
	int err;

	if (n > STAGE_OP_OUTPUTS_MAX)
		return over_budget(r, &e->at, "outputs of one operator");
	attrs = stage_arena_array(&r->arena, e->n_args + 1, sizeof(*attrs));
	if (!attrs)
		return -ENOMEM;
	err = eval_inputs(r, e, in, &n_in, attrs, &n_attrs);
	if (!err)
		err = stage_bp_emit(r, &e->at, e->op, in, n_in, attrs,
			n_attrs, out, n);
	for (size_t i = 0; i < n && !err; i++)
		ret[i] = stage_bp_tensor(out[i]);
	return err;
}

static int eval_builtin(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_value args[4];
	int err = 0;

	for (size_t i = 0; i < e->n_args && !err; i++)
		err = stage_bp_eval(r, e->args[i].e, &args[i]);
	return err ? err : e->builtin->fn(r, e, args, ret);
}

static int bind_params(struct bp_run *r, const struct bp_expr *e,
	struct bp_scope *scope, const char **path)
{
	int err = 0;

	for (size_t i = 0; i < e->n_args && !err; i++) {
		const struct bp_param *p = &e->def->params[i];
		struct bp_value v;

		err = stage_bp_eval(r, e->args[i].e ? e->args[i].e : p->dflt,
			&v);
		if (!err && p->path) {
			if (v.kind != BP_V_TEXT)
				err = stage_bp_fail(r, &e->at, "%s: %s must "
					"be a path", e->name, p->name);
			else
				*path = v.s;
		}
		if (!err)
			err = set_in(r, scope, &e->at, p->name, &v);
	}
	return err;
}

static int eval_call(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_scope scope = { NULL, 0, 0 };
	struct bp_scope *caller = r->locals;
	const char *path = r->path, *caller_path = r->path;
	int err = bind_params(r, e, &scope, &path);

	if (err)
		return err;
	r->locals = &scope;
	r->path = path;
	err = stage_bp_exec(r, &e->def->body);
	r->locals = caller;
	r->path = caller_path;
	if (err < 0)
		return err;
	if (err)
		*ret = r->result;
	else
		*ret = (struct bp_value){ .kind = BP_V_NONE };
	return 0;
}

static int eval_unary(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	struct bp_value a;
	int err = stage_bp_eval(r, e->a, &a);

	return err ? err : stage_bp_unary(r, e, &a, ret);
}

static int eval_cond(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	bool yes;
	int err = eval_condition(r, e->a, &yes);

	return err ? err : stage_bp_eval(r, yes ? e->b : e->c, ret);
}

static int eval_name(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	const struct bp_value *v = stage_bp_find(r, e->name);

	if (!v)
		return stage_bp_fail(r, &e->at, "%s is not set", e->name);
	*ret = *v;
	return 0;
}

static int eval_kind(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	*ret = (struct bp_value){ .kind = BP_V_NONE };
	switch (e->kind) {
	case BP_E_NONE:
	case BP_E_OMIT:
		return 0;
	case BP_E_BOOL:
		*ret = stage_bp_bool(e->i != 0);
		return 0;
	case BP_E_INT:
		*ret = stage_bp_int(e->i);
		return 0;
	case BP_E_FLOAT:
		*ret = (struct bp_value){ .kind = BP_V_FLOAT, .f = e->f };
		return 0;
	case BP_E_TEXT:
		*ret = (struct bp_value){ .kind = BP_V_TEXT, .s = e->name };
		return 0;
	case BP_E_STRING:
		return eval_string(r, e, ret);
	case BP_E_WEIGHT:
		return eval_weight(r, e, ret);
	case BP_E_NAME:
		return eval_name(r, e, ret);
	case BP_E_LIST:
		return eval_list(r, e, ret);
	case BP_E_UNARY:
		return eval_unary(r, e, ret);
	case BP_E_BINARY:
		return eval_binary(r, e, ret);
	case BP_E_COND:
		return eval_cond(r, e, ret);
	case BP_E_INDEX:
		return eval_index(r, e, ret);
	case BP_E_FIELD:
		return eval_field(r, e, ret);
	case BP_E_OP:
		return stage_bp_eval_op(r, e, ret, 1);
	case BP_E_BUILTIN:
		return eval_builtin(r, e, ret);
	case BP_E_CALL:
		return eval_call(r, e, ret);
	}
	return -EINVAL;
}

int stage_bp_eval(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret)
{
	int err;

	if (++r->steps > BP_STEPS_MAX)
		return over_budget(r, &e->at, "steps");
	if (r->depth >= BP_DEPTH_MAX)
		return over_budget(r, &e->at, "expressions in each other");
	r->depth++;
	err = eval_kind(r, e, ret);
	r->depth--;
	return err;
}

/* ---- statements ------------------------------------------------------------ */

static int exec_set(struct bp_run *r, const struct bp_stmt *s)
{
	struct bp_value v[STAGE_OP_OUTPUTS_MAX];
	int err;

	if (s->n_names > STAGE_OP_OUTPUTS_MAX)
		return over_budget(r, &s->at, "outputs of one operator");
	err = s->n_names == 1 ? stage_bp_eval(r, s->a, &v[0]) :
		stage_bp_eval_op(r, s->a, v, s->n_names);
	for (size_t i = 0; i < s->n_names && !err; i++)
		err = set_var(r, &s->at, s->names[i], &v[i]);
	return err;
}

static int exec_for(struct bp_run *r, const struct bp_stmt *s)
{
	struct bp_value over;
	int err = stage_bp_eval(r, s->a, &over);

	if (!err && over.kind != BP_V_LIST)
		err = stage_bp_fail(r, &s->at, "a loop over %s",
			stage_bp_kind_name(&over));
	for (size_t i = 0; !err && i < over.n; i++) {
		if (++r->steps > BP_STEPS_MAX)
			return over_budget(r, &s->at, "steps");
		err = set_var(r, &s->at, s->names[0], &over.list[i]);
		if (!err)
			err = stage_bp_exec(r, &s->body);
	}
	return err;
}

static int exec_if(struct bp_run *r, const struct bp_stmt *s)
{
	bool yes;
	int err = eval_condition(r, s->a, &yes);

	return err ? err : stage_bp_exec(r, yes ? &s->body : &s->other);
}

static int exec_match(struct bp_run *r, const struct bp_stmt *s)
{
	struct bp_value v, c;
	int err = stage_bp_eval(r, s->a, &v);

	for (size_t i = 0; i < s->n_cases && !err; i++) {
		for (size_t k = 0; k < s->cases[i].n_values && !err; k++) {
			err = stage_bp_eval(r, s->cases[i].values[k].e, &c);
			if (!err && stage_bp_equal(&v, &c))
				return stage_bp_exec(r, &s->cases[i].body);
		}
	}
	return err ? err : stage_bp_exec(r, &s->other);
}

static int exec_refuse(struct bp_run *r, const struct bp_stmt *s)
{
	struct bp_value text;
	bool refused = true;
	int err = s->b ? eval_condition(r, s->b, &refused) : 0;

	if (err || !refused)
		return err;
	err = stage_bp_eval(r, s->a, &text);
	return err ? err : stage_bp_fail(r, &s->at, "%s", text.s);
}

static int exec_stmt(struct bp_run *r, const struct bp_stmt *s)
{
	struct bp_value ignored;
	int err;

	switch (s->kind) {
	case BP_S_SET:
		return exec_set(r, s);
	case BP_S_CALL:
		return stage_bp_eval(r, s->a, &ignored);
	case BP_S_FOR:
		return exec_for(r, s);
	case BP_S_IF:
		return exec_if(r, s);
	case BP_S_MATCH:
		return exec_match(r, s);
	case BP_S_RETURN:
		err = stage_bp_eval(r, s->a, &r->result);
		return err ? err : 1;
	case BP_S_REFUSE:
		return exec_refuse(r, s);
	case BP_S_INPUT:
		return stage_bp_input(r, s);
	case BP_S_OUTPUT:
		return stage_bp_output(r, s);
	case BP_S_ASSUME:
		return stage_bp_assume(r, s);
	case BP_S_IGNORE:
		return stage_bp_ignore(r, s);
	}
	return -EINVAL;
}

int stage_bp_exec(struct bp_run *r, const struct bp_block *b)
{
	int err = 0;

	for (size_t i = 0; i < b->n && !err; i++)
		err = exec_stmt(r, &b->v[i]);
	return err;
}
