/*
 * A frozen GraphDef, read without its weights: the wire reader of ONNX files
 * serves any protobuf that is larger than memory wants to hold.
 *
 * Fields: tensorflow/core/framework/{graph,node_def,attr_value,tensor,
 * tensor_shape,types}.proto.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stage/look.h"
#include "stage/onnx-wire.h"

enum {
	GRAPH_NODE = 1, NODE_NAME = 1, NODE_OP = 2, NODE_ATTR = 5,
	ATTR_KEY = 1, ATTR_VALUE = 2, VALUE_TYPE = 6, VALUE_SHAPE = 7,
	VALUE_TENSOR = 8, TENSOR_TYPE = 1, TENSOR_SHAPE = 2, SHAPE_DIM = 2,
	DIM_SIZE = 1,
};

struct looking {
	struct stage_onnx_reader r;
	json_t *out;
	uint64_t nodes, parameters;
};

struct node {
	char *name, *op;
	uint64_t type;		/* of the attribute dtype */
	json_t *shape;		/* of the attribute shape, or NULL */
	uint64_t elements;	/* of the attribute value */
};

const char *stage_look_tf_type(unsigned type)
{
	static const char *const names[] = { "undefined", "float32",
		"float64", "int32", "uint8", "int16", "int8", "string",
		"complex64", "int64", "bool", "qint8", "quint8", "qint32",
		"bfloat16", "qint16", "quint16", "uint16", "complex128",
		"float16", "resource", "variant", "uint32", "uint64" };

	return type < sizeof(names) / sizeof(names[0]) ? names[type] :
		"unknown";
}

static int text_of(struct looking *x, const struct stage_onnx_field *f,
	char **ret)
{
	const uint8_t *p;
	int r = stage_onnx_bytes(&x->r, f, &p);

	if (r)
		return r;
	free(*ret);
	*ret = memchr(p, 0, (size_t)f->value) ? NULL :
		strndup((const char *)p, (size_t)f->value);
	return *ret ? 0 : stage_onnx_bad(&x->r, "a name with a NUL in it");
}

/* TensorShapeProto into a list, or a product, or both. */
static int read_shape(struct looking *x, struct stage_onnx_msg m,
	json_t *list, uint64_t *ret_n)
{
	struct stage_onnx_field f, d;
	int r;

	*ret_n = 1;
	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		uint64_t size = 0;

		if (f.number != SHAPE_DIM || f.wire != STAGE_WIRE_BYTES)
			continue;
		while ((r = stage_onnx_next(&x->r, &f.body, &d)) > 0)
			if (d.number == DIM_SIZE)
				size = d.value;
		if (r)
			return r;
		if (size_mul(*ret_n, size, ret_n) && !list)
			return stage_onnx_bad(&x->r, "a shape overflows");
		if (list && json_array_size(list) < STAGE_LOOK_MAX)
			json_array_append_new(list, size > INT64_MAX ?
				json_null() : json_integer((json_int_t)size));
	}
	return r;
}

/* TensorProto */
static int read_tensor(struct looking *x, struct stage_onnx_msg m,
	struct node *n)
{
	struct stage_onnx_field f;
	int r;

	n->elements = 1;
	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number != TENSOR_SHAPE || f.wire != STAGE_WIRE_BYTES)
			continue;
		r = read_shape(x, f.body, NULL, &n->elements);
		if (r)
			break;
	}
	return r;
}

/* AttrValue */
static int read_value(struct looking *x, struct stage_onnx_msg m,
	const char *key, struct node *n)
{
	struct stage_onnx_field f;
	uint64_t product;
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number == VALUE_TYPE && !strcmp(key, "dtype"))
			n->type = f.value;
		if (f.wire != STAGE_WIRE_BYTES)
			continue;
		if (f.number == VALUE_TENSOR && !strcmp(key, "value"))
			r = read_tensor(x, f.body, n);
		else if (f.number == VALUE_SHAPE && !strcmp(key, "shape") &&
			 !n->shape)
			r = read_shape(x, f.body, n->shape = json_array(),
				&product);
		else
			continue;
		if (r)
			break;
	}
	return r;
}

/* An entry of NodeDef.attr; its key comes first. */
static int read_attr(struct looking *x, struct stage_onnx_msg m,
	struct node *n)
{
	cleanup_free char *key = NULL;
	struct stage_onnx_field f;
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number == ATTR_KEY)
			r = text_of(x, &f, &key);
		else if (f.number == ATTR_VALUE && key &&
			 f.wire == STAGE_WIRE_BYTES)
			r = read_value(x, f.body, key, n);
		else
			continue;
		if (r)
			break;
	}
	return r;
}

static int note_node(struct looking *x, const struct node *n)
{
	json_t *inputs = json_object_get(x->out, "inputs");

	if (!n->op || !n->name)
		return stage_onnx_bad(&x->r, "this is no GraphDef");
	x->nodes++;
	if (!strcmp(n->op, "Const") && size_add(x->parameters, n->elements,
	    &x->parameters))
		return stage_onnx_bad(&x->r, "the parameters overflow");
	if (!strcmp(n->op, "Placeholder") &&
	    json_array_size(inputs) < STAGE_LOOK_MAX)
		json_array_append_new(inputs, json_pack("{s:s, s:s, s:O*}",
			"name", n->name, "type",
			stage_look_tf_type((unsigned)n->type), "shape",
			n->shape));
	return stage_look_count(json_object_get(x->out, "operators"), n->op,
		1);
}

static int read_node(struct looking *x, struct stage_onnx_msg m)
{
	struct stage_onnx_field f;
	struct node n = { 0 };
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number == NODE_NAME)
			r = text_of(x, &f, &n.name);
		else if (f.number == NODE_OP)
			r = text_of(x, &f, &n.op);
		else if (f.number == NODE_ATTR && f.wire == STAGE_WIRE_BYTES)
			r = read_attr(x, f.body, &n);
		else
			continue;
		if (r)
			break;
	}
	if (!r)
		r = note_node(x, &n);
	free(n.name);
	free(n.op);
	json_decref(n.shape);
	return r;
}

static int read_graph(struct looking *x)
{
	struct stage_onnx_msg m = { 0, x->r.w.src->size };
	struct stage_onnx_field f;
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number != GRAPH_NODE)
			continue;
		r = f.wire == STAGE_WIRE_BYTES ? read_node(x, f.body) :
			stage_onnx_bad(&x->r, "this is no GraphDef");
		if (r)
			return r;
	}
	return r || x->nodes ? r : stage_onnx_bad(&x->r,
		"this is no GraphDef");
}

int stage_look_graphdef(struct src *s, char **ret, struct error *why)
{
	cleanup_json json_t *out = json_pack("{s:s, s:[], s:{}}", "format",
		"GraphDef", "inputs", "operators");
	struct looking x = { .r = { .why = why }, .out = out };
	int r = out ? stage_window_init(&x.r.w, s, 2 * STAGE_ONNX_TEXT_MAX) :
		-ENOMEM;

	x.r.w.ahead = STAGE_WINDOW_JUMP;
	if (!r)
		r = read_graph(&x);
	stage_window_done(&x.r.w);
	if (!r && json_object_update_new(out, json_pack("{s:I, s:I}", "nodes",
		    (json_int_t)x.nodes, "parameters",
		    (json_int_t)x.parameters)))
		r = -ENOMEM;
	if (r)
		return r;
	*ret = json_dumps(out, JSON_COMPACT);
	return *ret ? 0 : -ENOMEM;
}
