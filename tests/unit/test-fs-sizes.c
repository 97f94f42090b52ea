/*
 * Sizes that the tree has to ask for, over doubles of the rooms below: asked
 * once, again when time is up, and anew when the bytes contradict them.
 */
#include "config.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/fs.h"
#include "fs/measure.h"
#include "fs/node.h"
#include "fs/plan-own.h"
#include "fs/tree.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

/* Several ask at once; the answers are told. */
struct crowd {
	sem_t sem;
	_Atomic unsigned right;
};

static void crowd_told(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct crowd *c = arg;

	if (!err && a->size == 8 + 40 && a->fixed)
		atomic_fetch_add(&c->right, 1);
	fs_node_unref(n);
	t_int(sem_post(&c->sem), 0);
}

static const char late[] = "pytorch/torchvision/late.bin";
static const char staged[] = "pytorch/torchvision/pytorch/model.onnx";

static void measured(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *dir = NULL, *n = NULL;
	struct fs_handle *h = NULL;
	struct fs_dir *d = NULL;
	struct crowd c = { .right = 0 };
	struct fs_dirent e;
	struct fs_attr a;

	/* Nobody measures what is only listed. */
	t_int(fs_walk_wait(fs, "pytorch/torchvision", &dir, NULL), 0);
	t_int(fs_readdir_wait(fs, dir, &d), 0);
	t_int(fs_dir_count(d), 5);
	fs_dir_at(d, 1, &e);
	t_str(e.name, "late.bin");
	t_int(double_hub.measured, 0);
	t_int(fs_dir_node(d, 1, &n, &a), -EAGAIN);

	/* One question for all who want to know. */
	t_int(sem_init(&c.sem, 0, 0), 0);
	double_hold();
	for (int i = 0; i < 5; i++)
		fs_lookup(fs, dir, "late.bin", crowd_told, &c);
	double_release();
	for (int i = 0; i < 5; i++)
		t_int(sem_wait(&c.sem), 0);
	t_int(c.right, 5);
	t_int(sem_destroy(&c.sem), 0);
	t_int(double_hub.measured, 1);
	t_int(fs_dir_node(d, 1, &n, &a), 0);
	t_int(a.size, 8 + 40);
	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(fs_handle_src(h)->size, 8 + 40);
	fs_close(h);
	fs_node_unref(n);
	fs_dir_free(d);
	fs_node_unref(dir);
	t_int(double_hub.measured, 1);

	/* The snapshot is forgotten, the fact is not; nor without network. */
	clock_advance(3600000);
	double_hub.err = -ETIMEDOUT;
	t_int(double_stat(fs, late, &a), 0);
	t_int(a.size, 8 + 40);
	t_int(double_hub.measured, 1);
	double_fs_free(fs);
}

/* The reason is told, and the hub not asked at each step. */
static void not_measured(void)
{
	struct fs *fs = double_fs(NULL);
	struct buf b = BUF_INIT(256);
	struct fs_attr a;

	t_int(double_stat(fs, "pytorch/torchvision/config.json", &a), 0);
	double_hub.err = -EACCES;
	t_int(double_stat(fs, late, &a), -EACCES);
	t_int(double_stat(fs, late, &a), -EACCES);
	t_int(double_hub.measured, 1);
	fs_errors(fs, 1, &b);
	t_check(strstr((const char *)b.data, late));
	buf_done(&b);
	double_hub.err = 0;
	clock_advance(6000);
	t_int(double_stat(fs, late, &a), 0);
	t_int(double_hub.measured, 2);
	double_fs_free(fs);

	fs = double_fs("offline=1");
	t_int(double_stat(fs, late, &a), -EHOSTUNREACH);
	t_int(double_hub.measured, 0);
	double_fs_free(fs);
}

/* What is known of late.bin whenever its tree forgets sizes: 'o' the old one,
 * 'n' another. */
static struct {
	void (*forget)(void *arg, const struct fs_snap *s, const char *of);
	char sizes[16];
	size_t n;
} heard;

static void hear(void *arg, const struct fs_snap *s, const char *of)
{
	struct listing_entry e = { .path = (char *)(uintptr_t)"late.bin",
		.size = LISTING_SIZE_UNKNOWN };
	const struct listing_entry *now = fs_measured(
		(struct fs_snap *)(uintptr_t)s, &e);

	t_check(heard.n + 1 < sizeof(heard.sizes));
	heard.sizes[heard.n++] = now->size == 8 + 40 ? 'o' : 'n';
	heard.forget(arg, s, of);
}

