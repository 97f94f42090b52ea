/* Who gets which block of memory, and what comes of the digest, when blocks of
 * files that only pass through come in a certain order. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define BLOCKS 16	/* that there are */
#define ASKED_MAX 32
#define WAIT_S 60

/* An upstream that answers when the test says so. */
struct held {
	struct src s;
	uint8_t *bytes;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct src_read *asked[ASKED_MAX];	/* lock */
	unsigned n;				/* lock */
	bool open;				/* lock; answers at once */
};

struct one {
	struct src_read read;	/* must be first */
	uint8_t byte;
	int err;
	sem_t came;
};

struct file {
	struct held *u;
	struct cache_name n;
	struct src *s;
};

static int held_read(struct src *s, struct src_read *r)
{
	struct held *u = (struct held *)s;
	bool open;

	t_check(r->off < s->size && r->len <= s->size - r->off);
	pthread_mutex_lock(&u->lock);
	t_check(u->n < ASKED_MAX);
	open = u->open;
	if (!open)
		u->asked[u->n++] = r;
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
	if (open)
		memcpy(r->buf, u->bytes + r->off, r->len);
	return open ? 0 : -EINPROGRESS;
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

static struct file open_file(struct cache *c, const char *path, uint64_t size,
	unsigned seed, enum objid_alg alg)
{
	struct held *u = calloc(1, sizeof(*u));
	struct file f = { .u = u };

	t_check(u);
	src_init(&u->s, &held_ops, size);
	u->bytes = upstream_bytes(size, seed);
	t_int(pthread_mutex_init(&u->lock, NULL), 0);
	t_int(pthread_cond_init(&u->more, NULL), 0);
	f.n = t_name_of(path, u->bytes, size, alg);
	t_int(cache_src_open(c, &f.n, &u->s, &f.s, NULL), 0);
	return f;
}

static void close_file(struct file *f)
{
	src_unref(f->s);
	src_unref(&f->u->s);
}

/* Under the lock. */
static struct src_read **find_asked(struct held *u, uint64_t block)
{
	for (unsigned i = 0; i < u->n; i++)
		if (u->asked[i]->off == block * MIB)
			return &u->asked[i];
	return NULL;
}

static bool is_asked(struct file *f, uint64_t block)
{
	bool is;

	pthread_mutex_lock(&f->u->lock);
	is = find_asked(f->u, block);
	pthread_mutex_unlock(&f->u->lock);
	return is;
}

static unsigned n_asked(struct file *f)
{
	unsigned n;

	pthread_mutex_lock(&f->u->lock);
	n = f->u->n;
	pthread_mutex_unlock(&f->u->lock);
	return n;
}

/* What is asked for from now on. */
static void answer_at_once(struct file *f)
{
	pthread_mutex_lock(&f->u->lock);
	f->u->open = true;
	pthread_mutex_unlock(&f->u->lock);
}

static struct timespec end_of_wait(void)
{
	struct timespec end;

	t_int(clock_gettime(CLOCK_REALTIME, &end), 0);
	end.tv_sec += WAIT_S;
	return end;
}

/* Once it was asked for. */
static void let_end(struct file *f, uint64_t block, int end)
{
	const struct timespec until = end_of_wait();
	struct held *u = f->u;
	struct src_read **at, *r;
	int err = 0;

	pthread_mutex_lock(&u->lock);
	while (!(at = find_asked(u, block)) && !err)
		err = pthread_cond_timedwait(&u->more, &u->lock, &until);
	t_check(at);
	r = *at;
	*at = u->asked[--u->n];
	pthread_mutex_unlock(&u->lock);
	if (!end)
		memcpy(r->buf, u->bytes + r->off, r->len);
	r->done(r, end);
}

static void let_come(struct file *f, uint64_t block)
{
	let_end(f, block, 0);
}

static void one_came(struct src_read *read, int err)
{
	struct one *o = (struct one *)(void *)read;

	o->err = err;
	t_int(sem_post(&o->came), 0);
}

/* The first byte of that block. */
static int start(struct file *f, uint64_t block, struct one *o)
{
	o->read = (struct src_read){ .off = block * MIB, .len = 1,
		.buf = &o->byte, .done = one_came };
	t_int(sem_init(&o->came, 0, 0), 0);
	return src_read(f->s, &o->read);
}

/* It cannot be given now. */
static void ask(struct file *f, uint64_t block, struct one *o)
{
	t_int(start(f, block, o), -EINPROGRESS);
}

static int end_of(struct one *o)
{
	const struct timespec until = end_of_wait();

	t_int(sem_timedwait(&o->came, &until), 0);
	t_int(sem_destroy(&o->came), 0);
	return o->err;
}

static void expect(struct file *f, struct one *o)
{
	t_int(end_of(o), 0);
	t_int(o->byte, f->u->bytes[o->read.off]);
}

/* One that is not here. */
static void fetch(struct file *f, uint64_t block)
{
	struct one o;

	ask(f, block, &o);
	let_come(f, block);
	expect(f, &o);
}

/* Of who answers at once. */
static void read_blocks(struct file *f, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++)
		t_expect(f->s, f->u->bytes, i * MIB, 1);
}

