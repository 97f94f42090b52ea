#include "config.h"

#include "fs/handover.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x3130444e4148484f)	/* "OHHAND01" */
#define UNIT 64		/* bytes; seats begin at multiples of it */
#define HEAD 4096	/* bytes */
#define FIRST_SIZE (1UL << 20)
#define CLASSES 128	/* free lists: seats of 1 … CLASSES units */
#define FIRST_ROOM 1024

_Static_assert(sizeof(struct fs_handover_head) <= HEAD, "head");

struct seat {
	uint32_t units;		/* of UNIT bytes, this head with them */
	_Atomic uint32_t used;
	uint64_t ino;
	struct fs_seat s;
	uint32_t len;
	char text[];
};

struct slot {
	uint64_t ino;		/* 0: free */
	uint64_t at;		/* offset of its seat */
};

struct fs_handover {
	int fd;
	pthread_mutex_t lock;
	uint8_t *mem;		/* lock but for the head */
	size_t size;		/* lock; bytes mapped */
	struct fs_handover_head *head;	/* a mapping of its own: stays */
	struct slot *slots;	/* lock; open addressing by ino */
	size_t n, room;		/* lock; room is a power of two */
	uint64_t *free[CLASSES];	/* lock; offsets of free seats */
	size_t n_free[CLASSES], free_room[CLASSES];	/* lock */
};

/* ---- the memory ----------------------------------------------------------- */

static int map_more(struct fs_handover *h, size_t size)
{
	void *m;

	if (size > h->size && ftruncate(h->fd, (off_t)size) < 0)
		return -errno;
	if (h->mem)
		m = mremap(h->mem, h->size, size, MREMAP_MAYMOVE);
	else
		m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			h->fd, 0);
	if (m == MAP_FAILED)
		return -errno;
	h->mem = m;
	h->size = size;
	return 0;
}

static int open_memory(int fd, struct fs_handover **ret)
{
	struct fs_handover *h = calloc(1, sizeof(*h));
	void *m;

	if (!h) {
		(void) close(fd);
		return -ENOMEM;
	}
	h->fd = fd;
	(void) pthread_mutex_init(&h->lock, NULL);
	m = mmap(NULL, HEAD, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED) {
		int err = errno;

		fs_handover_free(h);
		return -err;
	}
	h->head = m;
	*ret = h;
	return 0;
}

int fs_handover_new(struct fs_handover **ret)
{
	int fd = memfd_create("omnihub-handover", MFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, FIRST_SIZE) < 0) {
		r = -errno;
		(void) close(fd);
		return r;
	}
	r = open_memory(fd, ret);
	if (!r)
		(*ret)->head->magic = MAGIC;
	return r;
}

int fs_handover_open(int fd, struct fs_handover **ret)
{
	struct fs_handover *h;
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0 || st.st_size < HEAD) {
		(void) close(fd);
		return -EPROTO;
	}
	r = open_memory(fd, &h);
	if (!r && h->head->magic != MAGIC) {
		fs_handover_free(h);
		r = -EPROTO;
	}
	if (!r)
		*ret = h;
	return r;
}

void fs_handover_free(struct fs_handover *h)
{
	if (!h)
		return;
	if (h->mem)
		(void) munmap(h->mem, h->size);
	if (h->head)
		(void) munmap(h->head, HEAD);
	(void) close(h->fd);
	for (size_t i = 0; i < CLASSES; i++)
		free(h->free[i]);
	free(h->slots);
	(void) pthread_mutex_destroy(&h->lock);
	free(h);
}

struct fs_handover_head *fs_handover_head(struct fs_handover *h)
{
	return h->head;
}

int fs_handover_fd(const struct fs_handover *h)
{
	return h->fd;
}

/* ---- numbers, under the lock ------------------------------------------------- */

static struct seat *seat_at(struct fs_handover *h, uint64_t at)
{
	return (struct seat *)(void *)(h->mem + HEAD + at);
}

/* The slot of ino, or the free one where it would be. */
static struct slot *slot_of(struct fs_handover *h, uint64_t ino)
{
	size_t i = (size_t)ino & (h->room - 1);

