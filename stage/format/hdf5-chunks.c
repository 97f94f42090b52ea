/*
 * A window is some indices of one axis, with all of the axes behind it and one
 * index of each before it; so windows follow each other in the tensor's order
 * while the chunks they meet are a box in the grid of chunks. The axis is the
 * first whose single index fits a window, and a window ends with a chunk
 * unless the chunk itself is too long.
 */
#include "config.h"

#include "stage/format/hdf5-chunks.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define WINDOW_FEW (1u << 20)	/* bytes: smaller ones are joined */
#define COMPACT_MAX (64u << 10)	/* what fits an object's header */

struct unpacking {
	struct stage_hdf5 *h;
	hid_t set;
	const struct stage_tensor *t;
	const struct stage_hdf5_out *out;
	struct error *why;

	H5D_layout_t layout;
	unsigned esize;			/* bytes of an element */
	uint8_t fill[8];		/* one element, esize bytes */
	bool fill_known;
	/* in chunks: */
	hsize_t chunk[STAGE_RANK_MAX];	/* elements */
	size_t chunk_len;		/* bytes, decoded */
	size_t raw_max;			/* bytes that one may have in the file */
	struct stage_hdf5_filters filters;
	bool edges_plain;		/* those over the edge are unfiltered */
	bool stored;			/* any chunk was written */
	unsigned axis;
	hsize_t row;			/* bytes of an index of the axis */
	hsize_t rows;			/* indices of a window */
	uint8_t *buf[2];		/* raw_max bytes each */
	uint8_t *window;
	const uint8_t *at;		/* the decoded chunk; NULL: of fill */
	hsize_t last[STAGE_RANK_MAX];	/* where it begins */
	bool any;			/* there is such a last one */
};

/* ---- what it is ---------------------------------------------------------------- */

static int read_fill(struct unpacking *x, hid_t made)
{
	H5D_fill_value_t how = H5D_FILL_VALUE_UNDEFINED;
	hid_t type;
	herr_t r;

	if (H5Pfill_value_defined(made, &how) < 0)
		return stage_hdf5_fail(x->h, x->t->name, x->why);
	x->fill_known = how != H5D_FILL_VALUE_UNDEFINED;
	if (how != H5D_FILL_VALUE_USER_DEFINED)
		return 0;
	type = H5Dget_type(x->set);
	r = type < 0 ? -1 : H5Pget_fill_value(made, type, x->fill);
	if (type >= 0)
		(void) H5Tclose(type);
	return r < 0 ? stage_hdf5_fail(x->h, x->t->name, x->why) : 0;
}

/* Axis and length of windows. */
static void cut(struct unpacking *x)
{
	const struct stage_tensor *t = x->t;
	hsize_t most, few;

	x->axis = t->rank;
	x->row = x->esize;
	for (unsigned k = t->rank; k--;) {
		hsize_t row = k + 1 < t->rank ? x->row * t->dim[k + 1] :
			x->esize;

		if (row > STAGE_HDF5_WINDOW)
			break;
		x->axis = k;
		x->row = row;
	}
	most = STAGE_HDF5_WINDOW / x->row;
	few = WINDOW_FEW / x->row / x->chunk[x->axis];
	x->rows = most < x->chunk[x->axis] ? most :
		x->chunk[x->axis] * (few ? few : 1);
	if (x->rows > t->dim[x->axis])
		x->rows = t->dim[x->axis];
}

/* How often windows cut a chunk. */
static int check_cuts(const struct unpacking *x)
{
	const struct stage_tensor *t = x->t;
	uint64_t times = 1, grid = 1;

	for (unsigned k = 0; k < t->rank; k++) {
		hsize_t c = x->chunk[k] < t->dim[k] ? x->chunk[k] : t->dim[k];

		if (size_mul(grid, (t->dim[k] - 1) / x->chunk[k] + 1, &grid) ||
		    grid > STAGE_HDF5_CHUNKS_MAX)
			return error_set(x->why, -EFBIG, "%s: over %u chunks",
				t->name, STAGE_HDF5_CHUNKS_MAX);
		if (k < x->axis && size_mul(times, c, &times))
			return -EFBIG;
		if (k == x->axis && c > x->rows &&
		    size_mul(times, c / x->rows + 2, &times))
			return -EFBIG;
	}
	return times <= STAGE_HDF5_AGAIN || grid == 1 ? 0 : error_set(x->why,
		-EFBIG, "%s: its chunks lie too far across it", t->name);
}

