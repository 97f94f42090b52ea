/*
 * Recurrent layers. torch and ONNX order the gates differently, and ONNX has
 * one operator a layer, with both directions in it.
 */
#include "config.h"

#include <string.h>

#include "stage/script-op.h"

#define PARAMS_MAX 256

struct rnn {
	struct ts *c;
	const char *op;			/* "LSTM" */
	const int64_t *order;		/* torch's gates in ONNX's order */
	int64_t gates;
	struct ts_val *param[PARAMS_MAX];
	size_t n_params, layers, dirs;
	bool biases, batch_first;
	struct ts_val *h, *cell;	/* [layers * dirs, batch, hidden] */
	struct ts_dim hidden;
};

static const int64_t lstm_order[] = { 0, 3, 1, 2 };	/* i f g o: i o f c */
static const int64_t gru_order[] = { 1, 0, 2 };		/* r z n: z r h */
static const int64_t rnn_order[] = { 0 };

/* The gates of one tensor, as ONNX wants them, with an axis before. */
static struct ts_val *ordered(struct rnn *r, struct ts_val *w)
{
	struct ts_val *v[4];

	for (int64_t i = 0; i < r->gates && !r->c->err; i++)
		v[i] = stage_ts_cut(r->c, w, 0, stage_ts_mul(r->c, r->hidden,
			stage_ts_num(r->order[i])), stage_ts_mul(r->c,
			r->hidden, stage_ts_num(r->order[i] + 1)));
	return r->c->err ? NULL : stage_ts_unsqueeze(r->c, stage_ts_concat(
		r->c, v, (size_t)r->gates, 0), 0);
}

/* Both directions of the i-th of a layer's tensors. */
static struct ts_val *both(struct rnn *r, size_t layer, size_t i)
{
	size_t per = r->biases ? 4 : 2;
	struct ts_val *v[2];

	for (size_t d = 0; d < r->dirs && !r->c->err; d++)
		v[d] = ordered(r, r->param[(layer * r->dirs + d) * per + i]);
	return r->c->err ? NULL : stage_ts_concat(r->c, v, r->dirs, 0);
}

static struct ts_val *state(struct rnn *r, struct ts_val *all, size_t layer)
{
	return all ? stage_ts_cut(r->c, all, 0, stage_ts_num((int64_t)(layer *
		r->dirs)), stage_ts_num((int64_t)((layer + 1) * r->dirs))) :
		NULL;
}

/* [time, batch, x] to [time, batch, dirs * hidden]; ret: the last states. */
static struct ts_val *layer(struct rnn *r, struct ts_val *x, size_t i,
	struct ts_val **ret)
{
	static const unsigned perm[] = { 0, 2, 1, 3 };
	struct ts_dim dirs = stage_ts_num((int64_t)r->dirs);
	struct ts_val *b = NULL, *out[3] = { NULL };
	struct stage_attr attrs[3];
	struct ts_type t[3];
	size_t n = 2;

	if (r->biases) {
		struct ts_val *bi[2] = { both(r, i, 2), both(r, i, 3) };

		b = r->c->err ? NULL : stage_ts_concat(r->c, bi, 2, 1);
	}
	if (r->c->err)
		return NULL;
	t[0] = (struct ts_type){ x->t.dtype, 4, { x->t.dim[0], dirs,
		x->t.dim[1], r->hidden } };
	t[1] = t[2] = (struct ts_type){ x->t.dtype, 3, { dirs, x->t.dim[1],
		r->hidden } };
	attrs[0] = stage_ts_as("direction", r->dirs == 2 ? "bidirectional" :
		"forward");
	attrs[1] = stage_ts_ai("hidden_size", stage_ts_fixed(r->c,
		r->hidden));
	if (r->order == gru_order)
		attrs[n++] = stage_ts_ai("linear_before_reset", 1);
	if (stage_ts_node(r->c, r->op, t, out, r->cell ? 3 : 2, TS_IN(x,
	    both(r, i, 0), both(r, i, 1), b, NULL, state(r, r->h, i),
	    state(r, r->cell, i)), attrs, n))
		return NULL;
	ret[0] = out[1];
	ret[1] = out[2];
	return stage_ts_reshape(r->c, stage_ts_transpose(r->c, out[0], perm),
		(struct ts_dim[]){ x->t.dim[0], x->t.dim[1], stage_ts_mul(
		r->c, dirs, r->hidden) }, 3);
}

