/*
 * Variants that change what the weights are or where: the initializer X
 * becomes X_fp16 or X_int8, computed from the same bytes, and operators in
 * front of the others give X. Nothing else changes, so that what holds of the
 * graph (names, types, shapes) still does, in every runtime; those that fold
 * constants have the operators away at load.
 *
 * Vectors stay as they are: biases and norms are a thousandth of the bytes and
 * what rounding hurts most.
 */
#include "config.h"

#include "stage/variant.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "stage/safetensors-write.h"

#define I8_MIN 64		/* elements */
/* Elements of a group: accuracy against size. Eight layers of an mT5 whose
 * weights are noise have a cosine of 0.9997, with 32 one of 0.9995. */
#define GROUP_BEST 16
#define GROUP_LEAST 8
#define GROUP_ROW 64		/* at most, of a row that has no divisor */
#define SKELETON_MIN 128	/* bytes; less stays in the file */
#define EXTERNAL_MIN 1024
#define EXTERNAL_ALIGN 4096	/* of each tensor, for who maps them */

/* ---- which ----------------------------------------------------------------- */

/* Do only operators Cast use it? They do not mind its type. */
static bool only_cast(const struct stage_edit *e,
	const struct stage_onnx_tensor *t)
{
	const struct stage_onnx_value *v = stage_onnx_value(&e->m, t->name);

	return v && v->said & STAGE_ONNX_USED_CAST &&
		!(v->said & (STAGE_ONNX_USED | STAGE_ONNX_USED_STATS |
			  STAGE_ONNX_USED_SIZES | STAGE_ONNX_USED_INNER |
			  STAGE_ONNX_OUTPUT));
}

/* ---- f16 ------------------------------------------------------------------- */

static int cast(struct stage_edit *e, const char *from, const char *to,
	enum stage_dtype type)
{
	const struct stage_attr attr = { .name = "to", .kind = STAGE_ATTR_INT,
		.i = (int64_t)type };

	return stage_edit_node(e, "Cast", &from, 1, to, &attr);
}

/* X_fp16, and X = Cast(X_fp16); X alone where it is cast already. */
static int to_f16(struct stage_edit *e, struct stage_onnx_tensor *t)
{
	const struct stage_extent how = { .xform = STAGE_TO_F16,
		.from = (uint8_t)t->dtype };
	struct stage_graph_init half = stage_edit_like(t);
	bool same = t->dtype == STAGE_BF16;
	char name[STAGE_EDIT_NAME];
	int r = 0;

	half.dtype = STAGE_F16;
	half.len = t->n * 2;
	if (!same) {
		r = stage_edit_name(e, t->name, "_fp16", name);
		half.value = name;
	}
	if (!r)
		r = stage_edit_init(e, &half, t, &how);
	if (!r && !same)
		r = cast(e, name, t->name, STAGE_F32);
	stage_edit_drop(e, t, true);
	return r;
}

int stage_form_f16(struct stage_edit *e)
{
	int r = stage_edit_check_opset(e);

	if (!r)
		r = stage_edit_check(e);
	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i];

		if (!t->plain || !stage_edit_is_ref(e, t))
			continue;
		if ((t->dtype == STAGE_F32 && t->rank >= 2) ||
		    (t->dtype == STAGE_BF16 && only_cast(e, t)))
			r = to_f16(e, t);
	}
	if (!r && !e->changed && !e->m.has_half)
		r = error_set(e->why, -ENOTSUP, "it has no float32 matrix "
			"that could be float16");
	return r ? r : stage_edit_metadata(e, "weights", "float16");
}

/* ---- int8 ------------------------------------------------------------------ */

static uint64_t row_of(const struct stage_onnx_tensor *t)
{
	return t->dim[0] ? t->n / t->dim[0] : 0;
}

static unsigned divisor(uint64_t n, unsigned from, unsigned to)
{
	for (unsigned g = from; n && g >= to; g--)
		if (n % g == 0)
			return g;
	return 0;
}

/* How many elements share a scale: a part of a row, the whole of a short one,
 * or a part of the tensor; 0: nothing fits. */
static unsigned group_of(const struct stage_onnx_tensor *t)
{
	uint64_t row = row_of(t);
	unsigned g = divisor(row, GROUP_BEST, GROUP_LEAST);

	if (!g && row >= 4 && row < GROUP_LEAST)
		g = (unsigned)row;
	if (!g)
		g = divisor(t->n, GROUP_BEST, GROUP_LEAST);
	if (!g && row <= GROUP_ROW && row >= 4)
		g = (unsigned)row;
	return g;
}

/* The numbers and their scales. If a row is a group they have the tensor's own
 * rank, else two dimensions. */
