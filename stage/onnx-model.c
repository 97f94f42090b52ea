/*
 * The structure of an ONNX file. The file is untrusted: see onnx-wire.h for
 * its bounds, stage_onnx for those of what is kept.
 */
#include "config.h"

#include "stage/onnx-model.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_ROOM (2 * STAGE_ONNX_TEXT_MAX)	/* bytes of one read */
#define LIST_MAX 100000		/* inputs or outputs of one node */

struct reading {
	struct stage_onnx_reader r;	/* must be first */
	struct stage_onnx *m;
	unsigned depth;		/* of graphs; 1: the main one */
};

/* v with room for one more element; NULL: no memory, v is as it was. */
static void *grown(void *v, size_t n, size_t *room, size_t size)
{
	size_t want = *room ? 2 * *room : 64;
	void *more;

	if (n < *room)
		return v;
	more = n < STAGE_ONNX_PARTS_MAX ? reallocarray(v, want, size) : NULL;
	if (more)
		*room = want;
	return more;
}

static int too_many(struct reading *x)
{
	return error_set(x->r.why, -EFBIG, "onnx: more of it than we hold");
}

/* ---- names ----------------------------------------------------------------- */

struct stage_onnx_value *stage_onnx_value(const struct stage_onnx *m,
	const char *name)
{
	return map_get(&m->values, name);
}

static int say(struct reading *x, const char *name, unsigned what)
{
	struct stage_onnx_value *v;

	if (!*name)
		return 0;
	v = map_get(&x->m->values, name);
	if (!v) {
		v = stage_arena_alloc(&x->m->arena, sizeof(*v));
		if (!v || map_put(&x->m->values, name, v, NULL))
			return too_many(x);
	}
	v->said |= what;
	return 0;
}

/* As say(), of what must not be made twice: by an initializer that is an input
 * as well, it may. */
static int made(struct reading *x, const char *name, unsigned what)
{
	const struct stage_onnx_value *v = map_get(&x->m->values, name);

	if (v && v->said & STAGE_ONNX_MADE && !what)
		return error_set(x->r.why, -EBADMSG, "onnx: %s is made twice",
			name);
	return say(x, name, what ? what : STAGE_ONNX_MADE);
}

/* ---- nodes ----------------------------------------------------------------- */

/* What a node does with its i-th input, as far as variants ask. */
static unsigned use_of(const struct stage_onnx_node *n, unsigned i)
{
	if (*n->domain)
		return STAGE_ONNX_USED;
	if (!strcmp(n->op, "Cast"))
		return STAGE_ONNX_USED_CAST;
	if (!strcmp(n->op, "BatchNormalization") && i >= 3)
		return STAGE_ONNX_USED_STATS;
	if ((!strcmp(n->op, "Resize") || !strcmp(n->op, "Upsample") ||
		    !strcmp(n->op, "Clip") || !strcmp(n->op, "Pad") ||
		    !strcmp(n->op, "RoiAlign")) && i >= 1)
		return STAGE_ONNX_USED_SIZES;
	return STAGE_ONNX_USED;
}

static int read_graph(struct reading *x, struct stage_onnx_msg m);

/* AttributeProto: t 5, g 6, graphs 11. *ret: where t lies, if it is there. */
static int read_attr(struct reading *x, struct stage_onnx_msg m,
	struct stage_onnx_node *n, struct stage_onnx_msg *ret)
{
	struct stage_onnx_field f;
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.wire != STAGE_WIRE_BYTES)
			continue;
		if (f.number == 5) {
			*ret = f.body;
		} else if (f.number == 6 || f.number == 11) {
			n->inner = true;
			r = read_graph(x, f.body);
			if (r)
				return r;
		}
	}
	return r;
}

static bool grow_names(struct stage_arena *a, const char ***v, unsigned n)
{
	const char **more;

	if (n & (n - 1))	/* room for the next power of two is there */
		return true;
	more = stage_arena_array(a, n ? 2 * n : 1, sizeof(*more));
	if (more && n)
		memcpy(more, *v, n * sizeof(*more));
	if (more)
		*v = more;
	return more;
}

static int read_name(struct reading *x, const struct stage_onnx_field *f,
	const char ***v, unsigned *n)
{
	const char *name;
	int r = stage_onnx_string(&x->r, &x->m->arena, f, &name);

	if (r)
		return r;
	if (*n >= LIST_MAX || !grow_names(&x->m->arena, v, *n))
		return too_many(x);
	(*v)[(*n)++] = name;
	return 0;
}

