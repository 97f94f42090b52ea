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
#include "cache/cache.h"
#include "fetch/auth.h"
#include "fetch/engine.h"
#include "fetch/fetch.h"
#include "fetch/query.h"

/* What is known of a file before its first byte. */
struct fetch_file {
	char *repo, *revision, *path;
	uint64_t size;		/* bytes */
	struct objid id;
};

#define FETCH_ENDPOINTS_MAX 4	/* hosts of one hub that have a key */
#define FETCH_ADDRESSES_MAX 8	/* places one file may lie in */

/* Where a file lies for a while. */
struct fetch_located {
	char *url;
	char *lines;		/* header lines for its origin, as request.h;
				   NULL: none */
	uint64_t life_ms;	/* from when it was told */
};
void fetch_located_done(struct fetch_located *l);
/* err 0: found is the callee's to free, moved out. */
typedef void fetch_locate_cb(void *arg, int err, const struct error *why,
	struct fetch_located *found);

typedef void fetch_found_cb(void *arg, int err, const struct error *why);

struct fetch_hub_ops {
	const char *kind;		/* what fetch_hub_open() knows it by */
	enum fetch_grammar grammar;
	/* Of the configuration; NULL-ended. The first is the hub's own. */
	const char *endpoint_keys[FETCH_ENDPOINTS_MAX + 1];
	/* Resolve and list are answered from what is on this disk. */
	bool local;
	/* Bytes lie at addresses that are signed for GET: HEAD is no use. */
	bool no_head;
	/* MAY. Once the endpoints are there; what it makes is h->own. -EINVAL
	 * and the like with words. */
	int (*open)(struct fetch_hub *h, struct error *why);
	/* With open; also after it failed, and after the engine has ended. */
	void (*close)(struct fetch_hub *h);
	/* MAY. What to show the nth endpoint, "Bearer …" or "Basic …", or
	 * NULL; the caller frees. */
	char *(*credentials)(const struct conf *c, unsigned nth);
	/* MUST. Could the hub have such a name? Syntax only, no request. */
	bool (*repo_ok)(const char *repo);
	bool (*owner_ok)(const char *owner);
	/* MUST, of FETCH_VERSIONS: what could `path`, a few components below
	 * the hub's directory, be? *ret_len: bytes of path that name the
	 * repository (FETCH_NAME_VERSION). */
	enum fetch_name (*name)(const char *path, size_t *ret_len);
	/* MUST. Engine thread; the names are ok. Ends in
	 * fetch_query_answer(), now or later, whatever q->what is. */
	void (*answer)(struct fetch_query *q);
	/* MUST. Append the nth address of a file, 0 the first to ask; -EINVAL:
	 * no such name can be; -ENOENT: it has not so many. */
	int (*url)(const struct fetch_hub *h, const char *repo,
		const char *revision, const char *path, unsigned nth,
		struct buf *ret);
	/* MAY. Engine thread. Ask where else the file lies, once all addresses
	 * of url(), if any, have failed. cb may come before it returns; f is
	 * good until cb returns. */
	void (*locate)(struct fetch_hub *h, const struct fetch_file *f,
		fetch_locate_cb *cb, void *arg);
	/* MAY. As fetch_recall(). */
	void (*recall)(struct fetch_hub *h, const struct fetch_snapshot *s);
	/* MAY, both or none. Append the address of a search's first page; Link
	 * tells the next. Read a page. */
	int (*search_url)(const struct fetch_hub *h, const char *words,
		size_t limit, struct buf *ret);
	int (*search_page)(const void *text, size_t len,
		struct fetch_hits *ret, struct error *why);
	/* MAY, instead of both. Engine thread. Add hits until there are
	 * enough; words and ret stay until done(), which comes once, also from
	 * inside. */
	void (*search)(struct fetch_hub *h, const char *words,
		struct fetch_hits *ret, fetch_found_cb *done, void *arg);
	/* MAY. Does a reply (of any hop, below 400) speak of this very file?
	 * Engine thread. -EIO, -ESTALE with words: no. */
	int (*vet)(const struct fetch_file *f, const struct fetch_reply *r,
		struct error *why);
	/* MAY. A digest of the file's bytes in the headers of a reply;
	 * fetch_digest_goog() for what lies in Google's storage. */
	bool (*digest)(const struct fetch_reply *r, struct objid *ret);
	/* MAY. Answer fetch_measure() of a file that is listed with this id,
	 * but without its size. false: the usual way will do. Engine thread. */
	bool (*measure)(struct fetch_hub *h, const char *repo,
		const struct objid *id, fetch_measure_cb *cb, void *arg);
	/* MAY. What to do when the hub has no more what its listing names. */
	const char *gone;
	/* MAY. As fetch_lacks(). */
	bool (*lacks)(const struct fetch_hub *h, const char *repo);
	/* MAY. As fetch_known(). */
	bool (*known)(const struct fetch_hub *h, const char *path,
		struct fetch_known *ret);
	/* MAY. What a status of 400 and more for a file means here, where that
	 * is not what status.c says. */
	struct fetch_status (*meaning)(unsigned status, const char *words,
		struct fetch_status usual);
};

struct fetch_hub {
	const struct fetch_hub_ops *ops;
	struct fetch_engine *engine;
	char *endpoints[FETCH_ENDPOINTS_MAX];	/* no trailing slash */
	struct fetch_auth auths[FETCH_ENDPOINTS_MAX];
	unsigned n_endpoints;
	void *own;			/* the adapter's */
	const struct conf *conf;	/* during open() */
	struct cache *cache;		/* NULL: nothing can be kept */
	fetch_contradicted_fn *contradicted;	/* NULL: nobody wants to know */
	void *contradicted_arg;
	struct fetch_hub *next;
	pthread_mutex_t lock;
	struct map queries;		/* lock; key → struct fetch_query */
};

/* x-goog-hash, unless it is that of bytes stored compressed. */
bool fetch_digest_goog(const struct fetch_reply *r, struct objid *ret);

/* For vet(): X-Linked-Size and X-Linked-Etag, where Hugging Face's storage sends
 * them, against what was listed. */
int fetch_linked_vet(const struct fetch_file *f, const struct fetch_reply *r,
	struct error *why);

/* The credentials of the endpoint `url` belongs to. Never NULL. */
const struct fetch_auth *fetch_hub_auth(const struct fetch_hub *h,
	const char *url);

extern const struct fetch_hub_ops fetch_hub_huggingface;
extern const struct fetch_hub_ops fetch_hub_kaggle;
extern const struct fetch_hub_ops fetch_hub_keras;
extern const struct fetch_hub_ops fetch_hub_torchhub;
extern const struct fetch_hub_ops fetch_hub_torchserve;
extern const struct fetch_hub_ops fetch_hub_torchvision;
extern const struct fetch_hub_ops fetch_hub_onnx;
extern const struct fetch_hub_ops fetch_hub_tensorflow;

#endif
