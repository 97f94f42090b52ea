#include "config.h"

#include "fetch/queue.h"

#include <stddef.h>

void fetch_queue_init(struct fetch_queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	q->head = NULL;
	q->tail = &q->head;
}

void fetch_queue_done(struct fetch_queue *q)
{
	pthread_mutex_destroy(&q->lock);
}

void fetch_queue_push(struct fetch_queue *q, struct fetch_task *t)
{
	t->next = NULL;
	pthread_mutex_lock(&q->lock);
	*q->tail = t;
	q->tail = &t->next;
	pthread_mutex_unlock(&q->lock);
}

struct fetch_task *fetch_queue_take(struct fetch_queue *q)
{
	struct fetch_task *t;

	pthread_mutex_lock(&q->lock);
	t = q->head;
	q->head = NULL;
	q->tail = &q->head;
	pthread_mutex_unlock(&q->lock);
	return t;
}
