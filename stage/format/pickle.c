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

#include "stage/format/pickle-vm.h"

#define ARENA_MAX ((size_t)256 << 20)	/* bytes of values and strings */
#define FIRST_STACK 256			/* values */

struct stage_pickle {
	struct stage_arena arena;
	struct stage_py *root;
	struct stage_py *persids;	/* LIST of all, as they came */
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

static void read_arg(struct bytes *b, enum stage_vm_arg_kind kind,
	struct stage_vm_arg *a)
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

static int step(struct stage_vm *vm)
{
	size_t at = vm->total - bytes_left(&vm->in);
	uint8_t code = bytes_u8(&vm->in);
	const struct stage_vm_op *op = &stage_vm_ops[code];
	struct stage_vm_arg a = { 0 };

	if (vm->in.bad)
		return -ENODATA;
	if (!op->name)
		return error_set(vm->why, -ENOTSUP,
			"pickle: opcode %02x at byte %zu is not read", code,
			at);
	read_arg(&vm->in, op->arg, &a);
	if (vm->in.bad)
		return -ENODATA;
	if ((op->mark && !vm->n_marks) ||
	    vm->n - stage_vm_floor_of(vm) < op->takes)
		return error_set(vm->why, -EBADMSG,
			"pickle: %s at byte %zu finds too little on the stack",
			op->name, at);
	return op->run(vm, &a);
}

static int run(struct stage_vm *vm)
{
	int err = 0;

	vm->marks = calloc(STAGE_PICKLE_DEPTH_MAX, sizeof(*vm->marks));
	vm->stack = calloc(FIRST_STACK, sizeof(struct stage_py *));
	vm->room = FIRST_STACK;
	if (!vm->marks || !vm->stack)
		err = -ENOMEM;
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
	struct stage_vm vm = { .in = bytes_of(data, len), .total = len,
		.why = why };
	struct stage_pickle *p;
	int err;

	if (len > STAGE_PICKLE_MAX)
		return error_set(why, -EFBIG, "pickle: %zu bytes", len);
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->arena.max = ARENA_MAX;
	vm.arena = &p->arena;
	vm.persids = stage_vm_value(&vm, STAGE_PY_LIST);
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
