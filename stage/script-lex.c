/* Tokens of a TorchScript file: Python's, with indentation as tokens. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stage/script-ast.h"

#define NUMBER_MAX 64		/* bytes */

static int bad(struct ts_lexer *l, const char *what)
{
	return error_set(l->why, -EBADMSG, "%s:%u: %s", l->file, l->line,
		what);
}

static bool is_name(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		(!first && c >= '0' && c <= '9');
}

static int lex_name(struct ts_lexer *l, struct ts_token *t)
{
	const char *from = l->at;

	while (l->at < l->end && is_name(*l->at, l->at == from))
		l->at++;
	t->kind = TS_T_NAME;
	t->len = (size_t)(l->at - from);
	t->text = stage_arena_copy(l->arena, from, t->len);
	return t->text ? 0 : -ENOMEM;
}

/* 12, 0.5, 5., 1.0000000000000001e-05 */
static int lex_number(struct ts_lexer *l, struct ts_token *t)
{
	char text[NUMBER_MAX + 1];
	bool real = false;
	size_t n = 0;
	char *end;

	while (l->at < l->end && n < NUMBER_MAX) {
		char c = *l->at;
		bool sign = (c == '-' || c == '+') && n &&
			(text[n - 1] == 'e' || text[n - 1] == 'E');

		if (!(c >= '0' && c <= '9') && c != '.' && c != 'e' &&
		    c != 'E' && !sign)
			break;
		real = real || !(c >= '0' && c <= '9');
		text[n++] = c;
		l->at++;
	}
	text[n] = 0;
	errno = 0;
	t->kind = real ? TS_T_FLOAT : TS_T_INT;
	if (real)
		t->f = strtod(text, &end);
	else
		t->i = strtoll(text, &end, 10);
	if (*end || n == NUMBER_MAX || (!real && errno))
		return bad(l, "a number that cannot be read");
	return 0;
}

static int hex_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ?
		c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The character after a backslash; l->at is on it. */
static int lex_escape(struct ts_lexer *l, char *ret)
{
	static const char from[] = "ntrabfv\\'\"", to[] = "\n\t\r\a\b\f\v\\'\"";
	const char *found = *l->at ? strchr(from, *l->at) : NULL;
	int v = 0, digits = 0;

	if (found) {
		*ret = to[found - from];
		l->at++;
		return 0;
	}
	if (*l->at == 'x') {
		for (l->at++; digits < 2 && l->at < l->end &&
		    hex_of(*l->at) >= 0; digits++)
			v = v * 16 + hex_of(*l->at++);
	} else {
		for (; digits < 3 && l->at < l->end && *l->at >= '0' &&
		    *l->at <= '7'; digits++)
			v = v * 8 + (*l->at++ - '0');
	}
	*ret = (char)v;
	return digits ? 0 : bad(l, "an escape that is not known");
}

static int lex_string(struct ts_lexer *l, struct ts_token *t)
{
	char quote = *l->at++;
	const char *from = l->at;
	char *text;
	size_t n = 0;

	while (l->at < l->end && *l->at != quote && *l->at != '\n')
		l->at += *l->at == '\\' && l->end - l->at > 1 ? 2 : 1;
	if (l->at >= l->end || *l->at != quote)
		return bad(l, "a string without end");
	text = stage_arena_alloc(l->arena, (size_t)(l->at - from) + 1);
	if (!text)
		return -ENOMEM;
	l->at = from;
	while (*l->at != quote) {
		if (*l->at != '\\') {
			text[n++] = *l->at++;
			continue;
		}
		l->at++;
		if (lex_escape(l, &text[n++]))
			return -EBADMSG;
	}
	l->at++;
	t->kind = TS_T_STR;
	t->text = text;
	t->len = n;
	return 0;
}

/* Spaces, comments, empty lines; *ret: columns before the next token. */
static void skip_space(struct ts_lexer *l, unsigned *ret)
{
	unsigned column = 0;

	for (; l->at < l->end; l->at++) {
		if (*l->at == '#') {
			while (l->at < l->end && *l->at != '\n')
				l->at++;
			if (l->at == l->end)
				break;
		}
		if (*l->at == '\n' && (l->fresh || l->brackets)) {
			l->line++;
			column = 0;
		} else if (*l->at == ' ' || *l->at == '\r' ||
		    *l->at == '\t') {
			column++;
		} else {
			break;
		}
	}
	*ret = column;
}

/* 1: a token was made of the line's indentation. */
static int lex_indent(struct ts_lexer *l, unsigned column, struct ts_token *t)
{
	unsigned top = l->n_indent ? l->indent[l->n_indent - 1] : 0;

	l->fresh = false;
	if (column > top) {
		if (l->n_indent == TS_NEST_MAX)
			return error_set(l->why, -EFBIG, "%s:%u: blocks "
				"nested too deeply", l->file, l->line);
		l->indent[l->n_indent++] = column;
		t->kind = TS_T_INDENT;
		return 1;
	}
	while (l->n_indent && l->indent[l->n_indent - 1] > column) {
		l->n_indent--;
		l->dedents++;
	}
	top = l->n_indent ? l->indent[l->n_indent - 1] : 0;
	return top == column ? 0 : bad(l, "a line that is indented wrongly");
}

static int lex_end(struct ts_lexer *l, struct ts_token *t)
{
	if (!l->fresh) {
		l->fresh = true;
		t->kind = TS_T_NEWLINE;
	} else if (l->n_indent) {
		l->n_indent--;
		t->kind = TS_T_DEDENT;
	} else {
		t->kind = TS_T_END;
	}
	return 0;
}

static int lex_punct(struct ts_lexer *l, struct ts_token *t)
{
	char c = *l->at++;

	t->kind = TS_T_PUNCT;
	t->punct = c;
	if (!strchr("()[]{}:,.=-", c) || !c)
		return bad(l, "a character that does not belong there");
	if (c == '-' && l->at < l->end && *l->at == '>') {
		l->at++;
		t->punct = '>';
	}
	if (strchr("([{", c))
		l->brackets++;
	if (strchr(")]}", c) && l->brackets)
		l->brackets--;
	return 0;
}

int stage_ts_lex(struct ts_lexer *l, struct ts_token *t)
{
	unsigned column;
	int r;

	*t = (struct ts_token){ .line = l->line };
	if (l->dedents) {
		l->dedents--;
		t->kind = TS_T_DEDENT;
		return 0;
	}
	skip_space(l, &column);
	t->line = l->line;
	if (l->at >= l->end)
		return lex_end(l, t);
	if (l->fresh) {
		r = lex_indent(l, column, t);
		if (r)
			return r < 0 ? r : 0;
		if (l->dedents)
			return stage_ts_lex(l, t);
	}
	if (*l->at == '\n') {
		l->at++;
		l->line++;
		l->fresh = true;
		t->kind = TS_T_NEWLINE;
		return 0;
	}
	if (is_name(*l->at, true))
		return lex_name(l, t);
	if ((*l->at >= '0' && *l->at <= '9') || (*l->at == '.' &&
	    l->end - l->at > 1 && l->at[1] >= '0' && l->at[1] <= '9'))
		return lex_number(l, t);
	if (*l->at == '"' || *l->at == '\'')
		return lex_string(l, t);
	return lex_punct(l, t);
}
