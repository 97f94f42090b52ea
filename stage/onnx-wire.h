/*
 * ONNX files field by field, through a window: a payload is its length, which
 * is skipped, so that a file of 2 GiB costs what its structure does. Every
 * message ends where its parent says; how many fields are visited is bounded.
 */
#ifndef STAGE_ONNX_WIRE_H
#define STAGE_ONNX_WIRE_H

#include "stage/format/wire.h"
#include "stage/window.h"

#define STAGE_ONNX_TEXT_MAX 16384	/* bytes of a name */
#define STAGE_ONNX_NESTING_MAX 8	/* graphs in attributes of nodes */

struct stage_onnx_reader {
	struct stage_window w;
	struct error *why;
	uint64_t fields;	/* visited so far */
};

struct stage_onnx_msg {
	uint64_t at, end;	/* bytes in the file */
};

struct stage_onnx_field {
	uint32_t number;
	uint8_t wire;			/* enum stage_wire_type */
	uint64_t value;			/* VARINT, FIXED; BYTES: the length */
	uint64_t start;			/* of the tag */
	struct stage_onnx_msg body;	/* BYTES */
};

/* "onnx: WHAT" as -EBADMSG. */
int stage_onnx_bad(struct stage_onnx_reader *x, const char *what);
/* 1 and the next field; 0: the message ends here; negative errno. */
int stage_onnx_next(struct stage_onnx_reader *x, struct stage_onnx_msg *m,
	struct stage_onnx_field *f);
/* The bytes of a field of at most STAGE_ONNX_TEXT_MAX, until the next call. */
int stage_onnx_bytes(struct stage_onnx_reader *x,
	const struct stage_onnx_field *f, const uint8_t **ret);

#endif
