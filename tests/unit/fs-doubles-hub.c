/* The fetch room of fs-doubles.h. */
#include "config.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/pool.h"
#include "fetch/fetch.h"
#include "fs/tree.h"
#include "tests/unit/fs-doubles.h"

struct fetch {
	struct pool *engine;
	fetch_contradicted_fn *contradicted;
	void *contradicted_arg;
};

struct fetch_hub {
	const char *kind;
	enum fetch_grammar grammar;
	bool words;		/* it has repositories of one word */
	struct fetch *fetch;
};

static struct fetch_hub hubs[] = {
	{ .kind = "huggingface", .grammar = FETCH_OWNERS, .words = true },
	{ .kind = "torchhub", .grammar = FETCH_OWNERS },
	{ .kind = "torchvision", .grammar = FETCH_SINGLE },
	{ .kind = "tensorflow", .grammar = FETCH_VERSIONS },
	{ .kind = "torchserve", .grammar = FETCH_SINGLE },
	{ .kind = "onnx", .grammar = FETCH_SINGLE },
	{ .kind = "keras", .grammar = FETCH_SINGLE },
	{ .kind = "kaggle", .grammar = FETCH_VERSIONS },
};

#define HUBS (sizeof(hubs) / sizeof(hubs[0]))

struct question {
	struct pool_job job;
	struct fetch_hub *hub;
	char *repo, *rev, *path;
	void (*cb)(void);
	void *arg;
	struct fetch_fact fact;	/* what is measured */
};

static const char *const files[] = {
	"config.json", "model.safetensors", "onnx/own.onnx",
};

int fetch_new(const struct conf *conf, struct fetch **ret, struct error *why)
{
	(void) conf;
	(void) why;
	*ret = calloc(1, sizeof(**ret));
	(*ret)->engine = pool_new(1, "engine");
	return 0;
}

void fetch_keep_in(struct fetch *f, struct cache *cache)
{
	(void) f;
	(void) cache;
}

void fetch_on_contradicted(struct fetch *f, fetch_contradicted_fn *fn,
	void *arg)
{
	f->contradicted = fn;
	f->contradicted_arg = arg;
}

struct seeing {
	struct pool_job job;
	struct fetch *f;
	uint64_t size;
	sem_t done;
};

static void see(struct pool_job *job)
{
	struct seeing *k = (struct seeing *)job;

	for (size_t i = 0; i < HUBS; i++)
		if (!strcmp(hubs[i].kind, "torchvision"))
			k->f->contradicted(k->f->contradicted_arg, &hubs[i],
				FETCH_THE_REPO, DOUBLE_COMMIT_1, "late.bin",
				k->size);
	(void) sem_post(&k->done);
}

void double_contradict(struct fs *fs, uint64_t size)
{
	struct seeing k = { .job.run = see, .f = fs->fetch, .size = size };

	(void) sem_init(&k.done, 0, 0);
	pool_add(k.f->engine, &k.job);
	(void) sem_wait(&k.done);
	(void) sem_destroy(&k.done);
}

void fetch_free(struct fetch *f)
{
	if (f)
		pool_free(f->engine);
	free(f);
}

int fetch_hub_open(struct fetch *f, const char *kind, const struct conf *conf,
	struct fetch_hub **ret, struct error *why)
{
	(void) conf;
	for (size_t i = 0; i < HUBS; i++) {
		if (strcmp(hubs[i].kind, kind))
			continue;
		hubs[i].fetch = f;
		*ret = &hubs[i];
		return 0;
	}
	return error_set(why, -ENOENT, "%s", kind);
}

const char *fetch_hub_name(const struct fetch_hub *h)
{
	return h->kind;
}

bool fetch_known(const struct fetch_hub *h, const char *path,
	struct fetch_known *ret)
{
	(void) h;
	(void) path;
	(void) ret;
	return false;
}

bool fetch_lacks(const struct fetch_hub *h, const char *repo)
{
	(void) h;
	(void) repo;
	return false;
}

bool fetch_is_local(const struct fetch_hub *h)
{
	(void) h;
	return false;
}

const char *fetch_hub_endpoint(const struct fetch_hub *h)
{
	(void) h;
	return "https://double";
}

enum fetch_grammar fetch_grammar(const struct fetch_hub *h)
{
	return h->grammar;
}

