/*
 * What an ONNX file says of itself, read without its weights: the protobuf is
 * walked field by field through a window, and a payload is its length, which
 * is skipped. So a file of 2 GiB costs what its structure does.
 *
 * Field numbers: onnx/onnx.proto. The file is untrusted: every message ends
 * where its parent says, nesting, names and the number of fields are bounded.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/map.h"
#include "stage/stage.h"
#include "stage/tensor.h"
#include "stage/onnx-wire.h"

#define LIST_MAX 20000		/* inputs, outputs, operators, metadata */
#define INITS_MAX 1000000

struct info {
	struct stage_onnx_reader r;
	struct error *why;
	unsigned depth;		/* of graphs */
	bool has_graph;
	json_t *out, *operators, *external;
	struct map inits;	/* names of the main graph's; value: itself */
	uint64_t n_nodes, n_inits, parameters;
};

static int bad(struct info *x, const char *what)
{
	return stage_onnx_bad(&x->r, what);
}

static int next(struct info *x, struct stage_onnx_msg *m,
	struct stage_onnx_field *f)
{
	return stage_onnx_next(&x->r, m, f);
}

/* The text of a field; what is too long to show is named by its length. */
static int text(struct info *x, const struct stage_onnx_field *f, json_t **ret)
{
	size_t len = (size_t)f->value;
	const uint8_t *p;
	json_t *v;
	int err;

	if (f->wire != STAGE_WIRE_BYTES)
		return bad(x, "a name that is no text");
	if (f->value > STAGE_ONNX_TEXT_MAX) {
		v = json_sprintf("(%llu bytes)", (unsigned long long)f->value);
	} else {
		err = stage_onnx_bytes(&x->r, f, &p);
		if (err)
			return err;
		v = memchr(p, 0, len) ? NULL :
			json_stringn((const char *)p, len);
		if (!v)
			return bad(x, "a name that is not in UTF-8");
	}
	if (!v)
		return -ENOMEM;
	json_decref(*ret);
	*ret = v;
	return 0;
}

static int set(json_t *object, const char *key, json_t *value)
{
	if (json_is_object(object) && json_object_size(object) >= LIST_MAX) {
		json_decref(value);
		return -EFBIG;
	}
	return json_object_set_new(object, key, value) ? -ENOMEM : 0;
}

/* ---- values ---------------------------------------------------------------- */

static const char *const dtype_names[] = { "undefined", "float32", "uint8",
	"int8", "uint16", "int16", "int32", "int64", "string", "bool",
	"float16", "float64", "uint32", "uint64", "complex64", "complex128",
	"bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
	"float8e5m2fnuz", "uint4", "int4", "float4e2m1" };

static const char *dtype_name(uint64_t t)
{
	return t < sizeof(dtype_names) / sizeof(dtype_names[0]) ?
		dtype_names[t] : "unknown";
}

/* TensorShapeProto.Dimension: dim_value 1, dim_param 2; else unknown. */
static int read_dim(struct info *x, struct stage_onnx_msg m, json_t **ret)
{
	struct stage_onnx_field f;
	int r;

	*ret = json_null();
	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 1 && f.wire == STAGE_WIRE_VARINT) {
			json_decref(*ret);
			*ret = json_integer((json_int_t)f.value);
		} else if (f.number == 2) {
			r = text(x, &f, ret);
			if (r)
				break;
		}
	}
	return r;
}

/* TensorShapeProto: dim 1 */
static int read_shape(struct info *x, struct stage_onnx_msg m, json_t *info)
{
	json_t *shape = json_array(), *dim;
	struct stage_onnx_field f;
	int r = set(info, "shape", shape);

	if (r)
		return r;
	while ((r = next(x, &m, &f)) > 0) {
		if (f.number != 1 || f.wire != STAGE_WIRE_BYTES)
			continue;
		r = read_dim(x, f.body, &dim);
		if (json_array_append_new(shape, dim) && !r)
			r = -ENOMEM;
		if (!r && json_array_size(shape) > LIST_MAX)
			r = bad(x, "a shape of too many dimensions");
		if (r)
			break;
	}
	return r;
}

