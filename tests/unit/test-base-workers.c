/*
 * What comes of a job, and of its worker. The program of the workers is this one,
 * with a table of jobs of its own.
 */
#include "config.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/sandbox.h"
#include "base/worker-wire.h"
#include "base/workers.h"
#include "tests/unit/t.h"

enum { SETUP = 1, ECHO, SEGV, SPIN, HUNGRY, KILLED, SLEEP, LIE, LOUD, PID, SUM,
	REFUSE, HANG_UP, MUMBLE };

/* The sanitizers take the other one for a report of their own. */
#define CRASH (SANDBOX_LENIENT ? SIGABRT : SIGSEGV)
#define ASK_PID WORKER_OWN
#define ASK_LIE (WORKER_OWN + 1)

/* ---- the inside -------------------------------------------------------------- */

static int set_up(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) why;
	*(bool *)worker_own(w) = len == 5 && !memcmp(input, "hello", 5);
	return 0;
}

static int echo(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) why;
	t_check(*(bool *)worker_own(w));
	return worker_result(w, input, len);
}

static int crash(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	(void) why;
	raise(CRASH);
	return 0;
}

static int spin(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	(void) why;
	for (volatile int on = 1; on;)
		continue;
	return 0;
}

static int eat(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	(void) why;
	for (;;) {
		char *p = malloc(16 << 20);

		if (!p)
			return -ENOMEM;
		memset(p, 1, 4096);
		__asm__ volatile("" : : "r"(p) : "memory");
	}
}

/* It tells who it is and waits to be killed by the one it told. */
static int be_killed(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	struct worker_msg m = { .what = ASK_PID, .a = (uint64_t)getpid() };

	(void) input;
	(void) len;
	(void) why;
	return worker_ask(w, &m, NULL);
}

static int be_silent(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	struct worker_msg m;

	(void) w;
	(void) input;
	(void) len;
	(void) why;
	/* Nobody answers what was not asked. */
	(void) recv(WORKER_FD_TALK, &m, sizeof(m), 0);
	return 0;
}

static int lie(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	struct worker_msg m = { .what = WORKER_READ, .a = 1, .b = 90,
		.c = 11 };

	(void) input;
	(void) len;
	(void) why;
	return worker_ask(w, &m, NULL);
}

static int be_loud(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	char junk[4096] = { 0 };
	int r = 0;

	(void) input;
	(void) len;
	(void) why;
	while (!r)
		r = worker_result(w, junk, sizeof(junk));
	return r;
}

static int tell_pid(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	pid_t pid = getpid();

	(void) input;
	(void) len;
	(void) why;
	return worker_result(w, &pid, sizeof(pid));
}

static int sum(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	struct worker_msg m = { .what = ASK_PID };
	struct src *s;
	uint8_t byte;
	uint64_t total = 0;
	int r = worker_ask(w, &m, NULL);

	(void) input;
	(void) len;
	s = r ? NULL : worker_src(w, m.a, m.b);
	for (uint64_t i = 0; s && i < s->size && !r; i++) {
		r = src_read_wait(s, i, &byte, 1);
		total += byte;
	}
	if (r) {
		struct src_stat st;

		src_stat(s, &st);
		error_set(why, r, "read: %s", st.last.text);
	}
	src_unref(s);
	return r ? r : worker_result(w, &total, sizeof(total));
}

static int refuse(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	return error_set(why, -EBADMSG, "no good\nat all");
}

static void wait_for_ever(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;

	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&never, &lock);
}

static int hang_up(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	(void) why;
	(void) close(WORKER_FD_TALK);
	wait_for_ever();
	return 0;
}

static int mumble(struct worker *w, const void *input, size_t len,
	struct error *why)
{
	(void) w;
	(void) input;
	(void) len;
	(void) why;
	(void) send(WORKER_FD_TALK, "m", 1, 0);
	wait_for_ever();
	return 0;
}

static const struct worker_kind kinds[] = {
	{ SETUP, set_up }, { ECHO, echo }, { SEGV, crash }, { SPIN, spin },
	{ HUNGRY, eat }, { KILLED, be_killed }, { SLEEP, be_silent },
	{ LIE, lie }, { LOUD, be_loud }, { PID, tell_pid }, { SUM, sum },
	{ REFUSE, refuse }, { HANG_UP, hang_up }, { MUMBLE, mumble },
	{ 0, NULL },
};

