/*
 * How the command line speaks. Failures are one line with the path, the errno
 * word of the contract and the reason, so that a script can match the word
 * and a person can read the rest.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/plain.h"
#include "cli/cmd.h"

#define REASONS 32		/* entries of the error log looked through */
#define REASONS_MAX (64 * 1024)	/* bytes */

const char *cli_errno_name(int err)
{
	const char *name;

	if (err < 0)
		err = -err;
	if (err == ENOTSUP)	/* glibc says EOPNOTSUPP */
		return "ENOTSUP";
	name = strerrorname_np(err);
	return name ? name : "E?";
}

/* "TIME ERRNO PATH: text" of this path and errno: the text. */
static const char *line_text(const char *line, const char *word,
	const char *path, size_t len, bool any_revision)
{
	const char *at = strchr(line, ' ');
	size_t n = strlen(word);

	if (at && !strcmp(word, "ENOTSUP") && !strncmp(at + 1, "EOPNOT", 6))
		n = strlen("EOPNOTSUPP");	/* the same number */
	else if (!at || strncmp(at + 1, word, n))
		return NULL;
	if (at[1 + n] != ' ')
		return NULL;
	at += n + 2;
	if (strncmp(at, path, len))
		return NULL;
	at += len;
	if (any_revision && *at == '@')
		at += strcspn(at, ":/\n");
	return strncmp(at, ": ", 2) ? NULL : at + 2;
}

static bool search(const struct buf *log, const char *word, const char *path,
	size_t len, bool any_revision, char *ret, size_t room)
{
	const char *line, *text;

	for (line = (const char *)log->data; line && *line;
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		text = line_text(line, word, path, len, any_revision);
		if (!text)
			continue;
		(void) snprintf(ret, room, "%.*s", (int)strcspn(text, "\n"),
			text);
		return true;
	}
	return false;
}

/* What the tree remembers of `what` or, failing that, of the nearest directory
 * above it: a repository that could not be listed, which is said of the commit
 * that its name meant. Copied to ret. */
static bool reason_find(struct fs *fs, const char *what, const char *word,
	char *ret, size_t room)
{
	cleanup_buf struct buf log = BUF_INIT(REASONS_MAX);
	size_t len = what ? strlen(what) : 0, bare;

	fs_errors(fs, REASONS, &log);
	while (len && log.data) {
		for (bare = len; bare && what[bare] != '@' &&
		     what[bare - 1] != '/'; bare--)
			continue;
		if (what[bare] != '@')
			bare = len;
		if (search(&log, word, what, len, false, ret, room) ||
		    search(&log, word, what, bare, true, ret, room))
			return true;
		while (len && what[--len] != '/')
			;
	}
	return false;
}

/* HUB/ALIAS… with what the alias stands for; NULL: none. The caller frees. */
static char *without_alias(const struct cli *c, const char *what)
{
	const char *word = what ? strchr(what, '/') : NULL, *target;
	cleanup_free char *key = NULL;
	char *ret = NULL;
	size_t n;

	if (!word || !c->conf)
		return NULL;
	n = strcspn(++word, "/@");
	if (!n || asprintf(&key, "alias.%.*s", (int)n, word) < 0)
		return NULL;
	target = conf_get(c->conf, key);
	if (!target || asprintf(&ret, "%.*s%s%s", (int)(word - what), what,
			target, word + n) < 0)
		return NULL;
	return ret;
}

int cli_fail(const struct cli *c, const char *what, int err, const char *why)
{
	const char *cmd = c->cmd ? c->cmd->name : "";
	const char *word = cli_errno_name(err);
	cleanup_free char *meant = NULL;
	cleanup_free char *line = NULL;
	char text[ERROR_TEXT_MAX];
	size_t n = strlen(word);

	if (why && !*why)
		why = NULL;
	if (!why && c->fs && reason_find(c->fs, what, word, text, sizeof(text)))
		why = text;
	meant = why || !c->fs ? NULL : without_alias(c, what);
	if (meant && reason_find(c->fs, meant, word, text, sizeof(text)))
		why = text;
	if (!why && abs(err) == EHOSTUNREACH && c->conf &&
	    conf_flag(c->conf, "offline"))
		why = "not in the cache, and offline";
	if (!why)
		why = strerror(err < 0 ? -err : err);
	if (what && *what && !strncmp(why, what, strlen(what)) &&
	    !strncmp(why + strlen(what), ": ", 2))
		why += strlen(what) + 2;
	if (!strncmp(why, word, n) && why[n] == ':')
		why += n + 1 + strspn(why + n + 1, " ");
	(void) fflush(stdout);
	if (asprintf(&line, "omnihub: %s%s%s%s%s: %s", cmd, *cmd ? ": " : "",
			what && *what ? what : "", what && *what ? ": " : "",
			word, why) < 0)
		line = NULL;
	if (line)
		plain_line(line);
	fprintf(stderr, "%s\n", line ? line : word);
	return CLI_FAILED;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	const char *cmd = c->cmd ? c->cmd->name : "";
	va_list ap;

	fprintf(stderr, "omnihub: %s%s", cmd, *cmd ? ": " : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see 'omnihub %s%s--help'\n", cmd, *cmd ? " " : "");
	return CLI_USAGE;
}

const char *cli_bytes(const struct cli *c, char buf[CLI_SIZE_MAX],
	uint64_t bytes)
{
	if (!(c->given & CLI_OPT_BYTES))
		return cli_size(buf, bytes);
	(void) snprintf(buf, CLI_SIZE_MAX, "%" PRIu64, bytes);
	return buf;
}

int cli_print_json(struct cli *c, json_t *j)
{
	cleanup_json json_t *own = j;

	if (!own)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	errno = 0;
	if (json_dumpf(own, stdout, JSON_INDENT(2)) < 0 || putchar('\n') < 0)
		return cli_fail(c, "standard output", errno ? -errno : -EIO,
			NULL);
	return CLI_DONE;
}
