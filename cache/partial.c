#include "config.h"

#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/io.h"
#include "cache/bitmap.h"
#include "cache/lock.h"

#define MAGIC UINT64_C(0x3130545241504855)	/* "UHPART01" */
#define PARTIAL_VERSION 1
#define PIECE 16384UL		/* bytes on the stack */

_Static_assert(sizeof(struct partial_head) <= PARTIAL_HEAD, "head");

static uint64_t chunks_of(uint64_t size, uint32_t chunk)
{
	return size / chunk + (size % chunk != 0);
}

static bool chunk_ok(uint32_t chunk)
{
	return chunk >= 64 * 1024 && chunk <= 4 * 1024 * 1024 &&
		!(chunk & (chunk - 1));
}

static size_t map_len(uint64_t n)
{
	return PARTIAL_HEAD + (size_t)n * sizeof(uint64_t);
}

void cache_partial_close_fd(struct partial *p)
{
	if (p->data >= 0)
		(void) close(p->data);
	p->data = -1;
}

void cache_partial_retire(struct partial *p)
{
	p->over = true;
	if (!p->n_busy)
		cache_partial_close_fd(p);
}

void cache_partial_close(struct partial *p)
{
	if (!p)
		return;
	cache_partial_close_fd(p);
	if (p->mem)
		(void) munmap((void *)(uintptr_t)p->mem, (size_t)p->size);
	if (p->head)
		(void) munmap(p->head, map_len(p->n));
	free(p->busy);
	free(p->checked);
	free(p->handed);
	free(p->found);
	digest_free(p->sha256);
	digest_free(p->own);
	free(p);
}

/* The two files are what we think, and mapped. */
static int attach(struct partial *p, int map, uint64_t size)
{
	struct partial_head head;
	struct stat st;
	void *m;
	int r;

	r = io_pread(map, &head, sizeof(head), 0);
	if (r)
		return r == -ENODATA ? -EBADMSG : r;
	if (size)	/* not only to verify it */
		(void) futimens(map, NULL);
	else
		size = head.size;
	if (head.magic != MAGIC || head.version != PARTIAL_VERSION ||
	    !chunk_ok(head.chunk) || head.size != size || !size ||
	    size > INT64_MAX / 2 ||
	    atomic_load(&head.state) != PARTIAL_FILLING)
		return -EBADMSG;
	p->size = size;
	p->chunk = head.chunk;
	p->n = chunks_of(size, head.chunk);
	if (fstat(p->data, &st) < 0 || (uint64_t)st.st_size != size ||
	    fstat(map, &st) < 0 ||
	    (uint64_t)st.st_size != map_len(p->n))
		return -EBADMSG;
	m = mmap(NULL, map_len(p->n), PROT_READ | PROT_WRITE, MAP_SHARED,
		map, 0);
	if (m == MAP_FAILED)
		return -errno;
	p->head = m;
	p->entry = (void *)((uint8_t *)m + PARTIAL_HEAD);
	m = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, p->data, 0);
	if (m == MAP_FAILED)
		return -errno;
	p->mem = m;
	return cache_lock_mark(p->data);
}

/* data is taken over. */
static int take_on(struct cache *c, int data, int map, uint64_t size,
	struct partial **ret)
{
	struct partial *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		(void) close(data);
		return -ENOMEM;
	}
	p->c = c;
	p->data = data;
	r = attach(p, map, size);
	if (!r) {
		p->busy = cache_bitmap_new(p->n);
		p->checked = cache_bitmap_new(p->n);
		p->handed = cache_bitmap_new(p->n);
		p->found = cache_bitmap_new(p->n);
		if (!p->busy || !p->checked || !p->handed || !p->found)
			r = -ENOMEM;
		p->lost = atomic_load(&p->head->lost);
		for (uint64_t i = 0; i < p->n && !r; i++) {
			if (atomic_load(&p->entry[i]))
				cache_bitmap_set(p->found, i);
		}
	}
	if (r) {
		cache_partial_close(p);
		return r;
	}
	*ret = p;
	return 0;
}

/* The directory is there: what it has not, or does not let us have, is of no
 * use to anybody. */
static int open_half(struct cache *c, const char *name)
{
	int fd = cache_store_open(c, name, O_RDWR);

	return fd == -ENOENT || fd == -EACCES ? -EBADMSG : fd;
}

