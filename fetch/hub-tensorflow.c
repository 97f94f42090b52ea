/*
 * TensorFlow Hub (hubs.md 3.2). It has moved to Kaggle: tfhub.dev only says
 * where each handle has gone, and Kaggle has listings and bytes. That place is
 * kept with the snapshot, so that it is asked for once. Where Kaggle cannot be
 * asked, the files lie unpacked in Google's storage.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/hub.h"
#include "fetch/kaggle-json.h"
#include "fetch/kaggle-name.h"
#include "fetch/kaggle-query.h"
#include "fetch/snapshot.h"
#include "fetch/tfhub-ask.h"
#include "fetch/tfhub-name.h"
#include "fetch/url.h"

enum { AT_TFHUB, AT_KAGGLE, AT_STORAGE };	/* endpoints */

#define LOCATED_LIFE_MS (3600 * 1000)	/* addresses without signature */
#define PLACES_MAX 4096

struct tfhub {
	struct fetch_kaggle *kaggle;
	pthread_mutex_t lock;
	/* lock; HANDLE/VERSION → OWNER/MODEL/FRAMEWORK/VARIATION/VERSION at
	 * Kaggle, owned; too many: all go, and who needs one asks again */
	struct map places;
};

/* ---- where a handle is ---- */

static char *key_of(const char *handle, const char *version)
{
	char *key;

	return asprintf(&key, "%s/%s", handle, version) < 0 ? NULL : key;
}

/* The caller frees; NULL: not known. */
static char *place_of(const struct fetch_hub *h, const char *handle,
	const char *version)
{
	struct tfhub *t = h->own;
	cleanup_free char *key = key_of(handle, version);
	char *place;

	pthread_mutex_lock(&t->lock);
	place = key ? map_get(&t->places, key) : NULL;
	place = place ? strdup(place) : NULL;
	pthread_mutex_unlock(&t->lock);
	return place;
}

static int free_place(void *arg, const char *key, void *value)
{
	(void) arg;
	(void) key;
	free(value);
	return 0;
}

static void forget_places(struct tfhub *t)
{
	(void) map_each(&t->places, free_place, NULL);
	map_done(&t->places);
}

static void remember(const struct fetch_hub *h, const char *handle,
	const char *version, const char *place)
{
	struct tfhub *t = h->own;
	cleanup_free char *key = key_of(handle, version);
	char *copy = strdup(place);
	void *old = copy;

	pthread_mutex_lock(&t->lock);
	if (key && t->places.n >= PLACES_MAX && !map_get(&t->places, key))
		forget_places(t);
	if (key && copy && map_put(&t->places, key, copy, &old))
		old = copy;
	pthread_mutex_unlock(&t->lock);
	free(old);
}

/* Cut in two at its version. false: no such place. */
static bool split_place(char *place, const char **ret_version)
{
	char *last = strrchr(place, '/');

	if (fetch_kaggle_parts(place) != 5 ||
	    !fetch_kaggle_version_ok(last + 1, strlen(last + 1)))
		return false;
	*last = '\0';
	*ret_version = last + 1;
	return true;
}

static void tf_recall(struct fetch_hub *h, const struct fetch_snapshot *s)
{
	cleanup_free char *place = s->place ? strdup(s->place) : NULL;
	const char *version;

	if (place && split_place(place, &version))
		remember(h, s->repo, s->revision, s->place);
}

/* ---- addresses ---- */

static bool is_saved_model(const char *instance)
{
	const char *framework = strchr(strchr(instance, '/') + 1, '/') + 1;

	return !strncmp(framework, "tensorFlow", 10);
}

/* Of what lies at `place`, which is cut in two. Of a mirror on disk no query
 * can be asked; what is no SavedModel has no compressed form at TensorFlow
 * Hub. -ENOENT: Kaggle has to be asked by RPC. */
static int url_at(const struct fetch_hub *h, const char *repo,
	const char *revision, char *place, const char *path, struct buf *ret)
{
	const struct tfhub *t = h->own;
	const char *version;

	if (!split_place(place, &version))
		return -EINVAL;
	if (!strcmp(path, FETCH_ARCHIVE_PATH) && is_saved_model(place) &&
	    !fetch_url_is_file(h->endpoints[AT_TFHUB]))
		return buf_printf(ret, "%s/%s/%s?tf-hub-format=compressed",
			h->endpoints[AT_TFHUB], repo, revision);
	return t->kaggle->rpc_only ? -ENOENT : fetch_kaggle_file_url(
		h->endpoints[AT_KAGGLE], place, version, path, ret);
}

