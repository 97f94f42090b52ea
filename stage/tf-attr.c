/* Attributes of the nodes of a frozen graph, from text to AttrValue. */
#include "config.h"

#include "stage/tf-freeze.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static int no_memory(const struct tf_freezer *f)
{
	return error_set(f->why, -EFBIG, "no memory for so large a graph");
}

static int encode(const char *text, size_t len, struct buf *b)
{
	cleanup_buf struct buf ints = BUF_INIT(65536);
	char kind = text[0], *end;
	const char *v = text + 2;
	float number;
	uint32_t bits;
	unsigned more = 0;
	int err = 0;

	switch (kind) {
	case 'b':
	case 'n':
	case 't':
		err = buf_append_varint(b, (kind == 'b' ? 5 : kind == 'n' ? 3 :
			6) << 3);
		return err ? err : buf_append_varint(b,
			(uint64_t)strtoll(v, NULL, 10));
	case 'f':
		number = strtof(v, NULL);
		memcpy(&bits, &number, sizeof(bits));
		err = buf_append(b, "\x25", 1);
		return err ? err : buf_append_le(b, bits, 4);
	case 's':
		err = buf_append(b, "\x12", 1);
		if (!err)
			err = buf_append_varint(b, len - 2);
		return err ? err : buf_append(b, v, len - 2);
	case 'i':
	case 'T':
		for (; !err && v < text + len; v = *end == ',' ? end + 1 : end)
			err = buf_append_varint(&ints,
				(uint64_t)strtoll(v, &end, 10));
		if (!err)
			err = buf_append(b, "\x0a", 1);
		/* 1: the field's tag, then its length */
		for (size_t n = ints.len; n; n >>= 7)
			more++;
		if (!err)
			err = buf_append_varint(b, ints.len + 1 + more);
		if (!err)
			err = buf_append(b, kind == 'T' ? "\x32" : "\x1a", 1);
		if (!err)
			err = buf_append_varint(b, ints.len);
		return err ? err : buf_append(b, ints.data, ints.len);
	default:
		return buf_append(b, "\x0a\x00", 2);
	}
}

int stage_tf_attr_make(struct tf_freezer *f, const char *key, const char *text,
	size_t len, struct stage_tf_attr *ret)
{
	cleanup_buf struct buf b = BUF_INIT(65536);
	int err = encode(text, len, &b);

	return err ? no_memory(f) : stage_tf_attr_raw(f, key, &b, ret);
}

int stage_tf_attr_raw(struct tf_freezer *f, const char *key,
	const struct buf *value, struct stage_tf_attr *ret)
{
	ret->key = stage_arena_strdup(&f->out->arena, key);
	ret->value = (const uint8_t *)stage_arena_copy(&f->out->arena,
		value->data, value->len);
	ret->len = value->len;
	return ret->key && ret->value ? 0 : no_memory(f);
}

/* AttrValue: shape 7 {dim 2 {size 1}} */
int stage_tf_attr_shape(struct tf_freezer *f, const int64_t *dim,
	unsigned rank, struct stage_tf_attr *ret)
{
	cleanup_buf struct buf dims = BUF_INIT(4096), all = BUF_INIT(4096);
	int err = 0;

	for (unsigned i = 0; i < rank && !err; i++) {
		cleanup_buf struct buf one = BUF_INIT(64);

		err = buf_append(&one, "\x08", 1);
		if (!err)
			err = buf_append_varint(&one, (uint64_t)dim[i]);
		if (!err)
			err = buf_append(&dims, "\x12", 1);
		if (!err)
			err = buf_append_varint(&dims, one.len);
		if (!err)
			err = buf_append(&dims, one.data, one.len);
	}
	if (!err)
		err = buf_append(&all, "\x3a", 1);
	if (!err)
		err = buf_append_varint(&all, dims.len);
	if (!err)
		err = buf_append(&all, dims.data, dims.len);
	return err ? no_memory(f) : stage_tf_attr_raw(f, "shape", &all, ret);
}

static bool has(const struct stage_tf_attr *v, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i].key, key))
			return true;
	return false;
}

int stage_tf_attr_text(struct tf_freezer *f, const char *p,
	struct stage_tf_attr *v, size_t *n)
{
	size_t more = 0;
	int err = 0;

	while (p && *p && !err && more < TF_ATTRS_MORE) {
		size_t len = strcspn(p, " "), eq = strcspn(p, "=");
		char key[64];

		(void) snprintf(key, sizeof(key), "%.*s", (int)eq, p);
		if (!has(v, *n, key)) {
			err = stage_tf_attr_make(f, key, p + eq + 1, len - eq - 1,
				&v[*n]);
			*n += !err;
			more++;
		}
		p += len + (p[len] == ' ');
	}
	return err;
}

static int by_key(const void *a, const void *b)
{
	const struct stage_tf_attr *x = a, *y = b;

	return strcmp(x->key, y->key);
}

void stage_tf_attr_sort(struct stage_tf_frozen_node *n)
{
	if (n->n_attr)
		qsort(n->attr, n->n_attr, sizeof(*n->attr), by_key);
}
