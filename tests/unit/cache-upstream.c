#include "config.h"

#include "tests/unit/cache-upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/unit/t.h"

struct up_job {
	struct up_job *next;
	struct src_pull *p;
};

static void stream(struct upstream *u, struct src_pull *p)
{
	uint8_t *copy = malloc(u->piece);
	bool wrong = u->wrong_at >= p->off && u->wrong_at < p->off + p->len &&
		u->wrong_len && atomic_fetch_sub(&u->wrong_times, 1) > 0;
	uint64_t at = p->off, end = p->off + p->len;
	int err = 0;

	t_check(copy);
	atomic_fetch_add(&u->pulls, 1);
	while (!err && at < end) {
		size_t n = end - at < u->piece ? (size_t)(end - at) : u->piece;

		while (atomic_load(&u->stalled) || (atomic_load(&u->gate) &&
		       at + n > atomic_load(&u->gate)))
			usleep(1000);
		if (u->delay_us)
			usleep(u->delay_us);
		if (atomic_load(&u->cut) || (u->fail_err &&
		    at + n > u->fail_at && at <= u->fail_at &&
		    atomic_fetch_sub(&u->fail_times, 1) > 0)) {
			err = u->fail_err;
			break;
		}
		memcpy(copy, u->bytes + at, n);
		for (size_t i = 0; i < n && wrong; i++) {
			if (at + i >= u->wrong_at &&
			    at + i < u->wrong_at + u->wrong_len)
				copy[i] ^= 0x55;
		}
		p->version = u->version;
		atomic_fetch_add(&u->sent, n);
		err = p->data(p, copy, n);
		at += n;
	}
	free(copy);
	p->done(p, err, NULL);
}

static void *work(void *arg)
{
	struct upstream *u = arg;
	struct up_job *j;

	pthread_mutex_lock(&u->lock);
	for (;;) {
		j = u->head;
		if (!j && u->stop)
			break;
		if (!j) {
			pthread_cond_wait(&u->more, &u->lock);
			continue;
		}
		u->head = j->next;
		if (!u->head)
			u->tail = &u->head;
		pthread_mutex_unlock(&u->lock);
		stream(u, j->p);
		free(j);
		pthread_mutex_lock(&u->lock);
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

static int up_read(struct src *s, struct src_read *r)
{
	(void) s;
	(void) r;
	return -ENOTSUP;
}

static void up_pull(struct src *s, struct src_pull *p)
{
	struct upstream *u = (struct upstream *)s;
	struct up_job *j = calloc(1, sizeof(*j));

	t_check(j);
	j->p = p;
	pthread_mutex_lock(&u->lock);
	*u->tail = j;
	u->tail = &j->next;
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
}

/* The test owns the memory: the threads look at it until upstream_free(). */
static void up_free(struct src *s)
{
	(void) s;
}

static const struct src_ops up_ops = {
	.name = "test",
	.read = up_read,
	.pull = up_pull,
	.free = up_free,
};

struct upstream *upstream_new(const uint8_t *bytes, uint64_t size,
	unsigned threads)
{
	struct upstream *u = calloc(1, sizeof(*u));

	t_check(u && threads <= 8);
	src_init(&u->s, &up_ops, size);
	u->bytes = bytes;
	u->piece = 10000;
	u->tail = &u->head;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->more, NULL);
	for (; u->n_threads < threads; u->n_threads++)
		t_check(!pthread_create(&u->threads[u->n_threads], NULL, work,
			u));
	return u;
}

void upstream_free(struct upstream *u)
{
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_broadcast(&u->more);
	pthread_mutex_unlock(&u->lock);
	for (unsigned i = 0; i < u->n_threads; i++)
		pthread_join(u->threads[i], NULL);
	t_int(atomic_load(&u->s.refs), 1);
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->more);
	free(u);
}

uint8_t *upstream_bytes(uint64_t size, unsigned seed)
{
	uint8_t *p = malloc(size + 1);
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	t_check(p);
	for (uint64_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 32);
	}
	return p;
}