static struct ts_val *run(struct ts_call *k, struct rnn *r, struct ts_val *x)
{
	struct ts_val *last[2][PARAMS_MAX], *out[3] = { NULL };
	size_t per = r->biases ? 4 : 2;

	if (r->c->err || !r->h || r->h->t.rank != 3 || x->t.rank != 3 ||
	    !r->layers || r->layers > PARAMS_MAX / 2 ||
	    r->n_params != per * r->layers * r->dirs) {
		(void) stage_ts_fail(r->c, "with projections or packed "
			"sequences");
		return NULL;
	}
	r->hidden = r->h->t.dim[2];
	if (r->batch_first)
		x = stage_ts_swap(r->c, x, 0, 1);
	for (size_t i = 0; i < r->layers && !r->c->err; i++) {
		struct ts_val *ret[2] = { NULL, NULL };
		struct ts_val *w = r->param[i * r->dirs * per];

		if (w->t.rank != 2)
			(void) stage_ts_fail(r->c, "with other weights");
		stage_ts_require(r->c, x->t.dim[2], w->t.dim[1]);
		x = r->c->err ? NULL : layer(r, x, i, ret);
		last[0][i] = ret[0];
		last[1][i] = ret[1];
	}
	if (r->c->err)
		return NULL;
	out[0] = r->batch_first ? stage_ts_swap(r->c, x, 0, 1) : x;
	out[1] = stage_ts_concat(r->c, last[0], r->layers, 0);
	out[2] = r->cell ? stage_ts_concat(r->c, last[1], r->layers, 0) :
		NULL;
	return r->c->err ? NULL : stage_ts_returns(k, out, r->cell ? 3 : 2,
		false);
}

/* input hx params has_biases num_layers dropout train bidirectional
 * batch_first */
static struct ts_val *op_rnn(struct ts_call *k)
{
	struct rnn r = { .c = k->c, .op = k->op->onnx };
	struct ts_val *x = stage_ts_arg(k, 0), *hx[2] = { NULL, NULL };

	r.order = k->op->name[0] == 'l' ? lstm_order :
		k->op->name[0] == 'g' ? gru_order : rnn_order;
	r.gates = r.order == lstm_order ? 4 : r.order == gru_order ? 3 : 1;
	if (r.order == lstm_order) {
		(void) stage_ts_arg_list(k, 1, hx, 2);
		r.cell = hx[1];
	} else {
		hx[0] = stage_ts_arg(k, 1);
	}
	r.h = hx[0];
	r.n_params = stage_ts_arg_list(k, 2, r.param, PARAMS_MAX);
	r.biases = stage_ts_arg_bool(k, 3);
	r.layers = (size_t)stage_ts_arg_int(k, 4);
	if (stage_ts_arg_bool(k, 6) && stage_ts_arg_num(k, 5) != 0)
		(void) stage_ts_fail(k->c, "in training mode");
	r.dirs = stage_ts_arg_bool(k, 7) ? 2 : 1;
	r.batch_first = stage_ts_arg_bool(k, 8);
	return k->c->err ? NULL : run(k, &r, x);
}

/* ---- one step -------------------------------------------------------------- */

static struct ts_val *product(struct ts *c, struct ts_val *x,
	struct ts_val *w, struct ts_val *b)
{
	x = c->err ? NULL : stage_ts_matmul(c, x, stage_ts_swap(c, w, 0, 1));
	return b ? stage_ts_two(c, "Add", x, b) : x;
}

