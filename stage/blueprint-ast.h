/*
 * What the parser makes of a blueprint's text and the evaluator walks. All of
 * it lives in the blueprint's arena and does not change after parsing, so that
 * several threads may run one blueprint.
 */
#ifndef STAGE_BLUEPRINT_AST_H
#define STAGE_BLUEPRINT_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stage/arena.h"
#include "stage/tensor.h"

#define BP_TEXT_MAX (1u << 20)		/* bytes of one file */
#define BP_ARENA_MAX (64u << 20)	/* bytes of one parsed file */
#define BP_NEST_MAX 100			/* brackets and blocks in each other */
#define BP_ITEMS_MAX 4096		/* items of one list, block or call */
#define BP_STRING_MAX 4096		/* bytes of one string value */

struct bp_place {
	const char *file;	/* for messages; the blueprint's */
	unsigned line, col;	/* from 1; col in bytes */
};

/* ---- tokens ---------------------------------------------------------------- */

enum bp_token_kind {
	BP_T_END, BP_T_INT, BP_T_FLOAT, BP_T_STRING, BP_T_WEIGHT, BP_T_NAME,
	BP_T_PUNCT,
};

/* The code of a punctuation token: its bytes, the first one highest. */
#define BP_P1(a) ((unsigned)(a))
#define BP_P2(a, b) ((unsigned)(a) << 8 | (unsigned)(b))

struct bp_token {
	enum bp_token_kind kind;
	unsigned line, col;
	bool first;		/* nothing but space before it on its line */
	unsigned punct;
	const char *at;		/* STRING and WEIGHT: without quotes and '@' */
	size_t len;
	int64_t i;
	double f;
};

struct bp_lexer {
	const char *file, *at, *end;
	unsigned line, col;
	bool first;
	struct error *why;
};

/* -EINVAL with the place in `why`. At the end the token is BP_T_END. */
int stage_bp_lex(struct bp_lexer *l, struct bp_token *ret);

/* ---- expressions ----------------------------------------------------------- */

enum bp_expr_kind {
	BP_E_NONE, BP_E_BOOL, BP_E_INT, BP_E_FLOAT,
	BP_E_TEXT,	/* name: a run of text without interpolation */
	BP_E_STRING,	/* args: the parts */
	BP_E_WEIGHT,	/* a: the name as string */
	BP_E_NAME,	/* name: a variable */
	BP_E_LIST,	/* args: the items */
	BP_E_UNARY,	/* punct, a */
	BP_E_BINARY,	/* punct, a, b */
	BP_E_COND,	/* a ? b : c */
	BP_E_INDEX,	/* a[b] */
	BP_E_FIELD,	/* a.name */
	BP_E_OP,	/* name(args): an ONNX operator */
	BP_E_BUILTIN,	/* builtin(args) */
	BP_E_CALL,	/* def(args) */
	BP_E_OMIT,	/* _: an operator's input left out */
};

#define BP_IN BP_P2('i', 'n')		/* the binary operator `in` */

struct bp_arg {
	const char *name;	/* NULL: by position */
	struct bp_expr *e;
};

struct bp_expr {
	enum bp_expr_kind kind;
	struct bp_place at;
	unsigned punct;
	const char *name;
	int64_t i;
	double f;
	struct bp_expr *a, *b, *c;
	struct bp_arg *args;
	size_t n_args;
	const struct bp_def *def;
	const struct bp_builtin *builtin;
	const struct stage_op *op;
};

/* ---- statements ------------------------------------------------------------ */

enum bp_stmt_kind {
	BP_S_SET,	/* names = a */
	BP_S_CALL,	/* a, for its outputs */
	BP_S_FOR,	/* names[0] in a { body } */
	BP_S_IF,	/* if a { body } else { other } */
	BP_S_MATCH,	/* match a { cases, else { other } } */
	BP_S_RETURN,	/* a */
	BP_S_REFUSE,	/* a, if b */
	/* The name of a port is names[0], or the string a. */
	BP_S_INPUT,	/* name : dtype[dims] */
	BP_S_OUTPUT,	/* name : dtype[dims] = b */
	BP_S_ASSUME,	/* cfg.names[0] is a, or one of a when it is a list */
	BP_S_IGNORE,	/* weights matching a, or cfg.names[0] */
};

struct bp_block {
	struct bp_stmt *v;
	size_t n;
};

struct bp_case {
	struct bp_arg *values;
	size_t n_values;
	struct bp_block body;
};

struct bp_stmt {
	enum bp_stmt_kind kind;
	struct bp_place at;
	const char **names;
	size_t n_names;
	struct bp_expr *a, *b;
	enum stage_dtype dtype;
	/* A string or a bare unknown name is a symbolic dim. */
	struct bp_arg *dims;
	size_t n_dims;
	struct bp_block body, other;
	struct bp_case *cases;
	size_t n_cases;
};

/* ---- files ----------------------------------------------------------------- */

struct bp_param {
	const char *name;
	bool path;		/* @name: a module path; names the nodes inside */
	struct bp_expr *dflt;	/* NULL: must be given */
};

struct bp_def {
	const char *name;
	struct bp_place at;
	struct bp_param *params;
	size_t n_params;
	struct bp_block body;
	struct bp_def *before;	/* a def may call only those before it */
};

struct bp_family {
	const char *title;	/* "XLM-RoBERTa" */
	const char *library;	/* whose names the types are */
	const char **types;	/* transformers: of model_type in config.json */
	size_t n_types;
	struct bp_place at;
	struct bp_family *next;
};

struct bp_task {
	const char *name;	/* "fill-mask", as optimum names it */
	const char **archs;	/* values of config.json's architectures */
	size_t n_archs;		/* 0: for whatever the families are */
	const char **parts;	/* its graphs; none: one, "model" */
	size_t n_parts;
	struct bp_place at;
	struct bp_block body;
	struct bp_task *next;
};

struct stage_blueprint {
	struct stage_arena arena;
	const char *file;
	const struct stage_blueprint *lib;	/* NULL: none; not owned */
	struct bp_def *defs;			/* newest first */
	struct bp_family *families;
	struct bp_task *tasks;
	struct bp_block body;
};

/* ---- what calls mean ------------------------------------------------------- */

struct bp_run;
struct bp_value;

struct bp_builtin {
	const char *name;
	unsigned n_args;
	int (*fn)(struct bp_run *r, const struct bp_expr *at,
		const struct bp_value *args, struct bp_value *ret);
	bool acts;		/* may stand as a statement */
};

const struct bp_builtin *stage_bp_builtin(const char *name);

#endif
