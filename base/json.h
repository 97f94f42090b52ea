/*
 * jansson with ceilings: hub replies, config.json and safetensors headers are
 * untrusted. Duplicate keys are refused, strings are valid UTF-8 without NUL,
 * nesting is at most JSON_DEPTH_MAX.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JSON_DEPTH_MAX 64

/* -EBADMSG with line and column in `why`, -EFBIG when len > max. The caller
 * owns the value (json_decref). */
int json_parse(const void *text, size_t len, size_t max, json_t **ret,
	struct error *why);

/* Member of an object as string; NULL when absent or of another type. */
const char *json_str(const json_t *obj, const char *key);
/* Member as integer 0..INT64_MAX: 0 and *ret, or -ENOENT absent, -EBADMSG. */
int json_u64(const json_t *obj, const char *key, uint64_t *ret);
/* Member like "2026-08-14T14:44:41.000Z" in seconds since 1970; 0 when it is
 * none. */
int64_t json_time(const json_t *obj, const char *key);

/* A string of bytes that need not be text, as a path of this machine: what is
 * no UTF-8 is U+FFFD. NULL: out of memory. The caller owns the value. */
json_t *json_bytes(const char *bytes);

/* jansson's own json_decrefp() does it. */
#define cleanup_json __attribute__((cleanup(json_decrefp)))

#endif
