#include "config.h"

#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/path.h"

#define FDS_MAX 8
#define ENV_MAX 16
#define KILLED_MS 1000	/* from SIGKILL to the end of who can be killed */
#define NAP_MS 2
#define LEFT_MAX 16

/* Of ours, what a program may have: where its libraries lie, and how it tells
 * of bugs. */
static const char *const passed[] = {
	"LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
	"UBSAN_OPTIONS",
};

static void env_free(char *env[ENV_MAX])
{
	for (unsigned i = 0; i < ENV_MAX; i++)
		free(env[i]);
}

static int env_make(const char *const *own, char *env[ENV_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		const char *v = getenv(passed[i]);

		if (v && asprintf(&env[n++], "%s=%s", passed[i], v) < 0) {
			env[n - 1] = NULL;
			return -ENOMEM;
		}
	}
	for (; own && *own; own++) {
		if (n + 1 == ENV_MAX)
			return -E2BIG;
		env[n] = strdup(*own);
		if (!env[n++])
			return -ENOMEM;
	}
	return 0;
}

/* Descriptors out of the way of those they become. */
static int lift(const struct proc_spec *spec, int up[FDS_MAX])
{
	for (unsigned i = 0; i < spec->n_fds; i++) {
		up[i] = fcntl(spec->fds[i], F_DUPFD_CLOEXEC, 2 * FDS_MAX);
		if (up[i] < 0)
			return -errno;
	}
	return 0;
}

static int spawn(const struct proc_spec *spec, const int up[FDS_MAX],
	char *const *env, pid_t *ret)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t all, none;
	int r;

	(void) sigfillset(&all);
	(void) sigemptyset(&none);
	(void) posix_spawnattr_init(&at);
	(void) posix_spawn_file_actions_init(&fa);
	(void) posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK |
		POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	(void) posix_spawnattr_setsigmask(&at, &none);
	(void) posix_spawnattr_setsigdefault(&at, &all);
	r = 0;
	for (unsigned i = 0; i < spec->n_fds && !r; i++)
		r = posix_spawn_file_actions_adddup2(&fa, up[i], (int)i);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&fa,
			(int)spec->n_fds);
	if (!r)
		r = posix_spawn(ret, spec->program, &fa, &at,
			(char *const *)(uintptr_t)spec->argv, env);
	(void) posix_spawn_file_actions_destroy(&fa);
	(void) posix_spawnattr_destroy(&at);
	return -r;
}

static struct proc_end ended(int status)
{
	return WIFSIGNALED(status) ?
		(struct proc_end){ .sig = WTERMSIG(status) } :
		(struct proc_end){ .status = WEXITSTATUS(status) };
}

/* 1: it is gone, 0: it is not, or why nobody can tell. */
static int reap(pid_t pid, struct proc_end *ret)
{
	int status = 0;
	pid_t got = waitpid(pid, &status, WNOHANG);

	if (!got || (got < 0 && errno == EINTR))
		return 0;
	if (got < 0)
		return -errno;
	*ret = ended(status);
	return 1;
}

bool proc_gone(pid_t pid, struct proc_end *ret)
{
	int r = reap(pid, ret);

	if (r < 0)
		*ret = (struct proc_end){ 0, 0 };
	return r != 0;
}

/* As reap(), ms later at most. */
static int reap_within(pid_t pid, uint64_t ms, struct proc_end *ret)
{
	cleanup_fd int fd = pidfd_open(pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t start = clock_ms(), spent;
	int r;

	while (!(r = reap(pid, ret))) {
		spent = clock_ms() - start;
		if (spent >= ms)
			break;
		/* One that somebody traces has ended, and is his first. */
		if (poll(&p, 1, p.fd < 0 ? NAP_MS : (int)(ms - spent)) > 0)
			p.fd = -1;
	}
	return r;
}

bool proc_gone_within(pid_t pid, uint64_t ms, struct proc_end *ret)
{
	int r = reap_within(pid, ms, ret);

	if (r < 0)
		*ret = (struct proc_end){ 0, 0 };
	return r != 0;
}

/* Those that could not be killed at once. */
static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t left[LEFT_MAX];	/* left_lock; 0: free */

/* Look at all of them; one more, unless 0. */
static void bury(pid_t more)
{
	struct proc_end end;

	(void) pthread_mutex_lock(&left_lock);
	for (unsigned i = 0; i < LEFT_MAX; i++) {
		if (left[i] && reap(left[i], &end))
			left[i] = 0;
		if (!left[i]) {
			left[i] = more;
			more = 0;
		}
	}
	(void) pthread_mutex_unlock(&left_lock);
}

int proc_start(const struct proc_spec *spec, pid_t *ret)
{
	int up[FDS_MAX] = { -1, -1, -1, -1, -1, -1, -1, -1 };
	char *env[ENV_MAX] = { NULL };
	int r = spec->n_fds > FDS_MAX ? -EINVAL : env_make(spec->env, env);

	bury(0);
	if (!r)
		r = lift(spec, up);
	if (!r)
		r = spawn(spec, up, env, ret);
	for (unsigned i = 0; i < FDS_MAX; i++)
		if (up[i] >= 0)
			(void) close(up[i]);
	env_free(env);
	return r;
}

struct proc_end proc_kill(pid_t pid)
{
	struct proc_end end = { .sig = SIGKILL };

	if (kill(-pid, SIGKILL))
		(void) kill(pid, SIGKILL);
	if (!proc_gone_within(pid, KILLED_MS, &end))
		bury(pid);
	return end;
}

/* ---- to its end ---------------------------------------------------------------- */

/* Until it is gone, or there is nothing to be heard now. */
static size_t hear(int fd, int ms, char *to, size_t room)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char rest[4096];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return 0;
	n = room ? read(fd, to, room) : read(fd, rest, sizeof(rest));
	if (n <= 0 && ms)	/* it closed it, and goes on */
		(void) poll(NULL, 0, NAP_MS);
	return room && n > 0 ? (size_t)n : 0;
}

