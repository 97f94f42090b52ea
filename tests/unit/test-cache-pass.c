/* The end of a file that only passes through is given to nobody before its
 * digest is decided, whenever he asks; and who reads it in order, several parts
 * at once, has it decided, in whatever order its blocks come. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (4 * MIB + 300000)
#define ROUNDS 20
#define READS 20000	/* of the last byte, in one round */

static struct {
	struct src_read read;
	uint8_t byte;
} reads[READS];

static atomic_uint given, refused;

static void answered(struct src_read *read, int err)
{
	(void) read;
	atomic_fetch_add(err ? &refused : &given, 1);
}

/* The blocks are on their way, and the end is asked for all the while. */
static void ask(struct src *s)
{
	unsigned n;

	atomic_store(&given, 0);
	atomic_store(&refused, 0);
	src_hint(s, 0, SIZE);
	for (n = 0; n < READS && !atomic_load(&refused); n++) {
		int r;

		reads[n].read = (struct src_read){ .off = SIZE - 1, .len = 1,
			.buf = &reads[n].byte, .done = answered };
		r = src_read(s, &reads[n].read);
		if (r != -EINPROGRESS)
			answered(&reads[n].read, r);
	}
	while (atomic_load(&given) + atomic_load(&refused) < n)
		(void) sched_yield();
}

static void test_wrong_end(struct cache *c, struct src *up,
	const struct cache_name *n)
{
	struct error why;
	struct src *s;

	for (unsigned i = 0; i < ROUNDS; i++) {
		t_int(cache_src_open(c, n, up, &s, &why), 0);
		ask(s);
		t_int(atomic_load(&given), 0);
		src_unref(s);
	}
}

static void test_right_end(struct cache *c, struct src *up,
	const struct cache_name *n, const uint8_t *bytes)
{
	struct src_stat st;
	struct error why;
	struct src *s;

	for (unsigned i = 0; i < ROUNDS; i++) {
		t_int(cache_src_open(c, n, up, &s, &why), 0);
		src_hint(s, 0, SIZE);
		t_expect(s, bytes, SIZE - 1, 1);
		src_stat(s, &st);
		t_check(st.passes && st.passed_right);
		src_unref(s);
	}
}

/* ---- blocks that come in any order ------------------------------------------ */

#define LONG_SIZE (20 * MIB + 77)
#define LONG_ROUNDS 3
#define READERS 8	/* who want more blocks at once than there are */
#define SLOTS 8
#define ASKED_MAX 64

/* Answers what was asked for in an order made by lot, and every eighth only
 * when it has nothing else to answer. */
struct shuffled {
	struct src s;
	uint8_t *bytes;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct src_read *asked[ASKED_MAX];	/* lock */
	unsigned n;				/* lock */
	bool stop;				/* lock */
	unsigned lot;				/* the thread's */
};

static struct src_read *draw(struct shuffled *u)
{
	unsigned k;
	struct src_read *r;

	u->lot = u->lot * 1103515245 + 12345;
	k = (u->lot >> 8) % u->n;
	for (unsigned i = 0; i < u->n && u->asked[k]->off / MIB % 8 == 3; i++)
		k = (k + 1) % u->n;
	r = u->asked[k];
	u->asked[k] = u->asked[--u->n];
	return r;
}

