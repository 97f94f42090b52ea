/*
 * What each opcode does, one short function an opcode or a few alike, and the
 * table of them at the foot. The loop has read the argument and looked at the
 * stack before a function runs.
 */
#include "config.h"

#include <string.h>

#include "stage/format/pickle-text.h"
#include "stage/format/pickle-vm.h"

/* ---- values ---------------------------------------------------------------- */

static int push_int(struct stage_vm *vm, int64_t i)
{
	struct stage_py *v = stage_vm_value(vm, STAGE_PY_INT);

	if (v)
		v->u.i = i;
	return stage_vm_push(vm, v);
}

static int push_bool(struct stage_vm *vm, bool b)
{
	struct stage_py *v = stage_vm_value(vm, STAGE_PY_BOOL);

	if (v)
		v->u.b = b;
	return stage_vm_push(vm, v);
}

static int push_call(struct stage_vm *vm, enum stage_pickle_kind kind,
	struct stage_py *callee, struct stage_py *args)
{
	struct stage_py *v = stage_vm_value(vm, kind);

	if (v) {
		v->u.call.callee = callee;
		v->u.call.args = args;
	}
	return stage_vm_push(vm, v);
}

static int push_global(struct stage_vm *vm, const void *module,
	size_t module_len, const void *name, size_t name_len)
{
	struct stage_py *v = stage_vm_value(vm, STAGE_PY_GLOBAL);
	char *s;

	if (!v)
		return stage_vm_push(vm, v);
	s = stage_arena_alloc(vm->arena, module_len + name_len + 2);
	if (!s)
		return stage_vm_push(vm, NULL);
	memcpy(s, module, module_len);
	s[module_len] = ' ';
	memcpy(s + module_len + 1, name, name_len);
	v->u.str.s = s;
	v->u.str.len = module_len + name_len + 1;
	return stage_vm_push(vm, v);
}

/* The container that SETITEMS, APPENDS and ADDITEMS fill: v itself, or what a
 * call (OrderedDict(), a subclass of dict or list) is given to hold. */
static struct stage_py *container(struct stage_vm *vm, struct stage_py *v,
	enum stage_pickle_kind kind)
{
	if (v->kind == STAGE_PY_CALL) {
		if (!v->u.call.items)
			v->u.call.items = stage_vm_value(vm, kind);
		v = v->u.call.items;
	}
	return v && v->kind == kind ? v : NULL;
}

/* The top n values go into the container below them. */
static int fill(struct stage_vm *vm, enum stage_pickle_kind kind, size_t n)
{
	struct stage_py *c = container(vm, vm->stack[vm->n - n - 1], kind);

	if (!c)
		return stage_vm_bad(vm, "items for something that holds none");
	if (kind == STAGE_PY_DICT && n % 2)
		return stage_vm_bad(vm, "a key without a value");
	vm->n -= n;
	return stage_vm_extend(vm, c, vm->stack + vm->n, n);
}

/* ---- opcodes: constants ---------------------------------------------------- */

static int op_none(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_push(vm, stage_vm_value(vm, STAGE_PY_NONE));
}

static int op_true(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return push_bool(vm, true);
}

static int op_false(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return push_bool(vm, false);
}

static int op_int(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return push_int(vm, (int64_t)a->u);
}

static int op_float(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	struct stage_py *v = stage_vm_value(vm, STAGE_PY_FLOAT);

	if (v)
		v->u.f = a->f;
	return stage_vm_push(vm, v);
}

static int op_str(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return stage_vm_push_str(vm, STAGE_PY_STR, a->p, a->len);
}

static int op_bytes(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return stage_vm_push_str(vm, STAGE_PY_BYTES, a->p, a->len);
}

/* LONG1, LONG4: two's complement, little-endian. */
static int op_long(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	uint64_t u = 0;

	if (a->len > 8)
		return stage_vm_push_str(vm, STAGE_PY_BIGINT, a->p, a->len);
	for (size_t i = 0; i < a->len; i++)
		u |= (uint64_t)a->p[i] << (8 * i);
	if (a->len && a->len < 8 && a->p[a->len - 1] & 0x80)
		u |= ~(uint64_t)0 << (8 * a->len);
	return push_int(vm, (int64_t)u);
}

