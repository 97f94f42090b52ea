/* What a chunk went through on its way into the file, backwards. */
#include "config.h"

#include "stage/format/hdf5-chunks.h"

#include <ctype.h>
#include <string.h>
#include <zlib.h>

#define SUM_LEN 4	/* bytes of a check sum */

/* ---- which they are ---------------------------------------------------------- */

static int refuse(const char *name, int id, char *filter, struct error *why)
{
	static const char *const known[] = { [H5Z_FILTER_SZIP] = "szip",
		[H5Z_FILTER_NBIT] = "nbit",
		[H5Z_FILTER_SCALEOFFSET] = "scaleoffset" };

	if (id > 0 && (size_t)id < sizeof(known) / sizeof(known[0]) &&
	    known[id])
		return error_set(why, -ENOTSUP, "%s: the filter %s is not "
			"handled", name, known[id]);
	for (char *p = filter; *p; p++)
		*p = isprint((unsigned char)*p) ? *p : '?';
	return error_set(why, -ENOTSUP, "%s: the filter %d (%s) is not "
		"handled", name, id, *filter ? filter : "without a name");
}

int stage_hdf5_filters(struct stage_hdf5 *h, hid_t made, const char *name,
	struct stage_hdf5_filters *ret, struct error *why)
{
	int n = H5Pget_nfilters(made);

	if (n < 0)
		return stage_hdf5_fail(h, name, why);
	if (n > STAGE_HDF5_FILTERS)
		return error_set(why, -ENOTSUP, "%s: over %d filters", name,
			STAGE_HDF5_FILTERS);
	ret->n = (unsigned)n;
	for (unsigned i = 0; i < ret->n; i++) {
		unsigned flags = 0, config = 0, values[4] = { 0 };
		size_t n_values = 4;
		char filter[64] = "";
		int id = H5Pget_filter2(made, i, &flags, &n_values, values,
			sizeof(filter), filter, &config);

		if (id < 0)
			return stage_hdf5_fail(h, name, why);
		filter[sizeof(filter) - 1] = '\0';
		if (id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_SHUFFLE &&
		    id != H5Z_FILTER_FLETCHER32)
			return refuse(name, id, filter, why);
		if (id == H5Z_FILTER_SHUFFLE && (!n_values || !values[0]))
			return error_set(why, -EBADMSG, "%s: a shuffle of "
				"elements without size", name);
		ret->v[i].id = id;
		ret->v[i].size = values[0];
	}
	return 0;
}

/* ---- undoing them ------------------------------------------------------------ */

static int inflate_chunk(const uint8_t *from, size_t *len, uint8_t *to,
	size_t room, const char *name, struct error *why)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)from,
		.avail_in = (uInt)*len, .next_out = to,
		.avail_out = (uInt)room };
	size_t got;
	int r;

	if (inflateInit(&z) != Z_OK)
		return -ENOMEM;
	r = inflate(&z, Z_FINISH);
	got = room - z.avail_out;
	(void) inflateEnd(&z);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_STREAM_END)
		return error_set(why, -EBADMSG, "%s: a chunk of it %s", name,
			got == room ? "unpacks to more than it holds" :
			"is damaged or cut short");
	*len = got;
	return 0;
}

/* First all first bytes, then all second ones, …; what makes no element
 * stays behind. */
static void unshuffle(const uint8_t *from, size_t len, uint8_t *to,
	size_t size)
{
	size_t n = len / size;

	for (size_t b = 0; b < size; b++)
		for (size_t i = 0; i < n; i++)
			to[i * size + b] = from[b * n + i];
	memcpy(to + n * size, from + n * size, len - n * size);
}

static uint32_t fold(uint32_t sum)
{
	return (sum & 0xffff) + (sum >> 16);
}

static uint32_t fletcher32(const uint8_t *p, size_t len)
{
	uint32_t a = 0, b = 0;
	size_t words = len / 2;

	while (words) {
		size_t n = words < 360 ? words : 360;

		for (words -= n; n; n--, p += 2) {
			a += (uint32_t)p[0] << 8 | p[1];
			b += a;
		}
		a = fold(a);
		b = fold(b);
	}
	if (len % 2) {
		a = a + ((uint32_t)*p << 8);
		b = fold(b + a);
		a = fold(a);
	}
	return fold(b) << 16 | fold(a);
}

static int check_sum(const uint8_t *p, size_t *len, const char *name,
	struct error *why)
{
	uint32_t stored = 0;

	if (*len < SUM_LEN)
		return error_set(why, -EBADMSG, "%s: a chunk of it is cut "
			"short", name);
	*len -= SUM_LEN;
	for (unsigned i = 0; i < SUM_LEN; i++)
		stored |= (uint32_t)p[*len + i] << (8 * i);
	return stored == fletcher32(p, *len) ? 0 : error_set(why, -EBADMSG,
		"%s: the check sum of a chunk is wrong", name);
}

int stage_hdf5_unfilter(const struct stage_hdf5_filters *f, unsigned mask,
	uint8_t *buf, size_t len, uint8_t *other, size_t max,
	const uint8_t **ret, const char *name, struct error *why)
{
	int err = 0;

	for (unsigned i = f->n; i-- && !err;) {
		uint8_t *from = buf;

		if (mask >> i & 1)
			continue;
		if (f->v[i].id == H5Z_FILTER_FLETCHER32) {
			err = check_sum(buf, &len, name, why);
			continue;
		}
		if (f->v[i].id == H5Z_FILTER_DEFLATE)
			err = inflate_chunk(from, &len, other, max +
				STAGE_HDF5_SPARE, name, why);
		else if (f->v[i].size > 1)
			unshuffle(from, len, other, f->v[i].size);
		else
			continue;
		buf = other;
		other = from;
	}
	if (!err && len != max)
		err = error_set(why, -EBADMSG, "%s: a chunk of it has %zu "
			"bytes instead of %zu", name, len, max);
	if (!err)
		*ret = buf;
	return err;
}
