#include "config.h"

#include "fs/node.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/fs.h"

static char *path_from(const struct fs_node *n, const struct fs_node *top)
{
	size_t len = 0;
	char *path, *at;

	for (const struct fs_node *p = n; p != top && p->parent; p = p->parent)
		len += strlen(p->name) + 1;
	path = malloc(len + 1);
	if (!path)
		return NULL;
	at = path + (len ? len - 1 : 0);
	*at = '\0';
	for (; n != top && n->parent; n = n->parent) {
		size_t k = strlen(n->name);

		at -= k;
		memcpy(at, n->name, k);
		if (at > path)
			*--at = '/';
	}
	return path;
}

char *fs_node_path(const struct fs_node *n)
{
	return path_from(n, NULL);
}

struct fs_node *fs_node_repo(struct fs_node *n)
{
	while (n && !fs_node_is_repo(n))
		n = n->parent;
	return n;
}

char *fs_node_repo_path(const struct fs_node *n)
{
	while (n && !fs_node_is_repo(n))
		n = n->parent;
	return n ? path_from(n, NULL) : NULL;
}