	while (h->slots[i].ino && h->slots[i].ino != ino)
		i = (i + 1) & (h->room - 1);
	return &h->slots[i];
}

static struct seat *find(struct fs_handover *h, uint64_t ino)
{
	struct slot *s = h->room && ino ? slot_of(h, ino) : NULL;

	return s && s->ino ? seat_at(h, s->at) : NULL;
}

static int slot_put(struct fs_handover *h, uint64_t ino, uint64_t at)
{
	struct fs_handover old = { .slots = h->slots, .room = h->room };

	if (2 * (h->n + 1) > h->room) {
		size_t room = h->room ? 2 * h->room : FIRST_ROOM;
		struct slot *v = calloc(room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		h->slots = v;
		h->room = room;
		for (size_t i = 0; i < old.room; i++)
			if (old.slots[i].ino)
				*slot_of(h, old.slots[i].ino) = old.slots[i];
		free(old.slots);
	}
	*slot_of(h, ino) = (struct slot){ ino, at };
	h->n++;
	return 0;
}

/* What stood behind it and would not be found any more moves up. */
static void slot_del(struct fs_handover *h, uint64_t ino)
{
	size_t i = (size_t)(slot_of(h, ino) - h->slots), next;

	h->slots[i].ino = 0;
	h->n--;
	for (next = (i + 1) & (h->room - 1); h->slots[next].ino;
	     next = (next + 1) & (h->room - 1)) {
		struct slot moved = h->slots[next];

		h->slots[next].ino = 0;
		*slot_of(h, moved.ino) = moved;
	}
}

/* ---- seats, under the lock ------------------------------------------------------ */

static void free_add(struct fs_handover *h, uint32_t units, uint64_t at)
{
	size_t c = units - 1;

	if (h->n_free[c] == h->free_room[c]) {
		size_t room = h->free_room[c] ? 2 * h->free_room[c] : 64;
		uint64_t *v = reallocarray(h->free[c], room, sizeof(*v));

		if (!v)
			return;		/* lost until the next server */
		h->free[c] = v;
		h->free_room[c] = room;
	}
	h->free[c][h->n_free[c]++] = at;
}

static int take_free(struct fs_handover *h, uint32_t units, uint64_t *ret)
{
	size_t c = units - 1;
	uint64_t end = atomic_load(&h->head->end);
	struct seat *s;
	int r;

	if (h->n_free[c]) {
		*ret = h->free[c][--h->n_free[c]];
		return 0;
	}
	if (HEAD + end + (uint64_t)units * UNIT > h->size) {
		r = map_more(h, 2 * h->size);
		if (r)
			return r;
	}
	s = seat_at(h, end);
	atomic_store(&s->used, 0);
	s->units = units;
	atomic_store(&h->head->end, end + (uint64_t)units * UNIT);
	*ret = end;
	return 0;
}

int fs_handover_resume(struct fs_handover *h)
{
	uint64_t at = 0, end = atomic_load(&h->head->end);
	struct stat st;
	int r;

	if (fstat(h->fd, &st) < 0)
		return -errno;
	if (st.st_size < HEAD || end > (uint64_t)st.st_size - HEAD)
		return -EPROTO;
	r = map_more(h, (size_t)st.st_size);
	for (; !r && at < end; at += (uint64_t)seat_at(h, at)->units * UNIT) {
		struct seat *s = seat_at(h, at);

		if (!s->units || s->units > CLASSES ||
		    (uint64_t)s->units * UNIT > end - at)
			r = -EPROTO;
		else if (!atomic_load(&s->used))
			free_add(h, s->units, at);
		else
			r = slot_put(h, s->ino, at);
		if (r)
			break;
	}
	return r;
}

static int add(struct fs_handover *h, uint64_t ino, uint64_t parent,
	const void *text, size_t len)
{
	uint32_t units = (uint32_t)((sizeof(struct seat) + len + UNIT - 1) /
		UNIT);
	struct seat *s;
	uint64_t at;
	int r;

	if (len > FS_SEAT_TEXT_MAX || units > CLASSES)
		return -EFBIG;
	r = take_free(h, units, &at);
	if (r)
		return r;
	r = slot_put(h, ino, at);
	if (r) {
		free_add(h, units, at);
		return r;
	}
	s = seat_at(h, at);
	s->ino = ino;
	s->s = (struct fs_seat){ .parent = parent, .lookups = 1 };
	s->len = (uint32_t)len;
	memcpy(s->text, text, len);
	atomic_store(&s->used, 1);
	return 0;
}

/* ---- the door ---------------------------------------------------------------------- */

int fs_handover_known(struct fs_handover *h, uint64_t ino, uint64_t parent,
	const void *text, size_t len)
{
	struct seat *s;
	int r = 0;

	pthread_mutex_lock(&h->lock);
	s = find(h, ino);
	if (s)
		s->s.lookups++;
	else
		r = add(h, ino, parent, text, len);
	pthread_mutex_unlock(&h->lock);
	return r;
}

int fs_handover_forget(struct fs_handover *h, uint64_t ino, uint64_t times)
{
	struct seat *s;
	int backing = 0;

	pthread_mutex_lock(&h->lock);
	s = find(h, ino);
	if (s && s->s.lookups > times) {
		s->s.lookups -= times;
	} else if (s) {
		backing = s->s.backing;
		atomic_store(&s->used, 0);
		free_add(h, s->units, slot_of(h, ino)->at);
		slot_del(h, ino);
	}
	pthread_mutex_unlock(&h->lock);
	return backing;
}

int fs_handover_find(struct fs_handover *h, uint64_t ino, struct fs_seat *ret,
	struct buf *ret_text)
{
	struct seat *s;
	int r = -ENOENT;

	pthread_mutex_lock(&h->lock);
	s = find(h, ino);
	if (s) {
		*ret = s->s;
		r = ret_text ? buf_append(ret_text, s->text, s->len) : 0;
	}
	pthread_mutex_unlock(&h->lock);
	return r;
}

int fs_handover_each(struct fs_handover *h, uint64_t parent,
	int (*fn)(void *arg, const char *text, size_t len), void *arg)
{
	int r = 0;

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < h->room && !r; i++) {
		struct seat *s = h->slots[i].ino ?
			seat_at(h, h->slots[i].at) : NULL;

		if (s && s->s.parent == parent)
			r = fn(arg, s->text, s->len);
	}
	pthread_mutex_unlock(&h->lock);
	return r;
}

