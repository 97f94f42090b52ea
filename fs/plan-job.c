/*
 * Finding out: from the recipe on the disk, else by planning. Planning may wait
 * for the network, a recipe that is here must not wait for planning.
 */
#include "config.h"

#include "fs/plan-own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "fs/measure.h"

static void remember(const struct fs_plan_job *j, int err, uint64_t size)
{
	struct buf b = BUF_INIT(FS_OUTCOME_MAX);
	int r = err ? buf_printf(&b, "no %d %s", -err,
			error_text(&j->why, err)) :
		buf_printf(&b, "ok %" PRIu64, size);

	if (!r)
		fs_plan_remember(j->plan, j->plan->key, j->forgotten, b.data,
			b.len);
	buf_done(&b);
}

/* Does this failure say something about the model, not about today? */
static bool for_good(int err)
{
	return err == -ENOTSUP || err == -EFBIG;
}

static int open_source(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	struct fs_plan_job *j = arg;

	return fs_stack_file_wait(&j->plan->plans->stack, j->snap, e, ret, why);
}

static int make_source(void *arg, const char *path, uint64_t size,
	struct src **ret, struct error *why)
{
	struct fs_plan_job *j = arg;

	return fs_archive_made(j->snap, path, size, false, ret, why);
}

static int make(struct fs_plan_job *j)
{
	struct fs_plans *plans = j->plan->plans;
	struct stage_input in = { fs_snap_repo(j->snap), open_source, j,
		make_source };
	struct buf b = BUF_INIT(FS_RECIPE_MAX);
	struct stage_recipe *recipe = NULL;
	int r = stage_plan(plans->stage, &in, j->inner, &recipe, &j->why);

	if (!r)
		r = stage_recipe_check(recipe, &j->why);
	if (!r && !stage_recipe_write(recipe, &b))
		(void) cache_recipe_put(plans->cache, j->plan->key, b.data,
			b.len);
	buf_done(&b);
	/* A file that contradicts its format cannot be staged either; but it
	 * may be the road that damaged it, so this is not for good. */
	if (r == -EBADMSG)
		error_wrap(&j->why, "damaged or not what its name says");
	if (r) {
		stage_recipe_unref(recipe);
		j->refused = for_good(r);
		if (j->refused)
			remember(j, r, 0);
		return r;
	}
	remember(j, 0, stage_recipe_size(recipe));
	j->recipe = recipe;
	return 0;
}

/* Under the lock: somebody came to open after we looked. */
static bool source_missing(const struct fs_plan_job *j, int err)
{
	const struct fs_plan_waiter *w = j->plan->waiters;

	while (w && !w->open)
		w = w->next;
	return !err && !j->src && w;
}

/* Under the lock: the job's source, if it has one, is that of who opens from now
 * on, unless there is one that nothing has contradicted since. Returns the one
 * that is not; handles that are open go on with what they have. */
static struct src *share(struct fs_plan_job *j)
{
	struct fs_plan *p = j->plan;
	struct src *old = p->live;

	if (!j->src || (old && p->live_at == j->contradicted))
		return j->src;
	p->live = j->src;
	p->live_at = j->contradicted;
	p->live_from = j->from;
	p->users = 0;
	return old;
}

/* Under the lock: what the job found rests on what is not believed any more. */
static bool in_vain(const struct fs_plan_job *j)
{
	return (j->recipe || j->size || j->refused) &&
		j->plan->forgotten != j->forgotten;
}

/* Tell all who wait; the job's outcome becomes the plan's. Not 0: nothing was
 * done; -EAGAIN: a source is wanted after all, -ESTALE: what was found is in
 * vain. */
static int settle(struct fs_plan_job *j, int err)
{
	struct fs_plan *p = j->plan;
	struct fs_plans *plans = p->plans;
	struct fs_plan_waiter *list, *w;
	struct fs_plan *forgotten = NULL;
	struct src *unused;
	uint64_t size = j->recipe ? stage_recipe_size(j->recipe) : j->size;
	int r;

	pthread_mutex_lock(&plans->lock);
	r = in_vain(j) ? -ESTALE : source_missing(j, err) ? -EAGAIN : 0;
	if (r) {
		pthread_mutex_unlock(&plans->lock);
		return r;
	}
	p->busy = false;
	plans->busy--;
	p->err = err;
	/* Now that a size is known to be wrong, the next try may do better. */
	p->err_at = atomic_load(&j->snap->resolver->contradicted) ==
		j->contradicted ? clock_ms() : 0;
	fs_plan_set_why(p, err ? error_text(&j->why, err) : NULL);
	if (size) {
		p->state = FS_PLAN_OK;
		p->size = size;
		p->made = j->made;
		plans->planned++;
	} else if (err) {
		plans->failed++;
		if (j->refused)
			p->state = FS_PLAN_BAD;
		forgotten = plans->recent[plans->next_recent];
		plans->recent[plans->next_recent] = p;
		p->refs++;
		plans->next_recent = (plans->next_recent + 1) % FS_PLANS_RECENT;
	}
	unused = share(j);
	list = p->waiters;
	p->waiters = NULL;
	for (w = list; w && j->src; w = w->next)
		if (w->open) {
			p->users++;
			src_ref(p->live);
		}
	j->src = j->src ? p->live : NULL;
	pthread_mutex_unlock(&plans->lock);
	src_unref(unused);
	fs_plan_unref(forgotten);
	while ((w = list)) {
		list = w->next;
		if (w->open)
			((fs_plan_open_cb *)w->cb)(w->arg, err, j->src);
		else
			((fs_plan_cb *)w->cb)(w->arg, size ? 0 : err, size);
		free(w);
	}
	return 0;
}

