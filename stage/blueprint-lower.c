/*
 * Below opset 17 a graph is meant for importers that know less than the
 * standard. Those of SameDiff 1.0.0 were tried operator by operator; what they
 * read otherwise than ONNX means it is written in another way here, so that
 * blueprints need not know:
 *
 *   attributes      defaults are not known to them: all are written out
 *   Reduce…         a negative axis is taken for another: axes count from 0
 *   Un-, Squeeze    of several axes at once they do one: one at a time
 *   Reshape         0 is no dimension: -1, or what Shape says
 *   MatMul          by a matrix wants both of the same rank: Gemm of rows
 *   others          see blueprint-lower-ops.c
 *
 * At every opset two Transposes of which the second undoes the first are left
 * out, so that what keeps channels last costs nothing between convolutions.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "stage/blueprint-lower.h"

#define PORTABLE_BELOW 17	/* opset */

int stage_lower_append(struct bp_run *r, const struct bp_place *at,
	const char *op, struct bp_tensor *const *in, size_t n_in,
	struct stage_attr *attrs, size_t n_attrs, struct bp_tensor **ret)
{
	return stage_bp_append(r, at, stage_op_find(op), in, n_in, attrs,
		n_attrs, ret, 1);
}

int stage_lower_numbers(struct bp_run *r, const struct bp_place *at,
	const int64_t *v, size_t n, struct bp_tensor **ret)
{
	struct bp_value items[STAGE_RANK_MAX];
	struct bp_value list = { .kind = BP_V_LIST, .n = n, .list = items };

	for (size_t i = 0; i < n; i++)
		items[i] = stage_bp_int(v[i]);
	return stage_bp_operand(r, at, &list, STAGE_I64, ret);
}

bool stage_lower_constant(const struct bp_tensor *t, int64_t *ret, size_t *n)
{
	if (!t || t->kind != BP_CONSTANT || !t->type.known ||
	    t->type.rank > 1 || t->type.n_known > STAGE_RANK_MAX)
		return false;
	*n = t->type.n_known;
	for (size_t i = 0; i < *n; i++)
		ret[i] = t->type.known[i].size;
	return true;
}

/* ---- attributes ------------------------------------------------------------ */