int proc_run(const char *const *argv, uint64_t ms, char *said, size_t room)
{
	cleanup_free char *program = proc_look_up(argv[0]);
	cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_fd int in = -1;
	cleanup_fd int out = -1;
	struct proc_end end = { 0, 0 };
	uint64_t until = clock_ms() + ms;
	int pair[2], r;
	size_t n = 0;
	bool gone;
	pid_t pid;

	if (!program)
		return -ENOENT;
	if (null < 0 || pipe2(pair, O_CLOEXEC))
		return -errno;
	in = pair[0];
	out = pair[1];
	r = proc_start(&(struct proc_spec){ program, argv, NULL,
		(const int[]){ null, null, out }, 3 }, &pid);
	if (r)
		return r;
	(void) close(steal_fd(&out));
	do {
		gone = proc_gone(pid, &end);
		n += hear(in, gone ? 0 : NAP_MS, said + n, room - 1 - n);
	} while (!gone && clock_ms() < until);
	said[n] = '\0';
	if (!gone)
		(void) proc_kill(pid);
	return !gone ? -ETIMEDOUT : end.sig || end.status ? -EIO : 0;
}

/* ---- what may not come back ---------------------------------------------------- */

/* Whoever reads what we print must not wait for a child that stays. */
static void hold_nothing(void)
{
	(void) close_range(0, ~0u, 0);
	if (open("/dev/null", O_RDWR) == 0) {
		(void) dup(0);
		(void) dup(0);
	}
}

int proc_ask(int (*ask)(const char *what), const char *what)
{
	struct proc_end end;
	pid_t pid = fork();
	int r;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		hold_nothing();
		_exit(-ask(what));
	}
	r = reap_within(pid, PROC_ANSWER_MS, &end);
	if (r)
		return r < 0 ? r : end.sig ? -EIO : -end.status;
	(void) proc_kill(pid);
	return -ETIMEDOUT;
}

static int ask_path(const char *path)
{
	return open(path, O_PATH | O_CLOEXEC) < 0 ? -errno : 0;
}

int proc_real_path(const char *path, char **ret)
{
	cleanup_fd int fd = -1;
	char link[32], real[PATH_MAX];
	ssize_t n;
	int r = proc_ask(ask_path, path);

	if (r)
		return r;
	/* realpath(3) would look into the mount. */
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, real, sizeof(real) - 1);
	if (n < 0)
		return -errno;
	real[n] = '\0';
	*ret = strdup(real);
	return *ret ? 0 : -ENOMEM;
}

uint64_t proc_cpu_ms(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t proc_resident(pid_t pid)
{
	cleanup_file FILE *f = NULL;
	char path[64];
	uint64_t all, resident;

	(void) snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%" SCNu64 " %" SCNu64, &all, &resident) != 2)
		return 0;
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static char *program_in(const char *dir, const char *name)
{
	char *path = path_join(dir, name);
	struct stat st;

	if (path && !stat(path, &st) && S_ISREG(st.st_mode) &&
	    !access(path, X_OK))
		return path;
	free(path);
	return NULL;
}

char *proc_find(const char *name)
{
	const char *dir = getenv("OMNIHUB_LIBEXECDIR");
	char self[PATH_MAX], *slash, *found;
	ssize_t n;

	if (dir && *dir)
		return program_in(dir, name);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
		found = program_in(self, name);
		if (found)
			return found;
	}
	return program_in(OH_PKGLIBEXECDIR, name);
}

char *proc_look_up(const char *name)
{
	static const char *const places[] = { "/usr/local/bin", "/usr/bin",
		"/bin" };
	const char *path = getenv("PATH");
	cleanup_free char *copy = strdup(path ? path : "");
	char *save = NULL, *found = NULL;

	/* "" and "." are where somebody else may have put it. */
	for (char *d = copy ? strtok_r(copy, ":", &save) : NULL; d && !found;
	     d = strtok_r(NULL, ":", &save))
		found = *d == '/' ? program_in(d, name) : NULL;
	for (size_t i = 0; i < 3 && !found; i++)
		found = program_in(places[i], name);
	return found;
}
