/*
 * Expressions of a blueprint, by precedence climbing. Calls are bound while
 * parsing: a def can only name defs that stand before it, which is what makes
 * recursion impossible, and an operator or attribute ONNX does not have is
 * found when the file is read and not when a model needs it.
 */
#include "config.h"

#include <string.h>

#include "stage/blueprint-parse.h"
#include "stage/shape.h"

/* ---- strings and weights ---------------------------------------------------- */

static int add_text(struct bp_parser *p, struct bp_items *parts,
	const char *text, size_t len)
{
	struct bp_arg *part;
	struct bp_expr *e;
	int r = 0;

	if (!len)
		return 0;
	part = stage_bp_item(p, parts, sizeof(*part), &r);
	if (!part)
		return r;
	e = stage_bp_expr_new(p, BP_E_TEXT);
	if (e)
		e->name = stage_arena_copy(&p->bp->arena, text, len);
	if (!e || !e->name)
		return stage_bp_no_memory(p);
	part->e = e;
	return 0;
}

/* The expression in {…}, len bytes at `at`; col is that of `at`. */
static int add_inner(struct bp_parser *p, struct bp_items *parts,
	const char *at, size_t len, unsigned col)
{
	struct bp_parser inner = {
		.lex = { p->lex.file, at, at + len, p->tok.line, col, false,
			p->why },
		.bp = p->bp, .why = p->why, .nest = p->nest,
	};
	struct bp_arg *part;
	int r = 0;

	part = stage_bp_item(p, parts, sizeof(*part), &r);
	if (part)
		r = stage_bp_advance(&inner);
	if (part && !r)
		r = stage_bp_advance(&inner);
	if (part && !r)
		r = stage_bp_parse_expr(&inner, &part->e);
	if (!r && inner.tok.kind != BP_T_END)
		r = stage_bp_expected(&inner, "'}'");
	return r;
}

static int parts_of(struct bp_parser *p, const char *at, size_t len,
	unsigned col, bool escapes, struct bp_items *parts)
{
	char text[BP_STRING_MAX];
	size_t n = 0, end;
	int r = 0;

	for (size_t i = 0; i < len && !r; i++) {
		if (n >= sizeof(text))
			return stage_bp_expected(p, "a shorter string");
		if (escapes && at[i] == '\\') {
			i++;
			text[n++] = at[i] == 'n' ? '\n' : at[i];
		} else if (at[i] == '{') {
			r = add_text(p, parts, text, n);
			n = 0;
			for (end = i + 1; end < len && at[end] != '}';)
				end++;
			if (end == len)
				return stage_bp_expected(p,
					"a string whose '{' is closed");
			if (!r)
				r = add_inner(p, parts, at + i + 1,
					end - i - 1, col + (unsigned)i + 1);
			i = end;
		} else {
			text[n++] = at[i];
		}
	}
	return r ? r : add_text(p, parts, text, n);
}

int stage_bp_parse_string(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_items parts = { NULL, 0, 0 };
	bool weight = p->tok.kind == BP_T_WEIGHT;
	struct bp_expr *e;
	int r;

	if (p->tok.kind != BP_T_STRING && !weight)
		return stage_bp_expected(p, "a string");
	e = stage_bp_expr_new(p, BP_E_STRING);
	if (!e)
		return stage_bp_no_memory(p);
	r = parts_of(p, p->tok.at, p->tok.len, p->tok.col + 1, !weight,
		&parts);
	if (!r)
		r = stage_bp_advance(p);
	if (r)
		return r;
	e->args = parts.v;
	e->n_args = parts.n;
	*ret = e;
	return 0;
}

static int parse_weight(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_expr *e = stage_bp_expr_new(p, BP_E_WEIGHT);

	if (!e)
		return stage_bp_no_memory(p);
	*ret = e;
	return stage_bp_parse_string(p, &e->a);
}

/* ---- calls ----------------------------------------------------------------- */

