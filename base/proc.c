#include "config.h"

#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/path.h"

#define FDS_MAX 8
#define ENV_MAX 16
#define KILLED_MS 1000	/* from SIGKILL to the end of who can be killed */

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

int proc_start(const struct proc_spec *spec, pid_t *ret)
{
	int up[FDS_MAX] = { -1, -1, -1, -1, -1, -1, -1, -1 };
	char *env[ENV_MAX] = { NULL };
	int r = spec->n_fds > FDS_MAX ? -EINVAL : env_make(spec->env, env);

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

static struct proc_end ended(int status)
{
	return WIFSIGNALED(status) ?
		(struct proc_end){ .sig = WTERMSIG(status) } :
		(struct proc_end){ .status = WEXITSTATUS(status) };
}

struct proc_end proc_wait(pid_t pid, bool kill_it)
{
	int status = 0;
	pid_t got;

	if (kill_it && kill(-pid, SIGKILL))
		(void) kill(pid, SIGKILL);
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	return got == pid ? ended(status) : (struct proc_end){ 0, 0 };
}

bool proc_gone(pid_t pid, struct proc_end *ret)
{
	int status = 0;
	pid_t got = waitpid(pid, &status, WNOHANG);

	if (!got || (got < 0 && errno == EINTR))
		return false;
	*ret = got == pid ? ended(status) : (struct proc_end){ 0, 0 };
	return true;
}

static bool gone_within(pid_t pid, uint64_t ms, struct proc_end *ret)
{
	struct timespec nap = { 0, 2 * 1000 * 1000 };
	uint64_t start = clock_ms();

	while (!proc_gone(pid, ret)) {
		if (clock_ms() - start >= ms)
			return false;
		(void) nanosleep(&nap, NULL);
	}
	return true;
}

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

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		hold_nothing();
		_exit(-ask(what));
	}
	if (gone_within(pid, PROC_ANSWER_MS, &end))
		return end.sig ? -EIO : -end.status;
	(void) kill(pid, SIGKILL);
	(void) gone_within(pid, KILLED_MS, &end);
	return -ETIMEDOUT;
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

	if (path && !access(path, X_OK))
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
