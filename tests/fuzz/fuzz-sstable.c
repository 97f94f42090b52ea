/*
 * stage_sstable_read(). Keys come in rising order. As most changed inputs would
 * end at a checksum, those of the index and of a block before it are made
 * right first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "stage/format/sstable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct seen {
	uint8_t key[256];
	size_t len;
	int any;
};

static int entry(void *arg, const struct stage_sstable_entry *e,
	struct error *why)
{
	struct seen *s = arg;
	size_t n = e->key_len < sizeof(s->key) ? e->key_len : sizeof(s->key);
	size_t m = n < s->len ? n : s->len;
	int c = m ? memcmp(s->key, e->key, m) : 0;

	(void) why;
	if (s->any && (c > 0 || (!c && s->len > n)))
		abort();
	if (n)
		memcpy(s->key, e->key, n);
	s->len = n;
	s->any = 1;
	/* Every byte of a value can be read. */
	return e->value_len && e->value[e->value_len - 1] == 0xa5 &&
		e->value[0] == 0xa5 ? -ECANCELED : 0;
}

/* A right sum behind the block of this handle. */
static void mend(uint8_t *copy, size_t len, uint64_t off, uint64_t n)
{
	uint32_t sum;

	if (!size_inside(off, n, len) || len - off - n < 5)
		return;
	sum = stage_crc32c_masked(copy + off, (size_t)n + 1);
	for (int i = 0; i < 4; i++)
		copy[off + n + 1 + i] = (uint8_t)(sum >> 8 * i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	struct seen seen = { .len = 0 };
	struct error why = { 0 };
	struct bytes footer;
	struct src *s;
	uint64_t off;
	int err;

	memcpy(copy, data, len);
	if (len > 48) {
		footer = bytes_of(copy + len - 48, 40);
		(void) bytes_varint(&footer);
		(void) bytes_varint(&footer);
		off = bytes_varint(&footer);
		mend(copy, len, 0, off > 5 ? off - 5 : 0);
		mend(copy, len, off, bytes_varint(&footer));
	}
	s = src_from_memory(copy, len);
	err = stage_sstable_read(s, entry, &seen, &why);
	if (err && err != -ECANCELED && why.code != err)
		abort();
	src_unref(s);
	return 0;
}
