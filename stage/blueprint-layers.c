/*
 * The functions of the language for models that are given as layers: values
 * that are kept under names which are made while the blueprint runs, ports of
 * any rank, and for blueprints that only say which layers there are, layer()
 * and model().
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "stage/blueprint-run.h"

/* What every layer of Keras has, and what only says how it is trained. */
static const char *const no_matter[] = {
	"adjustment", "autocast", "batch_input_shape", "batch_shape",
	"build_input_shape", "dtype", "experimental_autocast",
	"flash_attention", "fused", "implementation", "input_dim",
	"input_length", "input_shape", "momentum", "name", "noise_shape",
	"optional", "renorm", "renorm_clipping", "renorm_momentum", "seed",
	"synchronized", "trainable", "unroll", "use_cudnn",
	"virtual_batch_size",
};

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), tail = strlen(end);

	return n >= tail && !strcmp(s + n - tail, end);
}

static bool matters(const char *key)
{
	for (size_t i = 0; i < sizeof(no_matter) / sizeof(no_matter[0]); i++)
		if (!strcmp(key, no_matter[i]))
			return false;
	return !ends_with(key, "_initializer") &&
		!ends_with(key, "_regularizer") &&
		!ends_with(key, "_constraint");
}

static int need(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *v, enum bp_value_kind kind)
{
	const struct bp_value wanted = { .kind = kind };

	if (v->kind == kind)
		return 0;
	return stage_bp_fail(r, &e->at, "%s() needs %s, not %s", e->name,
		stage_bp_kind_name(&wanted), stage_bp_kind_name(v));
}

static bool in_words(const char *words, const char *key)
{
	size_t len = strlen(key), n;

	for (const char *p = words; *p; p += n + (p[n] == ' ')) {
		n = strcspn(p, " ");
		if (n == len && !memcmp(p, key, len))
			return true;
	}
	return false;
}

/* unknown(object, "a b"): the first of its keys that is neither among these
 * nor without influence on what is computed, or none. */
int stage_bp_unknown(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const char *key;
	json_t *v;
	int err = need(r, e, &args[1], BP_V_TEXT);

	*ret = (struct bp_value){ .kind = BP_V_NONE };
	if (err || args[0].kind == BP_V_NONE)
		return err;
	err = need(r, e, &args[0], BP_V_OBJECT);
	if (err)
		return err;
	/* The cast: jansson's macro wants it, nothing is changed. */
	json_object_foreach((json_t *)(uintptr_t)args[0].object, key, v) {
		if (json_is_null(v) || !matters(key) ||
		    in_words(args[1].s, key))
			continue;
		*ret = (struct bp_value){ .kind = BP_V_TEXT, .s = key };
		return 0;
	}
	return 0;
}

/* number(v): v when it is a number, else none. */
int stage_bp_number(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	(void) r;
	(void) e;
	*ret = args[0].kind == BP_V_INT || args[0].kind == BP_V_FLOAT ?
		args[0] : (struct bp_value){ .kind = BP_V_NONE };
	return 0;
}

/* single([v]): v when it is a list too, else none. */
int stage_bp_single(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	(void) r;
	(void) e;
	*ret = args[0].kind == BP_V_LIST && args[0].n == 1 &&
		args[0].list[0].kind == BP_V_LIST ? args[0].list[0] :
		(struct bp_value){ .kind = BP_V_NONE };
	return 0;
}

