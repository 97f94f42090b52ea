/*
 * Pieces of an ONNX file, appended to a buffer: for who writes one, and for
 * who changes one. A payload is never here: put_init() says how many bytes of
 * it have to follow.
 */
#ifndef STAGE_ONNX_PUT_H
#define STAGE_ONNX_PUT_H

#include "base/buf.h"
#include "stage/graph-data.h"
#include "stage/proto/onnx.pb-c.h"

/* protobuf-c's names want char * where it only reads. */
#define pb_str(s) ((char *)(uintptr_t)(s))

/* The fields of a message, without its length. */
int stage_onnx_put_fields(struct buf *b, const ProtobufCMessage *m);
/* Tag and length of a length-delimited field; `len` bytes have to follow. */
int stage_onnx_put_head(struct buf *b, unsigned field, uint64_t len);
int stage_onnx_put_message(struct buf *b, unsigned field,
	const ProtobufCMessage *m);
/* As GraphProto.node. It is called like its first output. */
int stage_onnx_put_node(struct buf *b, const struct stage_graph_node *n);
/* An input or output of GraphProto. */
int stage_onnx_put_port(struct buf *b, unsigned field,
	const struct stage_graph_port *p);

/* External data. */
struct stage_onnx_outside {
	const char *location;
	uint64_t off, len;	/* bytes of that file */
};

/* Everything of GraphProto.initializer that stands before its payload, and how
 * many bytes of payload follow: none when they are outside. Of init, value,
 * dtype, rank, dim and len count. */
int stage_onnx_put_init(struct buf *b, const struct stage_graph_init *init,
	const struct stage_onnx_outside *where, uint64_t *ret_payload);

#endif
