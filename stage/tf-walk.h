/* The walk's state, for tf-freeze.c and tf-flow.c alone. */
#ifndef STAGE_TF_WALK_H
#define STAGE_TF_WALK_H

#include "stage/tf-freeze.h"

struct tf_flow;

/* A call of a function, or the main graph. */
struct tf_scope {
	struct stage_tf_graph *g;
	const char *prefix;		/* "call/", of its nodes' names */
	struct tf_value *args;		/* g->n_arg */
	const char *pivot;		/* "^node" of the branch or loop it
					 * stands in, or NULL */
	struct stage_tf_frozen_function *fn;	/* it becomes part of; NULL:
						 * of the graph */
	struct map done;		/* node name -> struct tf_done */
	unsigned depth;
	struct tf_scope *next;		/* of all, to free them */
};

/* A node whose inputs are being made. */
struct tf_work {
	struct tf_scope *s;
	const struct stage_tf_node *n;
	struct tf_done *done;
	struct tf_value *in;
	const char **control;		/* "^node"s that are kept */
	size_t at, n_in, n_control;	/* inputs looked at; kept */
	struct tf_scope *body;		/* of the function it calls */
	size_t out;			/* outputs of the body that are made */
	struct tf_flow *flow;		/* of a branch or loop */
	const char *promised;		/* its name, or NULL */
};

/* A NextIteration that Merge was told of before it was made. */
struct tf_promise {
	struct tf_scope *s;
	const struct stage_tf_node *n;
	const char *name;
	struct tf_promise *next;
};

struct tf_walk {
	struct tf_freezer f;
	struct tf_work *stack;
	size_t n, room;
	size_t visits;
	struct tf_scope *scopes;
	struct tf_promise *promises;
	bool flow;			/* it branches or loops */
	bool functions;			/* and these stay functions */
	struct stage_tf_frozen_function *fn;	/* whose nodes are f.out's now */
	struct map functions_by_name;
};

int stage_tf_no_memory(struct tf_walk *w);
char *stage_tf_joined(struct tf_walk *w, const char *a, const char *b,
	const char *c);
/* A scope for what n, in s, calls: `suffix` stands behind n's name. */
int stage_tf_scope(struct tf_walk *w, struct tf_scope *s,
	const struct stage_tf_node *n, const char *suffix, size_t n_args,
	struct stage_tf_graph *g, struct tf_scope **ret);
/* 1: *ret is what ref stands for in s; 0: its node has been pushed, and
 * w->stack may have moved. */
int stage_tf_resolve(struct tf_walk *w, struct tf_scope *s, const char *ref,
	struct tf_value *ret);

/* From now on nodes are those of fn (NULL: of the graph itself). */
void stage_tf_select(struct tf_walk *w, struct stage_tf_frozen_function *fn);

/* ---- branches and loops ---------------------------------------------------- */

enum tf_flow_kind {
	TF_IF, TF_CASE, TF_WHILE,
};

struct tf_flow {
	enum tf_flow_kind kind;
	const char *prefix;		/* "a/while", of what is made */
	size_t n_body, at;		/* bodies; done */
	struct tf_scope **body;
	struct tf_value **ret;		/* of each body */
	const struct tf_value *in;	/* what goes in, and its number */
	size_t n_in, n_out;
	unsigned *in_type, *out_type;
	/* A loop's, of each input; a variable has an Enter only. */
	struct tf_value *merge, *enter;
	struct tf_value *inside, *outside;	/* Switch's outputs */
	const char **next;
	struct tf_value cond;
};

/* Is it a functional branch or loop? */
bool stage_tf_is_flow(const char *op);
/* The next step of the one on top of the stack. 1: it is done; 0: something
 * has been pushed. */
int stage_tf_flow(struct tf_walk *w);
/* Output i when it is a variable: the one that went in. */
int stage_tf_same_variable(struct tf_walk *w, const struct tf_work *t,
	const struct tf_flow *x, size_t i, struct tf_value *ret);

/* tf-keep.c: what goes before and behind the bodies. */
int stage_tf_keep(struct tf_walk *w, struct tf_flow *x);
int stage_tf_kept(struct tf_walk *w, struct tf_work *t, struct tf_flow *x);

/* Nodes that no output needs fall away, inputs stay. roots: the outputs. */
int stage_tf_prune(struct stage_tf_frozen *f, const struct map *roots,
	struct error *why);

#endif
