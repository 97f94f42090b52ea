/*
 * Two passes: the table's entries as they come, then the tensors saved in
 * parts, whose parts are entries of their own under keys made of name and
 * range (OrderedCode, which sorts as the ranges do).
 */
#include "config.h"

#include "stage/format/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "stage/format/sstable.h"
#include "stage/format/wire.h"

#define SLICE_KEY_MAX 8192	/* bytes */

static const uint8_t sizes[] = {
	[1] = 4, [2] = 8, [3] = 4, [4] = 1, [5] = 2, [6] = 1, [8] = 8,
	[9] = 8, [10] = 1, [11] = 1, [12] = 1, [13] = 4, [14] = 2, [15] = 2,
	[16] = 2, [17] = 2, [18] = 16, [19] = 2, [22] = 4, [23] = 8,
	[24] = 1, [25] = 1,
};

unsigned stage_tf_dtype_size(unsigned dtype)
{
	return dtype < sizeof(sizes) ? sizes[dtype] : 0;
}

/* ---- entries --------------------------------------------------------------- */

struct reading {
	struct stage_bundle *b;
	uint64_t shards;
	bool header;
};

/* BundleHeaderProto: num_shards 1, endianness 2 */
static int read_header(struct reading *x, struct bytes m, struct error *why)
{
	struct stage_wire f;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (stage_wire_is(&f, 1, STAGE_WIRE_VARINT))
			x->shards = f.value;
		else if (stage_wire_is(&f, 2, STAGE_WIRE_VARINT) && f.value)
			return error_set(why, -ENOTSUP, "the checkpoint is "
				"big-endian");
	}
	if (r)
		return error_set(why, r, "the header is broken");
	if (!x->shards || x->shards > STAGE_BUNDLE_SHARDS_MAX)
		return error_set(why, -EFBIG, "%llu shards",
			(unsigned long long)x->shards);
	x->header = true;
	return 0;
}

/* TensorShapeProto: dim 2 {size 1}, unknown_rank 3 */
static int read_shape(struct stage_bundle_tensor *t, struct bytes m,
	struct error *why)
{
	struct stage_wire f, d;
	int r, rd;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (!stage_wire_is(&f, 2, STAGE_WIRE_BYTES))
			continue;
		if (t->rank == STAGE_RANK_MAX)
			return error_set(why, -EFBIG, "over %u dimensions",
				STAGE_RANK_MAX);
		t->dim[t->rank] = 0;
		while ((rd = stage_wire_next(&f.body, &d)) > 0)
			if (stage_wire_is(&d, 1, STAGE_WIRE_VARINT))
				t->dim[t->rank] = d.value;
		if (rd || t->dim[t->rank++] > INT64_MAX)
			return error_set(why, -EBADMSG, "a broken shape");
	}
	return r ? error_set(why, r, "a broken shape") : 0;
}

/* BundleEntryProto: dtype 1, shape 2, shard_id 3, offset 4, size 5,
 * crc32c 6, slices 7 */
static int read_entry(struct stage_bundle_tensor *t,
	struct stage_bundle_piece *p, struct bytes m, struct error *why)
{
	const uint8_t *start = m.p;
	size_t len = bytes_left(&m);
	struct stage_wire f;
	uint64_t shard = 0;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (stage_wire_is(&f, 1, STAGE_WIRE_VARINT))
			t->dtype = (unsigned)f.value;
		else if (stage_wire_is(&f, 2, STAGE_WIRE_BYTES))
			r = read_shape(t, f.body, why);
		else if (stage_wire_is(&f, 3, STAGE_WIRE_VARINT))
			shard = f.value;
		else if (stage_wire_is(&f, 4, STAGE_WIRE_VARINT))
			p->off = f.value;
		else if (stage_wire_is(&f, 5, STAGE_WIRE_VARINT))
			p->len = f.value;
		else if (stage_wire_is(&f, 7, STAGE_WIRE_BYTES))
			t->slices_len = len;
		if (r < 0)
			return r;
	}
	if (r)
		return error_set(why, r, "a broken entry");
	t->slices = start;
	p->file = shard > UINT32_MAX ? UINT32_MAX : (unsigned)shard;
	return 0;
}

/* Bytes that shape and type need. */
static int plain_len(const struct stage_bundle_tensor *t, uint64_t *ret,
	struct error *why)
{
	uint64_t len = stage_tf_dtype_size(t->dtype);

