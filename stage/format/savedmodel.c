/*
 * From the image to structures. Function bodies are parsed when somebody
 * calls them: a SavedModel carries those of training, too, and nobody will.
 */
#include "config.h"

#include "stage/format/savedmodel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stage/format/savedmodel-image.h"

#define TEXT_LEN_MAX 8192	/* bytes of a name */

struct parse {
	struct stage_savedmodel *m;
	struct error *why;
};

static int bad(const struct parse *x, const char *what)
{
	return error_set(x->why, -EBADMSG, "%s", what);
}

static int no_memory(const struct parse *x)
{
	return error_set(x->why, -EFBIG, "no memory for so large a graph");
}

/* ---- pieces ---------------------------------------------------------------- */

static int text(const struct parse *x, const struct stage_wire *f,
	const char **ret)
{
	if (f->type != STAGE_WIRE_BYTES || f->value > TEXT_LEN_MAX ||
	    (f->value && memchr(f->body.p, 0, (size_t)f->value)))
		return bad(x, "a name that is no text");
	*ret = stage_arena_copy(&x->m->arena, f->body.p, (size_t)f->value);
	return *ret ? 0 : no_memory(x);
}

static bool is_message(const struct stage_wire *f, uint32_t number)
{
	return stage_wire_is(f, number, STAGE_WIRE_BYTES);
}

static size_t count(struct bytes m, uint32_t number)
{
	struct stage_wire f;
	size_t n = 0;

	while (stage_wire_next(&m, &f) > 0)
		n += is_message(&f, number);
	return n;
}

/* An array for as many elements as m has fields `number`. */
static int array(const struct parse *x, struct bytes m, uint32_t number,
	size_t size, void *ret)
{
	void *p = stage_arena_array(&x->m->arena, count(m, number) + 1, size);

	memcpy(ret, &p, sizeof(p));
	return p ? 0 : no_memory(x);
}

/* A map's entry: key 1, value 2. */
static int entry(const struct parse *x, struct bytes m, const char **ret_key,
	struct bytes *ret_value)
{
	struct stage_wire f;
	int r;

	*ret_key = "";
	*ret_value = bytes_of(m.end, 0);
	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (is_message(&f, 1))
			r = text(x, &f, ret_key);
		else if (is_message(&f, 2))
			*ret_value = f.body;
		if (r < 0)
			return r;
	}
	return r ? bad(x, "a broken map") : 0;
}

/* ---- nodes ----------------------------------------------------------------- */

static int read_attr(const struct parse *x, struct bytes m,
	struct stage_tf_node *n)
{
	struct stage_tf_attr *a = &n->attr[n->n_attr];
	struct bytes value;
	int err = entry(x, m, &a->key, &value);

	if (err)
		return err;
	a->value = value.p;
	a->len = bytes_left(&value);
	n->n_attr++;
	return 0;
}

/* NodeDef: name 1, op 2, input 3, device 4, attr 5 */
static int read_node(const struct parse *x, struct bytes m,
	struct stage_tf_node *n)
{
	struct stage_wire f;
	int r = array(x, m, 3, sizeof(*n->input), &n->input);

	if (!r)
		r = array(x, m, 5, sizeof(*n->attr), &n->attr);
	if (r)
		return r;
	n->name = n->op = "";
	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (is_message(&f, 1))
			r = text(x, &f, &n->name);
		else if (is_message(&f, 2))
			r = text(x, &f, &n->op);
		else if (is_message(&f, 3))
			r = text(x, &f, &n->input[n->n_input++]);
		else if (is_message(&f, 5))
			r = read_attr(x, f.body, n);
		if (r < 0)
			return r;
	}
	if (r || !*n->name || !*n->op)
		return bad(x, "a broken node");
	return 0;
}

/* The fields `number` of m are the nodes of g. */
static int read_nodes(const struct parse *x, struct bytes m, uint32_t number,
	struct stage_tf_graph *g)
{
	struct stage_wire f;
	void *old;
	int r;

	x->m->n_nodes += count(m, number);
	if (x->m->n_nodes > STAGE_SAVEDMODEL_NODES_MAX)
		return error_set(x->why, -EFBIG, "over %u nodes",
			STAGE_SAVEDMODEL_NODES_MAX);
	r = array(x, m, number, sizeof(*g->nodes), &g->nodes);
	if (r)
		return r;
	while ((r = stage_wire_next(&m, &f)) > 0) {
		struct stage_tf_node *n = &g->nodes[g->n_nodes];

		if (!is_message(&f, number))
			continue;
		r = read_node(x, f.body, n);
		if (!r)
			r = map_put(&g->node_of, n->name, n, &old);
		if (r)
			return r;
		if (old)
			return error_set(x->why, -EBADMSG, "two nodes are "
				"called %s", n->name);
		g->n_nodes++;
	}
	return r ? bad(x, "a broken graph") : 0;
}

/* ---- functions ------------------------------------------------------------- */

/* OpDef.ArgDef: name 1 */
static int read_arg(const struct parse *x, struct bytes m, const char **ret)
{
	struct stage_wire f;
	int r;

	*ret = "";
	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (is_message(&f, 1))
			r = text(x, &f, ret);
		if (r < 0)
			return r;
	}
	return r || !**ret ? bad(x, "an argument without name") : 0;
}

