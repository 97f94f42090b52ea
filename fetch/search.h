/* Searching a hub: pages of hits until there are enough. */
#ifndef FETCH_SEARCH_H
#define FETCH_SEARCH_H

#include <stddef.h>

#include "base/error.h"
#include "fetch/fetch.h"

/* A copy of the strings. 0, -ENOMEM; -EFBIG: there are enough. */
int fetch_hits_add(struct fetch_hits *l, const char *repo,
	const char *task, int64_t downloads, int64_t likes);

/* One page of Hugging Face's models, and of Kaggle's; ok says which names can
 * be. *ret_token: of the next page, NULL: none; the caller frees. */
int fetch_hf_hits(const void *text, size_t len, bool (*ok)(const char *repo),
	struct fetch_hits *l, struct error *why);
int fetch_kaggle_hits(const void *text, size_t len, struct fetch_hits *l,
	char **ret_token, struct error *why);

#endif