static int read_node_field(struct reading *x, const struct stage_onnx_field *f,
	struct stage_onnx_node *n, struct stage_onnx_msg *ret)
{
	switch (f->number) {
	case ONNX_NODE_INPUT:
		return read_name(x, f, &n->in, &n->n_in);
	case ONNX_NODE_OUTPUT:
		return read_name(x, f, &n->out, &n->n_out);
	case ONNX_NODE_OP:
		return stage_onnx_string(&x->r, &x->m->arena, f, &n->op);
	case ONNX_NODE_DOMAIN:
		return stage_onnx_string(&x->r, &x->m->arena, f, &n->domain);
	case ONNX_NODE_ATTR:
		n->n_attrs++;
		return f->wire == STAGE_WIRE_BYTES ?
			read_attr(x, f->body, n, ret) :
			stage_onnx_bad(&x->r, "an attribute is no message");
	default:
		return 0;
	}
}

/* The names of a node, said; and its tensor, when it is a Constant. */
static int note_node(struct reading *x, const struct stage_onnx_node *n)
{
	bool inner = x->depth > 1;
	int r = 0;

	for (unsigned i = 0; i < n->n_in && !r; i++)
		r = say(x, n->in[i], inner ? STAGE_ONNX_USED_INNER :
			use_of(n, i));
	for (unsigned i = 0; i < n->n_out && !r; i++)
		r = inner ? say(x, n->out[i], STAGE_ONNX_MADE) :
			made(x, n->out[i], 0);
	return r;
}

static int add_tensor(struct reading *x, const struct stage_onnx_tensor *t)
{
	struct stage_onnx *m = x->m;
	struct stage_onnx_tensor *v = grown(m->tensors, m->n_tensors,
		&m->room_tensors, sizeof(*v));

	if (!v)
		return too_many(x);
	m->tensors = v;
	v[m->n_tensors++] = *t;
	m->has_half |= t->plain && t->rank >= 2 &&
		(t->dtype == STAGE_F16 || t->dtype == STAGE_BF16);
	return 0;
}

static int read_constant(struct reading *x, const struct stage_onnx_node *n,
	struct stage_onnx_msg at)
{
	struct stage_onnx_tensor t = { .constant = true };
	int r;

	if (strcmp(n->op, "Constant") != 0 || *n->domain || n->n_out != 1 ||
	    n->n_attrs != 1 || at.end == at.at)
		return 0;
	r = stage_onnx_tensor(&x->r, &x->m->arena, at, &t);
	t.name = n->out[0];
	return r ? r : add_tensor(x, &t);
}

static int read_node(struct reading *x, struct stage_onnx_msg at)
{
	struct stage_onnx_node n = { .op = "", .domain = "" }, *v;
	struct stage_onnx_msg tensor = { 0, 0 };
	struct stage_onnx *m = x->m;
	struct stage_onnx_field f;
	int r;

	while ((r = stage_onnx_next(&x->r, &at, &f)) > 0) {
		r = read_node_field(x, &f, &n, &tensor);
		if (r)
			return r;
	}
	if (!strcmp(n.domain, "ai.onnx"))
		n.domain = "";
	if (!r && !*n.op)
		r = stage_onnx_bad(&x->r, "a node without operator");
	if (!r)
		r = note_node(x, &n);
	if (r || x->depth > 1)
		return r;
	v = grown(m->nodes, m->n_nodes, &m->room_nodes, sizeof(*v));
	if (!v)
		return too_many(x);
	m->nodes = v;
	v[m->n_nodes++] = n;
	return read_constant(x, &n, tensor);
}

/* ---- graphs ---------------------------------------------------------------- */

static int read_init(struct reading *x, struct stage_onnx_msg m)
{
	struct stage_onnx_tensor t = { 0 };
	int r = stage_onnx_tensor(&x->r, &x->m->arena, m, &t);

	if (r)
		return r;
	if (!t.name)
		return stage_onnx_bad(&x->r, "an initializer without name");
	if (x->depth > 1)
		return say(x, t.name, STAGE_ONNX_MADE);
	r = made(x, t.name, 0);
	return r ? r : add_tensor(x, &t);
}

/* ValueInfoProto: name 1 */
static int read_port(struct reading *x, struct stage_onnx_msg m, unsigned what,
	const char **ret)
{
	struct stage_onnx_field f;
	int r;

	*ret = "";
	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number != 1)
			continue;
		r = stage_onnx_string(&x->r, &x->m->arena, &f, ret);
		if (r)
			return r;
	}
	if (r)
		return r;
	if (x->depth == 1)
		return made(x, *ret, what);
	return say(x, *ret, what == STAGE_ONNX_INPUT ? STAGE_ONNX_MADE :
		STAGE_ONNX_USED_INNER);
}

/* What is known of the field goes into `part`. */
static int read_graph_field(struct reading *x,
	const struct stage_onnx_field *f, struct stage_onnx_part *part)
{
	if (f->wire != STAGE_WIRE_BYTES)
		return 0;
	switch (f->number) {
	case ONNX_GRAPH_NODE:
		part->index = (uint32_t)x->m->n_nodes;
		return read_node(x, f->body);
	case ONNX_GRAPH_INIT:
		part->index = (uint32_t)x->m->n_tensors;
		return read_init(x, f->body);
	case ONNX_GRAPH_INPUT:
		return read_port(x, f->body, STAGE_ONNX_INPUT, &part->name);
	case ONNX_GRAPH_OUTPUT:
		return read_port(x, f->body, STAGE_ONNX_OUTPUT, &part->name);
	default:
		return 0;
	}
}