/* INT, LONG: decimal; "00" and "01" of INT are booleans. */
static int op_text_int(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	int64_t i;

	if (a->len == 2 && a->p[0] == '0' && (a->p[1] == '0' ||
						a->p[1] == '1'))
		return push_bool(vm, a->p[1] == '1');
	if (stage_pickle_text_int(a->p, a->len, &i))
		return push_int(vm, i);
	return stage_pickle_text_digits(a->p, a->len) ?
		stage_vm_push_str(vm, STAGE_PY_BIGINT, a->p, a->len) :
		stage_vm_bad(vm, "a number that is none");
}

static int op_text_float(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	struct stage_vm_arg number = *a;

	if (!stage_pickle_text_float(a->p, a->len, &number.f))
		return stage_vm_bad(vm, "a number that is none");
	return op_float(vm, &number);
}

static int push_text(struct stage_vm *vm, const struct stage_vm_arg *a,
	bool (*decode)(const uint8_t *p, size_t len, char *to, size_t *ret))
{
	size_t len = 0;
	struct stage_py *v = stage_vm_value(vm, STAGE_PY_STR);
	/* A byte becomes two at most: Latin-1 to UTF-8. */
	char *to = v ? stage_arena_alloc(vm->arena, 2 * a->len + 1) : NULL;

	if (!to)
		return stage_vm_push(vm, NULL);
	if (!decode(a->p, a->len, to, &len))
		return stage_vm_bad(vm, "a string with a bad escape");
	v->u.str.s = to;
	v->u.str.len = len;
	return stage_vm_push(vm, v);
}

static int op_text_str(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return push_text(vm, a, stage_pickle_text_repr);
}

static int op_text_unicode(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return push_text(vm, a, stage_pickle_text_unicode);
}

/* ---- opcodes: containers --------------------------------------------------- */

static int op_empty_tuple(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_TUPLE, 0);
}

static int op_empty_list(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_LIST, 0);
}

static int op_empty_dict(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_DICT, 0);
}

static int op_empty_set(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_SET, 0);
}

static int op_tuple1(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_TUPLE, 1);
}

static int op_tuple2(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_TUPLE, 2);
}

static int op_tuple3(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_TUPLE, 3);
}

static int op_tuple(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_TUPLE, stage_vm_unmark(vm));
}

static int op_list(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_LIST, stage_vm_unmark(vm));
}

static int op_dict(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	size_t n = stage_vm_unmark(vm);

	(void) a;
	return n % 2 ? stage_vm_bad(vm, "a key without a value") :
		stage_vm_gather(vm, STAGE_PY_DICT, n);
}

static int op_frozenset(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_gather(vm, STAGE_PY_SET, stage_vm_unmark(vm));
}

static int op_append(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return fill(vm, STAGE_PY_LIST, 1);
}

static int op_setitem(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return fill(vm, STAGE_PY_DICT, 2);
}

/* The container lies below the mark. */
static int fill_marked(struct stage_vm *vm, enum stage_pickle_kind kind)
{
	size_t n = stage_vm_unmark(vm);

	if (vm->n - n <= stage_vm_floor_of(vm))
		return stage_vm_bad(vm, "items for nothing");
	return fill(vm, kind, n);
}

static int op_appends(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return fill_marked(vm, STAGE_PY_LIST);
}

static int op_setitems(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return fill_marked(vm, STAGE_PY_DICT);
}

static int op_additems(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return fill_marked(vm, STAGE_PY_SET);
}

/* ---- opcodes: stack and memo ----------------------------------------------- */

static int op_mark(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	if (vm->n_marks == STAGE_PICKLE_DEPTH_MAX)
		return error_set(vm->why, -EFBIG, "pickle: nested too deep");
	vm->marks[vm->n_marks++] = vm->n;
	return 0;
}

static int op_stop(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	vm->root = stage_vm_pop(vm);
	return 0;
}

/* POP takes a mark when one is on top. */
static int op_pop(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	if (vm->n > stage_vm_floor_of(vm))
		(void) stage_vm_pop(vm);
	else if (vm->n_marks)
		vm->n_marks--;
	else
		return stage_vm_bad(vm, "the stack runs empty");
	return 0;
}

static int op_pop_mark(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	vm->n -= stage_vm_unmark(vm);
	return 0;
}

static int op_dup(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_push(vm, vm->stack[vm->n - 1]);
}

static int op_put(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return stage_vm_put(vm, a->u);
}

static int op_memoize(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) a;
	return stage_vm_put(vm, vm->n_memo);
}

static int op_get(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return stage_vm_get(vm, a->u);
}

