/*
 * One sorted array, no tree: a listing is made once, read often and thrown
 * away whole. The order puts '/' before every other byte, so that all that is
 * in a directory stands in one run right behind it ("a", "a/b", "a-b") and
 * every question is a binary search and a walk.
 */
#include "config.h"

#include "base/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/path.h"

#define FIRST_ROOM 64
#define JSON_BYTES_MAX (1UL << 30)	/* far over LISTING_BYTES_MAX escaped */

static unsigned rank(char c)
{
	return c == '/' ? 1 : c ? (unsigned char)c + 1U : 0;
}

static int compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (int)rank(*a) - (int)rank(*b);
}

static int by_path(const void *va, const void *vb)
{
	const struct listing_entry *a = va, *b = vb;
	int r = compare(a->path, b->path);

	return r ? r : a->seq < b->seq ? -1 : 1;
}

/* If path is below dir, what follows "dir/"; else NULL. "" holds all. */
static const char *below(const char *path, const char *dir, size_t dir_len)
{
	if (!dir_len)
		return path;
	if (strncmp(path, dir, dir_len) || path[dir_len] != '/')
		return NULL;
	return path + dir_len + 1;
}

static int grow(struct listing *l)
{
	size_t room = l->room ? l->room * 2 : FIRST_ROOM;
	struct listing_entry *v = realloc(l->v, room * sizeof(*v));

	if (!v)
		return -ENOMEM;
	l->v = v;
	l->room = room;
	return 0;
}

int listing_add(struct listing *l, const char *path, enum listing_kind kind,
	uint64_t size, const struct objid *id)
{
	size_t len;
	char *copy;

	if (!path_rel_ok(path) ||
		(size > INT64_MAX && size != LISTING_SIZE_UNKNOWN)) {
		l->refused++;
		return -EINVAL;
	}
	len = strlen(path);
	if (l->n >= LISTING_MAX || len > LISTING_BYTES_MAX - l->path_bytes)
		return -EFBIG;
	if (l->n == l->room && grow(l))
		return -ENOMEM;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	l->v[l->n] = (struct listing_entry){
		.path = copy,
		.kind = kind,
		.seq = (uint32_t)l->n,
		.size = kind == LISTING_DIR ? 0 : size,
	};
	if (id)
		l->v[l->n].id = *id;
	l->path_bytes += len;
	l->n++;
	return 0;
}

void listing_sort(struct listing *l)
{
	const struct listing_entry *last = NULL;	/* kept, newest */
	size_t kept = 0;

	if (l->n)
		qsort(l->v, l->n, sizeof(l->v[0]), by_path);
	for (size_t i = 0; i < l->n; i++) {
		struct listing_entry *e = &l->v[i];
		bool twice = last && !strcmp(e->path, last->path);

		if (twice || (last && last->kind == LISTING_FILE &&
				below(e->path, last->path,
					strlen(last->path)))) {
			if (!twice || e->kind != LISTING_DIR ||
				last->kind != LISTING_DIR)
				l->refused++;
			l->path_bytes -= strlen(e->path);
			free(e->path);
			continue;
		}
		l->v[kept] = *e;
		last = &l->v[kept++];
	}
	l->n = kept;
	for (size_t i = 0; i < l->n; i++)
		l->v[i].seq = (uint32_t)i;
}

