/* Inputs and outputs of the graph, and writing what the outputs need. */
#include "config.h"

#include <string.h>

#include "stage/blueprint-run.h"

/* ---- declarations ---------------------------------------------------------- */

static bool symbol_declared(const struct bp_run *r, const char *name)
{
	for (const struct bp_tensor *t = r->inputs; t; t = t->next)
		for (unsigned i = 0; i < t->type.rank; i++)
			if (t->type.dim[i].symbol &&
			    !strcmp(t->type.dim[i].symbol, name))
				return true;
	return false;
}

static int port_name(struct bp_run *r, const struct bp_stmt *s,
	const char **ret)
{
	struct bp_value v;
	int err;

	if (s->n_names) {
		*ret = s->names[0];
		return 0;
	}
	err = stage_bp_eval(r, s->a, &v);
	if (!err)
		*ret = v.s;
	return err;
}

static int port_symbol(struct bp_run *r, const struct bp_stmt *s,
	const struct bp_place *bare, const char *name, struct stage_dim *ret)
{
	if (s->kind == BP_S_OUTPUT && bare && !symbol_declared(r, name))
		return stage_bp_fail(r, bare, "no input has a dimension "
			"%s", name);
	*ret = (struct stage_dim){ -1, name };
	return 0;
}

/* The type a port declares. A bare name that is no variable is a symbol, and
 * so is a string; a bare one of an output must be an input's. */
static int port_type(struct bp_run *r, const struct bp_stmt *s,
	struct stage_type *ret)
{
	*ret = (struct stage_type){ .dtype = s->dtype,
		.rank = (unsigned)s->n_dims };
	for (size_t i = 0; i < s->n_dims; i++) {
		const struct bp_expr *e = s->dims[i].e;
		struct bp_value v = { .kind = BP_V_TEXT, .s = e->name };
		bool bare = e->kind == BP_E_NAME && !stage_bp_find(r, e->name);
		int err = bare ? 0 : stage_bp_eval(r, e, &v);

		if (!err && v.kind == BP_V_TEXT) {
			err = port_symbol(r, s, bare ? &e->at : NULL, v.s,
				&ret->dim[i]);
			if (err)
				return err;
			continue;
		}
		if (!err && (v.kind != BP_V_INT || v.i < 0))
			err = stage_bp_fail(r, &e->at, "a dimension that is "
				"%s", stage_bp_kind_name(&v));
		if (err)
			return err;
		ret->dim[i] = (struct stage_dim){ v.i, NULL };
	}
	return 0;
}

static void append(struct bp_tensor **list, struct bp_tensor *t)
{
	while (*list)
		list = &(*list)->next;
	*list = t;
}

int stage_bp_add_input(struct bp_run *r, const struct bp_place *at,
	const char *name, const struct stage_type *type,
	struct bp_tensor **ret)
{
	struct bp_tensor *t;

