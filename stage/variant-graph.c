/* Variants that change the graph: cleaned up, and made to be trained. */
#include "config.h"

#include "stage/variant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"

#define SAME_MAX 1024		/* bytes of a tensor that are compared */
#define IR_TRAINING 7		/* the first with training_info */

/* ---- clean-up -------------------------------------------------------------- */

/* May another value stand for this one wherever it is used? Graphs inside
 * operators are not rewritten. */
static bool replaceable(const struct stage_onnx_value *v)
{
	return v && !(v->said & (STAGE_ONNX_OUTPUT | STAGE_ONNX_USED_INNER));
}

/* What tells a tensor's contents: its bytes, when they are few, else where
 * they are. */
static int key_of(struct stage_edit *e, const struct stage_onnx_tensor *t,
	char **ret)
{
	char hex[OBJID_HEX_MAX] = "", dims[STAGE_RANK_MAX * 24] = "";
	struct stage_edit_bytes b;
	struct objid id;
	size_t n = 0;
	int r;

	*ret = NULL;
	if (!stage_edit_bytes(e, t, &b) || b.kind != STAGE_REF)
		return 0;
	for (unsigned i = 0; i < t->rank; i++)
		n += (size_t)snprintf(dims + n, sizeof(dims) - n, " %llu",
			(unsigned long long)t->dim[i]);
	if (t->len <= SAME_MAX && t->place == STAGE_ONNX_HERE) {
		uint8_t bytes[SAME_MAX];

		r = src_read_wait(e->src, t->off, bytes, (size_t)t->len);
		if (r)
			return stage_read_error(e->src, r, "onnx", e->why);
		digest_sha256(bytes, (size_t)t->len, &id);
		objid_hex(&id, hex);
		b.path = "";
		b.off = 0;
	}
	if (asprintf(ret, "%u%s %s %llu %s", t->dtype, dims, hex,
		    (unsigned long long)b.off, b.path) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* The first of equal tensors stands for all. Initializers come first: a
 * constant is there only from its node on. */
static int drop_equal(struct stage_edit *e, bool constants, struct map *seen)
{
	int r = 0;

	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i], *first;
		struct stage_onnx_value *v = stage_onnx_value(&e->m, t->name);
		cleanup_free char *key = NULL;

		if (t->constant != constants || !v)
			continue;
		r = key_of(e, t, &key);
		if (r || !key)
			continue;
		first = map_get(seen, key);
		if (!first) {
			r = map_put(seen, key, t, NULL);
		} else if (replaceable(v)) {
			v->instead = first->name;
			stage_edit_drop(e, t, true);
		}
	}
	return r;
}

static void drop_unused(struct stage_edit *e)
{
	for (size_t i = 0; i < e->m.n_tensors; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i];
		const struct stage_onnx_value *v = stage_onnx_value(&e->m,
			t->name);

		if (!t->gone && v && !(v->said & ~(unsigned)(STAGE_ONNX_MADE |
			    STAGE_ONNX_INPUT)))
			stage_edit_drop(e, t, true);
	}
}

static bool unused(const struct stage_edit *e, const char *name)
{
	const struct stage_onnx_value *v = *name ? stage_onnx_value(&e->m,
		name) : NULL;

	return !v || v->said == STAGE_ONNX_MADE;
}

/* Does it give its first input as it is? */
static bool does_nothing(const struct stage_edit *e,
	const struct stage_onnx_node *n)
{
	if (*n->domain || !n->n_in || !n->n_out || !*n->in[0] ||
	    !*n->out[0] || n->inner)
		return false;
	for (unsigned i = 1; i < n->n_out; i++)
		if (!unused(e, n->out[i]))
			return false;
	if (!strcmp(n->op, "Identity"))
		return true;
	/* Whether it trains is its third input. */
	return !strcmp(n->op, "Dropout") && e->m.opset >= 7 &&
		(n->n_in < 3 || !*n->in[2]);
}

static void drop_nodes(struct stage_edit *e)
{
	for (size_t i = 0; i < e->m.n_nodes; i++) {
		struct stage_onnx_node *n = &e->m.nodes[i];
		struct stage_onnx_value *from, *to;

		if (!does_nothing(e, n))
			continue;
		from = stage_onnx_value(&e->m, n->in[0]);
		to = stage_onnx_value(&e->m, n->out[0]);
		if (!from || !replaceable(to))
			continue;
		to->instead = from->instead ? from->instead : n->in[0];
		n->gone = true;
	}
}

