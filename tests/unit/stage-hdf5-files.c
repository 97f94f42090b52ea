/* The HDF5 files of test-stage-hdf5, written by libhdf5; see there what their
 * names say. */
#include "config.h"

#include "tests/unit/stage-hdf5-files.h"

#define H5_USE_110_API
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "stage/format/hdf5.h"
#include "tests/unit/t.h"

const float hdf5_values[6] = { 1, 2, 3, 4, 5, 6 };

static hid_t new_set(hid_t at, const char *name, hid_t type, hid_t plist)
{
	const hsize_t dims[2] = { 2, 3 };
	hid_t space = H5Screate_simple(2, dims, NULL);
	hid_t links = H5Pcreate(H5P_LINK_CREATE);
	hid_t set;

	t_check(H5Pset_create_intermediate_group(links, 1) >= 0);
	set = H5Dcreate2(at, name, type, space, links, plist, H5P_DEFAULT);
	t_check(set >= 0);
	t_check(H5Sclose(space) >= 0 && H5Pclose(links) >= 0);
	return set;
}

static void add_set(hid_t at, const char *name, hid_t type, hid_t plist)
{
	hid_t set = new_set(at, name, type, plist);

	t_check(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL,
		H5P_DEFAULT, hdf5_values) >= 0);
	t_check(H5Dclose(set) >= 0);
}

static void add_plain(hid_t at, const char *name)
{
	add_set(at, name, H5T_IEEE_F32LE, H5P_DEFAULT);
}

/* n strings of `size` bytes each; 0: of their own length. */
static void add_texts(hid_t at, const char *name, size_t size, hsize_t n,
	const void *data)
{
	hid_t type = H5Tcopy(H5T_C_S1), id;
	hid_t space = n ? H5Screate_simple(1, &n, NULL) :
		H5Screate(H5S_SCALAR);

	t_check(H5Tset_size(type, size ? size : H5T_VARIABLE) >= 0);
	id = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	t_check(id >= 0 && H5Awrite(id, type, data) >= 0);
	t_check(H5Aclose(id) >= 0 && H5Sclose(space) >= 0 &&
		H5Tclose(type) >= 0);
}

static void good_plain(hid_t f)
{
	hid_t half = H5Tcopy(H5T_IEEE_F32LE);

	t_check(H5Tset_fields(half, 15, 10, 5, 0, 10) >= 0 &&
		H5Tset_size(half, 2) >= 0 && H5Tset_ebias(half, 15) >= 0);
	add_plain(f, "a/b/kernel:0");
	add_set(f, "a/half", half, H5P_DEFAULT);
	add_set(f, "c", H5T_STD_I64LE, H5P_DEFAULT);
	t_check(H5Tclose(half) >= 0);
}

static void good_attributes(hid_t f)
{
	const char *one = "{\"a\": 1}";
	const char *own[3] = { "x", "", "long one" };

	add_texts(f, "model_config", 0, 0, &one);
	add_texts(f, "layer_names", 4, 3, "one\0two\0four");
	add_texts(f, "own", 0, 3, own);
	add_texts(f, "parts0", 2, 2, "a\0b");
	add_texts(f, "parts1", 2, 1, "c");
	add_plain(f, "g/w");
}

static void good_none(hid_t f)
{
	(void) f;
}

/* ---- what has to be made ---------------------------------------------------- */

enum { SHUFFLE = 1, DEFLATE = 2, FLETCHER = 4, EDGES = 8 };

static hid_t chunked(unsigned rank, const hsize_t *chunk, unsigned filters)
{
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	t_check(H5Pset_chunk(p, (int)rank, chunk) >= 0);
	if (filters & EDGES)
		t_check(H5Pset_chunk_opts(p,
			H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) >= 0);
	if (filters & SHUFFLE)
		t_check(H5Pset_shuffle(p) >= 0);
	if (filters & DEFLATE)
		t_check(H5Pset_deflate(p, 6) >= 0);
	if (filters & FLETCHER)
		t_check(H5Pset_fletcher32(p) >= 0);
	return p;
}

/* Of rank 3; p is closed. */
static hid_t cube(hid_t f, const char *name, const hsize_t *dims, hid_t p)
{
	hid_t space = H5Screate_simple(3, dims, NULL);
	hid_t set = H5Dcreate2(f, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, p,
		H5P_DEFAULT);

	t_check(set >= 0 && H5Sclose(space) >= 0 && H5Pclose(p) >= 0);
	return set;
}

