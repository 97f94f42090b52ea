/* The end of a file that only passes through is given to nobody before its
 * digest is decided, whenever he asks. */
#include "config.h"

#include <errno.h>
#include <sched.h>

#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (4 * MIB + 300000)
#define ROUNDS 20
#define READS 20000	/* of the last byte, in one round */

static struct {
	struct src_read read;
	uint8_t byte;
} reads[READS];

static atomic_uint given, refused;

static void answered(struct src_read *read, int err)
{
	(void) read;
	atomic_fetch_add(err ? &refused : &given, 1);
}

/* The blocks are on their way, and the end is asked for all the while. */
static void ask(struct src *s)
{
	unsigned n;

	atomic_store(&given, 0);
	atomic_store(&refused, 0);
	src_hint(s, 0, SIZE);
	for (n = 0; n < READS && !atomic_load(&refused); n++) {
		int r;

		reads[n].read = (struct src_read){ .off = SIZE - 1, .len = 1,
			.buf = &reads[n].byte, .done = answered };
		r = src_read(s, &reads[n].read);
		if (r != -EINPROGRESS)
			answered(&reads[n].read, r);
	}
	while (atomic_load(&given) + atomic_load(&refused) < n)
		(void) sched_yield();
}

static void test_wrong_end(struct cache *c, struct src *up,
	const struct cache_name *n)
{
	struct error why;
	struct src *s;

	for (unsigned i = 0; i < ROUNDS; i++) {
		t_int(cache_src_open(c, n, up, &s, &why), 0);
		ask(s);
		t_int(atomic_load(&given), 0);
		src_unref(s);
	}
}

static void test_right_end(struct cache *c, struct src *up,
	const struct cache_name *n, const uint8_t *bytes)
{
	struct src_stat st;
	struct error why;
	struct src *s;

	for (unsigned i = 0; i < ROUNDS; i++) {
		t_int(cache_src_open(c, n, up, &s, &why), 0);
		src_hint(s, 0, SIZE);
		t_expect(s, bytes, SIZE - 1, 1);
		src_stat(s, &st);
		t_check(st.passes && st.passed_right);
		src_unref(s);
	}
}

int main(void)
{
	uint8_t *bytes = upstream_bytes(SIZE, 1);
	struct src *up = src_from_memory(bytes, SIZE);
	char *dir = upstream_dir("pass");
	struct cache *c = t_open_cache(dir, MIB);
	struct cache_name right = t_name_of("right", bytes, SIZE,
		OBJID_SHA256);
	struct cache_name wrong;

	test_right_end(c, up, &right, bytes);
	bytes[0] ^= 1;	/* another file, and then not quite */
	wrong = t_name_of("wrong", bytes, SIZE, OBJID_SHA256);
	bytes[SIZE - 1] ^= 1;
	test_wrong_end(c, up, &wrong);
	src_unref(up);
	cache_close(c);
	free(dir);
	return 0;
}
