/*
 * A frozen graph made to be trained: its weights are variables again, in a
 * MetaGraphDef, as that alone says which variables there are and what trains
 * them. TensorFlow's optimizers find them after import_meta_graph().
 *
 *	X			VarHandleOp, the variable
 *	X/initial_value		Const, the bytes of the frozen graph
 *	X/Assign		AssignVariableOp
 *	X/Read			ReadVariableOp, which all take that took X
 *	init			NoOp behind every Assign
 *
 * What is a weight is decided as for X_trainable.onnx (variant-graph.c):
 * numbers in floating point, two or more, of the checkpoint, that are used,
 * but not as statistics of a norm or as limits. A norm that was saved as
 * products and sums does not show its statistics: they are variables, too.
 */
#include "config.h"

#include "stage/tf-freeze.h"
#include "stage/tf-graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { USED = 1, FIXED = 2 };

enum { DT_FLOAT = 1, DT_DOUBLE = 2, DT_BFLOAT16 = 14, DT_HALF = 19 };

struct thaw {
	struct tf_freezer f;		/* out: the graph as it becomes */
	struct stage_tf_frozen *from;
	struct map at;			/* name -> of from->v */
	unsigned char *said;		/* of each of from->v */
	struct stage_tf_frozen_node init;
};

static int no_memory(const struct thaw *t)
{
	return error_set(t->f.why, -EFBIG, "no memory for so large a graph");
}

/* ---- which ----------------------------------------------------------------- */

static unsigned use_of(const char *op, size_t i)
{
	if (!strncmp(op, "FusedBatchNorm", 14) && i >= 3)
		return FIXED;
	if ((!strcmp(op, "ClipByValue") || !strcmp(op, "PadV2")) && i >= 1)
		return FIXED;
	return USED;
}

/* What is done with each node; a node stands behind what it takes. */
static int look(struct thaw *t)
{
	struct stage_tf_frozen *g = t->from;
	int err = 0;

	for (size_t i = 0; i < g->n && !err; i++) {
		if (stage_tf_is_frame(g->v[i].op))
			return error_set(t->f.why, -ENOTSUP, "%s (%s) is of a "
				"branch or loop, whose gradients a graph "
				"alone does not have", g->v[i].name,
				g->v[i].op);
		err = map_put(&t->at, g->v[i].name, &g->v[i], NULL);
		if (!err)
			err = map_put(&t->f.names, g->v[i].name, &g->v[i],
				NULL);
	}
	for (size_t i = g->n; i-- > 0 && !err;) {
		const struct stage_tf_frozen_node *n = &g->v[i], *in;
		bool same = !strcmp(n->op, "Identity");

		for (size_t k = 0; k < n->n_input; k++) {
			in = map_get(&t->at, n->input[k]);
			if (in)
				t->said[in - g->v] |= same && t->said[i] ?
					t->said[i] : use_of(n->op, k);
		}
	}
	return err ? no_memory(t) : 0;
}

/* Type and shape of a Const that has its bytes from elsewhere. */
static bool shape_of(const struct stage_tf_frozen_node *n, unsigned *ret_dtype,
	uint64_t dim[STAGE_RANK_MAX], unsigned *ret_rank)
{
	if (n->value) {
		*ret_dtype = n->value->t->dtype;
		*ret_rank = n->value->t->rank;
		memcpy(dim, n->value->t->dim, sizeof(n->value->t->dim));
		if (*ret_rank)
			dim[0] = n->value->dim0;
		return true;
	}
	/* Tables of a blueprint are constants for good. */
	if (!n->init || n->init->data)
		return false;
	*ret_dtype = stage_tf_from_dtype(n->init->dtype);
	*ret_rank = n->init->rank;
	memcpy(dim, n->init->dim, sizeof(n->init->dim));
	return true;
}

