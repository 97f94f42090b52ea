/*
 * What is asked of libhdf5, and what is believed. Names and links are walked
 * by hand: only hard links are followed, each group once, so that no loop and
 * no other file can be reached.
 */
#include "config.h"

#include "stage/format/hdf5.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "stage/format/archive.h"
#include "stage/format/hdf5-chunks.h"
#include "stage/format/hdf5-driver.h"
#include "stage/window.h"

#define SIGNATURE "\211HDF\r\n\032\n"
#define PATH_MAX_LEN 4096	/* bytes of a dataset's path */

static pthread_mutex_t h5_lock = PTHREAD_MUTEX_INITIALIZER;
static bool h5_ready;		/* under h5_lock */

/* ---- the library ----------------------------------------------------------- */

int stage_hdf5_enter(struct error *why)
{
	(void) pthread_mutex_lock(&h5_lock);
	if (!h5_ready) {
		(void) H5dont_atexit();
		h5_ready = H5open() >= 0 && H5PLset_loading_state(0) >= 0;
	}
	/* What it prints of errors is set for each thread. */
	if (h5_ready && H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0)
		return 0;
	(void) pthread_mutex_unlock(&h5_lock);
	return error_set(why, -ENOTSUP, "libhdf5 does not start");
}

void stage_hdf5_leave(void)
{
	(void) H5Eclear2(H5E_DEFAULT);
	(void) pthread_mutex_unlock(&h5_lock);
}

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *arg)
{
	(void) n;
	*(const char **)arg = e->desc;
	return 1;
}

/* Why a call of libhdf5 failed: the read below it, or what the file says. */
int stage_hdf5_fail(struct stage_hdf5 *h, const char *what,
	struct error *why)
{
	const char *desc = NULL;

	if (h->source.err)
		return stage_read_error(h->source.src, h->source.err, what,
			why);
	(void) H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost,
		(void *)&desc);
	return error_set(why, -EBADMSG, "%s: %s", what, desc && *desc ? desc :
		"libhdf5 cannot read it");
}

int stage_hdf5_probe(const void *head, size_t n, uint64_t size)
{
	(void) size;
	return n >= 8 && !memcmp(head, SIGNATURE, 8);
}

static int open_file(struct stage_hdf5 *h, struct error *why)
{
	hid_t access = stage_hdf5_access(&h->source);

	if (access < 0)
		return error_set(why, -ENOMEM, "libhdf5 takes no driver");
	h->file = H5Fopen(stage_hdf5_name, H5F_ACC_RDONLY, access);
	(void) H5Pclose(access);
	return h->file < 0 ? stage_hdf5_fail(h, "HDF5", why) : 0;
}

int stage_hdf5_open(struct src *s, struct stage_hdf5 **ret,
	struct error *why)
{
	struct stage_hdf5 *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->file = -1;
	h->source.src = s;
	err = stage_hdf5_enter(why);
	if (!err) {
		err = open_file(h, why);
		stage_hdf5_leave();
	}
	if (err) {
		stage_hdf5_close(h);
		return err;
	}
	*ret = h;
	return 0;
}

void stage_hdf5_close(struct stage_hdf5 *h)
{
	if (!h)
		return;
	if (h->file >= 0 && !stage_hdf5_enter(NULL)) {
		(void) H5Fclose(h->file);
		stage_hdf5_leave();
	}
	for (unsigned i = 0; i < STAGE_HDF5_PAGES; i++)
		free(h->source.pages[i].data);
	free(h);
}

/* ---- datasets -------------------------------------------------------------- */

