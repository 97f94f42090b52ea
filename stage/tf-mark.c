/*
 * Two walks over a whole graph along its edges, both with a list of what is
 * still to be looked at: forwards from the operators of branches and loops, to
 * know which nodes stand in one; backwards from the outputs of a frozen graph,
 * to drop what lowering made and nobody reads.
 */
#include "config.h"

#include "stage/tf-walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Edges by their source: to[from[i] .. from[i + 1]) are those of node i. */
struct edges {
	size_t *from, *to;
	size_t n;
};

static int out_of_memory(struct error *why)
{
	return error_set(why, -EFBIG, "no memory for so large a graph");
}

/* The number of the node "^name", "name:1" or "name:out:1" means; -1: none. */
static long node_at(const struct stage_tf_graph *g, const char *ref)
{
	cleanup_free char *name = NULL;
	const struct stage_tf_node *n;

	ref += *ref == '^';
	name = strndup(ref, strcspn(ref, ":"));
	n = name ? map_get(&g->node_of, name) : NULL;
	return n ? n - g->nodes : -1;
}

static int each_edge(const struct stage_tf_graph *g, struct edges *e,
	bool fill)
{
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct stage_tf_node *n = &g->nodes[i];

		for (size_t k = 0; k < n->n_input; k++) {
			long at = node_at(g, n->input[k]);

			if (at < 0)
				continue;
			if (fill)
				e->to[--e->from[at]] = i;
			else
				e->from[at]++;
		}
	}
	return 0;
}

static int make_edges(const struct stage_tf_graph *g, struct edges *e)
{
	e->from = calloc(g->n_nodes + 1, sizeof(*e->from));
	if (!e->from)
		return -ENOMEM;
	(void) each_edge(g, e, false);
	for (size_t i = 0; i < g->n_nodes; i++)
		e->from[i + 1] += e->from[i];
	e->n = e->from[g->n_nodes];
	e->to = calloc(e->n + 1, sizeof(*e->to));
	if (!e->to)
		return -ENOMEM;
	return each_edge(g, e, true);
}

static void spread(struct stage_tf_graph *g, const struct edges *e,
	size_t *todo)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n_nodes; i++)
		if (g->nodes[i].flow)
			todo[n++] = i;
	while (n) {
		size_t i = todo[--n];

		for (size_t k = e->from[i]; k < e->from[i + 1]; k++) {
			struct stage_tf_node *next = &g->nodes[e->to[k]];

			if (!next->flow)
				todo[n++] = e->to[k];
			next->flow = true;
		}
	}
}

int stage_tf_mark(struct stage_tf_graph *g, struct error *why)
{
	struct edges e = { 0 };
	size_t *todo = NULL, any = 0;
	int err = 0;

	if (g->marked)
		return 0;
	for (size_t i = 0; i < g->n_nodes; i++) {
		g->nodes[i].flow = stage_tf_is_frame(g->nodes[i].op);
		any += g->nodes[i].flow;
	}
	if (any) {
		err = make_edges(g, &e);
		todo = calloc(g->n_nodes, sizeof(*todo));
		if (!err && todo)
			spread(g, &e, todo);
		else
			err = out_of_memory(why);
	}
	free(e.from);
	free(e.to);
	free(todo);
	g->marked = !err;
	return err;
}

/* ---- what nobody needs ----------------------------------------------------- */

struct prune {
	struct stage_tf_frozen *f;
	struct map at;			/* name -> its node */
	bool *keep;
	size_t *todo, n;
};

static void need(struct prune *p, const struct stage_tf_frozen_node *n)
{
	size_t i = n ? (size_t)(n - p->f->v) : 0;

	if (!n || p->keep[i])
		return;
	p->keep[i] = true;
	p->todo[p->n++] = i;
}

static int need_inputs(struct prune *p, const struct stage_tf_frozen_node *n)
{
	for (size_t i = 0; i < n->n_input; i++) {
		const char *ref = n->input[i] + (n->input[i][0] == '^');
		cleanup_free char *name = strndup(ref, strcspn(ref, ":"));

		if (!name)
			return -ENOMEM;
		need(p, map_get(&p->at, name));
	}
	return 0;
}

static int prune(struct prune *p, const struct map *roots)
{
	struct stage_tf_frozen *f = p->f;
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < f->n && !err; i++)
		err = map_put(&p->at, f->v[i].name, &f->v[i], NULL);
	for (size_t i = 0; i < f->n && !err; i++)
		if (!strcmp(f->v[i].op, "Placeholder") ||
		    map_get(roots, f->v[i].name))
			need(p, &f->v[i]);
	while (p->n && !err)
		err = need_inputs(p, &f->v[p->todo[--p->n]]);
	for (size_t i = 0; i < f->n && !err; i++)
		if (p->keep[i])
			f->v[kept++] = f->v[i];
	if (!err)
		f->n = kept;
	return err;
}

int stage_tf_prune(struct stage_tf_frozen *f, const struct map *roots,
	struct error *why)
{
	struct prune p = { .f = f };
	int err;

	p.keep = calloc(f->n + 1, sizeof(*p.keep));
	p.todo = calloc(f->n + 1, sizeof(*p.todo));
	err = p.keep && p.todo ? prune(&p, roots) : -ENOMEM;
	map_done(&p.at);
	free(p.keep);
	free(p.todo);
	return err ? out_of_memory(why) : 0;
}
