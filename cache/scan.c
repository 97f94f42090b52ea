/* What lies below the root and counts in the budget. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "cache/partial.h"
#include "cache/store.h"

struct scan {
	struct cache *c;
	int (*fn)(void *arg, const struct cache_entry *e);
	void *arg;
};

typedef int scan_name_fn(const struct scan *s, const char *dir,
	const char *name);

static int odd(const struct scan *s, const char *rel, int err, mode_t type)
{
	struct cache_entry e = { .kind = CACHE_FILE_ODD, .err = err,
		.type = type };

	(void) snprintf(e.rel, sizeof(e.rel), "%s", rel);
	return s->fn(s->arg, &e);
}

/* fn for each name in `dir` that has `len` bytes. */
static int each_name(const struct scan *s, const char *dir, size_t len,
	scan_name_fn *fn)
{
	int fd = openat(s->c->dir, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *d;
	int r = 0;

	if (fd < 0 && (errno == ENOTDIR || errno == EACCES))
		return odd(s, dir, errno == EACCES ? -EACCES : -EINVAL,
			S_IFDIR);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		(void) close(fd);
		return r;
	}
	while (!r && (errno = 0, e = readdir(d))) {
		if (strlen(e->d_name) == len && e->d_name[0] != '.')
			r = fn(s, dir, e->d_name);
	}
	if (!r && errno)
		r = odd(s, dir, -errno, S_IFDIR);
	(void) closedir(d);
	return r;
}

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static enum cache_file kind_of(const char *dir)
{
	switch (*dir) {
	case 'o':
		return CACHE_FILE_OBJECT;
	case 'l':
		return CACHE_FILE_LINK;
	default:
		return dir[2] == 'c' ? CACHE_FILE_RECIPE : CACHE_FILE_REF;
	}
}

static int file(const struct scan *s, const char *dir, const char *name)
{
	struct cache_entry e = { .kind = kind_of(dir) };
	mode_t type = e.kind == CACHE_FILE_LINK ? S_IFLNK : S_IFREG;
	struct stat st;

	(void) snprintf(e.rel, sizeof(e.rel), "%.40s/%.62s", dir, name);
	(void) snprintf(e.hex, sizeof(e.hex), "%.2s%.62s",
		strrchr(dir, '/') + 1, name);
	if (fstatat(s->c->dir, e.rel, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if ((st.st_mode & S_IFMT) != type)
		return odd(s, e.rel, -EINVAL, type);
	e.bytes = (uint64_t)st.st_size;
	e.used_ns = ns_of(&st.st_mtim);
	return s->fn(s->arg, &e);
}

static int fan(const struct scan *s, const char *dir, const char *name)
{
	char sub[CACHE_REL_MAX];

	(void) snprintf(sub, sizeof(sub), "%.32s/%.2s", dir, name);
	return each_name(s, sub, 62, file);
}

static int partial(const struct scan *s, const char *dir, const char *name)
{
	struct cache_entry e = { .kind = CACHE_FILE_PARTIAL };
	char map[CACHE_REL_MAX];
	struct stat st;

	(void) snprintf(e.rel, sizeof(e.rel), "%.16s/%.64s", dir, name);
	(void) snprintf(e.hex, sizeof(e.hex), "%.64s", name);
	(void) snprintf(map, sizeof(map), "%.90s/map", e.rel);
	if (!fstatat(s->c->dir, map, &st, AT_SYMLINK_NOFOLLOW))
		e.used_ns = ns_of(&st.st_mtim);
	(void) cache_partial_peek(s->c, name, 0, &e.bytes);
	return s->fn(s->arg, &e);
}

int cache_scan(struct cache *c,
	int (*fn)(void *arg, const struct cache_entry *e), void *arg)
{
	const struct scan s = { c, fn, arg };
	int r = each_name(&s, "objects/sha256", 2, fan);

	if (!r)
		r = each_name(&s, "partial", 64, partial);
	if (!r)
		r = each_name(&s, "recipes", 2, fan);
	return r;
}

static int pin(const struct scan *s, const char *dir, const char *name)
{
	struct cache_entry e = { .kind = CACHE_FILE_PIN };

	(void) snprintf(e.rel, sizeof(e.rel), "%.16s/%.64s", dir, name);
	(void) snprintf(e.hex, sizeof(e.hex), "%.64s", name);
	return s->fn(s->arg, &e);
}

int cache_scan_notes(struct cache *c,
	int (*fn)(void *arg, const struct cache_entry *e), void *arg)
{
	const struct scan s = { c, fn, arg };
	int r = each_name(&s, "links", 2, fan);

	if (!r)
		r = each_name(&s, "refs", 2, fan);
	if (!r)
		r = each_name(&s, "pins", 64, pin);
	return r;
}
