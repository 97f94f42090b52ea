/*
 * Expressions of TorchScript to trees, by recursive descent; how deep is
 * bounded. The printer writes operators as calls (torch.add), so that there is
 * no table of precedences.
 */
#include "config.h"

#include "stage/script-parse.h"

struct ts_expr *stage_ts_expr_new(struct ts_parser *p, enum ts_expr_kind kind)
{
	struct ts_expr *e = stage_arena_alloc(p->arena, sizeof(*e));

	if (e) {
		e->kind = kind;
		e->line = p->t.line;
	}
	return e;
}

/* Expressions up to `close`; commas between and at the end. */
static int parse_items(struct ts_parser *p, char close, bool pairs,
	struct ts_items *l, bool *ret_comma)
{
	int r = 0;

	*ret_comma = false;
	while (!r && !at(p, close)) {
		struct ts_expr *e = NULL;

		r = stage_ts_parse_expr(p, &e);
		if (!r)
			r = push(p, l, e);
		if (!r && pairs && l->n % 2) {
			r = expect(p, ':');
			continue;
		}
		*ret_comma = !r && at(p, ',');
		if (!r && !at(p, close))
			r = expect(p, ',');
	}
	return r ? r : next(p);
}

static int parse_group(struct ts_parser *p, char close, enum ts_expr_kind kind,
	struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, kind);
	struct ts_items l = { NULL, 0, 0 };
	bool comma;
	int r = e ? next(p) : -ENOMEM;

	if (!r)
		r = parse_items(p, close, kind == TS_E_DICT, &l, &comma);
	if (r)
		return r;
	e->v = (struct ts_expr **)l.v;
	e->n = l.n;
	/* (a) is a itself. */
	*ret = kind == TS_E_TUPLE && l.n == 1 && !comma ? e->v[0] : e;
	return 0;
}

int stage_ts_parse_name(struct ts_parser *p, struct ts_expr **ret)
{
	static const struct {
		const char *name;
		enum ts_expr_kind kind;
	} words[] = { { "None", TS_E_NONE }, { "True", TS_E_TRUE },
		{ "False", TS_E_FALSE } };
	struct ts_expr *e = stage_ts_expr_new(p, TS_E_NAME);

	if (!e)
		return -ENOMEM;
	e->text = p->t.text;
	e->len = p->t.len;
	for (size_t i = 0; i < 3; i++)
		if (!strcmp(e->text, words[i].name))
			e->kind = words[i].kind;
	*ret = e;
	return next(p);
}

static int parse_literal(struct ts_parser *p, enum ts_expr_kind kind,
	struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, kind);

	if (!e)
		return -ENOMEM;
	e->text = p->t.text;
	e->len = p->t.len;
	e->i = p->t.i;
	e->f = p->t.f;
	*ret = e;
	return next(p);
}

static int parse_prefix(struct ts_parser *p, enum ts_expr_kind kind,
	struct ts_expr **ret);

static int parse_atom(struct ts_parser *p, struct ts_expr **ret)
{
	switch (p->t.kind) {
	case TS_T_NAME:
		return at_name(p, "not") ? parse_prefix(p, TS_E_NOT, ret) :
			stage_ts_parse_name(p, ret);
	case TS_T_INT:
		return parse_literal(p, TS_E_INT, ret);
	case TS_T_FLOAT:
		return parse_literal(p, TS_E_FLOAT, ret);
	case TS_T_STR:
		return parse_literal(p, TS_E_STR, ret);
	default:
		break;
	}
	if (at(p, '('))
		return parse_group(p, ')', TS_E_TUPLE, ret);
	if (at(p, '['))
		return parse_group(p, ']', TS_E_LIST, ret);
	if (at(p, '{'))
		return parse_group(p, '}', TS_E_DICT, ret);
	if (at(p, '-'))
		return parse_prefix(p, TS_E_NEG, ret);
	return bad(p, "an expression is missing");
}

/* One argument: NAME = value, or value. A name alone cannot be told from a
 * keyword before the next token. */
static int parse_arg(struct ts_parser *p, struct ts_expr **ret,
	const char **ret_key)
{
	int r = stage_ts_parse_expr(p, ret);

	*ret_key = NULL;
	if (r || !at(p, '='))
		return r;
	if ((*ret)->kind != TS_E_NAME)
		return bad(p, "a keyword that is no name");
	*ret_key = (*ret)->text;
	r = next(p);
	return r ? r : stage_ts_parse_expr(p, ret);
}

