/*
 * Credentials and where they may go: to the origin (scheme, host and port) of
 * their hub's endpoint, and nowhere else. A chain of redirects that has left
 * the origin once does not get the token back (fetch/transfer.c).
 */
#ifndef FETCH_AUTH_H
#define FETCH_AUTH_H

#include "base/error.h"

struct fetch_auth {
	char *origin;	/* the only one that may see the header */
	char *header;	/* "Authorization: …"; NULL: no token */
};

/* "Bearer TOKEN"; NULL: no token, or out of memory. The caller frees. */
char *fetch_auth_bearer(const char *token);
/* "Basic …" of RFC 7617. As above. */
char *fetch_auth_basic(const char *user, const char *password);

/* shown: "SCHEME CREDENTIALS", may be NULL. -EINVAL: it has bytes that no
 * header can carry. */
int fetch_auth_init(struct fetch_auth *a, const char *endpoint,
	const char *shown, struct error *why);
void fetch_auth_done(struct fetch_auth *a);
/* The header line for a request to `url`, or NULL: none for it. */
const char *fetch_auth_for(const struct fetch_auth *a, const char *url);

#endif
