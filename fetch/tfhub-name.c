#include "config.h"

#include "fetch/tfhub-name.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "fetch/kaggle-name.h"

#define PART_MAX 100	/* bytes of one part */

static bool part_ok(const char *s, size_t n, bool first)
{
	if (!n || n > PART_MAX || *s == '.' || *s == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!isascii(c) || !(isalnum(c) || c == '-' || c == '_' ||
				(c == '.' && !first)))
			return false;
	}
	return true;
}

enum fetch_name fetch_tfhub_name(const char *path, size_t *ret_len)
{
	const char *p = path;
	unsigned parts = 0;

	for (;;) {
		size_t n = strcspn(p, "/");

		if (!part_ok(p, n, !parts) || ++parts > TFHUB_PARTS_MAX)
			return FETCH_NAME_NONE;
		/* a collection holds models, and is none */
		if (parts == 2 && n == 10 && !strncmp(p, "collection", n))
			return FETCH_NAME_NONE;
		if (parts >= 3 && fetch_kaggle_version_ok(p, n)) {
			if (p[n])
				return FETCH_NAME_NONE;
			*ret_len = (size_t)(p - 1 - path);
			return FETCH_NAME_VERSION;
		}
		if (!p[n])
			return parts == 1 ? FETCH_NAME_GROUP :
				FETCH_NAME_NEWEST;
		p += n + 1;
	}
}

bool fetch_tfhub_handle_ok(const char *handle)
{
	size_t len;

	return fetch_tfhub_name(handle, &len) == FETCH_NAME_NEWEST;
}

int fetch_tfhub_gs(const void *text, size_t len, char **ret)
{
	static const char scheme[] = "gs://";
	size_t n = sizeof(scheme) - 1;
	cleanup_free char *path = NULL;
	const char *p = text;

	if (len <= n || memcmp(p, scheme, n))
		return -EINVAL;
	while (len > n && (isspace((unsigned char)p[len - 1]) ||
			p[len - 1] == '/'))
		len--;
	if (memchr(p, '\0', len))
		return -EINVAL;
	path = strndup(p + n, len - n);
	if (!path)
		return -ENOMEM;
	if (!path_rel_ok(path) || !strchr(path, '/'))
		return -EINVAL;
	*ret = steal_ptr(path);
	return 0;
}
