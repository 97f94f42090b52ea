/*
 * Handles of TensorFlow Hub (hubs.md 3.2): PUBLISHER/MODEL[/…]/VERSION, where
 * MODEL may have any number of parts. No network.
 */
#ifndef FETCH_TFHUB_NAME_H
#define FETCH_TFHUB_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "fetch/fetch.h"

#define TFHUB_PARTS_MAX 16

/* Without a version. A publisher alone is no handle. */
bool fetch_tfhub_handle_ok(const char *handle);
/* What a path below the hub's directory can be (fetch_name()). */
enum fetch_name fetch_tfhub_name(const char *path, size_t *ret_len);

/* "gs://BUCKET/PREFIX" as "BUCKET/PREFIX", without slashes at the end, in
 * *ret. -EINVAL: it is none. The caller frees. */
int fetch_tfhub_gs(const void *text, size_t len, char **ret);

#endif
