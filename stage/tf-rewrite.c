/*
 * One node at a time: variables to Const, reads of them to Identity, all
 * others as they are, with the attributes that were left out and without
 * those that are a program's own ("_class" names nodes that may be gone).
 */
#include "config.h"

#include "stage/tf-freeze.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define SUFFIX_MAX 1000

static int no_memory(const struct tf_freezer *f)
{
	return error_set(f->why, -EFBIG, "no memory for so large a graph");
}

/* ---- attributes ------------------------------------------------------------ */

/* What no frozen graph can have in an attribute. */
static int check_attr(struct tf_freezer *f, const struct stage_tf_node *n,
	const struct stage_tf_attr *a)
{
	struct stage_wire v;
	unsigned type = stage_tf_type(n, a->key);

	if (type == STAGE_TF_STRING)
		return error_set(f->why, -ENOTSUP, "%s (%s) works on strings",
			n->name, n->op);
	if (type == STAGE_TF_RESOURCE && strcmp(n->op, "Identity") &&
	    !stage_tf_is_frame(n->op))
		return error_set(f->why, -ENOTSUP, "%s (%s) works on a "
			"resource that is no variable", n->name, n->op);
	if (stage_tf_value(a, 9, &v))
		return error_set(f->why, -ENOTSUP, "%s (%s) depends on how "
			"its function is called", n->name, n->op);
	if (stage_tf_value(a, 10, &v))
		return error_set(f->why, -ENOTSUP, "%s (%s) calls a function",
			n->name, n->op);
	return 0;
}

static int copy_attrs(struct tf_freezer *f, const struct stage_tf_node *n,
	struct stage_tf_frozen_node *to)
{
	int err = 0;

	to->attr = stage_arena_array(&f->out->arena, n->n_attr + TF_ATTRS_MORE,
		sizeof(*to->attr));
	if (!to->attr)
		return no_memory(f);
	for (size_t i = 0; i < n->n_attr && !err; i++) {
		if (n->attr[i].key[0] == '_')
			continue;
		err = check_attr(f, n, &n->attr[i]);
		to->attr[to->n_attr++] = n->attr[i];
	}
	return err ? err : stage_tf_attr_text(f, stage_tf_defaults(n->op), to->attr,
		&to->n_attr);
}

/* "T=t:1", with the type of attribute `from` of n */
static int add_type(struct tf_freezer *f, struct stage_tf_frozen_node *to,
	const char *key, unsigned type)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "t:%u", type);
	int err = stage_tf_attr_make(f, key, text, (size_t)len,
		&to->attr[to->n_attr]);

	to->n_attr += !err;
	return err;
}

/* ---- nodes ----------------------------------------------------------------- */

static struct stage_tf_frozen_node *new_node(struct tf_freezer *f)
{
	struct stage_tf_frozen *o = f->out;
	size_t room = o->room ? 2 * o->room : 256;
	struct stage_tf_frozen_node *v;

	if (o->n >= STAGE_TF_NODES_MAX) {
		error_set(f->why, -EFBIG, "over %u nodes", STAGE_TF_NODES_MAX);
		return NULL;
	}
	if (o->n == o->room) {
		v = reallocarray(o->v, room, sizeof(*v));
		if (!v) {
			(void) no_memory(f);
			return NULL;
		}
		o->v = v;
		o->room = room;
	}
	v = &o->v[o->n++];
	memset(v, 0, sizeof(*v));
	return v;
}

/* name, or name_1, name_2, … */
int stage_tf_reserve(struct tf_freezer *f, const char *name, const char **ret)
{
	cleanup_free char *with = name ? strdup(name) : NULL;
	char *copy;

	for (unsigned i = 1; with && map_get(&f->names, with); i++) {
		free(with);
		if (i > SUFFIX_MAX || asprintf(&with, "%s_%u", name, i) < 0)
			with = NULL;
	}
	copy = with ? stage_arena_strdup(&f->out->arena, with) : NULL;
	if (!copy)
		return no_memory(f);
	*ret = copy;
	return map_put(&f->names, copy, copy, NULL);
}

