/*
 * What the pickled calls mean. Only the functions of two tables are known:
 * those that rebuild a tensor we can place, and those we refuse by name. All
 * else in a checkpoint (optimizers, counters, options) is not looked at.
 */
#include "config.h"

#include "stage/format/torch-state.h"

#include <string.h>

#include "base/bytes.h"

#define STEPS_MAX 20000000	/* entries; more is nobody's checkpoint */
#define NESTING_MAX 4		/* wrappers around a state_dict */
#define PARAMETER_MAX 4		/* wrappers around a tensor */

/* ---- storages -------------------------------------------------------------- */

static const struct {
	const char *name;
	enum stage_dtype dtype;
} storages[] = {
	{ "FloatStorage", STAGE_F32 }, { "HalfStorage", STAGE_F16 },
	{ "BFloat16Storage", STAGE_BF16 }, { "DoubleStorage", STAGE_F64 },
	{ "LongStorage", STAGE_I64 }, { "IntStorage", STAGE_I32 },
	{ "ShortStorage", STAGE_I16 }, { "CharStorage", STAGE_I8 },
	{ "ByteStorage", STAGE_U8 }, { "BoolStorage", STAGE_BOOL },
	{ "ComplexFloatStorage", STAGE_C64 }, { "UntypedStorage", 0 },
	{ "_UntypedStorage", 0 },
};

/* "torch FloatStorage", "torch.cuda FloatStorage", "torch.storage Untyped…" */
static int storage_type(const struct stage_py *v, enum stage_dtype *ret,
	struct error *why)
{
	static const char *const modules[] = { "torch ", "torch.cuda ",
		"torch.storage " };
	const char *name = NULL;

	if (!v || v->kind != STAGE_PY_GLOBAL)
		return error_set(why, -EBADMSG, "a storage without a type");
	for (size_t i = 0; i < 3 && !name; i++) {
		if (!strncmp(v->u.str.s, modules[i], strlen(modules[i])))
			name = v->u.str.s + strlen(modules[i]);
	}
	for (size_t i = 0; name && i < sizeof(storages) / sizeof(storages[0]);
		i++) {
		if (!strcmp(name, storages[i].name)) {
			*ret = storages[i].dtype;
			return 0;
		}
	}
	return error_set(why, -ENOTSUP, "storages of type %s are not read",
		v->u.str.s);
}

static bool size_of(const struct stage_py *v, uint64_t *ret)
{
	int64_t i;

	if (!stage_py_int(v, &i) || i < 0)
		return false;
	*ret = (uint64_t)i;
	return true;
}

/* (view key, offset, size), in elements; None: the whole storage. */
static bool storage_view(const struct stage_py *v,
	struct stage_torch_storage *s)
{
	uint64_t off, n;

	s->view_off = 0;
	s->view_len = s->len;
	if (!v || v->kind == STAGE_PY_NONE)
		return true;
	return size_of(stage_py_item(v, 1), &off) &&
		size_of(stage_py_item(v, 2), &n) &&
		!size_mul(off, s->elem, &s->view_off) &&
		!size_mul(n, s->elem, &s->view_len) &&
		size_inside(s->view_off, s->view_len, s->len);
}

int stage_torch_storage(const struct stage_py *persid,
	struct stage_torch_storage *ret, struct error *why)
{
	struct stage_torch_storage s = { 0 };
	const char *word;
	uint64_t n;
	int err;

	if (!persid || persid->kind != STAGE_PY_PERSID ||
	    !stage_py_str(stage_py_item(persid, 0), &word) ||
	    strcmp(word, "storage"))
		return error_set(why, -EBADMSG, "not the id of a storage");
	err = storage_type(stage_py_item(persid, 1), &s.dtype, why);
	if (err)
		return err;
	s.elem = s.dtype ? stage_dtype_size(s.dtype) : 1;
	if (!stage_py_str(stage_py_item(persid, 2), &s.key) ||
	    !size_of(stage_py_item(persid, 4), &n) ||
	    size_mul(n, s.elem, &s.len) ||
	    !storage_view(stage_py_item(persid, 5), &s))
		return error_set(why, -EBADMSG, "a storage without key or size");
	*ret = s;
	return 0;
}

/* ---- tensors --------------------------------------------------------------- */

