/*
 * What is made of a file before a staged one can be read (stage/made.h): the
 * file is taken for an archive whose members these are, so that each is made
 * once, is an object, and is made again when it had to go.
 */
#include "config.h"

#include "fs/archive-own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fs/stack.h"

struct making {
	struct fs_archive *a;
	const struct stage_made *d;
	struct error *why;
};

/* As the cache knows it. */
static struct stage_member member_of(const char *name, uint64_t size)
{
	return (struct stage_member){ .path = (char *)(uintptr_t)name,
		.how = STAGE_MEMBER_DEFLATED, .size = size };
}

/* The member that an HDF5 file is of a zip; a->busy is ours. */
static int open_member(const struct making *k, struct src **ret)
{
	struct fs_archive *a = k->a;
	struct stage_archive list = { 0 };
	const struct stage_member *m;
	struct src *zip;
	int r = fs_archive_bytes(a, true, true, &zip, k->why);

	if (r)
		return r;
	r = stage_work_list(a->snap->resolver->stage, a->key, zip, NULL, &list,
		k->why);
	src_unref(zip);
	if (r)
		return r;
	m = stage_archive_find(&list, k->d->member);
	if (!m || m->how == STAGE_MEMBER_DIR || !m->size) {
		r = error_set(k->why, -EIO, "there is no %s in it",
			k->d->member);
	} else if (m->how == STAGE_MEMBER_STORED) {
		r = fs_archive_stored(a, m, true, ret, k->why);
	} else if (fs_archive_object(a, m, ret)) {
		r = fs_archive_inflate(a, m, k->why);
		if (!r)
			r = fs_archive_object(a, m, ret);
	}
	stage_archive_done(&list);
	return r;
}

/* Make an object of what lies below the group; a->busy is ours. */
static int decode(const struct making *k, uint64_t size)
{
	struct fs_archive *a = k->a;
	struct fs_archive_putting putting = { .a = a, .wanted = k->d->name };
	const struct stage_archive_sink sink = fs_archive_sink(&putting);
	struct objid id = { .alg = OBJID_NONE };
	struct src *src;
	unsigned epoch;
	int r = k->d->member ? open_member(k, &src) :
		fs_archive_bytes(a, true, true, &src, k->why);

	if (r)
		return r;
	epoch = src_epoch(src);
	r = stage_work_decode(a->snap->resolver->stage, a->key, src, k->d,
		size, &sink, &id, k->why);
	if (!r)
		r = fs_archive_check(src, epoch, k->why);
	if (!r)
		fs_archive_remember(a, k->d->name, &id);
	src_unref(src);
	return r;
}

static int make(const struct making *k, const struct stage_member *m,
	struct src **ret)
{
	int r;

	/* Another plan may have made it meanwhile. */
	if (!fs_archive_object(k->a, m, ret))
		return 0;
	if (!k->d->group)
		return open_member(k, ret);
	r = decode(k, m->size);
	return r ? r : fs_archive_object(k->a, m, ret);
}

static int open_made(struct fs_archive *a, const struct stage_made *d,
	uint64_t size, bool here, struct src **ret, struct error *why)
{
	const struct stage_member m = member_of(d->name, size);
	const struct making k = { a, d, why };
	int r;

	if (!fs_archive_object(a, &m, ret))
		return 0;
	if (here)
		return fs_archive_absent(size, ret);
	fs_archive_enter(a);
	r = make(&k, &m, ret);
	fs_archive_leave(a);
	if (r == -EBADMSG && why->code)
		r = why->code = -EIO;
	else if (r == -EBADMSG || r == -ENOENT)
		r = error_set(why, -EIO, "it is not what it was when it was "
			"planned");
	if (!r && (*ret)->size != size) {
		src_unref(*ret);
		r = error_set(why, -EIO, "it has not the size it was planned "
			"with");
	}
	if (r && why->code)
		(void) error_wrap(why, "%s in %s", d->name, a->path);
	return r;
}

int fs_archive_made(struct fs_snap *s, const char *path, uint64_t size,
	bool here, struct src **ret, struct error *why)
{
	const struct listing_entry *e = stage_source_of(&s->own, path);
	struct error unused = { 0 };
	struct fs_snap *inside;
	struct stage_made d;
	int r = e ? stage_made_parse(path, &d) : -ENOENT;

	if (r)
		return error_set(why, r == -ENOENT ? -EBADMSG : r,
			"%s: a source that the repository has not", path);
	inside = fs_archive_snap(s, e);
	r = inside ? open_made(inside->archive, &d, size, here, ret, why ? why :
		&unused) : -ENOMEM;
	fs_snap_unref(inside);
	stage_made_done(&d);
	return r;
}