static int tf_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth, struct buf *ret)
{
	cleanup_free char *place = NULL;

	if (nth)
		return -ENOENT;
	if (!fetch_tfhub_handle_ok(repo) || !fetch_kaggle_version_ok(revision,
			strlen(revision)))
		return -EINVAL;
	place = place_of(h, repo, revision);
	return place ? url_at(h, repo, revision, place, path, ret) : -ENOENT;
}

/* Kaggle may be down, or out of reach from here. */
static bool not_kaggles_word(int err)
{
	return err == -EHOSTUNREACH || err == -ETIMEDOUT || err == -EIO;
}

struct locating {
	struct fetch_hub *hub;
	char *repo, *revision, *path;
	fetch_locate_cb *cb;
	void *arg;
};

static void locating_free(struct locating *k)
{
	free(k->repo);
	free(k->revision);
	free(k->path);
	free(k);
}

/* url: where the file is; err otherwise. */
static void located(struct locating *k, int err, const struct error *why,
	const struct buf *url)
{
	struct fetch_located found = { .life_ms = LOCATED_LIFE_MS };
	const char *lines;

	if (!err && !(found.url = strdup((const char *)url->data)))
		err = -ENOMEM;
	lines = err ? NULL : fetch_auth_for(fetch_hub_auth(k->hub, found.url),
		found.url);
	if (lines && !(found.lines = strdup(lines)))
		err = -ENOMEM;
	if (err)
		fetch_located_done(&found);
	k->cb(k->arg, err, why, err ? NULL : &found);
	locating_free(k);
}

static void on_unpacked_at(void *arg, int err, const struct error *why,
	const char *place)
{
	struct locating *k = arg;
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);

	if (!err && !strcmp(k->path, FETCH_ARCHIVE_PATH))
		err = -ENOENT;	/* only its members are there */
	if (!err)
		err = buf_printf(&b, "%s/", k->hub->endpoints[AT_STORAGE]);
	if (!err)
		err = fetch_url_escape(&b, place, true);
	if (!err)
		err = buf_append_str(&b, "/");
	if (!err)
		err = fetch_url_escape(&b, k->path, true);
	located(k, err, why, &b);
}

static void on_rpc_located(void *arg, int err, const struct error *why,
	struct fetch_located *found)
{
	struct locating *k = arg;

	if (!not_kaggles_word(err) || !strcmp(k->path, FETCH_ARCHIVE_PATH)) {
		k->cb(k->arg, err, why, found);
		locating_free(k);
		return;
	}
	fetch_tfhub_unpacked(k->hub, k->repo, k->revision, why, on_unpacked_at,
		k);
}

static void on_led_at(void *arg, int err, const struct error *why,
	const char *instance, const char *version)
{
	struct locating *k = arg;
	const struct tfhub *t = k->hub->own;
	struct buf b cleanup_buf = BUF_INIT(URL_MAX);
	cleanup_free char *place = NULL;

	if (!err && !*version)
		version = k->revision;
	if (!err && !(place = key_of(instance, version)))
		err = -ENOMEM;
	if (!err) {
		remember(k->hub, k->repo, k->revision, place);
		err = url_at(k->hub, k->repo, k->revision, place, k->path,
			&b);
		if (err == -ENOENT) {
			fetch_kaggle_locate(t->kaggle, instance, version,
				k->path, on_rpc_located, k);
			return;
		}
	}
	located(k, err, why, &b);
}

/* The files lie unpacked elsewhere; or this handle has not been followed yet,
 * because its listing was known already. */
static void tf_locate(struct fetch_hub *h, const struct fetch_file *f,
	fetch_locate_cb *cb, void *arg)
{
	struct locating *k = calloc(1, sizeof(*k));
	cleanup_free char *place = place_of(h, f->repo, f->revision);
	const struct tfhub *t = h->own;
	const char *version;

	if (!k) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*k = (struct locating){ h, strdup(f->repo), strdup(f->revision),
		strdup(f->path), cb, arg };
	if (!k->repo || !k->revision || !k->path)
		located(k, -ENOMEM, NULL, NULL);
	else if (place && t->kaggle->rpc && split_place(place, &version))
		fetch_kaggle_locate(t->kaggle, place, version, k->path,
			on_rpc_located, k);
	else if (place)
		fetch_tfhub_unpacked(h, k->repo, k->revision, NULL,
			on_unpacked_at, k);
	else
		fetch_tfhub_lead(h, k->repo, k->revision, on_led_at, k);
}

/* ---- questions ---- */

static void fail(struct fetch_query *q, int err, const struct error *why)
{
	fetch_query_answer(q, err, why, NULL, NULL);
}

