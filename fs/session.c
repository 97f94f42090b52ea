/*
 * The process that serves a mount. Signals are taken by a thread of their own: a
 * handler could only set a flag, and libfuse's loop looks at its flag before
 * it sleeps, not while. So that thread sets libfuse's flag and then wakes the
 * loop, again and again until it has seen it.
 *
 * What readers still wait for when the mount ends cannot be finished; the
 * cache on disk is right at every instant, so then the process simply ends. It
 * also does when the cache has not done its last work LAST_WORK_S later:
 * syncing or comparing a large file can take minutes, and the next mount does
 * it as well.
 */
#include "config.h"

#include "fs/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/proc.h"
#include "fs/handover.h"
#include "fs/inode.h"
#include "fs/ll.h"
#include "fs/serve.h"
#include "fs/tree.h"

#define WORKERS 10	/* none waits for anything but the disk */
#define WAKE SIGUSR1
#define LAST_WORK_S 2

struct session {
	const struct session_conf *conf;
	struct ll *ll;
	pthread_t main;
	pthread_t signals, greeter;
	sigset_t ending;	/* SIGTERM, SIGINT, SIGHUP, WAKE */
	atomic_bool done;	/* the loop has returned */
	atomic_bool greeted;	/* the greeter will not wait any more */
	bool greets;		/* there is one */
	void (*ready)(void *arg);
	void *ready_arg;
};

/* ---- the mountpoint ---------------------------------------------------------------- */