static int call_fail(struct bp_parser *p, const struct bp_expr *e,
	const char *what, const char *name)
{
	return error_set(p->why, -EINVAL, "%s:%u:%u: %s %s%s", e->at.file,
		e->at.line, e->at.col, e->name, what, name);
}

static const struct bp_def *find_def(const struct stage_blueprint *bp,
	const char *name)
{
	for (; bp; bp = bp->lib)
		for (const struct bp_def *d = bp->defs; d; d = d->before)
			if (!strcmp(d->name, name))
				return d;
	return NULL;
}

static int bind_op(struct bp_parser *p, struct bp_expr *e)
{
	size_t inputs = 0;

	e->kind = BP_E_OP;
	e->op = stage_op_find(e->name);
	if (!e->op)
		return call_fail(p, e, "is no operator with a shape rule", "");
	for (size_t i = 0; i < e->n_args; i++) {
		const char *name = e->args[i].name;

		if (!name)
			inputs++;
		else if (!stage_op_attr(e->op, name))
			return call_fail(p, e, "has no attribute ", name);
	}
	if (inputs < e->op->min_in || inputs > e->op->max_in)
		return call_fail(p, e, "has another number of inputs", "");
	return 0;
}

static int bind_builtin(struct bp_parser *p, struct bp_expr *e)
{
	e->kind = BP_E_BUILTIN;
	if (e->n_args != e->builtin->n_args)
		return call_fail(p, e, "has another number of arguments", "");
	for (size_t i = 0; i < e->n_args; i++)
		if (e->args[i].name || e->args[i].e->kind == BP_E_OMIT)
			return call_fail(p, e, "takes no named arguments", "");
	return 0;
}

static size_t param_index(const struct bp_def *d, const char *name)
{
	size_t i = 0;

	while (i < d->n_params && strcmp(d->params[i].name, name) != 0)
		i++;
	return i;
}

/* Puts the arguments in the order of the parameters; NULL: the default. */
static int bind_def(struct bp_parser *p, struct bp_expr *e)
{
	const struct bp_def *d = e->def;
	struct bp_arg *by_param;

	e->kind = BP_E_CALL;
	by_param = stage_arena_array(&p->bp->arena, d->n_params + 1,
		sizeof(*by_param));
	if (!by_param)
		return stage_bp_no_memory(p);
	for (size_t i = 0; i < e->n_args; i++) {
		const char *name = e->args[i].name;
		size_t k = name ? param_index(d, name) : i;

		if (k >= d->n_params)
			return call_fail(p, e, "has no parameter ",
				name ? name : "so far to the right");
		if (by_param[k].e)
			return call_fail(p, e, "is given twice: ",
				d->params[k].name);
		if (e->args[i].e->kind == BP_E_OMIT)
			return call_fail(p, e, "is no operator: ", "_");
		by_param[k].e = e->args[i].e;
	}
	for (size_t k = 0; k < d->n_params; k++)
		if (!by_param[k].e && !d->params[k].dflt)
			return call_fail(p, e, "needs ", d->params[k].name);
	e->args = by_param;
	e->n_args = d->n_params;
	return 0;
}

static int parse_args(struct bp_parser *p, struct bp_expr *e)
{
	struct bp_items items = { NULL, 0, 0 };
	bool named = false;
	int r = 0;

	while (!r && !stage_bp_is(p, BP_P1(')'))) {
		struct bp_arg *a = stage_bp_item(p, &items, sizeof(*a), &r);

		if (a && p->tok.kind == BP_T_NAME &&
		    p->next.kind == BP_T_PUNCT && p->next.punct == BP_P1('=')) {
			named = true;
			r = stage_bp_name(p, &a->name);
			if (!r)
				r = stage_bp_advance(p);
		} else if (a && named) {
			r = stage_bp_expected(p, "a named argument");
		}
		if (a && !r && stage_bp_is_word(p, "_")) {
			a->e = stage_bp_expr_new(p, BP_E_OMIT);
			r = a->e ? stage_bp_advance(p) : stage_bp_no_memory(p);
		} else if (a && !r) {
			r = stage_bp_parse_expr(p, &a->e);
		}
		if (!r && !stage_bp_is(p, BP_P1(')')))
			r = stage_bp_expect(p, BP_P1(','));
	}
	e->args = items.v;
	e->n_args = items.n;
	return r ? r : stage_bp_advance(p);
}

