/*
 * Rules of the operators that slide a window over the dimensions behind batch
 * and channels. Where such a dimension is a symbol its result is one too,
 * named after how it is computed, so that two paths that shrink an image in
 * the same way are seen to fit.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "stage/shape.h"

#define SYMBOL_MAX 256		/* bytes of a symbol that is made here */

static int wrong_type(struct stage_infer *x, size_t i)
{
	char text[160];

	stage_type_text(x->in[i], text, sizeof(text));
	return stage_infer_fail(x, "input %zu cannot be %s", i + 1, text);
}

/* One attribute's number for the i-th of n spatial dimensions. */
static int window_number(struct stage_infer *x, const char *name, size_t i,
	size_t n, int64_t dflt, int64_t *ret)
{
	const struct stage_attr *a = stage_infer_attr(x, name);

	*ret = a ? 0 : dflt;
	if (!a)
		return 0;
	if (a->n != n)
		return stage_infer_fail(x, "%s has %zu numbers, not %zu", name,
			a->n, n);
	*ret = a->ints[i];
	if (*ret < 0 || *ret > INT32_MAX)
		return stage_infer_fail(x, "%s has %lld in it", name,
			(long long)*ret);
	return 0;
}

struct slide {
	int64_t kernel, stride, dilation, pad;	/* pad: of both ends */
	bool ceil;
	bool same;	/* padded so that only the stride counts */
};

/* Is all of it one call of `how`, and not a sum that begins with one? */
static bool is_call(const char *symbol, const char *how)
{
	size_t len = strlen(how);
	unsigned depth = 1;

	if (strncmp(symbol, how, len) != 0 || symbol[len] != '(')
		return false;
	for (symbol += len + 1; *symbol && depth; symbol++)
		depth += *symbol == '(' ? 1u : *symbol == ')' ? -1u : 0;
	return !depth && !*symbol;
}

/* "ceil(height/4)" for "ceil(height/2)" and 2: either way of rounding may be
 * done once for two divisions. */
static int divided(const char *how, const char *symbol, int64_t by, char *ret,
	size_t room)
{
	bool sum = strchr(symbol, ' ') != NULL;
	const char *slash = strrchr(symbol, '/');
	long long inner = 1;
	int end = 0;

	if (slash && is_call(symbol, how) &&
	    sscanf(slash, "/%lld)%n", &inner, &end) == 1 && end &&
	    !slash[end] && inner > 0 && inner < INT32_MAX && by < INT32_MAX)
		return snprintf(ret, room, "%.*s/%lld)",
			(int)(slash - symbol), symbol, inner * by);
	return snprintf(ret, room, "%s(%s%s%s/%lld)", how, sum ? "(" : "",
		symbol, sum ? ")" : "", (long long)by);
}

/* "a" and 2 of "a + 2": a number at the end is told apart, so that a pad and the
 * window over it come out as one. NULL: out of memory. */
static const char *without_number(struct stage_infer *x, const char *symbol,
	int64_t *ret_number)
{
	const char *plus = strrchr(symbol, '+');
	long long number = 0;
	int end = 0;

	*ret_number = 0;
	if (!plus || plus < symbol + 2 || plus[-1] != ' ' ||
	    sscanf(plus, "+ %lld%n", &number, &end) != 1 || plus[end] ||
	    number < 0 || number > INT32_MAX)
		return symbol;
	*ret_number = number;
	return stage_arena_copy(x->arena, symbol,
		(size_t)(plus - symbol) - 1);
}

/* floor((d + pad - dilation * (kernel - 1) - 1) / stride) + 1 */
static int slide_symbol(struct stage_infer *x, const char *symbol, int64_t add,
	const struct slide *s, struct stage_dim *ret)
{
	char name[SYMBOL_MAX];
	int64_t number;
	char *copy;
	int n;

	if (add != -1 && add != -s->stride) {
		symbol = without_number(x, symbol, &number);
		if (!symbol)
			return -ENOMEM;
		add += number;
	}
	if (s->ceil && add == -s->stride)
		add = -1;	/* whole windows one behind the other */
	else if (s->ceil && s->stride != 1)
		return stage_infer_unknown(x, ret);
	if (s->stride == 1 && add == -1) {
		*ret = (struct stage_dim){ -1, symbol };
		return 0;
	}
	if (add == -1)
		n = divided("ceil", symbol, s->stride, name, sizeof(name));
	else if (add == -s->stride)
		n = divided("floor", symbol, s->stride, name, sizeof(name));
	else
		n = snprintf(name, sizeof(name),
			"floor((%s %c %lld)/%lld) + 1", symbol,
			add < 0 ? '-' : '+', (long long)(add < 0 ? -add : add),
			(long long)s->stride);
	if (n < 0 || (size_t)n >= sizeof(name))
		return stage_infer_unknown(x, ret);
	copy = stage_arena_copy(x->arena, name, (size_t)n);
	if (!copy)
		return -ENOMEM;
	*ret = (struct stage_dim){ -1, copy };
	return 0;
}

