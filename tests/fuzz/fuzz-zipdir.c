/*
 * The zip directory, and the checkpoint in it. Members that are accepted do
 * not overlap, stand in order of their names, and their bytes can be found.
 */
#include <stdlib.h>
#include <string.h>

#include "stage/format/torch.h"
#include "stage/format/zipdir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(struct src *s, const struct stage_zip *z)
{
	struct stage_window w;

	if (stage_window_init(&w, s, 4096))
		abort();
	for (size_t i = 0; i < z->n; i++) {
		const struct stage_zip_member *m = &z->v[i];
		uint8_t *data;
		uint64_t off;

		if (stage_zip_find(z, m->name) != m || m->end > z->dir_off ||
			m->packed > m->end - m->header ||
			(i && strcmp(z->v[i - 1].name, m->name) >= 0))
			abort();
		if (!stage_zip_data(&w, m, &off, NULL) &&
			(off > m->end || m->packed > m->end - off))
			abort();
		if (!stage_zip_member_read(&w, m, 10000, &data, NULL))
			free(data);
	}
	stage_window_done(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stage_weights weights = { 0 };
	struct stage_zip z = { 0 };
	struct error why = { 0 };
	uint8_t *copy = malloc(len + 1);
	struct src *s;
	int err;

	memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	if (!stage_zip_read(s, &z, NULL))
		check(s, &z);
	stage_zip_done(&z);
	(void) stage_weights_file(&weights, "m.bin", len);
	err = stage_torch_read(s, 0, &weights, &why);
	if (err && why.code != err)
		abort();
	for (size_t i = 0; !err && i < weights.n; i++)
		if (weights.v[i].off > len ||
			weights.v[i].len > len - weights.v[i].off)
			abort();
	stage_weights_done(&weights);
	src_unref(s);
	return 0;
}
