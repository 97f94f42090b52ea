/* Between keras-model.c, keras-functional.c and keras-args.c: the model that is
 * laid out. */
#ifndef STAGE_KERAS_SCOPE_H
#define STAGE_KERAS_SCOPE_H

#include "base/map.h"
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

/* ---- keras-model.c --------------------------------------------------------- */

struct stage_keras_call {
	const char *class, *name;
	const json_t *config;
	json_t *inputs, *kwargs;	/* references are kept by who has it */
	const char *store;
};

bool stage_keras_is_model(const char *class);
/* "batch_shape" of a layer's config, by either of its names; or NULL. */
json_t *stage_keras_shape(const json_t *config);
/* What a layer of a config is; "ops.Add" for a function. -EBADMSG, -ENOTSUP. */
int stage_keras_class(struct stage_keras_scope *s, const json_t *layer,
	char *ret, size_t room);
/* "layers/conv2d_1" below s->store, for the second of its class. NULL: no
 * memory. */
char *stage_keras_store(const struct stage_keras_scope *s, struct map *seen,
	const char *class);
/* A layer or a model within; *ret: its tensors. */
int stage_keras_layer(struct stage_keras_scope *s,
	const struct stage_keras_call *c, json_t **ret);
/* An input of all; *ret: its tensor in a list. */
int stage_keras_input(struct stage_keras_scope *s, const char *name,
	json_t *shape, const json_t *dtype, json_t **ret);

/* ---- keras-functional.c ---------------------------------------------------- */

/* Of a config with "layers"; *ret: the model's outputs. */
int stage_keras_functional(struct stage_keras_scope *s, const json_t *config,
	json_t **ret);

/* ---- keras-args.c ---------------------------------------------------------- */

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
