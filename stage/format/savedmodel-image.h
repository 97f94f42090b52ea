/* The sparse image of saved_model.pb, for savedmodel.c alone. */
#ifndef STAGE_FORMAT_SAVEDMODEL_IMAGE_H
#define STAGE_FORMAT_SAVEDMODEL_IMAGE_H

#include <stdint.h>

#include "base/error.h"
#include "base/src.h"

/* Maps s->size bytes and reads what the messages we know are made of, leaving
 * out fields over STAGE_SAVEDMODEL_LEAF bytes that are none. munmap() it. */
int stage_savedmodel_image(struct src *s, uint8_t **ret, struct error *why);

#endif
