/*
 * From the end: end record, zip64 end record if its locator stands there,
 * central directory. The local headers are not read with it: there is one
 * per member, each somewhere else in the file.
 */
#include "config.h"

#include "stage/format/zipdir.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define SIG_LOCAL 0x04034b50u
#define SIG_ENTRY 0x02014b50u
#define SIG_END 0x06054b50u
#define SIG_END64 0x06064b50u
#define SIG_LOCATOR 0x07064b50u
#define LOCAL_LEN 30
#define ENTRY_LEN 46
#define END_LEN 22
#define END64_LEN 56
#define LOCATOR_LEN 20
#define COMMENT_MAX 65535
#define EXTRA_ZIP64 1
#define HOST_UNIX 3
#define HOST_DARWIN 19
#define FLAG_ENCRYPTED 0x0001
#define FLAG_DESCRIPTOR 0x0008	/* sizes and CRC-32 follow the bytes */
#define FLAG_DIR_ENCRYPTED 0x2000

/* What the end records say. */
struct end {
	uint64_t n;		/* members */
	uint64_t len, off;	/* of the directory, bytes */
	uint64_t at;		/* where the (first) end record stands */
};

static int bad(struct error *why, const char *what)
{
	return error_set(why, -EBADMSG, "zip: %s", what);
}

/* The end record whose comment ends with the file, or NULL. */
static const uint8_t *find_end(const uint8_t *tail, size_t len)
{
	for (size_t i = END_LEN; i <= len; i++) {
		struct bytes b = bytes_of(tail + (len - i), i);

		if (bytes_le32(&b) != SIG_END)
			continue;
		(void) bytes_take(&b, END_LEN - 6);
		if (bytes_le16(&b) == i - END_LEN)
			return tail + (len - i);
	}
	return NULL;
}

/* The fields of the zip64 end record replace those of the plain one, which
 * says the same or "too large". */
static int read_end64(struct stage_window *w, uint64_t locator,
	struct end *end, struct error *why)
{
	struct end plain = *end;
	const uint8_t *p;
	struct bytes b;
	uint32_t disk, dir_disk;
	uint64_t here;
	int err;

	err = stage_window_get(w, locator, LOCATOR_LEN, &p);
	if (err)
		return stage_read_error(w->src, err, "zip", why);
	b = bytes_of(p, LOCATOR_LEN);
	if (bytes_le32(&b) != SIG_LOCATOR)
		return 0;
	disk = bytes_le32(&b);
	end->at = bytes_le64(&b);
	if (disk || bytes_le32(&b) > 1)
		return error_set(why, -ENOTSUP, "zip: several disks");
	if (!size_inside(end->at, END64_LEN, locator))
		return bad(why, "the zip64 end record is not before its "
			"locator");
	err = stage_window_get(w, end->at, END64_LEN, &p);
	if (err)
		return stage_read_error(w->src, err, "zip", why);
	b = bytes_of(p, END64_LEN);
	if (bytes_le32(&b) != SIG_END64)
		return bad(why, "no zip64 end record where the locator says");
	(void) bytes_take(&b, 12);	/* its size, versions */
	disk = bytes_le32(&b);
	dir_disk = bytes_le32(&b);
	here = bytes_le64(&b);
	end->n = bytes_le64(&b);
	end->len = bytes_le64(&b);
	end->off = bytes_le64(&b);
	if (disk || dir_disk || here != end->n)
		return error_set(why, -ENOTSUP, "zip: several disks");
	if ((plain.n != UINT16_MAX && plain.n != end->n) ||
	    (plain.len != UINT32_MAX && plain.len != end->len) ||
	    (plain.off != UINT32_MAX && plain.off != end->off))
		return bad(why, "the two end records contradict each other");
	return 0;
}

