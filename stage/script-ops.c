/*
 * Which operator a call means: the tables hold one line for every form of its
 * arguments, and the first that fits is taken, as torch's dispatcher does.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/script-op.h"

#define NAME_ROOM 128		/* bytes of a parameter's name or default */

static const struct ts_op *const tables[] = {
	stage_ts_ops_math, stage_ts_ops_reduce, stage_ts_ops_nn,
	stage_ts_ops_act, stage_ts_ops_pool, stage_ts_ops_move,
	stage_ts_ops_make, stage_ts_ops_index, stage_ts_ops_attention,
	stage_ts_ops_rnn,
};

/* Where a tensor lies and how: nothing of it changes a number. */
static const char *const no_matter[] = {
	"layout", "device", "pin_memory", "memory_format", "non_blocking",
	"copy", "generator", "requires_grad", "implicit",
};

/* ---- parameters ------------------------------------------------------------ */

struct param {
	char name[NAME_ROOM];
	char kind;
	bool has_dflt;
	char dflt[NAME_ROOM];
};

/* The next of "name:kind=default …"; false: there is none. */
static bool next_param(const char **at, struct param *p)
{
	const char *from = *at;
	size_t n = strcspn(from, " "), name = strcspn(from, ":");

	if (!*from)
		return false;
	(void) snprintf(p->name, sizeof(p->name), "%.*s", (int)name, from);
	p->kind = from[name + 1];
	p->has_dflt = from[name + 2] == '=';
	p->dflt[0] = 0;
	if (p->has_dflt)
		(void) snprintf(p->dflt, sizeof(p->dflt), "%.*s",
			(int)(n - name - 3), from + name + 3);
	*at = from + n + (from[n] == ' ');
	return true;
}

static bool list_fits(const struct ts_value *v, bool tensors)
{
	struct ts_dim d;

	if (v->kind != TS_LIST && v->kind != TS_TUPLE)
		return !tensors && stage_ts_to_dim(v, &d);
	for (size_t i = 0; i < v->u.list->n; i++) {
		const struct ts_value *item = &v->u.list->v[i];

		if (tensors ? item->kind != TS_TENSOR :
		    !stage_ts_to_dim(item, &d))
			return false;
	}
	return true;
}

static bool fits(const struct param *p, const struct ts_value *v)
{
	struct ts_dim d;

	if (v->kind == TS_NONE && (p->has_dflt || p->kind == 'N'))
		return true;
	switch (p->kind) {
	case 'T':
	case 'N':
		return v->kind == TS_TENSOR;
	case 'L':
		return list_fits(v, true);
	case 'i':
		return stage_ts_to_dim(v, &d);
	case 'I':
		return list_fits(v, false);
	case 'd':
		return v->kind == TS_INT || v->kind == TS_FLOAT ||
			v->kind == TS_SYM || v->kind == TS_BOOL;
	case 'b':
		return v->kind == TS_BOOL;
	case 's':
		return v->kind == TS_STR;
	default:
		return true;
	}
}

static struct ts_value dflt_value(const struct param *p)
{
	struct ts_value v = { .kind = TS_NONE };

	if (!strcmp(p->dflt, "T") || !strcmp(p->dflt, "F")) {
		v.kind = TS_BOOL;
		v.u.b = p->dflt[0] == 'T';
	} else if (p->kind == 's' && strcmp(p->dflt, "N") != 0) {
		v.kind = TS_STR;
		v.u.s = strcmp(p->dflt, "constant") ? "none" : "constant";
	} else if (strchr(p->dflt, '.') || strchr(p->dflt, 'e')) {
		v.kind = TS_FLOAT;
		v.u.f = strtod(p->dflt, NULL);
	} else if (strcmp(p->dflt, "N") != 0) {
		v.kind = TS_INT;
		v.u.i = strtoll(p->dflt, NULL, 10);
	}
	return v;
}

static size_t find_key(const char *const *keys, size_t n, const char *name)
{
	for (size_t i = 0; i < n && keys; i++)
		if (keys[i] && !strcmp(keys[i], name))
			return i;
	return n;
}

