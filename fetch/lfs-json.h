/*
 * The Git LFS batch API (git-lfs docs/api/batch.md): the question for one
 * object, and where the answer says it is. Untrusted text, no network: fuzzed
 * by tests/fuzz/fuzz-onnx-json.c.
 */
#ifndef FETCH_LFS_JSON_H
#define FETCH_LFS_JSON_H

#include "base/error.h"
#include "fetch/hub.h"

#define LFS_ANSWER_MAX (1u << 20)	/* bytes */
#define LFS_LINES_MAX 16		/* header lines it may ask for */
#define LFS_LINES_BYTES_MAX 8192	/* bytes of all of them */
#define LFS_LIFE_DEFAULT_S 240
#define LFS_LIFE_MAX_S 86400

/* The caller frees; NULL: out of memory. id is an OBJID_SHA256, in full. */
char *fetch_lfs_question(const struct fetch_file *f);

/* `base` is the address that answered, `now` in seconds since 1970. -ENOENT:
 * the server has it not; -EACCES: it is refused; -EIO: no such answer can be. */
int fetch_lfs_answer(const void *text, size_t len, const struct fetch_file *f,
	const char *base, int64_t now, struct fetch_located *ret,
	struct error *why);

#endif
