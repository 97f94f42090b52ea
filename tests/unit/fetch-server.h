/*
 * A server for tests of fetch: one thread a connection, and a function of the
 * test that writes each reply byte by byte, so that it can do everything
 * wrong. Every request is logged.
 */
#ifndef TESTS_UNIT_FETCH_SERVER_H
#define TESTS_UNIT_FETCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server;

struct asked {
	struct server *server;
	int fd;
	char path[2048];	/* with the query */
	bool head;		/* HEAD: no body may follow */
	char auth[256];		/* value of Authorization, or "" */
	char body[1024];	/* of a POST, or "" */
	char encoding[64];	/* of Accept-Encoding */
	bool ranged;
	uint64_t first, last;	/* of Range, inclusive */
	unsigned nth;		/* requests for this path before this one */
	uint64_t at;		/* clock_ms */
};

/* Writes the reply; true: the connection is kept. */
typedef bool server_fn(const struct asked *a, void *arg);

struct server *server_new(server_fn *fn, void *arg);
/* Cuts what is open, joins. */
void server_free(struct server *s);
/* "http://127.0.0.1:PORT" */
const char *server_root(const struct server *s);
/* Requests whose path contains `part`; the nth of them. */
unsigned server_count(struct server *s, const char *part);
bool server_log(struct server *s, const char *part, unsigned nth,
	struct asked *ret);
/* Wait (at most some seconds) until the connection or the server ends. */
void server_stall(const struct asked *a);

void server_say(const struct asked *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Bytes [first, last] of the test pattern. */
void server_pattern(const struct asked *a, uint64_t first, uint64_t last);
uint8_t server_byte(uint64_t off);

#endif
