/*
 * Listing an archive, and opening what is in it. See archive.h; this file
 * waits for bytes only where the header says so.
 */
#include "config.h"

#include "fs/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fs/resolve.h"
#include "fs/stack.h"

#define RECORD_MAX (256 << 20)	/* bytes of an index entry */
#define REASONS_SHOWN 16	/* of one archive, in the list of errors */
#define LOCAL_LEN 30		/* of a zip's local header, without the name */

struct fs_archive {
	struct fs_snap *snap;		/* the inside's; it owns this */
	struct fs_snap *outer;		/* that the archive is a file of:
					 * counted, unless it is snap */
	const struct listing_entry *e;	/* outer's */
	char *path;
	char *key;			/* what the index knows it by */
	struct stage_archive list;	/* constant once snap is listed */
	char *top;	/* "DIR" that is left out of what is shown, or NULL;
			 * constant then too */

	bool busy;			/* archives lock; somebody unpacks */
	struct pool_job *waiting;	/* archives lock; for the end of that */
};

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
	const struct listing_entry *e)
{
	struct fs_archive *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->snap = s;
	a->outer = outer;
	a->e = e;
	a->path = strdup(e->path);
	a->key = key_of(s, e->path, &e->id);
	if (a->path && a->key) {
		outer->refs += outer != s;
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

static void enter(struct fs_archive *a)
{
	struct fs_archives *all = all_of(a);

	pthread_mutex_lock(&all->lock);
	while (a->busy)
		pthread_cond_wait(&all->idle, &all->lock);
	a->busy = true;
	pthread_mutex_unlock(&all->lock);
}

/* True: entered. Else the job is run again when it may be possible. */
static bool enter_or_wait(struct fs_archive *a, struct pool_job *job)
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

static void leave(struct fs_archive *a)
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

static const struct stage_member *member_of(const struct fs_archive *a,
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

/* The archive itself, as any file of its repository. far: what is missing is
 * fetched, and its size asked for, if that is not known: waits, then. */
static int open_archive(const struct fs_archive *a, bool far, bool wait,
	struct src **ret, struct error *why)
{
	const struct fs_resolver *r = a->snap->resolver;
	const struct fs_stack k = { .cache = r->cache,
		.offline = r->offline || !far };

	return wait ? fs_stack_file_wait(&k, a->outer, a->e, ret, why) :
		fs_stack_file(&k, a->outer, a->e, ret, why);
}

/* Were the bytes it was read from right all the while? */
static int check_epoch(const struct src *s, unsigned epoch, struct error *why)
{
	return src_epoch(s) == epoch ? 0 : error_set(why, -EIO,
		"the archive's bytes were wrong; they are fetched again");
}

/* ---- members as objects ------------------------------------------------------------ */

/* The name of a member in the cache; *ret_path: to be freed. */
static int name_of(const struct fs_archive *a, const char *path,
	uint64_t size, const struct objid *id, struct cache_name *ret,
	char **ret_path)
{
	const struct fs_snap *s = a->snap;
	char *full = path_join(a->path, path);

	if (!full)
		return -ENOMEM;
	*ret = (struct cache_name){ .hub = s->hub->name, .repo = s->repo,
		.revision = s->revision, .path = full, .size = size,
		.id = *id };
	*ret_path = full;
	return 0;
}

static char *fact_key(const struct fs_archive *a, const char *path)
{
	char *key;

	return asprintf(&key, "%s!%s", a->key, path) < 0 ? NULL : key;
}

/* What is known of the digest of a member. */
static int digest_of(const struct fs_archive *a, const struct stage_member *m,
	struct objid *ret)
{
	struct buf b = BUF_INIT(OBJID_HEX_MAX);
	char *key;
	int r = -ENOMEM;

	if (m->how == STAGE_MEMBER_STREAM) {
		*ret = m->id;
		return m->id.alg == OBJID_SHA256 ? 0 : -ENOENT;
	}
	key = fact_key(a, m->path);
	if (key)
		r = cache_index_get(a->snap->resolver->cache,
			CACHE_KIND_ARCHIVE, key, &b, NULL);
	if (!r)
		r = objid_parse(OBJID_SHA256, (const char *)b.data, ret);
	if (!r && ret->digits != 2 * OBJID_RAW_MAX)
		r = -ENOENT;
	free(key);
	buf_done(&b);
	return r;
}

static void remember_digest(const struct fs_archive *a, const char *path,
	const struct objid *id)
{
	char hex[OBJID_HEX_MAX], *key = fact_key(a, path);

	objid_hex(id, hex);
	if (key)
		(void) cache_index_put(a->snap->resolver->cache,
			CACHE_KIND_ARCHIVE, key, hex, strlen(hex));
	free(key);
}

static int open_object(const struct fs_archive *a,
	const struct stage_member *m, struct src **ret)
{
	struct cache_name name;
	struct objid id;
	char *path = NULL;
	int r = digest_of(a, m, &id);

	if (!r)
		r = name_of(a, m->path, m->size, &id, &name, &path);
	if (!r)
		r = cache_whole_open(a->snap->resolver->cache, &name, ret);
	free(path);
	return r;
}

/* A sink that makes objects, of all members or of those that are not here. */
struct putting {
	struct fs_archive *a;
	const char *wanted;	/* this one has to be kept; NULL: nothing has */
	bool again;		/* the archive is listed already */
	bool skip;		/* of this member nothing is needed */
	struct cache_put *put;
	struct digest *d;	/* no room for the bytes: their digest only */
};

static bool is_here(const struct putting *k, const char *path)
{
	const struct stage_member *m = stage_archive_find(&k->a->list, path);
	struct src *s;

	if (!m || m->how != STAGE_MEMBER_STREAM)
		return true;
	if (open_object(k->a, m, &s))
		return false;
	src_unref(s);
	return true;
}

static int put_begin(void *arg, const char *path, uint64_t size)
{
	struct putting *k = arg;
	int r;

	k->skip = k->again && is_here(k, path);
	if (k->skip)
		return 0;
	r = cache_put_begin(k->a->snap->resolver->cache, size, &k->put);
	if (r != -ENOSPC || (k->wanted && !strcmp(k->wanted, path)))
		return r;
	k->d = digest_new(OBJID_SHA256, size);
	return k->d ? 0 : -ENOMEM;
}

static int put_data(void *arg, const void *buf, size_t len)
{
	struct putting *k = arg;

	if (k->put)
		return cache_put_data(k->put, buf, len);
	if (k->d)
		digest_update(k->d, buf, len);
	return 0;
}

static int put_end(void *arg, struct objid *ret)
{
	struct putting *k = arg;
	int r = 0;

	if (k->put)
		r = cache_put_end(k->put, ret);
	else if (k->d)
		digest_final(k->d, ret);
	k->put = NULL;
	digest_free(k->d);
	k->d = NULL;
	return r;
}

static void put_drop(void *arg)
{
	struct putting *k = arg;

	cache_put_drop(k->put);
	k->put = NULL;
	digest_free(k->d);
	k->d = NULL;
}

static struct stage_archive_sink sink_of(struct putting *k)
{
	return (struct stage_archive_sink){ put_begin, put_data, put_end,
		put_drop, k };
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
	int r = cache_index_get(a->snap->resolver->cache, CACHE_KIND_ARCHIVE,
		a->key, &b, NULL);

	if (!r && stage_archive_from_json((const char *)b.data, b.len, &got,
			NULL))
		r = -ENOENT;
	buf_done(&b);
	return r ? r : take_list(a, &got, ret);
}

static void remember_list(const struct fs_archive *a,
	const struct stage_archive *list)
{
	char *json = stage_archive_to_json(list);

	if (json)
		(void) cache_index_put(a->snap->resolver->cache,
			CACHE_KIND_ARCHIVE, a->key, json, strlen(json));
	free(json);
}

/* All of it, once: lists, and makes objects of what is not here. */
static int pass(struct fs_archive *a, struct putting *k,
	struct stage_archive *ret, struct error *why)
{
	const struct stage_archive_sink sink = sink_of(k);
	struct src *src;
	unsigned epoch;
	int r = open_archive(a, true, true, &src, why);

	if (r)
		return r;
	epoch = src_epoch(src);
	r = stage_archive_read(src, &sink, ret, why);
	if (!r) {
		r = check_epoch(src, epoch, why);
		if (r)
			stage_archive_done(ret);
	}
	src_unref(src);
	return r;
}

int fs_archive_list(struct fs_archive *a, struct listing *ret,
	struct error *why)
{
	struct putting k = { .a = a };
	struct stage_archive got = { 0 };
	int r = pass(a, &k, &got, why);

	if (r) {
		(void) error_wrap(why, "%s", a->path);
		return r;
	}
	remember_list(a, &got);
	return take_list(a, &got, ret);
}

/* ---- opening ------------------------------------------------------------------------ */

/* [off, off + size) of the archive. */
static int slice(const struct fs_archive *a, const struct stage_member *m,
	struct src *archive, uint64_t off, struct src **ret, struct error *why)
{
	struct stage_recipe *recipe = stage_recipe_new();
	int i = recipe ? stage_recipe_source(recipe, a->path, archive->size) :
		-ENOMEM;
	int r = i < 0 ? i : stage_recipe_copy(recipe, (unsigned)i, off,
		m->size);

	if (!r)
		r = stage_recipe_src(recipe, &archive, ret, why);
	stage_recipe_unref(recipe);
	return r;
}

/* Is the member's local header here? */
static bool header_here(struct src *s, const struct stage_member *m)
{
	uint64_t len = LOCAL_LEN + 2 * PATH_LEN_MAX;

	if (m->header >= s->size)
		return false;
	if (len > s->size - m->header)
		len = s->size - m->header;
	return src_present(s, m->header, len) == len;
}

static int open_stored(const struct fs_archive *a,
	const struct stage_member *m, bool wait, struct src **ret,
	struct error *why)
{
	struct src *archive;
	uint64_t off;
	int r = open_archive(a, true, wait, &archive, why);

	if (r)
		return r;
	if (!wait && !header_here(archive, m))
		r = -EAGAIN;
	if (!r)
		r = stage_member_place(archive, m, &off, why);
	if (!r)
		r = slice(a, m, archive, off, ret, why);
	src_unref(archive);
	return r;
}

static int inflate_member(struct fs_archive *a, const struct stage_member *m,
	struct error *why)
{
	struct putting k = { .a = a, .wanted = m->path };
	const struct stage_archive_sink sink = sink_of(&k);
	struct objid id = { .alg = OBJID_NONE };
	struct src *archive;
	unsigned epoch;
	int r = open_archive(a, true, true, &archive, why);

	if (r)
		return r;
	epoch = src_epoch(archive);
	r = stage_member_inflate(archive, m, &sink, &id, why);
	if (!r)
		r = check_epoch(archive, epoch, why);
	if (!r)
		remember_digest(a, m->path, &id);
	src_unref(archive);
	return r;
}

/* Make an object of it; nobody else does meanwhile. */
static int unpack(struct fs_archive *a, const struct stage_member *m,
	struct error *why)
{
	struct putting k = { .a = a, .wanted = m->path, .again = true };
	struct stage_archive unused = { 0 };
	struct src *here;
	int r;

	if (!open_object(a, m, &here)) {
		src_unref(here);
		return 0;
	}
	if (m->how == STAGE_MEMBER_DEFLATED)
		return inflate_member(a, m, why);
	r = pass(a, &k, &unused, why);
	if (!r)
		stage_archive_done(&unused);
	return r;
}

static int opened(const struct fs_archive *a, const struct stage_member *m,
	int r, struct src **ret, struct error *why)
{
	if (r == -EBADMSG)
		r = -EIO;
	if (!r)
		r = open_object(a, m, ret);
	if (r == -ENOENT)
		r = error_set(why, -EIO, "it is not in the archive that came "
			"this time");
	if (r && why && why->code)
		(void) error_wrap(why, "%s in %s", m->path, a->path);
	else if (r)
		(void) error_set(why, r, "%s in %s: %s", m->path, a->path,
			error_text(NULL, r));
	return r;
}

int fs_archive_member(struct fs_archive *a, const struct listing_entry *e,
	bool wait, struct src **ret, struct error *why)
{
	const struct stage_member *m = member_of(a, e);
	int r;

	if (!m)
		return error_set(why, -EIO, "%s: not in the archive", e->path);
	if (!m->size) {
		*ret = src_from_memory(NULL, 0);
		return *ret ? 0 : -ENOMEM;
	}
	if (m->how == STAGE_MEMBER_STORED) {
		r = open_stored(a, m, wait, ret, why);
		return r == -EBADMSG ? -EIO : r;
	}
	if (!open_object(a, m, ret))
		return 0;
	if (!wait)
		return -EAGAIN;
	enter(a);
	r = unpack(a, m, why);
	leave(a);
	return opened(a, m, r, ret, why);
}

struct wanting {
	struct pool_job job;
	struct fs_snap *snap;		/* a reference */
	const struct listing_entry *e;	/* the snapshot's */
	fs_archive_cb *cb;
	void *arg;
};

static void want_member(struct pool_job *job)
{
	struct wanting *w = (struct wanting *)job;
	struct fs_archive *a = w->snap->archive;
	const struct stage_member *m = member_of(a, w->e);
	struct error why = { 0 };
	struct src *src = NULL;
	int r;

	if (!m || m->how == STAGE_MEMBER_STORED) {
		r = fs_archive_member(a, w->e, true, &src, &why);
	} else if (enter_or_wait(a, job)) {
		r = unpack(a, m, &why);
		leave(a);
		r = opened(a, m, r, &src, &why);
	} else {
		return;
	}
	w->cb(w->arg, r, src, &why);
	fs_snap_unref(w->snap);
	free(w);
}

void fs_archive_open(struct fs_snap *s, const struct listing_entry *e,
	fs_archive_cb *cb, void *arg)
{
	struct error why = { 0 };
	struct src *src = NULL;
	struct wanting *w;
	int r = fs_archive_member(s->archive, e, false, &src, &why);

	w = r == -EAGAIN ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		cb(arg, r == -EAGAIN ? -ENOMEM : r, src, &why);
		return;
	}
	*w = (struct wanting){ .job.run = want_member,
		.snap = fs_snap_ref(s), .e = e, .cb = cb, .arg = arg };
	pool_add(s->resolver->archives->pool, &w->job);
}

/* ---- what is here -------------------------------------------------------------------- */

/* Of a member that is not: it has a size and nothing else. */
static int absent_read(struct src *s, struct src_read *r)
{
	(void) s;
	(void) r;
	return -EHOSTUNREACH;
}

static void absent_free(struct src *s)
{
	free(s);
}

static int absent(uint64_t size, struct src **ret)
{
	static const struct src_ops ops = { .name = "absent",
		.read = absent_read, .free = absent_free };
	struct src *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	src_init(s, &ops, size);
	*ret = s;
	return 0;
}

int fs_archive_here(struct fs_archive *a, const struct listing_entry *e,
	struct src **ret)
{
	const struct stage_member *m = member_of(a, e);
	struct src *archive = NULL;
	uint64_t off;
	int r;

	if (!m)
		return -EIO;
	if (!m->size || m->how != STAGE_MEMBER_STORED) {
		r = fs_archive_member(a, e, false, ret, NULL);
		return r == -EAGAIN ? absent(m->size, ret) : r;
	}
	/* Its header may not be here; then where it begins is a guess, good
	 * enough to say how much of it is. */
	r = open_archive(a, false, false, &archive, NULL);
	if (r == -EAGAIN)
		return absent(m->size, ret);
	off = m->header + LOCAL_LEN + strlen(m->path);
	if (!r && header_here(archive, m))
		(void) stage_member_place(archive, m, &off, NULL);
	if (!r)
		r = slice(a, m, archive, off, ret, NULL);
	src_unref(archive);
	return r;
}

int fs_archive_stat(struct fs_archive *a, const struct listing_entry *e,
	struct src_stat *ret)
{
	struct src *s;
	int r = fs_archive_here(a, e, &s);

	if (r)
		return r;
	src_stat(s, ret);
	src_unref(s);
	return 0;
}
