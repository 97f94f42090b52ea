/*
 * Linear probing; a deletion moves the rest of its run back, so that there
 * are no tombstones and a look-up ends at the first free slot.
 */
#include "config.h"

#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FIRST_ROOM 16

uint64_t map_hash(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

static size_t home_of(const char *key, size_t room)
{
	return (size_t)map_hash(key, strlen(key)) & (room - 1);
}

/* The slot of the key, or the free one where it belongs. room > n. */
static struct map_slot *slot_of(struct map_slot *slots, size_t room,
	const char *key)
{
	size_t i = home_of(key, room);

	while (slots[i].key && strcmp(slots[i].key, key))
		i = (i + 1) & (room - 1);
	return &slots[i];
}

void *map_get(const struct map *m, const char *key)
{
	return m->n ? slot_of(m->slots, m->room, key)->value : NULL;
}

static int grow(struct map *m)
{
	size_t room = m->room ? m->room * 2 : FIRST_ROOM;
	struct map_slot *slots = calloc(room, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->room; i++)
		if (m->slots[i].key)
			*slot_of(slots, room, m->slots[i].key) = m->slots[i];
	free(m->slots);
	m->slots = slots;
	m->room = room;
	return 0;
}

int map_put(struct map *m, const char *key, void *value, void **ret_old)
{
	struct map_slot *s = m->n ? slot_of(m->slots, m->room, key) : NULL;

	if (!s || !s->key) {
		char *copy = strdup(key);

		if (!copy)
			return -ENOMEM;
		/* At most 3/4 full. */
		if ((m->n + 1) * 4 > m->room * 3 && grow(m)) {
			free(copy);
			return -ENOMEM;
		}
		s = slot_of(m->slots, m->room, key);
		s->key = copy;
		m->n++;
	}
	if (ret_old)
		*ret_old = s->value;
	s->value = value;
	return 0;
}

void *map_del(struct map *m, const char *key)
{
	struct map_slot *s = m->n ? slot_of(m->slots, m->room, key) : NULL;
	size_t mask = m->room - 1;
	size_t hole, i;
	void *value;

	if (!s || !s->key)
		return NULL;
	value = s->value;
	free(s->key);
	hole = (size_t)(s - m->slots);
	for (i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
		size_t home = home_of(m->slots[i].key, m->room);

		/* May it move back to the hole without passing its home? */
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole] = (struct map_slot){ NULL, NULL };
	m->n--;
	return value;
}

int map_each(const struct map *m,
	int (*fn)(void *arg, const char *key, void *value), void *arg)
{
	for (size_t i = 0; i < m->room; i++) {
		int r;

		if (!m->slots[i].key)
			continue;
		r = fn(arg, m->slots[i].key, m->slots[i].value);
		if (r)
			return r;
	}
	return 0;
}

void map_done(struct map *m)
{
	for (size_t i = 0; i < m->room; i++)
		free(m->slots[i].key);
	free(m->slots);
	*m = (struct map){ NULL, 0, 0 };
}
