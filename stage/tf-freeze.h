/* Inside of freezing, for tf-freeze.c, tf-flow.c and tf-rewrite.c alone. */
#ifndef STAGE_TF_FREEZE_H
#define STAGE_TF_FREEZE_H

#include "stage/tf.h"

struct tf_variable {
	const char *key;		/* of the checkpoint */
	struct stage_tf_const bytes;
	unsigned dtype;
};

/* A tensor of the frozen graph. */
struct tf_value {
	const char *ref;		/* "node", "node:1" */
	const struct tf_variable *handle; /* of this variable, or NULL */
};

/* What a node has become. */
struct tf_done {
	bool ready, other;		/* another operator than before */
	const char *name;		/* of one node; NULL: several values */
	struct tf_value *v;
	size_t n;
};

struct tf_freezer {
	struct stage_savedmodel *m;
	const struct stage_bundle *b;
	const struct map *vars;
	struct stage_tf_frozen *out;
	struct map names;		/* of out's nodes; value: anything */
	struct error *why;
	/* Of the node that is made: "^node"s that operators without inputs
	 * wait for, so that they run in the loop or branch they stand in. */
	const char **control;
	size_t n_control;
	const char *reserved;		/* the next node's name, or NULL */
	/* out's nodes and names are those of a function, whose references
	 * name outputs: "node:output:0". */
	bool in_function;
};

#define TF_ATTRS_MORE 12		/* attributes we add to one node */

/* ---- tf-attr.c ------------------------------------------------------------- */

/* "key=b:1 …", those that are not there, into v, which has room for
 * TF_ATTRS_MORE more: b bool, n int, f float, s string, t type, i list of
 * ints, T list of types, l empty list. */
int stage_tf_attr_text(struct tf_freezer *f, const char *text,
	struct stage_tf_attr *v, size_t *n);
/* KIND:VALUE of len bytes as the attribute key. */
int stage_tf_attr_make(struct tf_freezer *f, const char *key,
	const char *text, size_t len, struct stage_tf_attr *ret);
/* An AttrValue as it is. */
int stage_tf_attr_raw(struct tf_freezer *f, const char *key,
	const struct buf *value, struct stage_tf_attr *ret);
/* The attribute "shape"; -1: an open size. */
int stage_tf_attr_shape(struct tf_freezer *f, const int64_t *dim,
	unsigned rank, struct stage_tf_attr *ret);
void stage_tf_attr_sort(struct stage_tf_frozen_node *n);

/* ---- tf-rewrite.c ---------------------------------------------------------- */

/* Append the node that n, of main graph or function, becomes with these
 * inputs, under `name` or one like it. */
int stage_tf_rewrite(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, const struct tf_value *in, size_t n_in,
	struct tf_done *ret);
/* The Placeholder of a signature's input; n is the node it names. */
int stage_tf_feed(struct tf_freezer *f, const struct stage_tf_node *n,
	const struct stage_tf_info *info, struct tf_done *ret);
/* The Identity that gives a signature's output its name, *ret_name. */
int stage_tf_fetch(struct tf_freezer *f, const struct stage_tf_info *info,
	const struct tf_value *v, const char **ret_name);
/* An operator of ours under `name` or one like it. attrs: "T=t:1 axis=n:0";
 * frame: its frame_name, or NULL. *ret_name is the name it got. */
int stage_tf_emit(struct tf_freezer *f, const char *name, const char *op,
	const struct tf_value *in, size_t n_in, const char *attrs,
	const char *frame, const char **ret_name);
/* A Const of one int32. */
int stage_tf_emit_int(struct tf_freezer *f, const char *name, uint64_t v,
	struct tf_value *ret);
/* The name a node like `name` will have; the next one takes it when it is
 * f->reserved. */
int stage_tf_reserve(struct tf_freezer *f, const char *name,
	const char **ret);

#endif
