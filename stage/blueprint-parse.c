/*
 * Statements of a blueprint, and what all of the parser uses. Recursive
 * descent with one token of look-ahead; how deep the text may nest is counted,
 * so no text can run the parser out of stack.
 */
#include "config.h"

#include "stage/blueprint-parse.h"

#include <string.h>

/* ---- what all of it uses --------------------------------------------------- */

int stage_bp_no_memory(struct bp_parser *p)
{
	if (p->bp->arena.total > p->bp->arena.max / 2)
		return error_set(p->why, -EINVAL, "%s:%u: the text is too "
			"large", p->lex.file, p->tok.line);
	return error_set(p->why, -ENOMEM, "out of memory");
}

int stage_bp_advance(struct bp_parser *p)
{
	p->tok = p->next;
	if (p->tok.line && p->tok.kind == BP_T_END)
		return 0;
	return stage_bp_lex(&p->lex, &p->next);
}

int stage_bp_expected(struct bp_parser *p, const char *what)
{
	int len = p->tok.len > 40 ? 40 : (int)p->tok.len;

	if (p->tok.kind == BP_T_END)
		return error_set(p->why, -EINVAL, "%s:%u:%u: %s expected, not "
			"the end", p->lex.file, p->tok.line, p->tok.col, what);
	return error_set(p->why, -EINVAL, "%s:%u:%u: %s expected, not '%.*s'",
		p->lex.file, p->tok.line, p->tok.col, what, len, p->tok.at);
}

bool stage_bp_is(const struct bp_parser *p, unsigned punct)
{
	return p->tok.kind == BP_T_PUNCT && p->tok.punct == punct;
}

static bool token_is(const struct bp_token *t, const char *word)
{
	return t->kind == BP_T_NAME && t->len == strlen(word) &&
		!memcmp(t->at, word, t->len);
}

bool stage_bp_is_word(const struct bp_parser *p, const char *word)
{
	return token_is(&p->tok, word);
}

int stage_bp_expect(struct bp_parser *p, unsigned punct)
{
	char what[4] = { '\'', (char)punct, '\'' };

	if (!stage_bp_is(p, punct))
		return stage_bp_expected(p, what);
	return stage_bp_advance(p);
}

int stage_bp_expect_word(struct bp_parser *p, const char *word)
{
	if (!stage_bp_is_word(p, word))
		return stage_bp_expected(p, word);
	return stage_bp_advance(p);
}

int stage_bp_name(struct bp_parser *p, const char **ret)
{
	static const char *const keywords[] = {
		"def", "family", "task", "for", "in", "if", "else", "match",
		"return", "refuse", "input", "output", "assume", "ignore",
		"true", "false", "none", "_",
	};
	bool ok = p->tok.kind == BP_T_NAME;

	for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++)
		ok = ok && !token_is(&p->tok, keywords[i]);
	if (!ok)
		return stage_bp_expected(p, "a name");
	*ret = stage_arena_copy(&p->bp->arena, p->tok.at, p->tok.len);
	if (!*ret)
		return stage_bp_no_memory(p);
	return stage_bp_advance(p);
}

struct bp_place stage_bp_place(const struct bp_parser *p)
{
	return (struct bp_place){ p->bp->file, p->tok.line, p->tok.col };
}

int stage_bp_enter(struct bp_parser *p)
{
	if (++p->nest <= BP_NEST_MAX)
		return 0;
	return error_set(p->why, -EINVAL, "%s:%u:%u: nested too deeply",
		p->lex.file, p->tok.line, p->tok.col);
}

void *stage_bp_item(struct bp_parser *p, struct bp_items *items, size_t size,
	int *ret_r)
{
	size_t room = items->room ? items->room * 2 : 4;
	void *v;

	if (items->n >= BP_ITEMS_MAX) {
		*ret_r = stage_bp_expected(p, "fewer items");
		return NULL;
	}
	if (items->n == items->room) {
		v = stage_arena_array(&p->bp->arena, room, size);
		if (!v) {
			*ret_r = stage_bp_no_memory(p);
			return NULL;
		}
		if (items->n)
			memcpy(v, items->v, items->n * size);
		items->v = v;
		items->room = room;
	}
	return (char *)items->v + items->n++ * size;
}

struct bp_expr *stage_bp_expr_new(struct bp_parser *p, enum bp_expr_kind kind)
{
	struct bp_expr *e = stage_arena_alloc(&p->bp->arena, sizeof(*e));

	if (e) {
		e->kind = kind;
		e->at = stage_bp_place(p);
	}
	return e;
}

/* ---- statements ------------------------------------------------------------ */

