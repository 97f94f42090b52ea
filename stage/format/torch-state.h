/* Between the two containers of torch.save and the state_dict in them. */
#ifndef STAGE_FORMAT_TORCH_STATE_H
#define STAGE_FORMAT_TORCH_STATE_H

#include "base/error.h"
#include "base/src.h"
#include "stage/format/pickle.h"
#include "stage/tensor.h"

/* A checkpoint being read. */
struct stage_torch {
	unsigned file;			/* as of stage_torch_read() */
	struct stage_weights *w;
	struct error *why;
	uint64_t steps;			/* entries looked at so far */
	/* Where the storage begins in the file; key and len (bytes) are what
	 * the pickle says. */
	int (*place)(struct stage_torch *t, const char *key, uint64_t len,
		uint64_t *ret_off);
};

/* A persistent id of torch.save. */
struct stage_torch_storage {
	const char *key;
	enum stage_dtype dtype;		/* 0: untyped, bytes */
	unsigned elem;			/* bytes of one element */
	uint64_t len;			/* bytes, of the whole storage */
	uint64_t view_off, view_len;	/* bytes; the part that is meant */
};

/* -EBADMSG: no such id; -ENOTSUP: a type that is not read. */
int stage_torch_storage(const struct stage_py *persid,
	struct stage_torch_storage *ret, struct error *why);

/* Is it a call that makes a tensor? NULL is fine. */
bool stage_torch_is_tensor(const struct stage_py *v);
/* What such a call makes, and where it lies; ret->name is `name` itself. Of t
 * only file, why and place count. -ENOTSUP, -EBADMSG, what place gave. */
int stage_torch_tensor(struct stage_torch *t, const char *name,
	const struct stage_py *v, struct stage_tensor *ret);

/* Finds the state_dict below root and adds its tensors to t->w. */
int stage_torch_state(struct stage_torch *t, struct stage_py *root);

/* The older container, without a zip around it. */
int stage_torch_legacy_read(struct src *s, unsigned file,
	struct stage_weights *w, struct error *why);

#endif
