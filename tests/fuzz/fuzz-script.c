/*
 * The parser and the interpreter of torch's programs. The input is the code of
 * a TorchScript module, or (from '{' on) a torch.export program; around it an
 * archive is made with a weight w of f32[4, 3, 3, 3], a bias b of f32[4] and a
 * number n. What comes out is planned and checked.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define STORAGE(key, n) "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" \
	key "X\3\0\0\0cpuK" n "tQ"

/* M with w, b, n and training: protocol 2. */
static const char data_pkl[] = "\x80\2c__torch__.m\nM\n)\x81}("
	"X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n"
	STORAGE("0", "\x6c") "K\0(K\4K\3K\3K\3t(K\x1bK\x9K\3K\1t\x89}tR"
	"X\1\0\0\0bctorch._utils\n_rebuild_tensor_v2\n"
	STORAGE("1", "\4") "K\0(K\4t(K\1t\x89}tR"
	"X\1\0\0\0nK\2X\x8\0\0\0training\x89ub.";

static const char weights_json[] = "{\"config\": {\"w\": {\"path_name\": "
	"\"weight_0\", \"use_pickle\": false, \"tensor_meta\": {\"dtype\": 7, "
	"\"sizes\": [{\"as_int\": 4}, {\"as_int\": 3}, {\"as_int\": 3}, "
	"{\"as_int\": 3}], \"strides\": [{\"as_int\": 27}, {\"as_int\": 9}, "
	"{\"as_int\": 3}, {\"as_int\": 1}], \"storage_offset\": {\"as_int\": "
	"0}}}}}";

static const uint8_t zeros[432];

struct zip {
	struct buf out, dir;
	unsigned n;
};

static void header(struct buf *b, const char *name, size_t len)
{
	(void) buf_append_le(b, 20, 2);
	(void) buf_append_le(b, 0, 8);		/* flags, method, time */
	(void) buf_append_le(b, 0, 4);		/* CRC-32: nobody asks */
	(void) buf_append_le(b, len, 4);
	(void) buf_append_le(b, len, 4);
	(void) buf_append_le(b, strlen(name), 2);
	(void) buf_append_le(b, 0, 2);
}

static void add(struct zip *z, const char *name, const void *data, size_t len)
{
	size_t at = z->out.len;

	(void) buf_append(&z->out, "PK\3\4", 4);
	header(&z->out, name, len);
	(void) buf_append_str(&z->out, name);
	(void) buf_append(&z->out, data, len);
	(void) buf_append(&z->dir, "PK\1\2\24\0", 6);
	header(&z->dir, name, len);
	(void) buf_append_le(&z->dir, 0, 8);	/* comment, disk, attributes */
	(void) buf_append_le(&z->dir, 0, 2);
	(void) buf_append_le(&z->dir, at, 4);
	(void) buf_append_str(&z->dir, name);
	z->n++;
}

static void finish(struct zip *z)
{
	size_t at = z->out.len;

	(void) buf_append(&z->out, z->dir.data, z->dir.len);
	(void) buf_append(&z->out, "PK\5\6\0\0\0\0", 8);
	(void) buf_append_le(&z->out, z->n, 2);
	(void) buf_append_le(&z->out, z->n, 2);
	(void) buf_append_le(&z->out, z->dir.len, 4);
	(void) buf_append_le(&z->out, at, 4);
	(void) buf_append_le(&z->out, 0, 2);
}

static void make(struct zip *z, const uint8_t *data, size_t len)
{
	if (len && *data == '{') {
		add(z, "a/archive_format", "pt2", 3);
		add(z, "a/models/model.json", data, len);
		add(z, "a/data/weights/model_weights_config.json",
			weights_json, sizeof(weights_json) - 1);
		add(z, "a/data/weights/weight_0", zeros, 432);
	} else {
		add(z, "a/data.pkl", data_pkl, sizeof(data_pkl) - 1);
		add(z, "a/constants.pkl", "\x80\2).", 4);
		add(z, "a/code/__torch__/m.py", data, len);
		add(z, "a/data/0", zeros, 432);
		add(z, "a/data/1", zeros, 16);
	}
	finish(z);
}

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	const struct buf *b = arg;
	void *copy = malloc(b->len + 1);

	(void) e;
	(void) why;
	if (!copy)
		return -ENOMEM;
	memcpy(copy, b->data, b->len);
	*ret = src_from_memory(copy, b->len);
	return *ret ? 0 : -ENOMEM;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct stage *stage;
	const struct objid none = { .alg = OBJID_NONE };
	struct stage_conf conf = { .opset = 13 };
	struct zip z = { BUF_INIT(1 << 26), BUF_INIT(1 << 20), 0 };
	struct listing listing = { 0 };
	struct stage_input in = { { .hub = "huggingface", .repo = "a/b",
		.listing = &listing }, open_file, &z.out, NULL };
	struct stage_recipe *r = NULL;
	struct error why = { 0 };

	if (!stage && stage_new(&conf, &stage, &why))
		abort();
	make(&z, data, len);
	if (listing_add(&listing, "m.pt", LISTING_FILE, z.out.len, &none))
		abort();
	if (!stage_plan(stage, &in, "m.onnx", &r, &why)) {
		if (stage_recipe_check(r, &why) || !stage_recipe_size(r))
			abort();
		stage_recipe_unref(r);
	} else if (!why.code || !why.text[0]) {
		abort();	/* a refusal has a reason */
	}
	listing_done(&listing);
	buf_done(&z.out);
	buf_done(&z.dir);
	return 0;
}