/* TypeProto.Tensor: elem_type 1, shape 2 */
static int read_tensor_type(struct info *x, struct stage_onnx_msg m, json_t *info)
{
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 1)
			r = set(info, "type",
				json_string(dtype_name(f.value)));
		else if (f.number == 2 && f.wire == STAGE_WIRE_BYTES)
			r = read_shape(x, f.body, info);
		else
			continue;
		if (r)
			break;
	}
	return r;
}

/* TypeProto: tensor_type 1, sequence_type 4, map_type 5, optional_type 9 */
static int read_type(struct info *x, struct stage_onnx_msg m, json_t *info)
{
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		if (f.wire != STAGE_WIRE_BYTES)
			continue;
		if (f.number == 1)
			r = read_tensor_type(x, f.body, info);
		else if (f.number == 4 || f.number == 5 || f.number == 9)
			r = set(info, "type", json_string(f.number == 4 ?
				"sequence" : f.number == 5 ? "map" :
				"optional"));
		else
			continue;
		if (r)
			break;
	}
	return r;
}

/* ValueInfoProto: name 1, type 2 */
static int read_value(struct info *x, struct stage_onnx_msg m, json_t *list)
{
	json_t *info = json_object(), *name = NULL;
	struct stage_onnx_field f;
	int r;

	if (json_array_size(list) >= LIST_MAX) {
		json_decref(info);
		return error_set(x->why, -EFBIG, "onnx: too many values");
	}
	if (json_array_append_new(list, info))
		return -ENOMEM;
	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 1) {
			name = NULL;
			r = text(x, &f, &name);
			if (!r)
				r = set(info, "name", name);
		} else if (f.number == 2 && f.wire == STAGE_WIRE_BYTES) {
			r = read_type(x, f.body, info);
		} else {
			continue;
		}
		if (r)
			break;
	}
	return r;
}

/* ---- weights --------------------------------------------------------------- */

/* StringStringEntryProto: key 1, value 2 */
static int read_pair(struct info *x, struct stage_onnx_msg m, json_t **key,
	json_t **value)
{
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 1 || f.number == 2)
			r = text(x, &f, f.number == 1 ? key : value);
		else
			continue;
		if (r)
			break;
	}
	return r;
}

/* external_data: the location is noted, with how many tensors lie there. */
static int read_external(struct info *x, struct stage_onnx_msg m)
{
	json_t *key = NULL, *value = NULL, *count;
	int r = read_pair(x, m, &key, &value);

	if (!r && key && value && !strcmp(json_string_value(key), "location")) {
		const char *where = json_string_value(value);

		count = json_object_get(x->external, where);
		if (count)
			(void) json_integer_set(count,
				json_integer_value(count) + 1);
		else
			r = set(x->external, where, json_integer(1));
	}
	json_decref(key);
	json_decref(value);
	return r;
}

static int times(struct info *x, uint64_t *n, uint64_t dim)
{
	return dim > INT64_MAX || size_mul(*n, dim, n) ?
		bad(x, "the shape of a tensor overflows") : 0;
}

/* dims, one by one or packed */
static int read_dims(struct info *x, const struct stage_onnx_field *f, uint64_t *n)
{
	size_t len = (size_t)f->value;
	const uint8_t *p;
	struct bytes b;
	int err = 0;

	if (f->wire != STAGE_WIRE_BYTES)
		return times(x, n, f->value);
	if (f->value > STAGE_ONNX_TEXT_MAX)
		return bad(x, "a tensor of too many dimensions");
	err = stage_onnx_bytes(&x->r, f, &p);
	if (err)
		return err;
	for (b = bytes_of(p, len); !err && bytes_left(&b);)
		err = times(x, n, bytes_varint(&b));
	return b.bad ? bad(x, "the dims of a tensor break off") : err;
}

static int note_init(struct info *x, const json_t *name)
{
	const char *s = json_string_value(name);

	if (x->depth > 1 || !s)
		return 0;
	/* The value only has to be something. */
	return map_put(&x->inits, s, x, NULL);
}

