/*
 * A graph as ONNX ModelProto, in the form of a recipe:
 *
 *   INLINE  ir_version, producer, [graph: length, nodes, name,
 *           constants, [initializer: length, dims, type, name, raw_data len
 *   REF     the payload in the checkpoint
 *   INLINE  ] [initializer ...                  (once for each weight)
 *   INLINE  inputs, outputs] opset_import, metadata_props
 *
 * protobuf-c packs every message but the two that enclose payloads, GraphProto
 * and TensorProto's raw_data: their lengths are sums, put together here.
 *
 * Weights come in the order of their bytes in the checkpoint, not in that of
 * their use: who reads the model from front to back then reads the checkpoint
 * from front to back, and a cold file is one long download.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "stage/graph-data.h"
#include "stage/proto/onnx.pb-c.h"

#define STRUCTURE_MAX ((size_t)1 << 30)	/* bytes of packed structure */
#define ONNX_MAX INT32_MAX		/* bytes; protobuf's own limit */

enum field {			/* GraphProto, ModelProto, TensorProto */
	GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5,
	GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, MODEL_GRAPH = 7,
	TENSOR_RAW_DATA = 9,
};

#define LOCATION_EXTERNAL 1	/* TensorProto.DataLocation */

/* protobuf-c's names want char * where it only reads. */
#define pb_str(s) ((char *)(uintptr_t)(s))

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

static int put_fields(struct buf *b, const ProtobufCMessage *m)
{
	struct sink s = { { sink_append }, b, 0 };

	(void) protobuf_c_message_pack_to_buffer(m, &s.base);
	return s.err;
}

/* Tag and length of a length-delimited field; `len` bytes have to follow. */
static int put_head(struct buf *b, enum field field, uint64_t len)
{
	int err = buf_append_varint(b, (uint64_t)field << 3 | 2);

	return err ? err : buf_append_varint(b, len);
}

static int put_message(struct buf *b, enum field field,
	const ProtobufCMessage *m)
{
	int err = put_head(b, field, protobuf_c_message_get_packed_size(m));

	return err ? err : put_fields(b, m);
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
static int put_node(struct buf *b, const struct stage_graph_node *n)
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
	return put_message(b, GRAPH_NODE, &m.base);
}

static int put_port(struct buf *b, enum field field,
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
	return put_message(b, field, &info.base);
}

/* ---- initializers ---------------------------------------------------------- */

static bool is_external(const struct stage_graph_init *init,
	const struct stage_onnx_options *o)
{
	return o->external && !init->data && !init->how.xform && init->len;
}

static int put_external(struct buf *b, Stage__Onnx__Tensor *t,
	const struct stage_graph_init *init)
{
	Stage__Onnx__StringStringEntry e[3], *at[3];
	char off[24], len[24];
	const struct {
		const char *key, *value;
	} pairs[3] = {
		{ "location", path_base(init->path) },
		{ "offset", off }, { "length", len },
	};

	snprintf(off, sizeof(off), "%llu", (unsigned long long)init->off);
	snprintf(len, sizeof(len), "%llu", (unsigned long long)init->len);
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
	return put_message(b, GRAPH_INITIALIZER, &t->base);
}

/* Everything of the initializer that stands before its payload, and how many
 * bytes of payload follow. */
static int put_init(struct buf *b, const struct stage_graph_init *init,
	const struct stage_onnx_options *o, uint64_t *ret_payload)
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
	if (is_external(init, o))
		return put_external(b, &t, init);
	*ret_payload = init->len;
	err = put_head(raw, TENSOR_RAW_DATA, init->len);
	if (!err)
		err = put_head(b, GRAPH_INITIALIZER,
			protobuf_c_message_get_packed_size(&t.base) +
			raw->len + init->len);
	if (!err)
		err = put_fields(b, &t.base);
	if (!err)
		err = buf_append(b, raw->data, raw->len);
	buf_done(raw);
	return err;
}