void fetch_snapshot_free(struct fetch_snapshot *s)
{
	if (!s)
		return;
	free(s->repo);
	free(s->revision);
	free(s);
}

static struct fetch_snapshot *snapshot(const char *repo, const char *rev)
{
	struct fetch_snapshot *s = calloc(1, sizeof(*s));

	s->repo = strdup(repo);
	s->revision = strdup(rev);
	s->mtime = rev[0] == '1' ? 1000 : 2000;
	s->at_hand_ms = double_hub.at_hand_ms;
	return s;
}

char *fetch_snapshot_to_json(const struct fetch_snapshot *s)
{
	char *text;

	return asprintf(&text, "%s %s", s->repo, s->revision) < 0 ? NULL : text;
}

int fetch_snapshot_from_json(const char *text, size_t len,
	struct fetch_snapshot **ret)
{
	char repo[64], rev[64];

	(void) len;
	if (sscanf(text, "%63s %63s", repo, rev) != 2)
		return -EBADMSG;
	*ret = snapshot(repo, rev);
	return 0;
}

/* pub, pub/…/model, pub/…/model/1; "no" is no name below a publisher. */
enum fetch_name fetch_name(const struct fetch_hub *h, const char *path,
	size_t *ret_len)
{
	const char *last = strrchr(path, '/');

	(void) h;
	if (!last)
		return FETCH_NAME_GROUP;
	if (!strcmp(last, "/no"))
		return FETCH_NAME_NONE;
	if (strspn(last + 1, "0123456789") != strlen(last + 1))
		return FETCH_NAME_NEWEST;
	*ret_len = (size_t)(last - path);
	return FETCH_NAME_VERSION;
}

int fetch_repo_check(const struct fetch_hub *h, const char *repo)
{
	if (!h->words && !strchr(repo, '/'))
		return -ENOENT;
	return strpbrk(repo, " \\?") ? -ENOENT : 0;
}

int fetch_owner_check(const struct fetch_hub *h, const char *owner)
{
	(void) h;
	return strpbrk(owner, " \\?/") ? -ENOENT : 0;
}

static void ask(struct fetch_hub *h, const char *repo, const char *rev,
	const char *path, void (*run)(struct pool_job *job),
	void (*cb)(void), void *arg)
{
	struct question *q = calloc(1, sizeof(*q));

	q->job.run = run;
	q->hub = h;
	q->repo = strdup(repo);
	q->rev = strdup(rev ? rev : "");
	q->path = strdup(path);
	q->cb = cb;
	q->arg = arg;
	pool_add(h->fetch->engine, &q->job);
}

static void done(struct question *q)
{
	free(q->repo);
	free(q->rev);
	free(q->path);
	free(q);
}

/* pub/model has versions 1 and 2, pub/deep/er/model has 5. */
static const char *version_of(const struct question *q)
{
	bool newest = !*q->rev;

	if (!strcmp(q->repo, "pub/model") && !double_hub.gone) {
		if (newest || !strcmp(q->rev, "2"))
			return "2";
		return strcmp(q->rev, "1") ? NULL : "1";
	}
	return strcmp(q->repo, "pub/deep/er/model") ||
		(!newest && strcmp(q->rev, "5")) ? NULL : "5";
}

static void answer_version(struct question *q)
{
	fetch_snapshot_cb *cb = (fetch_snapshot_cb *)q->cb;
	const char *version = version_of(q);
	struct error why = { 0 };

	if (version)
		cb(q->arg, 0, NULL, snapshot(q->repo, version));
	else
		cb(q->arg, double_fail(&why, -ENOENT), &why, NULL);
}

static void answer_resolve(struct pool_job *job)
{
	struct question *q = (struct question *)job;
	fetch_snapshot_cb *cb = (fetch_snapshot_cb *)q->cb;
	const char *commit = NULL;
	struct error why = { 0 };

	double_wait();
	double_hub.resolves++;
	if (!*q->rev || !strcmp(q->rev, "main"))
		commit = double_hub.main;
	else if (!strcmp(q->rev, "v1") || !strcmp(q->rev, DOUBLE_COMMIT_1))
		commit = DOUBLE_COMMIT_1;
	if (double_hub.err)
		cb(q->arg, double_fail(&why, double_hub.err), &why, NULL);
	else if (q->hub->grammar == FETCH_VERSIONS)
		answer_version(q);
	else if (q->hub->grammar == FETCH_SINGLE &&
		!strcmp(q->repo, FETCH_THE_REPO) && !*q->rev)
		cb(q->arg, 0, NULL, snapshot(q->repo, double_hub.main));
	else if (commit && (!strcmp(q->repo, "org/model") ||
				!strcmp(q->repo, "short")))
		cb(q->arg, 0, NULL, snapshot("org/model", commit));
	else if (commit && (!strcmp(q->repo, "org/asks") ||
				!strcmp(q->repo, "timm/net")))
		cb(q->arg, 0, NULL, snapshot(q->repo, commit));
	else
		cb(q->arg, double_fail(&why, -ENOENT), &why, NULL);
	done(q);
}

