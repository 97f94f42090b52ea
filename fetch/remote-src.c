/*
 * A source over one file of a hub. Nothing is kept but where the file was last
 * found; each read and each pull is a job of its own.
 *
 * A file may lie in several places. A job begins where bytes came from last and
 * goes on to the next place when one has it not, or has something else; what is
 * delivered already is not asked for again. Where the failure may pass (a host
 * that is down), the others are asked first, and then that one once more with
 * all patience. When the bytes of a first attempt contradict their digest, the
 * second begins at the place behind. The last place may be one that only a
 * question can tell (hub.h, locate): its address is shared by the jobs until it
 * has run out.
 */
#include "config.h"

#include <curl/curl.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/path.h"
#include "fetch/fetch.h"
#include "fetch/hub.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

#define BECAME "the file has become another while it was read"

struct address {
	char *url;			/* constant; NULL: to be located */
	struct fetch_place place;	/* the engine thread's */
	char *etag;			/* the engine thread's; of the first
					   bytes */
};

struct remote_src {
	struct src src;
	struct fetch_hub *hub;
	struct fetch_file file;		/* constant */
	struct address at[FETCH_ADDRESSES_MAX];
	unsigned n;			/* constant */

	/* the engine thread's */
	unsigned best;			/* where bytes came from last */
	bool shunned;			/* that of the first attempt */
	struct fetch_located located;	/* url NULL: not known */
	uint64_t located_until;		/* ms */
	bool locating;
	struct remote_job *waiting;	/* for it */

	pthread_mutex_t lock;
	struct error last;		/* lock */
	struct objid learnt;		/* lock; from headers, if the listing
					   tells no digest */
};

struct remote_job {
	struct fetch_transfer transfer;
	struct fetch_task task;
	struct remote_src *from;
	struct src_pull *pull;		/* one of the two */
	struct src_read *read;
	unsigned first, tried;		/* places: began at, failed so far */
	unsigned nth;			/* asked now */
	unsigned sick;			/* the first that may recover */
	bool any_sick, patient;
	bool contradicts;		/* some place has another file */
	bool became;			/* … than it had: so may all others */
	char *etag;			/* of the reply now, till it is the
					   address's */
	bool fresh;			/* located for this very try */
	struct fetch_located located;	/* its own copy, while it is asked */
	struct fetch_auth auth;		/* of it */
	struct error why;		/* the most telling failure so far */
	unsigned weight;		/* of why */
	struct remote_job *next;	/* in waiting */
};

static struct remote_src *remote_of(struct src *s)
{
	return (struct remote_src *)(void *)((char *)s -
		offsetof(struct remote_src, src));
}

static struct remote_job *job_of(struct fetch_transfer *t)
{
	return (struct remote_job *)(void *)((char *)t -
		offsetof(struct remote_job, transfer));
}

void fetch_located_done(struct fetch_located *l)
{
	free(l->url);
	free(l->lines);
	*l = (struct fetch_located){ 0 };
}

/* The reply that has the bytes may tell their digest. */
static int learn(struct remote_src *s, const struct fetch_reply *r,
	struct error *why)
{
	struct objid id;
	int err = 0;

	if (s->file.id.alg != OBJID_NONE || !s->hub->ops->digest ||
	    !s->hub->ops->digest(r, &id))
		return 0;
	pthread_mutex_lock(&s->lock);
	if (s->learnt.alg == OBJID_NONE)
		s->learnt = id;
	else if (!objid_match(&s->learnt, &id))
		err = error_set(why, -EIO, BECAME);
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* A date tells versions apart when it is older than the reply (RFC 9110,
 * 8.8.2.2): another change within its second is possible till then, and some say
 * the present time. */
static const char *strong_date(const struct fetch_reply *r)
{
	const char *v = fetch_reply_get(r, HEADER_LAST_MODIFIED);
	const char *now = fetch_reply_get(r, HEADER_DATE);
	time_t changed = v ? curl_getdate(v, NULL) : -1;

	return now && changed >= 0 && changed < curl_getdate(now, NULL) ?
		v : NULL;
}

/* For who keeps the bytes longer than this source lasts. */
static void tell_version(struct remote_job *j, const struct fetch_reply *r)
{
	uint64_t *ret = j->pull ? &j->pull->version : &j->read->version;
	const char *url = j->from->at[j->nth].url, *v;

	v = fetch_reply_get(r, HEADER_ETAG);
	if (!v || !strncmp(v, "W/", 2))
		v = strong_date(r);
	*ret = !v ? 0 : (url ? XXH3_64bits(url, strlen(url)) : 1) << 32 |
		(uint32_t)XXH3_64bits(v, strlen(v));
}

/* Where no digest will tell, parts of two versions are told apart by their
 * entity tags; those of two places need not agree. */
static int same_version(struct remote_job *j, const struct fetch_reply *r,
	struct error *why)
{
	const char *etag = fetch_reply_get(r, HEADER_ETAG);
	const struct address *a = &j->from->at[j->nth];

