/*
 * A TCP proxy that is a line with a delay and a rate: where the kernel has no
 * netem, and without root. What it reads from one side leaves for the other
 * half a round trip later. A connection costs its handshake: nothing of what
 * the client says first leaves before a whole round trip more. Bytes to the
 * clients, of all connections together, pass one bucket of RATE bytes a second;
 * that is the capped line.
 *
 *   bench-net RTT_MS RATE PORT:TO_PORT...     RATE 0: no limit
 *
 * RATE can be no more than what one thread copies, about 1 GB/s; a connection
 * has at most WINDOW bytes under way in one direction, as with a TCP window of
 * that size, so it brings at most WINDOW / RTT a second. Prints "ready\n" when
 * all ports listen; ends when its standard input does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 8
#define CONNS_MAX 512
#define WINDOW (8UL << 20)
#define PIECE (64UL * 1024)
#define PIECES (WINDOW / PIECE)

/* Bytes on their way in one direction: a ring of what one read() brought. */
struct piece {
	double due;
	uint32_t len, done;
	uint8_t data[PIECE];
};

struct way {
	int from, to;
	struct piece *ring;
	unsigned head, n;
	bool ended, closed;	/* of `from`: seen; passed on to `to` */
};

struct conn {
	bool used;
	double ready;		/* handshake done */
	struct way up, down;
};

static struct conn conns[CONNS_MAX];
static double rtt, rate, bucket, filled;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in local(unsigned port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int listen_at(unsigned port)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in a = local(port);
	int one = 1;

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one,
			sizeof(one)) ||
	    bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 512))
		die("listen");
	return s;
}

static void no_delay(int s)
{
	int one = 1;

	(void) setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void accept_one(int listener, unsigned to)
{
	int c = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct sockaddr_in a = local(to);
	struct conn *k = conns;
	int s;

	if (c < 0)
		return;
	while (k < conns + CONNS_MAX && k->used)
		k++;
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (k == conns + CONNS_MAX || s < 0 ||
	    connect(s, (struct sockaddr *)&a, sizeof(a))) {
		close(c);
		if (s >= 0)
			close(s);
		return;
	}
	no_delay(c);
	no_delay(s);
	*k = (struct conn){ .used = true, .ready = now() + rtt,
		.up = { .from = c, .to = s }, .down = { .from = s, .to = c } };
	k->up.ring = malloc(PIECES * sizeof(struct piece));
	k->down.ring = malloc(PIECES * sizeof(struct piece));
	if (!k->up.ring || !k->down.ring)
		die("memory");
}

static void take_in(struct way *w, double ready)
{
	while (!w->ended && w->n < PIECES) {
		struct piece *p = &w->ring[(w->head + w->n) % PIECES];
		ssize_t n = recv(w->from, p->data, PIECE, MSG_DONTWAIT);
		double at = now();

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			w->ended = true;
			return;
		}
		p->due = (at > ready ? at : ready) + rtt / 2;
		p->len = (uint32_t)n;
		p->done = 0;
		w->n++;
	}
}

/* How many of `len` bytes may go to a client now. */
static size_t allowed(size_t len)
{
	double t = now();

	if (rate <= 0)
		return len;
	bucket += (t - filled) * rate;
	filled = t;
	if (bucket > rate / 50 + PIECE)
		bucket = rate / 50 + PIECE;
	return bucket < 1 ? 0 : bucket < (double)len ? (size_t)bucket : len;
}

/* When it has to be looked at again, or 0. */
static double give_out(struct way *w, bool limited)
{
	while (w->n) {
		struct piece *p = &w->ring[w->head];
		size_t len = p->len - p->done;
		ssize_t n;

		if (p->due > now())
			return p->due;
		len = limited ? allowed(len) : len;
		if (!len)
			return now() + 0.001;
		n = send(w->to, p->data + p->done, len,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0) {
			w->ended = w->closed = true;
			w->n = 0;
			return 0;
		}
		if (limited && rate > 0)
			bucket -= (double)n;
		p->done += (uint32_t)n;
		if (p->done == p->len) {
			w->head = (w->head + 1) % PIECES;
			w->n--;
		}
	}
	if (w->ended && !w->closed) {
		w->closed = true;
		(void) shutdown(w->to, SHUT_WR);
	}
	return 0;
}

static void drop(struct conn *k)
{
	close(k->up.from);
	close(k->down.from);
	free(k->up.ring);
	free(k->down.ring);
	k->used = false;
}

static short wanted(const struct way *in, const struct way *out, double due)
{
	short e = 0;

	if (!in->ended && in->n < PIECES)
		e |= POLLIN;
	if (out->n && !due)
		e |= POLLOUT;
	return e;
}

/* One turn over all connections; what to poll for, and until when. */
static nfds_t turn(struct pollfd *p, double *ret_next)
{
	nfds_t n = 0;

	for (struct conn *k = conns; k < conns + CONNS_MAX; k++) {
		double up, down;

		if (!k->used)
			continue;
		take_in(&k->up, k->ready);
		take_in(&k->down, 0);
		up = give_out(&k->up, false);
		down = give_out(&k->down, true);
		/* In HTTP nobody says goodbye to one direction only. */
		if (k->down.closed || (k->up.closed && !k->down.n)) {
			drop(k);
			continue;
		}
		if (up && up < *ret_next)
			*ret_next = up;
		if (down && down < *ret_next)
			*ret_next = down;
		p[n++] = (struct pollfd){ .fd = k->up.from,
			.events = wanted(&k->up, &k->down, down) };
		p[n++] = (struct pollfd){ .fd = k->down.from,
			.events = wanted(&k->down, &k->up, up) };
	}
	return n;
}

int main(int argc, char **argv)
{
	static struct pollfd p[PORTS_MAX + 1 + 2 * CONNS_MAX];
	int listener[PORTS_MAX];
	unsigned to[PORTS_MAX], ports = 0;

	if (argc < 4 || argc - 3 > PORTS_MAX)
		return 2;
	rtt = atof(argv[1]) / 1000;
	rate = atof(argv[2]);
	filled = now();
	for (int i = 3; i < argc; i++) {
		unsigned port;

		if (sscanf(argv[i], "%u:%u", &port, &to[ports]) != 2)
			return 2;
		listener[ports++] = listen_at(port);
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		double next = now() + 1, left;
		struct timespec nap;
		nfds_t n = ports + 1;

		n += turn(p + n, &next);
		for (unsigned i = 0; i < ports; i++)
			p[i] = (struct pollfd){ .fd = listener[i],
				.events = POLLIN };
		p[ports] = (struct pollfd){ .fd = 0, .events = POLLIN };
		left = next - now();
		nap.tv_sec = 0;
		nap.tv_nsec = left > 0 ? (long)(left * 1e9) : 0;
		if (nap.tv_nsec > 999999999L)
			nap.tv_nsec = 999999999L;
		if (ppoll(p, n, &nap, NULL) < 0 && errno != EINTR)
			die("ppoll");
		if (p[ports].revents)
			return 0;
		for (unsigned i = 0; i < ports; i++)
			if (p[i].revents & POLLIN)
				accept_one(listener[i], to[i]);
	}
}