static int read_chunking(struct unpacking *x, hid_t made)
{
	const struct stage_tensor *t = x->t;
	unsigned opts = 0;
	int rank = H5Pget_chunk(made, STAGE_RANK_MAX, x->chunk);
	uint64_t len = x->esize;

	if (rank < 0 || H5Pget_chunk_opts(made, &opts) < 0)
		return stage_hdf5_fail(x->h, t->name, x->why);
	if ((unsigned)rank != t->rank || !rank)
		return error_set(x->why, -EBADMSG, "%s: its chunks have %d "
			"dimensions", t->name, rank);
	for (int k = 0; k < rank; k++)
		if (!x->chunk[k] || size_mul(len, x->chunk[k], &len) ||
		    len > STAGE_HDF5_CHUNK_MAX)
			return error_set(x->why, -EFBIG, "%s: a chunk of over "
				"%u MiB", t->name, STAGE_HDF5_CHUNK_MAX >> 20);
	x->chunk_len = (size_t)len;
	x->raw_max = x->chunk_len + x->chunk_len / 64 + 4096;
	x->edges_plain = opts & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS;
	x->stored = H5Dget_storage_size(x->set) > 0;
	cut(x);
	return check_cuts(x);
}

static int describe(struct unpacking *x, hid_t made)
{
	const char *name = x->t->name;
	int err = read_fill(x, made);

	x->layout = H5Pget_layout(made);
	if (!err && H5Pget_external_count(made))
		err = error_set(x->why, -ENOTSUP, "%s: its data are in another "
			"file", name);
	if (!err)
		err = stage_hdf5_filters(x->h, made, name, &x->filters, x->why);
	if (err)
		return err;
	switch (x->layout) {
	case H5D_CHUNKED:
		return read_chunking(x, made);
	case H5D_COMPACT:
		if (H5Dget_storage_size(x->set) != x->t->len ||
		    x->t->len > COMPACT_MAX)
			return error_set(x->why, -EBADMSG, "%s: its data are "
				"not of its size", name);
		return 0;
	case H5D_CONTIGUOUS:
		if (!x->filters.n && H5Dget_offset(x->set) == HADDR_UNDEF)
			return 0;
		return error_set(x->why, -EBADMSG, "%s: filters without "
			"chunks", name);
	default:
		return error_set(x->why, -ENOTSUP, "%s: its data are %s", name,
			x->layout == H5D_VIRTUAL ? "in other datasets" :
			"of a layout that is not known");
	}
}

static int start(struct unpacking *x, struct stage_hdf5 *h, hid_t set,
	const struct stage_tensor *t, struct error *why)
{
	hid_t made = H5Dget_create_plist(set);
	int err;

	x->h = h;
	x->set = set;
	x->t = t;
	x->why = why;
	x->esize = stage_dtype_size(t->dtype);
	if (made < 0)
		return stage_hdf5_fail(h, t->name, why);
	err = describe(x, made);
	(void) H5Pclose(made);
	return err;
}

int stage_hdf5_packed(struct stage_hdf5 *h, hid_t set,
	const struct stage_tensor *t, struct error *why)
{
	struct unpacking x = { 0 };

	return start(&x, h, set, t, why);
}

/* ---- a chunk ------------------------------------------------------------------- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *arg)
{
	(void) n;
	*(const char **)arg = e->desc;
	return 1;
}

/* libhdf5 has no other way to say that a chunk was never written. */
static bool never_written(const struct stage_hdf5 *h)
{
	const char *desc = NULL;

	(void) H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost,
		(void *)&desc);
	return !h->source.err && desc &&
		!strcmp(desc, "chunk storage is not allocated");
}

