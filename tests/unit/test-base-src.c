/* The seam: local sources, defaults, waiting, counting. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/src.h"
#include "tests/unit/t.h"

static void read_and_peek(struct src *s, const char *want)
{
	size_t n = strlen(want);
	char got[64] = "";
	struct iovec iov;
	struct src_stat st;

	t_int(s->size, n);
	t_int(src_read_wait(s, 0, got, n), 0);
	t_str(got, want);
	t_int(src_read_wait(s, n, got, 0), 0);
	t_int(src_read_wait(s, n, got, 1), -EINVAL);
	t_int(src_read_wait(s, 1, got, n), -EINVAL);
	t_int(src_read_wait(s, UINT64_MAX, got, 2), -EINVAL);
	t_int(src_peek(s, 1, n - 1, &iov, 1), 1);
	t_int(iov.iov_len, n - 1);
	t_check(!memcmp(iov.iov_base, want + 1, n - 1));
	t_int(src_peek(s, 1, n, &iov, 1), -EINVAL);
	t_int(src_peek(s, 0, n, &iov, 0), -EAGAIN);
	t_int(src_peek(s, 0, 0, &iov, 1), 0);
	src_stat(s, &st);
	t_int(st.state, SRC_CACHED);
	t_int(st.cached_bytes, n);
	t_int(st.id.alg, OBJID_NONE);
	src_hint(s, 0, n);
	src_hint(s, 1, n);
	t_int(src_epoch(s), 0);
}

static void memory(void)
{
	struct src *s = src_from_memory(strdup("hello"), 5);

	t_check(s);
	read_and_peek(s, "hello");
	t_int(src_fd(s), -EAGAIN);
	t_check(src_ref(s) == s);
	t_check(!src_unref(s));
	read_and_peek(s, "hello");
	t_check(!src_unref(s));
	t_check(!src_unref(NULL));
	s = src_from_memory(NULL, 0);
	t_check(s);
	t_int(src_read_wait(s, 0, NULL, 0), 0);
	(void) src_unref(s);
}

static void file(void)
{
	char path[] = "/tmp/test-base-src-XXXXXX";
	int fd = mkstemp(path);
	struct src *s = NULL;
	char c;

	t_check(fd >= 0);
	t_int(unlink(path), 0);
	t_int(src_from_fd(fd, 1, &s), -EINVAL);
	t_check(!s);
	t_int(write(fd, "hello, world", 12), 12);
	t_int(src_from_fd(fd, 13, &s), -EINVAL);
	/* A part of the file is no descriptor to pass through. */
	t_int(src_from_fd(dup(fd), 5, &s), 0);
	read_and_peek(s, "hello");
	t_int(src_fd(s), -EAGAIN);
	s = src_unref(s);
	t_int(src_from_fd(dup(fd), 0, &s), 0);
	t_int(src_read_wait(s, 0, &c, 0), 0);
	s = src_unref(s);
	t_int(src_from_fd(fd, 12, &s), 0);
	read_and_peek(s, "hello, world");
	t_int(src_fd(s), fd);
	/* It shrinks behind our back: an error, not a signal. */
	t_int(ftruncate(fd, 0), 0);
	t_int(src_read_wait(s, 0, &c, 1), -ENODATA);
	s = src_unref(s);
	t_int(close(fd), -1);
}

/* A source that answers late, from another thread; the least it may have. */
struct late {
	struct src src;		/* must be first */
	pthread_t thread;
	struct src_read *read;
	int err;
	int freed;
};

static void *answer(void *arg)
{
	struct late *l = arg;

	usleep(1000);
	if (!l->err)
		memset(l->read->buf, 'z', l->read->len);
	l->read->done(l->read, l->err);
	return NULL;
}

static int late_read(struct src *s, struct src_read *r)
{
	struct late *l = (struct late *)s;

	l->read = r;
	t_int(pthread_create(&l->thread, NULL, answer, l), 0);
	return -EINPROGRESS;
}

static void late_free(struct src *s)
{
	((struct late *)s)->freed++;
}

static const struct src_ops late_ops = {
	.name = "late", .read = late_read, .free = late_free,
};

static int pull_err;

static void pull_done(struct src_pull *p, int err, const struct error *why)
{
	(void) p;
	t_check(strstr(why->text, "late"));
	pull_err = err;
}

static void defaults_and_waiting(void)
{
	struct late l = { .err = 0 };
	struct src_pull pull = { .len = 1, .done = pull_done };
	struct src_stat st;
	struct iovec iov;
	char got[4] = "";

	src_init(&l.src, &late_ops, 10);
	t_int(src_read_wait(&l.src, 7, got, 3), 0);
	t_str(got, "zzz");
	t_int(pthread_join(l.thread, NULL), 0);
	l.err = -EIO;
	t_int(src_read_wait(&l.src, 0, got, 3), -EIO);
	t_int(pthread_join(l.thread, NULL), 0);
	t_int(src_peek(&l.src, 0, 1, &iov, 1), -EAGAIN);
	t_int(src_fd(&l.src), -EAGAIN);
	t_int(src_epoch(&l.src), 0);
	src_hint(&l.src, 0, 10);
	src_stat(&l.src, &st);
	t_int(st.state, SRC_REMOTE);
	t_int(st.cached_bytes, 0);
	src_pull(&l.src, &pull);
	t_int(pull_err, -ENOTSUP);
	(void) src_unref(src_ref(&l.src));
	t_int(l.freed, 0);
	(void) src_unref(&l.src);
	t_int(l.freed, 1);
}

static void *use(void *arg)
{
	for (int i = 0; i < 10000; i++)
		(void) src_unref(src_ref(arg));
	return NULL;
}

static void counted(void)
{
	struct late l = { .err = 0 };
	pthread_t t[4];

	src_init(&l.src, &late_ops, 1);
	for (int i = 0; i < 4; i++)
		t_int(pthread_create(&t[i], NULL, use, &l.src), 0);
	for (int i = 0; i < 4; i++)
		t_int(pthread_join(t[i], NULL), 0);
	t_int(l.freed, 0);
	(void) src_unref(&l.src);
	t_int(l.freed, 1);
}

int main(void)
{
	memory();
	file();
	defaults_and_waiting();
	counted();
	return 0;
}