static const struct double_bytes *bytes_of(const char *path)
{
	size_t len = strlen(path);

	return len > 3 && !strcmp(path + len - 3, ".gz") ? &double_hub.tar :
		&double_hub.zip;
}

static void list_archives(struct listing *l)
{
	static const char *const names[] = {
		"deep/t.tar.gz", "own.zip", "own/file", "plain.txt",
		"twin.tar.gz", "twin.zip", "unknown.mar", "z.zip",
	};
	struct objid none = { .alg = OBJID_NONE };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void) listing_add(l, names[i], LISTING_FILE,
			strstr(names[i], ".mar") ? LISTING_SIZE_UNKNOWN :
			(uint64_t)bytes_of(names[i])->len, &none);
}

static void answer_list(struct pool_job *job)
{
	struct question *q = (struct question *)job;
	fetch_listing_cb *cb = (fetch_listing_cb *)q->cb;
	struct objid none = { .alg = OBJID_NONE };
	struct listing l = { 0 };
	struct error why = { 0 };

	double_wait();
	double_hub.lists++;
	if (!strcmp(q->hub->kind, "torchserve"))
		list_archives(&l);
	else for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void) listing_add(&l, files[i], LISTING_FILE,
			strlen(files[i]) + strlen(q->rev), &none);
	if (!strcmp(q->hub->kind, "torchvision"))
		(void) listing_add(&l, "late.bin", LISTING_FILE,
			LISTING_SIZE_UNKNOWN, &none);
	listing_sort(&l);
	if (double_hub.err) {
		listing_done(&l);
		cb(q->arg, double_fail(&why, double_hub.err), &why, NULL);
	} else if (double_hub.whole) {
		listing_done(&l);
		cb(q->arg, double_fail(&why, -ENODATA), &why, NULL);
	} else if (double_hub.lose && !strcmp(q->rev, DOUBLE_COMMIT_1)) {
		double_hub.lose--;
		listing_done(&l);
		cb(q->arg, double_fail(&why, -ENOENT), &why, NULL);
	} else {
		cb(q->arg, 0, NULL, &l);
	}
	done(q);
}

static void tell_measure(struct pool_job *job)
{
	struct question *q = (struct question *)job;
	fetch_measure_cb *cb = (fetch_measure_cb *)q->cb;
	struct error why = { 0 };

	if (double_hub.err)
		cb(q->arg, double_fail(&why, double_hub.err), &why, NULL);
	else
		cb(q->arg, 0, NULL, &q->fact);
	done(q);
}

static struct question *untold;

static void answer_measure(struct pool_job *job)
{
	struct question *q = (struct question *)job;

	q->fact = (struct fetch_fact){
		strlen(q->path) + strlen(q->rev) + double_hub.grown,
		{ .alg = OBJID_NONE } };
	double_wait();
	double_hub.measured++;
	if (!strcmp(q->hub->kind, "torchserve"))
		q->fact = (struct fetch_fact){ .size = bytes_of(q->path)->len };
	else if (double_hub.version != 9)
		(void) objid_parse(OBJID_MD5,
			"00112233445566778899aabbccddeeff", &q->fact.id);
	q->fact.id.raw[0] += (uint8_t)double_hub.version;
	if (!double_hub.slow) {
		tell_measure(job);
		return;
	}
	untold = q;
	(void) sem_post(double_hub.slow);
}

void double_tell(void)
{
	untold->job.run = tell_measure;
	pool_add(untold->hub->fetch->engine, &untold->job);
}

