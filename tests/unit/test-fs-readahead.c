/* Reads in, hints out. */
#include "config.h"

#include "fs/readahead.h"
#include "tests/unit/t.h"

#define K 1024ULL
#define M (1024 * K)
#define GIB (1024 * M)

/* Sequential reads of 128 KiB: every byte is asked for once, ahead of the
 * reader, by windows that double up to the largest. */
static void sequential(void)
{
	struct fs_ra ra = { 0 };
	struct fs_ra_hint h;
	uint64_t asked = 0, largest = 0;
	unsigned hints = 0;

	for (uint64_t off = 0; off < GIB; off += 128 * K) {
		if (!fs_ra_touch(&ra, off, 128 * K, GIB, &h)) {
			t_check(off < 128 * K || asked > off + 128 * K ||
				asked == GIB || off + 128 * K == GIB);
			continue;
		}
		hints++;
		if (asked)
			t_int(h.off, asked);
		else
			t_int(h.off, 256 * K);
		t_check(h.off >= off + 128 * K);
		t_check(h.off + h.len <= GIB);
		asked = h.off + h.len;
		if (asked - (off + 128 * K) > largest)
			largest = asked - (off + 128 * K);
	}
	t_int(asked, GIB);
	t_int(largest, FS_RA_WINDOW_MAX);
	t_check(hints < 100);
}

static void at_random(void)
{
	struct fs_ra ra = { 0 };
	struct fs_ra_hint h;
	uint64_t x = 88172645463325252ULL;

	for (int i = 0; i < 10000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		t_check(!fs_ra_touch(&ra, x % (1 << 20) * M, 4 * K,
			1024 * GIB, &h));
	}
}

/* The kernel's reads swap places, and padding is skipped. */
static void untidy(void)
{
	struct fs_ra ra = { 0 };
	struct fs_ra_hint h;
	unsigned hints = 0;

	for (uint64_t off = 0; off < 64 * M; off += 256 * K + 100 * K) {
		hints += fs_ra_touch(&ra, off + 128 * K, 128 * K, GIB, &h);
		hints += fs_ra_touch(&ra, off, 128 * K, GIB, &h);
		hints += fs_ra_touch(&ra, off + 256 * K, 1, GIB, &h);
	}
	t_check(hints >= 6);
}

/* Four readers of one handle at once do not disturb one another. */
static void many_streams(void)
{
	struct fs_ra ra = { 0 };
	struct fs_ra_hint h;
	uint64_t asked[4] = { 0 };

	for (uint64_t off = 0; off < 32 * M; off += 128 * K) {
		for (unsigned i = 0; i < 4; i++) {
			uint64_t base = i * 16 * GIB;

			if (fs_ra_touch(&ra, base + off, 128 * K, 64 * GIB, &h))
				asked[i] = h.off + h.len - base;
		}
	}
	for (unsigned i = 0; i < 4; i++)
		t_check(asked[i] > 32 * M);
}

/* Who reads a MiB at once reads on; who reads pages here and there does not. */
static void large(void)
{
	struct fs_ra ra = { 0 };
	struct fs_ra_hint h;

	t_check(fs_ra_touch(&ra, 0, M, GIB, &h));
	t_int(h.off, M);
	t_int(h.len, 2 * M);
	t_check(fs_ra_touch(&ra, M, M, GIB, &h));
	t_int(h.off, 3 * M);
	t_int(h.len, 3 * M);
	t_check(fs_ra_touch(&ra, 2 * M, M, GIB, &h));
	t_int(h.off, 6 * M);
	t_int(h.len, 3 * M);
	t_check(!fs_ra_touch(&ra, 3 * M, M, GIB, &h));
	t_check(fs_ra_touch(&ra, 600 * M, 512 * K, GIB, &h));
	t_int(h.off, 600 * M + 512 * K);
	t_check(!fs_ra_touch(&ra, 900 * M, 128 * K, GIB, &h));
}

static void near_the_end(void)
{
	struct fs_ra ra = { 0 };
	struct fs_ra_hint h;

	t_check(!fs_ra_touch(&ra, 0, 4 * K, 10 * K, &h));
	t_check(fs_ra_touch(&ra, 4 * K, 4 * K, 10 * K, &h));
	t_int(h.off, 8 * K);
	t_int(h.len, 2 * K);
	t_check(!fs_ra_touch(&ra, 8 * K, 2 * K, 10 * K, &h));
}

int main(void)
{
	sequential();
	at_random();
	untidy();
	many_streams();
	large();
	near_the_end();
	return 0;
}
