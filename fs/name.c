/*
 * Only two characters are escaped, and only in the revision: what a user types
 * most ("org/repo@main") is never touched, and every escaped text has exactly
 * one meaning. Any other use of '%' means nothing, so it is no name.
 */
#include "config.h"

#include "fs/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool fs_name_is_commit(const char *rev)
{
	size_t n = 0;

	while (hex_digit(rev[n]))
		n++;
	return n == 40 && rev[n] == '\0';
}

/* Characters that git allows in no reference, or that mean something in a URL
 * or a shell where a revision has no business. */
static bool rev_ok(const char *rev)
{
	return path_rel_ok(rev) && !strpbrk(rev, " ~^:?*[]\\\"'<>|&;#") &&
		!strstr(rev, "@{");
}

static int rev_decode(const char *in, char *ret)
{
	for (; *in; in++) {
		if (*in != '%') {
			*ret++ = *in;
		} else if (in[1] == '2' && (in[2] == 'F' || in[2] == 'f')) {
			*ret++ = '/';
			in += 2;
		} else if (in[1] == '2' && in[2] == '5') {
			*ret++ = '%';
			in += 2;
		} else {
			return -ENOENT;
		}
	}
	*ret = '\0';
	return 0;
}

int fs_name_split(const char *component, struct fs_name *ret)
{
	struct fs_name n = { "", "" };
	const char *at;
	size_t len = strlen(component);

	if (!path_name_ok(component, len))
		return -ENOENT;
	at = strchr(component, '@');
	if (at) {
		len = (size_t)(at - component);
		if (len == 0 || rev_decode(at + 1, n.rev) || !rev_ok(n.rev))
			return -ENOENT;
	}
	memcpy(n.base, component, len);
	*ret = n;
	return 0;
}

int fs_name_join(const char *base, const char *rev,
	char ret[PATH_NAME_MAX + 1])
{
	char out[4 * PATH_NAME_MAX + 4];
	size_t n = strlen(base);

	if (n > PATH_NAME_MAX || strlen(rev) > PATH_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(out, base, n);
	if (*rev)
		out[n++] = '@';
	for (; *rev; rev++) {
		if (*rev == '/' || *rev == '%') {
			memcpy(out + n, *rev == '/' ? "%2F" : "%25", 3);
			n += 3;
		} else {
			out[n++] = *rev;
		}
	}
	if (n > PATH_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(ret, out, n);
	ret[n] = '\0';
	return 0;
}

char *fs_name_key(const char *hub, const char *repo, const char *rev)
{
	char *key;

	if (asprintf(&key, "%s/%s@%s", hub, repo, rev) < 0)
		return NULL;
	return key;
}

bool fs_name_is_probe(const char *component)
{
	static const char *const probes[] = {
		"autorun.inf", "desktop.ini", "thumbs.db", "lost+found",
		"node_modules", "__pycache__",
	};

	if (component[0] == '.')
		return true;
	for (size_t i = 0; i < sizeof probes / sizeof(*probes); i++)
		if (!strcasecmp(component, probes[i]))
			return true;
	return false;
}