enum rebuild {
	REBUILD_NOT,		/* no tensor */
	REBUILD_TENSOR,		/* (storage, offset, size, stride, …) */
	REBUILD_TYPED,		/* the same, [6] is the element type */
	REBUILD_PARAMETER,	/* (tensor, …) */
	REBUILD_FROM_TYPE,	/* (function, class, arguments, state) */
	REBUILD_REFUSED,
};

static const struct {
	const char *callee;
	enum rebuild kind;
} rebuilds[] = {
	{ "torch._utils _rebuild_tensor", REBUILD_TENSOR },
	{ "torch._utils _rebuild_tensor_v2", REBUILD_TENSOR },
	{ "torch._utils _rebuild_tensor_v3", REBUILD_TYPED },
	{ "torch._utils _rebuild_parameter", REBUILD_PARAMETER },
	{ "torch._utils _rebuild_parameter_with_state", REBUILD_PARAMETER },
	{ "torch._tensor _rebuild_from_type", REBUILD_FROM_TYPE },
	{ "torch._tensor _rebuild_from_type_v2", REBUILD_FROM_TYPE },
};

static const struct {
	const char *name;
	enum stage_dtype dtype;
} dtypes[] = {
	{ "torch float32", STAGE_F32 }, { "torch float16", STAGE_F16 },
	{ "torch bfloat16", STAGE_BF16 }, { "torch float64", STAGE_F64 },
	{ "torch int64", STAGE_I64 }, { "torch int32", STAGE_I32 },
	{ "torch int16", STAGE_I16 }, { "torch int8", STAGE_I8 },
	{ "torch uint8", STAGE_U8 }, { "torch bool", STAGE_BOOL },
	{ "torch uint16", STAGE_U16 }, { "torch uint32", STAGE_U32 },
	{ "torch uint64", STAGE_U64 }, { "torch complex64", STAGE_C64 },
	{ "torch float8_e4m3fn", STAGE_F8E4M3 },
	{ "torch float8_e5m2", STAGE_F8E5M2 },
};

/* A call that gives a tensor: its function and arguments. */
struct rebuild_call {
	enum rebuild kind;
	const char *callee;
	const struct stage_py *args;
};

static enum rebuild rebuild_kind(const char *callee)
{
	for (size_t i = 0; i < sizeof(rebuilds) / sizeof(rebuilds[0]); i++) {
		if (!strcmp(callee, rebuilds[i].callee))
			return rebuilds[i].kind;
	}
	/* Sparse, quantized, on another device, of a class of its own. */
	return !strncmp(callee, "torch._utils _rebuild", 21) ||
		!strncmp(callee, "torch._tensor _rebuild", 22) ?
		REBUILD_REFUSED : REBUILD_NOT;
}

static struct rebuild_call rebuild_of(const struct stage_py *v)
{
	struct rebuild_call c = { REBUILD_NOT, stage_py_callee(v), NULL };

	if (c.callee) {
		c.kind = rebuild_kind(c.callee);
		c.args = v->u.call.args;
	}
	return c;
}

/* Down through parameters and subclasses to the call with the storage. */
static int unwrap_tensor(struct stage_torch *t, const char *name,
	struct rebuild_call *c)
{
	for (int i = 0; i < PARAMETER_MAX; i++) {
		const struct stage_py *f;

		switch (c->kind) {
		case REBUILD_TENSOR:
		case REBUILD_TYPED:
			return 0;
		case REBUILD_PARAMETER:
			*c = rebuild_of(stage_py_item(c->args, 0));
			break;
		case REBUILD_FROM_TYPE:
			f = stage_py_item(c->args, 0);
			c->callee = f && f->kind == STAGE_PY_GLOBAL ?
				f->u.str.s : "";
			c->kind = rebuild_kind(c->callee);
			c->args = stage_py_item(c->args, 2);
			break;
		case REBUILD_REFUSED:
			return error_set(t->why, -ENOTSUP,
				"%s is made by %s, which is not read", name,
				c->callee);
		case REBUILD_NOT:
			return error_set(t->why, -EBADMSG,
				"%s is a parameter without a tensor", name);
		}
	}
	return error_set(t->why, -EBADMSG, "%s is wrapped too often", name);
}

