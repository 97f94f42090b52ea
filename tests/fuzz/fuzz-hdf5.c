/*
 * HDF5: whatever is accepted lies in the file, and an error has its reason.
 * Attributes are left out: libhdf5 1.10 believes the length that a string of
 * its own length tells (stage/format/hdf5.h).
 */
#include <stdlib.h>
#include <string.h>

#include "stage/format/hdf5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stage_weights w = { 0 };
	struct stage_hdf5 *h = NULL;
	struct error why = { 0 };
	uint8_t *copy = malloc(len + 1);
	struct src *s;
	int err;

	memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	(void) stage_weights_file(&w, "m.h5", len);
	err = stage_hdf5_open(s, &h, &why);
	if (!err)
		err = stage_hdf5_tensors(h, "", 0, &w, &why);
	if (err && why.code != err)
		abort();
	for (size_t i = 0; !err && i < w.n; i++)
		if (w.v[i].off > len || w.v[i].len > len - w.v[i].off)
			abort();
	stage_hdf5_close(h);
	stage_weights_done(&w);
	src_unref(s);
	return 0;
}
