/*
 * Three small tables. Facts are what the door offers by kind and key; uses
 * only spares writing the same line into refs/ twice; foreign keeps verdicts
 * about files of other tools by what tells a file from its successor.
 */
#include "config.h"

#include "cache/index.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "cache/store.h"

#define INDEX_VERSION 2
#define RENEWALS_MAX 3	/* a process */
#define AHEAD_S 60	/* a clock that is right may be set back so much */
#define BUSY_MS 5000	/* how long a write waits for another process, … */
#define BUSY_LOCKED_MS 20	/* … at most so long without giving others
				 * their turn with the connection */

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS facts("
	" kind INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
	" at INTEGER NOT NULL, sum INTEGER NOT NULL,"
	" PRIMARY KEY(kind, key)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS uses("
	" revision TEXT NOT NULL, key TEXT NOT NULL,"
	" PRIMARY KEY(revision, key)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS foreign_files("
	" dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL,"
	" ctime INTEGER NOT NULL, id TEXT NOT NULL, good INTEGER NOT NULL,"
	" PRIMARY KEY(dev, ino)) WITHOUT ROWID;"
	"PRAGMA user_version=2;";

enum {
	S_GET, S_PUT, S_DEL, S_EACH, S_USED, S_USE, S_UNUSE, S_FGET, S_FPUT, S_N
};

static const char *const sql[S_N] = {
	[S_GET] = "SELECT value, at, sum FROM facts"
		" WHERE kind=?1 AND key=?2",
	[S_PUT] = "REPLACE INTO facts VALUES(?1, ?2, ?3, ?4, ?5)",
	[S_DEL] = "DELETE FROM facts WHERE kind=?1 AND key=?2",
	[S_EACH] = "SELECT key, value, at, sum FROM facts"
		" WHERE kind=?1 AND key>=?2 ORDER BY key",
	[S_USED] = "SELECT 1 FROM uses WHERE revision=?1 AND key=?2",
	[S_USE] = "INSERT OR IGNORE INTO uses VALUES(?1, ?2)",
	[S_UNUSE] = "DELETE FROM uses WHERE revision=?1",
	[S_FGET] = "SELECT good FROM foreign_files WHERE dev=?1 AND ino=?2"
		" AND size=?3 AND ctime=?4 AND id=?5",
	[S_FPUT] = "REPLACE INTO foreign_files VALUES(?1,?2,?3,?4,?5,?6)",
};

struct cache_index {
	pthread_mutex_t lock;
	char *path;
	struct cache *c;		/* to be told of pins when it is new */
	ino_t ino;			/* lock; of the file that db is */
	unsigned renewals;		/* lock */
	sqlite3 *db;			/* lock */
	sqlite3_stmt *st[S_N];		/* lock; prepared at open */
};

static int to_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_TOOBIG:
		return -EFBIG;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	default:
		return -EIO;
	}
}

static int prepare(struct cache_index *x)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < S_N && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(x->db, sql[i], -1,
			SQLITE_PREPARE_PERSISTENT, &x->st[i], NULL);
	return rc;
}

static int db_version(sqlite3 *db, int *ret)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		*ret = sqlite3_column_int(s, 0);
		rc = SQLITE_OK;
	}
	(void) sqlite3_finalize(s);
	return rc;
}

static void close_db(struct cache_index *x)
{
	for (int i = 0; i < S_N; i++) {
		(void) sqlite3_finalize(x->st[i]);
		x->st[i] = NULL;
	}
	(void) sqlite3_close(x->db);
	x->db = NULL;
}

