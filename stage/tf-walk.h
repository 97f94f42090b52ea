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

/* Is it a functional branch or loop? */
bool stage_tf_is_flow(const char *op);
/* The next step of lowering the one on top of the stack. 1: it is done; 0:
 * something has been pushed. */
int stage_tf_lower(struct tf_walk *w);

/* Nodes that no output needs fall away, inputs stay. roots: the outputs. */
int stage_tf_prune(struct stage_tf_frozen *f, const struct map *roots,
	struct error *why);

#endif
