/* Between plan.c (what is known, who waits) and plan-job.c (finding out). */
#ifndef FS_PLAN_OWN_H
#define FS_PLAN_OWN_H

#include "fs/plan.h"

#define FS_RECIPE_MAX (512 << 20)	/* bytes */
#define FS_OUTCOME_MAX 4096		/* bytes of an index entry */
#define FS_PLAN_TRIES 5			/* what was found is doubted each time */

struct fs_plan_waiter {
	struct fs_plan_waiter *next;
	bool open;		/* wants the source */
	void (*cb)(void);	/* fs_plan_cb or fs_plan_open_cb */
	void *arg;
};

struct fs_plan_job {
	struct pool_job job;
	struct fs_plan *plan;		/* a reference */
	struct fs_snap *snap;		/* a reference */
	char *inner, *path;
	struct stage_recipe *recipe;	/* the outcome, or */
	struct objid made;		/* what a plug-in made; */
	uint64_t size;			/* bytes; 0: neither */
	struct src *src;		/* the outcome, when somebody opens */
	struct error why;
	bool refused;			/* for good */
	unsigned from;			/* the resolver's `changed` before src
					 * was made */
	unsigned contradicted;		/* the resolver's, when it began */
	unsigned forgotten;		/* the plan's, likewise */
	unsigned tries;
};

/* Added to the pool `work` it finds out and tells all who wait. NULL: no
 * memory. */
struct fs_plan_job *fs_plan_job_new(struct fs_plan *p,
	const struct fs_plan_for *whom);
void fs_plan_job_free(struct fs_plan_job *j);

unsigned fs_plan_forgotten(struct fs_plan *p);
/* Into the index, under p's key or that of another output, unless p was
 * forgotten since it was as often as `forgotten`, or is just now. */
void fs_plan_remember(struct fs_plan *p, const char *key, unsigned forgotten,
	const void *text, size_t len);
/* Under the plans lock. */
void fs_plan_set_why(struct fs_plan *p, const char *text);
/* Under the plans lock: what the index says behind "ok SIZE ". */
void fs_plan_recall_whole(struct fs_plan *p, const char *word);

#endif
