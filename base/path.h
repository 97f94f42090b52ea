/*
 * Names that come from a hub or an archive are checked here, once, before
 * anything else sees them.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_NAME_MAX 255	/* bytes in one component, as Linux */
#define PATH_LEN_MAX 4095	/* bytes in a whole path */

/* One component: not empty, not "." or "..", no '/', no NUL or other control
 * characters, at most PATH_NAME_MAX bytes, valid UTF-8. */
bool path_name_ok(const char *name, size_t len);

/* Relative path whose every component is ok; no leading, trailing or double
 * slash; at most PATH_LEN_MAX bytes. */
bool path_rel_ok(const char *path);

/* "a/b" + "c" → "a/b/c", "/" + "c" → "/c"; an empty part is left out. NULL:
 * out of memory. */
char *path_join(const char *a, const char *b);

/* Pointer to what follows the last '/', or path itself. */
const char *path_base(const char *path);

#endif