static enum stage_dtype dtype_of(hid_t type)
{
	const struct {
		hid_t type;
		enum stage_dtype dtype;
	} known[] = {
		{ H5T_IEEE_F32LE, STAGE_F32 }, { H5T_IEEE_F64LE, STAGE_F64 },
		{ H5T_STD_I8LE, STAGE_I8 }, { H5T_STD_U8LE, STAGE_U8 },
		{ H5T_STD_I16LE, STAGE_I16 }, { H5T_STD_U16LE, STAGE_U16 },
		{ H5T_STD_I32LE, STAGE_I32 }, { H5T_STD_U32LE, STAGE_U32 },
		{ H5T_STD_I64LE, STAGE_I64 }, { H5T_STD_U64LE, STAGE_U64 },
	};
	size_t pos, epos, esize, mpos, msize;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (H5Tequal(type, known[i].type) > 0)
			return known[i].dtype;
	/* There is no predefined type of two bytes. */
	if (H5Tget_class(type) == H5T_FLOAT && H5Tget_size(type) == 2 &&
	    H5Tget_order(type) == H5T_ORDER_LE &&
	    H5Tget_fields(type, &pos, &epos, &esize, &mpos, &msize) >= 0 &&
	    pos == 15 && epos == 10 && esize == 5 && !mpos && msize == 10 &&
	    H5Tget_ebias(type) == 15 && H5Tget_norm(type) == H5T_NORM_IMPLIED)
		return STAGE_F16;
	return 0;
}

static int dataset_type(struct stage_hdf5 *h, hid_t set, const char *name,
	struct stage_tensor *t, struct error *why)
{
	hid_t type = H5Dget_type(set);

	if (type < 0)
		return stage_hdf5_fail(h, name, why);
	t->dtype = dtype_of(type);
	(void) H5Tclose(type);
	return t->dtype ? 0 : error_set(why, -ENOTSUP,
		"%s: its element type is not read", name);
}

static int dataset_shape(struct stage_hdf5 *h, hid_t set, const char *name,
	struct stage_tensor *t, struct error *why)
{
	hid_t space = H5Dget_space(set);
	hsize_t dims[H5S_MAX_RANK];
	int rank = -1, err = 0;

	if (space < 0)
		return stage_hdf5_fail(h, name, why);
	t->len = stage_dtype_size(t->dtype);
	if (H5Sget_simple_extent_type(space) == H5S_NULL)
		t->len = 0;
	else
		rank = H5Sget_simple_extent_dims(space, dims, NULL);
	(void) H5Sclose(space);
	if (!t->len)
		return 0;
	if (rank < 0)
		return stage_hdf5_fail(h, name, why);
	if (rank > STAGE_RANK_MAX)
		return error_set(why, -EFBIG, "%s has over %u dimensions",
			name, STAGE_RANK_MAX);
	t->rank = (unsigned)rank;
	for (int i = 0; i < rank && !err; i++) {
		t->dim[i] = dims[i];
		if (size_mul(t->len, dims[i], &t->len))
			err = error_set(why, -EBADMSG, "%s: its shape is too "
				"large to be true", name);
	}
	return err;
}

/* Does it lie in one piece? Then t says where. */
static int dataset_place(struct stage_hdf5 *h, hid_t set,
	struct stage_tensor *t, bool *ret, struct error *why)
{
	hid_t made = H5Dget_create_plist(set);
	haddr_t off = HADDR_UNDEF;
	bool plain;

	if (made < 0)
		return stage_hdf5_fail(h, t->name, why);
	plain = H5Pget_layout(made) == H5D_CONTIGUOUS &&
		!H5Pget_nfilters(made) && !H5Pget_external_count(made);
	(void) H5Pclose(made);
	if (plain)
		off = H5Dget_offset(set);
	*ret = off != HADDR_UNDEF;
	if (!*ret)
		return 0;
	if (H5Dget_storage_size(set) != t->len)
		return error_set(why, -EBADMSG, "%s: its data are not of its "
			"size", t->name);
	t->off = off;
	return 0;
}

/* ---- groups ---------------------------------------------------------------- */

struct walk {
	struct stage_hdf5 *h;
	struct stage_weights *w;	/* NULL: only for out */
	struct error *why;
	const char *group;		/* where it begins */
	unsigned file, made;		/* of w; 0: no file is made, as `file`
					 * was there before */
	const struct stage_hdf5_out *out;	/* for what is made; or NULL */
	unsigned links, depth;
	struct map seen;	/* addresses of groups */
	char path[PATH_MAX_LEN];
	size_t len;
	int err;
};