static int start(struct tf_freezer *f, const char *name, const char *op,
	size_t n_in, struct stage_tf_frozen_node **ret)
{
	struct stage_tf_frozen_node *n = new_node(f);
	int err = 0;

	if (!n)
		return -EFBIG;
	if (f->reserved) {
		n->name = f->reserved;
		f->reserved = NULL;
	} else {
		err = stage_tf_reserve(f, name, &n->name);
	}
	if (err)
		return err;
	n->op = op;
	n->input = stage_arena_array(&f->out->arena, n_in + f->n_control + 1,
		sizeof(*n->input));
	n->attr = stage_arena_array(&f->out->arena, TF_ATTRS_MORE + 1,
		sizeof(*n->attr));
	if (!n->input || !n->attr)
		return no_memory(f);
	*ret = n;
	return 0;
}

static void add_input(struct stage_tf_frozen_node *n, const struct tf_value *v)
{
	n->input[n->n_input++] = v->ref;
}

static bool is_anchored(const struct stage_tf_frozen_node *n)
{
	return n->n_input && n->input[0][0] != '^';
}

static void finish(const struct tf_freezer *f, struct stage_tf_frozen_node *n,
	struct tf_done *ret)
{
	for (size_t i = 0; i < f->n_control && !is_anchored(n); i++)
		n->input[n->n_input++] = f->control[i];
	stage_tf_attr_sort(n);
	ret->name = n->name;
	ret->ready = true;
}

/* Output `out` of a node, as references name it; i is its number. */
static const char *output_of(struct tf_freezer *f, const char *name,
	const char *out, unsigned i)
{
	cleanup_free char *text = NULL;
	int len = f->in_function ? asprintf(&text, "%s:%s:0", name, out) :
		i ? asprintf(&text, "%s:%u", name, i) :
		asprintf(&text, "%s", name);

	if (len < 0) {
		text = NULL;
		return NULL;
	}
	return stage_arena_strdup(&f->out->arena, text);
}

