/*
 * Reads the header and nothing else. The header's JSON goes through jansson
 * whole: it is small against the data it describes, and its ceiling is that
 * of the format.
 */
#include "config.h"

#include "stage/format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "stage/window.h"

#define FORMAT_MAX 100000000	/* bytes; safetensors' own MAX_HEADER_SIZE */
#define HEADER_MAX (32u << 20)	/* bytes we read: 200,000 tensors */
#define FIRST_READ 16384	/* bytes; most headers fit */
#define LENGTH_LEN 8

static const struct {
	const char *name;
	enum stage_dtype dtype;
} dtypes[] = {
	{ "BOOL", STAGE_BOOL }, { "U8", STAGE_U8 }, { "I8", STAGE_I8 },
	{ "U16", STAGE_U16 }, { "I16", STAGE_I16 }, { "I32", STAGE_I32 },
	{ "I64", STAGE_I64 }, { "F16", STAGE_F16 }, { "F32", STAGE_F32 },
	{ "F64", STAGE_F64 }, { "U32", STAGE_U32 }, { "U64", STAGE_U64 },
	{ "BF16", STAGE_BF16 }, { "F8_E4M3", STAGE_F8E4M3 },
	{ "F8_E5M2", STAGE_F8E5M2 }, { "C64", STAGE_C64 },
};

int stage_safetensors_probe(const void *head, size_t n, uint64_t size)
{
	struct bytes b = bytes_of(head, n);
	uint64_t len = bytes_le64(&b);

	return bytes_u8(&b) == '{' && !b.bad && len >= 2 &&
		len <= FORMAT_MAX && len <= size - LENGTH_LEN;
}

static int parse_dtype(const char *name, const json_t *info,
	enum stage_dtype *ret, struct error *why)
{
	const char *text = json_str(info, "dtype");

	if (!text)
		return error_set(why, -EBADMSG, "%s: no dtype", name);
	for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
		if (!strcmp(text, dtypes[i].name)) {
			*ret = dtypes[i].dtype;
			return 0;
		}
	}
	return error_set(why, -ENOTSUP, "%s: element type %s is not read",
		name, text);
}

/* A JSON array of n..max integers >= 0 into ret; the count or -EBADMSG. */
static int parse_ints(const json_t *v, size_t min, size_t max, uint64_t *ret)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n < min || n > max)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		const json_t *e = json_array_get(v, i);

		if (!json_is_integer(e) || json_integer_value(e) < 0)
			return -EBADMSG;
		ret[i] = (uint64_t)json_integer_value(e);
	}
	return (int)n;
}

/* One member of the header: offsets relative to `data`. */
static int parse_tensor(const char *name, const json_t *info, uint64_t data,
	struct stage_tensor *t, struct error *why)
{
	const json_t *shape = json_object_get(info, "shape");
	uint64_t range[2];
	int rank, err;

	err = parse_dtype(name, info, &t->dtype, why);
	if (err)
		return err;
	if (json_array_size(shape) > STAGE_RANK_MAX)
		return error_set(why, -EFBIG, "%s has over %u dimensions",
			name, STAGE_RANK_MAX);
	rank = parse_ints(shape, 0, STAGE_RANK_MAX, t->dim);
	if (rank < 0)
		return error_set(why, -EBADMSG, "%s: bad shape", name);
	t->rank = (unsigned)rank;
	if (parse_ints(json_object_get(info, "data_offsets"), 2, 2,
		    range) < 0 || range[0] > range[1] ||
	    size_add(data, range[0], &t->off))
		return error_set(why, -EBADMSG, "%s: bad data_offsets", name);
	t->len = range[1] - range[0];
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct stage_tensor *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x->len < y->len ? -1 : x->len > y->len;
}

