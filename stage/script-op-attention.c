/* Attention, and products by letters. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "stage/script-op.h"

/* ---- attention ------------------------------------------------------------- */

/* i64[n] from 0, along one of two axes. */
static struct ts_val *count(struct ts *c, struct ts_dim n, unsigned axis)
{
	struct ts_type t = { .dtype = STAGE_I64, .rank = 1, .dim = { n } };
	struct ts_val *v = stage_ts_op(c, "Range", &t, TS_IN(
		stage_ts_scalar(c, STAGE_I64, 0), stage_ts_dim_scalar(c, n),
		stage_ts_scalar(c, STAGE_I64, 1)), TS_BARE);

	return v ? stage_ts_unsqueeze(c, v, axis) : NULL;
}

/* 0 where cond is true, minus infinity elsewhere */
static struct ts_val *mask_of(struct ts *c, struct ts_val *cond,
	const struct ts_val *like)
{
	struct ts_type t;

	if (c->err)
		return NULL;
	t = cond->t;
	t.dtype = like->t.dtype;
	return stage_ts_op(c, "Where", &t, TS_IN(cond,
		stage_ts_scalar_like(c, like, 0), stage_ts_scalar_like(c,
		like, -(double)INFINITY)), TS_BARE);
}

/* Each of the heads as often as queries share it. */
static struct ts_val *repeat_heads(struct ts *c, struct ts_val *x,
	const struct ts_val *q)
{
	struct ts_dim d[STAGE_RANK_MAX], by;
	unsigned at = x->t.rank - 3, rank = x->t.rank + 1;

	if (x->t.rank < 3 || rank > STAGE_RANK_MAX)
		return x;
	by = stage_ts_div(c, q->t.dim[at], x->t.dim[at]);
	if (stage_ts_is(by, 1) || c->err)
		return x;
	for (unsigned i = 0; i < rank; i++)
		d[i] = i <= at ? x->t.dim[i] : i == at + 1 ? by :
			x->t.dim[i - 1];
	x = stage_ts_expand(c, stage_ts_unsqueeze(c, x, at + 1), d, rank);
	d[at] = stage_ts_mul(c, d[at], by);
	memmove(&d[at + 1], &d[at + 2], (rank - at - 2) * sizeof(d[0]));
	return x ? stage_ts_reshape(c, x, d, rank - 1) : NULL;
}

static struct ts_val *attend(struct ts *c, struct ts_val *q,
	struct ts_val *key, struct ts_val *v, struct ts_val *mask,
	double scale, struct ts_val **ret_weights)
{
	struct ts_val *s;

	if (c->err)
		return NULL;
	s = stage_ts_two(c, "Mul", q, stage_ts_scalar_like(c, q, scale));
	s = stage_ts_matmul(c, s, stage_ts_swap(c, key, key->t.rank - 2,
		key->t.rank - 1));
	if (mask && mask->t.dtype == STAGE_BOOL)
		mask = mask_of(c, mask, q);
	if (mask)
		s = stage_ts_two(c, "Add", s, mask);
	if (c->err)
		return NULL;
	s = stage_ts_softmax(c, "Softmax", s, s->t.rank - 1);
	if (ret_weights)
		*ret_weights = s;
	return stage_ts_matmul(c, s, v);
}

/* query key value attn_mask dropout_p is_causal scale enable_gqa */
static struct ts_val *op_attention(struct ts_call *k)
{
	struct ts_val *q = stage_ts_arg(k, 0), *key = stage_ts_arg(k, 1);
	struct ts_val *v = stage_ts_arg(k, 2), *mask = stage_ts_arg(k, 3);
	double scale;

	if (k->c->err || q->t.rank < 2 || key->t.rank < 2)
		return NULL;
	if (stage_ts_arg_num(k, 4) != 0)
		(void) stage_ts_fail(k->c, "in training mode");
	scale = stage_ts_arg_none(k, 6) ? 1 / sqrt((double)stage_ts_fixed(
		k->c, q->t.dim[q->t.rank - 1])) : stage_ts_arg_num(k, 6);
	if (k->n > 7 && stage_ts_arg_bool(k, 7)) {
		key = repeat_heads(k->c, key, q);
		v = k->c->err ? NULL : repeat_heads(k->c, v, q);
	}
	if (stage_ts_arg_bool(k, 5) && !k->c->err) {
		mask = stage_ts_two(k->c, "LessOrEqual", count(k->c,
			key->t.dim[key->t.rank - 2], 0), count(k->c,
			q->t.dim[q->t.rank - 2], 1));
		if (mask)
			mask->t.dtype = STAGE_BOOL;
	}
	q = attend(k->c, q, key, v, mask, scale, NULL);
	if (k->op->name[0] == '_')
		return stage_ts_returns(k, (struct ts_val *[]){ q, NULL }, 2,
			false);
	return q;
}

/* query key value dropout_p is_causal attn_mask scale */
static struct ts_val *op_flash(struct ts_call *k)
{
	struct ts_value mask = k->arg[5];

	k->arg[5] = k->arg[4];
	k->arg[4] = k->arg[3];
	k->arg[3] = mask;
	return op_attention(k);
}

/* One of query, key and value out of [batch, time, 3 * width]. */
static struct ts_val *part(struct ts *c, struct ts_val *qkv, struct ts_dim
	heads, struct ts_dim width, int64_t i)
{
	static const unsigned perm[] = { 0, 2, 1, 3 };
	struct ts_dim d[4];
	struct ts_val *x = stage_ts_cut(c, qkv, 2, stage_ts_mul(c, width,
		stage_ts_num(i)), stage_ts_mul(c, width,
		stage_ts_num(i + 1)));

	if (!x)
		return NULL;
	d[0] = x->t.dim[0];
	d[1] = x->t.dim[1];
	d[2] = heads;
	d[3] = stage_ts_div(c, width, heads);
	x = stage_ts_reshape(c, x, d, 4);
	return x ? stage_ts_transpose(c, x, perm) : NULL;
}

