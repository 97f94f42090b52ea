/*
 * HDF5: files written by libhdf5 (stage-hdf5-files.c), each with its answer in
 * its name: good- is read, and what has to be made becomes what libhdf5 itself
 * reads; damaged- is read, and found out when it is made; bad- is EBADMSG,
 * unsupported- is ENOTSUP, large- is EFBIG. With an argument they are only
 * written, into that directory: seeds of fuzz-hdf5.
 */
#include "config.h"

#define H5_USE_110_API
#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stage/format/hdf5.h"
#include "tests/unit/stage-hdf5-files.h"
#include "tests/unit/stage-src.h"

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
	if (begins(name, "good-") || begins(name, "damaged-"))
		return 0;
	return begins(name, "bad-") ? -EBADMSG :
		begins(name, "large-") ? -EFBIG : -ENOTSUP;
}

/* ---- making ------------------------------------------------------------------ */

struct sink {
	uint8_t *data;
	size_t len, room;
	bool ended, dropped;
};

static int sink_begin(void *arg, const char *path, uint64_t size)
{
	struct sink *s = arg;

	t_str(path, "made");
	s->data = malloc((size_t)size + 1);
	s->room = (size_t)size;
	return s->data ? 0 : -ENOMEM;
}

static int sink_data(void *arg, const void *buf, size_t len)
{
	struct sink *s = arg;

	t_check(len <= s->room - s->len);
	memcpy(s->data + s->len, buf, len);
	s->len += len;
	return 0;
}

static int sink_end(void *arg, struct objid *ret)
{
	struct sink *s = arg;

	(void) ret;
	s->ended = true;
	return 0;
}

static void sink_drop(void *arg)
{
	struct sink *s = arg;

	s->dropped = true;
}

static int make(const char *path, uint64_t size, struct sink *ret)
{
	const struct stage_archive_sink sink = { sink_begin, sink_data,
		sink_end, sink_drop, ret };
	struct src *s = open_src(path);
	struct error why = { 0 };
	struct objid id;
	int err = stage_hdf5_make(s, "", "made", size, &sink, &id, &why);

	t_check(!err || (why.code == err && *why.text));
	t_check(err ? ret->dropped : ret->ended && ret->len == size);
	src_unref(s);
	return err;
}

/* Each tensor that was made is what libhdf5 reads. */
static void compare(const char *path, const struct stage_weights *w,
	const struct sink *made)
{
	hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);

	t_check(f >= 0);
	for (size_t i = 0; i < w->n; i++) {
		const struct stage_tensor *t = &w->v[i];
		hid_t set = H5Dopen2(f, t->name, H5P_DEFAULT), type;
		uint8_t *own = malloc((size_t)t->len);

		type = H5Dget_type(set);
		t_check(set >= 0 && own && type >= 0);
		t_check(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
			own) >= 0);
		if (t->file)
			t_check(!memcmp(own, made->data + t->off,
				(size_t)t->len));
		t_check(H5Tclose(type) >= 0 && H5Dclose(set) >= 0);
		free(own);
	}
	t_check(H5Fclose(f) >= 0);
}

static void test_making(const char *dir)
{
	char path[4096];
	unsigned n = 0;

	for (size_t i = 0; i < hdf5_files; i++) {
		struct stage_weights w = { 0 };
		struct sink got = { 0 };
		bool damaged = begins(hdf5_name(i), "damaged-");

		hdf5_path(dir, i, path, sizeof(path));
		if (answer(hdf5_name(i)) || read_file(path, &w) ||
		    w.n_files < 2) {
			t_check(!damaged);
			stage_weights_done(&w);
			continue;
		}
		t_int(w.n_files, 2);
		t_str(w.files[1], "model.h5//#");
		t_int(make(path, w.file_sizes[1], &got),
			damaged ? -EBADMSG : 0);
		if (!damaged)
			compare(path, &w, &got);
		free(got.data);
		got = (struct sink){ 0 };
		t_int(make(path, w.file_sizes[1] + 1, &got), -EBADMSG);
		free(got.data);
		stage_weights_done(&w);
		n++;
	}
	t_int(n, 12);
}

static void test_answers(const char *dir)
{
	char path[4096];

	for (size_t i = 0; i < hdf5_files; i++) {
		struct stage_weights w = { 0 };
		int err;

		hdf5_path(dir, i, path, sizeof(path));
		err = read_file(path, &w);
		if (err != answer(hdf5_name(i)))
			fprintf(stderr, "%s: %d\n", hdf5_name(i), err);
		t_int(err, answer(hdf5_name(i)));
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

	hdf5_path(dir, 0, path, sizeof(path));
	t_int(read_file(path, &w), 0);
	t_int(w.n, 3);
	t = stage_weights_find(&w, "a/b/kernel:0");
	t_check(t);
	t_int(t->dtype, STAGE_F32);
	t_int(t->rank, 2);
	t_int(t->dim[1], 3);
	s = open_src(path);
	t_int(src_read_wait(s, t->off, got, sizeof(got)), 0);
	t_check(!memcmp(got, hdf5_values, sizeof(got)));
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

	hdf5_path(dir, 1, path, sizeof(path));
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
		hdf5_write_all(argv[1]);
		return 0;
	}
	t_check(mkdtemp(dir));
	hdf5_write_all(dir);
	test_answers(dir);
	test_making(dir);
	test_tensors(dir);
	test_attributes(dir);
	for (size_t i = 0; i < hdf5_files; i++) {
		hdf5_path(dir, i, path, sizeof(path));
		t_check(!unlink(path));
	}
	t_check(!rmdir(dir));
	return 0;
}
