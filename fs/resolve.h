/*
 * From names to what they mean now: a repository and a revision to a snapshot
 * (an immutable commit with its listing), an owner to its repositories.
 *
 * What a hub said is kept in memory and in the cache's index. A branch is
 * believed for cache.fresh seconds and then asked for again; when the hub
 * cannot be reached, or keeps us waiting for FS_PATIENCE_MS, the last answer is
 * used, and the hub's is when it comes. Names of a lock file (lock.h) are
 * never asked for. Refusals are remembered for seconds, in
 * memory only. Whoever asks while a question is under way waits for its answer.
 *
 * Callbacks may come before the asking function returns, and must not block.
 */
#ifndef FS_RESOLVE_H
#define FS_RESOLVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/listing.h"
#include "base/map.h"
#include "base/pool.h"
#include "cache/cache.h"
#include "fetch/fetch.h"
#include "fs/archive.h"
#include "fs/errors.h"
#include "stage/stage.h"

#define FS_MOVING_MS 60000		/* what stands in a directory */
#define FS_OWNER_FRESH_S 600		/* an owner's repositories */
#define FS_NEGATIVE_MS 5000		/* a refusal */
#define FS_NOT_A_REPO_MS 600000		/* "org" is no repository of its own */
#define FS_PATIENCE_MS 2000		/* then an old answer is used */
#define FS_LOCKED_MS 3600000		/* what a lock file says stays */
#define FS_STALE_RETRY_MS 10000		/* after a failure, with an old answer */

struct fs_hub {
	const char *name;		/* path in the mount; names its bytes in
					 * the cache and its index entries */
	struct fetch_hub *fetch;
	enum fetch_grammar grammar;
	bool has_token;
	bool aliases;			/* alias.NAME is a name of this hub */
	bool archives;			/* what is in them is shown beside */
	bool flat;			/* without the one directory that holds
					   it all */
};

struct fs_snap {
	struct fs_resolver *resolver;
	unsigned refs;			/* resolver lock */
	const struct fs_hub *hub;
	char *key;			/* "hub/repo@commit" */
	char *repo, *revision;		/* canonical, immutable */
	const struct fs_lock_model *locked;	/* or NULL */
	int64_t mtime;			/* seconds since 1970 */
	struct listing_entry whole;	/* FETCH_ARCHIVE_PATH */
	struct map facts;		/* resolver lock; measure.c */
	unsigned doubts;		/* resolver lock; how often the hub was
					 * to be asked again */

	atomic_bool listed;		/* own and layout are there, for good */
	struct listing own;		/* the repository's files */
	struct listing layout;		/* what staging adds */
	struct fs_names *names;		/* plans lock; see names.h */
	const char *scope;		/* what bytes without digest are
					 * known by: the revision, or more */
	struct fs_archive *archive;	/* what is in own comes out of this
					 * one; NULL: from the hub. Constant
					 * once it is listed */
	bool loading;			/* resolver lock */
	unsigned loads;			/* resolver lock; how often it was
					 * tried */
	int err;			/* resolver lock; of the last loading */
	uint64_t err_at;		/* resolver lock; clock_ms */
	struct fs_waiter *waiters;	/* resolver lock */
};

/* What the file e of s comes out of; NULL: from the hub, as all but what is in
 * own. */
static inline struct fs_archive *fs_archive_of(const struct fs_snap *s,
	const struct listing_entry *e)
{
	return atomic_load(&s->listed) && e >= s->own.v &&
		e < s->own.v + s->own.n ? s->archive : NULL;
}

struct fs_owner {
	unsigned refs;			/* resolver lock */
	struct listing repos;		/* "owner/name", sorted */
};

struct fs_resolver {
	struct cache *cache;
	struct stage *stage;
	struct pool *work;
	struct fs_errors *errors;
	struct fs_archives *archives;
	const struct fs_plugins *plugins;
	bool offline;
	const struct fs_lock *lock_file;	/* NULL: none is in force */
	bool lock_strict;			/* and no other names are */
	uint64_t fresh_ms;			/* a branch is believed so long */
	pthread_mutex_t lock;
	struct map names;	/* lock; "hub/repo@rev" → struct asked_name */
	struct map snaps;	/* lock; "hub/repo@commit" → fs_snap, no count */
	struct map owners;	/* lock; "hub/owner" → struct asked_owner */
	uint64_t swept, owners_swept;	/* lock; clock_ms */

