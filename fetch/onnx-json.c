#include "config.h"

#include "fetch/onnx-json.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"

#define SHA256_DIGITS 64

/* One file; a wrong one is counted and no failure. */
static int add_file(struct listing *l, const char *path, const json_t *about,
	const char *sha_key, const char *bytes_key)
{
	const char *sha = json_str(about, sha_key);
	size_t refused = l->refused;
	struct objid id;
	uint64_t size;
	int r = -EINVAL;

	if (path && sha && strlen(sha) == SHA256_DIGITS &&
	    !objid_parse(OBJID_SHA256, sha, &id) &&
	    !json_u64(about, bytes_key, &size) && size)
		r = listing_add(l, path, LISTING_FILE, size, &id);
	if (r != -EINVAL)
		return r;
	l->refused = refused + 1;
	return 0;
}

static int add_model(struct listing *l, const json_t *e)
{
	const json_t *about = json_object_get(e, "metadata");
	const char *data = json_str(about, "model_with_data_path");
	size_t had = l->n;
	int r = add_file(l, json_str(e, "model_path"), about, "model_sha",
		"model_bytes");

	if (!r && data && l->n > had)
		r = add_file(l, data, about, "model_with_data_sha",
			"model_with_data_bytes");
	return r;
}

static const char *skip_blank(const char *p, const char *end)
{
	while (p < end && isspace((unsigned char)*p))
		p++;
	return p;
}

/* One element of the array; *p moves behind it. */
static int take(const char **p, const char *end, size_t nth,
	struct listing *l, struct error *why)
{
	size_t left = (size_t)(end - *p);
	json_error_t e;
	json_t *j cleanup_json = json_loadb(*p, left < ONNX_ENTRY_MAX ? left :
		ONNX_ENTRY_MAX, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY |
		JSON_DISABLE_EOF_CHECK, &e);
	int r;

	if (!j && json_error_code(&e) == json_error_out_of_memory)
		return error_set(why, -ENOMEM, "out of memory");
	if (!j)
		return error_set(why, -EIO,
			"entry %zu of the manifest: %s", nth, e.text);
	*p += e.position;
	r = add_model(l, j);
	return r ? error_set(why, r, "the manifest's %zu and more files do "
		"not fit", l->n) : 0;
}

static int take_all(const char *p, const char *end, struct listing *l,
	struct error *why)
{
	size_t nth = 0;
	int r;

	p = skip_blank(p, end);
	if (p == end || *p++ != '[')
		return error_set(why, -EIO, "the manifest is no list");
	p = skip_blank(p, end);
	if (p < end && *p == ']')
		return 0;
	for (;;) {
		if (++nth > ONNX_ENTRIES_MAX)
			return error_set(why, -EFBIG, "the manifest has more "
				"than %d entries", ONNX_ENTRIES_MAX);
		r = take(&p, end, nth, l, why);
		if (r)
			return r;
		p = skip_blank(p, end);
		if (p == end || (*p != ',' && *p != ']'))
			return error_set(why, -EIO, "the manifest breaks off "
				"after entry %zu", nth);
		if (*p++ == ']')
			return skip_blank(p, end) == end ? 0 : error_set(why,
				-EIO, "the manifest goes on behind its end");
	}
}

int fetch_onnx_manifest(const void *text, size_t len, struct listing *l,
	struct error *why)
{
	const char *p = len ? text : "";
	int r;

	if (len > ONNX_MANIFEST_MAX)
		return error_set(why, -EFBIG, "a manifest of %zu bytes, the "
			"limit is %u", len, ONNX_MANIFEST_MAX);
	r = take_all(p, p + len, l, why);
	if (r)
		return r;
	if (!l->n)
		return error_set(why, -EIO, "the manifest names no model "
			"(%zu entries are no files)", l->refused);
	listing_sort(l);
	return 0;
}
