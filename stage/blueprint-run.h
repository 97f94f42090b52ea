/* What the parts of the evaluator share: values, and the run they are of. */
#ifndef STAGE_BLUEPRINT_RUN_H
#define STAGE_BLUEPRINT_RUN_H

#include "base/map.h"
#include "stage/blueprint-ast.h"
#include "stage/blueprint.h"
#include "stage/shape.h"

enum bp_value_kind {
	BP_V_NONE, BP_V_BOOL, BP_V_INT, BP_V_FLOAT, BP_V_TEXT, BP_V_LIST,
	BP_V_OBJECT, BP_V_TENSOR,
};

struct bp_value {
	enum bp_value_kind kind;
	size_t n;			/* items of a list */
	union {
		bool b;
		int64_t i;
		double f;
		const char *s;
		const struct bp_value *list;
		const json_t *object;
		struct bp_tensor *tensor;
	};
};

enum bp_tensor_kind { BP_INPUT, BP_CONSTANT, BP_WEIGHT, BP_RESULT };

/* A value of the graph. Names may change until the graph is written. */
struct bp_tensor {
	enum bp_tensor_kind kind;
	const char *name;
	struct stage_type type;
	bool is_output;
	bool written;			/* it is in the graph */
	struct bp_node *node;		/* RESULT: of which operator */
	const struct stage_tensor *weight;
	const void *data;		/* CONSTANT */
	size_t len;
	struct bp_tensor *next;		/* of inputs or of outputs */
};

struct bp_node {
	const struct stage_op *op;
	struct bp_tensor **in;		/* NULL: left out */
	struct bp_tensor **out;
	size_t n_in, n_out;
	struct stage_attr *attrs;
	size_t n_attrs;
	bool live;			/* an output needs it */
	struct bp_node *next, *before;
};

struct bp_var {
	const char *name;
	struct bp_value v;
};

struct bp_scope {
	struct bp_var *v;
	size_t n, room;
};

struct bp_pattern {
	const char *text;
	struct bp_pattern *next;
};

struct bp_run {
	const struct stage_blueprint *bp;
	const struct stage_blueprint_args *args;
	struct error *why;
	struct stage_arena arena;
	struct bp_scope globals, *locals;	/* locals: NULL outside a def */
	struct bp_value result;			/* of the last return */
	const char *path;			/* module path, or "" */
	unsigned steps, depth, unknowns, nodes;
	/* Names of graph values taken, constants by content, weights by where
	 * their bytes lie. */
	struct map names, constants, ranges;
	struct map kept;	/* values, by keep()'s names */
	struct map shapes;	/* tensors of blueprint-lower.c, by content */
	/* Of all parts of the task together. */
	struct map *keys;	/* of the config, that were looked at */
	bool *used;		/* by index of args->weights->v */
	size_t prefix;		/* bytes before every weight's name */
	struct bp_pattern *ignored;
	struct bp_node *first, *last;
	struct bp_tensor *inputs, *outputs;
};

/* ---- blueprint-eval.c ------------------------------------------------------ */

