/*
 * A pickle reader that runs nothing. Opcodes (protocols 0 to 5, what torch
 * and Python write) build a tree of values in an arena. A global is a symbol
 * that is never looked up; a call of one stays a node {callee, arguments,
 * state}: what it means is for the reader of the format to say, by an
 * allow-list of names.
 *
 * Steps, depth, memo, values and bytes have ceilings: a pickle cannot make
 * the reader work longer than its own length times a constant.
 *
 * Source: CPython Lib/pickletools.py, the opcode descriptions.
 */
#ifndef STAGE_FORMAT_PICKLE_H
#define STAGE_FORMAT_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define STAGE_PICKLE_MAX (64u << 20)	/* bytes of one pickle */
#define STAGE_PICKLE_VALUES_MAX 2000000
#define STAGE_PICKLE_DEPTH_MAX 1000	/* marks open at a time */

enum stage_pickle_kind {
	STAGE_PY_NONE, STAGE_PY_BOOL, STAGE_PY_INT, STAGE_PY_BIGINT,
	STAGE_PY_FLOAT, STAGE_PY_STR, STAGE_PY_BYTES,
	STAGE_PY_TUPLE, STAGE_PY_LIST, STAGE_PY_SET, STAGE_PY_DICT,
	STAGE_PY_GLOBAL,	/* str is "module name" */
	STAGE_PY_CALL,		/* callee, args, state, items */
	STAGE_PY_PERSID,	/* args is the persistent id */
};

/* A node of the tree; a memo reference makes it a graph: a node can be reached
 * twice, or from itself, and tuples can be as deep as the pickle is long. Who
 * walks it bounds his own depth. */
struct stage_py {
	enum stage_pickle_kind kind;
	union {
		bool b;
		int64_t i;
		double f;
		struct {		/* STR, BYTES, GLOBAL: NUL behind */
			const char *s;
			size_t len;
		} str;
		struct {		/* TUPLE, LIST, SET; DICT: k, v, k, v */
			struct stage_py **v;
			size_t n, room;
		} seq;
		struct {
			struct stage_py *callee;
			struct stage_py *args;	/* TUPLE, or the id */
			struct stage_py *state;	/* of BUILD, or NULL */
			struct stage_py *items;	/* DICT or LIST, or NULL */
		} call;
	} u;
};

struct stage_pickle;

/* Reads one pickle from the start of data. *ret_used (may be NULL) is where
 * it ended. -EBADMSG, -EFBIG (a ceiling), -ENOTSUP (an opcode outside the
 * table), -ENODATA (no STOP in data: cut short, or more has to be read),
 * -ENOMEM. data may be freed afterwards. */
int stage_pickle_parse(const void *data, size_t len, struct stage_pickle **ret,
	size_t *ret_used, struct error *why);
void stage_pickle_free(struct stage_pickle *p);
struct stage_py *stage_pickle_root(const struct stage_pickle *p);
/* All PERSID nodes in the order they were made, as a LIST. */
const struct stage_py *stage_pickle_persids(const struct stage_pickle *p);

/* Is v the global `name` ("collections OrderedDict")? NULL is fine. */
bool stage_py_is_global(const struct stage_py *v, const char *name);
/* The callee's "module name" when v is a call of a global, else NULL. */
const char *stage_py_callee(const struct stage_py *v);
/* Argument i of a call with a tuple of arguments, or element i of a tuple or
 * list; NULL when there is none. */
struct stage_py *stage_py_item(const struct stage_py *v, size_t i);
size_t stage_py_count(const struct stage_py *v);
/* The dictionary behind v: a DICT, or a call of OrderedDict (and the like)
 * with items. NULL: v is no mapping. */
struct stage_py *stage_py_dict(struct stage_py *v);
/* By string key; the last one set wins, as in Python. */
struct stage_py *stage_py_get(const struct stage_py *dict, const char *key);
bool stage_py_str(const struct stage_py *v, const char **ret);
bool stage_py_int(const struct stage_py *v, int64_t *ret);

#endif
