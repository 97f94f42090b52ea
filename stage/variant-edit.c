/*
 * What is new of a changed file is small and made in memory; what is old is
 * sliced out of the file's recipe, so that a model of 2 GiB is never copied.
 */
#include "config.h"

#include "stage/variant-edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "stage/variant.h"

#define NEW_MAX ((size_t)256 << 20)	/* bytes made in memory */
#define FILES_MAX 10000			/* of external data */
#define ONNX_MAX INT32_MAX		/* bytes; protobuf's own limit */
#define IR_VALUES 4	/* from here on initializers need not be inputs */
#define OPSET_MIN 7

/* ---- where bytes are ------------------------------------------------------- */

/* The repository's file behind a path of the tree. */
static const struct listing_entry *file_at(struct stage_edit *e,
	const char *path)
{
	const struct stage_repo *repo = &e->in->repo;
	const struct listing_entry *f = listing_find(repo->listing, path);
	const char *original = f ? NULL :
		stage_layout_original(e->stage, repo, path);

	if (original)
		f = listing_find(repo->listing, original);
	return f && f->kind == LISTING_FILE ? f : NULL;
}

/* What lies beside the file under that name; NULL: no memory. */
static char *beside(const struct stage_edit *e, const char *name)
{
	size_t dir = (size_t)(path_base(e->path) - e->path);
	char *path;

	return asprintf(&path, "%.*s%s", (int)dir, e->path, name) < 0 ? NULL :
		path;
}

static int size_of(struct stage_edit *e, const struct listing_entry *f,
	uint64_t *ret)
{
	struct src *src;
	int r;

	*ret = f->size;
	if (f->size != LISTING_SIZE_UNKNOWN)
		return 0;
	r = e->in->open(e->in->arg, f, &src, e->why);
	if (r)
		return r;
	*ret = src->size;
	src_unref(src);
	return 0;
}

/* All of a repository's file. */
static int whole(struct stage_edit *e, const struct listing_entry *f,
	struct stage_recipe **ret)
{
	struct stage_recipe *r;
	uint64_t size;
	int source, err = size_of(e, f, &size);

	if (err)
		return err;
	r = stage_recipe_new();
	if (!r)
		return -ENOMEM;
	source = stage_recipe_source(r, f->path, size);
	err = source < 0 ? source : stage_recipe_copy(r, (unsigned)source, 0,
		size);
	if (err)
		stage_recipe_unref(r);
	else
		*ret = r;
	return err;
}

static int open_outside(struct stage_edit *e, const char *location,
	struct stage_edit_file **ret)
{
	const struct listing_entry *f = NULL;
	struct stage_edit_file *v;
	cleanup_free char *path = NULL;
	int r;

	for (size_t i = 0; i < e->n_files; i++) {
		if (!strcmp(e->files[i].location, location)) {
			*ret = &e->files[i];
			return 0;
		}
	}
	if (!strncmp(location, "./", 2))
		location += 2;
	path = beside(e, location);
	if (!path)
		return -ENOMEM;
	if (!path_rel_ok(location) || !path_rel_ok(path))
		return error_set(e->why, -EBADMSG, "onnx: external data at "
			"\"%.200s\", which is not below the model",
			location);
	f = file_at(e, path);
	if (!f)
		return error_set(e->why, -ENOTSUP, "onnx: the external data "
			"%.200s is not there", path);
	v = e->n_files < FILES_MAX ? reallocarray(e->files, e->n_files + 1,
		sizeof(*v)) : NULL;
	if (!v)
		return -ENOMEM;
	e->files = v;
	v += e->n_files;
	*v = (struct stage_edit_file){ .location = location };
	r = whole(e, f, &v->recipe);
	if (r)
		return r;
	v->cursor.from = v->recipe;
	e->n_files++;
	*ret = v;
	return 0;
}

int stage_edit_place(struct stage_edit *e, const struct stage_onnx_tensor *t,
	struct stage_cursor **ret_c, uint64_t *ret_off)
{
	struct stage_edit_file *f = NULL;
	int r;

	*ret_c = &e->cursor;
	*ret_off = t->off;
	if (t->place != STAGE_ONNX_OUTSIDE)
		return 0;
	r = open_outside(e, t->location, &f);
	if (r)
		return r;
	if (!size_inside(t->off, t->len, stage_recipe_size(f->recipe)))
		return error_set(e->why, -EBADMSG, "onnx: %.200s lies outside "
			"%.200s", t->name, t->location);
	*ret_c = &f->cursor;
	return 0;
}

bool stage_edit_bytes(struct stage_edit *e, const struct stage_onnx_tensor *t,
	struct stage_edit_bytes *ret)
{
	const struct stage_extent *x;
	struct stage_cursor *c;
	uint64_t off;