static bool is_right(struct file *f)
{
	struct src_stat st;

	src_stat(f->s, &st);
	t_check(st.passes);
	return st.passed_right;
}

static int last_error(struct file *f)
{
	struct src_stat st;

	src_stat(f->s, &st);
	return st.last.code;
}

/* ---- who gets a block --------------------------------------------------------- */

/* More than there are blocks, from the middle of a file or without a digest:
 * nothing is kept for a digest that comes no nearer. */
static void test_no_digest(struct cache *c)
{
	struct file x = open_file(c, "middle", 20 * MIB, 34, OBJID_SHA256);
	struct file y = open_file(c, "none", 18 * MIB, 35, OBJID_NONE);

	answer_at_once(&x);
	answer_at_once(&y);
	read_blocks(&x, 1, 20);
	read_blocks(&y, 0, 18);
	read_blocks(&y, 0, 1);
	read_blocks(&y, 17, 18);
	t_check(!is_right(&x) && !is_right(&y));
	close_file(&x);
	close_file(&y);
}

/* What comes before its turn, and was given, stays while somebody waits for room
 * for the block that is hashed next: nobody will ask for it again. */
static void test_stays(struct cache *c)
{
	struct file x = open_file(c, "ahead", 18 * MIB, 36, OBJID_SHA256);
	struct file y = open_file(c, "beside", 5 * MIB, 37, OBJID_SHA256);
	struct one o[BLOCKS], other;

	ask(&y, 0, &other);
	for (uint64_t i = 1; i < BLOCKS; i++)
		ask(&x, i, &o[i]);
	ask(&x, 0, &o[0]);
	for (uint64_t i = 1; i < BLOCKS; i++) {
		let_come(&x, i);
		expect(&x, &o[i]);
		t_check(!is_asked(&x, 0));
	}
	let_come(&y, 0);
	expect(&y, &other);
	let_come(&x, 0);
	expect(&x, &o[0]);
	fetch(&x, 16);
	fetch(&x, 17);
	t_check(is_right(&x));
	close_file(&x);
	close_file(&y);
}

/* All stays and nothing is on its way that could make room: a digest is given
 * up, or its reader would wait for ever. */
static void test_given_up(struct cache *c)
{
	struct file x = open_file(c, "given-up", 18 * MIB, 38, OBJID_SHA256);
	struct one o[BLOCKS + 1];

	for (uint64_t i = 1; i <= BLOCKS; i++)
		ask(&x, i, &o[i]);
	ask(&x, 0, &o[0]);
	for (uint64_t i = 1; i <= BLOCKS; i++) {
		t_check(!is_asked(&x, 0));
		let_come(&x, i);
		expect(&x, &o[i]);
	}
	let_come(&x, 0);
	expect(&x, &o[0]);
	fetch(&x, 17);
	t_check(!is_right(&x));
	close_file(&x);
}

/* Another one begins while the digest is on its way: it goes on for who was
 * first. What is hashed makes room for others. */
static void test_two_readers(struct cache *c)
{
	struct file x = open_file(c, "two", 5 * MIB, 39, OBJID_SHA256);
	struct file y = open_file(c, "crowd", 18 * MIB, 40, OBJID_SHA256);
	struct one o[15], third, again;

	fetch(&x, 0);
	fetch(&x, 1);
	ask(&x, 2, &third);
	for (uint64_t i = 0; i < 15; i++)
		ask(&y, i, &o[i]);
	t_check(is_asked(&y, 13) && is_asked(&y, 14));
	ask(&x, 0, &again);
	t_check(!is_asked(&x, 0));
	for (uint64_t i = 0; i < 15; i++) {
		let_come(&y, i);
		expect(&y, &o[i]);
	}
	let_come(&x, 0);
	expect(&x, &again);
	let_come(&x, 2);
	expect(&x, &third);
	fetch(&x, 3);
	fetch(&x, 4);
	t_check(is_right(&x));
	close_file(&x);
	close_file(&y);
}

