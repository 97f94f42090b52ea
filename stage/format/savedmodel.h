/*
 * TensorFlow's SavedModel: saved_model.pb as nodes, functions and signatures
 * of the one graph in it that serves. Graphs tagged "train" are never taken.
 *
 * The file is mapped sparsely: fields over STAGE_SAVEDMODEL_LEAF bytes that
 * are no message we look into (tensor_content above all) are not read, and
 * their bytes in the image are zero. Whoever wants them makes a REF of their
 * range (stage_savedmodel_offset).
 *
 * Source: tensorflow/core/protobuf/{saved_model,meta_graph,saver}.proto,
 * tensorflow/core/framework/{graph,node_def,function,attr_value}.proto.
 */
#ifndef STAGE_FORMAT_SAVEDMODEL_H
#define STAGE_FORMAT_SAVEDMODEL_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/map.h"
#include "base/src.h"
#include "stage/arena.h"
#include "stage/format/wire.h"

#define STAGE_SAVEDMODEL_LEAF 65536		/* bytes */
#define STAGE_SAVEDMODEL_READ_MAX (256u << 20)	/* bytes read of the file */
#define STAGE_SAVEDMODEL_MEMORY_MAX (512u << 20)	/* bytes of structures */
#define STAGE_SAVEDMODEL_NODES_MAX 1000000	/* parsed, of all graphs */

struct stage_tf_attr {
	const char *key;
	const uint8_t *value;	/* AttrValue; may lie in the image */
	size_t len;
};

struct stage_tf_node {
	const char *name, *op;
	const char **input;	/* "name", "name:1", "name:out:0", "^name" */
	size_t n_input;
	struct stage_tf_attr *attr;
	size_t n_attr;
	bool flow;		/* stage_tf_mark(): below Switch, Merge, … */
};

/* The main graph, or the body of a function. */
struct stage_tf_graph {
	const char *name;		/* of the function; main graph: NULL */
	const char **arg;		/* names */
	size_t n_arg;
	const char **out, **ret;	/* names, and what they return */
	size_t n_out;
	struct stage_tf_node *nodes;
	size_t n_nodes;
	struct map node_of;		/* name -> its node */
	struct map arg_of;		/* name -> &arg[i] */
	struct bytes body;		/* FunctionDef */
	bool parsed, marked;
	int broken;			/* what parsing it gave */
};

struct stage_tf_info {			/* an input or output of a signature */
	const char *key, *tensor;	/* tensor: "node:0" */
	unsigned dtype;
	const uint8_t *shape;		/* TensorShapeProto; NULL: not told */
	size_t shape_len;
};

struct stage_tf_signature {
	const char *name;
	struct stage_tf_info *in, *out;
	size_t n_in, n_out;
};

struct stage_savedmodel {
	struct stage_arena arena;
	uint8_t *image;
	uint64_t size;			/* bytes of the file */
	struct stage_tf_graph graph;
	struct map functions;		/* name -> struct stage_tf_graph */
	struct stage_tf_signature *signatures;
	size_t n_signatures;
	const char *restore_op;		/* of the saver; NULL: none */
	struct bytes versions;		/* VersionDef of the graph */
	size_t n_nodes;			/* parsed so far */
};

/* -EBADMSG: not as the format says; -ENOTSUP: no graph that serves; -EFBIG;
 * or what reading gave. Waits. */
int stage_savedmodel_open(struct src *s, struct stage_savedmodel **ret,
	struct error *why);
void stage_savedmodel_free(struct stage_savedmodel *m);

/* A function's body, parsed when first asked for. -ENOENT: there is none. */
int stage_savedmodel_function(struct stage_savedmodel *m, const char *name,
	struct stage_tf_graph **ret, struct error *why);
/* Is p in the image, and where in the file? */
bool stage_savedmodel_offset(const struct stage_savedmodel *m,
	const uint8_t *p, uint64_t *ret);

const struct stage_tf_attr *stage_tf_attr(const struct stage_tf_node *n,
	const char *key);
/* A field of an AttrValue (s 2, i 3, f 4, b 5, type 6, shape 7, tensor 8,
 * placeholder 9, func 10); false: it has none. The last one counts. */
bool stage_tf_value(const struct stage_tf_attr *a, uint32_t field,
	struct stage_wire *ret);
/* The function's name of attribute `key`, or NULL. Out of memory: NULL too,
 * which refuses the node. */
const char *stage_tf_func(struct stage_savedmodel *m,
	const struct stage_tf_node *n, const char *key);
/* The functions' names of attribute `key`, a list: their number, -EBADMSG:
 * over `room` or without names. */
int stage_tf_funcs(struct stage_savedmodel *m, const struct stage_tf_node *n,
	const char *key, const char **ret, size_t room);
/* The types of attribute `key`, a list, without the mark of references: their
 * number; -EBADMSG: none such, or over `room`. */
int stage_tf_types(const struct stage_tf_node *n, const char *key,
	unsigned *ret, size_t room);
/* type of attribute `key`, without the mark of references; 0: none. */
unsigned stage_tf_type(const struct stage_tf_node *n, const char *key);
/* The strings of a Const of strings, in the arena; one alone stands for all.
 * Their number, or -EBADMSG: n is no such. */
int stage_tf_const_strings(struct stage_savedmodel *m,
	const struct stage_tf_node *n, const char ***ret);

#endif
