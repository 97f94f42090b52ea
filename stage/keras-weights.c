/*
 * The weights of a model's layers, out of either kind of file. Nothing is
 * guessed: each layer has as many as it says.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/map.h"
#include "stage/keras.h"

#define PATH_ROOM 4096

struct reading {
	const struct stage_keras_weights *k;
	struct stage_weights raw;	/* all tensors of the file */
	unsigned made;			/* of ret: what raw's second file is */
	bool *used;			/* of raw.v */
	struct map done;		/* layers by name */
	size_t taken;			/* of the group of STAGE_KERAS_ORDER */
	struct stage_weights *ret;
	struct error *why;
};

/* A tensor of the file, as the caller is to see it. raw has at most one file
 * more, of what has to be made. */
static int add(struct reading *x, const struct stage_tensor *t,
	const char *name)
{
	struct stage_tensor copy = *t;

	copy.name = (char *)(uintptr_t)name;
	if (t->file) {
		copy.file = x->made;
	} else {
		copy.file = x->k->file;
		copy.off += x->k->base;
	}
	return stage_weights_add(x->ret, &copy, x->why);
}

/* raw.v[i] is the weight `var` of a layer. */
static int take(struct reading *x, const struct stage_tensor *t,
	const char *layer, const char *var)
{
	char name[PATH_ROOM];

	(void) snprintf(name, sizeof(name), "%s.%s", layer, var);
	x->used[t - x->raw.v] = true;
	return add(x, t, name);
}

static int take_named(struct reading *x, const char *from, const char *layer,
	const char *var)
{
	const struct stage_tensor *t = stage_weights_find(&x->raw, from);

	if (!t)
		return error_set(x->why, -ENOTSUP, "the layer %s has no %s "
			"(%s is not in the file)", layer, var, from);
	return take(x, t, layer, var);
}

/* ---- .weights.h5 ----------------------------------------------------------- */

/* Newer files tell the layer's name beside its weights. */
static int check_name(struct reading *x, const char *group,
	const char *layer)
{
	const char *slash = strrchr(layer, '/');
	const char *name = slash ? slash + 1 : layer;
	cleanup_free char *stored = NULL;
	size_t len;
	int err = stage_hdf5_text(x->k->h, group, "name", &stored, &len,
		x->why);

	if (err == -ENOENT)
		return 0;
	if (!err && strcmp(stored, name) != 0)
		err = error_set(x->why, -ENOTSUP, "%s has the weights of %s "
			"where those of %s should be", group, stored, layer);
	return err;
}

static int take_stored(struct reading *x, const char *layer,
	const char *store, const struct stage_keras_var *v, size_t n)
{
	char path[PATH_ROOM];
	int err = 0;

	if (n) {
		(void) snprintf(path, sizeof(path), "%s/vars", store);
		err = check_name(x, path, layer);
	}
	for (size_t i = 0; i < n && !err; i++) {
		(void) snprintf(path, sizeof(path), "%s/%s", store,
			v[i].store);
		err = take_named(x, path, layer, v[i].name);
	}
	return err;
}

/* ---- legacy ---------------------------------------------------------------- */

/* Is a part of "a/b/kernel:0" before its last one this name? */
static bool has_part(const char *path, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = path; strchr(p, '/'); p = strchr(p, '/') + 1)
		if (!strncmp(p, name, len) && p[len] == '/')
			return true;
	return false;
}

/* Of a layer in a model: those of the group's weights that name it. */
static size_t choose(const struct stage_hdf5_texts *all, const char *layer,
	const char **ret, size_t room)
{
	const char *slash = strrchr(layer, '/');
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		if (slash && !has_part(all->v[i], slash + 1))
			continue;
		if (n < room)
			ret[n] = all->v[i];
		n++;
	}
	return n;
}

/* The next n of the group, whatever they are called. */
static size_t choose_next(struct reading *x,
	const struct stage_hdf5_texts *all, const char **ret, size_t n)
{
	size_t i = 0;

	while (i < n && x->taken < all->n)
		ret[i++] = all->v[x->taken++];
	return i;
}

