/*
 * The list of members, and archives that have a directory. Everything a
 * member could be wrong with is found here, whatever archive it stands in.
 */
#include "config.h"

#include "stage/format/archive.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/path.h"
#include "stage/format/inflate.h"
#include "stage/format/zipdir.h"

#define BLOCK (256u << 10)	/* bytes */
#define FLAG_ENCRYPTED 0x0001
#define NAME_SHOWN 160		/* bytes of a name that is refused */

const char *const stage_archive_endings[] = {
	".tar.gz", ".tgz", ".tar", ".zip", ".mar", ".war", NULL
};

size_t stage_archive_stem(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; stage_archive_endings[i]; i++) {
		size_t n = strlen(stage_archive_endings[i]);

		if (len > n && !strcmp(name + len - n,
				stage_archive_endings[i]) &&
			path_name_ok(name, len - n))
			return len - n;
	}
	return 0;
}

void stage_archive_done(struct stage_archive *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i].path);
	for (size_t i = 0; i < a->n_refused && i < STAGE_ARCHIVE_REASONS &&
		a->refused; i++) {
		free(a->refused[i].name);
		free(a->refused[i].why);
	}
	free(a->v);
	free(a->refused);
	memset(a, 0, sizeof(*a));
}

/* ---- the list ----------------------------------------------------------------- */

bool stage_archive_bomb(uint64_t unpacked, uint64_t packed)
{
	return unpacked > STAGE_ARCHIVE_BYTES ||
		(unpacked > STAGE_ARCHIVE_FREE &&
			unpacked / STAGE_ARCHIVE_RATIO > packed);
}

static int count(const struct stage_archive *a)
{
	return a->n + a->n_refused < STAGE_ARCHIVE_MEMBERS ? 0 : -EFBIG;
}