static int add_part(struct reading *x, struct stage_onnx_part **v, size_t *n,
	size_t *room, const struct stage_onnx_part *part)
{
	struct stage_onnx_part *more = grown(*v, *n, room, sizeof(*more));

	if (!more)
		return too_many(x);
	*v = more;
	more[(*n)++] = *part;
	return 0;
}

static int read_graph(struct reading *x, struct stage_onnx_msg m)
{
	struct stage_onnx *o = x->m;
	struct stage_onnx_field f;
	int r;

	if (x->depth >= STAGE_ONNX_NESTING_MAX)
		return error_set(x->r.why, -EFBIG, "onnx: nested too deep");
	x->depth++;
	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		struct stage_onnx_part part = {
			/* What is no message is nothing we know. */
			.number = f.wire == STAGE_WIRE_BYTES ? f.number : 0,
			.start = f.start, .len = m.at - f.start };

		r = read_graph_field(x, &f, &part);
		if (!r && x->depth == 1)
			r = add_part(x, &o->graph, &o->n_graph,
				&o->room_graph, &part);
		if (r)
			return r;
	}
	x->depth--;
	return r;
}

/* ---- the model ------------------------------------------------------------- */

/* OperatorSetIdProto: domain 1, version 2 */
static int read_opset(struct reading *x, struct stage_onnx_msg m)
{
	const char *domain = "";
	struct stage_onnx_field f;
	uint64_t version = 0;
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		if (f.number == 2)
			version = f.value;
		if (f.number != 1)
			continue;
		r = stage_onnx_string(&x->r, &x->m->arena, &f, &domain);
		if (r)
			return r;
	}
	if (!r && (!*domain || !strcmp(domain, "ai.onnx")))
		x->m->opset = version;
	return r;
}

static int read_model_field(struct reading *x,
	const struct stage_onnx_field *f)
{
	switch (f->number) {
	case ONNX_MODEL_IR:
		if (f->wire != STAGE_WIRE_VARINT)
			return stage_onnx_bad(&x->r, "ir_version is no number");
		x->m->ir = f->value;
		return 0;
	case ONNX_MODEL_GRAPH:
		if (x->m->graph)
			return stage_onnx_bad(&x->r, "two graphs");
		return f->wire == STAGE_WIRE_BYTES ? read_graph(x, f->body) :
			stage_onnx_bad(&x->r, "the graph is no message");
	case ONNX_MODEL_OPSET:
		return f->wire == STAGE_WIRE_BYTES ? read_opset(x, f->body) :
			0;
	case ONNX_MODEL_TRAINING:
		x->m->has_training = true;
		return 0;
	default:
		return 0;
	}
}

/* Which node gives which tensor. */
static int index_constants(struct reading *x)
{
	struct stage_onnx *m = x->m;
	size_t k = 0;

	m->constants = calloc(m->n_nodes + 1, sizeof(*m->constants));
	if (!m->constants)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_tensors; i++) {
		const char *name = m->tensors[i].name;

		/* Both are in the order of the file. */
		while (m->tensors[i].constant && (m->nodes[k].n_out != 1 ||
		       m->nodes[k].out[0] != name))
			k++;
		if (m->tensors[i].constant)
			m->constants[k] = (uint32_t)i + 1;
	}
	return 0;
}

static int read_model(struct reading *x)
{
	struct stage_onnx_msg m = { 0, x->r.w.src->size };
	struct stage_onnx *o = x->m;
	struct stage_onnx_field f;
	int r;

	while ((r = stage_onnx_next(&x->r, &m, &f)) > 0) {
		struct stage_onnx_part part = { .number = f.number,
			.start = f.start, .len = m.at - f.start };

		r = read_model_field(x, &f);
		if (!r)
			r = add_part(x, &o->model, &o->n_model,
				&o->room_model, &part);
		if (r)
			return r;
	}
	if (r)
		return r;
	if (!o->ir || !o->graph)
		return stage_onnx_bad(&x->r, "this is no ONNX model");
	return index_constants(x);
}

int stage_onnx_read(struct src *s, struct stage_onnx *ret, struct error *why)
{
	struct reading x = { .r = { .why = why }, .m = ret };
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->arena.max = STAGE_ONNX_ARENA_MAX;
	r = stage_window_init(&x.r.w, s, WINDOW_ROOM);
	x.r.w.ahead = STAGE_WINDOW_JUMP;
	if (!r)
		r = read_model(&x);
	stage_window_done(&x.r.w);
	return r;
}

void stage_onnx_done(struct stage_onnx *m)
{
	free(m->model);
	free(m->graph);
	free(m->tensors);
	free(m->nodes);
	free(m->constants);
	map_done(&m->values);
	stage_arena_done(&m->arena);
	memset(m, 0, sizeof(*m));
}