void fs_plan_job_free(struct fs_plan_job *j)
{
	stage_recipe_unref(j->recipe);
	fs_snap_unref(j->snap);
	fs_plan_unref(j->plan);
	free(j->inner);
	free(j->path);
	free(j);
}

/* ---- plug-ins ------------------------------------------------------------------- */

static int open_made(struct fs_plan_job *j)
{
	struct cache_name name = fs_plan_made(j->plan, j->size);

	name.id = j->made;
	return cache_whole_open(j->plan->plans->cache, &name, &j->src);
}

/* One run says something of every output: what it made, or why not. */
static void remember_output(struct fs_plan_job *j, const char *name,
	const struct fs_plugin_made *made, int err)
{
	const struct fs_plugin *p = j->plan->plugin;
	const struct stage_repo repo = fs_snap_repo(j->snap);
	char key[65], hex[OBJID_HEX_MAX];
	char *path = path_join(p->name, name);
	struct buf b = BUF_INIT(FS_OUTCOME_MAX);
	int r = path ? fs_plugin_key(p, &repo, j->snap->scope, path, key) :
		-ENOMEM;

	if (made) {
		objid_hex(&made->id, hex);
		r = r ? r : buf_printf(&b, "ok %" PRIu64 " %s", made->size,
			hex);
	} else if (err) {
		r = r ? r : buf_printf(&b, "no %d %s", -err, j->why.text);
	} else {
		r = r ? r : buf_printf(&b, "no %d plug-in %s did not write %s",
			ENOTSUP, p->name, name);
	}
	if (!r)
		fs_plan_remember(j->plan, key, j->forgotten, b.data, b.len);
	buf_done(&b);
	free(path);
}

static const struct fs_plugin_made *find_made(const struct fs_plugin_made *v,
	size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i].name, name))
			return &v[i];
	return NULL;
}

static int run_plugin(struct fs_plan_job *j)
{
	struct fs_plans *plans = j->plan->plans;
	const struct fs_plugin *p = j->plan->plugin;
	struct fs_plugin_made made[FS_PLUGIN_WORDS];
	const struct fs_plugin_made *own;
	size_t n = 0;
	int r = fs_plugin_run(plans->plugins, p, &plans->stack, j->snap, made,
		&n, &j->why);

	if (!r || for_good(r))
		for (char *const *o = p->outputs; *o; o++)
			remember_output(j, *o, find_made(made, n, *o), r);
	own = find_made(made, n, path_base(j->inner));
	if (own) {
		j->made = own->id;
		j->size = own->size;
	} else if (!r) {
		r = error_set(&j->why, -ENOTSUP, "plug-in %s did not write %s",
			p->name, path_base(j->inner));
	}
	for (size_t i = 0; i < n; i++)
		free(made[i].name);
	j->refused = for_good(r);
	return r;
}

/* What another run left behind, of this or of another of its outputs. */
static bool is_made(struct fs_plan_job *j)
{
	uint64_t size;
	struct src *here;

	if (fs_plan_known(j->plan, &size))
		return false;
	j->made = fs_plan_made(j->plan, size).id;
	j->size = size;
	if (!open_made(j)) {
		here = j->src;
		j->src = NULL;
		src_unref(here);
		return true;
	}
	j->size = 0;
	return false;
}

/* For the list of errors; the errno users see. */
static int note(struct fs_plan_job *j, int err)
{
	int r = fs_errno(err == -EBADMSG ? -ENOTSUP : err);

	if (r)
		fs_errors_add(j->plan->plans->errors, j->path, r, j->why.text);
	else
		fs_errors_clear(j->plan->plans->errors, j->path);
	return r;
}

