#include "config.h"

#include "tests/unit/fs-doubles.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/path.h"
#include "base/pool.h"
#include "cache/cache.h"
#include "fs/tree.h"
#include "stage/stage.h"
#include "tests/unit/t.h"

struct double_hub double_hub = { .main = DOUBLE_COMMIT_1 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool held;		/* gate */
static atomic_uint epoch;

void double_hold(void)
{
	pthread_mutex_lock(&gate);
	held = true;
	pthread_mutex_unlock(&gate);
}

void double_release(void)
{
	pthread_mutex_lock(&gate);
	held = false;
	pthread_cond_broadcast(&opened);
	pthread_mutex_unlock(&gate);
}

bool double_held(void)
{
	bool now;

	pthread_mutex_lock(&gate);
	now = held;
	pthread_mutex_unlock(&gate);
	return now;
}

void double_epoch(unsigned e)
{
	atomic_store(&epoch, e);
}

void double_wait(void)
{
	pthread_mutex_lock(&gate);
	while (held)
		pthread_cond_wait(&opened, &gate);
	pthread_mutex_unlock(&gate);
}

int double_fail(struct error *why, int err)
{
	return error_set(why, err, "the double says %d", err);
}

/* ---- cache ---------------------------------------------------------------------- */

struct kept {
	uint64_t when;		/* clock_ms */
	size_t len;
	char data[];
};

struct cache {
	pthread_mutex_t lock;
	struct map kept;	/* lock; "KIND key" → struct kept */
	void (*on_epoch)(void *arg, const struct src *s);
	void *arg;
};

int cache_open(const struct cache_conf *conf, struct cache **ret,
	struct error *why)
{
	(void) conf;
	(void) why;
	*ret = calloc(1, sizeof(**ret));
	pthread_mutex_init(&(*ret)->lock, NULL);
	return 0;
}

static int free_kept(void *arg, const char *key, void *value)
{
	(void) arg;
	(void) key;
	free(value);
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	map_each(&c->kept, free_kept, NULL);
	map_done(&c->kept);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct epoch_src {
	struct src src;
	struct src *below;
	struct objid id;
};

static int epoch_read(struct src *s, struct src_read *r)
{
	return src_read(((struct epoch_src *)s)->below, r);
}

static int epoch_peek(struct src *s, uint64_t off, size_t len,
	struct iovec *iov, int max)
{
	return src_peek(((struct epoch_src *)s)->below, off, len, iov, max);
}

static unsigned epoch_of(const struct src *s)
{
	(void) s;
	return atomic_load(&epoch);
}

static uint64_t epoch_present(struct src *s, uint64_t off, uint64_t len)
{
	(void) s;
	(void) off;
	return double_hub.here ? len : 0;
}

static void epoch_stat(struct src *s, struct src_stat *ret)
{
	ret->state = !double_hub.here ? SRC_REMOTE :
		double_hub.rough ? SRC_CACHED : SRC_VERIFIED;
	ret->id = ((struct epoch_src *)s)->id;
}

static void epoch_free(struct src *s)
{
	src_unref(((struct epoch_src *)s)->below);
	free(s);
}

int cache_src_open(struct cache *c, const struct cache_name *name,
	struct src *upstream, struct src **ret, struct error *why)
{
	static const struct src_ops ops = { .name = "double",
		.read = epoch_read, .peek = epoch_peek, .epoch = epoch_of,
		.present = epoch_present, .stat = epoch_stat,
		.free = epoch_free };
	struct epoch_src *e;

	(void) c;
	if (!upstream)
		return error_set(why, -EHOSTUNREACH, "%s: offline", name->path);
	e = calloc(1, sizeof(*e));
	src_init(&e->src, &ops, name->size);
	e->below = src_ref(upstream);
	e->id = name->id;
	*ret = &e->src;
	return 0;
}

struct cache_put {
	struct cache *cache;
	struct buf bytes;
};

static int keep(struct cache *c, int kind, const char *key, const void *value,
	size_t len);
static int recall(struct cache *c, int kind, const char *key, struct buf *ret,
	int64_t *ret_age);

static unsigned evictions;

#define OBJECTS (100 + (int)evictions)	/* a kind of their own */

int cache_put_begin(struct cache *c, uint64_t size, struct cache_put **ret)
{
	struct cache_put *p;

	double_wait();
	if (double_hub.room)
		return double_hub.room;
	p = calloc(1, sizeof(*p));
	p->cache = c;
	p->bytes = (struct buf)BUF_INIT((size_t)size);
	*ret = p;
	return 0;
}

int cache_put_data(struct cache_put *p, const void *buf, size_t len)
{
	return buf_append(&p->bytes, buf, len);
}

void cache_put_drop(struct cache_put *p)
{
	if (p)
		buf_done(&p->bytes);
	free(p);
}

int cache_put_end(struct cache_put *p, struct objid *ret)
{
	char hex[OBJID_HEX_MAX];

	digest_sha256(p->bytes.data, p->bytes.len, ret);
	objid_hex(ret, hex);
	(void) keep(p->cache, OBJECTS, hex, p->bytes.len ? p->bytes.data :
		(const void *)"", p->bytes.len);
	__atomic_add_fetch(&double_hub.puts, 1, __ATOMIC_RELAXED);
	cache_put_drop(p);
	return 0;
}

void double_evict(void)
{
	evictions++;
}

int cache_whole_open(struct cache *c, const struct cache_name *name,
	struct src **ret)
{
	struct buf b = BUF_INIT(1 << 20);
	char hex[OBJID_HEX_MAX];
	int r;

	objid_hex(&name->id, hex);
	r = recall(c, OBJECTS, hex, &b, NULL);
	if (!r)
		*ret = src_from_memory(b.data, b.len);
	return r;
}

int cache_name_stat(struct cache *c, const struct cache_name *name,
	struct src_stat *ret)
{
	(void) c;
	(void) name;
	*ret = (struct src_stat){ .state = SRC_REMOTE };
	return 0;
}

void cache_name_vain(struct cache *c, const struct cache_name *name)
{
	(void) c;
	(void) name;
}

uint64_t cache_epochs(struct cache *c)
{
	(void) c;
	return atomic_load(&epoch);
}

void cache_on_epoch(struct cache *c,
	void (*fn)(void *arg, const struct src *s), void *arg)
{
	c->on_epoch = fn;
	c->arg = arg;
}

static char *kept_key(int kind, const char *key)
{
	char *k;

	return asprintf(&k, "%02d %s", kind, key) < 0 ? NULL : k;
}

static int keep(struct cache *c, int kind, const char *key, const void *value,
	size_t len)
{
	char *k = kept_key(kind, key);
	struct kept *v = calloc(1, sizeof(*v) + len + 1);
	void *old = NULL;

	v->when = clock_ms();
	v->len = len;
	memcpy(v->data, value, len);
	pthread_mutex_lock(&c->lock);
	(void) map_put(&c->kept, k, v, &old);
	pthread_mutex_unlock(&c->lock);
	free(old);
	free(k);
	return 0;
}

static int recall(struct cache *c, int kind, const char *key, struct buf *ret,
	int64_t *ret_age)
{
	char *k = kept_key(kind, key);
	struct kept *v;
	int r = -ENOENT;

	pthread_mutex_lock(&c->lock);
	v = map_get(&c->kept, k);
	if (v) {
		r = buf_append(ret, v->data, v->len);
		if (ret_age)
			*ret_age = (int64_t)(clock_ms() - v->when) / 1000;
	}
	pthread_mutex_unlock(&c->lock);
	free(k);
	return r;
}

int cache_index_get(struct cache *c, enum cache_kind kind, const char *key,
	struct buf *ret, int64_t *ret_age)
{
	int r = recall(c, kind, key, ret, ret_age);

	if (!r && kind == CACHE_KIND_PLAN && double_hub.recalled)
		double_hub.recalled();
	return r;
}

int cache_index_put(struct cache *c, enum cache_kind kind, const char *key,
	const void *value, size_t len)
{
	if (kind == CACHE_KIND_PLAN && double_hub.putting)
		double_hub.putting();
	return keep(c, kind, key, value, len);
}

int cache_index_del(struct cache *c, enum cache_kind kind, const char *key)
{
	char *k = kept_key(kind, key);

	pthread_mutex_lock(&c->lock);
	free(map_del(&c->kept, k));
	pthread_mutex_unlock(&c->lock);
	free(k);
	if (double_hub.deleted)
		double_hub.deleted();
	return 0;
}

struct each {
	const char *prefix;
	int (*fn)(void *arg, const char *key, const void *value, size_t len,
		int64_t age);
	void *arg;
};

static int each_kept(void *arg, const char *key, void *value)
{
	struct each *e = arg;
	struct kept *v = value;

	if (strncmp(key, e->prefix, strlen(e->prefix)))
		return 0;
	return e->fn(e->arg, key + 3, v->data, v->len, 0);
}

int cache_index_each(struct cache *c, enum cache_kind kind,
	const char *prefix,
	int (*fn)(void *arg, const char *key, const void *value, size_t len,
		int64_t age), void *arg)
{
	char *p = kept_key(kind, prefix);
	struct each e = { p, fn, arg };
	int r;

	pthread_mutex_lock(&c->lock);
	r = map_each(&c->kept, each_kept, &e);
	pthread_mutex_unlock(&c->lock);
	free(p);
	return r;
}

static int any(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	(void) arg, (void) key, (void) value, (void) len, (void) age;
	return 1;
}

bool double_planned(struct fs *fs)
{
	return cache_index_each(fs->cache, CACHE_KIND_PLAN, "", any, NULL);
}

int cache_recipe_get(struct cache *c, const char *key, struct buf *ret)
{
	return recall(c, 99, key, ret, NULL);
}

int cache_recipe_put(struct cache *c, const char *key, const void *data,
	size_t len)
{
	return keep(c, 99, key, data, len);
}

int cache_totals(struct cache *c, struct cache_totals *ret)
{
	(void) c;
	*ret = (struct cache_totals){ 0 };
	return 0;
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	(void) c;
	*ret = (struct cache_stats){ 0 };
}

/* ---- stage ------------------------------------------------------------------------ */

struct stage {
	int unused;
};

int stage_new(const struct stage_conf *conf, struct stage **ret,
	struct error *why)
{
	static struct stage s;

	(void) conf;
	(void) why;
	*ret = &s;
	return 0;
}

void stage_free(struct stage *s)
{
	(void) s;
}

int stage_work_start(struct stage *s, bool strict, struct error *why)
{
	(void) s;
	(void) strict;
	return error_set(why, -ENOENT, "the double has no workers");
}

struct workers *stage_workers(struct stage *s)
{
	(void) s;
	return NULL;
}

int stage_work_list(struct stage *s, const char *whose, struct src *src,
	const struct stage_archive_sink *sink, struct stage_archive *ret,
	struct error *why)
{
	(void) s;
	(void) whose;
	return stage_archive_read(src, sink, ret, why);
}

int stage_work_look(struct stage *s, const char *whose, struct src *src,
	char **ret_json, struct error *why)
{
	(void) s;
	(void) whose;
	return stage_onnx_info(src, ret_json, why);
}

int stage_work_inflate(struct stage *s, const char *whose, struct src *src,
	const struct stage_member *m, const struct stage_archive_sink *sink,
	struct objid *ret, struct error *why)
{
	(void) s;
	(void) whose;
	return stage_member_inflate(src, m, sink, ret, why);
}

int stage_work_decode(struct stage *s, const char *whose, struct src *src,
	const struct stage_made *m, uint64_t size,
	const struct stage_archive_sink *sink, struct objid *ret,
	struct error *why)
{
	(void) s, (void) whose, (void) src, (void) m, (void) size;
	(void) sink, (void) ret, (void) why;
	return -ENOTSUP;
}

int stage_layout(struct stage *s, const struct stage_repo *repo,
	struct listing *ret)
{
	const struct listing_entry *e = listing_find(repo->listing,
		"model.safetensors");
	struct objid none = { .alg = OBJID_NONE };

	(void) s;
	if (e) {
		(void) listing_add(ret, "pytorch/model.onnx", LISTING_FILE,
			LISTING_SIZE_UNKNOWN, &none);
		(void) listing_add(ret, "pytorch/refused.onnx", LISTING_FILE,
			LISTING_SIZE_UNKNOWN, &none);
		(void) listing_add(ret, "pytorch/model.safetensors",
			LISTING_FILE, e->size, &none);
	}
	listing_sort(ret);
	return 0;
}

const char *stage_layout_original(struct stage *s,
	const struct stage_repo *repo, const char *path)
{
	(void) s;
	(void) repo;
	return strcmp(path, "pytorch/model.safetensors") ? NULL :
		"model.safetensors";
}

bool stage_layout_quiet(struct stage *s, const struct stage_repo *repo,
	const char *path)
{
	(void) s;
	(void) repo;
	(void) path;
	return false;
}

bool stage_asks(struct stage *s, const struct stage_repo *repo,
	const char *dir)
{
	(void) s;
	return !strcmp(dir, "pytorch") && !strcmp(repo->repo, "org/asks");
}

const char *stage_holder(struct stage *s, const struct stage_repo *repo,
	const char *path)
{
	(void) s;
	(void) repo;
	(void) path;
	return NULL;
}

int stage_names(struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why)
{
	const struct listing_entry *e = listing_find(in->repo.listing,
		"model.safetensors");
	struct objid none = { .alg = OBJID_NONE };

	(void) s;
	(void) dir;
	double_wait();
	__atomic_add_fetch(&double_hub.named, 1, __ATOMIC_RELAXED);
	if (double_hub.spoils) {
		double_hub.spoils--;
		atomic_fetch_add(&epoch, 1);
	}
	if (double_hub.names_err)
		return double_fail(why, double_hub.names_err);
	(void) listing_add(ret, "pytorch/model.safetensors", LISTING_FILE,
		e->size, &none);
	(void) listing_add(ret, "pytorch/part.onnx", LISTING_FILE,
		LISTING_SIZE_UNKNOWN, &none);
	listing_sort(ret);
	return 0;
}

int stage_key(struct stage *s, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65])
{
	(void) s;
	(void) repo;
	(void) snprintf(ret, 65, "%.40s%024llx", revision,
		(unsigned long long)map_hash(path, strlen(path)));
	return 0;
}

/* "onnx:" and the whole of model.safetensors. */
int stage_plan(struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	const struct listing_entry *e;
	struct stage_recipe *r;
	struct src *src = NULL;
	char byte;
	int err, found = double_hub.plan_err;

	(void) s;
	double_wait();
	__atomic_add_fetch(&double_hub.plans, 1, __ATOMIC_RELAXED);
	e = listing_find(in->repo.listing, "model.safetensors");
	err = in->open(in->arg, e, &src, why);
	if (!err)
		err = src_read_wait(src, 0, &byte, 1);
	src_unref(src);
	if (err)
		return err;
	if (double_hub.planning)
		double_hub.planning();
	if (!strcmp(path, "pytorch/refused.onnx"))
		return error_set(why, -ENOTSUP, "the double refuses");
	if (found)
		return double_fail(why, found);
	r = stage_recipe_new();
	(void) stage_recipe_inline(r, "onnx:", 5);
	(void) stage_recipe_copy(r, (unsigned)stage_recipe_source(r,
		"model.safetensors", e->size), 0, e->size);
	*ret = r;
	return 0;
}

int cache_foreign_check(struct cache *c, const struct cache_name *name,
	uint64_t *ret_size)
{
	(void) c;
	(void) name;
	(void) ret_size;
	return -ENOENT;
}

/* ---- the tree ------------------------------------------------------------------ */

static struct conf *conf;

struct fs *double_fs(const char *more)
{
	struct error why = { 0 };
	struct fs *fs = NULL;

	conf = conf_new();
	t_check(conf);
	t_int(conf_set_arg(conf, "cache.dir=/nowhere", &why), 0);
	t_int(conf_set_arg(conf, "alias.nick=org/model@v1", &why), 0);
	if (more)
		t_int(conf_set_arg(conf, more, &why), 0);
	t_int(fs_new(conf, &fs, &why), 0);
	double_hub = (struct double_hub){ .main = DOUBLE_COMMIT_1 };
	return fs;
}

void double_fs_free(struct fs *fs)
{
	fs_free(fs);
	conf_free(conf);
}

int double_stat(struct fs *fs, const char *path, struct fs_attr *ret)
{
	struct fs_node *n = NULL;
	int r = fs_walk_wait(fs, path, &n, ret);

	fs_node_unref(n);
	return r;
}
