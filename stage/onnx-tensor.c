/*
 * A TensorProto without its payload. Bytes that lie together and are already
 * what a tensor's are on disk can be used where they are: raw_data, the packed
 * forms of float_data and double_data, and external data. The rest is counted
 * as spread, and stays as it is in every variant.
 */
#include "config.h"

#include "stage/onnx-model.h"

#include <stdlib.h>
#include <string.h>

#define LOCATION_EXTERNAL 1	/* TensorProto.DataLocation */

int stage_onnx_string(struct stage_onnx_reader *x, struct stage_arena *a,
	const struct stage_onnx_field *f, const char **ret)
{
	const uint8_t *p;
	char *s;
	int err = stage_onnx_bytes(x, f, &p);

	if (err)
		return err;
	if (memchr(p, 0, (size_t)f->value))
		return stage_onnx_bad(x, "a name with a NUL in it");
	s = stage_arena_copy(a, p, (size_t)f->value);
	if (!s)
		return error_set(x->why, -EFBIG, "onnx: more names than we "
			"hold");
	*ret = s;
	return 0;
}

/* What is read of a tensor before it is judged. */
struct found {
	struct stage_onnx_tensor *t;
	uint64_t n;		/* product of the dims */
	bool deep;		/* more dimensions than we know */
	bool outside;
	unsigned payloads;	/* fields with elements in them */
	const char *off, *len;	/* texts of external data */
};

static int add_dim(struct stage_onnx_reader *x, struct found *f, uint64_t dim)
{
	struct stage_onnx_tensor *t = f->t;

	if (dim > INT64_MAX || size_mul(f->n, dim, &f->n) ||
	    f->n > INT64_MAX)
		return stage_onnx_bad(x, "the shape of a tensor overflows");
	if (t->rank == STAGE_RANK_MAX)
		f->deep = true;
	else
		t->dim[t->rank++] = dim;
	return 0;
}

/* dims, one by one or packed */
static int read_dims(struct stage_onnx_reader *x,
	const struct stage_onnx_field *f, struct found *ret)
{
	const uint8_t *p;
	struct bytes b;
	int err;

	if (f->wire == STAGE_WIRE_VARINT)
		return add_dim(x, ret, f->value);
	err = stage_onnx_bytes(x, f, &p);
	if (err)
		return err;
	for (b = bytes_of(p, (size_t)f->value); !err && bytes_left(&b);)
		err = add_dim(x, ret, bytes_varint(&b));
	return b.bad ? stage_onnx_bad(x, "the dims of a tensor break off") :
		err;
}

/* StringStringEntryProto: key 1, value 2 */
static int read_external(struct stage_onnx_reader *x, struct stage_arena *a,
	struct stage_onnx_msg m, struct found *ret)
{
	const char *key = "", *value = "";
	struct stage_onnx_field f;
	int r;

	while ((r = stage_onnx_next(x, &m, &f)) > 0) {
		if (f.number != 1 && f.number != 2)
			continue;
		r = stage_onnx_string(x, a, &f, f.number == 1 ? &key : &value);
		if (r)
			return r;
	}
	if (!strcmp(key, "location"))
		ret->t->location = value;
	else if (!strcmp(key, "offset"))
		ret->off = value;
	else if (!strcmp(key, "length"))
		ret->len = value;
	return r;
}

static void payload(struct found *f, const struct stage_onnx_field *from,
	bool together)
{
	struct stage_onnx_tensor *t = f->t;

	f->payloads++;
	t->place = together ? STAGE_ONNX_HERE : STAGE_ONNX_SPREAD;
	t->off = from->body.at;
	t->len = from->value;
}

static int read_field(struct stage_onnx_reader *x, struct stage_arena *a,
	const struct stage_onnx_field *f, struct found *ret)
{
	bool bytes = f->wire == STAGE_WIRE_BYTES;

	switch (f->number) {
	case ONNX_TENSOR_DIMS:
		return read_dims(x, f, ret);
	case ONNX_TENSOR_TYPE:
		ret->t->dtype = (uint32_t)f->value;
		return 0;
	case ONNX_TENSOR_NAME:
		return stage_onnx_string(x, a, f, &ret->t->name);
	case ONNX_TENSOR_RAW:
		if (!bytes)
			return stage_onnx_bad(x, "raw data that is no bytes");
		payload(ret, f, true);
		return 0;
	case ONNX_TENSOR_FLOATS:
	case ONNX_TENSOR_DOUBLES:
		payload(ret, f, bytes);
		return 0;
	case 5: case 6: case 7: case 11:	/* varints and strings */
		payload(ret, f, false);
		return 0;
	case ONNX_TENSOR_EXTERNAL:
		return bytes ? read_external(x, a, f->body, ret) :
			stage_onnx_bad(x, "external data that is no message");
	case ONNX_TENSOR_LOCATION:
		ret->outside = f->value == LOCATION_EXTERNAL;
		return 0;
	default:
		return 0;
	}
}

/* Digits alone, as the format has them. */
static bool number(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (!text || !*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || size_mul(v, 10, &v) ||
		    size_add(v, (uint64_t)(*text - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

static int place_outside(struct stage_onnx_reader *x, struct found *f,
	uint64_t want)
{
	struct stage_onnx_tensor *t = f->t;

	t->place = STAGE_ONNX_OUTSIDE;
	t->off = 0;
	t->len = want;
	if (!t->location || !*t->location)
		return stage_onnx_bad(x, "external data without a location");
	if ((f->off && !number(f->off, &t->off)) ||
	    (f->len && !number(f->len, &t->len)))
		return stage_onnx_bad(x, "external data whose range is no "
			"number");
	return 0;
}

int stage_onnx_tensor(struct stage_onnx_reader *x, struct stage_arena *a,
	struct stage_onnx_msg m, struct stage_onnx_tensor *t)
{
	struct found found = { .t = t, .n = 1 };
	struct stage_onnx_field f;
	uint64_t want = 0;
	unsigned size;
	int r;

	while ((r = stage_onnx_next(x, &m, &f)) > 0) {
		r = read_field(x, a, &f, &found);
		if (r)
			return r;
	}
	if (r)
		return r;
	size = stage_dtype_size((enum stage_dtype)t->dtype);
	if (size && size_mul(found.n, size, &want))
		return stage_onnx_bad(x, "the shape of a tensor overflows");
	if (found.outside) {
		r = place_outside(x, &found, want);
		if (r)
			return r;
	}
	/* Packed floats that are the bytes of another type are no tensor. */
	t->plain = size && !found.deep && t->place != STAGE_ONNX_SPREAD &&
		(found.outside || found.payloads == 1) && t->len == want &&
		want;
	t->spread = !t->plain && found.n;
	t->n = t->plain ? found.n : 0;
	if (t->place == STAGE_ONNX_HERE && !t->plain && found.payloads == 1 &&
	    size && t->len != want)
		return error_set(x->why, -EBADMSG, "onnx: %s has not the bytes "
			"its shape needs", t->name ? t->name : "a constant");
	return 0;
}
