/*
 * torch.export's archive: its program, and where its weights lie.
 *
 * Source: torch/export/pt2_archive (names of members), torch/_export/serde/
 * schema.py (TensorMeta) of pytorch; schema version 8.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stage/script-op.h"

#define PROGRAM_MAX (48u << 20)		/* bytes of JSON */
#define SCHEMA_MAJOR 8

/* Its numbers of element types, and TorchScript's. */
static const struct {
	int64_t is, scalar;
} scalars[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 3 }, { 5, 4 }, { 6, 5 },
	{ 7, 6 }, { 8, 7 }, { 12, 11 }, { 13, 15 } };

int64_t stage_ts_scalar_of(int64_t is)
{
	for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++)
		if (scalars[i].is == is)
			return scalars[i].scalar;
	return -1;
}

/* ---- opening --------------------------------------------------------------- */

static int read_json(struct ts_archive *a, const char *name, json_t **ret)
{
	const struct stage_zip_member *m = stage_torch_zip_find(&a->zip,
		name);
	cleanup_free char *text = NULL;
	int r;

	if (!m)
		return -ENOENT;
	r = stage_ts_member(a, m, PROGRAM_MAX, &text);
	if (!r)
		r = json_parse(text, (size_t)m->size, PROGRAM_MAX, ret,
			a->why);
	if (r)
		(void) error_wrap(a->why, "%s", name);
	return r;
}

int stage_ts_open_program(struct ts_archive *a)
{
	int major = 0, r;

	r = stage_torch_zip_open(&a->zip, a->src, "archive_format");
	if (r == -ENOTSUP)
		return error_set(a->why, -ENOTSUP, "torch.export's older "
			"archive, with pickled weights, is not read");
	if (!r)
		r = stage_torch_zip_properties(&a->zip);
	if (!r)
		r = read_json(a, "models/model.json", &a->program);
	if (!r)
		r = read_json(a, "data/weights/model_weights_config.json",
			&a->weights);
	if (r == -ENOENT)
		return error_set(a->why, -ENOTSUP, "torch.export's archive "
			"has its weights pickled, which is not read");
	if (!r)
		r = read_json(a, "data/constants/model_constants_config.json",
			&a->tensors);
	if (r && r != -ENOENT)
		return r;
	(void) json_unpack(a->program, "{s:{s:i}}", "schema_version",
		"major", &major);
	return major == SCHEMA_MAJOR ? 0 : error_set(a->why, -ENOTSUP,
		"schema version %d of torch.export is not read", major);
}

/* ---- weights --------------------------------------------------------------- */

static int read_dims(struct ts *c, const json_t *v, uint64_t *ret)
{
	size_t i;
	json_t *d;

	json_array_foreach(v, i, d) {
		const json_t *n = json_object_get(d, "as_int");

		if (!json_is_integer(n) || json_integer_value(n) < 0)
			return stage_ts_fail(c, "a weight of an open size");
		ret[i] = (uint64_t)json_integer_value(n);
	}
	return 0;
}

static bool row_major(const struct stage_tensor *t, const uint64_t *stride)
{
	uint64_t want = 1;

	for (unsigned i = t->rank; i--;) {
		if (t->dim[i] > 1 && stride[i] != want)
			return false;
		if (__builtin_mul_overflow(want, t->dim[i], &want))
			return false;
	}
	return true;
}

/* An entry of a …_config.json */
static int place_weight(struct ts *c, const char *dir, const char *name,
	const json_t *entry, struct stage_tensor *ret)
{
	const json_t *meta = json_object_get(entry, "tensor_meta");
	const json_t *sizes = json_object_get(meta, "sizes");
	const json_t *strides = json_object_get(meta, "strides");
	const char *file = json_string_value(json_object_get(entry,
		"path_name"));
	struct stage_tensor t = { .name = NULL };
	uint64_t stride[STAGE_RANK_MAX];
	const struct stage_zip_member *m;
	char path[300];
	int r;

	if (!file || json_array_size(sizes) > STAGE_RANK_MAX ||
	    json_array_size(sizes) != json_array_size(strides) ||
	    json_is_true(json_object_get(entry, "use_pickle")))
		return stage_ts_fail(c, "%s is not stored as bytes", name);
	t.rank = (unsigned)json_array_size(sizes);
	t.dtype = stage_ts_dtype(c, stage_ts_scalar_of(json_integer_value(
		json_object_get(meta, "dtype"))));
	if (read_dims(c, sizes, t.dim) || read_dims(c, strides, stride) ||
	    c->err)
		return c->err;
	if (!row_major(&t, stride) || json_integer_value(json_object_get(
	    json_object_get(meta, "storage_offset"), "as_int")))
		return stage_ts_fail(c, "%s is not stored row by row", name);
	t.len = stage_dtype_size(t.dtype);
	for (unsigned i = 0; i < t.rank; i++)
		if (__builtin_mul_overflow(t.len, t.dim[i], &t.len))
			return stage_ts_fail(c, "%s is too large", name);
	(void) snprintf(path, sizeof(path), "%s%.200s", dir, file);
	m = stage_torch_zip_find(&c->a->zip, path);
	if (!m || m->size < t.len)
		return stage_ts_error(c, error_set(c->why, -EBADMSG,
			"%s has no %llu bytes in the archive", name,
			(unsigned long long)t.len));
	r = stage_torch_zip_place(&c->a->zip, dir, file, m->size, &t.off);
	if (r)
		return stage_ts_error(c, r);
	*ret = t;
	return 0;
}

/* Of the weights and the constants, the first of that name. */
struct ts_value stage_ts_program_weight(struct ts *c, const char *name)
{
	static const char *const dirs[] = { "data/weights/",
		"data/constants/" };
	json_t *const configs[] = { c->a->weights, c->a->tensors };
	struct ts_value none = { .kind = TS_UNSET };
	struct stage_tensor t;

	for (size_t i = 0; i < 2 && name; i++) {
		const json_t *e = json_object_get(json_object_get(configs[i],
			"config"), name);

		if (e)
			return place_weight(c, dirs[i], name, e, &t) ? none :
				stage_ts_weight(c, &t, name, i || !t.rank,
				false);
	}
	(void) stage_ts_error(c, error_set(c->why, -EBADMSG,
		"the archive has no weight %s", name ? name : "?"));
	return none;
}