static int parse_call(struct bp_parser *p, struct bp_expr *e)
{
	int r = stage_bp_expect(p, BP_P1('('));

	if (!r)
		r = parse_args(p, e);
	if (r)
		return r;
	if (e->name[0] >= 'A' && e->name[0] <= 'Z')
		return bind_op(p, e);
	e->def = find_def(p->bp, e->name);
	if (e->def)
		return bind_def(p, e);
	e->builtin = stage_bp_builtin(e->name);
	if (e->builtin)
		return bind_builtin(p, e);
	return call_fail(p, e, "is not defined before this line", "");
}

/* ---- terms ----------------------------------------------------------------- */

int stage_bp_parse_list(struct bp_parser *p, unsigned close,
	struct bp_arg **ret, size_t *ret_n)
{
	struct bp_items items = { NULL, 0, 0 };
	int r = 0;

	while (!r && !stage_bp_is(p, close)) {
		struct bp_arg *a = stage_bp_item(p, &items, sizeof(*a), &r);

		if (a)
			r = stage_bp_parse_expr(p, &a->e);
		if (!r && !stage_bp_is(p, close))
			r = stage_bp_expect(p, BP_P1(','));
	}
	if (!r)
		r = stage_bp_advance(p);
	if (r)
		return r;
	*ret = items.v;
	*ret_n = items.n;
	return 0;
}

static int parse_bracket(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_expr *e = NULL;
	int r = stage_bp_enter(p);

	if (!r && stage_bp_is(p, BP_P1('('))) {
		r = stage_bp_advance(p);
		if (!r)
			r = stage_bp_parse_expr(p, &e);
		if (!r)
			r = stage_bp_expect(p, BP_P1(')'));
	} else if (!r) {
		e = stage_bp_expr_new(p, BP_E_LIST);
		r = e ? stage_bp_advance(p) : stage_bp_no_memory(p);
		if (!r)
			r = stage_bp_parse_list(p, BP_P1(']'), &e->args,
				&e->n_args);
	}
	p->nest--;
	if (!r)
		*ret = e;
	return r;
}

static int parse_word(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_expr *e = stage_bp_expr_new(p, BP_E_NAME);
	bool literal = true;
	int r;

	if (!e)
		return stage_bp_no_memory(p);
	*ret = e;
	if (stage_bp_is_word(p, "none"))
		e->kind = BP_E_NONE;
	else if (stage_bp_is_word(p, "true") || stage_bp_is_word(p, "false"))
		e->kind = BP_E_BOOL;
	else
		literal = false;
	e->i = stage_bp_is_word(p, "true");
	if (literal)
		return stage_bp_advance(p);
	r = stage_bp_name(p, &e->name);
	if (!r && stage_bp_is(p, BP_P1('(')) && !p->tok.first)
		r = parse_call(p, e);
	return r;
}

static int parse_term(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_expr *e;

	switch (p->tok.kind) {
	case BP_T_INT:
	case BP_T_FLOAT:
		e = stage_bp_expr_new(p, p->tok.kind == BP_T_INT ? BP_E_INT :
			BP_E_FLOAT);
		if (!e)
			return stage_bp_no_memory(p);
		e->i = p->tok.i;
		e->f = p->tok.f;
		*ret = e;
		return stage_bp_advance(p);
	case BP_T_STRING:
		return stage_bp_parse_string(p, ret);
	case BP_T_WEIGHT:
		return parse_weight(p, ret);
	case BP_T_NAME:
		return parse_word(p, ret);
	case BP_T_PUNCT:
		if (stage_bp_is(p, BP_P1('(')) || stage_bp_is(p, BP_P1('[')))
			return parse_bracket(p, ret);
		break;
	case BP_T_END:
		break;
	}
	return stage_bp_expected(p, "an expression");
}

