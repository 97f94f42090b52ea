/*
 * The file of the index: opened, made anew when it is no database any more,
 * looked at. Several processes have it open; who finds it damaged first puts a
 * new one in its place, and the others open that when they find it, too.
 */
#include "config.h"

#include "cache/index-db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/map.h"
#include "cache/store.h"

#define INDEX_VERSION 2
#define RENEWALS_MAX 3	/* a process */
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

static const char *const sql[CACHE_S_N] = {
	[CACHE_S_GET] = "SELECT value, at, sum FROM facts"
		" WHERE kind=?1 AND key=?2",
	[CACHE_S_PUT] = "REPLACE INTO facts VALUES(?1, ?2, ?3, ?4, ?5)",
	[CACHE_S_DEL] = "DELETE FROM facts WHERE kind=?1 AND key=?2",
	[CACHE_S_EACH] = "SELECT key, value, at, sum FROM facts"
		" WHERE kind=?1 AND key>=?2 ORDER BY key",
	[CACHE_S_USED] = "SELECT 1 FROM uses WHERE revision=?1 AND key=?2",
	[CACHE_S_USE] = "INSERT OR IGNORE INTO uses VALUES(?1, ?2)",
	[CACHE_S_UNUSE] = "DELETE FROM uses WHERE revision=?1",
	[CACHE_S_FGET] = "SELECT good FROM foreign_files WHERE dev=?1 AND ino=?2"
		" AND size=?3 AND ctime=?4 AND id=?5",
	[CACHE_S_FPUT] = "REPLACE INTO foreign_files VALUES(?1,?2,?3,?4,?5,?6)",
};

int cache_index_errno(int rc)
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

	for (int i = 0; i < CACHE_S_N && rc == SQLITE_OK; i++)
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
	for (int i = 0; i < CACHE_S_N; i++) {
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

bool cache_index_again(int rc, unsigned *tries)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	/* It has been made anew meanwhile. */
	if (cache_index_errno(rc) == -EBADMSG)
		return !(*tries)++;
	if (cache_index_errno(rc) != -EBUSY ||
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

	for (int i = 0; i < BUSY_MS / 10 && cache_index_errno(rc) == -EBUSY; i++) {
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
	r = cache_index_errno(rc);
	if (r == -EBADMSG || rc == SQLITE_ERROR) {
		close_db(x);
		remove_db(path);
		rc = open_patiently(x, path, ret_new);
		r = cache_index_errno(rc);
	}
	/* Who has to make room needs none for this. */
	if (r == -ENOSPC) {
		log_debug("%s: no room for it, kept in memory", path);
		close_db(x);
		rc = open_patiently(x, ":memory:", ret_new);
		r = cache_index_errno(rc);
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

/* ---- for who asks ---------------------------------------------------------------- */

sqlite3_stmt *cache_index_begin(struct cache_index *x,
	enum cache_index_sql which)
{
	pthread_mutex_lock(&x->lock);
	return x->st[which];
}

void cache_index_end(struct cache_index *x, sqlite3_stmt *s, int rc)
{
	bool fresh = false;

	if (s) {
		(void) sqlite3_reset(s);
		(void) sqlite3_clear_bindings(s);
	}
	if (cache_index_errno(rc) == -EBADMSG)
		fresh = renew(x);
	pthread_mutex_unlock(&x->lock);
	if (fresh)
		cache_ref_restore(x->c);
}

int64_t cache_index_sum(int kind, const char *key, const void *value,
	size_t len)
{
	return (int64_t)(map_hash(value, len) ^
		map_hash(key, strlen(key)) * (2 * (unsigned)kind + 3));
}

bool cache_index_sum_right(sqlite3_stmt *s, int kind, const char *key,
	int value)
{
	return sqlite3_column_int64(s, value + 2) == cache_index_sum(kind, key,
		sqlite3_column_blob(s, value),
		(size_t)sqlite3_column_bytes(s, value));
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

		if (!key || !cache_index_sum_right(s,
				sqlite3_column_int(s, 0), key, 2)) {
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
		cache_index_end(x, NULL, rc);
	} while (cache_index_errno(rc) == -EBUSY && cache_index_again(rc, &tries));
	return cache_index_errno(rc);
}