/* A tuple or torch.Size of integers >= 0. */
static bool ints_of(const struct stage_py *v, uint64_t *ret, size_t *ret_n)
{
	const char *callee = stage_py_callee(v);
	size_t n;

	if (callee && !strcmp(callee, "torch Size"))
		v = stage_py_item(v, 0);
	if (!v || v->kind != STAGE_PY_TUPLE)
		return false;
	n = stage_py_count(v);
	for (size_t i = 0; i < n && i < STAGE_RANK_MAX; i++) {
		if (!size_of(stage_py_item(v, i), &ret[i]))
			return false;
	}
	*ret_n = n;
	return true;
}

/* Are the elements one behind the other, the last index fastest? */
static bool row_major(const struct stage_tensor *t, const uint64_t *stride)
{
	uint64_t want = 1;

	for (unsigned i = 0; i < t->rank; i++) {
		if (!t->dim[i])
			return true;
	}
	for (unsigned i = t->rank; i--;) {
		if (t->dim[i] > 1 && stride[i] != want)
			return false;
		/* Too large to be true: the length says so. */
		if (size_mul(want, t->dim[i], &want))
			return true;
	}
	return true;
}

static int tensor_shape(struct stage_torch *t, const struct rebuild_call *c,
	struct stage_tensor *ret)
{
	uint64_t stride[STAGE_RANK_MAX];
	size_t rank, n_stride;

	if (!ints_of(stage_py_item(c->args, 2), ret->dim, &rank) ||
	    !ints_of(stage_py_item(c->args, 3), stride, &n_stride) ||
	    rank != n_stride)
		return error_set(t->why, -EBADMSG, "%s: bad shape", ret->name);
	if (rank > STAGE_RANK_MAX)
		return error_set(t->why, -EFBIG, "%s has over %u dimensions",
			ret->name, STAGE_RANK_MAX);
	ret->rank = (unsigned)rank;
	if (!row_major(ret, stride))
		return error_set(t->why, -ENOTSUP,
			"%s is not stored row by row (a transposed or "
			"strided view)", ret->name);
	return 0;
}

static int tensor_dtype(struct stage_torch *t, const struct rebuild_call *c,
	struct stage_tensor *ret)
{
	const struct stage_py *v = stage_py_item(c->args, 6);

	if (c->kind != REBUILD_TYPED)
		return ret->dtype ? 0 : error_set(t->why, -EBADMSG,
			"%s has no element type", ret->name);
	for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
		if (stage_py_is_global(v, dtypes[i].name)) {
			ret->dtype = dtypes[i].dtype;
			return 0;
		}
	}
	return error_set(t->why, -ENOTSUP,
		"%s: element type %s is not read", ret->name,
		v && v->kind == STAGE_PY_GLOBAL ? v->u.str.s : "?");
}

bool stage_torch_is_tensor(const struct stage_py *v)
{
	return v && rebuild_of(v).kind != REBUILD_NOT;
}

int stage_torch_tensor(struct stage_torch *t, const char *name,
	const struct stage_py *v, struct stage_tensor *to)
{
	struct stage_tensor ret = { .name = (char *)(uintptr_t)name,
		.file = t->file };
	struct rebuild_call c = rebuild_of(v);
	struct stage_torch_storage s;
	uint64_t off, elem;
	int err = unwrap_tensor(t, name, &c);

	if (err)
		return err;
	err = stage_torch_storage(stage_py_item(c.args, 0), &s, t->why);
	if (err) {
		(void) error_wrap(t->why, "%s", name);
		return err;
	}
	ret.dtype = s.dtype;
	err = tensor_dtype(t, &c, &ret);
	if (!err)
		err = tensor_shape(t, &c, &ret);
	if (err)
		return err;
	elem = stage_dtype_size(ret.dtype);
	ret.len = elem;
	for (unsigned i = 0; i < ret.rank; i++) {
		if (size_mul(ret.len, ret.dim[i], &ret.len))
			return error_set(t->why, -EBADMSG, "%s: bad shape",
				name);
	}
	if (!size_of(stage_py_item(c.args, 1), &off) ||
	    size_mul(off, elem, &off) ||
	    !size_inside(off, ret.len, s.view_len))
		return error_set(t->why, -EBADMSG,
			"%s lies outside its storage", name);
	if (ret.len) {
		err = t->place(t, s.key, s.len, &ret.off);
		if (err)
			return err;
		ret.off += s.view_off + off;
	}
	*to = ret;
	return 0;
}