/* ---- the outside ---------------------------------------------------------------- */

/* What is idle may be asked for again long after: the machine may be slow. */
#define LONG_IDLE 600000

static struct workers *pool_of(unsigned wall_s, unsigned idle_ms)
{
	struct workers_conf c = { .program = "/proc/self/exe",
		.setup_kind = SETUP, .setup = "hello", .setup_len = 5,
		.cpu_s = 1, .wall_s = wall_s, .idle_ms = idle_ms };
	struct workers *w;

	t_int(workers_new(&c, &w), 0);
	return w;
}

static int run(struct workers *w, uint32_t kind, struct error *why)
{
	struct worker_job j = { .kind = kind, .what = "the test",
		.result = BUF_INIT(1 << 20) };
	int r;

	*why = (struct error){ 0 };
	r = workers_run(w, &j, why);
	buf_done(&j.result);
	return r;
}

static pid_t pid_of(struct workers *w, const char *whose)
{
	struct worker_job j = { .kind = PID, .what = "the test",
		.whose = whose, .result = BUF_INIT(64) };
	pid_t pid;

	t_int(workers_run(w, &j, NULL), 0);
	t_int(j.result.len, sizeof(pid));
	memcpy(&pid, j.result.data, sizeof(pid));
	buf_done(&j.result);
	return pid;
}

static void test_results(struct workers *w)
{
	size_t n = 3 * WORKER_WINDOW + 17;
	struct worker_job j = { .kind = ECHO, .what = "the test", .len = n,
		.whose = "a", .result = BUF_INIT(n) };
	uint8_t *data = malloc(n);
	struct error why;

	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	j.input = data;
	t_int(workers_run(w, &j, &why), 0);
	t_int(j.result.len, n);
	t_check(!memcmp(j.result.data, data, n));
	buf_done(&j.result);
	free(data);
	t_int(run(w, REFUSE, &why), -EBADMSG);
	t_str(why.text, "no good?at all");
	/* A ceiling that was agreed on is no crime, but an end. */
	t_int(run(w, LOUD, &why), -EFBIG);
}

/* What was one repository's is not another's. */
static void test_reuse(struct workers *w)
{
	pid_t a = pid_of(w, "a"), b = pid_of(w, "b");

	t_check(a != b);
	t_int(pid_of(w, "a"), a);
	t_int(pid_of(w, "b"), b);
	t_check(pid_of(w, NULL) != pid_of(w, NULL));
}

/* Seconds of computing by children that have ended. */
static long computed(void)
{
	struct rusage u;

	t_int(getrusage(RUSAGE_CHILDREN, &u), 0);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec;
}

/* By the worker's own clock: how long that is by ours is for the machine to
 * say. A sanitizer makes a worker slower, and is given more. */
static void test_limits(struct workers *w)
{
	struct error why;
	long before;

	t_int(run(w, SEGV, &why), -ENOTSUP);
	t_str(why.text, SANDBOX_LENIENT ?
		"the test crashed: signal 6 (Aborted)" :
		"the test crashed: signal 11 (Segmentation fault)");
	before = computed();
	t_int(run(w, SPIN, &why), -ENOTSUP);
	t_str(why.text, "the test needed more than 1 s of computing");
	t_check(computed() - before <= (SANDBOX_LENIENT ? 8 : 1) + 3);
	if (SANDBOX_LENIENT)
		return;
	t_int(run(w, HUNGRY, &why), -ENOTSUP);
	t_str(why.text, "the test needed more than 1024 MiB of memory");
}

static void test_rules(struct workers *w)
{
	struct error why;

	t_int(run(w, LIE, &why), -ENOTSUP);
	t_str(why.text,
		"the test was stopped: it asked for what nobody offers");
	t_int(run(w, ASK_LIE, &why), -EPROTO);
	t_int(run(w, MUMBLE, &why), -ENOTSUP);
	t_str(why.text,
		"the test was stopped: it asked for what nobody offers");
	t_int(run(w, HANG_UP, &why), -EIO);
	t_str(why.text, "the test was stopped: it hung up and went on");
}

/* ---- sources, and being killed ------------------------------------------------------ */

