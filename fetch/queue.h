/*
 * Hand-over to the engine thread: tasks in the order they were posted. The
 * task is the poster's memory (embedded in what it is about) and is not
 * touched again once run() has been called.
 */
#ifndef FETCH_QUEUE_H
#define FETCH_QUEUE_H

#include <pthread.h>

struct fetch_task {
	void (*run)(struct fetch_task *t);	/* may free the task */
	struct fetch_task *next;		/* the queue's own */
};

struct fetch_queue {
	pthread_mutex_t lock;
	struct fetch_task *head;	/* lock */
	struct fetch_task **tail;	/* lock */
};

void fetch_queue_init(struct fetch_queue *q);
void fetch_queue_done(struct fetch_queue *q);
/* Any thread. */
void fetch_queue_push(struct fetch_queue *q, struct fetch_task *t);
/* Everything posted so far, as a chain; the queue is empty afterwards. */
struct fetch_task *fetch_queue_take(struct fetch_queue *q);

#endif
