/*
 * The stream, front to back: constants and weights as Consts, inputs as
 * Placeholders, then operator by operator (tf-graph-ops.c). Types are inferred
 * on the way, as TensorFlow's operators name them and some of ONNX depend on
 * ranks and known dimensions.
 *
 * Weights come in the order of their bytes in the checkpoint, as onnx-write.c
 * has them.
 */
#include "config.h"

#include "stage/tf-graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MEMORY_MAX (256u << 20)	/* bytes */
#define KNOWN_MAX STAGE_KNOWN_MAX

static int no_memory(const struct tf_maker *m)
{
	return error_set(m->f.why, -EFBIG, "no memory for so large a graph");
}

unsigned stage_tf_from_dtype(enum stage_dtype t)
{
	static const uint8_t types[] = {
		[STAGE_F32] = 1, [STAGE_F64] = 2, [STAGE_I32] = 3,
		[STAGE_U8] = 4, [STAGE_I16] = 5, [STAGE_I8] = 6,
		[STAGE_C64] = 8, [STAGE_I64] = 9, [STAGE_BOOL] = 10,
		[STAGE_BF16] = 14, [STAGE_U16] = 17, [STAGE_F16] = 19,
		[STAGE_U32] = 22, [STAGE_U64] = 23,
	};

	return (size_t)t < sizeof(types) ? types[t] : 0;
}

/* ---- pieces ---------------------------------------------------------------- */

int stage_tf_op_fail(const struct tf_op *x, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return error_set(x->m->f.why, -ENOTSUP, "%s of %s has no form in "
		"TensorFlow: %s", x->n->op, x->n->n_outputs ?
		x->n->outputs[0] : "?", text);
}

static char *joined(struct tf_maker *m, const char *a, const char *b)
{
	cleanup_free char *text = NULL;

	if (asprintf(&text, "%s%s", a, b) < 0) {
		text = NULL;
		return NULL;
	}
	return stage_arena_strdup(&m->f.out->arena, text);
}

int stage_tf_put(struct tf_op *x, const char *suffix, const char *op,
	const char *const *in, size_t n_in, const char *attrs,
	const char **ret)
{
	struct tf_value v[STAGE_OP_INPUTS_MAX + 2];
	const char *name = suffix ? joined(x->m, x->name, suffix) : x->name;

	if (!name)
		return no_memory(x->m);
	for (size_t i = 0; i < n_in; i++)
		v[i] = (struct tf_value){ in[i], NULL };
	if (!suffix)
		x->m->f.reserved = map_get(&x->m->ports, x->n->outputs[0]);
	return stage_tf_emit(&x->m->f, name, op, v, n_in, attrs, NULL,
		suffix ? ret : &x->ref[0]);
}

/* A Const whose bytes are here. */
static int put_const(struct tf_maker *m, const char *name,
	const struct stage_graph_init *init, const char **ret)
{
	char attrs[32];
	int err;

	(void) snprintf(attrs, sizeof(attrs), "dtype=t:%u",
		stage_tf_from_dtype(init->dtype));
	err = stage_tf_emit(&m->f, name, "Const", NULL, 0, attrs, NULL, ret);
	if (!err) {
		m->f.out->v[m->f.out->n - 1].init = init;
		m->f.out->v[m->f.out->n - 1].fixed = init->value &&
			map_get(&m->fixed, init->value);
	}
	return err;
}

static int put_data(struct tf_op *x, const char *suffix, enum stage_dtype t,
	const void *data, size_t n, bool rank0, const char **ret)
{
	struct stage_arena *a = &x->m->f.out->arena;
	struct stage_graph_init *init = stage_arena_alloc(a, sizeof(*init));
	const char *name = joined(x->m, x->name, suffix);

	if (!init || !name)
		return no_memory(x->m);
	init->dtype = t;
	init->rank = !rank0;
	init->dim[0] = n;
	init->len = n * stage_dtype_size(t);
	init->data = stage_arena_copy(a, data, (size_t)init->len);
	return init->data ? put_const(x->m, name, init, ret) : no_memory(x->m);
}

