/*
 * A configuration file. Each refusal has its line; what was accepted is kept in
 * a form that is accepted again and stays the same, quoted as a file needs it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* conf_load() of a file with these bytes. */
static int load(struct conf *c, const void *data, size_t len,
	struct error *why)
{
	char path[64];
	int r, fd = memfd_create("config", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = conf_load(c, path, why);
	(void) close(fd);
	return r;
}

/* As one line, if one of the quotes is not in it. */
static int write_line(void *arg, const char *key, const char *shown,
	enum conf_origin from)
{
	const char *quote = strchr(shown, '"') ? "'" : "\"";

	(void) from;
	must(!strchr(shown, '\n'));
	if (!strchr(shown, *quote) && strcmp(shown, "***") != 0)
		must(!buf_printf(arg, "%s = %s%s%s\n", key, quote, shown,
			quote));
	return 0;
}

struct other {
	const struct conf *conf;
	unsigned n;
};

static int compare(void *arg, const char *key, const char *shown,
	enum conf_origin from)
{
	struct other *o = arg;
	const char *theirs = conf_get(o->conf, key);

	(void) from;
	if (strcmp(shown, "***") != 0)
		must((strchr(shown, '"') && strchr(shown, '\'')) ||
			(theirs && !strcmp(theirs, shown)));
	(void) conf_u64(o->conf, key);
	o->n++;
	return 0;
}

static void check(const struct conf *c)
{
	struct buf text = BUF_INIT(1u << 24);
	struct conf *again = conf_new();
	struct other other = { again, 0 };

	must(again && !conf_each(c, write_line, &text) &&
		!load(again, text.data, text.len, NULL) &&
		!conf_each(c, compare, &other) && other.n);
	buf_done(&text);
	conf_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct conf *c = conf_new();
	struct error why = { 0 };
	int r;

	must(c);
	r = load(c, data, len, &why);
	if (!r)
		check(c);
	else
		must((r == -EINVAL || r == -EFBIG) && why.code == r &&
			strstr(why.text, "/proc/self/fd/"));
	conf_free(c);
	return 0;
}
