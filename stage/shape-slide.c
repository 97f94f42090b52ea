/*
 * Rules of the operators that make images larger, and of those that go along
 * a sequence. What they need of their inputs' sizes has to be known.
 */
#include "config.h"

#include <string.h>

#include "stage/shape.h"

static int wrong_type(struct stage_infer *x, size_t i)
{
	char text[160];

	stage_type_text(x->in[i], text, sizeof(text));
	return stage_infer_fail(x, "input %zu cannot be %s", i + 1, text);
}

static int64_t number_at(const struct stage_infer *x, const char *name,
	size_t i, int64_t dflt)
{
	const struct stage_attr *a = stage_infer_attr(x, name);

	return a && i < a->n ? a->ints[i] : dflt;
}

static bool counts(const struct stage_infer *x, const char *name, size_t n)
{
	const struct stage_attr *a = stage_infer_attr(x, name);

	for (size_t i = 0; a && i < a->n; i++)
		if (a->ints[i] < 0 || a->ints[i] > INT32_MAX)
			return false;
	return !a || a->n == n;
}

static bool known_size(const struct stage_type *t)
{
	for (unsigned i = 0; i < t->rank; i++)
		if (t->dim[i].symbol)
			return false;
	return true;
}

int stage_rule_conv_transpose(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0], *w = x->in[1];
	const struct stage_type *b = x->n_in > 2 ? x->in[2] : NULL;
	size_t n = t->rank - 2;

	if (t->rank < 3 || !stage_types_has(STAGE_TYPES_FLOAT, t->dtype))
		return wrong_type(x, 0);
	if (w->rank != t->rank || w->dtype != t->dtype || !known_size(w) ||
	    !stage_dim_same(&w->dim[0], &t->dim[1]))
		return wrong_type(x, 1);
	if (b && (b->rank != 1 || b->dtype != t->dtype ||
	    !stage_dim_same(&b->dim[0], &w->dim[1])))
		return wrong_type(x, 2);
	if (!counts(x, "strides", n) || !counts(x, "pads", 2 * n) ||
	    !counts(x, "output_padding", n))
		return stage_infer_fail(x, "its attributes do not fit");
	*x->out = *t;
	x->out->dim[1] = w->dim[1];
	for (size_t i = 0; i < n; i++) {
		const struct stage_dim *d = &t->dim[i + 2];
		int64_t stride = number_at(x, "strides", i, 1);
		int64_t more = w->dim[i + 2].size -
			number_at(x, "pads", i, 0) -
			number_at(x, "pads", n + i, 0) +
			number_at(x, "output_padding", i, 0);
		int r = 0;

		if (d->symbol)
			r = stage_infer_unknown(x, &x->out->dim[i + 2]);
		else if (d->size < 1 || d->size > INT32_MAX ||
		    (d->size - 1) * stride + more < 1)
			r = stage_infer_fail(x, "to less than nothing");
		else
			x->out->dim[i + 2].size = (d->size - 1) * stride +
				more;
		if (r)
			return r;
	}
	return 0;
}

static bool is_of(const struct stage_type *t, int64_t rows, int64_t columns)
{
	return t && t->rank == 3 && t->dtype == STAGE_F32 && known_size(t) &&
		t->dim[0].size == 1 && t->dim[1].size == rows &&
		t->dim[2].size == columns;
}

/* [1, batch, units] */
static bool is_state(const struct stage_type *t, const struct stage_type *x,
	int64_t units)
{
	return t->rank == 3 && t->dtype == STAGE_F32 && !t->dim[0].symbol &&
		t->dim[0].size == 1 && stage_dim_same(&t->dim[1],
		&x->dim[1]) && !t->dim[2].symbol && t->dim[2].size == units;
}

/* LSTM, GRU and RNN of one direction; inputs are [sequence, batch, width]. */
int stage_rule_recurrent(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	const struct stage_attr *way = stage_infer_attr(x, "direction");
	int64_t units = stage_infer_int(x, "hidden_size", 0);
	int64_t gates = (int64_t)x->op->arg;
	const struct stage_type *b = x->n_in > 3 ? x->in[3] : NULL;

	if (way && strcmp(way->s, "forward") && strcmp(way->s, "reverse"))
		return stage_infer_fail(x, "direction %s", way->s);
	if (t->rank != 3 || t->dtype != STAGE_F32 || t->dim[2].symbol)
		return wrong_type(x, 0);
	if (x->n_out > (gates == 4 ? 3 : 2))
		return stage_infer_fail(x, "has fewer outputs");
	if (units < 1 || units > INT32_MAX)
		return stage_infer_fail(x, "a hidden_size that cannot be");
	if (!is_of(x->in[1], gates * units, t->dim[2].size))
		return wrong_type(x, 1);
	if (!is_of(x->in[2], gates * units, units))
		return wrong_type(x, 2);
	if (b && (b->rank != 2 || b->dtype != STAGE_F32 || !known_size(b) ||
	    b->dim[0].size != 1 || b->dim[1].size != 2 * gates * units))
		return wrong_type(x, 3);
	if (x->n_in > 4 && x->in[4])
		return wrong_type(x, 4);
	for (size_t i = 5; i < x->n_in; i++)
		if (x->in[i] && !is_state(x->in[i], t, units))
			return wrong_type(x, i);
	for (size_t i = 0; i < x->n_out; i++) {
		struct stage_type *o = &x->out[i];
		unsigned k = 0;

		o->dtype = t->dtype;
		if (!i)
			o->dim[k++] = t->dim[0];
		o->dim[k++] = (struct stage_dim){ 1, NULL };
		o->dim[k++] = t->dim[1];
		o->dim[k++] = (struct stage_dim){ units, NULL };
		o->rank = k;
	}
	return 0;
}
