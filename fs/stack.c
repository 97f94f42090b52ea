#include "config.h"

#include "fs/stack.h"

#include <stdlib.h>

#include "fs/lock.h"
#include "fs/measure.h"

struct cache_name fs_stack_name(struct fs_snap *s,
	const struct listing_entry *e)
{
	e = fs_measured(s, e);
	return (struct cache_name){ .hub = s->hub->name, .repo = s->repo,
		.revision = s->revision, .path = e->path, .size = e->size,
		.id = fs_lock_id(s->locked, e) };
}

int fs_stack_file(const struct fs_stack *k, struct fs_snap *s,
	const struct listing_entry *e, struct src **ret, struct error *why)
{
	struct cache_name name = fs_stack_name(s, e);
	struct src *remote = NULL, *got;
	int r;

	if (fs_archive_of(s, e))
		return k->here ? fs_archive_here(s->archive, e, ret) :
			fs_archive_member(s->archive, e, true, ret, why);
	if (name.size == LISTING_SIZE_UNKNOWN)
		return error_set(why, -EAGAIN, "%s: its size is not known yet",
			e->path);
	if (name.size == 0) {
		*ret = src_from_memory(NULL, 0);
		return *ret ? 0 : -ENOMEM;
	}
	if (!k->offline) {
		r = fetch_src_new(s->hub->fetch, s->repo, s->revision, e->path,
			name.size, &name.id, &remote);
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

int fs_stack_file_wait(const struct fs_stack *k, struct fs_snap *s,
	const struct listing_entry *e, struct src **ret, struct error *why)
{
	int r = fs_measure_wait(s, e, &e, why);

	return r ? r : fs_stack_file(k, s, e, ret, why);
}

int fs_stack_staged(const struct fs_stack *k, struct fs_snap *s,
	struct stage_recipe *recipe, struct src **ret, struct error *why)
{
	unsigned n = stage_recipe_sources(recipe);
	struct src **sources = calloc(n + 1, sizeof(*sources));
	int r = sources ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !r; i++) {
		const char *path = stage_recipe_source_path(recipe, i);
		const struct listing_entry *e = listing_find(&s->own, path);

		if (stage_made_is(path))
			r = fs_archive_made(s, path,
				stage_recipe_source_size(recipe, i), k->here,
				&sources[i], why);
		else if (e && e->kind == LISTING_FILE)
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
