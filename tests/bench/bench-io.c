/*
 * Reads a file the way programs do and says how long that took: Python would
 * add more to a read of 4 KiB than the read takes. One line of JSON on stdout:
 * {"seconds": …, "bytes": …, "each": [seconds …]}, the clock started when the
 * file is not open yet.
 *
 *   bench-io seq FILE              read() of 1 MiB from end to end
 *   bench-io sum FILE              the same, with SHA-256 ("sha256": HEX)
 *   bench-io mmap FILE             copies a mapping out, in order
 *   bench-io head FILE BYTES       open and the first bytes
 *   bench-io rand FILE N SEED      N reads of 4 KiB at random places, aligned
 *   bench-io threads FILE N        N threads read a part each
 *   bench-io ranges FILE           mmap; "OFF LEN" lines on stdin, in order
 *   bench-io small DIR N           every file of DIR named f00000 … whole
 *   bench-io drop FILE…            write back, and out of the page cache
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)
#define PAGE 4096UL
#define THREADS_MAX 64
#define EACH_MAX 100000

static double each[EACH_MAX];
static size_t n_each;
static volatile uint64_t sink;	/* so that what is read is used */

static void die(const char *what)
{
	fprintf(stderr, "bench-io: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_or_die(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	return (uint64_t)st.st_size;
}

static void *block(void)
{
	void *p = aligned_alloc(PAGE, MIB);

	if (!p)
		die("memory");
	return p;
}

/* [off, end) by pread; returns what came. */
static uint64_t read_range(int fd, uint64_t off, uint64_t end, void *buf)
{
	uint64_t at = off;

	while (at < end) {
		size_t want = end - at < MIB ? (size_t)(end - at) : MIB;
		ssize_t n = pread(fd, buf, want, (off_t)at);

		if (n < 0)
			die("pread");
		if (!n)
			break;
		at += (uint64_t)n;
	}
	return at - off;
}

static uint64_t do_seq(const char *path, EVP_MD_CTX *sum)
{
	uint8_t *buf = block();
	int fd = open_or_die(path);
	uint64_t total = 0;
	ssize_t n;

	while ((n = read(fd, buf, MIB)) > 0) {
		total += (uint64_t)n;
		if (sum)
			EVP_DigestUpdate(sum, buf, (size_t)n);
	}
	if (n < 0)
		die(path);
	close(fd);
	free(buf);
	return total;
}

/* Copies out of the mapping, as a loader of tensors does. */
static uint64_t copy(const uint8_t *p, uint64_t len, uint8_t *buf)
{
	for (uint64_t at = 0; at < len; at += MIB) {
		size_t n = len - at < MIB ? (size_t)(len - at) : MIB;

		memcpy(buf, p + at, n);
		sink += buf[n - 1];
	}
	return len;
}

static const uint8_t *map(const char *path, uint64_t *ret_size)
{
	int fd = open_or_die(path);
	void *p;

	*ret_size = size_of(fd);
	p = mmap(NULL, *ret_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		die(path);
	close(fd);
	return p;
}

static uint64_t do_mmap(const char *path)
{
	uint64_t size, n;
	const uint8_t *p = map(path, &size);
	uint8_t *buf = block();

	n = copy(p, size, buf);
	free(buf);
	return n;
}

static uint64_t do_ranges(const char *path)
{
	uint64_t size, total = 0;
	const uint8_t *p = map(path, &size);
	unsigned long long off, len;
	uint8_t *buf = block();

	while (scanf("%llu %llu", &off, &len) == 2) {
		if (off > size || len > size - off) {
			errno = ERANGE;
			die("a range");
		}
		total += copy(p + off, len, buf);
	}
	return total;
}

static uint64_t do_head(const char *path, uint64_t len)
{
	void *buf = block();
	int fd = open_or_die(path);
	uint64_t n = read_range(fd, 0, len, buf);

	close(fd);
	return n;
}

/* Round by round of xorshift: the same places for the same seed. */
static uint64_t do_rand(const char *path, size_t n, uint64_t seed)
{
	int fd = open_or_die(path);
	uint64_t pages = size_of(fd) / PAGE, total = 0;
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1;
	uint8_t *buf = block();

	if (!pages)
		die("too short");
	for (size_t i = 0; i < n; i++) {
		double start = now();
		ssize_t got;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		got = pread(fd, buf, PAGE, (off_t)(x % pages * PAGE));
		if (got != (ssize_t)PAGE)
			die("pread");
		total += (uint64_t)got;
		if (n_each < EACH_MAX)
			each[n_each++] = now() - start;
	}
	close(fd);
	return total;
}

struct part {
	pthread_t thread;
	const char *path;
	unsigned nth, of;
	uint64_t got;
};

static void *read_part(void *arg)
{
	struct part *p = arg;
	int fd = open_or_die(p->path);
	uint64_t size = size_of(fd), step = size / p->of / PAGE * PAGE;
	uint64_t from = p->nth * step;
	uint64_t end = p->nth + 1 == p->of ? size : from + step;
	void *buf = block();

	p->got = read_range(fd, from, end, buf);
	close(fd);
	free(buf);
	return NULL;
}

static uint64_t do_threads(const char *path, unsigned n)
{
	struct part part[THREADS_MAX];
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		part[i] = (struct part){ .path = path, .nth = i, .of = n };
		if (pthread_create(&part[i].thread, NULL, read_part, &part[i]))
			die("a thread");
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(part[i].thread, NULL);
		total += part[i].got;
	}
	return total;
}

static uint64_t do_small(const char *dir, unsigned n)
{
	uint64_t total = 0;
	void *buf = block();

	for (unsigned i = 0; i < n; i++) {
		char path[4096];
		int fd;

		(void) snprintf(path, sizeof(path), "%s/f%05u", dir, i);
		fd = open_or_die(path);
		total += read_range(fd, 0, MIB, buf);
		close(fd);
	}
	return total;
}

static void drop(const char *path)
{
	int fd = open_or_die(path);

	if (fdatasync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		die(path);
	close(fd);
}

static void print(double seconds, uint64_t bytes, const char *sum)
{
	printf("{\"seconds\": %.9f, \"bytes\": %llu", seconds,
		(unsigned long long)bytes);
	if (*sum)
		printf(", \"sha256\": \"%s\"", sum);
	for (size_t i = 0; i < n_each; i++)
		printf("%s%.9f", i ? ", " : ", \"each\": [", each[i]);
	printf("%s}\n", n_each ? "]" : "");
}

static void finish_sum(EVP_MD_CTX *c, char *ret)
{
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_DigestFinal_ex(c, md, &len);
	for (unsigned i = 0; i < len; i++)
		sprintf(ret + 2 * i, "%02x", md[i]);
	EVP_MD_CTX_free(c);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	uint64_t a = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	uint64_t b = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	EVP_MD_CTX *c = NULL;
	char sum[2 * EVP_MAX_MD_SIZE + 1] = "";
	double start;
	uint64_t bytes = 0;

	if (!strcmp(what, "sum")) {
		c = EVP_MD_CTX_new();
		EVP_DigestInit_ex(c, EVP_sha256(), NULL);
	}
	start = now();
	if (!strcmp(what, "seq") || c)
		bytes = do_seq(argv[2], c);
	else if (!strcmp(what, "mmap"))
		bytes = do_mmap(argv[2]);
	else if (!strcmp(what, "head"))
		bytes = do_head(argv[2], a);
	else if (!strcmp(what, "rand"))
		bytes = do_rand(argv[2], a, b);
	else if (!strcmp(what, "threads") && a && a <= THREADS_MAX)
		bytes = do_threads(argv[2], (unsigned)a);
	else if (!strcmp(what, "ranges"))
		bytes = do_ranges(argv[2]);
	else if (!strcmp(what, "small"))
		bytes = do_small(argv[2], (unsigned)a);
	else if (!strcmp(what, "drop"))
		for (int i = 2; i < argc; i++)
			drop(argv[i]);
	else
		return 2;
	if (c)
		finish_sum(c, sum);
	print(now() - start, bytes, sum);
	return 0;
}