static void write_cube(hid_t set, const hsize_t *from, const hsize_t *n)
{
	size_t len = (size_t)(n[0] * n[1] * n[2]);
	hid_t space = H5Dget_space(set), mem = H5Screate_simple(3, n, NULL);
	float *v = malloc(len * sizeof(*v));

	t_check(v);
	for (size_t i = 0; i < len; i++)
		v[i] = (float)i + 0.5f;
	t_check(H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, n,
		NULL) >= 0);
	t_check(H5Dwrite(set, H5T_NATIVE_FLOAT, mem, space, H5P_DEFAULT,
		v) >= 0);
	t_check(H5Sclose(space) >= 0 && H5Sclose(mem) >= 0);
	free(v);
}

static void good_chunks(hid_t f)
{
	const hsize_t dims[3] = { 7, 5, 9 }, chunk[3] = { 3, 2, 4 };
	const hsize_t none[3] = { 0, 0, 0 }, part[3] = { 1, 3, 8 };
	const hsize_t few[3] = { 2, 2, 1 };
	const float seven = 7;
	char name[16] = "all0";

	for (unsigned i = 0; i < 16; i++) {
		hid_t set = cube(f, name, dims, chunked(3, chunk, i));
		hid_t p;

		write_cube(set, none, dims);
		t_check(H5Dclose(set) >= 0);
		(void) snprintf(name, sizeof(name), "some%u", i);
		p = chunked(3, chunk, i);
		if (i & 1)
			t_check(H5Pset_fill_value(p, H5T_NATIVE_FLOAT,
				&seven) >= 0);
		set = cube(f, name, dims, p);
		write_cube(set, part, few);
		t_check(H5Dclose(set) >= 0);
		(void) snprintf(name, sizeof(name), "all%u", i + 1);
	}
	add_plain(f, "plain");
}

/* Windows that cut chunks, along an axis that is not the first. */
static void good_windows(hid_t f)
{
	const hsize_t dims[3] = { 2, 3, 9000000 };
	const hsize_t chunk[3] = { 1, 2, 500000 };
	const hsize_t part[3] = { 1, 0, 8999000 }, few[3] = { 1, 3, 900 };
	hid_t set = cube(f, "w", dims, chunked(3, chunk, DEFLATE));

	write_cube(set, part, few);
	t_check(H5Dclose(set) >= 0);
}

static void good_compact(hid_t f)
{
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	t_check(H5Pset_layout(p, H5D_COMPACT) >= 0);
	add_set(f, "compact", H5T_IEEE_F32LE, p);
	t_check(H5Pclose(p) >= 0);
}

static void good_unwritten(hid_t f)
{
	const hsize_t chunk[2] = { 1, 2 };
	hid_t p = chunked(2, chunk, DEFLATE);

	t_check(H5Dclose(new_set(f, "none", H5T_IEEE_F32LE,
		H5P_DEFAULT)) >= 0);
	t_check(H5Dclose(new_set(f, "nothing", H5T_IEEE_F32LE, p)) >= 0);
	t_check(H5Pclose(p) >= 0);
}

/* A check sum that is shuffled too, so that bytes are left over; one over so
 * much that its halves must be folded on the way. */
static void good_sums(hid_t f)
{
	const hsize_t few[2] = { 1, 2 }, none[3] = { 0, 0, 0 };
	const hsize_t many[3] = { 1, 2, 4000 };
	hid_t p = chunked(2, few, FLETCHER), set;

	t_check(H5Pset_shuffle(p) >= 0);
	add_set(f, "shuffled", H5T_STD_I64LE, p);
	t_check(H5Pclose(p) >= 0);
	set = cube(f, "long", many, chunked(3, many, FLETCHER));
	write_cube(set, none, many);
	t_check(H5Dclose(set) >= 0);
}

/* One chunk of four, and nothing that stands for the others. */
static void damaged_hole(hid_t f)
{
	const hsize_t chunk[2] = { 1, 2 }, at[2] = { 0, 0 };
	hid_t p = chunked(2, chunk, 0), set;

	t_check(H5Pset_fill_value(p, H5T_IEEE_F32LE, NULL) >= 0);
	set = new_set(f, "w", H5T_IEEE_F32LE, p);
	t_check(H5Dwrite_chunk(set, H5P_DEFAULT, 0, at, 8,
		hdf5_values) >= 0);
	t_check(H5Dclose(set) >= 0 && H5Pclose(p) >= 0);
}

static void unsupported_nbit(hid_t f)
{
	const hsize_t chunk[2] = { 1, 3 };
	hid_t p = chunked(2, chunk, 0);

	t_check(H5Pset_nbit(p) >= 0);
	add_set(f, "nbit", H5T_IEEE_F32LE, p);
	t_check(H5Pclose(p) >= 0);
}