void fs_handover_opened(struct fs_handover *h, uint64_t ino, uint32_t opens,
	int backing)
{
	struct seat *s;

	pthread_mutex_lock(&h->lock);
	s = find(h, ino);
	if (s) {
		s->s.opens = opens;
		s->s.backing = backing;
		s->s.doubt &= opens != 0;
	}
	pthread_mutex_unlock(&h->lock);
}

static void set_sure(struct fs_handover *h, uint64_t ino, bool sure)
{
	struct seat *s;

	pthread_mutex_lock(&h->lock);
	s = find(h, ino);
	if (s)
		s->s.sure = sure;
	pthread_mutex_unlock(&h->lock);
}

void fs_handover_sure(struct fs_handover *h, uint64_t ino)
{
	set_sure(h, ino, true);
}

void fs_handover_unsure(struct fs_handover *h, uint64_t ino)
{
	set_sure(h, ino, false);
}

void fs_handover_another(struct fs_handover *h, uint64_t ino)
{
	struct seat *s;

	pthread_mutex_lock(&h->lock);
	s = find(h, ino);
	if (s) {
		s->s.sure = false;
		s->s.doubt |= s->s.opens != 0;
	}
	pthread_mutex_unlock(&h->lock);
}

size_t fs_handover_doubt(struct fs_handover *h, uint64_t **ret)
{
	size_t n = 0;

	pthread_mutex_lock(&h->lock);
	*ret = h->n ? calloc(h->n, sizeof(**ret)) : NULL;
	for (size_t i = 0; i < h->room; i++) {
		struct seat *s = h->slots[i].ino ?
			seat_at(h, h->slots[i].at) : NULL;

		if (!s || s->s.sure)
			continue;
		s->s.doubt |= s->s.opens != 0;
		if (*ret)
			(*ret)[n++] = s->ino;
	}
	pthread_mutex_unlock(&h->lock);
	return n;
}