	if (!t->plain || stage_edit_place(e, t, &c, &off))
		return false;
	x = stage_recipe_whole(c, off, t->len);
	if (!x)
		return false;
	*ret = (struct stage_edit_bytes){ .kind = x->kind };
	if (x->kind == STAGE_REF) {
		ret->path = stage_recipe_source_path(c->from, x->source);
		ret->size = stage_recipe_source_size(c->from, x->source);
		ret->off = x->off + (off - c->start);
	}
	return true;
}

bool stage_edit_is_ref(struct stage_edit *e, const struct stage_onnx_tensor *t)
{
	struct stage_edit_bytes b;

	return stage_edit_bytes(e, t, &b) && b.kind == STAGE_REF;
}

bool stage_edit_is_beside(struct stage_edit *e, const char *path)
{
	cleanup_free char *shown = beside(e, path_base(path));
	const struct listing_entry *f = shown ? file_at(e, shown) : NULL;

	return f && !strcmp(f->path, path);
}

int stage_edit_check(struct stage_edit *e)
{
	int r = 0;

	for (size_t i = 0; i < e->m.n_tensors && !r; i++) {
		struct stage_cursor *c;
		uint64_t off;

		if (e->m.tensors[i].plain)
			r = stage_edit_place(e, &e->m.tensors[i], &c, &off);
	}
	return r;
}

int stage_edit_check_opset(struct stage_edit *e)
{
	return e->m.opset >= OPSET_MIN ? 0 : error_set(e->why, -ENOTSUP,
		"onnx: opset %llu is older than %d, and has not the operators "
		"this takes", (unsigned long long)e->m.opset, OPSET_MIN);
}

void stage_edit_drop(struct stage_edit *e, struct stage_onnx_tensor *t,
	bool input)
{
	struct stage_onnx_value *v = stage_onnx_value(&e->m, t->name);

	t->gone = true;
	e->changed++;
	if (v && input)
		v->no_input = true;
}

/* ---- what is new ----------------------------------------------------------- */

int stage_edit_name(struct stage_edit *e, const char *base, const char *suffix,
	char ret[STAGE_EDIT_NAME])
{
	int n = snprintf(ret, STAGE_EDIT_NAME, "%s%s", base, suffix);

	if (n < 0 || n >= STAGE_EDIT_NAME)
		return error_set(e->why, -EFBIG, "a weight's name is too long");
	if (stage_onnx_value(&e->m, ret))
		return error_set(e->why, -ENOTSUP, "the graph has a value %s "
			"of its own", ret);
	return 0;
}

struct stage_graph_init stage_edit_like(const struct stage_onnx_tensor *t)
{
	struct stage_graph_init init = { .value = t->name,
		.dtype = (enum stage_dtype)t->dtype, .rank = t->rank,
		.len = t->len };

	memcpy(init.dim, t->dim, sizeof(init.dim));
	return init;
}

static int put_head(struct stage_edit *e, const struct stage_graph_init *init,
	const struct stage_onnx_outside *where, uint64_t *ret_payload)
{
	int r;

	buf_clear(&e->head);
	r = stage_onnx_put_init(&e->head, init, where, ret_payload);
	return r ? r : stage_recipe_inline(e->inits, e->head.data,
		e->head.len);
}

int stage_edit_init(struct stage_edit *e, const struct stage_graph_init *init,
	const struct stage_onnx_tensor *t, const struct stage_extent *how)
{
	struct stage_cursor *c;
	uint64_t payload, off;
	int r = stage_edit_place(e, t, &c, &off);

	if (!r)
		r = put_head(e, init, NULL, &payload);
	if (r)
		return r;
	payload += stage_recipe_size(e->inits);
	r = how ? stage_recipe_slice_xform(e->inits, c, off, t->n, how) :
		stage_recipe_slice(e->inits, c, off, t->len);
	return r ? r : payload == stage_recipe_size(e->inits) ? 0 : -EINVAL;
}

int stage_edit_constant(struct stage_edit *e,
	const struct stage_graph_init *init, const void *data)
{
	uint64_t payload;
	int r = put_head(e, init, NULL, &payload);

	return r ? r : stage_recipe_inline(e->inits, data, (size_t)payload);
}

int stage_edit_outside(struct stage_edit *e, const struct stage_onnx_tensor *t,
	const struct stage_onnx_outside *where)
{
	const struct stage_graph_init init = stage_edit_like(t);
	uint64_t payload;

	return put_head(e, &init, where, &payload);
}

int stage_edit_node(struct stage_edit *e, const char *op,
	const char *const *in, size_t n_in, const char *out,
	const struct stage_attr *attr)
{
	struct stage_graph_node n = { .op = op,
		.inputs = (const char **)(uintptr_t)in, .n_inputs = n_in,
		.outputs = &out, .n_outputs = 1,
		.attrs = (struct stage_attr *)(uintptr_t)attr,
		.n_attrs = attr ? 1 : 0 };

	return stage_onnx_put_node(&e->nodes, &n);
}

