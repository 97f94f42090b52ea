/*
 * One run of a plug-in: a directory with its inputs, one for its outputs, a
 * process between walls, and objects of the cache made of what it wrote. The
 * directories lie in the cache's own tmp/, so that what a crash leaves there is
 * nobody's.
 */
#include "config.h"

#include "fs/plugin.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sandbox.h"
#include "fs/stack.h"

#define BLOCK (1u << 20)	/* bytes */
#define SAID_MAX (64u << 10)	/* bytes that are kept of what it says */
#define PIPE_HOLDS (1u << 20)	/* bytes; pipe-max-size */
#define ARGS_MAX 192
#define EXIT_CANNOT 2		/* not one it converts */
#define EXIT_LATER 75		/* EX_TEMPFAIL */

struct running {
	struct fs_plugins *all;
	const struct fs_plugin *p;
	const struct fs_stack *stack;
	struct fs_snap *snap;
	struct error *why;
	char *top, *in, *out;	/* directories */
	struct buf said;
};

/* ---- inputs ------------------------------------------------------------------------- */

/* Every byte comes through the cache, and is compared there. A file that is an
 * object then is not copied. */
static int fill(struct src *s, int fd)
{
	cleanup_free uint8_t *block = malloc(BLOCK);
	int r = block ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < s->size && !r; at += BLOCK) {
		size_t n = s->size - at < BLOCK ? (size_t)(s->size - at) :
			BLOCK;

		src_hint(s, at, s->size - at < 16 * BLOCK ? s->size - at :
			16 * BLOCK);
		r = src_read_wait(s, at, block, n);
		if (!r && fd >= 0)
			r = io_pwrite(fd, block, n, at);
	}
	return r;
}