static int op_text_put(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	int64_t i;

	if (!stage_pickle_text_int(a->p, a->len, &i) || i < 0)
		return stage_vm_bad(vm, "a number that is none");
	return stage_vm_put(vm, (uint64_t)i);
}

static int op_text_get(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	int64_t i;

	if (!stage_pickle_text_int(a->p, a->len, &i) || i < 0)
		return stage_vm_bad(vm, "a number that is none");
	return stage_vm_get(vm, (uint64_t)i);
}

static int op_nothing(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	(void) vm;
	(void) a;
	return 0;
}

/* ---- opcodes: symbols and calls -------------------------------------------- */

static int op_global(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	return push_global(vm, a->p, a->len, a->q, a->q_len);
}

static int op_stack_global(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	struct stage_py *name = stage_vm_pop(vm), *module = stage_vm_pop(vm);

	(void) a;
	if (name->kind != STAGE_PY_STR || module->kind != STAGE_PY_STR)
		return stage_vm_bad(vm, "a global without a name");
	return push_global(vm, module->u.str.s, module->u.str.len,
		name->u.str.s, name->u.str.len);
}

/* Python 2 wrote OrderedDict([[key, value], ...]), Python 3 sets items. */
static int take_pairs(struct stage_vm *vm, struct stage_py *call)
{
	struct stage_py *pairs = stage_py_item(call, 0);
	size_t n = stage_py_count(pairs);

	if (!n || !stage_py_is_global(call->u.call.callee,
			  "collections OrderedDict"))
		return 0;
	call->u.call.items = stage_vm_value(vm, STAGE_PY_DICT);
	if (!call->u.call.items)
		return stage_vm_push(vm, NULL);
	for (size_t i = 0; i < n; i++) {
		struct stage_py *pair = stage_py_item(pairs, i);
		struct stage_py *kv[2] = { stage_py_item(pair, 0),
			stage_py_item(pair, 1) };
		int err = kv[0] && kv[1] ?
			stage_vm_extend(vm, call->u.call.items, kv, 2) :
			stage_vm_bad(vm, "a dictionary of no pairs");

		if (err)
			return err;
	}
	return 0;
}

/* REDUCE, NEWOBJ */
static int op_call(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	struct stage_py *args = stage_vm_pop(vm), *callee = stage_vm_pop(vm);
	int err;

	(void) a;
	if (args->kind != STAGE_PY_TUPLE)
		return stage_vm_bad(vm, "a call without a tuple of arguments");
	err = push_call(vm, STAGE_PY_CALL, callee, args);
	return err ? err : take_pairs(vm, vm->stack[vm->n - 1]);
}

static int op_newobj_ex(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	/* Keywords mean nothing to any reader. */
	(void) stage_vm_pop(vm);
	return op_call(vm, a);
}

/* OBJ: mark, class, arguments */
static int op_obj(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	size_t n = stage_vm_unmark(vm);
	struct stage_py *callee = vm->stack[vm->n - n], *args;
	int err;

	(void) a;
	err = stage_vm_gather(vm, STAGE_PY_TUPLE, n - 1);
	if (err)
		return err;
	args = stage_vm_pop(vm);
	(void) stage_vm_pop(vm);
	return push_call(vm, STAGE_PY_CALL, callee, args);
}

/* INST: class by name, arguments above the mark */
static int op_inst(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	struct stage_py *args;
	int err = op_tuple(vm, a);

	if (err)
		return err;
	args = stage_vm_pop(vm);
	err = op_global(vm, a);
	if (err)
		return err;
	return push_call(vm, STAGE_PY_CALL, stage_vm_pop(vm), args);
}

static int op_build(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	struct stage_py *state = stage_vm_pop(vm);
	struct stage_py *object = vm->stack[vm->n - 1];

	(void) a;
	if (object->kind != STAGE_PY_CALL)
		return stage_vm_bad(vm, "a state for what is no object");
	object->u.call.state = state;
	return 0;
}

static int op_binpersid(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	int err = push_call(vm, STAGE_PY_PERSID, NULL, stage_vm_pop(vm));

	(void) a;
	return err ? err :
		stage_vm_extend(vm, vm->persids, &vm->stack[vm->n - 1], 1);
}

static int op_persid(struct stage_vm *vm, const struct stage_vm_arg *a)
{
	int err = op_str(vm, a);

	return err ? err : op_binpersid(vm, a);
}

/* ---- the table ------------------------------------------------------------- */

const struct stage_vm_op stage_vm_ops[256] = {
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
