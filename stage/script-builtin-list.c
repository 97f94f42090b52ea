/* Functions of lists, tuples and dictionaries. A list is shared by all who
 * hold it, as in the program. */
#include "config.h"

#include <string.h>

#include "stage/script-builtin.h"

/* An index that may count from the end; false: outside, with an error. */
static bool wrap(struct ts *c, const struct ts_value *v, size_t n,
	size_t *ret)
{
	struct ts_dim d;
	int64_t i;

	if (!stage_ts_to_dim(v, &d)) {
		(void) stage_ts_fail(c, "%s as index", stage_ts_kind(v));
		return false;
	}
	i = stage_ts_fixed(c, d);
	if (i < 0)
		i += (int64_t)n;
	if (!c->err && (i < 0 || i >= (int64_t)n))
		(void) stage_ts_fail(c, "item %lld of %zu", (long long)i, n);
	*ret = (size_t)i;
	return !c->err;
}

static bool same_key(const struct ts_value *a, const struct ts_value *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case TS_STR:
		return !strcmp(a->u.s, b->u.s);
	case TS_INT:
		return a->u.i == b->u.i;
	case TS_BOOL:
		return a->u.b == b->u.b;
	case TS_FLOAT:
		return a->u.f == b->u.f;
	case TS_NONE:
		return true;
	default:
		return false;
	}
}

/* The value behind a key, or NULL. */
static struct ts_value *dict_find(const struct ts_list *d,
	const struct ts_value *key)
{
	for (size_t i = 0; i + 1 < d->n; i += 2)
		if (same_key(&d->v[i], key))
			return &d->v[i + 1];
	return NULL;
}

static int get_item(struct ts *c, const struct ts_value *args,
	struct ts_value *ret)
{
	struct ts_value *v;
	size_t i;

	if (args[0].kind == TS_DICT) {
		v = dict_find(args[0].u.list, &args[1]);
		if (!v)
			return stage_ts_fail(c, "a key that is not there");
		*ret = *v;
		return 0;
	}
	if (args[0].kind != TS_LIST && args[0].kind != TS_TUPLE)
		return TS_NOT_MINE;
	if (!wrap(c, &args[1], args[0].u.list->n, &i))
		return c->err;
	*ret = args[0].u.list->v[i];
	return 0;
}

static int set_item(struct ts *c, const struct ts_value *args)
{
	struct ts_value *v;
	size_t i;

	if ((args[0].kind == TS_DICT || args[0].kind == TS_LIST) &&
	    stage_ts_writes(c, args[0].u.list->born))
		return c->err;
	if (args[0].kind == TS_DICT) {
		v = dict_find(args[0].u.list, &args[1]);
		if (v)
			*v = args[2];
		else if (!stage_ts_push(c, args[0].u.list, args[1]))
			(void) stage_ts_push(c, args[0].u.list, args[2]);
		return c->err;
	}
	if (args[0].kind != TS_LIST)
		return TS_NOT_MINE;
	if (!wrap(c, &args[1], args[0].u.list->n, &i))
		return c->err;
	args[0].u.list->v[i] = args[2];
	return 0;
}

/* Where a slice begins or ends; None: dflt. */
static int64_t bound(struct ts *c, const struct ts_value *args, size_t n,
	size_t i, int64_t len, int64_t dflt)
{
	struct ts_dim d;
	int64_t at;

	if (i >= n || args[i].kind == TS_NONE)
		return dflt;
	if (!stage_ts_to_dim(&args[i], &d)) {
		(void) stage_ts_fail(c, "%s as index",
			stage_ts_kind(&args[i]));
		return 0;
	}
	at = stage_ts_fixed(c, d);
	if (at < 0)
		at = at + len < 0 ? 0 : at + len;
	return at > len ? len : at;
}

static int slice(struct ts *c, const struct ts_value *args, size_t n,
	struct ts_value *ret)
{
	const struct ts_list *from = args[0].u.list;
	int64_t len = (int64_t)from->n;
	int64_t a = bound(c, args, n, 1, len, 0);
	int64_t b = bound(c, args, n, 2, len, len);
	struct ts_list *l = stage_ts_list(c, 0);
	struct ts_dim step = stage_ts_num(1);

	if (n > 3)
		(void) stage_ts_to_dim(&args[3], &step);
	if (step.sym || step.n < 1)
		return stage_ts_fail(c, "a slice of a list with such a step");
	for (; l && a < b && !c->err; a += step.n) {
		(void) stage_ts_push(c, l, from->v[a]);
		if (step.n > len)
			break;
	}
	*ret = (struct ts_value){ .kind = args[0].kind, .u.list = l };
	return c->err;
}

static int extend(struct ts *c, const struct ts_value *args)
{
	const struct ts_list *more = args[1].u.list;
	size_t n = more->n;	/* may be the same list */

	for (size_t i = 0; i < n && !c->err; i++)
		(void) stage_ts_push(c, args[0].u.list, more->v[i]);
	return c->err;
}

static int insert(struct ts *c, const struct ts_value *args)
{
	struct ts_list *l = args[0].u.list;
	int64_t at = bound(c, args, 3, 1, (int64_t)l->n, 0);

	if (c->err || stage_ts_push(c, l, args[2]))
		return c->err;
	memmove(&l->v[at + 1], &l->v[at],
		(l->n - 1 - (size_t)at) * sizeof(l->v[0]));
	l->v[at] = args[2];
	return 0;
}