/* a.name and a[b], as often as they come on the same line. */
static int parse_postfix(struct bp_parser *p, struct bp_expr **ret)
{
	int r = parse_term(p, ret);

	while (!r && !p->tok.first && (stage_bp_is(p, BP_P1('.')) ||
	    stage_bp_is(p, BP_P1('[')))) {
		bool field = stage_bp_is(p, BP_P1('.'));
		struct bp_expr *e = stage_bp_expr_new(p,
			field ? BP_E_FIELD : BP_E_INDEX);

		if (!e)
			return stage_bp_no_memory(p);
		e->a = *ret;
		*ret = e;
		r = stage_bp_advance(p);
		if (!r && field) {
			r = stage_bp_name(p, &e->name);
		} else if (!r) {
			r = stage_bp_parse_expr(p, &e->b);
			if (!r)
				r = stage_bp_expect(p, BP_P1(']'));
		}
	}
	return r;
}

static int parse_unary(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_expr *e;
	int r;

	if (!stage_bp_is(p, BP_P1('-')) && !stage_bp_is(p, BP_P1('!')))
		return parse_postfix(p, ret);
	e = stage_bp_expr_new(p, BP_E_UNARY);
	if (!e)
		return stage_bp_no_memory(p);
	e->punct = p->tok.punct;
	r = stage_bp_enter(p);
	if (!r)
		r = stage_bp_advance(p);
	if (!r)
		r = parse_unary(p, &e->a);
	p->nest--;
	*ret = e;
	return r;
}

/* ---- precedence ------------------------------------------------------------ */

/* 0: no binary operator. Higher binds tighter. */
static unsigned precedence(const struct bp_parser *p)
{
	if (stage_bp_is_word(p, "in"))
		return 5;
	if (p->tok.kind != BP_T_PUNCT)
		return 0;
	switch (p->tok.punct) {
	case BP_P2('|', '|'):
		return 2;
	case BP_P2('&', '&'):
		return 3;
	case BP_P2('=', '='):
	case BP_P2('!', '='):
		return 4;
	case BP_P1('<'):
	case BP_P1('>'):
	case BP_P2('<', '='):
	case BP_P2('>', '='):
		return 5;
	case BP_P2('.', '.'):
		return 6;
	case BP_P1('+'):
	case BP_P1('-'):
		return 7;
	case BP_P1('*'):
	case BP_P1('/'):
	case BP_P1('%'):
		return 8;
	case BP_P2('?', '?'):
		return 9;
	default:
		return 0;
	}
}

static int parse_binary(struct bp_parser *p, unsigned above,
	struct bp_expr **ret)
{
	int r = stage_bp_enter(p);

	if (!r)
		r = parse_unary(p, ret);
	while (!r && precedence(p) > above) {
		unsigned level = precedence(p);
		struct bp_expr *e = stage_bp_expr_new(p, BP_E_BINARY);

		if (!e)
			r = stage_bp_no_memory(p);
		if (r)
			break;
		e->punct = p->tok.kind == BP_T_NAME ? BP_IN : p->tok.punct;
		e->a = *ret;
		*ret = e;
		r = stage_bp_advance(p);
		if (!r)
			r = parse_binary(p, level, &e->b);
	}
	p->nest--;
	return r;
}

int stage_bp_parse_expr(struct bp_parser *p, struct bp_expr **ret)
{
	struct bp_expr *e;
	int r = parse_binary(p, 0, ret);

	if (r || !stage_bp_is(p, BP_P1('?')))
		return r;
	e = stage_bp_expr_new(p, BP_E_COND);
	if (!e)
		return stage_bp_no_memory(p);
	e->a = *ret;
	*ret = e;
	r = stage_bp_enter(p);
	if (!r)
		r = stage_bp_advance(p);
	if (!r)
		r = stage_bp_parse_expr(p, &e->b);
	if (!r)
		r = stage_bp_expect(p, BP_P1(':'));
	if (!r)
		r = stage_bp_parse_expr(p, &e->c);
	p->nest--;
	return r;
}
