/* Questions to a tree of pickled values. All take what a stranger built: NULL
 * and wrong kinds are answers, not errors. */
#include "config.h"

#include <string.h>

#include "stage/format/pickle.h"

bool stage_py_is_global(const struct stage_py *v, const char *name)
{
	return v && v->kind == STAGE_PY_GLOBAL &&
		v->u.str.len == strlen(name) && !strcmp(v->u.str.s, name);
}

const char *stage_py_callee(const struct stage_py *v)
{
	const struct stage_py *callee;

	if (!v || v->kind != STAGE_PY_CALL)
		return NULL;
	callee = v->u.call.callee;
	/* A NUL in a name would make it look like another. */
	return callee && callee->kind == STAGE_PY_GLOBAL &&
		strlen(callee->u.str.s) == callee->u.str.len ?
		callee->u.str.s : NULL;
}

/* The sequence behind v. */
static const struct stage_py *sequence(const struct stage_py *v)
{
	if (v && (v->kind == STAGE_PY_CALL || v->kind == STAGE_PY_PERSID))
		v = v->u.call.args;
	return v && (v->kind == STAGE_PY_TUPLE || v->kind == STAGE_PY_LIST) ?
		v : NULL;
}

struct stage_py *stage_py_item(const struct stage_py *v, size_t i)
{
	v = sequence(v);
	return v && i < v->u.seq.n ? v->u.seq.v[i] : NULL;
}

size_t stage_py_count(const struct stage_py *v)
{
	v = sequence(v);
	return v ? v->u.seq.n : 0;
}

struct stage_py *stage_py_dict(struct stage_py *v)
{
	if (v && v->kind == STAGE_PY_CALL)
		v = v->u.call.items;
	return v && v->kind == STAGE_PY_DICT ? v : NULL;
}

struct stage_py *stage_py_get(const struct stage_py *dict, const char *key)
{
	if (!dict || dict->kind != STAGE_PY_DICT)
		return NULL;
	for (size_t i = dict->u.seq.n; i >= 2; i -= 2) {
		const char *s;

		if (stage_py_str(dict->u.seq.v[i - 2], &s) && !strcmp(s, key))
			return dict->u.seq.v[i - 1];
	}
	return NULL;
}

bool stage_py_str(const struct stage_py *v, const char **ret)
{
	if (!v || v->kind != STAGE_PY_STR ||
	    strlen(v->u.str.s) != v->u.str.len)
		return false;
	*ret = v->u.str.s;
	return true;
}

bool stage_py_int(const struct stage_py *v, int64_t *ret)
{
	if (!v || v->kind != STAGE_PY_INT)
		return false;
	*ret = v->u.i;
	return true;
}
