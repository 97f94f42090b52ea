/*
 * The file is an index of a checkpoint, small against the data it is about:
 * it is read whole, then walked block by block, each unpacked for as long as
 * its entries are visited.
 */
#include "config.h"

#include "stage/format/sstable.h"

#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "stage/window.h"

#define MAGIC 0xdb4775248b80fb57ULL
#define FOOTER_LEN 48
#define TRAILER_LEN 5		/* type, masked CRC-32C of block and type */
#define KEY_MAX 65536		/* bytes */
#define CRC_POLY 0x82f63b78U	/* Castagnoli, reflected */
#define CRC_MASK 0xa282ead8U

enum packing { PACKED_NONE = 0, PACKED_SNAPPY = 1 };

struct handle {
	uint64_t off, len;	/* of a block without its trailer */
};

struct table {
	const uint8_t *data;
	size_t len;
	uint64_t plain;		/* bytes unpacked so far */
	struct buf key;		/* of the entry the walk is at */
	struct buf last;	/* the data block key before it */
	bool any;		/* was there one? */
	stage_sstable_fn *fn;
	void *arg;
	struct error *why;
};

struct block {
	const uint8_t *data;
	size_t len;
	uint8_t *owned;		/* unpacked bytes; NULL: data is the file's */
};

uint32_t stage_crc32c(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t table[256], crc = ~0U;

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? CRC_POLY : 0);
		table[i] = c;
	}
	while (len--)
		crc = table[(crc ^ *p++) & 0xff] ^ crc >> 8;
	return ~crc;
}

static uint32_t masked(uint32_t crc)
{
	return (crc >> 15 | crc << 17) + CRC_MASK;
}

uint32_t stage_crc32c_masked(const void *data, size_t len)
{
	return masked(stage_crc32c(data, len));
}

static int bad(struct table *t, const char *what)
{
	return error_set(t->why, -EBADMSG, "%s", what);
}

/* ---- blocks ---------------------------------------------------------------- */

static int unpack(struct table *t, struct block *b)
{
	const char *packed = (const char *)b->data;
	size_t len;

	if (snappy_uncompressed_length(packed, b->len, &len) != SNAPPY_OK)
		return bad(t, "a block is no snappy");
	if (len > STAGE_SSTABLE_BLOCK_MAX)
		return error_set(t->why, -EFBIG, "a block of %zu bytes", len);
	b->owned = malloc(len + 1);
	if (!b->owned)
		return -ENOMEM;
	if (snappy_uncompress(packed, b->len, (char *)b->owned, &len) !=
	    SNAPPY_OK)
		return bad(t, "a block is no snappy");
	b->data = b->owned;
	b->len = len;
	return 0;
}

static int block_get(struct table *t, const struct handle *h, struct block *b)
{
	struct bytes trailer;
	uint8_t type;
	int err = 0;

	b->owned = NULL;
	if (h->len > STAGE_SSTABLE_BLOCK_MAX)
		return error_set(t->why, -EFBIG, "a block of %llu bytes",
			(unsigned long long)h->len);
	if (!size_inside(h->off, h->len + TRAILER_LEN, t->len - FOOTER_LEN))
		return bad(t, "a block lies outside the file");
	b->data = t->data + h->off;
	b->len = (size_t)h->len;
	trailer = bytes_of(b->data + b->len, TRAILER_LEN);
	type = bytes_u8(&trailer);
	if (bytes_le32(&trailer) != stage_crc32c_masked(b->data, b->len + 1))
		return bad(t, "the checksum of a block is wrong");
	if (type == PACKED_SNAPPY)
		err = unpack(t, b);
	else if (type != PACKED_NONE)
		err = error_set(t->why, -ENOTSUP, "blocks of compression %u "
			"are not read", type);
	t->plain += b->len;
	if (!err && t->plain > STAGE_SSTABLE_PLAIN_MAX)
		err = error_set(t->why, -EFBIG, "over %u bytes, unpacked",
			STAGE_SSTABLE_PLAIN_MAX);
	return err;
}

static void block_done(struct block *b)
{
	free(b->owned);
}

/* shared, unshared, value_len, the rest of the key, the value */
static int next_entry(struct table *t, struct bytes *b,
	struct stage_sstable_entry *e, uint64_t *ret_shared)
{
	uint64_t shared = bytes_varint(b), rest = bytes_varint(b);
	uint64_t len = bytes_varint(b);
	const uint8_t *more = bytes_take(b, rest);
	int err;

