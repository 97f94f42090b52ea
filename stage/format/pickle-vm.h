/* The machine that reads pickles, between pickle.c (the loop), pickle-stack.c
 * and pickle-ops.c (the opcodes). */
#ifndef STAGE_FORMAT_PICKLE_VM_H
#define STAGE_FORMAT_PICKLE_VM_H

#include "base/bytes.h"
#include "stage/arena.h"
#include "stage/format/pickle.h"

enum stage_vm_arg_kind {
	ARG_NONE, ARG_U8, ARG_U16, ARG_I32, ARG_U32, ARG_U64,
	ARG_F64BE,
	ARG_LINE,	/* up to a newline */
	ARG_LINES,	/* two of them */
	ARG_LEN8, ARG_LEN32, ARG_LEN64,	/* a length, and as many bytes */
};

struct stage_vm_arg {
	uint64_t u;		/* U8 to U64; I32 with its sign */
	double f;
	const uint8_t *p, *q;	/* bytes or first line; second line */
	size_t len, q_len;
};

struct stage_vm {
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

struct stage_vm_op {
	const char *name;	/* NULL: no such opcode */
	enum stage_vm_arg_kind arg;
	uint8_t takes;		/* values that have to be above the mark */
	bool mark;		/* and a mark has to be below them */
	int (*run)(struct stage_vm *vm, const struct stage_vm_arg *a);
};

extern const struct stage_vm_op stage_vm_ops[256];

/* -EBADMSG with these words. */
int stage_vm_bad(struct stage_vm *vm, const char *what);
/* NULL: over a ceiling. */
struct stage_py *stage_vm_value(struct stage_vm *vm,
	enum stage_pickle_kind kind);
/* NULL stands for a value there was no room for: -EFBIG. */
int stage_vm_push(struct stage_vm *vm, struct stage_py *v);
int stage_vm_push_str(struct stage_vm *vm, enum stage_pickle_kind kind,
	const void *data, size_t len);
/* The loop has checked that there is one. */
struct stage_py *stage_vm_pop(struct stage_vm *vm);
/* The stack's height at the last mark. */
size_t stage_vm_floor_of(const struct stage_vm *vm);
/* How many values lie above the last mark; the mark goes. */
size_t stage_vm_unmark(struct stage_vm *vm);
/* Append n values to a sequence. */
int stage_vm_extend(struct stage_vm *vm, struct stage_py *seq,
	struct stage_py **v, size_t n);
/* The top n values become one sequence. */
int stage_vm_gather(struct stage_vm *vm, enum stage_pickle_kind kind,
	size_t n);
/* The memo. */
int stage_vm_put(struct stage_vm *vm, uint64_t i);
int stage_vm_get(struct stage_vm *vm, uint64_t i);

#endif
