/* The archive: its pickles, its code (deflated, read when it is asked for),
 * and where its storages lie. */
#include "config.h"

#include "stage/script.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "stage/format/inflate.h"

static int place(struct stage_torch *t, const char *key, uint64_t len,
	uint64_t *ret_off)
{
	struct ts_archive *a = (struct ts_archive *)t;

	/* Only their types are kept: the storages are there, but empty. */
	if (!strcmp(a->dir, "traced_inputs/")) {
		*ret_off = 0;
		return 0;
	}
	return stage_torch_zip_place(&a->zip, a->dir, key, len, ret_off);
}

int stage_ts_place_tensor(struct ts_archive *a, const char *dir,
	const char *name, const struct stage_py *v, struct stage_tensor *ret)
{
	a->dir = dir;
	return stage_torch_tensor(&a->t, name, v, ret);
}

/* ---- members --------------------------------------------------------------- */

static int inflate_all(struct ts_archive *a, const struct stage_zip_member *m,
	uint64_t off, uint8_t *to)
{
	struct stage_inflate *z = stage_inflate_new(a->src, off, m->packed,
		STAGE_PACKED_DEFLATE, a->why);
	uint8_t more;
	size_t n = 0;
	ssize_t got = 1;

	if (!z)
		return -ENOMEM;
	while (got > 0 && n < m->size) {
		got = stage_inflate_read(z, to + n, (size_t)m->size - n);
		if (got > 0)
			n += (size_t)got;
	}
	if (got >= 0 && n == m->size)
		got = stage_inflate_read(z, &more, 1);
	stage_inflate_free(z);
	if (got < 0)
		return (int)got;
	if (n != m->size || got > 0 || crc32(0, to, (uInt)n) != m->crc32)
		return error_set(a->why, -EBADMSG, "%s is damaged", m->name);
	return 0;
}

int stage_ts_member(struct ts_archive *a, const struct stage_zip_member *m,
	size_t max, char **ret)
{
	uint8_t *text = NULL;
	uint64_t off;
	int r;

	if (m->size > max || a->code + m->size > TS_CODE_MAX)
		return error_set(a->why, -EFBIG, "%s: over %zu bytes",
			m->name, max);
	a->code += (size_t)m->size;
	if (m->method == STAGE_ZIP_STORED) {
		r = stage_zip_member_read(&a->zip.w, m, max, &text, a->why);
	} else if (m->method != STAGE_ZIP_DEFLATED || (m->flags & 1)) {
		r = error_set(a->why, -ENOTSUP, "%s is packed in an unknown "
			"way", m->name);
	} else {
		r = stage_zip_data(&a->zip.w, m, &off, a->why);
		text = r ? NULL : calloc(1, (size_t)m->size + 1);
		if (!r)
			r = text ? inflate_all(a, m, off, text) : -ENOMEM;
	}
	if (r) {
		free(text);
		return r;
	}
	*ret = (char *)text;
	return 0;
}

int stage_ts_file(struct ts_archive *a, const char *module,
	const struct ts_file **ret)
{
	const struct stage_zip_member *m;
	struct ts_file *file = map_get(&a->files, module);
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	int r;

	if (file) {
		*ret = file;
		return 0;
	}
	if (asprintf(&path, "code/%s.py", module) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	for (char *p = path + 5; *p && strcmp(p, ".py") != 0; p++)
		if (*p == '.')
			*p = '/';
	m = stage_torch_zip_find(&a->zip, path);
	if (!m)
		return error_set(a->why, -EBADMSG, "the archive has no %s",
			path);
	r = stage_ts_member(a, m, TS_FILE_MAX, &text);
	if (!r)
		r = stage_ts_parse(&a->arena, path + 5, text, (size_t)m->size,
			&file, a->why);
	if (!r)
		r = map_put(&a->files, module, file, NULL);
	if (!r)
		*ret = file;
	return r;
}

/* ---- the whole ------------------------------------------------------------- */

void stage_ts_begin(struct ts_archive *a, struct src *s, const char *path,
	struct error *why)
{
	a->why = why;
	a->t.why = why;
	a->t.place = place;
	a->zip.why = why;
	a->src = s;
	a->path = path;
	a->arena.max = TS_ARENA_MAX;
}

int stage_ts_open(struct ts_archive *a)
{
	struct src *s = a->src;
	struct error *why = a->why;
	int r;

	r = stage_torch_zip_open(&a->zip, s, "data.pkl");
	if (!r)
		r = stage_torch_zip_properties(&a->zip);
	if (!r)
		r = stage_torch_zip_pickle(&a->zip, "data.pkl", &a->data);
	if (!r)
		r = stage_torch_zip_pickle(&a->zip, "constants.pkl",
			&a->constants);
	if (r == -ENOENT)
		r = error_set(why, -ENOTSUP, "no TorchScript: the archive has "
			"no constants.pkl");
	if (!r)
		r = stage_torch_zip_pickle(&a->zip, "traced_inputs.pkl",
			&a->traced);
	return r == -ENOENT ? 0 : r;
}

void stage_ts_close(struct ts_archive *a)
{
	stage_torch_zip_done(&a->zip);
	stage_pickle_free(a->data);
	stage_pickle_free(a->constants);
	stage_pickle_free(a->traced);
	json_decref(a->program);
	json_decref(a->weights);
	json_decref(a->tensors);
	map_done(&a->files);
	stage_arena_done(&a->arena);
}

int stage_script_probe(struct src *s, const char **ret, struct error *why)
{
	struct stage_zip zip = { 0 };
	bool pickle = false, constants = false, program = false;
	int r = stage_zip_list(s, &zip, why);

	for (size_t i = 0; !r && i < zip.n; i++) {
		const char *name = zip.v[i].name;
		const char *slash = strchr(name, '/');
		const char *base = slash ? slash + 1 : name;

		pickle = pickle || !strcmp(base, "data.pkl");
		constants = constants || !strcmp(base, "constants.pkl");
		program = program || !strcmp(base, "models/model.json") ||
			!strcmp(name, "serialized_exported_program.json");
	}
	stage_zip_done(&zip);
	if (!r)
		*ret = program ? "export" : pickle && constants ? "script" :
			NULL;
	return r;
}
