/* Between cmd-doctor.c (this machine) and doctor-*.c (what takes more). */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <jansson.h>

#include "cli/cmd.h"
#include "cli/table.h"

enum doctor_verdict { OK, NOTE, BAD };

struct doctor {
	struct cli *c;
	struct cli_table *table;
	json_t *json;		/* NULL: the table */
	unsigned bad;
};

void doctor_say(struct doctor *d, enum doctor_verdict v, const char *check,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- doctor-walls.c ---------------------------------------------------------- */

void doctor_passthrough(struct doctor *d);
void doctor_seccomp(struct doctor *d);
/* After the tree was opened. */
void doctor_workers(struct doctor *d);

/* ---- doctor-hubs.c ----------------------------------------------------------- */

void doctor_hubs(struct doctor *d);

#endif
