/* What the files of omnihub status share. */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

#include "cli/cmd.h"

/* Names that mean something newer at the hubs, which --check asks. After
 * cli_fs_open(). With ret: an array of all of them, else a table is printed.
 * The exit status; *ret is only set for CLI_DONE and for names that failed. */
int cli_status_news(struct cli *c, json_t **ret);

#endif
