/*
 * Names of Kaggle Models: OWNER/MODEL/FRAMEWORK/VARIATION/VERSION (hubs.md
 * 3.4). A framework is written in many ways; a path holds it in lower camel
 * case (tensorFlow2), the RPC face as MODEL_FRAMEWORK_TENSOR_FLOW_2.
 */
#ifndef FETCH_KAGGLE_NAME_H
#define FETCH_KAGGLE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "fetch/fetch.h"

#define KAGGLE_PART_MAX 100		/* bytes of one part of a name */
#define KAGGLE_FRAMEWORK_MAX 128	/* of an enumeration's name, with NUL */
#define KAGGLE_DIGITS_MAX 9		/* of a version */

/* How many parts has `path`, and could each be one? 0: no. */
unsigned fetch_kaggle_parts(const char *path);
/* [s, s + n) as number of a version: digits, no leading zero. */
bool fetch_kaggle_version_ok(const char *s, size_t n);

/* What a path below the hub's directory can be (fetch_name()). */
enum fetch_name fetch_kaggle_name(const char *path, size_t *ret_len);

/* A framework in any of its forms as that of a path. false: no such can be. */
bool fetch_kaggle_framework(const char *text, size_t n,
	char ret[KAGGLE_FRAMEWORK_MAX]);
/* The same for the RPC face. */
bool fetch_kaggle_framework_enum(const char *text, size_t n,
	char ret[KAGGLE_FRAMEWORK_MAX]);

/* The name with its framework as in a path. The caller frees; NULL: not a
 * name of two to four parts, or out of memory. */
char *fetch_kaggle_canonical(const char *name);

/* The instance that a web address is about, "OWNER/MODEL/FRAMEWORK/VARIATION",
 * in *ret, and its version, "" if it names none. -ENOENT: about no instance.
 * The caller frees. */
int fetch_kaggle_of_url(const char *url, char **ret,
	char ret_version[KAGGLE_DIGITS_MAX + 1]);

#endif
