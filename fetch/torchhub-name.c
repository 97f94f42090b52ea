#include "config.h"

#include "fetch/torchhub-name.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/path.h"

#define COMMIT_DIGITS 40

static bool part_ok(const char *s, size_t n, size_t max, const char *more)
{
	if (!n || n > max || *s == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!isascii(c) || !(isalnum(c) || strchr(more, c)))
			return false;
	}
	return true;
}

bool fetch_github_owner_ok(const char *owner)
{
	return part_ok(owner, strlen(owner), 39, "-_");
}

bool fetch_github_repo_ok(const char *repo)
{
	const char *slash = strchr(repo, '/'), *name = slash ? slash + 1 : "";
	size_t n = strlen(name);

	if (!slash || !part_ok(repo, (size_t)(slash - repo), 39, "-_"))
		return false;
	if (n >= 4 && !strcmp(name + n - 4, ".git"))
		return false;
	return strcmp(name, ".") && strcmp(name, "..") &&
		part_ok(name, n, 100, "-_.");
}

bool fetch_github_is_commit(const char *s)
{
	return strspn(s, "0123456789abcdef") == COMMIT_DIGITS &&
		!s[COMMIT_DIGITS];
}

bool fetch_github_ref_ok(const char *ref)
{
	return path_rel_ok(ref) && !strstr(ref, "..") && !strstr(ref, "@{") &&
		!strpbrk(ref, " ~^:?*[\\") && *ref != '-';
}
