/*
 * What Hugging Face says in JSON (hubs.md 1.2, 1.3, 1.6), as ours. Untrusted
 * text, no network: fuzzed by tests/fuzz/fuzz-hub-json.c. A reply that is not
 * what it should be is -EIO with words; a single entry that is not is left out
 * and counted in listing.refused.
 */
#ifndef FETCH_HUGGINGFACE_JSON_H
#define FETCH_HUGGINGFACE_JSON_H

#include "base/error.h"
#include "base/listing.h"
#include "fetch/fetch.h"

/* The model's info. */
int fetch_hf_snapshot(const void *text, size_t len,
	struct fetch_snapshot **ret, struct error *why);
/* A page of a tree: its files are added. */
int fetch_hf_tree(const void *text, size_t len, struct listing *l,
	struct error *why);

#endif
