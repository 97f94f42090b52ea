/*
 * Three small tables. Facts are what the door offers by kind and key; uses
 * only spares writing the same line into refs/ twice; foreign keeps verdicts
 * about files of other tools by what tells a file from its successor.
 */
#include "config.h"

#include "cache/index.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cache/index-db.h"
#include "cache/store.h"

#define AHEAD_S 60	/* a clock that is right may be set back so much */

int cache_index_clear(struct cache_index *x)
{
	unsigned tries = 0;
	char text[128];
	int rc;

	(void) snprintf(text, sizeof(text), "DELETE FROM facts WHERE kind<>%d;"
		"DELETE FROM uses; DELETE FROM foreign_files",
		(int)CACHE_KIND_PIN);
	do {
		pthread_mutex_lock(&x->lock);
		rc = sqlite3_exec(x->db, text, NULL, NULL, NULL);
		pthread_mutex_unlock(&x->lock);
	} while (cache_index_again(rc, &tries));
	return cache_index_errno(rc);
}

/* Of what was written at `at`. When that is to come, the clock has been set
 * back: what nobody knows the age of must not be fresh until then. */
static int64_t age_of(int64_t at, int64_t now)
{
	if (now >= at)
		return now - at;
	return at - now > AHEAD_S ? INT32_MAX : 0;
}

int cache_index_get(struct cache *c, enum cache_kind kind, const char *key,
	struct buf *ret, int64_t *ret_age)
{
	sqlite3_stmt *s = cache_index_begin(c->index, CACHE_S_GET);
	int64_t age = 0;
	int rc, r;

