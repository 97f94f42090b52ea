/*
 * A source over one file of a hub. Nothing is kept but where the file was last
 * found; each read and each pull is a transfer of its own.
 */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "fetch/fetch.h"
#include "fetch/hub.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

struct remote_src {
	struct src src;
	struct fetch_hub *hub;
	char *url;			/* constant */
	struct fetch_file file;		/* constant */
	struct fetch_place place;	/* the engine thread's */
	pthread_mutex_t lock;
	struct error last;		/* lock */
};

struct remote_job {
	struct fetch_transfer transfer;
	struct remote_src *from;
	struct src_pull *pull;		/* one of the two */
	struct src_read *read;
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

static int on_vet(struct fetch_transfer *t, const struct fetch_reply *r,
	const char *url, struct error *why)
{
	const struct remote_src *s = job_of(t)->from;

	(void) url;
	return s->hub->ops->vet ? s->hub->ops->vet(&s->file, r, why) : 0;
}

static int on_data(struct fetch_transfer *t, const void *data, size_t len)
{
	struct remote_job *j = job_of(t);

	if (j->pull)
		return j->pull->data(j->pull, data, len);
	memcpy((char *)j->read->buf + (t->want.off - j->read->off), data,
		len);
	return 0;
}

static void on_done(struct fetch_transfer *t, int err,
	const struct error *why)
{
	struct remote_job *j = job_of(t);
	struct remote_src *s = j->from;
	struct src_pull *pull = j->pull;
	struct src_read *read = j->read;

	pthread_mutex_lock(&s->lock);
	if (err)
		error_set(&s->last, err, "%s", error_text(why, err));
	else
		s->last = (struct error){ 0 };
	pthread_mutex_unlock(&s->lock);
	free(j);
	if (pull)
		pull->done(pull, err, err ? why : NULL);
	else
		read->done(read, err);
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
	j->transfer.url = s->url;
	j->transfer.auth = fetch_hub_auth(s->hub, s->url);
	j->transfer.klass = FETCH_BULK;
	j->transfer.ranged = true;
	j->transfer.want = (struct fetch_range){ off, off + len,
		s->src.size, 0 };
	j->transfer.place = &s->place;
	j->transfer.vet = on_vet;
	j->transfer.meaning = s->hub->ops->meaning;
	j->transfer.data = on_data;
	j->transfer.done = on_done;
	fetch_transfer_start(&j->transfer);
	return 0;
}

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
	pthread_mutex_unlock(&r->lock);
}

static void remote_free(struct src *s)
{
	struct remote_src *r = remote_of(s);

	fetch_place_done(&r->place);
	pthread_mutex_destroy(&r->lock);
	free(r->url);
	free(r->file.revision);
	free(r);
}

static const struct src_ops remote_ops = {
	.name = "remote",
	.read = remote_read,
	.pull = remote_pull,
	.stat = remote_stat,
	.free = remote_free,
};

int fetch_src_new(struct fetch_hub *h, const char *repo, const char *revision,
	const char *path, uint64_t size, const struct objid *id,
	struct src **ret)
{
	struct buf url cleanup_buf = BUF_INIT(URL_MAX);
	struct remote_src *s;
	int r;

	if (!path_rel_ok(path) || !h->ops->repo_ok(repo) || size > INT64_MAX)
		return -EINVAL;
	r = h->ops->url(h, repo, revision, path, 0, &url);
	if (r)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	src_init(&s->src, &remote_ops, size);
	pthread_mutex_init(&s->lock, NULL);
	s->hub = h;
	s->file.size = size;
	s->file.id = *id;
	s->file.revision = strdup(revision);
	s->url = strdup((const char *)url.data);
	if (!s->url || !s->file.revision) {
		remote_free(&s->src);
		return -ENOMEM;
	}
	*ret = &s->src;
	return 0;
}
