/*
 * The names of variants, and what a path is a variant of. Names come from a
 * listing alone: whether a model can be made smaller is told by its plan.
 */
#include "config.h"

#include "stage/variant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"

#define ONNX ".onnx"
#define SAFETENSORS ".safetensors"
#define MODEL "model"		/* whose weights are called */
#define WEIGHTS "weights"

static const char *const endings[STAGE_FORMS] = {
	[STAGE_FORM_F16] = "_fp16" ONNX,
	[STAGE_FORM_I8] = "_int8" ONNX,
	[STAGE_FORM_SKELETON] = "_skeleton" ONNX,
	[STAGE_FORM_EXTERNAL] = "_external" ONNX,
	[STAGE_FORM_EXTERNAL_DATA] = "_external" ONNX "_data",
	[STAGE_FORM_TRAINABLE] = "_trainable" ONNX,
	[STAGE_FORM_CLEAN] = "_clean" ONNX,
	[STAGE_FORM_WEIGHTS] = SAFETENSORS,
};

/* How others call variants of theirs. */
static const char *const foreign[] = {
	"_quantized", "_uint8", "_q4", "_q4f16", "_q8", "_bnb4", "_bf16",
	"-int8", "-fp16", "-qdq", "_quint8_avx2", "_qint8_avx512",
	"_qint8_avx512_vnni", "_qint8_arm64",
};

static bool ends(const char *s, size_t len, const char *ending)
{
	size_t tail = strlen(ending);

	return len > tail && !strncmp(s + len - tail, ending, tail);
}

/* ---- names ----------------------------------------------------------------- */

static bool is_named_variant(const char *path)
{
	size_t stem = strlen(path) - strlen(ONNX);

	for (int i = 0; i < STAGE_FORM_WEIGHTS; i++)
		if (ends(path, strlen(path), endings[i]))
			return true;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (ends(path, stem, foreign[i]))
			return true;
	return false;
}

int stage_variant_of(const char *path, enum stage_form *ret, char **ret_base)
{
	size_t len = strlen(path), stem;
	const char *base = path_base(path);
	int form, n;

	*ret = STAGE_FORMS;
	*ret_base = NULL;
	for (form = 0; form < STAGE_FORMS; form++)
		if (ends(base, strlen(base), endings[form]))
			break;
	if (form == STAGE_FORMS)
		return 0;
	stem = len - strlen(endings[form]);
	if (form == STAGE_FORM_WEIGHTS && !strcmp(base, WEIGHTS SAFETENSORS))
		n = asprintf(ret_base, "%.*s" MODEL ONNX,
			(int)(base - path), path);
	else
		n = asprintf(ret_base, "%.*s" ONNX, (int)stem, path);
	if (n < 0) {
		*ret_base = NULL;
		return -ENOMEM;
	}
	*ret = (enum stage_form)form;
	return 0;
}

/* Is `path` a file right in `dir`? NULL: in any. */
static bool is_in(const char *path, const char *dir)
{
	const char *base = path_base(path);
	size_t len = base > path ? (size_t)(base - path) - 1 : 0;

	return !dir || (strlen(dir) == len && !strncmp(path, dir, len));
}

/* ---- layout ---------------------------------------------------------------- */

struct laying {
	const struct stage_repo *repo;
	const char *dir;
	struct listing *to;
	struct map saved;	/* directories with safetensors in them */
};

static int note_saved(struct laying *l, const struct listing *in)
{
	int r = 0;

	for (size_t i = 0; i < in->n && !r; i++) {
		const char *path = in->v[i].path;
		cleanup_free char *dir = NULL;

		if (in->v[i].kind != LISTING_FILE ||
		    !ends(path, strlen(path), SAFETENSORS))
			continue;
		dir = strndup(path, (size_t)(path_base(path) - path));
		r = dir ? map_put(&l->saved, dir, l, NULL) : -ENOMEM;
	}
	return r;
}