char *upstream_dir(const char *name)
{
	char *dir;

	t_check(asprintf(&dir, "cache-test-%s.tmp", name) > 0);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
	t_int(io_mkdirs(AT_FDCWD, dir), 0);
	return dir;
}

struct cache *t_open_cache(const char *dir, uint64_t budget)
{
	const struct cache_conf conf = {
		.dir = dir,
		.budget = budget,
		.chunk = 64 * 1024,
		.connections = 4,
	};
	struct error why = { 0 };
	struct cache *c;
	int r = cache_open(&conf, &c, &why);

	if (r)
		fprintf(stderr, "cache_open: %s\n", why.text);
	t_int(r, 0);
	return c;
}

struct cache_name t_name_of(const char *path, const uint8_t *bytes,
	uint64_t size, enum objid_alg alg)
{
	struct cache_name n = {
		.hub = "huggingface",
		.repo = "org/name",
		.revision = "0123456789abcdef",
		.path = path,
		.size = size,
	};

	if (alg != OBJID_NONE) {
		struct digest *d = digest_new(alg, size);

		digest_update(d, bytes, size);
		digest_final(d, &n.id);
		digest_free(d);
	}
	return n;
}

struct src *t_open_src(struct cache *c, const struct cache_name *n,
	struct upstream *u)
{
	struct error why = { 0 };
	struct src *s;
	int r = cache_src_open(c, n, u ? &u->s : NULL, &s, &why);

	if (r)
		fprintf(stderr, "cache_src_open: %s\n", why.text);
	t_int(r, 0);
	return s;
}

void t_expect(struct src *s, const uint8_t *bytes, uint64_t off,
	size_t len)
{
	uint8_t *got = malloc(len);

	t_check(got);
	t_int(src_read_wait(s, off, got, len), 0);
	t_check(!memcmp(got, bytes + off, len));
	free(got);
}

void t_wait_state(struct src *s, enum src_state want)
{
	struct src_stat st;

	for (int i = 0; i < 30000; i++) {
		src_stat(s, &st);
		if (st.state == want)
			return;
		usleep(1000);
	}
	t_int(st.state, want);
}

int t_wait_fd(struct src *s)
{
	int fd = -1;

	for (int i = 0; i < 30000 && fd < 0; i++) {
		fd = src_fd(s);
		if (fd < 0)
			usleep(1000);
	}
	t_check(fd >= 0);
	return fd;
}

static void asked_done(struct src_read *r, int err)
{
	atomic_store(&((struct t_asked *)r)->over, 1 - err);
}

struct t_asked *t_ask(struct src *s, uint64_t off, size_t len)
{
	struct t_asked *a = calloc(1, sizeof(*a));

	t_check(a && len <= sizeof(a->buf));
	a->r = (struct src_read){ .off = off, .len = len, .buf = a->buf,
		.done = asked_done };
	t_int(src_read(s, &a->r), -EINPROGRESS);
	return a;
}

int t_over(struct t_asked *a)
{
	for (int i = 0; i < 30000 && !atomic_load(&a->over); i++)
		usleep(1000);
	return atomic_load(&a->over);
}

char *t_join(const char *dir, const char *rest)
{
	char *s;

	t_check(asprintf(&s, "%s/%s", dir, rest) > 0);
	return s;
}

char *t_object_path(const char *dir, const struct cache_name *n)
{
	char hex[OBJID_HEX_MAX], *s;

	objid_hex(&n->id, hex);
	t_check(asprintf(&s, "%s/objects/sha256/%.2s/%s", dir, hex,
		hex + 2) > 0);
	return s;
}

void t_spoil(const char *path, uint64_t at)
{
	uint8_t byte;
	int fd;

	t_int(chmod(path, 0644), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	t_check(fd >= 0);
	t_int(io_pread(fd, &byte, 1, at), 0);
	byte ^= 1;
	t_int(io_pwrite(fd, &byte, 1, at), 0);
	(void) close(fd);
}