static void on_objects(void *arg, int err, const struct error *why,
	struct listing *l)
{
	struct fetch_query *q = arg;
	struct error mine = { 0 };

	if (!err) {
		fetch_query_answer(q, 0, NULL, NULL, l);
	} else if (err == -ECANCELED || err == -ENOMEM ||
	    err == -EHOSTUNREACH || err == -ETIMEDOUT) {
		fail(q, err, why);	/* an archive would not come either */
	} else {
		error_set(&mine, -ENODATA, "Kaggle cannot be asked, and only "
			"its archive is known of %s", q->name);
		fail(q, -ENODATA, &mine);
	}
}

static void on_unpacked(void *arg, int err, const struct error *why,
	const char *place)
{
	struct fetch_query *q = arg;

	if (err)
		on_objects(q, err, why, NULL);
	else
		fetch_gcs_list(q->hub, q->hub->endpoints[AT_STORAGE], place,
			on_objects, q);
}

static void list_failed(struct fetch_query *q, int err,
	const struct error *why)
{
	if (not_kaggles_word(err) &&
	    !fetch_url_is_file(q->hub->endpoints[AT_TFHUB]))
		fetch_tfhub_unpacked(q->hub, q->name, q->revision, NULL,
			on_unpacked, q);
	else
		fail(q, err, why);
}

static void list_at(struct fetch_query *q, char *place)
{
	static const struct fetch_kaggle_alias alias = { .failed = list_failed };
	const struct tfhub *t = q->hub->own;
	const char *version;
	struct error why = { 0 };

	if (split_place(place, &version))
		fetch_kaggle_list(q, t->kaggle, place, version, &alias);
	else
		fail(q, error_set(&why, -EIO, "%s is no place at Kaggle",
			place), &why);
}

/* The redirect says that the version is there; Kaggle only when it is from. */
static void resolve_failed(struct fetch_query *q, int err,
	const struct error *why)
{
	cleanup_free char *place = *q->revision && not_kaggles_word(err) ?
		place_of(q->hub, q->name, q->revision) : NULL;
	struct fetch_snapshot *s = place ? fetch_snapshot_new(q->name,
		q->revision) : NULL;

	if (!s) {
		fail(q, err, why);
		return;
	}
	s->place = steal_ptr(place);
	fetch_query_answer(q, 0, NULL, s, NULL);
}

/* instance in version is what the handle's `revision` has become. */
static void led_to(struct fetch_query *q, const char *revision,
	const char *instance, const char *version)
{
	struct tfhub *t = q->hub->own;
	cleanup_free char *place = key_of(instance, version);
	const struct fetch_kaggle_alias alias = {
		.repo = q->name, .revision = revision, .place = place,
		.failed = resolve_failed,
	};
	struct error why = { 0 };

	if (!place) {
		fail(q, error_set(&why, -ENOMEM, "out of memory"), &why);
		return;
	}
	remember(q->hub, q->name, revision, place);
	if (q->what == FETCH_LIST)
		list_at(q, place);
	else
		fetch_kaggle_resolve(q, t->kaggle, instance, version, &alias);
}

static void on_version_led(void *arg, int err, const struct error *why,
	const char *instance, const char *version)
{
	struct fetch_query *q = arg;

	if (err)
		fail(q, err, why);
	else
		led_to(q, q->revision, instance, *version ? version :
			q->revision);
}

/* ---- the newest ---- */

struct newest {
	struct fetch_query *query;
	struct fetch_kaggle_call call;
	char *instance;
	char version[KAGGLE_DIGITS_MAX + 1];
};

static void newest_end(struct newest *n, int err, const struct error *why)
{
	if (n->query)
		fail(n->query, err, why);
	fetch_kaggle_call_done(&n->call);
	free(n->instance);
	free(n);
}

/* Versions of the handle and of Kaggle are counted alike in most cases, and
 * only then is it known what the newest is called here. */
static void on_newest_led(void *arg, int err, const struct error *why,
	const char *instance, const char *version)
{
	struct newest *n = arg;
	struct error mine = { 0 };

	if (!err && (strcmp(instance, n->instance) != 0 ||
			(*version && strcmp(version, n->version) != 0)))
		err = -ENOENT;
	if (err == -ENOENT) {
		error_set(&mine, err, "TensorFlow Hub does not tell the newest "
			"version of %s: name one", n->query->name);
		why = &mine;
	}
	if (!err) {
		led_to(n->query, n->version, instance, n->version);
		n->query = NULL;
	}
	newest_end(n, err, why);
}

static void check_newest(struct newest *n)
{
	fetch_tfhub_lead(n->query->hub, n->query->name, n->version,
		on_newest_led, n);
}