static void listen_to(struct fs *fs)
{
	heard.forget = fs->resolver.forget_sizes;
	heard.n = 0;
	fs->resolver.forget_sizes = hear;
}

/* Another file lies there now: seen when the hub is asked again; who has the old
 * one keeps it. */
static void measured_again(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, late, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	double_hub.grown = 5;
	t_int(double_stat(fs, late, &a), 0);
	t_int(a.size, 8 + 40);
	t_int(fs_refresh_wait(fs, "pytorch/torchvision"), 0);
	t_int(double_hub.measured, 1);
	listen_to(fs);
	t_int(double_stat(fs, late, &a), 0);
	t_int(a.size, 8 + 40 + 5);
	/* What was made of it is forgotten while nobody has the new size yet,
	 * and again when whoever makes it anew has. */
	t_check(strchr(heard.sizes, 'o') && heard.sizes[heard.n - 1] == 'n');
	t_int(double_stat(fs, late, &a), 0);
	t_int(double_hub.measured, 2);
	t_int(fs_handle_src(h)->size, 8 + 40);
	fs_close(h);
	fs_node_unref(n);

	/* No answer takes nothing back, and is not waited for at each step. */
	t_int(fs_refresh_wait(fs, "pytorch/torchvision"), 0);
	double_hub.err = -ETIMEDOUT;
	t_int(double_stat(fs, late, &a), 0);
	t_int(a.size, 8 + 40 + 5);
	t_int(double_stat(fs, late, &a), 0);
	t_int(double_hub.measured, 3);
	/* That it is not there any more is an answer. */
	double_hub.err = -ENOENT;
	clock_advance(6000);
	for (int i = 0; i < 2; i++) {
		t_int(double_stat(fs, late, &a), -ENOENT);
		t_int(double_hub.measured, 4);
	}
	double_fs_free(fs);
}

/* As long as before, and another all the same: a digest says so, if both times
 * one was told. */
static void same_length(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_handle *h = NULL, *now = NULL;
	struct fs_node *n = NULL;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, late, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	for (unsigned i = 0; i < 2; i++) {
		double_hub.version = i ? 1 : 9;
		t_int(fs_handle_touch(h, 0, 1), 0);
		t_int(fs_refresh_wait(fs, "pytorch/torchvision"), 0);
		t_int(double_stat(fs, late, &a), 0);
		t_int(fs->resolver.changed, i);
	}
	t_int(double_hub.measured, 3);
	t_int(fs_open_wait(fs, n, &now), 0);
	t_int(fs_handle_touch(now, 0, 1), 0);
	t_int(fs_handle_touch(h, 0, 1), -EIO);
	fs_close(now);
	fs_close(h);
	fs_node_unref(n);
	double_fs_free(fs);

	fs = double_fs(NULL);
	double_hub.version = 9;
	t_int(double_stat(fs, late, &a), 0);
	double_hub.version = 1;
	t_int(fs_refresh_wait(fs, "pytorch/torchvision"), 0);
	t_int(double_stat(fs, late, &a), 0);
	t_int(double_hub.measured, 2);
	t_int(fs->resolver.changed, 0);
	double_fs_free(fs);
}

/* The hub is to be asked again while a question is under way: its answer may be
 * from before. */
static void doubted_meanwhile(void)
{
	struct fs *fs = double_fs(NULL);
	struct crowd c = { .right = 0 };
	struct fs_node *dir = NULL;
	struct fs_attr a;
	sem_t asked;

	t_int(fs_walk_wait(fs, "pytorch/torchvision", &dir, NULL), 0);
	t_int(sem_init(&c.sem, 0, 0), 0);
	t_int(sem_init(&asked, 0, 0), 0);
	double_hub.slow = &asked;
	fs_lookup(fs, dir, "late.bin", crowd_told, &c);
	t_int(sem_wait(&asked), 0);
	double_hub.slow = NULL;
	double_hub.grown = 5;
	t_int(fs_refresh_wait(fs, "pytorch/torchvision"), 0);
	double_tell();
	t_int(sem_wait(&c.sem), 0);
	t_int(c.right, 1);
	for (int i = 0; i < 2; i++) {
		t_int(double_stat(fs, late, &a), 0);
		t_int(a.size, 8 + 40 + 5);
		t_int(double_hub.measured, 2);
	}
	t_int(sem_destroy(&asked), 0);
	t_int(sem_destroy(&c.sem), 0);
	fs_node_unref(dir);
	double_fs_free(fs);
}

