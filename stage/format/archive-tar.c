/*
 * One pass over a tar archive, by libarchive, which is given plain tar: what
 * gzip says of its contents is compared here, where libarchive would not. Only
 * its reader of tar is enabled, so that no bytes can make it try another.
 */
#include "config.h"

#include "stage/format/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stage/format/inflate.h"

#define BLOCK (256u << 10)	/* bytes */

struct pass {
	const struct stage_archive_sink *sink;	/* or NULL */
	struct stage_archive *a;
	struct error *why;
	struct stage_inflate *in;
	struct archive *tar;
	uint8_t *block;
	uint64_t packed;	/* bytes of the archive */
	uint64_t unpacked;	/* bytes of tar so far */
	int err;		/* of the read callback */
	bool bomb;		/* nothing more is unpacked */
	bool told;		/* and a member was refused for it */
};

/* On behalf of libarchive. */
static la_ssize_t give(struct archive *tar, void *arg, const void **ret)
{
	struct pass *p = arg;
	ssize_t n;

	if (stage_archive_bomb(p->unpacked, p->packed)) {
		p->bomb = true;
		archive_set_error(tar, EFBIG, "too much");
		return -1;
	}
	n = stage_inflate_read(p->in, p->block, BLOCK);
	if (n < 0) {
		p->err = (int)n;
		archive_set_error(tar, EIO, "reading");
		return -1;
	}
	p->unpacked += (uint64_t)n;
	*ret = p->block;
	return n;
}

/* libarchive failed: whose fault was it? */
static int blame(struct pass *p)
{
	const char *text;

	if (p->bomb)
		return 0;
	if (p->err)
		return p->err;
	text = archive_error_string(p->tar);
	return error_set(p->why, -EBADMSG, "no good tar archive (%s)",
		text ? text : "libarchive");
}

static const char *why_not(struct archive_entry *e)
{
	if (archive_entry_hardlink(e) || archive_entry_hardlink_utf8(e))
		return "a hard link";
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		break;
	case AE_IFDIR:
		return NULL;
	case AE_IFLNK:
		return "a symbolic link";
	case AE_IFCHR:
	case AE_IFBLK:
		return "a device";
	case AE_IFIFO:
		return "a pipe";
	default:
		return "neither a file nor a directory";
	}
	if (archive_entry_sparse_count(e))
		return "a sparse file";
	if (!archive_entry_size_is_set(e) || archive_entry_size(e) < 0)
		return "of no size";
	if (archive_entry_is_encrypted(e))
		return "encrypted";
	return NULL;
}

/* The bytes of the entry at hand into the sink. 0 with p->bomb: not all. */
static int unpack(struct pass *p, struct stage_member *m)
{
	const struct stage_archive_sink *sink = p->sink;
	uint64_t left = m->size;
	const void *at;
	la_int64_t off;
	size_t n;
	int err, r;

	err = sink->begin(sink->arg, m->path, m->size);
	if (err)
		return err;
	while (!err && left) {
		r = archive_read_data_block(p->tar, &at, &n, &off);
		if (r == ARCHIVE_EOF)
			err = error_set(p->why, -EBADMSG, "%s has fewer bytes "
				"than its header says", m->path);
		else if (r != ARCHIVE_OK)
			err = blame(p);
		else if ((uint64_t)off != m->size - left || n > left)
			err = error_set(p->why, -EBADMSG, "%s has more bytes "
				"than its header says", m->path);
		else
			err = sink->data(sink->arg, at, n);
		if (err || p->bomb)
			break;
		left -= n;
	}
	if (!err && !left)
		return sink->end(sink->arg, &m->id);
	sink->drop(sink->arg);
	return err;
}

/* Without what says "here" in front and "directory" behind. NULL: no memory;
 * "" is the top itself. */
static char *clean(const char *name)
{
	size_t len;

	while (name[0] == '.' && name[1] == '/') {
		name += 2;
		name += strspn(name, "/");
	}
	if (!strcmp(name, "."))
		name++;
	len = strlen(name);
	while (len > 1 && name[len - 1] == '/')
		len--;
	return strndup(name, len);
}

static int take(struct pass *p, struct archive_entry *e, const char *path)
{
	struct stage_member m = { .how = STAGE_MEMBER_STREAM }, *at;
	const char *why = why_not(e);
	uint64_t total;
	int err;

	if (why)
		return stage_archive_refuse(p->a, path, "%s", why);
	if (archive_entry_filetype(e) == AE_IFDIR) {
		m.how = STAGE_MEMBER_DIR;
		return *path ? stage_archive_add(p->a, path, &m, NULL) : 0;
	}
	m.size = (uint64_t)archive_entry_size(e);
	if (size_add(p->unpacked, m.size, &total) ||
		stage_archive_bomb(total, p->packed)) {
		p->bomb = p->told = true;
		return stage_archive_refuse(p->a, path, "the archive would "
			"unpack to too much; it is not read from here on");
	}
	err = stage_archive_add(p->a, path, &m, &at);
	if (err || !at || !p->sink)
		return err;
	err = unpack(p, at);
	if (err || !p->bomb)
		return err;
	p->told = true;
	p->a->n--;
	p->a->names -= strlen(path);
	free(at->path);
	return stage_archive_refuse(p->a, path, "the archive unpacks to too "
		"much; it is not read from here on");
}

/* One entry. 1: that was the end. */
static int step(struct pass *p)
{
	struct archive_entry *e = NULL;
	int r = archive_read_next_header(p->tar, &e), err;
	const char *name;
	char *path;

	if (r == ARCHIVE_EOF)
		return 1;
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return blame(p);
	name = archive_entry_pathname_utf8(e);
	if (!name)
		name = archive_entry_pathname(e);
	if (!name)
		return stage_archive_refuse(p->a, "?", "a name that is not "
			"UTF-8");
	path = clean(name);
	err = path ? take(p, e, path) : -ENOMEM;
	free(path);
	return err;
}

/* gzip's check sum stands at the end, and who keeps the archive compares a
 * digest once all of it has come. */
static int to_the_end(struct pass *p)
{
	const void *unused;
	la_ssize_t n = 1;

	while (n > 0)
		n = give(p->tar, p, &unused);
	return n < 0 && !p->bomb ? p->err : 0;
}

static int run(struct pass *p)
{
	int err = 0;

	if (archive_read_support_format_tar(p->tar) != ARCHIVE_OK ||
		archive_read_set_read_callback(p->tar, give) != ARCHIVE_OK ||
		archive_read_set_callback_data(p->tar, p) != ARCHIVE_OK)
		return -ENOMEM;
	if (archive_read_open1(p->tar) != ARCHIVE_OK)
		return blame(p);
	while (!err && !p->bomb)
		err = step(p);
	if (err == 1)
		err = to_the_end(p);
	if (!err && p->bomb && !p->told)
		err = stage_archive_refuse(p->a, "(what follows)",
			"the archive unpacks to too much");
	return err;
}

int stage_archive_tar(struct src *s, bool gzip,
	const struct stage_archive_sink *sink, struct stage_archive *a,
	struct error *why)
{
	struct pass p = { .sink = sink, .a = a, .why = why,
		.packed = s->size };
	int err = -ENOMEM;

	p.block = malloc(BLOCK);
	p.tar = archive_read_new();
	p.in = stage_inflate_new(s, 0, s->size, gzip ? STAGE_PACKED_GZIP :
		STAGE_PACKED_NOT, why);
	if (p.block && p.tar && p.in)
		err = run(&p);
	if (p.tar)
		(void) archive_read_free(p.tar);
	stage_inflate_free(p.in);
	free(p.block);
	return err;
}
