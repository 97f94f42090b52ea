/*
 * Datasets that do not lie in one piece: in chunks, through filters, in the
 * object's header, or never written. Their bytes are made, in order, in
 * windows: a chunk is read as it lies there and decoded here, because libhdf5
 * 1.10 believes a chunk that unpacks to more or less than it should. The
 * filters are those that h5py and Keras users reach for: deflate, shuffle,
 * fletcher32; others are refused by name.
 *
 * Source: HDF5 File Format Specification 3.0, IV.A.2.l (filter pipeline), and
 * H5_checksum_fletcher32() for the order of its words.
 */
#ifndef STAGE_FORMAT_HDF5_CHUNKS_H
#define STAGE_FORMAT_HDF5_CHUNKS_H

#include "stage/format/hdf5-driver.h"
#include "stage/tensor.h"

#define STAGE_HDF5_CHUNK_MAX (128u << 20)	/* bytes, decoded */
#define STAGE_HDF5_CHUNKS_MAX 1000000		/* of a dataset */
#define STAGE_HDF5_WINDOW (64u << 20)		/* bytes made at once */
#define STAGE_HDF5_AGAIN 16	/* times that a chunk may have to be decoded,
				 * as windows cut it */

/* Where the bytes go. Not 0 ends it. */
struct stage_hdf5_out {
	int (*data)(void *arg, const void *buf, size_t len);
	void *arg;
};

/* Can the bytes of such a dataset be made? t has its type, shape, length.
 * -ENOTSUP, -EFBIG, -EBADMSG. Between enter and leave. */
int stage_hdf5_packed(struct stage_hdf5 *h, hid_t set,
	const struct stage_tensor *t, struct error *why);
/* Make them; all of t->len, if it is 0. Between enter and leave; waits. */
int stage_hdf5_unpack(struct stage_hdf5 *h, hid_t set,
	const struct stage_tensor *t, const struct stage_hdf5_out *out,
	struct error *why);

/* Undo the filters of one chunk of len bytes in `buf`; both buffers have room
 * for the larger of len and max, and STAGE_HDF5_SPARE. mask: bits of filters
 * that were left out. *ret: which of the two has the max bytes. */
#define STAGE_HDF5_SPARE 64
#define STAGE_HDF5_FILTERS 8

struct stage_hdf5_filters {
	unsigned n;
	struct {
		int id;			/* H5Z_FILTER_ */
		unsigned size;		/* shuffle: bytes of an element */
	} v[STAGE_HDF5_FILTERS];	/* in the order of writing */
};

int stage_hdf5_filters(struct stage_hdf5 *h, hid_t made, const char *name,
	struct stage_hdf5_filters *ret, struct error *why);
int stage_hdf5_unfilter(const struct stage_hdf5_filters *f, unsigned mask,
	uint8_t *buf, size_t len, uint8_t *other, size_t max,
	const uint8_t **ret, const char *name, struct error *why);

#endif
