/*
 * The zip form: a directory `ROOT/` with data.pkl, data/KEY for each storage,
 * byteorder, version.
 *
 * Where a storage begins is said by its local header alone, and there is one
 * per storage: hundreds of small reads all over the file. The writer pads each
 * to a fixed alignment, so the place can be computed (PyTorchStreamWriter,
 * getPadding); and as members leave no gap, it also follows from where the
 * next header stands. Where the two agree it is taken; else the local header
 * is read.
 */
#include "config.h"

#include "stage/format/torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stage/format/torch-state.h"
#include "stage/format/torch-zip.h"

#define ALIGNMENT 64		/* bytes, where the archive names none */
#define ALIGNMENT_MAX 65536
#define LOCAL_LEN 30		/* bytes of a local header */
#define FLAG_ENCRYPTED 0x0001
#define FLAG_DESCRIPTOR 0x0008
#define SMALL_MAX 64		/* bytes of byteorder, .storage_alignment */

/* Pickle of 0x1950a86a20f9469cfc6c as LONG1: begins the older form. */
static const uint8_t legacy_magic[] = { 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
	0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };
#define LEGACY_MAGIC_WITHIN 32	/* bytes: protocol, frame and magic */

struct torch_zip {
	struct stage_torch t;		/* must be first */
	struct stage_torch_zip zip;
};

static bool is_legacy(const void *head, size_t n)
{
	const uint8_t *p = head;

	if (n > LEGACY_MAGIC_WITHIN)
		n = LEGACY_MAGIC_WITHIN;
	return n && p[0] == 0x80 &&
		memmem(head, n, legacy_magic, sizeof(legacy_magic));
}

int stage_torch_probe(const void *head, size_t n, uint64_t size)
{
	(void) size;
	return (n >= 4 && !memcmp(head, "PK\3\4", 4)) || is_legacy(head, n);
}

/* ---- storages -------------------------------------------------------------- */

/* Two answers of the directory to one question; false: they differ. */
static bool place_by_rule(const struct stage_torch_zip *z,
	const struct stage_zip_member *m, uint64_t *ret)
{
	bool wide = m->size >= UINT32_MAX || m->header >= UINT32_MAX;
	uint64_t off = m->header + LOCAL_LEN + strlen(m->name) + 4;
	uint64_t end;

	/* zip64 extra: 4 of head, 16 of sizes, 8 of offset */
	if (m->size >= UINT32_MAX)
		off += 16;
	if (m->header >= UINT32_MAX)
		off += 8;
	if (wide)
		off += 4;
	off = (off + z->alignment - 1) & ~(z->alignment - 1);
	end = off + m->size;
	if (m->flags & FLAG_DESCRIPTOR)
		end += wide ? 24 : 16;
	*ret = off;
	return end == m->end;
}

int stage_torch_zip_place(struct stage_torch_zip *z, const char *dir,
	const char *key, uint64_t len, uint64_t *ret_off)
{
	const struct stage_zip_member *m;
	char *name;

	if (asprintf(&name, "%s%s%s", z->root, dir, key) < 0)
		return -ENOMEM;
	m = stage_zip_find(&z->zip, name);
	free(name);
	if (!m)
		return error_set(z->why, -EBADMSG,
			"the archive has no storage %s", key);
	if (m->method != STAGE_ZIP_STORED || (m->flags & FLAG_ENCRYPTED))
		return error_set(z->why, -ENOTSUP,
			"storage %s is compressed or encrypted", key);
	if (m->size != len)
		return error_set(z->why, -EBADMSG,
			"storage %s has %llu bytes, not %llu", key,
			(unsigned long long)m->size, (unsigned long long)len);
	if (place_by_rule(z, m, ret_off))
		return 0;
	return stage_zip_data(&z->w, m, ret_off, z->why);
}

static int place(struct stage_torch *t, const char *key, uint64_t len,
	uint64_t *ret_off)
{
	struct torch_zip *z = (struct torch_zip *)t;

	return stage_torch_zip_place(&z->zip, "data/", key, len, ret_off);
}

/* ---- the archive ----------------------------------------------------------- */

const struct stage_zip_member *stage_torch_zip_find(
	const struct stage_torch_zip *z, const char *name)
{
	char *path;
	const struct stage_zip_member *m;

	if (asprintf(&path, "%s%s", z->root, name) < 0)
		return NULL;
	m = stage_zip_find(&z->zip, path);
	free(path);
	return m;
}

