/*
 * The kernel's own list is the only one that cannot be stale: a killed daemon
 * leaves its mount behind, and several mounts may be up at once.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/proc.h"
#include "cli/mounts.h"

#define FSTYPE "fuse.omnihub"

/* "\040" → ' ': the kernel escapes space, tab, newline and backslash. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' &&
		    s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				(s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

char *cli_mountinfo_parse(char *line)
{
	char *save = NULL, *word, *dir = NULL;
	unsigned i;

	/* id parent major:minor root DIR options [tag...] - TYPE source … */
	for (i = 0, word = strtok_r(line, " \n", &save); word;
	     i++, word = strtok_r(NULL, " \n", &save)) {
		if (i == 4)
			dir = word;
		if (i >= 6 && !strcmp(word, "-"))
			break;
	}
	word = word ? strtok_r(NULL, " \n", &save) : NULL;
	if (!word || strcmp(word, FSTYPE))
		return NULL;
	unescape(dir);
	return dir;
}

long long cli_mountinfo_user(const char *line)
{
	const char *p = strstr(line, " - ");
	int i;

	/* … - TYPE SOURCE OPTION,OPTION; a blank in one of them is "\040" */
	for (i = 0; p && i < 3; i++)
		p = strchr(p + 1, ' ');
	for (; p && *p; p = strchr(p, ','))
		if (!strncmp(++p, "user_id=", 8))
			return strtoll(p + 8, NULL, 10);
	return -1;
}

bool cli_mount_is_own(const char *dir)
{
	cleanup_file FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	const char *at;
	long long user;
	size_t room = 0;
	bool own = false;

	while (f && getline(&line, &room, f) > 0) {
		user = cli_mountinfo_user(line);
		at = cli_mountinfo_parse(line);
		if (at && !strcmp(at, dir))	/* the last one is on top */
			own = user == (long long)geteuid();
	}
	return own;
}

int cli_mounts_each(int (*fn)(void *arg, const char *dir), void *arg)
{
	cleanup_file FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	size_t room = 0;
	char *dir;
	int r = 0;

	if (!f)
		return -errno;
	while (!r && getline(&line, &room, f) > 0) {
		dir = cli_mountinfo_parse(line);
		if (dir)
			r = fn(arg, dir);
	}
	return r;
}

const char *cli_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	if (strncmp(path, dir, n))
		return NULL;
	if (n == 1)	/* dir is "/" */
		return path + 1;
	if (path[n] && path[n] != '/')
		return NULL;
	return path + n + strspn(path + n, "/");
}

struct deepest {
	const char *path;
	char *dir;	/* owned */
};

static int deeper(void *arg, const char *dir)
{
	struct deepest *d = arg;

	if (!cli_below(d->path, dir) ||
	    (d->dir && strlen(dir) < strlen(d->dir)))
		return 0;
	free(d->dir);
	d->dir = strdup(dir);
	return d->dir ? 0 : -ENOMEM;
}

char *cli_mount_of(const char *path)
{
	struct deepest d = { path, NULL };

	(void) cli_mounts_each(deeper, &d);
	return d.dir;
}

static int same(void *arg, const char *dir)
{
	return !strcmp(arg, dir);
}

bool cli_mount_at(const char *real)
{
	return cli_mounts_each(same, (void *)(uintptr_t)real) == 1;
}

/* stat may be answered from the kernel's cache; open and read are not. */
static int ask_status(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char byte;

	return fd >= 0 && read(fd, &byte, 1) >= 0 ? 0 : -errno;
}

int cli_mount_probe(const char *dir)
{
	cleanup_free char *real = NULL;
	cleanup_free char *file = NULL;
	int r = proc_real_path(dir, &real);

	if (r == -ETIMEDOUT)
		return r;
	if (r || !cli_mount_at(real))
		return -ENODEV;
	file = path_join(real, ".omnihub/status");
	if (!file)
		return -ENOMEM;
	r = proc_ask(ask_status, file);
	if (r == -ECONNABORTED)
		r = -ENOTCONN;
	/* not dead, when it was unmounted meanwhile */
	return !r || cli_mount_at(real) ? r : -ENODEV;
}

char *cli_path_clean(const char *path)
{
	cleanup_free char *cwd = NULL;
	cleanup_free char *all = NULL;
	char *save = NULL, *word, *out, *end;

	if (*path != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return NULL;
	}
	if (asprintf(&all, "%s/%s", cwd ? cwd : "", path) < 0) {
		all = NULL;
		return NULL;
	}
	out = calloc(1, strlen(all) + 2);
	if (!out)
		return NULL;
	end = out;
	for (word = strtok_r(all, "/", &save); word;
	     word = strtok_r(NULL, "/", &save)) {
		if (!strcmp(word, "."))
			continue;
		if (!strcmp(word, "..")) {
			while (end > out && *--end != '/')
				;
			*end = '\0';
			continue;
		}
		*end++ = '/';
		end = stpcpy(end, word);
	}
	if (end == out)
		(void) strcpy(out, "/");
	return out;
}
