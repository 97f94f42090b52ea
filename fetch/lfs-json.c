#include "config.h"

#include "fetch/lfs-json.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "fetch/url.h"

#define WORDS 200	/* of the server's that are shown */

char *fetch_lfs_question(const struct fetch_file *f)
{
	json_t *j cleanup_json = NULL;
	char hex[OBJID_HEX_MAX];

	objid_hex(&f->id, hex);
	j = json_pack("{ss s[s] s[{ss sI}] ss}", "operation", "download",
		"transfers", "basic", "objects", "oid", hex, "size",
		(json_int_t)f->size, "hash_algo", "sha256");
	return j ? json_dumps(j, JSON_COMPACT) : NULL;
}

/* ---- how long it holds ---- */

/* "2016-11-10T15:29:07Z", a fraction or an offset from UTC allowed. */
static bool time_of(const char *v, int64_t *ret)
{
	struct tm tm = { 0 };
	int sign, h, m;

	v = v ? strptime(v, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!v)
		return false;
	if (*v == '.')
		v += 1 + strspn(v + 1, "0123456789");
	*ret = (int64_t)timegm(&tm);
	if (!strcmp(v, "Z"))
		return true;
	sign = *v == '-' ? 1 : -1;
	if ((*v != '-' && *v != '+') || strlen(v) != 6 || v[3] != ':' ||
	    strspn(v + 1, "0123456789") != 2 ||
	    strspn(v + 4, "0123456789") != 2)
		return false;
	h = (v[1] - '0') * 10 + v[2] - '0';
	m = (v[4] - '0') * 10 + v[5] - '0';
	*ret += sign * (h * 3600 + m * 60);
	return true;
}

/* expires_in goes first; a margin is kept for clocks and for the way. */
static uint64_t life_ms(const json_t *action, int64_t now)
{
	uint64_t s = 0;
	int64_t at;

	/* 0 is what a server says who says nothing. */
	(void) json_u64(action, "expires_in", &s);
	if (!s && time_of(json_str(action, "expires_at"), &at))
		s = at > now ? (uint64_t)(at - now) : 0;
	else if (!s)
		s = LFS_LIFE_DEFAULT_S;
	if (s > LFS_LIFE_MAX_S)
		s = LFS_LIFE_MAX_S;
	return 1000 * (s > 60 ? s - 30 : s / 2);
}

/* ---- header lines ---- */

static bool token_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (!isascii((unsigned char)s[i]) ||
		    (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i])))
			return false;
	return n > 0;
}

static bool value_ok(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || (unsigned char)*s > '~')
			return false;
	return true;
}

/* What is ours to say in a request. */
static bool reserved(const char *name)
{
	static const char *const ours[] = {
		"host", "range", "accept-encoding", "connection",
		"content-length", "transfer-encoding", "te", "upgrade",
		"expect", "if-range",
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		if (!strcasecmp(name, ours[i]))
			return true;
	return false;
}

static int lines_of(json_t *header, struct buf *ret, struct error *why)
{
	const char *name;
	unsigned n = 0;
	json_t *v;
	int r;

	json_object_foreach(header, name, v) {
		const char *value = json_string_value(v);

		if (!value || !token_ok(name) || !value_ok(value) ||
		    ++n > LFS_LINES_MAX)
			return error_set(why, -EIO,
				"a header that LFS asks for cannot be sent");
		if (reserved(name))
			continue;
		r = buf_printf(ret, "%s%s: %s", ret->len ? "\n" : "", name,
			value);
		if (r)
			return error_set(why, r == -EFBIG ? -EIO : r,
				"the headers that LFS asks for are too long");
	}
	return 0;
}

/* ---- the answer ---- */

static int refusal(const json_t *e, struct error *why)
{
	const char *words = json_str(e, "message");
	uint64_t code = 0;
	int err = -EIO;

	(void) json_u64(e, "code", &code);
	if (code == 404 || code == 410)
		err = -ENOENT;
	else if (code == 401 || code == 403 || code == 451)
		err = -EACCES;
	return error_set(why, err, "LFS: %" PRIu64 " %.*s", code, WORDS,
		words ? words : "");
}

static const json_t *object_of(const json_t *j, const struct fetch_file *f)
{
	const json_t *all = json_object_get(j, "objects"), *e;
	char hex[OBJID_HEX_MAX];
	size_t i;

	objid_hex(&f->id, hex);
	json_array_foreach(all, i, e) {
		const char *oid = json_str(e, "oid");

		if (oid && !strcasecmp(oid, hex))
			return e;
	}
	return NULL;
}

static int located(const json_t *action, const char *base, int64_t now,
	struct fetch_located *ret, struct error *why)
{
	cleanup_buf struct buf lines = BUF_INIT(LFS_LINES_BYTES_MAX);
	cleanup_free char *url = NULL;
	const char *href = json_str(action, "href");
	char *copy = NULL;
	int r;

	if (!href)
		return error_set(why, -EIO, "LFS names no address");
	r = fetch_url_join(base, href, &url, why);
	if (!r)
		r = lines_of(json_object_get(action, "header"), &lines, why);
	if (r)
		return r;
	if (lines.len) {
		copy = strdup((const char *)lines.data);
		if (!copy)
			return error_set(why, -ENOMEM, "out of memory");
	}
	*ret = (struct fetch_located){ steal_ptr(url), copy,
		life_ms(action, now) };
	return 0;
}

int fetch_lfs_answer(const void *text, size_t len, const struct fetch_file *f,
	const char *base, int64_t now, struct fetch_located *ret,
	struct error *why)
{
	json_t *j cleanup_json = NULL;
	const json_t *e, *failed;
	uint64_t size;
	int r = json_parse(text, len, LFS_ANSWER_MAX, &j, why);

	if (r) {
		error_wrap(why, "LFS");
		return r == -ENOMEM ? r : -EIO;
	}
	e = object_of(j, f);
	if (!e)
		return error_set(why, -EIO,
			"LFS answers for another object than the one asked");
	failed = json_object_get(e, "error");
	if (failed)
		return refusal(failed, why);
	if (json_u64(e, "size", &size) || size != f->size)
		return error_set(why, -EIO,
			"LFS names another size than the manifest");
	return located(json_object_get(json_object_get(e, "actions"),
		"download"), base, now, ret, why);
}
