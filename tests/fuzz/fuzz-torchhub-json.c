/*
 * What GitHub's replies are read into. The first byte chooses the reader: 'c'
 * a commit, 't' a whole tree, 'd' one directory, 'o' an owner's repositories,
 * 'a' .gitattributes, 'p' an LFS pointer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fetch/lfs.h"
#include "fetch/owner-json.h"
#include "fetch/torchhub-json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void told(int r, const struct error *why)
{
	if (r < 0 && (!why->code || !*why->text))
		abort();
}

static void commit(const uint8_t *data, size_t len)
{
	struct fetch_snapshot *s = NULL;
	struct error why = { 0 };
	int r = fetch_github_commit(data, len, "o/r", &s, &why);

	told(r, &why);
	if (!r && (strlen(s->revision) != 40 || !path_rel_ok(s->repo)))
		abort();
	fetch_snapshot_free(s);
}

static bool any(const char *repo)
{
	return path_rel_ok(repo);
}

static void listing(const uint8_t *data, size_t len, char kind)
{
	struct fetch_github_dirs dirs = { NULL, 0 };
	struct listing l = { 0 };
	struct error why = { 0 };
	int r = kind == 'o' ? fetch_json_owner(data, len, "full_name", "o",
			any, &l, &why) :
		fetch_github_tree(data, len, kind == 'd' ? "below" : "", &l,
			kind == 'd' ? &dirs : NULL, &why);

	told(r, &why);
	listing_sort(&l);
	for (size_t i = 0; i < l.n; i++) {
		if (!path_rel_ok(l.v[i].path) ||
		    (l.v[i].kind == LISTING_FILE) != (kind != 'o') ||
		    l.v[i].size > INT64_MAX)
			abort();
	}
	for (size_t i = 0; i < dirs.n; i++) {
		if (!path_rel_ok(dirs.v[i].path) ||
		    strlen(dirs.v[i].sha) != 40)
			abort();
	}
	fetch_github_dirs_done(&dirs);
	listing_done(&l);
}

static void attributes(const uint8_t *data, size_t len)
{
	struct fetch_lfs l = { .v = NULL };
	int r = fetch_lfs_add(&l, "", (const char *)data, len);

	if (!r)
		r = fetch_lfs_add(&l, "a/b", (const char *)data, len);
	if (r)
		abort();
	(void) fetch_lfs_match(&l, "a/b/model.bin");
	(void) fetch_lfs_match(&l, "x");
	fetch_lfs_done(&l);
}

static void pointer(const uint8_t *data, size_t len)
{
	struct objid id;
	uint64_t size;
	int r = fetch_lfs_pointer(data, len, &size, &id);

	if (r ? r != -ENOENT : size > INT64_MAX || id.alg != OBJID_SHA256 ||
			id.digits != 64)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len)
		return 0;
	switch (*data) {
	case 'c':
		commit(data + 1, len - 1);
		break;
	case 'a':
		attributes(data + 1, len - 1);
		break;
	case 'p':
		pointer(data + 1, len - 1);
		break;
	default:
		listing(data + 1, len - 1, (char)*data);
		break;
	}
	return 0;
}