static int add_tensor(struct stage_torch *t, const char *name,
	const struct stage_py *v)
{
	struct stage_tensor ret;
	int err = stage_torch_tensor(t, name, v, &ret);

	/* The name is copied. */
	return err ? err : stage_weights_add(t->w, &ret, t->why);
}

/* ---- the state_dict -------------------------------------------------------- */

/* Count entries looked at: dictionaries can contain each other. */
static bool tired(struct stage_torch *t, size_t n)
{
	t->steps += n;
	return t->steps > STEPS_MAX;
}

static bool has_tensor(struct stage_torch *t, struct stage_py *v)
{
	struct stage_py *d = stage_py_dict(v);

	for (size_t i = 0; d && i + 1 < d->u.seq.n; i += 2) {
		if (tired(t, 1))
			return false;
		if (rebuild_of(d->u.seq.v[i + 1]).kind != REBUILD_NOT)
			return true;
	}
	return false;
}

/* Tensors in v or in a dictionary of v. */
static bool has_tensors_below(struct stage_torch *t, struct stage_py *v)
{
	struct stage_py *d = stage_py_dict(v);

	if (has_tensor(t, v))
		return true;
	for (size_t i = 0; d && i + 1 < d->u.seq.n; i += 2) {
		if (tired(t, 1))
			return false;
		if (has_tensor(t, d->u.seq.v[i + 1]))
			return true;
	}
	return false;
}

static struct stage_py *known_wrapper(struct stage_torch *t,
	struct stage_py *dict)
{
	static const char *const keys[] = { "state_dict", "model",
		"model_state_dict", "net", "params_ema", "params" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct stage_py *v = stage_py_get(dict, keys[i]);

		if (tired(t, dict->u.seq.n / 2))
			return NULL;
		if (has_tensors_below(t, v))
			return v;
	}
	return NULL;
}

/* The one dictionary with tensors in `dict`; two are -ENOTSUP. */
static int only_dict(struct stage_torch *t, struct stage_py *dict,
	struct stage_py **ret)
{
	const char *first = NULL, *name;

	for (size_t i = 0; i + 1 < dict->u.seq.n; i += 2) {
		if (!has_tensors_below(t, dict->u.seq.v[i + 1]))
			continue;
		if (!stage_py_str(dict->u.seq.v[i], &name))
			name = "?";
		if (first)
			return error_set(t->why, -ENOTSUP, "which of its "
				"dictionaries is the model's, %s or %s, is "
				"not said", first, name);
		first = name;
		*ret = dict->u.seq.v[i + 1];
	}
	return first ? 0 : error_set(t->why, -ENOTSUP,
		"no tensors in the checkpoint");
}

static int find_state(struct stage_torch *t, struct stage_py *root,
	struct stage_py **ret)
{
	struct stage_py *v = root;

	for (int i = 0; i <= NESTING_MAX; i++) {
		struct stage_py *dict = stage_py_dict(v), *inner;
		int err;

		if (!dict)
			return error_set(t->why, -ENOTSUP, v->kind ==
				STAGE_PY_CALL && v->u.call.state ?
				"a pickled module, not a state_dict" :
				"no tensors in the checkpoint");
		inner = known_wrapper(t, dict);
		if (!inner && has_tensor(t, dict)) {
			*ret = dict;
			return 0;
		}
		err = inner ? 0 : only_dict(t, dict, &inner);
		if (t->steps > STEPS_MAX)
			return error_set(t->why, -EFBIG,
				"a checkpoint of too many entries");
		if (err)
			return err;
		v = inner;
	}
	return error_set(t->why, -ENOTSUP, "a state_dict wrapped too often");
}

int stage_torch_state(struct stage_torch *t, struct stage_py *root)
{
	struct stage_py *dict = NULL;
	int err = find_state(t, root, &dict);

	for (size_t i = 0; !err && i + 1 < dict->u.seq.n; i += 2) {
		const struct stage_py *v = dict->u.seq.v[i + 1];
		const char *name;

		if (rebuild_of(v).kind == REBUILD_NOT)
			continue;
		if (!stage_py_str(dict->u.seq.v[i], &name))
			return error_set(t->why, -ENOTSUP,
				"a tensor whose key is no string");
		err = add_tensor(t, name, v);
	}
	return err;
}
