/*
 * The operator stream in memory. Everything that is small and lives as long
 * as the graph lies in its arena; a call that fails may leave garbage there,
 * but nothing that can be reached.
 */
#include "config.h"

#include "stage/graph-data.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ARENA_MAX ((size_t)1 << 30)	/* bytes of names and constants */
#define PORTS_MAX 100000
#define LIST_MAX 1000000	/* inputs of one node, numbers of one list */

struct stage_graph *stage_graph_new(const char *name)
{
	struct stage_graph *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->arena.max = ARENA_MAX;
	g->name = stage_arena_strdup(&g->arena, name);
	if (!g->name) {
		stage_graph_free(g);
		return NULL;
	}
	return g;
}

void stage_graph_free(struct stage_graph *g)
{
	if (!g)
		return;
	free(g->inputs);
	free(g->outputs);
	free(g->nodes);
	free(g->inits);
	map_done(&g->values);
	stage_arena_done(&g->arena);
	free(g);
}

/* v with room for one more element; NULL: no memory, v is as it was. */
static void *grown(void *v, size_t n, size_t *room, size_t size)
{
	size_t want = *room ? 2 * *room : 16;
	void *more;

	if (n < *room)
		return v;
	more = reallocarray(v, want, size);
	if (more)
		*room = want;
	return more;
}

