/*
 * The table of element types, and the checks that every reader's tensors go
 * through on their way to a planner.
 */
#include "config.h"

#include "stage/tensor.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stage/made.h"

#define NAME_MAX_LEN 4096	/* bytes of one tensor name */

static const struct {
	uint8_t size;
	const char *name;
} dtypes[] = {
	[STAGE_F32] = { 4, "f32" }, [STAGE_U8] = { 1, "u8" },
	[STAGE_I8] = { 1, "i8" }, [STAGE_U16] = { 2, "u16" },
	[STAGE_I16] = { 2, "i16" }, [STAGE_I32] = { 4, "i32" },
	[STAGE_I64] = { 8, "i64" }, [STAGE_BOOL] = { 1, "bool" },
	[STAGE_F16] = { 2, "f16" }, [STAGE_F64] = { 8, "f64" },
	[STAGE_U32] = { 4, "u32" }, [STAGE_U64] = { 8, "u64" },
	[STAGE_C64] = { 8, "c64" }, [STAGE_BF16] = { 2, "bf16" },
	[STAGE_F8E4M3] = { 1, "f8e4m3" }, [STAGE_F8E5M2] = { 1, "f8e5m2" },
};

static bool dtype_ok(enum stage_dtype t)
{
	return (unsigned)t < sizeof(dtypes) / sizeof(dtypes[0]) &&
		dtypes[t].size;
}

unsigned stage_dtype_size(enum stage_dtype t)
{
	return dtype_ok(t) ? dtypes[t].size : 0;
}

const char *stage_dtype_name(enum stage_dtype t)
{
	return dtype_ok(t) ? dtypes[t].name : "unknown";
}

int stage_weights_file(struct stage_weights *w, const char *path,
	uint64_t size)
{
	char **files;
	uint64_t *sizes;

	if (!stage_made_ok(path))
		return -EINVAL;
	if (w->n_files >= INT32_MAX)
		return -EFBIG;
	files = reallocarray(w->files, w->n_files + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	w->files = files;
	sizes = reallocarray(w->file_sizes, w->n_files + 1, sizeof(*sizes));
	if (!sizes)
		return -ENOMEM;
	w->file_sizes = sizes;
	files[w->n_files] = strdup(path);
	if (!files[w->n_files])
		return -ENOMEM;
	sizes[w->n_files] = size;
	return (int)w->n_files++;
}

/* Length of the well-formed UTF-8 sequence at p (NUL-ended text), or 0. */
static unsigned utf8_len(const unsigned char *p)
{
	unsigned n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = p[0] & (0x7fu >> n);

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) ||
	    c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static bool name_ok(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	size_t len = strlen(name);

	if (!len || len > NAME_MAX_LEN)
		return false;
	while (*p) {
		unsigned n = utf8_len(p);

		if (!n)
			return false;
		p += n;
	}
	return true;
}

static int tensor_check(const struct stage_weights *w,
	const struct stage_tensor *t, struct error *why)
{
	uint64_t len = stage_dtype_size(t->dtype);

	if (!name_ok(t->name))
		return error_set(why, -EBADMSG, "a tensor has no good name");
	if (t->rank > STAGE_RANK_MAX)
		return error_set(why, -EFBIG, "%s has %u dimensions, over %u",
			t->name, t->rank, STAGE_RANK_MAX);
	if (!len)
		return error_set(why, -EBADMSG, "%s: unknown element type",
			t->name);
	for (unsigned i = 0; i < t->rank; i++) {
		if (t->dim[i] > INT64_MAX || size_mul(len, t->dim[i], &len))
			return error_set(why, -EBADMSG,
				"%s: its shape is too large to be true",
				t->name);
	}
	if (len != t->len)
		return error_set(why, -EBADMSG,
			"%s: shape and type need %llu bytes, it has %llu",
			t->name, (unsigned long long)len,
			(unsigned long long)t->len);
	if (t->file >= w->n_files ||
	    !size_inside(t->off, t->len, w->file_sizes[t->file]))
		return error_set(why, -EBADMSG,
			"%s lies outside its file", t->name);
	return 0;
}

int stage_weights_add(struct stage_weights *w, const struct stage_tensor *t,
	struct error *why)
{
	int err = tensor_check(w, t, why);
	char *name;

	if (err)
		return err;
	if (w->n >= STAGE_TENSORS_MAX)
		return error_set(why, -EFBIG, "more than %u tensors",
			STAGE_TENSORS_MAX);
	if (w->n == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		struct stage_tensor *v = reallocarray(w->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->v = v;
		w->room = room;
	}
	name = strdup(t->name);
	if (!name)
		return -ENOMEM;
	w->v[w->n] = *t;
	w->v[w->n++].name = name;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct stage_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int stage_weights_sort(struct stage_weights *w, struct error *why)
{
	if (w->n)
		qsort(w->v, w->n, sizeof(*w->v), by_name);
	for (size_t i = 1; i < w->n; i++) {
		if (!strcmp(w->v[i - 1].name, w->v[i].name))
			return error_set(why, -EBADMSG,
				"the tensor %s comes twice", w->v[i].name);
	}
	return 0;
}

const struct stage_tensor *stage_weights_find(const struct stage_weights *w,
	const char *name)
{
	size_t lo = 0, hi = w->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(name, w->v[mid].name);

		if (!c)
			return &w->v[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

void stage_weights_done(struct stage_weights *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i].name);
	for (unsigned i = 0; i < w->n_files; i++)
		free(w->files[i]);
	free(w->v);
	free(w->files);
	free(w->file_sizes);
	memset(w, 0, sizeof(*w));
}
