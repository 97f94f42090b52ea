/*
 * config.json of timm's repositories. It names the architecture, a function of
 * timm; what that function takes beside its own settings stands in two places:
 * pretrained_cfg, of which a few keys become arguments, and model_args, which
 * overrule them (timm/models/_hub.py, _builder.py).
 */
#ifndef STAGE_TIMM_H
#define STAGE_TIMM_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* Is it one? Those of transformers have a model_type. */
bool stage_timm_is(const json_t *config);

/* What a blueprint sees as cfg: architecture, and the arguments by their names
 * in timm. -ENOTSUP with the reason. */
int stage_timm_config(const json_t *config, json_t **ret, struct error *why);

/* For stage_blueprint_task(): the architecture, or "features" when the model
 * was made without a classifier. Of what stage_timm_config() gave. */
const char *stage_timm_arch(const json_t *cfg);

/* The arguments that config.json itself tells, or NULL: a blueprint has to look
 * at each of them. */
const json_t *stage_timm_told(const json_t *config);

#endif
