/*
 * The archive around what torch writes since 1.6: checkpoints, TorchScript and
 * torch.export. One directory ROOT/ holds all of it.
 */
#ifndef STAGE_FORMAT_TORCH_ZIP_H
#define STAGE_FORMAT_TORCH_ZIP_H

#include "stage/format/pickle.h"
#include "stage/format/zipdir.h"
#include "stage/window.h"

struct stage_torch_zip {
	struct stage_window w;
	struct stage_zip zip;
	char *root;			/* "archive/" */
	uint64_t alignment;		/* bytes, a power of two */
	struct error *why;		/* the caller's, set before all else */
};

/* mark: a member of ROOT/ that there has to be ("data.pkl"); -ENOTSUP: there
 * is none. z is for stage_torch_zip_done() in every case. Waits. */
int stage_torch_zip_open(struct stage_torch_zip *z, struct src *s,
	const char *mark);
void stage_torch_zip_done(struct stage_torch_zip *z);
/* Byte order (-ENOTSUP: big-endian) and alignment of the storages. */
int stage_torch_zip_properties(struct stage_torch_zip *z);
/* ROOT/name, or NULL. */
const struct stage_zip_member *stage_torch_zip_find(
	const struct stage_torch_zip *z, const char *name);
/* -ENOENT: no such member (why unset). */
int stage_torch_zip_pickle(struct stage_torch_zip *z, const char *name,
	struct stage_pickle **ret);
/* Where the storage ROOT/dir/key of len bytes begins in the file; dir ends
 * with a slash. */
int stage_torch_zip_place(struct stage_torch_zip *z, const char *dir,
	const char *key, uint64_t len, uint64_t *ret_off);

#endif