static struct ts_val *linear(struct ts *c, struct ts_val *x, struct ts_val *w,
	struct ts_val *b)
{
	x = c->err ? NULL : stage_ts_matmul(c, x, stage_ts_swap(c, w, 0, 1));
	return stage_ts_two(c, "Add", x, b);
}

/* query key value embed_dim num_head qkv_weight qkv_bias proj_weight
 * proj_bias mask need_weights average_attn_weights mask_type */
static struct ts_val *op_native_mha(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *qkv, *v[2] = { NULL, NULL };
	struct ts_dim width = stage_ts_num(stage_ts_arg_int(k, 3));
	struct ts_dim heads = stage_ts_num(stage_ts_arg_int(k, 4));
	double scale;

	if (k->c->err || x->t.rank != 3 || stage_ts_arg(k, 1) != x ||
	    stage_ts_arg(k, 2) != x || !stage_ts_arg_none(k, 9)) {
		(void) stage_ts_fail(k->c, "of several tensors, or masked");
		return NULL;
	}
	qkv = linear(k->c, x, stage_ts_arg(k, 5), stage_ts_arg(k, 6));
	scale = 1 / sqrt((double)stage_ts_fixed(k->c, stage_ts_div(k->c,
		width, heads)));
	x = attend(k->c, part(k->c, qkv, heads, width, 0), part(k->c, qkv,
		heads, width, 1), part(k->c, qkv, heads, width, 2), NULL,
		scale, &v[1]);
	x = x ? stage_ts_swap(k->c, x, 1, 2) : NULL;
	x = x ? stage_ts_reshape(k->c, x, (struct ts_dim[]){ x->t.dim[0],
		x->t.dim[1], width }, 3) : NULL;
	v[0] = linear(k->c, x, stage_ts_arg(k, 7), stage_ts_arg(k, 8));
	if (!stage_ts_arg_bool(k, 10))
		v[1] = NULL;
	else if (stage_ts_arg_bool(k, 11))
		v[1] = stage_ts_reduce(k->c, "ReduceMean", v[1],
			(const int64_t[]){ 1 }, 1, false);
	return k->c->err ? NULL : stage_ts_returns(k, v, 2, false);
}

/* ---- products by letters --------------------------------------------------- */

/* "bij,bjk->bik": the size behind every letter. */
static bool letters(struct ts_call *k, const char **at, char end,
	const struct ts_type *t, struct ts_dim *sizes)
{
	unsigned i = 0;

	for (; **at && **at != end; (*at)++) {
		unsigned n = (unsigned)(**at | 32) - 'a';

		if (**at == ' ')
			continue;
		n += **at < 'a' ? 26 : 0;
		if (n >= 52 || i >= t->rank)
			return false;
		if (sizes[n].sym || sizes[n].n)
			stage_ts_require(k->c, sizes[n], t->dim[i]);
		sizes[n] = t->dim[i++];
	}
	return i == t->rank;
}

static struct ts_val *op_einsum(struct ts_call *k)
{
	struct ts_dim sizes[52] = { { 0, NULL } };
	const char *at = stage_ts_arg_str(k, 0);
	const char *arrow = strstr(at, "->");
	struct ts_val *v[16];
	size_t n = stage_ts_arg_list(k, 1, v, 16);
	struct ts_type t;
	bool ok = n && arrow;

	for (size_t i = 0; i < n && ok; i++) {
		ok = letters(k, &at, i + 1 < n ? ',' : '-', &v[i]->t, sizes);
		at += ok && *at == ',';
	}
	if (!ok || at != arrow) {
		(void) stage_ts_fail(k->c, "\"%s\" is not handled",
			stage_ts_arg_str(k, 0));
		return NULL;
	}
	t = (struct ts_type){ .dtype = v[0]->t.dtype };
	for (at = arrow + 2; *at && t.rank < STAGE_RANK_MAX; at++) {
		unsigned i = (unsigned)(*at | 32) - 'a' + (*at < 'a' ? 26 :
			0);

		if (*at != ' ' && i < 52)
			t.dim[t.rank++] = sizes[i];
	}
	return stage_ts_op(k->c, "Einsum", &t, v, n,
		TS_AT(stage_ts_as("equation", stage_ts_arg_str(k, 0))));
}

#define SDPA "query:T key:T value:T attn_mask:N=N dropout_p:d=0 " \
	"is_causal:b=F scale:d=N enable_gqa:b=F"

const struct ts_op stage_ts_ops_attention[] = {
	{ "scaled_dot_product_attention", SDPA, op_attention, "", 0 },
	{ "_scaled_dot_product_flash_attention_for_cpu", "query:T key:T "
		"value:T dropout_p:d=0 is_causal:b=F attn_mask:N=N scale:d=N",
		op_flash, "", 0 },
	{ "_native_multi_head_attention", "query:T key:T value:T embed_dim:i "
		"num_head:i qkv_weight:T qkv_bias:T proj_weight:T proj_bias:T "
		"mask:N=N need_weights:b=T average_attn_weights:b=T "
		"mask_type:i=N", op_native_mha, "", 0 },
	{ "einsum", "equation:s tensors:L path:?=N", op_einsum, "", 0 },
	{ .name = NULL },
};
