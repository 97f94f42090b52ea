/*
 * One worker: started, talked to, and judged when it ends. Only the time in
 * which it is the worker's turn counts against it; while the parent waits for
 * bytes from a hub nobody is late.
 */
#include "config.h"

#include "base/workers-own.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/proc.h"
#include "base/sandbox.h"
#include "base/worker-wire.h"

#define HELLO_S 20
#define END_S 5		/* for who has hung up to be gone */
#define MEMORY_MIB 1024		/* worker.c's */
#define BULK_PER_MS 4096	/* bytes moved that give one more millisecond */
#define SLOWER (SANDBOX_LENIENT ? 8 : 1)

/* ---- windows and descriptors --------------------------------------------------- */

static int window(int *ret_fd, uint8_t **ret)
{
	cleanup_fd int fd = memfd_create("omnihub-worker", MFD_CLOEXEC |
		MFD_ALLOW_SEALING);
	uint8_t *map;

	if (fd < 0 || ftruncate(fd, 2 * WORKER_WINDOW) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW |
			F_SEAL_SEAL))
		return -errno;
	map = mmap(NULL, 2 * WORKER_WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED,
		fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret = map;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int launch(struct worker_proc *p, const char *program)
{
	const char *const argv[] = { "omnihub-worker", NULL };
	cleanup_fd int shared = -1;
	cleanup_fd int other = -1;
	cleanup_fd int null = open(SANDBOX_LENIENT ? "/dev/stderr" :
		"/dev/null", O_WRONLY | O_CLOEXEC);
	int pair[2], fds[WORKER_FDS], r = window(&shared, &p->in);
	struct proc_spec spec = { .program = program, .argv = argv,
		.fds = fds, .n_fds = WORKER_FDS };

	if (r)
		return r;
	p->out = p->in + WORKER_WINDOW;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	p->fd = pair[0];
	other = pair[1];
	if (null < 0)
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0)
		return -errno;
	fds[WORKER_FD_TALK] = other;
	fds[WORKER_FD_WINDOW] = shared;
	fds[WORKER_FDS - 1] = null;
	return proc_start(&spec, &p->pid);
}

void worker_proc_free(struct worker_proc *p)
{
	if (p->in)
		(void) munmap(p->in, 2 * WORKER_WINDOW);
	if (p->fd >= 0)
		(void) close(p->fd);
	free(p->whose);
	free(p);
}

void worker_proc_end(struct worker_proc *p)
{
	/* One that listens would end by itself; of one that was taken over
	 * nobody knows. */
	if (p->pid > 0)
		(void) proc_kill(p->pid);
	worker_proc_free(p);
}

/* ---- messages ------------------------------------------------------------------ */

enum heard { HEARD, HEARD_END, HEARD_LATE, HEARD_BUSY };

/* The next message. The worker has until `cpu` of its own clock and wall_s of
 * ours. */
static enum heard hear(const struct worker_proc *p, uint64_t cpu,
	unsigned wall_s, struct worker_msg *m)
{
	struct pollfd poll_fd = { .fd = p->fd, .events = POLLIN };
	uint64_t since = clock_ms();
	ssize_t n;
	int r;

	for (;;) {
		r = poll(&poll_fd, 1, 250);
		if (r > 0)
			break;
		if (r < 0 && errno != EINTR)
			return HEARD_END;
		if (proc_cpu_ms(p->pid) > cpu)
			return HEARD_BUSY;
		if (clock_ms() - since > wall_s * UINT64_C(1000))
			return HEARD_LATE;
	}
	n = recv(p->fd, m, sizeof(*m), MSG_DONTWAIT);
	if (n <= 0)
		return HEARD_END;
	if (n != (ssize_t)sizeof(*m))
		m->what = 0;	/* which nobody offers */
	m->text[sizeof(m->text) - 1] = '\0';
	return HEARD;
}

static bool tell(const struct worker_proc *p, const struct worker_msg *m)
{
	return send(p->fd, m, sizeof(*m), MSG_NOSIGNAL | MSG_DONTWAIT) ==
		(ssize_t)sizeof(*m);
}

/* ---- answering ------------------------------------------------------------------- */

static void answer_failed(struct worker_msg *m, struct src *s, int err)
{
	struct src_stat st;

	m->err = err;
	src_stat(s, &st);
	if (st.last.code == err)
		memcpy(m->text, st.last.text, sizeof(m->text));
}

static int serve_read(struct worker_proc *p, struct worker_job *j,
	struct worker_msg *m)
{
	struct src *s;
	int r;

