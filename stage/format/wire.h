/*
 * Protobuf's wire format over bytes in memory: field by field, each length
 * checked against the message it is part of. Nothing here recurses; how deep
 * a reader goes is the reader's own doing.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
#ifndef STAGE_FORMAT_WIRE_H
#define STAGE_FORMAT_WIRE_H

#include <errno.h>

#include "base/bytes.h"

enum stage_wire_type {
	STAGE_WIRE_VARINT = 0, STAGE_WIRE_FIXED64 = 1, STAGE_WIRE_BYTES = 2,
	STAGE_WIRE_FIXED32 = 5,
};

struct stage_wire {
	uint32_t number;
	uint8_t type;		/* enum stage_wire_type */
	uint64_t value;		/* VARINT, FIXED; BYTES: the length */
	struct bytes body;	/* BYTES; else empty */
};

/* 1 and the next field; 0: the message ends here; -EBADMSG: this is no
 * message (or a group, which no format we read has). */
static inline int stage_wire_next(struct bytes *m, struct stage_wire *f)
{
	const uint8_t *body;
	uint64_t tag;

	if (m->bad)
		return -EBADMSG;
	if (m->p == m->end)
		return 0;
	tag = bytes_varint(m);
	f->number = (uint32_t)(tag >> 3);
	f->type = (uint8_t)(tag & 7);
	f->body = bytes_of(NULL, 0);
	f->value = 0;
	switch (f->type) {
	case STAGE_WIRE_VARINT:
		f->value = bytes_varint(m);
		break;
	case STAGE_WIRE_FIXED64:
		f->value = bytes_le64(m);
		break;
	case STAGE_WIRE_FIXED32:
		f->value = bytes_le32(m);
		break;
	case STAGE_WIRE_BYTES:
		f->value = bytes_varint(m);
		body = bytes_take(m, f->value);
		if (body)
			f->body = bytes_of(body, (size_t)f->value);
		break;
	default:
		m->bad = true;
	}
	if (!f->number || tag >> 3 > UINT32_MAX)
		m->bad = true;
	return m->bad ? -EBADMSG : 1;
}

/* Is f the field `number`, and of this type? */
static inline bool stage_wire_is(const struct stage_wire *f, uint32_t number,
	enum stage_wire_type type)
{
	return f->number == number && f->type == type;
}

#endif
