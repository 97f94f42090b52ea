/* Pieces of stage_look(), for look.c and look-….c. */
#ifndef STAGE_LOOK_H
#define STAGE_LOOK_H

#include <jansson.h>

#include "base/error.h"
#include "base/src.h"

#define STAGE_LOOK_MAX 20000	/* ports, operators, dimensions shown */

/* counts[key] += n. -EFBIG, -EBADMSG: a key that is not in UTF-8; -ENOMEM. */
int stage_look_count(json_t *counts, const char *key, uint64_t n);
/* TensorFlow's DataType in the words of ONNX. */
const char *stage_look_tf_type(unsigned type);
/* A GraphDef. -EBADMSG: it is none. Waits. */
int stage_look_graphdef(struct src *s, char **ret, struct error *why);
/* A model of Keras: "format", "inputs", "layers" (by class), and the HDF5 file
 * that has its weights, s itself or a part of it; the caller gives both back.
 * -ENOENT: it is none, `why` is unset then. Waits. */
int stage_look_keras(struct src *s, json_t **ret, struct src **ret_weights,
	struct error *why);

#endif