/* So it is when bytes contradict what was said before. */
static void contradicted_meanwhile(void)
{
	struct fs *fs = double_fs(NULL);
	struct crowd c = { .right = 0 };
	struct fs_node *dir = NULL;
	struct fs_attr a;
	sem_t asked;

	t_int(fs_walk_wait(fs, "pytorch/torchvision", &dir, NULL), 0);
	t_int(double_stat(fs, late, &a), 0);
	double_contradict(fs, 8 + 40);
	t_int(sem_init(&c.sem, 0, 0), 0);
	t_int(sem_init(&asked, 0, 0), 0);
	double_hub.slow = &asked;
	fs_lookup(fs, dir, "late.bin", crowd_told, &c);
	t_int(sem_wait(&asked), 0);
	double_hub.slow = NULL;
	double_contradict(fs, 8 + 40);
	double_tell();
	t_int(sem_wait(&c.sem), 0);
	t_int(double_hub.measured, 2);
	for (int i = 0; i < 2; i++) {
		t_int(double_stat(fs, late, &a), 0);
		t_int(double_hub.measured, 3);
	}
	t_int(sem_destroy(&asked), 0);
	t_int(sem_destroy(&c.sem), 0);
	fs_node_unref(dir);
	double_fs_free(fs);
}

/* What is staged is opened anew when a size is doubted, once, by whoever comes:
 * not the source that somebody else still has open. */
static void staged_anew(struct fs *fs)
{
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL, *now = NULL, *then = NULL;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, staged, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	double_contradict(fs, 8 + 40);
	t_int(fs_open_wait(fs, n, &now), 0);
	t_check(fs_handle_src(now) != fs_handle_src(h));
	t_int(fs_open_wait(fs, n, &then), 0);
	t_check(fs_handle_src(then) == fs_handle_src(now));
	fs_close(now);
	fs_close(h);
	t_int(fs_open_wait(fs, n, &now), 0);
	t_check(fs_handle_src(then) == fs_handle_src(now));
	fs_close(now);
	fs_close(then);
	/* Who had the one before it does not keep this one alive. */
	t_check(!n->plan->live && !n->plan->users);
	fs_node_unref(n);
}

struct second {
	sem_t sem;
	struct src *src;
};

static void second_opened(void *arg, int err, struct src *src)
{
	struct second *k = arg;

	t_int(err, 0);
	k->src = src;
	t_int(sem_post(&k->sem), 0);
}

/* As fs_plan_open() of one who looked just before there was a source. */
static struct src *open_late(struct fs_node *n)
{
	struct fs_plan *p = n->plan;
	struct fs_plan_for whom = { n->snap, n->inner, "x" };
	struct fs_plan_job *j = fs_plan_job_new(p, &whom);
	struct fs_plan_waiter *w = calloc(1, sizeof(*w));
	struct second k = { .src = NULL };

	t_check(j && w);
	t_int(sem_init(&k.sem, 0, 0), 0);
	*w = (struct fs_plan_waiter){ NULL, true,
		(void (*)(void))second_opened, &k };
	pthread_mutex_lock(&p->plans->lock);
	t_check(!p->busy && !p->waiters);
	p->waiters = w;
	p->busy = true;
	p->plans->busy++;
	pthread_mutex_unlock(&p->plans->lock);
	pool_add(p->plans->work, &j->job);
	t_int(sem_wait(&k.sem), 0);
	t_int(sem_destroy(&k.sem), 0);
	return k.src;
}

/* Two who open what is staged at once have one source, and it knows of the
 * changes from before it. */
