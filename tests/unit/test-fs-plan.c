/*
 * Plans over doubles of the rooms below: those that fail, and what comes of one
 * when what it was made from is not believed any more.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/fs.h"
#include "fs/node.h"
#include "fs/tree.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

static const char model[] = HF "org/model/pytorch/model.onnx";
static const char refused[] = HF "org/model/pytorch/refused.onnx";

/* Planning fails because of the road: its own errno, and tried again. */
static void planning_fails(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_handle *h = NULL, *now = NULL;
	struct fs_node *n = NULL;
	struct fs_attr a;

	double_hub.plan_err = -EACCES;
	t_int(double_stat(fs, model, &a), -EACCES);
	t_int(double_stat(fs, model, &a), -EACCES);
	t_int(double_hub.plans, 1);
	double_hub.plan_err = 0;
	clock_advance(6000);
	t_int(fs_walk_wait(fs, model, &n, &a), 0);
	t_int(a.size, 62);

	/* Likewise when it is opened; but not once its bytes were wrong. */
	double_hub.plan_err = -EACCES;
	fs_plans_expire(&fs->plans);
	t_int(fs_open_wait(fs, n, &h), -EACCES);
	t_int(fs_open_wait(fs, n, &h), -EACCES);
	t_int(double_hub.plans, 3);
	double_hub.plan_err = 0;
	fs_plans_expire(&fs->plans);
	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(double_hub.plans, 4);

	/* What is open goes on with what it has, who opens it now does not. */
	fs_plans_expire(&fs->plans);
	t_int(fs_open_wait(fs, n, &now), 0);
	t_int(double_hub.plans, 5);
	t_check(fs_handle_src(now) != fs_handle_src(h));
	fs_close(h);
	t_check(n->plan->live == fs_handle_src(now));
	fs_close(now);
	t_check(!n->plan->live);
	fs_node_unref(n);
	double_fs_free(fs);
}

/* What the next process has of a plan: what the index says. */
static void forget_state(struct fs_plan *p)
{
	pthread_mutex_lock(&p->plans->lock);
	p->state = FS_PLAN_UNKNOWN;
	p->err = 0;
	pthread_mutex_unlock(&p->plans->lock);
}

/* A refusal is believed for a day. */
static void refused_for_long(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	uint64_t size;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, refused, &n, &a), 0);
	forget_state(n->plan);
	t_int(fs_plan_known(n->plan, &size), -ENOTSUP);
	forget_state(n->plan);
	clock_advance(25 * 3600 * 1000);
	t_int(fs_plan_known(n->plan, &size), -EAGAIN);
	t_int(double_stat(fs, refused, &a), 0);
	t_int(double_hub.plans, 2);
	fs_node_unref(n);
	double_fs_free(fs);
}

static struct fs *doubted;
static unsigned doubts;

static void doubt(void)
{
	if (!doubts)
		return;
	doubts--;
	fs_plans_expire(&doubted->plans);
}

static void put_in_vain(void)
{
	t_check(!"put for a moment");
}

/* What is planned from is not believed any more when the plan is there: once
 * more, and neither this process nor the next one has what was found. Not for
 * ever. */
static void planned_in_vain(void)
{
	struct fs_attr a;

	doubted = double_fs(NULL);
	double_hub.planning = doubt;
	doubts = 2;
	t_int(double_stat(doubted, model, &a), 0);
	t_int(a.size, 62);
	t_int(double_hub.plans, 3);
	t_int(double_stat(doubted, model, &a), 0);
	t_int(double_hub.plans, 3);
	double_fs_free(doubted);

	doubted = double_fs(NULL);
	double_hub.planning = doubt;
	double_hub.putting = put_in_vain;
	doubts = 100;
	t_int(double_stat(doubted, model, &a), -EIO);
	t_int(double_hub.plans, 100 - doubts);
	t_check(doubts > 90);
	double_hub.putting = NULL;
	doubts = 0;
	clock_advance(6000);
	t_int(double_stat(doubted, model, &a), 0);
	double_fs_free(doubted);

	/* The last moment for that is when the outcome is kept. */
	doubted = double_fs(NULL);
	double_hub.putting = doubt;
	doubts = 100;
	t_int(double_stat(doubted, model, &a), -EIO);
	t_check(!double_planned(doubted));
	double_fs_free(doubted);
}

static void mend_and_doubt(void)
{
	double_hub.planning = NULL;
	double_hub.plan_err = 0;
	fs_plans_expire(&doubted->plans);
}

/* A refusal of what is not believed any more is none. */
static void refused_in_vain(void)
{
	struct fs_attr a;

	doubted = double_fs(NULL);
	double_hub.planning = mend_and_doubt;
	double_hub.plan_err = -ENOTSUP;
	t_int(double_stat(doubted, model, &a), 0);
	t_int(a.size, 62);
	t_int(double_hub.plans, 2);
	double_fs_free(doubted);
}

static void doubt_recalled(void)
{
	double_hub.recalled = NULL;
	fs_plans_expire(&doubted->plans);
}

