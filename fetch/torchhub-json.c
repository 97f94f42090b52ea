#include "config.h"

#include "fetch/torchhub-json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/path.h"
#include "fetch/document.h"
#include "fetch/snapshot.h"

#define DIRS_MAX 100000
#define SHA 40		/* digits of a git object's name */

static int parse(const void *text, size_t len, json_t **ret,
	struct error *why)
{
	int r = json_parse(text, len, DOCUMENT_MAX, ret, why);

	if (r == -EBADMSG) {
		error_wrap(why, "GitHub's answer is no JSON");
		return -EIO;
	}
	return r;
}

static bool is_sha(const char *s)
{
	return s && strspn(s, "0123456789abcdef") == SHA && !s[SHA];
}

static int64_t time_of(const char *v)
{
	struct tm tm = { 0 };

	if (!v || !strptime(v, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	return (int64_t)timegm(&tm);
}

/* "https://github.com/OWNER/NAME/commit/SHA" → "OWNER/NAME", when that is
 * `repo` in other letters, or what it was renamed to. */
static char *repo_in(const char *html_url)
{
	const char *p = html_url ? strstr(html_url, "://") : NULL;
	const char *end;
	char *repo;

	p = p ? strchr(p + 3, '/') : NULL;
	end = p ? strstr(p, "/commit/") : NULL;
	if (!end || end == p)
		return NULL;
	repo = strndup(p + 1, (size_t)(end - p - 1));
	if (repo && (!path_rel_ok(repo) || !strchr(repo, '/') ||
		strchr(repo, '/') != strrchr(repo, '/'))) {
		free(repo);
		return NULL;
	}
	return repo;
}

int fetch_github_commit(const void *text, size_t len, const char *repo,
	struct fetch_snapshot **ret, struct error *why)
{
	json_t *j cleanup_json = NULL;
	cleanup_free char *own = NULL;
	struct fetch_snapshot *s;
	const char *sha;
	int r = parse(text, len, &j, why);

	if (r)
		return r;
	sha = json_str(j, "sha");
	if (!is_sha(sha))
		return error_set(why, -EIO, "GitHub's answer names no commit");
	own = repo_in(json_str(j, "html_url"));
	s = fetch_snapshot_new(own ? own : repo, sha);
	if (!s)
		return error_set(why, -ENOMEM, "out of memory");
	s->mtime = time_of(json_str(json_object_get(json_object_get(j,
		"commit"), "committer"), "date"));
	*ret = s;
	return 0;
}

/* ---- trees ---- */

void fetch_github_dirs_done(struct fetch_github_dirs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->v[i].path);
		free(d->v[i].sha);
	}
	free(d->v);
	*d = (struct fetch_github_dirs){ NULL, 0 };
}

static int add_dir(struct fetch_github_dirs *d, char *path, const char *sha)
{
	struct fetch_github_dir *v;

	if (d->n == DIRS_MAX)
		return -EFBIG;
	if (!(d->n & (d->n - 1))) {
		v = reallocarray(d->v, d->n ? 2 * d->n : 1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		d->v = v;
	}
	v = d->v + d->n;
	*v = (struct fetch_github_dir){ strdup(path), strdup(sha) };
	if (!v->path || !v->sha) {
		free(v->path);
		free(v->sha);
		return -ENOMEM;
	}
	d->n++;
	return 0;
}

static int add_entry(const json_t *e, const char *at, struct listing *l,
	struct fetch_github_dirs *dirs)
{
	const char *type = json_str(e, "type"), *name = json_str(e, "path"),
		*mode = json_str(e, "mode"), *sha = json_str(e, "sha");
	cleanup_free char *path = NULL;
	struct objid id;
	uint64_t size;

	if (!type || !name || !mode || !is_sha(sha) || !path_rel_ok(name))
		return -EINVAL;
	path = path_join(at, name);
	if (!path)
		return -ENOMEM;
	if (!strcmp(type, "tree"))
		return dirs ? add_dir(dirs, path, sha) : 0;
	if (!strcmp(type, "commit") || !strcmp(mode, "120000"))
		return 0;
	if (strcmp(type, "blob") ||
	    json_u64(e, "size", &size) || objid_parse(OBJID_GITSHA1, sha, &id))
		return -EINVAL;
	return listing_add(l, path, LISTING_FILE, size, &id);
}

int fetch_github_tree(const void *text, size_t len, const char *path,
	struct listing *l, struct fetch_github_dirs *dirs, struct error *why)
{
	json_t *j cleanup_json = NULL, *e;
	const json_t *tree;
	size_t i, refused;
	int r = parse(text, len, &j, why);

	if (r)
		return r;
	tree = json_object_get(j, "tree");
	if (!json_is_array(tree))
		return error_set(why, -EIO, "GitHub's answer is no tree");
	if (json_is_true(json_object_get(j, "truncated")))
		return dirs ? error_set(why, -EFBIG, "%s/: GitHub does not "
			"tell all that is in this directory", path) : 1;
	json_array_foreach(tree, i, e) {
		refused = l->refused;
		r = add_entry(e, path, l, dirs);
		if (r == -EINVAL)
			l->refused = refused + 1;
		else if (r)
			return error_set(why, r, "GitHub's listing of %zu and "
				"more files does not fit", l->n);
	}
	return 0;
}

int fetch_github_blob(const void *bytes, size_t len, const struct objid *id,
	struct error *why)
{
	struct digest *d = digest_new(OBJID_GITSHA1, len);
	struct objid is;

	if (!d)
		return error_set(why, -ENOMEM, "out of memory");
	digest_update(d, bytes, len);
	digest_final(d, &is);
	digest_free(d);
	return objid_match(&is, id) ? 0 : error_set(why, -EIO, "%zu bytes "
		"came that are not those the listing names", len);
}