int stage_tf_put_ints(struct tf_op *x, const char *suffix,
	enum stage_dtype t, const int64_t *v, size_t n, bool rank0,
	const char **ret)
{
	int32_t small[KNOWN_MAX];

	if (t == STAGE_I64)
		return put_data(x, suffix, t, v, n, rank0, ret);
	if (n > KNOWN_MAX)
		return stage_tf_op_fail(x, "%zu numbers", n);
	for (size_t i = 0; i < n; i++)
		small[i] = (int32_t)v[i];
	return put_data(x, suffix, STAGE_I32, small, n, rank0, ret);
}

int stage_tf_put_float(struct tf_op *x, const char *suffix, double v,
	const char **ret)
{
	float f = (float)v;

	if (x->in[0]->type.dtype == STAGE_F64)
		return put_data(x, suffix, STAGE_F64, &v, 1, true, ret);
	if (x->in[0]->type.dtype != STAGE_F32)
		return stage_tf_op_fail(x, "it is neither f32 nor f64");
	return put_data(x, suffix, STAGE_F32, &f, 1, true, ret);
}

int stage_tf_put_transpose(struct tf_op *x, const char *suffix,
	const char *in, const int64_t *perm, size_t n, const char **ret)
{
	const char *two[2] = { in, NULL };
	cleanup_free char *inner = NULL;
	char attrs[64];
	int err;

	if (asprintf(&inner, "%s/perm", suffix ? suffix : "") < 0) {
		inner = NULL;
		return no_memory(x->m);
	}
	err = stage_tf_put_ints(x, inner, STAGE_I32, perm, n, false, &two[1]);
	(void) snprintf(attrs, sizeof(attrs), "%s Tperm=t:3", x->t);
	return err ? err : stage_tf_put(x, suffix, "Transpose", two, 2, attrs,
		ret);
}

const struct stage_attr *stage_tf_op_attr(const struct tf_op *x,
	const char *name)
{
	for (size_t i = 0; i < x->n->n_attrs; i++)
		if (!strcmp(x->n->attrs[i].name, name))
			return &x->n->attrs[i];
	return NULL;
}

int64_t stage_tf_op_int(const struct tf_op *x, const char *name)
{
	const struct stage_attr *a = stage_tf_op_attr(x, name);
	const struct stage_op_attr *d = stage_op_attr(x->op, name);

	return a ? a->i : d && d->has_default ? (int64_t)d->dflt : 0;
}

double stage_tf_op_float(const struct tf_op *x, const char *name)
{
	const struct stage_attr *a = stage_tf_op_attr(x, name);
	const struct stage_op_attr *d = stage_op_attr(x->op, name);

	return a ? (double)a->f : d && d->has_default ? d->dflt : 0;
}

int stage_tf_op_numbers(const struct tf_op *x, size_t i, int64_t *ret,
	size_t room)
{
	const struct stage_type *t = i < x->n_in && x->in[i] ?
		&x->in[i]->type : NULL;

	if (!t || !t->known || t->n_known > room)
		return -1;
	for (size_t k = 0; k < t->n_known; k++) {
		if (t->known[k].symbol)
			return -1;
		ret[k] = t->known[k].size;
	}
	return (int)t->n_known;
}

/* ---- names ----------------------------------------------------------------- */

/* [A-Za-z0-9.][A-Za-z0-9_.\\/>-]*: without the leading slash of ours. */
static char *node_name(struct tf_maker *m, const char *value)
{
	char *name;

	while (*value == '/')
		value++;
	name = joined(m, *value ? value : "value", "");
	for (char *p = name; p && *p; p++) {
		bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' &&
			*p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '.';

		if (!word && (p == name || !strchr("_\\/>-", *p)))
			*p = p == name ? '.' : '_';
	}
	return name;
}

static struct tf_made *add_value(struct tf_maker *m, const char *name,
	enum stage_dtype t)
{
	struct tf_made *v = stage_arena_alloc(&m->f.out->arena, sizeof(*v));

	if (!v || map_put(&m->values, name, v, NULL))
		return NULL;
	v->type.dtype = t;
	return v;
}

/* ---- inputs, constants, weights -------------------------------------------- */

