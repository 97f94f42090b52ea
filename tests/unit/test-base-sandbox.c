/*
 * What a job may not do, and what comes of it. The program of the workers is this
 * one, with a table of jobs of its own.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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
	return 0;
}