static int take_group(struct reading *x, const char *layer,
	const char *group, const struct stage_keras_var *v, size_t n)
{
	const char *chosen[STAGE_KERAS_VARS_MAX];
	struct stage_hdf5_texts names = { NULL, 0 };
	const char *top = x->k->top;
	char path[PATH_ROOM];
	size_t found;
	int err;

	if (!n)
		return 0;
	(void) snprintf(path, sizeof(path), "%s%s%s", top, *top ? "/" : "",
		group);
	err = stage_hdf5_list(x->k->h, path, "weight_names", &names, x->why);
	if (err)
		return err != -ENOENT ? err : error_set(x->why, -ENOTSUP,
			"the file has no weights of the layer %s", layer);
	found = x->k->form == STAGE_KERAS_ORDER ?
		choose_next(x, &names, chosen, n) :
		choose(&names, layer, chosen, STAGE_KERAS_VARS_MAX);
	if (found != n)
		err = error_set(x->why, -ENOTSUP, "the layer %s has %zu "
			"weights, the file %zu of it", layer, n, found);
	for (size_t i = 0; i < n && !err; i++) {
		(void) snprintf(path, sizeof(path), "%s/%s", group,
			chosen[i]);
		err = take_named(x, path, layer, v[i].name);
	}
	stage_hdf5_texts_done(&names);
	return err;
}

/* ---- all layers ------------------------------------------------------------ */

/* group: NULL, or where a legacy file has it. */
static int take_layer(struct reading *x, const json_t *layer,
	const char *group)
{
	struct stage_keras_var v[STAGE_KERAS_VARS_MAX];
	const char *name = json_str(layer, "name");
	size_t n = 0;
	int err;

	if (map_get(&x->done, name))
		return 0;
	err = stage_keras_vars(json_str(layer, "class"), json_object_get(layer,
		"config"), v, &n);
	if (!err)
		err = map_put(&x->done, name, x, NULL);
	if (err)
		return err;
	if (x->k->form == STAGE_KERAS_STORE)
		return take_stored(x, name, json_str(layer, "store"), v, n);
	return take_group(x, name, group ? group : json_str(layer, "group"),
		v, n);
}

static bool has_weights(const json_t *layer)
{
	struct stage_keras_var v[STAGE_KERAS_VARS_MAX];
	size_t n = 0;

	return !stage_keras_vars(json_str(layer, "class"), json_object_get(
		layer, "config"), v, &n) && n;
}

/* The groups with weights, in the file's order. */
static int next_group(struct reading *x, const struct stage_hdf5_texts *all,
	size_t *i, const char **ret)
{
	for (*ret = NULL; *i < all->n && !*ret; (*i)++) {
		struct stage_hdf5_texts names = { NULL, 0 };
		int err = stage_hdf5_list(x->k->h, all->v[*i], "weight_names",
			&names, x->why);

		if (!err && names.n)
			*ret = all->v[*i];
		stage_hdf5_texts_done(&names);
		if (err)
			return err != -ENOENT ? err : error_set(x->why,
				-EBADMSG, "the layer %s is not in the file",
				all->v[*i]);
	}
	return 0;
}

/* Bytes of the model's own layer in "stem/conv": all of it share a group. */
static size_t own_layer(const char *name)
{
	return strcspn(name, "/");
}

static int take_all(struct reading *x, const json_t *layers,
	const size_t *order, size_t n, const struct stage_hdf5_texts *groups)
{
	const char *group = NULL, *last = "";
	size_t at = 0;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		const json_t *layer = json_array_get(layers, order[i]);
		const char *name = json_str(layer, "name");
		size_t len = own_layer(name);

		if (!has_weights(layer))
			continue;
		if (!name[len] || own_layer(last) != len ||
		    strncmp(last, name, len) != 0) {
			err = next_group(x, groups, &at, &group);
			x->taken = 0;
		}
		last = name;
		if (!err && !group)
			err = error_set(x->why, -ENOTSUP, "the file ends "
				"before the weights of %s", name);
		if (!err)
			err = take_layer(x, layer, group);
	}
	return err;
}

