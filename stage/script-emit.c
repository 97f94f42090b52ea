/*
 * Operators and constants. The first error stays (c->err): from then on every
 * function here gives NULL, so that who builds with them asks once at the end.
 */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stage/script-op.h"

struct stage_attr stage_ts_ai(const char *name, int64_t v)
{
	return (struct stage_attr){ .name = name, .kind = STAGE_ATTR_INT,
		.i = v };
}

struct stage_attr stage_ts_af(const char *name, double v)
{
	return (struct stage_attr){ .name = name, .kind = STAGE_ATTR_FLOAT,
		.f = (float)v };
}

struct stage_attr stage_ts_as(const char *name, const char *v)
{
	return (struct stage_attr){ .name = name, .kind = STAGE_ATTR_STRING,
		.s = v };
}

struct stage_attr stage_ts_al(const char *name, const int64_t *v, size_t n)
{
	return (struct stage_attr){ .name = name, .kind = STAGE_ATTR_INTS,
		.ints = v, .n = n };
}

/* ---- names ----------------------------------------------------------------- */

/* "layer1.0" and "Conv": /layer1/0/Conv, with a number when it is taken. */
static const char *name_of(struct ts *c, const char *op)
{
	char name[600];
	size_t n = 0;
	char *copy;

	name[n++] = '/';
	for (const char *p = c->path ? c->path : ""; *p && n < 500; p++)
		name[n++] = *p == '.' ? '/' : *p;
	(void) snprintf(name + n, sizeof(name) - n, "%s%.64s", n > 1 ? "/" :
		"", op);
	n = strlen(name);
	if (map_get(&c->names, name))
		(void) snprintf(name + n, sizeof(name) - n, "_%zu",
			++c->n_names);
	copy = stage_arena_strdup(&c->arena, name);
	if (!copy || map_put(&c->names, copy, copy, NULL)) {
		(void) stage_ts_error(c, -ENOMEM);
		return NULL;
	}
	return copy;
}

/* ---- operators ------------------------------------------------------------- */

static struct ts_val *val_new(struct ts *c, enum ts_origin origin,
	const struct ts_type *t)
{
	struct ts_val *v = stage_arena_alloc(&c->arena, sizeof(*v));

	if (!v) {
		(void) stage_ts_error(c, -ENOMEM);
		return NULL;
	}
	v->origin = origin;
	v->t = *t;
	return v;
}

static int copy_attrs(struct ts *c, struct ts_node *n,
	const struct stage_attr *attrs, size_t n_attrs)
{
	n->attrs = stage_arena_array(&c->arena, n_attrs + 1, sizeof(*attrs));
	if (!n->attrs)
		return stage_ts_error(c, -ENOMEM);
	n->n_attrs = n_attrs;
	for (size_t i = 0; i < n_attrs; i++) {
		n->attrs[i] = attrs[i];
		if (attrs[i].kind != STAGE_ATTR_INTS)
			continue;
		n->attrs[i].ints = (const int64_t *)stage_arena_copy(&c->arena,
			attrs[i].ints, attrs[i].n * sizeof(int64_t));
		if (!n->attrs[i].ints)
			return stage_ts_error(c, -ENOMEM);
	}
	return 0;
}

static int node_ends(struct ts *c, struct ts_node *n,
	struct ts_val *const *in, const struct ts_type *types)
{
	n->in = stage_arena_array(&c->arena, n->n_in + 1, sizeof(*n->in));
	n->out = stage_arena_array(&c->arena, n->n_out, sizeof(*n->out));
	if (!n->in || !n->out)
		return stage_ts_error(c, -ENOMEM);
	for (size_t i = 0; i < n->n_in; i++)
		n->in[i] = in[i];
	for (size_t i = 0; i < n->n_out; i++) {
		n->out[i] = val_new(c, TS_RESULT, &types[i]);
		if (!n->out[i])
			return c->err;
		n->out[i]->node = n;
		n->out[i]->name = name_of(c, n->op);
	}
	return c->err;
}

