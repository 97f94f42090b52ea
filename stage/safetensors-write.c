/*
 * All tensors of a checkpoint as one safetensors file: a header, and behind it
 * the bytes where they lie. The form is that of
 * https://github.com/huggingface/safetensors#format; the metadata is what
 * transformers asks for before it reads a file.
 *
 * Wide types come first, as in the files of the library itself, so that every
 * tensor is aligned; within a width the order is that of the checkpoint, and
 * who reads from front to back reads it from front to back.
 */
#include "config.h"

#include "stage/safetensors-write.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/json.h"

#define HEADER_MAX 100000000	/* bytes; the library's own limit */
#define ALIGN 8			/* bytes; of the first tensor */

static const char *const types[] = {
	[STAGE_F64] = "F64", [STAGE_F32] = "F32", [STAGE_F16] = "F16",
	[STAGE_BF16] = "BF16", [STAGE_F8E4M3] = "F8_E4M3",
	[STAGE_F8E5M2] = "F8_E5M2", [STAGE_C64] = "C64",
	[STAGE_I64] = "I64", [STAGE_I32] = "I32", [STAGE_I16] = "I16",
	[STAGE_I8] = "I8", [STAGE_U64] = "U64", [STAGE_U32] = "U32",
	[STAGE_U16] = "U16", [STAGE_U8] = "U8", [STAGE_BOOL] = "BOOL",
};

static const char *type_name(enum stage_dtype t)
{
	return (unsigned)t < sizeof(types) / sizeof(types[0]) ? types[t] :
		NULL;
}

static int by_width(const void *a, const void *b)
{
	const struct stage_tensor *x = *(const void *const *)a;
	const struct stage_tensor *y = *(const void *const *)b;
	unsigned nx = stage_dtype_size(x->dtype);
	unsigned ny = stage_dtype_size(y->dtype);

	if (nx != ny)
		return nx > ny ? -1 : 1;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The tensor's entry, its bytes being at *at behind the header. */
static int add_entry(json_t *header, const struct stage_tensor *t,
	uint64_t *at, struct error *why)
{
	cleanup_json json_t *shape = json_array();
	const char *type = type_name(t->dtype);
	uint64_t start = *at;

	if (!type || !strcmp(t->name, "__metadata__"))
		return error_set(why, -ENOTSUP, "safetensors has no place for "
			"the tensor \"%s\"", t->name);
	if (size_add(start, t->len, at) || *at > INT64_MAX)
		return -EFBIG;
	for (unsigned i = 0; i < t->rank; i++)
		json_array_append_new(shape,
			json_integer((json_int_t)t->dim[i]));
	if (json_array_size(shape) != t->rank)
		return -ENOMEM;
	if (json_object_set_new(header, t->name, json_pack(
	    "{s:s, s:O, s:[I, I]}", "dtype", type, "shape", shape,
	    "data_offsets", (json_int_t)start, (json_int_t)*at)))
		return error_set(why, -ENOTSUP, "the name of a tensor is no "
			"text: \"%s\"", t->name);
	return 0;
}

static int make_header(const struct stage_tensor *const *order, size_t n,
	struct buf *ret, struct error *why)
{
	cleanup_json json_t *header = json_pack("{s:{s:s}}", "__metadata__",
		"format", "pt");
	cleanup_free char *text = NULL;
	uint64_t at = 0;
	size_t len;
	int r = header ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !r; i++)
		r = add_entry(header, order[i], &at, why);
	if (r)
		return r;
	text = json_dumps(header, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	len = (strlen(text) + ALIGN - 1) / ALIGN * ALIGN;
	if (len > HEADER_MAX)
		return error_set(why, -EFBIG, "a safetensors header of %zu "
			"bytes is more than readers take", len);
	r = buf_append_le(ret, len, 8);
	if (!r)
		r = buf_append_str(ret, text);
	while (!r && ret->len < 8 + len)
		r = buf_append(ret, " ", 1);
	return r;
}

static int append_tensor(struct stage_recipe *recipe,
	const struct stage_weights *w, const struct stage_tensor *t)
{
	int source = stage_recipe_source(recipe, w->files[t->file],
		w->file_sizes[t->file]);

	return source < 0 ? source : stage_recipe_copy(recipe,
		(unsigned)source, t->off, t->len);
}

int stage_safetensors_write(const struct stage_weights *w,
	struct stage_recipe **ret, struct error *why)
{
	const struct stage_tensor **order = calloc(w->n + 1, sizeof(*order));
	struct stage_recipe *recipe = stage_recipe_new();
	struct buf header = BUF_INIT(HEADER_MAX + 8);
	int r = order && recipe ? 0 : -ENOMEM;

	for (size_t i = 0; i < w->n && !r; i++)
		order[i] = &w->v[i];
	if (!r) {
		qsort(order, w->n, sizeof(*order), by_width);
		r = make_header(order, w->n, &header, why);
	}
	if (!r)
		r = stage_recipe_inline(recipe, header.data, header.len);
	for (size_t i = 0; i < w->n && !r; i++)
		r = append_tensor(recipe, w, order[i]);
	if (!r)
		*ret = steal_ptr(recipe);
	stage_recipe_unref(recipe);
	free(order);
	buf_done(&header);
	return r;
}