static char *printable(const char *name)
{
	char *s = strndup(name, NAME_SHOWN);

	for (char *p = s; p && *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return s;
}

int stage_archive_refuse(struct stage_archive *a, const char *name,
	const char *fmt, ...)
{
	struct stage_refused r = { NULL, NULL };
	va_list ap;
	int n;

	if (count(a))
		return -EFBIG;
	if (!a->refused)
		a->refused = calloc(STAGE_ARCHIVE_REASONS, sizeof(r));
	if (!a->refused)
		return -ENOMEM;
	if (a->n_refused < STAGE_ARCHIVE_REASONS) {
		r.name = printable(name);
		va_start(ap, fmt);
		n = vasprintf(&r.why, fmt, ap);
		va_end(ap);
		if (!r.name || n < 0) {
			free(r.name);
			return -ENOMEM;
		}
		a->refused[a->n_refused] = r;
	}
	a->n_refused++;
	return 0;
}

int stage_archive_add(struct stage_archive *a, const char *path,
	const struct stage_member *m, struct stage_member **ret)
{
	size_t len = strlen(path);

	if (ret)
		*ret = NULL;
	if (!path_rel_ok(path))
		return stage_archive_refuse(a, path, "not a name for a file");
	if (m->size > INT64_MAX)
		return stage_archive_refuse(a, path, "too large");
	if (count(a) || len > STAGE_ARCHIVE_NAMES - a->names)
		return -EFBIG;
	if (a->n == a->room) {
		size_t room = a->room ? 2 * a->room : 64;
		struct stage_member *v = reallocarray(a->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		a->v = v;
		a->room = room;
	}
	a->v[a->n] = *m;
	a->v[a->n].path = strdup(path);
	if (!a->v[a->n].path)
		return -ENOMEM;
	if (ret)
		*ret = &a->v[a->n];
	a->names += len;
	a->n++;
	return 0;
}

static unsigned rank(char c)
{
	return c == '/' ? 1 : c ? (unsigned char)c + 1U : 0;
}

/* '/' before every other byte, as in base/listing.c: what is below a member
 * stands right behind it. */
static int by_path(const void *va, const void *vb)
{
	const struct stage_member *x = va, *y = vb;
	const char *a = x->path, *b = y->path;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (int)rank(*a) - (int)rank(*b);
}

/* How many of the same path stand at i, and whether all are directories. */
static size_t run_at(const struct stage_archive *a, size_t i, bool *ret_dirs)
{
	size_t n = 1;

	*ret_dirs = a->v[i].how == STAGE_MEMBER_DIR;
	while (i + n < a->n && !strcmp(a->v[i].path, a->v[i + n].path))
		if (a->v[i + n++].how != STAGE_MEMBER_DIR)
			*ret_dirs = false;
	return n;
}

static bool is_below(const char *path, const char *file)
{
	size_t len = strlen(file);

	return !strncmp(path, file, len) && path[len] == '/';
}

/* Sorts, and refuses what cannot stand beside the rest. */
static int tidy(struct stage_archive *a)
{
	const struct stage_member *file = NULL;
	size_t kept = 0, n;
	int err = 0;

	if (a->n)
		qsort(a->v, a->n, sizeof(a->v[0]), by_path);
	for (size_t i = 0; i < a->n; i += n) {
		struct stage_member *m = &a->v[i];
		const char *why = NULL;
		bool dirs;

		n = run_at(a, i, &dirs);
		if (n > 1 && !dirs)
			why = "the name comes twice";
		else if (file && is_below(m->path, file->path))
			why = "it is below a member that is a file";
		for (size_t k = why ? 0 : 1; k < n; k++)
			a->names -= strlen(m[k].path);
		if (why && !err)
			err = stage_archive_refuse(a, m->path, "%s", why);
		for (size_t k = why ? 0 : 1; k < n; k++)
			free(m[k].path);
		if (why)
			continue;
		a->v[kept] = *m;
		if (m->how != STAGE_MEMBER_DIR)
			file = &a->v[kept];
		kept++;
	}
	a->n = kept;
	return err;
}

const struct stage_member *stage_archive_find(const struct stage_archive *a,
	const char *path)
{
	struct stage_member key = { .path = strdup(path) };
	const struct stage_member *m = NULL;

	if (a->n && key.path)
		m = bsearch(&key, a->v, a->n, sizeof(*a->v), by_path);
	free(key.path);
	return m;
}

int stage_archive_listing(const struct stage_archive *a, struct listing *ret)
{
	struct listing l = { 0 };
	int err = 0;

	for (size_t i = 0; i < a->n && !err; i++) {
		const struct stage_member *m = &a->v[i];

		err = listing_add(&l, m->path, m->how == STAGE_MEMBER_DIR ?
			LISTING_DIR : LISTING_FILE, m->size, &m->id);
	}
	if (err) {
		listing_done(&l);
		return err;
	}
	listing_sort(&l);
	*ret = l;
	return 0;
}

/* ---- zip ---------------------------------------------------------------------- */

static const char *kind_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case 0:
	case S_IFREG:
	case S_IFDIR:
		return NULL;
	case S_IFLNK:
		return "a symbolic link";
	default:
		return "neither a file nor a directory";
	}
}

/* One member; *total: what deflated ones unpack to. */
static int take_zip(struct stage_archive *a, struct stage_zip_member *z,
	uint64_t packed, uint64_t *total)
{
	struct stage_member m = { .how = STAGE_MEMBER_STORED, .size = z->size,
		.crc32 = z->crc32, .flags = z->flags, .packed = z->packed,
		.header = z->header, .end = z->end };
	size_t len = strlen(z->name);
	char *path;
	int err;

	if (z->bad)
		return stage_archive_refuse(a, z->name, "it %s", z->bad);
	if (kind_of(z->mode))
		return stage_archive_refuse(a, z->name, "%s",
			kind_of(z->mode));
	if (z->flags & FLAG_ENCRYPTED)
		return stage_archive_refuse(a, z->name, "encrypted");
	if (z->method != STAGE_ZIP_STORED && z->method != STAGE_ZIP_DEFLATED)
		return stage_archive_refuse(a, z->name,
			"compressed by method %u", z->method);
	if (z->name[len - 1] == '/' || S_ISDIR(z->mode)) {
		m.how = STAGE_MEMBER_DIR;
		m.size = 0;
	} else if (z->method == STAGE_ZIP_DEFLATED) {
		m.how = STAGE_MEMBER_DEFLATED;
		if (size_add(*total, m.size, &m.size) ||
			stage_archive_bomb(m.size, packed))
			return stage_archive_refuse(a, z->name,
				"the archive would unpack to too much");
		*total = m.size;
		m.size = z->size;
	}
	path = strndup(z->name, z->name[len - 1] == '/' ? len - 1 : len);
	err = path ? stage_archive_add(a, path, &m, NULL) : -ENOMEM;
	free(path);
	return err;
}