/* The source that has what does not lie in one piece. */
static int made_file(struct walk *x)
{
	cleanup_free char *path = NULL;
	int i;

	if (x->made)
		return 0;
	path = stage_made_path(x->w->files[x->file], x->group);
	i = path ? stage_weights_file(x->w, path, 0) : -ENOMEM;
	if (i > 0)
		x->made = (unsigned)i;
	return i > 0 ? 0 : i == -ENOMEM ? i : error_set(x->why, -ENOTSUP,
		"%s: it is not in one piece", x->path);
}

static int add_made(struct walk *x, hid_t set, struct stage_tensor *t)
{
	uint64_t packed = x->h->source.src->size, all;
	int err;

	if (x->out)
		return stage_hdf5_unpack(x->h, set, t, x->out, x->why);
	err = stage_hdf5_packed(x->h, set, t, x->why);
	if (!err)
		err = made_file(x);
	if (err)
		return err;
	t->file = x->made;
	t->off = x->w->file_sizes[x->made];
	if (size_add(t->off, t->len, &all) || stage_archive_bomb(all, packed))
		return error_set(x->why, -EFBIG, "%s: the file would unpack "
			"to too much", t->name);
	x->w->file_sizes[x->made] = all;
	return stage_weights_add(x->w, t, x->why);
}

static int add_dataset(struct walk *x, hid_t set)
{
	struct stage_tensor t = { .name = x->path, .file = x->file };
	bool plain = false;
	int err = dataset_type(x->h, set, x->path, &t, x->why);

	if (!err)
		err = dataset_shape(x->h, set, x->path, &t, x->why);
	if (!err && !t.len)
		return 0;
	if (!err)
		err = dataset_place(x->h, set, &t, &plain, x->why);
	if (err)
		return err;
	if (!plain)
		return add_made(x, set, &t);
	return x->out ? 0 : stage_weights_add(x->w, &t, x->why);
}

static int see_group(struct walk *x, haddr_t at)
{
	char key[24];
	void *old = NULL;

	(void) snprintf(key, sizeof(key), "%llx", (unsigned long long)at);
	if (map_get(&x->seen, key))
		return error_set(x->why, -EBADMSG, "the group %s is there "
			"under another name too", x->path);
	return map_put(&x->seen, key, x, &old);
}

static herr_t walk_link(hid_t group, const char *name,
	const H5L_info_t *info, void *arg);

static int walk_group(struct walk *x, hid_t group)
{
	H5O_info_t info;
	hsize_t at = 0;
	int err;

	if (H5Oget_info2(group, &info, H5O_INFO_BASIC) < 0)
		return stage_hdf5_fail(x->h, x->path, x->why);
	err = see_group(x, info.addr);
	if (!err && x->depth >= STAGE_HDF5_DEPTH_MAX)
		err = error_set(x->why, -EFBIG, "%s: over %u groups in each "
			"other", x->path, STAGE_HDF5_DEPTH_MAX);
	if (err)
		return err;
	x->depth++;
	if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &at, walk_link,
	    x) < 0 && !x->err)
		x->err = stage_hdf5_fail(x->h, *x->path ? x->path : "/", x->why);
	x->depth--;
	return x->err;
}

static int walk_object(struct walk *x, hid_t group, const char *name)
{
	hid_t object = H5Oopen(group, name, H5P_DEFAULT);
	int err;

	if (object < 0)
		return stage_hdf5_fail(x->h, x->path, x->why);
	switch (H5Iget_type(object)) {
	case H5I_GROUP:
		err = walk_group(x, object);
		break;
	case H5I_DATASET:
		err = add_dataset(x, object);
		break;
	default:
		err = error_set(x->why, -ENOTSUP, "%s is neither group nor "
			"dataset", x->path);
		break;
	}
	(void) H5Oclose(object);
	return err;
}

static herr_t walk_link(hid_t group, const char *name,
	const H5L_info_t *info, void *arg)
{
	struct walk *x = arg;
	size_t before = x->len;
	int n = snprintf(x->path + x->len, sizeof(x->path) - x->len, "%s%s",
		x->len ? "/" : "", name);

	if (n < 0 || (size_t)n >= sizeof(x->path) - x->len)
		x->err = error_set(x->why, -EFBIG, "a path of over %d bytes",
			PATH_MAX_LEN);
	else if (++x->links > STAGE_HDF5_LINKS_MAX)
		x->err = error_set(x->why, -EFBIG, "over %u links",
			STAGE_HDF5_LINKS_MAX);
	else if (info->type != H5L_TYPE_HARD)
		x->err = error_set(x->why, -ENOTSUP, "%s is a link to "
			"elsewhere", x->path);
	else if (!*name || strchr(name, '/') || !strcmp(name, "."))
		x->err = error_set(x->why, -EBADMSG, "a link with a bad "
			"name");
	if (!x->err) {
		x->len += (size_t)n;
		x->err = walk_object(x, group, name);
	}
	x->len = before;
	x->path[before] = '\0';
	return x->err ? -1 : 0;
}