int stage_ts_node(struct ts *c, const char *op, const struct ts_type *types,
	struct ts_val **ret, size_t n_out, struct ts_val *const *in,
	size_t n_in, const struct stage_attr *attrs, size_t n_attrs)
{
	struct ts_node *n;

	memset(ret, 0, n_out * sizeof(struct ts_val *));
	if (c->err)
		return c->err;
	if (++c->n_nodes > TS_NODES_MAX)
		return stage_ts_fail(c, "more than %d operators",
			TS_NODES_MAX);
	n = stage_arena_alloc(&c->arena, sizeof(*n));
	if (!n)
		return stage_ts_error(c, -ENOMEM);
	n->op = op;
	n->n_in = n_in;
	n->n_out = n_out;
	while (n->n_in && !in[n->n_in - 1])
		n->n_in--;
	if (copy_attrs(c, n, attrs, n_attrs) || node_ends(c, n, in, types))
		return c->err;
	if (c->choice && stage_ts_may_fail(n))
		return stage_ts_fail(c, "%s can fail where the elements of a "
			"tensor choose", op);
	n->before = c->last;
	if (c->last)
		c->last->next = n;
	else
		c->first = n;
	c->last = n;
	memcpy(ret, n->out, n_out * sizeof(struct ts_val *));
	return 0;
}

struct ts_val *stage_ts_op(struct ts *c, const char *op,
	const struct ts_type *type, struct ts_val *const *in, size_t n_in,
	const struct stage_attr *attrs, size_t n_attrs)
{
	struct ts_val *ret;

	return stage_ts_node(c, op, type, &ret, 1, in, n_in, attrs, n_attrs) ?
		NULL : ret;
}

struct ts_val *stage_ts_same_op(struct ts *c, const char *op,
	struct ts_val *x)
{
	return c->err ? NULL : stage_ts_op(c, op, &x->t, TS_IN(x), TS_BARE);
}

void stage_ts_broadcast(struct ts *c, const struct ts_type *a,
	const struct ts_type *b, struct ts_type *ret)
{
	unsigned rank = a->rank > b->rank ? a->rank : b->rank;
	struct ts_type out = *ret;

	out.rank = rank;
	for (unsigned i = 0; i < rank; i++) {
		unsigned from = rank - i;	/* from the right */
		struct ts_dim x = from > a->rank ? stage_ts_num(1) :
			a->dim[a->rank - from];
		struct ts_dim y = from > b->rank ? stage_ts_num(1) :
			b->dim[b->rank - from];

		if (stage_ts_is(x, 1)) {
			out.dim[i] = y;
			continue;
		}
		if (!stage_ts_is(y, 1))
			stage_ts_require(c, x, y);
		out.dim[i] = x;
	}
	*ret = out;
}

struct ts_val *stage_ts_two(struct ts *c, const char *op, struct ts_val *a,
	struct ts_val *b)
{
	struct ts_type t;

	if (c->err)
		return NULL;
	t = a->t;
	stage_ts_broadcast(c, &a->t, &b->t, &t);
	return stage_ts_op(c, op, &t, TS_IN(a, b), TS_BARE);
}

struct ts_val *stage_ts_cast(struct ts *c, struct ts_val *x,
	enum stage_dtype to)
{
	struct ts_type t;

	if (c->err || x->t.dtype == to)
		return c->err ? NULL : x;
	t = x->t;
	t.dtype = to;
	return stage_ts_op(c, "Cast", &t, TS_IN(x),
		TS_AT(stage_ts_ai("to", to)));
}

/* onnxruntime has no Where of bools. */
struct ts_val *stage_ts_where(struct ts *c, struct ts_val *cond,
	const struct ts_type *type, struct ts_val *a, struct ts_val *b)
{
	struct ts_val *no;

	if (c->err)
		return NULL;
	if (type->dtype != STAGE_BOOL)
		return stage_ts_op(c, "Where", type, TS_IN(cond, a, b),
			TS_BARE);
	no = stage_ts_same_op(c, "Not", cond);
	return stage_ts_op(c, "Or", type, TS_IN(
		stage_ts_two(c, "And", cond, a),
		stage_ts_two(c, "And", no, b)), TS_BARE);
}

/* ---- constants ------------------------------------------------------------- */

