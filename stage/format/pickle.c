/*
 * The machine: a stack of values, a stack of marks, a memo. An opcode is a
 * row of a table: how its argument is written, how many values it takes from
 * the stack, and a function that says what becomes of them. The loop reads
 * the argument and checks the stack, so that the functions cannot get either
 * wrong.
 */
#include "config.h"

#include "stage/format/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stage/arena.h"
#include "stage/format/pickle-text.h"

#define ARENA_MAX ((size_t)256 << 20)	/* bytes of values and strings */

struct stage_pickle {
	struct stage_arena arena;
	struct stage_py *root;
	struct stage_py *persids;	/* LIST of all, as they came */
};

enum arg_kind {
	ARG_NONE, ARG_U8, ARG_U16, ARG_I32, ARG_U32, ARG_U64,
	ARG_F64BE,
	ARG_LINE,	/* up to a newline */
	ARG_LINES,	/* two of them */
	ARG_LEN8, ARG_LEN32, ARG_LEN64,	/* a length, and as many bytes */
};

struct arg {
	uint64_t u;		/* U8 to U64; I32 with its sign */
	double f;
	const uint8_t *p, *q;	/* bytes or first line; second line */
	size_t len, q_len;
};

struct vm {
	struct stage_arena *arena;
	struct bytes in;
	size_t total;			/* bytes of the whole input */
	struct stage_py **stack;
	size_t n, room;
	size_t *marks;			/* stack heights */
	size_t n_marks;
	struct stage_py **memo;		/* NULL: not set */
	size_t n_memo, room_memo;
	size_t n_values;
	struct stage_py *root;		/* set by STOP */
	struct stage_py *persids;
	struct error *why;
};

struct op {
	const char *name;	/* NULL: no such opcode */
	enum arg_kind arg;
	uint8_t takes;		/* values that have to be above the mark */
	bool mark;		/* and a mark has to be below them */
	int (*run)(struct vm *vm, const struct arg *a);
};

/* ---- the machine's own ----------------------------------------------------- */

static int bad(struct vm *vm, const char *what)
{
	return error_set(vm->why, -EBADMSG, "pickle: %s", what);
}

static struct stage_py *value(struct vm *vm, enum stage_pickle_kind kind)
{
	struct stage_py *v = NULL;

	if (vm->n_values < STAGE_PICKLE_VALUES_MAX)
		v = stage_arena_alloc(vm->arena, sizeof(*v));
	if (!v)
		return NULL;
	vm->n_values++;
	v->kind = kind;
	return v;
}

/* NULL stands for a value there was no room for. */
static int push(struct vm *vm, struct stage_py *v)
{
	if (!v || vm->n >= STAGE_PICKLE_VALUES_MAX)
		return error_set(vm->why, -EFBIG, "pickle: too many values");
	if (vm->n == vm->room) {
		size_t room = vm->room ? 2 * vm->room : 256;
		struct stage_py **more = reallocarray(vm->stack, room,
			sizeof(*more));

		if (!more)
			return -ENOMEM;
		vm->stack = more;
		vm->room = room;
	}
	vm->stack[vm->n++] = v;
	return 0;
}

/* The loop has checked that there is one. */
static struct stage_py *pop(struct vm *vm)
{
	return vm->stack[--vm->n];
}

/* What a value may be while it is still below others on the stack. */
static size_t floor_of(const struct vm *vm)
{
	return vm->n_marks ? vm->marks[vm->n_marks - 1] : 0;
}

static int push_str(struct vm *vm, enum stage_pickle_kind kind,
	const void *data, size_t len)
{
	struct stage_py *v = value(vm, kind);

	if (!v)
		return push(vm, v);
	v->u.str.s = stage_arena_copy(vm->arena, data, len);
	v->u.str.len = len;
	return push(vm, v->u.str.s ? v : NULL);
}

static int push_int(struct vm *vm, int64_t i)
{
	struct stage_py *v = value(vm, STAGE_PY_INT);

	if (v)
		v->u.i = i;
	return push(vm, v);
}

static int push_bool(struct vm *vm, bool b)
{
	struct stage_py *v = value(vm, STAGE_PY_BOOL);

	if (v)
		v->u.b = b;
	return push(vm, v);
}