	/* How often bytes contradicted what was measured, and how often a
	 * file has become another (measure.h). */
	atomic_uint contradicted, changed;
	/* Constant; NULL: nobody keeps attributes. Any thread. */
	void (*forget_sizes)(void *arg, const struct fs_snap *s,
		const char *made_of);
	void *forget_arg;
};

void fs_resolver_init(struct fs_resolver *r);	/* the fields above lock stay */
/* Nothing may be under way and no snapshot in use. */
void fs_resolver_done(struct fs_resolver *r);

/* err 0: snap is a new reference, the callee's. */
typedef void fs_snap_cb(void *arg, int err, struct fs_snap *snap);

void fs_resolve(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, fs_snap_cb *cb, void *arg);
/* The last answer in memory, fresh or not; NULL: none. A reference. */
struct fs_snap *fs_resolve_known(struct fs_resolver *r,
	const struct fs_hub *hub, const char *repo, const char *rev);
/* How long the name will be believed to mean `is`, ms; 0: it is not. */
uint64_t fs_resolve_left(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, const struct fs_snap *is);
/* The next fs_resolve asks the hub, however fresh the answer is. must: and an
 * old one is not used if that fails. */
void fs_resolve_expire(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, bool must);
/* Forget refusals of names whose "hub/repo@rev" begins with prefix. */
void fs_resolve_expire_refusals(struct fs_resolver *r, const char *prefix);

/* Have own and layout ready. snap is a new reference again. */
void fs_snap_list(struct fs_snap *s, fs_snap_cb *cb, void *arg);
/* Both: what the name means, with own and layout. A revision that the hub does
 * not know any more (ENOENT) is no answer before the hub was asked once more
 * what the name means. */
void fs_resolve_listed(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *rev, fs_snap_cb *cb, void *arg);
struct fs_snap *fs_snap_ref(struct fs_snap *s);
/* As the stage room sees it; of s, which is listed. */
struct stage_repo fs_snap_repo(const struct fs_snap *s);
void fs_snap_unref(struct fs_snap *s);

/* err 0: a new reference, the callee's. */
typedef void fs_owner_cb(void *arg, int err, struct fs_owner *owner);
void fs_owner_list(struct fs_resolver *r, const struct fs_hub *hub,
	const char *owner, fs_owner_cb *cb, void *arg);
void fs_owner_expire(struct fs_resolver *r, const struct fs_hub *hub,
	const char *owner);
void fs_owner_unref(struct fs_resolver *r, struct fs_owner *o);
/* Is "owner/name" in a listing that is in memory? */
bool fs_owner_has(struct fs_resolver *r, const struct fs_hub *hub,
	const char *owner, const char *name);

/* ---- between resolve.c, snap.c and owner.c ---------------------------------- */

/* Who waits for an answer; the kind of the answer is the list's. */
struct fs_waiter {
	struct fs_waiter *next;
	void (*cb)(void);	/* fs_snap_cb or fs_owner_cb */
	void *arg;
};

/* 0 or -ENOMEM. Under the resolver lock. */
int fs_waiter_add(struct fs_waiter **list, void (*cb)(void), void *arg);
/* Where in the mount users find that name. The caller frees; NULL: no memory. */
char *fs_shown_path(const struct fs_hub *hub, const char *repo,
	const char *rev);
/* Is this failure the road's, not the hub's answer? */
bool fs_unreachable(int err);
/* Find or make the snapshot of `f`; a reference. Takes the resolver lock. */
struct fs_snap *fs_snap_get(struct fs_resolver *r, const struct fs_hub *hub,
	const struct fetch_snapshot *f);
void fs_owners_done(struct fs_resolver *r);

#endif
