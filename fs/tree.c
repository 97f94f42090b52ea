/* Opening and closing the whole: every other room's objects, in order. */
#include "config.h"

#include "fs/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "fs/lock.h"

/* Digests, JSON, the index. */
#define WORKERS 2
/* Each may wait for a header of a checkpoint; they share nothing else. */
#define PLANNERS 8

static void bytes_were_wrong(struct pool_job *job)
{
	struct fs *fs;

	memcpy(&fs, job + 1, sizeof(fs));
	free(job);
	fs_archives_expire(fs->cache);
	fs_plans_expire(&fs->plans);
	if (fs->on_wrong)
		fs->on_wrong(fs->on_wrong_arg);
}

/* On a thread of the cache: what has to be done takes time. */
static void epoch_changed(void *arg, const struct src *s)
{
	struct pool_job *job = malloc(sizeof(*job) + sizeof(arg));
	struct fs *fs = arg;

	(void) s;
	if (!job)
		return;
	job->run = bytes_were_wrong;
	memcpy(job + 1, &arg, sizeof(arg));
	pthread_mutex_lock(&fs->closing_lock);
	if (!fs->closing) {
		pool_add(fs->work, job);
		job = NULL;
	}
	pthread_mutex_unlock(&fs->closing_lock);
	free(job);
}

/* Of any file of the snapshot: what is made of several is among them. made_of:
 * nor is what was made of that file's bytes of before. */
static void forget_sizes(void *arg, const struct fs_snap *s,
	const char *made_of)
{
	struct fs *fs = arg;
	uint64_t *ino;
	size_t n;

	if (made_of) {
		fs_archives_expire(fs->cache);
		fs_plans_expire(&fs->plans);
	}
	if (!fs->on_resized)
		return;
	n = fs_inodes_of(&fs->inodes, s, &ino);
	fs->on_resized(fs->on_wrong_arg, ino, n, made_of);
	free(ino);
}

static int open_cache(struct fs *fs, struct error *why)
{
	const char *verify = conf_get(fs->conf, "cache.verify");
	struct cache_conf c = { .chunk = CACHE_CHUNK_DEFAULT,
		.tfhub = conf_get(fs->conf, "tfhub.endpoint") };
	bool demo = conf_flag(fs->conf, "demo");
	char *tools[CONF_TOOLS] = { NULL };
	int r = -ENOMEM;

	fs->cache_dir = conf_cache_dir(fs->conf);
	if (fs->cache_dir && demo &&
		conf_where(fs->conf, "cache.dir") != CONF_ARG) {
		/* What the demo's hubs say must not outlive the demo. */
		char *below = path_join(fs->cache_dir, "demo");

		free(fs->cache_dir);
		fs->cache_dir = below;
	}
	/* The demo's hubs only have names in common with the real ones. */
	for (unsigned i = 0; i < CONF_TOOLS && !demo; i++)
		c.tools[i] = tools[i] = conf_tool_cache((enum conf_tool)i);
	if (fs->cache_dir) {
		c.dir = fs->cache_dir;
		if (conf_get(fs->conf, "cache.size"))
			c.budget = conf_u64(fs->conf, "cache.size");
		c.before_read = verify && !strcmp(verify, "before-read");
		c.connections = (unsigned)conf_u64(fs->conf,
			"fetch.connections");
		r = cache_open(&c, &fs->cache, why);
	}
	if (!r)
		cache_on_epoch(fs->cache, epoch_changed, fs);
	for (unsigned i = 0; i < CONF_TOOLS; i++)
		free(tools[i]);
	return r;
}

/* The user's own blueprints stand before ours. */
static int open_stage(struct fs *fs, struct error *why)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *own = NULL, *ours = path_join(conf_datadir(), "blueprints");
	const char *dirs[3] = { NULL, NULL, NULL };
	struct stage_conf c = { .blueprint_dirs = dirs };
	const char *flow;
	unsigned n = 0;
	int r;

	if (config && *config)
		own = path_join(config, "omnihub/blueprints");
	else if (home && *home)
		own = path_join(home, ".config/omnihub/blueprints");
	if (own)
		dirs[n++] = own;
	dirs[n] = ours;
	c.opset = (unsigned)conf_u64(fs->conf, "stage.opset");
	flow = conf_get(fs->conf, "stage.flow");
	c.functions = flow && !strcmp(flow, "functions");
	r = ours ? stage_new(&c, &fs->stage, why) : -ENOMEM;
	free(own);
	free(ours);
	return r;
}

/* Without the program, or where it is not wanted, planners are threads. */
static int open_sandbox(struct fs *fs, struct error *why)
{
	const char *how = conf_get(fs->conf, "sandbox");
	bool strict = how && !strcmp(how, "require");
	struct workers_report rep;
	struct error miss = { 0 };
	int r;

	if (how && !strcmp(how, "off")) {
		fs_status_note(fs, "sandbox", "off");
		return 0;
	}
	r = stage_work_start(fs->stage, strict, &miss);
	if (!r && strict)
		r = fs_sandbox(fs, &rep) ? 0 : -ENOENT;
	if (!r && strict && rep.err.code)
		return error_set(why, rep.err.code, "%s", rep.err.text);
	if (!r)
		return 0;
	if (strict || r != -ENOENT)
		return error_set(why, r, "%s", miss.text);
	fs_status_note(fs, "sandbox", miss.text);
	return 0;
}

/* A lock file that cannot be read must not mean that nothing is locked. */
static int open_lock(struct fs *fs, struct error *why)
{
	const char *file = conf_get(fs->conf, "lock");
	struct fs_lock *l = NULL;
	int r;

	fs->resolver.lock_strict = conf_flag(fs->conf, "lock.strict");
	if (!file || !*file)
		return fs->resolver.lock_strict ? error_set(why, -EINVAL,
			"lock.strict: no lock file is given") : 0;
	r = fs_lock_read(file, &l, why);
	fs->resolver.lock_file = fs->lock = l;
	return r;
}