static void *answer_all(void *arg)
{
	struct shuffled *u = arg;
	struct src_read *r;

	pthread_mutex_lock(&u->lock);
	while (!u->stop || u->n) {
		if (!u->n) {
			pthread_cond_wait(&u->more, &u->lock);
			continue;
		}
		r = draw(u);
		pthread_mutex_unlock(&u->lock);
		memcpy(r->buf, u->bytes + r->off, r->len);
		r->done(r, 0);
		pthread_mutex_lock(&u->lock);
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

static int shuffled_read(struct src *s, struct src_read *r)
{
	struct shuffled *u = (struct shuffled *)s;

	pthread_mutex_lock(&u->lock);
	t_check(u->n < ASKED_MAX);
	u->asked[u->n++] = r;
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
	return -EINPROGRESS;
}

static void shuffled_free(struct src *s)
{
	(void) s;
}

static const struct src_ops shuffled_ops = {
	.name = "shuffled",
	.read = shuffled_read,
	.free = shuffled_free,
};

struct reader;

struct slot {
	struct src_read read;
	struct reader *reader;
	uint8_t mem[MIB];
	bool busy;			/* reader.lock */
};

/* Reads as `omnihub get` does. */
struct reader {
	pthread_t thread;
	struct cache *c;
	struct cache_name name;
	struct shuffled *up;
	pthread_mutex_t lock;
	pthread_cond_t free;
	unsigned busy;			/* lock */
	unsigned differ;		/* lock */
	unsigned unsure;		/* the thread's; rounds */
	struct slot slots[SLOTS];
};

static void slot_done(struct src_read *read, int err)
{
	struct slot *s = (struct slot *)(void *)read;
	struct reader *r = s->reader;
	bool same = !err && !memcmp(s->mem, r->up->bytes + read->off, read->len);

	pthread_mutex_lock(&r->lock);
	r->differ += !same;
	r->busy--;
	s->busy = false;
	pthread_cond_signal(&r->free);
	pthread_mutex_unlock(&r->lock);
}

static struct slot *take_slot(struct reader *r)
{
	struct slot *s = r->slots;

	pthread_mutex_lock(&r->lock);
	while (r->busy == SLOTS)
		pthread_cond_wait(&r->free, &r->lock);
	while (s->busy)
		s++;
	s->busy = true;
	r->busy++;
	pthread_mutex_unlock(&r->lock);
	return s;
}

static void read_in_order(struct reader *r, struct src *s)
{
	for (uint64_t off = 0; off < LONG_SIZE; off += MIB) {
		struct slot *t;
		int err;

		if (off % (32 * MIB) == 0)
			src_hint(s, off, 64 * MIB);
		t = take_slot(r);
		t->reader = r;
		t->read = (struct src_read){ .off = off, .buf = t->mem,
			.len = LONG_SIZE - off < MIB ? LONG_SIZE - off : MIB,
			.done = slot_done };
		err = src_read(s, &t->read);
		if (err != -EINPROGRESS)
			slot_done(&t->read, err);
	}
	pthread_mutex_lock(&r->lock);
	while (r->busy)
		pthread_cond_wait(&r->free, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static void *read_rounds(void *arg)
{
	struct reader *r = arg;
	struct src_stat st;
	struct error why;
	struct src *s;

	for (unsigned i = 0; i < LONG_ROUNDS; i++) {
		t_int(cache_src_open(r->c, &r->name, &r->up->s, &s, &why), 0);
		read_in_order(r, s);
		src_stat(s, &st);
		r->unsure += !st.passes || !st.passed_right;
		src_unref(s);
	}
	return NULL;
}

static struct shuffled *shuffled_new(unsigned seed)
{
	struct shuffled *u = calloc(1, sizeof(*u));

	t_check(u);
	src_init(&u->s, &shuffled_ops, LONG_SIZE);
	u->bytes = upstream_bytes(LONG_SIZE, seed);
	u->lot = seed;
	t_int(pthread_mutex_init(&u->lock, NULL), 0);
	t_int(pthread_cond_init(&u->more, NULL), 0);
	t_int(pthread_create(&u->thread, NULL, answer_all, u), 0);
	return u;
}

static void shuffled_end(struct shuffled *u)
{
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
	t_int(pthread_join(u->thread, NULL), 0);
	free(u->bytes);
	src_unref(&u->s);
	free(u);
}

static void test_any_order(struct cache *c)
{
	struct reader *r[READERS];

	for (unsigned i = 0; i < READERS; i++) {
		r[i] = calloc(1, sizeof(*r[i]));
		t_check(r[i]);
		r[i]->c = c;
		r[i]->up = shuffled_new(10 + i);
		r[i]->name = t_name_of("long", r[i]->up->bytes, LONG_SIZE,
			OBJID_SHA256);
		t_int(pthread_mutex_init(&r[i]->lock, NULL), 0);
		t_int(pthread_cond_init(&r[i]->free, NULL), 0);
		t_int(pthread_create(&r[i]->thread, NULL, read_rounds, r[i]),
			0);
	}
	for (unsigned i = 0; i < READERS; i++) {
		t_int(pthread_join(r[i]->thread, NULL), 0);
		t_int(r[i]->differ, 0);
		t_int(r[i]->unsure, 0);
		shuffled_end(r[i]->up);
		free(r[i]);
	}
}

/* ---- blocks that come when the test says so --------------------------------- */

#define HELD_MAX 16
#define HELD_WAIT_S 60

struct held {
	struct src s;
	uint8_t *bytes;
	uint64_t version;		/* of bytes; 0: not told */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct src_read *asked[HELD_MAX];	/* lock */
	unsigned n;				/* lock */
};

struct one {
	struct src_read read;	/* must be first */
	uint8_t byte;
	int err;
	sem_t came;
};

static int held_read(struct src *s, struct src_read *r)
{
	struct held *u = (struct held *)s;

	pthread_mutex_lock(&u->lock);
	t_check(u->n < HELD_MAX);
	u->asked[u->n++] = r;
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
	return -EINPROGRESS;
}

static void held_free(struct src *s)
{
	struct held *u = (struct held *)s;

	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->more);
	free(u->bytes);
	free(u);
}

static const struct src_ops held_ops = {
	.name = "held",
	.read = held_read,
	.free = held_free,
};

static struct held *held_new(uint64_t size, unsigned seed)
{
	struct held *u = calloc(1, sizeof(*u));

	t_check(u);
	src_init(&u->s, &held_ops, size);
	u->bytes = upstream_bytes(size, seed);
	t_int(pthread_mutex_init(&u->lock, NULL), 0);
	t_int(pthread_cond_init(&u->more, NULL), 0);
	return u;
}

/* Under the lock. */
static struct src_read *take_asked(struct held *u, uint64_t block)
{
	struct src_read *r = NULL;

	for (unsigned i = 0; i < u->n && !r; i++) {
		if (u->asked[i]->off != block * MIB)
			continue;
		r = u->asked[i];
		u->asked[i] = u->asked[--u->n];
	}
	return r;
}

/* Once it was asked for. */
static void let_come(struct held *u, uint64_t block)
{
	struct timespec end;
	struct src_read *r;
	int err = 0;

	t_int(clock_gettime(CLOCK_REALTIME, &end), 0);
	end.tv_sec += HELD_WAIT_S;
	pthread_mutex_lock(&u->lock);
	while (!(r = take_asked(u, block)) && !err)
		err = pthread_cond_timedwait(&u->more, &u->lock, &end);
	pthread_mutex_unlock(&u->lock);
	t_check(r);
	memcpy(r->buf, u->bytes + r->off, r->len);
	r->version = u->version;
	r->done(r, 0);
}

static void one_came(struct src_read *read, int err)
{
	struct one *o = (struct one *)(void *)read;

	o->err = err;
	t_int(sem_post(&o->came), 0);
}

/* The first byte of that block; it is not here. */
static void ask_one(struct src *s, uint64_t block, struct one *o)
{
	o->read = (struct src_read){ .off = block * MIB, .len = 1,
		.buf = &o->byte, .done = one_came };
	t_int(sem_init(&o->came, 0, 0), 0);
	t_int(src_read(s, &o->read), -EINPROGRESS);
}

static void await_err(struct one *o, int err)
{
	while (sem_wait(&o->came) < 0)
		;
	t_int(o->err, err);
	t_int(sem_destroy(&o->came), 0);
}

static void await_one(const struct held *u, struct one *o)
{
	await_err(o, 0);
	t_int(o->byte, u->bytes[o->read.off]);
}

/* Who reads from the beginning asks again for what others were given before: it
 * makes way for his next block, though another file's is on its way and takes
 * the place of his first. */
static void test_begun_again(struct cache *c)
{
	struct held *x = held_new(18 * MIB, 30), *y = held_new(5 * MIB, 31);
	struct cache_name nx = t_name_of("begun", x->bytes, 18 * MIB,
		OBJID_SHA256);
	struct cache_name ny = t_name_of("slow", y->bytes, 5 * MIB,
		OBJID_SHA256);
	struct one a, first, second, slow;
	struct src *sx, *sy;

	t_int(cache_src_open(c, &nx, &x->s, &sx, NULL), 0);
	t_int(cache_src_open(c, &ny, &y->s, &sy, NULL), 0);
	src_hint(sy, 0, 1);
	for (uint64_t i = 2; i < 17; i++) {
		ask_one(sx, i, &a);
		let_come(x, i);
		await_one(x, &a);
	}
	ask_one(sx, 0, &first);
	ask_one(sy, 1, &slow);
	ask_one(sx, 1, &second);
	let_come(x, 0);
	await_one(x, &first);
	let_come(x, 1);
	await_one(x, &second);
	let_come(y, 0);
	let_come(y, 1);
	await_one(y, &slow);
	src_unref(sx);
	src_unref(sy);
	src_unref(&x->s);
	src_unref(&y->s);
}

/* Who reads another file does not wait for one that stands still. */
static void test_beside_stalled(struct cache *c)
{
	struct held *x = held_new(5 * MIB, 32), *y = held_new(5 * MIB, 33);
	struct cache_name nx = t_name_of("moves", x->bytes, 5 * MIB,
		OBJID_SHA256);
	struct cache_name ny = t_name_of("stands", y->bytes, 5 * MIB,
		OBJID_SHA256);
	struct one a, stalled;
	struct src *sx, *sy;

	t_int(cache_src_open(c, &nx, &x->s, &sx, NULL), 0);
	t_int(cache_src_open(c, &ny, &y->s, &sy, NULL), 0);
	ask_one(sy, 0, &stalled);
	for (uint64_t i = 0; i < 5; i++) {
		ask_one(sx, i, &a);
		let_come(x, i);
		await_one(x, &a);
	}
	let_come(y, 0);
	await_one(y, &stalled);
	src_unref(sx);
	src_unref(sy);
	src_unref(&x->s);
	src_unref(&y->s);
}

/* Without a digest: what others have of it is not mixed with what it has become.
 * They hear of it, and a new open has all of the new one. */
static void test_became(struct cache *c)
{
	struct held *x = held_new(18 * MIB, 40), *y = held_new(18 * MIB, 41);
	struct cache_name n = t_name_of("became", x->bytes, 18 * MIB,
		OBJID_NONE);
	struct one a, late;
	struct src *sx, *sy, *sz;

	x->version = 1;
	y->version = 2;
	t_int(cache_src_open(c, &n, &x->s, &sx, NULL), 0);
	t_int(cache_src_open(c, &n, &y->s, &sy, NULL), 0);
	ask_one(sx, 0, &a);
	let_come(x, 0);
	await_one(x, &a);
	t_expect(sy, x->bytes, 0, 1);
	ask_one(sx, 3, &late);
	ask_one(sy, 1, &a);
	let_come(y, 1);
	await_err(&a, -EIO);
	await_err(&late, -EIO);
	src_hint(sx, 5 * MIB, 1);
	t_int(src_read(sx, &late.read), -EIO);
	t_int(cache_src_open(c, &n, &y->s, &sz, NULL), 0);
	ask_one(sz, 0, &a);
	let_come(y, 0);
	await_one(y, &a);
	ask_one(sz, 3, &a);
	let_come(x, 3);
	let_come(y, 3);
	await_one(y, &a);
	t_int(x->n, 0);
	src_unref(sx);
	src_unref(sy);
	src_unref(sz);
	src_unref(&x->s);
	src_unref(&y->s);
}

int main(void)
{
	uint8_t *bytes = upstream_bytes(SIZE, 1);
	struct src *up = src_from_memory(bytes, SIZE);
	char *dir = upstream_dir("pass");
	struct cache *c = t_open_cache(dir, MIB);
	struct cache_name right = t_name_of("right", bytes, SIZE,
		OBJID_SHA256);
	struct cache_name wrong;

	test_right_end(c, up, &right, bytes);
	bytes[0] ^= 1;	/* another file, and then not quite */
	wrong = t_name_of("wrong", bytes, SIZE, OBJID_SHA256);
	bytes[SIZE - 1] ^= 1;
	test_wrong_end(c, up, &wrong);
	test_any_order(c);
	test_begun_again(c);
	test_beside_stalled(c);
	test_became(c);
	src_unref(up);
	cache_close(c);
	free(dir);
	return 0;
}
