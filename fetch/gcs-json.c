#include "config.h"

#include "fetch/gcs-json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fetch/document.h"
#include "fetch/header.h"

/* Numbers of 64 bits are text there. */
static int add_object(const json_t *e, const char *prefix, struct listing *l)
{
	const char *name = json_str(e, "name");
	const char *md5 = json_str(e, "md5Hash");
	size_t n = strlen(prefix);
	struct objid id = { .alg = OBJID_NONE };
	char text[64];
	uint64_t size;

	if (!name || strncmp(name, prefix, n) != 0 ||
	    !fetch_header_u64(json_str(e, "size"), &size))
		return -EINVAL;
	if (md5) {
		(void) snprintf(text, sizeof(text), "md5=%s", md5);
		if (!fetch_header_goog_md5(text, &id))
			return -EINVAL;
	}
	return listing_add(l, name + n, LISTING_FILE, size, &id);
}

int fetch_gcs_objects(const void *text, size_t len, const char *prefix,
	struct listing *l, char **ret_next, struct error *why)
{
	json_t *j cleanup_json = NULL, *e;
	const json_t *items;
	const char *next;
	size_t i;
	int r = json_parse(text, len, DOCUMENT_MAX, &j, why);

	if (r == -EBADMSG)
		return error_set(why, -EIO, "the store's answer is no JSON");
	if (r)
		return r;
	items = json_object_get(j, "items");
	if (!json_is_object(j) || (items && !json_is_array(items)))
		return error_set(why, -EIO, "the store's answer is no list");
	json_array_foreach(items, i, e) {
		size_t refused = l->refused;

		r = add_object(e, prefix, l);
		if (r == -EINVAL)
			l->refused = refused + 1;
		else if (r)
			return error_set(why, r, "the store's listing of %zu "
				"and more objects does not fit", l->n);
	}
	next = json_str(j, "nextPageToken");
	*ret_next = next && *next ? strdup(next) : NULL;
	if (next && *next && !*ret_next)
		return error_set(why, -ENOMEM, "out of memory");
	return 0;
}
