/*
 * From values to operators. Operators are kept in a list until the run ends:
 * only then is it known which of them an output needs, and an output gives
 * its own name to the operator that computes it.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stage/blueprint-run.h"

#define NAME_MAX_LEN 1024	/* bytes of a value's name */

/* ---- names ----------------------------------------------------------------- */

/* A name taken; the next suffix to try for another of the same. */
struct taken {
	unsigned next;
};

const char *stage_bp_unique(struct bp_run *r, const char *base)
{
	char name[NAME_MAX_LEN + 32];
	struct taken *of_base, *mine;
	char *copy;

	(void) snprintf(name, sizeof(name), "%.*s", NAME_MAX_LEN, base);
	of_base = map_get(&r->names, name);
	while (of_base && map_get(&r->names, name))
		(void) snprintf(name, sizeof(name), "%.*s_%u", NAME_MAX_LEN,
			base, of_base->next++);
	mine = stage_arena_alloc(&r->arena, sizeof(*mine));
	copy = stage_arena_copy(&r->arena, name, strlen(name));
	if (!mine || !copy)
		return NULL;
	mine->next = 1;
	return map_put(&r->names, copy, mine, NULL) ? NULL : copy;
}

/* "bert.encoder.layer.0.output" and "Add": /bert/encoder/layer.0/output/Add */
static const char *node_name(struct bp_run *r, const char *op)
{
	char name[NAME_MAX_LEN];
	size_t n = 0;

	name[n++] = '/';
	for (const char *p = r->path; *p && n < sizeof(name) - 64; p++) {
		if (*p == '.' && !p[1])
			break;
		name[n++] = *p == '.' && !(p[1] >= '0' && p[1] <= '9') ? '/' :
			*p;
	}
	(void) snprintf(name + n, sizeof(name) - n, "%s%s", n > 1 ? "/" : "",
		op);
	return stage_bp_unique(r, name);
}

/* ---- constants ------------------------------------------------------------- */

struct constant {
	enum stage_dtype dtype;
	bool scalar;
	size_t n;
	double f;
	int64_t i[STAGE_KNOWN_MAX];
	float fs[STAGE_KNOWN_MAX];
};

static int constant_key(const struct constant *c, char *ret, size_t room)
{
	int n = snprintf(ret, room, "%s%s", stage_dtype_name(c->dtype),
		c->scalar ? "" : "[]");

	for (size_t i = 0; i < c->n && n >= 0 && (size_t)n < room; i++)
		n += c->dtype == STAGE_F32 ?
			snprintf(ret + n, room - (size_t)n, " %a",
				(double)c->fs[i]) :
			snprintf(ret + n, room - (size_t)n, " %lld",
				(long long)c->i[i]);
	return n >= 0 && (size_t)n < room ? 0 : -EFBIG;
}

static void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static int constant_bytes(struct bp_run *r, const struct constant *c,
	struct bp_tensor *t)
{
	unsigned size = stage_dtype_size(c->dtype);
	uint8_t *data = stage_arena_array(&r->arena, c->n + 1, 8);

	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++) {
		uint32_t bits;

		memcpy(&bits, &c->fs[i], sizeof(bits));
		put_le(data + i * size, c->dtype == STAGE_F32 ? bits :
			(uint64_t)c->i[i], size);
	}
	t->data = data;
	t->len = c->n * size;
	return 0;
}

static int constant_known(struct bp_run *r, const struct constant *c,
	struct bp_tensor *t)
{
	struct stage_dim *v = stage_arena_array(&r->arena, c->n + 1,
		sizeof(*v));

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++)
		v[i].size = c->i[i];
	t->type.known = v;
	t->type.n_known = c->n;
	return 0;
}

static int constant_tensor(struct bp_run *r, const struct constant *c,
	struct bp_tensor **ret)
{
	char key[STAGE_KNOWN_MAX * 24];
	struct bp_tensor *t;
	int err = constant_key(c, key, sizeof(key));

	if (err)
		return err;
	t = map_get(&r->constants, key);
	if (t) {
		*ret = t;
		return 0;
	}
	t = stage_arena_alloc(&r->arena, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->kind = BP_CONSTANT;
	t->type.dtype = c->dtype;
	if (!c->scalar) {
		t->type.rank = 1;
		t->type.dim[0].size = (int64_t)c->n;
	}
	err = constant_bytes(r, c, t);
	if (!err && c->dtype == STAGE_I64)
		err = constant_known(r, c, t);
	if (!err)
		err = map_put(&r->constants, key, t, NULL);
	if (!err)
		*ret = t;
	return err;
}

/* One element of type c->dtype; a number that would change is refused. */
static int constant_item(struct bp_run *r, const struct bp_place *at,
	const struct bp_value *v, struct constant *c)
{
	bool real = c->dtype == STAGE_F32;

	if (real && v->kind == BP_V_FLOAT)
		c->fs[c->n] = (float)v->f;
	else if (real && v->kind == BP_V_INT)
		c->fs[c->n] = (float)v->i;
	else if (c->dtype == STAGE_BOOL && v->kind == BP_V_BOOL)
		c->i[c->n] = v->b;
	else if (!real && c->dtype != STAGE_BOOL && v->kind == BP_V_INT &&
	    (c->dtype == STAGE_I64 || v->i == (int32_t)v->i))
		c->i[c->n] = v->i;
	else
		return stage_bp_fail(r, at, "%s where %s is needed",
			stage_bp_kind_name(v), stage_dtype_name(c->dtype));
	if (real && !isfinite(c->fs[c->n]))
		return stage_bp_fail(r, at, "a constant too large for f32");
	c->n++;
	return 0;
}

static enum stage_dtype natural_type(const struct bp_value *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i].kind == BP_V_FLOAT)
			return STAGE_F32;
		if (v[i].kind == BP_V_BOOL)
			return STAGE_BOOL;
	}
	return STAGE_I64;
}