int stage_lower_attrs(struct bp_run *r, const struct stage_op *op,
	const struct stage_attr *attrs, size_t n, struct stage_attr **ret,
	size_t *ret_n)
{
	size_t room = n, total = n;
	struct stage_attr *all;

	for (const struct stage_op_attr *a = op->attrs; a->name; a++)
		room++;
	all = stage_arena_array(&r->arena, room + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		all[i] = attrs[i];
	for (const struct stage_op_attr *a = op->attrs; a->name; a++) {
		bool given = !a->has_default;

		for (size_t i = 0; i < n && !given; i++)
			given = !strcmp(attrs[i].name, a->name);
		if (given)
			continue;
		all[total++] = (struct stage_attr){ .name = a->name,
			.kind = a->kind, .i = (int64_t)a->dflt,
			.f = (float)a->dflt };
	}
	*ret = all;
	*ret_n = total;
	return 0;
}

static int positive_axes(struct bp_run *r, unsigned rank,
	struct stage_attr *attrs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct stage_attr *a = &attrs[i];
		int64_t *v;

		if (strcmp(a->name, "axes") != 0 || a->kind != STAGE_ATTR_INTS)
			continue;
		v = stage_arena_array(&r->arena, a->n + 1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		for (size_t k = 0; k < a->n; k++)
			v[k] = a->ints[k] < 0 ? a->ints[k] + rank :
				a->ints[k];
		a->ints = v;
	}
	return 0;
}

/* ReduceSum has its axes as an input. */
static int positive_input(struct bp_run *r, const struct bp_place *at,
	unsigned rank, struct bp_tensor **in)
{
	int64_t v[STAGE_RANK_MAX];
	size_t n;

	if (!stage_lower_constant(*in, v, &n))
		return 0;
	for (size_t i = 0; i < n; i++)
		v[i] += v[i] < 0 ? rank : 0;
	return stage_lower_numbers(r, at, v, n, in);
}

/* ---- Reshape --------------------------------------------------------------- */

/* The first `count` dimensions of x as a tensor. */
static int leading(struct bp_run *r, const struct bp_place *at,
	struct bp_tensor *x, int64_t count, struct bp_tensor **ret)
{
	static const int64_t zero;
	struct bp_tensor *in[4];
	int err = stage_lower_append(r, at, "Shape", &x, 1, NULL, 0, &in[0]);

	if (!err)
		err = stage_lower_numbers(r, at, &zero, 1, &in[1]);
	if (!err)
		err = stage_lower_numbers(r, at, &count, 1, &in[2]);
	in[3] = in[1];
	return err ? err : stage_lower_append(r, at, "Slice", in, 4, NULL, 0,
		ret);
}

/* Two dimensions of one name are equal, so what was made of them once serves
 * all who need it. */
static void shape_key(const struct bp_tensor *x, int64_t count,
	const int64_t *tail, size_t n_tail, char *ret, size_t room)
{
	size_t n = 0;

	for (int64_t i = 0; i < count; i++) {
		stage_dim_text(&x->type.dim[i], ret + n, room - n - 2);
		n += strlen(ret + n);
		ret[n++] = ',';
	}
	ret[n] = '\0';
	for (size_t i = 0; i < n_tail && n < room; i++)
		n += (size_t)snprintf(ret + n, room - n, ";%lld",
			(long long)tail[i]);
}

/* The first `count` dimensions of x, then `tail`, as a tensor. */
static int shape_behind(struct bp_run *r, const struct bp_place *at,
	struct bp_tensor *x, int64_t count, const int64_t *tail,
	size_t n_tail, struct bp_tensor **ret)
{
	const struct stage_attr front = { .name = "axis",
		.kind = STAGE_ATTR_INT };
	char key[STAGE_RANK_MAX * 1024];
	struct bp_tensor *part[2], *made;
	struct stage_attr *axis;
	size_t n_axis;
	int err;

	shape_key(x, count, tail, n_tail, key, sizeof(key));
	*ret = map_get(&r->shapes, key);
	if (*ret)
		return 0;
	err = leading(r, at, x, count, &part[0]);
	if (!err)
		err = stage_lower_numbers(r, at, tail, n_tail, &part[1]);
	if (!err)
		err = stage_lower_attrs(r, stage_op_find("Concat"), &front, 1,
			&axis, &n_axis);
	if (!err)
		err = stage_lower_append(r, at, "Concat", part, 2, axis, n_axis,
			&made);
	if (!err)
		err = map_put(&r->shapes, key, made, NULL);
	if (!err)
		*ret = made;
	return err;
}

/* Zeros are understood where they stand at the front. */
static int lower_reshape(struct bp_run *r, const struct bp_place *at,
	struct bp_tensor *const *in, struct bp_tensor **ret)
{
	struct bp_tensor *to[2] = { in[0], in[1] };
	int64_t v[STAGE_RANK_MAX];
	size_t n, zeros = 0;
	bool rest = false;
	int err = 0;

	if (stage_lower_constant(in[1], v, &n)) {
		while (zeros < n && !v[zeros])
			zeros++;
		for (size_t i = zeros; i < n; i++)
			rest |= v[i] == -1;
		if (zeros == 1 && !rest) {
			v[0] = -1;
			err = stage_lower_numbers(r, at, v, n, &to[1]);
		} else if (zeros && zeros < n) {
			err = shape_behind(r, at, in[0], (int64_t)zeros,
				v + zeros, n - zeros, &to[1]);
		}
	}
	return err ? err : stage_lower_append(r, at, "Reshape", to, 2, NULL, 0,
		ret);
}

/* ---- Unsqueeze, Squeeze ----------------------------------------------------- */

static void sort(int64_t *v, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && v[k - 1] > v[k]; k--) {
			int64_t t = v[k];

			v[k] = v[k - 1];
			v[k - 1] = t;
		}
}

/* New axes are put in from the front, old ones taken out from the back. */
static int lower_axes(struct bp_run *r, const struct bp_place *at,
	const struct stage_op *op, struct bp_tensor *const *in, bool add,
	struct bp_tensor **ret)
{
	struct bp_tensor *x[2] = { in[0], in[1] };
	int64_t v[STAGE_RANK_MAX];
	size_t n;
	int err = 0;

	if (!stage_lower_constant(in[1], v, &n) || n < 2)
		return stage_bp_append(r, at, op, in, 2, NULL, 0, ret, 1);
	for (size_t i = 0; i < n; i++)
		if (v[i] < 0)
			v[i] += in[0]->type.rank + (add ? (int64_t)n : 0);
	sort(v, n);
	for (size_t i = 0; i < n && !err; i++) {
		err = stage_lower_numbers(r, at, &v[add ? i : n - 1 - i], 1,
			&x[1]);
		if (!err)
			err = stage_bp_append(r, at, op, x, 2, NULL, 0, &x[0],
				1);
	}
	if (!err)
		*ret = x[0];
	return err;
}

/* ---- MatMul ----------------------------------------------------------------- */

/* The matrix before a Transpose that only swaps its axes, or NULL. */
static struct bp_tensor *untransposed(const struct bp_tensor *w)
{
	return w->node && !strcmp(w->node->op->name, "Transpose") ?
		w->node->in[0] : NULL;
}

static int lower_matmul(struct bp_run *r, const struct bp_place *at,
	struct bp_tensor *const *in, struct bp_tensor **ret)
{
	struct bp_tensor *w = untransposed(in[1]), *gemm[2], *to[2], *y;
	const struct stage_attr trans = { .name = "transB", .kind = STAGE_ATTR_INT,
		.i = w != NULL };
	unsigned rank = in[0]->type.rank;
	struct stage_attr *attrs;
	int64_t rows[2] = { -1, 0 }, width = in[1]->type.dim[1].size;
	size_t n_attrs;
	int err;