	if (m->c > WORKER_WINDOW)
		return -EPROTO;
	if (!m->a) {
		if (!size_inside(m->b, m->c, j->len))
			return -EPROTO;
		if (m->c)	/* there need not be any */
			memcpy(p->in, (const uint8_t *)j->input + m->b, m->c);
		return 0;
	}
	if (m->a > j->n_srcs)
		return -EPROTO;
	s = j->srcs[m->a - 1];
	if (!size_inside(m->b, m->c, s->size))
		return -EPROTO;
	r = src_read_wait(s, m->b, p->in, m->c);
	if (r)
		answer_failed(m, s, r);
	j->moved += m->c;
	return 0;
}

static int serve_hint(struct worker_job *j, const struct worker_msg *m)
{
	if (!m->a || m->a > j->n_srcs)
		return -EPROTO;
	src_hint(j->srcs[m->a - 1], m->b, m->c);
	return 0;
}

static int serve_result(const struct worker_proc *p, struct worker_job *j,
	struct worker_msg *m)
{
	if (m->a > WORKER_WINDOW)
		return -EPROTO;
	m->err = buf_append(&j->result, p->out, m->a);
	return 0;
}

/* Not 0: it has to end. */
static int serve(struct worker_proc *p, struct worker_job *j,
	struct worker_msg *m)
{
	uint32_t what = m->what;
	int r = -EPROTO;

	m->err = 0;
	m->text[0] = '\0';
	if (what == WORKER_READ)
		r = serve_read(p, j, m);
	else if (what == WORKER_HINT)
		r = serve_hint(j, m);
	else if (what == WORKER_RESULT)
		r = serve_result(p, j, m);
	else if (what >= WORKER_OWN && j->serve)
		r = j->serve(j, m, p->out);
	m->what = WORKER_ANSWER;
	j->no_memory |= m->err == -ENOMEM;
	return r;
}

/* ---- the end of a worker ----------------------------------------------------------- */

/* It has hung up. Another program than ours, or one that was taken over, may do
 * that and go on. */
static bool is_gone(struct worker_proc *p, unsigned s, struct proc_end *ret)
{
	if (!proc_gone_within(p->pid, s * UINT64_C(1000), ret))
		return false;
	p->pid = -1;
	return true;
}

static int judge_end(struct worker_proc *p, const struct workers_conf *c,
	const struct worker_job *j, struct error *why)
{
	struct proc_end end;

	if (!is_gone(p, END_S, &end)) {
		(void) proc_kill(p->pid);
		p->pid = -1;
		return error_set(why, -EIO, "%s was stopped: it hung up "
			"and went on", j->what);
	}
	p->killed = end.sig == SIGKILL || end.sig == SIGTERM;
	if (p->killed)
		return error_set(why, -EIO, "%s was killed: signal %d (%s)",
			j->what, end.sig, strsignal(end.sig));
	if (end.sig == SIGXCPU)
		return error_set(why, -ENOTSUP, "%s needed more than %u s of "
			"computing", j->what, c->cpu_s);
	if (end.sig == SIGSYS)
		return error_set(why, -ENOTSUP, "%s was stopped: it wanted "
			"what it may not (signal %d)", j->what, end.sig);
	if (end.sig)
		return error_set(why, -ENOTSUP, "%s crashed: signal %d (%s)",
			j->what, end.sig, strsignal(end.sig));
	return error_set(why, -ENOTSUP, "%s ended with status %d", j->what,
		end.status);
}

/* We end it. */
static int judge(struct worker_proc *p, const struct workers_conf *c,
	const struct worker_job *j, enum heard heard, struct error *why)
{
	if (heard == HEARD_END)
		return judge_end(p, c, j, why);
	(void) proc_kill(p->pid);
	p->pid = -1;
	if (heard == HEARD_BUSY)
		return error_set(why, -ENOTSUP, "%s needed more than %u s of "
			"computing", j->what, c->cpu_s);
	if (heard == HEARD_LATE)
		return error_set(why, -EIO, "%s said nothing for %u s",
			j->what, c->wall_s);
	return error_set(why, -ENOTSUP, "%s was stopped: it asked for what "
		"nobody offers", j->what);
}

static int done(const struct worker_msg *m, const struct worker_job *j,
	struct error *why)
{
	int err = m->err > 0 || m->err < -4095 ? -EPROTO : m->err;

	if (err == -ENOMEM && !j->no_memory)
		return error_set(why, -ENOTSUP, "%s needed more than %u MiB of "
			"memory", j->what, MEMORY_MIB);
	if (err && *m->text)
		return error_set(why, err, "%s", m->text);
	return err;
}

