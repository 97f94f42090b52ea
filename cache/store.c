/*
 * Opening a cache, and what must be true below its root.
 *
 * Every process that has the cache open holds byte 0 of `lock` shared. Who
 * gets it exclusively at open is alone, and only then repairs: what lies in
 * tmp/ belongs to nobody, partials without data are remains, and the count of
 * used bytes is made anew.
 */
#include "config.h"

#include "cache/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/fill.h"
#include "cache/lock.h"
#include "cache/partial.h"
#include "cache/pass.h"

#define STORE_VERSION 1
#define LOCK_ALIVE 0	/* byte of `lock`: shared by every open cache */
#define LOCK_NAMES 1	/* byte of `lock`: cache_store_enter() */
#define POOL_THREADS 3
#define KEEPER_THREADS 2

static const char tag_text[] =
	"Signature: 8a477f597d28d172789f06886806bc55\n"
	"# This directory is a cache made by OmniHub.\n"
	"# See https://bford.info/cachedir/\n";

void cache_store_enter(struct cache *c)
{
	pthread_mutex_lock(&c->store_lock);
	(void) cache_lock_wait(c->lock_fd, LOCK_NAMES, false);
	cache_usage_enter(c);
}

void cache_store_leave(struct cache *c)
{
	cache_lock_drop(c->lock_fd, LOCK_NAMES, 1);
	pthread_mutex_unlock(&c->store_lock);
}

void cache_store_tmp(struct cache *c, char ret[CACHE_REL_MAX])
{
	struct timespec ts;

	/* Another cache of this process has its own count: add the clock. */
	(void) clock_gettime(CLOCK_MONOTONIC, &ts);
	(void) snprintf(ret, CACHE_REL_MAX, "tmp/%ld-%llx-%u", (long)getpid(),
		(unsigned long long)ts.tv_sec * 1000000000ULL +
			(unsigned long long)ts.tv_nsec,
		atomic_fetch_add(&c->tmp_seq, 1));
}

int cache_store_parents(struct cache *c, const char *rel)
{
	char dir[CACHE_REL_MAX];
	char *slash;

	(void) snprintf(dir, sizeof(dir), "%s", rel);
	slash = strrchr(dir, '/');
	if (!slash)
		return 0;
	*slash = '\0';
	if (!faccessat(c->dir, dir, F_OK, 0))
		return 0;
	return io_mkdirs(c->dir, dir);
}