	if (map_get(&r->names, name))
		return stage_bp_fail(r, at, "%s is taken already", name);
	t = stage_arena_alloc(&r->arena, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->kind = BP_INPUT;
	t->type = *type;
	t->name = stage_bp_unique(r, name);
	if (!t->name)
		return -ENOMEM;
	append(&r->inputs, t);
	*ret = t;
	return 0;
}

int stage_bp_input(struct bp_run *r, const struct bp_stmt *s)
{
	struct stage_type type;
	struct bp_tensor *t;
	struct bp_value v;
	const char *name;
	int err = port_name(r, s, &name);

	if (err)
		return err;
	if (stage_bp_find(r, name))
		return stage_bp_fail(r, &s->at, "%s is taken already", name);
	err = port_type(r, s, &type);
	if (!err)
		err = stage_bp_add_input(r, &s->at, name, &type, &t);
	if (err)
		return err;
	v = stage_bp_tensor(t);
	return stage_bp_set_global(r, &s->at, t->name, &v);
}

static int check_type(struct bp_run *r, const struct bp_stmt *s,
	const char *name, const struct stage_type *want,
	const struct stage_type *is)
{
	bool same = want->dtype == is->dtype && want->rank == is->rank;
	char a[160], b[160];

	for (unsigned i = 0; same && i < want->rank; i++)
		same = stage_dim_same(&want->dim[i], &is->dim[i]);
	if (same)
		return 0;
	stage_type_text(want, a, sizeof(a));
	stage_type_text(is, b, sizeof(b));
	return stage_bp_fail(r, &s->at, "output %s is %s, not %s", name, b,
		a);
}

int stage_bp_add_output(struct bp_run *r, const struct bp_place *at,
	const char *name, struct bp_tensor *t)
{
	int err;

	if (map_get(&r->names, name))
		return stage_bp_fail(r, at, "%s is taken already", name);
	if (t->kind != BP_RESULT || t->is_output) {
		err = stage_bp_emit(r, at, stage_op_find("Identity"), &t, 1,
			NULL, 0, &t, 1);
		if (err)
			return err;
	}
	t->name = stage_bp_unique(r, name);
	t->is_output = true;
	append(&r->outputs, t);
	return t->name ? 0 : -ENOMEM;
}

int stage_bp_output(struct bp_run *r, const struct bp_stmt *s)
{
	struct stage_type want;
	struct bp_value v;
	const char *name;
	int err = port_name(r, s, &name);

	if (!err)
		err = stage_bp_eval(r, s->b, &v);
	if (!err && v.kind != BP_V_TENSOR)
		err = stage_bp_fail(r, &s->at, "an output that is %s",
			stage_bp_kind_name(&v));
	if (!err)
		err = port_type(r, s, &want);
	if (!err)
		err = check_type(r, s, name, &want, &v.tensor->type);
	return err ? err : stage_bp_add_output(r, &s->at, name, v.tensor);
}

/* ---- writing --------------------------------------------------------------- */

static void mark_live(struct bp_run *r)
{
	for (struct bp_tensor *t = r->outputs; t; t = t->next)
		t->node->live = true;
	for (struct bp_node *n = r->last; n; n = n->before)
		for (size_t i = 0; n->live && i < n->n_in; i++)
			if (n->in[i] && n->in[i]->node)
				n->in[i]->node->live = true;
}

static int write_weight(struct bp_run *r, struct stage_graph *g,
	const struct bp_tensor *t)
{
	const struct stage_weights *w = r->args->weights;
	unsigned file = t->weight->file;

	return stage_graph_weight(g, t->name, t->weight, w->files[file],
		w->file_sizes[file]);
}

static int write_constant(struct bp_run *r, struct stage_graph *g,
	struct bp_tensor *t)
{
	uint64_t dims[STAGE_RANK_MAX];

	t->name = stage_bp_unique(r, "const");
	if (!t->name)
		return -ENOMEM;
	for (unsigned i = 0; i < t->type.rank; i++)
		dims[i] = (uint64_t)t->type.dim[i].size;
	return stage_graph_constant(g, t->name, t->type.dtype, dims,
		t->type.rank, t->data, t->len);
}

static int write_node(struct bp_run *r, struct stage_graph *g,
	const struct bp_node *n)
{
	const char *in[STAGE_OP_INPUTS_MAX], *out[STAGE_OP_OUTPUTS_MAX];
	int err = 0;

	for (size_t i = 0; i < n->n_in && !err; i++) {
		struct bp_tensor *t = n->in[i];

		if (t && t->kind == BP_WEIGHT && !t->written)
			err = write_weight(r, g, t);
		if (t && t->kind == BP_CONSTANT && !t->written)
			err = write_constant(r, g, t);
		if (t)
			t->written = true;
		in[i] = t ? t->name : "";
	}
	for (size_t i = 0; i < n->n_out; i++)
		out[i] = n->out[i]->name;
	return err ? err : stage_graph_node(g, n->op->name, in, n->n_in, out,
		n->n_out, n->attrs, n->n_attrs);
}

static int write_graph(struct bp_run *r, struct stage_graph *g)
{
	int err = 0;

	for (struct bp_tensor *t = r->inputs; t && !err; t = t->next)
		err = stage_graph_input(g, t->name, t->type.dtype,
			t->type.dim, t->type.rank);
	for (struct bp_node *n = r->first; n && !err; n = n->next)
		if (n->live)
			err = write_node(r, g, n);
	for (struct bp_tensor *t = r->outputs; t && !err; t = t->next)
		err = stage_graph_output(g, t->name, t->type.dtype,
			t->type.dim, t->type.rank);
	return err;
}

int stage_bp_write(struct bp_run *r, struct stage_graph **ret)
{
	struct stage_graph *g = stage_graph_new(
		r->bp->families ? r->bp->families->title : r->bp->file);
	int err;

	if (!g)
		return error_set(r->why, -ENOMEM, "out of memory");
	mark_live(r);
	err = write_graph(r, g);
	if (err) {
		stage_graph_free(g);
		return error_set(r->why, err, "%s: the graph cannot be "
			"written", r->bp->file);
	}
	*ret = g;
	return 0;
}