static bool link_object(struct src *s, const char *to)
{
	char path[64];
	int fd = src_fd(s);

	if (fd < 0)
		return false;
	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return !linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

static int place(struct src *s, const char *to)
{
	cleanup_fd int fd = -1;
	unsigned epoch = src_epoch(s);
	int r = 0;

	if (s->size && src_fd(s) < 0)
		r = fill(s, -1);
	if (r || link_object(s, to))
		return r;
	fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (fd < 0)
		return -errno;
	r = fill(s, fd);
	return !r && src_epoch(s) != epoch ? -EIO : r;
}

static int give_input(struct running *u, const struct listing_entry *e)
{
	cleanup_free char *to = path_join(u->in, e->path);
	cleanup_free char *dir = to ? strdup(to) : NULL;
	struct src *s;
	int r;

	if (!dir)
		return -ENOMEM;
	*strrchr(dir, '/') = '\0';
	r = io_mkdirs(AT_FDCWD, dir);
	if (!r)
		r = fs_stack_file_wait(u->stack, u->snap, e, &s, u->why);
	if (r)
		return r;
	r = place(s, to);
	if (r) {
		struct src_stat st;

		src_stat(s, &st);
		error_set(u->why, r, "%s: %s", e->path, error_text(
			st.last.code == r ? &st.last : NULL, r));
	}
	src_unref(s);
	return r;
}

static int give_inputs(struct running *u)
{
	const struct listing *l = &u->snap->own;
	int r = 0;

	for (size_t i = 0; i < l->n && !r; i++) {
		if (atomic_load(&u->all->closing))
			r = -EINTR;
		else if (fs_plugin_takes(u->p, &l->v[i]))
			r = give_input(u, &l->v[i]);
	}
	return r;
}

/* Objects of the cache have one mode, whatever it made of it. */
static void restore_inputs(const struct running *u)
{
	const struct listing *l = &u->snap->own;

	for (size_t i = 0; i < l->n; i++) {
		cleanup_free char *path = fs_plugin_takes(u->p, &l->v[i]) ?
			path_join(u->in, l->v[i].path) : NULL;

		if (path)
			(void) chmod(path, 0444);
	}
}

/* ---- the process -------------------------------------------------------------------- */

/* What programs of every kind read to start, and nothing of the user's. */
static const char *const system_paths[] = {
	"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache",
	"/etc/alternatives", "/etc/localtime", "/etc/mime.types",
	"/etc/python3", "/etc/python3.11", "/proc/self", "/proc/cpuinfo",
	"/proc/meminfo", "/sys/devices/system/cpu", "/dev/zero",
	"/dev/urandom", "/dev/random",
};

struct args {
	const char *v[ARGS_MAX];
	unsigned n;
};

static void add(struct args *a, const char *one, const char *two)
{
	if (a->n + 3 > ARGS_MAX)
		return;
	a->v[a->n++] = one;
	if (two)
		a->v[a->n++] = two;
}

static int start(const struct running *u, int pipe_fd, pid_t *ret)
{
	char memory[24], cpu[24], bytes[24];
	char *env[8] = { NULL };
	cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct args a = { .n = 0 };
	const int fds[] = { null, pipe_fd, pipe_fd };
	const struct proc_spec spec = { .program = u->all->jail,
		.argv = a.v, .env = (const char *const *)env, .fds = fds,
		.n_fds = 3 };
	int r;

	if (null < 0)
		return -errno;
	(void) snprintf(memory, sizeof(memory), "%" PRIu64, u->p->memory);
	(void) snprintf(cpu, sizeof(cpu), "%" PRIu64, u->p->seconds * 64);
	(void) snprintf(bytes, sizeof(bytes), "%" PRIu64, u->p->bytes);
	add(&a, "omnihub-jail", memory);
	add(&a, cpu, bytes);
	for (size_t i = 0; i < sizeof(system_paths) / sizeof(char *); i++)
		add(&a, "-r", system_paths[i]);
	for (char *const *w = u->p->reads; *w; w++)
		add(&a, "-r", *w);
	add(&a, "-r", u->p->dir);
	add(&a, "-r", u->in);
	add(&a, "-w", u->out);
	add(&a, "-w", "/dev/null");
	add(&a, "--", u->p->program);
	add(&a, u->in, u->out);
	r = asprintf(&env[0], "OMNIHUB_REPO=%s", u->snap->repo) < 0 ||
		asprintf(&env[1], "OMNIHUB_REVISION=%s",
			u->snap->revision) < 0 ||
		asprintf(&env[2], "OMNIHUB_HUB=%s", u->snap->hub->name) < 0 ||
		asprintf(&env[3], "HOME=%s", u->out) < 0 ||
		asprintf(&env[4], "TMPDIR=%s", u->out) < 0 ||
		!(env[5] = strdup("PATH=/usr/local/bin:/usr/bin:/bin")) ||
		!(env[6] = strdup("LC_ALL=C.UTF-8")) ? -ENOMEM : 0;
	if (!r)
		r = proc_start(&spec, ret);
	for (unsigned i = 0; i < 7; i++)
		free(env[i]);
	return r;
}

/* The end of what it says is kept, for the reason stands there. At most as much
 * as a pipe holds: it may write faster than this reads. */
static void listen_to(struct running *u, int fd)
{
	char text[4096];
	size_t heard = 0;
	ssize_t n;

	while (heard < PIPE_HOLDS &&
		(n = read(fd, text, sizeof(text))) > 0) {
		heard += (size_t)n;
		if (u->said.len + (size_t)n > SAID_MAX) {
			size_t keep = SAID_MAX / 2;

			if (u->said.len > keep) {
				memmove(u->said.data, u->said.data +
					u->said.len - keep, keep);
				u->said.len = keep;
			}
		}
		(void) buf_append(&u->said, text, (size_t)n);
	}
}

/* Its last line that says anything. */
static const char *last_words(struct buf *said)
{
	char *text = (char *)said->data;
	size_t n = said->len;

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	if (!n)
		return "it did not say why";
	text[n] = '\0';
	while (n && text[n - 1] != '\n')
		n--;
	return text + n;
}

static int judge(struct running *u, struct proc_end end)
{
	const char *said = last_words(&u->said), *name = u->p->name;

	if (end.sig)
		return error_set(u->why, -ENOTSUP, "plug-in %s was killed: "
			"signal %d (%s): %s", name, end.sig,
			strsignal(end.sig), said);
	if (end.status == EXIT_LATER)
		return error_set(u->why, -EIO, "plug-in %s: %s", name, said);
	if (end.status == EXIT_CANNOT)
		return error_set(u->why, -ENOTSUP, "plug-in %s: %s", name,
			said);
	if (end.status)
		return error_set(u->why, -ENOTSUP, "plug-in %s failed with "
			"status %d: %s", name, end.status, said);
	return 0;
}

static int wait_for(struct running *u, pid_t pid, int fd)
{
	uint64_t until = clock_ms() + u->p->seconds * 1000;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct proc_end end;

	while (!proc_gone(pid, &end)) {
		if (atomic_load(&u->all->closing)) {
			(void) proc_kill(pid);
			return -EINTR;
		}
		if (clock_ms() > until) {
			(void) proc_kill(pid);
			return error_set(u->why, -ENOTSUP, "plug-in %s was not "
				"done after %" PRIu64 " s", u->p->name,
				u->p->seconds);
		}
		if (poll(&poll_fd, 1, 100) > 0 && (poll_fd.revents & POLLIN))
			listen_to(u, fd);
		else if (poll_fd.revents)
			poll_fd.fd = -1;	/* it closed it */
	}
	/* What it left behind in its group. */
	(void) kill(-pid, SIGKILL);
	listen_to(u, fd);
	return judge(u, end);
}

static int run_program(struct running *u)
{
	cleanup_fd int ours = -1;
	cleanup_fd int theirs = -1;
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	ours = fds[0];
	theirs = fds[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK))
		return -errno;
	r = start(u, theirs, &pid);
	if (r)
		return error_set(u->why, -EIO, "%s cannot be started: %s",
			u->all->jail, strerror(-r));
	(void) close(steal_fd(&theirs));
	return wait_for(u, pid, ours);
}

