/*
 * The raw limit: libcurl alone, with as little around it as can be. The same
 * line of JSON as bench-io.
 *
 *   bench-curl head URL BYTES         one range request of the first bytes
 *   bench-curl rand URL N SEED SIZE   N range requests of 4 KiB, one after the
 *                                     other on one connection, at the places
 *                                     that bench-io rand reads
 *   bench-curl get URL SIZE N [OUT]   the whole file over N connections, in
 *                                     ranges of 4 MiB (N = 1: one request);
 *                                     with OUT written there, and SHA-256 by a
 *                                     thread that follows
 *
 * Redirects are followed once, then the address they led to is used.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RANGE (4UL << 20)
#define PAGE 4096UL
#define CONNECTIONS_MAX 64
#define EACH_MAX 100000

static double each[EACH_MAX];
static size_t n_each;

struct get {
	const char *url;
	uint64_t size, step;
	int out;			/* -1: only received */
	pthread_mutex_t lock;
	pthread_cond_t more;
	uint64_t next;			/* lock; range */
	bool *done;			/* lock */
	uint64_t ranges;
	char sum[2 * EVP_MAX_MD_SIZE + 1];
};

struct sink {
	int out;
	uint64_t at, got;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench-curl: %s: %s\n", what, why);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct sink *s = arg;

	n *= size;
	if (s->out >= 0 && pwrite(s->out, data, n, (off_t)s->at) != (ssize_t)n)
		return 0;
	s->at += n;
	s->got += n;
	return n;
}

static CURL *handle(const char *url, struct sink *s)
{
	CURL *c = curl_easy_init();

	if (!c)
		die("curl", "does not start");
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 512L * 1024);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
	return c;
}

/* Bytes [off, end); afterwards the handle asks where it was sent to. */
static void range(CURL *c, struct sink *s, uint64_t off, uint64_t end)
{
	char text[64];
	char *where = NULL;
	CURLcode r;

	(void) snprintf(text, sizeof(text), "%llu-%llu",
		(unsigned long long)off, (unsigned long long)end - 1);
	curl_easy_setopt(c, CURLOPT_RANGE, text);
	s->at = off;
	s->got = 0;
	r = curl_easy_perform(c);
	if (r)
		die("transfer", curl_easy_strerror(r));
	if (s->got != end - off)
		die("transfer", "another length");
	if (!curl_easy_getinfo(c, CURLINFO_EFFECTIVE_URL, &where) && where) {
		char *copy = strdup(where);

		curl_easy_setopt(c, CURLOPT_URL, copy);
		free(copy);
	}
}

static uint64_t do_head(const char *url, uint64_t len)
{
	struct sink s = { .out = -1 };
	CURL *c = handle(url, &s);

	range(c, &s, 0, len);
	curl_easy_cleanup(c);
	return s.got;
}

static uint64_t do_rand(const char *url, size_t n, uint64_t seed,
	uint64_t size)
{
	struct sink s = { .out = -1 };
	CURL *c = handle(url, &s);
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1, total = 0;

	for (size_t i = 0; i < n; i++) {
		double start = now();
		uint64_t at;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at = x % (size / PAGE) * PAGE;
		range(c, &s, at, at + PAGE);
		total += s.got;
		if (n_each < EACH_MAX)
			each[n_each++] = now() - start;
	}
	curl_easy_cleanup(c);
	return total;
}

/* ---- the whole file ---- */

static uint64_t end_of(const struct get *g, uint64_t nth)
{
	uint64_t end = (nth + 1) * g->step;

	return end < g->size ? end : g->size;
}

static void *one_connection(void *arg)
{
	struct get *g = arg;
	struct sink s = { .out = g->out };
	CURL *c = handle(g->url, &s);

	for (;;) {
		uint64_t i;

		pthread_mutex_lock(&g->lock);
		i = g->next++;
		pthread_mutex_unlock(&g->lock);
		if (i >= g->ranges)
			break;
		range(c, &s, i * g->step, end_of(g, i));
		pthread_mutex_lock(&g->lock);
		g->done[i] = true;
		pthread_cond_broadcast(&g->more);
		pthread_mutex_unlock(&g->lock);
	}
	curl_easy_cleanup(c);
	return NULL;
}

static void *follow(void *arg)
{
	struct get *g = arg;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t *buf = malloc(RANGE), md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_DigestInit_ex(c, EVP_sha256(), NULL);
	for (uint64_t i = 0; i < g->ranges; i++) {
		pthread_mutex_lock(&g->lock);
		while (!g->done[i])
			pthread_cond_wait(&g->more, &g->lock);
		pthread_mutex_unlock(&g->lock);
		for (uint64_t at = i * g->step; at < end_of(g, i);) {
			uint64_t left = end_of(g, i) - at;
			ssize_t n = pread(g->out, buf, left < RANGE ?
				(size_t)left : RANGE, (off_t)at);

			if (n <= 0)
				die("what was written", strerror(errno));
			EVP_DigestUpdate(c, buf, (size_t)n);
			at += (uint64_t)n;
		}
	}
	EVP_DigestFinal_ex(c, md, &len);
	for (unsigned i = 0; i < len; i++)
		sprintf(g->sum + 2 * i, "%02x", md[i]);
	EVP_MD_CTX_free(c);
	free(buf);
	return NULL;
}

static uint64_t do_get(struct get *g, unsigned n, const char *out)
{
	pthread_t thread[CONNECTIONS_MAX], hasher;

	g->step = n > 1 ? RANGE : g->size;
	g->ranges = (g->size + g->step - 1) / g->step;
	g->done = calloc(g->ranges, sizeof(*g->done));
	g->out = out ? open(out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
		: -1;
	if (!g->done || (out && g->out < 0))
		die(out, strerror(errno));
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&thread[i], NULL, one_connection, g))
			die("a thread", "cannot be made");
	if (out && pthread_create(&hasher, NULL, follow, g))
		die("a thread", "cannot be made");
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	if (out)
		pthread_join(hasher, NULL);
	return g->size;
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

int main(int argc, char **argv)
{
	struct get g = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER };
	uint64_t a, b, d, bytes;
	double start;

	if (argc < 4)
		return 2;
	a = strtoull(argv[3], NULL, 10);
	b = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	d = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	start = now();
	if (!strcmp(argv[1], "head")) {
		bytes = do_head(argv[2], a);
	} else if (!strcmp(argv[1], "rand") && d >= PAGE) {
		bytes = do_rand(argv[2], a, b, d);
	} else if (!strcmp(argv[1], "get") && a && b && b <= CONNECTIONS_MAX) {
		g.url = argv[2];
		g.size = a;
		bytes = do_get(&g, (unsigned)b, argc > 5 ? argv[5] : NULL);
	} else {
		return 2;
	}
	print(now() - start, bytes, g.sum);
	return 0;
}