	for (unsigned i = 0; i < t->rank; i++)
		if (size_mul(len, t->dim[i], &len) || len > INT64_MAX)
			return error_set(why, -EBADMSG,
				"a shape too large to be true");
	*ret = len;
	return 0;
}

static int check_piece(const struct reading *x,
	const struct stage_bundle_tensor *t,
	const struct stage_bundle_piece *p, struct error *why)
{
	if (p->file >= x->shards)
		return error_set(why, -EBADMSG, "it lies in shard %u of %llu",
			p->file, (unsigned long long)x->shards);
	if (stage_tf_dtype_size(t->dtype) && p->len != t->len)
		return error_set(why, -EBADMSG, "shape and type need %llu "
			"bytes, it has %llu", (unsigned long long)t->len,
			(unsigned long long)p->len);
	return 0;
}

static struct stage_bundle_tensor *add_tensor(struct stage_bundle *b)
{
	size_t room = b->room ? 2 * b->room : 64;
	struct stage_bundle_tensor *v;

	if (b->n == b->room) {
		v = reallocarray(b->v, room, sizeof(*v));
		if (!v)
			return NULL;
		b->v = v;
		b->room = room;
	}
	memset(&b->v[b->n], 0, sizeof(*b->v));
	return &b->v[b->n++];
}

static int take_entry(void *arg, const struct stage_sstable_entry *e,
	struct error *why)
{
	struct reading *x = arg;
	struct stage_bundle *b = x->b;
	struct stage_bundle_tensor *t;
	struct stage_bundle_piece *p;
	const char *value;
	int err;

	if (!x->header)
		return e->key_len ? error_set(why, -EBADMSG,
			"the header is missing") :
			read_header(x, bytes_of(e->value, e->value_len), why);
	if (b->n >= STAGE_TENSORS_MAX)
		return error_set(why, -EFBIG, "over %u tensors",
			STAGE_TENSORS_MAX);
	t = add_tensor(b);
	value = t ? stage_arena_copy(&b->arena, e->value, e->value_len) : NULL;
	p = value ? stage_arena_alloc(&b->arena, sizeof(*p)) : NULL;
	t = b->n ? &b->v[b->n - 1] : NULL;
	if (p && t)
		t->key = stage_arena_copy(&b->arena, e->key, e->key_len);
	if (!p || !t || !t->key)
		return error_set(why, -ENOMEM, "no memory for the index");
	t->key_len = e->key_len;
	err = read_entry(t, p, bytes_of(value, e->value_len), why);
	if (!err)
		err = plain_len(t, &t->len, why);
	if (!err && !t->slices_len)
		err = check_piece(x, t, p, why);
	if (err) {
		error_wrap(why, "%s", t->key);
		return err;
	}
	if (!t->slices_len) {
		t->pieces = p;
		t->n_pieces = 1;
	}
	return 0;
}

/* ---- tensors in parts ------------------------------------------------------ */

/* OrderedCode: a number >= 0 as count of bytes and those, big end first */
static int put_num(struct buf *b, uint64_t v)
{
	uint8_t text[9];
	unsigned n = 0;

	for (uint64_t left = v; left; left >>= 8)
		n++;
	text[0] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		text[1 + i] = (uint8_t)(v >> 8 * (n - 1 - i));
	return buf_append(b, text, n + 1);
}

/* A signed number: as many leading ones as bytes (zeros when it is negative,
 * which only -1 is here), then its bits. */
static int put_signed(struct buf *b, int64_t v)
{
	uint8_t text[10];
	unsigned n = 1;

	if (v < 0)
		return v == -1 ? buf_append(b, "\x7f", 1) : -EBADMSG;
	while (n < 8 && (uint64_t)v >> (7 * n - 1))
		n++;
	if ((uint64_t)v >> (7 * n - 1))
		return -EFBIG;
	for (unsigned i = 0; i < n; i++)
		text[i] = (uint8_t)(v >> 8 * (n - 1 - i));
	text[0] |= (uint8_t)(0xff << (8 - n));
	return buf_append(b, text, n);
}

/* OrderedCode: NUL and 0xff escaped, ended by 00 01 */
static int put_text(struct buf *b, const char *s, size_t len)
{
	int err = 0;

	for (size_t i = 0; i < len && !err; i++) {
		uint8_t c = (uint8_t)s[i];

		err = c == 0 ? buf_append(b, "\x00\xff", 2) :
			c == 0xff ? buf_append(b, "\xff\x00", 2) :
			buf_append(b, &c, 1);
	}
	return err ? err : buf_append(b, "\x00\x01", 2);
}

