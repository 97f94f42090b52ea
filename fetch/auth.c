#include "config.h"

#include "fetch/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/url.h"

#define TOKEN_MAX 4096	/* bytes */

static int token_check(const char *token, struct error *why)
{
	size_t n = strlen(token);

	if (n > TOKEN_MAX)
		return error_set(why, -EINVAL, "the token is too long");
	for (size_t i = 0; i < n; i++) {
		if (token[i] <= ' ' || token[i] > '~')
			return error_set(why, -EINVAL,
				"the token holds a byte that no header can");
	}
	return 0;
}

int fetch_auth_init(struct fetch_auth *a, const char *endpoint,
	const char *token, struct error *why)
{
	cleanup_free char *origin = fetch_url_origin(endpoint);
	char *header = NULL;
	int r;

	if (!origin)
		return error_set(why, -EINVAL, "%s has no host", endpoint);
	if (token && *token) {
		r = token_check(token, why);
		if (r)
			return r;
		if (asprintf(&header, "Authorization: Bearer %s", token) < 0)
			return -ENOMEM;
	}
	a->origin = steal_ptr(origin);
	a->header = header;
	return 0;
}

void fetch_auth_done(struct fetch_auth *a)
{
	free(a->origin);
	free(a->header);
	*a = (struct fetch_auth){ 0 };
}

const char *fetch_auth_for(const struct fetch_auth *a, const char *url)
{
	cleanup_free char *origin = NULL;

	if (!a || !a->header)
		return NULL;
	origin = fetch_url_origin(url);
	return origin && !strcmp(origin, a->origin) ? a->header : NULL;
}
