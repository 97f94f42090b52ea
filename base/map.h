/* A hash map from strings to pointers (XXH3, open addressing). Not locked. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
	char *key;	/* owned; NULL: free slot */
	void *value;	/* the caller's; never NULL for a key that is set */
};

struct map {
	struct map_slot *slots;
	size_t n;
	size_t room;	/* power of two, or 0 */
};

void *map_get(const struct map *m, const char *key);
/* Replaces; *ret_old (may be NULL as pointer) gets the former value or NULL.
 * -ENOMEM leaves the map as it was. */
int map_put(struct map *m, const char *key, void *value, void **ret_old);
/* Returns the value that was there, or NULL. */
void *map_del(struct map *m, const char *key);
/* Visit all; fn must not change the map. Stops when fn returns not 0. */
int map_each(const struct map *m,
	int (*fn)(void *arg, const char *key, void *value), void *arg);
/* Frees keys and slots, not values. */
void map_done(struct map *m);

/* XXH3-64, for everything internal that is not a promise to others. */
uint64_t map_hash(const void *data, size_t len);

#endif
