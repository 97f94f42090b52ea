/*
 * omnihub get: read every byte through the same sources the mount would use,
 * so that it is fetched, staged and checked. A few reads are in flight at
 * once; what is here already is passed over by src_peek().
 *
 * Ctrl-C ends the program at once, by the signal, so that a shell's loop ends
 * with it: the cache keeps every chunk that has arrived and needs no good-bye.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/path.h"
#include "cli/cmd.h"
#include "cli/progress.h"
#include "fetch/fetch.h"

#define READ_BYTES (1024 * 1024)
#define READS 8			/* in flight at once */
#define AHEAD (64ULL * 1024 * 1024)	/* bytes hinted before they are read */
#define TICK_MS 100
#define VERIFY_MS_PER_MIB 100	/* a digest slower than 10 MiB/s is stuck */
#define VERIFY_MS_MIN 30000

struct fetching;

struct slot {
	struct src_read read;
	struct fetching *f;
	bool busy;		/* f->lock */
	void *buf;		/* READ_BYTES */
};

/* One file on its way. */
struct fetching {
	pthread_mutex_t lock;
	pthread_cond_t came;
	struct slot slot[READS];
	unsigned busy;		/* lock: reads in flight */
	uint64_t got;		/* lock: bytes that came */
	int err;		/* lock: the first failure */
};

struct file {
	char *path;
	/* A staged file whose sources stand before it: all its bytes are here
	 * when its turn comes, and are not counted twice. */
	bool staged;
};

struct get {
	struct cli *c;
	struct cli_progress progress;
	struct file *files;
	size_t n;
	struct map paths;	/* of files; the values mean nothing */
	uint64_t total;
	bool failed;
	int out_err;		/* why standard output takes nothing, or 0 */
};

static void read_done(struct src_read *r, int err)
{
	struct slot *s = (struct slot *)(void *)((char *)r -
		offsetof(struct slot, read));
	struct fetching *f = s->f;

	(void) pthread_mutex_lock(&f->lock);
	s->busy = false;
	f->busy--;
	if (err && !f->err)
		f->err = err;
	else if (!err)
		f->got += r->len;
	(void) pthread_cond_signal(&f->came);
	(void) pthread_mutex_unlock(&f->lock);
}

/* One tick, or until a read ends. With the lock. */
static void wait_tick(struct get *g, struct fetching *f, uint64_t before)
{
	struct timespec until;

	(void) clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	(void) pthread_cond_timedwait(&f->came, &f->lock, &until);
	g->progress.view.got = before + f->got;
	(void) pthread_mutex_unlock(&f->lock);
	cli_progress_draw(&g->progress);
	(void) pthread_mutex_lock(&f->lock);
}

static struct slot *free_slot(struct fetching *f)
{
	size_t i;

	for (i = 0; i < READS; i++)
		if (!f->slot[i].busy)
			return &f->slot[i];
	return NULL;
}

/* Start one read. 0, or why the file cannot be read. */
static int start_read(struct fetching *f, struct slot *s,
	struct fs_handle *h, uint64_t off, size_t len)
{
	int r = fs_handle_touch(h, off, len);

	if (r < 0)
		return r;
	(void) pthread_mutex_lock(&f->lock);
	s->read = (struct src_read){ .off = off, .len = len, .buf = s->buf,
		.done = read_done };
	s->f = f;
	s->busy = true;
	f->busy++;
	(void) pthread_mutex_unlock(&f->lock);
	r = src_read(fs_handle_src(h), &s->read);
	if (r == -EINPROGRESS)
		return 0;
	read_done(&s->read, r);
	return 0;	/* a failure is in f->err */
}

static int read_all(struct get *g, struct fetching *f, struct fs_handle *h,
	const struct file *file)
{
	struct src *src = fs_handle_src(h);
	uint64_t size = src->size;
	uint64_t off = 0, hinted = 0, before = g->progress.view.got;
	struct iovec iov[16];
	struct slot *s;
	size_t len;
	int r = 0;

	while (off < size && !r) {
		len = size - off < READ_BYTES ? (size_t)(size - off) :
			READ_BYTES;
		if (src_peek(src, off, len, iov, 16) > 0) {
			g->progress.view.had += file->staged ? 0 : len;
			off += len;
			cli_progress_draw(&g->progress);
			continue;
		}
		if (off >= hinted) {
			src_hint(src, off, size - off < AHEAD ? size - off :
				AHEAD);
			hinted = off + AHEAD / 2;
		}
		(void) pthread_mutex_lock(&f->lock);
		while (!(s = free_slot(f)) && !f->err)
			wait_tick(g, f, before);
		r = f->err;
		(void) pthread_mutex_unlock(&f->lock);
		if (!r)
			r = start_read(f, s, h, off, len);
		off += len;
	}
	(void) pthread_mutex_lock(&f->lock);
	while (f->busy)
		wait_tick(g, f, before);
	g->progress.view.got = before + f->got;
	r = r ? r : f->err;
	(void) pthread_mutex_unlock(&f->lock);
	return r;
}

