/*
 * Staged files that became objects. One that is read whole again and again is
 * gathered from its sources each time the kernel has dropped its pages; as an
 * object the kernel reads it by itself (passthrough). That is a second copy of
 * the weights: tensors lie at other offsets in the staged file, modulo the
 * blocks of a file system, so blocks cannot be shared. It counts in the budget
 * and goes like any object that is not used; then the recipe serves again.
 *
 * What is known of it stands behind the plan's outcome in the index ("ok SIZE
 * read", "ok SIZE SHA256"), and is forgotten with it.
 */
#include "config.h"

#include "fs/plan-own.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP (1UL << 20)	/* bytes */
#define PIECES 32		/* of one step that are peeked at */
#define UNUSED 4		/* a quarter more may be fetched for it */

struct making {
	struct pool_job job;
	struct fs_plan *plan;	/* a reference */
	struct src *src;	/* a reference */
	unsigned epoch;		/* of src, before its first byte is read */
	unsigned forgotten;	/* the plan's, when src was what it means */
};

void fs_plan_recall_whole(struct fs_plan *p, const char *word)
{
	struct objid id;

	p->was_read = !strcmp(word, "read");
	p->whole = (struct objid){ .alg = OBJID_NONE };
	if (!objid_parse(OBJID_SHA256, word, &id) &&
	    id.digits == 2 * OBJID_RAW_MAX)
		p->whole = id;
}

/* Under the lock; what recall() reads. */
static int outcome(const struct fs_plan *p, char *ret, size_t len)
{
	char hex[OBJID_HEX_MAX] = "";

	if (p->state != FS_PLAN_OK)
		return -EAGAIN;
	if (p->whole.alg != OBJID_NONE)
		objid_hex(&p->whole, hex);
	(void) snprintf(ret, len, "ok %" PRIu64 "%s%s", p->size,
		p->was_read || *hex ? " " : "", *hex ? hex :
		p->was_read ? "read" : "");
	return 0;
}

static void remember(struct fs_plan *p)
{
	char text[OBJID_HEX_MAX + 32];
	unsigned forgotten;
	int r;

	pthread_mutex_lock(&p->plans->lock);
	r = outcome(p, text, sizeof(text));
	forgotten = p->forgotten;
	pthread_mutex_unlock(&p->plans->lock);
	if (!r)
		fs_plan_remember(p, p->key, forgotten, text, strlen(text));
}

int fs_plan_whole(struct fs_plan *p, struct src **ret)
{
	struct cache_name name = { .hub = "staged", .repo = p->key,
		.revision = "", .path = "" };
	int r;

	pthread_mutex_lock(&p->plans->lock);
	name.size = p->size;
	name.id = p->whole;
	r = p->state == FS_PLAN_OK && !p->plugin &&
		name.id.alg != OBJID_NONE ? 0 : -ENOENT;
	pthread_mutex_unlock(&p->plans->lock);
	return r ? r : cache_whole_open(p->plans->cache, &name, ret);
}

static int copy_step(struct cache_put *put, struct src *s, uint64_t off,
	size_t len, void *buf)
{
	struct iovec iov[PIECES];
	int n = src_peek(s, off, len, iov, PIECES), r = 0;

	if (n <= 0) {
		r = src_read_wait(s, off, buf, len);
		return r ? r : cache_put_data(put, buf, len);
	}
	for (int i = 0; i < n && !r; i++)
		r = cache_put_data(put, iov[i].iov_base, iov[i].iov_len);
	return r;
}

/* An object is right bytes: its sources have to be compared first, and for that
 * to be here with what the staged file does not use. */
static int verified(struct src *s)
{
	struct src_stat st;
	int r = stage_recipe_src_complete(s, s->size / UNUSED);

	if (r)
		return r;
	src_stat(s, &st);
	return st.state == SRC_VERIFIED ? 0 : -EAGAIN;
}

static int copy(struct making *m, struct objid *ret)
{
	struct src *s = m->src;
	struct cache_put *put = NULL;
	void *buf = malloc(STEP);
	int r = buf ? verified(s) : -ENOMEM;

	if (!r)
		r = cache_put_begin(m->plan->plans->cache, s->size, &put);
	for (uint64_t at = 0; at < s->size && !r; at += STEP)
		r = copy_step(put, s, at, s->size - at < STEP ?
			(size_t)(s->size - at) : STEP, buf);
	if (!r && src_epoch(s) != m->epoch)
		r = -EIO;
	if (!r)
		r = cache_put_end(put, ret);
	else
		cache_put_drop(put);
	free(buf);
	return r;
}

/* Under the lock: is it to become an object now? */
static bool is_time(const struct fs_plan *p)
{
	switch (p->plans->materialize) {
	case FS_MATERIALIZE_ALWAYS:
		return true;
	case FS_MATERIALIZE_HOT:
		return p->was_read && atomic_load(&p->plans->passthrough);
	default:
		return false;
	}
}

static void make(struct pool_job *job)
{
	struct making *m = (struct making *)job;
	struct fs_plan *p = m->plan;
	struct objid id;
	bool now;
	int r = -EAGAIN;

	pthread_mutex_lock(&p->plans->lock);
	now = is_time(p);
	p->was_read = true;
	pthread_mutex_unlock(&p->plans->lock);
	if (now)
		r = copy(m, &id);
	pthread_mutex_lock(&p->plans->lock);
	if (!r && p->forgotten == m->forgotten)
		p->whole = id;
	p->making = false;
	pthread_mutex_unlock(&p->plans->lock);
	remember(p);
	src_unref(m->src);
	fs_plan_unref(p);
	free(m);
}

void fs_plan_was_read(struct fs_plan *p, struct src *src, unsigned epoch)
{
	struct making *m;
	bool start;

	/* What is one file already needs no copy. */
	if (p->plugin || src_fd(src) >= 0)
		return;
	m = calloc(1, sizeof(*m));
	if (!m)
		return;
	pthread_mutex_lock(&p->plans->lock);
	/* What it was read from may be files that have become others. */
	start = !p->making && p->state == FS_PLAN_OK && src == p->live;
	p->making |= start;
	m->forgotten = p->forgotten;
	pthread_mutex_unlock(&p->plans->lock);
	if (!start) {
		free(m);
		return;
	}
	m->job.run = make;
	m->plan = fs_plan_ref(p);
	m->src = src_ref(src);
	m->epoch = epoch;
	pool_add(p->plans->planners, &m->job);
}
