/* Between the operators and what they emit. */
#ifndef STAGE_SCRIPT_OP_H
#define STAGE_SCRIPT_OP_H

#include "stage/script.h"

#define TS_ARGS_MAX 24

struct ts_call;

enum ts_op_flag {
	TS_VIEW = 1,		/* the result looks at the first argument */
	TS_COPY = 2,		/* never, even if it is the same */
};

/* params: "name:kind=default …". Kinds: T tensor, N tensor or None, L list of
 * tensors, i size, I list of sizes, d number, b bool, s string, ? anything;
 * a parameter with default may be None too. */
struct ts_op {
	const char *name;		/* NULL ends a table */
	const char *params;
	struct ts_val *(*run)(struct ts_call *k);
	const char *onnx;		/* the rule's own */
	unsigned flags;
};

struct ts_call {
	struct ts *c;
	const struct ts_op *op;
	struct ts_value arg[TS_ARGS_MAX];
	size_t n;
	bool done;			/* ret is set, not the result */
	struct ts_value ret;
};

extern const struct ts_op stage_ts_ops_math[];
extern const struct ts_op stage_ts_ops_reduce[];
extern const struct ts_op stage_ts_ops_nn[];
extern const struct ts_op stage_ts_ops_act[];
extern const struct ts_op stage_ts_ops_pool[];
extern const struct ts_op stage_ts_ops_move[];
extern const struct ts_op stage_ts_ops_make[];
extern const struct ts_op stage_ts_ops_index[];
extern const struct ts_op stage_ts_ops_attention[];
extern const struct ts_op stage_ts_ops_rnn[];

/* ---- arguments ------------------------------------------------------------- */

/* NULL for None, and after an error. */
struct ts_val *stage_ts_arg(struct ts_call *k, size_t i);
int64_t stage_ts_arg_int(struct ts_call *k, size_t i);
double stage_ts_arg_num(struct ts_call *k, size_t i);
bool stage_ts_arg_bool(struct ts_call *k, size_t i);
bool stage_ts_arg_none(const struct ts_call *k, size_t i);
const char *stage_ts_arg_str(struct ts_call *k, size_t i);
struct ts_dim stage_ts_arg_dim(struct ts_call *k, size_t i);
/* Numbers; an int is n of them (n: how many there have to be, 0: any). */
size_t stage_ts_arg_ints(struct ts_call *k, size_t i, size_t n, int64_t *ret,
	size_t max);
size_t stage_ts_arg_dims(struct ts_call *k, size_t i, struct ts_dim *ret,
	size_t max);
size_t stage_ts_arg_list(struct ts_call *k, size_t i, struct ts_val **ret,
	size_t max);
/* An axis of rank, which may be negative. */
unsigned stage_ts_axis(struct ts *c, int64_t axis, unsigned rank);
enum stage_dtype stage_ts_dtype(struct ts *c, int64_t scalar_type);
struct ts_val *stage_ts_returns(struct ts_call *k, struct ts_val *const *v,
	size_t n, bool list);

/* ---- sizes (script-sym.c): sticky c->err -------------------------------------- */

struct ts_dim stage_ts_num(int64_t n);
struct ts_dim stage_ts_size(struct ts *c, unsigned input, unsigned axis);
struct ts_dim stage_ts_add(struct ts *c, struct ts_dim a, struct ts_dim b);
struct ts_dim stage_ts_sub(struct ts *c, struct ts_dim a, struct ts_dim b);
struct ts_dim stage_ts_mul(struct ts *c, struct ts_dim a, struct ts_dim b);
/* floor(a / b) */
struct ts_dim stage_ts_div(struct ts *c, struct ts_dim a, struct ts_dim b);
bool stage_ts_same(struct ts_dim a, struct ts_dim b);
bool stage_ts_is(struct ts_dim a, int64_t n);
/* a REL b: 0, 1, or -1: not known. */
int stage_ts_compare(struct ts *c, struct ts_dim a, enum ts_rel rel,
	struct ts_dim b);
/* Makes it so, by binding a size of an input (c->err is TS_RESTART then). */
void stage_ts_require(struct ts *c, struct ts_dim a, struct ts_dim b);
/* The number it is, or has to become. */
int64_t stage_ts_fixed(struct ts *c, struct ts_dim a);
/* Makes it the number it was in the example, if there is one. */
bool stage_ts_exemplified(struct ts *c, struct ts_dim a);
const char *stage_ts_dim_text(struct ts *c, struct ts_dim d);
struct ts_dim stage_ts_product(struct ts *c, const struct ts_dim *d,
	unsigned n);

/* ---- operators (script-emit.c): NULL after an error ---------------------------- */

