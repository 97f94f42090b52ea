/* Values and what the operators of the language do with them. */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stage/blueprint-run.h"

const char *stage_bp_kind_name(const struct bp_value *v)
{
	static const char *const names[] = {
		"none", "a bool", "an integer", "a number", "a string",
		"a list", "an object", "a tensor",
	};

	return names[v->kind];
}

struct bp_value stage_bp_int(int64_t i)
{
	return (struct bp_value){ .kind = BP_V_INT, .i = i };
}

struct bp_value stage_bp_bool(bool b)
{
	return (struct bp_value){ .kind = BP_V_BOOL, .b = b };
}

struct bp_value stage_bp_tensor(struct bp_tensor *t)
{
	return (struct bp_value){ .kind = BP_V_TENSOR, .tensor = t };
}

static struct bp_value number(double f)
{
	return (struct bp_value){ .kind = BP_V_FLOAT, .f = f };
}

static bool is_number(const struct bp_value *v)
{
	return v->kind == BP_V_INT || v->kind == BP_V_FLOAT;
}

static double real(const struct bp_value *v)
{
	return v->kind == BP_V_INT ? (double)v->i : v->f;
}

bool stage_bp_equal(const struct bp_value *a, const struct bp_value *b)
{
	if (is_number(a) && is_number(b) && a->kind != b->kind)
		return real(a) == real(b);
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case BP_V_NONE:
		return true;
	case BP_V_BOOL:
		return a->b == b->b;
	case BP_V_INT:
		return a->i == b->i;
	case BP_V_FLOAT:
		return a->f == b->f;
	case BP_V_TEXT:
		return !strcmp(a->s, b->s);
	case BP_V_LIST:
		if (a->n != b->n)
			return false;
		for (size_t i = 0; i < a->n; i++)
			if (!stage_bp_equal(&a->list[i], &b->list[i]))
				return false;
		return true;
	case BP_V_OBJECT:
		return json_equal(a->object, b->object);
	case BP_V_TENSOR:
		return a->tensor == b->tensor;
	}
	return false;
}

static int list_from_json(struct bp_run *r, const struct bp_place *at,
	const json_t *j, struct bp_value *ret)
{
	size_t n = json_array_size(j);
	struct bp_value *v;
	int err;

	if (n > BP_LIST_MAX)
		return stage_bp_fail(r, at, "a list of more than %u items",
			BP_LIST_MAX);
	v = stage_arena_array(&r->arena, n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		err = stage_bp_from_json(r, at, json_array_get(j, i), &v[i]);
		if (err)
			return err;
	}
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = n, .list = v };
	return 0;
}

int stage_bp_from_json(struct bp_run *r, const struct bp_place *at,
	const json_t *j, struct bp_value *ret)
{
	switch (j ? json_typeof(j) : JSON_NULL) {
	case JSON_OBJECT:
		*ret = (struct bp_value){ .kind = BP_V_OBJECT, .object = j };
		return 0;
	case JSON_ARRAY:
		return list_from_json(r, at, j, ret);
	case JSON_STRING:
		*ret = (struct bp_value){ .kind = BP_V_TEXT,
			.s = json_string_value(j) };
		return 0;
	case JSON_INTEGER:
		*ret = stage_bp_int(json_integer_value(j));
		return 0;
	case JSON_REAL:
		*ret = number(json_real_value(j));
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		*ret = stage_bp_bool(json_is_true(j));
		return 0;
	case JSON_NULL:
		break;
	}
	*ret = (struct bp_value){ .kind = BP_V_NONE };
	return 0;
}

