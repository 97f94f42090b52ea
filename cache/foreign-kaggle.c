/*
 * kagglehub (reference: kagglehub/cache.py):
 *
 *   models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION/PATH
 *   models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION.complete
 *                                     every file of the version is whole
 *   models/OWNER/MODEL/FRAMEWORK/VARIATION/.complete/VERSION/PATH.complete
 *                                     that one is
 *
 * FRAMEWORK is spelt as the user did: the API says "tensorFlow2", the web pages
 * "TensorFlow2", and both work. Files are written in place; without a marker
 * one may be cut off.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cache/foreign.h"

#define SPELLINGS 3

/* OWNER/MODEL/FRAMEWORK/VARIATION with another spelling of the third. The
 * caller frees. */
static char *spell(const char *repo, unsigned nth)
{
	char *s = strdup(repo), *p = s;

	for (int i = 0; p && i < 2; i++) {
		p = strchr(p, '/');
		p = p ? p + 1 : NULL;
	}
	if (p && nth == 1)
		*p = (char)toupper((unsigned char)*p);
	for (; p && nth == 2 && *p && *p != '/'; p++)
		*p = (char)tolower((unsigned char)*p);
	return s;
}

static bool complete(const char *root, const char *repo, const char *revision,
	const char *path)
{
	cleanup_free char *all = NULL;
	cleanup_free char *one = NULL;

	if (!cache_foreign_path(&all, "%s/%s.complete", repo, revision) &&
	    cache_foreign_has(root, all))
		return true;
	return !cache_foreign_path(&one, "%s/.complete/%s/%s.complete", repo,
		revision, path) && cache_foreign_has(root, one);
}

static int kaggle_place(struct cache *c, const char *root,
	const struct cache_name *n, unsigned nth, char **ret)
{
	cleanup_free char *repo = NULL;

	(void) c;
	if (strcmp(n->hub, "kaggle") || nth >= SPELLINGS)
		return -ENODATA;
	repo = spell(n->repo, nth);
	if (!repo)
		return -ENOMEM;
	if (!complete(root, repo, n->revision, n->path))
		return -ENOENT;
	return cache_foreign_path(ret, "%s/%s/%s", repo, n->revision, n->path);
}

struct telling {
	const char *root;
	int (*fn)(void *arg, const struct cache_foreign *f);
	void *arg;
};

/* rel: OWNER/MODEL/FRAMEWORK/VARIATION/VERSION/PATH */
static int tell(void *arg, const struct foreign_entry *e)
{
	const struct telling *t = arg;
	cleanup_free char *rel = strdup(e->rel);
	char *part[6], *p = rel;

	if (!rel)
		return -ENOMEM;
	for (int i = 0; i < 6; i++) {
		part[i] = p;
		p = i < 5 && p ? strchr(p, '/') : NULL;
		p = p ? p + 1 : NULL;
	}
	if (!part[5] || *part[4] == '.')
		return 0;
	part[4][-1] = part[5][-1] = '\0';
	if (!complete(t->root, rel, part[4], part[5]))
		return 0;
	return t->fn(t->arg, &(struct cache_foreign){
		.tool = cache_foreign_kaggle.name, .hub = "kaggle",
		.repo = rel, .revision = part[4], .path = part[5],
		.file = e->file, .size = (uint64_t)e->st->st_size });
}

static int kaggle_each(struct cache *c, const char *root,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct telling t = { root, fn, arg };

	(void) c;
	return cache_foreign_tree(root, "", tell, &t);
}

const struct foreign_tool cache_foreign_kaggle = {
	.name = "kagglehub",
	.place = kaggle_place,
	.each = kaggle_each,
};
