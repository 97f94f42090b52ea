/* The part of omnihub status that is about names: what is newer at the hubs. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cmd.h"
#include "cli/status.h"
#include "cli/table.h"

#define COMMIT_SHOWN 12	/* digits of a commit in a table */

struct news {
	struct cli *c;
	struct cli_table *table;
	json_t *json;
	uint64_t names, newer, unknown;
	int64_t oldest;		/* seconds */
	int status;
};

static void when(int64_t at, char *ret, size_t room)
{
	time_t t = (time_t)at;
	struct tm tm;

	if (at <= 0 || !gmtime_r(&t, &tm) ||
		!strftime(ret, room, "%Y-%m-%d %H:%M", &tm))
		(void) snprintf(ret, room, "-");
}

static const char *brief(const char *revision, char ret[COMMIT_SHOWN + 1])
{
	if (strlen(revision) != 40)
		return revision;
	(void) snprintf(ret, COMMIT_SHOWN + 1, "%.*s", COMMIT_SHOWN, revision);
	return ret;
}

static int row(void *arg, const struct fs_news *n)
{
	struct news *w = arg;
	char here[COMMIT_SHOWN + 1], hub[COMMIT_SHOWN + 1], since[32];

	w->names++;
	w->newer += n->newer;
	w->unknown += !n->hub;
	if (n->hub && n->age > w->oldest)
		w->oldest = n->age;
	if (w->json) {
		json_t *j = json_pack("{ss ss sI ss? sb sb}", "name", n->name,
			"here", n->here, "here_mtime",
			(json_int_t)n->here_mtime, "hub", n->hub, "newer",
			n->newer, "locked", n->locked);

		if (n->hub) {
			(void) json_object_set_new(j, "hub_mtime",
				json_integer((json_int_t)n->hub_mtime));
			(void) json_object_set_new(j, "hub_age",
				json_integer((json_int_t)n->age));
		}
		return json_array_append_new(w->json, j) ? -ENOMEM : 0;
	}
	if (!n->newer)
		return 0;
	if (w->newer == 1)
		(void) cli_table_row(w->table, "NAME", "HERE", "AT THE HUB",
			"SINCE");
	when(n->hub_mtime, since, sizeof(since));
	return cli_table_row(w->table, n->name, brief(n->here, here),
		brief(n->hub, hub), since);
}

static void age(int64_t s, char *ret, size_t room)
{
	if (s < 120)
		(void) snprintf(ret, room, "%" PRId64 " s", s);
	else if (s < 7200)
		(void) snprintf(ret, room, "%" PRId64 " min", s / 60);
	else if (s < 48 * 3600)
		(void) snprintf(ret, room, "%" PRId64 " h", s / 3600);
	else
		(void) snprintf(ret, room, "%" PRId64 " days", s / 86400);
}

/* Before the table: what is known, and how well. */
static void head(const struct news *w)
{
	char ago[32];

	if (!w->names)
		return;
	age(w->oldest, ago, sizeof(ago));
	printf("\n%" PRIu64 " of %" PRIu64 " names %s a newer revision",
		w->newer, w->names, w->newer == 1 ? "has" : "have");
	if (w->names > w->unknown)
		printf(" (as the hubs told up to %s ago)", ago);
	if (w->unknown)
		printf("; %" PRIu64 " never asked for", w->unknown);
	if (!(w->c->given & CLI_OPT_CHECK))
		printf("; --check asks");
	putchar('\n');
}

static void failed(void *arg, const char *name, int err, const char *why)
{
	struct news *w = arg;

	w->status = cli_fail(w->c, name, err, why);
}

int cli_status_news(struct cli *c, json_t **ret)
{
	cleanup_table struct cli_table *t = cli_table_new("llll");
	struct news w = { .c = c, .table = t,
		.json = ret ? json_array() : NULL };
	int r = t ? 0 : -ENOMEM;

	if (!r && (c->given & CLI_OPT_CHECK))
		r = fs_news_ask_wait(c->fs, failed, &w);
	if (!r)
		r = fs_news_each(c->fs, row, &w);
	if (r) {
		json_decref(w.json);
		return cli_fail(c, "names", r, NULL);
	}
	if (ret) {
		*ret = w.json;
		return w.status;
	}
	head(&w);
	cli_table_print(t, stdout);
	return w.status;
}
