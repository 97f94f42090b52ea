/*
 * Variants: what is made of an ONNX file whoever made it, a stager or the
 * repository's authors. A stager lays out X.onnx; its variants come by
 * themselves, beside it and named after it:
 *
 *	X_fp16.onnx		matrices in half precision, and a Cast
 *	X_int8.onnx		matrices in eight bits, and what scales them
 *	X_skeleton.onnx		the graph; its external data are the weights
 *				where they are, beside it or in X.onnx
 *	X_external.onnx		the graph, and in
 *	X_external.onnx_data	its weights, in the order of their use
 *	X_trainable.onnx	constants as initializers, and training_info
 *	X_clean.onnx		of the repository's: without what does nothing
 *	X.safetensors		the weights; of model.onnx weights.safetensors,
 *				and none where safetensors are already
 *
 * A file of that name in the repository stays what it is. What looks like a
 * variant itself (X_quantized.onnx) has a skeleton only.
 */
#ifndef STAGE_VARIANT_H
#define STAGE_VARIANT_H

#include "stage/variant-edit.h"

enum stage_form {
	STAGE_FORM_F16, STAGE_FORM_I8, STAGE_FORM_SKELETON,
	STAGE_FORM_EXTERNAL, STAGE_FORM_EXTERNAL_DATA, STAGE_FORM_TRAINABLE,
	STAGE_FORM_CLEAN, STAGE_FORM_WEIGHTS,
	STAGE_FORMS,
};

/* Adds the variants of the files in `staged`, which stagers laid out, and of
 * the repository's own; in `dir` alone unless that is NULL. Does not sort. */
int stage_variant_layout(const struct stage_repo *repo, const char *dir,
	struct listing *staged);
/* Which variant of which file a path would be, malloc'd; STAGE_FORMS: of none.
 * Whether there is such a file is not looked at. -ENOMEM. */
int stage_variant_of(const char *path, enum stage_form *ret, char **ret_base);
/* May the plan of a variant of the repository's own file depend on `file`? */
bool stage_variant_reads(const char *base, const char *file);
int stage_variant_plan(struct stage *s, const struct stage_input *in,
	enum stage_form form, const char *base, struct stage_recipe **ret,
	struct error *why);

/* The forms. Each changes e, or says why it cannot be. */
int stage_form_f16(struct stage_edit *e);
int stage_form_i8(struct stage_edit *e);
int stage_form_skeleton(struct stage_edit *e);
/* data: the name of the file with the weights. */
int stage_form_external(struct stage_edit *e, const char *data);
int stage_form_trainable(struct stage_edit *e);
int stage_form_clean(struct stage_edit *e);
/* The other files. */
int stage_form_data(struct stage_edit *e, struct stage_recipe **ret);
int stage_form_weights(struct stage_edit *e, struct stage_recipe **ret);

#endif