/* keep("name", value), kept("name"): the value, or none. */
int stage_bp_keep(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	struct bp_value *copy;
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (err)
		return err;
	copy = stage_arena_alloc(&r->arena, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *ret = args[1];
	return map_put(&r->kept, args[0].s, copy, NULL);
}

int stage_bp_kept(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const struct bp_value *v;
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (err)
		return err;
	v = map_get(&r->kept, args[0].s);
	*ret = v ? *v : (struct bp_value){ .kind = BP_V_NONE };
	return 0;
}

/* dims(x): all axes of a tensor as dim() tells them. */
int stage_bp_dims(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const struct stage_type *t;
	struct bp_value *v;
	int err = need(r, e, &args[0], BP_V_TENSOR);

	if (err)
		return err;
	t = &args[0].tensor->type;
	v = stage_arena_array(&r->arena, t->rank + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (unsigned i = 0; i < t->rank; i++) {
		if (t->dim[i].symbol)
			v[i] = (struct bp_value){ .kind = BP_V_TEXT,
				.s = t->dim[i].symbol };
		else
			v[i] = stage_bp_int(t->dim[i].size);
	}
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = t->rank, .list = v };
	return 0;
}

static int dims_of(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *v, struct stage_type *ret)
{
	if (v->n > STAGE_RANK_MAX)
		return stage_bp_fail(r, &e->at, "over %u dimensions",
			STAGE_RANK_MAX);
	ret->rank = (unsigned)v->n;
	for (size_t i = 0; i < v->n; i++) {
		const struct bp_value *d = &v->list[i];

		if (d->kind == BP_V_TEXT)
			ret->dim[i] = (struct stage_dim){ -1, d->s };
		else if (d->kind == BP_V_INT && d->i > 0)
			ret->dim[i] = (struct stage_dim){ d->i, NULL };
		else
			return stage_bp_fail(r, &e->at, "a dimension that is "
				"%s", stage_bp_kind_name(d));
	}
	return 0;
}

/* placeholder("name", f32, ["batch_size", 3]): an input of the graph. */
int stage_bp_placeholder(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	struct stage_type type = { .rank = 0 };
	struct bp_tensor *t;
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (!err)
		err = need(r, e, &args[1], BP_V_INT);
	if (!err)
		err = need(r, e, &args[2], BP_V_LIST);
	if (!err)
		err = dims_of(r, e, &args[2], &type);
	if (err)
		return err;
	type.dtype = (enum stage_dtype)args[1].i;
	err = stage_bp_add_input(r, &e->at, args[0].s, &type, &t);
	if (!err)
		*ret = stage_bp_tensor(t);
	return err;
}

/* result("name", x): an output, of the type that x has. */
int stage_bp_result(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (!err)
		err = need(r, e, &args[1], BP_V_TENSOR);
	if (err)
		return err;
	*ret = args[1];
	return stage_bp_add_output(r, &e->at, args[0].s, args[1].tensor);
}

/* ---- layers ---------------------------------------------------------------- */

static json_t *to_json(const struct bp_value *v)
{
	json_t *list;

	switch (v->kind) {
	case BP_V_BOOL:
		return json_boolean(v->b);
	case BP_V_INT:
		return json_integer(v->i);
	case BP_V_FLOAT:
		return json_real(v->f);
	case BP_V_TEXT:
		return json_string(v->s);
	case BP_V_LIST:
		list = json_array();
		for (size_t i = 0; list && i < v->n; i++) {
			json_t *item = to_json(&v->list[i]);

			if (!item || json_array_append_new(list, item)) {
				json_decref(list);
				return NULL;
			}
		}
		return list;
	case BP_V_NONE:
	case BP_V_OBJECT:
	case BP_V_TENSOR:
		break;
	}
	return json_null();
}

/* ["filters", 64, "strides", [2, 2]] */
static int options(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *v, json_t *config)
{
	if (v->n % 2)
		return stage_bp_fail(r, &e->at, "a name without a value");
	for (size_t i = 0; i < v->n; i += 2) {
		int err = need(r, e, &v->list[i], BP_V_TEXT);

		if (err)
			return err;
		if (json_object_set_new(config, v->list[i].s,
		    to_json(&v->list[i + 1])))
			return -ENOMEM;
	}
	return 0;
}

static json_t *list_of(struct bp_run *r, const char *key)
{
	return r->args->layers ? json_object_get(r->args->layers, key) : NULL;
}

/* layer("Dense", [x, …], "name", ["units", 10]): what stands for its output.
 * Without a name it has one by its number. */
int stage_bp_layer(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	json_t *all = list_of(r, "layers"), *config, *one;
	char id[32], name[32];
	int err = need(r, e, &args[0], BP_V_TEXT);

	if (!err)
		err = need(r, e, &args[1], BP_V_LIST);
	if (!err)
		err = need(r, e, &args[2], BP_V_TEXT);
	if (!err)
		err = need(r, e, &args[3], BP_V_LIST);
	if (err)
		return err;
	if (!all)
		return stage_bp_fail(r, &e->at, "layer() where a graph is "
			"made");
	if (json_array_size(all) >= STAGE_LAYERS_MAX)
		return stage_bp_fail(r, &e->at, "over %u layers",
			STAGE_LAYERS_MAX);
	(void) snprintf(id, sizeof(id), "%zu:0", json_array_size(all));
	(void) snprintf(name, sizeof(name), "layer_%zu",
		json_array_size(all));
	config = json_object();
	one = json_pack("{s:s, s:s, s:o, s:o, s:[s]}", "class", args[0].s,
		"name", *args[2].s ? args[2].s : name, "config", config,
		"inputs", to_json(&args[1]), "outputs", id);
	if (!one || json_array_append(all, one)) {
		json_decref(one);
		return -ENOMEM;
	}
	json_decref(one);
	err = options(r, e, &args[3], config);
	*ret = (struct bp_value){ .kind = BP_V_TEXT,
		.s = stage_arena_strdup(&r->arena, id) };
	return err ? err : ret->s ? 0 : -ENOMEM;
}

/* model([y, …]): its outputs. */
int stage_bp_model(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int err = need(r, e, &args[0], BP_V_LIST);

	*ret = (struct bp_value){ .kind = BP_V_NONE };
	if (!err && !r->args->layers)
		return stage_bp_fail(r, &e->at, "model() where a graph is "
			"made");
	if (!err && json_object_set_new(r->args->layers, "outputs",
	    to_json(&args[0])))
		return -ENOMEM;
	return err;
}
