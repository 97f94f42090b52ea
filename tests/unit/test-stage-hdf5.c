/*
 * HDF5: files written here by libhdf5, each with its answer in its name: good-
 * is read, bad- is EBADMSG, unsupported- is ENOTSUP, large- is EFBIG. With an
 * argument they are only written, into that directory: seeds of fuzz-hdf5.
 */
#include "config.h"

#define H5_USE_110_API
#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stage/format/hdf5.h"
#include "tests/unit/stage-src.h"

static const float values[6] = { 1, 2, 3, 4, 5, 6 };

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
		H5P_DEFAULT, values) >= 0);
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

static void unsupported_chunked(hid_t f)
{
	const hsize_t dims[2] = { 1, 3 };
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	t_check(H5Pset_chunk(p, 2, dims) >= 0);
	add_set(f, "chunked", H5T_IEEE_F32LE, p);
	t_check(H5Pclose(p) >= 0);
}

static void unsupported_compact(hid_t f)
{
	hid_t p = H5Pcreate(H5P_DATASET_CREATE);

	t_check(H5Pset_layout(p, H5D_COMPACT) >= 0);
	add_set(f, "compact", H5T_IEEE_F32LE, p);
	t_check(H5Pclose(p) >= 0);
}

static void unsupported_big_endian(hid_t f)
{
	add_set(f, "big", H5T_IEEE_F32BE, H5P_DEFAULT);
}

static void unsupported_unwritten(hid_t f)
{
	t_check(H5Dclose(new_set(f, "none", H5T_IEEE_F32LE,
		H5P_DEFAULT)) >= 0);
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
} files[] = {
	{ "good-plain", good_plain },
	{ "good-attributes", good_attributes },
	{ "good-none", good_none },
	{ "unsupported-chunked", unsupported_chunked },
	{ "unsupported-compact", unsupported_compact },
	{ "unsupported-big-endian", unsupported_big_endian },
	{ "unsupported-unwritten", unsupported_unwritten },
	{ "unsupported-soft-link", unsupported_soft_link },
	{ "unsupported-external-link", unsupported_external_link },
	{ "unsupported-external-data", unsupported_external_data },
	{ "unsupported-virtual", unsupported_virtual },
	{ "bad-loop", bad_loop },
	{ "large-deep", large_deep },
};
#define N_FILES (sizeof(files) / sizeof(files[0]))

static void path_of(const char *dir, size_t i, char *ret, size_t room)
{
	(void) snprintf(ret, room, "%s/%s.h5", dir, files[i].name);
}

static void write_all(const char *dir)
{
	char path[4096];

	for (size_t i = 0; i < N_FILES; i++) {
		hid_t f;

		path_of(dir, i, path, sizeof(path));
		f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
		t_check(f >= 0);
		files[i].make(f);
		t_check(H5Fclose(f) >= 0);
	}
}

static struct src *open_src(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct src *s = NULL;
	struct stat st;

	t_check(fd >= 0 && !fstat(fd, &st));
	t_int(src_from_fd(fd, (uint64_t)st.st_size, &s), 0);
	return s;
}

static int read_file(const char *path, struct stage_weights *w)
{
	struct error why = { 0 };
	struct src *s = open_src(path);
	int err;

	t_int(stage_weights_file(w, "model.h5", s->size), 0);
	err = stage_hdf5_read(s, 0, w, &why);
	if (!err)
		err = stage_weights_sort(w, &why);
	t_check(!err || why.code == err);
	src_unref(s);
	return err;
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static int answer(const char *name)
{
	return begins(name, "good-") ? 0 : begins(name, "bad-") ?
		-EBADMSG : begins(name, "large-") ? -EFBIG : -ENOTSUP;
}

static void test_answers(const char *dir)
{
	char path[4096];

	for (size_t i = 0; i < N_FILES; i++) {
		struct stage_weights w = { 0 };
		int err;

		path_of(dir, i, path, sizeof(path));
		err = read_file(path, &w);
		if (err != answer(files[i].name))
			fprintf(stderr, "%s: %d\n", files[i].name, err);
		t_int(err, answer(files[i].name));
		stage_weights_done(&w);
	}
}

static void test_tensors(const char *dir)
{
	struct stage_weights w = { 0 };
	const struct stage_tensor *t;
	float got[6];
	struct src *s;
	char path[4096];

	path_of(dir, 0, path, sizeof(path));
	t_int(read_file(path, &w), 0);
	t_int(w.n, 3);
	t = stage_weights_find(&w, "a/b/kernel:0");
	t_check(t);
	t_int(t->dtype, STAGE_F32);
	t_int(t->rank, 2);
	t_int(t->dim[1], 3);
	s = open_src(path);
	t_int(src_read_wait(s, t->off, got, sizeof(got)), 0);
	t_check(!memcmp(got, values, sizeof(got)));
	src_unref(s);
	t = stage_weights_find(&w, "a/half");
	t_check(t && t->dtype == STAGE_F16 && t->len == 12);
	t = stage_weights_find(&w, "c");
	t_check(t && t->dtype == STAGE_I64);
	stage_weights_done(&w);
}

static void check_list(struct stage_hdf5 *h, const char *name,
	const char *first, const char *last, size_t n)
{
	struct stage_hdf5_texts all = { NULL, 0 };

	t_int(stage_hdf5_list(h, "", name, &all, NULL), 0);
	t_int(all.n, n);
	t_str(all.v[0], first);
	t_str(all.v[n - 1], last);
	stage_hdf5_texts_done(&all);
}

static void test_attributes(const char *dir)
{
	struct stage_hdf5_texts all = { NULL, 0 };
	struct stage_hdf5 *h = NULL;
	struct error why = { 0 };
	char path[4096], *text = NULL;
	struct src *s;
	size_t len = 0;

	path_of(dir, 1, path, sizeof(path));
	s = open_src(path);
	t_int(stage_hdf5_open(s, &h, &why), 0);
	t_int(stage_hdf5_text(h, "", "model_config", &text, &len, &why), 0);
	t_str(text, "{\"a\": 1}");
	t_int(len, strlen(text));
	free(text);
	check_list(h, "layer_names", "one", "four", 3);
	check_list(h, "own", "x", "long one", 3);
	check_list(h, "parts", "a", "c", 3);
	t_int(stage_hdf5_list(h, "", "nothing", &all, &why), -ENOENT);
	t_int(stage_hdf5_text(h, "g/x", "a", &text, &len, &why), -ENOENT);
	t_int(stage_hdf5_text(h, "", "own", &text, &len, &why), -EBADMSG);
	stage_hdf5_close(h);
	src_unref(s);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/test-stage-hdf5-XXXXXX";
	char path[4096];

	if (argc > 1) {
		write_all(argv[1]);
		return 0;
	}
	t_check(mkdtemp(dir));
	write_all(dir);
	test_answers(dir);
	test_tensors(dir);
	test_attributes(dir);
	for (size_t i = 0; i < N_FILES; i++) {
		path_of(dir, i, path, sizeof(path));
		t_check(!unlink(path));
	}
	t_check(!rmdir(dir));
	return 0;
}
