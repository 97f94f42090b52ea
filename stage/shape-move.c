/* Rules of the operators that only move elements. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/shape.h"

#define SYMBOL_MAX 256		/* bytes of a symbol that stands for a sum */

int stage_rule_shape(struct stage_infer *x)
{
	x->out->dtype = STAGE_I64;
	x->out->rank = 1;
	x->out->dim[0] = (struct stage_dim){ x->in[0]->rank, NULL };
	return stage_infer_known(x, x->out, x->in[0]->dim, x->in[0]->rank);
}

int stage_rule_transpose(struct stage_infer *x)
{
	const struct stage_attr *perm = stage_infer_attr(x, "perm");
	const struct stage_type *t = x->in[0];
	bool seen[STAGE_RANK_MAX] = { false };

	if (perm->n != t->rank)
		return stage_infer_fail(x, "perm has %zu axes for %u "
			"dimensions", perm->n, t->rank);
	x->out->dtype = t->dtype;
	x->out->rank = t->rank;
	for (unsigned i = 0; i < t->rank; i++) {
		int64_t from = perm->ints[i];

		if (from < 0 || from >= (int64_t)t->rank || seen[from])
			return stage_infer_fail(x, "perm is no permutation");
		seen[from] = true;
		x->out->dim[i] = t->dim[from];
	}
	return 0;
}

#define FACTORS_MAX (4 * STAGE_RANK_MAX)
#define PRODUCT_TEXT_MAX 512	/* bytes */

/* The product of some dims: a number and the symbols in it. A dimension that
 * Reshape made of several is itself one: "197*batch_size". Another formula
 * ("past + sequence") is part of such a text only in brackets, as in
 * "floor((n - 1)/2)". */
struct product {
	int64_t n;
	const char *symbols[FACTORS_MAX];
	size_t n_symbols;
};

static int product_number(struct stage_infer *x, struct product *p, int64_t n)
{
	if (__builtin_mul_overflow(p->n, n, &p->n))
		return stage_infer_fail(x, "too many elements");
	return 0;
}

/* The bytes before the first of `chars` that stands outside all brackets. */
static size_t outside(const char *s, const char *chars)
{
	size_t n = 0;
	int depth = 0;

	for (; s[n]; n++) {
		depth += (s[n] == '(') - (s[n] == ')');
		if (!depth && strchr(chars, s[n]))
			break;
	}
	return n;
}

static bool is_formula(const char *s)
{
	return s[outside(s, "+-/")] != '\0';
}

static int product_symbol(struct stage_infer *x, struct product *p,
	const char *symbol)
{
	int r = 0;

	while (*symbol && !r) {
		size_t len = is_formula(symbol) ? strlen(symbol) :
			outside(symbol, "*");

		if (strspn(symbol, "0123456789") >= len) {
			r = product_number(x, p, strtoll(symbol, NULL, 10));
		} else if (p->n_symbols == FACTORS_MAX) {
			r = stage_infer_fail(x, "too many dimensions");
		} else {
			char *copy = stage_arena_copy(x->arena, symbol, len);

			if (!copy)
				return -ENOMEM;
			p->symbols[p->n_symbols++] = copy;
		}
		symbol += len + (symbol[len] == '*');
	}
	return r;
}

static int product_of(struct stage_infer *x, const struct stage_dim *dim,
	unsigned n, struct product *ret)
{
	int r = 0;

	*ret = (struct product){ .n = 1 };
	for (unsigned i = 0; i < n && !r; i++)
		r = dim[i].symbol ? product_symbol(x, ret, dim[i].symbol) :
			product_number(x, ret, dim[i].size);
	return r;
}

/* The product as one dimension. */
static int product_dim(struct stage_infer *x, const struct product *p,
	struct stage_dim *ret)
{
	char text[PRODUCT_TEXT_MAX];
	int n = 0;
	char *symbol;

	if (!p->n_symbols) {
		*ret = (struct stage_dim){ p->n, NULL };
		return 0;
	}
	if (p->n == 1 && p->n_symbols == 1) {
		*ret = (struct stage_dim){ -1, p->symbols[0] };
		return 0;
	}
	for (size_t i = 0; i < p->n_symbols; i++)
		if (is_formula(p->symbols[i]))
			return stage_infer_unknown(x, ret);
	if (p->n != 1)
		n = snprintf(text, sizeof(text), "%lld*", (long long)p->n);
	for (size_t i = 0; i < p->n_symbols && (size_t)n < sizeof(text); i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s",
			i ? "*" : "", p->symbols[i]);
	if ((size_t)n >= sizeof(text))
		return stage_infer_unknown(x, ret);
	symbol = stage_arena_copy(x->arena, text, (size_t)n);
	if (!symbol)
		return -ENOMEM;
	*ret = (struct stage_dim){ -1, symbol };
	return 0;
}

