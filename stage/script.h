/*
 * TorchScript archives and torch.export programs to an operator stream, by
 * abstract interpretation: tensors are symbols with a type, all else (numbers,
 * lists, strings, modules) is computed as torch would. Nothing is executed:
 * the language is small, every function a program may call stands in a table
 * here.
 *
 *	script-lex.c script-parse*.c	code/ to trees
 *	script-archive.c	the archive: code, pickles, storages
 *	script-value.c		values
 *	script-sym.c		sizes that are not numbers
 *	script-emit.c		operators
 *	script-eval.c script-exec.c	the walk: expressions, statements,
 *	script-invoke.c script-call.c	calls, and the whole program
 *	script-choice.c		both ways of an if
 *	script-builtin*.c	functions of numbers, lists and strings
 *	script-ops.c		which operator a call means
 *	script-op-*.c		the operators
 *	script-pt2*.c		torch.export's JSON
 *	script-graph.c		what is needed of it, as struct stage_graph
 *
 * A size of an input is a symbol until the program needs it to be a number
 * (or the same as another): then it is bound and the walk starts again.
 */
#ifndef STAGE_SCRIPT_H
#define STAGE_SCRIPT_H

#include "base/buf.h"
#include "base/map.h"
#include "stage/arena.h"
#include "stage/format/torch-state.h"
#include "stage/format/torch-zip.h"
#include "stage/graph.h"
#include "stage/script-ast.h"
#include "stage/script-value.h"
#include "stage/torchscript.h"

#define TS_ARENA_MAX (256u << 20)	/* bytes of a run; of the parsed code */
#define TS_CODE_MAX (64u << 20)		/* bytes of all code */
#define TS_STEPS_MAX 1000000		/* expressions and statements */
#define TS_NODES_MAX 200000
#define TS_DEPTH_MAX 1200		/* of the interpreter itself */
#define TS_RUNS_MAX 64
#define TS_ITEMS_MAX 100000		/* of one list */
#define TS_DATA_MAX 1048576		/* bytes of a constant that is read */
#define TS_RESTART (-EAGAIN)		/* a size was bound: begin again */

/* ---- the program ----------------------------------------------------------- */

/* An input of the program, through all runs. */
struct ts_port {
	const char *name;
	enum stage_dtype dtype;		/* 0: not known */
	unsigned rank;
	bool ranked;			/* rank is known */
	int64_t size[STAGE_RANK_MAX];	/* of an example; 0: not known */
	struct ts_bind {
		enum { TS_FREE, TS_FIXED, TS_SAME } how;
		int64_t n;		/* FIXED */
		unsigned input, axis;	/* SAME: as this one's */
		const char *symbol;	/* FREE: its name, or NULL */
	} bind[STAGE_RANK_MAX];
};

/* What stays through all runs of one archive. */
struct ts_archive {
	struct stage_torch t;		/* must be first */
	struct stage_torch_zip zip;
	struct src *src;
	const char *dir;		/* storages: "data/" or "constants/" */
	struct stage_arena arena;
	struct map files;		/* module -> struct ts_file */
	size_t code;			/* bytes read of it */
	struct stage_pickle *data, *constants, *traced;
	const char *path;		/* of the archive, in the repository */
	struct ts_port *ports;
	size_t n_ports;
	unsigned guess;			/* the rank of inputs nobody says */
	bool guessed;			/* it was needed */
	struct json_t *program, *weights, *tensors;	/* torch.export's */
	struct error *why;
};

/* One run. */
struct ts {
	struct ts_archive *a;
	unsigned opset;
	struct stage_arena arena;
	struct map names, objects, consts, atoms_by_text, weights;
	struct ts_object **all_objects;
	size_t n_objects, room_objects;
	struct ts_value *constants;	/* CONSTANTS.c0 … */
	size_t n_constants;
	struct ts_tensor **inputs;	/* by port */
	struct ts_atom *atoms;
	size_t n_atoms;
	struct ts_node *first, *last;
	size_t n_nodes, n_names;
	uint64_t steps;
	unsigned depth;
	unsigned births;	/* one more with every choice */
	unsigned choice;	/* births when it began; 0: none */
	const char *path;		/* of the module that runs */
	const char *file;		/* for messages */
	unsigned line;
	const char *called;		/* the operator, or NULL */
	int err;			/* sticky: 0, or negative errno */
	struct error *why;
};