struct killing {
	unsigned kills, left;
};

static int kill_it(struct worker_job *j, struct worker_msg *m,
	const uint8_t *out)
{
	struct killing *k = j->arg;

	(void) out;
	t_int(m->what, ASK_PID);
	if (k->left) {
		k->left--;
		k->kills++;
		t_int(kill((pid_t)m->a, SIGKILL), 0);
	}
	return 0;
}

static void test_killed(struct workers *w)
{
	struct killing k = { .left = 1 };
	struct worker_job j = { .kind = KILLED, .what = "the test",
		.whose = "k", .serve = kill_it, .arg = &k };
	struct error why = { 0 };

	t_int(workers_run(w, &j, &why), 0);
	t_int(k.kills, 1);
	k.left = 2;
	t_int(workers_run(w, &j, &why), -EIO);
	t_int(k.kills, 3);
	t_str(why.text, "the test was killed: signal 9 (Killed)");
}

/* Killed while it had nothing to do: nobody is told. */
static void test_killed_idle(struct workers *w)
{
	struct workers_report before, after;
	pid_t pid = pid_of(w, "i");

	workers_report(w, false, &before);
	t_int(kill(pid, SIGKILL), 0);
	while (!kill(pid, 0)) {
		siginfo_t si = { 0 };

		if (!waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT))
			break;
	}
	t_check(pid_of(w, "i") != pid);
	workers_report(w, false, &after);
	t_int(after.lost, before.lost);
}

/* The first child of any thread, or 0. */
static pid_t first_child(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int pid = 0;

	while (d && !pid && (e = readdir(d))) {
		char path[300];
		FILE *f;

		(void) snprintf(path, sizeof(path),
			"/proc/self/task/%s/children", e->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f)
			(void) fclose(f);
	}
	(void) closedir(d);
	return pid;
}

static void *kill_first(void *arg)
{
	const unsigned *us = arg;
	pid_t pid;

	while (!(pid = first_child()))
		continue;
	usleep(*us);
	(void) kill(pid, SIGKILL);
	return NULL;
}

/* At any moment of its life, also when it is ready and who wants it has not yet
 * looked: then another one is started. */
static void test_killed_at_any_time(void)
{
	for (unsigned us = 0; us < 4000; us += SANDBOX_LENIENT ? 100 : 10) {
		struct workers *w = pool_of(60, LONG_IDLE);
		struct error why;
		pthread_t t;

		t_int(pthread_create(&t, NULL, kill_first, &us), 0);
		t_int(run(w, REFUSE, &why), -EBADMSG);
		t_int(pthread_join(t, NULL), 0);
		workers_free(w);
	}
}

static int bad_read(struct src *s, struct src_read *r)
{
	(void) s;
	(void) r;
	return -ETIMEDOUT;
}

static void bad_stat(struct src *s, struct src_stat *ret)
{
	(void) s;
	(void) error_set(&ret->last, -ETIMEDOUT, "the hub sleeps");
}

static void bad_free(struct src *s)
{
	free(s);
}

static int give_src(struct worker_job *j, struct worker_msg *m,
	const uint8_t *out)
{
	static const struct src_ops bad = { .name = "bad", .read = bad_read,
		.stat = bad_stat, .free = bad_free };
	struct src *s = calloc(1, sizeof(*s));
	uint8_t *data = malloc(100);

	(void) out;
	memset(data, 2, 100);
	if (j->arg) {
		free(data);
		src_init(s, &bad, 100);
	} else {
		free(s);
		s = src_from_memory(data, 100);
	}
	m->a = (uint64_t)worker_job_src(j, s);
	m->b = s->size;
	return 0;
}

static void test_sources(struct workers *w)
{
	struct worker_job j = { .kind = SUM, .what = "the test",
		.serve = give_src, .result = BUF_INIT(8) };
	struct error why = { 0 };
	uint64_t total;

	t_int(workers_run(w, &j, &why), 0);
	t_int(j.result.len, 8);
	memcpy(&total, j.result.data, 8);
	t_int(total, 200);
	buf_clear(&j.result);
	j.arg = &j;
	t_int(workers_run(w, &j, &why), -ETIMEDOUT);
	t_str(why.text, "read: the hub sleeps");
	buf_done(&j.result);
}

