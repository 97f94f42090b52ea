/* Opening a member, and telling how much of it is here. */
#include "config.h"

#include "fs/archive-own.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/measure.h"

#define LOCAL_LEN 30	/* of a zip's local header, without the name */

/* [off, off + size) of the archive. */
static int slice(const struct fs_archive *a, const struct stage_member *m,
	struct src *archive, uint64_t off, struct src **ret, struct error *why)
{
	struct stage_recipe *recipe = stage_recipe_new();
	int i = recipe ? stage_recipe_source(recipe, a->path, archive->size) :
		-ENOMEM;
	int r = i < 0 ? i : stage_recipe_copy(recipe, (unsigned)i, off,
		m->size);

	if (!r)
		r = stage_recipe_src(recipe, &archive, ret, why);
	stage_recipe_unref(recipe);
	return r;
}

/* Is the member's local header here? */
static bool header_here(struct src *s, const struct stage_member *m)
{
	uint64_t len = LOCAL_LEN + 2 * PATH_LEN_MAX;

	if (m->header >= s->size)
		return false;
	if (len > s->size - m->header)
		len = s->size - m->header;
	return src_present(s, m->header, len) == len;
}

int fs_archive_stored(const struct fs_archive *a, const struct stage_member *m,
	bool wait, struct src **ret, struct error *why)
{
	struct src *archive;
	uint64_t off;
	int r;

	if (!wait && fs_measure_due(a->outer, a->e))
		return -EAGAIN;
	r = fs_archive_bytes(a, true, wait, &archive, why);
	if (r)
		return r;
	if (!wait && !header_here(archive, m))
		r = -EAGAIN;
	if (!r)
		r = stage_member_place(archive, m, &off, why);
	if (!r)
		r = slice(a, m, archive, off, ret, why);
	src_unref(archive);
	return r;
}

int fs_archive_inflate(struct fs_archive *a, const struct stage_member *m,
	struct error *why)
{
	struct fs_archive_putting k = { .a = a, .wanted = m->path };
	const struct stage_archive_sink sink = fs_archive_sink(&k);
	struct objid id = { .alg = OBJID_NONE };
	struct src *archive;
	unsigned epoch;
	int r = fs_archive_bytes(a, true, true, &archive, why);

	if (r)
		return r;
	epoch = src_epoch(archive);
	r = stage_work_inflate(a->snap->resolver->stage, a->key, archive, m,
		&sink, &id, why);
	if (!r)
		r = fs_archive_check(archive, epoch, why);
	if (!r)
		fs_archive_remember(a, m->path, &id);
	src_unref(archive);
	return r;
}

/* Make an object of it; nobody else does meanwhile. */
static int unpack(struct fs_archive *a, const struct stage_member *m,
	struct error *why)
{
	struct fs_archive_putting k = { .a = a, .wanted = m->path, .again = true };
	struct stage_archive unused = { 0 };
	struct src *here;
	int r;

	if (!fs_archive_object(a, m, &here)) {
		src_unref(here);
		return 0;
	}
	if (m->how == STAGE_MEMBER_DEFLATED)
		return fs_archive_inflate(a, m, why);
	r = fs_archive_pass(a, &k, &unused, why);
	if (!r)
		stage_archive_done(&unused);
	return r;
}

static int opened(const struct fs_archive *a, const struct stage_member *m,
	int r, struct src **ret, struct error *why)
{
	if (r == -EBADMSG)
		r = -EIO;
	if (!r)
		r = fs_archive_object(a, m, ret);
	if (r == -ENOENT)
		r = error_set(why, -EIO, "it is not in the archive that came "
			"this time");
	if (r && why && why->code)
		(void) error_wrap(why, "%s in %s", m->path, a->path);
	else if (r)
		(void) error_set(why, r, "%s in %s: %s", m->path, a->path,
			error_text(NULL, r));
	return r;
}