static int add_input(struct tf_maker *m, const struct stage_graph_port *p)
{
	struct tf_made *v = add_value(m, p->name, p->dtype);
	char *name = node_name(m, p->name);
	struct stage_tf_frozen_node *to;
	int64_t size[STAGE_RANK_MAX];
	char attrs[32];
	int err;

	if (!v || !name)
		return no_memory(m);
	v->type.rank = p->rank;
	for (unsigned i = 0; i < p->rank; i++) {
		v->type.dim[i] = p->dims[i];
		size[i] = p->dims[i].symbol ? -1 : p->dims[i].size;
	}
	(void) snprintf(attrs, sizeof(attrs), "dtype=t:%u",
		stage_tf_from_dtype(p->dtype));
	err = stage_tf_emit(&m->f, name, "Placeholder", NULL, 0, attrs, NULL,
		&v->ref);
	if (err)
		return err;
	to = &m->f.out->v[m->f.out->n - 1];
	err = stage_tf_attr_shape(&m->f, size, p->rank,
		&to->attr[to->n_attr]);
	to->n_attr += !err;
	return err;
}

/* Small lists of i64 are followed, as shapes are made of them. */
static int follow(struct tf_maker *m, const struct stage_graph_init *init,
	struct stage_type *t)
{
	size_t n = (size_t)init->len / 8;
	struct stage_dim *known;

	if (!init->data || init->dtype != STAGE_I64 || init->rank > 1 ||
	    n > KNOWN_MAX)
		return 0;
	known = stage_arena_array(&m->f.out->arena, n + 1, sizeof(*known));
	if (!known)
		return no_memory(m);
	for (size_t i = 0; i < n; i++)
		memcpy(&known[i].size, (const uint8_t *)init->data + 8 * i, 8);
	t->known = known;
	t->n_known = n;
	return 0;
}

static int add_init(struct tf_maker *m, const struct stage_graph_init *init)
{
	struct tf_made *v = add_value(m, init->value, init->dtype);
	char *name = node_name(m, init->value);
	int err;

	if (!v || !name)
		return no_memory(m);
	if (!stage_tf_from_dtype(init->dtype))
		return error_set(m->f.why, -ENOTSUP, "%s is of type %s, which "
			"has no form in TensorFlow", init->value,
			stage_dtype_name(init->dtype));
	v->type.rank = init->rank;
	for (unsigned i = 0; i < init->rank; i++)
		v->type.dim[i].size = (int64_t)init->dim[i];
	err = follow(m, init, &v->type);
	return err ? err : put_const(m, name, init, &v->ref);
}

static int by_place(const void *a, const void *b)
{
	const struct stage_graph_init *x = *(const void *const *)a;
	const struct stage_graph_init *y = *(const void *const *)b;
	int c = !!y->data - !!x->data;

	if (!c && !x->data)
		c = strcmp(x->path, y->path);
	if (!c && !x->data && x->off != y->off)
		c = x->off < y->off ? -1 : 1;
	return c ? c : x < y ? -1 : x > y;
}

static int add_inits(struct tf_maker *m)
{
	size_t n = m->g->n_inits;
	cleanup_free const struct stage_graph_init **order = calloc(n + 1,
		sizeof(*order));
	int err = 0;

	if (!order)
		return no_memory(m);
	for (size_t i = 0; i < n; i++)
		order[i] = &m->g->inits[i];
	qsort(order, n, sizeof(*order), by_place);
	for (size_t i = 0; i < n && !err; i++)
		err = add_init(m, order[i]);
	return err;
}

/* ---- operators ------------------------------------------------------------- */

static int infer(struct tf_op *x)
{
	struct stage_infer i = { .op = x->op, .n_in = x->n_in,
		.attrs = x->n->attrs, .n_attrs = x->n->n_attrs,
		.out = x->out, .n_out = x->n->n_outputs,
		.arena = &x->m->f.out->arena, .unknowns = &x->m->unknowns,
		.why = x->m->f.why };

	for (size_t k = 0; k < x->n_in; k++)
		i.in[k] = x->in[k] ? &x->in[k]->type : NULL;
	return stage_op_infer(&i);
}

