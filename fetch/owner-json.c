#include "config.h"

#include "fetch/owner-json.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "fetch/document.h"

int fetch_json_owner(const void *text, size_t len, const char *key,
	const char *owner, bool (*ok)(const char *repo), struct listing *l,
	struct error *why)
{
	static const struct objid none = { .alg = OBJID_NONE };
	json_t *j cleanup_json = NULL, *e;
	size_t i, n = strlen(owner), refused;
	int r = json_parse(text, len, DOCUMENT_MAX, &j, why);

	if (r == -EBADMSG) {
		error_wrap(why, "the hub's answer is no JSON");
		return -EIO;
	}
	if (r)
		return r;
	if (!json_is_array(j))
		return error_set(why, -EIO, "the hub's listing is no list");
	json_array_foreach(j, i, e) {
		const char *id = json_str(e, key);

		/* a mirror on disk cannot filter by owner: it has them all */
		if (!id || strncasecmp(id, owner, n) || id[n] != '/')
			continue;
		refused = l->refused;
		r = ok(id) ? listing_add(l, id, LISTING_DIR, 0, &none) :
			-EINVAL;
		if (r == -EINVAL)
			l->refused = refused + 1;
		else if (r)
			return error_set(why, r, "the hub's listing of %zu "
				"and more repositories does not fit", l->n);
	}
	return 0;
}
