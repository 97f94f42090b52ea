/*
 * Programs and children: found, heard, ended in time, and nothing left of them.
 */
#include "config.h"

#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/t.h"

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	t_check(d);
	while (readdir(d))
		n++;
	(void) closedir(d);
	return n;
}

/* ---- where it is --------------------------------------------------------------- */

static void make(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	t_check(fd >= 0 && !fchmod(fd, mode));
	(void) close(fd);
}

static void found(const char *path, const char *name, const char *want)
{
	char *got;

	t_check(!setenv("PATH", path, 1));
	got = proc_look_up(name);
	if (want)
		t_str(got, want);
	else
		t_check(!got);
	free(got);
}

static void test_look_up(void)
{
	char top[] = "/tmp/omnihub-proc-XXXXXX", path[256], want[64];

	t_check(mkdtemp(top) && !chdir(top));
	t_check(!mkdir("no", 0700) && !mkdir("is", 0700));
	t_check(!mkdir("no/thing", 0700) && !mkdir("not", 0700));
	make("not/thing", 0600);
	make("is/thing", 0700);
	make("thing", 0700);
	(void) snprintf(want, sizeof(want), "%s/is/thing", top);
	(void) snprintf(path, sizeof(path), "/nowhere::.:is:%s/no:%s/not:%s/is",
		top, top, top);
	found(path, "thing", want);
	found(":.:is", "thing", NULL);
	found("", "thing", NULL);
	found("/nowhere", "env", "/usr/bin/env");
	t_check(!unsetenv("PATH"));
	t_check(!unlink("is/thing") && !unlink("not/thing") &&
		!unlink("thing") && !rmdir("no/thing") && !rmdir("no") &&
		!rmdir("not") && !rmdir("is") && !chdir("/") && !rmdir(top));
}

/* ---- run ----------------------------------------------------------------------- */

static int sh(const char *text, uint64_t ms, char *said, size_t room)
{
	return proc_run((const char *const[]){ "sh", "-c", text, NULL }, ms,
		said, room);
}

static void test_run(void)
{
	unsigned files = open_files();
	uint64_t start = clock_ms();
	char said[8] = "?";

	t_int(sh("echo out; echo words >&2", 20000, said, sizeof(said)), 0);
	t_str(said, "words\n");
	t_int(sh("echo many words >&2; exit 3", 20000, said, sizeof(said)),
		-EIO);
	t_str(said, "many wo");
	/* More than a pipe holds must not hold it up. */
	t_int(sh("i=0; while [ $i -lt 20000 ]; do echo 1234567 >&2; "
		"i=$((i+1)); done", 20000, said, sizeof(said)), 0);
	t_str(said, "1234567");
	t_int(sh("kill -9 $$", 20000, said, sizeof(said)), -EIO);
	/* Closed, and somebody holds it still. */
	t_int(sh("exec 2>&-; sleep 0.1", 20000, said, sizeof(said)), 0);
	t_int(sh("sleep 9 >&- & exit 0", 20000, said, sizeof(said)), 0);
	t_int(sh("cat; exit 4", 20000, said, sizeof(said)), -EIO);
	t_check(clock_ms() - start < 9000);
	start = clock_ms();
	t_int(sh("echo x >&2; sleep 60", 300, said, sizeof(said)),
		-ETIMEDOUT);
	t_str(said, "x\n");
	t_check(clock_ms() - start < 5000);
	t_int(proc_run((const char *const[]){ "no-such-program", NULL }, 1000,
		said, sizeof(said)), -ENOENT);
	t_int(waitpid(-1, NULL, WNOHANG), -1);
	t_int(open_files(), files);
}

/* ---- asked ---------------------------------------------------------------------- */

static int answer(const char *what)
{
	return what ? -atoi(what) : 0;
}

static int die(const char *what)
{
	(void) what;
	(void) raise(SIGTERM);
	return 0;
}

static int stay(const char *what)
{
	while (pause() || !what)
		continue;
	return 0;
}

static int touch_nothing(const char *what)
{
	(void) what;
	return fcntl(3, F_GETFD) < 0 && errno == EBADF &&
		write(2, "x", 1) == 1 ? 0 : -EBADF;
}

static void test_ask(void)
{
	unsigned files = open_files();

	t_int(proc_ask(answer, "0"), 0);
	t_int(proc_ask(answer, "107"), -ENOTCONN);
	t_int(proc_ask(die, NULL), -EIO);
	t_int(proc_ask(touch_nothing, NULL), 0);
	t_int(proc_ask(stay, NULL), -ETIMEDOUT);
	/* Ends are nobody's then: no answer is no "yes". */
	t_check(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	t_int(proc_ask(answer, "107"), -ECHILD);
	t_check(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
	t_int(waitpid(-1, NULL, WNOHANG), -1);
	t_int(open_files(), files);
}

/* ---- who cannot be killed -------------------------------------------------------- */

/* What a tracer has not seen has not ended for anybody else: to its parent it is
 * as one that waits for a disk. */
static pid_t trace(pid_t pid, int ready)
{
	pid_t tracer = fork();

	if (!tracer) {
		char c = ptrace(PTRACE_SEIZE, pid, NULL, NULL) ? 'n' : 'y';

		(void) !write(ready, &c, 1);
		for (;;)
			(void) pause();
	}
	return tracer;
}

static void test_stuck(void)
{
	const char *const argv[] = { "sleep", "60", NULL };
	struct proc_end end;
	int fds[2], status;
	pid_t pid = fork(), tracer, other;
	uint64_t start;
	char c = 'n';

	if (!pid) {
		(void) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		for (;;)
			(void) pause();
	}
	(void) usleep(100000);
	t_check(!pipe2(fds, O_CLOEXEC));
	tracer = trace(pid, fds[1]);
	t_check(read(fds[0], &c, 1) == 1);
	(void) close(fds[0]);
	(void) close(fds[1]);
	if (c == 'n') {
		(void) kill(pid, SIGKILL);
		(void) kill(tracer, SIGKILL);
		while (wait(&status) > 0)
			;
		t_skip("nobody may trace here");
	}
	start = clock_ms();
	t_int(proc_kill(pid).sig, SIGKILL);
	t_check(clock_ms() - start < 10000);
	t_int(waitpid(pid, &status, WNOHANG), 0);
	/* It ends; the next start buries it. */
	t_int(proc_kill(tracer).sig, SIGKILL);
	t_int(proc_start(&(struct proc_spec){ "/bin/sleep", argv, NULL, NULL,
		0 }, &other), 0);
	t_int(waitpid(pid, &status, WNOHANG), -1);
	t_int(proc_gone_within(other, 20, &end), 0);
	t_int(proc_kill(other).sig, SIGKILL);
}

int main(void)
{
	test_look_up();
	test_run();
	test_ask();
	test_stuck();
	return 0;
}
