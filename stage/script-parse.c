/*
 * A TorchScript file to a tree, by recursive descent; how deep is bounded. The
 * printer writes operators as calls (torch.add), so that there is no table of
 * precedences.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stage/script-ast.h"

struct parser {
	struct ts_lexer lex;
	struct ts_token t;	/* the one being looked at */
	unsigned depth;
	struct stage_arena *arena;
	struct ts_file *file;
	struct error *why;
};

/* A list being made. */
struct items {
	void **v;
	size_t n, room;
};

static int parse_expr(struct parser *p, struct ts_expr **ret);

static int bad(struct parser *p, const char *what)
{
	return error_set(p->why, -EBADMSG, "%s:%u: %s", p->file->name,
		p->t.line, what);
}

static int next(struct parser *p)
{
	return stage_ts_lex(&p->lex, &p->t);
}

static bool at(const struct parser *p, char punct)
{
	return p->t.kind == TS_T_PUNCT && p->t.punct == punct;
}

static bool at_name(const struct parser *p, const char *name)
{
	return p->t.kind == TS_T_NAME && !strcmp(p->t.text, name);
}

static int expect(struct parser *p, char punct)
{
	char text[] = "' ' is missing";

	if (at(p, punct))
		return next(p);
	text[1] = punct == '>' ? '-' : punct;
	return bad(p, text);
}

static int expect_kind(struct parser *p, enum ts_token_kind kind,
	const char *what)
{
	return p->t.kind == kind ? next(p) : bad(p, what);
}

static int push(struct parser *p, struct items *l, void *item)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 4;
		void **v = stage_arena_array(p->arena, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = item;
	return 0;
}

static struct ts_expr *expr_new(struct parser *p, enum ts_expr_kind kind)
{
	struct ts_expr *e = stage_arena_alloc(p->arena, sizeof(*e));

	if (e) {
		e->kind = kind;
		e->line = p->t.line;
	}
	return e;
}

/* Expressions up to `close`; commas between and at the end. */
static int parse_items(struct parser *p, char close, bool pairs,
	struct items *l, bool *ret_comma)
{
	int r = 0;