int stage_hdf5_group(struct stage_hdf5 *h, const char *path, hid_t *ret,
	struct error *why)
{
	char name[PATH_MAX_LEN];
	hid_t at = H5Gopen2(h->file, "/", H5P_DEFAULT), next;
	H5L_info_t info;

	while (at >= 0 && *path) {
		size_t len = strcspn(path, "/");

		if (!len || len >= sizeof(name)) {
			(void) H5Gclose(at);
			return -ENOENT;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		path += len + (path[len] == '/');
		if (H5Lexists(at, name, H5P_DEFAULT) <= 0 ||
		    H5Lget_info(at, name, &info, H5P_DEFAULT) < 0 ||
		    info.type != H5L_TYPE_HARD) {
			(void) H5Gclose(at);
			return h->source.err ? stage_hdf5_fail(h, name, why) :
				-ENOENT;
		}
		next = H5Gopen2(at, name, H5P_DEFAULT);
		(void) H5Gclose(at);
		at = next;
	}
	if (at < 0)
		return stage_hdf5_fail(h, *path ? path : "a group", why);
	*ret = at;
	return 0;
}

static int tensors(struct walk *x, const char *path)
{
	hid_t group;
	int err = stage_hdf5_group(x->h, path, &group, x->why);

	if (err)
		return err;
	err = walk_group(x, group);
	(void) H5Gclose(group);
	return err;
}

static int walk_all(const struct walk *how)
{
	struct walk *x = malloc(sizeof(*x));
	int err = x ? stage_hdf5_enter(how->why) : -ENOMEM;

	if (!err) {
		*x = *how;
		err = tensors(x, x->group);
		map_done(&x->seen);
		stage_hdf5_leave();
	}
	free(x);
	return err;
}

int stage_hdf5_tensors(struct stage_hdf5 *h, const char *group,
	unsigned file, struct stage_weights *w, struct error *why)
{
	const struct walk x = { .h = h, .w = w, .why = why, .file = file,
		.group = group };

	return walk_all(&x);
}

struct sending {
	const struct stage_archive_sink *sink;
	uint64_t left;		/* bytes */
};

static int send_data(void *arg, const void *buf, size_t len)
{
	struct sending *s = arg;

	if (len > s->left)
		return -EBADMSG;
	s->left -= len;
	return s->sink->data(s->sink->arg, buf, len);
}

int stage_hdf5_make(struct src *s, const char *group, const char *path,
	uint64_t size, const struct stage_archive_sink *sink,
	struct objid *ret, struct error *why)
{
	struct sending sending = { sink, size };
	const struct stage_hdf5_out out = { send_data, &sending };
	struct stage_hdf5 *h = NULL;
	struct walk x = { .out = &out, .why = why, .group = group };
	int err = stage_hdf5_open(s, &h, why);

	if (err)
		return err;
	x.h = h;
	err = sink->begin(sink->arg, path, size);
	if (!err) {
		err = walk_all(&x);
		if (err == -ENOENT || (!err && sending.left) ||
		    (err == -EBADMSG && !why->code))
			err = error_set(why, -EBADMSG, "it has not what was "
				"planned");
		if (!err)
			err = sink->end(sink->arg, ret);
		else
			sink->drop(sink->arg);
	}
	stage_hdf5_close(h);
	return err;
}

int stage_hdf5_read(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why)
{
	struct stage_hdf5 *h;
	int err = stage_hdf5_open(s, &h, why);

	if (err)
		return err;
	err = stage_hdf5_tensors(h, "", file, w, why);
	stage_hdf5_close(h);
	return err;
}