/* -ENOTSUP with the place before the text. */
int stage_bp_fail(struct bp_run *r, const struct bp_place *at,
	const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int stage_bp_eval(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret);
int stage_bp_set_global(struct bp_run *r, const struct bp_place *at,
	const char *name, const struct bp_value *v);
/* The variable as seen from here, or NULL. */
const struct bp_value *stage_bp_find(struct bp_run *r, const char *name);
/* Several outputs of one operator. */
int stage_bp_eval_op(struct bp_run *r, const struct bp_expr *e,
	struct bp_value *ret, size_t n);
/* 1: a return was met; its value is r->result. */
int stage_bp_exec(struct bp_run *r, const struct bp_block *b);

/* ---- blueprint-value.c ----------------------------------------------------- */

const char *stage_bp_kind_name(const struct bp_value *v);
bool stage_bp_equal(const struct bp_value *a, const struct bp_value *b);
/* From JSON; null is none, arrays are lists, objects stay. */
int stage_bp_from_json(struct bp_run *r, const struct bp_place *at,
	const json_t *j, struct bp_value *ret);
/* The text of a number, word or bool in a string. */
int stage_bp_to_text(struct bp_run *r, const struct bp_place *at,
	const struct bp_value *v, char *ret, size_t room);
int stage_bp_unary(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, struct bp_value *ret);
int stage_bp_binary(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret);
struct bp_value stage_bp_int(int64_t i);
struct bp_value stage_bp_bool(bool b);
struct bp_value stage_bp_tensor(struct bp_tensor *t);

/* ---- blueprint-emit.c ------------------------------------------------------ */

/* A number, bool or list as constant; a tensor as it is; none: NULL. Numbers
 * become `like` (0: i64 and f32). */
int stage_bp_operand(struct bp_run *r, const struct bp_place *at,
	const struct bp_value *v, enum stage_dtype like,
	struct bp_tensor **ret);
/* One operator as it is. */
int stage_bp_append(struct bp_run *r, const struct bp_place *at,
	const struct stage_op *op, struct bp_tensor *const *in, size_t n_in,
	struct stage_attr *attrs, size_t n_attrs, struct bp_tensor **ret,
	size_t n_out);
int stage_bp_input(struct bp_run *r, const struct bp_stmt *s);
int stage_bp_output(struct bp_run *r, const struct bp_stmt *s);
/* Ports of a type that is known already. */
int stage_bp_add_input(struct bp_run *r, const struct bp_place *at,
	const char *name, const struct stage_type *type,
	struct bp_tensor **ret);
int stage_bp_add_output(struct bp_run *r, const struct bp_place *at,
	const char *name, struct bp_tensor *t);
/* A name no value of the graph has yet. */
const char *stage_bp_unique(struct bp_run *r, const char *base);
/* Writes what the outputs need into a graph. */
int stage_bp_write(struct bp_run *r, struct stage_graph **ret);

/* ---- blueprint-lower.c ----------------------------------------------------- */

/* One operator, in the form that the importers of the opset understand. */
int stage_bp_emit(struct bp_run *r, const struct bp_place *at,
	const struct stage_op *op, struct bp_tensor *const *in, size_t n_in,
	struct stage_attr *attrs, size_t n_attrs, struct bp_tensor **ret,
	size_t n_out);

/* ---- blueprint-rope.c ------------------------------------------------------ */

/* rope_frequencies(size, base, scaling): size / 2 numbers; scaling is
 * config.json's object or none. */
int stage_bp_rope_frequencies(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret);
/* rope_attention(scaling): what cosines and sines are multiplied with. */
int stage_bp_rope_attention(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret);
/* sinusoid_frequencies(size): size / 2 numbers, then as many small ones, so
 * that number i and size / 2 + i add up to a frequency. */
int stage_bp_sinusoid_frequencies(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret);
/* relative_buckets(n, far): the bucket of distances 0 to far. */
int stage_bp_relative_buckets(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret);

/* ---- blueprint-layers.c ---------------------------------------------------- */

#define BP_BUILTIN(name) \
	int name(struct bp_run *r, const struct bp_expr *e, \
		const struct bp_value *args, struct bp_value *ret)
BP_BUILTIN(stage_bp_unknown);
BP_BUILTIN(stage_bp_number);
BP_BUILTIN(stage_bp_single);
BP_BUILTIN(stage_bp_keep);
BP_BUILTIN(stage_bp_kept);
BP_BUILTIN(stage_bp_dims);
BP_BUILTIN(stage_bp_placeholder);
BP_BUILTIN(stage_bp_result);
BP_BUILTIN(stage_bp_layer);
BP_BUILTIN(stage_bp_model);

/* ---- blueprint-guard.c ----------------------------------------------------- */

/* Index of the weight a blueprint calls `name`, or -1. */
long stage_bp_weight_index(const struct bp_run *r, const char *name);
/* The weight as f32 tensor. */
int stage_bp_weight(struct bp_run *r, const struct bp_place *at,
	const char *name, struct bp_tensor **ret);
/* config.json's key was looked at. */
int stage_bp_key_seen(struct bp_run *r, const char *key);
int stage_bp_assume(struct bp_run *r, const struct bp_stmt *s);
int stage_bp_ignore(struct bp_run *r, const struct bp_stmt *s);
/* Finds what stands before every weight's name. */
void stage_bp_find_prefix(struct bp_run *r);
/* Unused weights, keys nobody looked at, a graph without outputs. */
int stage_bp_check(struct bp_run *r);

#endif
