#include "config.h"

#include "cache/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"

static const struct foreign_tool *const tools[CONF_TOOLS] = {
	[CONF_TOOL_HUGGINGFACE_HUB] = &cache_foreign_hf,
	[CONF_TOOL_TORCH_HUB] = &cache_foreign_torch,
	[CONF_TOOL_KERAS] = &cache_foreign_keras,
	[CONF_TOOL_TENSORFLOW_HUB] = &cache_foreign_tfhub,
	[CONF_TOOL_KAGGLEHUB] = &cache_foreign_kaggle,
	[CONF_TOOL_ONNX_HUB] = &cache_foreign_onnx,
};

/* ---- a file ------------------------------------------------------------------ */

struct foreign_file *cache_foreign_ref(struct foreign_file *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

void cache_foreign_unref(struct foreign_file *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	(void) close(f->fd);
	free(f);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool cache_foreign_same(const struct foreign_file *f)
{
	struct stat now;

	return !fstat(f->fd, &now) && now.st_size == f->st.st_size &&
		same_time(&now.st_mtim, &f->st.st_mtim) &&
		same_time(&now.st_ctim, &f->st.st_ctim);
}

int cache_foreign_read(const struct foreign_file *f, void *buf, size_t len,
	uint64_t off)
{
	int r = io_pread(f->fd, buf, len, off);

	return !r && cache_foreign_same(f) ? 0 : -ESTALE;
}

/* ---- opening ------------------------------------------------------------------ */

/* Root may not forge what belongs to users; it need not. */
static bool ours(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && (st.st_uid == geteuid() || !st.st_uid) &&
		!(st.st_mode & S_IWOTH);
}

/* Every component for itself, so that no symbolic link leads out. */
static int open_below(const char *root, char *rel, bool must_be_ours)
{
	cleanup_fd int at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *slash;
	int fd;

	for (; at >= 0 && (slash = strchr(rel, '/')); rel = slash + 1) {
		*slash = '\0';
		if (must_be_ours && !ours(at))
			return -EACCES;
		fd = openat(at, rel, O_PATH | O_DIRECTORY | O_NOFOLLOW |
			O_CLOEXEC);
		if (fd >= 0)
			(void) close(at);
		else
			return -errno;
		at = fd;
	}
	if (at < 0)
		return -errno;
	if (must_be_ours && !ours(at))
		return -EACCES;
	fd = openat(at, rel, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
		O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (must_be_ours && !ours(fd)) {
		(void) close(fd);
		return -EACCES;
	}
	return fd;
}

static int open_through(const char *root, const char *rel)
{
	cleanup_free char *path = path_join(root, rel);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- finding ------------------------------------------------------------------- */

/* As cache_foreign_find(); takes fd over when it is at least 0. */
static int look(struct cache *c, const struct cache_name *n, int fd,
	struct foreign_file **ret)
{
	struct foreign_file *f = calloc(1, sizeof(*f));
	int r = -ENOENT;

	if (!f) {
		(void) close(fd);
		return -ENOMEM;
	}
	atomic_init(&f->refs, 1);
	f->fd = fd;
	if (!fstat(fd, &f->st) && S_ISREG(f->st.st_mode) &&
	    (n->size == CACHE_SIZE_ANY ||
		    (uint64_t)f->st.st_size == n->size)) {
		r = 0;
		if (n->id.alg != OBJID_NONE)
			r = cache_index_foreign_get(c->index, &f->st, &n->id);
		if (r == 0 && n->id.alg != OBJID_NONE)
			r = -EBADMSG;	/* known to be wrong */
		else if (r == -ENOENT)
			r = 0;		/* not compared yet */
	}
	if (r < 0)
		cache_foreign_unref(f);
	else
		*ret = f;
	return r;
}

static int try_place(struct cache *c, enum conf_tool which,
	const struct cache_name *n, unsigned nth, struct foreign_file **ret)
{
	const struct foreign_tool *t = tools[which];
	const char *root = c->tools[which];
	cleanup_free char *rel = NULL;
	int r;

	r = t->place(c, root, n, nth, &rel);
	if (r)
		return r == -ENODATA ? r : -ENOENT;
	r = t->links ? open_through(root, rel) :
		open_below(root, rel, n->id.alg == OBJID_NONE);
	if (r >= 0)
		r = look(c, n, r, ret);
	return r < 0 ? -ENOENT : r;
}

int cache_foreign_find(struct cache *c, const struct cache_name *n,
	struct foreign_at *at, struct foreign_file **ret)
{
	for (; at->tool < CONF_TOOLS; at->tool++, at->nth = 0) {
		int r = -ENOENT;

		if (!c->tools[at->tool] ||
		    (tools[at->tool]->digests && !cache_id_full(&n->id)))
			continue;
		while (r == -ENOENT)
			r = try_place(c, at->tool, n, at->nth++, ret);
		if (r >= 0)
			return r;
	}
	return -ENOENT;
}

int cache_foreign_each(struct cache *c,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	int r = 0;

	for (size_t i = 0; !r && i < CONF_TOOLS; i++) {
		if (c->tools[i])
			r = tools[i]->each(c, c->tools[i], fn, arg);
	}
	return r;
}

const char *cache_foreign_tool(enum conf_tool tool)
{
	return tools[tool]->name;
}