static int open_db(struct cache_index *x, const char *path, bool *ret_new)
{
	int version = 0;
	int rc = sqlite3_open_v2(path, &x->db, SQLITE_OPEN_READWRITE |
		SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(x->db, BUSY_MS);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(x->db, "PRAGMA journal_mode=WAL;"
			"PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = db_version(x->db, &version);
	if (rc == SQLITE_OK && version && version != INDEX_VERSION)
		rc = SQLITE_NOTADB;
	if (rc == SQLITE_OK && !version) {
		*ret_new = true;
		rc = sqlite3_exec(x->db, schema, NULL, NULL, NULL);
	}
	if (rc == SQLITE_OK)
		rc = prepare(x);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(x->db, BUSY_LOCKED_MS);
	/* Of the file that WAL shares SQLite does not tell it as of others. */
	if ((rc & 0xff) == SQLITE_IOERR &&
	    (sqlite3_system_errno(x->db) == ENOSPC ||
	     sqlite3_system_errno(x->db) == EDQUOT))
		rc = SQLITE_FULL;
	return rc;
}

/* One more try of a write? Called without the lock. */
static bool again(int rc, unsigned *tries)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	/* It has been made anew meanwhile. */
	if (to_errno(rc) == -EBADMSG)
		return !(*tries)++;
	if (to_errno(rc) != -EBUSY ||
	    ++*tries > BUSY_MS / (BUSY_LOCKED_MS + 10))
		return false;
	(void) nanosleep(&pause, NULL);
	return true;
}

static void remove_db(const char *path)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char name[4200];

	for (size_t i = 0; i < 3; i++) {
		(void) snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		(void) unlink(name);
	}
}

/* A pipe, a directory, a link: SQLite would wait, or write where it leads. What
 * we may not open is of no use either. */
static void remove_odd(const char *path)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char name[4200];
	struct stat st;

	for (size_t i = 0; i < 3; i++) {
		(void) snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		if (!lstat(name, &st) && (!S_ISREG(st.st_mode) ||
		    (access(name, R_OK | W_OK) < 0 && errno == EACCES)))
			(void) io_remove_tree(AT_FDCWD, name);
	}
}

/* Going to WAL, and leaving it at the last close, need the file for oneself;
 * SQLite does not wait for that by itself. */
static int open_patiently(struct cache_index *x, const char *path,
	bool *ret_new)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int rc = open_db(x, path, ret_new);
	struct stat st;

	for (int i = 0; i < BUSY_MS / 10 && to_errno(rc) == -EBUSY; i++) {
		close_db(x);
		(void) nanosleep(&pause, NULL);
		rc = open_db(x, path, ret_new);
	}
	x->ino = lstat(path, &st) < 0 ? 0 : st.st_ino;
	return rc;
}

/* Under the lock: it is no database any more. Somebody else may have seen that
 * before us; what is there then is new. */
static bool renew(struct cache_index *x)
{
	bool fresh = false;
	struct stat st;

	if (x->renewals++ >= RENEWALS_MAX)
		return false;
	close_db(x);
	if (!lstat(x->path, &st) && st.st_ino == x->ino)
		remove_db(x->path);
	(void) open_patiently(x, x->path, &fresh);
	return fresh;
}

int cache_index_open(struct cache *c, const char *path,
	struct cache_index **ret, bool *ret_new, struct error *why)
{
	struct cache_index *x = calloc(1, sizeof(*x));
	int rc, r;

	if (!x)
		return error_set(why, -ENOMEM, "out of memory");
	(void) pthread_mutex_init(&x->lock, NULL);
	x->c = c;
	x->path = strdup(path);
	if (!x->path) {
		cache_index_close(x);
		return error_set(why, -ENOMEM, "out of memory");
	}
	remove_odd(path);
	/* What SQLite kept beside a file that was deleted may be in use by
	 * who has that open still; a new file must have its own. */
	if (access(path, F_OK) < 0 && errno == ENOENT)
		remove_db(path);
	rc = open_patiently(x, path, ret_new);
	r = to_errno(rc);
	if (r == -EBADMSG || rc == SQLITE_ERROR) {
		close_db(x);
		remove_db(path);
		rc = open_patiently(x, path, ret_new);
		r = to_errno(rc);
	}
	/* Who has to make room needs none for this. */
	if (r == -ENOSPC) {
		log_debug("%s: no room for it, kept in memory", path);
		close_db(x);
		rc = open_patiently(x, ":memory:", ret_new);
		r = to_errno(rc);
	}
	if (r) {
		(void) error_set(why, r, "%s: %s", path, sqlite3_errstr(rc));
		cache_index_close(x);
		return r;
	}
	*ret = x;
	return 0;
}