static int take_newest(struct fetch_kaggle_call *c, const json_t *page,
	struct error *why)
{
	struct newest *n = (struct newest *)(void *)((char *)c -
		offsetof(struct newest, call));
	uint64_t v = 0;
	int r = fetch_kaggle_newest(page, &v, why);

	if (!r)
		snprintf(n->version, sizeof(n->version), "%u", (unsigned)v);
	return r;
}

static void on_newest(struct fetch_kaggle_call *c, int err,
	const struct error *why)
{
	struct newest *n = (struct newest *)(void *)((char *)c -
		offsetof(struct newest, call));

	if (err)
		newest_end(n, err, why);
	else
		check_newest(n);
}

static void on_handle_led(void *arg, int err, const struct error *why,
	const char *instance, const char *version)
{
	struct fetch_query *q = arg;
	const struct tfhub *t = q->hub->own;
	struct newest *n = err ? NULL : calloc(1, sizeof(*n));

	if (!n || !(n->instance = strdup(instance))) {
		free(n);
		fail(q, err ? err : -ENOMEM, why);
		return;
	}
	n->query = q;
	if (*version) {
		strcpy(n->version, version);
		check_newest(n);
		return;
	}
	n->call.kaggle = t->kaggle;
	n->call.method = KAGGLE_INSTANCE;
	n->call.name = n->instance;
	n->call.page = take_newest;
	n->call.done = on_newest;
	err = fetch_kaggle_call_start(&n->call);
	if (err)
		newest_end(n, err, NULL);
}

static void on_series_led(void *arg, int err, const struct error *why,
	const char *instance, const char *version)
{
	struct fetch_query *q = arg;
	const struct tfhub *t = q->hub->own;

	(void) version;
	if (err)
		fail(q, err, why);
	else
		fetch_kaggle_below(q, t->kaggle, instance);
}

static void tf_answer(struct fetch_query *q)
{
	cleanup_free char *place = NULL;
	struct listing none = { 0 };
	struct error why = { 0 };

	if (*q->revision && !fetch_kaggle_version_ok(q->revision,
			strlen(q->revision))) {
		error_set(&why, -ENOENT, "%.100s is no version", q->revision);
		fail(q, -ENOENT, &why);
		return;
	}
	if (q->what == FETCH_LIST_OWNER) {
		/* what a publisher has, nobody tells any more */
		if (!strchr(q->name, '/'))
			fetch_query_answer(q, 0, NULL, NULL, &none);
		else
			fetch_tfhub_lead(q->hub, q->name, "", on_series_led,
				q);
		return;
	}
	if (!*q->revision) {
		fetch_tfhub_lead(q->hub, q->name, "", on_handle_led, q);
		return;
	}
	place = q->what == FETCH_LIST ?
		place_of(q->hub, q->name, q->revision) : NULL;
	if (place)
		list_at(q, place);
	else
		fetch_tfhub_lead(q->hub, q->name, q->revision, on_version_led,
			q);
}

/* ---- the hub ---- */

static void tf_close(struct fetch_hub *h)
{
	struct tfhub *t = h->own;

	if (!t)
		return;
	forget_places(t);
	pthread_mutex_destroy(&t->lock);
	free(t->kaggle);
	free(t);
}

static int tf_open(struct fetch_hub *h, struct error *why)
{
	struct tfhub *t = calloc(1, sizeof(*t));

	if (!t)
		return error_set(why, -ENOMEM, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	h->own = t;
	return fetch_kaggle_new(h, AT_KAGGLE, &t->kaggle, why);
}

static char *tf_credentials(const struct conf *c, unsigned nth)
{
	return nth == AT_KAGGLE ? fetch_kaggle_credentials(c) : NULL;
}

static bool tf_owner_ok(const char *owner)
{
	size_t len;
	enum fetch_name what = fetch_tfhub_name(owner, &len);

	return what == FETCH_NAME_GROUP || what == FETCH_NAME_NEWEST;
}

const struct fetch_hub_ops fetch_hub_tensorflow = {
	.kind = "tensorflow",
	.grammar = FETCH_VERSIONS,
	.endpoint_keys = { "tfhub.endpoint", "kaggle.endpoint",
		"tfhub.storage" },
	.open = tf_open,
	.close = tf_close,
	.credentials = tf_credentials,
	.repo_ok = fetch_tfhub_handle_ok,
	.owner_ok = tf_owner_ok,
	.name = fetch_tfhub_name,
	.answer = tf_answer,
	.url = tf_url,
	.locate = tf_locate,
	.no_head = true,
	.recall = tf_recall,
	.digest = fetch_digest_goog,
	.meaning = fetch_kaggle_meaning,
};
