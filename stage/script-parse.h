/* Between the two halves of the parser: what it stands on, and expressions. */
#ifndef STAGE_SCRIPT_PARSE_H
#define STAGE_SCRIPT_PARSE_H

#include <string.h>

#include "stage/script-ast.h"

struct ts_parser {
	struct ts_lexer lex;
	struct ts_token t;	/* the one being looked at */
	unsigned depth;
	struct stage_arena *arena;
	struct ts_file *file;
	struct error *why;
};

/* A list being made. */
struct ts_items {
	void **v;
	size_t n, room;
};

static inline int bad(struct ts_parser *p, const char *what)
{
	return error_set(p->why, -EBADMSG, "%s:%u: %s", p->file->name,
		p->t.line, what);
}

static inline int next(struct ts_parser *p)
{
	return stage_ts_lex(&p->lex, &p->t);
}

static inline bool at(const struct ts_parser *p, char punct)
{
	return p->t.kind == TS_T_PUNCT && p->t.punct == punct;
}

static inline bool at_name(const struct ts_parser *p, const char *name)
{
	return p->t.kind == TS_T_NAME && !strcmp(p->t.text, name);
}

static inline int expect(struct ts_parser *p, char punct)
{
	char text[] = "' ' is missing";

	if (at(p, punct))
		return next(p);
	text[1] = punct == '>' ? '-' : punct;
	return bad(p, text);
}

static inline int expect_kind(struct ts_parser *p, enum ts_token_kind kind,
	const char *what)
{
	return p->t.kind == kind ? next(p) : bad(p, what);
}

static inline int push(struct ts_parser *p, struct ts_items *l, void *item)
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

/* script-parse-expr.c */
struct ts_expr *stage_ts_expr_new(struct ts_parser *p, enum ts_expr_kind kind);
int stage_ts_parse_name(struct ts_parser *p, struct ts_expr **ret);
int stage_ts_parse_expr(struct ts_parser *p, struct ts_expr **ret);
/* a, b, = …: one or more with commas between, and one at the end of targets. */
int stage_ts_parse_tuple(struct ts_parser *p, struct ts_expr **ret);

#endif
