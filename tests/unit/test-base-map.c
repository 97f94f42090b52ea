/* The map against a plain array, with many keys and deletions. */
#include "config.h"

#include "base/map.h"
#include "tests/unit/t.h"

#define KEYS 500

static int count(void *arg, const char *key, void *value)
{
	t_check(key && value);
	++*(size_t *)arg;
	return 0;
}

static int stop(void *arg, const char *key, void *value)
{
	(void) key;
	(void) value;
	return ++*(int *)arg == 3 ? 42 : 0;
}

int main(void)
{
	static int values[KEYS];
	void *want[KEYS] = { NULL };
	struct map m = { 0 };
	uint32_t state = 1;
	size_t n = 0, seen = 0;
	int calls = 0;
	void *old = values;

	t_check(!map_get(&m, "x"));
	t_check(!map_del(&m, "x"));
	for (int step = 0; step < 200000; step++) {
		char key[16];
		unsigned i;

		state = state * 1664525 + 1013904223;
		i = (state >> 8) % KEYS;
		(void) snprintf(key, sizeof(key), "key-%u", i);
		t_check(map_get(&m, key) == want[i]);
		if (state >> 31) {
			t_int(map_put(&m, key, &values[step % KEYS], &old), 0);
			t_check(old == want[i]);
			n += !want[i];
			want[i] = &values[step % KEYS];
		} else {
			t_check(map_del(&m, key) == want[i]);
			n -= want[i] != NULL;
			want[i] = NULL;
		}
		t_int(m.n, n);
	}
	t_int(map_each(&m, count, &seen), 0);
	t_int(seen, n);
	t_int(map_each(&m, stop, &calls), 42);
	t_int(map_put(&m, "", values, NULL), 0);
	t_check(map_get(&m, "") == values);
	map_done(&m);
	t_check(!map_get(&m, ""));
	/* XXH3-64 of nothing, from the reference implementation's sanity
	 * checks. */
	t_check(map_hash("", 0) == 0x2d06800538d394c2ULL);
	return 0;
}
