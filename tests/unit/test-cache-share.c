/* Many readers, several processes, and processes that die. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/map.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define READERS 64

struct reader {
	struct src *s;
	const uint8_t *bytes;
	unsigned i;
};

static void *read_everything(void *arg)
{
	struct reader *r = arg;
	uint64_t size = r->s->size, off = size / READERS * r->i;

	for (uint64_t done = 0; done < size;) {
		size_t n = size - off < 50000 ? (size_t)(size - off) : 50000;

		t_expect(r->s, r->bytes, off, n);
		done += n;
		off = (off + n) % size;
	}
	return NULL;
}

static void test_readers(void)
{
	char *dir = upstream_dir("readers");
	uint64_t size = 8 * MIB + 77;
	uint8_t *bytes = upstream_bytes(size, 10);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 4);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct reader r[READERS];
	pthread_t t[READERS];
	struct cache_stats st;

	for (unsigned i = 0; i < READERS; i++) {
		r[i] = (struct reader){ t_open_src(c, &n, u), bytes, i };
		t_check(!pthread_create(&t[i], NULL, read_everything, &r[i]));
	}
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(t[i], NULL);
		src_unref(r[i].s);
	}
	t_int(atomic_load(&u->sent), size);
	cache_stats(c, &st);
	t_int(st.pulled_bytes, size);
	t_int(st.verified, 1);
	t_int(st.mismatches, 0);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* While one upstream stalls, what is here answers at once. */
static void test_stall(void)
{
	char *dir = upstream_dir("stall");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 12), b[100];
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct src *s = t_open_src(c, &n, u);
	struct reader r = { s, bytes, 0 };
	struct src_read here = { .off = 0, .len = 100, .buf = b };
	struct src_stat st;
	pthread_t t;

	t_expect(s, bytes, 0, 65536);
	atomic_store(&u->stalled, true);
	t_check(!pthread_create(&t, NULL, read_everything, &r));
	while (!atomic_load(&u->pulls))
		usleep(1000);
	usleep(20000);
	t_int(src_read(s, &here), 0);
	src_stat(s, &st);
	t_int(st.state, SRC_PARTIAL);
	atomic_store(&u->stalled, false);
	pthread_join(t, NULL);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* In a child: read everything slowly; exit status 0, `sent` through a pipe. */
static void child_reads(const char *dir, const uint8_t *bytes, uint64_t size,
	enum objid_alg alg, int out, unsigned from)
{
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 2);
	struct cache_name n = t_name_of("x", bytes, size, alg);
	struct reader r = { t_open_src(c, &n, u), bytes, from };
	uint64_t sent;

	u->piece = 30000;
	u->delay_us = 2000;
	(void) read_everything(&r);
	t_wait_state(r.s, alg == OBJID_NONE ? SRC_CACHED : SRC_VERIFIED);
	src_unref(r.s);
	cache_close(c);
	sent = atomic_load(&u->sent);
	t_int(write(out, &sent, sizeof(sent)), sizeof(sent));
	upstream_free(u);
	exit(0);
}

static void reap(pid_t pid)
{
	int status;

	t_int(waitpid(pid, &status, 0), pid);
	t_int(status, 0);
}

static void test_processes(enum objid_alg alg)
{
	char *dir = upstream_dir("processes");
	uint64_t size = 6 * MIB + 5, sent, sum = 0;
	uint8_t *bytes = upstream_bytes(size, 13);
	pid_t pid[3];
	int fd[2];

	t_int(pipe(fd), 0);
	for (unsigned i = 0; i < 3; i++) {
		pid[i] = fork();
		t_check(pid[i] >= 0);
		if (!pid[i])
			child_reads(dir, bytes, size, alg, fd[1], 20 * i);
	}
	for (unsigned i = 0; i < 3; i++)
		reap(pid[i]);
	for (unsigned i = 0; i < 3; i++) {
		t_int(read(fd[0], &sent, sizeof(sent)), sizeof(sent));
		sum += sent;
	}
	t_int(sum, size);
	(void) close(fd[0]);
	(void) close(fd[1]);
	free(bytes);
	free(dir);
}

