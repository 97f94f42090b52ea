/*
 * What the parser makes of one file of a TorchScript archive's code/. The
 * language is what torch's printer (python_print.cpp) writes: Python's form,
 * few of its constructs. All of it lives in an arena and does not change.
 */
#ifndef STAGE_SCRIPT_AST_H
#define STAGE_SCRIPT_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stage/arena.h"

#define TS_FILE_MAX (8u << 20)		/* bytes of one file */
#define TS_NEST_MAX 200			/* brackets and blocks in each other */

enum ts_expr_kind {
	TS_E_NAME, TS_E_INT, TS_E_FLOAT, TS_E_STR,
	TS_E_NONE, TS_E_TRUE, TS_E_FALSE,
	TS_E_ATTR,		/* v[0].text */
	TS_E_INDEX,		/* v[0][v[1]] */
	TS_E_CALL,		/* v[0](v[1], …); keys[i]: name of v[i + 1] */
	TS_E_LIST, TS_E_TUPLE,
	TS_E_DICT,		/* k, v, k, v */
	TS_E_NEG, TS_E_NOT,
	TS_E_COND,		/* v[0] if v[1] else v[2] */
};

struct ts_expr {
	enum ts_expr_kind kind;
	unsigned line;		/* from 1 */
	const char *text;	/* NAME, STR, ATTR: NUL behind */
	size_t len;		/* bytes of text */
	int64_t i;
	double f;
	struct ts_expr **v;
	const char **keys;	/* NULL: by position */
	size_t n;
};

enum ts_stmt_kind {
	TS_S_ASSIGN,		/* targets = value */
	TS_S_EXPR, TS_S_RETURN, TS_S_PASS,
	TS_S_IF, TS_S_WHILE,	/* value, body, orelse */
	TS_S_FOR,		/* targets[0] in value */
	TS_S_WITH,		/* value, body */
	TS_S_ASSERT,
};

struct ts_block {
	struct ts_stmt **v;
	size_t n, room;
};

struct ts_stmt {
	enum ts_stmt_kind kind;
	unsigned line;
	struct ts_expr *target;	/* NAME, ATTR, INDEX or TUPLE of them */
	struct ts_expr *value;
	struct ts_block body, orelse;
};

struct ts_param {
	const char *name;
	struct ts_expr *type;	/* NULL: not said */
	struct ts_expr *dflt;	/* NULL: must be given */
};

struct ts_def {
	const char *name;
	const char *file;	/* for messages */
	unsigned line;
	struct ts_param *params;
	size_t n_params;
	struct ts_block body;
	struct ts_def *next;
};

/* A constant of a class: `stride : Final[int] = 2`. */
struct ts_field {
	const char *name;
	struct ts_expr *type;
	struct ts_expr *value;	/* NULL: only its type is said */
	struct ts_field *next;
};

struct ts_class {
	const char *name;
	const char *base;	/* "Module", "NamedTuple", … or "" */
	struct ts_def *defs;
	struct ts_field *fields, *last;	/* in the file's order */
	struct ts_class *next;
};

struct ts_file {
	const char *name;	/* "code/__torch__/m.py" */
	struct ts_class *classes;
	struct ts_def *defs;
};

/* ---- tokens ---------------------------------------------------------------- */

enum ts_token_kind {
	TS_T_END, TS_T_NEWLINE, TS_T_INDENT, TS_T_DEDENT, TS_T_NAME,
	TS_T_INT, TS_T_FLOAT, TS_T_STR,
	TS_T_PUNCT,		/* one byte, or "->" as '>' */
};

struct ts_token {
	enum ts_token_kind kind;
	unsigned line;
	char punct;
	const char *text;	/* NAME, STR: NUL behind */
	size_t len;
	int64_t i;
	double f;
};

struct ts_lexer {
	struct stage_arena *arena;
	const char *file, *at, *end;
	unsigned line;
	unsigned brackets;	/* open: newlines do not count */
	bool fresh;		/* at the begin of a line */
	unsigned indent[TS_NEST_MAX];
	unsigned n_indent;	/* levels open */
	unsigned dedents;	/* still to be handed out */
	struct error *why;
};

int stage_ts_lex(struct ts_lexer *l, struct ts_token *ret);

/* The names and the tree lie in the arena; text may go. -EBADMSG with file and
 * line: not the language; -EFBIG: a ceiling; -ENOMEM. */
int stage_ts_parse(struct stage_arena *arena, const char *file,
	const char *text, size_t len, struct ts_file **ret,
	struct error *why);

#endif