static bool trains(const struct thaw *t, const struct stage_tf_frozen_node *n)
{
	uint64_t dim[STAGE_RANK_MAX];
	unsigned dtype, rank;
	bool many = false;

	if (n->fixed || t->said[n - t->from->v] != USED ||
	    !shape_of(n, &dtype, dim, &rank))
		return false;
	for (unsigned i = 0; i < rank; i++) {
		if (!dim[i])
			return false;
		many |= dim[i] > 1;
	}
	return many && (dtype == DT_FLOAT || dtype == DT_DOUBLE ||
		dtype == DT_BFLOAT16 || dtype == DT_HALF);
}

/* ---- how ------------------------------------------------------------------- */

static int new_node(struct thaw *t, const char *name, const char *op,
	const char *a, const char *b, struct stage_tf_frozen_node *ret)
{
	struct stage_arena *arena = &t->from->arena;

	memset(ret, 0, sizeof(*ret));
	ret->name = name;
	ret->op = op;
	ret->input = stage_arena_array(arena, 2, sizeof(*ret->input));
	ret->attr = stage_arena_array(arena, 4, sizeof(*ret->attr));
	if (!ret->input || !ret->attr)
		return no_memory(t);
	if (a)
		ret->input[ret->n_input++] = a;
	if (b)
		ret->input[ret->n_input++] = b;
	return 0;
}

static int add_text(struct thaw *t, struct stage_tf_frozen_node *n,
	const char *key, char kind, const char *value)
{
	cleanup_free char *text = NULL;
	int err;

	if (asprintf(&text, "%c:%s", kind, value) < 0) {
		text = NULL;
		return no_memory(t);
	}
	err = stage_tf_attr_make(&t->f, key, text, strlen(text),
		&n->attr[n->n_attr]);
	n->n_attr += !err;
	return err;
}

static int add_shape(struct thaw *t, struct stage_tf_frozen_node *n,
	const uint64_t *dim, unsigned rank)
{
	int64_t size[STAGE_RANK_MAX];
	int err;

	for (unsigned i = 0; i < rank; i++)
		size[i] = (int64_t)dim[i];
	err = stage_tf_attr_shape(&t->f, size, rank, &n->attr[n->n_attr]);
	n->n_attr += !err;
	return err;
}

static int name_of(struct thaw *t, const char *x, const char *suffix,
	const char **ret)
{
	cleanup_free char *name = NULL;

	if (asprintf(&name, "%s%s", x, suffix) < 0) {
		name = NULL;
		return no_memory(t);
	}
	return stage_tf_reserve(&t->f, name, ret);
}

/* The four nodes of a variable, at to; and init waits for it. */
static int thaw_one(struct thaw *t, const struct stage_tf_frozen_node *n,
	struct stage_tf_frozen_node *to)
{
	struct stage_tf_thawed *v = &t->from->vars[t->from->n_vars];
	uint64_t dim[STAGE_RANK_MAX];
	unsigned dtype, rank;
	char *wait;
	char type[16];
	int err;

	(void) shape_of(n, &dtype, dim, &rank);
	(void) snprintf(type, sizeof(type), "%u", dtype);
	v->name = n->name;
	err = name_of(t, n->name, "/initial_value", &v->initial);
	if (!err)
		err = name_of(t, n->name, "/Assign", &v->assign);
	if (!err)
		err = name_of(t, n->name, "/Read", &v->read);
	if (!err)
		err = new_node(t, v->name, "VarHandleOp", NULL, NULL, &to[0]);
	if (!err)
		err = add_text(t, &to[0], "dtype", 't', type);
	if (!err)
		err = add_shape(t, &to[0], dim, rank);
	if (!err)
		err = add_text(t, &to[0], "shared_name", 's', v->name);
	if (!err)
		err = new_node(t, v->initial, "Const", NULL, NULL, &to[1]);
	if (!err)
		err = add_text(t, &to[1], "dtype", 't', type);
	if (!err)
		err = new_node(t, v->assign, "AssignVariableOp", v->name,
			v->initial, &to[2]);
	if (!err)
		err = add_text(t, &to[2], "dtype", 't', type);
	if (!err)
		err = new_node(t, v->read, "ReadVariableOp", v->name, NULL,
			&to[3]);
	if (!err)
		err = add_text(t, &to[3], "dtype", 't', type);
	if (err)
		return err;
	to[1].value = n->value;
	to[1].init = n->init;
	wait = stage_arena_alloc(&t->from->arena, strlen(v->assign) + 2);
	if (!wait)
		return no_memory(t);
	wait[0] = '^';
	strcpy(wait + 1, v->assign);
	t->init.input[t->init.n_input++] = wait;
	t->from->n_vars++;
	return 0;
}

