/*
 * What GitHub's REST API says (hubs.md 2.6, 4.2), as ours. Untrusted text, no
 * network: fuzzed by tests/fuzz/fuzz-torchhub-json.c. A reply that is not what
 * it should be is -EIO with words; a single entry that is not is left out and
 * counted in listing.refused.
 */
#ifndef FETCH_TORCHHUB_JSON_H
#define FETCH_TORCHHUB_JSON_H

#include "base/error.h"
#include "base/listing.h"
#include "fetch/fetch.h"

/* A commit. The repository's own spelling, or `repo` where it is not told. */
int fetch_github_commit(const void *text, size_t len, const char *repo,
	struct fetch_snapshot **ret, struct error *why);

/* Directories whose files are still to be asked for. */
struct fetch_github_dirs {
	struct fetch_github_dir {
		char *path, *sha;
	} *v;
	size_t n;
};
void fetch_github_dirs_done(struct fetch_github_dirs *d);

/*
 * The files of a tree at `path` ("" the root) are added. Links and submodules
 * are left out: git keeps a link's target where a file has its bytes. 1: the
 * tree was cut off, and nothing was added. With dirs, the tree was asked for
 * without what is below it: its directories are added there; cut off is -EFBIG
 * then.
 */
int fetch_github_tree(const void *text, size_t len, const char *path,
	struct listing *l, struct fetch_github_dirs *dirs, struct error *why);

/* Are these the bytes that git calls so? -EIO with words: a body without a
 * length may have been cut. */
int fetch_github_blob(const void *bytes, size_t len, const struct objid *id,
	struct error *why);

#endif