static int load(struct cache *c, const char *rel, uint64_t size,
	struct partial **ret)
{
	char name[CACHE_REL_MAX];
	cleanup_fd int map = -1;
	struct stat st;
	int data;

	if (fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -EBADMSG;
	(void) snprintf(name, sizeof(name), "%.90s/map", rel);
	map = open_half(c, name);
	if (map < 0)
		return map;
	(void) snprintf(name, sizeof(name), "%.90s/data", rel);
	data = open_half(c, name);
	return data < 0 ? data : take_on(c, data, map, size, ret);
}

static int fill_in(const struct cache_pair *f, const char *name,
	uint64_t size, uint32_t chunk, bool distrust)
{
	struct partial_head head = {
		.magic = MAGIC,
		.version = PARTIAL_VERSION,
		.chunk = chunk,
		.size = size,
		.distrust = distrust,
	};
	size_t len = map_len(chunks_of(size, chunk));
	int r;

	(void) snprintf(head.name, sizeof(head.name), "%s", name);
	/* The map is written through a mapping: its blocks must exist, or a
	 * full disk kills the process. The data are sparse. */
	if (len > f->room)
		r = -posix_fallocate(f->map, 0, (off_t)len);
	else
		r = ftruncate(f->map, (off_t)len) < 0 ? -errno : 0;
	if (!r)
		r = io_pwrite(f->map, &head, sizeof(head), 0);
	if (!r && ftruncate(f->data, (off_t)size) < 0)
		r = -errno;
	return r;
}

static int make_new(struct cache *c, const char *rel, const char *name,
	uint64_t size, uint32_t chunk, bool distrust, struct partial **ret)
{
	bool spare = true;
	struct cache_pair f;
	int r;

	do {
		spare = spare && cache_spare_take(c, &f);
		r = spare ? 0 : cache_pair_make(c, &f);
		if (r)
			return r;
		r = fill_in(&f, name, size, chunk, distrust);
		if (!r && renameat(c->dir, f.tmp, c->dir, rel) < 0)
			r = -errno;
		if (r)
			cache_pair_drop(c, &f);
	} while (r && spare);
	if (r)
		return r;
	r = take_on(c, f.data, f.map, size, ret);
	(void) close(f.map);
	return r;
}

int cache_partial_open_locked(struct cache *c, const char *key,
	const char *name, uint64_t size, uint32_t chunk, bool distrust,
	bool make, struct partial **ret)
{
	char rel[CACHE_REL_MAX];
	uint64_t bytes = 0;
	int r;

	(void) snprintf(rel, sizeof(rel), "partial/%s", key);
	r = load(c, rel, size, ret);
	if (r == -EBADMSG) {
		(void) cache_partial_peek(c, key, 0, &bytes);
		(void) cache_store_discard(c, rel, bytes);
		r = faccessat(c->dir, rel, F_OK, AT_SYMLINK_NOFOLLOW) ?
			-ENOENT : -EACCES;
	}
	if (r != -ENOENT || !make)
		return r;
	return make_new(c, rel, name, size, chunk, distrust, ret);
}

int cache_partial_open(struct cache *c, const char *key, const char *name,
	uint64_t size, uint32_t chunk, bool distrust, bool make,
	struct partial **ret)
{
	int r;