struct slice {
	int64_t start[STAGE_RANK_MAX], len[STAGE_RANK_MAX]; /* -1: all */
	unsigned rank;
};

/* TensorSliceProto: extent 1 {start 1, length 2 (absent: all)} */
static int read_slice(struct bytes m, struct slice *s)
{
	struct stage_wire f, e;
	int r, re;

	memset(s, 0, sizeof(*s));
	while ((r = stage_wire_next(&m, &f)) > 0) {
		unsigned i = s->rank;

		if (!stage_wire_is(&f, 1, STAGE_WIRE_BYTES))
			continue;
		if (i == STAGE_RANK_MAX)
			return -EBADMSG;
		s->len[i] = -1;
		while ((re = stage_wire_next(&f.body, &e)) > 0) {
			if (stage_wire_is(&e, 1, STAGE_WIRE_VARINT))
				s->start[i] = (int64_t)e.value;
			else if (stage_wire_is(&e, 2, STAGE_WIRE_VARINT))
				s->len[i] = (int64_t)e.value;
		}
		if (re)
			return re;
		s->rank++;
	}
	return r;
}

/* Under which key the bytes of a part are. */
static int slice_key(const struct stage_bundle_tensor *t,
	const struct slice *s, struct buf *ret)
{
	int err = put_num(ret, 0);

	if (!err)
		err = put_text(ret, t->key, t->key_len);
	if (!err)
		err = put_num(ret, s->rank);
	for (unsigned i = 0; i < s->rank && !err; i++) {
		/* All of an axis is written as start 0, length -1. */
		err = put_signed(ret, s->start[i]);
		if (!err)
			err = put_signed(ret, s->len[i]);
	}
	return err;
}

/* Rows of a part that is whole along every axis but the first. */
static int slice_rows(const struct stage_bundle_tensor *t,
	const struct slice *s, uint64_t at, uint64_t *ret)
{
	if (s->rank != t->rank || !t->rank)
		return -EBADMSG;
	for (unsigned i = 1; i < s->rank; i++)
		if (s->start[i] || (s->len[i] >= 0 &&
			    (uint64_t)s->len[i] != t->dim[i]))
			return -ENOTSUP;
	*ret = s->len[0] < 0 ? t->dim[0] : (uint64_t)s->len[0];
	return (uint64_t)s->start[0] == at ? 0 : -ENOTSUP;
}

static int add_part(struct stage_bundle *b, struct stage_bundle_tensor *t,
	struct bytes m, uint64_t *at, struct error *why)
{
	cleanup_buf struct buf key = BUF_INIT(SLICE_KEY_MAX);
	const struct stage_bundle_tensor *part;
	uint64_t rows = 0, row_len, len;
	struct slice s;
	int err = read_slice(m, &s);

	if (!err)
		err = slice_rows(t, &s, *at, &rows);
	if (err)
		return error_set(why, err, err == -ENOTSUP ?
			"saved in parts that are not in order along its first "
			"axis" : "a broken part");
	err = slice_key(t, &s, &key);
	if (err)
		return error_set(why, err, "a part of it has no key");
	part = stage_bundle_find(b, key.data, key.len);
	row_len = t->dim[0] ? t->len / t->dim[0] : 0;
	if (!part || !part->n_pieces || part->slices_len ||
	    size_mul(rows, row_len, &len) || part->pieces[0].len != len)
		return error_set(why, -EBADMSG, "a part of it is missing");
	t->pieces[t->n_pieces++] = part->pieces[0];
	*at += rows;
	return 0;
}

static int join_parts(struct stage_bundle *b, struct stage_bundle_tensor *t,
	struct error *why)
{
	struct bytes m = bytes_of(t->slices, t->slices_len);
	struct stage_wire f;
	unsigned n = 0;
	uint64_t at = 0;
	int err = 0;

