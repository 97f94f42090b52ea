/*
 * Sizes as polynomials over the sizes of inputs. Two are the same when their
 * terms are; a quotient that does not come out is an atom of its own.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "stage/script-op.h"

#define TEXT_MAX 256

struct ts_dim stage_ts_num(int64_t n)
{
	return (struct ts_dim){ n, NULL };
}

bool stage_ts_is(struct ts_dim a, int64_t n)
{
	return !a.sym && a.n == n;
}

static bool term_same(const struct ts_term *a, const struct ts_term *b)
{
	return a->n == b->n && !memcmp(a->atom, b->atom,
		a->n * sizeof(a->atom[0]));
}

static int term_order(const struct ts_term *a, const struct ts_term *b)
{
	unsigned n = a->n < b->n ? a->n : b->n;

	for (unsigned i = 0; i < n; i++)
		if (a->atom[i] != b->atom[i])
			return a->atom[i] < b->atom[i] ? -1 : 1;
	return a->n < b->n ? -1 : a->n > b->n;
}

bool stage_ts_same(struct ts_dim a, struct ts_dim b)
{
	if (!a.sym || !b.sym)
		return !a.sym && !b.sym && a.n == b.n;
	if (a.sym->n != b.sym->n)
		return false;
	for (unsigned i = 0; i < a.sym->n; i++)
		if (a.sym->t[i].coef != b.sym->t[i].coef ||
		    !term_same(&a.sym->t[i], &b.sym->t[i]))
			return false;
	return true;
}

/* ---- sums and products ----------------------------------------------------- */

struct sum {
	unsigned n;
	struct ts_term t[TS_TERMS_MAX];
};

static struct sum sum_of(struct ts_dim d)
{
	struct sum s = { 0 };

	if (d.sym) {
		s.n = d.sym->n;
		memcpy(s.t, d.sym->t, s.n * sizeof(s.t[0]));
	} else if (d.n) {
		s.n = 1;
		s.t[0].coef = d.n;
	}
	return s;
}

static void sum_add(struct ts *c, struct sum *s, const struct ts_term *t)
{
	unsigned i = 0;

	while (i < s->n && term_order(&s->t[i], t) < 0)
		i++;
	if (i < s->n && term_same(&s->t[i], t)) {
		if (__builtin_add_overflow(s->t[i].coef, t->coef,
		    &s->t[i].coef))
			(void) stage_ts_fail(c, "a size is too large");
		if (!s->t[i].coef) {
			memmove(&s->t[i], &s->t[i + 1],
				(s->n - i - 1) * sizeof(s->t[0]));
			s->n--;
		}
		return;
	}
	if (s->n == TS_TERMS_MAX) {
		(void) stage_ts_fail(c, "a size that is too complicated");
		return;
	}
	memmove(&s->t[i + 1], &s->t[i], (s->n - i) * sizeof(s->t[0]));
	s->t[i] = *t;
	s->n++;
}

static struct ts_dim sum_done(struct ts *c, const struct sum *s)
{
	struct ts_sym *sym;

	if (c->err || !s->n)
		return stage_ts_num(0);
	if (s->n == 1 && !s->t[0].n)
		return stage_ts_num(s->t[0].coef);
	sym = stage_arena_alloc(&c->arena, sizeof(*sym) +
		s->n * sizeof(s->t[0]));
	if (!sym) {
		(void) stage_ts_error(c, -ENOMEM);
		return stage_ts_num(0);
	}
	sym->n = s->n;
	memcpy(sym->t, s->t, s->n * sizeof(s->t[0]));
	return (struct ts_dim){ 0, sym };
}

struct ts_dim stage_ts_add(struct ts *c, struct ts_dim a, struct ts_dim b)
{
	struct sum s = sum_of(a), more = sum_of(b);

	for (unsigned i = 0; i < more.n; i++)
		sum_add(c, &s, &more.t[i]);
	return sum_done(c, &s);
}

struct ts_dim stage_ts_sub(struct ts *c, struct ts_dim a, struct ts_dim b)
{
	return stage_ts_add(c, a, stage_ts_mul(c, b, stage_ts_num(-1)));
}

static void term_mul(struct ts *c, const struct ts_term *a,
	const struct ts_term *b, struct ts_term *ret)
{
	struct ts_term t = { .n = a->n + b->n };
	unsigned i = 0, k = 0;

	if (t.n > TS_DEGREE_MAX || __builtin_mul_overflow(a->coef, b->coef,
	    &t.coef)) {
		(void) stage_ts_fail(c, "a size that is too complicated");
		t.n = 0;
	}
	for (unsigned n = 0; n < t.n; n++)
		t.atom[n] = k == b->n || (i < a->n && a->atom[i] <=
			b->atom[k]) ? a->atom[i++] : b->atom[k++];
	*ret = t;
}

