/*
 * A block belongs to (file, number) while it is filled and until another one
 * takes it, the least recently read first. A read that finds no block to take
 * waits for one: so memory is bounded whatever the load, and many readers of
 * different files only get slower.
 *
 * Readers of the last block wait for the digest (pass-digest.c) as long as the
 * next block to hash is here, on its way or waited for. As long the blocks that
 * follow it stay too: who reads in order, several parts at once, has all of it
 * hashed, in whatever order the parts come.
 */
#include "config.h"

#include "cache/pass.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cache/passing.h"

#define AHEAD 6	/* blocks asked for before they are read */

struct pass_src {
	struct src s;
	struct passing *p;
	struct src *up;
	unsigned epoch;			/* when it was opened */
};

struct pass_read {
	struct pass_read *next;
	struct pass_src *s;
	struct src_read *r;
	size_t at;			/* bytes copied */
	int err;
};

/* What is to be done without the lock. */
struct todo {
	struct block *fill[PASS_BLOCKS];
	unsigned n;
	struct pass_read *done;
};

struct pass *cache_pass_new(void)
{
	struct pass *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	(void) pthread_mutex_init(&s->lock, NULL);
	s->waiting_end = &s->waiting;
	return s;
}

void cache_pass_free(struct pass *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < PASS_BLOCKS; i++)
		free(s->block[i].mem);
	(void) pthread_mutex_destroy(&s->lock);
	free(s);
}

bool cache_pass_must(struct cache *c, uint64_t size)
{
	uint64_t used = cache_used(c), avail, keep;
	struct statvfs fs;

	if (c->budget)
		return size > c->budget;
	if (fstatvfs(c->dir, &fs))
		return false;
	avail = (uint64_t)fs.f_bavail * fs.f_frsize + used;
	keep = (uint64_t)fs.f_blocks * fs.f_frsize / 10;
	return size > (avail > keep ? avail - keep : 0);
}

/* The number of the block that it waits for. */
static uint64_t wanted(const struct pass_read *r)
{
	return (r->r->off + r->at) / PASS_BLOCK;
}

/* Is it for the block that is hashed next? */
static bool wants_next(const struct pass_read *r)
{
	return wanted(r) == r->s->p->hashed / PASS_BLOCK;
}

void cache_pass_hashed(struct pass *s, struct passing *p, uint64_t hashed)
{
	p->hashed = hashed;
	p->awaited = false;
	for (struct pass_read *r = s->waiting; r && !p->awaited; r = r->next)
		p->awaited = r->s->p == p && wants_next(r);
}

/* ---- files ----------------------------------------------------------------- */

static struct passing *find_file(struct pass *s, const char *key)
{
	struct passing *p = s->files;

	while (p && strcmp(p->key, key))
		p = p->next;
	return p;
}

bool cache_pass_right(struct cache *c, const char *key)
{
	struct passing *p;
	bool right;

	pthread_mutex_lock(&c->pass->lock);
	p = find_file(c->pass, key);
	right = p && p->right;
	pthread_mutex_unlock(&c->pass->lock);
	return right;
}

static struct passing *new_file(struct cache *c, const struct cache_name *n,
	const char *key)
{
	struct passing *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	if (asprintf(&p->what, "%s/%s@%s/%s", n->hub, n->repo, n->revision,
			n->path) < 0) {
		free(p);
		return NULL;
	}
	p->c = c;
	(void) snprintf(p->key, sizeof(p->key), "%s", key);
	p->size = n->size;
	p->id = n->id;
	(void) pthread_mutex_init(&p->hash_lock, NULL);
	return p;
}

/* Under the lock. Returns p when it is to be freed. */
static struct passing *put_file(struct pass *s, struct passing *p)
{
	struct passing **at = &s->files;

	if (--p->refs)
		return NULL;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	for (size_t i = 0; i < PASS_BLOCKS; i++)
		if (s->block[i].p == p) {
			s->block[i].p = NULL;
			s->block[i].state = EMPTY;
		}
	if (!s->files) {	/* nobody needs the memory */
		for (size_t i = 0; i < PASS_BLOCKS; i++) {
			free(s->block[i].mem);
			s->block[i].mem = NULL;
		}
	}
	return p;
}

