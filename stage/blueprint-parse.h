/* Shared by the parts of the parser: expressions, statements, declarations. */
#ifndef STAGE_BLUEPRINT_PARSE_H
#define STAGE_BLUEPRINT_PARSE_H

#include "stage/blueprint-ast.h"

struct bp_parser {
	struct bp_lexer lex;
	struct bp_token tok, next;	/* the one at hand and the one behind */
	struct stage_blueprint *bp;
	struct error *why;
	unsigned nest;
	bool in_def;
};

/* A growing array in the arena. */
struct bp_items {
	void *v;
	size_t n, room;
};

int stage_bp_advance(struct bp_parser *p);
/* -EINVAL at the token at hand. */
int stage_bp_expected(struct bp_parser *p, const char *what);
bool stage_bp_is(const struct bp_parser *p, unsigned punct);
bool stage_bp_is_word(const struct bp_parser *p, const char *word);
int stage_bp_expect(struct bp_parser *p, unsigned punct);
int stage_bp_expect_word(struct bp_parser *p, const char *word);
/* A name that is no keyword. */
int stage_bp_name(struct bp_parser *p, const char **ret);
struct bp_place stage_bp_place(const struct bp_parser *p);
int stage_bp_enter(struct bp_parser *p);
/* Room for one more; NULL after a message in p->why. *ret_r says why. */
void *stage_bp_item(struct bp_parser *p, struct bp_items *items, size_t size,
	int *ret_r);
struct bp_expr *stage_bp_expr_new(struct bp_parser *p, enum bp_expr_kind kind);
int stage_bp_no_memory(struct bp_parser *p);

int stage_bp_parse_expr(struct bp_parser *p, struct bp_expr **ret);
/* `e, e, …` up to the closing bracket, which is taken too. */
int stage_bp_parse_list(struct bp_parser *p, unsigned close,
	struct bp_arg **ret, size_t *ret_n);
/* A string token as expression. */
int stage_bp_parse_string(struct bp_parser *p, struct bp_expr **ret);
int stage_bp_parse_stmt(struct bp_parser *p, struct bp_stmt *s);
/* `{ … }` */
int stage_bp_parse_block(struct bp_parser *p, struct bp_block *ret);
int stage_bp_skip_semicolon(struct bp_parser *p);

#endif