static int one_value(struct tf_freezer *f, const char *ref,
	const struct tf_variable *handle, struct tf_done *ret)
{
	if (!ref)
		return no_memory(f);
	ret->v = stage_arena_alloc(&f->out->arena, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(f);
	ret->v->ref = ref;
	ret->v->handle = handle;
	ret->n = 1;
	ret->ready = true;
	return 0;
}

/* ---- variables ------------------------------------------------------------- */

static int variable(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, bool handle, struct tf_done *ret)
{
	const struct stage_tf_var *where = map_get(f->vars, n->name);
	unsigned dtype = stage_tf_type(n, "dtype");
	struct tf_variable *v = stage_arena_alloc(&f->out->arena, sizeof(*v));
	struct stage_tf_frozen_node *to;
	int err;

	if (!v)
		return no_memory(f);
	if (!where)
		return error_set(f->why, -ENOTSUP, "the variable %s is not in "
			"the checkpoint", n->name);
	err = stage_tf_const(f->b, where, &v->bytes, f->why);
	if (err) {
		error_wrap(f->why, "variable %s", n->name);
		return err;
	}
	v->key = where->key;
	v->dtype = v->bytes.t->dtype;
	if (dtype && dtype != v->dtype)
		return error_set(f->why, -EBADMSG, "the variable %s is of type "
			"%u, the checkpoint's %s of type %u", n->name, dtype,
			v->key, v->dtype);
	err = start(f, name, "Const", 0, &to);
	if (!err)
		err = add_type(f, to, "dtype", v->dtype);
	if (err)
		return err;
	to->value = &v->bytes;
	finish(f, to, ret);
	ret->other = true;
	return handle ? one_value(f, output_of(f, ret->name, "output", 0), v,
		ret) : 0;
}

int stage_tf_emit_int(struct tf_freezer *f, const char *name, uint64_t v,
	struct tf_value *ret)
{
	cleanup_buf struct buf b = BUF_INIT(64);
	struct stage_tf_frozen_node *to;
	struct tf_done done = { 0 };
	struct stage_tf_attr *a;
	int err = start(f, name, "Const", 0, &to);

	if (!err)
		err = add_type(f, to, "dtype", STAGE_TF_INT32);
	/* tensor 8 {dtype 1: int32, tensor_shape 2: none, int_val 7} */
	if (!err)
		err = buf_append(&b, "\x42\x06\x08\x03\x12\x00\x38", 7);
	if (!err)
		err = buf_append_le(&b, v, 1);
	if (err)
		return err;
	a = &to->attr[to->n_attr++];
	a->key = "value";
	a->value = (const uint8_t *)stage_arena_copy(&f->out->arena, b.data,
		b.len);
	a->len = b.len;
	finish(f, to, &done);
	ret->ref = output_of(f, to->name, "output", 0);
	ret->handle = NULL;
	return a->value && ret->ref ? 0 : no_memory(f);
}

/* ResourceGather's batch_dims is the axis it gathers along. */
static int gather(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, const struct tf_value *in, struct tf_done *ret)
{
	cleanup_free char *axis_name = NULL;
	struct tf_value axis = { NULL, NULL };
	struct stage_tf_frozen_node *to;
	struct stage_wire dims = { 0 };
	char text[24];
	int err;

	(void) stage_tf_value(stage_tf_attr(n, "batch_dims"), 3, &dims);
	if (dims.value > STAGE_RANK_MAX)
		return error_set(f->why, -ENOTSUP, "%s has batch_dims %lld",
			n->name, (long long)dims.value);
	if (asprintf(&axis_name, "%s/axis", name) < 0) {
		axis_name = NULL;
		return no_memory(f);
	}
	err = stage_tf_emit_int(f, axis_name, dims.value, &axis);
	if (!err)
		err = start(f, name, "GatherV2", 3, &to);
	if (err)
		return err;
	add_input(to, &in[0]);
	add_input(to, &in[1]);
	add_input(to, &axis);
	err = add_type(f, to, "Tparams", in[0].handle->dtype);
	if (!err)
		err = add_type(f, to, "Tindices", stage_tf_type(n, "Tindices"));
	if (!err)
		err = add_type(f, to, "Taxis", STAGE_TF_INT32);
	(void) snprintf(text, sizeof(text), "n:%" PRIu64, dims.value);
	if (!err)
		err = stage_tf_attr_make(f, "batch_dims", text, strlen(text),
			&to->attr[to->n_attr]);
	to->n_attr += !err;
	finish(f, to, ret);
	return err;
}

/* Switch and Enter of a handle become those of what it holds. */
static int carry(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, const struct tf_value *in, size_t n_in,
	struct tf_done *ret)
{
	const char *op = n->op + (strncmp(n->op, "Ref", 3) ? 0 : 3);
	bool both = !strcmp(op, "Switch");
	struct stage_tf_frozen_node *to;
	int err;

	if (strcmp(op, "Enter") && !(both && n_in == 2))
		return error_set(f->why, -ENOTSUP, "%s (%s) chooses a variable",
			n->name, n->op);
	err = start(f, name, op, n_in, &to);
	for (size_t i = 0; i < n_in && !err; i++)
		add_input(to, &in[i]);
	if (!err)
		err = add_type(f, to, "T", in[0].handle->dtype);
	for (size_t i = 0; i < n->n_attr && !err; i++)
		if (strcmp(n->attr[i].key, "T") && n->attr[i].key[0] != '_' &&
		    to->n_attr < TF_ATTRS_MORE)
			to->attr[to->n_attr++] = n->attr[i];
	if (err)
		return err;
	finish(f, to, ret);
	if (!both)
		return one_value(f, output_of(f, to->name, "output", 0),
			in[0].handle, ret);
	ret->v = stage_arena_array(&f->out->arena, 2, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(f);
	ret->v[0] = (struct tf_value){ output_of(f, to->name, "output_false",
		0), in[0].handle };
	ret->v[1] = (struct tf_value){ output_of(f, to->name, "output_true",
		1), in[0].handle };
	ret->n = 2;
	return ret->v[0].ref && ret->v[1].ref ? 0 : no_memory(f);
}

/* The other operators on a variable's handle. */
static const struct reader {
	const char *op, *becomes;
	const char *type, *other;	/* attributes: element type, one of n */
	const char *other_as;
	unsigned other_default;
	size_t n_in;
} readers[] = {
	{ "ReadVariableOp", "Identity", "T", NULL, NULL, 0, 1 },
	{ "ResourceGatherNd", "GatherNd", "Tparams", "Tindices", "Tindices",
		STAGE_TF_INT32, 2 },
	{ "VariableShape", "Shape", "T", "out_type", "out_type",
		STAGE_TF_INT32, 1 },
};

static int read_variable(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, const struct tf_value *in, size_t n_in,
	struct tf_done *ret)
{
	const struct reader *x = NULL;
	struct stage_tf_frozen_node *to;
	unsigned other;
	int err;

	ret->other = true;
	if (!strcmp(n->op, "Identity"))
		return one_value(f, in[0].ref, in[0].handle, ret);
	if (stage_tf_is_frame(n->op))
		return carry(f, n, name, in, n_in, ret);
	if (!strcmp(n->op, "ResourceGather") && n_in == 2)
		return gather(f, n, name, in, ret);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
		if (!strcmp(readers[i].op, n->op) && readers[i].n_in == n_in)
			x = &readers[i];
	if (!x)
		return error_set(f->why, -ENOTSUP, "%s (%s) does more with a "
			"variable than read it", n->name, n->op);
	err = start(f, name, x->becomes, n_in, &to);
	if (err)
		return err;
	for (size_t i = 0; i < n_in; i++)
		add_input(to, &in[i]);
	err = add_type(f, to, x->type, in[0].handle->dtype);
	if (!err && x->other) {
		other = stage_tf_type(n, x->other);
		err = add_type(f, to, x->other_as, other ? other :
			x->other_default);
	}
	finish(f, to, ret);
	return err;
}

/* ---- operators of ours ------------------------------------------------------ */

int stage_tf_emit(struct tf_freezer *f, const char *name, const char *op,
	const struct tf_value *in, size_t n_in, const char *attrs,
	const char *frame, const char **ret_name)
{
	cleanup_free char *text = NULL;
	struct stage_tf_frozen_node *to;
	struct tf_done done = { 0 };
	int err = start(f, name, op, n_in, &to);

	if (err)
		return err;
	for (size_t i = 0; i < n_in; i++)
		add_input(to, &in[i]);
	err = stage_tf_attr_text(f, attrs, to->attr, &to->n_attr);
	if (!err && frame && asprintf(&text, "s:%s", frame) < 0) {
		text = NULL;
		return no_memory(f);
	}
	if (!err && frame)
		err = stage_tf_attr_make(f, "frame_name", text, strlen(text),
			&to->attr[to->n_attr]);
	to->n_attr += !err && frame;
	if (err)
		return err;
	finish(f, to, &done);
	*ret_name = to->name;
	return 0;
}

/* ---- any node -------------------------------------------------------------- */

static int plain(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, const struct tf_value *in, size_t n_in,
	struct tf_done *ret)
{
	const char *why = stage_tf_refused(n->op), *op = n->op;
	struct stage_tf_frozen_node *to;
	int err;

	if (why)
		return error_set(f->why, -ENOTSUP, "%s (%s) cannot be frozen: "
			"%s", n->name, n->op, why);
	/* A frozen graph has no references. */
	if (stage_tf_is_frame(op) && !strncmp(op, "Ref", 3))
		op += 3;
	err = start(f, name, op, n_in, &to);
	if (err)
		return err;
	for (size_t i = 0; i < n_in; i++)
		add_input(to, &in[i]);
	err = copy_attrs(f, n, to);
	finish(f, to, ret);
	return err;
}

/* What only orders others, and Assert: nothing but its control edges. */
static int order(struct tf_freezer *f, const char *name, struct tf_done *ret)
{
	struct stage_tf_frozen_node *to;
	int err = start(f, name, "NoOp", 0, &to);

	if (!err)
		finish(f, to, ret);
	return err;
}

int stage_tf_rewrite(struct tf_freezer *f, const struct stage_tf_node *n,
	const char *name, const struct tf_value *in, size_t n_in,
	struct tf_done *ret)
{
	if (!strcmp(n->op, "NoOp") || !strcmp(n->op, "Assert"))
		return order(f, name, ret);
	if (!strcmp(n->op, "VarHandleOp"))
		return variable(f, n, name, true, ret);
	if (!strcmp(n->op, "VariableV2") || !strcmp(n->op, "Variable"))
		return variable(f, n, name, false, ret);
	for (size_t i = 1; i < n_in; i++)
		if (in[i].handle)
			return error_set(f->why, -ENOTSUP, "%s (%s) does more "
				"with a variable than read it", n->name,
				n->op);
	if (n_in && in[0].handle)
		return read_variable(f, n, name, in, n_in, ret);
	return plain(f, n, name, in, n_in, ret);
}

/* ---- the ends -------------------------------------------------------------- */

int stage_tf_feed(struct tf_freezer *f, const struct stage_tf_node *n,
	const struct stage_tf_info *info, struct tf_done *ret)
{
	cleanup_buf struct buf b = BUF_INIT(65536);
	struct stage_tf_frozen_node *to;
	struct stage_tf_attr *a;
	int err;

	if (!strcmp(n->op, "Placeholder"))
		return plain(f, n, n->name, NULL, 0, ret);
	if (info->dtype == STAGE_TF_STRING)
		return error_set(f->why, -ENOTSUP, "the input %s is of strings",
			info->key);
	err = start(f, n->name, "Placeholder", 0, &to);
	if (!err)
		err = add_type(f, to, "dtype", info->dtype);
	if (!err && info->shape) {
		err = buf_append(&b, "\x3a", 1);	/* shape 7 */
		if (!err)
			err = buf_append_varint(&b, info->shape_len);
		if (!err)
			err = buf_append(&b, info->shape, info->shape_len);
		a = &to->attr[to->n_attr++];
		a->key = "shape";
		a->value = (const uint8_t *)stage_arena_copy(&f->out->arena,
			b.data, b.len);
		a->len = b.len;
		if (!err && !a->value)
			err = no_memory(f);
	}
	if (err)
		return err;
	finish(f, to, ret);
	return 0;
}

/* A signature's key as the name of a node: [A-Za-z0-9.][A-Za-z0-9_.\\/>-]* */
static void name_of(const char *key, char *ret, size_t room)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"abcdefghijklmnopqrstuvwxyz0123456789._\\/>-";
	size_t n = 0;

	if (!*key || !strchr(good, *key) || strchr("_\\/>-", *key))
		ret[n++] = '.';
	for (; *key && n + 1 < room; key++)
		ret[n++] = strchr(good, *key) ? *key : '_';
	ret[n] = '\0';
}

int stage_tf_fetch(struct tf_freezer *f, const struct stage_tf_info *info,
	const struct tf_value *v, const char **ret_name)
{
	struct stage_tf_frozen_node *to;
	struct tf_done done = { 0 };
	char name[256];
	int err;

	name_of(info->key, name, sizeof(name));
	if (v->handle)
		return error_set(f->why, -ENOTSUP, "the output %s is a "
			"variable itself", info->key);
	*ret_name = v->ref;
	if (!strcmp(v->ref, name))
		return 0;
	err = start(f, name, "Identity", 1, &to);
	if (err)
		return err;
	add_input(to, v);
	err = add_type(f, to, "T", info->dtype);
	finish(f, to, &done);
	*ret_name = to->name;
	return err;
}
