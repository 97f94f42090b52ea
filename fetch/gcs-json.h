/*
 * The list of a bucket's objects as the JSON API of Google's storage gives it.
 * Untrusted text, no network: fuzzed by tests/fuzz/fuzz-kaggle-json.c.
 */
#ifndef FETCH_GCS_JSON_H
#define FETCH_GCS_JSON_H

#include <stddef.h>

#include "base/error.h"
#include "base/listing.h"

/* One page: what lies below `prefix` (that of a directory, with '/' behind)
 * is added, with size and MD5; *ret_next becomes the token of the next page,
 * the caller's to free, or NULL. */
int fetch_gcs_objects(const void *text, size_t len, const char *prefix,
	struct listing *l, char **ret_next, struct error *why);

#endif
