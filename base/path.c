#include "config.h"

#include "base/path.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF), or 0. C0 and C1 controls are 0 too. */
static size_t utf8_char(const unsigned char *p, size_t left)
{
	uint32_t c = p[0];
	size_t n;

	if (c < 0x80)
		return c < 0x20 || c == 0x7f ? 0 : 1;
	n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc2 || c > 0xf4 || n > left)
		return 0;
	c &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 2 && c < 0xa0) || (n == 3 && c < 0x800) ||
		(n == 4 && c < 0x10000) || c > 0x10ffff ||
		(c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

bool path_name_ok(const char *name, size_t len)
{
	const unsigned char *p = (const unsigned char *)name;

	if (!len || len > PATH_NAME_MAX)
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	for (size_t i = 0, n; i < len; i += n) {
		n = p[i] == '/' ? 0 : utf8_char(p + i, len - i);
		if (!n)
			return false;
	}
	return true;
}

bool path_rel_ok(const char *path)
{
	size_t len = strnlen(path, PATH_LEN_MAX + 1);

	if (len > PATH_LEN_MAX)
		return false;
	for (;;) {
		size_t n = strcspn(path, "/");

		if (!path_name_ok(path, n))
			return false;
		if (!path[n])
			return true;
		path += n + 1;
	}
}

char *path_join(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	size_t slash = na && nb && a[na - 1] != '/';
	char *s = malloc(na + slash + nb + 1);

	if (!s)
		return NULL;
	memcpy(s, a, na);
	if (slash)
		s[na] = '/';
	memcpy(s + na + slash, b, nb + 1);
	return s;
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