static int put_i8(struct stage_edit *e, const struct stage_onnx_tensor *t,
	unsigned group, const char *name, const char *scale)
{
	struct stage_extent how = { .xform = STAGE_TO_I8,
		.from = (uint8_t)t->dtype, .group = (uint16_t)group };
	struct stage_graph_init init = stage_edit_like(t);
	int r;

	if (row_of(t) != group) {
		init.rank = 2;
		init.dim[0] = t->n / group;
		init.dim[1] = group;
	}
	init.value = name;
	init.dtype = STAGE_I8;
	init.len = t->n;
	r = stage_edit_init(e, &init, t, &how);
	if (r)
		return r;
	for (unsigned i = 1; i < init.rank; i++)
		init.dim[i] = 1;
	init.value = scale;
	init.dtype = STAGE_F32;
	init.len = t->n / group * 4;
	how.xform = STAGE_TO_SCALE;
	return stage_edit_init(e, &init, t, &how);
}

/* to = Reshape(from), into the shape of t. */
static int reshape(struct stage_edit *e, const struct stage_onnx_tensor *t,
	const char *from, const char *to)
{
	struct stage_graph_init init = { .dtype = STAGE_I64, .rank = 1,
		.dim = { t->rank }, .len = 8ull * t->rank };
	char name[STAGE_EDIT_NAME];
	const char *const in[] = { from, name };
	int r = stage_edit_name(e, t->name, "_int8_shape", name);

	init.value = name;
	if (!r)
		r = stage_edit_constant(e, &init, t->dim);
	return r ? r : stage_edit_node(e, "Reshape", in, 2, to, NULL);
}

/* X_int8 and X_int8_scale; X = Reshape(Cast(X_int8) * X_int8_scale). */
static int to_i8(struct stage_edit *e, struct stage_onnx_tensor *t,
	unsigned group)
{
	static const char *const suffixes[] = {
		"_int8", "_int8_scale", "_int8_cast", "_int8_mul",
		"_int8_wide",
	};
	enum { NUMBERS, SCALE, CAST, MUL, WIDE, N };
	char (*name)[STAGE_EDIT_NAME] = calloc(N, sizeof(*name));
	bool shaped = row_of(t) == group;
	bool wide = t->dtype == STAGE_F32 || only_cast(e, t);
	const char *mul, *last = wide ? t->name : name ? name[WIDE] : NULL;
	int r = name ? 0 : -ENOMEM;

	for (int i = 0; i < N && !r; i++)
		r = stage_edit_name(e, t->name, suffixes[i], name[i]);
	if (!r)
		r = put_i8(e, t, group, name[NUMBERS], name[SCALE]);
	if (!r)
		r = cast(e, name[NUMBERS], name[CAST], STAGE_F32);
	mul = !r && !shaped ? name[MUL] : last;
	if (!r) {
		const char *const in[] = { name[CAST], name[SCALE] };

		r = stage_edit_node(e, "Mul", in, 2, mul, NULL);
	}
	if (!r && !shaped)
		r = reshape(e, t, mul, last);
	if (!r && !wide)
		r = cast(e, last, t->name, (enum stage_dtype)t->dtype);
	stage_edit_drop(e, t, true);
	free(name);
	return r;
}

int stage_form_i8(struct stage_edit *e)
{
	int r = stage_edit_check_opset(e);

	if (!r)
		r = stage_edit_check(e);
	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i];
		unsigned group;

		if (!t->plain || t->rank < 2 || t->n < I8_MIN ||
		    (t->dtype != STAGE_F32 && t->dtype != STAGE_F16 &&
			    t->dtype != STAGE_BF16) || !stage_edit_is_ref(e, t))
			continue;
		group = group_of(t);
		if (group)
			r = to_i8(e, t, group);
	}
	if (!r && !e->changed)
		r = error_set(e->why, -ENOTSUP, "it has no matrix of floating-"
			"point numbers that could be int8");
	return r ? r : stage_edit_metadata(e, "weights", "int8");
}

/* ---- where ----------------------------------------------------------------- */

/* Where a reader finds the tensor's bytes: in a file that lies beside the
 * graph, or in the graph's own file. */
static void outside_of(struct stage_edit *e, const struct stage_onnx_tensor *t,
	struct stage_onnx_outside *ret)
{
	struct stage_edit_bytes b;

	*ret = (struct stage_onnx_outside){ path_base(e->path), t->off,
		t->len };
	if (!stage_edit_bytes(e, t, &b) || b.kind != STAGE_REF ||
	    !stage_edit_is_beside(e, b.path))
		return;
	ret->location = path_base(b.path);
	ret->off = b.off;
}