	rows[1] = in[1]->type.dim[0].size;
	gemm[0] = in[0];
	gemm[1] = w ? w : in[1];
	err = stage_lower_attrs(r, stage_op_find("Gemm"), &trans, 1, &attrs,
		&n_attrs);
	to[0] = in[0];
	if (!err && rank > 2)
		err = stage_lower_numbers(r, at, rows, 2, &to[1]);
	if (!err && rank > 2)
		err = stage_lower_append(r, at, "Reshape", to, 2, NULL, 0,
			&gemm[0]);
	if (!err)
		err = stage_lower_append(r, at, "Gemm", gemm, 2, attrs, n_attrs,
			&y);
	if (err || rank == 2) {
		if (!err)
			*ret = y;
		return err;
	}
	to[0] = y;
	err = shape_behind(r, at, in[0], rank - 1, &width, 1, &to[1]);
	return err ? err : stage_lower_append(r, at, "Reshape", to, 2, NULL, 0,
		ret);
}

/* By a matrix of known size, of what MatMul itself would take. */
static bool by_matrix(struct bp_tensor *const *in)
{
	const struct stage_type *x = &in[0]->type, *w = &in[1]->type;

	return x->rank >= 2 && w->rank == 2 && x->dtype == STAGE_F32 &&
		w->dtype == STAGE_F32 && !w->dim[0].symbol &&
		!w->dim[1].symbol &&
		stage_dim_same(&x->dim[x->rank - 1], &w->dim[0]);
}

/* ---- the door --------------------------------------------------------------- */

/* CumSum's are taken for flags, and stand in its way: its defaults are known. */
static bool wants_attrs(const struct stage_op *op)
{
	return strcmp(op->name, "CumSum") != 0;
}

static int lower_shapes(struct bp_run *r, const struct bp_place *at,
	const struct stage_op *op, struct bp_tensor *const *in,
	struct bp_tensor **ret)
{
	if (!strcmp(op->name, "MatMul") && by_matrix(in))
		return lower_matmul(r, at, in, ret);
	if (!strcmp(op->name, "Reshape"))
		return lower_reshape(r, at, in, ret);
	if (!strcmp(op->name, "Unsqueeze"))
		return lower_axes(r, at, op, in, true, ret);
	if (!strcmp(op->name, "Squeeze"))
		return lower_axes(r, at, op, in, false, ret);
	return LOWER_AS_IT_IS;
}

/* Does it undo the Transpose that gives its input? */
static bool undone(const struct stage_op *op, const struct bp_tensor *x,
	const struct stage_attr *attrs, size_t n_attrs)
{
	const struct bp_node *n = x ? x->node : NULL;

	if (!n || strcmp(op->name, "Transpose") != 0 ||
	    strcmp(n->op->name, "Transpose") != 0 || n_attrs != 1 ||
	    attrs->n != x->type.rank)
		return false;
	for (size_t i = 0; i < attrs->n; i++)
		if (attrs->ints[i] < 0 || attrs->ints[i] >= (int64_t)attrs->n ||
		    n->attrs->ints[attrs->ints[i]] != (int64_t)i)
			return false;
	return true;
}

int stage_bp_emit(struct bp_run *r, const struct bp_place *at,
	const struct stage_op *op, struct bp_tensor *const *in, size_t n_in,
	struct stage_attr *attrs, size_t n_attrs, struct bp_tensor **ret,
	size_t n_out)
{
	struct bp_tensor *inputs[STAGE_OP_INPUTS_MAX];
	bool reduce = !strncmp(op->name, "Reduce", 6);
	int err = LOWER_AS_IT_IS;

	if (n_in == 1 && undone(op, in[0], attrs, n_attrs)) {
		*ret = in[0]->node->in[0];
		return 0;
	}
	if (r->args->opset >= PORTABLE_BELOW || n_in > STAGE_OP_INPUTS_MAX)
		return stage_bp_append(r, at, op, in, n_in, attrs, n_attrs,
			ret, n_out);
	if (n_in == 2 && in[0] && in[1] && n_out == 1 && !n_attrs)
		err = lower_shapes(r, at, op, in, ret);
	if (err == LOWER_AS_IT_IS && n_in && in[0])
		err = stage_lower_op(&(struct lower){ r, at, op, in, n_in,
			attrs, n_attrs, n_out }, ret);
	if (err != LOWER_AS_IT_IS)
		return err;
	for (size_t i = 0; i < n_in; i++)
		inputs[i] = in[i];
	err = wants_attrs(op) ? stage_lower_attrs(r, op, attrs, n_attrs,
		&attrs, &n_attrs) : 0;
	if (!err && reduce && in[0])
		err = positive_axes(r, in[0]->type.rank, attrs, n_attrs);
	if (!err && reduce && n_in == 2 && in[0])
		err = positive_input(r, at, in[0]->type.rank, &inputs[1]);
	return err ? err : stage_bp_append(r, at, op, inputs, n_in, attrs,
		n_attrs, ret, n_out);
}