static int parse_for(struct bp_parser *p, struct bp_stmt *s)
{
	int r;

	s->kind = BP_S_FOR;
	s->names = stage_arena_alloc(&p->bp->arena, sizeof(*s->names));
	if (!s->names)
		return stage_bp_no_memory(p);
	r = stage_bp_name(p, &s->names[0]);
	if (!r)
		r = stage_bp_expect_word(p, "in");
	if (!r)
		r = stage_bp_parse_expr(p, &s->a);
	return r ? r : stage_bp_parse_block(p, &s->body);
}

static int parse_if(struct bp_parser *p, struct bp_stmt *s)
{
	struct bp_stmt *chained;
	int r;

	s->kind = BP_S_IF;
	r = stage_bp_parse_expr(p, &s->a);
	if (!r)
		r = stage_bp_parse_block(p, &s->body);
	if (r || !stage_bp_is_word(p, "else"))
		return r;
	r = stage_bp_advance(p);
	if (r || !stage_bp_is_word(p, "if"))
		return r ? r : stage_bp_parse_block(p, &s->other);
	chained = stage_arena_alloc(&p->bp->arena, sizeof(*chained));
	if (!chained)
		return stage_bp_no_memory(p);
	chained->at = stage_bp_place(p);
	s->other.v = chained;
	s->other.n = 1;
	r = stage_bp_enter(p);
	if (!r)
		r = stage_bp_advance(p);
	if (!r)
		r = parse_if(p, chained);
	p->nest--;
	return r;
}

static int parse_case(struct bp_parser *p, struct bp_case *c)
{
	struct bp_items values = { NULL, 0, 0 };
	int r = 0;

	for (;;) {
		struct bp_arg *a = stage_bp_item(p, &values, sizeof(*a), &r);

		if (a)
			r = stage_bp_parse_expr(p, &a->e);
		if (r || !stage_bp_is(p, BP_P1(',')))
			break;
		r = stage_bp_advance(p);
		if (r)
			break;
	}
	c->values = values.v;
	c->n_values = values.n;
	return r ? r : stage_bp_parse_block(p, &c->body);
}

static int parse_match(struct bp_parser *p, struct bp_stmt *s)
{
	struct bp_items cases = { NULL, 0, 0 };
	int r;

	s->kind = BP_S_MATCH;
	r = stage_bp_parse_expr(p, &s->a);
	if (!r)
		r = stage_bp_expect(p, BP_P1('{'));
	while (!r && !stage_bp_is(p, BP_P1('}'))) {
		struct bp_case *c;

		if (stage_bp_is_word(p, "else")) {
			r = stage_bp_advance(p);
			if (!r)
				r = stage_bp_parse_block(p, &s->other);
			break;
		}
		c = stage_bp_item(p, &cases, sizeof(*c), &r);
		if (c)
			r = parse_case(p, c);
	}
	s->cases = cases.v;
	s->n_cases = cases.n;
	return r ? r : stage_bp_expect(p, BP_P1('}'));
}

static int parse_refuse(struct bp_parser *p, struct bp_stmt *s)
{
	int r;

	s->kind = BP_S_REFUSE;
	r = stage_bp_parse_string(p, &s->a);
	if (r || p->tok.first || !stage_bp_is_word(p, "if"))
		return r;
	r = stage_bp_advance(p);
	return r ? r : stage_bp_parse_expr(p, &s->b);
}

static int parse_dtype(struct bp_parser *p, enum stage_dtype *ret)
{
	static const enum stage_dtype types[] = {
		STAGE_F32, STAGE_I64, STAGE_I32, STAGE_BOOL,
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (stage_bp_is_word(p, stage_dtype_name(types[i]))) {
			*ret = types[i];
			return stage_bp_advance(p);
		}
	}
	return stage_bp_expected(p, "f32, i64, i32 or bool");
}

static int parse_port(struct bp_parser *p, struct bp_stmt *s, bool output)
{
	int r;

	s->kind = output ? BP_S_OUTPUT : BP_S_INPUT;
	s->names = stage_arena_alloc(&p->bp->arena, sizeof(*s->names));
	if (!s->names)
		return stage_bp_no_memory(p);
	if (p->tok.kind == BP_T_STRING) {
		r = stage_bp_parse_string(p, &s->a);
	} else {
		s->n_names = 1;
		r = stage_bp_name(p, &s->names[0]);
	}
	if (!r)
		r = stage_bp_expect(p, BP_P1(':'));
	if (!r)
		r = parse_dtype(p, &s->dtype);
	if (!r)
		r = stage_bp_expect(p, BP_P1('['));
	if (!r)
		r = stage_bp_parse_list(p, BP_P1(']'), &s->dims, &s->n_dims);
	if (!r && s->n_dims > STAGE_RANK_MAX)
		r = stage_bp_expected(p, "fewer dimensions");
	if (!r && output)
		r = stage_bp_expect(p, BP_P1('='));
	return r || !output ? r : stage_bp_parse_expr(p, &s->b);
}

