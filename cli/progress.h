/*
 * The progress of a fetch: one line that is redrawn on a terminal. The rate
 * counts only bytes that came now; what was on this disk before is part of
 * the bar and not of the rate.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_progress_view {
	const char *name;	/* what is being fetched; shortened to fit */
	uint64_t total;		/* bytes, everything asked for */
	uint64_t had;		/* bytes that were here already */
	uint64_t got;		/* bytes that came now */
	uint64_t rate;		/* bytes a second; 0: not known yet */
};

/* At most `columns` terminal columns, no newline: name, percent, bar, bytes,
 * rate, time left. Returns ret. */
const char *cli_progress_line(const struct cli_progress_view *v,
	unsigned columns, char *ret, size_t room);
/* "0:07", "12:34", "3:04:05"; "-:--" from 100 hours on. */
const char *cli_progress_time(uint64_t seconds, char ret[16]);

/* Rate over the last seconds: an average that forgets with a half-life of
 * about two seconds. Example: 10 MB in each of ten seconds is 10 MB/s; two
 * seconds after the bytes stop coming it says 5 MB/s. */
struct cli_rate {
	uint64_t last_ms, last_bytes;
	double per_ms;
	bool started;
};
uint64_t cli_rate_add(struct cli_rate *r, uint64_t now_ms, uint64_t bytes);

/* Drawing on stderr; off when it is no terminal. */
struct cli_progress {
	struct cli_progress_view view;
	struct cli_rate rate;
	uint64_t drawn_ms;
	bool on;
	bool shown;	/* a line stands there now */
};
void cli_progress_start(struct cli_progress *p, bool wanted);
/* Redraws at most ten times a second. */
void cli_progress_draw(struct cli_progress *p);
/* Wipes the line, before anything else is printed. */
void cli_progress_wipe(struct cli_progress *p);

#endif