static int by_place(const void *a, const void *b)
{
	const struct stage_graph_init *x = *(const void *const *)a;
	const struct stage_graph_init *y = *(const void *const *)b;
	int c;

	if (!x->data != !y->data)
		return x->data ? -1 : 1;
	c = x->data ? 0 : strcmp(x->path, y->path);
	if (c)
		return c;
	if (!x->data && x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* ---- checks ---------------------------------------------------------------- */

static int check_init(const struct stage_graph_init *init, struct error *why)
{
	uint64_t len = stage_dtype_size(init->dtype);

	for (unsigned i = 0; i < init->rank; i++) {
		if (init->dim[i] > INT64_MAX ||
		    size_mul(len, init->dim[i], &len))
			return error_set(why, -EINVAL,
				"onnx: the shape of %s overflows",
				init->value);
	}
	if (!stage_dtype_size(init->dtype) || len != init->len)
		return error_set(why, -EINVAL,
			"onnx: %s has not the bytes its shape needs",
			init->value);
	return 0;
}

/* Two files of one name in different directories would be one location. */
static int check_locations(const struct stage_graph_init **order, size_t n,
	const struct stage_onnx_options *o, struct error *why)
{
	struct map seen = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		const char *old, *path = order[i]->path;

		if (!is_external(order[i], o))
			continue;
		old = map_get(&seen, path_base(path));
		if (!old)
			err = map_put(&seen, path_base(path), pb_str(path),
				NULL);
		else if (strcmp(old, path))
			err = error_set(why, -ENOTSUP,
				"onnx: %s and %s cannot both lie beside the "
				"model", old, path);
	}
	map_done(&seen);
	return err;
}

static int check_value(const struct stage_graph *g, const char *name,
	size_t before, struct error *why)
{
	const struct stage_graph_value *v = map_get(&g->values, name);

	if (!v)
		return error_set(why, -EINVAL, "onnx: %s is not defined", name);
	if (v->def > before)
		return error_set(why, -EINVAL,
			"onnx: %s is used before it is defined", name);
	return 0;
}

static int check_graph(const struct stage_graph *g,
	const struct stage_onnx_options *o, struct error *why)
{
	int err = 0;

	if (o->opset != 13 && o->opset != 17)
		return error_set(why, -EINVAL, "onnx: opset %u is not written",
			o->opset);
	for (size_t i = 0; !err && i < g->n_inits; i++)
		err = check_init(&g->inits[i], why);
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct stage_graph_node *n = &g->nodes[i];

		for (size_t k = 0; !err && k < n->n_inputs; k++) {
			if (*n->inputs[k])
				err = check_value(g, n->inputs[k], i, why);
		}
	}
	for (size_t i = 0; !err && i < g->n_outputs; i++)
		err = check_value(g, g->outputs[i].name, g->n_nodes, why);
	return err;
}

/* ---- the model ------------------------------------------------------------- */

/* The pieces in output order; payloads lie between the initializers. */
struct model {
	const struct stage_graph *g;
	const struct stage_onnx_options *o;
	const struct stage_graph_init **order;	/* of g->inits */
	struct buf head;	/* ModelProto's fields before the graph */
	struct buf nodes;	/* GraphProto's before the initializers */
	struct buf ports;	/* GraphProto's behind them */
	struct buf tail;	/* ModelProto's behind the graph */
	struct buf init;	/* one initializer's, while it is made */
	uint64_t graph_len;	/* bytes of GraphProto, payloads included */
};

static int pack_graph(struct model *m)
{
	const struct stage_graph *g = m->g;
	int err = 0;

	for (size_t i = 0; !err && i < g->n_nodes; i++)
		err = put_node(&m->nodes, &g->nodes[i]);
	if (!err)
		err = put_head(&m->nodes, GRAPH_NAME, strlen(g->name));
	if (!err)
		err = buf_append_str(&m->nodes, g->name);
	for (size_t i = 0; !err && i < g->n_inputs; i++)
		err = put_port(&m->ports, GRAPH_INPUT, &g->inputs[i]);
	for (size_t i = 0; !err && i < g->n_outputs; i++)
		err = put_port(&m->ports, GRAPH_OUTPUT, &g->outputs[i]);
	return err;
}

static int pack_ends(struct model *m)
{
	Stage__Onnx__Model head = STAGE__ONNX__MODEL__INIT;
	Stage__Onnx__Model tail = STAGE__ONNX__MODEL__INIT;
	Stage__Onnx__OperatorSetId set = STAGE__ONNX__OPERATOR_SET_ID__INIT;
	Stage__Onnx__OperatorSetId *sets[] = { &set };
	Stage__Onnx__StringStringEntry *v, **at;
	const char *const *meta = m->o->metadata;
	size_t n = 0;
	int err;

	head.has_ir_version = 1;
	head.ir_version = m->o->opset >= 15 ? 8 : 7;
	head.producer_name = pb_str("omnihub");
	head.producer_version = pb_str(m->o->producer_version);
	set.domain = pb_str("");
	set.has_version = 1;
	set.version = m->o->opset;
	tail.opset_import = sets;
	tail.n_opset_import = 1;
	while (meta && meta[2 * n] && meta[2 * n + 1])
		n++;
	v = calloc(n + 1, sizeof(*v));
	at = calloc(n + 1, sizeof(*at));
	for (size_t i = 0; v && at && i < n; i++) {
		stage__onnx__string_string_entry__init(&v[i]);
		v[i].key = pb_str(meta[2 * i]);
		v[i].value = pb_str(meta[2 * i + 1]);
		at[i] = &v[i];
	}
	tail.metadata_props = at;
	tail.n_metadata_props = n;
	err = v && at ? put_fields(&m->head, &head.base) : -ENOMEM;
	if (!err)
		err = put_fields(&m->tail, &tail.base);
	free(v);
	free(at);
	return err;
}

