#include "config.h"

#include "fs/stack.h"

#include <stdlib.h>

#include "fs/lock.h"

struct cache_name fs_stack_name(const struct fs_snap *s,
	const struct listing_entry *e)
{
	return (struct cache_name){ .hub = s->hub->name, .repo = s->repo,
		.revision = s->revision, .path = e->path, .size = e->size,
		.id = fs_lock_id(s->locked, e) };
}

int fs_stack_file(const struct fs_stack *k, const struct fs_snap *s,
	const struct listing_entry *e, struct src **ret, struct error *why)
{
	struct cache_name name = fs_stack_name(s, e);
	struct src *remote = NULL, *got;
	int r;

	if (fs_archive_of(s, e))
		return k->here ? fs_archive_here(s->archive, e, ret) :
			fs_archive_member(s->archive, e, true, ret, why);
	if (e->size == LISTING_SIZE_UNKNOWN)
		return error_set(why, -ENOTSUP, "%s: the hub tells no size",
			e->path);
	if (e->size == 0) {
		*ret = src_from_memory(NULL, 0);
		return *ret ? 0 : -ENOMEM;
	}
	if (!k->offline) {
		r = fetch_src_new(s->hub->fetch, s->repo, s->revision, e->path,
			e->size, &e->id, &remote);
		if (r)
			return error_set(why, r, "%s", e->path);
	}
	r = cache_src_open(k->cache, &name, remote, &got, why);
	src_unref(remote);
	if (r)
		return r;
	*ret = got;
	return 0;
}

int fs_stack_staged(const struct fs_stack *k, const struct fs_snap *s,
	struct stage_recipe *recipe, struct src **ret, struct error *why)
{
	unsigned n = stage_recipe_sources(recipe);
	struct src **sources = calloc(n + 1, sizeof(*sources));
	int r = sources ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !r; i++) {
		const char *path = stage_recipe_source_path(recipe, i);
		const struct listing_entry *e = listing_find(&s->own, path);

		if (e && e->kind == LISTING_FILE)
			r = fs_stack_file(k, s, e, &sources[i], why);
		else
			r = error_set(why, -EBADMSG,
				"%s: a source that the repository has not",
				path);
	}
	if (!r)
		r = stage_recipe_src(recipe, sources, ret, why);
	for (unsigned i = 0; i < n && sources; i++)
		src_unref(sources[i]);
	free(sources);
	return r;
}
