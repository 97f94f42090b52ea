/* Columns line up, whatever is in them. */
#include "config.h"

#include <locale.h>

#include "cli/table.h"
#include "tests/unit/t.h"

static void expect(const struct cli_table *t, const char *want)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	t_check(f);
	cli_table_print(t, f);
	t_int(fclose(f), 0);
	t_str(text, want);
	free(text);
}

int main(void)
{
	struct cli_table *t = cli_table_new("lrl");

	(void) setlocale(LC_CTYPE, "C.UTF-8");
	t_check(t);
	expect(t, "");
	t_int(cli_table_row(t, "cached", "12 B", "short"), 0);
	t_int(cli_table_row(t, "r", "1234.0 MiB", "a longer name"), 0);
	t_int(cli_table_row(t, NULL, "", "x"), 0);
	t_int(cli_table_row(t, "größe", "1 B", "ü"), 0);
	expect(t,
		"cached        12 B  short\n"
		"r       1234.0 MiB  a longer name\n"
		"-                -  x\n"
		"größe          1 B  ü\n");
	cli_table_free(t);
	/* Nothing in a cell ends the row, or is a terminal's business. */
	t = cli_table_new("ll");
	t_int(cli_table_row(t, "a\n\033[31m\xc2\x9b", "x"), 0);
	t_int(cli_table_row(t, "12345678", "y"), 0);
	expect(t,
		"a??[31m?  x\n"
		"12345678  y\n");
	cli_table_free(t);
	cli_table_free(NULL);
	return 0;
}
