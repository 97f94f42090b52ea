/*
 * keras.utils.get_file (reference: keras/src/utils/file_utils.py):
 *
 *   models/FILE
 *
 * FILE is what the code asks for: the last part of the address but for
 * NASNet, "nasnet_large.h5" of NASNet-large.h5. A download is written in place,
 * so a file may be short, or about to change.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "cache/foreign.h"

static int keras_place(struct cache *c, const char *root,
	const struct cache_name *n, unsigned nth, char **ret)
{
	const char *name = path_base(n->path);
	int r;

	(void) c;
	(void) root;
	if (strcmp(n->hub, "keras") || nth > 1)
		return -ENODATA;
	r = cache_foreign_path(ret, "%s", name);
	if (r || !nth)
		return r;
	for (char *p = *ret; *p; p++)
		*p = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
	return 0;
}

struct telling {
	int (*fn)(void *arg, const struct cache_foreign *f);
	void *arg;
};

static int tell(void *arg, const struct foreign_entry *e)
{
	const struct telling *t = arg;
	size_t n = strlen(e->name);

	if (!S_ISREG(e->st->st_mode) || n < 4 || strcmp(e->name + n - 3, ".h5"))
		return 0;
	return t->fn(t->arg, &(struct cache_foreign){
		.tool = cache_foreign_keras.name, .hub = "keras",
		.repo = "models", .revision = "", .path = e->name,
		.file = e->file, .size = (uint64_t)e->st->st_size });
}

static int keras_each(struct cache *c, const char *root,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct telling t = { fn, arg };

	(void) c;
	return cache_foreign_dir(root, "", tell, &t);
}

const struct foreign_tool cache_foreign_keras = {
	.name = "keras",
	.place = keras_place,
	.each = keras_each,
};