/* Bytes the file has of itself are no weights. */
static bool is_inline(struct stage_edit *e, const struct stage_onnx_tensor *t)
{
	struct stage_edit_bytes b;

	return stage_edit_bytes(e, t, &b) && b.kind == STAGE_INLINE;
}

int stage_form_skeleton(struct stage_edit *e)
{
	int r = stage_edit_check(e);

	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i];
		struct stage_onnx_outside where;

		if (!t->plain || t->place != STAGE_ONNX_HERE ||
		    (e->original && t->len < SKELETON_MIN) ||
		    is_inline(e, t))
			continue;
		outside_of(e, t, &where);
		stage_edit_drop(e, t, false);
		r = stage_edit_outside(e, t, &where);
	}
	return r;
}

/* Is it in the data file? Then *at is where, and behind it. */
static bool in_data(const struct stage_onnx_tensor *t, uint64_t *at,
	uint64_t *ret)
{
	if (!t->plain || t->len < EXTERNAL_MIN)
		return false;
	*ret = (*at + EXTERNAL_ALIGN - 1) / EXTERNAL_ALIGN * EXTERNAL_ALIGN;
	*at = *ret + t->len;
	return true;
}

int stage_form_external(struct stage_edit *e, const char *data)
{
	struct stage_onnx_outside where = { .location = data };
	uint64_t at = 0;
	int r = stage_edit_check(e);

	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_onnx_tensor *t = &e->m.tensors[i];

		if (!in_data(t, &at, &where.off))
			continue;
		where.len = t->len;
		stage_edit_drop(e, t, false);
		r = stage_edit_outside(e, t, &where);
	}
	if (!r && !e->changed)
		r = error_set(e->why, -ENOTSUP, "it has no tensor of %d bytes "
			"that could lie outside", EXTERNAL_MIN);
	return r;
}

int stage_form_data(struct stage_edit *e, struct stage_recipe **ret)
{
	struct stage_recipe *to = stage_recipe_new();
	uint64_t at = 0, place, off;
	int r = to ? stage_edit_check(e) : -ENOMEM;

	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		const struct stage_onnx_tensor *t = &e->m.tensors[i];
		struct stage_cursor *c;

		if (!in_data(t, &at, &place))
			continue;
		r = stage_recipe_zero(to, place - stage_recipe_size(to));
		if (!r)
			r = stage_edit_place(e, t, &c, &off);
		if (!r)
			r = stage_recipe_slice(to, c, off, t->len);
	}
	if (!r && !at)
		r = error_set(e->why, -ENOTSUP, "it has no tensor of %d bytes "
			"that could lie outside", EXTERNAL_MIN);
	if (r)
		stage_recipe_unref(to);
	else
		*ret = to;
	return r;
}

/* ---- safetensors ----------------------------------------------------------- */

static bool is_float(uint32_t dtype)
{
	return dtype == STAGE_F32 || dtype == STAGE_F16 ||
		dtype == STAGE_BF16 || dtype == STAGE_F64;
}

static int add_tensor(struct stage_edit *e, const struct stage_onnx_tensor *t,
	const struct stage_edit_bytes *b, struct stage_weights *w)
{
	struct stage_tensor s = { .name = (char *)(uintptr_t)t->name,
		.dtype = (enum stage_dtype)t->dtype, .rank = t->rank,
		.off = b->off, .len = t->len };
	int r;

	for (s.file = 0; s.file < w->n_files; s.file++)
		if (!strcmp(w->files[s.file], b->path))
			break;
	if (s.file == w->n_files) {
		r = stage_weights_file(w, b->path, b->size);
		if (r < 0)
			return r;
	}
	memcpy(s.dim, t->dim, sizeof(s.dim));
	return stage_weights_add(w, &s, e->why);
}

/* Every initializer, and of the constants those that are weights. */
int stage_form_weights(struct stage_edit *e, struct stage_recipe **ret)
{
	struct stage_weights w = { 0 };
	int r = stage_edit_check(e);

	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		const struct stage_onnx_tensor *t = &e->m.tensors[i];
		struct stage_edit_bytes b;

		if (t->constant && (!is_float(t->dtype) || t->n < 2))
			continue;
		if (stage_edit_bytes(e, t, &b) && b.kind == STAGE_REF)
			r = add_tensor(e, t, &b, &w);
		else if (is_float(t->dtype) && t->spread)
			r = error_set(e->why, -ENOTSUP, "%.200s is not stored "
				"as bytes that safetensors could have",
				t->name);
	}
	if (!r && !w.n)
		r = error_set(e->why, -ENOTSUP, "it has no weights");
	if (!r)
		r = stage_weights_sort(&w, e->why);
	if (!r)
		r = stage_safetensors_write(&w, ret, e->why);
	stage_weights_done(&w);
	return r;
}