/* Nor is what was read of the index just before it was cleared. */
static void recalled_in_vain(void)
{
	struct fs_attr a;

	doubted = double_fs(NULL);
	t_int(double_stat(doubted, model, &a), 0);
	double_hub.recalled = doubt_recalled;
	/* As soon as the job has let go of the plan. */
	for (int i = 0; i < 2000 && double_hub.recalled; i++) {
		t_int(double_stat(doubted, model, &a), 0);
		(void) usleep(1000);
	}
	t_check(!double_hub.recalled);
	t_int(double_hub.plans, 2);
	double_fs_free(doubted);
}

static struct {
	pthread_t thread;
	sem_t begun, told;
} clearing;

static void *clear(void *arg)
{
	fs_plans_expire(arg);
	/* If nothing was there to be deleted. */
	t_int(sem_post(&clearing.begun), 0);
	return NULL;
}

static void half_cleared(void)
{
	double_hub.deleted = NULL;
	t_int(sem_post(&clearing.begun), 0);
	t_int(sem_wait(&clearing.told), 0);
}

static void clear_beside(void)
{
	double_hub.planning = NULL;
	double_hub.deleted = half_cleared;
	t_int(pthread_create(&clearing.thread, NULL, clear, &doubted->plans),
		0);
	t_int(sem_wait(&clearing.begun), 0);
}

/* Nobody is told what was found before the index began to be cleared, though
 * that takes time. */
static void not_told_meanwhile(void)
{
	struct fs_attr a;

	t_int(sem_init(&clearing.begun, 0, 0), 0);
	t_int(sem_init(&clearing.told, 0, 0), 0);
	doubted = double_fs(NULL);
	/* So that the index has something. */
	t_int(double_stat(doubted, refused, &a), 0);
	t_int(double_hub.plans, 1);
	double_hub.planning = clear_beside;
	t_int(double_stat(doubted, model, &a), 0);
	t_int(double_hub.plans, 3);
	t_int(sem_post(&clearing.told), 0);
	t_int(pthread_join(clearing.thread, NULL), 0);
	double_fs_free(doubted);
	t_int(sem_destroy(&clearing.begun), 0);
	t_int(sem_destroy(&clearing.told), 0);
}

static struct fs_handle *seen;
static struct fs_plan *seen_plan;

/* How many objects it is then. */
static unsigned until_made(struct fs_plan *p)
{
	unsigned objects = 0;
	bool now = true;

	for (int i = 0; i < 20000 && now; i++) {
		pthread_mutex_lock(&p->plans->lock);
		now = p->making;
		objects = p->whole.alg != OBJID_NONE;
		pthread_mutex_unlock(&p->plans->lock);
		(void) usleep(1000);
	}
	t_check(!now);
	return objects;
}

static void read_all(void)
{
	double_hub.deleted = NULL;
	fs_plan_was_read(seen_plan, fs_handle_src(seen), 0);
	(void) until_made(seen_plan);
}

/* What is noted while the index is being cleared does not survive that. */
static void noted_meanwhile(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, model, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &seen), 0);
	seen_plan = n->plan;
	double_hub.deleted = read_all;
	fs_plans_expire(&fs->plans);
	t_check(!double_hub.deleted);
	fs_close(seen);
	t_int(double_hub.plans, 1);
	t_int(double_stat(fs, model, &a), 0);
	t_int(double_hub.plans, 2);
	fs_node_unref(n);
	double_fs_free(fs);
}

/* What was read whole is an object then, unless what it was read from has
 * turned out wrong or is not believed any more. */
static void becomes_object(void)
{
	struct fs *fs = double_fs("stage.materialize=always");
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL;
	struct src *whole = NULL;
	struct fs_attr a;

	double_hub.here = true;
	t_int(fs_walk_wait(fs, model, &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	fs_close(h);
	t_int(until_made(n->plan), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	double_hold();
	fs_plan_was_read(n->plan, fs_handle_src(h), 0);
	double_epoch(1);
	double_release();
	t_int(until_made(n->plan), 0);
	t_int(double_hub.puts, 0);
	double_epoch(0);

	double_hold();
	fs_plan_was_read(n->plan, fs_handle_src(h), 0);
	fs_plans_expire(&fs->plans);
	double_release();
	t_int(until_made(n->plan), 0);
	fs_close(h);

	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(double_hub.plans, 2);
	t_int(fs_handle_touch(h, 0, 62), 0);
	fs_close(h);
	t_int(until_made(n->plan), 1);
	t_int(fs_plan_whole(n->plan, &whole), 0);
	t_int(whole->size, 62);
	src_unref(whole);
	fs_plans_expire(&fs->plans);
	t_int(double_stat(fs, model, &a), 0);
	t_int(double_hub.plans, 3);
	t_int(fs_plan_whole(n->plan, &whole), -ENOENT);
	fs_node_unref(n);
	double_fs_free(fs);
}

int main(void)
{
	planning_fails();
	refused_for_long();
	planned_in_vain();
	refused_in_vain();
	recalled_in_vain();
	not_told_meanwhile();
	noted_meanwhile();
	becomes_object();
	return 0;
}