/* Sets c->err (the first stays), with file, line and operator. */
int stage_ts_fail(struct ts *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int stage_ts_error(struct ts *c, int err);

/* script-archive.c */
void stage_ts_begin(struct ts_archive *a, struct src *s, const char *path,
	struct error *why);
int stage_ts_open(struct ts_archive *a);
void stage_ts_close(struct ts_archive *a);
int stage_ts_file(struct ts_archive *a, const char *module,
	const struct ts_file **ret);
/* A member, stored or deflated, NUL behind; the caller frees. */
int stage_ts_member(struct ts_archive *a, const struct stage_zip_member *m,
	size_t max, char **ret);
/* "data/" and the like, for what stage_torch_tensor() reads next. */
int stage_ts_place_tensor(struct ts_archive *a, const char *dir,
	const char *name, const struct stage_py *v, struct stage_tensor *ret);

/* script-value.c */
struct ts_value stage_ts_of_py(struct ts *c, const struct stage_py *v,
	const char *dir, const char *path, unsigned depth);
struct ts_list *stage_ts_list(struct ts *c, size_t n);
int stage_ts_push(struct ts *c, struct ts_list *l, struct ts_value v);
const char *stage_ts_kind(const struct ts_value *v);
struct ts_slot *stage_ts_attr(struct ts *c, struct ts_object *o,
	const char *name);
int stage_ts_set_attr(struct ts *c, struct ts_object *o, const char *name,
	struct ts_value v);
struct ts_value stage_ts_tensor(struct ts *c, struct ts_val *v);
struct ts_value stage_ts_of_dim(struct ts_dim d);
/* INT or SYM, and numbers in a tensor that is constant. */
bool stage_ts_to_dim(const struct ts_value *v, struct ts_dim *ret);

/* A tensor that lies in the archive. Of the constants of a traced program torch
 * takes those without dimensions for numbers. */
struct ts_value stage_ts_weight(struct ts *c, const struct stage_tensor *t,
	const char *name, bool load, bool constant);

/* script-call.c: the whole program. */
int stage_ts_script(struct ts *c, struct ts_value *ret);
/* Walks until nothing has to be bound any more. */
int stage_ts_runs(struct ts_archive *a, unsigned opset,
	int (*walk)(struct ts *c, struct ts_value *ret),
	struct stage_graph **ret);
struct ts_value stage_ts_input(struct ts *c, size_t i);

/* script-choice.c: fails when what is written is older than the choice whose
 * way is walked over. */
int stage_ts_writes(struct ts *c, unsigned born);
/* Whether it fails or not depends on the elements of its inputs. */
bool stage_ts_may_fail(const struct ts_node *n);
/* One element as bool[]; NULL after an error. */
struct ts_val *stage_ts_condition(struct ts *c, const struct ts_value *v);

/* script-eval.c */
int stage_ts_eval(struct ts *c, const struct ts_expr *e, struct map *env,
	struct ts_value *ret);
/* Not sure: a size or a tensor decides. */
int stage_ts_truth(struct ts *c, const struct ts_value *v, bool *ret,
	bool *ret_sure);
/* script-invoke.c */
int stage_ts_invoke(struct ts *c, const struct ts_def *d,
	const struct ts_value *args, size_t n, const char *const *keys,
	struct ts_value *ret);

/* script-builtin.c: 1: this is none of them. */
int stage_ts_builtin(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, const char *const *keys,
	struct ts_value *ret);
/* script-ops.c: a call of torch.name or ops.aten.name. */
int stage_ts_aten(struct ts *c, const char *name, const struct ts_value *args,
	size_t n, const char *const *keys, struct ts_value *ret);

/* script-graph.c */
int stage_ts_graph(struct ts *c, const struct ts_value *result,
	struct stage_graph **ret);

/* script-pt2-archive.c: torch.export's. */
int stage_ts_open_program(struct ts_archive *a);
/* One of its tensors. */
struct ts_value stage_ts_program_weight(struct ts *c, const char *name);
/* TorchScript's number of an element type; -1: it has none. */
int64_t stage_ts_scalar_of(int64_t is);
/* script-pt2.c: walks it. */
int stage_ts_program(struct ts *c, struct ts_value *ret);

#endif