/* Takes b's symbols out of a; false when a has not all of them. */
static bool product_divide(struct product *a, const struct product *b)
{
	for (size_t i = 0; i < b->n_symbols; i++) {
		size_t k = 0;

		while (k < a->n_symbols &&
		    strcmp(a->symbols[k], b->symbols[i]) != 0)
			k++;
		if (k == a->n_symbols)
			return false;
		a->symbols[k] = a->symbols[--a->n_symbols];
	}
	return true;
}

static int reshape_fail(struct stage_infer *x)
{
	struct stage_type want = { .dtype = x->in[0]->dtype };
	char from[160], to[160];

	for (size_t i = 0; i < x->in[1]->n_known && i < STAGE_RANK_MAX; i++)
		want.dim[want.rank++] = x->in[1]->known[i];
	stage_type_text(x->in[0], from, sizeof(from));
	stage_type_text(&want, to, sizeof(to));
	return stage_infer_fail(x, "%s does not fit %s", from, to);
}

/* Gives the dim written -1 (if any) what the others leave over. */
static int reshape_rest(struct stage_infer *x, int rest)
{
	struct product all, others;
	struct stage_dim dims[STAGE_RANK_MAX];
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < x->out->rank; i++)
		if ((int)i != rest)
			dims[n++] = x->out->dim[i];
	r = product_of(x, x->in[0]->dim, x->in[0]->rank, &all);
	if (!r)
		r = product_of(x, dims, n, &others);
	if (r)
		return r;
	if (!product_divide(&all, &others) || others.n <= 0 ||
	    all.n % others.n)
		return reshape_fail(x);
	all.n /= others.n;
	if (rest < 0)
		return all.n == 1 && !all.n_symbols ? 0 : reshape_fail(x);
	return product_dim(x, &all, &x->out->dim[rest]);
}

int stage_rule_reshape(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0], *to = x->in[1];
	int rest = -1;

	if (!to->known || to->n_known > STAGE_RANK_MAX)
		return stage_infer_fail(x, "to a shape that is not known");
	x->out->dtype = t->dtype;
	x->out->rank = (unsigned)to->n_known;
	for (unsigned i = 0; i < x->out->rank; i++) {
		struct stage_dim d = to->known[i];

		if (!d.symbol && d.size == -1 && rest < 0) {
			rest = (int)i;
			continue;
		}
		if (!d.symbol && !d.size && i < t->rank)
			d = t->dim[i];
		if (!d.symbol && d.size <= 0)
			return reshape_fail(x);
		x->out->dim[i] = d;
	}
	return reshape_rest(x, rest);
}

static int axes_of(struct stage_infer *x, unsigned rank, bool *ret)
{
	int64_t axes[STAGE_RANK_MAX];
	unsigned axis;
	size_t n;
	int r = stage_infer_numbers(x, 1, axes, STAGE_RANK_MAX, &n);

	for (size_t i = 0; i < n && !r; i++) {
		r = stage_infer_wrap(x, axes[i], rank, &axis);
		if (!r && ret[axis])
			r = stage_infer_fail(x, "names an axis twice");
		if (!r)
			ret[axis] = true;
	}
	return r;
}

/* Elements stay the same: between a scalar and a list of one. */
static int keep_known(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];

	if (!t->known || x->out->rank > 1)
		return 0;
	return stage_infer_known(x, x->out, t->known, t->n_known);
}

int stage_rule_unsqueeze(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	bool new_axis[STAGE_RANK_MAX] = { false };
	size_t rank = t->rank + x->in[1]->n_known;
	unsigned from = 0;
	int r;

	if (rank > STAGE_RANK_MAX)
		return stage_infer_fail(x, "makes too many dimensions");
	r = axes_of(x, (unsigned)rank, new_axis);
	if (r)
		return r;
	x->out->dtype = t->dtype;
	x->out->rank = (unsigned)rank;
	for (unsigned i = 0; i < rank; i++)
		x->out->dim[i] = new_axis[i] ? (struct stage_dim){ 1, NULL } :
			t->dim[from++];
	return keep_known(x);
}

int stage_rule_squeeze(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	bool gone[STAGE_RANK_MAX] = { false };
	int r = axes_of(x, t->rank, gone);

	if (r)
		return r;
	x->out->dtype = t->dtype;
	for (unsigned i = 0; i < t->rank; i++) {
		if (!gone[i])
			x->out->dim[x->out->rank++] = t->dim[i];
		else if (t->dim[i].symbol || t->dim[i].size != 1)
			return stage_infer_fail(x, "axis %u is not 1", i);
	}
	return keep_known(x);
}

