/* Between the tables of functions of numbers, strings and lists. */
#ifndef STAGE_SCRIPT_BUILTIN_H
#define STAGE_SCRIPT_BUILTIN_H

#include "stage/script-op.h"

#define TS_NOT_MINE 1	/* script-ops.c is asked then */

struct ts_args {
	const char *name;
	const struct ts_value *v;
	size_t n;
	const char *const *keys;
	unsigned how;
};

struct ts_builtin {
	const char *name;
	int (*run)(struct ts *c, const struct ts_args *a, struct ts_value *ret);
	unsigned min, how;
};

static inline void ts_set_bool(struct ts_value *ret, bool b)
{
	*ret = (struct ts_value){ .kind = TS_BOOL, .u.b = b };
}

static inline void ts_set_float(struct ts_value *ret, double f)
{
	*ret = (struct ts_value){ .kind = TS_FLOAT, .u.f = f };
}

static inline bool ts_is_number(const struct ts_value *v)
{
	return v->kind == TS_INT || v->kind == TS_FLOAT ||
		v->kind == TS_BOOL || v->kind == TS_SYM;
}

static inline bool ts_is_list(const struct ts_value *v)
{
	return v->kind == TS_LIST || v->kind == TS_TUPLE;
}

/* script-builtin-number.c */
extern const struct ts_builtin stage_ts_builtins_number[];
/* A size that goes into a float has to be a number. */
double stage_ts_as_float(struct ts *c, const struct ts_value *v);

/* script-builtin-compare.c */
extern const struct ts_builtin stage_ts_builtins_compare[];

/* script-builtin-list.c */
int stage_ts_builtin_list(struct ts *c, const char *name,
	const struct ts_value *args, size_t n, struct ts_value *ret);

#endif