static bool ignored(const char *key)
{
	for (size_t i = 0; i < sizeof(no_matter) / sizeof(no_matter[0]); i++)
		if (!strcmp(key, no_matter[i]))
			return true;
	return false;
}

/* Do the arguments fit this form? Then they are in k->arg. */
static bool bind(struct ts_call *k, const struct ts_op *op,
	const struct ts_value *args, size_t n, const char *const *keys)
{
	const char *at = op->params;
	bool used[TS_ARGS_MAX] = { false };
	struct param p;

	for (k->n = 0; next_param(&at, &p); k->n++) {
		size_t i = k->n < n && (!keys || !keys[k->n]) ? k->n :
			find_key(keys, n, p.name);

		if (k->n >= TS_ARGS_MAX || n > TS_ARGS_MAX)
			return false;
		if (i < n) {
			if (!fits(&p, &args[i]))
				return false;
			k->arg[k->n] = args[i];
			used[i] = true;
		} else if (p.has_dflt) {
			k->arg[k->n] = dflt_value(&p);
		} else if (p.kind == 'N') {
			k->arg[k->n] = (struct ts_value){ .kind = TS_NONE };
		} else {
			return false;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (!used[i] && !(keys && keys[i] && ignored(keys[i])) &&
		    (i >= TS_ARGS_MAX || args[i].kind != TS_NONE))
			return false;
	k->op = op;
	return true;
}

/* ---- the types of inputs --------------------------------------------------- */

/* What some operators say of an input nobody has said anything of. */
static void settle_by_name(struct ts *c, const char *name,
	const struct ts_value *args, size_t n)
{
	static const struct {
		const char *name;
		unsigned arg, rank;
		enum stage_dtype dtype;
	} says[] = {
		{ "conv1d", 0, 3, STAGE_F32 }, { "conv2d", 0, 4, STAGE_F32 },
		{ "conv3d", 0, 5, STAGE_F32 }, { "linear", 0, 2, STAGE_F32 },
		{ "conv_transpose1d", 0, 3, STAGE_F32 },
		{ "conv_transpose2d", 0, 4, STAGE_F32 },
		{ "embedding", 1, 2, STAGE_I64 },
		{ "lstm", 0, 3, STAGE_F32 }, { "gru", 0, 3, STAGE_F32 },
	};

	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++)
		if (!strcmp(name, says[i].name) && n > says[i].arg &&
		    args[says[i].arg].kind == TS_TENSOR)
			stage_ts_settle(c, args[says[i].arg].u.tensor->val,
				says[i].dtype, says[i].rank);
}

/* ---- running --------------------------------------------------------------- */

static void check_stale(struct ts *c, const struct ts_value *v,
	unsigned depth)
{
	if (v->kind == TS_TENSOR &&
	    v->u.tensor->version != v->u.tensor->base->version)
		(void) stage_ts_fail(c, "a tensor is used after its memory "
			"was written through another");
	if ((v->kind == TS_LIST || v->kind == TS_TUPLE) && !depth)
		for (size_t i = 0; i < v->u.list->n; i++)
			check_stale(c, &v->u.list->v[i], 1);
}

static int write_back(struct ts *c, const struct ts_value *to,
	struct ts_val *v, struct ts_value *ret)
{
	struct ts_tensor *t = to->u.tensor;

	if (to->kind != TS_TENSOR)
		return stage_ts_fail(c, "%s cannot be written in place",
			stage_ts_kind(to));
	if (t->base->fixed)
		return stage_ts_fail(c, "a parameter is written in place");
	if (stage_ts_writes(c, t->base->born))
		return c->err;
	if (v->t.rank != t->val->t.rank)
		return stage_ts_fail(c, "another shape is written in place");
	for (unsigned i = 0; i < v->t.rank; i++)
		stage_ts_require(c, v->t.dim[i], t->val->t.dim[i]);
	v = stage_ts_cast(c, v, t->val->t.dtype);
	if (c->err)
		return c->err;
	t->val = v;
	t->version = ++t->base->version;
	*ret = *to;
	return 0;
}

static struct ts_value handle(struct ts_call *k, struct ts_val *v)
{
	struct ts_value ret = stage_ts_tensor(k->c, v);
	const struct ts_value *of = &k->arg[0];

	if (!k->c->err && k->n && of->kind == TS_TENSOR &&
	    !(k->op->flags & TS_COPY) &&
	    ((k->op->flags & TS_VIEW) || of->u.tensor->val == v)) {
		ret.u.tensor->base = of->u.tensor->base;
		ret.u.tensor->version = of->u.tensor->base->version;
	}
	return ret;
}

struct ts_val *stage_ts_returns(struct ts_call *k, struct ts_val *const *v,
	size_t n, bool list)
{
	struct ts_list *l = stage_ts_list(k->c, n);

	for (size_t i = 0; l && i < n && !k->c->err; i++) {
		struct ts_value none = { .kind = TS_NONE };

		(void) stage_ts_push(k->c, l, v[i] ? handle(k, v[i]) : none);
	}
	k->ret = (struct ts_value){ .kind = list ? TS_LIST : TS_TUPLE,
		.u.list = l };
	k->done = true;
	return NULL;
}

static int run(struct ts_call *k, bool in_place, const struct ts_value *first,
	struct ts_value *ret)
{
	struct ts_val *v;

	for (size_t i = 0; i < k->n; i++)
		check_stale(k->c, &k->arg[i], 0);
	v = k->c->err ? NULL : k->op->run(k);
	if (k->c->err)
		return k->c->err;
	if (k->done) {
		*ret = k->ret;
		return in_place ? stage_ts_fail(k->c, "several results in "
			"place") : 0;
	}
	if (!v)
		return stage_ts_fail(k->c, "gives nothing");
	if (in_place)
		return write_back(k->c, first, v, ret);
	*ret = handle(k, v);
	return k->c->err;
}

int stage_ts_aten(struct ts *c, const char *name, const struct ts_value *args,
	size_t n, const char *const *keys, struct ts_value *ret)
{
	struct ts_call *k = stage_arena_alloc(&c->arena, sizeof(*k));
	char base[NAME_ROOM];
	size_t len = strlen(name);
	bool in_place, known = false;

	if (!k)
		return stage_ts_error(c, -ENOMEM);
	in_place = len > 1 && len < sizeof(base) && name[len - 1] == '_' &&
		name[len - 2] != '_';
	(void) snprintf(base, sizeof(base), "%.*s",
		(int)(len - in_place), name);
	/* These write nothing. */
	if (!strcmp(base, "detach") || !strcmp(base, "requires_grad"))
		in_place = false;
	settle_by_name(c, base, args, n);
	if (c->err)
		return c->err;
	k->c = c;
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct ts_op *op = tables[t]; op->name; op++) {
			if (strcmp(op->name, base) != 0)
				continue;
			known = true;
			if (bind(k, op, args, n, keys))
				return run(k, in_place, &args[0], ret);
		}
	}
	return stage_ts_fail(c, known ? "these arguments are not handled" :
		"the operator is not handled");
}

