/*
 * Which tensor of the checkpoint a variable is stands in the function that
 * restores them: RestoreV2 has names and slices, and its outputs are assigned
 * to the variables. Where there is no such function, the checkpoint's object
 * graph tells full names, and at last a variable's name is its key.
 */
#include "config.h"

#include "stage/tf.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define HOPS_MAX 8		/* nodes between RestoreV2 and the variable */
#define OBJECTS_KEY "_CHECKPOINTABLE_OBJECT_GRAPH"
#define OBJECTS_MAX (64u << 20)	/* bytes */

struct finder {
	struct stage_savedmodel *m;
	struct map *vars;
	struct map strings;	/* node name -> struct strings */
	struct error *why;
};

struct strings {
	const char **v;
	size_t n;
};

/* The node of "name", "name:1", "name:out:1"; *ret_index its last number. */
static const struct stage_tf_node *node_of(const struct stage_tf_graph *g,
	const char *ref, unsigned long *ret_index)
{
	char name[512];
	size_t len = strcspn(ref, ":");
	const char *last = strrchr(ref, ':');

	if (len >= sizeof(name))
		return NULL;
	memcpy(name, ref, len);
	name[len] = '\0';
	*ret_index = last ? strtoul(last + 1, NULL, 10) : 0;
	return map_get(&g->node_of, name);
}

static bool is_call(const struct stage_tf_node *n)
{
	return !strcmp(n->op, "PartitionedCall") ||
		!strcmp(n->op, "StatefulPartitionedCall");
}

static bool is_assign(const struct stage_tf_node *n)
{
	return (!strcmp(n->op, "Assign") ||
		!strcmp(n->op, "AssignVariableOp")) && n->n_input >= 2;
}

/* The i-th of the strings an input of RestoreV2 is. Parsed once a node. */
static const char *string_at(struct finder *x, const struct stage_tf_graph *g,
	const char *ref, unsigned long i)
{
	unsigned long unused;
	const struct stage_tf_node *n = node_of(g, ref, &unused);
	struct strings *s = n ? map_get(&x->strings, n->name) : NULL;
	int count;

	if (!n)
		return NULL;
	if (!s) {
		s = stage_arena_alloc(&x->m->arena, sizeof(*s));
		if (!s)
			return NULL;
		count = stage_tf_const_strings(x->m, n, &s->v);
		s->n = count < 0 ? 0 : (size_t)count;
		if (map_put(&x->strings, n->name, s, NULL))
			return NULL;
	}
	return i < s->n ? s->v[i] : s->n == 1 ? s->v[0] : NULL;
}

