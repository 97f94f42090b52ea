/*
 * An ONNX file of a stranger. stage_look(): what comes out is JSON with the keys
 * that are promised, for another format when the bytes have become one. Its
 * variants: a recipe that can be read from end to end, or a reason; a variant
 * that is ONNX is read again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "stage/stage.h"

#define SIZE_MAX_READ ((uint64_t)1 << 20)	/* of a variant, bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct src *of(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	struct src *s;

	if (len)
		memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	if (!s)
		abort();
	return s;
}

static void info(struct src *s)
{
	struct error why = { 0 };
	char *text = NULL;
	json_t *j;
	int err = stage_look(s, &text, &why);

	if (!err) {
		if (json_parse(text, strlen(text), SIZE_MAX, &j, NULL) ||
			!json_is_string(json_object_get(j, "format")))
			abort();
		if (!strcmp(json_str(j, "format"), "ONNX") && (
			!json_is_array(json_object_get(j, "inputs")) ||
			!json_is_array(json_object_get(j, "outputs")) ||
			!json_is_integer(json_object_get(j, "parameters"))))
			abort();
		json_decref(j);
	} else if (text) {
		abort();
	}
	free(text);
}

struct file {
	const uint8_t *data;
	size_t len;
};

/* The model, and 64 KiB of its external data. */
static int open_one(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	static const uint8_t zeros[65536];
	const struct file *f = arg;

	(void) why;
	*ret = strcmp(e->path, "d/m.onnx") ? of(zeros, sizeof(zeros)) :
		of(f->data, f->len);
	return 0;
}

static void read_all(struct stage_recipe *r, const struct stage_input *in,
	bool again)
{
	unsigned n = stage_recipe_sources(r);
	struct src **v = calloc(n + 1, sizeof(*v)), *s = NULL;
	uint64_t size = stage_recipe_size(r);
	uint8_t *buf = malloc(size < SIZE_MAX_READ ? size + 1 : 1);
	struct error why = { 0 };

	if (!v || !buf)
		abort();
	for (unsigned i = 0; i < n; i++)
		if (in->open(in->arg, listing_find(in->repo.listing,
			    stage_recipe_source_path(r, i)), &v[i], &why))
			abort();
	if (stage_recipe_src(r, v, &s, &why))
		abort();
	if (size < SIZE_MAX_READ && src_read_wait(s, 0, buf, size))
		abort();
	if (again)
		info(s);
	src_unref(s);
	for (unsigned i = 0; i < n; i++)
		src_unref(v[i]);
	free(v);
	free(buf);
}

static void variants(const uint8_t *data, size_t len)
{
	static const char *const paths[] = {
		"d/m_fp16.onnx", "d/m_int8.onnx", "d/m_skeleton.onnx",
		"d/m_external.onnx", "d/m_external.onnx_data",
		"d/m_trainable.onnx", "d/m_clean.onnx", "d/m.safetensors",
	};
	const struct stage_conf conf = { .opset = 13 };
	const struct objid none = { .alg = OBJID_NONE };
	struct file file = { data, len };
	struct listing own = { 0 };
	struct stage_input in = { .repo = { .hub = "huggingface", .repo = "x",
		.listing = &own }, .open = open_one, .arg = &file };
	struct error why = { 0 };
	struct stage *s;

	if (stage_new(&conf, &s, &why) || listing_add(&own, "d/m.onnx",
		    LISTING_FILE, len, &none) || listing_add(&own, "d/w.bin",
		    LISTING_FILE, 65536, &none))
		abort();
	listing_sort(&own);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct stage_recipe *r = NULL;
		int err = stage_plan(s, &in, paths[i], &r, &why);

		if (!err)
			read_all(r, &in, strstr(paths[i], "onnx") &&
				!strstr(paths[i], "_data"));
		else if (r)
			abort();
		stage_recipe_unref(r);
	}
	listing_done(&own);
	stage_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct src *s = of(data, len);

	info(s);
	src_unref(s);
	variants(data, len);
	return 0;
}