int stage_edit_metadata(struct stage_edit *e, const char *key,
	const char *value)
{
	Stage__Onnx__StringStringEntry m =
		STAGE__ONNX__STRING_STRING_ENTRY__INIT;

	m.key = pb_str(key);
	m.value = pb_str(value);
	return stage_onnx_put_message(&e->tail, ONNX_MODEL_METADATA, &m.base);
}

/* ---- the file again -------------------------------------------------------- */

/* Does the node use a value that has another name now? */
static bool is_renamed(const struct stage_edit *e,
	const struct stage_onnx_node *n)
{
	for (unsigned i = 0; i < n->n_in; i++) {
		const struct stage_onnx_value *v = *n->in[i] ?
			stage_onnx_value(&e->m, n->in[i]) : NULL;

		if (v && v->instead)
			return true;
	}
	return false;
}

/* The fields of a node with the names as they are now. */
static int put_renamed(struct stage_edit *e, const struct stage_onnx_part *p,
	struct stage_recipe *to)
{
	const struct stage_onnx_node *n = &e->m.nodes[p->index];
	struct stage_onnx_reader x = { .why = e->why };
	struct stage_onnx_msg whole_part = { p->start, p->start + p->len }, m;
	struct stage_onnx_field f;
	cleanup_buf struct buf b = BUF_INIT(NEW_MAX);
	int r = stage_window_init(&x.w, e->src, STAGE_ONNX_TEXT_MAX);

	for (unsigned i = 0; i < n->n_in && !r; i++) {
		const char *name = n->in[i];
		const struct stage_onnx_value *v = *name ?
			stage_onnx_value(&e->m, name) : NULL;

		name = v && v->instead ? v->instead : name;
		r = stage_onnx_put_head(&b, ONNX_NODE_INPUT, strlen(name));
		if (!r)
			r = buf_append_str(&b, name);
	}
	if (!r)
		r = stage_recipe_inline(to, b.data, b.len);
	if (!r)
		r = stage_onnx_next(&x, &whole_part, &f);
	m = f.body;
	while (r > 0 && (r = stage_onnx_next(&x, &m, &f)) > 0) {
		if (f.number == ONNX_NODE_INPUT)
			continue;
		r = stage_recipe_slice(to, &e->cursor, f.start,
			m.at - f.start);
		r = r ? r : 1;
	}
	stage_window_done(&x.w);
	return r;
}

static int append(struct stage_recipe *to, struct stage_recipe *from)
{
	struct stage_cursor c = { .from = from };

	return stage_recipe_slice(to, &c, 0, stage_recipe_size(from));
}

static int put_node(struct stage_edit *e, const struct stage_onnx_part *p,
	struct stage_recipe *to)
{
	const struct stage_onnx_node *n = &e->m.nodes[p->index];
	uint32_t t = e->m.constants[p->index];
	cleanup_buf struct buf b = BUF_INIT(32);
	struct stage_recipe *body;
	int r;

	if (n->gone || (t && e->m.tensors[t - 1].gone))
		return 0;
	if (!is_renamed(e, n))
		return stage_recipe_slice(to, &e->cursor, p->start, p->len);
	body = stage_recipe_new();
	r = body ? put_renamed(e, p, body) : -ENOMEM;
	if (!r)
		r = stage_onnx_put_head(&b, ONNX_GRAPH_NODE,
			stage_recipe_size(body));
	if (!r)
		r = stage_recipe_inline(to, b.data, b.len);
	if (!r)
		r = append(to, body);
	stage_recipe_unref(body);
	return r;
}

/* A field of the graph, if it is still there. */
static int put_part(struct stage_edit *e, const struct stage_onnx_part *p,
	struct stage_recipe *to)
{
	const struct stage_onnx_value *v;

	switch (p->number) {
	case ONNX_GRAPH_NODE:
		return put_node(e, p, to);
	case ONNX_GRAPH_INIT:
		if (e->m.tensors[p->index].gone)
			return 0;
		break;
	case ONNX_GRAPH_INPUT:
		v = p->name && *p->name ? stage_onnx_value(&e->m, p->name) :
			NULL;
		if (v && v->no_input)
			return 0;
		break;
	default:
		break;
	}
	return stage_recipe_slice(to, &e->cursor, p->start, p->len);
}

static int write_graph(struct stage_edit *e, struct stage_recipe *to)
{
	int r = stage_recipe_inline(to, e->nodes.data, e->nodes.len);

	for (size_t i = 0; i < e->m.n_graph && !r; i++)
		r = put_part(e, &e->m.graph[i], to);
	return r ? r : append(to, e->inits);
}