/* Append n values to a sequence. */
static int extend(struct vm *vm, struct stage_py *seq,
	struct stage_py **v, size_t n)
{
	if (n > seq->u.seq.room - seq->u.seq.n) {
		size_t room = seq->u.seq.room * 2;
		struct stage_py **more;

		if (room < seq->u.seq.n + n)
			room = seq->u.seq.n + n;
		more = stage_arena_array(vm->arena, room, sizeof(*more));
		if (!more)
			return push(vm, NULL);
		if (seq->u.seq.n)
			memcpy(more, seq->u.seq.v,
				seq->u.seq.n * sizeof(*more));
		seq->u.seq.v = more;
		seq->u.seq.room = room;
	}
	if (n)
		memcpy(seq->u.seq.v + seq->u.seq.n, v, n * sizeof(*v));
	seq->u.seq.n += n;
	return 0;
}

/* The top n values become one sequence. */
static int gather(struct vm *vm, enum stage_pickle_kind kind, size_t n)
{
	struct stage_py *seq = value(vm, kind);
	int err = seq ? extend(vm, seq, vm->stack + vm->n - n, n) : 0;

	vm->n -= n;
	return err ? err : push(vm, seq);
}

/* How many values lie above the last mark; the mark goes. */
static size_t unmark(struct vm *vm)
{
	return vm->n - vm->marks[--vm->n_marks];
}

static int push_call(struct vm *vm, enum stage_pickle_kind kind,
	struct stage_py *callee, struct stage_py *args)
{
	struct stage_py *v = value(vm, kind);

	if (v) {
		v->u.call.callee = callee;
		v->u.call.args = args;
	}
	return push(vm, v);
}

static int push_global(struct vm *vm, const void *module, size_t module_len,
	const void *name, size_t name_len)
{
	struct stage_py *v = value(vm, STAGE_PY_GLOBAL);
	char *s;

	if (!v)
		return push(vm, v);
	s = stage_arena_alloc(vm->arena, module_len + name_len + 2);
	if (!s)
		return push(vm, NULL);
	memcpy(s, module, module_len);
	s[module_len] = ' ';
	memcpy(s + module_len + 1, name, name_len);
	v->u.str.s = s;
	v->u.str.len = module_len + name_len + 1;
	return push(vm, v);
}

/* The container that SETITEMS, APPENDS and ADDITEMS fill: v itself, or what a
 * call (OrderedDict(), a subclass of dict or list) is given to hold. */
static struct stage_py *container(struct vm *vm, struct stage_py *v,
	enum stage_pickle_kind kind)
{
	if (v->kind == STAGE_PY_CALL) {
		if (!v->u.call.items)
			v->u.call.items = value(vm, kind);
		v = v->u.call.items;
	}
	return v && v->kind == kind ? v : NULL;
}

/* The top n values go into the container below them. */
static int fill(struct vm *vm, enum stage_pickle_kind kind, size_t n)
{
	struct stage_py *c = container(vm, vm->stack[vm->n - n - 1], kind);

	if (!c)
		return bad(vm, "items for something that holds none");
	if (kind == STAGE_PY_DICT && n % 2)
		return bad(vm, "a key without a value");
	vm->n -= n;
	return extend(vm, c, vm->stack + vm->n, n);
}

/* ---- opcodes: constants ---------------------------------------------------- */

static int op_none(struct vm *vm, const struct arg *a)
{
	(void) a;
	return push(vm, value(vm, STAGE_PY_NONE));
}

static int op_true(struct vm *vm, const struct arg *a)
{
	(void) a;
	return push_bool(vm, true);
}

static int op_false(struct vm *vm, const struct arg *a)
{
	(void) a;
	return push_bool(vm, false);
}

static int op_int(struct vm *vm, const struct arg *a)
{
	return push_int(vm, (int64_t)a->u);
}

static int op_float(struct vm *vm, const struct arg *a)
{
	struct stage_py *v = value(vm, STAGE_PY_FLOAT);

	if (v)
		v->u.f = a->f;
	return push(vm, v);
}

static int op_str(struct vm *vm, const struct arg *a)
{
	return push_str(vm, STAGE_PY_STR, a->p, a->len);
}