struct newcomer {
	struct file *f;
	struct one o;
	atomic_uint told;
};

static void come_late(void *arg, const struct src *s)
{
	struct newcomer *n = arg;

	(void) s;
	if (!atomic_fetch_add(&n->told, 1))
		ask(n->f, 16, &n->o);
}

/* Wrong bytes make room: it is for who waits, though another one asks before he
 * has been looked at. */
static void test_first_come(struct cache *c)
{
	struct file x = open_file(c, "waits", 18 * MIB, 41, OBJID_SHA256);
	struct file y = open_file(c, "wrong", 5 * MIB, 42, OBJID_SHA256);
	struct newcomer late = { .f = &x };
	uint64_t epochs = cache_epochs(c);
	struct cache_stats before, after;
	struct one o[BLOCKS], end;

	cache_stats(c, &before);
	y.u->bytes[7] ^= 1;
	for (uint64_t i = 0; i < 4; i++)
		fetch(&y, i);
	ask(&y, 4, &end);
	for (uint64_t i = 0; i < BLOCKS; i++)
		ask(&x, i, &o[i]);
	t_check(is_asked(&x, 14) && !is_asked(&x, 15));
	cache_on_epoch(c, come_late, &late);
	let_come(&y, 4);
	t_int(end_of(&end), -EIO);
	t_int(atomic_load(&late.told), 1);
	t_check(is_asked(&x, 15) && !is_asked(&x, 16));
	for (uint64_t i = 0; i < BLOCKS; i++) {
		let_come(&x, i);
		expect(&x, &o[i]);
	}
	let_come(&x, 16);
	expect(&x, &late.o);
	cache_on_epoch(c, NULL, NULL);
	cache_stats(c, &after);
	t_int(after.mismatches, before.mismatches + 1);
	t_int(after.verified, before.verified);
	t_int(cache_epochs(c), epochs + 1);
	close_file(&x);
	close_file(&y);
}

/* What nobody has asked for yet: not more than a few, each once. */
static void test_hints(struct cache *c)
{
	struct file x = open_file(c, "hinted", 5 * MIB, 43, OBJID_SHA256);
	struct file y = open_file(c, "more", 18 * MIB, 44, OBJID_SHA256);

	src_hint(x.s, 0, 5 * MIB);
	t_int(n_asked(&x), 5);
	src_hint(x.s, 0, 5 * MIB);
	t_int(n_asked(&x), 5);
	src_hint(y.s, 0, 18 * MIB);
	t_int(n_asked(&y), 3);
	for (uint64_t i = 0; i < 5; i++)
		let_come(&x, i);
	for (uint64_t i = 0; i < 3; i++)
		let_come(&y, i);
	close_file(&x);
	close_file(&y);
}

/* ---- what comes of the digest ------------------------------------------------ */

/* A block that does not come: who waits for it hears why, others do not, and who
 * has waited for the digest does so no longer. It can be asked for again. */
static void test_fails(struct cache *c)
{
	struct file x = open_file(c, "fails", 5 * MIB, 45, OBJID_SHA256);
	struct file y = open_file(c, "comes", 5 * MIB, 46, OBJID_SHA256);
	struct one first, last, other;

	ask(&x, 0, &first);
	ask(&y, 0, &other);
	ask(&x, 4, &last);
	let_come(&x, 4);
	usleep(20000);
	t_int(sem_trywait(&last.came), -1);
	let_end(&x, 0, -ETIMEDOUT);
	t_int(end_of(&first), -ETIMEDOUT);
	expect(&x, &last);
	t_int(sem_trywait(&other.came), -1);
	t_int(last_error(&x), -ETIMEDOUT);
	t_int(last_error(&y), 0);
	let_come(&y, 0);
	expect(&y, &other);
	for (uint64_t i = 0; i < 4; i++)
		fetch(&x, i);
	t_check(is_right(&x));
	t_int(last_error(&x), 0);
	close_file(&x);
	close_file(&y);
}

/* Wrong bytes, of whole blocks: the end is given to nobody; who has it open gets
 * nothing more, and who opens it anew gets other bytes. */
