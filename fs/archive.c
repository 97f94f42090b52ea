/*
 * Which archive it is, who unpacks it, and its list. See archive.h; this file
 * waits for bytes only where the header says so.
 */
#include "config.h"

#include "fs/archive-own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/measure.h"
#include "fs/stack.h"

#define RECORD_MAX (256 << 20)	/* bytes of an index entry */
#define REASONS_SHOWN 16	/* of one archive, in the list of errors */

void fs_archives_init(struct fs_archives *a)
{
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->idle, NULL);
}

void fs_archives_done(struct fs_archives *a)
{
	pthread_cond_destroy(&a->idle);
	pthread_mutex_destroy(&a->lock);
}

static int collect(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	(void) value;
	(void) len;
	(void) age;
	return buf_append(arg, key, strlen(key) + 1);
}

void fs_archives_expire(struct cache *c)
{
	struct buf keys = BUF_INIT(RECORD_MAX);
	size_t at = 0;

	(void) cache_index_each(c, CACHE_KIND_ARCHIVE, "", collect, &keys);
	while (at < keys.len) {
		const char *key = (const char *)keys.data + at;

		(void) cache_index_del(c, CACHE_KIND_ARCHIVE, key);
		at += strlen(key) + 1;
	}
	buf_done(&keys);
}

/* Bytes that are known by their digest are the same under every name. */
static char *key_of(const struct fs_snap *s, const char *path,
	const struct objid *id)
{
	char hex[OBJID_HEX_MAX], *key;
	int n;

	objid_hex(id, hex);
	if ((id->alg == OBJID_SHA256 || id->alg == OBJID_GITSHA1) &&
		strlen(hex) == id->digits && id->digits >= 40)
		n = asprintf(&key, "%s:%s", objid_alg_name(id->alg), hex);
	else
		n = asprintf(&key, "%s/%s@%s/%s", s->hub->name, s->repo,
			s->revision, path);
	return n < 0 ? NULL : key;
}

struct fs_archive *fs_archive_new(struct fs_snap *s, struct fs_snap *outer,
	const struct listing_entry *e, unsigned nth)
{
	struct fs_archive *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->snap = s;
	a->outer = outer;
	a->e = e;
	a->nth = nth;
	a->path = strdup(e->path);
	a->key = key_of(s, e->path, &e->id);
	if (a->path && a->key) {
		if (outer != s)	/* else without the lock */
			outer->refs++;
		return a;
	}
	free(a->path);
	free(a->key);
	free(a);
	return NULL;
}

void fs_archive_free(struct fs_archive *a)
{
	if (!a)
		return;
	stage_archive_done(&a->list);
	if (a->outer != a->snap)
		fs_snap_unref(a->outer);
	free(a->top);
	free(a->path);
	free(a->key);
	free(a);
}

const char *fs_archive_path(const struct fs_archive *a)
{
	return a->path;
}

/* ---- one thread at a time -------------------------------------------------------- */

static struct fs_archives *all_of(const struct fs_archive *a)
{
	return a->snap->resolver->archives;
}

void fs_archive_enter(struct fs_archive *a)
{
	struct fs_archives *all = all_of(a);

	pthread_mutex_lock(&all->lock);
	while (a->busy)
		pthread_cond_wait(&all->idle, &all->lock);
	a->busy = true;
	pthread_mutex_unlock(&all->lock);
}

bool fs_archive_enter_or_wait(struct fs_archive *a, struct pool_job *job)
{
	struct fs_archives *all = all_of(a);
	bool in;

	pthread_mutex_lock(&all->lock);
	in = !a->busy;
	if (in) {
		a->busy = true;
	} else {
		job->next = a->waiting;
		a->waiting = job;
	}
	pthread_mutex_unlock(&all->lock);
	return in;
}

void fs_archive_leave(struct fs_archive *a)
{
	struct fs_archives *all = all_of(a);
	struct pool_job *list, *job;

	pthread_mutex_lock(&all->lock);
	a->busy = false;
	list = a->waiting;
	a->waiting = NULL;
	pthread_cond_broadcast(&all->idle);
	pthread_mutex_unlock(&all->lock);
	while ((job = list)) {
		list = job->next;
		pool_add(all->pool, job);
	}
}

void fs_archive_later(const struct fs_snap *s, struct pool_job *job)
{
	pool_add(s->resolver->archives->pool, job);
}

/* ---- members ---------------------------------------------------------------------- */

