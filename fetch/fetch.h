/*
 * The door of the fetch room: one libcurl multi engine on one thread, and an
 * adapter a hub. Everything is asynchronous. Callbacks come on the engine
 * thread and must not block; they are never called from inside the function
 * that started the work (but for -ENOMEM, when nothing could be started).
 *
 * Endpoints are http://, https:// or file:// roots. Under file:///DIR the URL
 * path is the file path; the query is dropped, and a directory stands for its
 * index.json. A mirror on disk therefore has the hub's own URL paths.
 */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/error.h"
#include "base/listing.h"
#include "base/src.h"
#include "cache/cache.h"

struct fetch;		/* the engine */
struct fetch_hub;	/* one hub as configured: endpoint, token */

/* Starts the thread. The conf is read during the call only (fetch.* keys). */
int fetch_new(const struct conf *conf, struct fetch **ret, struct error *why);
/* What adapters saw of catalogues that change is kept there from one run to the
 * next. Before the hubs are opened; the cache outlives f. */
void fetch_keep_in(struct fetch *f, struct cache *cache);
/* What has the bytes of a file of h contradicts the size or the digest that
 * fetch_src_new() was given: fn is called on the engine thread, before the read
 * that saw it fails. Must not block. Before the hubs are opened. */
typedef void fetch_contradicted_fn(void *arg, const struct fetch_hub *h,
	const char *repo, const char *revision, const char *path,
	uint64_t size);
void fetch_on_contradicted(struct fetch *f, fetch_contradicted_fn *fn,
	void *arg);
/* Fails what is in flight with -ECANCELED, joins. Every src made from its
 * hubs must be gone. NULL is fine. */
void fetch_free(struct fetch *f);

/* kind: a name of the table ("huggingface"). -ENOENT: no such hub; -EINVAL:
 * bad endpoint. The hub lives as long as the engine and is not freed. */
int fetch_hub_open(struct fetch *f, const char *kind, const struct conf *conf,
	struct fetch_hub **ret, struct error *why);
const char *fetch_hub_name(const struct fetch_hub *h);
/* Its own root; it may have others beside. */
const char *fetch_hub_endpoint(const struct fetch_hub *h);
/* All of them; NULL: it has not so many. */
const char *fetch_hub_endpoint_at(const struct fetch_hub *h, unsigned nth);

/* Does anybody answer at the nth? skew: seconds this machine's clock is ahead
 * of that one's, or FETCH_NO_DATE. Patience is that of one request. */
#define FETCH_NO_DATE INT64_MAX
typedef void fetch_reach_cb(void *arg, int err, const struct error *why,
	int64_t skew);
void fetch_reach(struct fetch_hub *h, unsigned nth, fetch_reach_cb *cb,
	void *arg);

/* Does it answer fetch_resolve() and fetch_list() from what is on this disk?
 * Then at once, also offline, and what it said need not be kept: a revision of
 * such a hub may gain files from one start of the program to the next. */
bool fetch_is_local(const struct fetch_hub *h);
/* A mirror on disk that has no such repository, as can be told at once. */
bool fetch_lacks(const struct fetch_hub *h, const char *repo);

/* How the directories below a hub's own are to be read. */
enum fetch_grammar {
	FETCH_OWNERS,	/* OWNER/REPO[@REVISION]; some have one-word NAMEs */
	FETCH_SINGLE,	/* the hub's directory is its one repository, which
			 * every question calls FETCH_THE_REPO, and has no
			 * revisions to choose from */
	FETCH_VERSIONS,	/* GROUP/…/VERSION: fetch_name() says what is what */
};
#define FETCH_THE_REPO "models"

/* What a path below a hub of FETCH_VERSIONS can be, by its text alone. */
enum fetch_name {
	FETCH_NAME_NONE,	/* nothing */
	FETCH_NAME_GROUP,	/* a directory of names: fetch_list_owner() */
	FETCH_NAME_NEWEST,	/* a directory of versions, and the name of the
				 * newest of them (revision "") */
	FETCH_NAME_VERSION,	/* a repository, then '/', then a revision */
};
/* Its one-file form, beside the directory of a version: VERSION.tar.gz. */
#define FETCH_ARCHIVE_SUFFIX ".tar.gz"
/* The path fetch_src_new(), fetch_url() and fetch_measure() know it by. */
#define FETCH_ARCHIVE_PATH ":archive.tar.gz"

enum fetch_grammar fetch_grammar(const struct fetch_hub *h);
/* *ret_len: bytes of `path` that name the repository, when it is a version. */
enum fetch_name fetch_name(const struct fetch_hub *h, const char *path,
	size_t *ret_len);

/* ---- what a hub can tell ------------------------------------------------- */

struct fetch_snapshot {		/* a moving name resolved once */
	char *repo;		/* canonical: after renames and letter case */
	char *revision;		/* immutable: commit, version */
	int64_t mtime;		/* seconds since 1970 of that revision */
	bool gated, disabled;	/* content may be refused */
	char *place;		/* where the hub keeps it, in the hub's own
				 * words, if that is not what repo and
				 * revision say; NULL */
	uint32_t at_hand_ms;	/* not the hub's word, which failed or takes
				 * its time, but what was at hand: ask again
				 * after so long, and do not keep it; 0: the
				 * hub's. Not in the JSON */
};
void fetch_snapshot_free(struct fetch_snapshot *s);
char *fetch_snapshot_to_json(const struct fetch_snapshot *s);
int fetch_snapshot_from_json(const char *text, size_t len,
	struct fetch_snapshot **ret);

