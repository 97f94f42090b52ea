/*
 * The ONNX zoo's manifest (hubs.md 2.2) as a listing. Untrusted text, no
 * network: fuzzed by tests/fuzz/fuzz-onnx-json.c.
 */
#ifndef FETCH_ONNX_JSON_H
#define FETCH_ONNX_JSON_H

#include <stddef.h>

#include "base/error.h"
#include "base/listing.h"

#define ONNX_MANIFEST_MAX (8u << 20)	/* bytes; the real one has 321,270 */
#define ONNX_ENTRIES_MAX 20000		/* the real one has 184 */
#define ONNX_ENTRY_MAX (256u << 10)	/* bytes */

/* Adds each model and the archive with its test data, sorted. An entry that
 * cannot be a file (path, size, digest) is left out with its archive and
 * counted in l->refused; a text that is no manifest, or has not one model, is
 * -EIO, over a ceiling -EFBIG. Memory is that of one entry at a time, and the
 * listing's. */
int fetch_onnx_manifest(const void *text, size_t len, struct listing *l,
	struct error *why);

#endif
