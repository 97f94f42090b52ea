/*
 * What a job may not do, and what comes of it. The program of the workers is this
 * one, with a table of jobs of its own.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "base/workers.h"
#include "tests/unit/t.h"

enum { OPEN = 1, SOCKET, FORK, EXEC, MAP_EXEC, SIGNAL, ABORT };

/* ---- the inside -------------------------------------------------------------- */

/* The errno is the job's. */
static int open_file(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	(void) w;
	(void) input;
	(void) len;
	(void) why;
	return fd < 0 ? -errno : 0;
}

static int make_socket(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void) w;
	(void) input;
	(void) len;
	(void) why;
	return fd < 0 ? -errno : 0;
}

static int make_process(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	pid_t pid = fork();

	(void) w;
	(void) input;
	(void) len;
	(void) why;
	if (!pid)
		_exit(0);
	return pid < 0 ? -errno : 0;
}

static int run_program(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	char *argv[] = { NULL };

	(void) w;
	(void) input;
	(void) len;
	(void) why;
	execve("/bin/true", argv, argv);
	return -errno;
}

static int make_code(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void) w;
	(void) input;
	(void) len;
	(void) why;
	return p == MAP_FAILED ? -errno : 0;
}

/* The input is whose process; signal 0 hurts nobody. */
static int send_signal(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	pid_t pid;

	(void) w;
	(void) why;
	if (len != sizeof(pid))
		return -EINVAL;
	memcpy(&pid, input, sizeof(pid));
	return syscall(SYS_tgkill, pid, pid, 0) ? -errno : 0;
}

static int give_up(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	(void) why;
	abort();
}

static const struct worker_kind kinds[] = {
	{ OPEN, open_file }, { SOCKET, make_socket }, { FORK, make_process },
	{ EXEC, run_program }, { MAP_EXEC, make_code },
	{ SIGNAL, send_signal }, { ABORT, give_up }, { 0, NULL },
};

/* ---- the outside ---------------------------------------------------------------- */

static int run(struct workers *w, uint32_t kind, struct error *why)
{
	const pid_t self = getpid();
	struct worker_job j = { .kind = kind, .what = "the test",
		.input = &self, .len = sizeof(self), .result = BUF_INIT(64) };
	int r;

	*why = (struct error){ 0 };
	r = workers_run(w, &j, why);
	buf_done(&j.result);
	return r;
}

static void test_walls(struct workers *w)
{
	const uint32_t deadly[] = { SOCKET, FORK, EXEC, MAP_EXEC, SIGNAL };
	struct workers_report rep;
	struct error why;

	workers_report(w, true, &rep);
	t_int(rep.err.code, 0);
	if (!rep.seccomp)
		t_skip("no seccomp here");
	t_int(run(w, OPEN, &why), -EACCES);
	for (unsigned i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		if (SANDBOX_LENIENT && deadly[i] != SOCKET &&
			deadly[i] != EXEC && deadly[i] != SIGNAL)
			continue;
		t_int(run(w, deadly[i], &why), SANDBOX_LENIENT ? -EACCES :
			-ENOTSUP);
		if (!SANDBOX_LENIENT)
			t_str(why.text, "the test was stopped: it wanted what "
				"it may not (signal 31)");
	}
	/* A signal to itself is how a bug ends it. */
	t_int(run(w, ABORT, &why), -ENOTSUP);
	t_str(why.text, "the test crashed: signal 6 (Aborted)");
}

/* ---- programs of others ---------------------------------------------------------- */

static long landlock_at_most = LONG_MAX;	/* its ABI */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* An older kernel's answer to which Landlock it has. Nobody here has more than
 * five arguments, and those that are not there come from registers. */
long __wrap_syscall(long number, ...)
{
	long a[5], r;
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < 5; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	r = __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
	return number == SYS_landlock_create_ruleset &&
		(unsigned)a[2] == LANDLOCK_CREATE_RULESET_VERSION &&
		r > landlock_at_most ? landlock_at_most : r;
}

static off_t length(const char *path)
{
	struct stat st;

	t_int(stat(path, &st), 0);
	return st.st_size;
}

static void write_five(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	t_check(fd >= 0);
	t_int(write(fd, "12345", 5), 5);
	t_int(close(fd), 0);
}

/* In the directory `in`: it is read only beside `out`. */
static void inside_a_program(void)
{
	const struct sandbox_limits l = { .memory = UINT64_MAX >> 1,
		.file_bytes = 1 << 20, .files = 64 };
	const struct sandbox_path paths[] = { { "in", false },
		{ "out", true } };
	struct sandbox_walls walls = { false, 0 };
	pid_t pid;
	int fd;

	t_int(sandbox_program(&l, paths, 2, &walls), 0);
	if (!walls.seccomp || !walls.landlock)
		_exit(77);
	/* What it may not write it cannot make shorter either. */
	t_int(truncate("secret", 0), -1);
	t_int(open("in/input", O_RDONLY | O_TRUNC | O_CLOEXEC), -1);
	t_int(open("in/input", O_ACCMODE | O_TRUNC | O_CLOEXEC), -1);
	t_int(open("in/input", O_WRONLY | O_TRUNC | O_CLOEXEC), -1);
	t_int(syscall(SYS_openat2, AT_FDCWD, "in/input",
		&(uint64_t[]){ O_RDONLY | O_TRUNC, 0, 0 }, 24), -1);
	/* What it may, it can. */
	fd = open("out/mine", O_RDWR | O_TRUNC | O_CLOEXEC);
	t_check(fd >= 0);
	t_int(write(fd, "123", 3), 3);
	t_int(ftruncate(fd, 1), 0);
	fd = open("in/input", O_RDONLY | O_CLOEXEC);
	t_check(fd >= 0);
	/* A process of its own, but no other root than the user's. */
	pid = fork();
	if (!pid)
		_exit(0);
	t_int(waitpid(pid, NULL, 0), pid);
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(0);
	t_int(pid, -1);
	t_int(errno, EPERM);
	t_int(syscall(SYS_clone3, NULL, 0), -1);
	t_int(errno, ENOSYS);
	_exit(0);	/* the search for leaks would want ptrace() */
}

static void test_program(void)
{
	char dir[] = "/tmp/omnihub-test-sandbox-XXXXXX";
	int status, here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid;

	t_check(mkdtemp(dir) && !chdir(dir));
	t_check(!mkdir("in", 0700) && !mkdir("out", 0700));
	write_five("secret");
	write_five("in/input");
	write_five("out/mine");
	fflush(NULL);
	pid = fork();
	t_check(pid >= 0);
	if (!pid)
		inside_a_program();
	t_int(waitpid(pid, &status, 0), pid);
	t_int(length("secret"), 5);
	t_int(length("in/input"), 5);
	t_check(!unlink("secret") && !unlink("in/input") &&
		!unlink("out/mine"));
	t_check(!rmdir("in") && !rmdir("out") && !fchdir(here) &&
		!rmdir(dir) && !close(here));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		t_skip("no seccomp or no Landlock here");
	t_int(status, 0);
}

int main(int argc, char **argv)
{
	struct workers_conf c = { .program = "/proc/self/exe", .cpu_s = 1,
		.wall_s = 60, .idle_ms = 600000 };
	struct workers *w;

	(void) argc;
	if (!strcmp(argv[0], "omnihub-worker"))
		return worker_main(kinds, NULL);
	t_int(workers_new(&c, &w), 0);
	test_walls(w);
	workers_free(w);
	test_program();
	landlock_at_most = 2;	/* Linux 6.1 */
	test_program();
	return 0;
}
