/*
 * An archive of any kind, all of it: what is listed is safe to show, members
 * have the size they are listed with, and the list survives the index. A list
 * of the index is input too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "stage/stage.h"

#define UNPACKED_MAX (64u << 20)	/* bytes; enough for an input */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct sink {
	bool open;
	uint64_t left, all;
};

static int begin(void *arg, const char *path, uint64_t size)
{
	struct sink *k = arg;

	if (k->open || !path_rel_ok(path))
		abort();
	k->open = true;
	k->left = size;
	return 0;
}

static int take(void *arg, const void *buf, size_t len)
{
	struct sink *k = arg;

	if (!k->open || len > k->left || !buf)
		abort();
	k->left -= len;
	k->all += len;
	return k->all > UNPACKED_MAX ? -EFBIG : 0;
}

static int end(void *arg, struct objid *ret)
{
	struct sink *k = arg;

	if (!k->open || k->left)
		abort();
	k->open = false;
	digest_sha256("", 0, ret);
	return 0;
}

static void drop(void *arg)
{
	((struct sink *)arg)->open = false;
}

static void check_list(const struct stage_archive *a)
{
	struct listing l = { 0 };

	if (stage_archive_listing(a, &l) || l.n != a->n || l.refused)
		abort();
	for (size_t i = 0; i < a->n; i++)
		if (!path_rel_ok(a->v[i].path) || a->v[i].size > INT64_MAX ||
			stage_archive_find(a, a->v[i].path) != &a->v[i])
			abort();
	listing_done(&l);
}

static void check_json(const struct stage_archive *a)
{
	char *json = stage_archive_to_json(a);
	struct stage_archive b = { 0 };

	if (!json || stage_archive_from_json(json, strlen(json), &b, NULL) ||
		b.n != a->n || b.n_refused != a->n_refused)
		abort();
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i].path, b.v[i].path) ||
			a->v[i].size != b.v[i].size ||
			a->v[i].header != b.v[i].header)
			abort();
	stage_archive_done(&b);
	free(json);
}

static void check_members(struct src *s, const struct stage_archive *a,
	const struct stage_archive_sink *sink)
{
	for (size_t i = 0; i < a->n && i < 16; i++) {
		const struct stage_member *m = &a->v[i];
		struct error why = { 0 };
		struct objid id;
		uint64_t off;
		int err = 0;

		if (m->how == STAGE_MEMBER_STORED) {
			err = stage_member_place(s, m, &off, &why);
			if (!err && (off > s->size || m->size > s->size - off))
				abort();
		} else if (m->how == STAGE_MEMBER_DEFLATED) {
			err = stage_member_inflate(s, m, sink, &id, &why);
		}
		if (err && err != -EFBIG && why.code != err)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sink k = { 0 };
	const struct stage_archive_sink sink = { begin, take, end, drop, &k };
	struct stage_archive a = { 0 };
	struct error why = { 0 };
	uint8_t *copy = malloc(len + 1);
	struct src *s;
	int err;

	if (!copy)
		return 0;
	memcpy(copy, data, len);
	if (!stage_archive_from_json((const char *)data, len, &a, NULL))
		stage_archive_done(&a);
	s = src_from_memory(copy, len);
	err = stage_archive_read(s, &sink, &a, &why);
	if (k.open || (err && why.code != err))
		abort();
	if (!err) {
		check_list(&a);
		check_json(&a);
		check_members(s, &a, &sink);
		stage_archive_done(&a);
	}
	src_unref(s);
	return 0;
}
