/*
 * The process that stays. It holds the device, so the kernel's side of the
 * mount lives on when the server dies; it starts the next server, and what was
 * asked meanwhile waits in the kernel. It has no threads, opens no file of the
 * cache and reads no bytes of anybody, so there is little that could kill it.
 * If somebody does, the server unmounts and ends.
 *
 * Where the kernel cannot repeat requests (before 6.9) the mount is made anew:
 * what was open then fails, names go on.
 *
 * Deaths are paid for from a purse that fills with time. A server that dies at
 * once, again and again, empties it, and then the mount ends with the reason.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/serve.h"

#define PURSE 40	/* deaths */
#define FILL_MS 1000	/* one more after this long */
#define REST_MS 20	/* after a death */
#define END_MS 10000	/* for the server to end by itself */
#define TRY_MS 5000	/* for a new program to say its version */

struct supervisor {
	const struct session_conf *conf;
	struct ll *ll;
	struct fs_handover *h;
	sigset_t before;	/* signals that were blocked */
	int signals;		/* signalfd */
	int ready[2];		/* pipe: one byte, the mount answers */
	pid_t server;
	void (*tell)(void *arg);
	void *tell_arg;
	uint64_t end_by;	/* clock_ms; 0: it need not end */
	bool upgrade;		/* it was ended for a new program */
	unsigned deaths;	/* not made up for by time */
	uint64_t paid;		/* clock_ms of the last reckoning */
};

/* ---- the server ---------------------------------------------------------------- */

static void say_ready(void *arg)
{
	struct supervisor *s = arg;

	atomic_store(&fs_handover_head(s->h)->greeted, true);
	if (write(s->ready[1], "r", 1) != 1)
		log_at(LOG_LEVEL_ERROR, "the supervisor is gone");
}

static void __attribute__((noreturn))
be_server(struct supervisor *s, pid_t parent)
{
	struct fs_handover_head *head = fs_handover_head(s->h);
	struct error why = { 0 };
	int r;

	(void) prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		exit(1);
	(void) close(s->signals);
	(void) close(s->ready[0]);
	(void) sigprocmask(SIG_SETMASK, &s->before, NULL);
	r = fs_serve(s->conf, s->ll, say_ready, s, &why);
	if (r)
		(void) error_set(&head->why, r, "%s", error_text(&why, r));
	fs_handover_free(s->h);
	exit(r ? 1 : 0);
}

static int start_server(struct supervisor *s, struct error *why)
{
	struct fs_handover_head *head = fs_handover_head(s->h);
	pid_t self = getpid();

	/* 1 is the first of a mount. */
	head->generation = head->generation == UINT16_MAX ? 2 :
		head->generation + 1;
	s->ll->generation = (uint16_t)head->generation;
	s->ll->handover = s->h;
	s->server = fork();
	if (s->server < 0)
		return error_set(why, -errno, "fork: %s", strerror(errno));
	if (!s->server)
		be_server(s, self);
	return 0;
}

/* ---- a new program ---------------------------------------------------------------- */