static int pop(struct ts *c, const struct ts_value *args, size_t n,
	struct ts_value *ret)
{
	const struct ts_value last = { .kind = TS_INT, .u.i = -1 };
	struct ts_list *l = args[0].u.list;
	size_t i;

	if (!wrap(c, n > 1 ? &args[1] : &last, l->n, &i))
		return c->err;
	*ret = l->v[i];
	memmove(&l->v[i], &l->v[i + 1], (l->n - i - 1) * sizeof(l->v[0]));
	l->n--;
	return 0;
}

static int copy(struct ts *c, const struct ts_list *from, size_t first,
	size_t by, struct ts_value *ret)
{
	struct ts_list *l = stage_ts_list(c, from->n);

	for (size_t i = first; l && i < from->n && !c->err; i += by)
		(void) stage_ts_push(c, l, from->v[i]);
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

static int items(struct ts *c, const struct ts_list *from,
	struct ts_value *ret)
{
	struct ts_list *l = stage_ts_list(c, from->n);

	for (size_t i = 0; l && i + 1 < from->n && !c->err; i += 2) {
		struct ts_list *pair = stage_ts_list(c, 2);

		if (!pair || stage_ts_push(c, pair, from->v[i]) ||
		    stage_ts_push(c, pair, from->v[i + 1]))
			return c->err;
		(void) stage_ts_push(c, l, (struct ts_value){
			.kind = TS_TUPLE, .u.list = pair });
	}
	*ret = (struct ts_value){ .kind = TS_LIST, .u.list = l };
	return c->err;
}

static int contains(struct ts *c, const struct ts_value *args,
	struct ts_value *ret)
{
	const struct ts_list *l = args[0].u.list;
	size_t by = args[0].kind == TS_DICT ? 2 : 1;
	bool found = false;

	if (args[1].kind == TS_SYM)
		return stage_ts_fail(c, "whether a list has a size that is "
			"not known");
	for (size_t i = 0; i < l->n && !found; i += by)
		found = same_key(&l->v[i], &args[1]);
	*ret = (struct ts_value){ .kind = TS_BOOL, .u.b = found };
	return 0;
}

static int of_dict(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, struct ts_value *ret)
{
	struct ts_value *v;

	if (!strcmp(name, "keys"))
		return copy(c, args[0].u.list, 0, 2, ret);
	if (!strcmp(name, "values"))
		return copy(c, args[0].u.list, 1, 2, ret);
	if (!strcmp(name, "items"))
		return items(c, args[0].u.list, ret);
	if (strcmp(name, "get") != 0 || n < 2)
		return TS_NOT_MINE;
	v = dict_find(args[0].u.list, &args[1]);
	*ret = v ? *v : n > 2 ? args[2] : (struct ts_value){
		.kind = TS_NONE };
	return 0;
}

/* all() and any() of bools */
static int bools(struct ts *c, const struct ts_list *l, bool all,
	struct ts_value *ret)
{
	bool yes = all, sure;

	for (size_t i = 0; i < l->n && yes == all; i++) {
		int r = stage_ts_truth(c, &l->v[i], &yes, &sure);

		if (!r && !sure)
			r = stage_ts_fail(c, "of what is not known");
		if (r)
			return r;
	}
	*ret = (struct ts_value){ .kind = TS_BOOL, .u.b = yes };
	return 0;
}

static bool changes(const char *name)
{
	static const char *const names[] = { "append", "extend", "insert",
		"pop", "clear" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static int of_list(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, struct ts_value *ret)
{
	*ret = args[0];
	if (changes(name) && stage_ts_writes(c, args[0].u.list->born))
		return c->err;
	if (!strcmp(name, "append") && n == 2)
		return stage_ts_push(c, args[0].u.list, args[1]);
	if (!strcmp(name, "slice"))
		return slice(c, args, n, ret);
	if (!strcmp(name, "extend") && n == 2 && args[1].kind == TS_LIST)
		return extend(c, args);
	if (!strcmp(name, "insert") && n == 3)
		return insert(c, args);
	if (!strcmp(name, "pop"))
		return pop(c, args, n, ret);
	if (!strcmp(name, "list") || !strcmp(name, "copy"))
		return copy(c, args[0].u.list, 0, 1, ret);
	if (!strcmp(name, "all") || !strcmp(name, "any"))
		return bools(c, args[0].u.list, name[1] == 'l', ret);
	if (!strcmp(name, "clear")) {
		args[0].u.list->n = 0;
		return 0;
	}
	return TS_NOT_MINE;
}

int stage_ts_builtin_list(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, struct ts_value *ret)
{
	if (!n)
		return TS_NOT_MINE;
	if (n == 2 && !strcmp(name, "__getitem__"))
		return get_item(c, args, ret);
	if (n == 3 && !strcmp(name, "_set_item"))
		return set_item(c, args);
	if (args[0].kind != TS_LIST && args[0].kind != TS_TUPLE &&
	    args[0].kind != TS_DICT)
		return TS_NOT_MINE;
	if (n == 2 && !strcmp(name, "__contains__"))
		return contains(c, args, ret);
	return args[0].kind == TS_DICT ? of_dict(c, name, args, n, ret) :
		of_list(c, name, args, n, ret);
}