int fs_archive_member(struct fs_archive *a, const struct listing_entry *e,
	bool wait, struct src **ret, struct error *why)
{
	const struct stage_member *m = fs_archive_find(a, e);
	int r;

	if (!m)
		return error_set(why, -EIO, "%s: not in the archive", e->path);
	if (!m->size) {
		*ret = src_from_memory(NULL, 0);
		return *ret ? 0 : -ENOMEM;
	}
	if (m->how == STAGE_MEMBER_STORED) {
		r = fs_archive_stored(a, m, wait, ret, why);
		return r == -EBADMSG ? -EIO : r;
	}
	if (!fs_archive_object(a, m, ret))
		return 0;
	if (!wait)
		return -EAGAIN;
	fs_archive_enter(a);
	r = unpack(a, m, why);
	fs_archive_leave(a);
	return opened(a, m, r, ret, why);
}

struct wanting {
	struct pool_job job;
	struct fs_snap *snap;		/* a reference */
	const struct listing_entry *e;	/* the snapshot's */
	fs_archive_cb *cb;
	void *arg;
};

static void want_member(struct pool_job *job)
{
	struct wanting *w = (struct wanting *)job;
	struct fs_archive *a = w->snap->archive;
	const struct stage_member *m = fs_archive_find(a, w->e);
	struct error why = { 0 };
	struct src *src = NULL;
	int r;

	if (!m || m->how == STAGE_MEMBER_STORED) {
		r = fs_archive_member(a, w->e, true, &src, &why);
	} else if (fs_archive_enter_or_wait(a, job)) {
		r = unpack(a, m, &why);
		fs_archive_leave(a);
		r = opened(a, m, r, &src, &why);
	} else {
		return;
	}
	w->cb(w->arg, r, src, &why);
	fs_snap_unref(w->snap);
	free(w);
}

void fs_archive_open(struct fs_snap *s, const struct listing_entry *e,
	fs_archive_cb *cb, void *arg)
{
	struct error why = { 0 };
	struct src *src = NULL;
	struct wanting *w;
	int r = fs_archive_member(s->archive, e, false, &src, &why);

	w = r == -EAGAIN ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		cb(arg, r == -EAGAIN ? -ENOMEM : r, src, &why);
		return;
	}
	*w = (struct wanting){ .job.run = want_member,
		.snap = fs_snap_ref(s), .e = e, .cb = cb, .arg = arg };
	pool_add(s->resolver->archives->pool, &w->job);
}

/* ---- what is here -------------------------------------------------------------------- */

/* Of a member that is not: it has a size and nothing else. */
static int absent_read(struct src *s, struct src_read *r)
{
	(void) s;
	(void) r;
	return -EHOSTUNREACH;
}

static void absent_free(struct src *s)
{
	free(s);
}

int fs_archive_absent(uint64_t size, struct src **ret)
{
	static const struct src_ops ops = { .name = "absent",
		.read = absent_read, .free = absent_free };
	struct src *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	src_init(s, &ops, size);
	*ret = s;
	return 0;
}

int fs_archive_here(struct fs_archive *a, const struct listing_entry *e,
	struct src **ret)
{
	const struct stage_member *m = fs_archive_find(a, e);
	struct src *archive = NULL;
	uint64_t off;
	int r;

	if (!m)
		return -EIO;
	if (!m->size || m->how != STAGE_MEMBER_STORED) {
		r = fs_archive_member(a, e, false, ret, NULL);
		return r == -EAGAIN ? fs_archive_absent(m->size, ret) : r;
	}
	/* Its header may not be here; then where it begins is a guess, good
	 * enough to say how much of it is. */
	r = fs_archive_bytes(a, false, false, &archive, NULL);
	if (r == -EAGAIN)
		return fs_archive_absent(m->size, ret);
	off = m->header + LOCAL_LEN + strlen(m->path);
	if (!r && header_here(archive, m))
		(void) stage_member_place(archive, m, &off, NULL);
	if (!r)
		r = slice(a, m, archive, off, ret, NULL);
	src_unref(archive);
	return r;
}

int fs_archive_stat(struct fs_archive *a, const struct listing_entry *e,
	struct src_stat *ret)
{
	struct src *s;
	int r = fs_archive_here(a, e, &s);

	if (r)
		return r;
	src_stat(s, ret);
	src_unref(s);
	return 0;
}