static int op_bytes(struct vm *vm, const struct arg *a)
{
	return push_str(vm, STAGE_PY_BYTES, a->p, a->len);
}

/* LONG1, LONG4: two's complement, little-endian. */
static int op_long(struct vm *vm, const struct arg *a)
{
	uint64_t u = 0;

	if (a->len > 8)
		return push_str(vm, STAGE_PY_BIGINT, a->p, a->len);
	for (size_t i = 0; i < a->len; i++)
		u |= (uint64_t)a->p[i] << (8 * i);
	if (a->len && a->len < 8 && a->p[a->len - 1] & 0x80)
		u |= ~(uint64_t)0 << (8 * a->len);
	return push_int(vm, (int64_t)u);
}

/* INT, LONG: decimal; "00" and "01" of INT are booleans. */
static int op_text_int(struct vm *vm, const struct arg *a)
{
	int64_t i;

	if (a->len == 2 && a->p[0] == '0' && (a->p[1] == '0' ||
						a->p[1] == '1'))
		return push_bool(vm, a->p[1] == '1');
	if (stage_pickle_text_int(a->p, a->len, &i))
		return push_int(vm, i);
	return stage_pickle_text_digits(a->p, a->len) ?
		push_str(vm, STAGE_PY_BIGINT, a->p, a->len) :
		bad(vm, "a number that is none");
}

static int op_text_float(struct vm *vm, const struct arg *a)
{
	struct arg number = *a;

	if (!stage_pickle_text_float(a->p, a->len, &number.f))
		return bad(vm, "a number that is none");
	return op_float(vm, &number);
}

static int push_text(struct vm *vm, const struct arg *a,
	bool (*decode)(const uint8_t *p, size_t len, char *to, size_t *ret))
{
	size_t len = 0;
	struct stage_py *v = value(vm, STAGE_PY_STR);
	/* A byte becomes two at most: Latin-1 to UTF-8. */
	char *to = v ? stage_arena_alloc(vm->arena, 2 * a->len + 1) : NULL;

	if (!to)
		return push(vm, NULL);
	if (!decode(a->p, a->len, to, &len))
		return bad(vm, "a string with a bad escape");
	v->u.str.s = to;
	v->u.str.len = len;
	return push(vm, v);
}

static int op_text_str(struct vm *vm, const struct arg *a)
{
	return push_text(vm, a, stage_pickle_text_repr);
}

static int op_text_unicode(struct vm *vm, const struct arg *a)
{
	return push_text(vm, a, stage_pickle_text_unicode);
}

/* ---- opcodes: containers --------------------------------------------------- */

static int op_empty_tuple(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_TUPLE, 0);
}

static int op_empty_list(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_LIST, 0);
}

static int op_empty_dict(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_DICT, 0);
}

static int op_empty_set(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_SET, 0);
}

static int op_tuple1(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_TUPLE, 1);
}

static int op_tuple2(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_TUPLE, 2);
}

static int op_tuple3(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_TUPLE, 3);
}

static int op_tuple(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_TUPLE, unmark(vm));
}

static int op_list(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_LIST, unmark(vm));
}

static int op_dict(struct vm *vm, const struct arg *a)
{
	size_t n = unmark(vm);

	(void) a;
	return n % 2 ? bad(vm, "a key without a value") :
		gather(vm, STAGE_PY_DICT, n);
}

static int op_frozenset(struct vm *vm, const struct arg *a)
{
	(void) a;
	return gather(vm, STAGE_PY_SET, unmark(vm));
}

static int op_append(struct vm *vm, const struct arg *a)
{
	(void) a;
	return fill(vm, STAGE_PY_LIST, 1);
}

static int op_setitem(struct vm *vm, const struct arg *a)
{
	(void) a;
	return fill(vm, STAGE_PY_DICT, 2);
}

/* The container lies below the mark. */
static int fill_marked(struct vm *vm, enum stage_pickle_kind kind)
{
	size_t n = unmark(vm);

	if (vm->n - n <= floor_of(vm))
		return bad(vm, "items for nothing");
	return fill(vm, kind, n);
}

static int op_appends(struct vm *vm, const struct arg *a)
{
	(void) a;
	return fill_marked(vm, STAGE_PY_LIST);
}