static int read_end(struct stage_window *w, struct end *ret,
	struct error *why)
{
	uint64_t size = w->src->size;
	size_t len = size < w->room ? (size_t)size : w->room;
	const uint8_t *tail, *p;
	struct bytes b;
	uint16_t disk, dir_disk, here;
	uint64_t at;
	int err;

	err = stage_window_get(w, size - len, len, &tail);
	if (err)
		return stage_read_error(w->src, err, "zip: reading the end",
			why);
	p = find_end(tail, len);
	if (!p)
		return bad(why, "no end record; the file is cut short");
	at = size - len + (uint64_t)(p - tail);
	b = bytes_of(p + 4, END_LEN - 4);
	disk = bytes_le16(&b);
	dir_disk = bytes_le16(&b);
	here = bytes_le16(&b);
	ret->n = bytes_le16(&b);
	ret->len = bytes_le32(&b);
	ret->off = bytes_le32(&b);
	ret->at = at;
	if (disk || dir_disk || here != ret->n)
		return error_set(why, -ENOTSUP, "zip: several disks");
	if (at >= LOCATOR_LEN) {
		err = read_end64(w, at - LOCATOR_LEN, ret, why);
		if (err)
			return err;
	}
	if (!size_inside(ret->off, ret->len, ret->at))
		return bad(why, "the directory lies outside the file");
	if (ret->len > STAGE_ZIP_DIR_MAX || ret->n > STAGE_ZIP_MEMBERS_MAX)
		return error_set(why, -EFBIG, "zip: %llu members",
			(unsigned long long)ret->n);
	if (ret->n > ret->len / ENTRY_LEN)
		return bad(why, "more members than the directory can hold");
	return 0;
}

/* 64-bit values stand in the extra field, in this order, for every field that
 * is all ones. */
static bool read_extra(struct bytes extra, struct stage_zip_member *m)
{
	while (bytes_left(&extra) >= 4) {
		uint16_t id = bytes_le16(&extra);
		uint16_t len = bytes_le16(&extra);
		const uint8_t *p = bytes_take(&extra, len);
		struct bytes b = bytes_of(p, p ? len : 0);

		if (!p)
			return false;
		if (id != EXTRA_ZIP64)
			continue;
		if (m->size == UINT32_MAX)
			m->size = bytes_le64(&b);
		if (m->packed == UINT32_MAX)
			m->packed = bytes_le64(&b);
		if (m->header == UINT32_MAX)
			m->header = bytes_le64(&b);
		return !b.bad;
	}
	return true;
}

static void keep_name(struct stage_zip_member *m, const uint8_t *name,
	size_t len, char **names)
{
	char *to = *names;

	for (size_t i = 0; i < len; i++)
		to[i] = name[i] ? (char)name[i] : '?';
	to[len] = 0;
	if (!len || memchr(name, 0, len))
		m->bad = "is no good name";
	m->name = to;
	*names += len + 1;
}

/* One directory entry; its name goes to *names. */
static int read_entry(struct bytes *b, struct stage_zip_member *m,
	char **names, struct error *why)
{
	uint16_t name_len, extra_len, comment_len, disk;
	const uint8_t *name, *extra;
	uint32_t attr;
	uint8_t host;

	if (bytes_le32(b) != SIG_ENTRY)
		return bad(why, "the directory breaks off");
	(void) bytes_take(b, 1);	/* versions */
	host = bytes_u8(b);
	(void) bytes_take(b, 2);
	m->flags = bytes_le16(b);
	m->method = bytes_le16(b);
	(void) bytes_take(b, 4);	/* time, date */
	m->crc32 = bytes_le32(b);
	m->packed = bytes_le32(b);
	m->size = bytes_le32(b);
	name_len = bytes_le16(b);
	extra_len = bytes_le16(b);
	comment_len = bytes_le16(b);
	disk = bytes_le16(b);
	(void) bytes_take(b, 2);	/* text or binary */
	attr = bytes_le32(b);
	m->header = bytes_le32(b);
	name = bytes_take(b, name_len);
	extra = bytes_take(b, extra_len);
	(void) bytes_take(b, comment_len);
	if (b->bad)
		return bad(why, "the directory breaks off");
	if (disk)
		return error_set(why, -ENOTSUP, "zip: several disks");
	if (m->flags & FLAG_DIR_ENCRYPTED)
		return error_set(why, -ENOTSUP, "zip: encrypted directory");
	if (host == HOST_UNIX || host == HOST_DARWIN)
		m->mode = attr >> 16;
	if (!read_extra(bytes_of(extra, extra_len), m))
		m->bad = "has an extra field that breaks off";
	keep_name(m, name, name_len, names);
	return 0;
}

