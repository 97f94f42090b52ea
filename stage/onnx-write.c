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
#include "stage/onnx-model.h"
#include "stage/onnx-put.h"

#define STRUCTURE_MAX ((size_t)1 << 30)	/* bytes of packed structure */
#define ONNX_MAX INT32_MAX		/* bytes; protobuf's own limit */

/* ---- initializers ---------------------------------------------------------- */

static bool is_external(const struct stage_graph_init *init,
	const struct stage_onnx_options *o)
{
	return o->external && !init->data && init->len;
}

static int put_init(struct buf *b, const struct stage_graph_init *init,
	const struct stage_onnx_options *o, uint64_t *ret_payload)
{
	struct stage_onnx_outside where;

	if (!is_external(init, o))
		return stage_onnx_put_init(b, init, NULL, ret_payload);
	where = (struct stage_onnx_outside){ path_base(init->path),
		init->off, init->len };
	return stage_onnx_put_init(b, init, &where, ret_payload);
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
		if (stage_made_is(path)) {
			err = error_set(why, -ENOTSUP, "onnx: over 2 GiB, with "
				"weights that are compressed in %.*s",
				(int)strcspn(path, "/"), path);
			break;
		}
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
		err = stage_onnx_put_node(&m->nodes, &g->nodes[i]);
	if (!err)
		err = stage_onnx_put_head(&m->nodes, ONNX_GRAPH_NAME,
			strlen(g->name));
	if (!err)
		err = buf_append_str(&m->nodes, g->name);
	for (size_t i = 0; !err && i < g->n_inputs; i++)
		err = stage_onnx_put_port(&m->ports, ONNX_GRAPH_INPUT,
			&g->inputs[i]);
	for (size_t i = 0; !err && i < g->n_outputs; i++)
		err = stage_onnx_put_port(&m->ports, ONNX_GRAPH_OUTPUT,
			&g->outputs[i]);
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
	err = v && at ? stage_onnx_put_fields(&m->head, &head.base) : -ENOMEM;
	if (!err)
		err = stage_onnx_put_fields(&m->tail, &tail.base);
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
	return stage_recipe_copy(r, (unsigned)source, init->off, payload);
}

static int emit_model(struct model *m, struct stage_recipe *r)
{
	int err = stage_onnx_put_head(&m->head, ONNX_MODEL_GRAPH, m->graph_len);

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

int stage_onnx_write_model(const struct stage_graph *g, unsigned opset,
	const char *const *metadata, struct stage_recipe **ret,
	struct error *why)
{
	struct stage_onnx_options o = { .opset = opset,
		.producer_version = PACKAGE_VERSION, .metadata = metadata };
	int r = stage_onnx_write(g, &o, ret, why);

	if (r != -EFBIG)
		return r;
	o.external = true;
	return stage_onnx_write(g, &o, ret, why);
}
