/* What the two parts of the lowering share; blueprint-lower.c says what for. */
#ifndef STAGE_BLUEPRINT_LOWER_H
#define STAGE_BLUEPRINT_LOWER_H

#include "stage/blueprint-run.h"

#define LOWER_AS_IT_IS 1	/* it needs no other form */

/* One operator as a blueprint has it; in[0] is there. */
struct lower {
	struct bp_run *r;
	const struct bp_place *at;
	const struct stage_op *op;
	struct bp_tensor *const *in;
	size_t n_in;
	struct stage_attr *attrs;
	size_t n_attrs;
	size_t n_out;
};

/* LOWER_AS_IT_IS, 0 with n_out results, or an error. */
int stage_lower_op(const struct lower *l, struct bp_tensor **ret);

/* An operator with one result, not lowered any further. */
int stage_lower_append(struct bp_run *r, const struct bp_place *at,
	const char *op, struct bp_tensor *const *in, size_t n_in,
	struct stage_attr *attrs, size_t n_attrs, struct bp_tensor **ret);
/* A list of whole numbers as constant. */
int stage_lower_numbers(struct bp_run *r, const struct bp_place *at,
	const int64_t *v, size_t n, struct bp_tensor **ret);
/* The elements of a constant whole number, or list of them; false: it is
 * none. */
bool stage_lower_constant(const struct bp_tensor *t, int64_t *ret, size_t *n);
/* A copy with the defaults of the operator's table behind it. */
int stage_lower_attrs(struct bp_run *r, const struct stage_op *op,
	const struct stage_attr *attrs, size_t n, struct stage_attr **ret,
	size_t *ret_n);

#endif
