/* Searching a hub: pages of hits until there are enough. */
#ifndef FETCH_SEARCH_H
#define FETCH_SEARCH_H

#include <stddef.h>

#include "base/error.h"
#include "fetch/fetch.h"

#define FETCH_SEARCH_PAGES 64	/* of one search, at most */

/* A copy of the strings. 0, -ENOMEM; -EFBIG: there are enough. */
int fetch_hits_add(struct fetch_hits *l, const char *repo,
	const char *task, int64_t downloads, int64_t likes);

/* One page of Hugging Face's models; ok says which names can be. */
int fetch_hf_hits(const void *text, size_t len, bool (*ok)(const char *repo),
	struct fetch_hits *l, struct error *why);

#endif
