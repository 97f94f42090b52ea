#include "config.h"

#include "fetch/kaggle-name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ENUM_PREFIX "MODEL_FRAMEWORK_"

/* Those whose path form does not follow from every other one. */
static const char *const frameworks[] = {
	"tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "pyTorch", "jax",
	"flax", "pax", "maxText", "gemmaCpp", "ggml", "gguf", "coral",
	"scikitLearn", "mxnet", "onnx", "keras", "transformers", "api",
	"other", "tensorRtLlm", "triton", "vllm",
};

static bool part_ok(const char *s, size_t n, bool dots)
{
	if (!n || n > KAGGLE_PART_MAX || *s == '.' || *s == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!isascii(c) || !(isalnum(c) || c == '-' || c == '_' ||
				(dots && c == '.')))
			return false;
	}
	return true;
}

unsigned fetch_kaggle_parts(const char *path)
{
	unsigned parts = 0;

	for (;;) {
		size_t n = strcspn(path, "/");

		/* owners have no dots: autorun.inf is not asked for */
		if (!part_ok(path, n, parts > 0))
			return 0;
		parts++;
		if (!path[n])
			return parts;
		path += n + 1;
	}
}

bool fetch_kaggle_version_ok(const char *s, size_t n)
{
	if (!n || n > KAGGLE_DIGITS_MAX || *s == '0')
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return true;
}

enum fetch_name fetch_kaggle_name(const char *path, size_t *ret_len)
{
	unsigned parts = fetch_kaggle_parts(path);
	const char *last = strrchr(path, '/');

	if (parts >= 1 && parts <= 3)
		return FETCH_NAME_GROUP;
	if (parts == 4)
		return FETCH_NAME_NEWEST;
	if (parts != 5 || !fetch_kaggle_version_ok(last + 1, strlen(last + 1)))
		return FETCH_NAME_NONE;
	*ret_len = (size_t)(last - path);
	return FETCH_NAME_VERSION;
}

/* Are they equal but for letter case, '_' and '-'? */
static bool same(const char *a, size_t n, const char *b)
{
	for (; n; a++, n--) {
		if (*a == '_' || *a == '-')
			continue;
		if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return false;
		b++;
	}
	return !*b;
}

bool fetch_kaggle_framework(const char *text, size_t n,
	char ret[KAGGLE_FRAMEWORK_MAX])
{
	size_t skip = sizeof(ENUM_PREFIX) - 1, to = 0;
	bool raise = false, lower;

	if (n > skip && !strncmp(text, ENUM_PREFIX, skip)) {
		text += skip;
		n -= skip;
	}
	if (!part_ok(text, n, false))
		return false;
	for (size_t i = 0; i < sizeof(frameworks) / sizeof(*frameworks); i++) {
		if (!same(text, n, frameworks[i]))
			continue;
		strcpy(ret, frameworks[i]);
		return true;
	}
	/* one that came later: TENSOR_FLOW_3 is tensorFlow3 */
	lower = memchr(text, '_', n) || !islower((unsigned char)*text);
	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)text[i];

		if (c == '_') {
			raise = to > 0;
			continue;
		}
		if (lower)
			c = raise ? toupper(c) : tolower(c);
		ret[to++] = (char)c;
		raise = false;
	}
	ret[to] = '\0';
	return to > 0;
}

bool fetch_kaggle_framework_enum(const char *text, size_t n,
	char ret[KAGGLE_FRAMEWORK_MAX])
{
	char token[KAGGLE_FRAMEWORK_MAX];
	size_t to = sizeof(ENUM_PREFIX) - 1;

	if (!fetch_kaggle_framework(text, n, token))
		return false;
	memcpy(ret, ENUM_PREFIX, to);
	for (const char *p = token; *p; p++) {
		bool cut = isupper((unsigned char)*p) ||
			(isdigit((unsigned char)*p) && p > token &&
			!isdigit((unsigned char)p[-1]));

		if (to + 3 > KAGGLE_FRAMEWORK_MAX)
			return false;
		if (cut && p > token)
			ret[to++] = '_';
		ret[to++] = (char)toupper((unsigned char)*p);
	}
	ret[to] = '\0';
	return true;
}

char *fetch_kaggle_canonical(const char *name)
{
	unsigned parts = fetch_kaggle_parts(name);
	char token[KAGGLE_FRAMEWORK_MAX], *ret;
	const char *at, *rest;

	if (parts < 2 || parts > 4)
		return NULL;
	if (parts == 2)
		return strdup(name);
	at = strchr(strchr(name, '/') + 1, '/') + 1;
	rest = at + strcspn(at, "/");
	if (!fetch_kaggle_framework(at, (size_t)(rest - at), token) ||
	    asprintf(&ret, "%.*s%s%s", (int)(at - name), name, token,
			rest) < 0)
		return NULL;
	return ret;
}

int fetch_kaggle_of_url(const char *url, char **ret,
	char ret_version[KAGGLE_DIGITS_MAX + 1])
{
	static const char below[] = "/models/";
	const char *p = strstr(url, "://");
	cleanup_free char *path = NULL;
	char *last;

	p = p ? strchr(p + 3, '/') : url;
	if (!p || strncmp(p, below, sizeof(below) - 1))
		return -ENOENT;
	p += sizeof(below) - 1;
	path = strndup(p, strcspn(p, "?#"));
	if (!path)
		return -ENOMEM;
	*ret_version = '\0';
	if (fetch_kaggle_parts(path) == 5) {
		last = strrchr(path, '/');
		if (!fetch_kaggle_version_ok(last + 1, strlen(last + 1)))
			return -ENOENT;
		strcpy(ret_version, last + 1);
		*last = '\0';
	}
	if (fetch_kaggle_parts(path) != 4)
		return -ENOENT;
	*ret = fetch_kaggle_canonical(path);
	return *ret ? 0 : -ENOMEM;
}