/* TensorProto: dims 1, name 8, external_data 13 */
static int read_init(struct info *x, struct stage_onnx_msg m)
{
	json_t *name = NULL;
	uint64_t n = 1;
	struct stage_onnx_field f;
	int r;

	if (++x->n_inits > INITS_MAX)
		return error_set(x->why, -EFBIG, "onnx: too many tensors");
	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 1)
			r = read_dims(x, &f, &n);
		else if (f.number == 8)
			r = text(x, &f, &name);
		else if (f.number == 13 && f.wire == STAGE_WIRE_BYTES)
			r = read_external(x, f.body);
		else
			continue;
		if (r)
			break;
	}
	if (!r && size_add(x->parameters, n, &x->parameters))
		r = bad(x, "the number of parameters overflows");
	if (!r)
		r = note_init(x, name);
	json_decref(name);
	return r;
}

/* ---- graphs ---------------------------------------------------------------- */

static int read_graph(struct info *x, struct stage_onnx_msg m);

/* AttributeProto: g 6, graphs 11 */
static int read_attr(struct info *x, struct stage_onnx_msg m)
{
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		if ((f.number != 6 && f.number != 11) || f.wire != STAGE_WIRE_BYTES)
			continue;
		r = read_graph(x, f.body);
		if (r)
			break;
	}
	return r;
}

static int count_operator(struct info *x, const json_t *domain,
	const json_t *op)
{
	const char *d = domain ? json_string_value(domain) : "";
	json_t *key, *n;
	int err = 0;

	if (!op)
		return bad(x, "a node without operator");
	key = !*d || !strcmp(d, "ai.onnx") ? json_copy((json_t *)(uintptr_t)op)
		: json_sprintf("%s.%s", d, json_string_value(op));
	if (!key)
		return -ENOMEM;
	n = json_object_get(x->operators, json_string_value(key));
	if (n)
		(void) json_integer_set(n, json_integer_value(n) + 1);
	else
		err = set(x->operators, json_string_value(key),
			json_integer(1));
	json_decref(key);
	x->n_nodes++;
	return err;
}

/* NodeProto: op_type 4, attribute 5, domain 7 */
static int read_node(struct info *x, struct stage_onnx_msg m)
{
	json_t *op = NULL, *domain = NULL;
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 4)
			r = text(x, &f, &op);
		else if (f.number == 7)
			r = text(x, &f, &domain);
		else if (f.number == 5 && f.wire == STAGE_WIRE_BYTES)
			r = read_attr(x, f.body);
		else
			continue;
		if (r)
			break;
	}
	if (!r)
		r = count_operator(x, domain, op);
	json_decref(op);
	json_decref(domain);
	return r;
}

/* GraphProto: node 1, name 2, initializer 5, input 11, output 12 */
static int read_graph_field(struct info *x, const struct stage_onnx_field *f)
{
	json_t *name = NULL;
	int r;

	if (f->wire != STAGE_WIRE_BYTES)
		return 0;
	switch (f->number) {
	case 1:
		return read_node(x, f->body);
	case 5:
		return read_init(x, f->body);
	case 2:
		if (x->depth > 1)
			return 0;
		r = text(x, f, &name);
		return r ? r : set(x->out, "graph", name);
	case 11:
		return x->depth > 1 ? 0 : read_value(x, f->body,
			json_object_get(x->out, "inputs"));
	case 12:
		return x->depth > 1 ? 0 : read_value(x, f->body,
			json_object_get(x->out, "outputs"));
	default:
		return 0;
	}
}

static int read_graph(struct info *x, struct stage_onnx_msg m)
{
	struct stage_onnx_field f;
	int r;

	if (x->depth >= STAGE_ONNX_NESTING_MAX)
		return error_set(x->why, -EFBIG, "onnx: nested too deep");
	x->depth++;
	while ((r = next(x, &m, &f)) > 0) {
		r = read_graph_field(x, &f);
		if (r)
			break;
	}
	x->depth--;
	return r;
}

/* ---- the model ------------------------------------------------------------- */