/* What h5py calls lzf, and nobody else has. */
static void unsupported_unknown(hid_t f)
{
	const hsize_t chunk[2] = { 1, 3 };
	hid_t p = chunked(2, chunk, 0);

	t_check(H5Pset_filter(p, 32000, H5Z_FLAG_OPTIONAL, 0, NULL) >= 0);
	t_check(H5Dclose(new_set(f, "lzf", H5T_IEEE_F32LE, p)) >= 0);
	t_check(H5Pclose(p) >= 0);
}

/* One chunk of 24 bytes, which are these in the file. */
static void one_chunk(hid_t f, unsigned filters, const void *raw, size_t len)
{
	const hsize_t chunk[2] = { 2, 3 }, at[2] = { 0, 0 };
	hid_t p = chunked(2, chunk, filters);
	hid_t set = new_set(f, "w", H5T_IEEE_F32LE, p);

	t_check(H5Dwrite_chunk(set, H5P_DEFAULT, 0, at, len, raw) >= 0);
	t_check(H5Dclose(set) >= 0 && H5Pclose(p) >= 0);
}

static void deflated(hid_t f, size_t n, size_t cut)
{
	Bytef plain[4096] = { 1, 2, 3 }, packed[4096];
	uLongf len = sizeof(packed);

	t_check(compress(packed, &len, plain, n) == Z_OK && len > cut);
	one_chunk(f, DEFLATE, packed, len - cut);
}

static void damaged_cut(hid_t f)
{
	deflated(f, 24, 6);
}

static void damaged_short(hid_t f)
{
	deflated(f, 20, 0);
}

static void damaged_bomb(hid_t f)
{
	deflated(f, 4096, 0);
}

/* The file has as many bytes as lie() says that the chunk has. */
static void damaged_lie(hid_t f)
{
	const hsize_t n = 8192;
	hid_t space = H5Screate_simple(1, &n, NULL);
	char *zeros = calloc(1, (size_t)n);
	hid_t id;

	deflated(f, 24, 0);
	id = H5Dcreate2(f, "z", H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT,
		H5P_DEFAULT);
	t_check(zeros && id >= 0 && H5Dwrite(id, H5T_NATIVE_UINT8, H5S_ALL,
		H5S_ALL, H5P_DEFAULT, zeros) >= 0);
	t_check(H5Dclose(id) >= 0 && H5Sclose(space) >= 0);
	free(zeros);
}

/* The first key of the tree of chunks begins with the bytes of one. */
static void lie(const char *path)
{
	static const uint8_t tree[] = { 'T', 'R', 'E', 'E', 1 };
	static const uint8_t size[] = { 0x88, 0x13, 0, 0 };	/* 5000 */
	FILE *f = fopen(path, "r+be");
	uint8_t buf[8192], *at;
	size_t n;

	t_check(f);
	n = fread(buf, 1, sizeof(buf), f);
	at = memmem(buf, n, tree, sizeof(tree));
	t_check(at && !fseek(f, at + 24 - buf, SEEK_SET));
	t_check(fwrite(size, 1, sizeof(size), f) == sizeof(size));
	t_check(!fclose(f));
}

static void damaged_sum(hid_t f)
{
	one_chunk(f, FLETCHER, "012345678901234567890123SUM?", 28);
}

static void damaged_plain(hid_t f)
{
	one_chunk(f, SHUFFLE, hdf5_values, 20);
}

/* 4 TiB of nothing, in a file of a few thousand bytes. */
static void large_bomb(hid_t f)
{
	const hsize_t dims[3] = { 1024, 1024, 1048576 };
	const hsize_t chunk[3] = { 64, 64, 2048 };

	t_check(H5Dclose(cube(f, "w", dims, chunked(3, chunk,
		DEFLATE))) >= 0);
}

static void large_grid(hid_t f)
{
	const hsize_t dims[3] = { 128, 128, 128 }, chunk[3] = { 1, 1, 1 };

	t_check(H5Dclose(cube(f, "w", dims, chunked(3, chunk,
		DEFLATE))) >= 0);
}

static void large_chunk(hid_t f)
{
	const hsize_t dims[3] = { 1, 64, 1048576 };

	t_check(H5Dclose(cube(f, "w", dims, chunked(3, dims,
		DEFLATE))) >= 0);
}

/* Rows of 1 MiB, of which each chunk has a little of all. */
static void large_across(hid_t f)
{
	const hsize_t dims[3] = { 1000, 1, 262144 }, chunk[3] = { 1000, 1, 1 };

	t_check(H5Dclose(cube(f, "w", dims, chunked(3, chunk,
		DEFLATE))) >= 0);
}

