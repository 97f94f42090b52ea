#include "config.h"

#include "base/conf.h"

#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/conf-table.h"
#include "base/io.h"
#include "base/path.h"

#define FILE_MAX (1 << 20)	/* bytes */
#define BLANK " \t\r"

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, BLANK);
	n = strlen(s);
	while (n && strchr(BLANK, s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

/* Cut a comment: '#' at the beginning or behind a blank. */
static void cut_comment(char *s)
{
	for (char *p = s; *p; p++) {
		if (*p == '#' && (p == s || strchr(BLANK, p[-1]))) {
			*p = '\0';
			return;
		}
	}
}

/* The value without its quotes; NULL when they do not match. */
static char *value_of(char *s)
{
	char *end;

	if (*s != '"' && *s != '\'') {
		cut_comment(s);
		return trim(s);
	}
	end = strchr(s + 1, *s);
	if (!end)
		return NULL;
	*end = '\0';
	cut_comment(end + 1);
	return *trim(end + 1) ? NULL : s + 1;
}

static int read_line(struct conf *c, char *line, struct error *why)
{
	char *eq, *value;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	eq = strchr(line, '=');
	if (!eq)
		return error_set(why, -EINVAL, "not KEY = VALUE");
	*eq = '\0';
	value = value_of(eq + 1 + strspn(eq + 1, BLANK));
	if (!value)
		return error_set(why, -EINVAL, "the quotes do not match");
	return conf_set(c, trim(line), value, CONF_FILE, why);
}

static int read_text(struct conf *c, const char *path, char *text,
	struct error *why)
{
	unsigned number = 1;

	for (char *line = text, *next; line; line = next, number++) {
		struct error e = { 0 };
		int r;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r = read_line(c, line, &e);
		if (r) {
			(void) error_wrap(&e, "%s:%u", path, number);
			return error_set(why, r, "%s", e.text);
		}
	}
	return 0;
}

static char *default_path(void)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");

	/* The XDG specification: a relative path there is to be ignored. */
	return xdg && *xdg == '/' ? path_join(xdg, "omnihub/config") :
				    conf_absolute("~/.config/omnihub/config");
}

int conf_load(struct conf *c, const char *path, struct error *why)
{
	cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
	cleanup_free char *place = path ? strdup(path) : default_path();
	int r = conf_bad_env(c, why);

	if (r)
		return r;
	if (!place)
		return error_set(why, -ENOMEM, "out of memory");
	r = io_read_file(AT_FDCWD, place, &text);
	if (!path && (r == -ENOENT || r == -ENOTDIR))
		return 0;
	if (r)
		return error_set(why, r, "%s: %s", place,
			error_text(NULL, r));
	if (!text.len)
		return 0;
	if (memchr(text.data, '\0', text.len))
		return error_set(why, -EINVAL, "%s: not a text file", place);
	return read_text(c, place, (char *)text.data, why);
}
