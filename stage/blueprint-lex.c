/*
 * The words of a blueprint. Line ends separate nothing by themselves, but a
 * token knows whether it starts its line: an opening bracket there begins
 * something new instead of continuing the line before.
 */
#include "config.h"

#include "stage/blueprint-ast.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 64	/* bytes */

static int lex_fail(const struct bp_lexer *l, const char *what)
{
	return error_set(l->why, -EINVAL, "%s:%u:%u: %s", l->file, l->line,
		l->col, what);
}

static int peek(const struct bp_lexer *l, size_t ahead)
{
	if ((size_t)(l->end - l->at) <= ahead)
		return -1;
	return (unsigned char)l->at[ahead];
}

static void skip(struct bp_lexer *l, size_t n)
{
	l->at += n;
	l->col += (unsigned)n;
}

static void skip_space(struct bp_lexer *l)
{
	for (;;) {
		int c = peek(l, 0);

		if (c == '\n') {
			l->at++;
			l->line++;
			l->col = 1;
			l->first = true;
		} else if (c == ' ' || c == '\t' || c == '\r') {
			skip(l, 1);
		} else if (c == '#') {
			while (peek(l, 0) >= 0 && peek(l, 0) != '\n')
				skip(l, 1);
		} else {
			return;
		}
	}
}

static bool name_byte(int c)
{
	return c == '_' || (c >= 0 && c < 128 && isalnum(c));
}

static int lex_number(struct bp_lexer *l, struct bp_token *t)
{
	char text[NUMBER_MAX];
	size_t n = 0;
	bool real = false;

	while (isdigit(peek(l, n)))
		n++;
	if (peek(l, n) == '.' && isdigit(peek(l, n + 1))) {
		real = true;
		for (n++; isdigit(peek(l, n));)
			n++;
	}
	if (peek(l, n) == 'e' || peek(l, n) == 'E') {
		size_t sign = peek(l, n + 1) == '-' || peek(l, n + 1) == '+';

		real = true;
		n += 1 + sign;
		if (!isdigit(peek(l, n)))
			return lex_fail(l, "a number without its exponent");
		while (isdigit(peek(l, n)))
			n++;
	}
	if (n >= sizeof(text) || name_byte(peek(l, n)))
		return lex_fail(l, "not a number");
	memcpy(text, l->at, n);
	text[n] = '\0';
	errno = 0;
	if (real)
		t->f = strtod(text, NULL);
	else
		t->i = strtoll(text, NULL, 10);
	if (errno)
		return lex_fail(l, "a number that is too large");
	t->kind = real ? BP_T_FLOAT : BP_T_INT;
	t->len = n;
	skip(l, n);
	return 0;
}

static int lex_string(struct bp_lexer *l, struct bp_token *t)
{
	size_t n = 1;

	for (; peek(l, n) != '"'; n++) {
		if (peek(l, n) == '\\')
			n++;
		if (peek(l, n) < 0 || peek(l, n) == '\n')
			return lex_fail(l, "a string that does not end");
	}
	t->kind = BP_T_STRING;
	t->at = l->at + 1;
	t->len = n - 1;
	skip(l, n + 1);
	return 0;
}

/* @path.{expr}.weight: up to the first byte that cannot be part of it. */
static int lex_weight(struct bp_lexer *l, struct bp_token *t)
{
	size_t n = 1;

	for (;; n++) {
		if (peek(l, n) == '{') {
			while (peek(l, n) != '}') {
				if (peek(l, n) < 0 || peek(l, n) == '\n')
					return lex_fail(l, "a '{' that is "
						"not closed");
				n++;
			}
		} else if (!name_byte(peek(l, n)) && peek(l, n) != '.') {
			break;
		}
	}
	if (n == 1)
		return lex_fail(l, "a weight's name must follow '@'");
	t->kind = BP_T_WEIGHT;
	t->at = l->at + 1;
	t->len = n - 1;
	skip(l, n);
	return 0;
}

static int lex_punct(struct bp_lexer *l, struct bp_token *t)
{
	static const char two[][3] = {
		"??", "&&", "||", "==", "!=", "<=", ">=", "..",
	};
	int c = peek(l, 0);

	t->kind = BP_T_PUNCT;
	for (size_t i = 0; i < sizeof(two) / sizeof(two[0]); i++) {
		if (c == two[i][0] && peek(l, 1) == two[i][1]) {
			t->punct = BP_P2(two[i][0], two[i][1]);
			t->len = 2;
			skip(l, 2);
			return 0;
		}
	}
	if (c > 127 || !strchr("+-*/%<>=!(){}[],:;?.", c))
		return lex_fail(l, "a character that means nothing here");
	t->punct = BP_P1(c);
	t->len = 1;
	skip(l, 1);
	return 0;
}

int stage_bp_lex(struct bp_lexer *l, struct bp_token *ret)
{
	struct bp_token t = { .kind = BP_T_END };
	int c, r = 0;

	skip_space(l);
	t.at = l->at;
	t.line = l->line;
	t.col = l->col;
	t.first = l->first;
	l->first = false;
	c = peek(l, 0);
	if (c == 0)
		return lex_fail(l, "a NUL byte");
	if (isdigit(c)) {
		r = lex_number(l, &t);
	} else if (c == '"') {
		r = lex_string(l, &t);
	} else if (c == '@') {
		r = lex_weight(l, &t);
	} else if (name_byte(c)) {
		while (name_byte(peek(l, t.len)))
			t.len++;
		t.kind = BP_T_NAME;
		skip(l, t.len);
	} else if (c >= 0) {
		r = lex_punct(l, &t);
	}
	if (!r)
		*ret = t;
	return r;
}
