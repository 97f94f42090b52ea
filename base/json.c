#include "config.h"

#include "base/json.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"

/* Depth is counted before parsing: jansson's own limit is 2048 levels and its
 * parser recurses. Strings are skipped; broken text is the parser's to find. */
static bool too_deep(const char *p, size_t len)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (p[i] == '\\')
				i++;
			else if (p[i] == '"')
				quoted = false;
			continue;
		}
		if (p[i] == '"')
			quoted = true;
		else if (p[i] == '{' || p[i] == '[')
			depth++;
		else if ((p[i] == '}' || p[i] == ']') && depth)
			depth--;
		if (depth > JSON_DEPTH_MAX)
			return true;
	}
	return false;
}

int json_parse(const void *text, size_t len, size_t max, json_t **ret,
	struct error *why)
{
	json_error_t e;
	json_t *j;

	if (len > max)
		return error_set(why, -EFBIG,
			"JSON of %zu bytes, the limit is %zu", len, max);
	if (!len)
		return error_set(why, -EBADMSG, "JSON is empty");
	if (too_deep(text, len))
		return error_set(why, -EBADMSG,
			"JSON is nested more than %d deep", JSON_DEPTH_MAX);
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (!j && json_error_code(&e) == json_error_out_of_memory)
		return error_set(why, -ENOMEM, "out of memory");
	if (!j)
		return error_set(why, -EBADMSG, "JSON line %d column %d: %s",
			e.line, e.column, e.text);
	*ret = j;
	return 0;
}

/* Bytes of the UTF-8 character at p, up to `left`, or 0. */
static size_t character(const char *p, size_t left)
{
	for (size_t n = 1; n <= 4 && n <= left; n++) {
		cleanup_json json_t *one = json_stringn(p, n);

		if (one)
			return n;
	}
	return 0;
}

json_t *json_bytes(const char *bytes)
{
	cleanup_buf struct buf b = BUF_INIT(SIZE_MAX);
	json_t *j = json_string(bytes);
	int r = 0;

	for (size_t left = strlen(bytes), n; !j && left && !r; left -= n) {
		n = character(bytes, left);
		r = n ? buf_append(&b, bytes, n) :
			buf_append_str(&b, "\xef\xbf\xbd");
		n += !n;
		bytes += n;
	}
	return j || r ? j : json_stringn((const char *)b.data, b.len);
}

const char *json_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

int json_u64(const json_t *obj, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(obj, key);

	if (!v)
		return -ENOENT;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return -EBADMSG;
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

int64_t json_time(const json_t *obj, const char *key)
{
	const char *v = json_str(obj, key);
	struct tm tm = { 0 };

	if (!v || !strptime(v, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	return (int64_t)timegm(&tm);
}