static void free_file(struct passing *p)
{
	struct cache *c;

	if (!p)
		return;
	c = p->c;
	digest_free(p->digest);
	(void) pthread_mutex_destroy(&p->hash_lock);
	free(p->what);
	free(p);
	pthread_mutex_lock(&c->lock);
	if (!--c->n_blobs)
		pthread_cond_broadcast(&c->empty);
	pthread_mutex_unlock(&c->lock);
}

/* ---- blocks, under the lock -------------------------------------------------- */

struct block *cache_pass_find(struct pass *s, const struct passing *p,
	uint64_t i)
{
	for (size_t k = 0; k < PASS_BLOCKS; k++) {
		struct block *b = &s->block[k];

		if (b->state != EMPTY && b->p == p && b->i == i)
			return b;
	}
	return NULL;
}

uint64_t cache_pass_len(const struct passing *p, uint64_t i)
{
	uint64_t off = i * PASS_BLOCK;

	return p->size - off < PASS_BLOCK ? p->size - off : PASS_BLOCK;
}

/* What lies ahead of the digest stays while the digest comes nearer; but the
 * block it waits for, the `next` of its own file, finds a place among those
 * that will be asked for once more. */
static bool stays(struct pass *s, const struct block *b,
	const struct passing *next)
{
	const struct passing *p = b->p;

	return b->state == FILLING || b->hashing || (b->state == FULL &&
		(p != next || b->given) && p->id.alg != OBJID_NONE &&
		b->i * PASS_BLOCK >= p->hashed && cache_pass_nearer(s, p));
}

/* The one to take, least recently read; NULL: all stay. */
static struct block *oldest(struct pass *s, const struct passing *next)
{
	struct block *b = NULL;

	for (size_t k = 0; k < PASS_BLOCKS; k++) {
		struct block *x = &s->block[k];

		if (!stays(s, x, next) && (!b || (b->state != EMPTY &&
				(x->state == EMPTY || x->used < b->used))))
			b = x;
	}
	return b;
}

/* Nothing is on its way, nor here and hashed next, so nothing would ever let go:
 * a digest is given up. */
static struct block *forsaken(struct pass *s, const struct passing *p)
{
	struct block *b = NULL;

	for (size_t k = 0; k < PASS_BLOCKS; k++) {
		struct block *x = &s->block[k];

		if (x->state == FILLING || x->hashing || (x->state == FULL &&
		    x->i * PASS_BLOCK == x->p->hashed))
			return NULL;
		if (x->p == p && (!b || x->used < b->used))
			b = x;
	}
	return b;
}

/* To be filled by the caller. NULL: all are busy, or no memory, or what he gets is
 * not what the file is now. */
static struct block *take_block(struct pass *s, struct pass_src *src,
	uint64_t i, struct todo *todo)
{
	const struct passing *next = i == src->p->hashed / PASS_BLOCK ?
		src->p : NULL;
	struct block *b;

	if (src->epoch != atomic_load(&src->p->epoch))
		return NULL;
	b = oldest(s, next);
	if (!b && next)
		b = forsaken(s, next);
	if (b && !b->mem)
		b->mem = malloc(PASS_BLOCK);
	if (!b || !b->mem)
		return NULL;
	if (!i)
		cache_pass_begin(s, src->p);
	b->p = src->p;
	b->p->refs++;
	b->up = src_ref(src->up);
	b->i = i;
	b->epoch = src->epoch;
	b->state = FILLING;
	b->given = false;
	b->used = ++s->clock;
	todo->fill[todo->n++] = b;
	return b;
}

/* May the last block be given out? */
static bool may_end(struct pass *s, const struct passing *p, uint64_t i)
{
	if ((i + 1) * PASS_BLOCK < p->size || p->id.alg == OBJID_NONE ||
	    p->hashed == p->size)
		return true;
	return !cache_pass_nearer(s, p);
}

/* Copies what is here, and where it may take blocks has them filled. 1: done;
 * 0: it waits. */
static int advance(struct pass *s, struct pass_read *r, bool may_take,
	struct todo *todo)
{
	struct passing *p = r->s->p;