static int concat_known(struct stage_infer *x)
{
	struct stage_dim all[STAGE_KNOWN_MAX];
	size_t n = 0;

	for (size_t i = 0; i < x->n_in; i++) {
		const struct stage_type *t = x->in[i];

		if (!t->known || t->n_known > STAGE_KNOWN_MAX - n)
			return 0;
		memcpy(all + n, t->known, t->n_known * sizeof(all[0]));
		n += t->n_known;
	}
	return stage_infer_known(x, x->out, all, n);
}

/* The sum of two dims where one is a symbol: "past + sequence". */
static int dim_sum(struct stage_infer *x, const struct stage_dim *a,
	const struct stage_dim *b, struct stage_dim *ret)
{
	char text[3][SYMBOL_MAX];
	char *symbol;
	int n;

	stage_dim_text(a, text[0], sizeof(text[0]));
	stage_dim_text(b, text[1], sizeof(text[1]));
	n = snprintf(text[2], sizeof(text[2]), "%s + %s", text[0], text[1]);
	if (n < 0 || (size_t)n >= sizeof(text[2]))
		return stage_infer_unknown(x, ret);
	symbol = stage_arena_copy(x->arena, text[2], (size_t)n);
	if (!symbol)
		return -ENOMEM;
	*ret = (struct stage_dim){ -1, symbol };
	return 0;
}

int stage_rule_concat(struct stage_infer *x)
{
	unsigned axis;
	int r = stage_infer_axis(x, "axis", 0, x->in[0]->rank, &axis);

	if (r)
		return r;
	*x->out = *x->in[0];
	x->out->known = NULL;
	for (size_t i = 1; i < x->n_in; i++) {
		const struct stage_type *t = x->in[i];
		struct stage_dim *sum = &x->out->dim[axis];

		if (!t || t->rank != x->out->rank || t->dtype != x->out->dtype)
			return stage_infer_fail(x, "input %zu is of another "
				"kind", i + 1);
		for (unsigned k = 0; k < t->rank; k++)
			if (k != axis &&
			    !stage_dim_same(&t->dim[k], &x->out->dim[k]))
				return stage_infer_fail(x, "dimension %u of "
					"input %zu differs", k, i + 1);
		if (sum->symbol || t->dim[axis].symbol)
			r = dim_sum(x, sum, &t->dim[axis], sum);
		else if (__builtin_add_overflow(sum->size, t->dim[axis].size,
			 &sum->size))
			r = stage_infer_fail(x, "too many elements");
		if (r)
			return r;
	}
	return x->out->rank == 1 ? concat_known(x) : 0;
}

int stage_rule_split(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	int64_t parts[STAGE_OP_OUTPUTS_MAX], left;
	unsigned axis;
	size_t n;
	int r = stage_infer_axis(x, "axis", 0, t->rank, &axis);

	if (!r)
		r = stage_infer_numbers(x, 1, parts, STAGE_OP_OUTPUTS_MAX, &n);
	if (r)
		return r;
	left = t->dim[axis].symbol ? -1 : t->dim[axis].size;
	if (n != x->n_out)
		return stage_infer_fail(x, "%zu parts for %zu names", n,
			x->n_out);
	for (size_t i = 0; i < n; i++) {
		if (parts[i] < 0 || parts[i] > left)
			return stage_infer_fail(x, "parts are more than the "
				"whole");
		left -= parts[i];
		x->out[i] = *t;
		x->out[i].known = NULL;
		x->out[i].dim[axis] = (struct stage_dim){ parts[i], NULL };
	}
	return left ? stage_infer_fail(x, "parts are less than the whole") : 0;
}

/* One number of a slice's input; -ENODATA: a symbol, in *ret_symbol. */
static int slice_number(struct stage_infer *x, size_t input, size_t i,
	int64_t *ret, const char **ret_symbol)
{
	const struct stage_type *t = x->in[input];

	if (!t->known || i >= t->n_known)
		return stage_infer_fail(x, "input %zu must be constant",
			input + 1);
	*ret = t->known[i].size;
	*ret_symbol = t->known[i].symbol;
	return t->known[i].symbol ? -ENODATA : 0;
}

static int64_t clamp(int64_t v, int64_t size)
{
	if (v < 0)
		v = v < -size ? 0 : v + size;
	return v > size ? size : v;
}

/* [start, end) of `dim` in steps of one. */
static int slice_dim(struct stage_infer *x, size_t i, struct stage_dim *dim)
{
	const char *symbol;
	int64_t start = 0, end = 0;
	int r = slice_number(x, 1, i, &start, &symbol);

	if (r)
		return r == -ENODATA ? stage_infer_unknown(x, dim) : r;
	r = slice_number(x, 2, i, &end, &symbol);
	/* Up to a symbol: the blueprint says that so much is there. */
	if (r == -ENODATA && !start) {
		*dim = (struct stage_dim){ -1, symbol };
		return 0;
	}
	if (r)
		return r == -ENODATA ? stage_infer_unknown(x, dim) : r;
	if (dim->symbol && !start && end == INT64_MAX)
		return 0;
	if (dim->symbol)
		return stage_infer_unknown(x, dim);
	start = clamp(start, dim->size);
	end = clamp(end, dim->size);
	dim->size = end > start ? end - start : 0;
	return 0;
}