	(void) sqlite3_bind_int(s, 1, (int)kind);
	(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	r = rc == SQLITE_DONE || cache_index_errno(rc) == -EBADMSG ? -ENOENT :
		cache_index_errno(rc);
	if (!r && !cache_index_sum_right(s, (int)kind, key, 0))
		r = -ENOENT;
	if (!r) {
		const void *v = sqlite3_column_blob(s, 0);
		int len = sqlite3_column_bytes(s, 0);

		r = len > 0 ? buf_append(ret, v, (size_t)len) : 0;
		age = age_of(sqlite3_column_int64(s, 1), clock_wall());
	}
	cache_index_end(c->index, s, rc);
	if (!r && ret_age)
		*ret_age = age;
	return r;
}

static int put_once(struct cache_index *x, enum cache_kind kind,
	const char *key, const void *value, size_t len)
{
	sqlite3_stmt *s = cache_index_begin(x, CACHE_S_PUT);
	int rc;

	(void) sqlite3_bind_int(s, 1, (int)kind);
	(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	if (len)
		(void) sqlite3_bind_blob64(s, 3, value, len, SQLITE_STATIC);
	else
		(void) sqlite3_bind_zeroblob(s, 3, 0);
	(void) sqlite3_bind_int64(s, 4, clock_wall());
	(void) sqlite3_bind_int64(s, 5, cache_index_sum((int)kind, key, value,
		len));
	rc = sqlite3_step(s);
	cache_index_end(x, s, rc);
	return rc;
}

int cache_index_put(struct cache *c, enum cache_kind kind, const char *key,
	const void *value, size_t len)
{
	unsigned tries = 0;
	int rc;

	do
		rc = put_once(c->index, kind, key, value, len);
	while (cache_index_again(rc, &tries));
	return cache_index_errno(rc);
}

int cache_index_del(struct cache *c, enum cache_kind kind, const char *key)
{
	unsigned tries = 0;
	int rc;

	do {
		sqlite3_stmt *s = cache_index_begin(c->index, CACHE_S_DEL);

		(void) sqlite3_bind_int(s, 1, (int)kind);
		(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
		rc = sqlite3_step(s);
		cache_index_end(c->index, s, rc);
	} while (cache_index_again(rc, &tries));
	return cache_index_errno(rc);
}

int cache_index_each(struct cache *c, enum cache_kind kind,
	const char *prefix,
	int (*fn)(void *arg, const char *key, const void *value, size_t len,
		int64_t age), void *arg)
{
	sqlite3_stmt *s = cache_index_begin(c->index, CACHE_S_EACH);
	size_t n = strlen(prefix);
	int64_t now = clock_wall();
	int rc = SQLITE_DONE, r = 0;

	(void) sqlite3_bind_int(s, 1, (int)kind);
	(void) sqlite3_bind_text(s, 2, prefix, -1, SQLITE_STATIC);
	while (!r && (rc = sqlite3_step(s)) != SQLITE_DONE) {
		const char *key = (const char *)sqlite3_column_text(s, 0);
		int64_t age;

		if (rc != SQLITE_ROW) {
			r = cache_index_errno(rc);
			break;
		}
		if (!key || strncmp(key, prefix, n))
			break;
		if (!cache_index_sum_right(s, (int)kind, key, 1))
			continue;
		age = age_of(sqlite3_column_int64(s, 2), now);
		r = fn(arg, key, sqlite3_column_blob(s, 1),
			(size_t)sqlite3_column_bytes(s, 1), age);
	}
	cache_index_end(c->index, s, rc);
	return r == -EBADMSG ? 0 : r;
}

int cache_index_used(struct cache_index *x, const char *revision,
	const char *key)
{
	sqlite3_stmt *s = cache_index_begin(x, CACHE_S_USED);
	int rc;

	(void) sqlite3_bind_text(s, 1, revision, -1, SQLITE_STATIC);
	(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	cache_index_end(x, s, rc);
	return rc == SQLITE_ROW ? 1 : cache_index_errno(rc);
}

static int write_use(struct cache_index *x, int which, const char *revision,
	const char *key)
{
	unsigned tries = 0;
	int rc;

	do {
		sqlite3_stmt *s = cache_index_begin(x, which);

		(void) sqlite3_bind_text(s, 1, revision, -1, SQLITE_STATIC);
		if (key)
			(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
		rc = sqlite3_step(s);
		cache_index_end(x, s, rc);
	} while (cache_index_again(rc, &tries));
	return cache_index_errno(rc);
}

int cache_index_use(struct cache_index *x, const char *revision,
	const char *key)
{
	return write_use(x, CACHE_S_USE, revision, key);
}

int cache_index_unuse(struct cache_index *x, const char *revision)
{
	return write_use(x, CACHE_S_UNUSE, revision, NULL);
}

static void bind_file(sqlite3_stmt *s, const struct stat *st, const char *hex)
{
	/* Unlike the time of modification nobody can set it back. */
	int64_t ctime = (int64_t)st->st_ctim.tv_sec * 1000000000 +
		st->st_ctim.tv_nsec;

	(void) sqlite3_bind_int64(s, 1, (sqlite3_int64)st->st_dev);
	(void) sqlite3_bind_int64(s, 2, (sqlite3_int64)st->st_ino);
	(void) sqlite3_bind_int64(s, 3, st->st_size);
	(void) sqlite3_bind_int64(s, 4, ctime);
	(void) sqlite3_bind_text(s, 5, hex, -1, SQLITE_STATIC);
}

int cache_index_foreign_get(struct cache_index *x, const struct stat *st,
	const struct objid *id)
{
	sqlite3_stmt *s = cache_index_begin(x, CACHE_S_FGET);
	char hex[OBJID_HEX_MAX];
	int rc, r;

	objid_hex(id, hex);
	bind_file(s, st, hex);
	rc = sqlite3_step(s);
	r = rc == SQLITE_DONE || cache_index_errno(rc) == -EBADMSG ? -ENOENT :
		cache_index_errno(rc);
	if (!r)
		r = sqlite3_column_int(s, 0) != 0;
	cache_index_end(x, s, rc);
	return r;
}

int cache_index_foreign_put(struct cache_index *x, const struct stat *st,
	const struct objid *id, bool right)
{
	char hex[OBJID_HEX_MAX];
	unsigned tries = 0;
	int rc;

	objid_hex(id, hex);
	do {
		sqlite3_stmt *s = cache_index_begin(x, CACHE_S_FPUT);

		bind_file(s, st, hex);
		(void) sqlite3_bind_int(s, 6, right);
		rc = sqlite3_step(s);
		cache_index_end(x, s, rc);
	} while (cache_index_again(rc, &tries));
	return cache_index_errno(rc);
}
