/* Every address of every hub, all asked at once, and the clock by their dates. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "fetch/fetch.h"

#define ADDRESSES_MAX 64
#define SKEW_S 300	/* signed addresses and certificates bear less */

/* In the order of the README. */
static const char *const kinds[] = {
	"huggingface", "onnx", "tensorflow", "kaggle", "torchvision",
	"torchserve", "torchhub", "keras",
};

struct asking;

struct address {
	struct asking *all;
	const char *kind, *url;
	bool first;		/* the hub's own */
	bool mirror;		/* on disk */
	int err;
	struct error why;
	int64_t skew;
};

struct asking {
	pthread_mutex_t lock;
	pthread_cond_t came;
	unsigned waiting;		/* lock */
	struct address v[ADDRESSES_MAX];
	unsigned n;
};

static void reached(void *arg, int err, const struct error *why, int64_t skew)
{
	struct address *a = arg;
	struct asking *all = a->all;

	a->err = err;
	a->skew = skew;
	if (err && why)
		a->why = *why;
	(void) pthread_mutex_lock(&all->lock);
	all->waiting--;
	(void) pthread_cond_signal(&all->came);
	(void) pthread_mutex_unlock(&all->lock);
}

/* Some hubs share a host. */
static struct address *find_asked(struct asking *all, const char *url)
{
	for (unsigned i = 0; i < all->n; i++)
		if (!strcmp(all->v[i].url, url))
			return &all->v[i];
	return NULL;
}

static void ask_hub(struct asking *all, struct fetch_hub *h, const char *kind)
{
	const char *url;

	for (unsigned n = 0; (url = fetch_hub_endpoint_at(h, n)); n++) {
		struct address *a = find_asked(all, url);

		if (a) {
			a->first |= n == 0;
			continue;
		}
		if (all->n == ADDRESSES_MAX)
			break;
		a = &all->v[all->n];
		*a = (struct address){ .all = all, .kind = kind, .url = url,
			.first = n == 0,
			.mirror = !strncmp(url, "file:", 5) };
		all->n++;
		(void) pthread_mutex_lock(&all->lock);
		all->waiting++;
		(void) pthread_mutex_unlock(&all->lock);
		fetch_reach(h, n, reached, a);
	}
}

static void tell(struct doctor *d, const struct asking *all)
{
	int64_t skew = FETCH_NO_DATE;

	for (unsigned i = 0; i < all->n; i++) {
		const struct address *a = &all->v[i];

		if (!a->err)
			doctor_say(d, OK, a->kind, "%s answers", a->url);
		else if (a->mirror)
			/* Who mirrors a hub needs not mirror all of it. */
			doctor_say(d, a->first ? BAD : NOTE, a->kind, "%s",
				error_text(&a->why, a->err));
		else
			doctor_say(d, BAD, a->kind, "%s; is a proxy needed "
				"(https_proxy)? --offline does without",
				error_text(&a->why, a->err));
		if (a->skew != FETCH_NO_DATE && (skew == FETCH_NO_DATE ||
				llabs(a->skew) < llabs(skew)))
			skew = a->skew;
	}
	if (skew == FETCH_NO_DATE)
		return;
	if (llabs(skew) > SKEW_S)
		doctor_say(d, BAD, "clock", "%" PRId64 " s %s the hubs': set "
			"it (timedatectl set-ntp true)", (int64_t)llabs(skew),
			skew > 0 ? "ahead of" : "behind");
	else
		doctor_say(d, OK, "clock", "agrees with the hubs'");
}

void doctor_hubs(struct doctor *d)
{
	struct asking *all;
	struct error why = { 0 };
	struct fetch *f = NULL;
	int r;

	if (conf_flag(d->c->conf, "offline")) {
		doctor_say(d, NOTE, "hubs", "not asked: offline");
		return;
	}
	all = calloc(1, sizeof(*all));
	r = all ? fetch_new(d->c->conf, &f, &why) : -ENOMEM;
	if (r) {
		doctor_say(d, BAD, "hubs", "%s", error_text(&why, r));
		free(all);
		return;
	}
	(void) pthread_mutex_init(&all->lock, NULL);
	(void) pthread_cond_init(&all->came, NULL);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct fetch_hub *h;

		r = fetch_hub_open(f, kinds[i], d->c->conf, &h, &why);
		if (r)
			doctor_say(d, BAD, kinds[i], "%s",
				error_text(&why, r));
		else
			ask_hub(all, h, kinds[i]);
	}
	(void) pthread_mutex_lock(&all->lock);
	while (all->waiting)
		(void) pthread_cond_wait(&all->came, &all->lock);
	(void) pthread_mutex_unlock(&all->lock);
	tell(d, all);
	fetch_free(f);
	(void) pthread_cond_destroy(&all->came);
	(void) pthread_mutex_destroy(&all->lock);
	free(all);
}