static int add(struct laying *l, const char *path, const char *ending)
{
	const struct objid none = { .alg = OBJID_NONE };
	size_t stem = strlen(path) - strlen(ONNX);
	cleanup_free char *name = NULL;
	int r;

	if (asprintf(&name, "%.*s%s", (int)stem, path, ending) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	r = listing_add(l->to, name, LISTING_FILE, LISTING_SIZE_UNKNOWN,
		&none);
	/* A path that is too long is one we do not offer. */
	return r == -EINVAL ? 0 : r;
}

static int add_weights(struct laying *l, const char *path)
{
	const struct objid none = { .alg = OBJID_NONE };
	size_t dir = (size_t)(path_base(path) - path);
	cleanup_free char *name = strndup(path, dir);
	cleanup_free char *full = NULL;

	if (!name)
		return -ENOMEM;
	if (map_get(&l->saved, name))
		return 0;
	if (strcmp(path + dir, MODEL ONNX) != 0)
		return add(l, path, SAFETENSORS);
	if (asprintf(&full, "%s" WEIGHTS SAFETENSORS, name) < 0)
		full = NULL;
	return full ? listing_add(l->to, full, LISTING_FILE,
		LISTING_SIZE_UNKNOWN, &none) : -ENOMEM;
}

static int add_forms(struct laying *l, const char *path, bool original)
{
	int r = 0;

	if (is_named_variant(path))
		return add(l, path, endings[STAGE_FORM_SKELETON]);
	for (int i = 0; i < STAGE_FORM_WEIGHTS && !r; i++)
		if (i != STAGE_FORM_CLEAN || original)
			r = add(l, path, endings[i]);
	return r ? r : add_weights(l, path);
}

static int add_all(struct laying *l, const struct listing *of, size_t n,
	bool original)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		/* The listing may grow and move while we add to it. */
		cleanup_free char *path = NULL;

		if (of->v[i].kind != LISTING_FILE ||
		    !is_in(of->v[i].path, l->dir) ||
		    !ends(of->v[i].path, strlen(of->v[i].path), ONNX))
			continue;
		path = strdup(of->v[i].path);
		r = path ? add_forms(l, path, original) : -ENOMEM;
	}
	return r;
}

int stage_variant_layout(const struct stage_repo *repo, const char *dir,
	struct listing *staged)
{
	struct laying l = { .repo = repo, .dir = dir, .to = staged };
	size_t n = staged->n;
	int r = note_saved(&l, repo->listing);

	if (!r)
		r = note_saved(&l, staged);
	if (!r)
		r = add_all(&l, staged, n, false);
	if (!r)
		r = add_all(&l, repo->listing, repo->listing->n, true);
	map_done(&l.saved);
	return r;
}

/* ---- plans ----------------------------------------------------------------- */

/* External data has any name, in the directory of the model or below. */
bool stage_variant_reads(const char *base, const char *file)
{
	size_t dir = (size_t)(path_base(base) - base);

	return !strcmp(base, file) || (!strncmp(base, file, dir) &&
		!ends(file, strlen(file), ONNX));
}

static int change(struct stage_edit *e, enum stage_form form)
{
	cleanup_free char *data = NULL;
	const char *base = path_base(e->path);

	switch (form) {
	case STAGE_FORM_F16:
		return stage_form_f16(e);
	case STAGE_FORM_I8:
		return stage_form_i8(e);
	case STAGE_FORM_SKELETON:
		return stage_form_skeleton(e);
	case STAGE_FORM_TRAINABLE:
		return stage_form_trainable(e);
	case STAGE_FORM_CLEAN:
		return stage_form_clean(e);
	default:
		break;
	}
	if (asprintf(&data, "%.*s%s", (int)(strlen(base) - strlen(ONNX)),
		    base, endings[STAGE_FORM_EXTERNAL_DATA]) < 0) {
		data = NULL;
		return -ENOMEM;
	}
	return stage_form_external(e, data);
}

int stage_variant_plan(struct stage *s, const struct stage_input *in,
	enum stage_form form, const char *base, struct stage_recipe **ret,
	struct error *why)
{
	struct stage_edit e;
	int r = stage_edit_open(&e, s, in, base, why);

	if (!r && form == STAGE_FORM_WEIGHTS)
		r = stage_form_weights(&e, ret);
	else if (!r && form == STAGE_FORM_EXTERNAL_DATA)
		r = stage_form_data(&e, ret);
	else if (!r)
		r = change(&e, form);
	if (!r && form != STAGE_FORM_WEIGHTS &&
	    form != STAGE_FORM_EXTERNAL_DATA)
		r = stage_edit_write(&e, ret);
	stage_edit_done(&e);
	return r;
}
