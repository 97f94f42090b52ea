/*
 * huggingface_hub's cache (reference: its file_download.py):
 *
 *   models--ORG--NAME/blobs/DIGEST              whole; .incomplete ones have
 *                                               a suffix and never match
 *   models--ORG--NAME/snapshots/COMMIT/PATH     link to ../../blobs/DIGEST, or
 *                                               a plain file
 *
 * DIGEST is the SHA-256 or the git blob name, as in the hub's listing. A
 * legacy name may lie under its short form, as the user wrote it then.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cache/foreign.h"

#define DEPTH_MAX 32	/* directories below a snapshot */

/* "org/name" → "models--org--name". */
static int folder(const char *repo, char ret[PATH_NAME_MAX + 1])
{
	const char *slash = strchr(repo, '/');
	int n;

	if (slash)
		n = snprintf(ret, PATH_NAME_MAX + 1, "models--%.*s--%s",
			(int)(slash - repo), repo, slash + 1);
	else
		n = snprintf(ret, PATH_NAME_MAX + 1, "models--%s", repo);
	if (n < 0 || n > PATH_NAME_MAX || !path_name_ok(ret, (size_t)n))
		return -ENOENT;
	return 0;
}

static int open_below(struct cache *c, const char *name, const char *kind,
	const char *rest)
{
	cleanup_free char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/%s/%s/%s", c->hf_cache, name, kind, rest) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int try_folder(struct cache *c, const char *repo,
	const char *revision, const char *path, const struct objid *id)
{
	char name[PATH_NAME_MAX + 1], hex[OBJID_HEX_MAX];
	cleanup_free char *in = NULL;
	int fd, r;

	r = folder(repo, name);
	if (r)
		return r;
	objid_hex(id, hex);
	fd = open_below(c, name, "blobs", hex);
	if (fd >= 0)
		return fd;
	in = path_join(revision, path);
	if (!in)
		return -ENOMEM;
	return path_rel_ok(in) ? open_below(c, name, "snapshots", in) :
		-ENOENT;
}

static int hf_open(struct cache *c, const char *repo, const char *revision,
	const char *path, const struct objid *id)
{
	const char *slash = strchr(repo, '/');
	int fd;

	if (!c->hf_cache)
		return -ENOENT;
	fd = try_folder(c, repo, revision, path, id);
	if (fd < 0 && slash)
		fd = try_folder(c, slash + 1, revision, path, id);
	return fd;
}

struct walk {
	int (*fn)(void *arg, const struct cache_foreign *f);
	void *arg;
	struct cache_foreign f;
};

static bool digest_name(const char *name)
{
	size_t n = strlen(name);

	return (n == 40 || n == 64) && strspn(name, "0123456789abcdef") == n;
}

static int walk_dir(struct walk *w, const char *dir, const char *rel,
	int depth);

static int walk_entry(struct walk *w, const char *dir, const char *rel,
	const char *name, int depth)
{
	cleanup_free char *file = path_join(dir, name);
	cleanup_free char *in = path_join(rel, name);
	cleanup_free char *real = NULL;
	struct stat st;

	if (!file || !in)
		return -ENOMEM;
	if (!path_name_ok(name, strlen(name)) || stat(file, &st) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return depth < DEPTH_MAX ? walk_dir(w, file, in, depth + 1) :
			0;
	real = realpath(file, NULL);
	if (!S_ISREG(st.st_mode) || !real || !digest_name(path_base(real)))
		return 0;
	w->f.path = in;
	w->f.file = real;
	w->f.size = (uint64_t)st.st_size;
	return w->fn(w->arg, &w->f);
}

static int walk_dir(struct walk *w, const char *dir, const char *rel,
	int depth)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return 0;
	while (!r && (e = readdir(d)))
		r = walk_entry(w, dir, rel, e->d_name, depth);
	(void) closedir(d);
	return r;
}

static int walk_snapshots(struct walk *w, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return 0;
	while (!r && (e = readdir(d))) {
		cleanup_free char *sub = path_join(dir, e->d_name);

		if (!sub)
			r = -ENOMEM;
		else if (path_name_ok(e->d_name, strlen(e->d_name))) {
			w->f.revision = e->d_name;
			r = walk_dir(w, sub, "", 0);
		}
	}
	(void) closedir(d);
	return r;
}

/* "models--org--name" → "org/name"; NULL: not one, or no memory. */
static char *repo_of(const char *name)
{
	static const char head[] = "models--";
	const char *rest, *sep;
	char *s;

	if (strncmp(name, head, sizeof(head) - 1))
		return NULL;
	rest = name + sizeof(head) - 1;
	sep = strstr(rest, "--");
	if (!sep)
		return strdup(rest);
	return asprintf(&s, "%.*s/%s", (int)(sep - rest), rest, sep + 2) < 0 ?
		NULL : s;
}

static int hf_each(struct cache *c,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct walk w = { fn, arg, { .tool = "huggingface_hub" } };
	DIR *d = c->hf_cache ? opendir(c->hf_cache) : NULL;
	struct dirent *e;
	int r = 0;

	if (!d)
		return 0;
	while (!r && (e = readdir(d))) {
		cleanup_free char *repo = repo_of(e->d_name);
		cleanup_free char *dir = NULL;

		if (!repo)
			continue;
		if (asprintf(&dir, "%s/%s/snapshots", c->hf_cache,
			    e->d_name) < 0) {
			dir = NULL;
			r = -ENOMEM;
			break;
		}
		w.f.repo = repo;
		r = walk_snapshots(&w, dir);
	}
	(void) closedir(d);
	return r;
}

const struct foreign_tool cache_foreign_hf = {
	.name = "huggingface_hub",
	.hub = "huggingface",
	.open = hf_open,
	.each = hf_each,
};
