/*
 * All of freezing, loops as frames and as functions: the input is a
 * saved_model.pb beside a small checkpoint (two tensors, "w" of six floats and
 * "b" of three). What is planned is a recipe that holds, whose first bytes can
 * be read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "stage/format/sstable.h"
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct file {
	const char *path;
	const void *data;
	size_t len;
};

static struct file files[3];

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	(void) arg;
	for (size_t i = 0; i < 3; i++) {
		void *copy;

		if (strcmp(files[i].path, e->path) != 0)
			continue;
		copy = malloc(files[i].len + 1);
		memcpy(copy, files[i].data, files[i].len);
		*ret = src_from_memory(copy, files[i].len);
		return 0;
	}
	return error_set(why, -ENOENT, "%s", e->path);
}

static void block(struct buf *t, const void *data, size_t len, struct buf *at)
{
	size_t off = t->len;

	(void) buf_append(t, data, len);
	(void) buf_append_le(t, 0, 4);
	(void) buf_append_le(t, 1, 4);
	(void) buf_append_le(t, 0, 1);
	(void) buf_append_varint(at, off);
	(void) buf_append_varint(at, len + 8);
	(void) buf_append_le(t, stage_crc32c_masked(t->data + off, len + 9), 4);
}

static void put(struct buf *b, const char *key, const void *value, size_t len)
{
	(void) buf_append_varint(b, 0);
	(void) buf_append_varint(b, strlen(key));
	(void) buf_append_varint(b, len);
	(void) buf_append_str(b, key);
	(void) buf_append(b, value, len);
}

/* The checkpoint's index: header, "b" and "w". */
static void make_index(struct buf *t)
{
	struct buf data = BUF_INIT(4096), index = BUF_INIT(4096);
	struct buf at = BUF_INIT(64), footer = BUF_INIT(64);

	put(&data, "", "\x08\x01", 2);
	put(&data, "b", "\x08\x01\x12\x04\x12\x02\x08\x03\x20\x18\x28\x0c",
		12);
	put(&data, "w", "\x08\x01\x12\x08\x12\x02\x08\x02\x12\x02\x08\x03"
		"\x28\x18", 14);
	block(t, data.data, data.len, &at);
	put(&index, "x", at.data, at.len);
	(void) buf_append(&footer, "\0\0", 2);
	block(t, index.data, index.len, &footer);
	while (footer.len < 40)
		(void) buf_append_le(&footer, 0, 1);
	(void) buf_append_le(&footer, 0xdb4775248b80fb57ULL, 8);
	(void) buf_append(t, footer.data, footer.len);
	buf_done(&data);
	buf_done(&index);
	buf_done(&at);
	buf_done(&footer);
}

static void read_some(struct stage_recipe *r)
{
	const struct stage_extent *v;
	struct error why;

	if (stage_recipe_check(r, &why) || !stage_recipe_size(r))
		abort();
	if (!stage_recipe_extents(r, &v) || v[0].kind != STAGE_INLINE)
		abort();
	stage_recipe_unref(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct buf index = BUF_INIT(4096);
	static struct stage *stages[2];
	static const char weights[36];
	const struct objid none = { .alg = OBJID_NONE };
	struct stage_conf conf = { .opset = 13 };
	struct listing listing = { 0 };
	struct stage_input in = { { .hub = "huggingface", .repo = "a/b",
		.listing = &listing }, open_file, NULL, NULL };
	struct stage_recipe *r;
	struct error why = { 0 };
	int err;

	if (!stages[0]) {
		make_index(&index);
		for (int i = 0; i < 2; i++) {
			conf.functions = i;
			if (stage_new(&conf, &stages[i], &why))
				abort();
		}
	}
	files[0] = (struct file){ "saved_model.pb", data, len };
	files[1] = (struct file){ "variables/variables.index", index.data,
		index.len };
	files[2] = (struct file){ "variables/variables.data-00000-of-00001",
		weights, sizeof(weights) };
	for (size_t i = 0; i < 3; i++)
		(void) listing_add(&listing, files[i].path, LISTING_FILE,
			files[i].len, &none);
	listing_sort(&listing);
	for (int i = 0; i < 4; i++) {
		memset(&why, 0, sizeof(why));
		err = stage_plan(stages[i / 2], &in, i % 2 ?
			"tensorflow/model_trainable.pb" :
			"tensorflow/model.pb", &r, &why);
		if (!err)
			read_some(r);
		else if (why.code != err)
			abort();
	}
	listing_done(&listing);
	return 0;
}
