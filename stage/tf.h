/*
 * From a SavedModel to a frozen GraphDef: variables become constants, calls
 * are inlined, what only training needs falls away. From the operator stream
 * to a GraphDef: tf-graph*.c. Behind the stagers; the format readers stand
 * below.
 *
 *	tf-vars.c	which variable is which tensor of the checkpoint
 *	tf-freeze.c	the walk from the outputs of a signature
 *	tf-flow.c	branches and loops as Switch, Merge, Enter, …
 *	tf-keep.c	the same kept as functions
 *	tf-mark.c	what stands in them, and what nobody needs
 *	tf-rewrite.c	what becomes of one node
 *	tf-attr.c	its attributes
 *	tf-ops.c	operators by name
 *	tf-thaw.c	weights back to variables
 *	tf-write.c	nodes to a recipe
 */
#ifndef STAGE_TF_H
#define STAGE_TF_H

#include "base/buf.h"
#include "base/map.h"
#include "stage/arena.h"
#include "stage/format/bundle.h"
#include "stage/format/savedmodel.h"
#include "stage/graph-data.h"
#include "stage/stage.h"

#define STAGE_TF_NODES_MAX 500000	/* of a frozen graph */
#define STAGE_TF_DEPTH_MAX 64		/* calls inside calls */
#define STAGE_TF_FILE_MAX 0x7fffffff	/* bytes: protobuf's own limit */

enum stage_tf_dtype {
	STAGE_TF_INT32 = 3, STAGE_TF_STRING = 7, STAGE_TF_BOOL = 10,
	STAGE_TF_RESOURCE = 20,
};

/* ---- operators ------------------------------------------------------------- */

/* Why a frozen graph cannot have this operator, or NULL. */
const char *stage_tf_refused(const char *op);
/* "key=b:1 …": attributes at their defaults (see tf-ops.c), or NULL. */
const char *stage_tf_defaults(const char *op);
/* The number of an operator's first output called `name`; -ENOTSUP: not
 * known. */
int stage_tf_output(const char *op, const char *name);

/* Is it an operator of TF1's branches and loops (Switch, Merge, Enter, …)? */
bool stage_tf_is_frame(const char *op);
/* Marks the nodes of g that depend on such an operator. */
int stage_tf_mark(struct stage_tf_graph *g, struct error *why);

/* ---- variables ------------------------------------------------------------- */

struct stage_tf_var {
	const char *key;	/* of the checkpoint */
	const char *spec;	/* shape_and_slice of RestoreV2; "": all */
};

/* Bytes of a variable: rows [row, row + rows) of t, which is all of it unless
 * the variable is a part of what was saved. */
struct stage_tf_const {
	const struct stage_bundle_tensor *t;
	uint64_t dim0;		/* its first dimension, when t has one */
	uint64_t off, len;	/* bytes in the tensor */
};

/* Names of the main graph's variables -> struct stage_tf_var, all in the
 * model's arena. What cannot be understood is left out. */
int stage_tf_vars(struct stage_savedmodel *m, const struct stage_bundle *b,
	const struct stage_input *in, struct map *ret, struct error *why);
/* -ENOENT: not in the checkpoint; -EBADMSG; -ENOTSUP. */
int stage_tf_const(const struct stage_bundle *b, const struct stage_tf_var *v,
	struct stage_tf_const *ret, struct error *why);

/* ---- frozen graphs --------------------------------------------------------- */

struct stage_tf_frozen_node {
	const char *name, *op;
	const char **input;
	size_t n_input;
	struct stage_tf_attr *attr;	/* sorted by key */
	size_t n_attr;
	const struct stage_tf_const *value;	/* a variable's bytes, or NULL */
	const struct stage_graph_init *init;	/* a stream's, or NULL */
	bool fixed;				/* it is never trained */
};

/* A body of a branch or loop, where they are kept as functions. */
struct stage_tf_frozen_function {
	const char *name;
	const char *const *arg, *const *out;	/* names */
	const char **ret;			/* what the outputs are */
	const unsigned *arg_type, *out_type;
	size_t n_arg, n_out;
	struct stage_tf_frozen_node *v;
	size_t n, room;
	struct map names;			/* as tf_freezer's */
	struct stage_tf_frozen_function *next;
};

/* A variable of a graph that is to be trained: names of its nodes, that of
 * VarHandleOp being its own. */
struct stage_tf_thawed {
	const char *name, *initial, *assign, *read;
};

struct stage_tf_frozen {
	struct stage_arena arena;
	struct stage_tf_frozen_node *v;
	size_t n, room;
	struct stage_tf_frozen_function *functions;
	struct stage_tf_thawed *vars;	/* of n_vars; NULL: it is frozen */
	size_t n_vars;
};

/* The graph of a signature, branches and loops lowered to frames or kept as
 * functions. *ret is for stage_tf_frozen_done() in every case. -ENOTSUP with
 * the operator and why. */
int stage_tf_freeze(struct stage_savedmodel *m, const struct stage_bundle *b,
	const struct map *vars, const struct stage_tf_signature *s,
	bool functions, struct stage_tf_frozen *ret, struct error *why);
void stage_tf_frozen_done(struct stage_tf_frozen *f);

/* Turns the weights into variables. Which are weights: tf-thaw.c. -ENOTSUP: it
 * has none, or it has branches or loops. */
int stage_tf_thaw(struct stage_tf_frozen *f, struct error *why);
/* How much of a name of len bytes stands before "_trainable", which ends it;
 * len: it does not. */
size_t stage_tf_trainable(const char *name, size_t len);
/* Is path "…_trainable.pb"? */
bool stage_tf_is_trainable(const struct stage_repo *repo, const char *path);

/* As GraphDef, with variables as MetaGraphDef. `path` is saved_model.pb's,
 * whose long constants are referred to; m, b and path are NULL for a graph
 * that is not of a SavedModel. -EFBIG: over 2 GiB. */
int stage_tf_write(const struct stage_savedmodel *m,
	const struct stage_bundle *b, const struct stage_tf_frozen *f,
	const char *path, struct stage_recipe **ret, struct error *why);

/* The operator stream (of opset 13) as GraphDef: inputs are Placeholders and
 * outputs nodes of their names, weights Consts that refer to the checkpoint.
 * Only operators that SameDiff's importer maps. trainable: as MetaGraphDef,
 * weights being variables. -ENOTSUP with the operator that has no such form;
 * -EFBIG. */
int stage_tf_from_graph(const struct stage_graph *g, bool trainable,
	struct stage_recipe **ret, struct error *why);

#endif
