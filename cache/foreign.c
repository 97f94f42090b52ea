#include "config.h"

#include "cache/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static const struct foreign_tool *const tools[] = {
	&cache_foreign_hf,
};

#define TOOLS (sizeof(tools) / sizeof(*tools))

static int look(struct cache *c, int fd, uint64_t size,
	const struct objid *id)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -ENOENT;
	r = cache_index_foreign_get(c->index, &st, id);
	if (r == 0)
		return -ENOENT;
	return r == 1;
}

int cache_foreign_find(struct cache *c, const char *hub, const char *repo,
	const char *revision, const char *path, uint64_t size,
	const struct objid *id, int *ret_fd)
{
	/* Without a whole digest nobody could say that the bytes are right. */
	if (!cache_id_full(id))
		return -ENOENT;
	for (size_t i = 0; i < TOOLS; i++) {
		cleanup_fd int fd = -1;
		int r;

		if (strcmp(tools[i]->hub, hub))
			continue;
		fd = tools[i]->open(c, repo, revision, path, id);
		r = fd < 0 ? fd : look(c, fd, size, id);
		if (r >= 0) {
			*ret_fd = steal_fd(&fd);
			return r;
		}
	}
	return -ENOENT;
}

int cache_foreign_each(struct cache *c,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	int r = 0;

	for (size_t i = 0; !r && i < TOOLS; i++)
		r = tools[i]->each(c, fn, arg);
	return r;
}
