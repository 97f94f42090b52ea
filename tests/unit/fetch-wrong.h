/*
 * A hub, and the host it sends clients to, that do everything wrong: the name
 * of the file that is asked for says what.
 */
#ifndef TESTS_UNIT_FETCH_WRONG_H
#define TESTS_UNIT_FETCH_WRONG_H

#include "tests/unit/fetch-server.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER "fedcba9876543210fedcba9876543210fedcba98"
#define SHA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHB "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KB 1024ull
#define MB (1024 * KB)
#define SIZE (3 * MB)

/* Set by the test: where redirects lead. */
extern struct wrong {
	struct server *hub, *cdn;
	struct server *_Atomic moving_cdn;
} wrong;

/* Each a server_fn. */
bool wrong_hub(const struct asked *a, void *arg);
bool wrong_cdn(const struct asked *a, void *arg);

#endif