/* The first entry that does not come before path. */
static size_t lower_bound(const struct listing *l, const char *path)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(l->v[mid].path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct listing_entry *listing_find(const struct listing *l,
	const char *path)
{
	size_t i = lower_bound(l, path);

	return i < l->n && !strcmp(l->v[i].path, path) ? &l->v[i] : NULL;
}

bool listing_is_dir(const struct listing *l, const char *dir)
{
	size_t i = lower_bound(l, dir);

	if (!*dir)
		return true;
	if (i == l->n)
		return false;
	if (!strcmp(l->v[i].path, dir))
		return l->v[i].kind == LISTING_DIR;
	return below(l->v[i].path, dir, strlen(dir)) != NULL;
}

int listing_children(const struct listing *l, const char *dir,
	int (*fn)(void *arg, const char *name, size_t name_len,
		enum listing_kind kind, const struct listing_entry *e),
	void *arg)
{
	size_t dir_len = strlen(dir);
	const char *last = NULL;
	size_t last_len = 0;

	for (size_t i = lower_bound(l, dir); i < l->n; i++) {
		const struct listing_entry *e = &l->v[i];
		const char *name = below(e->path, dir, dir_len);
		size_t len;
		int r;

		if (!name && !strcmp(e->path, dir))
			continue;	/* the directory itself */
		if (!name)
			break;
		len = strcspn(name, "/");
		if (last && len == last_len && !memcmp(name, last, len))
			continue;
		last = name;
		last_len = len;
		r = name[len] ? fn(arg, name, len, LISTING_DIR, NULL) :
				fn(arg, name, len, e->kind, e);
		if (r)
			return r;
	}
	return 0;
}

void listing_done(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
	*l = (struct listing){ 0 };
}

/* ---- as text ---------------------------------------------------------------
 *
 * {"refused":N,"entries":[["path",SIZE,"alg:hex"],…]}
 * SIZE is null when unknown and true for a directory; the digest is left out
 * when there is none.
 */

static json_t *entry_to_json(const struct listing_entry *e)
{
	char hex[OBJID_HEX_MAX];
	char id[OBJID_HEX_MAX + 16];
	json_t *size;

	if (e->kind == LISTING_DIR)
		size = json_true();
	else if (e->size == LISTING_SIZE_UNKNOWN)
		size = json_null();
	else
		size = json_integer((json_int_t)e->size);
	objid_hex(&e->id, hex);
	if (!*hex)
		return json_pack("[so]", e->path, size);
	(void) snprintf(id, sizeof(id), "%s:%s", objid_alg_name(e->id.alg),
		hex);
	return json_pack("[sos]", e->path, size, id);
}

char *listing_to_json(const struct listing *l)
{
	cleanup_json json_t *all = json_object();
	json_t *list = json_array();

	if (json_object_set_new(all, "refused",
			json_integer((json_int_t)l->refused)) ||
		json_object_set_new(all, "entries", list))
		return NULL;
	for (size_t i = 0; i < l->n; i++)
		if (json_array_append_new(list, entry_to_json(&l->v[i])))
			return NULL;
	return json_dumps(all, JSON_COMPACT);
}

static int id_from_text(const char *text, struct objid *ret)
{
	const char *colon = strchr(text, ':');

	for (int a = OBJID_NONE + 1; colon && a <= OBJID_MD5; a++) {
		const char *name = objid_alg_name((enum objid_alg)a);

		if (strlen(name) == (size_t)(colon - text) &&
			!strncmp(text, name, (size_t)(colon - text)))
			return objid_parse((enum objid_alg)a, colon + 1, ret);
	}
	return -EINVAL;
}

static int entry_from_json(struct listing *l, const json_t *e)
{
	const char *path = json_string_value(json_array_get(e, 0));
	const json_t *size = json_array_get(e, 1);
	const json_t *id = json_array_get(e, 2);
	enum listing_kind kind = json_is_true(size) ? LISTING_DIR :
						      LISTING_FILE;
	uint64_t bytes = kind == LISTING_DIR ? 0 : LISTING_SIZE_UNKNOWN;
	struct objid oid = { .alg = OBJID_NONE };

	if (!path || !size || json_array_size(e) > 3)
		return -EINVAL;
	if (json_is_integer(size) && json_integer_value(size) >= 0)
		bytes = (uint64_t)json_integer_value(size);
	else if (!json_is_null(size) && !json_is_true(size))
		return -EINVAL;
	if (id && (!json_is_string(id) ||
			id_from_text(json_string_value(id), &oid)))
		return -EINVAL;
	return listing_add(l, path, kind, bytes, &oid);
}

int listing_from_json(const char *text, size_t len, struct listing *ret,
	struct error *why)
{
	cleanup_json json_t *all = NULL;
	struct listing l = { 0 };
	const json_t *list;
	uint64_t refused;
	int r = json_parse(text, len, JSON_BYTES_MAX, &all, why);

	if (r)
		return r;
	list = json_object_get(all, "entries");
	if (!json_is_array(list) || json_u64(all, "refused", &refused))
		return error_set(why, -EBADMSG, "not a listing");
	for (size_t i = 0; i < json_array_size(list); i++) {
		r = entry_from_json(&l, json_array_get(list, i));
		if (!r)
			continue;
		listing_done(&l);
		return error_set(why, r == -EINVAL ? -EBADMSG : r,
			"listing: entry %zu is not right", i);
	}
	listing_sort(&l);
	l.refused += (size_t)refused;
	*ret = l;
	return 0;
}
