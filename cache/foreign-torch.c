/*
 * torch.hub (reference: torch/hub.py):
 *
 *   hub/checkpoints/FILE            last part of the address; renamed into
 *                                   place when it is whole
 *   hub/OWNER_NAME_REF/PATH         a repository, unpacked; '/' of REF is '_'
 *
 * The zip of a repository may differ from its commit (export-subst): the git
 * blob name decides for each file.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cache/foreign.h"

struct search {
	const char *head;	/* "OWNER_NAME_" */
	unsigned nth;
	char *found;
};

static int match(void *arg, const struct foreign_entry *e)
{
	struct search *s = arg;

	if (!S_ISDIR(e->st->st_mode) ||
	    strncmp(e->name, s->head, strlen(s->head)) || s->nth--)
		return 0;
	s->found = strdup(e->name);
	return s->found ? 1 : -ENOMEM;
}

/* Under which name a commit was asked for is not known: any will do. */
static int repo_place(const char *root, const struct cache_name *n,
	unsigned nth, char **ret)
{
	const char *slash = strchr(n->repo, '/');
	cleanup_free char *head = NULL;
	struct search s = { .nth = nth };
	int r;

	if (!slash || n->id.alg == OBJID_NONE)
		return -ENODATA;
	if (asprintf(&head, "%.*s_%s_", (int)(slash - n->repo), n->repo,
		    slash + 1) < 0) {
		head = NULL;
		return -ENODATA;
	}
	s.head = head;
	r = cache_foreign_dir(root, "", match, &s);
	if (r != 1)
		return -ENODATA;
	r = cache_foreign_path(ret, "%s/%s", s.found, n->path);
	free(s.found);
	return r;
}

static int torch_place(struct cache *c, const char *root,
	const struct cache_name *n, unsigned nth, char **ret)
{
	(void) c;
	if (!strcmp(n->hub, "pytorch/hub"))
		return repo_place(root, n, nth, ret);
	if (strcmp(n->hub, "pytorch/torchvision") || nth)
		return -ENODATA;
	return cache_foreign_path(ret, "checkpoints/%s", path_base(n->path));
}

struct telling {
	const char *root;
	int (*fn)(void *arg, const struct cache_foreign *f);
	void *arg;
	struct cache_foreign f;
	size_t skip;		/* bytes of foreign_entry.rel before the path */
};

static int tell(void *arg, const struct foreign_entry *e)
{
	struct telling *t = arg;

	if (!S_ISREG(e->st->st_mode))
		return 0;
	t->f.path = e->rel + t->skip;
	t->f.file = e->file;
	t->f.size = (uint64_t)e->st->st_size;
	return t->fn(t->arg, &t->f);
}

/*
 * An owner's name has no '_', and the last one most often stands before the
 * reference. Only used to tell people what lies there.
 */
static int tell_repo(void *arg, const struct foreign_entry *e)
{
	const char *first = strchr(e->name, '_'), *last;
	struct telling *t = arg;
	cleanup_free char *repo = NULL;

	last = first ? strrchr(first + 1, '_') : NULL;
	if (!S_ISDIR(e->st->st_mode) || !last)
		return 0;
	if (asprintf(&repo, "%.*s/%.*s", (int)(first - e->name), e->name,
		    (int)(last - first - 1), first + 1) < 0) {
		repo = NULL;
		return -ENOMEM;
	}
	t->f.hub = "pytorch/hub";
	t->f.repo = repo;
	t->f.revision = last + 1;
	t->skip = strlen(e->rel) + 1;
	return cache_foreign_tree(t->root, e->rel, tell, t);
}

static int torch_each(struct cache *c, const char *root,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct telling t = { root, fn, arg, { .tool = cache_foreign_torch.name,
		.hub = "pytorch/torchvision", .repo = "models",
		.revision = "" }, sizeof("checkpoints") };
	int r;

	(void) c;
	r = cache_foreign_dir(root, "checkpoints", tell, &t);
	return r ? r : cache_foreign_dir(root, "", tell_repo, &t);
}

const struct foreign_tool cache_foreign_torch = {
	.name = "torch.hub",
	.place = torch_place,
	.each = torch_each,
};