int stage_script_operators(int (*fn)(void *arg, const char *name), void *arg)
{
	const char *last = "";
	int r = 0;

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct ts_op *op = tables[t]; op->name && !r;
		    op++) {
			/* '?': it has no form in ONNX. */
			if (op->onnx[0] != '?' && strcmp(op->name, last))
				r = fn(arg, op->name);
			last = op->name;
		}
	}
	return r;
}

/* ---- what rules ask for ---------------------------------------------------- */

struct ts_val *stage_ts_arg(struct ts_call *k, size_t i)
{
	const struct ts_value *v = &k->arg[i];
	struct ts *c = k->c;

	if (v->kind == TS_NONE || c->err)
		return NULL;
	if (v->kind != TS_TENSOR)
		return stage_ts_operand(c, v, 0);
	if (!v->u.tensor->val->t.dtype) {
		/* Nothing says what it is: the caller tries one after the
		 * other. */
		c->a->guessed = true;
		stage_ts_settle(c, v->u.tensor->val, STAGE_F32,
			c->a->guess);
	}
	return c->err ? NULL : v->u.tensor->val;
}

struct ts_dim stage_ts_arg_dim(struct ts_call *k, size_t i)
{
	struct ts_dim d = stage_ts_num(0);

	if (!stage_ts_to_dim(&k->arg[i], &d))
		(void) stage_ts_fail(k->c, "%s where an int is needed",
			stage_ts_kind(&k->arg[i]));
	return d;
}