/* ---- outputs ------------------------------------------------------------------------ */

static int keep(struct running *u, int fd, uint64_t size, struct objid *ret)
{
	cleanup_free uint8_t *block = malloc(BLOCK);
	struct cache_put *put;
	int r = block ? cache_put_begin(u->stack->cache, size, &put) : -ENOMEM;

	if (r)
		return r;
	for (uint64_t at = 0; at < size && !r; at += BLOCK) {
		size_t n = size - at < BLOCK ? (size_t)(size - at) : BLOCK;

		r = io_pread(fd, block, n, at);
		if (!r)
			r = cache_put_data(put, block, n);
	}
	if (!r)
		return cache_put_end(put, ret);
	cache_put_drop(put);
	return r;
}

/* 1: it is there. What was put there by somebody clever (a link, a pipe) is
 * not. */
static int take_output(struct running *u, int dir, const char *name,
	struct fs_plugin_made *ret)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC |
		O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
		st.st_nlink != 1 || !st.st_size)
		return 0;
	if ((uint64_t)st.st_size > u->p->bytes)
		return error_set(u->why, -EFBIG, "plug-in %s: %s is too large",
			u->p->name, name);
	ret->size = (uint64_t)st.st_size;
	r = keep(u, fd, ret->size, &ret->id);
	if (r)
		return r;
	ret->name = strdup(name);
	return ret->name ? 1 : -ENOMEM;
}

static int take_outputs(struct running *u, struct fs_plugin_made *ret,
	size_t *ret_n)
{
	cleanup_fd int dir = open(u->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = 0;
	int r = dir < 0 ? -errno : 0;

	for (char *const *o = u->p->outputs; *o && r >= 0; o++) {
		r = take_output(u, dir, *o, &ret[n]);
		n += r == 1;
	}
	if (r >= 0) {
		*ret_n = n;
		return 0;
	}
	while (n)
		free(ret[--n].name);
	return r;
}

static int run(struct running *u, struct fs_plugin_made *ret, size_t *ret_n)
{
	int r = give_inputs(u);

	if (!r)
		r = run_program(u);
	restore_inputs(u);
	return r ? r : take_outputs(u, ret, ret_n);
}

int fs_plugin_run(struct fs_plugins *all, const struct fs_plugin *p,
	const struct fs_stack *k, struct fs_snap *s,
	struct fs_plugin_made ret[FS_PLUGIN_WORDS], size_t *ret_n,
	struct error *why)
{
	struct running u = { .all = all, .p = p, .stack = k, .snap = s,
		.why = why, .said = BUF_INIT(2 * SAID_MAX) };
	const struct sandbox_walls walls = sandbox_offered();
	int r = -ENOMEM;

	if (!walls.seccomp || !walls.landlock || !all->jail)
		return error_set(why, -ENOTSUP, "plug-in %s is not run: %s",
			p->name, all->jail ? "this kernel has no Landlock or "
			"no seccomp" : "omnihub-jail is missing");
	if (asprintf(&u.top, "%s/plugin-XXXXXX", all->tmp) < 0)
		return -ENOMEM;
	if (!mkdtemp(u.top)) {
		r = error_set(why, -errno, "%s: %s", u.top, strerror(errno));
		free(u.top);
		return r;
	}
	u.in = path_join(u.top, "in");
	u.out = path_join(u.top, "out");
	if (u.in && u.out)
		r = mkdir(u.in, 0700) || mkdir(u.out, 0700) ? -errno :
			run(&u, ret, ret_n);
	(void) io_remove_tree(AT_FDCWD, u.top);
	buf_done(&u.said);
	free(u.in);
	free(u.out);
	free(u.top);
	if (r && why && !why->code)
		error_set(why, r, "plug-in %s: %s", p->name,
			error_text(NULL, r));
	return r;
}
