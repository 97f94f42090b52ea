/*
 * stage_pickle_parse(), and a walk over what came out, bounded as its header
 * asks: nodes can be reached twice and from themselves.
 */
#include <stdlib.h>
#include <string.h>

#include "stage/format/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned steps;

static void walk(struct stage_py *v, unsigned depth)
{
	const char *s;
	int64_t n;

	if (!v || depth > 50 || ++steps > 20000)
		return;
	(void) stage_py_get(stage_py_dict(v), "key");
	(void) stage_py_callee(v);
	if (stage_py_str(v, &s) && strlen(s) != v->u.str.len)
		abort();
	(void) stage_py_int(v, &n);
	switch (v->kind) {
	case STAGE_PY_STR:
	case STAGE_PY_BYTES:
	case STAGE_PY_BIGINT:
	case STAGE_PY_GLOBAL:
		if (v->u.str.s[v->u.str.len])
			abort();
		return;
	case STAGE_PY_TUPLE:
	case STAGE_PY_LIST:
	case STAGE_PY_SET:
	case STAGE_PY_DICT:
		if (v->kind == STAGE_PY_DICT && v->u.seq.n % 2)
			abort();
		for (size_t i = 0; i < v->u.seq.n; i++)
			walk(v->u.seq.v[i], depth + 1);
		return;
	case STAGE_PY_CALL:
	case STAGE_PY_PERSID:
		walk(v->u.call.callee, depth + 1);
		walk(v->u.call.args, depth + 1);
		walk(v->u.call.state, depth + 1);
		walk(v->u.call.items, depth + 1);
		return;
	case STAGE_PY_NONE:
	case STAGE_PY_BOOL:
	case STAGE_PY_INT:
	case STAGE_PY_FLOAT:
		return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stage_pickle *p = NULL;
	struct error why = { 0 };
	size_t used = 0;
	int err = stage_pickle_parse(data, len, &p, &used, &why);

	steps = 0;
	if (!err) {
		if (used > len || !used || data[used - 1] != '.')
			abort();
		walk(stage_pickle_root(p), 0);
	} else if (p || why.code != err) {
		abort();
	}
	stage_pickle_free(p);
	return 0;
}