static int take_in_order(struct reading *x, const json_t *model)
{
	const json_t *layers = json_object_get(model, "layers");
	struct stage_hdf5_texts groups = { NULL, 0 };
	cleanup_free size_t *order = NULL;
	size_t n = 0;
	int err = stage_keras_order(layers, json_object_get(model, "outputs"),
		&order, &n, x->why);

	if (!err) {
		err = stage_hdf5_list(x->k->h, "", "layer_names", &groups,
			x->why);
		if (err == -ENOENT)
			err = error_set(x->why, -ENOTSUP, "the file does not "
				"name its layers");
	}
	if (!err)
		err = take_all(x, layers, order, n, &groups);
	stage_hdf5_texts_done(&groups);
	return err;
}

/* Generators of random numbers are kept beside weights. */
static bool not_a_weight(const char *name)
{
	return strstr(name, "seed_generator") != NULL;
}

/* What no layer has taken stays as it is called: it has no place in the graph,
 * which is found when that is made. */
static int add_others(struct reading *x)
{
	int err = 0;

	for (size_t i = 0; i < x->raw.n && !err; i++)
		if (!x->used[i] && !not_a_weight(x->raw.v[i].name))
			err = add(x, &x->raw.v[i], x->raw.v[i].name);
	return err;
}

static int read_raw(struct reading *x)
{
	bool store = x->k->form == STAGE_KERAS_STORE;
	int err = stage_weights_file(&x->raw, x->k->name, x->k->h_size);

	if (err < 0)
		return error_set(x->why, -ENOTSUP, "%s: its name is not "
			"handled", x->k->name);
	err = stage_hdf5_tensors(x->k->h, store ? "layers" : x->k->top, 0,
		&x->raw, x->why);
	if (err == -ENOENT)
		err = error_set(x->why, -ENOTSUP, "the file has no group %s",
			store ? "layers" : x->k->top);
	if (err || x->raw.n_files < 2)
		return err;
	err = stage_weights_file(x->ret, x->raw.files[1],
		x->raw.file_sizes[1]);
	if (err < 0)
		return err;
	x->made = (unsigned)err;
	return 0;
}

/* stage_hdf5_tensors() names them from the group on. */
static int name_fully(struct stage_weights *w, const char *group)
{
	for (size_t i = 0; i < w->n; i++) {
		char *name;

		if (asprintf(&name, "%s/%s", group, w->v[i].name) < 0)
			return -ENOMEM;
		free(w->v[i].name);
		w->v[i].name = name;
	}
	return 0;
}

int stage_keras_read(const struct stage_keras_weights *k,
	const json_t *model, struct stage_weights *ret, struct error *why)
{
	const json_t *layers = json_object_get(model, "layers");
	struct reading x = { .k = k, .ret = ret, .why = why };
	int err = read_raw(&x);

	if (!err && k->form == STAGE_KERAS_STORE)
		err = name_fully(&x.raw, "layers");
	if (!err)
		err = stage_weights_sort(&x.raw, why);
	x.used = calloc(x.raw.n + 1, sizeof(*x.used));
	if (!err && !x.used)
		err = -ENOMEM;
	if (!err && k->form == STAGE_KERAS_ORDER)
		err = take_in_order(&x, model);
	for (size_t i = 0; i < json_array_size(layers) && !err &&
	    k->form != STAGE_KERAS_ORDER; i++)
		err = take_layer(&x, json_array_get(layers, i), NULL);
	if (!err)
		err = add_others(&x);
	if (!err)
		err = stage_weights_sort(ret, why);
	free(x.used);
	map_done(&x.done);
	stage_weights_done(&x.raw);
	return err;
}
