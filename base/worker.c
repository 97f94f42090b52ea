/*
 * The sandbox is closed before the first word is said: nothing that comes
 * through the socket is looked at outside of it.
 */
#include "config.h"

#include "base/worker.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "base/worker-wire.h"

#define MEMORY (1ull << 30)	/* bytes; workers.c says so to people */
#define FILES 4
#define CPU_S 3600		/* the parent counts more closely */

struct worker {
	const struct worker_kind *kinds;
	void *own;
	const uint8_t *in;	/* WORKER_WINDOW bytes each */
	uint8_t *out;
};

struct far_src {
	struct src src;		/* must be first */
	struct worker *w;
	uint64_t number;
	struct error last;
};

/* ---- talking --------------------------------------------------------------- */

/* The parent is gone, or speaks another language: nothing is left to do. */
static void send_or_die(const struct worker_msg *m)
{
	if (send(WORKER_FD_TALK, m, sizeof(*m), MSG_NOSIGNAL) !=
		(ssize_t)sizeof(*m))
		_exit(0);
}

static void receive_or_die(struct worker_msg *m)
{
	ssize_t n;

	do
		n = recv(WORKER_FD_TALK, m, sizeof(*m), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*m))
		_exit(0);
	m->text[sizeof(m->text) - 1] = '\0';
}

int worker_ask(struct worker *w, struct worker_msg *m, const void *data)
{
	if (data) {
		if (m->a > WORKER_WINDOW)
			return -EINVAL;
		memcpy(w->out, data, m->a);
	}
	send_or_die(m);
	receive_or_die(m);
	return m->what == WORKER_ANSWER ? m->err : -EPROTO;
}

int worker_result(struct worker *w, const void *data, size_t len)
{
	const uint8_t *p = data;
	int r = 0;

	while (len && !r) {
		size_t n = len < WORKER_WINDOW ? len : WORKER_WINDOW;
		struct worker_msg m = { .what = WORKER_RESULT, .a = n };

		r = worker_ask(w, &m, p);
		p += n;
		len -= n;
	}
	return r;
}

void *worker_own(struct worker *w)
{
	return w->own;
}

/* ---- what the parent has ----------------------------------------------------- */

static int far_read(struct src *base, struct src_read *r)
{
	struct far_src *s = (struct far_src *)base;
	uint8_t *to = r->buf;
	int err = 0;

	for (size_t at = 0; at < r->len && !err;) {
		size_t left = r->len - at;
		size_t n = left < WORKER_WINDOW ? left : WORKER_WINDOW;
		struct worker_msg m = { .what = WORKER_READ, .a = s->number,
			.b = r->off + at, .c = n };

		err = worker_ask(s->w, &m, NULL);
		if (err)
			(void) error_set(&s->last, err, "%s", m.text);
		else
			memcpy(to + at, s->w->in, n);
		at += n;
	}
	return err;
}

static void far_hint(struct src *base, uint64_t off, uint64_t len)
{
	struct far_src *s = (struct far_src *)base;
	struct worker_msg m = { .what = WORKER_HINT, .a = s->number, .b = off,
		.c = len };

	(void) worker_ask(s->w, &m, NULL);
}

static void far_stat(struct src *base, struct src_stat *ret)
{
	const struct far_src *s = (const struct far_src *)base;

	if (*s->last.text)
		ret->last = s->last;
}

static void far_free(struct src *base)
{
	free(base);
}

struct src *worker_src(struct worker *w, uint64_t number, uint64_t size)
{
	static const struct src_ops ops = { .name = "parent's",
		.read = far_read, .hint = far_hint, .stat = far_stat,
		.free = far_free };
	struct far_src *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	src_init(&s->src, &ops, size);
	s->w = w;
	s->number = number;
	return &s->src;
}

/* ---- jobs ------------------------------------------------------------------- */

static int input_of(struct worker *w, uint64_t len, uint8_t **ret)
{
	struct src *s = worker_src(w, 0, len);
	uint8_t *p = s ? malloc(len + 1) : NULL;
	int r = p ? src_read_wait(s, 0, p, len) : -ENOMEM;

	src_unref(s);
	if (r) {
		free(p);
		return r;
	}
	p[len] = '\0';
	*ret = p;
	return 0;
}

static void run(struct worker *w, const struct worker_msg *job)
{
	struct worker_msg done = { .what = WORKER_DONE };
	const struct worker_kind *k = w->kinds;
	struct error why = { 0 };
	uint8_t *input = NULL;

	while (k->run && k->kind != job->a)
		k++;
	done.err = k->run ? input_of(w, job->b, &input) : -EPROTO;
	if (!done.err)
		done.err = k->run(w, input, job->b, &why);
	free(input);
	memcpy(done.text, why.text, sizeof(done.text));
	send_or_die(&done);
}

/* The kernel's killer of memory takes us first, not the mount. */
static void volunteer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "1000", 4) != 4)
		(void) errno;
	(void) close(fd);
}

static int hello(void)
{
	const struct sandbox_limits limits = { .memory = MEMORY,
		.cpu_s = CPU_S, .files = FILES };
	struct sandbox_walls walls = { false, 0 };
	struct worker_msg m = { .what = WORKER_HELLO, .a = WORKER_WIRE };

	m.err = sandbox_worker(&limits, &walls);
	m.b = walls.seccomp;
	m.c = walls.landlock;
	strcpy(m.text, PACKAGE_VERSION);
	send_or_die(&m);
	return m.err;
}

int worker_main(const struct worker_kind *kinds, void *own)
{
	struct worker w = { .kinds = kinds, .own = own };
	struct worker_msg m;
	uint8_t *map;

	if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL))
		return 1;
	map = mmap(NULL, 2 * WORKER_WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED,
		WORKER_FD_WINDOW, 0);
	if (map == MAP_FAILED)
		return 1;
	(void) close(WORKER_FD_WINDOW);
	w.in = map;
	w.out = map + WORKER_WINDOW;
	/* jansson would open a file for it later. */
	json_object_seed(0);
	volunteer();
	if (hello())
		return 1;
	for (;;) {
		receive_or_die(&m);
		if (m.what != WORKER_JOB)
			return 1;
		run(&w, &m);
	}
}