static int write_tmp(struct cache *c, const char *tmp, const void *data,
	size_t len)
{
	cleanup_fd int fd = openat(c->dir, tmp,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = io_pwrite(fd, data, len, 0);
	if (!r && fdatasync(fd) < 0)
		r = -errno;
	return r;
}

int cache_store_publish(struct cache *c, const char *rel, const void *data,
	size_t len)
{
	char tmp[CACHE_REL_MAX];
	int r;

	r = cache_store_parents(c, rel);
	if (r)
		return r;
	cache_store_tmp(c, tmp);
	r = write_tmp(c, tmp, data, len);
	if (!r && renameat(c->dir, tmp, c->dir, rel) < 0)
		r = -errno;
	if (r)
		(void) unlinkat(c->dir, tmp, 0);
	return r;
}

uint64_t cache_store_discard(struct cache *c, const char *rel,
	uint64_t bytes)
{
	char tmp[CACHE_REL_MAX];

	cache_store_tmp(c, tmp);
	cache_leaving(c, rel, tmp, bytes, 0);
	/* One that we may not write cannot be moved. */
	if (renameat(c->dir, rel, c->dir, tmp) < 0 && errno == EACCES &&
	    !fchmodat(c->dir, rel, 0700, 0))
		(void) renameat(c->dir, rel, c->dir, tmp);
	return cache_left(c) ? bytes : 0;
}

uint64_t cache_store_remove(struct cache *c, const char *rel)
{
	struct stat st;

	if (fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	cache_leaving(c, rel, NULL, (uint64_t)st.st_size, 0);
	(void) unlinkat(c->dir, rel, 0);
	return cache_left(c) ? (uint64_t)st.st_size : 0;
}

/* ---- open -------------------------------------------------------------------- */

/* *ret_fresh: nobody has made a cache here yet. */
static int check_version(struct cache *c, bool *ret_fresh, struct error *why)
{
	cleanup_buf struct buf b = BUF_INIT(4096);
	int version, r;

	r = cache_store_read(c, "VERSION", &b);
	*ret_fresh = r == -ENOENT;
	if (r == -ENOENT)
		return 0;
	if (r && r != -EBADMSG && r != -EFBIG)
		return error_set(why, r, "VERSION of the cache: %s",
			strerror(-r));
	if (r || !b.data ||
	    sscanf((char *)b.data, "omnihub-cache %d", &version) != 1)
		return error_set(why, -ENOTSUP,
			"VERSION there is not that of an OmniHub cache; if it "
			"is one, remove that file");
	if (version > STORE_VERSION)
		return error_set(why, -ENOTSUP,
			"the cache has version %d, this program knows %d",
			version, STORE_VERSION);
	return 0;
}

static bool is_empty(struct cache *c, const char *dir)
{
	int fd = openat(c->dir, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	if (fd < 0)
		return errno == ENOENT;
	if (!d)
		(void) close(fd);
	while (d && readdir(d))
		n++;
	if (d)
		(void) closedir(d);
	return d && n <= 2;
}

/* Somebody's directory that is no cache may have a tmp/, which is not ours to
 * empty. Who makes a cache makes `lock` first. */
static int check_fresh(struct cache *c, struct error *why)
{
	if (is_empty(c, "tmp") || !faccessat(c->dir, "lock", F_OK, 0))
		return 0;
	return error_set(why, -ENOTEMPTY, "that is no cache, and has something "
		"in tmp/");
}

static int write_tag(struct cache *c)
{
	cache_store_make_way(c, "CACHEDIR.TAG");
	return cache_store_publish(c, "CACHEDIR.TAG", tag_text,
		sizeof(tag_text) - 1);
}

static int write_version(struct cache *c)
{
	char text[64];
	int r;

	(void) snprintf(text, sizeof(text), "omnihub-cache %d\n",
		STORE_VERSION);
	r = write_tag(c);
	if (!r)
		r = cache_store_publish(c, "VERSION", text, strlen(text));
	return r;
}

/* Opening drops what is not whole: one whose data became an object already. */
static int look_at_partial(void *arg, const struct cache_entry *e)
{
	struct cache *c = arg;
	struct partial *p;

	if (e->kind == CACHE_FILE_PARTIAL &&
	    !cache_partial_open(c, e->hex, "", 0, 0, false, false, &p))
		cache_partial_close(p);
	return 0;
}

/* Nobody else has the cache open. */
static int repair(struct cache *c, struct error *why)
{
	uint64_t used = 0;
	int r;

	r = io_remove_tree(c->dir, "tmp");
	if (!r)
		r = io_mkdirs(c->dir, "tmp");
	if (r)
		return error_set(why, r, "tmp cannot be emptied: %s",
			strerror(-r));
	r = cache_scan(c, look_at_partial, c);
	if (!r)
		r = cache_evict_count(c, &used);
	if (!r && !cache_object_there(c, "CACHEDIR.TAG", sizeof(tag_text) - 1))
		(void) write_tag(c);
	if (r)
		return r;
	cache_usage_set(c, used);
	return 0;
}

static int open_files(struct cache *c, struct error *why)
{
	static const char *const dirs[] = {
		"objects/sha256", "partial", "recipes", "links", "refs",
		"pins",
	};
	bool fresh;
	int r = check_version(c, &fresh, why);

	if (!r && fresh)
		r = check_fresh(c, why);
	if (r)
		return r;
	c->lock_fd = cache_store_own(c, "lock", fresh);
	if (c->lock_fd < 0)
		return error_set(why, c->lock_fd, "cannot write its lock: %s",
			strerror(-c->lock_fd));
	/* Or a power cut leaves what is in tmp/, and not what says whose. */
	if (fresh)
		(void) fsync(c->dir);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		r = io_mkdirs(c->dir, dirs[i]);
		if (r)
			return error_set(why, r, "%s: %s", dirs[i],
				strerror(-r));
	}
	r = cache_usage_open(c, fresh);
	if (r)
		return error_set(why, r, "usage: %s", strerror(-r));
	if (!cache_lock_try(c->lock_fd, LOCK_ALIVE, 1))
		r = repair(c, why);
	if (!r)
		r = cache_lock_wait(c->lock_fd, LOCK_ALIVE, true);
	/* Before this lock another process may be at repair(). */
	if (!r)
		r = io_mkdirs(c->dir, "tmp");
	if (!r && !cache_usage_ours(c))
		return error_set(why, -EBUSY, "a program of another version "
			"has the cache open");
	if (!r)
		cache_usage_slot(c);
	if (!r && fresh)
		r = write_version(c);
	if (r && !why->code)
		(void) error_set(why, r, "cannot prepare the cache: %s",
			strerror(-r));
	return r;
}

static int open_root(struct cache *c, const char *dir, struct error *why)
{
	int r = io_mkdirs(AT_FDCWD, dir);

	if (!r) {
		c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (c->dir < 0)
			r = -errno;
	}
	if (r)
		return error_set(why, r, "%s: %s", dir, strerror(-r));
	r = open_files(c, why);
	if (r)
		(void) error_wrap(why, "%s", dir);
	return r;
}

static int open_index(struct cache *c, const char *dir, struct error *why)
{
	char path[4096];
	bool fresh = false;
	int r;

	if (snprintf(path, sizeof(path), "%s/index.sqlite", dir) >=
	    (int)sizeof(path))
		return error_set(why, -ENAMETOOLONG, "%s", dir);
	cache_store_enter(c);
	r = cache_index_open(c, path, &c->index, &fresh, why);
	cache_store_leave(c);
	if (!r && fresh)
		cache_ref_restore(c);
	return r;
}

static void free_cache(struct cache *c)
{
	cache_watch_stop(c);
	/* Its last jobs may put something off. */
	pool_free(c->pool);
	if (c->keepers)
		cache_later_go(c);
	pool_free(c->keepers);
	cache_spare_done(c);
	cache_index_close(c->index);
	if (c->usage)
		(void) munmap(c->usage, CACHE_USAGE_LEN);
	if (c->lock_fd >= 0)
		(void) close(c->lock_fd);
	if (c->dir >= 0)
		(void) close(c->dir);
	map_done(&c->blobs);
	cache_pass_free(c->pass);
	pthread_mutex_destroy(&c->store_lock);
	pthread_mutex_destroy(&c->evict_lock);
	pthread_mutex_destroy(&c->piece_lock);
	pthread_mutex_destroy(&c->later_lock);
	pthread_mutex_destroy(&c->compared_lock);
	cache_piece_done(c);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->watch_lock);
	pthread_cond_destroy(&c->empty);
	pthread_cond_destroy(&c->noted_all);
	pthread_cond_destroy(&c->kept_one);
	pthread_cond_destroy(&c->watch_more);
	for (size_t i = 0; i < CONF_TOOLS; i++)
		free(c->tools[i]);
	free(c->tfhub);
	free(c);
}

static int copy_places(struct cache *c, const struct cache_conf *conf)
{
	for (size_t i = 0; i < CONF_TOOLS; i++) {
		if (!conf->tools[i])
			continue;
		c->tools[i] = strdup(conf->tools[i]);
		if (!c->tools[i])
			return -ENOMEM;
	}
	if (conf->tfhub) {
		c->tfhub = strdup(conf->tfhub);
		if (!c->tfhub)
			return -ENOMEM;
	}
	return 0;
}

static struct cache *new_cache(const struct cache_conf *conf)
{
	struct cache *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return NULL;
	c->dir = c->lock_fd = c->slot = -1;
	c->budget = conf->budget;
	c->chunk = conf->chunk ? conf->chunk : CACHE_CHUNK_DEFAULT;
	c->connections = conf->connections ? conf->connections : 1;
	c->before_read = conf->before_read;
	(void) pthread_mutex_init(&c->store_lock, NULL);
	(void) pthread_mutex_init(&c->evict_lock, NULL);
	(void) pthread_mutex_init(&c->piece_lock, NULL);
	(void) pthread_mutex_init(&c->later_lock, NULL);
	(void) pthread_mutex_init(&c->compared_lock, NULL);
	(void) pthread_mutex_init(&c->lock, NULL);
	(void) pthread_mutex_init(&c->watch_lock, NULL);
	(void) pthread_cond_init(&c->empty, NULL);
	(void) pthread_cond_init(&c->noted_all, NULL);
	(void) pthread_cond_init(&c->kept_one, NULL);
	(void) pthread_condattr_init(&attr);
	(void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void) pthread_cond_init(&c->watch_more, &attr);
	(void) pthread_condattr_destroy(&attr);
	return c;
}

int cache_open(const struct cache_conf *conf, struct cache **ret,
	struct error *why)
{
	struct error said = { .code = 0 };
	struct cache *c;
	int r;

	if (conf->chunk && (conf->chunk < 64 * 1024 ||
	    conf->chunk > 4 * 1024 * 1024 || (conf->chunk & (conf->chunk - 1))))
		return error_set(why, -EINVAL,
			"chunks are a power of two of 64 KiB to 4 MiB");
	c = new_cache(conf);
	if (!c)
		return error_set(why, -ENOMEM, "out of memory");
	r = open_root(c, conf->dir, &said);
	if (!r)
		r = open_index(c, conf->dir, &said);
	if (!r)
		r = copy_places(c, conf);
	if (!r) {
		c->pool = pool_new(POOL_THREADS, "cache");
		c->keepers = pool_new(KEEPER_THREADS, "keep");
		c->pass = cache_pass_new();
		if (!c->pool || !c->keepers || !c->pass || cache_watch_start(c))
			r = error_set(&said, -ENOMEM, "cannot start threads");
	}
	if (r) {
		free_cache(c);
		return error_set(why, r, "%s", said.code ? said.text :
			strerror(-r));
	}
	log_debug("cache %s: %llu bytes used", conf->dir,
		(unsigned long long)cache_used(c));
	*ret = c;
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	while (c->n_blobs)
		pthread_cond_wait(&c->empty, &c->lock);
	pthread_mutex_unlock(&c->lock);
	free_cache(c);
}

void cache_on_epoch(struct cache *c,
	void (*fn)(void *arg, const struct src *s), void *arg)
{
	c->on_epoch = fn;
	c->on_epoch_arg = arg;
}

uint64_t cache_epochs(struct cache *c)
{
	return atomic_load(&c->epochs);
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	*ret = (struct cache_stats){
		.hits = atomic_load(&c->hits),
		.misses = atomic_load(&c->misses),
		.pulled_bytes = atomic_load(&c->pulled_bytes),
		.verified = atomic_load(&c->verified),
		.mismatches = atomic_load(&c->mismatches),
		.evicted_bytes = atomic_load(&c->evicted_bytes),
		.adopted_bytes = atomic_load(&c->adopted_bytes),
	};
}