struct ts_val *stage_ts_const(struct ts *c, enum stage_dtype t,
	const uint64_t *dims, unsigned rank, const void *data, size_t len)
{
	struct ts_type type = { .dtype = t, .rank = rank };
	char key[2 * 64 + 80];
	bool brief = len <= 64 && rank <= 1;
	struct ts_val *v;
	int n = 0;

	if (c->err)
		return NULL;
	for (unsigned i = 0; i < rank; i++)
		type.dim[i] = stage_ts_num((int64_t)dims[i]);
	if (brief) {
		n = snprintf(key, sizeof(key), "%d %u ", (int)t, rank);
		for (size_t i = 0; i < len; i++)
			n += snprintf(key + n, sizeof(key) - (size_t)n,
				"%02x", ((const uint8_t *)data)[i]);
		v = map_get(&c->consts, key);
		if (v)
			return v;
	}
	v = val_new(c, TS_CONST, &type);
	if (!v)
		return NULL;
	v->data = (const uint8_t *)stage_arena_copy(&c->arena, data, len);
	v->len = len;
	if (!v->data || (brief && map_put(&c->consts, key, v, NULL))) {
		(void) stage_ts_error(c, -ENOMEM);
		return NULL;
	}
	return v;
}

static void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

bool stage_ts_is_float(enum stage_dtype t)
{
	return t == STAGE_F32 || t == STAGE_F16 || t == STAGE_BF16 ||
		t == STAGE_F64;
}

struct ts_val *stage_ts_scalar(struct ts *c, enum stage_dtype t, double v)
{
	unsigned size = stage_dtype_size(t);
	float f = (float)v;
	uint8_t data[8];
	uint64_t bits = 0;
	uint32_t low;

	if (t == STAGE_F16 || t == STAGE_BF16)
		return stage_ts_cast(c, stage_ts_scalar(c, STAGE_F32, v), t);
	if (t == STAGE_F64) {
		memcpy(&bits, &v, sizeof(bits));
	} else if (t == STAGE_F32) {
		memcpy(&low, &f, sizeof(low));
		bits = low;
	} else if (!(v >= -9.2e18 && v <= 9.2e18)) {
		(void) stage_ts_fail(c, "%g is no integer", v);
		return NULL;
	} else {
		bits = t == STAGE_BOOL ? v != 0 : (uint64_t)(int64_t)v;
	}
	put_le(data, bits, size);
	return stage_ts_const(c, t, NULL, 0, data, size);
}

struct ts_val *stage_ts_scalar_like(struct ts *c, const struct ts_val *like,
	double v)
{
	return c->err ? NULL : stage_ts_scalar(c, like->t.dtype, v);
}

struct ts_val *stage_ts_numbers(struct ts *c, const int64_t *v, size_t n)
{
	uint64_t dims[1] = { n };
	uint8_t *data;

	if (c->err)
		return NULL;
	data = stage_arena_array(&c->arena, n + 1, 8);
	if (!data) {
		(void) stage_ts_error(c, -ENOMEM);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		put_le(data + 8 * i, (uint64_t)v[i], 8);
	return stage_ts_const(c, STAGE_I64, dims, 1, data, 8 * n);
}

bool stage_ts_known(const struct ts_val *v, size_t i, double *ret)
{
	unsigned size = stage_dtype_size(v->t.dtype);
	uint64_t bits = 0;
	uint32_t low;
	float f;

	if (v->origin != TS_CONST || (i + 1) * size > v->len)
		return false;
	for (unsigned k = 0; k < size; k++)
		bits |= (uint64_t)v->data[i * size + k] << (8 * k);
	low = (uint32_t)bits;
	switch (v->t.dtype) {
	case STAGE_F32:
		memcpy(&f, &low, sizeof(f));
		*ret = (double)f;
		return true;
	case STAGE_F64:
		memcpy(ret, &bits, sizeof(*ret));
		return true;
	case STAGE_I64:
		*ret = (double)(int64_t)bits;
		return true;
	case STAGE_I32:
		*ret = (double)(int32_t)low;
		return true;
	case STAGE_BOOL:
	case STAGE_U8:
		*ret = (double)bits;
		return true;
	default:
		return false;
	}
}

/* ---- sizes as tensors ------------------------------------------------------ */

static struct ts_val *dim_val(struct ts *c, struct ts_dim d);

static struct ts_type vector(size_t n)
{
	return (struct ts_type){ .dtype = STAGE_I64, .rank = 1,
		.dim = { stage_ts_num((int64_t)n) } };
}

static struct ts_val *atom_val(struct ts *c, unsigned i)
{
	const struct ts_type one = vector(1);
	struct ts_atom *a = &c->atoms[i];
	struct ts_val *v;
	int64_t axis = a->axis, by = a->by;