int stage_bp_to_text(struct bp_run *r, const struct bp_place *at,
	const struct bp_value *v, char *ret, size_t room)
{
	int n = -1;

	switch (v->kind) {
	case BP_V_BOOL:
		n = snprintf(ret, room, "%s", v->b ? "true" : "false");
		break;
	case BP_V_INT:
		n = snprintf(ret, room, "%" PRId64, v->i);
		break;
	case BP_V_FLOAT:
		n = snprintf(ret, room, "%.9g", v->f);
		break;
	case BP_V_TEXT:
		n = snprintf(ret, room, "%s", v->s);
		break;
	case BP_V_NONE:
		n = snprintf(ret, room, "none");
		break;
	case BP_V_LIST:
	case BP_V_OBJECT:
	case BP_V_TENSOR:
		break;
	}
	if (n < 0)
		return stage_bp_fail(r, at, "%s in a string",
			stage_bp_kind_name(v));
	if ((size_t)n >= room)
		return stage_bp_fail(r, at, "a string of more than %d bytes",
			BP_STRING_MAX);
	return 0;
}

static int bad_operands(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b)
{
	return stage_bp_fail(r, &e->at, "%s and %s cannot be put together",
		stage_bp_kind_name(a), stage_bp_kind_name(b));
}

static int int_math(struct bp_run *r, const struct bp_expr *e, int64_t a,
	int64_t b, struct bp_value *ret)
{
	bool bad = false;
	int64_t v = 0;

	switch (e->punct) {
	case BP_P1('+'):
		bad = __builtin_add_overflow(a, b, &v);
		break;
	case BP_P1('-'):
		bad = __builtin_sub_overflow(a, b, &v);
		break;
	case BP_P1('*'):
		bad = __builtin_mul_overflow(a, b, &v);
		break;
	default:
		if (b == 0 || (a == INT64_MIN && b == -1))
			return stage_bp_fail(r, &e->at, "division by %lld",
				(long long)b);
		if (e->punct == BP_P1('/') && a % b)
			return stage_bp_fail(r, &e->at, "%lld / %lld is no "
				"whole number", (long long)a, (long long)b);
		v = e->punct == BP_P1('/') ? a / b : a % b;
	}
	if (bad)
		return stage_bp_fail(r, &e->at, "an integer that is too "
			"large");
	*ret = stage_bp_int(v);
	return 0;
}

static int number_math(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret)
{
	double x = real(a), y = real(b), v;

	if (a->kind == BP_V_INT && b->kind == BP_V_INT)
		return int_math(r, e, a->i, b->i, ret);
	switch (e->punct) {
	case BP_P1('+'):
		v = x + y;
		break;
	case BP_P1('-'):
		v = x - y;
		break;
	case BP_P1('*'):
		v = x * y;
		break;
	case BP_P1('/'):
		v = x / y;
		break;
	default:
		return bad_operands(r, e, a, b);
	}
	if (!isfinite(v))
		return stage_bp_fail(r, &e->at, "a result that is not finite");
	*ret = number(v);
	return 0;
}

/* + - * / with a tensor on one side: an operator of the graph. */
static int tensor_math(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret)
{
	const char *name = e->punct == BP_P1('+') ? "Add" :
		e->punct == BP_P1('-') ? "Sub" :
		e->punct == BP_P1('*') ? "Mul" :
		e->punct == BP_P1('/') ? "Div" : NULL;
	const struct bp_value *t = a->kind == BP_V_TENSOR ? a : b;
	enum stage_dtype like = t->tensor->type.dtype;
	struct bp_tensor *in[2], *out;
	int err;

	if (!name)
		return bad_operands(r, e, a, b);
	err = stage_bp_operand(r, &e->at, a, like, &in[0]);
	if (!err)
		err = stage_bp_operand(r, &e->at, b, like, &in[1]);
	if (!err && (!in[0] || !in[1]))
		err = bad_operands(r, e, a, b);
	if (!err)
		err = stage_bp_emit(r, &e->at, stage_op_find(name), in, 2,
			NULL, 0, &out, 1);
	if (!err)
		*ret = stage_bp_tensor(out);
	return err;
}

static int range(struct bp_run *r, const struct bp_expr *e, int64_t from,
	int64_t to, struct bp_value *ret)
{
	size_t n = to > from ? (size_t)((uint64_t)to - (uint64_t)from) : 0;
	struct bp_value *v;

	if (n > BP_LIST_MAX)
		return stage_bp_fail(r, &e->at, "a range of more than %u",
			BP_LIST_MAX);
	v = stage_arena_array(&r->arena, n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		v[i] = stage_bp_int(from + (int64_t)i);
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = n, .list = v };
	return 0;
}

