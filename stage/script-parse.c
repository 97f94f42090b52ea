/*
 * A TorchScript file to a tree, by recursive descent: statements, functions and
 * classes. How deep is bounded.
 */
#include "config.h"

#include "stage/script-parse.h"

static int parse_block(struct ts_parser *p, struct ts_block *ret);

static struct ts_stmt *stmt_new(struct ts_parser *p, enum ts_stmt_kind kind)
{
	struct ts_stmt *s = stage_arena_alloc(p->arena, sizeof(*s));

	if (s) {
		s->kind = kind;
		s->line = p->t.line;
	}
	return s;
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

static int parse_simple(struct ts_parser *p, struct ts_stmt *s)
{
	struct ts_expr *e = NULL, *type = NULL;
	int r = stage_ts_parse_tuple(p, &e);

	s->kind = TS_S_EXPR;
	s->value = e;
	if (!r && at(p, ':')) {
		r = next(p);
		if (!r)
			r = stage_ts_parse_expr(p, &type);
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
			r = stage_ts_parse_tuple(p, &s->value);
	}
	return r ? r : expect_kind(p, TS_T_NEWLINE, "the line does not end "
		"where it should");
}

/* if, while, with, for: the word has been taken. */
static int parse_compound(struct ts_parser *p, struct ts_stmt *s)
{
	int r = 0;

	if (s->kind == TS_S_FOR) {
		if (p->t.kind != TS_T_NAME)
			return bad(p, "the name of a loop is missing");
		r = stage_ts_parse_name(p, &s->target);
		if (!r && !at_name(p, "in"))
			r = bad(p, "in is missing");
		if (!r)
			r = next(p);
	}
	if (!r)
		r = stage_ts_parse_expr(p, &s->value);
	if (!r)
		r = parse_block(p, &s->body);
	if (r || s->kind != TS_S_IF || !at_name(p, "else"))
		return r;
	r = next(p);
	return r ? r : parse_block(p, &s->orelse);
}

static int parse_word(struct ts_parser *p, struct ts_stmt *s)
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
			r = stage_ts_parse_tuple(p, &s->value);
		break;
	case TS_S_ASSERT:
		r = stage_ts_parse_tuple(p, &s->value);
		break;
	default:
		break;
	}
	return r ? r : expect_kind(p, TS_T_NEWLINE, "the line does not end "
		"where it should");
}

static int parse_stmt(struct ts_parser *p, struct ts_stmt **ret)
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

static int parse_block(struct ts_parser *p, struct ts_block *ret)
{
	struct ts_items l = { NULL, 0, 0 };
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

static int parse_params(struct ts_parser *p, struct ts_def *d)
{
	struct ts_items l = { NULL, 0, 0 };
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
				r = stage_ts_parse_expr(p, &a->type);
		}
		if (!r && at(p, '=')) {
			r = next(p);
			if (!r)
				r = stage_ts_parse_expr(p, &a->dflt);
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

static int parse_def(struct ts_parser *p, struct ts_def **list)
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
			r = stage_ts_parse_expr(p, &type);
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
static int parse_field(struct ts_parser *p, struct ts_class *c)
{
	struct ts_field *f = stage_arena_alloc(p->arena, sizeof(*f));
	struct ts_expr *e = NULL;
	int r = f ? stage_ts_parse_expr(p, &e) : -ENOMEM;

	if (!r && e->kind == TS_E_NAME)
		f->name = e->text;
	if (!r && e->kind == TS_E_INDEX && e->n == 2 &&
	    e->v[1]->kind == TS_E_STR)
		f->name = e->v[1]->text;
	if (!r && at(p, ':')) {
		r = next(p);
		if (!r)
			r = stage_ts_parse_expr(p, &f->type);
	}
	if (!r && at(p, '=')) {
		r = next(p);
		if (!r)
			r = stage_ts_parse_tuple(p, e->kind == TS_E_INDEX ?
				&f->type : &f->value);
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

static int class_head(struct ts_parser *p, struct ts_class *c)
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
			r = stage_ts_parse_expr(p, &base);
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

static int parse_class(struct ts_parser *p)
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

static int parse_file(struct ts_parser *p)
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
	struct ts_parser p = { .arena = arena, .why = why, .lex = {
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
