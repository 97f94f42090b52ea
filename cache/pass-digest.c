/*
 * A file's digest goes on with each block that follows what is hashed, so it is
 * whole when somebody has read all in order. Where there is none, the version
 * that the hub tells keeps blocks of two versions apart.
 */
#include "config.h"

#include "cache/passing.h"

#include <errno.h>

bool cache_pass_nearer(struct pass *s, const struct passing *p)
{
	return p->awaited || cache_pass_find(s, p, p->hashed / PASS_BLOCK);
}

void cache_pass_begin(struct pass *s, struct passing *p)
{
	if (p->hashed != p->size && cache_pass_nearer(s, p))
		return;
	cache_pass_hashed(s, p, 0);
	p->right = false;
	for (size_t k = 0; k < PASS_BLOCKS; k++)
		if (s->block[k].p == p)
			s->block[k].given = false;
}

/* Nothing of what came stays. */
static void clear(struct pass *s, const struct passing *p)
{
	for (size_t k = 0; k < PASS_BLOCKS; k++)
		if (s->block[k].p == p && s->block[k].state == FULL)
			s->block[k].state = EMPTY;
}

static void next_epoch(struct passing *p)
{
	atomic_fetch_add(&p->c->epochs, 1);
	atomic_fetch_add(&p->epoch, 1);
}

bool cache_pass_fits(struct pass *s, struct block *b)
{
	struct passing *p = b->p;
	uint64_t told = b->read.version;

	if (b->epoch != atomic_load(&p->epoch))
		return false;
	if (p->id.alg != OBJID_NONE || src_same_version(p->at_hub, told)) {
		p->at_hub = p->at_hub ? p->at_hub : told;
		return true;
	}
	p->at_hub = told;
	(void) error_set(&p->last, -EIO, "%s: the file has become another while "
		"it was read", p->what);
	clear(s, p);
	next_epoch(p);
	return false;
}

/* All is hashed, in order. With the hash lock. Readers have the end from the
 * moment on when all counts as hashed, so what is decided is there by then. */
static void decide(struct pass *s, struct passing *p)
{
	char want[OBJID_HEX_MAX], have[OBJID_HEX_MAX];
	struct objid got;
	bool right;

	digest_final(p->digest, &got);
	digest_free(p->digest);
	p->digest = NULL;
	right = objid_match(&p->id, &got);
	objid_hex(&p->id, want);
	objid_hex(&got, have);
	pthread_mutex_lock(&s->lock);
	/* Who opens it anew begins anew. */
	cache_pass_hashed(s, p, right ? p->size : 0);
	p->right = right;
	p->wrong = !right;
	if (!right) {
		(void) error_set(&p->last, -EIO, "%s: the hub's bytes have %s "
			"%s, not %s", p->what, objid_alg_name(p->id.alg), have,
			want);
		clear(s, p);
	} else {
		p->last.code = 0;
	}
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_add(right ? &p->c->verified : &p->c->mismatches, 1);
	if (!right)
		next_epoch(p);
}

static struct block *next_to_hash(struct pass *s, struct passing *p)
{
	struct block *b;

	pthread_mutex_lock(&s->lock);
	b = p->hashed < p->size ?
		cache_pass_find(s, p, p->hashed / PASS_BLOCK) : NULL;
	if (b && b->state != FULL)
		b = NULL;
	if (b)
		b->hashing = true;
	pthread_mutex_unlock(&s->lock);
	return b;
}

void cache_pass_hash(struct pass *s, struct passing *p)
{
	struct block *b;

	while ((b = next_to_hash(s, p))) {
		uint64_t len = cache_pass_len(p, b->i);
		bool last = p->hashed + len == p->size;

		if (!b->i) {
			digest_free(p->digest);
			p->digest = NULL;
		}
		if (!p->digest)
			p->digest = digest_new(p->id.alg, p->size);
		if (p->digest)
			digest_update(p->digest, b->mem, (size_t)len);
		if (p->digest && last)
			decide(s, p);
		pthread_mutex_lock(&s->lock);
		b->hashing = false;
		if (p->digest)
			cache_pass_hashed(s, p, p->hashed + len);
		pthread_mutex_unlock(&s->lock);
		if (!p->digest)
			return;
	}
}
