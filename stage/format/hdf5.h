/*
 * HDF5 files over a src: what Keras and TensorFlow's transformers keep their
 * weights in. libhdf5 reads the structure through a driver of ours
 * (hdf5-driver.h), so that nothing is copied and no other file is opened; of
 * datasets that lie in one piece only the place is asked for. The library is
 * not thread-safe everywhere: one lock is held during every call, also while
 * it waits for bytes.
 *
 * libhdf5 is not proof against every lie: up to 1.10 a string of its own length
 * is copied as long as it says, whatever lies behind it. So a process that can
 * be spared reads files of strangers (base/worker.h).
 *
 * Datasets that do not lie in one piece are made (hdf5-chunks.h): they are in
 * a source of their own, one behind the other in the order of their paths.
 *
 * Refused: external, soft and user-defined links, a group that is there twice
 * (loops), data in other files, virtual datasets, filters but deflate, shuffle
 * and fletcher32, other byte orders; what would unpack to more than an archive
 * of that size may (archive.h). Plug-ins are never loaded.
 *
 * Source: HDF5 File Format Specification 3.0, and the HDF5 reference manual.
 */
#ifndef STAGE_FORMAT_HDF5_H
#define STAGE_FORMAT_HDF5_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/src.h"
#include "stage/stage.h"
#include "stage/tensor.h"

#define STAGE_HDF5_DEPTH_MAX 32		/* groups in each other */
#define STAGE_HDF5_LINKS_MAX 400000	/* names in one walk */
#define STAGE_HDF5_TEXT_MAX (64u << 20)	/* bytes of one attribute */
#define STAGE_HDF5_TEXTS_MAX 200000	/* strings of one attribute */
#define STAGE_HDF5_OWN_MAX 8192		/* of those that tell their length */

struct stage_hdf5;

/* As the readers of checkpoint.h: the tensors of the whole file, each named
 * by its path ("dense/dense/kernel:0"). Datasets of no element are left out. */
int stage_hdf5_probe(const void *head, size_t n, uint64_t size);
int stage_hdf5_read(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why);

/* For who needs more of a file than its tensors. Takes no reference to s,
 * which stays until stage_hdf5_close(). One thread at a time for one file. All
 * wait. -EBADMSG, -ENOTSUP, -EFBIG, or what reading gave. */
int stage_hdf5_open(struct src *s, struct stage_hdf5 **ret,
	struct error *why);
/* NULL is fine. */
void stage_hdf5_close(struct stage_hdf5 *h);

/* The tensors below a group ("" is the whole file), named from there. What has
 * to be made is in another file of w, stage_made_path() of this one and the
 * group. -ENOENT: no such group; `why` is unset then. */
int stage_hdf5_tensors(struct stage_hdf5 *h, const char *group,
	unsigned file, struct stage_weights *w, struct error *why);
/* Make that other file, of size bytes: into the sink as `path`. Waits. -EBADMSG
 * when it does not become that. */
int stage_hdf5_make(struct src *s, const char *group, const char *path,
	uint64_t size, const struct stage_archive_sink *sink,
	struct objid *ret, struct error *why);

/* The string in an attribute of a group, NUL behind; the caller frees.
 * -ENOENT: no such group or attribute; `why` is unset then. */
int stage_hdf5_text(struct stage_hdf5 *h, const char *group,
	const char *name, char **ret, size_t *ret_len, struct error *why);
/* The list of strings in an attribute; where it was too long for one, those of
 * NAME0, NAME1, … The caller frees with stage_hdf5_texts_done(). */
struct stage_hdf5_texts {
	char **v;
	size_t n;
};
int stage_hdf5_list(struct stage_hdf5 *h, const char *group,
	const char *name, struct stage_hdf5_texts *ret, struct error *why);
void stage_hdf5_texts_done(struct stage_hdf5_texts *t);

#endif
