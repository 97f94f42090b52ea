/*
 * stage_recipe_parse(). The hash at the end is made right first, or nothing
 * would be seen of what follows it. What is accepted passes its own check,
 * writes the bytes it was read from, and can be read through.
 */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define READ_MAX 65536

static void check_src(struct stage_recipe *r)
{
	unsigned n = stage_recipe_sources(r);
	struct src **v = calloc(n + 1, sizeof(*v)), *s = NULL;
	uint8_t *buf = malloc(READ_MAX);
	struct iovec iov[64];
	size_t len;
	bool small = true;

	for (unsigned i = 0; i < n; i++)
		small = small && stage_recipe_source_size(r, i) < 1 << 20;
	for (unsigned i = 0; small && i < n; i++) {
		uint64_t size = stage_recipe_source_size(r, i);

		v[i] = src_from_memory(calloc(1, size + 1), size);
	}
	if (small && stage_recipe_src(r, v, &s, NULL))
		abort();
	if (s) {
		len = s->size < READ_MAX ? (size_t)s->size : READ_MAX;
		if (src_read_wait(s, s->size - len, buf, len))
			abort();
		(void) src_peek(s, 0, len, iov, 64);
		(void) src_present(s, 0, s->size);
	}
	src_unref(s);
	for (unsigned i = 0; i < n; i++)
		src_unref(v[i]);
	free(v);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf b = BUF_INIT(1 << 24);
	struct stage_recipe *r = NULL;
	struct error why = { 0 };
	uint8_t *copy;
	uint64_t hash;
	int err;

	if (len < 8)
		return 0;
	copy = malloc(len);
	memcpy(copy, data, len);
	hash = map_hash(copy, len - 8);
	for (unsigned i = 0; i < 8; i++)
		copy[len - 8 + i] = (uint8_t)(hash >> (8 * i));
	err = stage_recipe_parse(copy, len, &r, &why);
	if (!err) {
		if (stage_recipe_check(r, NULL) ||
			stage_recipe_write(r, &b) || b.len != len ||
			memcmp(b.data, copy, len))
			abort();
		check_src(r);
	} else if (r || why.code != err) {
		abort();
	}
	stage_recipe_unref(r);
	buf_done(&b);
	free(copy);
	return 0;
}