static int slice_known(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	const struct stage_dim *start = x->in[1]->known;
	int64_t size = (int64_t)t->n_known, from;

	if (!t->known || t->rank != 1 || !start || start->symbol ||
	    x->out->dim[0].symbol)
		return 0;
	from = clamp(start->size, size);
	if (x->out->dim[0].size > size - from)
		return 0;
	return stage_infer_known(x, x->out, t->known + from,
		(size_t)x->out->dim[0].size);
}

int stage_rule_slice(struct stage_infer *x)
{
	int64_t axes[STAGE_RANK_MAX], steps[STAGE_RANK_MAX];
	unsigned axis;
	size_t n, n_steps;
	int r = stage_infer_numbers(x, 3, axes, STAGE_RANK_MAX, &n);

	if (!r && x->n_in > 4 && x->in[4]) {
		r = stage_infer_numbers(x, 4, steps, STAGE_RANK_MAX, &n_steps);
		for (size_t i = 0; i < n_steps && !r; i++)
			if (steps[i] != 1)
				r = stage_infer_fail(x, "in steps");
	}
	*x->out = *x->in[0];
	x->out->known = NULL;
	for (size_t i = 0; i < n && !r; i++) {
		r = stage_infer_wrap(x, axes[i], x->out->rank, &axis);
		if (!r)
			r = slice_dim(x, i, &x->out->dim[axis]);
	}
	return r ? r : slice_known(x);
}

/* One or more of a shape's numbers by constant indices. */
static int gather_known(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0], *index = x->in[1];
	struct stage_dim v[STAGE_KNOWN_MAX];
	size_t n = index->n_known;

	if (!t->known || t->rank != 1 || !index->known || index->rank > 1 ||
	    n > STAGE_KNOWN_MAX)
		return 0;
	for (size_t i = 0; i < n; i++) {
		int64_t at = index->known[i].size;

		if (index->known[i].symbol)
			return 0;
		if (at < 0)
			at += (int64_t)t->n_known;
		if (at < 0 || at >= (int64_t)t->n_known)
			return stage_infer_fail(x, "index %lld of %zu",
				(long long)index->known[i].size, t->n_known);
		v[i] = t->known[at];
	}
	return stage_infer_known(x, x->out, v, n);
}

int stage_rule_gather(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0], *index = x->in[1];
	struct stage_type *out = x->out;
	unsigned axis;
	int r = stage_infer_axis(x, "axis", 0, t->rank, &axis);

	if (r)
		return r;
	if (index->dtype != STAGE_I64 && index->dtype != STAGE_I32)
		return stage_infer_fail(x, "indices must be integers");
	if (t->rank + index->rank > STAGE_RANK_MAX + 1)
		return stage_infer_fail(x, "makes too many dimensions");
	out->dtype = t->dtype;
	for (unsigned i = 0; i < axis; i++)
		out->dim[out->rank++] = t->dim[i];
	for (unsigned i = 0; i < index->rank; i++)
		out->dim[out->rank++] = index->dim[i];
	for (unsigned i = axis + 1; i < t->rank; i++)
		out->dim[out->rank++] = t->dim[i];
	return gather_known(x);
}

int stage_rule_expand(struct stage_infer *x)
{
	struct stage_type to = { .dtype = x->in[0]->dtype };
	const struct stage_type *shape = x->in[1];

	if (!shape->known || shape->n_known > STAGE_RANK_MAX)
		return stage_infer_fail(x, "to a shape that is not known");
	for (size_t i = 0; i < shape->n_known; i++)
		to.dim[to.rank++] = shape->known[i];
	x->out->dtype = to.dtype;
	return stage_infer_broadcast(x, x->in[0], &to, x->out);
}

int stage_rule_range(struct stage_infer *x)
{
	const struct stage_dim *v[3];

	x->out->dtype = x->in[0]->dtype;
	x->out->rank = 1;
	for (size_t i = 0; i < 3; i++) {
		if (x->in[i]->dtype != x->out->dtype || x->in[i]->rank)
			return stage_infer_fail(x, "needs three scalars of "
				"one type");
		v[i] = x->in[i]->known;
	}
	if (v[0] && v[1] && v[2] && !v[0]->symbol && !v[0]->size &&
	    !v[2]->symbol && v[2]->size == 1 && (v[1]->symbol ||
	    v[1]->size > 0)) {
		x->out->dim[0] = *v[1];
		return 0;
	}
	return stage_infer_unknown(x, &x->out->dim[0]);
}
