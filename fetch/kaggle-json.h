/*
 * What Kaggle says in JSON, both faces of its API alike (hubs.md 3.4).
 * Untrusted text, no network: fuzzed by tests/fuzz/fuzz-kaggle-json.c. A reply
 * that is not what it should be is -EIO with words; a single entry that is not
 * is left out and counted in listing.refused.
 */
#ifndef FETCH_KAGGLE_JSON_H
#define FETCH_KAGGLE_JSON_H

#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/listing.h"
#include "fetch/fetch.h"

/* Does a reply of 200 say that it is an error? Its status, with words; else
 * 0. */
unsigned fetch_kaggle_refusal(const void *text, size_t len, char *words,
	size_t room);
/* One reply, and the token of the next page (NULL: it is the last). The caller
 * owns both. */
int fetch_kaggle_page(const void *text, size_t len, json_t **ret,
	char **ret_next, struct error *why);

/* Each adds what the page holds, the first four as directories: of models
 * those of `owner`, as OWNER/MODEL; … */
int fetch_kaggle_models(const json_t *page, const char *owner,
	struct listing *l, struct error *why);
/* … the frameworks of `model`, as MODEL/FRAMEWORK; … */
int fetch_kaggle_frameworks(const json_t *page, const char *model,
	struct listing *l, struct error *why);
/* … of `group`, OWNER/MODEL/FRAMEWORK, the variations; … */
int fetch_kaggle_variations(const json_t *page, const char *group,
	struct listing *l, struct error *why);
/* … of `instance` the versions; … */
int fetch_kaggle_versions(const json_t *page, const char *instance,
	struct listing *l, struct error *why);
/* … and files. *mtime (if 0) becomes the time of the first. */
int fetch_kaggle_files(const json_t *page, struct listing *l, int64_t *mtime,
	struct error *why);
/* What a search has found. -EFBIG: there are enough, and no words. */
int fetch_kaggle_hits(const json_t *page, struct fetch_hits *l,
	struct error *why);
/* The newest version of an instance. */
int fetch_kaggle_newest(const json_t *page, uint64_t *ret, struct error *why);

#endif