/* Enter a new value; on failure the map is as it was. */
static int define(struct stage_graph *g, const char *name, size_t def)
{
	struct stage_graph_value *v;

	if (!*name)
		return -EINVAL;
	if (map_get(&g->values, name))
		return -EEXIST;
	v = stage_arena_alloc(&g->arena, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->def = def;
	return map_put(&g->values, name, v, NULL);
}

static int copy_port(struct stage_graph *g, const char *name,
	enum stage_dtype t, const struct stage_dim *dims, unsigned rank,
	struct stage_graph_port *ret)
{
	if (rank > STAGE_RANK_MAX || !stage_dtype_size(t))
		return -EINVAL;
	ret->name = stage_arena_strdup(&g->arena, name);
	ret->dtype = t;
	ret->rank = rank;
	ret->dims = stage_arena_array(&g->arena, rank, sizeof(*dims));
	if (!ret->name || !ret->dims)
		return -ENOMEM;
	for (unsigned i = 0; i < rank; i++) {
		ret->dims[i] = dims[i];
		if (!dims[i].symbol)
			continue;
		ret->dims[i].symbol = stage_arena_strdup(&g->arena,
			dims[i].symbol);
		if (!ret->dims[i].symbol)
			return -ENOMEM;
	}
	return 0;
}

int stage_graph_input(struct stage_graph *g, const char *name,
	enum stage_dtype t, const struct stage_dim *dims, unsigned rank)
{
	struct stage_graph_port port, *v;
	int err = copy_port(g, name, t, dims, rank, &port);

	if (err)
		return err;
	if (g->n_inputs >= PORTS_MAX)
		return -EFBIG;
	v = grown(g->inputs, g->n_inputs, &g->room_inputs,
		sizeof(port));
	if (!v)
		return -ENOMEM;
	g->inputs = v;
	err = define(g, name, 0);
	if (!err)
		g->inputs[g->n_inputs++] = port;
	return err;
}

int stage_graph_output(struct stage_graph *g, const char *name,
	enum stage_dtype t, const struct stage_dim *dims, unsigned rank)
{
	struct stage_graph_port port, *v;
	int err;

	for (size_t i = 0; i < g->n_outputs; i++) {
		if (!strcmp(g->outputs[i].name, name))
			return -EEXIST;
	}
	err = copy_port(g, name, t, dims, rank, &port);
	if (err)
		return err;
	if (g->n_outputs >= PORTS_MAX)
		return -EFBIG;
	v = grown(g->outputs, g->n_outputs, &g->room_outputs,
		sizeof(port));
	if (!v)
		return -ENOMEM;
	g->outputs = v;
	g->outputs[g->n_outputs++] = port;
	return 0;
}

static const char **copy_names(struct stage_graph *g,
	const char *const *names, size_t n)
{
	const char **v = stage_arena_array(&g->arena, n, sizeof(*v));

	for (size_t i = 0; v && i < n; i++) {
		v[i] = stage_arena_strdup(&g->arena, names[i]);
		if (!v[i])
			return NULL;
	}
	return v;
}

static int copy_attr(struct stage_graph *g, const struct stage_attr *a,
	struct stage_attr *ret)
{
	*ret = *a;
	ret->name = stage_arena_strdup(&g->arena, a->name);
	ret->s = a->kind == STAGE_ATTR_STRING ?
		stage_arena_strdup(&g->arena, a->s) : "";
	if (!ret->name || !ret->s)
		return -ENOMEM;
	if (a->n > LIST_MAX)
		return -EFBIG;
	if (a->kind == STAGE_ATTR_FLOATS) {
		ret->floats = (const float *)stage_arena_copy(&g->arena,
			a->floats, a->n * sizeof(*a->floats));
		return ret->floats ? 0 : -ENOMEM;
	}
	if (a->kind == STAGE_ATTR_INTS) {
		ret->ints = (const int64_t *)stage_arena_copy(&g->arena,
			a->ints, a->n * sizeof(*a->ints));
		return ret->ints ? 0 : -ENOMEM;
	}
	return 0;
}

static int copy_node(struct stage_graph *g, const char *op,
	const char *const *inputs, const char *const *outputs,
	const struct stage_attr *attrs, struct stage_graph_node *n)
{
	int err = 0;

	if (n->n_inputs > LIST_MAX || n->n_outputs > LIST_MAX ||
	    n->n_attrs > LIST_MAX)
		return -EFBIG;
	n->op = stage_arena_strdup(&g->arena, op);
	n->inputs = copy_names(g, inputs, n->n_inputs);
	n->outputs = copy_names(g, outputs, n->n_outputs);
	n->attrs = stage_arena_array(&g->arena, n->n_attrs, sizeof(*attrs));
	if (!n->op || !n->inputs || !n->outputs || !n->attrs)
		return -ENOMEM;
	for (size_t i = 0; !err && i < n->n_attrs; i++)
		err = copy_attr(g, &attrs[i], &n->attrs[i]);
	return err;
}

int stage_graph_node(struct stage_graph *g, const char *op,
	const char *const *inputs, size_t n_inputs,
	const char *const *outputs, size_t n_outputs,
	const struct stage_attr *attrs, size_t n_attrs)
{
	struct stage_graph_node node = { .n_inputs = n_inputs,
		.n_outputs = n_outputs, .n_attrs = n_attrs };
	struct stage_graph_node *v;
	size_t done = 0;
	int err;

	err = copy_node(g, op, inputs, outputs, attrs, &node);
	if (err)
		return err;
	if (g->n_nodes >= STAGE_NODES_MAX)
		return -EFBIG;
	v = grown(g->nodes, g->n_nodes, &g->room_nodes, sizeof(node));
	if (!v)
		return -ENOMEM;
	g->nodes = v;
	while (!err && done < n_outputs) {
		/* An output nobody wants has no name. */
		if (*outputs[done])
			err = define(g, outputs[done], g->n_nodes + 1);
		done += !err;
	}
	if (err) {
		while (done--)
			(void) map_del(&g->values, outputs[done]);
		return err;
	}
	g->nodes[g->n_nodes++] = node;
	return 0;
}

int stage_graph_init_add(struct stage_graph *g,
	const struct stage_graph_init *from)
{
	struct stage_graph_init copy = *from, *init = &copy, *v;
	int err;

	if (g->n_inits >= STAGE_NODES_MAX)
		return -EFBIG;
	init->value = stage_arena_strdup(&g->arena, from->value);
	if (from->path)
		init->path = stage_arena_strdup(&g->arena, from->path);
	if (from->data)
		init->data = stage_arena_copy(&g->arena, from->data,
			(size_t)from->len);
	if (!init->value || !init->path != !from->path ||
	    !init->data != !from->data)
		return -ENOMEM;
	v = grown(g->inits, g->n_inits, &g->room_inits, sizeof(*init));
	if (!v)
		return -ENOMEM;
	g->inits = v;
	err = define(g, init->value, 0);
	if (!err)
		g->inits[g->n_inits++] = *init;
	return err;
}

/* Its bytes as they lie, and what puts them right. */
static int put_right(struct stage_graph *g, const char *value,
	struct stage_graph_init *init, enum stage_order order)
{
	static const struct {
		unsigned rank;
		uint8_t dim[4];		/* of the stored: which of the right */
		int64_t perm[4];
	} orders[] = {
		[STAGE_ORDER_10] = { 2, { 1, 0 }, { 1, 0 } },
		[STAGE_ORDER_210] = { 3, { 2, 1, 0 }, { 2, 1, 0 } },
		[STAGE_ORDER_2310] = { 4, { 2, 3, 1, 0 }, { 3, 2, 0, 1 } },
	};
	const struct stage_attr perm = { .name = "perm",
		.kind = STAGE_ATTR_INTS, .ints = orders[order].perm,
		.n = orders[order].rank };
	uint64_t dim[STAGE_RANK_MAX];
	cleanup_free char *name = NULL;
	int err;

	if (init->rank != orders[order].rank)
		return -EINVAL;
	if (asprintf(&name, "%s/stored", value) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	memcpy(dim, init->dim, sizeof(dim));
	for (unsigned i = 0; i < init->rank; i++)
		init->dim[i] = dim[orders[order].dim[i]];
	init->value = name;
	err = stage_graph_init_add(g, init);
	return err ? err : stage_graph_node(g, "Transpose",
		(const char *const *)&name, 1, &value, 1, &perm, 1);
}

int stage_graph_weight(struct stage_graph *g, const char *value,
	const struct stage_tensor *t, const char *path, uint64_t file_size)
{
	struct stage_graph_init init = { .value = value, .dtype = t->dtype,
		.rank = t->rank, .len = t->len, .path = path,
		.file_size = file_size, .off = t->off };

	if (t->rank > STAGE_RANK_MAX)
		return -EINVAL;
	memcpy(init.dim, t->dim, sizeof(init.dim));
	if (t->order)
		return put_right(g, value, &init, t->order);
	return stage_graph_init_add(g, &init);
}

int stage_graph_constant(struct stage_graph *g, const char *value,
	enum stage_dtype dtype, const uint64_t *dims, unsigned rank,
	const void *data, size_t len)
{
	struct stage_graph_init init = { .value = value, .dtype = dtype,
		.rank = rank, .len = len, .data = len ? data : "" };

	if (rank > STAGE_RANK_MAX)
		return -EINVAL;
	if (rank)
		memcpy(init.dim, dims, rank * sizeof(*dims));
	return stage_graph_init_add(g, &init);
}

size_t stage_graph_nodes(const struct stage_graph *g)
{
	return g->n_nodes;
}
