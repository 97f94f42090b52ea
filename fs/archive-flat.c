/*
 * An archive that was made of one directory shows what is in that directory:
 * NAME/test_data_set_0, not NAME/DIR/test_data_set_0.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/archive.h"
#include "stage/stage.h"

/* What macOS leaves about a file NAME in ._NAME does not count. */
static bool is_litter(const char *path)
{
	return !strncmp(path, "._", 2);
}

/* Is `path` that of a directory of n bytes, or below it? */
static bool inside(const struct stage_member *m, const char *dir, size_t n)
{
	return !strncmp(m->path, dir, n) && (m->path[n] == '/' ||
		(!m->path[n] && m->how == STAGE_MEMBER_DIR));
}

/* Bytes of the one directory that all lies in, and its name. */
static size_t top_of(const struct stage_archive *l, const char **ret)
{
	size_t n = 0;

	*ret = NULL;
	for (size_t i = 0; i < l->n; i++) {
		const char *path = l->v[i].path;

		if (is_litter(path))
			continue;
		if (!*ret) {
			*ret = path;
			n = strcspn(path, "/");
		}
		if (!inside(&l->v[i], *ret, n))
			return 0;
	}
	return n;
}

int fs_archive_flat(const struct stage_archive *a, char **ret_top,
	struct listing *ret)
{
	const char *dir;
	size_t n = top_of(a, &dir);
	struct listing l = { 0 };
	char *top;
	int r = 0;

	if (!n)
		return stage_archive_listing(a, ret);
	top = strndup(dir, n);
	if (!top)
		return -ENOMEM;
	for (size_t i = 0; i < a->n && !r; i++) {
		const struct stage_member *m = &a->v[i];
		size_t skip = is_litter(m->path) ? 0 : n + 1;

		if (strlen(m->path) > skip)	/* the directory is shorter */
			r = listing_add(&l, m->path + skip,
				m->how == STAGE_MEMBER_DIR ? LISTING_DIR :
				LISTING_FILE, m->size, &m->id);
	}
	if (r) {
		free(top);
		listing_done(&l);
		return r;
	}
	listing_sort(&l);
	*ret_top = top;
	*ret = l;
	return 0;
}