static int slide_dim(struct stage_infer *x, const struct stage_dim *d,
	const struct slide *s, struct stage_dim *ret)
{
	int64_t add = s->pad - s->dilation * (s->kernel - 1) - 1;
	int64_t left;

	if (s->kernel < 1 || s->stride < 1 || s->dilation < 1)
		return stage_infer_fail(x, "a window of nothing");
	if (s->same)
		add = -1;
	if (d->symbol)
		return slide_symbol(x, d->symbol, add, s, ret);
	left = d->size + add;
	if (left < 0)
		return stage_infer_fail(x, "a window of %lld over %lld",
			(long long)s->kernel, (long long)d->size);
	if (s->ceil && left % s->stride && s->kernel == s->stride && !s->pad)
		left += s->stride;
	else if (s->ceil && left % s->stride)
		return stage_infer_fail(x, "ceil_mode where it matters");
	*ret = (struct stage_dim){ left / s->stride + 1, NULL };
	return 0;
}

/* The spatial dimensions of x->out, for a window of such a size. */
static int slide_all(struct stage_infer *x, const int64_t *kernel, size_t n)
{
	const struct stage_attr *same = stage_infer_attr(x, "auto_pad");
	const struct stage_type *t = x->in[0];
	bool ceil = stage_infer_attr(x, "ceil_mode") &&
		stage_infer_int(x, "ceil_mode", 0);
	int r = 0;

	if (same && (strcmp(same->s, "SAME_UPPER") != 0 ||
	    stage_infer_attr(x, "pads")))
		return stage_infer_fail(x, "auto_pad must be SAME_UPPER, and "
			"without pads");
	for (size_t i = 0; i < n && !r; i++) {
		struct slide s = { .kernel = kernel[i], .ceil = ceil,
			.same = same };
		int64_t begin, end = 0;

		r = window_number(x, "strides", i, n, 1, &s.stride);
		if (!r)
			r = window_number(x, "dilations", i, n, 1,
				&s.dilation);
		if (!r)
			r = window_number(x, "pads", i, 2 * n, 0, &begin);
		if (!r)
			r = window_number(x, "pads", n + i, 2 * n, 0, &end);
		if (r)
			break;
		s.pad = begin + end;
		r = slide_dim(x, &t->dim[2 + i], &s, &x->out->dim[2 + i]);
	}
	return r;
}

int stage_rule_conv(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0], *w = x->in[1];
	const struct stage_type *b = x->n_in > 2 ? x->in[2] : NULL;
	int64_t group = stage_infer_int(x, "group", 1);
	int64_t kernel[STAGE_RANK_MAX];

	if (t->rank < 3 || !stage_types_has(STAGE_TYPES_FLOAT, t->dtype))
		return wrong_type(x, 0);
	if (w->rank != t->rank || w->dtype != t->dtype)
		return wrong_type(x, 1);
	for (unsigned i = 0; i < w->rank; i++)
		if (w->dim[i].symbol)
			return wrong_type(x, 1);
	if (group < 1 || t->dim[1].symbol || t->dim[1].size % group ||
	    w->dim[1].size != t->dim[1].size / group ||
	    w->dim[0].size % group)
		return stage_infer_fail(x, "%lld channels in %lld groups do "
			"not fit the weight", (long long)t->dim[1].size,
			(long long)group);
	if (b && (b->rank != 1 || b->dtype != t->dtype ||
	    !stage_dim_same(&b->dim[0], &w->dim[0])))
		return wrong_type(x, 2);
	for (unsigned i = 2; i < w->rank; i++)
		kernel[i - 2] = w->dim[i].size;
	*x->out = *t;
	x->out->dim[1] = w->dim[0];
	return slide_all(x, kernel, t->rank - 2);
}

int stage_rule_pool(struct stage_infer *x)
{
	const struct stage_attr *k = stage_infer_attr(x, "kernel_shape");
	const struct stage_type *t = x->in[0];

	if (t->rank < 3 || !stage_types_has(STAGE_TYPES_FLOAT, t->dtype))
		return wrong_type(x, 0);
	if (k->n != t->rank - 2)
		return stage_infer_fail(x, "kernel_shape has %zu numbers",
			k->n);
	*x->out = *t;
	return slide_all(x, k->ints, k->n);
}

int stage_rule_global_pool(struct stage_infer *x)
{
	if (x->in[0]->rank < 3 ||
	    !stage_types_has(STAGE_TYPES_FLOAT, x->in[0]->dtype))
		return wrong_type(x, 0);
	*x->out = *x->in[0];
	for (unsigned i = 2; i < x->out->rank; i++)
		x->out->dim[i] = (struct stage_dim){ 1, NULL };
	return 0;
}

