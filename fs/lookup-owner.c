/*
 * OWNER/REPO[@REVISION], and one word below a hub: an alias, a repository with
 * an old short name, or an owner. If it is no alias and the index knows nothing
 * of it, one question decides: is it a repository? If not, it is taken for an
 * owner, whose children resolve although no listing shows them (renamed owners,
 * private repositories). Whether the owner exists is asked only when somebody
 * wants its attributes: walking through it does not.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lookup.h"

const char *fs_alias(const struct fs *fs, const struct fs_hub *hub,
	const char *name)
{
	char key[PATH_NAME_MAX + 16];

	if (!hub->aliases)
		return NULL;
	(void) snprintf(key, sizeof(key), "alias.%s", name);
	return conf_get(fs->conf, key);
}

/* What the hub calls the repository of a component below a hub or an owner,
 * and the revision in w->rev. An alias may name one too: alias.x =
 * owner/name@rev; the component's own wins. The caller frees. */
static char *repo_of(const struct fs *fs, const struct fs_node *dir,
	struct fs_name *w)
{
	const char *target, *base;
	struct fs_name n;
	char *repo;

	if (dir->kind == FS_OWNER)
		return path_join(dir->repo, w->base);
	target = fs_alias(fs, dir->hub, w->base);
	if (!target)
		return strdup(w->base);
	base = path_base(target);
	if (fs_name_split(base, &n) ||
		asprintf(&repo, "%.*s%s", (int)(base - target), target,
			n.base) < 0)
		return NULL;
	if (!*w->rev)
		memcpy(w->rev, n.rev, sizeof(n.rev));
	return repo;
}

static int alias_node(struct fs *fs, struct fs_node *dir, struct fs_name *w,
	const char *name, struct fs_node **ret)
{
	char *repo = repo_of(fs, dir, w);
	int r = repo ? fs_repo_node(fs, dir, name, repo, w->rev, ret) :
		-ENOENT;

	free(repo);
	return r;
}

static int owner_node(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_node_spec s = { .kind = FS_OWNER, .name = name,
		.hub = dir->hub, .repo = name };

	return fs_made(fs_node_get(&fs->inodes, dir, &s), ret);
}

int fs_child_of_hub(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_name w;
	int r = fs_word_of(name, &w);
	bool alias;

	if (r)
		return r;
	alias = fs_alias(fs, dir->hub, w.base) != NULL;
	if (!alias && fetch_repo_check(dir->hub->fetch, w.base)) {
		/* This hub has no repositories of one word. */
		if (*w.rev || fetch_owner_check(dir->hub->fetch, w.base))
			return -ENOENT;
		return owner_node(fs, dir, name, ret);
	}
	if (*w.rev)
		return -EAGAIN;
	if (alias)
		return alias_node(fs, dir, &w, name, ret);
	switch (fs_word_known(fs, dir, w.base)) {
	case FS_WORD_OWNER:
		return owner_node(fs, dir, name, ret);
	case FS_WORD_REPO:
		return fs_repo_node(fs, dir, name, w.base, "", ret);
	case FS_WORD_UNKNOWN:
		break;
	}
	return -EAGAIN;
}

int fs_child_of_owner(struct fs *fs, struct fs_node *dir, const char *name,
	struct fs_node **ret)
{
	struct fs_name w;
	char *repo = NULL;
	int r = fs_word_of(name, &w);

	if (r)
		return r;
	repo = path_join(dir->repo, w.base);
	if (!repo)
		return -ENOMEM;
	if (fetch_repo_check(dir->hub->fetch, repo))
		r = -ENOENT;
	else if ((!*w.rev && fs_owner_has(&fs->resolver, dir->hub, dir->repo,
					w.base)) || fs_touched(fs, dir, name))
		r = fs_repo_node(fs, dir, name, repo, w.rev, ret);
	else
		r = -EAGAIN;
	free(repo);
	return r;
}

static void word_resolved(void *arg, int err, struct fs_snap *snap)
{
	struct fs_looking *k = arg;
	struct fs_node *n = NULL;

	fs_snap_unref(snap);
	if (!err && k->dir->kind == FS_OWNER)
		atomic_store(&k->dir->touched, true);
	if (!err)
		err = fs_repo_node(k->fs, k->dir, k->name, k->repo,
			k->word.rev, &n);
	else if (k->dir->kind == FS_HUB && !*k->word.rev && err != -ENOMEM)
		err = owner_node(k->fs, k->dir, k->name, &n);
	fs_looking_done(k, err, n);
}

void fs_ask_word(struct fs_looking *k)
{
	struct fs_node *d = k->dir;

	(void) fs_name_split(k->name, &k->word);
	k->repo = repo_of(k->fs, d, &k->word);
	if (k->repo)
		fs_resolve(&k->fs->resolver, d->hub, k->repo, k->word.rev,
			word_resolved, k);
	else
		fs_looking_done(k, -ENOMEM, NULL);
}