struct ts_dim stage_ts_mul(struct ts *c, struct ts_dim a, struct ts_dim b)
{
	struct sum x = sum_of(a), y = sum_of(b), s = { 0 };

	for (unsigned i = 0; i < x.n; i++) {
		for (unsigned k = 0; k < y.n; k++) {
			struct ts_term t;

			term_mul(c, &x.t[i], &y.t[k], &t);
			sum_add(c, &s, &t);
		}
	}
	return sum_done(c, &s);
}

struct ts_dim stage_ts_product(struct ts *c, const struct ts_dim *d,
	unsigned n)
{
	struct ts_dim all = stage_ts_num(1);

	for (unsigned i = 0; i < n; i++)
		all = stage_ts_mul(c, all, d[i]);
	return all;
}

/* ---- atoms ----------------------------------------------------------------- */

static struct ts_dim atom_of(struct ts *c, const struct ts_atom *new)
{
	struct ts_term t = { .coef = 1, .n = 1 };
	struct sum s = { .n = 1 };
	uintptr_t found = (uintptr_t)map_get(&c->atoms_by_text, new->text);

	if (!found) {
		if (c->n_atoms == TS_ATOMS_MAX) {
			(void) stage_ts_fail(c, "too many sizes");
			return stage_ts_num(0);
		}
		c->atoms[c->n_atoms++] = *new;
		found = c->n_atoms;
		if (map_put(&c->atoms_by_text, new->text, (void *)found,
		    NULL))
			(void) stage_ts_error(c, -ENOMEM);
	}
	t.atom[0] = (uint16_t)(found - 1);
	s.t[0] = t;
	return sum_done(c, &s);
}

struct ts_dim stage_ts_size(struct ts *c, unsigned input, unsigned axis)
{
	const struct ts_bind *b = &c->a->ports[input].bind[axis];
	struct ts_atom new = { .input = input, .axis = axis };
	const struct ts_port *port;
	char text[TEXT_MAX];

	for (unsigned i = 0; b->how == TS_SAME && i < 64; i++) {
		new.input = b->input;
		new.axis = b->axis;
		b = &c->a->ports[new.input].bind[new.axis];
	}
	if (b->how != TS_FREE)
		return stage_ts_num(b->n);
	port = &c->a->ports[new.input];
	/* torch.export numbers its symbols: that says nothing. */
	if (b->symbol && strspn(b->symbol + 1, "0123456789") !=
	    strlen(b->symbol + 1))
		(void) snprintf(text, sizeof(text), "%s", b->symbol);
	else if (!new.axis)
		(void) snprintf(text, sizeof(text), new.input ?
			"%.100s_batch_size" : "batch_size", port->name);
	else if (port->rank == 4 && new.axis > 1)
		(void) snprintf(text, sizeof(text), "%.100s_%s", port->name,
			new.axis == 2 ? "height" : "width");
	else
		(void) snprintf(text, sizeof(text), "%.100s_dim_%u",
			port->name, new.axis);
	new.text = stage_arena_strdup(&c->arena, text);
	if (!new.text) {
		(void) stage_ts_error(c, -ENOMEM);
		return stage_ts_num(0);
	}
	return atom_of(c, &new);
}

const char *stage_ts_dim_text(struct ts *c, struct ts_dim d)
{
	struct buf b = BUF_INIT(4096);
	const char *text = NULL;
	int r = 0;

	if (!d.sym)
		r = buf_printf(&b, "%lld", (long long)d.n);
	/* The constant stands first in a sum, and last in its text. */
	for (unsigned i = 0; d.sym && i < d.sym->n; i++) {
		const struct ts_term *t = &d.sym->t[(i + !d.sym->t[0].n) %
			d.sym->n];
		long long n = t->coef < 0 ? -(long long)t->coef : t->coef;

		if (i || t->coef < 0)
			r |= buf_append_str(&b, !i ? "-" : t->coef < 0 ?
				" - " : " + ");
		if (n != 1 || !t->n)
			r |= buf_printf(&b, "%lld%s", n, t->n ? "*" : "");
		for (unsigned k = 0; k < t->n; k++)
			r |= buf_printf(&b, "%s%s", k ? "*" : "",
				c->atoms[t->atom[k]].text);
	}
	if (!r)
		text = stage_arena_copy(&c->arena, b.data, b.len);
	buf_done(&b);
	if (!text)
		(void) stage_ts_error(c, -ENOMEM);
	return text ? text : "?";
}

static struct ts_dim atom_floor(struct ts *c, struct ts_dim of, int64_t by)
{
	struct ts_atom new = { .of = of.sym, .by = by };
	const char *inner = stage_ts_dim_text(c, of);
	char text[4200];

