/*
 * A question to Kaggle, over either face of its API, page by page: REST (GET
 * …/api/v1/models/…) or RPC (POST …/models.ModelApiService/METHOD). A host
 * that does not know the way of the REST face is asked over the other, and from
 * then on only so. Engine thread.
 */
#ifndef FETCH_KAGGLE_API_H
#define FETCH_KAGGLE_API_H

#include <stdint.h>

#include "base/json.h"
#include "fetch/document.h"
#include "fetch/hub.h"

enum fetch_kaggle_method {
	KAGGLE_MODELS,		/* of an owner */
	KAGGLE_SEARCH,		/* models that words find */
	KAGGLE_INSTANCES,	/* of OWNER/MODEL */
	KAGGLE_INSTANCE,	/* of OWNER/MODEL/FRAMEWORK/VARIATION, with the
				   number of its newest version */
	KAGGLE_VERSIONS,	/* of the same */
	KAGGLE_FILES,		/* of the same in a version */
	KAGGLE_DOWNLOAD,	/* where they or one of them lie; RPC only */
};

/* Kaggle as a hub's adapter sees it; the adapter keeps it with the hub. */
struct fetch_kaggle {
	struct fetch_hub *hub;
	unsigned endpoint;		/* which of the hub's is Kaggle */
	bool rpc_only;			/* constant: kaggle.api */
	bool rpc;			/* the engine thread's: REST is no use */
};

/* -ENOMEM, -EINVAL. Freed with free(). Where the RPC face has a host of its
 * own, that becomes one more endpoint of the hub, with the same credentials. */
int fetch_kaggle_new(struct fetch_hub *h, unsigned endpoint,
	struct fetch_kaggle **ret, struct error *why);
/* As credentials() of an adapter. */
char *fetch_kaggle_credentials(const struct conf *c);

struct fetch_kaggle_call {
	/* the asker's; strings stay until done() */
	struct fetch_kaggle *kaggle;
	enum fetch_kaggle_method method;
	const char *name;		/* canonical; of KAGGLE_SEARCH the words */
	size_t rows;			/* of a page; 0: many */
	const char *version;		/* of KAGGLE_FILES, _DOWNLOAD */
	const char *path;		/* of KAGGLE_DOWNLOAD */
	bool peek;			/* the first entry is enough */
	/* Each page. Not 0: the call ends so. */
	int (*page)(struct fetch_kaggle_call *c, const json_t *page,
		struct error *why);
	/* MAY. As of a transfer; there is no page then. */
	bool (*arrived)(struct fetch_transfer *t, const char *to);
	/* Last; may free c after fetch_kaggle_call_done(), or ask again. */
	void (*done)(struct fetch_kaggle_call *c, int err,
		const struct error *why);

	/* its own */
	struct fetch_document *doc;
	char *token;			/* of the page asked now; NULL: first */
	char *post;
	unsigned pages;
	bool rpc;
};

/* done() is never called from inside. -ENOMEM: nothing could be started. */
int fetch_kaggle_call_start(struct fetch_kaggle_call *c);
void fetch_kaggle_call_done(struct fetch_kaggle_call *c);

/* The address of one file, or of all as archive (FETCH_ARCHIVE_PATH), REST.
 * As url() of an adapter. */
int fetch_kaggle_file_url(const char *root, const char *name,
	const char *version, const char *path, struct buf *ret);
/* The same over RPC, which only tells the address. As locate() of an adapter,
 * cb called from inside only with -ENOMEM. */
void fetch_kaggle_locate(struct fetch_kaggle *k, const char *name,
	const char *version, const char *path, fetch_locate_cb *cb, void *arg);
/* What a refusal means at Kaggle (meaning() of an adapter). */
struct fetch_status fetch_kaggle_meaning(unsigned status, const char *words,
	struct fetch_status usual);

#endif
