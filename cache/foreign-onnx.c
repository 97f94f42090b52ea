/*
 * onnx.hub, of onnx up to 1.20 (reference: onnx/hub.py):
 *
 *   hub/DIR/SHA256_NAME     of DIR/NAME in the manifest; the .tar.gz likewise
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cache/foreign.h"

#define HEX 64	/* digits before the '_' */

static int onnx_place(struct cache *c, const char *root,
	const struct cache_name *n, unsigned nth, char **ret)
{
	const char *base = path_base(n->path);
	char hex[OBJID_HEX_MAX];

	(void) c;
	(void) root;
	if (strcmp(n->hub, "onnx") || nth || n->id.alg != OBJID_SHA256 ||
	    n->id.digits != HEX)
		return -ENODATA;
	objid_hex(&n->id, hex);
	return cache_foreign_path(ret, "%.*s%s_%s", (int)(base - n->path),
		n->path, hex, base);
}

struct telling {
	int (*fn)(void *arg, const struct cache_foreign *f);
	void *arg;
};

static int tell(void *arg, const struct foreign_entry *e)
{
	const struct telling *t = arg;
	cleanup_free char *path = NULL;

	if (strspn(e->name, "0123456789abcdef") != HEX || e->name[HEX] != '_' ||
	    !e->name[HEX + 1])
		return 0;
	if (asprintf(&path, "%.*s%s", (int)(path_base(e->rel) - e->rel),
		    e->rel, e->name + HEX + 1) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return t->fn(t->arg, &(struct cache_foreign){
		.tool = cache_foreign_onnx.name, .hub = "onnx",
		.repo = "models", .revision = "", .path = path,
		.file = e->file, .size = (uint64_t)e->st->st_size });
}

static int onnx_each(struct cache *c, const char *root,
	int (*fn)(void *arg, const struct cache_foreign *f), void *arg)
{
	struct telling t = { fn, arg };

	(void) c;
	return cache_foreign_tree(root, "", tell, &t);
}

const struct foreign_tool cache_foreign_onnx = {
	.name = "onnx.hub",
	.digests = true,
	.place = onnx_place,
	.each = onnx_each,
};
