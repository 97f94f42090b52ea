/*
 * The machine's stack, marks and memo, and how values come into being. Every
 * ceiling of the reader is kept here.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stage/format/pickle-vm.h"

int stage_vm_bad(struct stage_vm *vm, const char *what)
{
	return error_set(vm->why, -EBADMSG, "pickle: %s", what);
}

struct stage_py *stage_vm_value(struct stage_vm *vm,
	enum stage_pickle_kind kind)
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

int stage_vm_push(struct stage_vm *vm, struct stage_py *v)
{
	if (!v || vm->n >= STAGE_PICKLE_VALUES_MAX)
		return error_set(vm->why, -EFBIG, "pickle: too many values");
	if (vm->n == vm->room) {
		size_t room = 2 * vm->room;
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

struct stage_py *stage_vm_pop(struct stage_vm *vm)
{
	return vm->stack[--vm->n];
}

size_t stage_vm_floor_of(const struct stage_vm *vm)
{
	return vm->n_marks ? vm->marks[vm->n_marks - 1] : 0;
}

int stage_vm_push_str(struct stage_vm *vm, enum stage_pickle_kind kind,
	const void *data, size_t len)
{
	struct stage_py *v = stage_vm_value(vm, kind);

	if (!v)
		return stage_vm_push(vm, v);
	v->u.str.s = stage_arena_copy(vm->arena, data, len);
	v->u.str.len = len;
	return stage_vm_push(vm, v->u.str.s ? v : NULL);
}

int stage_vm_extend(struct stage_vm *vm, struct stage_py *seq,
	struct stage_py **v, size_t n)
{
	if (n > seq->u.seq.room - seq->u.seq.n) {
		size_t room = seq->u.seq.room * 2;
		struct stage_py **more;

		if (room < seq->u.seq.n + n)
			room = seq->u.seq.n + n;
		more = stage_arena_array(vm->arena, room, sizeof(*more));
		if (!more)
			return stage_vm_push(vm, NULL);
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

int stage_vm_gather(struct stage_vm *vm, enum stage_pickle_kind kind,
	size_t n)
{
	struct stage_py *seq = stage_vm_value(vm, kind);
	int err = seq ? stage_vm_extend(vm, seq, vm->stack + vm->n - n, n) : 0;

	vm->n -= n;
	return err ? err : stage_vm_push(vm, seq);
}

size_t stage_vm_unmark(struct stage_vm *vm)
{
	return vm->n - vm->marks[--vm->n_marks];
}

/* An index is below the input's length: memory stays in proportion. */
int stage_vm_put(struct stage_vm *vm, uint64_t i)
{
	if (i >= vm->total || i >= STAGE_PICKLE_VALUES_MAX)
		return stage_vm_bad(vm, "a memo index out of all proportion");
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

int stage_vm_get(struct stage_vm *vm, uint64_t i)
{
	if (i >= vm->room_memo || !vm->memo[i])
		return stage_vm_bad(vm, "the memo has no such index");
	return stage_vm_push(vm, vm->memo[i]);
}