int stage_form_clean(struct stage_edit *e)
{
	struct map seen = { 0 };
	int r = stage_edit_check(e);

	for (size_t i = 0; i < e->m.n_tensors; i++) {
		struct stage_onnx_value *v = stage_onnx_value(&e->m,
			e->m.tensors[i].name);

		if (v && !e->m.tensors[i].constant)
			v->no_input = true;
	}
	if (!r)
		r = drop_equal(e, false, &seen);
	if (!r)
		r = drop_equal(e, true, &seen);
	map_done(&seen);
	if (r)
		return r;
	drop_unused(e);
	drop_nodes(e);
	return 0;
}

/* ---- training -------------------------------------------------------------- */

/* TrainingInfoProto: algorithm 2, update_binding 4 */
enum { TRAINING_ALGORITHM = 2, TRAINING_UPDATE = 4 };

struct training {
	struct stage_edit *e;
	struct buf nodes, ports, bindings;
	const char *rates[STAGE_BF16 + 1];	/* the learning rate in each
						 * type */
};

/* A weight, not a statistic and nothing that says how an operator works. */
static bool trains(struct stage_edit *e, const struct stage_onnx_tensor *t)
{
	const struct stage_onnx_value *v = stage_onnx_value(&e->m, t->name);
	struct stage_edit_bytes b;

	if (!t->plain || !v || t->rank < 1 || t->n < 2 ||
	    v->said & (STAGE_ONNX_USED_STATS | STAGE_ONNX_USED_SIZES))
		return false;
	if (!(v->said & (STAGE_ONNX_USED | STAGE_ONNX_USED_CAST |
		      STAGE_ONNX_USED_INNER)))
		return false;
	/* Tables of a blueprint are constants for good. */
	if (!e->original && (!stage_edit_bytes(e, t, &b) ||
		    b.kind == STAGE_INLINE))
		return false;
	return t->dtype == STAGE_F32 || t->dtype == STAGE_F16 ||
		t->dtype == STAGE_BF16 || t->dtype == STAGE_F64;
}

static int put_node(struct training *x, const char *op, const char *a,
	const char *b, const char *out, const struct stage_attr *attr)
{
	const char *in[] = { a, b };
	struct stage_graph_node n = { .op = op, .inputs = in,
		.n_inputs = b ? 2 : 1, .outputs = &out, .n_outputs = 1,
		.attrs = (struct stage_attr *)(uintptr_t)attr,
		.n_attrs = attr ? 1 : 0 };

	return stage_onnx_put_node(&x->nodes, &n);
}

static int put_port(struct training *x, unsigned field, const char *name,
	const struct stage_onnx_tensor *t)
{
	struct stage_dim dims[STAGE_RANK_MAX] = { { 0 } };
	struct stage_graph_port p = { .name = name, .dtype = STAGE_F32,
		.dims = dims };

	if (t) {
		p.dtype = (enum stage_dtype)t->dtype;
		p.rank = t->rank;
		for (unsigned i = 0; i < t->rank; i++)
			dims[i].size = (int64_t)t->dim[i];
	}
	return stage_onnx_put_port(&x->ports, field, &p);
}

/* The learning rate as a number of the weight's type. */
static int rate_of(struct training *x, enum stage_dtype type,
	const char **ret)
{
	static const char *const names[] = {
		[STAGE_F16] = "learning_rate_float16",
		[STAGE_BF16] = "learning_rate_bfloat16",
		[STAGE_F64] = "learning_rate_float64",
	};
	const struct stage_attr to = { .name = "to", .kind = STAGE_ATTR_INT,
		.i = (int64_t)type };
	char name[STAGE_EDIT_NAME];
	int r = 0;

	if (!x->rates[type]) {
		x->rates[type] = names[type];
		r = stage_edit_name(x->e, names[type], "", name);
		if (!r)
			r = put_node(x, "Cast", "learning_rate", NULL,
				names[type], &to);
	}
	*ret = x->rates[type];
	return r;
}

