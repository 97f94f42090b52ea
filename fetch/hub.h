/*
 * An adapter a hub: what its API is like. Everything about connections,
 * retries, limits and tokens is below; README.md says how to add one.
 */
#ifndef FETCH_HUB_H
#define FETCH_HUB_H

#include <pthread.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/map.h"
#include "fetch/auth.h"
#include "fetch/engine.h"
#include "fetch/query.h"

/* What is known of a file before its first byte. */
struct fetch_file {
	char *revision;
	uint64_t size;		/* bytes */
	struct objid id;
};

struct fetch_hub_ops {
	const char *kind;		/* as the first directory is named */
	const char *endpoint_key;	/* of the configuration */
	/* MAY. The token, or NULL; the caller frees. */
	char *(*token)(const struct conf *c);
	/* MUST. Could the hub have such a name? Syntax only, no request. */
	bool (*repo_ok)(const char *repo);
	bool (*owner_ok)(const char *owner);
	/* MUST. Engine thread; the names are ok. Ends in
	 * fetch_query_answer(), now or later, whatever q->what is. */
	void (*answer)(struct fetch_query *q);
	/* MUST. Append the address of a file; -EINVAL: no such name can be. */
	int (*url)(const struct fetch_hub *h, const char *repo,
		const char *revision, const char *path, struct buf *ret);
	/* MAY. Does a reply (of any hop, below 400) speak of this very file?
	 * Engine thread. -EIO, -ESTALE with words: no. */
	int (*vet)(const struct fetch_file *f, const struct fetch_reply *r,
		struct error *why);
};

struct fetch_hub {
	const struct fetch_hub_ops *ops;
	struct fetch_engine *engine;
	char *endpoint;			/* no trailing slash */
	struct fetch_auth auth;
	struct fetch_hub *next;
	pthread_mutex_t lock;
	struct map queries;		/* lock; key → struct fetch_query */
};

extern const struct fetch_hub_ops fetch_hub_huggingface;

#endif