int stage_bp_operand(struct bp_run *r, const struct bp_place *at,
	const struct bp_value *v, enum stage_dtype like,
	struct bp_tensor **ret)
{
	struct constant c = { .scalar = v->kind != BP_V_LIST };
	const struct bp_value *items = c.scalar ? v : v->list;
	size_t n = c.scalar ? 1 : v->n;
	int err = 0;

	if (v->kind == BP_V_TENSOR || v->kind == BP_V_NONE) {
		*ret = v->kind == BP_V_TENSOR ? v->tensor : NULL;
		return 0;
	}
	if (n > STAGE_KNOWN_MAX)
		return stage_bp_fail(r, at, "a constant of more than %d "
			"elements", STAGE_KNOWN_MAX);
	c.dtype = like ? like : natural_type(items, n);
	for (size_t i = 0; i < n && !err; i++)
		err = constant_item(r, at, &items[i], &c);
	return err ? err : constant_tensor(r, &c, ret);
}

/* ---- operators ------------------------------------------------------------- */

static int infer(struct bp_run *r, const struct bp_place *at,
	const struct bp_node *node, struct stage_type *types)
{
	struct error inner = { 0 };
	struct stage_infer x = {
		.op = node->op, .n_in = node->n_in, .attrs = node->attrs,
		.n_attrs = node->n_attrs, .out = types, .n_out = node->n_out,
		.arena = &r->arena, .unknowns = &r->unknowns, .why = &inner,
	};
	int err;

	for (size_t i = 0; i < node->n_in; i++)
		x.in[i] = node->in[i] ? &node->in[i]->type : NULL;
	err = stage_op_infer(&x);
	if (err == -ENOTSUP)
		return stage_bp_fail(r, at, "%s", inner.text);
	return err;
}

static struct bp_node *node_new(struct bp_run *r, const struct stage_op *op,
	struct bp_tensor *const *in, size_t n_in, size_t n_out)
{
	struct bp_node *n = stage_arena_alloc(&r->arena, sizeof(*n));

	if (!n)
		return NULL;
	n->op = op;
	n->n_in = n_in;
	n->n_out = n_out;
	n->in = stage_arena_array(&r->arena, n_in + 1, sizeof(struct bp_tensor *));
	n->out = stage_arena_array(&r->arena, n_out, sizeof(struct bp_tensor *));
	if (!n->in || !n->out)
		return NULL;
	for (size_t i = 0; i < n_in; i++)
		n->in[i] = in[i];
	return n;
}

static int node_outputs(struct bp_run *r, struct bp_node *n,
	const struct stage_type *types)
{
	for (size_t i = 0; i < n->n_out; i++) {
		struct bp_tensor *t = stage_arena_alloc(&r->arena, sizeof(*t));

		if (!t)
			return -ENOMEM;
		t->kind = BP_RESULT;
		t->type = types[i];
		t->node = n;
		t->name = node_name(r, n->op->name);
		if (!t->name)
			return -ENOMEM;
		n->out[i] = t;
	}
	n->before = r->last;
	if (r->last)
		r->last->next = n;
	else
		r->first = n;
	r->last = n;
	return 0;
}

int stage_bp_append(struct bp_run *r, const struct bp_place *at,
	const struct stage_op *op, struct bp_tensor *const *in, size_t n_in,
	struct stage_attr *attrs, size_t n_attrs, struct bp_tensor **ret,
	size_t n_out)
{
	struct stage_type types[STAGE_OP_OUTPUTS_MAX];
	struct bp_node *n;
	int err;

	memset(types, 0, sizeof(types));
	if (op->since > r->args->opset)
		return stage_bp_fail(r, at, "%s needs opset %u, this is %u",
			op->name, op->since, r->args->opset);
	if (++r->nodes > BP_NODES_MAX)
		return error_set(r->why, -EFBIG, "%s:%u:%u: over the limit of "
			"%u operators", at->file, at->line, at->col,
			BP_NODES_MAX);
	n = node_new(r, op, in, n_in, n_out);
	if (!n)
		return -ENOMEM;
	n->attrs = attrs;
	n->n_attrs = n_attrs;
	err = infer(r, at, n, types);
	if (!err)
		err = node_outputs(r, n, types);
	for (size_t i = 0; i < n_out && !err; i++)
		ret[i] = n->out[i];
	return err;
}
