/* The functions of the language: questions about weights, words, numbers. */
#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/blueprint-run.h"

static int need(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *v, enum bp_value_kind kind)
{
	const struct bp_value wanted = { .kind = kind };

	if (v->kind == kind)
		return 0;
	return stage_bp_fail(r, &e->at, "%s() needs %s, not %s", e->name,
		stage_bp_kind_name(&wanted), stage_bp_kind_name(v));
}

/* has("path"): is there such a weight? */
static int fn_has(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (!err)
		*ret = stage_bp_bool(stage_bp_weight_index(r, args[0].s) >= 0);
	return err;
}

/* shape("path"): the weight's dimensions. */
static int fn_shape(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const struct stage_tensor *t;
	struct bp_value *v;
	long i;
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (err)
		return err;
	i = stage_bp_weight_index(r, args[0].s);
	if (i < 0)
		return stage_bp_fail(r, &e->at, "the checkpoint has no weight "
			"\"%s\"", args[0].s);
	t = &r->args->weights->v[i];
	v = stage_arena_array(&r->arena, t->rank + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (unsigned k = 0; k < t->rank; k++)
		v[k] = stage_bp_int((int64_t)t->dim[k]);
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = t->rank, .list = v };
	return 0;
}

/* "a.*.b" with the number in place of the star. */
static int star_name(struct bp_run *r, const struct bp_expr *e,
	const char *pattern, int64_t i, char ret[BP_STRING_MAX])
{
	const char *star = strchr(pattern, '*');
	int n = -1;

	if (star && !strchr(star + 1, '*'))
		n = snprintf(ret, BP_STRING_MAX, "%.*s%lld%s",
			(int)(star - pattern), pattern, (long long)i,
			star + 1);
	if (n < 0 || n >= BP_STRING_MAX)
		return stage_bp_fail(r, &e->at, "%s() needs one '*' in the "
			"name", e->name);
	return 0;
}

/* count("a.*.b"): the smallest i for which there is no weight a.i.b. */
static int fn_count(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	char name[BP_STRING_MAX];
	int64_t i = 0;
	int err = need(r, e, &args[0], BP_V_TEXT);

	for (; !err && i <= BP_LIST_MAX; i++, r->steps++) {
		err = star_name(r, e, args[0].s, i, name);
		if (!err && stage_bp_weight_index(r, name) < 0)
			break;
	}
	*ret = stage_bp_int(i);
	return err;
}

/* last("a.*.b"): one more than the largest such i; 0 without any. */
static int fn_last(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	char name[BP_STRING_MAX];
	int err = need(r, e, &args[0], BP_V_TEXT);
	size_t head;

	*ret = stage_bp_int(0);
	if (!err)
		err = star_name(r, e, args[0].s, 0, name);
	if (err)
		return err;
	r->steps += (unsigned)r->args->weights->n;
	head = (size_t)(strchr(args[0].s, '*') - args[0].s);
	for (size_t k = 0; k < r->args->weights->n; k++) {
		const char *w = r->args->weights->v[k].name + r->prefix;
		char *end;
		long long i;

		if (strncmp(w, args[0].s, head) != 0 || w[head] < '0' ||
		    w[head] > '9')
			continue;
		i = strtoll(w + head, &end, 10);
		if (i <= BP_LIST_MAX && i >= ret->i &&
		    !strcmp(end, args[0].s + head + 1))
			ret->i = i + 1;
	}
	return 0;
}

/* dim(x, 1): how long that axis of a tensor is, a number or a symbol. */
static int fn_dim(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const struct stage_type *t;
	int err = need(r, e, &args[0], BP_V_TENSOR);

	if (!err)
		err = need(r, e, &args[1], BP_V_INT);
	if (err)
		return err;
	t = &args[0].tensor->type;
	if (args[1].i < 0 || args[1].i >= (int64_t)t->rank)
		return stage_bp_fail(r, &e->at, "dim() of axis %lld of %u",
			(long long)args[1].i, t->rank);
	if (t->dim[args[1].i].symbol)
		*ret = (struct bp_value){ .kind = BP_V_TEXT,
			.s = t->dim[args[1].i].symbol };
	else
		*ret = stage_bp_int(t->dim[args[1].i].size);
	return 0;
}

/* given("name"): the graph's input of that name. */
static int fn_given(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_TEXT);

	for (struct bp_tensor *t = r->inputs; t && !err; t = t->next) {
		if (!strcmp(t->name, args[0].s)) {
			*ret = stage_bp_tensor(t);
			return 0;
		}
	}
	return err ? err : stage_bp_fail(r, &e->at, "the graph has no input "
		"%s", args[0].s);
}

static int fn_len(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	switch (args[0].kind) {
	case BP_V_LIST:
		*ret = stage_bp_int((int64_t)args[0].n);
		return 0;
	case BP_V_TEXT:
		*ret = stage_bp_int((int64_t)strlen(args[0].s));
		return 0;
	case BP_V_OBJECT:
		*ret = stage_bp_int((int64_t)json_object_size(args[0].object));
		return 0;
	case BP_V_NONE:
	case BP_V_BOOL:
	case BP_V_INT:
	case BP_V_FLOAT:
	case BP_V_TENSOR:
		break;
	}
	return need(r, e, &args[0], BP_V_LIST);
}

/* A number n times; a list of n as it is. */
static int several(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *x, size_t n, struct bp_value *ret)
{
	struct bp_value *v;

	if (x->kind == BP_V_LIST && x->n == n) {
		*ret = *x;
		return 0;
	}
	if (x->kind != BP_V_INT)
		return stage_bp_fail(r, &e->at, "%s() needs an integer or "
			"%zu of them", e->name, n);
	v = stage_arena_array(&r->arena, n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		v[i] = *x;
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = n, .list = v };
	return 0;
}