	*ret_comma = false;
	while (!r && !at(p, close)) {
		struct ts_expr *e = NULL;

		r = parse_expr(p, &e);
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

static int parse_group(struct parser *p, char close, enum ts_expr_kind kind,
	struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, kind);
	struct items l = { NULL, 0, 0 };
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

static int parse_name(struct parser *p, struct ts_expr **ret)
{
	static const struct {
		const char *name;
		enum ts_expr_kind kind;
	} words[] = { { "None", TS_E_NONE }, { "True", TS_E_TRUE },
		{ "False", TS_E_FALSE } };
	struct ts_expr *e = expr_new(p, TS_E_NAME);

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

static int parse_literal(struct parser *p, enum ts_expr_kind kind,
	struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, kind);

	if (!e)
		return -ENOMEM;
	e->text = p->t.text;
	e->len = p->t.len;
	e->i = p->t.i;
	e->f = p->t.f;
	*ret = e;
	return next(p);
}

static int parse_prefix(struct parser *p, enum ts_expr_kind kind,
	struct ts_expr **ret);

static int parse_atom(struct parser *p, struct ts_expr **ret)
{
	switch (p->t.kind) {
	case TS_T_NAME:
		return at_name(p, "not") ? parse_prefix(p, TS_E_NOT, ret) :
			parse_name(p, ret);
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
static int parse_arg(struct parser *p, struct ts_expr **ret,
	const char **ret_key)
{
	int r = parse_expr(p, ret);

	*ret_key = NULL;
	if (r || !at(p, '='))
		return r;
	if ((*ret)->kind != TS_E_NAME)
		return bad(p, "a keyword that is no name");
	*ret_key = (*ret)->text;
	r = next(p);
	return r ? r : parse_expr(p, ret);
}

static int parse_call(struct parser *p, struct ts_expr *fn,
	struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, TS_E_CALL);
	struct items l = { NULL, 0, 0 }, keys = { NULL, 0, 0 };
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

static int parse_attr(struct parser *p, struct ts_expr *of,
	struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, TS_E_ATTR);
	struct items l = { NULL, 0, 0 };
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

static int parse_index(struct parser *p, struct ts_expr *of,
	struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, TS_E_INDEX);
	struct items l = { NULL, 0, 0 };
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

static int parse_postfix(struct parser *p, struct ts_expr **ret)
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

static int parse_prefix(struct parser *p, enum ts_expr_kind kind,
	struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, kind), *of = NULL;
	struct items l = { NULL, 0, 0 };
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
static int parse_cond(struct parser *p, struct ts_expr **ret)
{
	struct ts_expr *e = expr_new(p, TS_E_COND), *c = NULL, *other = NULL;
	struct items l = { NULL, 0, 0 };
	int r = e ? next(p) : -ENOMEM;

	if (!r)
		r = parse_postfix(p, &c);
	if (!r && !at_name(p, "else"))
		r = bad(p, "else is missing");
	if (!r)
		r = next(p);
	if (!r)
		r = parse_expr(p, &other);
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

static int parse_expr(struct parser *p, struct ts_expr **ret)
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

/* ---- statements ------------------------------------------------------------ */

static int parse_block(struct parser *p, struct ts_block *ret);

static struct ts_stmt *stmt_new(struct parser *p, enum ts_stmt_kind kind)
{
	struct ts_stmt *s = stage_arena_alloc(p->arena, sizeof(*s));

	if (s) {
		s->kind = kind;
		s->line = p->t.line;
	}
	return s;
}

/* a, b, = … : one or more expressions with commas between, and one at the end
 * of targets. */
static int parse_tuple(struct parser *p, struct ts_expr **ret)
{
	struct ts_expr *e = NULL;
	struct items l = { NULL, 0, 0 };
	int r = parse_expr(p, ret);

	if (r || !at(p, ','))
		return r;
	e = expr_new(p, TS_E_TUPLE);
	r = e ? push(p, &l, *ret) : -ENOMEM;
	while (!r && at(p, ',')) {
		r = next(p);
		if (r || at(p, '=') || p->t.kind == TS_T_NEWLINE)
			break;
		r = parse_expr(p, ret);
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

static bool can_assign(const struct ts_expr *e)
{
	if (e->kind == TS_E_TUPLE) {
		for (size_t i = 0; i < e->n; i++)
			if (e->v[i]->kind != TS_E_NAME)
				return false;
		return true;
	}
	return e->kind == TS_E_NAME || e->kind == TS_E_ATTR ||
		e->kind == TS_E_INDEX;
}

static int parse_simple(struct parser *p, struct ts_stmt *s)
{
	struct ts_expr *e = NULL, *type = NULL;
	int r = parse_tuple(p, &e);

	s->kind = TS_S_EXPR;
	s->value = e;
	if (!r && at(p, ':')) {
		r = next(p);
		if (!r)
			r = parse_expr(p, &type);
		if (!r && !at(p, '='))
			s->kind = TS_S_PASS;
	}
	if (!r && at(p, '=')) {
		if (!can_assign(e))
			return bad(p, "this cannot be assigned to");
		s->kind = TS_S_ASSIGN;
		s->target = e;
		r = next(p);
		if (!r)
			r = parse_tuple(p, &s->value);
	}
	return r ? r : expect_kind(p, TS_T_NEWLINE, "the line does not end "
		"where it should");
}

/* if, while, with, for: the word has been taken. */
static int parse_compound(struct parser *p, struct ts_stmt *s)
{
	int r = 0;

	if (s->kind == TS_S_FOR) {
		if (p->t.kind != TS_T_NAME)
			return bad(p, "the name of a loop is missing");
		r = parse_name(p, &s->target);
		if (!r && !at_name(p, "in"))
			r = bad(p, "in is missing");
		if (!r)
			r = next(p);
	}
	if (!r)
		r = parse_expr(p, &s->value);
	if (!r)
		r = parse_block(p, &s->body);
	if (r || s->kind != TS_S_IF || !at_name(p, "else"))
		return r;
	r = next(p);
	return r ? r : parse_block(p, &s->orelse);
}

static int parse_word(struct parser *p, struct ts_stmt *s)
{
	int r = next(p);

	if (r)
		return r;
	switch (s->kind) {
	case TS_S_IF:
	case TS_S_WHILE:
	case TS_S_FOR:
	case TS_S_WITH:
		return parse_compound(p, s);
	case TS_S_RETURN:
		if (p->t.kind != TS_T_NEWLINE)
			r = parse_tuple(p, &s->value);
		break;
	case TS_S_ASSERT:
		r = parse_tuple(p, &s->value);
		break;
	default:
		break;
	}
	return r ? r : expect_kind(p, TS_T_NEWLINE, "the line does not end "
		"where it should");
}

static int parse_stmt(struct parser *p, struct ts_stmt **ret)
{
	static const struct {
		const char *word;
		enum ts_stmt_kind kind;
	} words[] = { { "if", TS_S_IF }, { "while", TS_S_WHILE },
		{ "for", TS_S_FOR }, { "with", TS_S_WITH },
		{ "return", TS_S_RETURN }, { "pass", TS_S_PASS },
		{ "assert", TS_S_ASSERT } };
	struct ts_stmt *s = stmt_new(p, TS_S_EXPR);

	if (!s)
		return -ENOMEM;
	*ret = s;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (at_name(p, words[i].word)) {
			s->kind = words[i].kind;
			return parse_word(p, s);
		}
	}
	return parse_simple(p, s);
}

static int parse_block(struct parser *p, struct ts_block *ret)
{
	struct items l = { NULL, 0, 0 };
	int r = expect(p, ':');

	if (++p->depth > TS_NEST_MAX)
		return bad(p, "nested too deeply");
	if (!r)
		r = expect_kind(p, TS_T_NEWLINE, "a block is missing");
	if (!r)
		r = expect_kind(p, TS_T_INDENT, "a block is missing");
	while (!r && p->t.kind != TS_T_DEDENT) {
		struct ts_stmt *s = NULL;

		r = parse_stmt(p, &s);
		if (!r)
			r = push(p, &l, s);
	}
	p->depth--;
	if (r)
		return r;
	ret->v = (struct ts_stmt **)l.v;
	ret->n = l.n;
	return next(p);
}

/* ---- functions and classes ------------------------------------------------- */

static int parse_params(struct parser *p, struct ts_def *d)
{
	struct items l = { NULL, 0, 0 };
	int r = expect(p, '(');

	while (!r && !at(p, ')')) {
		struct ts_param *a = stage_arena_alloc(p->arena, sizeof(*a));

		if (!a)
			return -ENOMEM;
		if (p->t.kind != TS_T_NAME)
			return bad(p, "the name of a parameter is missing");
		a->name = p->t.text;
		r = next(p);
		if (!r && at(p, ':')) {
			r = next(p);
			if (!r)
				r = parse_expr(p, &a->type);
		}
		if (!r && at(p, '=')) {
			r = next(p);
			if (!r)
				r = parse_expr(p, &a->dflt);
		}
		if (!r)
			r = push(p, &l, a);
		if (!r && !at(p, ')'))
			r = expect(p, ',');
	}
	if (r)
		return r;
	d->n_params = l.n;
	d->params = stage_arena_array(p->arena, l.n + 1, sizeof(*d->params));
	for (size_t i = 0; d->params && i < l.n; i++)
		d->params[i] = *(struct ts_param *)l.v[i];
	return d->params ? next(p) : -ENOMEM;
}

static int parse_def(struct parser *p, struct ts_def **list)
{
	struct ts_def *d = stage_arena_alloc(p->arena, sizeof(*d));
	struct ts_expr *type;
	int r = d ? next(p) : -ENOMEM;

	if (r)
		return r;
	if (p->t.kind != TS_T_NAME)
		return bad(p, "the name of a function is missing");
	d->name = p->t.text;
	d->file = p->file->name;
	d->line = p->t.line;
	r = next(p);
	if (!r)
		r = parse_params(p, d);
	if (!r && at(p, '>')) {
		r = next(p);
		if (!r)
			r = parse_expr(p, &type);
	}
	if (!r)
		r = parse_block(p, &d->body);
	if (r)
		return r;
	d->next = *list;
	*list = d;
	return 0;
}

/* name : type [= value], __annotations__["name"] = type, or name = value */
static int parse_field(struct parser *p, struct ts_class *c)
{
	struct ts_field *f = stage_arena_alloc(p->arena, sizeof(*f));
	struct ts_expr *e = NULL;
	int r = f ? parse_expr(p, &e) : -ENOMEM;

	if (!r && e->kind == TS_E_NAME)
		f->name = e->text;
	if (!r && e->kind == TS_E_INDEX && e->n == 2 &&
	    e->v[1]->kind == TS_E_STR)
		f->name = e->v[1]->text;
	if (!r && at(p, ':')) {
		r = next(p);
		if (!r)
			r = parse_expr(p, &f->type);
	}
	if (!r && at(p, '=')) {
		r = next(p);
		if (!r)
			r = parse_tuple(p, e->kind == TS_E_INDEX ? &f->type :
				&f->value);
	}
	if (!r)
		r = expect_kind(p, TS_T_NEWLINE, "this does not belong into "
			"a class");
	if (r || !f->name)
		return r;
	if (c->last)
		c->last->next = f;
	else
		c->fields = f;
	c->last = f;
	return 0;
}

static int class_head(struct parser *p, struct ts_class *c)
{
	struct ts_expr *base = NULL;
	int r = next(p);

	if (r)
		return r;
	if (p->t.kind != TS_T_NAME)
		return bad(p, "the name of a class is missing");
	c->name = p->t.text;
	c->base = "";
	r = next(p);
	if (!r && at(p, '(')) {
		r = next(p);
		if (!r && !at(p, ')'))
			r = parse_expr(p, &base);
		if (!r && base && base->kind == TS_E_NAME)
			c->base = base->text;
		if (!r)
			r = expect(p, ')');
	}
	if (!r)
		r = expect(p, ':');
	if (!r)
		r = expect_kind(p, TS_T_NEWLINE, "a class is missing");
	return r ? r : expect_kind(p, TS_T_INDENT, "a class is missing");
}

static int parse_class(struct parser *p)
{
	struct ts_class *c = stage_arena_alloc(p->arena, sizeof(*c));
	int r = c ? class_head(p, c) : -ENOMEM;

	while (!r && p->t.kind != TS_T_DEDENT) {
		if (at_name(p, "def"))
			r = parse_def(p, &c->defs);
		else if (at_name(p, "pass"))
			r = (r = next(p)) ? r : expect_kind(p, TS_T_NEWLINE,
				"the line does not end where it should");
		else
			r = parse_field(p, c);
	}
	if (r)
		return r;
	c->next = p->file->classes;
	p->file->classes = c;
	return next(p);
}

static int parse_file(struct parser *p)
{
	int r = next(p);

	while (!r && p->t.kind != TS_T_END) {
		if (at_name(p, "class"))
			r = parse_class(p);
		else if (at_name(p, "def"))
			r = parse_def(p, &p->file->defs);
		else if (p->t.kind == TS_T_NEWLINE)
			r = next(p);
		else	/* op_version_set = 1 and the like */
			r = parse_simple(p, &(struct ts_stmt){ .line = 0 });
	}
	return r;
}

int stage_ts_parse(struct stage_arena *arena, const char *file,
	const char *text, size_t len, struct ts_file **ret,
	struct error *why)
{
	struct parser p = { .arena = arena, .why = why, .lex = {
		.arena = arena, .file = file, .at = text, .end = text + len,
		.line = 1, .fresh = true, .why = why } };
	int r;

	if (len > TS_FILE_MAX)
		return error_set(why, -EFBIG, "%s: over %u bytes", file,
			TS_FILE_MAX);
	p.file = stage_arena_alloc(arena, sizeof(*p.file));
	if (!p.file)
		return -ENOMEM;
	p.file->name = stage_arena_strdup(arena, file);
	p.lex.file = p.file->name;
	r = p.file->name ? parse_file(&p) : -ENOMEM;
	if (!r)
		*ret = p.file;
	return r;
}
