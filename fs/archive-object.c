/* Members as objects of the cache: by what they are known, and how they are
 * made while an archive is unpacked. */
#include "config.h"

#include "fs/archive-own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

#define PUTS_MAX 256	/* objects made in one pass: each is an fsync() */

/* The name of a member in the cache; *ret_path: to be freed. */
static int name_of(const struct fs_archive *a, const char *path,
	uint64_t size, const struct objid *id, struct cache_name *ret,
	char **ret_path)
{
	const struct fs_snap *s = a->snap;
	char *full = path_join(a->path, path);

	if (!full)
		return -ENOMEM;
	*ret = (struct cache_name){ .hub = s->hub->name, .repo = s->repo,
		.revision = s->revision, .path = full, .size = size,
		.id = *id };
	*ret_path = full;
	return 0;
}

static char *fact_key(const struct fs_archive *a, const char *path)
{
	char *own = fs_archive_key(a), *key;

	if (!own || asprintf(&key, "%s!%s", own, path) < 0)
		key = NULL;
	free(own);
	return key;
}

/* What is known of the digest of a member. */
static int digest_of(const struct fs_archive *a, const struct stage_member *m,
	struct objid *ret)
{
	struct buf b = BUF_INIT(OBJID_HEX_MAX);
	char *key;
	int r = -ENOMEM;

	if (m->how == STAGE_MEMBER_STREAM) {
		*ret = m->id;
		return m->id.alg == OBJID_SHA256 ? 0 : -ENOENT;
	}
	key = fact_key(a, m->path);
	if (key)
		r = cache_index_get(a->snap->resolver->cache,
			CACHE_KIND_ARCHIVE, key, &b, NULL);
	if (!r && !fs_archive_holds(a))
		r = -ENOENT;
	if (!r)
		r = objid_parse(OBJID_SHA256, (const char *)b.data, ret);
	if (!r && ret->digits != 2 * OBJID_RAW_MAX)
		r = -ENOENT;
	free(key);
	buf_done(&b);
	return r;
}

void fs_archive_remember(const struct fs_archive *a, const char *path,
	const struct objid *id)
{
	char hex[OBJID_HEX_MAX], *key = fact_key(a, path);

	objid_hex(id, hex);
	if (key && fs_archive_holds(a))
		(void) cache_index_put(a->snap->resolver->cache,
			CACHE_KIND_ARCHIVE, key, hex, strlen(hex));
	free(key);
}

int fs_archive_object(const struct fs_archive *a,
	const struct stage_member *m, struct src **ret)
{
	struct cache_name name;
	struct objid id;
	char *path = NULL;
	int r = digest_of(a, m, &id);

	if (!r)
		r = name_of(a, m->path, m->size, &id, &name, &path);
	if (!r)
		r = cache_whole_open(a->snap->resolver->cache, &name, ret);
	free(path);
	return r;
}

static bool is_here(const struct fs_archive_putting *k, const char *path)
{
	const struct stage_member *m = stage_archive_find(&k->a->list, path);
	struct src *s;

	if (!m || m->how != STAGE_MEMBER_STREAM || !m->size)
		return true;
	if (fs_archive_object(k->a, m, &s))
		return false;
	src_unref(s);
	return true;
}

static int put_begin(void *arg, const char *path, uint64_t size)
{
	struct fs_archive_putting *k = arg;
	bool wanted = k->wanted && !strcmp(k->wanted, path);
	int r;

	k->skip = k->again && is_here(k, path);
	if (k->skip)
		return 0;
	if (wanted || (size && k->puts < PUTS_MAX)) {
		k->puts++;
		r = cache_put_begin(k->a->snap->resolver->cache, size,
			&k->put);
		if (r != -ENOSPC || wanted)
			return r;
	}
	k->d = digest_new(OBJID_SHA256, size);
	return k->d ? 0 : -ENOMEM;
}

static int put_data(void *arg, const void *buf, size_t len)
{
	struct fs_archive_putting *k = arg;

	if (k->put)
		return cache_put_data(k->put, buf, len);
	if (k->d)
		digest_update(k->d, buf, len);
	return 0;
}

static int put_end(void *arg, struct objid *ret)
{
	struct fs_archive_putting *k = arg;
	int r = 0;

	if (k->put)
		r = cache_put_end(k->put, ret);
	else if (k->d)
		digest_final(k->d, ret);
	k->put = NULL;
	digest_free(k->d);
	k->d = NULL;
	return r;
}

static void put_drop(void *arg)
{
	struct fs_archive_putting *k = arg;

	cache_put_drop(k->put);
	k->put = NULL;
	digest_free(k->d);
	k->d = NULL;
}

struct stage_archive_sink fs_archive_sink(struct fs_archive_putting *k)
{
	return (struct stage_archive_sink){ put_begin, put_data, put_end,
		put_drop, k };
}

int fs_archive_pass(struct fs_archive *a, struct fs_archive_putting *k,
	struct stage_archive *ret, struct error *why)
{
	const struct stage_archive_sink sink = fs_archive_sink(k);
	struct src *src;
	unsigned epoch;
	int r = fs_archive_bytes(a, true, true, &src, why);

	if (r)
		return r;
	epoch = src_epoch(src);
	r = stage_work_list(a->snap->resolver->stage, a->key, src, &sink, ret,
		why);
	if (!r) {
		r = fs_archive_check(src, epoch, why);
		if (r)
			stage_archive_done(ret);
	}
	src_unref(src);
	return r;
}