/* *ret: bytes it has in the file; 0: none. */
static int stored_size(struct unpacking *x, const hsize_t *at, size_t *ret)
{
	hsize_t n = 0;

	*ret = 0;
	if (!x->stored)
		return 0;
	if (H5Dget_chunk_storage_size(x->set, at, &n) < 0) {
		if (!never_written(x->h))
			return stage_hdf5_fail(x->h, x->t->name, x->why);
		(void) H5Eclear2(H5E_DEFAULT);
		return 0;
	}
	if (n > x->raw_max)
		return error_set(x->why, -EBADMSG, "%s: a chunk of it says to "
			"have %llu bytes", x->t->name, (unsigned long long)n);
	*ret = (size_t)n;
	return 0;
}

static bool over_the_edge(const struct unpacking *x, const hsize_t *at)
{
	for (unsigned k = 0; k < x->t->rank; k++)
		if (at[k] + x->chunk[k] > x->t->dim[k])
			return true;
	return false;
}

static int read_raw(struct unpacking *x, const hsize_t *at, size_t len,
	uint32_t *ret_mask)
{
	struct stage_hdf5_source *s = &x->h->source;
	herr_t r;

	s->limit_at = x->buf[0];
	s->limit = len;
	r = H5Dread_chunk(x->set, H5P_DEFAULT, at, ret_mask, x->buf[0]);
	s->limit_at = NULL;
	return r < 0 ? stage_hdf5_fail(x->h, x->t->name, x->why) : 0;
}

/* x->at: the chunk that begins there. */
static int load(struct unpacking *x, const hsize_t *at)
{
	uint32_t mask = 0;
	size_t len;
	int err;

	if (x->any && !memcmp(x->last, at, x->t->rank * sizeof(*at)))
		return 0;
	x->any = false;
	x->at = NULL;
	err = stored_size(x, at, &len);
	if (!err && !len && !x->fill_known)
		err = error_set(x->why, -EBADMSG, "%s: a part of it was never "
			"written", x->t->name);
	if (!err && len)
		err = read_raw(x, at, len, &mask);
	if (!err && len && x->edges_plain && over_the_edge(x, at))
		mask = UINT32_MAX;
	if (!err && len)
		err = stage_hdf5_unfilter(&x->filters, mask, x->buf[0], len,
			x->buf[1], x->chunk_len, &x->at, x->t->name, x->why);
	if (err)
		return err;
	memcpy(x->last, at, x->t->rank * sizeof(*at));
	x->any = true;
	return 0;
}

/* ---- a window ------------------------------------------------------------------ */

struct box {
	hsize_t lo[STAGE_RANK_MAX], hi[STAGE_RANK_MAX];	/* elements */
};

/* The next of a box in steps; false: that was the last. */
static bool step(hsize_t *at, const struct box *b, const hsize_t *by,
	unsigned rank)
{
	for (unsigned k = rank; k--;) {
		at[k] += by ? by[k] : 1;
		if (at[k] < b->hi[k])
			return true;
		at[k] = b->lo[k];
	}
	return false;
}

static void fill(const struct unpacking *x, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		memcpy(to + i * x->esize, x->fill, x->esize);
}

/* What of the chunk at `from` is in the window, into it: a run along the last
 * axis at a time. */
static void place(struct unpacking *x, const struct box *w,
	const hsize_t *from)
{
	const struct stage_tensor *t = x->t;
	unsigned rank = t->rank, last = rank - 1;
	hsize_t at[STAGE_RANK_MAX], n;
	struct box b;

	for (unsigned k = 0; k < rank; k++) {
		hsize_t end = from[k] + x->chunk[k];

		b.lo[k] = w->lo[k] > from[k] ? w->lo[k] : from[k];
		b.hi[k] = w->hi[k] < end ? w->hi[k] : end;
		at[k] = b.lo[k];
	}
	n = b.hi[last] - b.lo[last];
	do {
		hsize_t in = 0, out = 0;

		for (unsigned k = 0; k < rank; k++) {
			in = in * x->chunk[k] + at[k] - from[k];
			out = out * (w->hi[k] - w->lo[k]) + at[k] - w->lo[k];
		}
		if (x->at)
			memcpy(x->window + out * x->esize, x->at +
				in * x->esize, (size_t)n * x->esize);
		else
			fill(x, x->window + out * x->esize, (size_t)n);
	} while (step(at, &b, NULL, last));
}