static int open_plugins(struct fs *fs, struct error *why)
{
	int r = fs_plugins_read(&fs->plugins, conf_get(fs->conf, "plugins"),
		why);

	if (r || !fs->plugins.n)
		return r;
	fs->plugins.tmp = path_join(fs->cache_dir, "tmp");
	fs->plugins.pool = pool_new(1, "plug-in");
	return fs->plugins.tmp && fs->plugins.pool ? 0 :
		error_set(why, -ENOMEM, "out of memory");
}

static enum fs_materialize materialize_of(const struct conf *conf)
{
	const char *how = conf_get(conf, "stage.materialize");

	if (!strcmp(how, "always"))
		return FS_MATERIALIZE_ALWAYS;
	return strcmp(how, "hot") ? FS_MATERIALIZE_NEVER : FS_MATERIALIZE_HOT;
}

static void start_tables(struct fs *fs)
{
	fs->resolver.cache = fs->plans.cache = fs->cache;
	fs->resolver.stage = fs->plans.stage = fs->stage;
	fs->resolver.work = fs->plans.work = fs->work;
	fs->plans.planners = fs->planners;
	fs->plans.plugins = &fs->plugins;
	fs->resolver.plugins = &fs->plugins;
	fs->plans.materialize = materialize_of(fs->conf);
	fs->resolver.errors = fs->plans.errors = &fs->errors;
	fs->resolver.archives = &fs->archives;
	fs->resolver.forget_sizes = forget_sizes;
	fs->resolver.forget_arg = fs;
	fs->resolver.offline = fs->offline;
	fs->resolver.fresh_ms = conf_u64(fs->conf, "cache.fresh") * 1000;
	fs->plans.stack.cache = fs->cache;
	fs->plans.stack.offline = fs->offline;
}

int fs_new(const struct conf *conf, struct fs **ret, struct error *why)
{
	static const struct fs_node_spec root = { .kind = FS_ROOT,
		.name = "" };
	struct fs *fs = calloc(1, sizeof(*fs));
	int r = 0;

	if (!fs)
		return error_set(why, -ENOMEM, "out of memory");
	fs->conf = conf;
	fs->offline = conf_flag(conf, "offline");
	fs->started = clock_wall();
	pthread_mutex_init(&fs->closing_lock, NULL);
	fs_errors_init(&fs->errors);
	fs_inodes_init(&fs->inodes);
	fs_resolver_init(&fs->resolver);
	fs_plans_init(&fs->plans);
	fs_archives_init(&fs->archives);
	fs_notes_init(&fs->notes);
	fs->work = pool_new(WORKERS, "work");
	fs->planners = pool_new(PLANNERS, "plan");
	fs->root = fs_node_get(&fs->inodes, NULL, &root);
	fs->archives.pool = pool_new(FS_ARCHIVE_THREADS, "unpack");
	if (!fs->work || !fs->planners || !fs->archives.pool || !fs->root)
		r = error_set(why, -ENOMEM, "out of memory");
	if (!r)
		r = open_lock(fs, why);
	if (!r)
		r = open_cache(fs, why);
	if (!r)
		r = open_stage(fs, why);
	if (!r)
		r = open_sandbox(fs, why);
	if (!r)
		r = open_plugins(fs, why);
	if (!r)
		r = fs_hubs_open(fs, why);
	if (r) {
		fs_free(fs);
		return r;
	}
	start_tables(fs);
	*ret = fs;
	return 0;
}

/* Nothing is under way: whoever asked has been answered, or the process ends
 * otherwise. */
void fs_free(struct fs *fs)
{
	if (!fs)
		return;
	pthread_mutex_lock(&fs->closing_lock);
	fs->closing = true;
	pthread_mutex_unlock(&fs->closing_lock);
	atomic_store(&fs->plugins.closing, true);
	pool_free(fs->plugins.pool);
	pool_free(fs->archives.pool);
	pool_free(fs->planners);
	fetch_free(fs->fetch);
	pool_free(fs->work);
	fs_node_unref(fs->root);
	fs_resolver_done(&fs->resolver);
	fs_plans_done(&fs->plans);
	fs_archives_done(&fs->archives);
	fs_inodes_done(&fs->inodes);
	fs_errors_done(&fs->errors);
	fs_notes_done(&fs->notes);
	fs_plugins_done(&fs->plugins);
	fs_lock_free(fs->lock);
	stage_free(fs->stage);
	cache_close(fs->cache);
	pthread_mutex_destroy(&fs->closing_lock);
	free(fs->cache_dir);
	free(fs);
}

bool fs_sandbox(struct fs *fs, struct workers_report *ret)
{
	struct workers *w = stage_workers(fs->stage);

	if (w)
		workers_report(w, true, ret);
	return w != NULL;
}

void fs_sandbox_expect(struct fs *fs)
{
	if (stage_workers(fs->stage))
		workers_expect(stage_workers(fs->stage));
}

int fs_look(struct fs *fs, struct fs_handle *h, char **ret_json,
	struct error *why)
{
	return stage_work_look(fs->stage, NULL, fs_handle_src(h), ret_json,
		why);
}

uint64_t fs_epochs(struct fs *fs)
{
	return cache_epochs(fs->cache) + atomic_load(&fs->resolver.changed);
}

struct cache *fs_cache(struct fs *fs)
{
	return fs->cache;
}

const char *fs_cache_dir(const struct fs *fs)
{
	return fs->cache_dir;
}

struct fs_node *fs_root(struct fs *fs)
{
	return fs->root;
}
