#include "config.h"

#include "fetch/auth.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/url.h"

#define TOKEN_MAX 4096	/* bytes */

char *fetch_auth_bearer(const char *token)
{
	char *shown;

	if (!token || !*token || asprintf(&shown, "Bearer %s", token) < 0)
		return NULL;
	return shown;
}

char *fetch_auth_basic(const char *user, const char *password)
{
	static const char scheme[] = "Basic ";
	cleanup_free char *pair = NULL;
	char *shown;
	int n;

	if (!user || !*user || !password)
		return NULL;
	n = asprintf(&pair, "%s:%s", user, password);
	if (n < 0) {
		pair = NULL;
		return NULL;
	}
	shown = malloc(sizeof(scheme) + 4 * ((size_t)n + 2) / 3 + 1);
	if (!shown)
		return NULL;
	memcpy(shown, scheme, sizeof(scheme));
	EVP_EncodeBlock((unsigned char *)shown + sizeof(scheme) - 1,
		(const unsigned char *)pair, n);
	return shown;
}

static int check(const char *shown, struct error *why)
{
	const char *token = strchr(shown, ' ');
	size_t n = strlen(shown);

	if (n > TOKEN_MAX)
		return error_set(why, -EINVAL, "the token is too long");
	for (size_t i = 0; i < n; i++) {
		if ((shown[i] <= ' ' && shown + i != token) || shown[i] > '~')
			return error_set(why, -EINVAL,
				"the token holds a byte that no header can");
	}
	return 0;
}

int fetch_auth_init(struct fetch_auth *a, const char *endpoint,
	const char *shown, struct error *why)
{
	cleanup_free char *origin = fetch_url_origin(endpoint);
	char *header = NULL;
	int r;

	if (!origin)
		return error_set(why, -EINVAL, "%s has no host", endpoint);
	if (shown) {
		r = check(shown, why);
		if (r)
			return r;
		if (asprintf(&header, "Authorization: %s", shown) < 0)
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
