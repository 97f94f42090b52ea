/*
 * The two files of a partial object before they are one's: a directory below
 * tmp/, in which `data` and `map` are empty. Making them takes longer than
 * anything else between a read of what is not here and the question to the
 * hub. So a program that serves readers has a pair ready, made while nobody
 * waits; the next is made when the bytes have come that the last was for.
 *
 * A pair that lies long may be swept from tmp/ by another process's gc: who
 * takes it looks whether both files are still there, under the lock of names.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/store.h"

#define MAP_LEAST 8192	/* bytes; no map is shorter than its second block */

static int open_new(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		0600);

	return fd < 0 ? -errno : fd;
}

static void close_both(struct cache_pair *p)
{
	if (p->data >= 0)
		(void) close(p->data);
	if (p->map >= 0)
		(void) close(p->map);
}

void cache_pair_drop(struct cache *c, struct cache_pair *p)
{
	close_both(p);
	(void) io_remove_tree(c->dir, p->tmp);
}

int cache_pair_make(struct cache *c, struct cache_pair *ret)
{
	struct cache_pair p = { .data = -1, .map = -1 };
	cleanup_fd int dir = -1;

	cache_store_tmp(c, p.tmp);
	if (mkdirat(c->dir, p.tmp, 0700) < 0)
		return -errno;
	dir = openat(c->dir, p.tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p.data = dir < 0 ? -errno : open_new(dir, "data");
	p.map = p.data < 0 ? p.data : open_new(dir, "map");
	if (p.map < 0) {
		cache_pair_drop(c, &p);
		return p.map;
	}
	*ret = p;
	return 0;
}

static bool is_there(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_nlink;
}

/* One buffer that has its memory already. It is hashed because libxxhash looks
 * its own functions up when it first calls them. */
static void warm_piece(struct cache *c)
{
	XXH3_state_t *h;
	uint8_t *piece;

	if (c->spare.warm)
		return;
	h = XXH3_createState();
	piece = cache_piece_take(c);
	if (piece)
		memset(piece, 0xff, PIECE_LEN);
	if (h && piece) {
		(void) XXH3_64bits_reset(h);
		(void) XXH3_64bits_update(h, piece, PIECE_LEN);
		(void) XXH3_64bits_digest(h);
	}
	(void) XXH3_freeState(h);
	cache_piece_give(c, piece);
	c->spare.warm = true;
}

static void run_make(struct pool_job *job)
{
	struct cache_spare *s = (struct cache_spare *)job;
	struct cache *c = s->c;
	struct cache_pair p;
	int r;

	warm_piece(c);
	r = cache_pair_make(c, &p);

	/* Where it cannot be, it is done when the length is known. */
	if (!r && !fallocate(p.map, FALLOC_FL_KEEP_SIZE, 0, MAP_LEAST))
		p.room = MAP_LEAST;
	pthread_mutex_lock(&c->store_lock);
	if (!r)
		s->pair = p;
	s->ready = !r;
	s->queued = false;
	pthread_mutex_unlock(&c->store_lock);
}

bool cache_spare_take(struct cache *c, struct cache_pair *ret)
{
	struct cache_spare *s = &c->spare;
	bool good = s->ready && is_there(s->pair.data) &&
		is_there(s->pair.map);

	if (s->ready && !good)
		cache_pair_drop(c, &s->pair);
	else if (good)
		*ret = s->pair;
	s->ready = false;
	if (s->wanted && !s->queued) {
		s->queued = true;
		cache_later(c, &s->job);
	}
	return good;
}

void cache_prepare(struct cache *c)
{
	struct cache_spare *s = &c->spare;
	bool first;

	pthread_mutex_lock(&c->store_lock);
	first = !s->wanted;
	if (first) {
		s->wanted = s->queued = true;
		s->c = c;
		s->job.run = run_make;
	}
	pthread_mutex_unlock(&c->store_lock);
	if (first)
		pool_add(c->keepers, &s->job);
}

void cache_spare_done(struct cache *c)
{
	if (c->spare.ready)
		cache_pair_drop(c, &c->spare.pair);
	c->spare.ready = false;
}

/* ---- what can wait until readers have their bytes -------------------------------- */

void cache_later(struct cache *c, struct pool_job *job)
{
	pthread_mutex_lock(&c->later_lock);
	job->next = c->later;
	c->later = job;
	atomic_store(&c->any_later, true);
	pthread_mutex_unlock(&c->later_lock);
}

void cache_later_go(struct cache *c)
{
	struct pool_job *list, *next;

	if (!atomic_load(&c->any_later))
		return;
	pthread_mutex_lock(&c->later_lock);
	list = c->later;
	c->later = NULL;
	atomic_store(&c->any_later, false);
	pthread_mutex_unlock(&c->later_lock);
	for (; list; list = next) {
		next = list->next;
		pool_add(c->keepers, list);
	}
}
