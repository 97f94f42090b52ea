/*
 * tensorflow_hub (reference: tensorflow_hub/resolver.py):
 *
 *   SHA1/PATH               a module, unpacked, renamed here when it is whole
 *   SHA1.descriptor.txt     "Module: HANDLE\n" and more lines
 *   SHA1.lock               somebody is replacing it
 *
 * SHA1 is that of the handle as the user wrote it: an address at tfhub.dev or
 * at kaggle.com, or at the host that stands for tfhub.dev here.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "cache/foreign.h"

#define TFHUB "https://tfhub.dev"
#define KAGGLE "https://www.kaggle.com/models"
#define HEX 40		/* digits of a SHA-1 */
#define DESCRIPTOR ".descriptor.txt"
#define DESCRIPTOR_MAX 4096	/* bytes */

static char *tfhub_handle(const struct cache *c, const struct cache_name *n,
	unsigned nth)
{
	const char *host = nth ? c->tfhub : TFHUB;
	char *s;

	if (nth > 1 || !host || (nth && !strcmp(host, TFHUB)))
		return NULL;
	return asprintf(&s, "%s/%s/%s", host, n->repo, n->revision) < 0 ?
		NULL : s;
}

/* repo is OWNER/MODEL/FRAMEWORK/VARIATION; web pages write TensorFlow2 where
 * the API has tensorFlow2. */
static char *kaggle_handle(const struct cache_name *n, unsigned nth)
{
	const char *f = strchr(n->repo, '/');
	char *s;

	f = f ? strchr(f + 1, '/') : NULL;
	if (nth > 1 || !f || strncasecmp(f + 1, "tensorflow", 10))
		return NULL;
	return asprintf(&s, KAGGLE "/%.*s%c%s/%s", (int)(f + 1 - n->repo),
		n->repo, nth ? 'T' : f[1], f + 2, n->revision) < 0 ? NULL : s;
}

static bool locked(const char *root, const char *dir)
{
	char lock[HEX + sizeof(".lock")];

	(void) snprintf(lock, sizeof(lock), "%.40s.lock", dir);
	return cache_foreign_has(root, lock);
}

static int tfhub_place(struct cache *c, const char *root,
	const struct cache_name *n, unsigned nth, char **ret)
{
	cleanup_free char *handle = NULL;
	char dir[DIGEST_SHA1_HEX];

	if (!strcmp(n->hub, "tensorflow"))
		handle = tfhub_handle(c, n, nth);
	else if (!strcmp(n->hub, "kaggle"))
		handle = kaggle_handle(n, nth);
	if (!handle)
		return -ENODATA;
	digest_sha1(handle, strlen(handle), dir);
	if (locked(root, dir))
		return -ENOENT;
	return cache_foreign_path(ret, "%s/%s", dir, n->path);
}

struct telling {
	struct cache *c;
	const char *root;
	int (*fn)(void *arg, const struct cache_foreign *f);
	void *arg;
	struct cache_foreign f;
};

static int tell(void *arg, const struct foreign_entry *e)
{
	struct telling *t = arg;

	t->f.path = e->rel + HEX + 1;
	t->f.file = e->file;
	t->f.size = (uint64_t)e->st->st_size;
	return t->fn(t->arg, &t->f);
}

/* "HOST/REPO/REVISION", when it begins with HOST: *ret_repo points into it and
 * ends where *ret_revision begins. */
static bool split(char *handle, const char *host, char **ret_repo,
	char **ret_revision)
{
	size_t n = host ? strlen(host) : 0;
	char *last = strrchr(handle, '/');

	if (!n || strncmp(handle, host, n) || handle[n] != '/' ||
	    last <= handle + n)
		return false;
	*last = '\0';
	*ret_repo = handle + n + 1;
	*ret_revision = last + 1;
	return true;
}

/* The module whose descriptor this is. */
static int tell_module(void *arg, const struct foreign_entry *e)
{
	cleanup_buf struct buf text = BUF_INIT(DESCRIPTOR_MAX);
	struct telling *t = arg;
	char dir[DIGEST_SHA1_HEX], *handle, *repo, *revision;

	if (!S_ISREG(e->st->st_mode) || strspn(e->name, "0123456789abcdef") !=
	    HEX || strcmp(e->name + HEX, DESCRIPTOR) ||
	    io_read_file(AT_FDCWD, e->file, &text) ||
	    !text.data ||
	    strncmp((char *)text.data, "Module: ", 8))
		return 0;
	memcpy(dir, e->name, HEX);
	dir[HEX] = '\0';
	handle = (char *)text.data + 8;
	handle[strcspn(handle, "\n")] = '\0';
	if (locked(t->root, dir))
		return 0;
	if (split(handle, KAGGLE, &repo, &revision))
		t->f.hub = "kaggle";
	else if (split(handle, TFHUB, &repo, &revision) ||
		 split(handle, t->c->tfhub, &repo, &revision))
		t->f.hub = "tensorflow";
	else
		return 0;
	t->f.repo = repo;
	t->f.revision = revision;
	return cache_foreign_tree(t->root, dir, tell, t);
}

static int tfhub_each(struct cache *c, const char *root,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct telling t = { c, root, fn, arg,
		{ .tool = cache_foreign_tfhub.name } };

	return cache_foreign_dir(root, "", tell_module, &t);
}

const struct foreign_tool cache_foreign_tfhub = {
	.name = "tensorflow_hub",
	.place = tfhub_place,
	.each = tfhub_each,
};