	free(j->etag);
	j->etag = NULL;
	if (j->from->file.id.alg != OBJID_NONE ||
	    j->from->learnt.alg != OBJID_NONE)
		return 0;
	tell_version(j, r);
	if (!etag || !strncmp(etag, "W/", 2))
		return 0;
	if (a->etag) {
		j->became = strcmp(a->etag, etag) != 0;
		return j->became ? error_set(why, -EIO, BECAME) : 0;
	}
	j->etag = strdup(etag);
	return j->etag ? 0 : -ENOMEM;
}

/* A redirect, or what will be refused, as a page: what it tells is not of the
 * file. */
static bool is_other(const struct fetch_transfer *t,
	const struct fetch_reply *r)
{
	return (r->status != 200 && r->status != 206) ||
		fetch_header_is_encoded(fetch_reply_get(r,
			HEADER_CONTENT_ENCODING)) ||
		(fetch_header_is_html(fetch_reply_get(r,
			HEADER_CONTENT_TYPE)) &&
		!fetch_url_names_html(t->url));
}

static int on_vet(struct fetch_transfer *t, const struct fetch_reply *r,
	const char *url, struct error *why)
{
	struct remote_job *j = job_of(t);
	struct remote_src *s = j->from;
	int err = s->hub->ops->vet ? s->hub->ops->vet(&s->file, r, why) : 0;

	(void) url;
	if (err || is_other(t, r))
		return err;
	err = learn(s, r, why);
	return err ? err : same_version(j, r, why);
}

/* What is called .tar.gz must begin like one: a page or an error that came
 * with a status of 200 is no model. */
static int check_head(struct fetch_transfer *t, const uint8_t *p, size_t len)
{
	static const uint8_t magic[] = { 0x1f, 0x8b };
	const struct remote_src *s = job_of(t)->from;

	if (strcmp(s->file.path, FETCH_ARCHIVE_PATH) != 0)
		return 0;
	for (uint64_t i = t->want.off; i < sizeof(magic) &&
	     i - t->want.off < len; i++)
		if (p[i - t->want.off] != magic[i])
			return error_set(&t->why, -EIO, "%s: no gzip: this is "
				"not the archive", t->url);
	return 0;
}

static int on_data(struct fetch_transfer *t, const void *data, size_t len)
{
	struct remote_job *j = job_of(t);
	struct address *a = &j->from->at[j->nth];
	int r = check_head(t, data, len);

	if (r)
		return r;
	if (j->etag && a->etag && strcmp(j->etag, a->etag) != 0) {
		j->became = t->contradicts = true;
		return error_set(&t->why, -EIO, BECAME);
	}
	if (!a->etag)
		a->etag = steal_ptr(j->etag);
	if (j->pull)
		return j->pull->data(j->pull, data, len);
	memcpy((char *)j->read->buf + (t->want.off - j->read->off), data,
		len);
	return 0;
}

/* ---- the end of a job ---- */

static void drop_located(struct remote_job *j)
{
	fetch_located_done(&j->located);
	fetch_auth_done(&j->auth);
}

static void end(struct remote_job *j, int err, const struct error *why)
{
	struct remote_src *s = j->from;
	struct src_pull *pull = j->pull;
	struct src_read *read = j->read;
	struct error said = { 0 };

	if (err)
		error_set(&said, err, "%s", error_text(why, err));
	pthread_mutex_lock(&s->lock);
	s->last = said;
	pthread_mutex_unlock(&s->lock);
	if (err && j->contradicts && s->hub->contradicted)
		s->hub->contradicted(s->hub->contradicted_arg, s->hub,
			s->file.repo, s->file.revision, s->file.path,
			s->file.size);
	drop_located(j);
	free(j->etag);
	free(j);
	if (pull)
		pull->done(pull, err, err ? &said : NULL);
	else
		read->done(read, err);
}

/* ---- from place to place ---- */

static void ask(struct remote_job *j);

/* What a reader should learn of several failures: that one may pass, then
 * that a place has something else, that it refuses us, that it has nothing. */
static unsigned weight_of(int err, bool lost)
{
	if (!lost)
		return 4;
	if (err == -ENOENT)
		return 1;
	return err == -EACCES ? 2 : 3;
}

static void note_failure(struct remote_job *j, int err, bool lost,
	const struct error *why)
{
	unsigned weight = weight_of(err, lost);

	if (weight > j->weight || j->patient) {
		j->weight = weight;
		error_set(&j->why, err, "%s", error_text(why, err));
	}
	if (!lost && !j->any_sick) {
		j->any_sick = true;
		j->sick = j->nth;
	}
}

static void failed(struct remote_job *j, int err, bool lost,
	const struct error *why)
{
	struct remote_src *s = j->from;

	if (s->n == 1) {
		end(j, err, why);
		return;
	}
	note_failure(j, err, lost, why);
	if (!j->patient && ++j->tried < s->n) {
		j->nth = (j->first + j->tried) % s->n;
		ask(j);
	} else if (!j->patient && j->any_sick) {
		j->patient = true;
		j->nth = j->sick;
		ask(j);
	} else {
		error_wrap(&j->why, "none of %u places gives it", s->n);
		end(j, j->why.code, &j->why);
	}
}

static void on_done(struct fetch_transfer *t, int err,
	const struct error *why)
{
	struct remote_job *j = job_of(t);
	struct remote_src *s = j->from;
	bool ours = err == -ECANCELED || err == -ENOMEM ||
		(t->final && !t->lost);

	j->contradicts |= err && t->contradicts;
	if (!err)
		s->best = j->nth;
	if (!err || ours || j->became) {
		end(j, err, why);
		return;
	}
	if (!s->at[j->nth].url && t->lost && !j->fresh) {
		/* what was located has run out early: ask anew */
		if (s->located.url && j->located.url &&
		    !strcmp(s->located.url, j->located.url))
			fetch_located_done(&s->located);
		ask(j);
		return;
	}
	failed(j, err, t->lost, why);
}

/* ---- a place that only a question can tell ---- */

static int take_located(struct remote_job *j)
{
	const struct fetch_located *l = &j->from->located;
	int r;

	drop_located(j);
	j->located.url = strdup(l->url);
	if (!j->located.url)
		return -ENOMEM;
	r = fetch_auth_init(&j->auth, l->url, NULL, NULL);
	if (!r && l->lines) {
		j->auth.header = strdup(l->lines);
		r = j->auth.header ? 0 : -ENOMEM;
	}
	return r;
}

static void on_located(void *arg, int err, const struct error *why,
	struct fetch_located *found)
{
	struct remote_src *s = arg;
	struct remote_job *list = s->waiting, *next;

