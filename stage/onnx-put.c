/* Pieces of ModelProto, packed by protobuf-c. */
#include "config.h"

#include "stage/onnx-put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "stage/onnx-model.h"

#define LOCATION_EXTERNAL 1	/* TensorProto.DataLocation */

/* ---- packing --------------------------------------------------------------- */

struct sink {
	ProtobufCBuffer base;	/* must be first */
	struct buf *to;
	int err;
};

static void sink_append(ProtobufCBuffer *base, size_t len,
	const uint8_t *data)
{
	struct sink *s = (struct sink *)base;

	if (!s->err)
		s->err = buf_append(s->to, data, len);
}

int stage_onnx_put_fields(struct buf *b, const ProtobufCMessage *m)
{
	struct sink s = { { sink_append }, b, 0 };

	(void) protobuf_c_message_pack_to_buffer(m, &s.base);
	return s.err;
}

/* Tag and length of a length-delimited field; `len` bytes have to follow. */
int stage_onnx_put_head(struct buf *b, unsigned field, uint64_t len)
{
	int err = buf_append_varint(b, (uint64_t)field << 3 | 2);

	return err ? err : buf_append_varint(b, len);
}

int stage_onnx_put_message(struct buf *b, unsigned field,
	const ProtobufCMessage *m)
{
	int err = stage_onnx_put_head(b, field,
		protobuf_c_message_get_packed_size(m));

	return err ? err : stage_onnx_put_fields(b, m);
}

static void set_attr(const struct stage_attr *a, Stage__Onnx__Attribute *ret)
{
	stage__onnx__attribute__init(ret);
	ret->name = pb_str(a->name);
	ret->has_type = 1;
	ret->type = (int)a->kind;
	switch (a->kind) {
	case STAGE_ATTR_FLOAT:
		ret->has_f = 1;
		ret->f = a->f;
		break;
	case STAGE_ATTR_INT:
		ret->has_i = 1;
		ret->i = a->i;
		break;
	case STAGE_ATTR_STRING:
		ret->has_s = 1;
		ret->s.data = (uint8_t *)pb_str(a->s);
		ret->s.len = strlen(a->s);
		break;
	case STAGE_ATTR_FLOATS:
		ret->floats = (float *)(uintptr_t)a->floats;
		ret->n_floats = a->n;
		break;
	case STAGE_ATTR_INTS:
		ret->ints = (int64_t *)(uintptr_t)a->ints;
		ret->n_ints = a->n;
		break;
	}
}

/* A node is called like its first output, which viewers and importers show. */
int stage_onnx_put_node(struct buf *b, const struct stage_graph_node *n)
{
	cleanup_free Stage__Onnx__Attribute *v = NULL;
	cleanup_free Stage__Onnx__Attribute **at = NULL;
	Stage__Onnx__Node m = STAGE__ONNX__NODE__INIT;

	v = calloc(n->n_attrs + 1, sizeof(*v));
	at = calloc(n->n_attrs + 1, sizeof(*at));
	if (!v || !at)
		return -ENOMEM;
	for (size_t i = 0; i < n->n_attrs; i++) {
		set_attr(&n->attrs[i], &v[i]);
		at[i] = &v[i];
	}
	m.name = n->n_outputs ? pb_str(n->outputs[0]) : pb_str("");
	m.op_type = pb_str(n->op);
	m.input = (char **)(uintptr_t)n->inputs;
	m.n_input = n->n_inputs;
	m.output = (char **)(uintptr_t)n->outputs;
	m.n_output = n->n_outputs;
	m.attribute = at;
	m.n_attribute = n->n_attrs;
	return stage_onnx_put_message(b, ONNX_GRAPH_NODE, &m.base);
}

int stage_onnx_put_port(struct buf *b, unsigned field,
	const struct stage_graph_port *p)
{
	Stage__Onnx__Dimension dim[STAGE_RANK_MAX], *at[STAGE_RANK_MAX];
	Stage__Onnx__Shape shape = STAGE__ONNX__SHAPE__INIT;
	Stage__Onnx__TensorType tensor = STAGE__ONNX__TENSOR_TYPE__INIT;
	Stage__Onnx__Type type = STAGE__ONNX__TYPE__INIT;
	Stage__Onnx__ValueInfo info = STAGE__ONNX__VALUE_INFO__INIT;

	for (unsigned i = 0; i < p->rank; i++) {
		stage__onnx__dimension__init(&dim[i]);
		at[i] = &dim[i];
		if (p->dims[i].symbol) {
			dim[i].dim_param = pb_str(p->dims[i].symbol);
		} else if (p->dims[i].size >= 0) {
			dim[i].has_dim_value = 1;
			dim[i].dim_value = p->dims[i].size;
		}
	}
	shape.dim = at;
	shape.n_dim = p->rank;
	tensor.has_elem_type = 1;
	tensor.elem_type = (int)p->dtype;
	tensor.shape = &shape;
	type.tensor_type = &tensor;
	info.name = pb_str(p->name);
	info.type = &type;
	return stage_onnx_put_message(b, field, &info.base);
}

/* ---- initializers ---------------------------------------------------------- */

static int put_external(struct buf *b, Stage__Onnx__Tensor *t,
	const struct stage_onnx_outside *where)
{
	Stage__Onnx__StringStringEntry e[3], *at[3];
	char off[24], len[24];
	const struct {
		const char *key, *value;
	} pairs[3] = {
		{ "location", where->location },
		{ "offset", off }, { "length", len },
	};

	snprintf(off, sizeof(off), "%llu", (unsigned long long)where->off);
	snprintf(len, sizeof(len), "%llu", (unsigned long long)where->len);
	for (int i = 0; i < 3; i++) {
		stage__onnx__string_string_entry__init(&e[i]);
		e[i].key = pb_str(pairs[i].key);
		e[i].value = pb_str(pairs[i].value);
		at[i] = &e[i];
	}
	t->external_data = at;
	t->n_external_data = 3;
	t->has_data_location = 1;
	t->data_location = LOCATION_EXTERNAL;
	return stage_onnx_put_message(b, ONNX_GRAPH_INIT, &t->base);
}

int stage_onnx_put_init(struct buf *b, const struct stage_graph_init *init,
	const struct stage_onnx_outside *where, uint64_t *ret_payload)
{
	struct buf raw_buf = BUF_INIT(32), *raw = &raw_buf;
	Stage__Onnx__Tensor t = STAGE__ONNX__TENSOR__INIT;
	int64_t dims[STAGE_RANK_MAX];
	int err;

	for (unsigned i = 0; i < init->rank; i++)
		dims[i] = (int64_t)init->dim[i];
	t.dims = dims;
	t.n_dims = init->rank;
	t.has_data_type = 1;
	t.data_type = (int)init->dtype;
	t.name = pb_str(init->value);
	*ret_payload = 0;
	if (where)
		return put_external(b, &t, where);
	*ret_payload = init->len;
	err = stage_onnx_put_head(raw, ONNX_TENSOR_RAW, init->len);
	if (!err)
		err = stage_onnx_put_head(b, ONNX_GRAPH_INIT,
			protobuf_c_message_get_packed_size(&t.base) +
			raw->len + init->len);
	if (!err)
		err = stage_onnx_put_fields(b, &t.base);
	if (!err)
		err = buf_append(b, raw->data, raw->len);
	buf_done(raw);
	return err;
}