/* OpDef: name 1, input_arg 2, output_arg 3 */
static int read_op_def(const struct parse *x, struct bytes m,
	struct stage_tf_graph *g)
{
	struct stage_wire f;
	int r = array(x, m, 2, sizeof(*g->arg), &g->arg);

	if (!r)
		r = array(x, m, 3, sizeof(*g->out), &g->out);
	if (!r)
		r = array(x, m, 3, sizeof(*g->ret), &g->ret);
	if (r)
		return r;
	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (is_message(&f, 2)) {
			const char **arg = &g->arg[g->n_arg++];

			r = read_arg(x, f.body, arg);
			if (!r)
				r = map_put(&g->arg_of, *arg, arg, NULL);
		} else if (is_message(&f, 3)) {
			r = read_arg(x, f.body, &g->out[g->n_out++]);
		}
		if (r < 0)
			return r;
	}
	return r ? bad(x, "a broken function") : 0;
}

static int read_ret(const struct parse *x, struct bytes m,
	struct stage_tf_graph *g)
{
	const char *key, *ret;
	struct bytes value;
	int err = entry(x, m, &key, &value);
	struct stage_wire f = { .type = STAGE_WIRE_BYTES, .body = value,
		.value = bytes_left(&value) };

	if (!err)
		err = text(x, &f, &ret);
	for (size_t i = 0; i < g->n_out && !err; i++)
		if (!strcmp(g->out[i], key))
			g->ret[i] = ret;
	return err;
}

/* FunctionDef: signature 1, node_def 3, ret 4. The signature may come after
 * what it names. */
static int parse_function(const struct parse *x, struct stage_tf_graph *g)
{
	struct bytes m = g->body;
	struct stage_wire f;
	int r;

	g->parsed = true;
	while ((r = stage_wire_next(&m, &f)) > 0 && !is_message(&f, 1))
		;
	if (r <= 0)
		return bad(x, "a function without signature");
	r = read_op_def(x, f.body, g);
	m = g->body;
	while (!r && (r = stage_wire_next(&m, &f)) > 0)
		r = is_message(&f, 4) ? read_ret(x, f.body, g) : 0;
	if (!r)
		r = read_nodes(x, g->body, 3, g);
	for (size_t i = 0; i < g->n_out && !r; i++)
		if (!g->ret[i])
			r = bad(x, "an output that nothing is returned for");
	return r;
}

int stage_savedmodel_function(struct stage_savedmodel *m, const char *name,
	struct stage_tf_graph **ret, struct error *why)
{
	struct stage_tf_graph *g = map_get(&m->functions, name);
	struct parse x = { m, why };
	int err;

	if (!g)
		return -ENOENT;
	err = g->broken;
	if (!g->parsed)
		err = g->broken = parse_function(&x, g);
	if (!err)
		*ret = g;
	else if (!why || !why->code)
		error_set(why, err, "function %s is broken", name);
	else
		error_wrap(why, "function %s", name);
	return err;
}

/* Its name is that of its signature. */
static int index_function(const struct parse *x, struct bytes body)
{
	struct stage_tf_graph *g;
	struct bytes m = body;
	struct stage_wire f;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0 && !is_message(&f, 1))
		;
	if (r <= 0)
		return bad(x, "a function without signature");
	g = stage_arena_alloc(&x->m->arena, sizeof(*g));
	if (!g)
		return no_memory(x);
	g->body = body;
	r = read_arg(x, f.body, &g->name);
	return r ? r : map_put(&x->m->functions, g->name, g, NULL);
}

/* FunctionDefLibrary: function 1 */
static int read_library(const struct parse *x, struct bytes m)
{
	struct stage_wire f;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (is_message(&f, 1))
			r = index_function(x, f.body);
		if (r < 0)
			return r;
	}
	return r ? bad(x, "a broken library") : 0;
}

/* GraphDef: node 1, library 2, versions 4 */
static int read_graph(const struct parse *x, struct bytes m)
{
	int r = read_nodes(x, m, 1, &x->m->graph);
	struct stage_wire f;

	x->m->graph.parsed = true;
	while (!r && (r = stage_wire_next(&m, &f)) > 0) {
		r = 0;
		if (is_message(&f, 2))
			r = read_library(x, f.body);
		else if (is_message(&f, 4))
			x->m->versions = f.body;
	}
	return r;
}

/* ---- signatures ------------------------------------------------------------ */

/* TensorInfo: name 1, dtype 2, tensor_shape 3 (else coo_sparse,
 * composite_tensor) */
static int read_info(const struct parse *x, struct bytes m,
	struct stage_tf_info *info)
{
	struct bytes value;
	struct stage_wire f;
	int r = entry(x, m, &info->key, &value);

	info->tensor = "";
	while (!r && (r = stage_wire_next(&value, &f)) > 0) {
		r = 0;
		if (is_message(&f, 1)) {
			r = text(x, &f, &info->tensor);
		} else if (stage_wire_is(&f, 2, STAGE_WIRE_VARINT)) {
			info->dtype = (unsigned)f.value % 100;
		} else if (is_message(&f, 3)) {
			info->shape = f.body.p;
			info->shape_len = bytes_left(&f.body);
		}
	}
	return r;
}