	if (a->val)
		return a->val;
	if (++c->depth > TS_DEPTH_MAX) {
		(void) stage_ts_fail(c, "a size that is too complicated");
		return NULL;
	}
	if (a->of) {
		v = stage_ts_op(c, "Div", &one, TS_IN(dim_val(c,
			(struct ts_dim){ 0, a->of }), stage_ts_numbers(c,
			&by, 1)), TS_BARE);
	} else {
		const struct ts_type *t = &c->inputs[a->input]->val->t;
		const struct ts_type shape = vector(t->rank);

		v = stage_ts_op(c, "Shape", &shape, TS_IN(
			c->inputs[a->input]->val), TS_BARE);
		v = stage_ts_op(c, "Gather", &one, TS_IN(v,
			stage_ts_numbers(c, &axis, 1)),
			TS_AT(stage_ts_ai("axis", 0)));
	}
	c->depth--;
	a = &c->atoms[i];
	a->val = v;
	return v;
}

/* i64[1] */
static struct ts_val *dim_val(struct ts *c, struct ts_dim d)
{
	const struct ts_type one = vector(1);
	struct ts_val *all = NULL;

	if (!d.sym)
		return stage_ts_numbers(c, &d.n, 1);
	for (unsigned i = 0; i < d.sym->n && !c->err; i++) {
		const struct ts_term *t = &d.sym->t[i];
		struct ts_val *v = NULL;

		for (unsigned k = 0; k < t->n; k++) {
			struct ts_val *a = atom_val(c, t->atom[k]);

			v = v ? stage_ts_op(c, "Mul", &one, TS_IN(v, a),
				TS_BARE) : a;
		}
		if (!v)
			v = stage_ts_numbers(c, &t->coef, 1);
		else if (t->coef != 1)
			v = stage_ts_op(c, "Mul", &one, TS_IN(v,
				stage_ts_numbers(c, &t->coef, 1)), TS_BARE);
		all = all ? stage_ts_op(c, "Add", &one, TS_IN(all, v),
			TS_BARE) : v;
	}
	return c->err ? NULL : all;
}

struct ts_val *stage_ts_dim_scalar(struct ts *c, struct ts_dim d)
{
	if (!d.sym)
		return stage_ts_scalar(c, STAGE_I64, (double)d.n);
	return stage_ts_squeeze(c, dim_val(c, d), 0);
}

struct ts_val *stage_ts_dims(struct ts *c, const struct ts_dim *v, size_t n)
{
	struct ts_val *part[STAGE_RANK_MAX * 2];
	int64_t number[STAGE_RANK_MAX * 2];
	size_t parts = 0, run = 0;

	if (n > STAGE_RANK_MAX * 2) {
		(void) stage_ts_fail(c, "too many sizes");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (!v[i].sym)
			number[run++] = v[i].n;
		if (run && (v[i].sym || i + 1 == n)) {
			part[parts++] = stage_ts_numbers(c, number, run);
			run = 0;
		}
		if (v[i].sym)
			part[parts++] = dim_val(c, v[i]);
	}
	if (!parts)
		return stage_ts_numbers(c, NULL, 0);
	return parts == 1 ? part[0] : stage_ts_concat(c, part, parts, 0);
}

struct ts_val *stage_ts_operand(struct ts *c, const struct ts_value *v,
	enum stage_dtype t)
{
	switch (v->kind) {
	case TS_TENSOR:
		if (c->err)
			return NULL;
		return t ? stage_ts_cast(c, v->u.tensor->val, t) :
			v->u.tensor->val;
	case TS_BOOL:
		return stage_ts_scalar(c, t ? t : STAGE_BOOL, v->u.b);
	case TS_INT:
		if ((t && t != STAGE_I64) || v->u.i == (int64_t)
		    (double)v->u.i)
			return stage_ts_scalar(c, t ? t : STAGE_I64,
				(double)v->u.i);
		break;
	case TS_FLOAT:
		return stage_ts_scalar(c, t ? t : STAGE_F32, v->u.f);
	case TS_SYM:
		return stage_ts_cast(c, stage_ts_dim_scalar(c,
			(struct ts_dim){ 0, v->u.sym }), t ? t : STAGE_I64);
	default:
		break;
	}
	(void) stage_ts_fail(c, "%s where a tensor or number is needed",
		stage_ts_kind(v));
	return NULL;
}