/* All bytes are here; their digest may still be on its way. */
static int wait_verified(struct get *g, struct fs_handle *h, uint64_t size,
	struct src_stat *ret)
{
	const struct timespec nap = { 0, 20 * 1000 * 1000 };
	uint64_t end = clock_ms() + VERIFY_MS_MIN +
		size / READ_BYTES * VERIFY_MS_PER_MIB;
	int r;

	for (;;) {
		src_stat(fs_handle_src(h), ret);
		r = fs_handle_touch(h, 0, 0);
		if (r < 0)
			return r;
		if (ret->state == SRC_VERIFIED || ret->passes)
			return 0;
		/* Nothing to compare with, or a source that cannot tell. What
		 * is whole is settled: its digest may be our own. */
		if (ret->state != SRC_PARTIAL && (ret->id.alg == OBJID_NONE ||
				src_fd(fs_handle_src(h)) >= 0))
			return 0;
		if (ret->last.code)
			return ret->last.code;
		if (clock_ms() > end)
			return -ETIMEDOUT;
		cli_progress_draw(&g->progress);
		(void) nanosleep(&nap, NULL);
	}
}

static int fetching_init(struct fetching *f)
{
	pthread_condattr_t attr;
	size_t i;

	memset(f, 0, sizeof(*f));
	(void) pthread_mutex_init(&f->lock, NULL);
	(void) pthread_condattr_init(&attr);
	(void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void) pthread_cond_init(&f->came, &attr);
	(void) pthread_condattr_destroy(&attr);
	for (i = 0; i < READS; i++) {
		f->slot[i].buf = malloc(READ_BYTES);
		if (!f->slot[i].buf)
			return -ENOMEM;
	}
	return 0;
}

static void fetching_done(struct fetching *f)
{
	size_t i;

	for (i = 0; i < READS; i++)
		free(f->slot[i].buf);
	(void) pthread_cond_destroy(&f->came);
	(void) pthread_mutex_destroy(&f->lock);
}

static const char *outcome(const struct src_stat *st)
{
	if (st->passes)
		return st->passed_right ?
			"verified, not kept: larger than the cache may be" :
			"not kept: larger than the cache may be";
	return st->state == SRC_VERIFIED ? "verified" : "cached";
}

static void say_done(struct get *g, const struct file *file, uint64_t bytes,
	const struct src_stat *st)
{
	char size[CLI_SIZE_MAX];

	if (g->c->given & CLI_OPT_QUIET)
		return;
	printf("%s  %s  %s\n", file->path, cli_size(size, bytes),
		outcome(st));
	if (fflush(stdout) && !g->out_err)
		g->out_err = -errno;
}

static void fail(struct get *g, const struct file *file, int err,
	const char *why)
{
	cli_progress_wipe(&g->progress);
	(void) cli_fail(g->c, file->path, err, why);
	g->failed = true;
}

static void get_file(struct get *g, const struct file *file)
{
	struct src_stat st = { .last = { 0 } };
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL;
	struct fetching f;
	struct fs_attr a;
	int r;

	g->progress.view.name = file->path;
	cli_progress_draw(&g->progress);
	r = fs_walk_wait(g->c->fs, file->path, &n, &a);
	if (!r)
		r = fs_open_wait(g->c->fs, n, &h);
	if (r < 0) {
		fail(g, file, r, NULL);
		fs_node_unref(n);
		return;
	}
	r = fetching_init(&f);
	if (!r)
		r = read_all(g, &f, h, file);
	if (!r)
		r = wait_verified(g, h, fs_handle_src(h)->size, &st);
	else
		src_stat(fs_handle_src(h), &st);
	fetching_done(&f);
	if (r < 0) {
		fail(g, file, r, st.last.code ? st.last.text : NULL);
	} else {
		cli_progress_wipe(&g->progress);
		say_done(g, file, fs_handle_src(h)->size, &st);
	}
	fs_close(h);
	fs_node_unref(n);
}

static bool collected(const struct get *g, const char *path)
{
	return map_get(&g->paths, path);
}