/* ROOT/ of the one ROOT/MARK. */
static int find_root(struct stage_torch_zip *z, const char *mark)
{
	for (size_t i = 0; i < z->zip.n; i++) {
		const char *name = z->zip.v[i].name;
		const char *slash = strchr(name, '/');

		if (!slash || strcmp(slash + 1, mark) != 0)
			continue;
		if (z->root)
			return error_set(z->why, -EBADMSG,
				"two %s in one archive", mark);
		z->root = strndup(name, (size_t)(slash - name) + 1);
		if (!z->root)
			return -ENOMEM;
	}
	return z->root ? 0 : error_set(z->why, -ENOTSUP,
		"a zip archive, but not of torch.save (no %s)", mark);
}

/* A member of one word; "" when there is none. */
static int read_word(struct stage_torch_zip *z, const char *name,
	char ret[SMALL_MAX + 1])
{
	const struct stage_zip_member *m = stage_torch_zip_find(z, name);
	uint8_t *data;
	int err;

	ret[0] = 0;
	if (!m)
		return 0;
	err = stage_zip_member_read(&z->w, m, SMALL_MAX, &data, z->why);
	if (err)
		return err;
	snprintf(ret, SMALL_MAX + 1, "%s", (const char *)data);
	free(data);
	return 0;
}

int stage_torch_zip_properties(struct stage_torch_zip *z)
{
	char word[SMALL_MAX + 1];
	unsigned long n;
	int err;

	err = read_word(z, "byteorder", word);
	if (err)
		return err;
	if (*word && strcmp(word, "little"))
		return error_set(z->why, -ENOTSUP,
			"storages in %s-endian order", word);
	err = read_word(z, ".storage_alignment", word);
	if (err)
		return err;
	n = *word ? strtoul(word, NULL, 10) : ALIGNMENT;
	z->alignment = n && n <= ALIGNMENT_MAX && !(n & (n - 1)) ? n :
		ALIGNMENT;
	return 0;
}

int stage_torch_zip_pickle(struct stage_torch_zip *z, const char *name,
	struct stage_pickle **ret)
{
	const struct stage_zip_member *m = stage_torch_zip_find(z, name);
	uint8_t *data;
	int err;

	if (!m)
		return -ENOENT;
	err = stage_zip_member_read(&z->w, m, STAGE_PICKLE_MAX, &data,
		z->why);
	if (err)
		return err;
	err = stage_pickle_parse(data, (size_t)m->size, ret, NULL, z->why);
	free(data);
	return err != -ENODATA ? err : error_set(z->why, -EBADMSG,
		"%s is cut short", name);
}

int stage_torch_zip_open(struct stage_torch_zip *z, struct src *s,
	const char *mark)
{
	int err = stage_window_init(&z->w, s, STAGE_WINDOW_ROOM);

	z->alignment = ALIGNMENT;
	if (!err)
		err = stage_zip_read(s, &z->zip, z->why);
	return err ? err : find_root(z, mark);
}

void stage_torch_zip_done(struct stage_torch_zip *z)
{
	stage_zip_done(&z->zip);
	stage_window_done(&z->w);
	free(z->root);
}

static int read_archive(struct torch_zip *z, struct src *s)
{
	struct stage_pickle *pickle = NULL;
	int err = stage_torch_zip_open(&z->zip, s, "data.pkl");

	if (!err && stage_torch_zip_find(&z->zip, "constants.pkl"))
		err = error_set(z->t.why, -ENOTSUP,
			"a TorchScript archive, not a checkpoint");
	/* First, as it fills the window with what stands behind it. */
	if (!err)
		err = stage_torch_zip_pickle(&z->zip, "data.pkl", &pickle);
	if (!err)
		err = stage_torch_zip_properties(&z->zip);
	if (!err)
		err = stage_torch_state(&z->t, stage_pickle_root(pickle));
	stage_pickle_free(pickle);
	return err == -ENOENT ? -ENOMEM : err;
}

static int read_zip(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why)
{
	struct torch_zip z = { .t = { .file = file, .w = w, .why = why,
		.place = place }, .zip = { .why = why } };
	int err = read_archive(&z, s);

	stage_torch_zip_done(&z.zip);
	return err;
}

int stage_torch_read(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why)
{
	uint8_t head[LEGACY_MAGIC_WITHIN];
	size_t n = s->size < sizeof(head) ? (size_t)s->size : sizeof(head);
	int err = src_read_wait(s, 0, head, n);

	if (err)
		(void) stage_read_error(s, err, "reading its first bytes",
			why);
	else if (is_legacy(head, n))
		err = stage_torch_legacy_read(s, file, w, why);
	else
		err = read_zip(s, file, w, why);
	if (err)
		(void) error_wrap(why, "torch");
	return err;
}