/* What is assigned by node a, if it comes from a checkpoint. */
static int restored(struct finder *x, const struct stage_tf_graph *g,
	const struct stage_tf_node *a, struct stage_tf_var **ret)
{
	const char *ref = a->input[1];
	const struct stage_tf_node *n = NULL;
	struct stage_tf_var *v;
	unsigned long i = 0;

	*ret = NULL;
	for (int hops = 0; hops < HOPS_MAX; hops++) {
		n = node_of(g, ref, &i);
		if (!n || !strcmp(n->op, "RestoreV2") || !n->n_input ||
		    (strcmp(n->op, "Identity") != 0 &&
		     strcmp(n->op, "Reshape") != 0))
			break;
		ref = n->input[0];
	}
	if (!n || strcmp(n->op, "RestoreV2") != 0 || n->n_input < 3)
		return 0;
	v = stage_arena_alloc(&x->m->arena, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->key = string_at(x, g, n->input[1], i);
	v->spec = string_at(x, g, n->input[2], i);
	if (v->key && v->spec)
		*ret = v;
	return 0;
}

static int note(struct finder *x, const char *variable, struct stage_tf_var *v)
{
	unsigned long unused;
	const struct stage_tf_node *n = node_of(&x->m->graph, variable,
		&unused);

	if (!n || map_get(x->vars, n->name))
		return 0;
	return map_put(x->vars, n->name, v, NULL);
}

/* ---- TF2: the function that restores --------------------------------------- */

static int from_function(struct finder *x, const struct stage_tf_node *call)
{
	const char *name = stage_tf_func(x->m, call, "f");
	struct stage_tf_graph *g;
	int err = name ? stage_savedmodel_function(x->m, name, &g, x->why) :
		-ENOENT;

	if (err)
		return err == -ENOENT ? 0 : err;
	for (size_t i = 0; i < g->n_nodes && !err; i++) {
		const struct stage_tf_node *n = &g->nodes[i];
		struct stage_tf_var *v = NULL;
		const char **arg;

		if (!is_assign(n))
			continue;
		arg = map_get(&g->arg_of, n->input[0]);
		if (!arg || (size_t)(arg - g->arg) >= call->n_input)
			continue;
		err = restored(x, g, n, &v);
		if (!err && v)
			err = note(x, call->input[arg - g->arg], v);
	}
	map_done(&x->strings);
	memset(&x->strings, 0, sizeof(x->strings));
	return err;
}

/* ---- TF1: save/restore_all in the main graph ------------------------------- */

/* A graph can have several savers; first the one the model names, by the
 * scope its operators are in. */
static int from_graph(struct finder *x, const char *scope, size_t len)
{
	const struct stage_tf_graph *g = &x->m->graph;
	int err = 0;

	for (size_t i = 0; i < g->n_nodes && !err; i++) {
		const struct stage_tf_node *n = &g->nodes[i];
		struct stage_tf_var *v = NULL;

		if (!is_assign(n) || strncmp(n->name, scope, len) != 0)
			continue;
		err = restored(x, g, n, &v);
		if (!err && v)
			err = note(x, n->input[0], v);
	}
	return err;
}

/* ---- the object graph ------------------------------------------------------ */

static const char *copy_text(struct finder *x, const struct stage_wire *f)
{
	return stage_arena_copy(&x->m->arena, f->body.p, (size_t)f->value);
}

/* SerializedTensor: full_name 2, checkpoint_key 3. A full name that two keys
 * have says nothing. */
static int object_attribute(struct finder *x, struct bytes m, struct map *ret)
{
	const char *name = "", *key = "";
	struct stage_tf_var *v;
	struct stage_wire f;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (stage_wire_is(&f, 2, STAGE_WIRE_BYTES))
			name = copy_text(x, &f);
		else if (stage_wire_is(&f, 3, STAGE_WIRE_BYTES))
			key = copy_text(x, &f);
		if (!name || !key)
			return -ENOMEM;
	}
	if (r || !*name || !*key)
		return r;
	v = map_get(ret, name);
	if (v) {
		if (strcmp(v->key, key) != 0)
			v->spec = NULL;
		return 0;
	}
	v = stage_arena_alloc(&x->m->arena, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->key = key;
	v->spec = "";
	return map_put(ret, name, v, NULL);
}

/* TrackableObjectGraph: nodes 1 {attributes 2} */
static int read_objects(struct finder *x, struct bytes m, struct map *ret)
{
	struct stage_wire node, f;
	int r, rn;

	while ((r = stage_wire_next(&m, &node)) > 0) {
		if (!stage_wire_is(&node, 1, STAGE_WIRE_BYTES))
			continue;
		while ((rn = stage_wire_next(&node.body, &f)) > 0) {
			if (stage_wire_is(&f, 2, STAGE_WIRE_BYTES))
				rn = object_attribute(x, f.body, ret);
			if (rn < 0)
				return rn;
		}
		if (rn)
			return rn;
	}
	return r;
}

/* The one string of the checkpoint: its length, four bytes of checksum over
 * that, the bytes. */
static int load_objects(struct finder *x, const struct stage_bundle *b,
	const struct stage_input *in, struct map *ret)
{
	const struct stage_bundle_tensor *t = stage_bundle_find(b,
		OBJECTS_KEY, strlen(OBJECTS_KEY));
	cleanup_free uint8_t *data = NULL;
	const struct stage_bundle_piece *p;
	struct bytes m;
	struct src *s;
	uint64_t len;
	int err;

	if (!t || t->dtype != STAGE_TF_STRING || t->n_pieces != 1)
		return 0;
	p = t->pieces;
	if (p->len > OBJECTS_MAX)
		return error_set(x->why, -EFBIG, "an object graph of %llu "
			"bytes", (unsigned long long)p->len);
	data = malloc((size_t)p->len + 1);
	if (!data)
		return -ENOMEM;
	err = in->open(in->arg, listing_find(in->repo.listing, b->files[p->file]),
		&s, x->why);
	if (err)
		return err;
	err = src_read_wait(s, p->off, data, (size_t)p->len);
	src_unref(s);
	if (err)
		return error_set(x->why, err, "%s: %s", b->files[p->file],
			strerror(-err));
	m = bytes_of(data, (size_t)p->len);
	len = bytes_varint(&m);
	(void) bytes_take(&m, 4);
	if (m.bad || len != bytes_left(&m) || read_objects(x, m, ret))
		return error_set(x->why, -EBADMSG, "the checkpoint's object "
			"graph is broken");
	return 0;
}

/* ---- what is left ---------------------------------------------------------- */

static bool is_variable(const struct stage_tf_node *n)
{
	return !strcmp(n->op, "VarHandleOp") || !strcmp(n->op, "VariableV2") ||
		!strcmp(n->op, "Variable");
}

static const char *shared_name(struct finder *x,
	const struct stage_tf_node *n)
{
	struct stage_wire f;

	if (!stage_tf_value(stage_tf_attr(n, "shared_name"), 2, &f) ||
	    f.type != STAGE_WIRE_BYTES || !f.value || f.value > 4096)
		return n->name;
	return copy_text(x, &f);
}

static int by_name(struct finder *x, const struct stage_bundle *b,
	const struct stage_tf_node *n, const struct map *objects)
{
	const char *names[] = { shared_name(x, n), n->name };
	struct stage_tf_var *v = NULL;

	for (size_t i = 0; i < 2 && names[i] && !v; i++) {
		v = map_get(objects, names[i]);
		if (v && v->spec)
			break;
		v = NULL;
		if (!stage_bundle_find(b, names[i], strlen(names[i])))
			continue;
		v = stage_arena_alloc(&x->m->arena, sizeof(*v));
		if (!v)
			return -ENOMEM;
		v->key = names[i];
		v->spec = "";
	}
	return v ? map_put(x->vars, n->name, v, NULL) : 0;
}

static int fall_back(struct finder *x, const struct stage_bundle *b,
	const struct stage_input *in)
{
	const struct stage_tf_graph *g = &x->m->graph;
	struct map objects = { 0 };
	bool loaded = false;
	int err = 0;

	for (size_t i = 0; i < g->n_nodes && !err; i++) {
		const struct stage_tf_node *n = &g->nodes[i];

		if (!is_variable(n) || map_get(x->vars, n->name))
			continue;
		if (!loaded)
			err = load_objects(x, b, in, &objects);
		loaded = true;
		if (!err)
			err = by_name(x, b, n, &objects);
	}
	map_done(&objects);
	return err;
}

int stage_tf_vars(struct stage_savedmodel *m, const struct stage_bundle *b,
	const struct stage_input *in, struct map *ret, struct error *why)
{
	struct finder x = { .m = m, .vars = ret, .why = why };
	const char *op = m->restore_op ? m->restore_op : "";
	const char *slash = strrchr(op, '/');
	unsigned long unused;
	const struct stage_tf_node *n = node_of(&m->graph, op, &unused);
	int err = 0;

	if (n && is_call(n))
		err = from_function(&x, n);
	if (!err && slash)
		err = from_graph(&x, op, (size_t)(slash - op) + 1);
	if (!err)
		err = from_graph(&x, "", 0);
	if (!err)
		err = fall_back(&x, b, in);
	map_done(&x.strings);
	return err;
}

/* ---- the bytes of a variable ----------------------------------------------- */

/* "20 4 0,10:0,4": the shape of the whole, then start,length or "-" an axis,
 * only the first of which may be a part. */
static int parse_spec(const char *spec, const struct stage_bundle_tensor *t,
	uint64_t *row, uint64_t *rows)
{
	const char *p = strrchr(spec, ' ');
	unsigned axis = 0;

	p = p ? p + 1 : spec;
	while (*p) {
		uint64_t start = 0, len = axis < t->rank ? t->dim[axis] : 0;
		uint64_t dim = len;
		char *end;

		if (*p == '-') {
			p++;
		} else {
			start = strtoull(p, &end, 10);
			if (end == p || *end != ',')
				return -EBADMSG;
			p = end + 1;
			len = strtoull(p, &end, 10);
			if (end == p)
				return -EBADMSG;
			p = end;
		}
		if (axis >= t->rank || !size_inside(start, len, dim))
			return -EBADMSG;
		if (axis && (start || len != dim))
			return -ENOTSUP;
		if (!axis) {
			*row = start;
			*rows = len;
		}
		axis++;
		if (*p && *p++ != ':')
			return -EBADMSG;
	}
	return axis == t->rank ? 0 : -EBADMSG;
}

int stage_tf_const(const struct stage_bundle *b, const struct stage_tf_var *v,
	struct stage_tf_const *ret, struct error *why)
{
	const struct stage_bundle_tensor *t = stage_bundle_find(b, v->key,
		strlen(v->key));
	uint64_t row = 0, rows, row_len;
	int err;

	if (!t)
		return error_set(why, -EBADMSG, "the checkpoint has no tensor "
			"%s", v->key);
	if (!stage_tf_dtype_size(t->dtype) || !t->pieces)
		return error_set(why, -ENOTSUP, "%s is of a type without "
			"fixed size", v->key);
	rows = t->rank ? t->dim[0] : 1;
	err = *v->spec ? parse_spec(v->spec, t, &row, &rows) : 0;
	if (err)
		return error_set(why, err, "%s: the slice \"%s\" is %s",
			v->key, v->spec, err == -ENOTSUP ?
			"not along its first axis" : "not of its shape");
	row_len = t->rank && t->dim[0] ? t->len / t->dim[0] : t->len;
	ret->t = t;
	ret->dim0 = rows;
	ret->off = t->rank ? row * row_len : 0;
	ret->len = t->rank ? rows * row_len : t->len;
	return 0;
}