static struct ts_val *gate(struct ts *c, struct ts_val *x, struct ts_dim n,
	int64_t i)
{
	return stage_ts_cut(c, x, 1, stage_ts_mul(c, n, stage_ts_num(i)),
		stage_ts_mul(c, n, stage_ts_num(i + 1)));
}

static struct ts_val *gated(struct ts *c, const char *op, struct ts_val *x,
	struct ts_dim n, int64_t i)
{
	return stage_ts_same_op(c, op, gate(c, x, n, i));
}

/* input hx w_ih w_hh b_ih b_hh */
static struct ts_val *op_lstm_cell(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *hx[2] = { NULL, NULL }, *all;
	struct ts_val *cell, *out[2];
	struct ts *c = k->c;
	struct ts_dim n;

	if (stage_ts_arg_list(k, 1, hx, 2) != 2 || hx[0]->t.rank != 2)
		return NULL;
	n = hx[0]->t.dim[1];
	all = stage_ts_two(c, "Add", product(c, x, stage_ts_arg(k, 2),
		stage_ts_arg(k, 4)), product(c, hx[0], stage_ts_arg(k, 3),
		stage_ts_arg(k, 5)));
	cell = stage_ts_two(c, "Mul", gated(c, "Sigmoid", all, n, 1), hx[1]);
	cell = stage_ts_two(c, "Add", cell, stage_ts_two(c, "Mul",
		gated(c, "Sigmoid", all, n, 0), gated(c, "Tanh", all, n, 2)));
	out[0] = stage_ts_two(c, "Mul", gated(c, "Sigmoid", all, n, 3),
		stage_ts_same_op(c, "Tanh", cell));
	out[1] = cell;
	return c->err ? NULL : stage_ts_returns(k, out, 2, false);
}

static struct ts_val *op_gru_cell(struct ts_call *k)
{
	struct ts_val *x = stage_ts_arg(k, 0), *h = stage_ts_arg(k, 1);
	struct ts_val *gi, *gh, *r, *z, *fresh;
	struct ts *c = k->c;
	struct ts_dim n;

	if (c->err || h->t.rank != 2)
		return NULL;
	n = h->t.dim[1];
	gi = product(c, x, stage_ts_arg(k, 2), stage_ts_arg(k, 4));
	gh = product(c, h, stage_ts_arg(k, 3), stage_ts_arg(k, 5));
	r = stage_ts_same_op(c, "Sigmoid", stage_ts_two(c, "Add",
		gate(c, gi, n, 0), gate(c, gh, n, 0)));
	z = stage_ts_same_op(c, "Sigmoid", stage_ts_two(c, "Add",
		gate(c, gi, n, 1), gate(c, gh, n, 1)));
	fresh = stage_ts_same_op(c, "Tanh", stage_ts_two(c, "Add",
		gate(c, gi, n, 2), stage_ts_two(c, "Mul", r,
		gate(c, gh, n, 2))));
	/* fresh + z * (h - fresh) */
	return stage_ts_two(c, "Add", fresh, stage_ts_two(c, "Mul", z,
		stage_ts_two(c, "Sub", h, fresh)));
}

#define RNN(hx) "input:T hx:" hx " params:L has_biases:b num_layers:i " \
	"dropout:d train:b bidirectional:b batch_first:b"
#define CELL(hx) "input:T hx:" hx " w_ih:T w_hh:T b_ih:N=N b_hh:N=N"

const struct ts_op stage_ts_ops_rnn[] = {
	{ "lstm", RNN("L"), op_rnn, "LSTM", 0 },
	{ "gru", RNN("T"), op_rnn, "GRU", 0 },
	{ "rnn_tanh", RNN("T"), op_rnn, "RNN", 0 },
	{ "lstm_cell", CELL("L"), op_lstm_cell, "", 0 },
	{ "gru_cell", CELL("T"), op_gru_cell, "", 0 },
	{ .name = NULL },
};
