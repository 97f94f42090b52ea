#include "config.h"

#include "fetch/lfs.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
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

static char *skip_blanks(char *p)
{
	return p + strspn(p, " \t\r");
}

static bool is_macro(const struct fetch_lfs *l, const char *name, size_t len)
{
	for (size_t i = 0; i < l->n_macros; i++) {
		if (strlen(l->macros[i]) == len &&
		    !memcmp(l->macros[i], name, len))
			return true;
	}
	return false;
}

/* Is the filter lfs, when these attributes are what is said? The last one
 * counts. */
static bool says_lfs(const struct fetch_lfs *l, char *p)
{
	bool said = false;
	size_t n;

	for (p = skip_blanks(p); *p; p = skip_blanks(p + n)) {
		n = strcspn(p, " \t\r");
		if (is_macro(l, p, n))
			said = true;
		else if (n >= 6 && !strncmp(p, "filter", 6) &&
			 (n == 6 || p[6] == '='))
			said = n == 10 && !strncmp(p, "filter=lfs", 10);
		else if (n == 7 && (*p == '-' || *p == '!') &&
			 !strncmp(p + 1, "filter", 6))
			said = false;
	}
	return said;
}

static int add_rule(struct fetch_lfs *l, const char *dir, const char *pattern)
{
	struct fetch_lfs_rule *v;

	if (l->n == LFS_RULES_MAX) {
		l->all = true;
		return 0;
	}
	v = reallocarray(l->v, l->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	v += l->n;
	v->dir = strdup(dir);
	v->pattern = strdup(pattern);
	if (!v->dir || !v->pattern) {
		free(v->dir);
		free(v->pattern);
		return -ENOMEM;
	}
	l->n++;
	return 0;
}

/* A macro that sets the filter, by itself or by one that is known. */
static int add_macro(struct fetch_lfs *l, char *text)
{
	size_t n = strcspn(text, " \t\r");

	if (!n || is_macro(l, text, n) || !says_lfs(l, text + n))
		return 0;
	if (l->n_macros == LFS_MACROS_MAX) {
		l->all = true;
		return 0;
	}
	l->macros[l->n_macros] = strndup(text, n);
	if (!l->macros[l->n_macros])
		return -ENOMEM;
	l->n_macros++;
	return 1;
}

/* The byte that an escape stands for; *at moves behind it. -1: it is none. */
static int escaped(const char **at)
{
	static const char from[] = "abfnrtv\"\\", to[] = "\a\b\f\n\r\t\v\"\\";
	const char *p = *at, *found;
	int byte = 0;

	if (*p < '0' || *p > '7') {
		found = *p ? strchr(from, *p) : NULL;
		if (!found)
			return -1;
		*at = p + 1;
		return (unsigned char)to[found - from];
	}
	for (int i = 0; i < 3; i++, p++) {
		if (*p < '0' || *p > '7')
			return -1;
		byte = byte * 8 + (*p - '0');
	}
	*at = p;
	return byte > 0 && byte < 256 ? byte : -1;
}

/* The pattern, with its end for a NUL, as C has it in quotes; returns where the
 * attributes begin. What is no such string is a pattern as it stands. */
static char *take_pattern(char *line, char **ret)
{
	const char *from = line + 1;
	cleanup_free char *plain = *line == '"' ? strdup(line) : NULL;
	size_t n = 0;
	int byte = 0;
	char *end;

	while (plain && *from && *from != '"' && byte >= 0) {
		byte = (unsigned char)*from++;
		if (byte == '\\')
			byte = escaped(&from);
		plain[n++] = (char)byte;
	}
	*ret = line;
	if (plain && byte >= 0 && *from == '"') {
		end = line + (from + 1 - line);
		memcpy(line, plain, n);
		line[n] = '\0';
		return end;
	}
	end = line + strcspn(line, " \t\r");
	if (*end)
		*end++ = '\0';
	return end;
}

/* Lines that say what is a macro, or those that use them. 1: one was new. */
static int add_lines(struct fetch_lfs *l, const char *dir, const char *text,
	size_t len, bool macros)
{
	static const char mark[] = "[attr]";
	cleanup_free char *copy = strndup(text, len);
	char *save = NULL, *pattern, *rest;
	int r = copy ? 0 : -ENOMEM;
	bool new = false;

	for (char *line = r ? NULL : strtok_r(copy, "\n", &save);
	     line && r >= 0; line = strtok_r(NULL, "\n", &save)) {
		char *p = skip_blanks(line);
		bool defines = !strncmp(p, mark, sizeof(mark) - 1);

		if (!*p || *p == '#' || defines != macros)
			continue;
		if (defines) {
			r = add_macro(l, p + sizeof(mark) - 1);
			new |= r == 1;
			continue;
		}
		rest = take_pattern(p, &pattern);
		if (says_lfs(l, rest))
			r = add_rule(l, dir, pattern);
	}
	return r < 0 ? r : new;
}

int fetch_lfs_add(struct fetch_lfs *l, const char *dir, const char *text,
	size_t len)
{
	int r = !*dir;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		len -= 3;
	}
	/* One may be of one that is defined behind it. */
	while (r == 1)
		r = add_lines(l, dir, text, len, true);
	return r ? r : add_lines(l, dir, text, len, false);
}

int fetch_lfs_unread(struct fetch_lfs *l, const char *dir)
{
	return add_rule(l, dir, "*");
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
	bool may = l->all;

	/* What takes the filter off again must be exact to be believed; it
	 * hardly ever is said. */
	for (size_t i = 0; i < l->n && !may; i++)
		may = matches(&l->v[i], path);
	return may;
}

void fetch_lfs_done(struct fetch_lfs *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].dir);
		free(l->v[i].pattern);
	}
	for (size_t i = 0; i < l->n_macros; i++)
		free(l->macros[i]);
	free(l->v);
	*l = (struct fetch_lfs){ .v = NULL };
}
