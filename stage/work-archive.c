/*
 * Archives from the daemon's side: the worker unpacks, what it unpacks comes
 * here a window at a time and goes into the caller's sink. Digests are made of
 * the bytes that arrived, and the list is given those, whatever the worker says.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/worker-wire.h"
#include "stage/format/archive.h"
#include "stage/format/hdf5.h"
#include "stage/work.h"

struct arrived {
	char *path;
	uint64_t size;
	struct objid id;
};

struct unpacking {
	struct src *src;
	const struct stage_archive_sink *sink;	/* NULL: nothing may come */
	const struct stage_member *only;	/* no other member; or NULL */
	uint8_t *block;		/* WORKER_WINDOW bytes, out of its reach */
	char path[PATH_LEN_MAX + 1];	/* of the member that arrives */
	uint64_t size, left;	/* bytes of it */
	bool open;
	uint64_t total;		/* bytes of all */
	struct arrived *v;	/* those that did */
	size_t n, room;
};

/* ---- questions -------------------------------------------------------------------- */

static int serve_begin(struct unpacking *u, struct worker_msg *m,
	const uint8_t *out)
{
	if (!u->sink || u->open ||
		worker_job_text(out, m->a, u->path, sizeof(u->path)) ||
		(!u->only && !path_rel_ok(u->path)))
		return -EPROTO;
	if (u->only && (strcmp(u->path, u->only->path) != 0 ||
			m->b != u->only->size))
		return -EPROTO;
	if (size_add(u->total, m->b, &u->total) ||
		stage_archive_bomb(u->total, u->src->size) ||
		u->n >= STAGE_ARCHIVE_MEMBERS)
		return -EPROTO;
	m->err = u->sink->begin(u->sink->arg, u->path, m->b);
	u->size = u->left = m->b;
	u->open = !m->err;
	return 0;
}

/* The sink writes and digests: both must see the same. */
static int serve_data(struct unpacking *u, struct worker_msg *m,
	const uint8_t *out)
{
	if (!u->open || m->a > WORKER_WINDOW || m->a > u->left)
		return -EPROTO;
	memcpy(u->block, out, m->a);
	m->err = u->sink->data(u->sink->arg, u->block, m->a);
	u->left -= m->a;
	return 0;
}

static int remember(struct unpacking *u, const struct objid *id)
{
	size_t room = u->room ? u->room * 2 : 64;
	struct arrived *v = u->v;

	if (u->n == u->room) {
		v = realloc(u->v, room * sizeof(*v));
		if (!v)
			return -ENOMEM;
		u->v = v;
		u->room = room;
	}
	v[u->n].path = strdup(u->path);
	if (!v[u->n].path)
		return -ENOMEM;
	v[u->n].size = u->size;
	v[u->n++].id = *id;
	return 0;
}

static int serve_end(struct unpacking *u, struct worker_msg *m)
{
	if (!u->open || u->left)
		return -EPROTO;
	u->open = false;
	m->id = (struct objid){ .alg = OBJID_NONE };
	m->err = u->sink->end(u->sink->arg, &m->id);
	if (!m->err)
		m->err = remember(u, &m->id);
	return 0;
}

static void drop(struct unpacking *u)
{
	if (u->open)
		u->sink->drop(u->sink->arg);
	u->open = false;
}

static int serve_open(struct worker_job *j, struct unpacking *u,
	struct worker_msg *m)
{
	int r;

	if (j->n_srcs || m->a)
		return -EPROTO;
	r = worker_job_src(j, src_ref(u->src));
	if (r < 0)
		src_unref(u->src);
	m->err = r < 0 ? r : 0;
	m->a = r < 0 ? 0 : (uint64_t)r;
	m->b = u->src->size;
	return 0;
}

static int serve(struct worker_job *j, struct worker_msg *m,
	const uint8_t *out)
{
	struct unpacking *u = j->arg;

	switch (m->what) {
	case STAGE_ASK_OPEN:
		return serve_open(j, u, m);
	case STAGE_ASK_BEGIN:
		return serve_begin(u, m, out);
	case STAGE_ASK_DATA:
		j->moved += m->a;
		return serve_data(u, m, out);
	case STAGE_ASK_END:
		return serve_end(u, m);
	case STAGE_ASK_DROP:
		drop(u);
		return 0;
	default:
		return -EPROTO;
	}
}

static void forget(struct unpacking *u)
{
	drop(u);
	for (size_t i = 0; i < u->n; i++)
		free(u->v[i].path);
	u->n = 0;
	u->total = 0;
}

static void again(struct worker_job *j)
{
	forget(j->arg);
}

static int run(const struct stage *s, const char *whose,
	struct worker_job *j, struct unpacking *u, struct error *why)
{
	u->block = malloc(WORKER_WINDOW);
	if (!u->block)
		return -ENOMEM;
	j->what = j->what ? j->what : "the unpacker";
	j->whose = whose;
	j->serve = serve;
	j->again = again;
	j->arg = u;
	j->bulk = true;
	return workers_run(s->workers, j, why);
}

static void unpacking_done(struct unpacking *u)
{
	forget(u);
	free(u->v);
	free(u->block);
}

/* ---- jobs ------------------------------------------------------------------------- */

static int by_path(const void *va, const void *vb)
{
	const struct arrived *a = va, *b = vb;

	return strcmp(a->path, b->path);
}