/* Find the one file partial/KEY/`name`. */
static int open_partial(const char *dir, const char *name)
{
	char path[256];
	struct dirent *e;
	int fd = -1;
	DIR *d;

	(void) snprintf(path, sizeof(path), "%.100s/partial", dir);
	d = opendir(path);
	t_check(d);
	while ((e = readdir(d))) {
		if (strlen(e->d_name) != 64)
			continue;
		(void) snprintf(path, sizeof(path), "%.100s/partial/%.64s/%s",
			dir, e->d_name, name);
		fd = open(path, O_RDWR);
	}
	closedir(d);
	t_check(fd >= 0);
	return fd;
}

/* In a child: fetch the first 2 MiB of 6, claim the others, say so, stall. */
static void child_stalls(const char *dir, const uint8_t *bytes, uint64_t size,
	const struct cache_name *n, int out)
{
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *s = t_open_src(c, n, u);

	t_expect(s, bytes, 0, 2 * MIB);
	atomic_store(&u->stalled, true);
	src_hint(s, 2 * MIB, 4 * MIB);
	t_int(write(out, "c", 1), 1);
	for (;;)
		pause();
}

/* Until the child has fetched all that it will, and claimed the rest. */
static void wait_claimed(struct cache *c, const struct cache_name *n,
	uint64_t want, int in)
{
	struct src_stat st = { 0 };
	char byte;

	t_int(read(in, &byte, 1), 1);
	t_int(cache_name_stat(c, n, &st), 0);
	t_int(st.cached_bytes, want);
}

/* A process is killed while it fills: what it finished is kept, what it had
 * claimed can be fetched by others at once. */
