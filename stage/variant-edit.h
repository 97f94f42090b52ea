/*
 * An ONNX file changed into another: some tensors and nodes are left out, some
 * come anew, and everything else is the file's own bytes. The result is a
 * recipe over what the file itself is made of.
 *
 *   ModelProto's fields as they are, but for ir_version
 *   graph:   new nodes | the file's fields, but for what is gone | new
 *            initializers
 *   new fields
 */
#ifndef STAGE_VARIANT_EDIT_H
#define STAGE_VARIANT_EDIT_H

#include "base/buf.h"
#include "stage/graph-data.h"
#include "stage/onnx-model.h"
#include "stage/onnx-put.h"
#include "stage/recipe-slice.h"
#include "stage/stage.h"

#define STAGE_EDIT_NAME 8192	/* bytes of a value's name, with its suffix */

/* A file of external data. */
struct stage_edit_file {
	const char *location;
	struct stage_recipe *recipe;	/* all of it */
	struct stage_cursor cursor;
};

struct stage_edit {
	struct stage_onnx m;
	struct stage *stage;
	const struct stage_input *in;
	const char *path;		/* of the file, in the tree */
	bool original;			/* it is the repository's */
	struct stage_recipe *base;	/* the file */
	struct src *src;		/* its structure; the rest may read as
					 * zeros */
	struct stage_cursor cursor;	/* of base */
	struct stage_edit_file *files;
	size_t n_files;
	struct error *why;
	struct buf nodes;		/* GraphProto's, in front */
	struct buf tail;		/* ModelProto's, behind */
	struct buf head;		/* of an initializer, while it is made */
	struct stage_recipe *inits;	/* GraphProto's, behind */
	size_t changed;			/* tensors that became others */
	uint64_t least_ir;		/* ir_version of what is written */
};

/* Reads the file. Waits. */
int stage_edit_open(struct stage_edit *e, struct stage *s,
	const struct stage_input *in, const char *path, struct error *why);
void stage_edit_done(struct stage_edit *e);
/* The recipe of what became of it. */
int stage_edit_write(struct stage_edit *e, struct stage_recipe **ret);

/* Where a plain tensor's bytes are: *ret_c at the recipe, *ret_off in it. */
int stage_edit_place(struct stage_edit *e, const struct stage_onnx_tensor *t,
	struct stage_cursor **ret_c, uint64_t *ret_off);
/* What a plain tensor's bytes are, when they are one extent. */
struct stage_edit_bytes {
	enum stage_extent_kind kind;
	const char *path;	/* REF: of the repository's file */
	uint64_t size, off;	/* REF: bytes; of that file, and in it */
};
bool stage_edit_bytes(struct stage_edit *e, const struct stage_onnx_tensor *t,
	struct stage_edit_bytes *ret);
/* Is it REF, so that something can be computed of it when it is read? */
bool stage_edit_is_ref(struct stage_edit *e,
	const struct stage_onnx_tensor *t);
/* Does that file of the repository lie beside the model, in the tree? */
bool stage_edit_is_beside(struct stage_edit *e, const char *path);
/* Is every plain tensor inside the file it says? */
int stage_edit_check(struct stage_edit *e);
/* The opset is one that has Cast(to=), Mul and Reshape as we write them. */
int stage_edit_check_opset(struct stage_edit *e);
/* A tensor is gone; if what it gave is not an initializer any more, `input`,
 * it is no input either. */
void stage_edit_drop(struct stage_edit *e, struct stage_onnx_tensor *t,
	bool input);

/* A new name: base and suffix. -ENOTSUP: the graph has it already. */
int stage_edit_name(struct stage_edit *e, const char *base, const char *suffix,
	char ret[STAGE_EDIT_NAME]);
/* A new initializer with the bytes of t, or what is computed of them. Of init
 * what stage_onnx_put_init() asks for; how NULL: as they are. */
int stage_edit_init(struct stage_edit *e, const struct stage_graph_init *init,
	const struct stage_onnx_tensor *t, const struct stage_extent *how);
/* A new initializer with its bytes. */
int stage_edit_constant(struct stage_edit *e,
	const struct stage_graph_init *init, const void *data);
/* A new initializer that is external data. */
int stage_edit_outside(struct stage_edit *e, const struct stage_onnx_tensor *t,
	const struct stage_onnx_outside *where);
/* A new node of one output. */
int stage_edit_node(struct stage_edit *e, const char *op,
	const char *const *in, size_t n_in, const char *out,
	const struct stage_attr *attr);
int stage_edit_metadata(struct stage_edit *e, const char *key,
	const char *value);
/* As a tensor's initializer, of the same name, type and shape. */
struct stage_graph_init stage_edit_like(const struct stage_onnx_tensor *t);

#endif