static int open_staged(struct fs_plan_job *j)
{
	j->from = atomic_load(&j->snap->resolver->changed);
	if (!fs_plan_whole(j->plan, &j->src))
		return 0;
	return fs_stack_staged(&j->plan->plans->stack, j->snap, j->recipe,
		&j->src, &j->why);
}

/* Nothing was found. */
static void drop(struct fs_plan_job *j)
{
	struct src *old = j->src;

	j->src = NULL;
	src_unref(old);
	stage_recipe_unref(j->recipe);
	j->recipe = NULL;
	j->size = 0;
	j->refused = false;
	j->contradicted = atomic_load(&j->snap->resolver->contradicted);
}

static void run_planning(struct pool_job *job);
static void run_made(struct pool_job *job);

/* r: 0 with the recipe, or why there is none. */
static void finish(struct fs_plan_job *j, int r)
{
	int again;

	r = note(j, r);
	while ((again = settle(j, r)) == -EAGAIN)
		r = note(j, j->plan->plugin ? open_made(j) : open_staged(j));
	if (!again) {
		fs_plan_job_free(j);
		return;
	}
	drop(j);
	if (++j->tries == FS_PLAN_TRIES) {
		r = note(j, error_set(&j->why, -EIO, "what it is made of was "
			"wrong each time it was looked at"));
		(void) settle(j, r);
		fs_plan_job_free(j);
		return;
	}
	j->job.run = j->plan->plugin ? run_made : run_planning;
	pool_add(j->plan->plugin ? j->plan->plans->plugins->pool :
		j->plan->plans->planners, &j->job);
}

static void run_recipe(struct pool_job *job)
{
	finish((struct fs_plan_job *)job, 0);
}

static void run_planning(struct pool_job *job)
{
	struct fs_plan_job *j = (struct fs_plan_job *)job;

	j->forgotten = fs_plan_forgotten(j->plan);
	j->why.code = 0;
	finish(j, make(j));
}

static void run_made(struct pool_job *job)
{
	struct fs_plan_job *j = (struct fs_plan_job *)job;
	struct buf why = BUF_INIT(ERROR_TEXT_MAX);
	uint64_t size;
	int r;

	j->forgotten = fs_plan_forgotten(j->plan);
	j->why.code = 0;
	if (is_made(j)) {
		finish(j, 0);
		return;
	}
	/* Another run may have said no meanwhile. */
	r = fs_plan_known(j->plan, &size);
	j->refused = for_good(r);
	if (j->refused && !fs_plan_why(j->plan, &why))
		(void) error_set(&j->why, r, "%s", (char *)why.data);
	buf_done(&why);
	finish(j, j->refused ? r : run_plugin(j));
}

/* Has every file that it is made of the size it was planned with, as far as the
 * recipe tells it? */
static bool sizes_hold(const struct fs_plan_job *j)
{
	unsigned n = stage_recipe_sources(j->recipe);

	while (n--) {
		const char *path = stage_recipe_source_path(j->recipe, n);
		const struct listing_entry *e = stage_source_of(&j->snap->own,
			path);

		if (e && (fs_measure_due(j->snap, e) ||
			  (!stage_made_is(path) &&
			   fs_measured(j->snap, e)->size !=
				stage_recipe_source_size(j->recipe, n))))
			return false;
	}
	return true;
}

static void run(struct pool_job *job)
{
	struct fs_plan_job *j = (struct fs_plan_job *)job;
	uint64_t size;

	j->forgotten = fs_plan_forgotten(j->plan);
	if (j->plan->plugin) {
		if (is_made(j)) {
			finish(j, 0);
			return;
		}
		j->job.run = run_made;
		pool_add(j->plan->plans->plugins->pool, &j->job);
		return;
	}
	if (!fs_plan_known(j->plan, &size) &&
		!fs_plan_recipe(j->plan, &j->recipe) && sizes_hold(j)) {
		/* Sources that have to be unpacked first take time. */
		if (!j->snap->archive && !fs_plan_parts(j->recipe)) {
			finish(j, 0);
			return;
		}
		j->job.run = run_recipe;
	} else {
		stage_recipe_unref(j->recipe);
		j->recipe = NULL;
		j->job.run = run_planning;
	}
	pool_add(j->plan->plans->planners, &j->job);
}

struct fs_plan_job *fs_plan_job_new(struct fs_plan *p,
	const struct fs_plan_for *whom)
{
	struct fs_plan_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->job.run = run;
	j->contradicted = atomic_load(&whom->snap->resolver->contradicted);
	j->plan = fs_plan_ref(p);
	j->snap = fs_snap_ref(whom->snap);
	j->inner = strdup(whom->inner);
	j->path = strdup(whom->path);
	if (j->inner && j->path)
		return j;
	fs_plan_job_free(j);
	return NULL;
}