	s->locating = false;
	s->waiting = NULL;
	if (!err) {
		fetch_located_done(&s->located);
		s->located = *found;
		s->located_until = clock_ms() + found->life_ms;
	}
	for (; list; list = next) {
		next = list->next;
		list->fresh = true;
		if (!err)
			ask(list);
		else if (err == -ECANCELED)
			end(list, err, why);
		else
			failed(list, err, err == -ENOENT || err == -EACCES ||
				err == -EIO, why);
	}
}

static void locate(struct remote_job *j)
{
	struct remote_src *s = j->from;

	j->next = s->waiting;
	s->waiting = j;
	if (s->locating)
		return;
	s->locating = true;
	fetch_located_done(&s->located);
	s->hub->ops->locate(s->hub, &s->file, on_located, s);
}

static void ask(struct remote_job *j)
{
	struct remote_src *s = j->from;
	struct address *a = &s->at[j->nth];
	struct fetch_transfer *t = &j->transfer;
	int r = 0;

	t->url = a->url;
	t->auth = a->url ? fetch_hub_auth(s->hub, a->url) : &j->auth;
	if (!a->url) {
		if (!s->located.url ||
		    (!j->fresh && clock_ms() >= s->located_until)) {
			locate(j);
			return;
		}
		r = take_located(j);
		t->url = j->located.url;
	}
	if (r) {
		end(j, r, NULL);
		return;
	}
	/* a place of its own for what is signed: each job has a copy */
	t->place = a->url ? &a->place : NULL;
	t->hasty = s->n > 1 && !j->patient;
	fetch_transfer_start(t);
}

static void begin(struct fetch_task *task)
{
	struct remote_job *j = (struct remote_job *)(void *)((char *)task -
		offsetof(struct remote_job, task));
	struct remote_src *s = j->from;

	if (j->pull && j->pull->again && !s->shunned) {
		s->shunned = true;
		s->best = (s->best + 1) % s->n;
	}
	j->first = j->nth = s->best;
	ask(j);
}

static int start(struct remote_src *s, uint64_t off, uint64_t len,
	struct src_pull *pull, struct src_read *read)
{
	struct remote_job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->from = s;
	j->pull = pull;
	j->read = read;
	j->transfer.engine = s->hub->engine;
	j->transfer.klass = FETCH_BULK;
	j->transfer.ranged = true;
	j->transfer.want = (struct fetch_range){ off, off + len,
		s->src.size, 0 };
	j->transfer.vet = on_vet;
	j->transfer.meaning = s->hub->ops->meaning;
	j->transfer.data = on_data;
	j->transfer.done = on_done;
	j->task.run = begin;
	fetch_engine_post(s->hub->engine, &j->task);
	return 0;
}

/* ---- the source ---- */

static int remote_read(struct src *s, struct src_read *r)
{
	int err = start(remote_of(s), r->off, r->len, NULL, r);

	return err ? err : -EINPROGRESS;
}

static void remote_pull(struct src *s, struct src_pull *p)
{
	int err = size_inside(p->off, p->len, s->size) && p->len ?
		start(remote_of(s), p->off, p->len, p, NULL) : -EINVAL;

	if (err)
		p->done(p, err, NULL);
}

static void remote_stat(struct src *s, struct src_stat *ret)
{
	struct remote_src *r = remote_of(s);

	*ret = (struct src_stat){ .state = SRC_REMOTE, .id = r->file.id };
	pthread_mutex_lock(&r->lock);
	ret->last = r->last;
	if (ret->id.alg == OBJID_NONE)
		ret->id = r->learnt;
	pthread_mutex_unlock(&r->lock);
}

static void remote_free(struct src *s)
{
	struct remote_src *r = remote_of(s);

	for (unsigned i = 0; i < r->n; i++) {
		fetch_place_done(&r->at[i].place);
		free(r->at[i].etag);
		free(r->at[i].url);
	}
	fetch_located_done(&r->located);
	pthread_mutex_destroy(&r->lock);
	free(r->file.repo);
	free(r->file.revision);
	free(r->file.path);
	free(r);
}

static const struct src_ops remote_ops = {
	.name = "remote",
	.read = remote_read,
	.pull = remote_pull,
	.stat = remote_stat,
	.free = remote_free,
};

static int add_addresses(struct remote_src *s, const char *repo,
	const char *revision, const char *path)
{
	const struct fetch_hub_ops *ops = s->hub->ops;
	struct buf url cleanup_buf = BUF_INIT(URL_MAX);
	int r = 0;

	while (s->n < FETCH_ADDRESSES_MAX - 1) {
		buf_clear(&url);
		r = ops->url(s->hub, repo, revision, path, s->n, &url);
		if (r)
			break;
		s->at[s->n].url = strdup((const char *)url.data);
		if (!s->at[s->n].url)
			return -ENOMEM;
		s->n++;
	}
	if (r && (r != -ENOENT || (!s->n && !ops->locate)))
		return r;
	if (ops->locate)
		s->n++;
	return 0;
}

int fetch_src_new(struct fetch_hub *h, const char *repo, const char *revision,
	const char *path, uint64_t size, const struct objid *id,
	struct src **ret)
{
	struct remote_src *s;
	int r;

	if (!path_rel_ok(path) || !h->ops->repo_ok(repo) || size > INT64_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	src_init(&s->src, &remote_ops, size);
	pthread_mutex_init(&s->lock, NULL);
	s->hub = h;
	s->file.size = size;
	s->file.id = *id;
	s->file.repo = strdup(repo);
	s->file.revision = strdup(revision);
	s->file.path = strdup(path);
	r = s->file.repo && s->file.revision && s->file.path ?
		add_addresses(s, repo, revision, path) :
		-ENOMEM;
	if (r) {
		remote_free(&s->src);
		return r;
	}
	*ret = &s->src;
	return 0;
}