/* Two lists, one behind the other. */
static int join(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret)
{
	size_t n = a->n + b->n;
	struct bp_value *v;

	if (n > BP_LIST_MAX)
		return stage_bp_fail(r, &e->at, "a list of more than %u items",
			BP_LIST_MAX);
	v = stage_arena_array(&r->arena, n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (a->n)
		memcpy(v, a->list, a->n * sizeof(*v));
	if (b->n)
		memcpy(v + a->n, b->list, b->n * sizeof(*v));
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = n, .list = v };
	return 0;
}

static int is_in(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret)
{
	*ret = stage_bp_bool(false);
	if (b->kind == BP_V_OBJECT && a->kind == BP_V_TEXT) {
		ret->b = json_object_get(b->object, a->s) != NULL;
		return 0;
	}
	if (b->kind != BP_V_LIST)
		return bad_operands(r, e, a, b);
	for (size_t i = 0; i < b->n && !ret->b; i++)
		ret->b = stage_bp_equal(a, &b->list[i]);
	return 0;
}

static int compare(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret)
{
	if (!is_number(a) || !is_number(b))
		return bad_operands(r, e, a, b);
	switch (e->punct) {
	case BP_P1('<'):
		*ret = stage_bp_bool(real(a) < real(b));
		return 0;
	case BP_P1('>'):
		*ret = stage_bp_bool(real(a) > real(b));
		return 0;
	case BP_P2('<', '='):
		*ret = stage_bp_bool(real(a) <= real(b));
		return 0;
	default:
		*ret = stage_bp_bool(real(a) >= real(b));
		return 0;
	}
}

int stage_bp_binary(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, const struct bp_value *b,
	struct bp_value *ret)
{
	switch (e->punct) {
	case BP_P2('=', '='):
		*ret = stage_bp_bool(stage_bp_equal(a, b));
		return 0;
	case BP_P2('!', '='):
		*ret = stage_bp_bool(!stage_bp_equal(a, b));
		return 0;
	case BP_IN:
		return is_in(r, e, a, b, ret);
	case BP_P1('<'):
	case BP_P1('>'):
	case BP_P2('<', '='):
	case BP_P2('>', '='):
		return compare(r, e, a, b, ret);
	case BP_P2('.', '.'):
		if (a->kind != BP_V_INT || b->kind != BP_V_INT)
			return bad_operands(r, e, a, b);
		return range(r, e, a->i, b->i, ret);
	default:
		break;
	}
	if (a->kind == BP_V_TENSOR || b->kind == BP_V_TENSOR)
		return tensor_math(r, e, a, b, ret);
	if (is_number(a) && is_number(b))
		return number_math(r, e, a, b, ret);
	if (e->punct == BP_P1('+') && a->kind == BP_V_LIST &&
	    b->kind == BP_V_LIST)
		return join(r, e, a, b, ret);
	return bad_operands(r, e, a, b);
}

int stage_bp_unary(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *a, struct bp_value *ret)
{
	struct bp_tensor *out, *in = a->tensor;
	int err;

	if (e->punct == BP_P1('!') && a->kind == BP_V_BOOL) {
		*ret = stage_bp_bool(!a->b);
	} else if (e->punct == BP_P1('-') && a->kind == BP_V_INT &&
	    a->i != INT64_MIN) {
		*ret = stage_bp_int(-a->i);
	} else if (e->punct == BP_P1('-') && a->kind == BP_V_FLOAT) {
		*ret = number(-a->f);
	} else if (e->punct == BP_P1('-') && a->kind == BP_V_TENSOR) {
		err = stage_bp_emit(r, &e->at, stage_op_find("Neg"), &in, 1,
			NULL, 0, &out, 1);
		if (err)
			return err;
		*ret = stage_bp_tensor(out);
	} else {
		return stage_bp_fail(r, &e->at, "'%c' before %s",
			(char)e->punct, stage_bp_kind_name(a));
	}
	return 0;
}
