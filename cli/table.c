/*
 * Cells are kept until print, because a width is known only then. Widths are
 * in terminal columns, not bytes: model names need not be ASCII.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/plain.h"
#include "cli/table.h"

#define COLUMNS_MAX 8

struct cli_table {
	char format[COLUMNS_MAX + 1];
	size_t columns;
	char **cells;	/* columns × rows, owned */
	size_t n;	/* cells */
};

struct cli_table *cli_table_new(const char *format)
{
	struct cli_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = strnlen(format, COLUMNS_MAX);
	memcpy(t->format, format, t->columns);
	return t;
}

int cli_table_row(struct cli_table *t, ...)
{
	size_t i, n = t->n;
	const char *cell;
	char **cells;
	va_list ap;

	cells = reallocarray(t->cells, n + t->columns, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	t->cells = cells;
	va_start(ap, t);
	for (i = 0; i < t->columns; i++) {
		cell = va_arg(ap, const char *);
		cells[n + i] = strdup(cell && *cell ? cell : "-");
		if (!cells[n + i])
			break;
		plain_line(cells[n + i]);
	}
	va_end(ap);
	if (i == t->columns) {
		t->n += t->columns;
		return 0;
	}
	while (i--)
		free(cells[n + i]);
	return -ENOMEM;
}

/* Terminal columns; bytes where the text is not of this locale. */
static size_t width(const char *s)
{
	wchar_t wide[256];
	size_t n = mbstowcs(wide, s, 256);
	int w;

	if (n >= 256)
		return strlen(s);
	w = wcswidth(wide, n);
	return w < 0 ? strlen(s) : (size_t)w;
}

static void pad(FILE *to, size_t n)
{
	while (n--)
		(void) fputc(' ', to);
}

void cli_table_print(const struct cli_table *t, FILE *to)
{
	size_t wide[COLUMNS_MAX] = { 0 }, i, c, w;

	for (i = 0; i < t->n; i++) {
		w = width(t->cells[i]);
		if (w > wide[i % t->columns])
			wide[i % t->columns] = w;
	}
	for (i = 0; i < t->n; i++) {
		c = i % t->columns;
		w = wide[c] - width(t->cells[i]);
		if (t->format[c] == 'r')
			pad(to, w);
		(void) fputs(t->cells[i], to);
		if (c + 1 == t->columns) {
			(void) fputc('\n', to);
			continue;
		}
		if (t->format[c] != 'r')
			pad(to, w);
		pad(to, 2);
	}
}

void cli_table_free(struct cli_table *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}
