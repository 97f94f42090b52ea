/* The jobs inside a worker: the door's own functions, on sources and sinks
 * that are the parent's. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/worker-wire.h"
#include "stage/format/hdf5.h"
#include "stage/library.h"
#include "stage/work.h"

/* ---- the parent's sources ------------------------------------------------------- */

static int open_made(void *arg, const char *path, uint64_t size,
	struct src **ret, struct error *why)
{
	struct worker_msg m = { .what = STAGE_ASK_OPEN, .a = strlen(path),
		.b = size };
	struct worker *w = arg;
	int r = worker_ask(w, &m, path);

	if (r)
		return *m.text ? error_set(why, r, "%s", m.text) : r;
	*ret = worker_src(w, m.a, m.b);
	return *ret ? 0 : -ENOMEM;
}

static int open_path(struct worker *w, const char *path, struct src **ret,
	struct error *why)
{
	return open_made(w, path, 0, ret, why);
}

static int open_entry(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	return open_path(arg, e->path, ret, why);
}

static bool preferred(const void *arg, const char *path)
{
	struct worker *w = (void *)(uintptr_t)arg;
	struct worker_msg m = { .what = STAGE_ASK_PREFERRED,
		.a = strlen(path) };

	return !worker_ask(w, &m, path) && m.a;
}

/* ---- set-up ----------------------------------------------------------------------- */

static int set_up(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	struct bytes b = bytes_of(input, len);
	struct stage **own = worker_own(w), *s;
	uint32_t version = bytes_le32(&b);
	const uint8_t *digest;
	int r;

	if (*own || version != STAGE_VERSION)
		return error_set(why, -EPROTO, "it plans in another way");
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->opset = bytes_le32(&b);
	digest = bytes_take(&b, sizeof(s->digest));
	if (digest)
		memcpy(s->digest, digest, sizeof(s->digest) - 1);
	r = b.bad ? -EPROTO : stage_library_take(s, &b, why);
	if (r) {
		stage_free(s);
		return r;
	}
	*own = s;
	return 0;
}

/* ---- planning --------------------------------------------------------------------- */

struct asked {
	char *hub, *repo, *path;
	struct listing files;
	struct stage_input in;
};

static void asked_done(struct asked *a)
{
	listing_done(&a->files);
	free(a->hub);
	free(a->repo);
	free(a->path);
}

static char *take_text(struct bytes *b)
{
	uint32_t len = bytes_le32(b);
	const char *p = (const char *)bytes_take(b, len);

	return p ? strndup(p, len) : NULL;
}

static int take_file(struct bytes *b, struct listing *l)
{
	enum listing_kind kind = bytes_u8(b) ? LISTING_DIR : LISTING_FILE;
	uint64_t size = bytes_le64(b);
	struct objid id = { .alg = (enum objid_alg)bytes_u8(b) };
	cleanup_free char *path = NULL;
	const uint8_t *raw;

	id.digits = bytes_u8(b);
	raw = bytes_take(b, sizeof(id.raw));
	if (raw)
		memcpy(id.raw, raw, sizeof(id.raw));
	path = take_text(b);
	if (b->bad || !path)
		return -EPROTO;
	return listing_add(l, path, kind, size, &id);
}

static int take_asked(struct worker *w, const void *input, size_t len,
	struct asked *a)
{
	struct bytes b = bytes_of(input, len);
	uint32_t n;
	int r = 0;

	a->hub = take_text(&b);
	a->repo = take_text(&b);
	a->path = take_text(&b);
	n = bytes_le32(&b);
	if (b.bad || !a->hub || !a->repo || !a->path)
		return -EPROTO;
	while (n-- && !r)
		r = take_file(&b, &a->files);
	a->in = (struct stage_input){ .repo = { .hub = a->hub,
		.repo = a->repo, .listing = &a->files, .preferred = preferred,
		.arg = w }, .open = open_entry, .arg = w,
		.make = open_made };
	return r;
}

static int run_plan(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	cleanup_buf struct buf b = BUF_INIT(STAGE_WORK_RECIPE_MAX);
	struct stage **s = worker_own(w);
	struct stage_recipe *recipe = NULL;
	struct asked a = { 0 };
	int r = *s ? take_asked(w, input, len, &a) : -EPROTO;

	if (!r)
		r = stage_plan(*s, &a.in, a.path, &recipe, why);
	if (!r)
		r = stage_recipe_write(recipe, &b);
	stage_recipe_unref(recipe);
	if (!r)
		r = worker_result(w, b.data, b.len);
	asked_done(&a);
	return r;
}

