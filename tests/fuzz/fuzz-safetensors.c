/*
 * stage_safetensors_read(). What is accepted covers the file from the header
 * to its end.
 */
#include <stdlib.h>
#include <string.h>

#include "stage/format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct stage_weights *w, size_t len)
{
	uint64_t sum = 0, first = len;

	for (size_t i = 0; i < w->n; i++) {
		const struct stage_tensor *t = &w->v[i];

		if (t->off > len || t->len > len - t->off)
			abort();
		sum += t->len;
		if (t->off < first)
			first = t->off;
	}
	if (first + sum != len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stage_weights w = { 0 };
	struct error why = { 0 };
	uint8_t *copy = malloc(len + 1);
	struct src *s;
	int err;

	memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	(void) stage_weights_file(&w, "m.safetensors", len);
	err = stage_safetensors_read(s, 0, &w, &why);
	if (!err && w.n)
		check(&w, len);
	if (err && why.code != err)
		abort();
	(void) stage_weights_sort(&w, NULL);
	stage_weights_done(&w);
	src_unref(s);
	return 0;
}