/* W_updated = W - learning_rate * W_gradient */
static int put_step(struct training *x, const struct stage_onnx_tensor *t)
{
	enum { GRADIENT, STEP, UPDATED, N };
	static const char *const suffixes[] = { "_gradient", "_step",
		"_updated" };
	char (*name)[STAGE_EDIT_NAME] = calloc(N, sizeof(*name));
	Stage__Onnx__StringStringEntry bind =
		STAGE__ONNX__STRING_STRING_ENTRY__INIT;
	const char *rate = NULL;
	int r = name ? 0 : -ENOMEM;

	for (int i = 0; i < N && !r; i++)
		r = stage_edit_name(x->e, t->name, suffixes[i], name[i]);
	if (!r)
		r = rate_of(x, (enum stage_dtype)t->dtype, &rate);
	if (!r)
		r = put_port(x, ONNX_GRAPH_INPUT, name[GRADIENT], t);
	if (!r)
		r = put_node(x, "Mul", name[GRADIENT], rate, name[STEP], NULL);
	if (!r)
		r = put_node(x, "Sub", t->name, name[STEP], name[UPDATED],
			NULL);
	if (!r)
		r = put_port(x, ONNX_GRAPH_OUTPUT, name[UPDATED], t);
	if (!r) {
		bind.key = pb_str(t->name);
		bind.value = name[UPDATED];
		r = stage_onnx_put_message(&x->bindings, TRAINING_UPDATE,
			&bind.base);
	}
	free(name);
	return r;
}

static int put_training(struct training *x)
{
	static const char graph[] = "gradient_descent";
	cleanup_buf struct buf all = BUF_INIT(x->nodes.max);
	struct buf *tail = &x->e->tail;
	int r = stage_onnx_put_head(&x->nodes, ONNX_GRAPH_NAME, strlen(graph));

	if (!r)
		r = buf_append_str(&x->nodes, graph);
	if (!r)
		r = buf_append(&x->nodes, x->ports.data, x->ports.len);
	if (!r)
		r = stage_onnx_put_head(&all, TRAINING_ALGORITHM,
			x->nodes.len);
	if (!r)
		r = buf_append(&all, x->nodes.data, x->nodes.len);
	if (!r)
		r = buf_append(&all, x->bindings.data, x->bindings.len);
	if (!r)
		r = stage_onnx_put_head(tail, ONNX_MODEL_TRAINING, all.len);
	return r ? r : buf_append(tail, all.data, all.len);
}

/* A constant of a node becomes an initializer of the same name. */
static int unfreeze(struct stage_edit *e, struct stage_onnx_tensor *t)
{
	const struct stage_graph_init init = stage_edit_like(t);

	if (!t->constant)
		return 0;
	stage_edit_drop(e, t, false);
	return stage_edit_init(e, &init, t, NULL);
}

static int train(struct training *x)
{
	struct stage_edit *e = x->e;
	char rate[STAGE_EDIT_NAME];
	size_t n = 0;
	int r = stage_edit_name(e, "learning_rate", "", rate);

	x->rates[STAGE_F32] = "learning_rate";
	if (!r)
		r = put_port(x, ONNX_GRAPH_INPUT, "learning_rate", NULL);
	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i];

		if (!trains(e, t))
			continue;
		n++;
		r = unfreeze(e, t);
		if (!r && !e->m.has_training)
			r = put_step(x, t);
	}
	if (!r && !n)
		r = error_set(e->why, -ENOTSUP, "it has no weights that could "
			"be trained");
	return r || e->m.has_training ? r : put_training(x);
}

int stage_form_trainable(struct stage_edit *e)
{
	struct training x = { .e = e, .nodes = BUF_INIT(e->nodes.max),
		.ports = BUF_INIT(e->nodes.max),
		.bindings = BUF_INIT(e->nodes.max) };
	int r = stage_edit_check_opset(e);

	if (!r)
		r = stage_edit_check(e);
	if (e->least_ir < IR_TRAINING)
		e->least_ir = IR_TRAINING;
	if (!r)
		r = train(&x);
	buf_done(&x.nodes);
	buf_done(&x.ports);
	buf_done(&x.bindings);
	return r;
}