void cache_index_close(struct cache_index *x)
{
	if (!x)
		return;
	close_db(x);
	pthread_mutex_destroy(&x->lock);
	free(x->path);
	free(x);
}

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
	} while (again(rc, &tries));
	return to_errno(rc);
}

/* Locks; the statement has its kind and key when there are some. */
static sqlite3_stmt *begin(struct cache_index *x, int which)
{
	pthread_mutex_lock(&x->lock);
	return x->st[which];
}

static void end(struct cache_index *x, sqlite3_stmt *s, int rc)
{
	bool fresh = false;

	if (s) {
		(void) sqlite3_reset(s);
		(void) sqlite3_clear_bindings(s);
	}
	if (to_errno(rc) == -EBADMSG)
		fresh = renew(x);
	pthread_mutex_unlock(&x->lock);
	if (fresh)
		cache_ref_restore(x->c);
}

/* What the disk has changed is not known any more. */
static int64_t sum_of(int kind, const char *key, const void *value, size_t len)
{
	return (int64_t)(map_hash(value, len) ^
		map_hash(key, strlen(key)) * (2 * (unsigned)kind + 3));
}

static bool sum_right(sqlite3_stmt *s, int kind, const char *key, int value)
{
	return sqlite3_column_int64(s, value + 2) == sum_of(kind, key,
		sqlite3_column_blob(s, value),
		(size_t)sqlite3_column_bytes(s, value));
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
	sqlite3_stmt *s = begin(c->index, S_GET);
	int64_t age = 0;
	int rc, r;

	(void) sqlite3_bind_int(s, 1, (int)kind);
	(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	r = rc == SQLITE_DONE || to_errno(rc) == -EBADMSG ? -ENOENT :
		to_errno(rc);
	if (!r && !sum_right(s, (int)kind, key, 0))
		r = -ENOENT;
	if (!r) {
		const void *v = sqlite3_column_blob(s, 0);
		int len = sqlite3_column_bytes(s, 0);

		r = len > 0 ? buf_append(ret, v, (size_t)len) : 0;
		age = age_of(sqlite3_column_int64(s, 1), clock_wall());
	}
	end(c->index, s, rc);
	if (!r && ret_age)
		*ret_age = age;
	return r;
}

static int put_once(struct cache_index *x, enum cache_kind kind,
	const char *key, const void *value, size_t len)
{
	sqlite3_stmt *s = begin(x, S_PUT);
	int rc;

	(void) sqlite3_bind_int(s, 1, (int)kind);
	(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	if (len)
		(void) sqlite3_bind_blob64(s, 3, value, len, SQLITE_STATIC);
	else
		(void) sqlite3_bind_zeroblob(s, 3, 0);
	(void) sqlite3_bind_int64(s, 4, clock_wall());
	(void) sqlite3_bind_int64(s, 5, sum_of((int)kind, key, value, len));
	rc = sqlite3_step(s);
	end(x, s, rc);
	return rc;
}

int cache_index_put(struct cache *c, enum cache_kind kind, const char *key,
	const void *value, size_t len)
{
	unsigned tries = 0;
	int rc;

	do
		rc = put_once(c->index, kind, key, value, len);
	while (again(rc, &tries));
	return to_errno(rc);
}

int cache_index_del(struct cache *c, enum cache_kind kind, const char *key)
{
	unsigned tries = 0;
	int rc;

	do {
		sqlite3_stmt *s = begin(c->index, S_DEL);

		(void) sqlite3_bind_int(s, 1, (int)kind);
		(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
		rc = sqlite3_step(s);
		end(c->index, s, rc);
	} while (again(rc, &tries));
	return to_errno(rc);
}

int cache_index_each(struct cache *c, enum cache_kind kind,
	const char *prefix,
	int (*fn)(void *arg, const char *key, const void *value, size_t len,
		int64_t age), void *arg)
{
	sqlite3_stmt *s = begin(c->index, S_EACH);
	size_t n = strlen(prefix);
	int64_t now = clock_wall();
	int rc = SQLITE_DONE, r = 0;

	(void) sqlite3_bind_int(s, 1, (int)kind);
	(void) sqlite3_bind_text(s, 2, prefix, -1, SQLITE_STATIC);
	while (!r && (rc = sqlite3_step(s)) != SQLITE_DONE) {
		const char *key = (const char *)sqlite3_column_text(s, 0);
		int64_t age;

		if (rc != SQLITE_ROW) {
			r = to_errno(rc);
			break;
		}
		if (!key || strncmp(key, prefix, n))
			break;
		if (!sum_right(s, (int)kind, key, 1))
			continue;
		age = age_of(sqlite3_column_int64(s, 2), now);
		r = fn(arg, key, sqlite3_column_blob(s, 1),
			(size_t)sqlite3_column_bytes(s, 1), age);
	}
	end(c->index, s, rc);
	return r == -EBADMSG ? 0 : r;
}

int cache_index_used(struct cache_index *x, const char *revision,
	const char *key)
{
	sqlite3_stmt *s = begin(x, S_USED);
	int rc;

	(void) sqlite3_bind_text(s, 1, revision, -1, SQLITE_STATIC);
	(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	end(x, s, rc);
	return rc == SQLITE_ROW ? 1 : to_errno(rc);
}

static int write_use(struct cache_index *x, int which, const char *revision,
	const char *key)
{
	unsigned tries = 0;
	int rc;

	do {
		sqlite3_stmt *s = begin(x, which);

		(void) sqlite3_bind_text(s, 1, revision, -1, SQLITE_STATIC);
		if (key)
			(void) sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
		rc = sqlite3_step(s);
		end(x, s, rc);
	} while (again(rc, &tries));
	return to_errno(rc);
}

int cache_index_use(struct cache_index *x, const char *revision,
	const char *key)
{
	return write_use(x, S_USE, revision, key);
}

int cache_index_unuse(struct cache_index *x, const char *revision)
{
	return write_use(x, S_UNUSE, revision, NULL);
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
	sqlite3_stmt *s = begin(x, S_FGET);
	char hex[OBJID_HEX_MAX];
	int rc, r;

	objid_hex(id, hex);
	bind_file(s, st, hex);
	rc = sqlite3_step(s);
	r = rc == SQLITE_DONE || to_errno(rc) == -EBADMSG ? -ENOENT :
		to_errno(rc);
	if (!r)
		r = sqlite3_column_int(s, 0) != 0;
	end(x, s, rc);
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
		sqlite3_stmt *s = begin(x, S_FPUT);

		bind_file(s, st, hex);
		(void) sqlite3_bind_int(s, 6, right);
		rc = sqlite3_step(s);
		end(x, s, rc);
	} while (again(rc, &tries));
	return to_errno(rc);
}

/* ---- looking at all of it -------------------------------------------------------- */

/* Under the lock: the pages hang together. */
static int quick_check(sqlite3 *db)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		rc = !strcmp((const char *)sqlite3_column_text(s, 0), "ok") ?
			SQLITE_OK : SQLITE_CORRUPT;
	(void) sqlite3_finalize(s);
	return rc;
}

/* Under the lock: every fact is what was put. */
static int sums_check(sqlite3 *db)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(db, "SELECT kind, key, value, at, sum "
		"FROM facts", -1, &s, NULL);

	if (rc != SQLITE_OK)
		return rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(s, 1);

		if (!key || !sum_right(s, sqlite3_column_int(s, 0), key, 2)) {
			rc = SQLITE_CORRUPT;
			break;
		}
	}
	(void) sqlite3_finalize(s);
	return rc;
}

int cache_index_check(struct cache_index *x)
{
	unsigned tries = 0;
	int rc;

	do {
		pthread_mutex_lock(&x->lock);
		rc = quick_check(x->db);
		if (rc == SQLITE_OK)
			rc = sums_check(x->db);
		end(x, NULL, rc);
	} while (to_errno(rc) == -EBUSY && again(rc, &tries));
	return to_errno(rc);
}