/* ---- many, and the end --------------------------------------------------------------- */

static void *run_many(void *arg)
{
	struct workers *w = arg;

	for (unsigned i = 0; i < 20; i++) {
		char whose[16];

		(void) snprintf(whose, sizeof(whose), "%u", i % 3);
		t_check(pid_of(w, whose) > 0);
	}
	return NULL;
}

static void test_many(struct workers *w)
{
	pthread_t t[4];

	for (unsigned i = 0; i < 4; i++)
		t_int(pthread_create(&t[i], NULL, run_many, w), 0);
	for (unsigned i = 0; i < 4; i++)
		t_int(pthread_join(t[i], NULL), 0);
}

/* Nobody is left, neither running nor unburied. */
static void test_idle(void)
{
	struct workers *w = pool_of(60, 300);

	(void) pid_of(w, "a");
	for (unsigned i = 0; i < 600; i++) {
		siginfo_t si = { 0 };

		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 &&
			errno == ECHILD) {
			workers_free(w);
			return;
		}
		usleep(20000);
	}
	t_check(!"idle workers stay");
}

static void test_silence(void)
{
	struct workers *w = pool_of(1, LONG_IDLE);
	struct error why;

	t_int(run(w, SLEEP, &why), -EIO);
	t_str(why.text, "the test said nothing for 1 s");
	workers_free(w);
}

/* Killed before it says a word: once is nobody's loss. The program is a script,
 * which is killed unless the mark is there, and leaves it if it can. */
static void test_killed_starting(bool always)
{
	char dir[] = "/tmp/omnihub-workers-XXXXXX", script[64], self[64];
	char mark[64], exe[4096] = { 0 };
	struct workers_conf c = { .program = script, .setup_kind = SETUP,
		.setup = "hello", .setup_len = 5, .cpu_s = 1, .wall_s = 60,
		.idle_ms = LONG_IDLE };
	struct workers_report rep;
	struct workers *w;
	struct error why;
	FILE *f;

	t_check(mkdtemp(dir) != NULL);
	t_check(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	(void) snprintf(script, sizeof(script), "%s/start", dir);
	(void) snprintf(self, sizeof(self), "%s/omnihub-worker", dir);
	(void) snprintf(mark, sizeof(mark), "%s/%s", dir,
		always ? "no/where" : "mark");
	t_int(symlink(exe, self), 0);
	f = fopen(script, "we");
	t_check(f != NULL);
	fprintf(f, "#!/bin/sh\n[ -e %s ] || { true 2>/dev/null >%s; "
		"kill -9 $$; }\nexec %s\n", mark, mark, self);
	t_int(fclose(f), 0);
	t_int(chmod(script, 0700), 0);
	t_int(workers_new(&c, &w), 0);
	t_int(run(w, ECHO, &why), always ? -EIO : 0);
	if (always)
		t_check(strstr(why.text, "was killed") != NULL);
	workers_report(w, false, &rep);
	t_int(rep.err.code, always ? -EIO : 0);
	workers_free(w);
	(void) unlink(mark);
	(void) unlink(script);
	(void) unlink(self);
	t_int(rmdir(dir), 0);
}

static void test_no_program(void)
{
	struct workers_conf c = { .program = "/nonexistent/worker" };
	struct workers_report rep;
	struct workers *w;
	struct error why;

	t_int(workers_new(&c, &w), 0);
	t_int(run(w, ECHO, &why), -ENOENT);
	t_check(strstr(why.text, "cannot be started"));
	workers_report(w, true, &rep);
	t_int(rep.err.code, -ENOENT);
	workers_free(w);
}

int main(int argc, char **argv)
{
	bool ready = false;
	struct workers *w;

	(void) argc;
	if (!strcmp(basename(argv[0]), "omnihub-worker"))
		return worker_main(kinds, &ready);
	test_killed_at_any_time();
	test_idle();
	w = pool_of(60, LONG_IDLE);
	test_results(w);
	test_reuse(w);
	test_limits(w);
	test_rules(w);
	test_killed(w);
	test_killed_idle(w);
	test_sources(w);
	test_many(w);
	test_silence();
	test_killed_starting(false);
	test_killed_starting(true);
	test_no_program();
	workers_free(w);
	t_int(wait(NULL), -1);
	return 0;
}