/* OperatorSetIdProto: domain 1, version 2 */
static int read_opset(struct info *x, struct stage_onnx_msg m)
{
	json_t *domain = NULL;
	uint64_t version = 0;
	const char *d;
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		if (f.number == 2)
			version = f.value;
		if (f.number != 1)
			continue;
		r = text(x, &f, &domain);
		if (r)
			break;
	}
	d = domain ? json_string_value(domain) : "";
	if (!r && (!*d || !strcmp(d, "ai.onnx")))
		r = set(x->out, "opset", json_integer((json_int_t)version));
	else if (!r)
		r = set(json_object_get(x->out, "opsets"), d,
			json_integer((json_int_t)version));
	json_decref(domain);
	return r;
}

static int read_metadata(struct info *x, struct stage_onnx_msg m)
{
	json_t *key = NULL, *value = NULL;
	int r = read_pair(x, m, &key, &value);

	if (!r && key && value) {
		r = set(json_object_get(x->out, "metadata"),
			json_string_value(key), value);
		value = NULL;
	}
	json_decref(key);
	json_decref(value);
	return r;
}

/* ModelProto: ir_version 1, producer_name 2, producer_version 3, graph 7,
 * opset_import 8, metadata_props 14 */
static int read_model_field(struct info *x, const struct stage_onnx_field *f)
{
	json_t *s = NULL;
	int r;

	switch (f->number) {
	case 1:
		return set(x->out, "ir_version",
			json_integer((json_int_t)f->value));
	case 2:
	case 3:
		r = text(x, f, &s);
		return r ? r : set(x->out, f->number == 2 ? "producer" :
			"producer_version", s);
	case 7:
		x->has_graph = true;
		return f->wire == STAGE_WIRE_BYTES ? read_graph(x, f->body) :
			bad(x, "the graph is no message");
	case 8:
		return f->wire == STAGE_WIRE_BYTES ? read_opset(x, f->body) : 0;
	case 14:
		return f->wire == STAGE_WIRE_BYTES ? read_metadata(x, f->body) : 0;
	default:
		return 0;
	}
}

/* Old files list their initializers among the inputs: nobody feeds those. */
static void drop_inits(struct info *x)
{
	json_t *inputs = json_object_get(x->out, "inputs");
	json_t *kept = json_array(), *v;
	size_t i;

	if (!kept)
		return;
	json_array_foreach(inputs, i, v) {
		const char *name = json_str(v, "name");

		if (!name || !map_get(&x->inits, name))
			(void) json_array_append(kept, v);
	}
	(void) json_object_set_new(x->out, "inputs", kept);
}

static int read_model(struct info *x)
{
	struct stage_onnx_msg m = { 0, x->r.w.src->size };
	struct stage_onnx_field f;
	int r;

	while ((r = next(x, &m, &f)) > 0) {
		r = read_model_field(x, &f);
		if (r)
			return r;
	}
	if (r)
		return r;
	if (!json_object_get(x->out, "ir_version") || !x->has_graph)
		return bad(x, "this is no ONNX model");
	drop_inits(x);
	r = set(x->out, "nodes", json_integer((json_int_t)x->n_nodes));
	if (!r)
		r = set(x->out, "initializers",
			json_integer((json_int_t)x->n_inits));
	if (!r)
		r = set(x->out, "parameters",
			json_integer((json_int_t)x->parameters));
	return r;
}

int stage_onnx_info(struct src *s, char **ret_json, struct error *why)
{
	cleanup_json json_t *out = json_pack("{s:s, s:[], s:[], s:{}, s:{}, "
		"s:{}, s:{}}", "format", "ONNX", "inputs", "outputs",
		"operators", "external_data", "metadata", "opsets");
	struct info x = { .r = { .why = why }, .why = why, .out = out };
	char *json = NULL;
	int err;

	if (!out)
		return -ENOMEM;
	x.operators = json_object_get(out, "operators");
	x.external = json_object_get(out, "external_data");
	err = stage_window_init(&x.r.w, s, STAGE_WINDOW_ROOM);
	x.r.w.ahead = STAGE_WINDOW_JUMP;
	if (!err)
		err = read_model(&x);
	stage_window_done(&x.r.w);
	map_done(&x.inits);
	if (err)
		return err;
	json = json_dumps(out, JSON_COMPACT);
	if (!json)
		return -ENOMEM;
	*ret_json = json;
	return 0;
}
