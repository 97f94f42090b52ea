/*
 * When bytes turn out wrong, the kernel must drop the pages it has of them.
 * Telling it may wait for a page that is being read, whose read waits for the
 * hub; so a thread of its own does it.
 */
#include "config.h"

#include <signal.h>

#include "fs/ll.h"
#include "fs/tree.h"

static void *notify(void *arg)
{
	struct ll *ll = arg;

	pthread_mutex_lock(&ll->notify_lock);
	while (!ll->stopping) {
		if (!ll->notify) {
			pthread_cond_wait(&ll->notify_cond, &ll->notify_lock);
			continue;
		}
		ll->notify = false;
		pthread_mutex_unlock(&ll->notify_lock);
		ll_files_drop(ll);
		pthread_mutex_lock(&ll->notify_lock);
	}
	pthread_mutex_unlock(&ll->notify_lock);
	return NULL;
}

static void wrong(void *arg)
{
	struct ll *ll = arg;

	pthread_mutex_lock(&ll->notify_lock);
	ll->notify = true;
	pthread_cond_signal(&ll->notify_cond);
	pthread_mutex_unlock(&ll->notify_lock);
}

int ll_notify_start(struct ll *ll)
{
	int r;

	pthread_mutex_init(&ll->notify_lock, NULL);
	pthread_cond_init(&ll->notify_cond, NULL);
	r = pthread_create(&ll->notifier, NULL, notify, ll);
	if (r)
		return -r;
	ll->fs->on_wrong_arg = ll;
	ll->fs->on_wrong = wrong;
	return 0;
}

void ll_notify_stop(struct ll *ll)
{
	pthread_mutex_lock(&ll->notify_lock);
	ll->stopping = true;
	pthread_cond_signal(&ll->notify_cond);
	pthread_mutex_unlock(&ll->notify_lock);
	pthread_join(ll->notifier, NULL);
}