static int measure_graph(struct model *m)
{
	uint64_t payload, len = m->nodes.len + m->ports.len;

	for (size_t i = 0; i < m->g->n_inits; i++) {
		int err;

		buf_clear(&m->init);
		err = put_init(&m->init, m->order[i], m->o, &payload);
		if (err)
			return err;
		if (size_add(len, m->init.len, &len) ||
		    size_add(len, payload, &len))
			return -EFBIG;
	}
	m->graph_len = len;
	return 0;
}

static int emit_init(struct model *m, const struct stage_graph_init *init,
	struct stage_recipe *r)
{
	uint64_t payload;
	int err, source;

	buf_clear(&m->init);
	err = put_init(&m->init, init, m->o, &payload);
	if (!err)
		err = stage_recipe_inline(r, m->init.data, m->init.len);
	if (err || !payload)
		return err;
	if (init->data)
		return stage_recipe_inline(r, init->data, (size_t)payload);
	source = stage_recipe_source(r, init->path, init->file_size);
	if (source < 0)
		return source;
	if (!init->how.xform)
		return stage_recipe_copy(r, (unsigned)source, init->off,
			payload);
	payload += stage_recipe_size(r);
	err = stage_recipe_xform(r, (unsigned)source, init->off, init->n,
		&init->how);
	return err ? err : payload == stage_recipe_size(r) ? 0 : -EINVAL;
}

static int emit_model(struct model *m, struct stage_recipe *r)
{
	int err = put_head(&m->head, MODEL_GRAPH, m->graph_len);

	if (!err)
		err = stage_recipe_inline(r, m->head.data, m->head.len);
	if (!err)
		err = stage_recipe_inline(r, m->nodes.data, m->nodes.len);
	for (size_t i = 0; !err && i < m->g->n_inits; i++)
		err = emit_init(m, m->order[i], r);
	if (!err)
		err = stage_recipe_inline(r, m->ports.data, m->ports.len);
	if (!err)
		err = stage_recipe_inline(r, m->tail.data, m->tail.len);
	return err;
}

static int write_model(struct model *m, struct stage_recipe *r,
	struct error *why)
{
	size_t n = m->g->n_inits;
	int err;

	for (size_t i = 0; i < n; i++)
		m->order[i] = &m->g->inits[i];
	qsort(m->order, n, sizeof(m->order[0]), by_place);
	err = check_graph(m->g, m->o, why);
	if (!err)
		err = check_locations(m->order, n, m->o, why);
	if (!err)
		err = pack_graph(m);
	if (!err)
		err = pack_ends(m);
	if (!err)
		err = measure_graph(m);
	if (!err && m->graph_len + m->head.len + m->tail.len + 16 > ONNX_MAX)
		err = error_set(why, -EFBIG, "onnx: %llu bytes do not fit in "
			"one file of less than 2 GiB",
			(unsigned long long)m->graph_len);
	if (!err)
		err = emit_model(m, r);
	return err ? err : stage_recipe_check(r, why);
}

int stage_onnx_write(const struct stage_graph *g,
	const struct stage_onnx_options *o, struct stage_recipe **ret,
	struct error *why)
{
	struct model m = {
		.g = g, .o = o,
		.head = BUF_INIT(STRUCTURE_MAX),
		.nodes = BUF_INIT(STRUCTURE_MAX),
		.ports = BUF_INIT(STRUCTURE_MAX),
		.tail = BUF_INIT(STRUCTURE_MAX),
		.init = BUF_INIT(STRUCTURE_MAX),
		.order = calloc(g->n_inits + 1, sizeof(*m.order)),
	};
	struct stage_recipe *r = stage_recipe_new();
	int err = m.order && r ? write_model(&m, r, why) : -ENOMEM;

	if (!err)
		*ret = steal_ptr(r);
	stage_recipe_unref(r);
	free(m.order);
	buf_done(&m.head);
	buf_done(&m.nodes);
	buf_done(&m.ports);
	buf_done(&m.tail);
	buf_done(&m.init);
	return err;
}
