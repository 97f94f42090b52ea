/*
 * Recipes as bytes, all integers little-endian:
 *
 *   "omnircp\n"  u32 version  u32 sources  u64 extents  u64 pool  u64 size
 *   source:      u64 size  u32 length  path
 *   extent:      u8 kind  u32 source  u64 off  u64 len  u8 xform  u8 from
 *                u16 group
 *   pool bytes
 *   u64 XXH3 of everything before
 *
 * The hash is against a disk that rots; it is no proof of who wrote it, so
 * what is parsed is checked like the bytes of a stranger.
 */
#include "config.h"

#include "stage/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/map.h"

#define MAGIC "omnircp\n"
#define MAGIC_LEN 8
#define FORMAT_VERSION 3
#define EXTENT_LEN 25
#define SOURCE_MIN 12

/* EXTENT_LEN bytes at a time: a million extents are no million appends. */
static int write_extent(const struct stage_extent *e, struct buf *ret)
{
	uint8_t rec[EXTENT_LEN];

	rec[0] = e->kind;
	rec[21] = e->xform;
	rec[22] = e->from;
	rec[23] = (uint8_t)e->group;
	rec[24] = (uint8_t)(e->group >> 8);
	for (unsigned k = 0; k < 4; k++)
		rec[1 + k] = (uint8_t)(e->source >> (8 * k));
	for (unsigned k = 0; k < 8; k++) {
		rec[5 + k] = (uint8_t)(e->off >> (8 * k));
		rec[13 + k] = (uint8_t)(e->len >> (8 * k));
	}
	return buf_append(ret, rec, sizeof(rec));
}

static int write_body(const struct stage_recipe *r, struct buf *ret)
{
	int err = buf_append(ret, MAGIC, MAGIC_LEN);

	if (!err)
		err = buf_append_le(ret, FORMAT_VERSION, 4);
	if (!err)
		err = buf_append_le(ret, r->n_sources, 4);
	if (!err)
		err = buf_append_le(ret, r->n, 8);
	if (!err)
		err = buf_append_le(ret, r->pool.len, 8);
	if (!err)
		err = buf_append_le(ret, r->size, 8);
	for (unsigned i = 0; !err && i < r->n_sources; i++) {
		const struct stage_recipe_source *s = &r->sources[i];
		size_t len = strlen(s->path);

		err = buf_append_le(ret, s->size, 8);
		if (!err)
			err = buf_append_le(ret, len, 4);
		if (!err)
			err = buf_append(ret, s->path, len);
	}
	for (size_t i = 0; !err && i < r->n; i++)
		err = write_extent(&r->v[i], ret);
	if (!err && r->pool.len)
		err = buf_append(ret, r->pool.data, r->pool.len);
	return err;
}

int stage_recipe_write(const struct stage_recipe *r, struct buf *ret)
{
	size_t start = ret->len;
	int err = write_body(r, ret);

	if (!err)
		err = buf_append_le(ret,
			map_hash(ret->data + start, ret->len - start), 8);
	if (err && ret->len > start) {
		ret->len = start;
		ret->data[start] = 0;
	}
	return err;
}

static int parse_sources(struct stage_recipe *r, struct bytes *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t size = bytes_le64(b);
		uint32_t len = bytes_le32(b);
		const uint8_t *p = bytes_take(b, len);
		char *path;
		int at;

		if (!p)
			return -EBADMSG;
		path = strndup((const char *)p, len);
		if (!path)
			return -ENOMEM;
		/* A path with a NUL inside ends early: compare the length. */
		at = strlen(path) == len ?
			stage_recipe_source(r, path, size) : -EBADMSG;
		free(path);
		if (at == -ENOMEM)
			return at;
		if (at < 0 || (uint32_t)at != i)
			return -EBADMSG;
	}
	return 0;
}

static int parse_extents(struct stage_recipe *r, struct bytes *b, uint64_t n)
{
	if (n > STAGE_EXTENTS_MAX || n > bytes_left(b) / EXTENT_LEN)
		return -EBADMSG;
	if (!n)
		return 0;
	r->v = reallocarray(NULL, n, sizeof(*r->v));
	if (!r->v)
		return -ENOMEM;
	r->room = n;
	for (; r->n < n; r->n++) {
		struct stage_extent *e = &r->v[r->n];

		memset(e, 0, sizeof(*e));
		e->kind = bytes_u8(b);
		e->source = bytes_le32(b);
		e->off = bytes_le64(b);
		e->len = bytes_le64(b);
		e->xform = bytes_u8(b);
		e->from = bytes_u8(b);
		e->group = bytes_le16(b);
	}
	return b->bad ? -EBADMSG : 0;
}

static int parse_body(struct stage_recipe *r, struct bytes *b)
{
	uint32_t n_sources = bytes_le32(b);
	uint64_t n_extents = bytes_le64(b), pool = bytes_le64(b);
	const uint8_t *p;
	int err;

	r->size = bytes_le64(b);
	if (b->bad || n_sources > STAGE_SOURCES_MAX ||
	    n_sources > bytes_left(b) / SOURCE_MIN || pool > STAGE_POOL_MAX)
		return -EBADMSG;
	err = parse_sources(r, b, n_sources);
	if (!err)
		err = parse_extents(r, b, n_extents);
	if (err)
		return err;
	p = bytes_take(b, pool);
	if (!p || bytes_left(b))
		return -EBADMSG;
	return pool ? buf_append(&r->pool, p, pool) : 0;
}

int stage_recipe_parse(const void *data, size_t len,
	struct stage_recipe **ret, struct error *why)
{
	struct bytes b = bytes_of(data, len), tail;
	const uint8_t *magic = bytes_take(&b, MAGIC_LEN);
	struct stage_recipe *r;
	uint32_t version;
	int err;

	if (!magic || memcmp(magic, MAGIC, MAGIC_LEN) || bytes_left(&b) < 8)
		return error_set(why, -EBADMSG, "this is no recipe");
	b.end -= 8;
	tail = bytes_of(b.end, 8);
	if (bytes_le64(&tail) != map_hash(data, len - 8))
		return error_set(why, -EBADMSG, "recipe: damaged");
	version = bytes_le32(&b);
	if (version != FORMAT_VERSION)
		return error_set(why, -ENOTSUP, "recipe: version %u", version);
	r = stage_recipe_new();
	if (!r)
		return -ENOMEM;
	err = parse_body(r, &b);
	if (err == -EBADMSG)
		error_set(why, err, "recipe: cut short or out of bounds");
	if (!err)
		err = stage_recipe_check(r, why);
	if (err) {
		stage_recipe_unref(r);
		return err;
	}
	*ret = r;
	return 0;
}