/* Those that are marked already stand nowhere: they come last. */
static int by_header(const void *a, const void *b)
{
	const struct stage_zip_member *x = a, *y = b;

	if (!x->bad != !y->bad)
		return x->bad ? 1 : -1;
	if (x->header != y->header)
		return x->header < y->header ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
	const struct stage_zip_member *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void check_place(const struct stage_zip *z, size_t i)
{
	struct stage_zip_member *m = &z->v[i];
	uint64_t end;

	m->end = z->dir_off;
	if (i + 1 < z->n && !z->v[i + 1].bad && z->v[i + 1].header < m->end)
		m->end = z->v[i + 1].header;
	if (size_add(m->header, LOCAL_LEN + strlen(m->name), &end) ||
		size_add(end, m->packed, &end) || end > m->end)
		m->bad = "overlaps what follows it";
	else if (m->method == STAGE_ZIP_STORED && m->packed != m->size &&
		!(m->flags & FLAG_ENCRYPTED))
		m->bad = "is stored in another length";
}

/* Members end before the next one begins, stored ones are as long as their
 * contents, no name comes twice. Leaves them sorted by name. */
static void check_members(const struct stage_zip *z)
{
	if (!z->n)
		return;
	qsort(z->v, z->n, sizeof(*z->v), by_header);
	for (size_t i = 0; i < z->n && !z->v[i].bad; i++)
		check_place(z, i);
	qsort(z->v, z->n, sizeof(*z->v), by_name);
	for (size_t i = 1; i < z->n; i++)
		if (!strcmp(z->v[i - 1].name, z->v[i].name))
			z->v[i - 1].bad = z->v[i].bad = "comes twice";
}

static int read_dir(struct stage_window *w, struct stage_zip *z,
	struct error *why)
{
	cleanup_free uint8_t *dir = NULL;
	struct end end = { 0 };
	struct bytes b;
	char *names;
	int err;

	err = read_end(w, &end, why);
	if (err)
		return err;
	dir = malloc(end.len + 1);
	z->v = calloc(end.n + 1, sizeof(*z->v));
	z->names = malloc(end.len + 1);	/* an entry is longer than its name */
	if (!dir || !z->v || !z->names)
		return -ENOMEM;
	err = stage_window_read(w, end.off, dir, end.len);
	if (err)
		return stage_read_error(w->src, err,
			"zip: reading the directory", why);
	z->dir_off = end.off;
	names = z->names;
	b = bytes_of(dir, end.len);
	for (; !err && z->n < end.n; z->n++)
		err = read_entry(&b, &z->v[z->n], &names, why);
	if (!err && bytes_left(&b))
		err = bad(why, "more in the directory than it counts");
	if (!err)
		check_members(z);
	return err;
}

int stage_zip_list(struct src *s, struct stage_zip *ret, struct error *why)
{
	struct stage_zip z = { 0 };
	struct stage_window w;
	int err;

	/* The longest end there is, and a directory of 500 members. */
	err = stage_window_init(&w, s, END_LEN + COMMENT_MAX);
	if (err)
		return err;
	err = read_dir(&w, &z, why);
	stage_window_done(&w);
	if (err)
		stage_zip_done(&z);
	else
		*ret = z;
	return err;
}

int stage_zip_read(struct src *s, struct stage_zip *ret, struct error *why)
{
	struct stage_zip z = { 0 };
	int err = stage_zip_list(s, &z, why);

	for (size_t i = 0; i < z.n && !err; i++)
		if (z.v[i].bad)
			err = error_set(why, -EBADMSG, "zip: %s %s",
				z.v[i].name, z.v[i].bad);
	if (err)
		stage_zip_done(&z);
	else
		*ret = z;
	return err;
}

const struct stage_zip_member *stage_zip_find(const struct stage_zip *z,
	const char *name)
{
	const struct stage_zip_member key = { .name = name };

	return z->n ? bsearch(&key, z->v, z->n, sizeof(*z->v), by_name) : NULL;
}

int stage_zip_data(struct stage_window *w, const struct stage_zip_member *m,
	uint64_t *ret_off, struct error *why)
{
	size_t len = strlen(m->name);
	uint16_t flags, method, name_len, extra_len;
	uint32_t crc, packed, size;
	const uint8_t *p, *name;
	struct bytes b;
	uint64_t off;
	int err;

	if (LOCAL_LEN + len > w->room)
		return error_set(why, -EFBIG, "zip: a name of %zu bytes", len);
	err = stage_window_get(w, m->header, LOCAL_LEN + len, &p);
	if (err)
		return stage_read_error(w->src, err, m->name, why);
	b = bytes_of(p, LOCAL_LEN + len);
	if (bytes_le32(&b) != SIG_LOCAL)
		return error_set(why, -EBADMSG, "zip: %s has no header",
			m->name);
	(void) bytes_take(&b, 2);	/* version */
	flags = bytes_le16(&b);
	method = bytes_le16(&b);
	(void) bytes_take(&b, 4);	/* time, date */
	crc = bytes_le32(&b);
	packed = bytes_le32(&b);
	size = bytes_le32(&b);
	name_len = bytes_le16(&b);
	extra_len = bytes_le16(&b);
	name = bytes_take(&b, len);
	if (b.bad || method != m->method || name_len != len ||
	    memcmp(name, m->name, len))
		return error_set(why, -EBADMSG,
			"zip: %s has a header of something else", m->name);
	if (!(flags & FLAG_DESCRIPTOR) && (crc != m->crc32 ||
		(packed != UINT32_MAX && packed != m->packed) ||
		(size != UINT32_MAX && size != m->size)))
		return error_set(why, -EBADMSG,
			"zip: %s has another size in its header", m->name);
	off = m->header + LOCAL_LEN + len + extra_len;
	if (!size_inside(off, m->packed, m->end))
		return error_set(why, -EBADMSG,
			"zip: %s overlaps what follows it", m->name);
	*ret_off = off;
	return 0;
}

int stage_zip_member_read(struct stage_window *w,
	const struct stage_zip_member *m, size_t max, uint8_t **ret,
	struct error *why)
{
	cleanup_free uint8_t *data = NULL;
	uint64_t off;
	int err;

	if (m->method != STAGE_ZIP_STORED || (m->flags & FLAG_ENCRYPTED))
		return error_set(why, -ENOTSUP,
			"zip: %s is compressed or encrypted", m->name);
	if (m->size > max)
		return error_set(why, -EFBIG, "zip: %s has %llu bytes",
			m->name, (unsigned long long)m->size);
	err = stage_zip_data(w, m, &off, why);
	if (err)
		return err;
	data = malloc((size_t)m->size + 1);
	if (!data)
		return -ENOMEM;
	err = stage_window_read(w, off, data, (size_t)m->size);
	if (err)
		return stage_read_error(w->src, err, m->name, why);
	data[m->size] = 0;
	*ret = steal_ptr(data);
	return 0;
}

void stage_zip_done(struct stage_zip *z)
{
	free(z->v);
	free(z->names);
	memset(z, 0, sizeof(*z));
}