static bool is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool empty = true;

	if (!d)
		return true;
	while (empty && (e = readdir(d)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	(void) closedir(d);
	return empty;
}

static int check_device(struct error *why)
{
	cleanup_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return error_set(why, -ENODEV,
			"/dev/fuse is missing: load the module (modprobe fuse);"
			" in a container add --device /dev/fuse --cap-add"
			" SYS_ADMIN");
	return error_set(why, -errno,
		"/dev/fuse cannot be opened (%s): as root run `chmod 666"
		" /dev/fuse`, or mount as root", strerror(errno));
}

/* Not root: fusermount3 mounts for us. */
static int check_helper(struct error *why)
{
	cleanup_free char *path = geteuid() ? proc_look_up("fusermount3") :
		NULL;

	if (path || !geteuid())
		return 0;
	return error_set(why, -ENOENT,
		"fusermount3 is missing: install it (apt install fuse3)");
}

static int check_dir(const struct session_conf *c, struct error *why)
{
	struct stat st;
	int r;

	if (stat(c->mountpoint, &st)) {
		if (errno != ENOENT)
			return error_set(why, -errno, "%s: %s", c->mountpoint,
				strerror(errno));
		r = io_mkdirs(AT_FDCWD, c->mountpoint);
		if (r)
			return error_set(why, r, "cannot make %s: %s",
				c->mountpoint, strerror(-r));
		return 0;
	}
	if (!S_ISDIR(st.st_mode))
		return error_set(why, -ENOTDIR, "%s is not a directory",
			c->mountpoint);
	if (!c->nonempty && !is_empty(c->mountpoint))
		return error_set(why, -ENOTEMPTY,
			"%s is not empty: choose another directory, or give"
			" -o nonempty to hide what is in it", c->mountpoint);
	return 0;
}

/* One may lie on another. */
static int detach_dead(const char *point, enum fs_mount_state *ret,
	struct error *why)
{
	enum fs_mount_state state;
	int r = 0;

	while ((state = fs_mount_state(point)) == FS_MOUNT_DEAD && !r)
		r = fs_mount_detach(point);
	if (r)
		return error_set(why, r, "%s: the dead mount there cannot be "
			"detached; try `fusermount3 -uz %s` or, as root, "
			"`umount -l %s`", point, point, point);
	*ret = state;
	return 0;
}

int fs_session_prepare(const struct session_conf *c, struct error *why)
{
	enum fs_mount_state state = FS_MOUNT_NONE;
	int r = check_device(why);

	if (!r)
		r = check_helper(why);
	if (!r)
		r = detach_dead(c->mountpoint, &state, why);
	if (r)
		return r;
	if (state == FS_MOUNT_LIVE)
		return error_set(why, -EBUSY,
			"%s: an omnihub is mounted there already (omnihub"
			" umount ends it)", c->mountpoint);
	if (state == FS_MOUNT_SILENT)
		return error_set(why, -EBUSY,
			"%s: something is mounted there and does not answer;"
			" `omnihub umount --lazy %s` takes it away, or let its"
			" daemon go on", c->mountpoint, c->mountpoint);
	if (state == FS_MOUNT_OTHER && !c->nonempty)
		return error_set(why, -EBUSY,
			"%s: another file system is mounted there",
			c->mountpoint);
	return check_dir(c, why);
}

/* ---- threads of the session -------------------------------------------------------- */

static void wake(int sig)
{
	(void) sig;
}

static void *wait_for_signal(void *arg)
{
	struct session *s = arg;
	struct timespec nap = { 0, 20 * 1000 * 1000 };
	int sig = 0;

	while (sigwait(&s->ending, &sig) == 0 && sig == WAKE &&
		!atomic_load(&s->done))
		continue;
	fuse_session_exit(s->ll->se);
	while (!atomic_load(&s->done)) {
		(void) pthread_kill(s->main, WAKE);
		(void) nanosleep(&nap, NULL);
	}
	return NULL;
}

static void note_read_ahead(struct session *s)
{
	unsigned kb = fs_mount_tune(s->conf->mountpoint);
	char text[48];

	if (!kb)
		return;
	(void) snprintf(text, sizeof(text), "%u KiB%s", kb,
		geteuid() ? " (more needs root)" : "");
	fs_status_note(s->ll->fs, "kernel read-ahead", text);
}

/* The mount answers as soon as INIT is done; an operation that reaches the
 * daemon waits for that. */
static void *greet(void *arg)
{
	struct session *s = arg;
	char path[PATH_MAX];
	struct stat st;

	(void) snprintf(path, sizeof(path), "%s/%s", s->conf->mountpoint,
		FS_CTL_DIR_NAME);
	if (!stat(path, &st)) {
		note_read_ahead(s);
		s->ready(s->ready_arg);
	}
	atomic_store(&s->greeted, true);
	return NULL;
}

static void take_signals(struct session *s)
{
	struct sigaction sa = { .sa_handler = wake };

	sigemptyset(&s->ending);
	sigaddset(&s->ending, SIGTERM);
	sigaddset(&s->ending, SIGINT);
	sigaddset(&s->ending, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s->ending, NULL);
	sigemptyset(&sa.sa_mask);
	(void) sigaction(WAKE, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	(void) sigaction(SIGPIPE, &sa, NULL);
}

/* Not _exit(): a sanitizer would take threads that were not waited for, as is
 * meant here, for forgotten ones. */
static void leave(int sig)
{
	(void) sig;
	(void) syscall(SYS_exit_group, 0);
}

/* From here on the process ends soon, whatever happens. */
static void bound_the_end(void)
{
	struct sigaction sa = { .sa_handler = leave };
	sigset_t one;

	sigemptyset(&sa.sa_mask);
	(void) sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&one);
	sigaddset(&one, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	(void) alarm(LAST_WORK_S);
}

static int loop(struct session *s)
{
	struct fuse_loop_config *c = fuse_loop_cfg_create();
	int r;

	if (!c)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(c, WORKERS);
	fuse_loop_cfg_set_idle_threads(c, WORKERS);
	r = fuse_session_loop_mt(s->ll->se, c);
	fuse_loop_cfg_destroy(c);
	return r < 0 ? r : 0;
}

static int start_threads(struct session *s)
{
	bool first = !atomic_load(&fs_handover_head(s->ll->handover)->greeted);
	int r;

	s->main = pthread_self();
	r = ll_notify_start(s->ll);
	if (!r)
		r = -pthread_create(&s->signals, NULL, wait_for_signal, s);
	/* Until it is ready nobody but the supervisor knows of the mount. */
	atomic_store(&s->greeted, !first);
	if (!r && first)
		r = -pthread_create(&s->greeter, NULL, greet, s);
	s->greets = first;
	return r;
}

static int go_on(struct session *s, struct error *why)
{
	bool first = s->ll->generation == 1;
	int r = fs_handover_resume(s->ll->handover);

	if (!r && !first)
		r = ll_resume_start(s->ll);
	if (!r && !first)
		r = ll_init_again(s->ll);
	if (!r && !first)
		note_read_ahead(s);
	return r ? error_set(why, r, "cannot go on with the mount: %s",
		strerror(-r)) : 0;
}

/* Threads that serve, from here to the end of the mount. */
static int serve(struct session *s, struct error *why)
{
	bool greeted;
	int r;

	r = start_threads(s);
	if (r)
		return error_set(why, r, "cannot start a thread: %s",
			strerror(-r));
	r = loop(s);
	atomic_store(&s->done, true);
	fs_mount_end(s->conf, s->ll);
	(void) pthread_kill(s->signals, SIGTERM);
	pthread_join(s->signals, NULL);
	greeted = atomic_load(&s->greeted);
	if (greeted && s->greets)
		pthread_join(s->greeter, NULL);
	if (!greeted || atomic_load(&s->ll->ops) ||
		atomic_load(&s->ll->dirs) ||
		atomic_load(&s->ll->fs->open_files) ||
		atomic_load(&s->ll->fs->open_controls))
		_exit(r ? 1 : 0);
	ll_notify_stop(s->ll);
	return r ? error_set(why, r, "the session ended: %s", strerror(-r)) : 0;
}

/* Small replies must not leave the heap in pieces, and what a burst of reads
 * took must go back. */
static void tune_malloc(void)
{
	(void) mallopt(M_ARENA_MAX, 4);
	(void) mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	(void) mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

/* An open file that is not whole takes two descriptors here. */
static void raise_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur == l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &l);
}

int fs_serve(const struct session_conf *c, struct ll *ll,
	void (*ready)(void *arg), void *arg, struct error *why)
{
	struct session s = { .conf = c, .ready = ready, .ready_arg = arg,
		.ll = ll };
	int r;

	tune_malloc();
	raise_files();
	take_signals(&s);
	r = fs_new(c->conf, &ll->fs, why);
	if (r)
		return r;
	ll->inodes = &ll->fs->inodes;
	ll->no_passthrough = !conf_flag(c->conf, "mount.passthrough");
	fs_status_note(ll->fs, "mountpoint", c->mountpoint);
	r = ll_custom_io(ll);
	if (r)
		(void) error_set(why, r, "libfuse: %s", strerror(-r));
	if (!r)
		r = go_on(&s, why);
	if (!r && !conf_flag(c->conf, "offline"))
		cache_prepare(ll->fs->cache);
	if (!r)
		r = serve(&s, why);
	if (!r)
		bound_the_end();
	ll_resume_stop(ll);
	fs_inodes_forget_all(ll->inodes);
	fs_free(ll->fs);
	if (ll->device > 0)
		(void) close(ll->device);
	fuse_session_destroy(ll->se);
	(void) alarm(0);
	return r;
}
