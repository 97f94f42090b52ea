/*
 * Plans of staged files: how large one is, why it cannot be made, and its
 * source when it is open.
 *
 * A plan is named by stage_key(), so a branch and its commit, or two
 * repositories with the same files, share it. The index remembers the outcome
 * ("ok 438218451", "no 95 reason"), the cache's recipe store the recipe. A
 * recipe is believed only while the index says "ok": when bytes turn out to be
 * wrong, forgetting the index's entries is enough.
 */
#ifndef FS_PLAN_H
#define FS_PLAN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/pool.h"
#include "base/src.h"
#include "cache/cache.h"
#include "fs/errors.h"
#include "fs/plugin.h"
#include "fs/resolve.h"
#include "fs/stack.h"
#include "stage/stage.h"

#define FS_PLANS_RECENT 32

/* Does a staged file that is read whole become an object of its own? */
enum fs_materialize {
	FS_MATERIALIZE_NEVER,
	FS_MATERIALIZE_HOT,	/* the second time, if passthrough gains by it */
	FS_MATERIALIZE_ALWAYS,
};

struct fs_plans {
	struct cache *cache;
	struct stage *stage;
	struct pool *work;		/* for recipes that are on the disk */
	struct pool *planners;		/* its threads may wait for the network */
	struct fs_plugins *plugins;
	struct fs_errors *errors;
	struct fs_stack stack;
	enum fs_materialize materialize;	/* constant */
	atomic_bool passthrough;	/* the kernel reads whole objects */
	pthread_mutex_t lock;
	struct map by_key;		/* lock; key → fs_plan, no count */
	/* Nobody keeps the node of a file that could not be looked up; these
	 * keep the last plans that failed, so that the failure is remembered.
	 * References. */
	struct fs_plan *recent[FS_PLANS_RECENT];	/* lock */
	unsigned next_recent;		/* lock */
	uint64_t planned, failed;	/* lock; since the start */
	unsigned busy;			/* lock; jobs under way */
	unsigned expiring;		/* lock; how many clear the index */
	atomic_uint_fast64_t expired;	/* how often it was cleared */
};

enum fs_plan_state { FS_PLAN_UNKNOWN, FS_PLAN_OK, FS_PLAN_BAD };

struct fs_plan {
	struct fs_plans *plans;
	char key[65];
	const struct fs_plugin *plugin;	/* that makes it; NULL: a recipe does */
	struct objid made;		/* plans lock; by it, when OK */
	unsigned refs;			/* plans lock */
	enum fs_plan_state state;	/* plans lock */
	uint64_t size;			/* plans lock; bytes, when OK */
	int err;			/* plans lock; BAD: for good; else of
					 * the last attempt */
	uint64_t err_at;		/* plans lock; clock_ms */
	char *why;			/* plans lock; of err */
	bool busy;			/* plans lock; a job is under way */
	struct fs_plan_waiter *waiters;	/* plans lock */
	struct src *live;		/* plans lock; while users > 0 */
	unsigned live_at;		/* plans lock; the resolver's
					 * `contradicted` when it was right */
	unsigned live_from;		/* plans lock; the resolver's `changed`
					 * before it was made */
	unsigned users;			/* plans lock; open handles */
	struct objid whole;		/* plans lock; the object that it is, or
					 * OBJID_NONE (plan-whole.c) */
	bool was_read;			/* plans lock; whole, once */
	bool making;			/* plans lock; a job looks or copies */
	unsigned forgotten;		/* plans lock; how often what was found
					 * out was not believed any more */
};

void fs_plans_init(struct fs_plans *p);	/* the fields above lock stay */
/* No plan may be in use. */
void fs_plans_done(struct fs_plans *p);
/* Bytes plans may have been made from were wrong: plan again. */
void fs_plans_expire(struct fs_plans *p);
/* Grows when bytes turn out wrong, and once more when the index has nothing of
 * before: what was found in between may be of before. Any thread. */
uint64_t fs_plans_epoch(struct fs_plans *p);

/* As stage_key(), of what plug-ins make, too; *ret_plugin is it, or NULL. */
int fs_plan_key(const struct fs_plans *p, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65],
	const struct fs_plugin **ret_plugin);

/* The plan of snapshot s's staged file `inner`. A reference. */
int fs_plan_get(struct fs_plans *p, const struct fs_snap *s,
	const char *inner, struct fs_plan **ret);
struct fs_plan *fs_plan_ref(struct fs_plan *p);
void fs_plan_unref(struct fs_plan *p);

/* Memory and index only. 0: *ret_size is right; -ENOTSUP, -EFBIG: it cannot
 * be made, and never can; -EAGAIN: not known. */
int fs_plan_known(struct fs_plan *p, uint64_t *ret_size);
/* Why it cannot be made, or the last attempt failed. Appends. -ENODATA. */
int fs_plan_why(struct fs_plan *p, struct buf *ret);

/* For whom: s and inner as above, path in the mount for the error list; all
 * are read before the function returns. */
struct fs_plan_for {
	struct fs_snap *snap;
	const char *inner;
	const char *path;
};

/* err as of fs_plan_known, or why planning failed this time. */
typedef void fs_plan_cb(void *arg, int err, uint64_t size);
void fs_plan_want(struct fs_plan *p, const struct fs_plan_for *whom,
	fs_plan_cb *cb, void *arg);

/* err 0: src is a new reference; give it back with fs_plan_close. */
typedef void fs_plan_open_cb(void *arg, int err, struct src *src);
void fs_plan_open(struct fs_plan *p, const struct fs_plan_for *whom,
	fs_plan_open_cb *cb, void *arg);
/* The resolver's `changed` before src, which was opened, was made. */
unsigned fs_plan_made_at(struct fs_plan *p, const struct src *src);
void fs_plan_close(struct fs_plan *p, struct src *src);

/* What its plug-in made, as the cache knows it; the strings are the plan's. The
 * size is that of fs_plan_known(). */
struct cache_name fs_plan_made(struct fs_plan *p, uint64_t size);
/* A handle that was opened with this source, at this epoch, has read it all. */
void fs_plan_was_read(struct fs_plan *p, struct src *src, unsigned epoch);
/* Its object, if it is one and that is here. Disk. -ENOENT. */
int fs_plan_whole(struct fs_plan *p, struct src **ret);

/* The recipe as stored, for who looks without waiting. -ENOENT. */
int fs_plan_recipe(struct fs_plan *p, struct stage_recipe **ret);
/* Has it sources that have to be made first? */
bool fs_plan_parts(const struct stage_recipe *recipe);

#endif
