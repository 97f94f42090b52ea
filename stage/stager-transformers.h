/* What the stagers of Hugging Face repositories share. */
#ifndef STAGE_STAGER_TRANSFORMERS_H
#define STAGE_STAGER_TRANSFORMERS_H

#include "stage/stager.h"

/* Has it a config.json and weights? */
bool stage_transformers_has(const struct listing *repo);
/* May its graphs depend on this file? */
bool stage_transformers_reads(const struct stage_repo *repo, const char *file);
/* The names of its graphs; of a model that is not handled "model", whose plan
 * says why. They live as long as s. */
int stage_transformers_parts(const struct stage *s,
	const struct stage_input *in, const char *const **ret, size_t *ret_n,
	struct error *why);
/* One of them; the caller frees it. As stage_plan(). */
int stage_transformers_graph(const struct stage *s,
	const struct stage_input *in, const char *part, unsigned opset,
	struct stage_graph **ret, struct error *why);

#endif