static void unsupported_big_endian(hid_t f)
{
	add_set(f, "big", H5T_IEEE_F32BE, H5P_DEFAULT);
}

static void unsupported_soft_link(hid_t f)
{
	add_plain(f, "w");
	t_check(H5Lcreate_soft("/w", f, "soft", H5P_DEFAULT,
		H5P_DEFAULT) >= 0);
}

/* good-plain.h5 is there: following the link would find it. */
static void unsupported_external_link(hid_t f)
{
	t_check(H5Lcreate_external("good-plain.h5", "/a", f, "elsewhere",
		H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void unsupported_external_data(hid_t f)
{
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	t_check(H5Pset_external(p, "/etc/passwd", 0, 24) >= 0);
	t_check(H5Dclose(new_set(f, "passwd", H5T_IEEE_F32LE, p)) >= 0);
	t_check(H5Pclose(p) >= 0);
}

static void unsupported_virtual(hid_t f)
{
	const hsize_t dims[2] = { 2, 3 };
	hid_t space = H5Screate_simple(2, dims, NULL);
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	t_check(H5Pset_virtual(p, space, "good-plain.h5", "/a/b/kernel:0",
		space) >= 0);
	t_check(H5Dclose(new_set(f, "virtual", H5T_IEEE_F32LE, p)) >= 0);
	t_check(H5Pclose(p) >= 0 && H5Sclose(space) >= 0);
}

static void bad_loop(hid_t f)
{
	hid_t g = H5Gcreate2(f, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

	t_check(g >= 0 && H5Lcreate_hard(f, "/", g, "root", H5P_DEFAULT,
		H5P_DEFAULT) >= 0);
	t_check(H5Gclose(g) >= 0);
}

static void large_deep(hid_t f)
{
	char path[4 * STAGE_HDF5_DEPTH_MAX + 8] = "";

	for (unsigned i = 0; i <= STAGE_HDF5_DEPTH_MAX; i++)
		strcat(path, "g/");
	strcat(path, "w");
	add_plain(f, path);
}

static const struct {
	const char *name;
	void (*make)(hid_t file);
	void (*change)(const char *path);	/* when it is written */
} files[] = {
	{ "good-plain", good_plain, NULL },
	{ "good-attributes", good_attributes, NULL },
	{ "good-none", good_none, NULL },
	{ "good-chunks", good_chunks, NULL },
	{ "good-windows", good_windows, NULL },
	{ "good-compact", good_compact, NULL },
	{ "good-unwritten", good_unwritten, NULL },
	{ "good-sums", good_sums, NULL },
	{ "damaged-hole", damaged_hole, NULL },
	{ "damaged-lie", damaged_lie, lie },
	{ "damaged-cut", damaged_cut, NULL },
	{ "damaged-short", damaged_short, NULL },
	{ "damaged-bomb", damaged_bomb, NULL },
	{ "damaged-sum", damaged_sum, NULL },
	{ "damaged-plain", damaged_plain, NULL },
	{ "unsupported-nbit", unsupported_nbit, NULL },
	{ "unsupported-unknown", unsupported_unknown, NULL },
	{ "unsupported-big-endian", unsupported_big_endian, NULL },
	{ "large-bomb", large_bomb, NULL },
	{ "large-grid", large_grid, NULL },
	{ "large-chunk", large_chunk, NULL },
	{ "large-across", large_across, NULL },
	{ "unsupported-soft-link", unsupported_soft_link, NULL },
	{ "unsupported-external-link", unsupported_external_link, NULL },
	{ "unsupported-external-data", unsupported_external_data, NULL },
	{ "unsupported-virtual", unsupported_virtual, NULL },
	{ "bad-loop", bad_loop, NULL },
	{ "large-deep", large_deep, NULL },
};
const size_t hdf5_files = sizeof(files) / sizeof(files[0]);

const char *hdf5_name(size_t i)
{
	return files[i].name;
}

void hdf5_path(const char *dir, size_t i, char *ret, size_t room)
{
	(void) snprintf(ret, room, "%s/%s.h5", dir, files[i].name);
}

void hdf5_write_all(const char *dir)
{
	char path[4096];

	for (size_t i = 0; i < hdf5_files; i++) {
		hid_t f;

		hdf5_path(dir, i, path, sizeof(path));
		f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
		t_check(f >= 0);
		files[i].make(f);
		t_check(H5Fclose(f) >= 0);
		if (files[i].change)
			files[i].change(path);
	}
}