static int run_names(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	cleanup_free char *json = NULL;
	struct stage **s = worker_own(w);
	struct listing got = { 0 };
	struct asked a = { 0 };
	int r = *s ? take_asked(w, input, len, &a) : -EPROTO;

	if (!r)
		r = stage_names(*s, &a.in, a.path, &got, why);
	if (!r) {
		json = listing_to_json(&got);
		r = json ? worker_result(w, json, strlen(json)) : -ENOMEM;
	}
	listing_done(&got);
	asked_done(&a);
	return r;
}

/* ---- archives ----------------------------------------------------------------------- */

static int sink_begin(void *arg, const char *path, uint64_t size)
{
	struct worker_msg m = { .what = STAGE_ASK_BEGIN, .a = strlen(path),
		.b = size };

	return worker_ask(arg, &m, path);
}

static int sink_data(void *arg, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	int r = 0;

	while (len && !r) {
		size_t n = len < WORKER_WINDOW ? len : WORKER_WINDOW;
		struct worker_msg m = { .what = STAGE_ASK_DATA, .a = n };

		r = worker_ask(arg, &m, p);
		p += n;
		len -= n;
	}
	return r;
}

static int sink_end(void *arg, struct objid *ret)
{
	struct worker_msg m = { .what = STAGE_ASK_END };
	int r = worker_ask(arg, &m, NULL);

	if (!r)
		*ret = m.id;
	return r;
}

static void sink_drop(void *arg)
{
	struct worker_msg m = { .what = STAGE_ASK_DROP };

	(void) worker_ask(arg, &m, NULL);
}

static int run_list(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	const struct stage_archive_sink sink = { sink_begin, sink_data,
		sink_end, sink_drop, w };
	cleanup_free char *json = NULL;
	struct stage_archive a = { 0 };
	struct src *src = NULL;
	int r = len == 1 ? open_path(w, "", &src, why) : -EPROTO;

	if (!r)
		r = stage_archive_read(src, *(const uint8_t *)input ? &sink :
			NULL, &a, why);
	if (!r) {
		json = stage_archive_to_json(&a);
		stage_archive_done(&a);
		r = json ? worker_result(w, json, strlen(json)) : -ENOMEM;
	}
	src_unref(src);
	return r;
}

static int run_inflate(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	const struct stage_archive_sink sink = { sink_begin, sink_data,
		sink_end, sink_drop, w };
	struct bytes b = bytes_of(input, len);
	struct stage_member m = { .how = STAGE_MEMBER_DEFLATED };
	cleanup_free char *path = NULL;
	struct src *src = NULL;
	struct objid id;
	int r;

	m.size = bytes_le64(&b);
	m.packed = bytes_le64(&b);
	m.header = bytes_le64(&b);
	m.end = bytes_le64(&b);
	m.crc32 = bytes_le32(&b);
	m.flags = (uint16_t)bytes_le32(&b);
	path = b.bad ? NULL : strndup((const char *)b.p, bytes_left(&b));
	m.path = path;
	r = path ? open_path(w, "", &src, why) : -EPROTO;
	if (!r)
		r = stage_member_inflate(src, &m, &sink, &id, why);
	src_unref(src);
	return r;
}

static int run_decode(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	const struct stage_archive_sink sink = { sink_begin, sink_data,
		sink_end, sink_drop, w };
	struct bytes b = bytes_of(input, len);
	uint64_t size = bytes_le64(&b);
	cleanup_free char *group = take_text(&b);
	cleanup_free char *path = take_text(&b);
	struct src *src = NULL;
	struct objid id;
	int r = group && path ? open_path(w, "", &src, why) : -EPROTO;

	if (!r)
		r = stage_hdf5_make(src, group, path, size, &sink, &id, why);
	src_unref(src);
	return r;
}

static int run_look(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	cleanup_free char *json = NULL;
	struct src *src = NULL;
	int r = open_path(w, "", &src, why);

	(void) input;
	(void) len;
	if (!r)
		r = stage_look(src, &json, why);
	if (!r)
		r = worker_result(w, json, strlen(json));
	src_unref(src);
	return r;
}

const struct worker_kind stage_work_kinds[] = {
	{ STAGE_WORK_SETUP, set_up },
	{ STAGE_WORK_PLAN, run_plan },
	{ STAGE_WORK_NAMES, run_names },
	{ STAGE_WORK_LIST, run_list },
	{ STAGE_WORK_INFLATE, run_inflate },
	{ STAGE_WORK_LOOK, run_look },
	{ STAGE_WORK_DECODE, run_decode },
	{ 0, NULL },
};
