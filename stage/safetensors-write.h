/* A checkpoint of any form as one safetensors file. */
#ifndef STAGE_SAFETENSORS_WRITE_H
#define STAGE_SAFETENSORS_WRITE_H

#include "base/error.h"
#include "stage/stage.h"
#include "stage/tensor.h"

/* Bit for bit, names as they are. -ENOTSUP: a name or type that the form does
 * not have; -EFBIG: a header longer than readers take. */
int stage_safetensors_write(const struct stage_weights *w,
	struct stage_recipe **ret, struct error *why);

#endif
