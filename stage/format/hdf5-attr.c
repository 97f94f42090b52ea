/*
 * Strings in attributes. Writers keep them in two ways: of a fixed length,
 * cut at the first NUL, or of their own length each, which libhdf5 allocates.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "stage/format/hdf5-driver.h"

#define PARTS_MAX 1000	/* NAME0, NAME1, … */

struct attr {
	struct stage_hdf5 *h;
	const char *name;
	hid_t id, type, space;
	size_t size;		/* bytes of one string of a fixed length */
	size_t n;
	bool vlen, scalar;
	struct error *why;
};

static void attr_close(const struct attr *a)
{
	if (a->space >= 0)
		(void) H5Sclose(a->space);
	if (a->type >= 0)
		(void) H5Tclose(a->type);
	if (a->id >= 0)
		(void) H5Aclose(a->id);
}

static int attr_measure(struct attr *a)
{
	hssize_t n = H5Sget_simple_extent_npoints(a->space);
	uint64_t bytes;

	/* An empty list may be of any type. */
	if (!n)
		return 0;
	if (H5Tget_class(a->type) != H5T_STRING)
		return error_set(a->why, -ENOTSUP, "the attribute %s is no "
			"string", a->name);
	a->vlen = H5Tis_variable_str(a->type) > 0;
	a->scalar = H5Sget_simple_extent_type(a->space) == H5S_SCALAR;
	a->size = H5Tget_size(a->type);
	if (n < 0 || !a->size)
		return stage_hdf5_fail(a->h, a->name, a->why);
	a->n = (size_t)n;
	/* Strings of their own length may all be one long one, which libhdf5
	 * copies each time: what a worker may have of memory bounds that. */
	if (a->vlen && a->n > STAGE_HDF5_OWN_MAX)
		a->size = STAGE_HDF5_TEXT_MAX;
	if (a->n > STAGE_HDF5_TEXTS_MAX ||
	    size_mul(a->n, a->size, &bytes) || bytes > STAGE_HDF5_TEXT_MAX)
		return error_set(a->why, -EFBIG, "the attribute %s is too "
			"long", a->name);
	return 0;
}

/* -ENOENT: there is none. */
static int attr_open(struct attr *a, hid_t group)
{
	htri_t there = H5Aexists(group, a->name);

	if (there < 0)
		return stage_hdf5_fail(a->h, a->name, a->why);
	if (!there)
		return -ENOENT;
	a->id = H5Aopen(group, a->name, H5P_DEFAULT);
	if (a->id >= 0)
		a->type = H5Aget_type(a->id);
	if (a->type >= 0)
		a->space = H5Aget_space(a->id);
	if (a->space < 0)
		return stage_hdf5_fail(a->h, a->name, a->why);
	return attr_measure(a);
}

static int texts_add(struct stage_hdf5_texts *t, const char *s, size_t len)
{
	char **v;

	if (t->n >= STAGE_HDF5_TEXTS_MAX)
		return -EFBIG;
	v = reallocarray(t->v, t->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	t->v = v;
	v[t->n] = strndup(s, len);
	return v[t->n++] ? 0 : -ENOMEM;
}

/* Strings of their own length. */
static int attr_read_vlen(struct attr *a, struct stage_hdf5_texts *ret)
{
	hid_t type = H5Tcopy(H5T_C_S1);
	cleanup_free char **v = calloc(a->n + 1, sizeof(*v));
	int err = v && type >= 0 ? 0 : -ENOMEM;

	if (!err && (H5Tset_size(type, H5T_VARIABLE) < 0 ||
	    H5Tset_cset(type, H5Tget_cset(a->type)) < 0 ||
	    H5Aread(a->id, type, v) < 0))
		err = stage_hdf5_fail(a->h, a->name, a->why);
	for (size_t i = 0; i < a->n && !err; i++)
		err = texts_add(ret, v[i] ? v[i] : "",
			v[i] ? strlen(v[i]) : 0);
	for (size_t i = 0; v && i < a->n; i++)
		(void) H5free_memory(v[i]);
	if (type >= 0)
		(void) H5Tclose(type);
	return err;
}

static int attr_read_fixed(struct attr *a, struct stage_hdf5_texts *ret)
{
	cleanup_free char *v = calloc(a->n + 1, a->size + 1);
	int err = v ? 0 : -ENOMEM;

	if (!err && a->n && H5Aread(a->id, a->type, v) < 0)
		err = stage_hdf5_fail(a->h, a->name, a->why);
	for (size_t i = 0; i < a->n && !err; i++)
		err = texts_add(ret, v + i * a->size,
			strnlen(v + i * a->size, a->size));
	return err;
}

static int attr_read(struct stage_hdf5 *h, hid_t group, const char *name,
	struct stage_hdf5_texts *ret, bool *ret_scalar, struct error *why)
{
	struct attr a = { .h = h, .name = name, .id = -1, .type = -1,
		.space = -1, .why = why };
	int err = attr_open(&a, group);

	if (!err)
		err = a.vlen ? attr_read_vlen(&a, ret) :
			attr_read_fixed(&a, ret);
	*ret_scalar = a.scalar;
	attr_close(&a);
	return err;
}

static int read_list(struct stage_hdf5 *h, hid_t group, const char *name,
	struct stage_hdf5_texts *ret, struct error *why)
{
	char part[256];
	bool scalar;
	int err = attr_read(h, group, name, ret, &scalar, why);

	for (unsigned i = 0; err == -ENOENT && i <= PARTS_MAX; i++) {
		(void) snprintf(part, sizeof(part), "%s%u", name, i);
		err = attr_read(h, group, part, ret, &scalar, why);
		if (err == -ENOENT)
			return i ? 0 : err;
		if (!err)
			err = -ENOENT;
	}
	return err;
}

int stage_hdf5_list(struct stage_hdf5 *h, const char *group,
	const char *name, struct stage_hdf5_texts *ret, struct error *why)
{
	struct stage_hdf5_texts all = { NULL, 0 };
	hid_t id;
	int err = stage_hdf5_enter(why);

	if (err)
		return err;
	err = stage_hdf5_group(h, group, &id, why);
	if (!err) {
		err = read_list(h, id, name, &all, why);
		(void) H5Gclose(id);
	}
	stage_hdf5_leave();
	if (err)
		stage_hdf5_texts_done(&all);
	else
		*ret = all;
	return err;
}

int stage_hdf5_text(struct stage_hdf5 *h, const char *group,
	const char *name, char **ret, size_t *ret_len, struct error *why)
{
	struct stage_hdf5_texts all = { NULL, 0 };
	bool scalar = false;
	hid_t id;
	int err = stage_hdf5_enter(why);

	if (err)
		return err;
	err = stage_hdf5_group(h, group, &id, why);
	if (!err) {
		err = attr_read(h, id, name, &all, &scalar, why);
		(void) H5Gclose(id);
	}
	stage_hdf5_leave();
	if (!err && (all.n != 1 || !scalar))
		err = error_set(why, -EBADMSG, "the attribute %s is not one "
			"string", name);
	if (!err) {
		*ret_len = strlen(all.v[0]);
		*ret = steal_ptr(all.v[0]);
	}
	stage_hdf5_texts_done(&all);
	return err;
}

void stage_hdf5_texts_done(struct stage_hdf5_texts *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i]);
	free(t->v);
	t->v = NULL;
	t->n = 0;
}
