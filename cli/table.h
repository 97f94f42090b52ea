/* Rows of text under each other: columns as wide as their widest cell. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stddef.h>
#include <stdio.h>

struct cli_table;

/* format: a letter a column, 'l' left or 'r' right aligned; the last column is
 * never padded. NULL: out of memory. */
struct cli_table *cli_table_new(const char *format);
/* As many strings as columns, copied; of control characters a '?' stays. NULL
 * is "-". -ENOMEM. */
int cli_table_row(struct cli_table *t, ...);
/* Two spaces between columns, one line a row. */
void cli_table_print(const struct cli_table *t, FILE *to);
/* NULL is fine. */
void cli_table_free(struct cli_table *t);

static inline void cli_table_freep(struct cli_table **t)
{
	cli_table_free(*t);
}
#define cleanup_table __attribute__((cleanup(cli_table_freep)))

#endif
