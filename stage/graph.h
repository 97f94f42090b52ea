/*
 * The operator stream: what every front end produces and every writer reads.
 * ONNX's own vocabulary (operator names, attribute names, data types), since
 * that is what the writers and the importers behind them speak.
 *
 * A graph owns everything in it. Building never fails half-way: a function
 * that returns an error left the graph as it was. Value names are unique.
 */
#ifndef STAGE_GRAPH_H
#define STAGE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "stage/stage.h"
#include "stage/tensor.h"

#define STAGE_NODES_MAX 2000000

struct stage_graph;

enum stage_attr_kind {		/* AttributeProto.AttributeType */
	STAGE_ATTR_FLOAT = 1, STAGE_ATTR_INT = 2, STAGE_ATTR_STRING = 3,
	STAGE_ATTR_FLOATS = 6, STAGE_ATTR_INTS = 7,
};

struct stage_attr {
	const char *name;
	enum stage_attr_kind kind;
	float f;
	int64_t i;
	const char *s;
	const float *floats;
	const int64_t *ints;
	size_t n;		/* of floats or ints */
};

struct stage_dim {
	int64_t size;		/* -1: symbolic */
	const char *symbol;	/* "batch_size"; NULL with a size */
};

struct stage_graph *stage_graph_new(const char *name);
void stage_graph_free(struct stage_graph *g);

/* A graph input or output of the given type. -EEXIST, -ENOMEM. */
int stage_graph_input(struct stage_graph *g, const char *name,
	enum stage_dtype t, const struct stage_dim *dims, unsigned rank);
int stage_graph_output(struct stage_graph *g, const char *name,
	enum stage_dtype t, const struct stage_dim *dims, unsigned rank);
/* One operator. An input "" is left out. Names are copied. */
int stage_graph_node(struct stage_graph *g, const char *op,
	const char *const *inputs, size_t n_inputs,
	const char *const *outputs, size_t n_outputs,
	const struct stage_attr *attrs, size_t n_attrs);
/* An initializer whose bytes lie in a checkpoint: t is copied; path and
 * file_size name the source (w->files[t->file]). value is the graph's name. */
int stage_graph_weight(struct stage_graph *g, const char *value,
	const struct stage_tensor *t, const char *path, uint64_t file_size);
/* An initializer with its bytes (little-endian, row-major); copied. */
int stage_graph_constant(struct stage_graph *g, const char *value,
	enum stage_dtype dtype, const uint64_t *dims, unsigned rank,
	const void *data, size_t len);

size_t stage_graph_nodes(const struct stage_graph *g);

struct stage_onnx_options {
	unsigned opset;			/* 13, 17: ir_version 7, 8 */
	/* Weights as external data: location is the base name of the source
	 * path, offset and length those of the tensor. Constants stay inline. */
	bool external;
	const char *producer_version;
	/* NULL-ended pairs for metadata_props, or NULL. */
	const char *const *metadata;
};

/* The ModelProto as recipe: protobuf-c packs the messages, payloads are REFs.
 * Inline form over 2^31-1 bytes is -EFBIG. Nodes must be in topological order
 * and every value defined before use (-EINVAL with the name). */
int stage_onnx_write(const struct stage_graph *g,
	const struct stage_onnx_options *o, struct stage_recipe **ret,
	struct error *why);
/* The same inline, or external when that is too large; metadata as above. */
int stage_onnx_write_model(const struct stage_graph *g, unsigned opset,
	const char *const *metadata, struct stage_recipe **ret,
	struct error *why);

#endif