const struct stage_member *fs_archive_find(const struct fs_archive *a,
	const struct listing_entry *e)
{
	const struct stage_member *m = NULL;
	char *path = a->top ? path_join(a->top, e->path) : NULL;

	if (path)
		m = stage_archive_find(&a->list, path);
	free(path);
	return m ? m : stage_archive_find(&a->list, e->path);
}

/* ---- the archive's bytes ----------------------------------------------------------- */

bool fs_archive_holds(const struct fs_archive *a)
{
	return fs_measure_nth(a->outer, a->e) == a->nth;
}

char *fs_archive_key(const struct fs_archive *a)
{
	const struct listing_entry *e = fs_measured(a->outer, a->e);
	char hex[OBJID_HEX_MAX], *key;
	int n;

	if (a->e->size != LISTING_SIZE_UNKNOWN)
		return strdup(a->key);
	objid_hex(&e->id, hex);
	n = asprintf(&key, "%s//%" PRIu64 " %s", a->key, e->size, hex);
	return n < 0 ? NULL : key;
}

int fs_archive_bytes(const struct fs_archive *a, bool far, bool wait,
	struct src **ret, struct error *why)
{
	const struct fs_resolver *r = a->snap->resolver;
	const struct fs_stack k = { .cache = r->cache,
		.offline = r->offline || !far };
	struct src *src;
	int err = wait ? fs_stack_file_wait(&k, a->outer, a->e, &src, why) :
		fs_stack_file(&k, a->outer, a->e, &src, why);

	if (!err && !fs_archive_holds(a)) {
		src_unref(src);
		err = error_set(why, -EIO, "it has become another file");
	}
	if (!err)
		*ret = src;
	return err;
}

int fs_archive_check(const struct src *s, unsigned epoch, struct error *why)
{
	return src_epoch(s) == epoch ? 0 : error_set(why, -EIO,
		"the archive's bytes were wrong; they are fetched again");
}

/* ---- listing ------------------------------------------------------------------------ */

/* What was refused, for the list of errors. */
static void show_refused(const struct fs_archive *a)
{
	const struct fs_snap *s = a->snap;
	char *repo = fs_shown_path(s->hub, s->repo, s->revision), *path;

	for (size_t i = 0; i < a->list.n_refused && i < REASONS_SHOWN && repo;
		i++) {
		if (asprintf(&path, "%s/%s/%s", repo, a->path,
				a->list.refused[i].name) < 0)
			break;
		fs_errors_add(s->resolver->errors, path, -ENOTSUP,
			a->list.refused[i].why);
		free(path);
	}
	free(repo);
}

static int take_list(struct fs_archive *a, struct stage_archive *got,
	struct listing *ret)
{
	int r = a->snap->hub->flat ? fs_archive_flat(got, &a->top, ret) :
		stage_archive_listing(got, ret);

	if (r) {
		stage_archive_done(got);
		return r;
	}
	a->list = *got;
	show_refused(a);
	return 0;
}

int fs_archive_recall(struct fs_archive *a, struct listing *ret)
{
	struct buf b = BUF_INIT(RECORD_MAX);
	struct stage_archive got = { 0 };
	char *key = fs_archive_key(a);
	int r = key ? cache_index_get(a->snap->resolver->cache,
		CACHE_KIND_ARCHIVE, key, &b, NULL) : -ENOMEM;

	free(key);
	if (!r && !fs_archive_holds(a))
		r = -ENOENT;
	if (!r && stage_archive_from_json((const char *)b.data, b.len, &got,
			NULL))
		r = -ENOENT;
	buf_done(&b);
	return r ? r : take_list(a, &got, ret);
}

static void remember_list(const struct fs_archive *a,
	const struct stage_archive *list)
{
	char *json = stage_archive_to_json(list), *key = fs_archive_key(a);

	if (json && key && fs_archive_holds(a))
		(void) cache_index_put(a->snap->resolver->cache,
			CACHE_KIND_ARCHIVE, key, json, strlen(json));
	free(json);
	free(key);
}

int fs_archive_list(struct fs_archive *a, struct listing *ret,
	struct error *why)
{
	struct fs_archive_putting k = { .a = a };
	struct stage_archive got = { 0 };
	const struct listing_entry *e;
	int r = fs_measure_wait(a->outer, a->e, &e, why);

	if (!r) {
		a->nth = fs_measure_nth(a->outer, a->e);
		r = fs_archive_pass(a, &k, &got, why);
	}
	if (r) {
		(void) error_wrap(why, "%s", a->path);
		return r;
	}
	remember_list(a, &got);
	return take_list(a, &got, ret);
}