static int read_zip(struct src *s, struct stage_archive *a, struct error *why)
{
	struct stage_zip z = { 0 };
	uint64_t total = 0;
	int err = stage_zip_list(s, &z, why);

	if (!err && z.n > STAGE_ARCHIVE_MEMBERS)
		err = -EFBIG;
	for (size_t i = 0; i < z.n && !err; i++)
		err = take_zip(a, &z.v[i], s->size, &total);
	stage_zip_done(&z);
	return err;
}

int stage_archive_read(struct src *s, const struct stage_archive_sink *sink,
	struct stage_archive *ret, struct error *why)
{
	struct stage_archive a = { 0 };
	uint8_t head[4] = { 0 };
	int err;

	if (s->size < sizeof(head))
		return error_set(why, -EBADMSG, "too short for an archive");
	err = src_read_wait(s, 0, head, sizeof(head));
	if (err)
		return stage_read_error(s, err, "reading the archive", why);
	if (head[0] == 'P' && head[1] == 'K')
		err = read_zip(s, &a, why);
	else
		err = stage_archive_tar(s, head[0] == 0x1f && head[1] == 0x8b,
			sink, &a, why);
	if (!err)
		err = tidy(&a);
	if (err) {
		stage_archive_done(&a);
		if (why && why->code != err)
			(void) error_set(why, err, "%s", err == -EFBIG ?
				"the archive has too many members" :
				error_text(NULL, err));
		return err;
	}
	*ret = a;
	return 0;
}

/* ---- members of a zip --------------------------------------------------------- */

int stage_member_place(struct src *s, const struct stage_member *m,
	uint64_t *ret_off, struct error *why)
{
	const struct stage_zip_member z = { .name = m->path, .crc32 = m->crc32,
		.method = m->how == STAGE_MEMBER_STORED ? STAGE_ZIP_STORED :
			STAGE_ZIP_DEFLATED, .flags = m->flags,
		.packed = m->packed, .size = m->size, .header = m->header,
		.end = m->end };
	struct stage_window w;
	int err = stage_window_init(&w, s, 2 * PATH_LEN_MAX);

	if (!err)
		err = stage_zip_data(&w, &z, ret_off, why);
	stage_window_done(&w);
	return err;
}

struct inflating {
	struct stage_inflate *in;
	uint8_t *block;
	uint64_t left;		/* bytes */
	uLong crc;
};

static int pump(struct inflating *k, const struct stage_archive_sink *sink,
	struct error *why)
{
	ssize_t n;
	int err = 0;

	while (!err && (n = stage_inflate_read(k->in, k->block, BLOCK))) {
		if (n < 0)
			return (int)n;
		if ((uint64_t)n > k->left)
			return error_set(why, -EBADMSG, "it inflates to more "
				"than the archive says");
		k->left -= (uint64_t)n;
		k->crc = crc32(k->crc, k->block, (uInt)n);
		err = sink->data(sink->arg, k->block, (size_t)n);
	}
	if (!err && k->left)
		err = error_set(why, -EBADMSG, "it inflates to less than the "
			"archive says");
	return err;
}

int stage_member_inflate(struct src *s, const struct stage_member *m,
	const struct stage_archive_sink *sink, struct objid *ret,
	struct error *why)
{
	struct inflating k = { .left = m->size, .crc = crc32(0, NULL, 0) };
	uint64_t off = 0;
	int err = stage_member_place(s, m, &off, why);

	if (!err)
		err = sink->begin(sink->arg, m->path, m->size);
	if (err)
		return err;
	k.block = malloc(BLOCK);
	k.in = stage_inflate_new(s, off, m->packed, STAGE_PACKED_DEFLATE, why);
	err = k.block && k.in ? pump(&k, sink, why) : -ENOMEM;
	stage_inflate_free(k.in);
	free(k.block);
	if (!err && k.crc != m->crc32)
		err = error_set(why, -EBADMSG, "its CRC-32 is not the one the "
			"archive says");
	if (!err)
		return sink->end(sink->arg, ret);
	sink->drop(sink->arg);
	return err;
}
