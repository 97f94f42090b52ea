/*
 * Models of Keras as a list of layers, in the order they are computed:
 *
 *	{"layers": [{
 *	    "class": "Conv2D",		"ops.Add" for a function of keras.ops
 *	    "name": "encoder/conv1",	path of names through nested models
 *	    "config": {…},		as Keras writes it
 *	    "inputs": ["3:0", …],	tensors; numbers for constants of ops
 *	    "kwargs": {"mask": …},	other arguments; those that are null or
 *					do not matter are left out
 *	    "outputs": ["4:0", …],
 *	    "group": "encoder",		layer of the model itself
 *	    "store": "layers/functional/layers/conv2d"
 *	  }, …],
 *	 "outputs": ["9:0"]}
 *
 * keras-model.c makes it of a model_config, a blueprint for keras of a name
 * in keras.applications (without kwargs, group, store); keras.bp makes the
 * graph of it. A layer that is called twice is there twice.
 */
#ifndef STAGE_KERAS_H
#define STAGE_KERAS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "stage/format/hdf5.h"
#include "stage/tensor.h"

#define STAGE_KERAS_NEST_MAX 8		/* models in each other */

/* Of {"class_name", "config"}: Functional, Model or Sequential. -EBADMSG,
 * -ENOTSUP with what is not handled. */
int stage_keras_model(const json_t *model, json_t **ret, struct error *why);

/* The order in which Keras itself numbers layers: farthest from the outputs
 * first. ret[i]: index into "layers" of the i-th; one a layer. The caller
 * frees. -EBADMSG when it is no graph. */
int stage_keras_order(const json_t *layers, const json_t *outputs,
	size_t **ret, size_t *ret_n, struct error *why);

/* ---- weights --------------------------------------------------------------- */

#define STAGE_KERAS_VARS_MAX 16		/* weights of one layer */

/* A weight of a layer, as the graph calls it: behind the layer's path. */
struct stage_keras_var {
	char name[64];		/* "forward.kernel" */
	char store[64];		/* where .weights.h5 has it: "cell/vars/0" */
};

/* Those of such a layer, in the order in which Keras keeps them. -EFBIG. */
int stage_keras_vars(const char *class, const json_t *config,
	struct stage_keras_var ret[STAGE_KERAS_VARS_MAX], size_t *ret_n);

/* How a file has them. */
enum stage_keras_form {
	STAGE_KERAS_STORE,	/* .weights.h5: by "store" */
	STAGE_KERAS_LEGACY,	/* groups named as layers, in `top` */
	STAGE_KERAS_ORDER,	/* the same without names: the i-th group with
				 * weights is the i-th layer with weights */
};

/* The weights of the layers, called "name.var". top: the group of the legacy
 * forms. Tensors get `file` and lie `base` bytes further than in h; those that
 * have to be made are in a file more. Those of no layer are added under their
 * own names. -ENOTSUP: a layer has too few or
 * too many. */
struct stage_keras_weights {
	struct stage_hdf5 *h;
	const char *name;	/* of the HDF5 file, as in stage/made.h */
	uint64_t h_size;	/* bytes of the HDF5 file */
	enum stage_keras_form form;
	const char *top;
	unsigned file;
	uint64_t base;
};

int stage_keras_read(const struct stage_keras_weights *k,
	const json_t *model, struct stage_weights *ret, struct error *why);

/* [off, off + len) of a .keras as a source: a member that is stored. */
int stage_keras_part(struct src *s, uint64_t off, uint64_t len,
	struct src **ret, struct error *why);

#endif
