/* Fields of a protobuf file that is larger than memory wants to hold. */
#include "config.h"

#include "stage/onnx-wire.h"

#define FIELDS_MAX 20000000	/* fields visited */
#define KEY_LEN 20		/* bytes of the longest tag and length */

int stage_onnx_bad(struct stage_onnx_reader *x, const char *what)
{
	return error_set(x->why, -EBADMSG, "onnx: %s", what);
}

/* The value behind the tag. */
static bool value(struct bytes *b, struct stage_onnx_field *f)
{
	switch ((enum stage_wire_type)f->wire) {
	case STAGE_WIRE_VARINT:
	case STAGE_WIRE_BYTES:
		f->value = bytes_varint(b);
		break;
	case STAGE_WIRE_FIXED64:
		f->value = bytes_le64(b);
		break;
	case STAGE_WIRE_FIXED32:
		f->value = bytes_le32(b);
		break;
	default:
		return false;
	}
	return true;
}

int stage_onnx_next(struct stage_onnx_reader *x, struct stage_onnx_msg *m,
	struct stage_onnx_field *f)
{
	uint64_t left = m->end - m->at, tag;
	size_t len = left < KEY_LEN ? (size_t)left : KEY_LEN;
	const uint8_t *p;
	struct bytes b;
	int err;

	if (!left)
		return 0;
	if (++x->fields > FIELDS_MAX)
		return error_set(x->why, -EFBIG, "onnx: too many fields");
	err = stage_window_get(&x->w, m->at, len, &p);
	if (err)
		return stage_read_error(x->w.src, err, "onnx", x->why);
	b = bytes_of(p, len);
	tag = bytes_varint(&b);
	*f = (struct stage_onnx_field){ .number = (uint32_t)(tag >> 3),
		.wire = (uint8_t)(tag & 7), .start = m->at };
	if (!value(&b, f))
		return stage_onnx_bad(x, "this is no protobuf");
	if (b.bad || !f->number || tag >> 3 > UINT32_MAX)
		return stage_onnx_bad(x, "this is no protobuf, or cut short");
	m->at += len - bytes_left(&b);
	if (f->wire != STAGE_WIRE_BYTES)
		return 1;
	if (!size_inside(m->at, f->value, m->end))
		return stage_onnx_bad(x, "a field is longer than what it is "
			"part of");
	f->body = (struct stage_onnx_msg){ m->at, m->at + f->value };
	m->at += f->value;
	return 1;
}

int stage_onnx_bytes(struct stage_onnx_reader *x,
	const struct stage_onnx_field *f, const uint8_t **ret)
{
	int err;

	if (f->wire != STAGE_WIRE_BYTES || f->value > STAGE_ONNX_TEXT_MAX)
		return stage_onnx_bad(x, "a name that is no text, or too long");
	err = stage_window_get(&x->w, f->body.at, (size_t)f->value, ret);
	return err ? stage_read_error(x->w.src, err, "onnx", x->why) : 0;
}