int stage_rule_batch_norm(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];

	if (t->rank < 2 || !stage_types_has(STAGE_TYPES_FLOAT, t->dtype))
		return wrong_type(x, 0);
	for (size_t i = 1; i < x->n_in; i++)
		if (x->in[i]->rank != 1 || x->in[i]->dtype != t->dtype ||
		    !stage_dim_same(&x->in[i]->dim[0], &t->dim[1]))
			return wrong_type(x, i);
	*x->out = *t;
	return 0;
}

/* A symbol and a number: "height + 2". */
static int padded_symbol(struct stage_infer *x, const char *symbol,
	int64_t more, struct stage_dim *ret)
{
	char name[SYMBOL_MAX];
	int64_t number;
	int n;

	symbol = without_number(x, symbol, &number);
	if (!symbol)
		return -ENOMEM;
	n = snprintf(name, sizeof(name), "%s + %lld", symbol,
		(long long)(number + more));
	if (n < 0 || (size_t)n >= sizeof(name))
		return stage_infer_unknown(x, ret);
	symbol = stage_arena_copy(x->arena, name, (size_t)n);
	if (!symbol)
		return -ENOMEM;
	*ret = (struct stage_dim){ -1, symbol };
	return 0;
}

/* Pads are numbers: all that is put before every axis, then all behind. */
int stage_rule_pad(struct stage_infer *x)
{
	const struct stage_attr *mode = stage_infer_attr(x, "mode");
	const struct stage_type *t = x->in[0];
	int64_t pads[2 * STAGE_RANK_MAX];
	size_t n;
	int r = stage_infer_numbers(x, 1, pads, 2 * STAGE_RANK_MAX, &n);

	if (r)
		return r;
	if (mode && strcmp(mode->s, "constant") != 0 &&
	    strcmp(mode->s, "reflect") != 0 && strcmp(mode->s, "edge") != 0)
		return stage_infer_fail(x, "mode %s", mode->s);
	if (n != 2 * t->rank)
		return stage_infer_fail(x, "%zu pads for %u dimensions", n,
			t->rank);
	*x->out = *t;
	x->out->known = NULL;
	for (unsigned i = 0; i < t->rank && !r; i++) {
		int64_t more = pads[i] + pads[t->rank + i];

		if (pads[i] < 0 || pads[t->rank + i] < 0 || more > INT32_MAX)
			return stage_infer_fail(x, "pads that cannot be");
		if (!more)
			continue;
		if (t->dim[i].symbol)
			r = padded_symbol(x, t->dim[i].symbol, more,
				&x->out->dim[i]);
		else
			x->out->dim[i].size += more;
	}
	return r;
}

/* To sizes that are known; scales and regions are not handled. */
int stage_rule_resize(struct stage_infer *x)
{
	const struct stage_attr *how = stage_infer_attr(x,
		"coordinate_transformation_mode");
	const struct stage_attr *mode = stage_infer_attr(x, "mode");
	const struct stage_type *t = x->in[0], *sizes = x->in[3];

	if (!t || !stage_types_has(STAGE_TYPES_FLOAT, t->dtype) || x->in[1] ||
	    x->in[2] || !sizes)
		return stage_infer_fail(x, "takes numbers and sizes");
	if ((strcmp(mode->s, "linear") != 0 && strcmp(mode->s, "nearest")) ||
	    (strcmp(how->s, "half_pixel") != 0 &&
	    strcmp(how->s, "align_corners") != 0 &&
	    strcmp(how->s, "asymmetric") != 0))
		return stage_infer_fail(x, "%s by %s", mode->s, how->s);
	if (!sizes->known || sizes->n_known != t->rank)
		return stage_infer_fail(x, "to a shape that is not known");
	*x->out = *t;
	x->out->known = NULL;
	for (unsigned i = 0; i < t->rank; i++)
		x->out->dim[i] = sizes->known[i];
	return 0;
}

int stage_rule_arg(struct stage_infer *x)
{
	const struct stage_type *t = x->in[0];
	bool keep = stage_infer_int(x, "keepdims", 1) != 0;
	unsigned axis;
	int r = stage_infer_axis(x, "axis", 0, t->rank, &axis);

	if (r)
		return r;
	if (!stage_types_has(STAGE_TYPES_NUMBER, t->dtype))
		return wrong_type(x, 0);
	x->out->dtype = STAGE_I64;
	for (unsigned i = 0; i < t->rank; i++) {
		if (i != axis)
			x->out->dim[x->out->rank++] = t->dim[i];
		else if (keep)
			x->out->dim[x->out->rank++] = (struct stage_dim){ 1,
				NULL };
	}
	return 0;
}