	cache_store_enter(c);
	r = cache_partial_open_locked(c, key, name, size, chunk, distrust,
		make, ret);
	cache_store_leave(c);
	return r;
}

/* By pread() and not of the mapping: what the disk cannot read would end the
 * process there, and is a wrong chunk here. 0 then. */
static uint64_t hash_of(const struct partial *p, uint64_t i)
{
	uint64_t at = i * p->chunk, end = at + cache_partial_len(p, i);
	XXH3_state_t *h = XXH3_createState();
	uint8_t piece[PIECE];
	uint64_t got = 0;

	if (!h || XXH3_64bits_reset(h) == XXH_ERROR)
		return 0;
	while (at < end) {
		size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;

		if (io_pread(p->data, piece, n, at))
			break;
		(void) XXH3_64bits_update(h, piece, n);
		at += n;
	}
	if (at == end)
		got = XXH3_64bits_digest(h);
	(void) XXH3_freeState(h);
	return at == end && !got ? 1 : got;
}

/* We have found chunk i wrong. What is an object by now counts as a whole. */
static void count_lost(struct partial *p, uint64_t i)
{
	uint32_t lost = atomic_fetch_add(&p->head->lost, 1);

	if (p->lost == lost)	/* no news for us */
		p->lost++;
	cache_store_enter(p->c);
	if (atomic_load(&p->head->state) == PARTIAL_FILLING)
		cache_release(p->c, cache_partial_len(p, i));
	cache_store_leave(p->c);
}

bool cache_partial_has(struct partial *p, uint64_t i)
{
	uint64_t want = atomic_load(&p->entry[i]);

	if (!want)
		return false;
	if (cache_bitmap_get(p->checked, i))
		return true;
	if (p->data < 0)	/* settled or discarded: nothing to say here */
		return false;
	if (hash_of(p, i) == want) {
		cache_bitmap_set(p->checked, i);
		return true;
	}
	if (atomic_compare_exchange_strong(&p->entry[i], &want, 0))
		count_lost(p, i);
	if (i < p->first_absent)
		p->first_absent = i;
	if (i < p->hashed)
		p->rehash = true;
	return false;
}

bool cache_partial_complete(struct partial *p)
{
	uint32_t lost = atomic_load(&p->head->lost);

	if (lost != p->lost) {
		p->lost = lost;
		p->first_absent = 0;
		p->rehash = p->sha256 != NULL;
	}
	while (p->first_absent < p->n &&
	       atomic_load(&p->entry[p->first_absent]))
		p->first_absent++;
	return p->first_absent == p->n;
}

void cache_partial_clear(struct partial *p, uint64_t i)
{
	/* Somebody may still be reading what was found wrong there. */
	if (p->data < 0 || atomic_load(&p->head->lost))
		return;
	(void) fallocate(p->data, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)(i * p->chunk), (off_t)cache_partial_len(p, i));
}

void cache_partial_publish(struct partial *p, uint64_t i, uint64_t hash)
{
	cache_bitmap_set(p->checked, i);
	atomic_store(&p->entry[i], hash);
}

uint64_t cache_partial_present(const struct partial *p, uint64_t off,
	uint64_t len)
{
	uint64_t sum = 0, end = off + len;

	for (uint64_t i = off / p->chunk; i < p->n && i * p->chunk < end;
	     i++) {
		uint64_t from = i * p->chunk;
		uint64_t to = from + cache_partial_len(p, i);

		if (!atomic_load(&p->entry[i]))
			continue;
		if (from < off)
			from = off;
		if (to > end)
			to = end;
		sum += to - from;
	}
	return sum;
}

int cache_partial_peek(struct cache *c, const char *key, uint64_t size,
	uint64_t *ret_bytes)
{
	struct partial p = { .data = -1, .size = size };
	struct partial_head head;
	char rel[CACHE_REL_MAX];
	cleanup_fd int fd = -1;
	struct stat st;
	void *m;

	/* Killed while its data became an object: nothing is left of it. */
	(void) snprintf(rel, sizeof(rel), "partial/%s/data", key);
	if (faccessat(c->dir, rel, F_OK, AT_SYMLINK_NOFOLLOW))
		return -ENOENT;
	(void) snprintf(rel, sizeof(rel), "partial/%s/map", key);
	fd = openat(c->dir, rel, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK);
	if (fd < 0)
		return -ENOENT;
	if (io_pread(fd, &head, sizeof(head), 0) || head.magic != MAGIC ||
	    head.version != PARTIAL_VERSION || !chunk_ok(head.chunk) ||
	    (size && head.size != size) || !head.size ||
	    head.size > INT64_MAX / 2)
		return -ENOENT;
	p.size = head.size;
	p.chunk = head.chunk;
	p.n = chunks_of(p.size, p.chunk);
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != map_len(p.n))
		return -ENOENT;
	m = mmap(NULL, map_len(p.n), PROT_READ, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		return -errno;
	p.entry = (void *)((uint8_t *)m + PARTIAL_HEAD);
	*ret_bytes = cache_partial_present(&p, 0, p.size);
	(void) munmap(m, map_len(p.n));
	return 0;
}
