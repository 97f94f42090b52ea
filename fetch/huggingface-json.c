#include "config.h"

#include "fetch/huggingface-json.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "fetch/document.h"
#include "fetch/snapshot.h"

static int parse(const void *text, size_t len, json_t **ret,
	struct error *why)
{
	int r = json_parse(text, len, DOCUMENT_MAX, ret, why);

	if (r == -EBADMSG) {
		error_wrap(why, "the hub's answer is no JSON");
		return -EIO;
	}
	return r;
}

int fetch_hf_snapshot(const void *text, size_t len,
	struct fetch_snapshot **ret, struct error *why)
{
	json_t *j cleanup_json = NULL;
	const json_t *gated;
	const char *id, *sha;
	struct fetch_snapshot *s;
	int r = parse(text, len, &j, why);

	if (r)
		return r;
	id = json_str(j, "id");
	if (!id)
		id = json_str(j, "modelId");
	sha = json_str(j, "sha");
	if (!id || !sha)
		return error_set(why, -EIO,
			"the hub's answer has no id and sha");
	s = fetch_snapshot_new(id, sha);
	if (!s)
		return error_set(why, -ENOMEM, "out of memory");
	gated = json_object_get(j, "gated");
	s->mtime = json_time(j, "lastModified");
	s->gated = gated && !json_is_false(gated) && !json_is_null(gated);
	s->disabled = json_is_true(json_object_get(j, "disabled"));
	*ret = s;
	return 0;
}

/* One file; LFS files have their true digest and size apart. */
static int tree_entry(const json_t *e, struct listing *l)
{
	const json_t *lfs = json_object_get(e, "lfs");
	const char *path = json_str(e, "path");
	const char *oid = json_str(e, "oid");
	enum objid_alg alg = OBJID_GITSHA1;
	struct objid id = { .alg = OBJID_NONE };
	uint64_t size;

	if (json_is_object(lfs)) {
		alg = OBJID_SHA256;
		oid = json_str(lfs, "oid");
		/* some servers write the algorithm in front */
		if (oid && !strncmp(oid, "sha256:", 7))
			oid += 7;
	}
	if (!path || (json_u64(json_is_object(lfs) ? lfs : e, "size",
			&size) && json_u64(e, "size", &size)))
		return -EINVAL;
	if (oid && (strlen(oid) != (alg == OBJID_SHA256 ? 64 : 40) ||
			objid_parse(alg, oid, &id)))
		return -EINVAL;
	return listing_add(l, path, LISTING_FILE, size, &id);
}

int fetch_hf_tree(const void *text, size_t len, struct listing *l,
	struct error *why)
{
	json_t *j cleanup_json = NULL, *e;
	size_t i, refused;
	int r = parse(text, len, &j, why);

	if (r)
		return r;
	if (!json_is_array(j))
		return error_set(why, -EIO, "the hub's listing is no list");
	json_array_foreach(j, i, e) {
		const char *type = json_str(e, "type");

		if (!type || strcmp(type, "file") != 0)
			continue;
		refused = l->refused;
		r = tree_entry(e, l);
		if (r == -EINVAL)
			l->refused = refused + 1;
		else if (r)
			return error_set(why, r, "the hub's listing of %zu "
				"and more files does not fit", l->n);
	}
	return 0;
}