static int add_node(struct tf_maker *m, const struct stage_graph_node *n)
{
	struct tf_op x = { .m = m, .n = n, .op = stage_op_find(n->op),
		.n_in = n->n_inputs };
	int err;

	if (!x.op || n->n_inputs > STAGE_OP_INPUTS_MAX || !n->n_outputs ||
	    n->n_outputs > STAGE_OP_OUTPUTS_MAX)
		return error_set(m->f.why, -ENOTSUP, "the operator %s has no "
			"form in TensorFlow", n->op);
	for (size_t i = 0; i < n->n_inputs; i++) {
		if (!*n->inputs[i])
			continue;
		x.in[i] = map_get(&m->values, n->inputs[i]);
		if (!x.in[i])
			return error_set(m->f.why, -EINVAL, "%s is used "
				"before it is defined", n->inputs[i]);
	}
	if (!x.n_in || !x.in[0])
		return stage_tf_op_fail(&x, "it has no input");
	err = infer(&x);
	if (err)
		return err;
	(void) snprintf(x.t, sizeof(x.t), "T=t:%u",
		stage_tf_from_dtype(x.in[0]->type.dtype));
	x.name = node_name(m, n->outputs[0]);
	err = x.name ? stage_tf_op(&x) : no_memory(m);
	for (size_t i = 0; i < n->n_outputs && !err; i++) {
		struct tf_made *v = add_value(m, n->outputs[i],
			x.out[i].dtype);

		if (!v)
			return no_memory(m);
		v->type = x.out[i];
		v->ref = x.ref[i];
	}
	return err;
}

/* ---- outputs --------------------------------------------------------------- */

static int reserve_output(struct tf_maker *m, const struct stage_graph_port *p)
{
	const struct tf_made *input = map_get(&m->values, p->name);
	char *name = node_name(m, p->name);
	const char *full = input ? input->ref : NULL;
	int err = 0;

	if (!name)
		return no_memory(m);
	if (!input)
		err = stage_tf_reserve(&m->f, name, &full);
	return err ? err : map_put(&m->ports, p->name,
		(void *)(uintptr_t)full, NULL);
}

/* The operator has its name already unless it gives more than the output. */
static int add_output(struct tf_maker *m, const struct stage_graph_port *p)
{
	const struct tf_made *v = map_get(&m->values, p->name);
	const char *name = map_get(&m->ports, p->name), *ret;
	struct tf_value in;
	char attrs[32];

	if (!v || !name)
		return error_set(m->f.why, -EINVAL, "the output %s is not "
			"defined", p->name);
	if (!strcmp(v->ref, name))
		return 0;
	in = (struct tf_value){ v->ref, NULL };
	m->f.reserved = name;
	(void) snprintf(attrs, sizeof(attrs), "T=t:%u",
		stage_tf_from_dtype(v->type.dtype));
	return stage_tf_emit(&m->f, name, "Identity", &in, 1, attrs, NULL,
		&ret);
}

/* Statistics do not show in what BatchNormalization becomes. */
static int mark_fixed(struct tf_maker *m)
{
	const struct stage_graph *g = m->g;
	int err = 0;

	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct stage_graph_node *n = &g->nodes[i];

		if (strcmp(n->op, "BatchNormalization") != 0)
			continue;
		for (size_t k = 3; k < n->n_inputs && !err; k++)
			err = map_put(&m->fixed, n->inputs[k], m, NULL);
	}
	return err ? no_memory(m) : 0;
}

static int make(struct tf_maker *m)
{
	const struct stage_graph *g = m->g;
	int err = mark_fixed(m);

	for (size_t i = 0; i < g->n_inputs && !err; i++)
		err = add_input(m, &g->inputs[i]);
	for (size_t i = 0; i < g->n_outputs && !err; i++)
		err = reserve_output(m, &g->outputs[i]);
	if (!err)
		err = add_inits(m);
	for (size_t i = 0; i < g->n_nodes && !err; i++)
		err = add_node(m, &g->nodes[i]);
	for (size_t i = 0; i < g->n_outputs && !err; i++)
		err = add_output(m, &g->outputs[i]);
	return err;
}

int stage_tf_from_graph(const struct stage_graph *g, bool trainable,
	struct stage_recipe **ret, struct error *why)
{
	struct stage_tf_frozen out = { .arena = STAGE_ARENA_INIT(MEMORY_MAX) };
	struct tf_maker m = { .f = { .out = &out, .why = why }, .g = g };
	int err = make(&m);

	if (!err && trainable)
		err = stage_tf_thaw(&out, why);
	if (!err)
		err = stage_tf_write(NULL, NULL, &out, NULL, ret, why);
	map_done(&m.values);
	map_done(&m.ports);
	map_done(&m.fixed);
	map_done(&m.f.names);
	stage_tf_frozen_done(&out);
	if (err && why && !why->code)
		return error_set(why, err, "%s", strerror(-err));
	return err;
}