/* Where this program was started from; perhaps there is another one now. */
static bool find_program(char ret[PATH_MAX])
{
	static const char gone[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	size_t cut = sizeof(gone) - 1;

	if (n <= 0)
		return false;
	ret[n] = '\0';
	if ((size_t)n > cut && !strcmp(ret + n - cut, gone))
		ret[n - (ssize_t)cut] = '\0';
	return true;
}

/* With --version behind its options; NULL: no memory. Freed with free(). */
static char **asking_version(char *const *argv)
{
	static char version[] = "--version";
	size_t n = 0, k = 0;
	char **ret;

	while (argv[n])
		n++;
	ret = calloc(n + 2, sizeof(*ret));
	if (!ret)
		return NULL;
	for (; k < n && strcmp(argv[k], "--") != 0; k++)
		ret[k] = argv[k];
	ret[k] = version;
	for (; k < n; k++)
		ret[k + 1] = argv[k];
	return ret;
}

/* It can be run where and as it is going to be: any version of it says its own
 * once it has understood the options before, and those that know
 * FS_HANDOVER_TRY have read their configuration then. */
static bool answers(const char *program, const struct session_conf *c)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		char **argv = asking_version(c->argv);
		int null = open("/dev/null", O_RDWR);

		for (int fd = 0; fd <= 2 && null >= 0; fd++)
			(void) dup2(null, fd);
		(void) alarm(TRY_MS / 1000);
		if (argv && !setenv(FS_HANDOVER_ENV, FS_HANDOVER_TRY, 1) &&
		    (!c->cwd || !chdir(c->cwd)))
			(void) execv(program, argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid &&
		WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void keep_open(int fd, bool open)
{
	(void) fcntl(fd, F_SETFD, open ? 0 : FD_CLOEXEC);
}

/* Does not return, unless it cannot be done. Signals stay blocked: what comes
 * before the new program listens is kept for it. */
static void become_new(struct supervisor *s)
{
	int device = fuse_session_fd(s->ll->se), memory = fs_handover_fd(s->h);
	char program[PATH_MAX], text[64];

	(void) snprintf(text, sizeof(text), "%d %d", device, memory);
	if (!find_program(program) || setenv(FS_HANDOVER_ENV, text, 1))
		return;
	keep_open(device, true);
	keep_open(memory, true);
	if (!s->conf->cwd || !chdir(s->conf->cwd))
		(void) execv(program, s->conf->argv);
	log_at(LOG_LEVEL_ERROR, "%s cannot be started: %s", program,
		strerror(errno));
	(void) unsetenv(FS_HANDOVER_ENV);
	if (s->conf->cwd)
		(void) chdir("/");
	keep_open(device, false);
	keep_open(memory, false);
}

/* ---- what happens to it -------------------------------------------------------------- */

static void ask_to_end(struct supervisor *s)
{
	if (!s->end_by)
		s->end_by = clock_ms() + END_MS;
	(void) kill(s->server, SIGTERM);
}

static void begin_upgrade(struct supervisor *s)
{
	char program[PATH_MAX] = "the program";

	if (!find_program(program) || !answers(program, s->conf)) {
		log_at(LOG_LEVEL_ERROR, "%s cannot be started as this one was "
			"(its options, its configuration, the directory): the "
			"old program goes on", program);
		return;
	}
	s->upgrade = true;
	(void) kill(s->server, SIGKILL);
}

static void take_signal(struct supervisor *s)
{
	struct signalfd_siginfo got;

	if (read(s->signals, &got, sizeof(got)) != (ssize_t)sizeof(got))
		return;
	switch (got.ssi_signo) {
	case SIGCHLD:
		break;
	case SIGUSR2:
		begin_upgrade(s);
		break;
	default:
		ask_to_end(s);
		break;
	}
}

static void take_ready(struct supervisor *s)
{
	char byte;

	if (read(s->ready[0], &byte, 1) == 1 && s->tell)
		s->tell(s->tell_arg);
}

/* Until the server has ended; how, as waitpid() says it. */
static int watch(struct supervisor *s)
{
	struct pollfd p[] = { { .fd = s->signals, .events = POLLIN },
		{ .fd = s->ready[0], .events = POLLIN } };
	int status;

	while (waitpid(s->server, &status, WNOHANG) != s->server) {
		if (s->end_by && clock_ms() > s->end_by)
			(void) kill(s->server, SIGKILL);
		if (poll(p, 2, 1000) < 0)
			continue;
		if (p[1].revents & POLLIN)
			take_ready(s);
		if (p[0].revents & POLLIN)
			take_signal(s);
	}
	/* It may have answered and ended between two looks. */
	if (poll(p + 1, 1, 0) == 1 && p[1].revents & POLLIN)
		take_ready(s);
	return status;
}

/* ---- deaths ----------------------------------------------------------------------------- */

static bool can_pay(struct supervisor *s)
{
	uint64_t now = clock_ms(), filled = (now - s->paid) / FILL_MS;

	s->deaths -= filled < s->deaths ? (unsigned)filled : s->deaths;
	s->paid += filled * FILL_MS;
	return ++s->deaths <= PURSE;
}

/* The kernel has asked what it will not repeat. */
static bool must_remount(struct supervisor *s)
{
	struct fs_handover_head *head = fs_handover_head(s->h);

	return atomic_load(&head->init_answered) &&
		!atomic_load(&head->resends);
}

static int remount(struct supervisor *s, struct error *why)
{
	int r;

	fs_mount_end(s->conf, s->ll);
	fuse_session_destroy(s->ll->se);
	s->ll->se = NULL;
	fs_handover_free(s->h);
	s->h = NULL;
	r = fs_handover_new(&s->h);
	if (r)
		return error_set(why, r, "out of memory");
	atomic_store(&fs_handover_head(s->h)->greeted, true);
	return fs_mount_begin(s->conf, s->ll, -1, why);
}

/* The server has died by a signal. */
static int carry_on(struct supervisor *s, int sig, struct error *why)
{
	struct timespec rest = { 0, REST_MS * 1000000L };

	if (!can_pay(s))
		return error_set(why, -EIO, "the process that serves %s died "
			"%u times within seconds, last of signal %d (%s): the "
			"mount ends", s->conf->mountpoint, s->deaths, sig,
			strsignal(sig));
	log_at(LOG_LEVEL_INFO, "the process that serves %s died of signal %d "
		"(%s); the next one goes on", s->conf->mountpoint, sig,
		strsignal(sig));
	(void) nanosleep(&rest, NULL);
	return 0;
}

static int supervise(struct supervisor *s, struct error *why)
{
	int r, status;

	for (;;) {
		r = start_server(s, why);
		if (r)
			break;
		status = watch(s);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return 0;
		if (s->end_by) {	/* it did not end, and was ended */
			fs_mount_end(s->conf, s->ll);
			return 0;
		}
		if (WIFEXITED(status)) {
			*why = fs_handover_head(s->h)->why;
			r = why->code ? why->code : error_set(why, -EIO,
				"the process that serves %s ended with %d",
				s->conf->mountpoint, WEXITSTATUS(status));
			break;
		}
		if (s->upgrade)
			become_new(s);
		else
			r = carry_on(s, WTERMSIG(status), why);
		s->upgrade = false;
		if (!r && must_remount(s))
			r = remount(s, why);
		if (r)
			break;
	}
	if (s->ll->se)
		fs_mount_end(s->conf, s->ll);
	return r;
}

/* ---- beginning -------------------------------------------------------------------------- */

static int open_signals(struct supervisor *s)
{
	static const int list[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR2,
		SIGCHLD };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		sigaddset(&set, list[i]);
	if (sigprocmask(SIG_BLOCK, &set, &s->before) ||
	    pipe2(s->ready, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	/* become_new() has left them so */
	for (size_t i = 0; s->conf->device >= 0 &&
			i < sizeof(list) / sizeof(*list); i++)
		sigdelset(&s->before, list[i]);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? -errno : 0;
}

static int begin(struct supervisor *s, struct error *why)
{
	const struct session_conf *c = s->conf;
	int device = c->device, r;

	if (device >= 0) {
		keep_open(device, false);
		keep_open(c->handover, false);
		r = fs_handover_open(c->handover, &s->h);
		if (!r && must_remount(s)) {
			fs_handover_free(s->h);
			s->h = NULL;
			r = -EPROTO;
		}
		/* Or of another layout: what is open is lost, names go on. */
		if (r == -EPROTO) {
			(void) close(device);
			(void) fs_mount_detach(c->mountpoint);
			device = -1;
		}
	} else {
		r = -EPROTO;
	}
	if (r == -EPROTO)
		r = fs_handover_new(&s->h);
	if (!r)
		r = open_signals(s);
	if (r)
		(void) error_set(why, r, "cannot prepare the mount: %s",
			strerror(-r));
	else
		r = fs_mount_begin(c, s->ll, device, why);
	if (r && device >= 0)	/* nobody would answer it */
		(void) fs_mount_detach(c->mountpoint);
	return r;
}

static struct fuse_session *last __attribute__((used));

int fs_session_run(const struct session_conf *c, void (*ready)(void *arg),
	void *arg, struct error *why)
{
	struct ll ll = { .uid = getuid(), .gid = getgid(),
		.open_lock = PTHREAD_MUTEX_INITIALIZER,
		.asked_lock = PTHREAD_MUTEX_INITIALIZER };
	struct supervisor s = { .conf = c, .ll = &ll, .tell = ready,
		.tell_arg = arg, .signals = -1, .ready = { -1, -1 },
		.paid = clock_ms() };
	int r = begin(&s, why);

	if (!r)
		r = supervise(&s, why);
	/* Only unmounting frees all of a session, and the server has done that
	 * in its copy: ours goes with the process. */
	last = ll.se;
	fs_handover_free(s.h);
	for (int i = 0; i < 2; i++)
		if (s.ready[i] >= 0)
			(void) close(s.ready[i]);
	if (s.signals >= 0)
		(void) close(s.signals);
	return r;
}