/* err 0: snap is the callee's (fetch_snapshot_free). Otherwise snap is NULL
 * and why says it in words, with the hub's own where it sent some. */
typedef void fetch_snapshot_cb(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap);
/* err 0: the listing is the callee's: move it out or listing_done() it. */
typedef void fetch_listing_cb(void *arg, int err, const struct error *why,
	struct listing *l);

/* Is `repo` a name this hub could have (syntax only)? -ENOENT if not. */
int fetch_repo_check(const struct fetch_hub *h, const char *repo);
/* Is `owner` one, of whom fetch_list_owner() could be asked? Likewise. */
int fetch_owner_check(const struct fetch_hub *h, const char *owner);

/* Resolve a branch, tag, commit or refs/pr/N ("" or NULL: the default branch)
 * to a snapshot. -ENOENT, -EACCES, -ETIMEDOUT, -EHOSTUNREACH, -EIO. */
void fetch_resolve(struct fetch_hub *h, const char *repo, const char *rev,
	fetch_snapshot_cb *cb, void *arg);
/* Any thread. What this hub answered at another time, before its snapshot is
 * asked about: it spares the hub what the snapshot says (place). */
void fetch_recall(struct fetch_hub *h, const struct fetch_snapshot *s);
/* Every file of a snapshot, sorted; all pages. With size and digest as far as
 * the hub tells them without a request a file: LISTING_SIZE_UNKNOWN is for
 * fetch_measure(). -ENODATA: this hub only has the whole as an archive,
 * FETCH_ARCHIVE_PATH. */
void fetch_list(struct fetch_hub *h, const char *repo, const char *revision,
	fetch_listing_cb *cb, void *arg);
/* What is below an owner, or below a path that is FETCH_NAME_GROUP or _NEWEST,
 * as directories named "owner/name". */
void fetch_list_owner(struct fetch_hub *h, const char *owner,
	fetch_listing_cb *cb, void *arg);

/* What the hub says of one file when asked for nothing else. */
struct fetch_fact {
	uint64_t size;		/* bytes */
	struct objid id;	/* the one given, or a better one, or none */
};
typedef void fetch_measure_cb(void *arg, int err, const struct error *why,
	const struct fetch_fact *fact);
/* A HEAD, or where that tells nothing the first byte, at each address of the
 * file until one has it. `id` as in the listing. -ENODATA: no address tells the
 * size. Otherwise as fetch_resolve(). */
void fetch_measure(struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, const struct objid *id,
	fetch_measure_cb *cb, void *arg);

/* What a catalogue says of a file beside its name and digest. The strings live
 * as long as the hub. */
struct fetch_known {
	const char *what;	/* words; NULL: none */
	const char *cached_as;	/* its name in the cache of the tool that
				 * usually fetches it; NULL: that in its path */
	uint64_t about;		/* bytes, not exact; 0: not told */
	bool preferred;		/* meant by who names only the model */
};
/* false: nothing. */
bool fetch_known(const struct fetch_hub *h, const char *path,
	struct fetch_known *ret);

/* A src over one file of a snapshot: it has read, pull and stat, and makes no
 * request before the first of them. Retries, signed URLs and their renewal are
 * inside. id and size are those of the listing (the hub is held to them). */
int fetch_src_new(struct fetch_hub *h, const char *repo, const char *revision,
	const char *path, uint64_t size, const struct objid *id,
	struct src **ret);
/* The address a user can give to curl; the caller frees. */
char *fetch_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path);

struct fetch_hit {
	char *repo;		/* below the hub's directory */
	char *task;		/* what for, in the hub's words; or NULL */
	int64_t downloads, likes;	/* -1: not told */
};
struct fetch_hits {
	struct fetch_hit *v;
	size_t n, max;
	bool all;		/* max counts later */
};
void fetch_hits_done(struct fetch_hits *l);
/* err 0: the hits are there during the call. */
typedef void fetch_hits_cb(void *arg, int err, const struct error *why,
	const struct fetch_hits *hits);
/* Is every word, separated by spaces, in the text, in whatever case? */
bool fetch_words_in(const char *text, const char *words);
bool fetch_can_search(const struct fetch_hub *h);
/* The first `limit` repositories the hub finds for these words. */
void fetch_search(struct fetch_hub *h, const char *words, size_t limit,
	fetch_hits_cb *cb, void *arg);

/* fn(arg) on the engine thread, `ms` from now or when the engine ends. -ENOMEM:
 * it never comes. */
int fetch_hub_after(struct fetch_hub *h, uint64_t ms, void (*fn)(void *arg),
	void *arg);

struct fetch_stats {
	uint64_t requests, retries, failures;
	uint64_t body_bytes;		/* received, wasted ones included */
	uint64_t active, queued;	/* now */
	uint64_t connections;		/* opened */
};
void fetch_stats(struct fetch *f, struct fetch_stats *ret);

#endif