/* The kernel ends it too, should we be gone or stopped. */
static void limit_cpu(const struct worker_proc *p, uint64_t until)
{
	struct rlimit l;

	if (prlimit(p->pid, RLIMIT_CPU, NULL, &l))
		return;
	l.rlim_cur = until / 1000 + 2;
	if (l.rlim_cur < l.rlim_max)
		(void) prlimit(p->pid, RLIMIT_CPU, &l, NULL);
}

int worker_proc_run(struct worker_proc *p, const struct workers_conf *c,
	struct worker_job *j, bool *ret_lost, struct error *why)
{
	struct worker_msg m = { .what = WORKER_JOB, .a = j->kind,
		.b = j->len };
	uint64_t start = proc_cpu_ms(p->pid), until, told = 0;
	enum heard heard;

	*ret_lost = false;
	if (!tell(p, &m)) {
		*ret_lost = true;
		return judge_end(p, c, j, why);
	}
	for (;;) {
		until = start + c->cpu_s * UINT64_C(1000) * SLOWER +
			(j->bulk ? j->moved / BULK_PER_MS : 0);
		if (until / 1000 > told) {
			told = until / 1000;
			limit_cpu(p, until);
		}
		heard = hear(p, until, c->wall_s * SLOWER, &m);
		if (heard == HEARD && m.what == WORKER_DONE)
			return done(&m, j, why);
		if (heard == HEARD && !serve(p, j, &m)) {
			if (tell(p, &m))
				continue;
			heard = HEARD_END;
		}
		*ret_lost = true;
		return judge(p, c, j, heard, why);
	}
}

/* ---- the start ----------------------------------------------------------------------- */

static int greet(struct worker_proc *p, const struct workers_conf *c,
	struct workers_report *report, struct error *why)
{
	struct worker_msg m = { .what = 0 };
	enum heard heard = hear(p, UINT64_MAX, HELLO_S * SLOWER, &m);
	struct proc_end end;

	p->killed = heard == HEARD_END && is_gone(p, 1, &end) &&
		(end.sig == SIGKILL || end.sig == SIGTERM);
	if (p->killed)
		return error_set(why, -EIO, "%s was killed", c->program);
	if (heard != HEARD || m.what != WORKER_HELLO)
		return error_set(why, -EIO, "%s does not answer", c->program);
	if (m.a != WORKER_WIRE || strcmp(m.text, PACKAGE_VERSION) != 0)
		return error_set(why, -EIO, "%s is of another version (%s)",
			c->program, m.text);
	if (m.err)
		return error_set(why, -EIO, "%s cannot limit itself: %s",
			c->program, strerror(-m.err));
	report->seccomp = m.b == 1;
	report->landlock = m.c < 1000 ? (unsigned)m.c : 0;
	if (c->strict && (!report->seccomp || !report->landlock))
		return error_set(why, -EACCES, "this kernel has no %s, and "
			"the sandbox is required", report->seccomp ?
			"Landlock" : "seccomp");
	return 0;
}

static int set_up(struct worker_proc *p, const struct workers_conf *c,
	struct error *why)
{
	struct worker_job j = { .kind = c->setup_kind, .what = "a worker",
		.input = c->setup, .len = c->setup_len,
		.result = BUF_INIT(0) };
	bool lost;
	int r;

	if (!c->setup)
		return 0;
	r = worker_proc_run(p, c, &j, &lost, why);
	return r == -ENOTSUP ? -EIO : r;
}

static int try_start(const struct workers_conf *c, struct worker_proc **ret,
	struct workers_report *report, bool *ret_killed, struct error *why)
{
	struct worker_proc *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return error_set(why, -ENOMEM, "out of memory");
	p->fd = -1;
	r = launch(p, c->program);
	if (r)
		error_set(why, r, "%s cannot be started: %s", c->program,
			strerror(-r));
	if (!r)
		r = greet(p, c, report, why);
	if (!r)
		r = set_up(p, c, why);
	if (r) {
		if (why && !why->code)
			error_set(why, r, "%s: %s", c->program, strerror(-r));
		*ret_killed = p->killed;
		worker_proc_end(p);
		return r;
	}
	*ret = p;
	return 0;
}

int worker_proc_start(const struct workers_conf *c, struct worker_proc **ret,
	struct workers_report *report, struct error *why)
{
	bool killed = false;
	int r = try_start(c, ret, report, &killed, why);

	/* From outside: once more, as for one that has a job. */
	if (r && killed) {
		if (why)
			why->code = 0;
		r = try_start(c, ret, report, &killed, why);
	}
	return r;
}
