/*
 * The index's file and its connection, for cache/index.c: the statements are
 * prepared once, and used under the lock.
 */
#ifndef CACHE_INDEX_DB_H
#define CACHE_INDEX_DB_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cache;

/* What is asked; in index-db.c the words. */
enum cache_index_sql {
	CACHE_S_GET, CACHE_S_PUT, CACHE_S_DEL, CACHE_S_EACH, CACHE_S_USED,
	CACHE_S_USE, CACHE_S_UNUSE, CACHE_S_FGET, CACHE_S_FPUT, CACHE_S_N
};

struct cache_index {
	pthread_mutex_t lock;
	char *path;
	struct cache *c;		/* to be told of pins when it is new */
	ino_t ino;			/* lock; of the file that db is */
	unsigned renewals;		/* lock */
	sqlite3 *db;			/* lock */
	sqlite3_stmt *st[CACHE_S_N];	/* lock; prepared at open */
};

/* Of what SQLite answers; 0 also for a row, and for there being none. */
int cache_index_errno(int rc);

/* Locks; the statement has nothing bound. NULL (which SQLite answers with an
 * error): it could not be opened again. */
sqlite3_stmt *cache_index_begin(struct cache_index *x,
	enum cache_index_sql which);
/* Unlocks. When rc says that it is no database any more, it is made anew. s may
 * be NULL. */
void cache_index_end(struct cache_index *x, sqlite3_stmt *s, int rc);
/* One more try of a write? Called without the lock; waits. */
bool cache_index_again(int rc, unsigned *tries);

/* Of a fact, kept beside it: what the disk has changed is not known any more. */
int64_t cache_index_sum(int kind, const char *key, const void *value,
	size_t len);
/* Is it right in this row? `value` is that column; `at` and the sum follow. */
bool cache_index_sum_right(sqlite3_stmt *s, int kind, const char *key,
	int value);

#endif
