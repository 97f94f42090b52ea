#include "config.h"

#include "tests/unit/fetch-server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define CONNECTIONS 2048
#define LOG 4096
#define STALL_MS 20000

struct server {
	server_fn *fn;
	void *arg;
	int fd;
	char root[64];
	atomic_bool down;
	pthread_t thread;
	pthread_mutex_t lock;
	struct asked *log;	/* lock */
	unsigned n_log;		/* lock */
	int open[CONNECTIONS];	/* lock; -1: closed */
	pthread_t threads[CONNECTIONS];
	unsigned n;		/* the accepting thread's, then free's */
};

struct connection {
	struct server *server;
	unsigned slot;
	int fd;
};

uint8_t server_byte(uint64_t off)
{
	return (uint8_t)(off * 167 + (off >> 8) * 13 + (off >> 16));
}

static bool send_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

void server_say(const struct asked *a, const char *fmt, ...)
{
	char text[65536];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void) send_all(a->fd, text, (size_t)n);
}

void server_pattern(const struct asked *a, uint64_t first, uint64_t last)
{
	uint8_t block[65536];

	while (first <= last) {
		size_t n = 0;

		while (n < sizeof(block) && first <= last)
			block[n++] = server_byte(first++);
		if (!send_all(a->fd, block, n))
			return;
	}
}

void server_stall(const struct asked *a)
{
	struct pollfd p = { .fd = a->fd, .events = POLLRDHUP | POLLIN };

	(void) poll(&p, 1, STALL_MS);
}

static void header(const char *head, const char *name, char *ret, size_t room)
{
	size_t n = strlen(name);

	*ret = '\0';
	for (const char *p = head; (p = strstr(p, "\r\n")); ) {
		p += 2;
		if (strncasecmp(p, name, n) || p[n] != ':')
			continue;
		p += n + 1;
		p += strspn(p, " ");
		snprintf(ret, room, "%.*s", (int)strcspn(p, "\r"), p);
		return;
	}
}

static void note(struct server *s, struct asked *a)
{
	a->at = clock_ms();
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n_log; i++)
		a->nth += !strcmp(s->log[i].path, a->path);
	if (s->n_log < LOG)
		s->log[s->n_log++] = *a;
	pthread_mutex_unlock(&s->lock);
}

/* What was POSTed; `had` came with the headers. */
static bool take_body(int fd, const char *had, struct asked *a, size_t len)
{
	size_t n = strlen(had);

	if (len >= sizeof(a->body) || n > len)
		return false;
	memcpy(a->body, had, n);
	while (n < len) {
		ssize_t got = recv(fd, a->body + n, len - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

/* One request; false: the connection ends. */
static bool serve(struct server *s, int fd)
{
	struct asked a = { .server = s, .fd = fd };
	char head[16384], range[64], method[8], length[16];
	unsigned long long first, last;
	size_t n = 0;

	do {
		ssize_t got = recv(fd, head + n, sizeof(head) - 1 - n, 0);

		if (got <= 0)
			return false;
		n += (size_t)got;
		head[n] = '\0';
	} while (!strstr(head, "\r\n\r\n"));
	a.head = !strncmp(head, "HEAD ", 5);
	if (sscanf(head, "%7s %2047s HTTP/1.1", method, a.path) != 2 ||
	    (!a.head && strcmp(method, "GET") && strcmp(method, "POST")))
		return false;
	header(head, "Content-Length", length, sizeof(length));
	if (!take_body(fd, strstr(head, "\r\n\r\n") + 4, &a,
			(size_t)atoi(length)))
		return false;
	header(head, "Authorization", a.auth, sizeof(a.auth));
	header(head, "Accept-Encoding", a.encoding, sizeof(a.encoding));
	header(head, "Range", range, sizeof(range));
	a.ranged = sscanf(range, "bytes=%llu-%llu", &first, &last) == 2;
	if (a.ranged) {
		a.first = first;
		a.last = last;
	}
	note(s, &a);
	return s->fn(&a, s->arg);
}

static void *connection_main(void *arg)
{
	struct connection *c = arg;
	struct server *s = c->server;

	while (serve(s, c->fd))
		;
	pthread_mutex_lock(&s->lock);
	s->open[c->slot] = -1;
	close(c->fd);
	pthread_mutex_unlock(&s->lock);
	free(c);
	return NULL;
}

static void *server_main(void *arg)
{
	struct server *s = arg;

	while (!atomic_load(&s->down) && s->n < CONNECTIONS) {
		struct connection *c = malloc(sizeof(*c));
		int fd = accept(s->fd, NULL, NULL);

		if (fd < 0 || !c) {
			free(c);
			break;
		}
		*c = (struct connection){ s, s->n, fd };
		pthread_mutex_lock(&s->lock);
		s->open[s->n] = fd;
		pthread_mutex_unlock(&s->lock);
		if (pthread_create(&s->threads[s->n], NULL, connection_main,
				c))
			abort();
		s->n++;
	}
	return NULL;
}

struct server *server_new(server_fn *fn, void *arg)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(at);
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->log = calloc(LOG, sizeof(*s->log));
	s->fn = fn;
	s->arg = arg;
	pthread_mutex_init(&s->lock, NULL);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!s->log || s->fd < 0 ||
	    bind(s->fd, (struct sockaddr *)&at, sizeof(at)) ||
	    listen(s->fd, 256) ||
	    getsockname(s->fd, (struct sockaddr *)&at, &len) ||
	    pthread_create(&s->thread, NULL, server_main, s))
		abort();
	snprintf(s->root, sizeof(s->root), "http://127.0.0.1:%u",
		ntohs(at.sin_port));
	return s;
}

void server_free(struct server *s)
{
	atomic_store(&s->down, true);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n; i++)
		if (s->open[i] >= 0)
			shutdown(s->open[i], SHUT_RDWR);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->n; i++)
		pthread_join(s->threads[i], NULL);
	close(s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s->log);
	free(s);
}

const char *server_root(const struct server *s)
{
	return s->root;
}

unsigned server_count(struct server *s, const char *part)
{
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n_log; i++)
		n += strstr(s->log[i].path, part) != NULL;
	pthread_mutex_unlock(&s->lock);
	return n;
}

bool server_log(struct server *s, const char *part, unsigned nth,
	struct asked *ret)
{
	bool found = false;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->n_log && !found; i++) {
		if (!strstr(s->log[i].path, part) || nth--)
			continue;
		*ret = s->log[i];
		found = true;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}