/* SignatureDef: inputs 1, outputs 2 */
static int read_signature(const struct parse *x, struct bytes m)
{
	struct stage_tf_signature *s =
		&x->m->signatures[x->m->n_signatures++];
	struct bytes value;
	struct stage_wire f;
	int r = entry(x, m, &s->name, &value);

	if (!r)
		r = array(x, value, 1, sizeof(*s->in), &s->in);
	if (!r)
		r = array(x, value, 2, sizeof(*s->out), &s->out);
	while (!r && (r = stage_wire_next(&value, &f)) > 0) {
		r = 0;
		if (is_message(&f, 1))
			r = read_info(x, f.body, &s->in[s->n_in++]);
		else if (is_message(&f, 2))
			r = read_info(x, f.body, &s->out[s->n_out++]);
	}
	return r;
}

/* SaverDef: restore_op_name 3 */
static int read_saver(const struct parse *x, struct bytes m)
{
	struct stage_wire f;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		if (is_message(&f, 3) && f.value)
			r = text(x, &f, &x->m->restore_op);
		if (r < 0)
			return r;
	}
	return r;
}

/* MetaGraphDef: graph_def 2, saver_def 3, signature_def 5 */
static int read_meta_graph(const struct parse *x, struct bytes m)
{
	int r = array(x, m, 5, sizeof(*x->m->signatures), &x->m->signatures);
	struct stage_wire f;

	while (!r && (r = stage_wire_next(&m, &f)) > 0) {
		r = 0;
		if (is_message(&f, 2))
			r = x->m->graph.parsed ? bad(x, "two graphs in one") :
				read_graph(x, f.body);
		else if (is_message(&f, 3))
			r = read_saver(x, f.body);
		else if (is_message(&f, 5))
			r = read_signature(x, f.body);
	}
	if (r && x->why && !x->why->code)
		return error_set(x->why, r, "a broken graph");
	return r;
}

/* ---- which graph ----------------------------------------------------------- */

/* How well a MetaGraph serves, by MetaInfoDef's tags 4: alone "serve" best,
 * then with others, then no tags at all (TF1 Hub). 0: not. */
static unsigned score_tags(struct bytes m)
{
	unsigned n = 0, serve = 0, train = 0;
	struct stage_wire f;

	while (stage_wire_next(&m, &f) > 0) {
		if (!is_message(&f, 4))
			continue;
		n++;
		serve += f.value == 5 && !memcmp(f.body.p, "serve", 5);
		train += f.value == 5 && !memcmp(f.body.p, "train", 5);
	}
	return train ? 0 : serve ? (n == 1 ? 3 : 2) : !n;
}

/* MetaGraphDef: meta_info_def 1 */
static unsigned score(struct bytes m)
{
	struct stage_wire f;

	while (stage_wire_next(&m, &f) > 0)
		if (is_message(&f, 1))
			return score_tags(f.body);
	return 1;
}

/* SavedModel: saved_model_schema_version 1, meta_graphs 2 */
static int read_model(const struct parse *x)
{
	struct bytes m = bytes_of(x->m->image, (size_t)x->m->size);
	struct bytes best = bytes_of(NULL, 0);
	unsigned best_score = 0;
	struct stage_wire f;
	int r;

	while ((r = stage_wire_next(&m, &f)) > 0) {
		unsigned now = is_message(&f, 2) ? score(f.body) : 0;

		if (now > best_score) {
			best_score = now;
			best = f.body;
		}
	}
	if (r)
		return bad(x, "this is no protobuf");
	if (!best_score)
		return error_set(x->why, -ENOTSUP, "it has no graph that is "
			"tagged \"serve\"");
	return read_meta_graph(x, best);
}

int stage_savedmodel_open(struct src *s, struct stage_savedmodel **ret,
	struct error *why)
{
	struct stage_savedmodel *m = calloc(1, sizeof(*m));
	struct parse x = { m, why };
	int err;

	if (!m)
		return -ENOMEM;
	m->arena.max = STAGE_SAVEDMODEL_MEMORY_MAX;
	m->size = s->size;
	err = stage_savedmodel_image(s, &m->image, why);
	if (!err)
		err = read_model(&x);
	if (err) {
		stage_savedmodel_free(m);
		return err;
	}
	*ret = m;
	return 0;
}

static int free_graph(void *arg, const char *key, void *value)
{
	struct stage_tf_graph *g = value;

	(void) arg;
	(void) key;
	map_done(&g->node_of);
	map_done(&g->arg_of);
	return 0;
}

void stage_savedmodel_free(struct stage_savedmodel *m)
{
	if (!m)
		return;
	(void) free_graph(NULL, NULL, &m->graph);
	(void) map_each(&m->functions, free_graph, NULL);
	map_done(&m->functions);
	if (m->image)
		(void) munmap(m->image, (size_t)m->size);
	stage_arena_done(&m->arena);
	free(m);
}
