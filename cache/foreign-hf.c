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

static int hf_place(struct cache *c, const char *root,
	const struct cache_name *n, unsigned nth, char **ret)
{
	const char *slash = strchr(n->repo, '/');
	char name[PATH_NAME_MAX + 1], hex[OBJID_HEX_MAX];
	int r;

	(void) c;
	(void) root;
	if (strcmp(n->hub, "huggingface") || nth >= (slash ? 4 : 2))
		return -ENODATA;
	r = folder(nth < 2 ? n->repo : slash + 1, name);
	if (r)
		return r;
	if (nth % 2)
		return cache_foreign_path(ret, "%s/snapshots/%s/%s", name,
			n->revision, n->path);
	objid_hex(&n->id, hex);
	return cache_foreign_path(ret, "%s/blobs/%s", name, hex);
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

static int hf_each(struct cache *c, const char *root,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct walk w = { fn, arg, { .tool = cache_foreign_hf.name,
		.hub = "huggingface" } };
	DIR *d = opendir(root);
	struct dirent *e;
	int r = 0;

	(void) c;
	if (!d)
		return 0;
	while (!r && (e = readdir(d))) {
		cleanup_free char *repo = repo_of(e->d_name);
		cleanup_free char *dir = NULL;

		if (!repo)
			continue;
		if (asprintf(&dir, "%s/%s/snapshots", root, e->d_name) < 0) {
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
	.links = true,
	.digests = true,
	.place = hf_place,
	.each = hf_each,
};