static void answer_owner(struct pool_job *job)
{
	struct question *q = (struct question *)job;
	fetch_listing_cb *cb = (fetch_listing_cb *)q->cb;
	struct objid none = { .alg = OBJID_NONE };
	struct listing l = { 0 };
	struct error why = { 0 };

	double_wait();
	double_hub.owners++;
	if (!strcmp(q->repo, "org")) {
		(void) listing_add(&l, "org/model", LISTING_DIR, 0, &none);
		(void) listing_add(&l, "org/other", LISTING_DIR, 0, &none);
	}
	if (!strcmp(q->repo, "pub"))
		(void) listing_add(&l, "pub/model", LISTING_DIR, 0, &none);
	if (!strcmp(q->repo, "pub/model")) {
		(void) listing_add(&l, "pub/model/1", LISTING_DIR, 0, &none);
		(void) listing_add(&l, "pub/model/2", LISTING_DIR, 0, &none);
	}
	if (!strcmp(q->repo, "timm"))
		(void) listing_add(&l, "timm/net", LISTING_DIR, 0, &none);
	if (double_hub.err) {
		listing_done(&l);
		cb(q->arg, double_fail(&why, double_hub.err), &why, NULL);
	} else {
		cb(q->arg, 0, NULL, &l);
	}
	done(q);
}

void fetch_resolve(struct fetch_hub *h, const char *repo, const char *rev,
	fetch_snapshot_cb *cb, void *arg)
{
	ask(h, repo, rev, "", answer_resolve, (void (*)(void))cb, arg);
}

void fetch_recall(struct fetch_hub *h, const struct fetch_snapshot *s)
{
	(void) h;
	(void) s;
}

void fetch_list(struct fetch_hub *h, const char *repo, const char *revision,
	fetch_listing_cb *cb, void *arg)
{
	ask(h, repo, revision, "", answer_list, (void (*)(void))cb, arg);
}

void fetch_list_owner(struct fetch_hub *h, const char *owner,
	fetch_listing_cb *cb, void *arg)
{
	ask(h, owner, NULL, "", answer_owner, (void (*)(void))cb, arg);
}

void fetch_measure(struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, const struct objid *id,
	fetch_measure_cb *cb, void *arg)
{
	(void) id;
	ask(h, repo, revision, path, answer_measure, (void (*)(void))cb, arg);
}

/* A file's bytes are its path and its revision. */
int fetch_src_new(struct fetch_hub *h, const char *repo, const char *revision,
	const char *path, uint64_t size, const struct objid *id,
	struct src **ret)
{
	char *text;

	(void) repo;
	(void) id;
	if (!strcmp(h->kind, "torchserve")) {
		__atomic_add_fetch(&double_hub.opened, 1, __ATOMIC_RELAXED);
		text = malloc((size_t)size + 1);
		memcpy(text, bytes_of(path)->data, (size_t)size);
		*ret = src_from_memory(text, (size_t)size);
		return 0;
	}
	if (asprintf(&text, "%s%s", path, revision) < 0)
		return -ENOMEM;
	*ret = src_from_memory(text, (size_t)size);
	return 0;
}

char *fetch_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path)
{
	char *text;

	(void) h;
	return asprintf(&text, "https://double/%s/%s/%s", repo, revision,
		path) < 0 ? NULL : text;
}

/* A hub that is held back takes longer than anybody has patience. */
int fetch_hub_after(struct fetch_hub *h, uint64_t ms, void (*fn)(void *arg),
	void *arg)
{
	(void) h;
	(void) ms;
	if (!double_held())
		return -ENOMEM;
	fn(arg);
	return 0;
}

void fetch_stats(struct fetch *f, struct fetch_stats *ret)
{
	(void) f;
	*ret = (struct fetch_stats){ .requests = double_hub.resolves };
}

/* ---- searching: no hub of these can ---------------------------------------------- */

bool fetch_can_search(const struct fetch_hub *h)
{
	(void) h;
	return false;
}

void fetch_search(struct fetch_hub *h, const char *words, size_t limit,
	fetch_hits_cb *cb, void *arg)
{
	struct error why = { 0 };

	(void) h;
	(void) words;
	(void) limit;
	cb(arg, error_set(&why, -ENOTSUP, "no"), &why, NULL);
}

void fetch_hits_done(struct fetch_hits *l)
{
	l->n = 0;
}

bool fetch_words_in(const char *text, const char *words)
{
	return strstr(text, words);
}