static int op_setitems(struct vm *vm, const struct arg *a)
{
	(void) a;
	return fill_marked(vm, STAGE_PY_DICT);
}

static int op_additems(struct vm *vm, const struct arg *a)
{
	(void) a;
	return fill_marked(vm, STAGE_PY_SET);
}

/* ---- opcodes: stack and memo ----------------------------------------------- */

static int op_mark(struct vm *vm, const struct arg *a)
{
	(void) a;
	if (vm->n_marks == STAGE_PICKLE_DEPTH_MAX)
		return error_set(vm->why, -EFBIG, "pickle: nested too deep");
	vm->marks[vm->n_marks++] = vm->n;
	return 0;
}

static int op_stop(struct vm *vm, const struct arg *a)
{
	(void) a;
	vm->root = pop(vm);
	return 0;
}

/* POP takes a mark when one is on top. */
static int op_pop(struct vm *vm, const struct arg *a)
{
	(void) a;
	if (vm->n > floor_of(vm))
		(void) pop(vm);
	else if (vm->n_marks)
		vm->n_marks--;
	else
		return bad(vm, "the stack runs empty");
	return 0;
}

static int op_pop_mark(struct vm *vm, const struct arg *a)
{
	(void) a;
	vm->n -= unmark(vm);
	return 0;
}

static int op_dup(struct vm *vm, const struct arg *a)
{
	(void) a;
	return push(vm, vm->stack[vm->n - 1]);
}

