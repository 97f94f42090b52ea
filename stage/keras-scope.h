/* Between keras-model.c and keras-args.c: the model that is laid out. */
#ifndef STAGE_KERAS_SCOPE_H
#define STAGE_KERAS_SCOPE_H

#include "stage/keras.h"

#define STAGE_KERAS_NAME_MAX 1024	/* bytes of a layer's path */

struct stage_keras_flat {
	json_t *layers;		/* what is made */
	size_t calls;
	unsigned depth;
	struct error *why;
};

/* A model within another, or the whole. */
struct stage_keras_scope {
	struct stage_keras_flat *f;
	struct error *why;
	const char *path;	/* "" or "encoder/" */
	const char *group;	/* NULL: layers are their own */
	const char *store;	/* "" or "layers/functional/" */
	json_t *tensors;	/* "layer/node/output": "4:0" */
	const json_t *inputs;	/* tensors it is called with; NULL: the model */
};

/* ["conv1", 0, 0] */
bool stage_keras_history(const json_t *v);
/* The tensors of an argument behind each other, numbers as they are, onto the
 * list. 1: one of them is not there yet. */
int stage_keras_argument(const struct stage_keras_scope *s, const json_t *v,
	json_t *ret);
/* One of inbound_nodes: tensors of a call, and what matters of its other
 * arguments. 1 as above. */
int stage_keras_arguments(const struct stage_keras_scope *s,
	const json_t *node, json_t *inputs, json_t *kwargs);

#endif