	if (p->wrong || atomic_load(&p->epoch) != r->s->epoch)
		r->err = -EIO;
	while (!r->err && r->at < r->r->len) {
		uint64_t off = r->r->off + r->at, i = off / PASS_BLOCK;
		struct block *b = cache_pass_find(s, p, i);
		size_t from = (size_t)(off % PASS_BLOCK), n;

		if (!b && may_take && todo->n < PASS_BLOCKS)
			b = take_block(s, r->s, i, todo);
		if (!b || b->state == FILLING || !may_end(s, p, i))
			return 0;
		n = (size_t)cache_pass_len(p, i) - from;
		if (n > r->r->len - r->at)
			n = r->r->len - r->at;
		memcpy((uint8_t *)r->r->buf + r->at, b->mem + from, n);
		b->given = true;
		b->used = ++s->clock;
		r->at += n;
	}
	return 1;
}

/* A block of a file that could not be filled; err 0: none. The block itself
 * may be another's already. */
struct failure {
	const struct passing *p;
	uint64_t i;
	int err;
};

/* Look at all who wait. True: one had an error, and what stayed for him need
 * not stay. */
static bool look_at_all(struct pass *s, const struct failure *failed,
	struct todo *todo)
{
	struct pass_read **at = &s->waiting, *r;
	bool wrong = false;

	for (struct passing *p = s->files; p; p = p->next)
		p->awaited = false;
	for (r = s->waiting; r; r = r->next)
		r->s->p->awaited |= wants_next(r);
	while ((r = *at)) {
		if (failed->err && r->s->p == failed->p &&
		    wanted(r) == failed->i)
			r->err = failed->err;
		if (!advance(s, r, true, todo)) {
			at = &r->next;
			continue;
		}
		wrong |= r->err != 0;
		*at = r->next;
		r->next = todo->done;
		todo->done = r;
	}
	s->waiting_end = at;
	return wrong;
}

static void kick(struct pass *s, const struct failure *failed,
	struct todo *todo)
{
	static const struct failure none;

	while (look_at_all(s, failed, todo))
		failed = &none;
}

/* ---- filling ------------------------------------------------------------------- */

static void filled(struct pool_job *job);

static void came(struct src_read *read, int err)
{
	struct block *b = (struct block *)(void *)((char *)read -
		offsetof(struct block, read));

	b->err = err;
	b->job.run = filled;
	pool_add(b->p->c->pool, &b->job);
}

static void run(struct todo *todo)
{
	struct pass_read *r;

	for (unsigned i = 0; i < todo->n; i++) {
		struct block *b = todo->fill[i];
		int err;

		b->read = (struct src_read){ .off = b->i * PASS_BLOCK,
			.len = (size_t)cache_pass_len(b->p, b->i), .buf = b->mem,
			.done = came };
		err = src_read(b->up, &b->read);
		if (err != -EINPROGRESS)
			came(&b->read, err);
	}
	while ((r = todo->done)) {
		todo->done = r->next;
		r->r->done(r->r, r->err);
		free(r);
	}
}

static void filled(struct pool_job *job)
{
	struct block *b = (struct block *)(void *)((char *)job -
		offsetof(struct block, job));
	struct todo todo = { .n = 0 };
	struct passing *p = b->p, *gone;
	const struct failure failed = { p, b->i, b->err };
	struct pass *s = p->c->pass;
	unsigned epoch = atomic_load(&p->epoch);
	struct src *up = b->up;

	pthread_mutex_lock(&p->hash_lock);
	pthread_mutex_lock(&s->lock);
	b->up = NULL;
	b->state = !failed.err && cache_pass_fits(s, b) ? FULL : EMPTY;
	if (failed.err)
		(void) error_set(&p->last, failed.err, "%s: %s", p->what,
			strerror(-failed.err));
	else	/* who waits has it before the digest lets it go */
		kick(s, &failed, &todo);
	pthread_mutex_unlock(&s->lock);
	if (!failed.err && p->id.alg != OBJID_NONE)
		cache_pass_hash(s, p);
	pthread_mutex_unlock(&p->hash_lock);
	if (atomic_load(&p->epoch) != epoch && p->c->on_epoch) {
		struct pass_src told = { .p = p };

		/* Who is told looks at nothing but that there is one. */
		p->c->on_epoch(p->c->on_epoch_arg, &told.s);
	}
	pthread_mutex_lock(&s->lock);
	kick(s, &failed, &todo);
	gone = put_file(s, p);
	pthread_mutex_unlock(&s->lock);
	(void) src_unref(up);
	run(&todo);
	free_file(gone);
}