	(void) snprintf(text, sizeof(text), of.sym->n > 1 ?
		"floor((%s)/%lld)" : "floor(%s/%lld)", inner, (long long)by);
	new.text = stage_arena_strdup(&c->arena, text);
	if (!new.text || c->err) {
		(void) stage_ts_error(c, -ENOMEM);
		return stage_ts_num(0);
	}
	return atom_of(c, &new);
}

/* ---- quotients ------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b && (a < 0) != (b < 0));
}

/* floor((floor(x / a) + n) / b) is floor((x + a * n) / (a * b)). */
static struct ts_dim div_rest(struct ts *c, struct ts_dim rest, int64_t by)
{
	const struct ts_term *t;
	const struct ts_atom *a;
	struct ts_dim n = stage_ts_num(0), inner;
	int64_t all;

	if (!rest.sym)
		return stage_ts_num(floor_div(rest.n, by));
	if (rest.sym->n > 2 || (rest.sym->n == 2 && rest.sym->t[0].n))
		return atom_floor(c, rest, by);
	t = &rest.sym->t[rest.sym->n - 1];
	if (rest.sym->n == 2)
		n = stage_ts_num(rest.sym->t[0].coef);
	a = &c->atoms[t->atom[0]];
	if (t->n != 1 || t->coef != 1 || !a->of ||
	    __builtin_mul_overflow(a->by, by, &all))
		return atom_floor(c, rest, by);
	inner = stage_ts_add(c, (struct ts_dim){ 0, a->of },
		stage_ts_mul(c, n, stage_ts_num(a->by)));
	return inner.sym && !c->err ? stage_ts_div(c, inner,
		stage_ts_num(all)) : stage_ts_num(0);
}

/* What is left of t when the atoms of by are taken away; false: not in it. */
static bool term_div(const struct ts_term *t, const struct ts_term *by,
	struct ts_term *ret)
{
	struct ts_term q = { .coef = t->coef / by->coef };
	unsigned k = 0;

	if (t->coef % by->coef)
		return false;
	for (unsigned i = 0; i < t->n; i++) {
		if (k < by->n && t->atom[i] == by->atom[k])
			k++;
		else
			q.atom[q.n++] = t->atom[i];
	}
	*ret = q;
	return k == by->n;
}

static struct ts_dim div_exact(struct ts *c, struct ts_dim a, struct ts_dim b)
{
	struct sum s = sum_of(a), q = { 0 };

	if (stage_ts_same(a, b))
		return stage_ts_num(1);
	for (unsigned i = 0; i < s.n; i++) {
		struct ts_term t;

		if (b.sym->n != 1 || !term_div(&s.t[i], &b.sym->t[0], &t)) {
			(void) stage_ts_fail(c, "cannot divide %s by %s",
				stage_ts_dim_text(c, a),
				stage_ts_dim_text(c, b));
			return stage_ts_num(0);
		}
		sum_add(c, &q, &t);
	}
	return sum_done(c, &q);
}

struct ts_dim stage_ts_div(struct ts *c, struct ts_dim a, struct ts_dim b)
{
	struct sum s = sum_of(a), whole = { 0 }, rest = { 0 };

	if (c->err)
		return stage_ts_num(0);
	if (b.sym)
		return div_exact(c, a, b);
	if (!b.n || (a.sym && b.n < 0)) {
		(void) stage_ts_fail(c, "a division by %lld", (long long)b.n);
		return stage_ts_num(0);
	}
	if (!a.sym) {
		if (a.n == INT64_MIN && b.n == -1) {
			(void) stage_ts_fail(c, "a size is too large");
			return stage_ts_num(0);
		}
		return stage_ts_num(floor_div(a.n, b.n));
	}
	for (unsigned i = 0; i < s.n; i++) {
		struct ts_term q = s.t[i], r = s.t[i];

		q.coef = floor_div(s.t[i].coef, b.n);
		r.coef = s.t[i].coef - q.coef * b.n;
		/* 5x/2 stays as it is: 2x + floor(x/2) is no simpler. */
		if (r.coef && r.n) {
			r.coef = s.t[i].coef;
			q.coef = 0;
		}
		if (q.coef)
			sum_add(c, &whole, &q);
		if (r.coef)
			sum_add(c, &rest, &r);
	}
	return stage_ts_add(c, sum_done(c, &whole),
		div_rest(c, sum_done(c, &rest), b.n));
}

/* ---- comparing ------------------------------------------------------------- */