static void one_source(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL, *now = NULL;
	struct fs_attr a;

	t_int(double_stat(fs, late, &a), 0);
	double_hub.grown = 5;
	t_int(fs_refresh_wait(fs, "pytorch/torchvision"), 0);
	t_int(double_stat(fs, late, &a), 0);
	t_int(fs->resolver.changed, 1);
	t_int(fs_walk_wait(fs, staged, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(fs_plan_made_at(n->plan, fs_handle_src(h)), 1);
	t_check(open_late(n) == fs_handle_src(h));
	t_int(n->plan->users, 2);
	fs_plan_close(n->plan, fs_handle_src(h));
	t_check(n->plan->live == fs_handle_src(h));
	/* Of one that a newer one has replaced nobody knows it. */
	double_contradict(fs, 8 + 40 + 5);
	t_int(fs_open_wait(fs, n, &now), 0);
	t_int(fs_plan_made_at(n->plan, fs_handle_src(now)), 1);
	t_int(fs_plan_made_at(n->plan, fs_handle_src(h)), 0);
	fs_close(h);
	fs_close(now);
	t_check(!n->plan->live && !n->plan->users);
	fs_node_unref(n);
	double_fs_free(fs);
}

static struct fs *planned_in;

static void contradict(void)
{
	double_hub.planning = NULL;
	double_hub.plan_err = 0;
	double_contradict(planned_in, 8 + 40);
}

/* Planning failed while a size was found to be wrong: that may be why, and the
 * next who asks does not wait. */
static void fails_meanwhile(void)
{
	struct fs_attr a;

	planned_in = double_fs(NULL);
	t_int(double_stat(planned_in, late, &a), 0);
	double_hub.plan_err = -EACCES;
	double_hub.planning = contradict;
	t_int(double_stat(planned_in, staged, &a), -EACCES);
	t_int(double_stat(planned_in, staged, &a), 0);
	t_int(double_hub.plans, 2);
	double_fs_free(planned_in);
}

/* Bytes contradict what was measured: it is asked again by the next who opens
 * the file or looks, once, and by nobody for another size. */
static void contradicted(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL, *now = NULL;
	struct fs_attr a;
	uint64_t epochs;

	t_int(fs_walk_wait(fs, late, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(double_hub.measured, 1);
	double_contradict(fs, 8 + 40 + 1);
	t_int(double_stat(fs, late, &a), 0);
	t_int(double_hub.measured, 1);
	staged_anew(fs);
	t_int(double_stat(fs, late, &a), 0);
	t_int(double_hub.measured, 2);
	epochs = fs_epochs(fs);

	/* The hub stays with it: one question for each time. */
	for (unsigned i = 3; i < 6; i++) {
		double_contradict(fs, 8 + 40);
		t_int(fs_open_wait(fs, n, &now), 0);
		t_int(fs_handle_src(now)->size, 8 + 40);
		t_int(fs_handle_touch(now, 0, 1), 0);
		fs_close(now);
		t_int(double_stat(fs, late, &a), 0);
		t_int(double_hub.measured, i);
	}
	t_int(fs_handle_touch(h, 0, 1), 0);
	t_check(fs_epochs(fs) == epochs);

	/* It has found out. What is open is not that file. */
	double_hub.grown = 5;
	double_contradict(fs, 8 + 40);
	t_int(fs_open_wait(fs, n, &now), 0);
	t_int(double_hub.measured, 6);
	t_int(fs_handle_src(now)->size, 8 + 40 + 5);
	t_int(fs_handle_touch(now, 0, 1), 0);
	t_int(fs_handle_touch(h, 0, 1), -EIO);
	t_check(fs_epochs(fs) > epochs);
	double_contradict(fs, 8 + 40);
	t_int(double_stat(fs, late, &a), 0);
	t_int(a.size, 8 + 40 + 5);
	t_int(double_hub.measured, 6);
	fs_close(now);
	fs_close(h);

	/* Who does not answer takes nothing back. */
	double_contradict(fs, 8 + 40 + 5);
	double_hub.err = -ETIMEDOUT;
	t_int(fs_open_wait(fs, n, &now), 0);
	t_int(fs_handle_src(now)->size, 8 + 40 + 5);
	fs_close(now);
	t_int(double_hub.measured, 7);
	fs_node_unref(n);
	double_fs_free(fs);
}

int main(void)
{
	measured();
	not_measured();
	measured_again();
	same_length();
	doubted_meanwhile();
	contradicted_meanwhile();
	contradicted();
	one_source();
	fails_meanwhile();
	return 0;
}