/* Has one that waits no block yet? */
static bool lacks_room(struct pass *s)
{
	const struct pass_read *r = s->waiting;

	while (r && cache_pass_find(s, r->s->p, wanted(r)))
		r = r->next;
	return r;
}

/* ---- the src ------------------------------------------------------------------------ */

static struct pass_src *of(struct src *s)
{
	return (struct pass_src *)s;
}

static int pass_read(struct src *src, struct src_read *read)
{
	struct pass_src *ps = of(src);
	struct pass *s = ps->p->c->pass;
	struct pass_read *r = calloc(1, sizeof(*r));
	struct todo todo = { .n = 0 };
	int done, err;

	if (!r)
		return -ENOMEM;
	r->s = ps;
	r->r = read;
	pthread_mutex_lock(&s->lock);
	/* Who waits for room is first: his block may come before it in the
	 * file. */
	done = advance(s, r, !lacks_room(s), &todo);
	err = r->err;
	if (!done) {
		ps->p->awaited |= wants_next(r);
		*s->waiting_end = r;
		s->waiting_end = &r->next;
	}
	pthread_mutex_unlock(&s->lock);
	if (done)
		free(r);
	run(&todo);
	return done ? err : -EINPROGRESS;
}

static void pass_hint(struct src *src, uint64_t off, uint64_t len)
{
	struct pass_src *ps = of(src);
	struct pass *s = ps->p->c->pass;
	struct todo todo = { .n = 0 };
	uint64_t i = off / PASS_BLOCK, end = i + AHEAD;
	unsigned filling = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t k = 0; k < PASS_BLOCKS; k++)
		filling += s->block[k].state == FILLING;
	for (; i < end && i * PASS_BLOCK < off + len; i++)
		if (filling + todo.n < PASS_BLOCKS / 2 && !s->waiting &&
		    !cache_pass_find(s, ps->p, i) &&
		    !take_block(s, ps, i, &todo))
			break;
	pthread_mutex_unlock(&s->lock);
	run(&todo);
}

static unsigned pass_epoch(const struct src *src)
{
	return atomic_load(&((const struct pass_src *)src)->p->epoch);
}

static void pass_stat(struct src *src, struct src_stat *ret)
{
	struct pass_src *ps = of(src);
	struct pass *s = ps->p->c->pass;

	pthread_mutex_lock(&s->lock);
	*ret = (struct src_stat){ .state = SRC_REMOTE, .id = ps->p->id,
		.passes = true, .passed_right = ps->p->right,
		.last = ps->p->last };
	pthread_mutex_unlock(&s->lock);
}

static void pass_free(struct src *src)
{
	struct pass_src *ps = of(src);
	struct pass *s = ps->p->c->pass;
	struct passing *gone;

	pthread_mutex_lock(&s->lock);
	gone = put_file(s, ps->p);
	pthread_mutex_unlock(&s->lock);
	(void) src_unref(ps->up);
	free(ps);
	free_file(gone);
}

static const struct src_ops pass_ops = {
	.name = "passing",
	.read = pass_read,
	.hint = pass_hint,
	.epoch = pass_epoch,
	.stat = pass_stat,
	.free = pass_free,
};

int cache_pass_open(struct cache *c, const struct cache_name *name,
	const char *key, struct src *upstream, struct src **ret)
{
	struct pass_src *ps = calloc(1, sizeof(*ps));
	struct passing *fresh = new_file(c, name, key), *p;
	struct pass *s = c->pass;

	if (!ps || !fresh) {
		free(ps);
		if (fresh)
			free(fresh->what);
		free(fresh);
		return -ENOMEM;
	}
	pthread_mutex_lock(&c->lock);
	c->n_blobs++;
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_lock(&s->lock);
	p = find_file(s, key);
	if (!p) {
		p = fresh;
		fresh = NULL;
		p->next = s->files;
		s->files = p;
	}
	p->refs++;
	p->wrong = false;	/* a new open is a new attempt */
	ps->epoch = atomic_load(&p->epoch);
	pthread_mutex_unlock(&s->lock);
	free_file(fresh);
	src_init(&ps->s, &pass_ops, name->size);
	ps->p = p;
	ps->up = src_ref(upstream);
	*ret = &ps->s;
	return 0;
}