/* Is d at least so much, whatever the sizes (each at least 1)? */
static bool at_least(struct ts *c, struct ts_dim d, int64_t n)
{
	struct sum s = sum_of(d);
	int64_t low = 0;

	for (unsigned i = 0; i < s.n; i++) {
		int64_t least = s.t[i].coef;

		if (least < 0 && s.t[i].n)
			return false;
		for (unsigned k = 0; k < s.t[i].n; k++)
			if (c->atoms[s.t[i].atom[k]].of)
				least = 0;
		if (__builtin_add_overflow(low, least, &low))
			return false;
	}
	return low >= n;
}

int stage_ts_compare(struct ts *c, struct ts_dim a, enum ts_rel rel,
	struct ts_dim b)
{
	struct ts_dim d = stage_ts_sub(c, a, b), less = stage_ts_sub(c, b, a);
	bool gt = at_least(c, d, 1), ge = at_least(c, d, 0);
	bool lt = at_least(c, less, 1), le = at_least(c, less, 0);

	if (c->err)
		return -1;
	if (!d.sym)
		gt = d.n > 0, ge = d.n >= 0, lt = d.n < 0, le = d.n <= 0;
	switch (rel) {
	case TS_EQ:
		return gt || lt ? 0 : ge && le ? 1 : -1;
	case TS_NE:
		return gt || lt ? 1 : ge && le ? 0 : -1;
	case TS_LT:
		return lt ? 1 : ge ? 0 : -1;
	case TS_LE:
		return le ? 1 : gt ? 0 : -1;
	case TS_GT:
		return gt ? 1 : le ? 0 : -1;
	case TS_GE:
		return ge ? 1 : lt ? 0 : -1;
	}
	return -1;
}

/* ---- binding --------------------------------------------------------------- */

static struct ts_bind *bind_of(struct ts *c, const struct ts_atom *a)
{
	return &c->a->ports[a->input].bind[a->axis];
}

/* Every size in it that an example knows becomes a number. */
static bool bind_examples(struct ts *c, const struct ts_sym *s)
{
	bool any = false;

	for (unsigned i = 0; i < s->n; i++) {
		for (unsigned k = 0; k < s->t[i].n; k++) {
			const struct ts_atom *a = &c->atoms[s->t[i].atom[k]];
			int64_t n;

			if (a->of) {
				any = bind_examples(c, a->of) || any;
				continue;
			}
			n = c->a->ports[a->input].size[a->axis];
			if (n <= 0 || bind_of(c, a)->how != TS_FREE)
				continue;
			bind_of(c, a)->how = TS_FIXED;
			bind_of(c, a)->n = n;
			any = true;
		}
	}
	return any;
}

/* n * size + m = 0, or size = other size */
static bool bind_solved(struct ts *c, const struct sum *s)
{
	const struct ts_term *t = &s->t[s->n - 1];
	const struct ts_atom *a, *b;
	int64_t m = s->n == 2 ? s->t[0].coef : 0;

	if (t->n != 1 || s->n > 2 || c->atoms[t->atom[0]].of)
		return false;
	a = &c->atoms[t->atom[0]];
	if (s->n == 2 && s->t[0].n == 1 && s->t[0].coef == -t->coef) {
		b = &c->atoms[s->t[0].atom[0]];
		if (b->of)
			return false;
		bind_of(c, a)->how = TS_SAME;
		bind_of(c, a)->input = b->input;
		bind_of(c, a)->axis = b->axis;
		return true;
	}
	if ((s->n == 2 && s->t[0].n) || m == INT64_MIN || -m % t->coef ||
	    -m / t->coef < 1)
		return false;
	bind_of(c, a)->how = TS_FIXED;
	bind_of(c, a)->n = -m / t->coef;
	return true;
}

void stage_ts_require(struct ts *c, struct ts_dim a, struct ts_dim b)
{
	struct ts_dim d = stage_ts_sub(c, a, b);
	struct sum s = sum_of(d);

	if (c->err || stage_ts_same(a, b))
		return;
	if (d.sym && (bind_solved(c, &s) || bind_examples(c, d.sym)))
		(void) stage_ts_error(c, TS_RESTART);
	else
		(void) stage_ts_fail(c, "a size has to be both %s and %s",
			stage_ts_dim_text(c, a), stage_ts_dim_text(c, b));
}

bool stage_ts_exemplified(struct ts *c, struct ts_dim a)
{
	if (c->err || !a.sym)
		return true;
	if (!bind_examples(c, a.sym))
		return false;
	(void) stage_ts_error(c, TS_RESTART);
	return true;
}

int64_t stage_ts_fixed(struct ts *c, struct ts_dim a)
{
	if (!a.sym)
		return a.n;
	if (!stage_ts_exemplified(c, a))
		(void) stage_ts_fail(c, "the size %s has to be a number, and "
			"the archive has no example of it",
			stage_ts_dim_text(c, a));
	return 1;
}