static void test_kill(bool other_waits)
{
	char *dir = upstream_dir("kill");
	uint64_t size = 6 * MIB;
	uint8_t *bytes = upstream_bytes(size, 14);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct upstream *u;
	struct reader r = { NULL, bytes, 0 };
	struct cache *c;
	pthread_t t;
	int status, fd[2];
	pid_t pid;

	t_int(pipe(fd), 0);
	pid = fork();
	t_check(pid >= 0);
	if (!pid)
		child_stalls(dir, bytes, size, &n, fd[1]);
	(void) close(fd[1]);
	c = t_open_cache(dir, 0);
	wait_claimed(c, &n, 2 * MIB, fd[0]);
	(void) close(fd[0]);
	u = upstream_new(bytes, size, 1);
	if (other_waits) {
		r.s = t_open_src(c, &n, u);
		t_check(!pthread_create(&t, NULL, read_everything, &r));
		usleep(50000);
		t_int(atomic_load(&u->sent), 0);
		t_int(kill(pid, SIGKILL), 0);
		pthread_join(t, NULL);
		t_int(waitpid(pid, &status, 0), pid);
	} else {
		cache_close(c);
		t_int(kill(pid, SIGKILL), 0);
		t_int(waitpid(pid, &status, 0), pid);
		c = t_open_cache(dir, 0);
		r.s = t_open_src(c, &n, u);
		t_expect(r.s, bytes, 0, size);
	}
	t_int(atomic_load(&u->sent), size - 2 * MIB);
	t_wait_state(r.s, SRC_VERIFIED);
	src_unref(r.s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* What a power cut may leave: the map says a chunk is there, the data are
 * not. It is fetched again, and never given out. */
static void test_corrupt(void)
{
	char *dir = upstream_dir("corrupt");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 15), zero[4096] = { 0 };
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *s = t_open_src(c, &n, u);
	struct cache_stats cs;
	int fd;

	t_expect(s, bytes, 0, MIB);
	src_unref(s);
	cache_close(c);
	fd = open_partial(dir, "data");
	t_int(io_pwrite(fd, zero, sizeof(zero), 3 * 65536), 0);
	(void) close(fd);

	c = t_open_cache(dir, 0);
	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 0, size);
	t_wait_state(s, SRC_VERIFIED);
	t_int(atomic_load(&u->sent), size + 65536);
	cache_stats(c, &cs);
	t_int(cs.mismatches, 0);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* All there but no verdict yet: it is given at the next open. */
static void test_complete_unsettled(void)
{
	char *dir = upstream_dir("unsettled"), *path;
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 16);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct cache *c = t_open_cache(dir, 0);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *s = t_open_src(c, &n, u);
	uint64_t hash = 0, first;
	int fd;

	/* All but the last chunk through the door, the last by hand. */
	t_expect(s, bytes, 0, size - 65536);
	src_unref(s);
	cache_close(c);
	fd = open_partial(dir, "data");
	t_int(io_pwrite(fd, bytes + size - 65536, 65536, size - 65536), 0);
	(void) close(fd);
	fd = open_partial(dir, "map");
	t_int(io_pread(fd, &first, 8, 4096), 0);
	t_check(first == map_hash(bytes, 65536));
	hash = map_hash(bytes + size - 65536, 65536);
	t_int(io_pwrite(fd, &hash, 8, 4096 + (size / 65536 - 1) * 8), 0);
	(void) close(fd);
	c = t_open_cache(dir, 0);
	s = t_open_src(c, &n, NULL);
	t_expect(s, bytes, 0, size);
	t_wait_state(s, SRC_VERIFIED);
	src_unref(s);
	cache_close(c);
	t_check(asprintf(&path, "%s/partial", dir) > 0);
	t_int(rmdir(path), 0);
	free(path);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Two caches on one directory: the one that did not fetch learns that what it
 * gave out was wrong. */
static void test_wrong_elsewhere(void)
{
	char *dir = upstream_dir("elsewhere");
	uint64_t size = 5 * MIB;
	uint8_t *bytes = upstream_bytes(size, 17), got[100];
	struct cache *a = t_open_cache(dir, 0), *b = t_open_cache(dir, 0);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *sa = t_open_src(a, &n, u), *sb;
	unsigned before;

	u->wrong_at = 100;
	u->wrong_len = 1;
	atomic_store(&u->wrong_times, 1);
	t_int(src_read_wait(sa, 0, got, 100), 0);
	sb = t_open_src(b, &n, u);
	before = src_epoch(sb);
	t_int(src_read_wait(sb, 100, got, 1), 0);
	t_int(got[0], bytes[100] ^ 0x55);
	t_expect(sa, bytes, 1 * MIB, 2 * MIB);
	t_int(src_read_wait(sa, 65536, got, 100), 0);
	for (uint64_t off = 0; off < size; off += 65536)
		(void) src_read_wait(sa, off, got, 100);
	t_wait_state(sa, SRC_VERIFIED);
	t_expect(sb, bytes, 0, size);
	t_wait_state(sb, SRC_VERIFIED);
	t_check(src_epoch(sb) != before);
	src_unref(sa);
	src_unref(sb);
	cache_close(a);
	cache_close(b);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Fill one file after the other until killed. */
static void child_fills(const char *dir, uint8_t *const *bytes, uint64_t size,
	unsigned files)
{
	struct cache *c = t_open_cache(dir, 0);

	for (unsigned i = 0; i < files; i++) {
		struct upstream *u = upstream_new(bytes[i], size, 2);
		struct cache_name n = t_name_of(i & 1 ? "odd" : "even",
			bytes[i], size, i & 1 ? OBJID_SHA256 : OBJID_GITSHA1);
		struct src *s = t_open_src(c, &n, u);

		u->delay_us = 100;
		src_hint(s, 0, size);
		t_expect(s, bytes[i], 0, size);
		src_unref(s);
		(void) cache_index_put(c, CACHE_KIND_TOUCHED, "x", "y", 1);
	}
	for (;;)
		pause();
}

static void bad_file(void *arg, const char *what, int err, bool removed)
{
	(void) removed;
	if (err)
		fprintf(stderr, "%s %s: %d\n", (const char *)arg, what, err);
}

/* Killed anywhere, again and again: nothing on disk is ever wrong, nothing is
 * left in tmp/, and in the end every byte comes out right. */
static void test_kill_anywhere(void)
{
	enum { FILES = 6, ROUNDS = 12 };
	char *dir = upstream_dir("anywhere");
	uint64_t size = 4 * MIB + 300000, bad;
	uint8_t *bytes[FILES];
	struct cache *c;
	int status;

	for (unsigned i = 0; i < FILES; i++)
		bytes[i] = upstream_bytes(size, 50 + i);
	for (unsigned round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		t_check(pid >= 0);
		if (!pid)
			child_fills(dir, bytes, size, FILES);
		usleep(2000 + 17919 * round % 150000);
		t_int(kill(pid, SIGKILL), 0);
		t_int(waitpid(pid, &status, 0), pid);
		c = t_open_cache(dir, 0);
		t_int(cache_verify(c, bad_file, dir, &bad), 0);
		t_int(bad, 0);
		cache_close(c);
	}
	c = t_open_cache(dir, 0);
	for (unsigned i = 0; i < FILES; i++) {
		struct upstream *u = upstream_new(bytes[i], size, 1);
		struct cache_name n = t_name_of(i & 1 ? "odd" : "even",
			bytes[i], size, i & 1 ? OBJID_SHA256 : OBJID_GITSHA1);
		struct src *s = t_open_src(c, &n, u);

		t_expect(s, bytes[i], 0, size);
		(void) t_wait_fd(s);
		src_unref(s);
		upstream_free(u);
		free(bytes[i]);
	}
	cache_close(c);
	free(dir);
}

/* cache.verify = before-read: no byte before the verdict. */
static void test_before_read(void)
{
	char *dir = upstream_dir("before");
	const struct cache_conf conf = {
		.dir = dir, .chunk = 65536, .connections = 2,
		.before_read = true,
	};
	uint64_t size = 9 * MIB;
	uint8_t *bytes = upstream_bytes(size, 60), b[100];
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, size, 3);
	struct iovec iov;
	struct error why;
	struct cache *c;
	struct src *s;

	t_int(cache_open(&conf, &c, &why), 0);
	s = t_open_src(c, &n, u);
	u->wrong_at = 10;
	u->wrong_len = 3;
	atomic_store(&u->wrong_times, 1);
	t_int(src_read_wait(s, 0, b, 100), 0);
	t_check(!memcmp(b, bytes, 100));
	t_int(src_epoch(s), 0);
	t_int(atomic_load(&u->sent), 2 * size);
	t_int(src_peek(s, 0, size, &iov, 1), 1);
	src_unref(s);
	/* A network that fails ends the wait, and a later read goes on. */
	n = t_name_of("y", bytes, size - 1, OBJID_SHA256);
	u->s.size--;
	u->fail_err = -ETIMEDOUT;
	u->fail_at = 5 * MIB;
	atomic_store(&u->fail_times, 1);
	s = t_open_src(c, &n, u);
	t_int(src_read_wait(s, 0, b, 100), -ETIMEDOUT);
	t_int(src_peek(s, 0, 100, &iov, 1), -EAGAIN);
	t_int(src_read_wait(s, 0, b, 100), -ETIMEDOUT);
	clock_advance(2500);
	t_expect(s, bytes, 0, 100);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

int main(void)
{
	test_processes(OBJID_SHA256);
	test_processes(OBJID_NONE);
	test_kill(false);
	test_kill(true);
	test_kill_anywhere();
	test_before_read();
	test_corrupt();
	test_complete_unsettled();
	test_readers();
	test_stall();
	test_wrong_elsewhere();
	return 0;
}
