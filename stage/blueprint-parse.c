/*
 * Statements and declarations of a blueprint. Recursive descent with one
 * token of look-ahead; how deep the text may nest is counted, so no text can
 * run the parser out of stack.
 */
#include "config.h"

#include "stage/blueprint-parse.h"

#include <stdlib.h>
#include <string.h>

#include "stage/blueprint.h"

static int parse_block(struct bp_parser *p, struct bp_block *ret);

/* ---- what both halves use -------------------------------------------------- */

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
	return r ? r : parse_block(p, &s->body);
}

static int parse_if(struct bp_parser *p, struct bp_stmt *s)
{
	struct bp_stmt *chained;
	int r;

	s->kind = BP_S_IF;
	r = stage_bp_parse_expr(p, &s->a);
	if (!r)
		r = parse_block(p, &s->body);
	if (r || !stage_bp_is_word(p, "else"))
		return r;
	r = stage_bp_advance(p);
	if (r || !stage_bp_is_word(p, "if"))
		return r ? r : parse_block(p, &s->other);
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
	return r ? r : parse_block(p, &c->body);
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
				r = parse_block(p, &s->other);
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
	if (!r && s->a->kind != BP_E_CALL)
		return error_set(p->why, -EINVAL, "%s:%u:%u: a statement "
			"expected, not a value", s->at.file, s->at.line,
			s->at.col);
	return r;
}

static int parse_stmt(struct bp_parser *p, struct bp_stmt *s)
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

static int skip_semicolon(struct bp_parser *p)
{
	return stage_bp_is(p, BP_P1(';')) ? stage_bp_advance(p) : 0;
}

static int parse_block(struct bp_parser *p, struct bp_block *ret)
{
	struct bp_items items = { NULL, 0, 0 };
	int r = stage_bp_expect(p, BP_P1('{'));

	if (!r)
		r = stage_bp_enter(p);
	while (!r && !stage_bp_is(p, BP_P1('}'))) {
		struct bp_stmt *s = stage_bp_item(p, &items, sizeof(*s), &r);

		if (s)
			r = parse_stmt(p, s);
		if (!r)
			r = skip_semicolon(p);
	}
	p->nest--;
	ret->v = items.v;
	ret->n = items.n;
	return r ? r : stage_bp_advance(p);
}

/* ---- declarations ---------------------------------------------------------- */

/* "a", "b", … without interpolation. */
static int parse_words(struct bp_parser *p, const char ***ret, size_t *ret_n)
{
	struct bp_items items = { NULL, 0, 0 };
	int r = 0;

	for (;;) {
		const char **word = stage_bp_item(p, &items, sizeof(*word),
			&r);

		if (!word)
			return r;
		if (p->tok.kind != BP_T_STRING)
			return stage_bp_expected(p, "a string");
		*word = stage_arena_copy(&p->bp->arena, p->tok.at,
			p->tok.len);
		if (!*word)
			return stage_bp_no_memory(p);
		r = stage_bp_advance(p);
		if (r || !stage_bp_is(p, BP_P1(',')))
			break;
		r = stage_bp_advance(p);
		if (r)
			break;
	}
	*ret = items.v;
	*ret_n = items.n;
	return r;
}

/* The library whose names follow; transformers needs not be told. */
static int parse_library(struct bp_parser *p, const char **ret)
{
	static const char *const libraries[] = {
		"transformers", "torchvision",
	};

	*ret = libraries[0];
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		if (stage_bp_is_word(p, libraries[i])) {
			*ret = libraries[i];
			return stage_bp_advance(p);
		}
	}
	return 0;
}

/* family "Title" for "model_type", …; for torchvision "builder", … */
static int parse_family(struct bp_parser *p)
{
	struct bp_family *f = stage_arena_alloc(&p->bp->arena, sizeof(*f));
	struct bp_family **last = &p->bp->families;
	const char **title;
	size_t n;
	int r;

	if (!f)
		return stage_bp_no_memory(p);
	f->at = stage_bp_place(p);
	r = parse_words(p, &title, &n);
	if (!r && n != 1)
		r = stage_bp_expected(p, "one title");
	if (!r)
		r = stage_bp_expect_word(p, "for");
	if (!r)
		r = parse_library(p, &f->library);
	if (!r)
		r = parse_words(p, &f->types, &f->n_types);
	if (r)
		return r;
	f->title = title[0];
	while (*last)
		last = &(*last)->next;
	*last = f;
	return 0;
}

/* task "name" for "Architecture", … as "part", … { … }; without `for` it is
 * that of all the families. */
static int parse_task(struct bp_parser *p)
{
	struct bp_task *t = stage_arena_alloc(&p->bp->arena, sizeof(*t));
	struct bp_task **last = &p->bp->tasks;
	const char **name;
	size_t n;
	int r;

	if (!t)
		return stage_bp_no_memory(p);
	t->at = stage_bp_place(p);
	r = parse_words(p, &name, &n);
	if (!r && n != 1)
		r = stage_bp_expected(p, "one name");
	if (!r && stage_bp_is_word(p, "for")) {
		r = stage_bp_advance(p);
		if (!r)
			r = parse_words(p, &t->archs, &t->n_archs);
	}
	if (!r && stage_bp_is_word(p, "as")) {
		r = stage_bp_advance(p);
		if (!r)
			r = parse_words(p, &t->parts, &t->n_parts);
	}
	if (!r)
		r = parse_block(p, &t->body);
	if (r)
		return r;
	t->name = name[0];
	while (*last)
		last = &(*last)->next;
	*last = t;
	return 0;
}

