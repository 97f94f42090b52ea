/*
 * A user's wish to have the hub asked again. What is known stays known (an
 * unreachable hub must not make it vanish); it is only no longer fresh.
 */
#include "config.h"

#include <stdlib.h>

#include "base/path.h"
#include "fs/tree.h"

static void expire_refusals(struct fs *fs, const struct fs_hub *hub,
	const char *below)
{
	char *prefix = path_join(hub->name, below);

	if (prefix)
		fs_resolve_expire_refusals(&fs->resolver, prefix);
	free(prefix);
}

void fs_expire(struct fs *fs, struct fs_node *n)
{
	struct fs_node *repo = fs_node_repo(n);

	for (; repo && fs_node_is_repo(repo); repo = repo->parent)
		fs_resolve_expire(&fs->resolver, repo->hub, repo->repo,
			repo->rev, false);
	if (n->kind == FS_OWNER || n->kind == FS_GROUP || n->kind == FS_SERIES)
		fs_owner_expire(&fs->resolver, n->hub, n->repo);
	if (!n->hub)
		fs_resolve_expire_refusals(&fs->resolver, "");
	else if (!n->snap)
		expire_refusals(fs, n->hub, n->repo ? n->repo : "");
}