static int make_window(struct unpacking *x, const struct box *w)
{
	hsize_t at[STAGE_RANK_MAX];
	uint64_t len = x->esize;
	struct box grid = *w;
	int err = 0;

	for (unsigned k = 0; k < x->t->rank; k++) {
		grid.lo[k] -= grid.lo[k] % x->chunk[k];
		at[k] = grid.lo[k];
		len *= w->hi[k] - w->lo[k];
	}
	do {
		err = load(x, at);
		if (!err)
			place(x, w, at);
	} while (!err && step(at, &grid, x->chunk, x->t->rank));
	return err ? err : x->out->data(x->out->arg, x->window, (size_t)len);
}

static int make_windows(struct unpacking *x)
{
	const struct stage_tensor *t = x->t;
	hsize_t at[STAGE_RANK_MAX] = { 0 };
	struct box all = { { 0 }, { 0 } }, w;
	int err = 0;

	for (unsigned k = 0; k < t->rank; k++)
		all.hi[k] = t->dim[k];
	do {
		for (unsigned k = 0; k < t->rank; k++) {
			w.lo[k] = at[k];
			w.hi[k] = k < x->axis ? at[k] + 1 : t->dim[k];
		}
		for (hsize_t i = 0; i < t->dim[x->axis] && !err; i += x->rows) {
			w.lo[x->axis] = i;
			w.hi[x->axis] = t->dim[x->axis] - i < x->rows ?
				t->dim[x->axis] : i + x->rows;
			err = make_window(x, &w);
		}
	} while (!err && step(at, &all, NULL, x->axis));
	return err;
}

static int unpack_chunks(struct unpacking *x)
{
	int err;

	x->buf[0] = malloc(x->raw_max + STAGE_HDF5_SPARE);
	x->buf[1] = malloc(x->raw_max + STAGE_HDF5_SPARE);
	x->window = malloc((size_t)(x->rows * x->row));
	err = x->buf[0] && x->buf[1] && x->window ? make_windows(x) : -ENOMEM;
	free(x->buf[0]);
	free(x->buf[1]);
	free(x->window);
	return err;
}

/* ---- the others ---------------------------------------------------------------- */

static int unpack_compact(struct unpacking *x)
{
	hid_t type = H5Dget_type(x->set);
	uint8_t *buf = malloc((size_t)x->t->len);
	herr_t r = type >= 0 && buf ? H5Dread(x->set, type, H5S_ALL, H5S_ALL,
		H5P_DEFAULT, buf) : -1;
	int err = r < 0 ? stage_hdf5_fail(x->h, x->t->name, x->why) :
		x->out->data(x->out->arg, buf, (size_t)x->t->len);

	if (type >= 0)
		(void) H5Tclose(type);
	free(buf);
	return err;
}

static int unpack_nothing(struct unpacking *x)
{
	uint64_t left = x->t->len;
	uint8_t *buf;
	int err = 0;

	if (!x->fill_known)
		return error_set(x->why, -EBADMSG, "%s was never written",
			x->t->name);
	buf = malloc(WINDOW_FEW);
	if (!buf)
		return -ENOMEM;
	fill(x, buf, WINDOW_FEW / x->esize);
	while (left && !err) {
		size_t n = left < WINDOW_FEW ? (size_t)left : WINDOW_FEW;

		err = x->out->data(x->out->arg, buf, n);
		left -= n;
	}
	free(buf);
	return err;
}

int stage_hdf5_unpack(struct stage_hdf5 *h, hid_t set,
	const struct stage_tensor *t, const struct stage_hdf5_out *out,
	struct error *why)
{
	struct unpacking x = { .out = out };
	int err = start(&x, h, set, t, why);

	if (err)
		return err;
	return x.layout == H5D_CHUNKED ? unpack_chunks(&x) :
		x.layout == H5D_COMPACT ? unpack_compact(&x) :
		unpack_nothing(&x);
}
