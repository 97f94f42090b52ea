/* Weights of transformers' TensorFlow classes (tf_model.h5). */
#ifndef STAGE_TF_NAMES_H
#define STAGE_TF_NAMES_H

#include "stage/tensor.h"

/* Gives all of w, as the reader of HDF5 made it, the names and shapes of the
 * PyTorch classes, and sorts. -EBADMSG: a name says nothing, or two say the
 * same. */
int stage_tf_weight_names(struct stage_weights *w, struct error *why);

#endif