static int add(struct get *g, const char *path, uint64_t size, bool staged)
{
	struct file *files;

	files = reallocarray(g->files, g->n + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	g->files = files;
	files[g->n] = (struct file){ strdup(path), staged };
	if (!files[g->n].path || map_put(&g->paths, path, g, NULL)) {
		free(files[g->n].path);
		return -ENOMEM;
	}
	g->n++;
	if (!staged)
		g->total += size;
	return 0;
}

/* Sources are named from the root of the repository; the archive that is the
 * whole of it stands beside it. The caller frees. */
static char *source_path(const char *repo, const char *source)
{
	char *path;

	if (strcmp(source, FETCH_ARCHIVE_PATH) != 0)
		return path_join(repo, source);
	return asprintf(&path, "%s%s", repo, FETCH_ARCHIVE_SUFFIX) < 0 ?
		NULL : path;
}

static int add_sources(struct get *g, const char *path, char *sources)
{
	cleanup_free char *repo = NULL;
	char *source, *save = NULL;
	int r = cli_repo_of(g->c, path, &repo);

	if (!r && !repo)
		r = -ENOENT;
	for (source = strtok_r(sources, "\n", &save); source && !r;
	     source = strtok_r(NULL, "\n", &save)) {
		cleanup_free char *full = source_path(repo, source);
		struct fs_node *n = NULL;
		struct fs_attr a;

		if (!full)
			return -ENOMEM;
		if (collected(g, full))
			continue;
		r = fs_walk_wait(g->c->fs, full, &n, &a);
		if (!r)
			r = add(g, full, a.size, false);
		fs_node_unref(n);
	}
	return r;
}

/* A staged file is as right as its sources, and those are compared with their
 * digests only when they are whole: they are fetched first. */
static int collect(void *arg, const char *path, struct fs_node *n,
	const struct fs_attr *attr)
{
	struct get *g = arg;
	cleanup_free char *sources = cli_attr(g->c, n, "sources");
	int r = 0;

	if (collected(g, path))
		return 0;
	if (sources)
		r = add_sources(g, path, sources);
	if (r < 0)
		return r;
	return add(g, path, attr->size, sources != NULL);
}

static const char goodbye[] = "\nomnihub: get: EINTR: interrupted; what has "
	"arrived is kept, the same command goes on from there\n";
static size_t goodbye_from;	/* the newline ends a line of the terminal */

/* By now the signal's own effect is in force again. */
static void interrupted(int sig)
{
	ssize_t n = write(STDERR_FILENO, goodbye + goodbye_from,
		sizeof(goodbye) - 1 - goodbye_from);

	(void) n;
	(void) raise(sig);
}

/* Not when who started us has it ignored: nohup, a shell's background. */
static void end_by(int sig)
{
	struct sigaction on = { .sa_handler = interrupted,
		.sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
	struct sigaction was;

	if (!sigaction(sig, NULL, &was) && was.sa_handler == SIG_DFL)
		(void) sigaction(sig, &on, NULL);
}

/* One argument. A hub or an owner may hold thousands of models: refused. */
static int collect_arg(struct get *g, const char *arg)
{
	cleanup_free char *path = NULL;
	cleanup_free char *repo = NULL;
	int r = cli_tree_path(g->c, arg, &path);

	if (!r)
		r = cli_fs_open(g->c);
	if (r)
		return r;
	r = cli_repo_of(g->c, path, &repo);
	if (r < 0) {
		(void) cli_fail(g->c, path, r, NULL);
		g->failed = true;
		return CLI_DONE;	/* the others may work */
	}
	if (!repo)
		return cli_usage(g->c, "'%s' is no model; name one in it", arg);
	r = cli_each_file(g->c, path, collect, g, &g->failed);
	return r < 0 ? cli_fail(g->c, path, r, NULL) : CLI_DONE;
}

static int run(struct cli *c, int argc, char **argv)
{
	struct get g = { .c = c };
	size_t i;
	int r;

	if (!argc)
		return cli_usage(c, "a PATH is needed");
	goodbye_from = isatty(STDERR_FILENO) ? 0 : 1;
	end_by(SIGINT);
	end_by(SIGTERM);
	for (i = 0, r = CLI_DONE; !r && i < (size_t)argc; i++)
		r = collect_arg(&g, argv[i]);
	cli_progress_start(&g.progress, !(c->given & CLI_OPT_QUIET));
	g.progress.view.total = g.total;
	for (i = 0; i < g.n; i++) {
		if (!r)
			get_file(&g, &g.files[i]);
		free(g.files[i].path);
	}
	free(g.files);
	map_done(&g.paths);
	cli_progress_wipe(&g.progress);
	if (!r && g.out_err)
		r = cli_fail(c, "standard output", g.out_err, NULL);
	return r ? r : g.failed ? CLI_FAILED : CLI_DONE;
}

const struct cli_cmd cli_cmd_get = {
	.name = "get",
	.args = "[OPTION]... PATH...",
	.about = "Fetch and stage files or whole directories now",
	.help = "Prints a line for each file when it is here and checked; on "
		"a terminal also a\nprogress bar. What arrived before an "
		"interruption is not fetched again.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_QUIET,
	.run = run,
};
