/*
 * Counters of every room: once as JSON for programs, once as a table for
 * people. Both are made from one walk over the rooms.
 */
#include "config.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/ctl.h"
#include "fs/lock.h"
#include "fs/tree.h"

struct figures {
	struct cache_totals totals;
	struct cache_stats cache;
	struct fetch_stats fetch;
	uint64_t nodes, open_files, planned, plan_failures, planning, errors;
	int64_t uptime;		/* seconds */
};

static void collect(struct fs *fs, struct figures *f)
{
	*f = (struct figures){ .uptime = clock_wall() - fs->started };
	(void) cache_totals(fs->cache, &f->totals);
	cache_stats(fs->cache, &f->cache);
	fetch_stats(fs->fetch, &f->fetch);
	f->nodes = fs_inodes_count(&fs->inodes);
	f->open_files = atomic_load(&fs->open_files);
	f->errors = fs_errors_total(&fs->errors);
	pthread_mutex_lock(&fs->plans.lock);
	f->planned = fs->plans.planned;
	f->plan_failures = fs->plans.failed;
	f->planning = fs->plans.busy;
	pthread_mutex_unlock(&fs->plans.lock);
}

static json_t *num(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *cache_json(const struct figures *f)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,"
			 "s:o,s:o,s:o}",
		"object_bytes", num(f->totals.object_bytes),
		"partial_bytes", num(f->totals.partial_bytes),
		"recipe_bytes", num(f->totals.recipe_bytes),
		"objects", num(f->totals.objects),
		"partials", num(f->totals.partials),
		"recipes", num(f->totals.recipes),
		"pinned_bytes", num(f->totals.pinned_bytes),
		"budget", num(f->totals.budget),
		"hits", num(f->cache.hits), "misses", num(f->cache.misses),
		"pulled_bytes", num(f->cache.pulled_bytes),
		"verified", num(f->cache.verified),
		"mismatches", num(f->cache.mismatches),
		"evicted_bytes", num(f->cache.evicted_bytes),
		"adopted_bytes", num(f->cache.adopted_bytes));
}

static json_t *fetch_json(const struct figures *f)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}",
		"requests", num(f->fetch.requests),
		"retries", num(f->fetch.retries),
		"failures", num(f->fetch.failures),
		"body_bytes", num(f->fetch.body_bytes),
		"active", num(f->fetch.active),
		"queued", num(f->fetch.queued),
		"connections", num(f->fetch.connections));
}

int fs_ctl_stats(struct fs *fs, struct buf *ret)
{
	struct figures f;
	json_t *j;
	char *text;
	int r;

	collect(fs, &f);
	j = json_pack("{s:I,s:b,s:o,s:o,s:{s:o,s:o,s:o,s:o,s:o,s:o}}",
		"uptime", (json_int_t)f.uptime, "offline", fs->offline,
		"cache", cache_json(&f), "fetch", fetch_json(&f),
		"fs", "nodes", num(f.nodes), "open_files", num(f.open_files),
		"planned", num(f.planned), "plan_failures",
		num(f.plan_failures), "planning", num(f.planning),
		"errors", num(f.errors));
	text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	json_decref(j);
	r = text ? buf_printf(ret, "%s\n", text) : -ENOMEM;
	free(text);
	return r;
}

static int row(struct buf *b, const char *key, const char *value)
{
	return buf_printf(b, "%-19s %s\n", key, value);
}

static int row_size(struct buf *b, const char *key, uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	unsigned u = 0;

	for (; v >= 1024 && u < 4; u++)
		v /= 1024;
	return buf_printf(b, "%-19s %.*f %s\n", key, u ? 1 : 0, v, unit[u]);
}

static int row_num(struct buf *b, const char *key, uint64_t v)
{
	return buf_printf(b, "%-19s %" PRIu64 "\n", key, v);
}

static int show_hubs(struct fs *fs, struct buf *b)
{
	int r = 0;

	for (unsigned i = 0; i < fs->n_hubs && !r; i++)
		r = row(b, fs->hubs[i].name,
			fetch_hub_endpoint(fs->hubs[i].fetch));
	return r;
}

/* What stands between a model's bytes and the daemon. */
static int show_sandbox(struct fs *fs, struct buf *b)
{
	struct workers *w = stage_workers(fs->stage);
	struct workers_report rep;
	char landlock[32] = "no Landlock";

	if (!w)
		return 0;
	workers_report(w, false, &rep);
	if (!rep.tried)
		return row(b, "sandbox", "no worker was needed yet");
	if (rep.err.code)
		return row(b, "sandbox", rep.err.text);
	if (rep.landlock)
		(void) snprintf(landlock, sizeof(landlock), "Landlock %u",
			rep.landlock);
	return buf_printf(b, "%-19s %s, %s; %" PRIu64 " workers started, %"
		PRIu64 " lost\n", "sandbox", rep.seccomp ? "seccomp" :
		"no seccomp", landlock, rep.started, rep.lost);
}

static int show_notes(struct fs *fs, struct buf *b)
{
	int r = 0;

	pthread_mutex_lock(&fs->notes.lock);
	for (unsigned i = 0; i < fs->notes.n && !r; i++)
		r = row(b, fs->notes.note[i].key, fs->notes.note[i].value);
	pthread_mutex_unlock(&fs->notes.lock);
	return r;
}

static int show_cache(const struct figures *f, struct buf *b)
{
	int r = row_size(b, "cached", f->totals.object_bytes +
		f->totals.partial_bytes + f->totals.recipe_bytes);

	if (!r && f->totals.budget)
		r = row_size(b, "budget", f->totals.budget);
	if (!r)
		r = row_size(b, "fetched", f->fetch.body_bytes);
	if (!r)
		r = row_num(b, "requests", f->fetch.requests);
	if (!r)
		r = row_num(b, "retries", f->fetch.retries);
	if (!r)
		r = row_num(b, "downloads now", f->fetch.active);
	if (!r)
		r = row_num(b, "verified files", f->cache.verified);
	if (!r)
		r = row_num(b, "digest failures", f->cache.mismatches);
	return r;
}

int fs_ctl_status(struct fs *fs, struct buf *b)
{
	struct figures f;
	int r;

	collect(fs, &f);
	r = row(b, "omnihub", PACKAGE_VERSION);
	if (!r)
		r = buf_printf(b, "%-19s %" PRId64 " s\n", "up", f.uptime);
	if (!r)
		r = row(b, "network", fs->offline ? "offline" : "online");
	if (!r)
		r = show_hubs(fs, b);
	if (!r)
		r = row(b, "cache", fs->cache_dir);
	if (!r)
		r = show_cache(&f, b);
	if (!r)
		r = row_num(b, "open files", f.open_files);
	if (!r)
		r = row_num(b, "planned", f.planned);
	if (!r)
		r = row_num(b, "planning now", f.planning);
	if (!r && fs->lock)
		r = row(b, "lock file", fs->lock->file);
	if (!r)
		r = fs_news_status(fs, b);
	if (!r)
		r = show_sandbox(fs, b);
	if (!r)
		r = show_notes(fs, b);
	if (!r)
		r = row_num(b, "errors", f.errors);
	return r ? r : fs_errors_show(&fs->errors, 5, b);
}

int fs_status_text(struct fs *fs, struct buf *ret)
{
	return fs_ctl_status(fs, ret);
}

int fs_stats_json(struct fs *fs, struct buf *ret)
{
	return fs_ctl_stats(fs, ret);
}