/* The tensors v[0..n) cover [data, size) without hole or overlap. */
static int check_cover(struct stage_tensor *v, size_t n, uint64_t data,
	uint64_t size, struct error *why)
{
	uint64_t at = data;

	if (n)
		qsort(v, n, sizeof(*v), by_offset);
	for (size_t i = 0; i < n; i++) {
		if (v[i].off != at)
			return error_set(why, -EBADMSG,
				"%s does not begin where the one before ends",
				v[i].name);
		at += v[i].len;
	}
	if (at != size)
		return error_set(why, -EBADMSG,
			"the tensors end at %llu, the file at %llu",
			(unsigned long long)at, (unsigned long long)size);
	return 0;
}

static int check_metadata(const json_t *meta, struct error *why)
{
	const char *key;
	json_t *v;

	if (!json_is_object(meta))
		return error_set(why, -EBADMSG, "__metadata__ is no object");
	/* The cast: jansson's macro wants it, nothing is changed. */
	json_object_foreach((json_t *)(uintptr_t)meta, key, v) {
		if (!json_is_string(v))
			return error_set(why, -EBADMSG,
				"__metadata__: %s is no string", key);
	}
	return 0;
}

static int parse_header(json_t *header, uint64_t data, uint64_t size,
	unsigned file, struct stage_weights *w, struct error *why)
{
	size_t first = w->n;
	const char *name;
	json_t *info;
	int err;

	if (!json_is_object(header))
		return error_set(why, -EBADMSG, "the header is no object");
	json_object_foreach(header, name, info) {
		/* The name is copied by stage_weights_add(). */
		struct stage_tensor t = { .name = (char *)(uintptr_t)name,
			.file = file };

		err = !strcmp(name, "__metadata__") ?
			check_metadata(info, why) :
			parse_tensor(name, info, data, &t, why);
		if (!err && t.dtype)
			err = stage_weights_add(w, &t, why);
		if (err)
			return err;
	}
	if (w->n == first)
		return check_cover(NULL, 0, data, size, why);
	return check_cover(w->v + first, w->n - first, data, size, why);
}

/* The header's JSON, NUL-ended, in one read or two. */
static int read_header(struct src *s, char **ret, size_t *ret_len,
	struct error *why)
{
	size_t first = s->size < FIRST_READ ? (size_t)s->size : FIRST_READ;
	cleanup_free char *head = malloc(FIRST_READ + 1);
	struct bytes b;
	uint64_t len;
	char *more;
	int err;

	if (!head)
		return -ENOMEM;
	err = src_read_wait(s, 0, head, first);
	if (err)
		return stage_read_error(s, err, "reading the header", why);
	b = bytes_of(head, first);
	len = bytes_le64(&b);
	if (b.bad || len > s->size - LENGTH_LEN)
		return error_set(why, -EBADMSG, "the file is cut short");
	if (len > HEADER_MAX)
		return error_set(why, len > FORMAT_MAX ? -EBADMSG : -EFBIG,
			"a header of %llu bytes", (unsigned long long)len);
	if (len + LENGTH_LEN > first) {
		more = realloc(head, len + LENGTH_LEN + 1);
		if (!more)
			return -ENOMEM;
		head = more;
		err = src_read_wait(s, first, head + first,
			(size_t)len + LENGTH_LEN - first);
		if (err)
			return stage_read_error(s, err, "reading the header",
				why);
	}
	memmove(head, head + LENGTH_LEN, (size_t)len);
	head[len] = 0;
	*ret_len = (size_t)len;
	*ret = steal_ptr(head);
	return 0;
}

int stage_safetensors_read(struct src *s, unsigned file,
	struct stage_weights *w, struct error *why)
{
	cleanup_free char *text = NULL;
	cleanup_json json_t *header = NULL;
	size_t len = 0;
	int err;

	err = read_header(s, &text, &len, why);
	if (!err && (!len || text[0] != '{'))
		err = error_set(why, -EBADMSG, "the header is no object");
	if (!err)
		err = json_parse(text, len, HEADER_MAX, &header, why);
	if (!err)
		err = parse_header(header, len + LENGTH_LEN, s->size, file, w,
			why);
	if (err)
		(void) error_wrap(why, "safetensors");
	return err;
}