	e->value = bytes_take(b, len);
	e->value_len = (size_t)len;
	if (b->bad || shared > t->key.len)
		return bad(t, "an entry of a block is cut short");
	t->key.len = (size_t)shared;
	err = buf_append(&t->key, more, (size_t)rest);
	if (err)
		return error_set(t->why, err, "a key over %u bytes", KEY_MAX);
	e->key = t->key.data;
	e->key_len = t->key.len;
	*ret_shared = shared;
	return 0;
}

typedef int entry_fn(struct table *t, const struct stage_sstable_entry *e);

static int walk_block(struct table *t, const struct block *b, entry_fn *fn)
{
	struct bytes tail, body;
	uint64_t n, shared = 0;
	uint32_t next;
	size_t end;
	int err = 0;

	if (b->len < 4)
		return bad(t, "a block is too short");
	tail = bytes_of(b->data + b->len - 4, 4);
	n = bytes_le32(&tail);
	if (!n || n > (b->len - 4) / 4)
		return bad(t, "a block has more restart points than bytes");
	end = b->len - 4 - (size_t)n * 4;
	tail = bytes_of(b->data + end, (size_t)n * 4);
	body = bytes_of(b->data, end);
	next = bytes_le32(&tail);
	t->key.len = 0;
	while (!err && bytes_left(&body)) {
		size_t at = end - bytes_left(&body);
		struct stage_sstable_entry e;

		err = next_entry(t, &body, &e, &shared);
		if (!err && at == next) {
			if (shared)
				return bad(t, "a restart point shares bytes");
			next = bytes_left(&tail) ? bytes_le32(&tail) :
				UINT32_MAX;
		}
		if (!err)
			err = fn(t, &e);
	}
	if (!err && end && next != UINT32_MAX)
		err = bad(t, "a restart point is no entry");
	return err;
}

/* ---- the table ------------------------------------------------------------- */

static int key_compare(const uint8_t *a, size_t a_len, const uint8_t *b,
	size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : a_len < b_len ? -1 : a_len > b_len;
}

static int data_entry(struct table *t, const struct stage_sstable_entry *e)
{
	int err;

	if (t->any && key_compare(t->last.data, t->last.len, e->key,
			e->key_len) >= 0)
		return bad(t, "the keys are not in order");
	t->any = true;
	buf_clear(&t->last);
	err = buf_append(&t->last, e->key, e->key_len);
	return err ? err : t->fn(t->arg, e, t->why);
}

static void read_handle(struct bytes *b, struct handle *h)
{
	h->off = bytes_varint(b);
	h->len = bytes_varint(b);
}

/* An entry of the index block: a data block's last key and its handle. */
static int index_entry(struct table *t, const struct stage_sstable_entry *e)
{
	struct bytes b = bytes_of(e->value, e->value_len);
	struct buf key = t->key;
	struct handle h;
	struct block block;
	int err;

	read_handle(&b, &h);
	if (b.bad)
		return bad(t, "the index of blocks is cut short");
	t->key = (struct buf)BUF_INIT(KEY_MAX);
	err = block_get(t, &h, &block);
	if (!err)
		err = walk_block(t, &block, data_entry);
	block_done(&block);
	buf_done(&t->key);
	t->key = key;
	return err;
}

static int read_table(struct table *t)
{
	struct bytes b = bytes_of(t->data + t->len - FOOTER_LEN, FOOTER_LEN);
	struct bytes end = bytes_of(t->data + t->len - 8, 8);
	struct handle meta, index;
	struct block block;
	int err;

	if (bytes_le64(&end) != MAGIC)
		return bad(t, "this is no table");
	read_handle(&b, &meta);
	read_handle(&b, &index);
	if (b.bad || bytes_left(&b) < 8)
		return bad(t, "the footer is broken");
	err = block_get(t, &index, &block);
	if (!err)
		err = walk_block(t, &block, index_entry);
	block_done(&block);
	return err;
}

int stage_sstable_read(struct src *s, stage_sstable_fn *fn, void *arg,
	struct error *why)
{
	cleanup_free uint8_t *data = NULL;
	struct table t = { .fn = fn, .arg = arg, .why = why,
		.key = BUF_INIT(KEY_MAX), .last = BUF_INIT(KEY_MAX) };
	int err;

	if (s->size > STAGE_SSTABLE_MAX)
		return error_set(why, -EFBIG, "a table of %llu bytes",
			(unsigned long long)s->size);
	if (s->size < FOOTER_LEN)
		return error_set(why, -EBADMSG, "the table is cut short");
	data = malloc((size_t)s->size);
	if (!data)
		return -ENOMEM;
	err = src_read_wait(s, 0, data, (size_t)s->size);
	if (err)
		return stage_read_error(s, err, "reading the table", why);
	t.data = data;
	t.len = (size_t)s->size;
	err = read_table(&t);
	buf_done(&t.key);
	buf_done(&t.last);
	return err;
}
