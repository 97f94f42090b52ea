/* What a graph holds, for graph.c and the writers. */
#ifndef STAGE_GRAPH_DATA_H
#define STAGE_GRAPH_DATA_H

#include "base/map.h"
#include "stage/arena.h"
#include "stage/graph.h"

/* An input or an output of the graph. */
struct stage_graph_port {
	const char *name;
	enum stage_dtype dtype;
	struct stage_dim *dims;
	unsigned rank;
};

struct stage_graph_node {
	const char *op;
	const char **inputs, **outputs;
	struct stage_attr *attrs;
	size_t n_inputs, n_outputs, n_attrs;
};

struct stage_graph_init {
	const char *value;
	enum stage_dtype dtype;
	uint64_t dim[STAGE_RANK_MAX];
	unsigned rank;
	uint64_t len;			/* bytes of payload */
	const void *data;		/* a constant's; NULL: a weight */
	const char *path;		/* a weight's source */
	uint64_t file_size, off;	/* bytes; of and in the source */
};

/* Where a value comes from: 0 from before the first node, else node + 1. */
struct stage_graph_value {
	size_t def;
};

struct stage_graph {
	const char *name;
	struct stage_graph_port *inputs, *outputs;
	size_t n_inputs, room_inputs, n_outputs, room_outputs;
	struct stage_graph_node *nodes;
	size_t n_nodes, room_nodes;
	struct stage_graph_init *inits;
	size_t n_inits, room_inits;
	struct map values;		/* name -> struct stage_graph_value */
	struct stage_arena arena;	/* every name, list and constant */
};

/* Adds a copy of an initializer, of this graph or another. */
int stage_graph_init_add(struct stage_graph *g,
	const struct stage_graph_init *init);

#endif