/* pair(2): [2, 2]; pair([2, 3]): [2, 3] */
static int fn_pair(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	return several(r, e, &args[0], 2, ret);
}

/* each(7, 3): [7, 7, 7]; each([7, 5, 7], 3): the list */
static int fn_each(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[1], BP_V_INT);

	if (err)
		return err;
	if (args[1].i < 1 || args[1].i > BP_LIST_MAX)
		return stage_bp_fail(r, &e->at, "each() of %lld",
			(long long)args[1].i);
	return several(r, e, &args[0], (size_t)args[1].i, ret);
}

/* split("a b", " "): ["a", "b"] */
static int fn_split(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_TEXT);
	struct bp_value *v;
	const char *s, *sep;
	size_t n = 1, len;

	if (!err)
		err = need(r, e, &args[1], BP_V_TEXT);
	if (!err && !*args[1].s)
		err = stage_bp_fail(r, &e->at, "split() by nothing");
	if (err)
		return err;
	sep = args[1].s;
	len = strlen(sep);
	for (s = args[0].s; (s = strstr(s, sep)) != NULL; s += len)
		n++;
	v = stage_arena_array(&r->arena, n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s = args[0].s;
	for (size_t i = 0; i < n; i++) {
		const char *end = i + 1 < n ? strstr(s, sep) : s + strlen(s);

		v[i].kind = BP_V_TEXT;
		v[i].s = stage_arena_copy(&r->arena, s, (size_t)(end - s));
		if (!v[i].s)
			return -ENOMEM;
		s = end + len;
	}
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = n, .list = v };
	return 0;
}

static int fn_contains(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (!err)
		err = need(r, e, &args[1], BP_V_TEXT);
	if (!err)
		*ret = stage_bp_bool(strstr(args[0].s, args[1].s) != NULL);
	return err;
}

static int fn_starts(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (!err)
		err = need(r, e, &args[1], BP_V_TEXT);
	if (!err)
		*ret = stage_bp_bool(!strncmp(args[0].s, args[1].s,
			strlen(args[1].s)));
	return err;
}

static int fn_sqrt(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	double f = args[0].kind == BP_V_INT ? (double)args[0].i : args[0].f;

	if ((args[0].kind != BP_V_INT && args[0].kind != BP_V_FLOAT) || f < 0)
		return stage_bp_fail(r, &e->at, "sqrt() needs a number that "
			"is not negative");
	*ret = (struct bp_value){ .kind = BP_V_FLOAT, .f = sqrt(f) };
	return 0;
}

/* floor(2.7): 2 */
static int fn_floor(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	double f = args[0].kind == BP_V_INT ? (double)args[0].i : args[0].f;

	if ((args[0].kind != BP_V_INT && args[0].kind != BP_V_FLOAT) ||
	    fabs(f) > 9.0e15)
		return stage_bp_fail(r, &e->at, "floor() needs a number");
	*ret = stage_bp_int((int64_t)floor(f));
	return 0;
}

/* int("12"), int(2.0), int(true) */
static int fn_int(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const struct bp_value *v = &args[0];
	char *end;

	if (v->kind == BP_V_INT) {
		*ret = *v;
		return 0;
	}
	if (v->kind == BP_V_BOOL) {
		*ret = stage_bp_int(v->b);
		return 0;
	}
	if (v->kind == BP_V_FLOAT && v->f == floor(v->f) &&
	    fabs(v->f) < 9.0e15) {
		*ret = stage_bp_int((int64_t)v->f);
		return 0;
	}
	if (v->kind == BP_V_TEXT && *v->s) {
		errno = 0;
		*ret = stage_bp_int(strtoll(v->s, &end, 10));
		if (!*end && !errno)
			return 0;
	}
	return stage_bp_fail(r, &e->at, "int() of what is no whole number");
}

static const struct bp_builtin builtins[] = {
	{ "contains", 2, fn_contains, false },
	{ "count", 1, fn_count, false },
	{ "dim", 2, fn_dim, false },
	{ "dims", 1, stage_bp_dims, false },
	{ "each", 2, fn_each, false },
	{ "floor", 1, fn_floor, false },
	{ "given", 1, fn_given, false },
	{ "has", 1, fn_has, false },
	{ "int", 1, fn_int, false },
	{ "keep", 2, stage_bp_keep, true },
	{ "kept", 1, stage_bp_kept, false },
	{ "last", 1, fn_last, false },
	{ "layer", 4, stage_bp_layer, true },
	{ "len", 1, fn_len, false },
	{ "model", 1, stage_bp_model, true },
	{ "number", 1, stage_bp_number, false },
	{ "pair", 1, fn_pair, false },
	{ "placeholder", 3, stage_bp_placeholder, false },
	{ "relative_buckets", 2, stage_bp_relative_buckets, false },
	{ "result", 2, stage_bp_result, true },
	{ "rope_attention", 1, stage_bp_rope_attention, false },
	{ "rope_frequencies", 3, stage_bp_rope_frequencies, false },
	{ "shape", 1, fn_shape, false },
	{ "single", 1, stage_bp_single, false },
	{ "sinusoid_frequencies", 1, stage_bp_sinusoid_frequencies, false },
	{ "split", 2, fn_split, false },
	{ "sqrt", 1, fn_sqrt, false },
	{ "starts", 2, fn_starts, false },
	{ "unknown", 2, stage_bp_unknown, false },
};

const struct bp_builtin *stage_bp_builtin(const char *name)
{
	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
		if (!strcmp(builtins[i].name, name))
			return &builtins[i];
	return NULL;
}