int64_t stage_ts_arg_int(struct ts_call *k, size_t i)
{
	return stage_ts_fixed(k->c, stage_ts_arg_dim(k, i));
}

double stage_ts_arg_num(struct ts_call *k, size_t i)
{
	return k->arg[i].kind == TS_FLOAT ? k->arg[i].u.f :
		(double)stage_ts_arg_int(k, i);
}

bool stage_ts_arg_bool(struct ts_call *k, size_t i)
{
	return k->arg[i].kind == TS_BOOL ? k->arg[i].u.b :
		k->arg[i].kind == TS_INT && k->arg[i].u.i;
}

bool stage_ts_arg_none(const struct ts_call *k, size_t i)
{
	return k->arg[i].kind == TS_NONE;
}

const char *stage_ts_arg_str(struct ts_call *k, size_t i)
{
	return k->arg[i].kind == TS_STR ? k->arg[i].u.s : "";
}

size_t stage_ts_arg_dims(struct ts_call *k, size_t i, struct ts_dim *ret,
	size_t max)
{
	const struct ts_value *v = &k->arg[i];
	size_t n = 0;

	if (v->kind == TS_NONE)
		return 0;
	if (v->kind != TS_LIST && v->kind != TS_TUPLE) {
		ret[0] = stage_ts_arg_dim(k, i);
		return 1;
	}
	if (v->u.list->n > max) {
		(void) stage_ts_fail(k->c, "a list of %zu sizes",
			v->u.list->n);
		return 0;
	}
	for (; n < v->u.list->n; n++)
		if (!stage_ts_to_dim(&v->u.list->v[n], &ret[n])) {
			(void) stage_ts_fail(k->c, "%s where a size is "
				"needed", stage_ts_kind(&v->u.list->v[n]));
			return 0;
		}
	return n;
}

size_t stage_ts_arg_ints(struct ts_call *k, size_t i, size_t n, int64_t *ret,
	size_t max)
{
	struct ts_dim d[STAGE_RANK_MAX * 2];
	size_t got = stage_ts_arg_dims(k, i, d, max < STAGE_RANK_MAX * 2 ?
		max : STAGE_RANK_MAX * 2);

	for (size_t j = 0; j < got; j++)
		ret[j] = stage_ts_fixed(k->c, d[j]);
	if (got == 1 && n > 1)
		for (; got < n && got < max; got++)
			ret[got] = ret[0];
	if (n && got && got != n)
		(void) stage_ts_fail(k->c, "%zu numbers, not %zu", got, n);
	return k->c->err ? 0 : got;
}

size_t stage_ts_arg_list(struct ts_call *k, size_t i, struct ts_val **ret,
	size_t max)
{
	const struct ts_list *l = k->arg[i].u.list;
	struct ts_call one = { .c = k->c };

	if (k->arg[i].kind != TS_LIST && k->arg[i].kind != TS_TUPLE)
		return 0;
	if (l->n > max) {
		(void) stage_ts_fail(k->c, "a list of %zu tensors", l->n);
		return 0;
	}
	for (size_t j = 0; j < l->n; j++) {
		one.arg[0] = l->v[j];
		ret[j] = stage_ts_arg(&one, 0);
	}
	return k->c->err ? 0 : l->n;
}

unsigned stage_ts_axis(struct ts *c, int64_t axis, unsigned rank)
{
	int64_t n = rank ? rank : 1;

	if (axis < -n || axis >= n) {
		(void) stage_ts_fail(c, "axis %lld of %u dimensions",
			(long long)axis, rank);
		return 0;
	}
	return (unsigned)(axis < 0 ? axis + n : axis);
}