/* What took a Const takes what reads the variable. */
static void redirect(const struct map *reads, struct stage_tf_frozen_node *n)
{
	for (size_t k = 0; k < n->n_input; k++) {
		const char *read = map_get(reads, n->input[k]);

		if (read)
			n->input[k] = read;
	}
}

static int rebuild(struct thaw *t, size_t n_vars)
{
	struct stage_tf_frozen *g = t->from;
	struct stage_tf_frozen_node *to = calloc(g->n + 3 * n_vars + 1,
		sizeof(*to));
	struct map reads = { 0 };
	size_t n = 0;
	int err = to ? 0 : no_memory(t);

	for (size_t i = 0; i < g->n && !err; i++) {
		if (!trains(t, &g->v[i])) {
			to[n++] = g->v[i];
			continue;
		}
		err = thaw_one(t, &g->v[i], &to[n]);
		n += 4;
		if (!err)
			err = map_put(&reads, g->v[i].name, (void *)(uintptr_t)
				g->vars[g->n_vars - 1].read, NULL);
	}
	/* Those that are as they were have inputs that may be weights; the
	 * new ones take the variable itself. */
	for (size_t i = 0; i < g->n && !err; i++)
		redirect(&reads, &g->v[i]);
	map_done(&reads);
	if (err) {
		free(to);
		return err;
	}
	to[n++] = t->init;
	free(g->v);
	g->v = to;
	g->n = g->room = n;
	return 0;
}

size_t stage_tf_trainable(const char *name, size_t len)
{
	static const char ending[] = "_trainable";
	size_t tail = sizeof(ending) - 1;

	return len > tail && !strncmp(name + len - tail, ending, tail) ?
		len - tail : len;
}

bool stage_tf_is_trainable(const struct stage_repo *repo, const char *path)
{
	size_t len = strlen(path);

	(void) repo;
	return len > 3 && !strcmp(path + len - 3, ".pb") &&
		stage_tf_trainable(path, len - 3) < len - 3;
}

int stage_tf_thaw(struct stage_tf_frozen *g, struct error *why)
{
	struct thaw t = { .f = { .out = g, .why = why }, .from = g };
	size_t n = 0;
	int err;

	if (g->functions)
		return error_set(why, -ENOTSUP, "%s is a branch or loop, whose "
			"gradients a graph alone does not have",
			g->functions->name);
	t.said = calloc(g->n + 1, 1);
	err = t.said ? look(&t) : no_memory(&t);
	for (size_t i = 0; i < g->n && !err; i++)
		n += trains(&t, &g->v[i]);
	if (!err && !n)
		err = error_set(why, -ENOTSUP, "it has no weights that could "
			"be trained");
	if (!err)
		err = new_node(&t, NULL, "NoOp", NULL, NULL, &t.init);
	if (!err)
		err = stage_tf_reserve(&t.f, "init", &t.init.name);
	if (!err) {
		g->vars = stage_arena_array(&g->arena, n, sizeof(*g->vars));
		t.init.input = stage_arena_array(&g->arena, n,
			sizeof(*t.init.input));
		err = g->vars && t.init.input ? rebuild(&t, n) : no_memory(&t);
	}
	free(t.said);
	map_done(&t.at);
	map_done(&t.f.names);
	return err;
}