/* `cfg.key`; the statements that take it say what they do with the key. */
static int parse_key(struct bp_parser *p, struct bp_stmt *s)
{
	int r;

	s->names = stage_arena_alloc(&p->bp->arena, sizeof(*s->names));
	if (!s->names)
		return stage_bp_no_memory(p);
	s->n_names = 1;
	r = stage_bp_expect_word(p, "cfg");
	if (!r)
		r = stage_bp_expect(p, BP_P1('.'));
	return r ? r : stage_bp_name(p, &s->names[0]);
}

static int parse_assume(struct bp_parser *p, struct bp_stmt *s)
{
	int r;

	s->kind = BP_S_ASSUME;
	r = parse_key(p, s);
	if (!r)
		r = stage_bp_expect(p, BP_P1('='));
	return r ? r : stage_bp_parse_expr(p, &s->a);
}

static int parse_ignore(struct bp_parser *p, struct bp_stmt *s)
{
	s->kind = BP_S_IGNORE;
	if (p->tok.kind == BP_T_STRING)
		return stage_bp_parse_string(p, &s->a);
	return parse_key(p, s);
}

static int parse_set(struct bp_parser *p, struct bp_stmt *s)
{
	struct bp_items names = { NULL, 0, 0 };
	int r = 0;

	s->kind = BP_S_SET;
	for (;;) {
		const char **name = stage_bp_item(p, &names, sizeof(*name),
			&r);

		if (name)
			r = stage_bp_name(p, name);
		if (r || !stage_bp_is(p, BP_P1(',')))
			break;
		r = stage_bp_advance(p);
		if (r)
			break;
	}
	if (!r)
		r = stage_bp_expect(p, BP_P1('='));
	if (!r)
		r = stage_bp_parse_expr(p, &s->a);
	s->names = names.v;
	s->n_names = names.n;
	if (!r && s->n_names > 1 && s->a->kind != BP_E_OP)
		r = stage_bp_expected(p, "an operator with several outputs");
	return r;
}

static int parse_return(struct bp_parser *p, struct bp_stmt *s)
{
	s->kind = BP_S_RETURN;
	if (!p->in_def)
		return stage_bp_expected(p, "no return outside a def");
	return stage_bp_parse_expr(p, &s->a);
}

static int parse_call_stmt(struct bp_parser *p, struct bp_stmt *s)
{
	int r;

	s->kind = BP_S_CALL;
	r = stage_bp_parse_expr(p, &s->a);
	if (!r && s->a->kind != BP_E_CALL &&
	    !(s->a->kind == BP_E_BUILTIN && s->a->builtin->acts))
		return error_set(p->why, -EINVAL, "%s:%u:%u: a statement "
			"expected, not a value", s->at.file, s->at.line,
			s->at.col);
	return r;
}

int stage_bp_parse_stmt(struct bp_parser *p, struct bp_stmt *s)
{
	static const struct {
		const char *word;
		int (*parse)(struct bp_parser *p, struct bp_stmt *s);
	} words[] = {
		{ "for", parse_for }, { "if", parse_if },
		{ "match", parse_match }, { "return", parse_return },
		{ "refuse", parse_refuse }, { "assume", parse_assume },
		{ "ignore", parse_ignore },
	};
	bool output = stage_bp_is_word(p, "output");
	int r;

	s->at = stage_bp_place(p);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (stage_bp_is_word(p, words[i].word)) {
			r = stage_bp_advance(p);
			return r ? r : words[i].parse(p, s);
		}
	}
	if (output || stage_bp_is_word(p, "input")) {
		r = stage_bp_advance(p);
		return r ? r : parse_port(p, s, output);
	}
	if (p->tok.kind == BP_T_NAME && p->next.kind == BP_T_PUNCT &&
	    (p->next.punct == BP_P1('=') || p->next.punct == BP_P1(',')))
		return parse_set(p, s);
	return parse_call_stmt(p, s);
}

int stage_bp_skip_semicolon(struct bp_parser *p)
{
	return stage_bp_is(p, BP_P1(';')) ? stage_bp_advance(p) : 0;
}

int stage_bp_parse_block(struct bp_parser *p, struct bp_block *ret)
{
	struct bp_items items = { NULL, 0, 0 };
	int r = stage_bp_expect(p, BP_P1('{'));

	if (!r)
		r = stage_bp_enter(p);
	while (!r && !stage_bp_is(p, BP_P1('}'))) {
		struct bp_stmt *s = stage_bp_item(p, &items, sizeof(*s), &r);

		if (s)
			r = stage_bp_parse_stmt(p, s);
		if (!r)
			r = stage_bp_skip_semicolon(p);
	}
	p->nest--;
	ret->v = items.v;
	ret->n = items.n;
	return r ? r : stage_bp_advance(p);
}