static int parse_call(struct ts_parser *p, struct ts_expr *fn,
	struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, TS_E_CALL);
	struct ts_items l = { NULL, 0, 0 }, keys = { NULL, 0, 0 };
	int r = e ? push(p, &l, fn) : -ENOMEM;

	if (!r)
		r = next(p);
	while (!r && !at(p, ')')) {
		struct ts_expr *arg = NULL;
		const char *key = NULL;

		r = parse_arg(p, &arg, &key);
		if (!r)
			r = push(p, &l, arg);
		if (!r)
			r = push(p, &keys, (void *)(uintptr_t)key);
		if (!r && !at(p, ')'))
			r = expect(p, ',');
	}
	if (r)
		return r;
	e->v = (struct ts_expr **)l.v;
	e->n = l.n;
	if (keys.n) {
		e->keys = stage_arena_array(p->arena, keys.n,
			sizeof(*e->keys));
		if (!e->keys)
			return -ENOMEM;
	}
	for (size_t i = 0; i < keys.n; i++)
		e->keys[i] = keys.v[i];
	*ret = e;
	return next(p);
}

static int parse_attr(struct ts_parser *p, struct ts_expr *of,
	struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, TS_E_ATTR);
	struct ts_items l = { NULL, 0, 0 };
	int r = e ? push(p, &l, of) : -ENOMEM;

	if (!r)
		r = next(p);
	if (r)
		return r;
	if (p->t.kind != TS_T_NAME)
		return bad(p, "a name is missing behind the dot");
	e->text = p->t.text;
	e->len = p->t.len;
	e->v = (struct ts_expr **)l.v;
	e->n = 1;
	*ret = e;
	return next(p);
}

static int parse_index(struct ts_parser *p, struct ts_expr *of,
	struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, TS_E_INDEX);
	struct ts_items l = { NULL, 0, 0 };
	bool comma;
	int r = e ? push(p, &l, of) : -ENOMEM;

	if (!r)
		r = next(p);
	if (!r)
		r = parse_items(p, ']', false, &l, &comma);
	if (r)
		return r;
	e->v = (struct ts_expr **)l.v;
	e->n = l.n;
	*ret = e;
	return 0;
}

static int parse_postfix(struct ts_parser *p, struct ts_expr **ret)
{
	int r = parse_atom(p, ret);

	/* Every suffix makes the tree one deeper. */
	for (unsigned n = 0; !r; n++) {
		if (n > TS_NEST_MAX)
			return bad(p, "nested too deeply");
		if (at(p, '.'))
			r = parse_attr(p, *ret, ret);
		else if (at(p, '('))
			r = parse_call(p, *ret, ret);
		else if (at(p, '['))
			r = parse_index(p, *ret, ret);
		else
			break;
	}
	return r;
}

static int parse_prefix(struct ts_parser *p, enum ts_expr_kind kind,
	struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, kind), *of = NULL;
	struct ts_items l = { NULL, 0, 0 };
	int r = e ? next(p) : -ENOMEM;

	if (++p->depth > TS_NEST_MAX)
		return bad(p, "nested too deeply");
	if (!r)
		r = parse_postfix(p, &of);
	if (!r)
		r = push(p, &l, of);
	p->depth--;
	if (r)
		return r;
	e->v = (struct ts_expr **)l.v;
	e->n = 1;
	*ret = e;
	return 0;
}

/* a if c else b */
static int parse_cond(struct ts_parser *p, struct ts_expr **ret)
{
	struct ts_expr *e = stage_ts_expr_new(p, TS_E_COND);
	struct ts_expr *c = NULL, *other = NULL;
	struct ts_items l = { NULL, 0, 0 };
	int r = e ? next(p) : -ENOMEM;

	if (!r)
		r = parse_postfix(p, &c);
	if (!r && !at_name(p, "else"))
		r = bad(p, "else is missing");
	if (!r)
		r = next(p);
	if (!r)
		r = stage_ts_parse_expr(p, &other);
	if (!r)
		r = push(p, &l, *ret);
	if (!r)
		r = push(p, &l, c);
	if (!r)
		r = push(p, &l, other);
	if (r)
		return r;
	e->v = (struct ts_expr **)l.v;
	e->n = 3;
	*ret = e;
	return 0;
}

int stage_ts_parse_expr(struct ts_parser *p, struct ts_expr **ret)
{
	int r;

	if (++p->depth > TS_NEST_MAX)
		return error_set(p->why, -EFBIG, "%s:%u: nested too deeply",
			p->file->name, p->t.line);
	r = parse_postfix(p, ret);
	if (!r && at_name(p, "if"))
		r = parse_cond(p, ret);
	p->depth--;
	return r;
}

int stage_ts_parse_tuple(struct ts_parser *p, struct ts_expr **ret)
{
	struct ts_expr *e = NULL;
	struct ts_items l = { NULL, 0, 0 };
	int r = stage_ts_parse_expr(p, ret);

	if (r || !at(p, ','))
		return r;
	e = stage_ts_expr_new(p, TS_E_TUPLE);
	r = e ? push(p, &l, *ret) : -ENOMEM;
	while (!r && at(p, ',')) {
		r = next(p);
		if (r || at(p, '=') || p->t.kind == TS_T_NEWLINE)
			break;
		r = stage_ts_parse_expr(p, ret);
		if (!r)
			r = push(p, &l, *ret);
	}
	if (r)
		return r;
	e->v = (struct ts_expr **)l.v;
	e->n = l.n;
	*ret = e;
	return 0;
}