	while (stage_wire_next(&m, &f) > 0)
		n += stage_wire_is(&f, 7, STAGE_WIRE_BYTES);
	if (n > STAGE_BUNDLE_PIECES_MAX)
		return error_set(why, -EFBIG, "%u parts", n);
	t->pieces = stage_arena_array(&b->arena, n, sizeof(*t->pieces));
	if (!t->pieces)
		return error_set(why, -ENOMEM, "no memory for its parts");
	m = bytes_of(t->slices, t->slices_len);
	while (!err && stage_wire_next(&m, &f) > 0)
		if (stage_wire_is(&f, 7, STAGE_WIRE_BYTES))
			err = add_part(b, t, f.body, &at, why);
	if (!err && t->rank && at != t->dim[0])
		err = error_set(why, -EBADMSG, "a part of it is missing");
	return err;
}

/* ---- the bundle ------------------------------------------------------------ */

static int find_shards(const struct stage_input *in, const char *prefix,
	unsigned n, struct stage_bundle *b)
{
	b->files = calloc(n, sizeof(*b->files));
	b->file_sizes = calloc(n, sizeof(*b->file_sizes));
	if (!b->files || !b->file_sizes)
		return -ENOMEM;
	for (b->n_files = 0; b->n_files < n; b->n_files++) {
		unsigned i = b->n_files;
		const struct listing_entry *e;

		if (asprintf(&b->files[i], "%s.data-%05u-of-%05u", prefix, i,
				n) < 0) {
			b->files[i] = NULL;
			return -ENOMEM;
		}
		e = listing_find(in->repo.listing, b->files[i]);
		b->file_sizes[i] = e && e->kind == LISTING_FILE ? e->size :
			LISTING_SIZE_UNKNOWN;
	}
	return 0;
}

static int check_ranges(const struct stage_bundle *b, struct error *why)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct stage_bundle_tensor *t = &b->v[i];
		const struct stage_bundle_piece *p = t->pieces;

		if (t->slices_len)
			continue;
		if (b->file_sizes[p->file] == LISTING_SIZE_UNKNOWN)
			return error_set(why, -ENOENT, "%s is missing",
				b->files[p->file]);
		if (!size_inside(p->off, p->len, b->file_sizes[p->file]))
			return error_set(why, -EBADMSG, "%s lies outside %s",
				t->key, b->files[p->file]);
	}
	return 0;
}

static int read_index(const struct stage_input *in, const char *index,
	struct reading *x, struct error *why)
{
	const struct listing_entry *e = listing_find(in->repo.listing, index);
	struct src *s;
	int err;

	if (!e || e->kind != LISTING_FILE)
		return error_set(why, -ENOENT, "it is not there");
	err = in->open(in->arg, e, &s, why);
	if (err)
		return err;
	err = stage_sstable_read(s, take_entry, x, why);
	src_unref(s);
	if (!err && !x->header)
		err = error_set(why, -EBADMSG, "the table is empty");
	return err;
}

int stage_bundle_read(const struct stage_input *in, const char *prefix,
	struct stage_bundle *ret, struct error *why)
{
	cleanup_free char *index = NULL;
	struct reading x = { .b = ret };
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->arena.max = STAGE_BUNDLE_MEMORY_MAX;
	if (asprintf(&index, "%s.index", prefix) < 0) {
		index = NULL;
		return -ENOMEM;
	}
	err = read_index(in, index, &x, why);
	if (!err)
		err = find_shards(in, prefix, (unsigned)x.shards, ret);
	if (!err)
		err = check_ranges(ret, why);
	for (size_t i = 0; i < ret->n && !err; i++) {
		struct stage_bundle_tensor *t = &ret->v[i];

		if (!t->slices_len || !stage_tf_dtype_size(t->dtype))
			continue;
		err = join_parts(ret, t, why);
		if (err)
			error_wrap(why, "%s", t->key);
	}
	if (err)
		error_wrap(why, "%s", index);
	return err;
}

const struct stage_bundle_tensor *stage_bundle_find(
	const struct stage_bundle *b, const void *key, size_t key_len)
{
	size_t lo = 0, hi = b->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct stage_bundle_tensor *t = &b->v[mid];
		size_t n = key_len < t->key_len ? key_len : t->key_len;
		int c = n ? memcmp(key, t->key, n) : 0;

		if (!c && key_len == t->key_len)
			return t;
		if (c < 0 || (!c && key_len < t->key_len))
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

void stage_bundle_done(struct stage_bundle *b)
{
	/* The one that failed has its name too. */
	for (unsigned i = 0; b->files && i < b->n_files; i++)
		free(b->files[i]);
	free(b->files);
	free(b->file_sizes);
	free(b->v);
	stage_arena_done(&b->arena);
	memset(b, 0, sizeof(*b));
}