static int parse_param(struct bp_parser *p, struct bp_param *q)
{
	int r;

	if (p->tok.kind == BP_T_WEIGHT) {
		q->path = true;
		p->tok.kind = BP_T_NAME;
		if (memchr(p->tok.at, '{', p->tok.len) ||
		    memchr(p->tok.at, '.', p->tok.len))
			return stage_bp_expected(p, "a parameter");
	}
	r = stage_bp_name(p, &q->name);
	if (!r && stage_bp_is(p, BP_P1('='))) {
		r = stage_bp_advance(p);
		if (!r)
			r = stage_bp_parse_expr(p, &q->dflt);
	}
	if (!r && !stage_bp_is(p, BP_P1(')')))
		r = stage_bp_expect(p, BP_P1(','));
	return r;
}

static int check_def(struct bp_parser *p, const struct bp_def *d)
{
	for (size_t i = 0; i < d->n_params; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(d->params[i].name, d->params[k].name))
				return error_set(p->why, -EINVAL, "%s:%u:%u: "
					"%s has two parameters %s",
					d->at.file, d->at.line, d->at.col,
					d->name, d->params[i].name);
	for (const struct bp_def *o = p->bp->defs; o; o = o->before)
		if (!strcmp(o->name, d->name))
			return error_set(p->why, -EINVAL, "%s:%u:%u: %s is "
				"defined already in line %u", d->at.file,
				d->at.line, d->at.col, d->name, o->at.line);
	return 0;
}

static int parse_def(struct bp_parser *p)
{
	struct bp_def *d = stage_arena_alloc(&p->bp->arena, sizeof(*d));
	struct bp_items params = { NULL, 0, 0 };
	int r;

	if (!d)
		return stage_bp_no_memory(p);
	d->at = stage_bp_place(p);
	if (p->tok.kind == BP_T_NAME && p->tok.at[0] >= 'A' &&
	    p->tok.at[0] <= 'Z')
		return stage_bp_expected(p, "a name in lower case");
	r = stage_bp_name(p, &d->name);
	if (!r)
		r = stage_bp_expect(p, BP_P1('('));
	while (!r && !stage_bp_is(p, BP_P1(')'))) {
		struct bp_param *q = stage_bp_item(p, &params, sizeof(*q), &r);

		if (q)
			r = parse_param(p, q);
	}
	d->params = params.v;
	d->n_params = params.n;
	if (!r)
		r = stage_bp_advance(p);
	if (!r)
		r = check_def(p, d);
	p->in_def = true;
	if (!r)
		r = parse_block(p, &d->body);
	p->in_def = false;
	d->before = p->bp->defs;
	p->bp->defs = d;
	return r;
}

static int parse_file(struct bp_parser *p)
{
	static const struct {
		const char *word;
		int (*parse)(struct bp_parser *p);
	} words[] = {
		{ "def", parse_def }, { "family", parse_family },
		{ "task", parse_task },
	};
	struct bp_items items = { NULL, 0, 0 };
	int r = stage_bp_advance(p);

	if (!r)
		r = stage_bp_advance(p);
	while (!r && p->tok.kind != BP_T_END) {
		size_t i = 0;

		while (i < 3 && !stage_bp_is_word(p, words[i].word))
			i++;
		if (i < 3) {
			r = stage_bp_advance(p);
			if (!r)
				r = words[i].parse(p);
		} else {
			struct bp_stmt *s = stage_bp_item(p, &items,
				sizeof(*s), &r);

			if (s)
				r = parse_stmt(p, s);
		}
		if (!r)
			r = skip_semicolon(p);
	}
	p->bp->body.v = items.v;
	p->bp->body.n = items.n;
	return r;
}

int stage_blueprint_parse(const char *file, const char *text, size_t len,
	const struct stage_blueprint *lib, struct stage_blueprint **ret,
	struct error *why)
{
	struct stage_blueprint *bp;
	struct bp_parser p = { .why = why };
	int r = -ENOMEM;

	if (len > BP_TEXT_MAX)
		return error_set(why, -EINVAL, "%s: over %u bytes", file,
			BP_TEXT_MAX);
	bp = calloc(1, sizeof(*bp));
	if (!bp)
		return error_set(why, -ENOMEM, "out of memory");
	bp->arena.max = BP_ARENA_MAX;
	bp->lib = lib;
	bp->file = stage_arena_copy(&bp->arena, file, strlen(file));
	p.bp = bp;
	p.lex = (struct bp_lexer){ bp->file, text, text + len, 1, 1, true,
		why };
	if (bp->file)
		r = parse_file(&p);
	if (r) {
		stage_blueprint_free(bp);
		return r;
	}
	*ret = bp;
	return 0;
}

void stage_blueprint_free(struct stage_blueprint *bp)
{
	if (!bp)
		return;
	stage_arena_done(&bp->arena);
	free(bp);
}