/* An index is below the input's length: memory stays in proportion. */
static int put(struct vm *vm, uint64_t i)
{
	if (i >= vm->total || i >= STAGE_PICKLE_VALUES_MAX)
		return bad(vm, "a memo index out of all proportion");
	if (i >= vm->room_memo) {
		size_t room = vm->room_memo ? 2 * vm->room_memo : 256;
		struct stage_py **more;

		if (room <= i)
			room = i + 1;
		more = reallocarray(vm->memo, room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		memset(more + vm->room_memo, 0,
			(room - vm->room_memo) * sizeof(*more));
		vm->memo = more;
		vm->room_memo = room;
	}
	if (!vm->memo[i])
		vm->n_memo++;
	vm->memo[i] = vm->stack[vm->n - 1];
	return 0;
}

static int get(struct vm *vm, uint64_t i)
{
	if (i >= vm->room_memo || !vm->memo[i])
		return bad(vm, "the memo has no such index");
	return push(vm, vm->memo[i]);
}

static int op_put(struct vm *vm, const struct arg *a)
{
	return put(vm, a->u);
}

static int op_memoize(struct vm *vm, const struct arg *a)
{
	(void) a;
	return put(vm, vm->n_memo);
}

static int op_get(struct vm *vm, const struct arg *a)
{
	return get(vm, a->u);
}

static int op_text_put(struct vm *vm, const struct arg *a)
{
	int64_t i;

	if (!stage_pickle_text_int(a->p, a->len, &i) || i < 0)
		return bad(vm, "a number that is none");
	return put(vm, (uint64_t)i);
}

static int op_text_get(struct vm *vm, const struct arg *a)
{
	int64_t i;

	if (!stage_pickle_text_int(a->p, a->len, &i) || i < 0)
		return bad(vm, "a number that is none");
	return get(vm, (uint64_t)i);
}

static int op_nothing(struct vm *vm, const struct arg *a)
{
	(void) vm;
	(void) a;
	return 0;
}

/* ---- opcodes: symbols and calls -------------------------------------------- */

static int op_global(struct vm *vm, const struct arg *a)
{
	return push_global(vm, a->p, a->len, a->q, a->q_len);
}

static int op_stack_global(struct vm *vm, const struct arg *a)
{
	struct stage_py *name = pop(vm), *module = pop(vm);

	(void) a;
	if (name->kind != STAGE_PY_STR || module->kind != STAGE_PY_STR)
		return bad(vm, "a global without a name");
	return push_global(vm, module->u.str.s, module->u.str.len,
		name->u.str.s, name->u.str.len);
}

/* Python 2 wrote OrderedDict([[key, value], ...]), Python 3 sets items. */
static int take_pairs(struct vm *vm, struct stage_py *call)
{
	struct stage_py *pairs = stage_py_item(call, 0);
	size_t n = stage_py_count(pairs);

	if (!n || !stage_py_is_global(call->u.call.callee,
			  "collections OrderedDict"))
		return 0;
	call->u.call.items = value(vm, STAGE_PY_DICT);
	if (!call->u.call.items)
		return push(vm, NULL);
	for (size_t i = 0; i < n; i++) {
		struct stage_py *pair = stage_py_item(pairs, i);
		struct stage_py *kv[2] = { stage_py_item(pair, 0),
			stage_py_item(pair, 1) };
		int err = kv[0] && kv[1] ?
			extend(vm, call->u.call.items, kv, 2) :
			bad(vm, "a dictionary of no pairs");

		if (err)
			return err;
	}
	return 0;
}

/* REDUCE, NEWOBJ */
static int op_call(struct vm *vm, const struct arg *a)
{
	struct stage_py *args = pop(vm), *callee = pop(vm);
	int err;

	(void) a;
	if (args->kind != STAGE_PY_TUPLE)
		return bad(vm, "a call without a tuple of arguments");
	err = push_call(vm, STAGE_PY_CALL, callee, args);
	return err ? err : take_pairs(vm, vm->stack[vm->n - 1]);
}

static int op_newobj_ex(struct vm *vm, const struct arg *a)
{
	(void) pop(vm);		/* keywords mean nothing to any reader */
	return op_call(vm, a);
}

/* OBJ: mark, class, arguments */
static int op_obj(struct vm *vm, const struct arg *a)
{
	size_t n = unmark(vm);
	struct stage_py *callee = vm->stack[vm->n - n], *args;
	int err;

	(void) a;
	err = gather(vm, STAGE_PY_TUPLE, n - 1);
	if (err)
		return err;
	args = pop(vm);
	(void) pop(vm);
	return push_call(vm, STAGE_PY_CALL, callee, args);
}

/* INST: class by name, arguments above the mark */
static int op_inst(struct vm *vm, const struct arg *a)
{
	struct stage_py *args;
	int err = op_tuple(vm, a);

	if (err)
		return err;
	args = pop(vm);
	err = op_global(vm, a);
	if (err)
		return err;
	return push_call(vm, STAGE_PY_CALL, pop(vm), args);
}

static int op_build(struct vm *vm, const struct arg *a)
{
	struct stage_py *state = pop(vm), *object = vm->stack[vm->n - 1];

	(void) a;
	if (object->kind != STAGE_PY_CALL)
		return bad(vm, "a state for something that is no object");
	object->u.call.state = state;
	return 0;
}

static int op_binpersid(struct vm *vm, const struct arg *a)
{
	int err = push_call(vm, STAGE_PY_PERSID, NULL, pop(vm));

	(void) a;
	return err ? err :
		extend(vm, vm->persids, &vm->stack[vm->n - 1], 1);
}

static int op_persid(struct vm *vm, const struct arg *a)
{
	int err = op_str(vm, a);

	return err ? err : op_binpersid(vm, a);
}

/* ---- the table ------------------------------------------------------------- */

static const struct op ops[256] = {
	['('] = { "MARK", ARG_NONE, 0, false, op_mark },
	['.'] = { "STOP", ARG_NONE, 1, false, op_stop },
	['0'] = { "POP", ARG_NONE, 0, false, op_pop },
	['1'] = { "POP_MARK", ARG_NONE, 0, true, op_pop_mark },
	['2'] = { "DUP", ARG_NONE, 1, false, op_dup },
	['F'] = { "FLOAT", ARG_LINE, 0, false, op_text_float },
	['I'] = { "INT", ARG_LINE, 0, false, op_text_int },
	['J'] = { "BININT", ARG_I32, 0, false, op_int },
	['K'] = { "BININT1", ARG_U8, 0, false, op_int },
	['L'] = { "LONG", ARG_LINE, 0, false, op_text_int },
	['M'] = { "BININT2", ARG_U16, 0, false, op_int },
	['N'] = { "NONE", ARG_NONE, 0, false, op_none },
	['P'] = { "PERSID", ARG_LINE, 0, false, op_persid },
	['Q'] = { "BINPERSID", ARG_NONE, 1, false, op_binpersid },
	['R'] = { "REDUCE", ARG_NONE, 2, false, op_call },
	['S'] = { "STRING", ARG_LINE, 0, false, op_text_str },
	['T'] = { "BINSTRING", ARG_LEN32, 0, false, op_str },
	['U'] = { "SHORT_BINSTRING", ARG_LEN8, 0, false, op_str },
	['V'] = { "UNICODE", ARG_LINE, 0, false, op_text_unicode },
	['X'] = { "BINUNICODE", ARG_LEN32, 0, false, op_str },
	['a'] = { "APPEND", ARG_NONE, 2, false, op_append },
	['b'] = { "BUILD", ARG_NONE, 2, false, op_build },
	['c'] = { "GLOBAL", ARG_LINES, 0, false, op_global },
	['d'] = { "DICT", ARG_NONE, 0, true, op_dict },
	['}'] = { "EMPTY_DICT", ARG_NONE, 0, false, op_empty_dict },
	['e'] = { "APPENDS", ARG_NONE, 0, true, op_appends },
	['g'] = { "GET", ARG_LINE, 0, false, op_text_get },
	['h'] = { "BINGET", ARG_U8, 0, false, op_get },
	['i'] = { "INST", ARG_LINES, 0, true, op_inst },
	['j'] = { "LONG_BINGET", ARG_U32, 0, false, op_get },
	['l'] = { "LIST", ARG_NONE, 0, true, op_list },
	[']'] = { "EMPTY_LIST", ARG_NONE, 0, false, op_empty_list },
	['o'] = { "OBJ", ARG_NONE, 1, true, op_obj },
	['p'] = { "PUT", ARG_LINE, 1, false, op_text_put },
	['q'] = { "BINPUT", ARG_U8, 1, false, op_put },
	['r'] = { "LONG_BINPUT", ARG_U32, 1, false, op_put },
	['s'] = { "SETITEM", ARG_NONE, 3, false, op_setitem },
	['t'] = { "TUPLE", ARG_NONE, 0, true, op_tuple },
	[')'] = { "EMPTY_TUPLE", ARG_NONE, 0, false, op_empty_tuple },
	['u'] = { "SETITEMS", ARG_NONE, 0, true, op_setitems },
	['G'] = { "BINFLOAT", ARG_F64BE, 0, false, op_float },
	['B'] = { "BINBYTES", ARG_LEN32, 0, false, op_bytes },
	['C'] = { "SHORT_BINBYTES", ARG_LEN8, 0, false, op_bytes },
	[0x80] = { "PROTO", ARG_U8, 0, false, op_nothing },
	[0x81] = { "NEWOBJ", ARG_NONE, 2, false, op_call },
	[0x85] = { "TUPLE1", ARG_NONE, 1, false, op_tuple1 },
	[0x86] = { "TUPLE2", ARG_NONE, 2, false, op_tuple2 },
	[0x87] = { "TUPLE3", ARG_NONE, 3, false, op_tuple3 },
	[0x88] = { "NEWTRUE", ARG_NONE, 0, false, op_true },
	[0x89] = { "NEWFALSE", ARG_NONE, 0, false, op_false },
	[0x8a] = { "LONG1", ARG_LEN8, 0, false, op_long },
	[0x8b] = { "LONG4", ARG_LEN32, 0, false, op_long },
	[0x8c] = { "SHORT_BINUNICODE", ARG_LEN8, 0, false, op_str },
	[0x8d] = { "BINUNICODE8", ARG_LEN64, 0, false, op_str },
	[0x8e] = { "BINBYTES8", ARG_LEN64, 0, false, op_bytes },
	[0x8f] = { "EMPTY_SET", ARG_NONE, 0, false, op_empty_set },
	[0x90] = { "ADDITEMS", ARG_NONE, 0, true, op_additems },
	[0x91] = { "FROZENSET", ARG_NONE, 0, true, op_frozenset },
	[0x92] = { "NEWOBJ_EX", ARG_NONE, 3, false, op_newobj_ex },
	[0x93] = { "STACK_GLOBAL", ARG_NONE, 2, false, op_stack_global },
	[0x94] = { "MEMOIZE", ARG_NONE, 1, false, op_memoize },
	[0x95] = { "FRAME", ARG_U64, 0, false, op_nothing },
	[0x96] = { "BYTEARRAY8", ARG_LEN64, 0, false, op_bytes },
};

/* ---- the loop -------------------------------------------------------------- */

static void read_line(struct bytes *b, const uint8_t **ret, size_t *ret_len)
{
	const uint8_t *end = bytes_left(b) ?
		memchr(b->p, '\n', bytes_left(b)) : NULL;

	*ret_len = end ? (size_t)(end - b->p) : 0;
	/* Without an end the cursor goes bad. */
	*ret = bytes_take(b, end ? *ret_len + 1 : UINT64_MAX);
}

static void read_arg(struct bytes *b, enum arg_kind kind, struct arg *a)
{
	switch (kind) {
	case ARG_NONE:
		return;
	case ARG_U8:
		a->u = bytes_u8(b);
		return;
	case ARG_U16:
		a->u = bytes_le16(b);
		return;
	case ARG_I32:
		a->u = (uint64_t)(int64_t)(int32_t)bytes_le32(b);
		return;
	case ARG_U32:
		a->u = bytes_le32(b);
		return;
	case ARG_U64:
		a->u = bytes_le64(b);
		return;
	case ARG_F64BE:
		a->u = bytes_be(b, 8);
		memcpy(&a->f, &a->u, 8);
		return;
	case ARG_LINES:
		read_line(b, &a->p, &a->len);
		read_line(b, &a->q, &a->q_len);
		return;
	case ARG_LINE:
		read_line(b, &a->p, &a->len);
		return;
	case ARG_LEN8:
		a->len = bytes_u8(b);
		break;
	case ARG_LEN32:
		a->len = bytes_le32(b);
		break;
	case ARG_LEN64:
		a->len = bytes_le64(b);
		break;
	}
	a->p = bytes_take(b, a->len);
}

static int step(struct vm *vm)
{
	size_t at = vm->total - bytes_left(&vm->in);
	uint8_t code = bytes_u8(&vm->in);
	const struct op *op = &ops[code];
	struct arg a = { 0 };

	if (vm->in.bad)
		return -ENODATA;
	if (!op->name)
		return error_set(vm->why, -ENOTSUP,
			"pickle: opcode %02x at byte %zu is not read", code,
			at);
	read_arg(&vm->in, op->arg, &a);
	if (vm->in.bad)
		return -ENODATA;
	if ((op->mark && !vm->n_marks) || vm->n - floor_of(vm) < op->takes)
		return error_set(vm->why, -EBADMSG,
			"pickle: %s at byte %zu finds too little on the stack",
			op->name, at);
	return op->run(vm, &a);
}

static int run(struct vm *vm)
{
	int err = 0;

	vm->marks = calloc(STAGE_PICKLE_DEPTH_MAX, sizeof(*vm->marks));
	if (!vm->marks)
		return -ENOMEM;
	while (!err && !vm->root)
		err = step(vm);
	if (err == -ENODATA)
		error_set(vm->why, err, "pickle: cut short");
	free(vm->stack);
	free(vm->marks);
	free(vm->memo);
	return err;
}

int stage_pickle_parse(const void *data, size_t len, struct stage_pickle **ret,
	size_t *ret_used, struct error *why)
{
	struct vm vm = { .in = bytes_of(data, len), .total = len, .why = why };
	struct stage_pickle *p;
	int err;

	if (len > STAGE_PICKLE_MAX)
		return error_set(why, -EFBIG, "pickle: %zu bytes", len);
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->arena.max = ARENA_MAX;
	vm.arena = &p->arena;
	vm.persids = value(&vm, STAGE_PY_LIST);
	err = vm.persids ? run(&vm) : -ENOMEM;
	if (err) {
		stage_pickle_free(p);
		return err;
	}
	p->root = vm.root;
	p->persids = vm.persids;
	if (ret_used)
		*ret_used = len - bytes_left(&vm.in);
	*ret = p;
	return 0;
}

void stage_pickle_free(struct stage_pickle *p)
{
	if (!p)
		return;
	stage_arena_done(&p->arena);
	free(p);
}

struct stage_py *stage_pickle_root(const struct stage_pickle *p)
{
	return p->root;
}

const struct stage_py *stage_pickle_persids(const struct stage_pickle *p)
{
	return p->persids;
}