#define TS_IN(...) (struct ts_val *[]){ __VA_ARGS__ }, \
	sizeof((struct ts_val *[]){ __VA_ARGS__ }) / sizeof(struct ts_val *)
#define TS_AT(...) (struct stage_attr[]){ __VA_ARGS__ }, \
	sizeof((struct stage_attr[]){ __VA_ARGS__ }) / \
		sizeof(struct stage_attr)
#define TS_BARE NULL, 0

struct stage_attr stage_ts_ai(const char *name, int64_t v);
struct stage_attr stage_ts_af(const char *name, double v);
struct stage_attr stage_ts_as(const char *name, const char *v);
struct stage_attr stage_ts_al(const char *name, const int64_t *v, size_t n);

int stage_ts_node(struct ts *c, const char *op, const struct ts_type *types,
	struct ts_val **ret, size_t n_out, struct ts_val *const *in,
	size_t n_in, const struct stage_attr *attrs, size_t n_attrs);
struct ts_val *stage_ts_op(struct ts *c, const char *op,
	const struct ts_type *type, struct ts_val *const *in, size_t n_in,
	const struct stage_attr *attrs, size_t n_attrs);
/* One input, the same type. */
struct ts_val *stage_ts_same_op(struct ts *c, const char *op,
	struct ts_val *x);
/* Two of one type, broadcast. */
struct ts_val *stage_ts_two(struct ts *c, const char *op, struct ts_val *a,
	struct ts_val *b);
/* Of a where cond is so, else of b; type: what all three broadcast to. */
struct ts_val *stage_ts_where(struct ts *c, struct ts_val *cond,
	const struct ts_type *type, struct ts_val *a, struct ts_val *b);
struct ts_val *stage_ts_cast(struct ts *c, struct ts_val *x,
	enum stage_dtype to);
struct ts_val *stage_ts_const(struct ts *c, enum stage_dtype t,
	const uint64_t *dims, unsigned rank, const void *data, size_t len);
/* A number of no dimensions. */
struct ts_val *stage_ts_scalar(struct ts *c, enum stage_dtype t, double v);
struct ts_val *stage_ts_scalar_like(struct ts *c, const struct ts_val *like,
	double v);
struct ts_val *stage_ts_numbers(struct ts *c, const int64_t *v, size_t n);
/* i64[n], computed where a size is a symbol. */
struct ts_val *stage_ts_dims(struct ts *c, const struct ts_dim *v, size_t n);
/* i64[] of a size. */
struct ts_val *stage_ts_dim_scalar(struct ts *c, struct ts_dim d);
/* Any number or tensor of the program as tensor of this type (0: its own). */
struct ts_val *stage_ts_operand(struct ts *c, const struct ts_value *v,
	enum stage_dtype t);
bool stage_ts_known(const struct ts_val *v, size_t i, double *ret);

struct ts_val *stage_ts_reshape(struct ts *c, struct ts_val *x,
	const struct ts_dim *dims, unsigned rank);
struct ts_val *stage_ts_transpose(struct ts *c, struct ts_val *x,
	const unsigned *perm);
struct ts_val *stage_ts_swap(struct ts *c, struct ts_val *x, unsigned a,
	unsigned b);
struct ts_val *stage_ts_unsqueeze(struct ts *c, struct ts_val *x,
	unsigned axis);
struct ts_val *stage_ts_squeeze(struct ts *c, struct ts_val *x,
	unsigned axis);
/* [from, to) of an axis, from and to inside it. */
struct ts_val *stage_ts_cut(struct ts *c, struct ts_val *x, unsigned axis,
	struct ts_dim from, struct ts_dim to);
struct ts_val *stage_ts_concat(struct ts *c, struct ts_val *const *v,
	size_t n, unsigned axis);
struct ts_val *stage_ts_expand(struct ts *c, struct ts_val *x,
	const struct ts_dim *dims, unsigned rank);
struct ts_val *stage_ts_matmul(struct ts *c, struct ts_val *a,
	struct ts_val *b);
struct ts_val *stage_ts_reduce(struct ts *c, const char *op, struct ts_val *x,
	const int64_t *axes, size_t n, bool keep);
struct ts_val *stage_ts_softmax(struct ts *c, const char *op,
	struct ts_val *x, unsigned axis);
/* broadcast sizes of two types into ret (dtype untouched) */
void stage_ts_broadcast(struct ts *c, const struct ts_type *a,
	const struct ts_type *b, struct ts_type *ret);
/* torch.result_type */
enum stage_dtype stage_ts_promote(const struct ts_value *a,
	const struct ts_value *b);
bool stage_ts_is_float(enum stage_dtype t);
/* What the type of an input must be, when nothing else has said it. */
void stage_ts_settle(struct ts *c, struct ts_val *x, enum stage_dtype t,
	unsigned rank);

#endif