/* -EPROTO: a member is in the list that never came so. */
static int set_ids(struct unpacking *u, struct stage_archive *a)
{
	if (u->n)
		qsort(u->v, u->n, sizeof(*u->v), by_path);
	for (size_t i = 0; i < a->n; i++) {
		struct arrived key = { .path = a->v[i].path }, *at = NULL;

		a->v[i].id = (struct objid){ .alg = OBJID_NONE };
		if (a->v[i].how != STAGE_MEMBER_STREAM || !u->sink)
			continue;
		if (u->n)
			at = bsearch(&key, u->v, u->n, sizeof(*u->v), by_path);
		if (!at || at->size != a->v[i].size)
			return -EPROTO;
		a->v[i].id = at->id;
	}
	return 0;
}

static bool in_order(const struct stage_archive *a)
{
	for (size_t i = 1; i < a->n; i++)
		if (strcmp(a->v[i - 1].path, a->v[i].path) >= 0)
			return false;
	return true;
}

int stage_work_list(struct stage *s, const char *whose, struct src *src,
	const struct stage_archive_sink *sink, struct stage_archive *ret,
	struct error *why)
{
	uint8_t has_sink = sink != NULL;
	struct worker_job j = { .kind = STAGE_WORK_LIST, .input = &has_sink,
		.len = 1, .result = BUF_INIT(STAGE_WORK_JSON_MAX) };
	struct unpacking u = { .src = src, .sink = sink };
	struct stage_archive a = { 0 };
	int r;

	if (!s->workers)
		return stage_archive_read(src, sink, ret, why);
	r = run(s, whose, &j, &u, why);
	if (!r && (stage_archive_from_json((const char *)j.result.data,
			j.result.len, &a, NULL) || !in_order(&a) ||
		set_ids(&u, &a))) {
		stage_archive_done(&a);
		r = error_set(why, -ENOTSUP, "what the unpacker made is no "
			"list of members");
	}
	buf_done(&j.result);
	unpacking_done(&u);
	if (r)
		return r;
	*ret = a;
	return 0;
}

/* A job that makes one member, and its digest. */
static int run_one(const struct stage *s, const char *whose,
	struct worker_job *j, struct unpacking *u, struct objid *ret,
	struct error *why)
{
	int r = run(s, whose, j, u, why);

	if (!r && u->n != 1)
		r = error_set(why, -ENOTSUP, "the unpacker unpacked nothing");
	if (!r && u->v[0].id.alg != OBJID_NONE)
		*ret = u->v[0].id;
	buf_done(&j->result);
	unpacking_done(u);
	return r;
}

int stage_work_inflate(struct stage *s, const char *whose, struct src *src,
	const struct stage_member *m, const struct stage_archive_sink *sink,
	struct objid *ret, struct error *why)
{
	cleanup_buf struct buf input = BUF_INIT(2 * PATH_LEN_MAX);
	struct worker_job j = { .kind = STAGE_WORK_INFLATE,
		.result = BUF_INIT(0) };
	struct unpacking u = { .src = src, .sink = sink, .only = m };
	const uint64_t numbers[] = { m->size, m->packed, m->header, m->end };
	int r = 0;

	if (!s->workers)
		return stage_member_inflate(src, m, sink, ret, why);
	for (unsigned i = 0; i < 4 && !r; i++)
		r = buf_append_le(&input, numbers[i], 8);
	if (!r)
		r = buf_append_le(&input, m->crc32, 4);
	if (!r)
		r = buf_append_le(&input, m->flags, 4);
	if (!r)
		r = buf_append(&input, m->path, strlen(m->path) + 1);
	if (r)
		return r;
	j.input = input.data;
	j.len = input.len;
	return run_one(s, whose, &j, &u, ret, why);
}

static int put_text(struct buf *b, const char *text)
{
	int r = buf_append_le(b, strlen(text), 4);

	return r ? r : buf_append_str(b, text);
}

int stage_work_decode(struct stage *s, const char *whose, struct src *src,
	const struct stage_made *d, uint64_t size,
	const struct stage_archive_sink *sink, struct objid *ret,
	struct error *why)
{
	cleanup_buf struct buf input = BUF_INIT(4 * PATH_LEN_MAX);
	struct worker_job j = { .kind = STAGE_WORK_DECODE,
		.what = "the decoder", .result = BUF_INIT(0) };
	const struct stage_member m = { .path = (char *)(uintptr_t)d->name,
		.size = size };
	struct unpacking u = { .src = src, .sink = sink, .only = &m };
	int r;

	if (!s->workers)
		return stage_hdf5_make(src, d->group, d->name, size, sink, ret,
			why);
	r = buf_append_le(&input, size, 8);
	if (!r)
		r = put_text(&input, d->group);
	if (!r)
		r = put_text(&input, d->name);
	if (r)
		return r;
	j.input = input.data;
	j.len = input.len;
	return run_one(s, whose, &j, &u, ret, why);
}

int stage_work_look(struct stage *s, const char *whose, struct src *src,
	char **ret_json, struct error *why)
{
	struct worker_job j = { .kind = STAGE_WORK_LOOK, .what = "the reader",
		.result = BUF_INIT(STAGE_WORK_JSON_MAX) };
	struct unpacking u = { .src = src };
	int r;

	if (!s->workers)
		return stage_look(src, ret_json, why);
	r = run(s, whose, &j, &u, why);
	unpacking_done(&u);
	if (!r && (!j.result.len || strlen((const char *)j.result.data) !=
			j.result.len))
		r = error_set(why, -ENOTSUP, "the reader said nothing");
	if (r)
		buf_done(&j.result);
	else
		*ret_json = (char *)j.result.data;
	return r;
}