static void test_wrong(struct cache *c)
{
	struct file x = open_file(c, "wrong", 5 * MIB, 47, OBJID_SHA256), old;
	unsigned epoch = src_epoch(x.s);
	struct src_stat st;
	struct one o;

	t_int(cache_name_stat(c, &x.n, &st), 0);
	t_check(st.passes && !st.passed_right);
	x.u->bytes[7] ^= 1;
	for (uint64_t i = 0; i < 4; i++)
		fetch(&x, i);
	ask(&x, 4, &o);
	let_come(&x, 4);
	t_int(end_of(&o), -EIO);
	t_check(src_epoch(x.s) != epoch && !is_right(&x));
	t_int(last_error(&x), -EIO);
	t_int(start(&x, 0, &o), -EIO);
	x.u->bytes[7] ^= 1;
	old = x;
	t_int(cache_src_open(c, &x.n, &x.u->s, &x.s, NULL), 0);
	t_int(start(&old, 0, &o), -EIO);
	for (uint64_t i = 0; i < 5; i++)
		fetch(&x, i);
	t_check(is_right(&x));
	t_int(cache_name_stat(c, &x.n, &st), 0);
	t_check(st.passes && st.passed_right);
	t_int(last_error(&x), 0);
	t_int(start(&old, 0, &o), -EIO);
	src_unref(old.s);
	/* What is here is for all who have it open. */
	old = x;
	t_int(cache_src_open(c, &x.n, &x.u->s, &x.s, NULL), 0);
	t_int(start(&x, 2, &o), 0);
	t_int(o.byte, x.u->bytes[2 * MIB]);
	src_unref(old.s);
	close_file(&x);
}

/* Right once, and read from the beginning again when the first block is not here
 * any more, but the last: the hub sends something else now. */
static void test_read_again(struct cache *c)
{
	struct file x = open_file(c, "again", 5 * MIB + 300000, 48,
		OBJID_SHA256);
	struct file y = open_file(c, "between", 18 * MIB, 49, OBJID_SHA256);
	struct one o[11], r[6];

	for (uint64_t i = 0; i < 6; i++)
		fetch(&x, i);
	t_check(is_right(&x));
	for (uint64_t i = 0; i < 11; i++)
		ask(&y, i, &o[i]);
	t_check(is_asked(&y, 10));
	x.u->bytes[7] ^= 1;
	ask(&x, 0, &r[0]);
	t_check(!is_right(&x));
	ask(&x, 1, &r[1]);
	for (uint64_t i = 2; i < 5; i++)
		t_int(start(&x, i, &r[i]), 0);
	ask(&x, 5, &r[5]);
	answer_at_once(&x);
	let_come(&x, 0);
	expect(&x, &r[0]);
	expect(&x, &r[1]);
	t_int(end_of(&r[5]), -EIO);
	for (uint64_t i = 0; i < 11; i++) {
		let_come(&y, i);
		expect(&y, &o[i]);
	}
	close_file(&x);
	close_file(&y);
}

/* Read in part, gone, and read from the beginning. */
static void test_given_back(struct cache *c)
{
	struct file x = open_file(c, "part", 5 * MIB, 50, OBJID_SHA256);
	struct file y = open_file(c, "others", 18 * MIB, 51, OBJID_SHA256);

	answer_at_once(&x);
	answer_at_once(&y);
	read_blocks(&x, 0, 2);
	read_blocks(&y, 0, BLOCKS);
	read_blocks(&x, 0, 5);
	t_check(is_right(&x));
	close_file(&x);
	close_file(&y);
}

static void *close_cache(void *arg)
{
	cache_close(arg);
	return NULL;
}

/* A cache is not closed before what is on its way for nobody has come. */
static void test_close(struct cache *c)
{
	struct file x = open_file(c, "closed", 5 * MIB, 52, OBJID_SHA256);
	pthread_t t;

	src_hint(x.s, 0, 1);
	src_unref(x.s);
	t_int(pthread_create(&t, NULL, close_cache, c), 0);
	usleep(20000);
	let_come(&x, 0);
	t_int(pthread_join(t, NULL), 0);
	src_unref(&x.u->s);
}

int main(void)
{
	char *dir = upstream_dir("passing");
	struct cache *c = t_open_cache(dir, MIB);

	alarm(10 * WAIT_S);
	test_no_digest(c);
	test_stays(c);
	test_given_up(c);
	test_two_readers(c);
	test_first_come(c);
	test_hints(c);
	test_fails(c);
	test_wrong(c);
	test_read_again(c);
	test_given_back(c);
	test_close(c);
	free(dir);
	return 0;
}
