/* Formatting is apart from drawing: it needs no terminal to be tested. */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cmd.h"
#include "cli/progress.h"

#define DRAW_MS 100
#define HALF_LIFE_MS 2000.0
#define BAR_MIN 10	/* columns */
#define BAR_MAX 20
#define NAME_MIN 8	/* columns; with less, name and bar are left out */
#define NAME_GOOD 24	/* columns a name gets before the bar grows */
#define LINE_MAX_BYTES 512

const char *cli_progress_time(uint64_t s, char ret[16])
{
	if (s >= 100 * 3600)
		(void) snprintf(ret, 16, "-:--");
	else if (s >= 3600)
		(void) snprintf(ret, 16, "%u:%02u:%02u", (unsigned)(s / 3600),
			(unsigned)(s / 60 % 60), (unsigned)(s % 60));
	else
		(void) snprintf(ret, 16, "%u:%02u", (unsigned)(s / 60),
			(unsigned)(s % 60));
	return ret;
}

static void bar(char out[BAR_MAX + 1], unsigned width, unsigned percent)
{
	unsigned i, full = percent * width / 100;

	for (i = 0; i < width; i++)
		out[i] = i < full ? '#' : '.';
	out[width] = '\0';
}

/* The name's last `room` columns or fewer, with "…" in front when cut. */
static const char *name_end(const char *name, size_t room, const char **dots)
{
	size_t len = strlen(name);
	const char *at = len > room ? name + len - room + 1 : name;

	while ((*at & 0xc0) == 0x80)	/* not inside a character */
		at++;
	*dots = at > name ? "…" : "";
	return at;
}

/* What stands right of the bar. */
static void figures(const struct cli_progress_view *v, uint64_t done,
	char *ret, size_t room)
{
	char a[CLI_SIZE_MAX], b[CLI_SIZE_MAX], rate[CLI_SIZE_MAX];
	uint64_t left = v->total - done;
	char time[16];

	if (v->rate)
		(void) cli_progress_time((left + v->rate - 1) / v->rate, time);
	else
		(void) strcpy(time, left ? "-:--" : "0:00");
	(void) snprintf(ret, room, "%s of %s  %s/s  %s left",
		cli_size(a, done), cli_size(b, v->total),
		cli_size(rate, v->rate), time);
}

const char *cli_progress_line(const struct cli_progress_view *v,
	unsigned columns, char *ret, size_t room)
{
	uint64_t done = v->had + v->got;
	char drawn[BAR_MAX + 1], right[160];
	unsigned percent, spare, width;
	const char *name, *dots;

	if (done > v->total)
		done = v->total;
	percent = v->total ? (unsigned)((double)done * 100 /
		(double)v->total) : 100;
	figures(v, done, right, sizeof(right));
	/* "name 100% [bar] right", and one column kept free */
	spare = (unsigned)strlen(right) + sizeof(" 100% [] ");
	spare = columns > spare ? columns - spare : 0;
	if (spare < NAME_MIN + BAR_MIN) {
		(void) snprintf(ret, room, "%3u%% %.*s", percent,
			columns > 6 ? (int)columns - 6 : 0, right);
		return ret;
	}
	width = spare > NAME_GOOD + BAR_MIN ? spare - NAME_GOOD : BAR_MIN;
	if (width > BAR_MAX)
		width = BAR_MAX;
	bar(drawn, width, percent);
	name = name_end(v->name, spare - width, &dots);
	(void) snprintf(ret, room, "%s%s %3u%% [%s] %s", dots, name, percent,
		drawn, right);
	return ret;
}

uint64_t cli_rate_add(struct cli_rate *r, uint64_t now_ms, uint64_t bytes)
{
	double keep, ms;

	if (!r->started) {
		r->started = true;
		r->last_ms = now_ms;
		r->last_bytes = bytes;
		return 0;
	}
	if (now_ms > r->last_ms) {
		ms = (double)(now_ms - r->last_ms);
		keep = r->per_ms > 0 ? exp2(-ms / HALF_LIFE_MS) : 0;
		r->per_ms = keep * r->per_ms + (1 - keep) *
			((double)(bytes - r->last_bytes) / ms);
		r->last_ms = now_ms;
		r->last_bytes = bytes;
	}
	return (uint64_t)(r->per_ms * 1000);
}

void cli_progress_start(struct cli_progress *p, bool wanted)
{
	memset(p, 0, sizeof(*p));
	p->on = wanted && isatty(STDERR_FILENO);
}

void cli_progress_draw(struct cli_progress *p)
{
	struct winsize ws = { 0 };
	char line[LINE_MAX_BYTES];
	uint64_t now = clock_ms();

	if (!p->on || (p->shown && now - p->drawn_ms < DRAW_MS))
		return;
	p->view.rate = cli_rate_add(&p->rate, now, p->view.got);
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_col)
		ws.ws_col = 80;
	fprintf(stderr, "\r%s\033[K", cli_progress_line(&p->view, ws.ws_col,
		line, sizeof(line)));
	(void) fflush(stderr);
	p->drawn_ms = now;
	p->shown = true;
}

void cli_progress_wipe(struct cli_progress *p)
{
	if (!p->shown)
		return;
	fputs("\r\033[K", stderr);
	(void) fflush(stderr);
	p->shown = false;
}