static int write_model(struct stage_edit *e, struct stage_recipe *graph,
	struct stage_recipe *to)
{
	cleanup_buf struct buf b = BUF_INIT(64);
	int r = 0;

	for (size_t i = 0; i < e->m.n_model && !r; i++) {
		const struct stage_onnx_part *p = &e->m.model[i];

		buf_clear(&b);
		if (p->number == ONNX_MODEL_GRAPH) {
			r = stage_onnx_put_head(&b, ONNX_MODEL_GRAPH,
				stage_recipe_size(graph));
			if (!r)
				r = stage_recipe_inline(to, b.data, b.len);
			if (!r)
				r = append(to, graph);
		} else if (p->number == ONNX_MODEL_IR &&
			   e->m.ir < e->least_ir) {
			r = buf_append_varint(&b, ONNX_MODEL_IR << 3);
			if (!r)
				r = buf_append_varint(&b, e->least_ir);
			if (!r)
				r = stage_recipe_inline(to, b.data, b.len);
		} else {
			r = stage_recipe_slice(to, &e->cursor, p->start,
				p->len);
		}
	}
	return r ? r : stage_recipe_inline(to, e->tail.data, e->tail.len);
}

int stage_edit_write(struct stage_edit *e, struct stage_recipe **ret)
{
	struct stage_recipe *graph = stage_recipe_new();
	struct stage_recipe *to = stage_recipe_new();
	int r = graph && to ? write_graph(e, graph) : -ENOMEM;

	if (!r)
		r = write_model(e, graph, to);
	if (!r && stage_recipe_size(to) > ONNX_MAX)
		r = error_set(e->why, -EFBIG, "onnx: %llu bytes do not fit in "
			"one file of less than 2 GiB",
			(unsigned long long)stage_recipe_size(to));
	stage_recipe_unref(graph);
	if (r)
		stage_recipe_unref(to);
	else
		*ret = to;
	return r;
}

/* ---- opening --------------------------------------------------------------- */

/* A source of which nothing is read: the structure of a staged file is in its
 * recipe. */
static int zeros_read(struct src *s, struct src_read *r)
{
	(void) s;
	memset(r->buf, 0, r->len);
	return 0;
}

static void zeros_free(struct src *s)
{
	free(s);
}

static const struct src_ops zeros_ops = {
	.name = "zeros", .read = zeros_read, .free = zeros_free,
};

static int open_structure(struct stage_recipe *r, struct src **ret,
	struct error *why)
{
	unsigned n = stage_recipe_sources(r);
	struct src **v = calloc(n + 1, sizeof(*v));
	int err = v ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !err; i++) {
		v[i] = malloc(sizeof(**v));
		if (v[i])
			src_init(v[i], &zeros_ops,
				stage_recipe_source_size(r, i));
		else
			err = -ENOMEM;
	}
	if (!err)
		err = stage_recipe_src(r, v, ret, why);
	for (unsigned i = 0; i < n && v; i++)
		src_unref(v[i]);
	free(v);
	return err;
}

static int open_original(struct stage_edit *e, const struct listing_entry *f)
{
	int r = e->in->open(e->in->arg, f, &e->src, e->why);

	e->original = true;
	return r ? r : whole(e, f, &e->base);
}

int stage_edit_open(struct stage_edit *e, struct stage *s,
	const struct stage_input *in, const char *path, struct error *why)
{
	const struct listing_entry *f = listing_find(in->repo.listing, path);
	int r;

	*e = (struct stage_edit){ .stage = s, .in = in, .path = path,
		.why = why, .least_ir = IR_VALUES, .nodes = BUF_INIT(NEW_MAX),
		.tail = BUF_INIT(NEW_MAX), .head = BUF_INIT(NEW_MAX) };
	if (f) {
		r = open_original(e, f);
	} else {
		r = stage_plan(s, in, path, &e->base, why);
		if (!r)
			r = open_structure(e->base, &e->src, why);
	}
	if (!r)
		r = stage_onnx_read(e->src, &e->m, why);
	if (r && f)
		error_wrap(why, "%s", path_base(path));
	if (r)
		return r;
	e->cursor.from = e->base;
	e->inits = stage_recipe_new();
	return e->inits ? 0 : -ENOMEM;
}

void stage_edit_done(struct stage_edit *e)
{
	for (size_t i = 0; i < e->n_files; i++)
		stage_recipe_unref(e->files[i].recipe);
	free(e->files);
	stage_recipe_unref(e->inits);
	stage_recipe_unref(e->base);
	src_unref(e->src);
	buf_done(&e->nodes);
	buf_done(&e->tail);
	buf_done(&e->head);
	stage_onnx_done(&e->m);
}
