/*
 * An owner's repositories, as hubs with such names tell them: a list of objects
 * whose `key` is "OWNER/NAME". Untrusted text, no network: fuzzed by
 * tests/fuzz/fuzz-hub-json.c and fuzz-torchhub-json.c.
 */
#ifndef FETCH_OWNER_JSON_H
#define FETCH_OWNER_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/listing.h"

/* A page: those of `owner` that are ok are added, an entry that is not is left
 * out and counted in l->refused. -EIO: it is no such page. */
int fetch_json_owner(const void *text, size_t len, const char *key,
	const char *owner, bool (*ok)(const char *repo), struct listing *l,
	struct error *why);

#endif
