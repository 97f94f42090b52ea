#include "config.h"

#include "fetch/lfs.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fetch/header.h"

/* ---- pointers ----------------------------------------------------------------- */

/* The value of "KEY VALUE\n", copied; *at moves behind it. */
static bool value_of(const char *text, const char *key, char *ret,
	size_t room)
{
	size_t n = strlen(key), len;
	const char *line = text;

	while (line && (strncmp(line, key, n) || line[n] != ' ')) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return false;
	line += n + 1;
	len = strcspn(line, "\n");
	if (len >= room || line[len] != '\n')
		return false;
	memcpy(ret, line, len);
	ret[len] = '\0';
	return true;
}

int fetch_lfs_pointer(const void *text, size_t len, uint64_t *ret_size,
	struct objid *ret_id)
{
	static const char head[] = "version https://git-lfs.github.com/spec/";
	char copy[LFS_POINTER_MAX + 1], value[80];
	struct objid id;
	uint64_t size;

	if (len > LFS_POINTER_MAX || memchr(text, '\0', len))
		return -ENOENT;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (strncmp(copy, head, sizeof(head) - 1) ||
	    !value_of(copy, "oid", value, sizeof(value)) ||
	    strncmp(value, "sha256:", 7) || strlen(value) != 7 + 64 ||
	    objid_parse(OBJID_SHA256, value + 7, &id) ||
	    !value_of(copy, "size", value, sizeof(value)) ||
	    !fetch_header_u64(value, &size) || size > INT64_MAX)
		return -ENOENT;
	*ret_size = size;
	*ret_id = id;
	return 0;
}

/* ---- attributes ---------------------------------------------------------------- */

/* 1: filter=lfs; 0: another filter, or none; -1: says nothing of filters. */
static int says(const char *p, const char *end)
{
	int said = -1;

	while (p < end) {
		size_t n = strcspn(p, " \t\r\n");

		if (n > (size_t)(end - p))
			n = (size_t)(end - p);
		if (n >= 6 && !strncmp(p, "filter", 6))
			said = n == 10 && !strncmp(p, "filter=lfs", 10);
		else if (n == 7 && (*p == '-' || *p == '!') &&
			 !strncmp(p + 1, "filter", 6))
			said = 0;
		p += n;
		p += strspn(p, " \t\r\n");
	}
	return said;
}

static int add_rule(struct fetch_lfs *l, const char *dir, const char *pattern,
	size_t len, bool lfs)
{
	struct fetch_lfs_rule *v;

	if (l->n == LFS_RULES_MAX)
		return -EFBIG;
	v = reallocarray(l->v, l->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	v += l->n;
	v->dir = strdup(dir);
	v->pattern = strndup(pattern, len);
	v->lfs = lfs;
	if (!v->dir || !v->pattern) {
		free(v->dir);
		free(v->pattern);
		return -ENOMEM;
	}
	l->n++;
	return 0;
}

int fetch_lfs_add(struct fetch_lfs *l, const char *dir, const char *text,
	size_t len)
{
	char *copy = strndup(text, len), *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *line = r ? NULL : strtok_r(copy, "\n", &save); line && !r;
	     line = strtok_r(NULL, "\n", &save)) {
		char *p = line + strspn(line, " \t");
		/* A quoted pattern may have blanks in it. */
		size_t n = *p == '"' ? 1 + strcspn(p + 1, "\"") :
			strcspn(p, " \t\r");
		int said;

		/* A pattern may begin with a bracket, too. */
		if (!*p || *p == '#' || !strncmp(p, "[attr]", 6))
			continue;
		said = says(p + n + (p[n] == '"'), p + strlen(p));
		if (*p == '"') {
			p++;
			n--;
		}
		if (said >= 0)
			r = add_rule(l, dir, p, n, said == 1);
	}
	free(copy);
	return r;
}

/* Without FNM_PATHNAME a '*' also crosses '/': that makes up for "**". */
static bool matches(const struct fetch_lfs_rule *r, const char *path)
{
	size_t n = strlen(r->dir);
	const char *pattern = r->pattern;

	if (n && (strncmp(path, r->dir, n) || path[n] != '/'))
		return false;
	path += n + (n > 0);
	if (!strncmp(pattern, "**/", 3))
		pattern += 3;
	pattern += *pattern == '/';
	return !fnmatch(pattern, path, 0) ||
		!fnmatch(pattern, path_base(path), 0);
}

bool fetch_lfs_match(const struct fetch_lfs *l, const char *path)
{
	bool may = false;

	/* What takes the filter off again must be exact to be believed; it
	 * hardly ever is said. */
	for (size_t i = 0; i < l->n && !may; i++)
		may = l->v[i].lfs && matches(&l->v[i], path);
	return may;
}

void fetch_lfs_done(struct fetch_lfs *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].dir);
		free(l->v[i].pattern);
	}
	free(l->v);
	*l = (struct fetch_lfs){ NULL, 0 };
}
