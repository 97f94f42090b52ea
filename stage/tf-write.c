/*
 * GraphDef, field by field: NodeDefs in the order they were made, each with
 * its length before it, so that of every node the length is added up first, and
 * of the whole when it is in a MetaGraphDef. Bytes of variables and long
 * attributes are REFs; no payload is read.
 */
#include "config.h"

#include "stage/tf.h"
#include "stage/tf-graph.h"

#include <string.h>

#include "base/cleanup.h"

#define REF_MIN 4096		/* bytes; shorter attributes are copied */
#define HEAD_MAX (16u << 20)	/* bytes of the inline part of one node */
/* Of graphs of ours: versions that know every operator in them. */
#define PRODUCER 561
#define MIN_CONSUMER 12

struct writer {
	const struct stage_savedmodel *m;
	const struct stage_bundle *b;
	struct stage_recipe *r;
	struct buf buf;		/* inline bytes not yet in the recipe */
	const char *path;
	uint64_t size;		/* of saved_model.pb */
};

static unsigned varint_len(uint64_t v)
{
	unsigned n = 1;

	while (v >>= 7)
		n++;
	return n;
}

/* A field of `len` bytes with its tag, of numbers below 16. */
static uint64_t field_len(uint64_t len)
{
	return 1 + varint_len(len) + len;
}

static int put_head(struct buf *b, unsigned number, uint64_t len)
{
	int err = buf_append_varint(b, number << 3 | STAGE_WIRE_BYTES);

	return err ? err : buf_append_varint(b, len);
}

static int put_bytes(struct buf *b, unsigned number, const void *p, size_t len)
{
	int err = put_head(b, number, len);

	return err ? err : buf_append(b, p, len);
}

static int put_int(struct buf *b, unsigned number, uint64_t v)
{
	int err = buf_append_varint(b, number << 3 | STAGE_WIRE_VARINT);

	return err ? err : buf_append_varint(b, v);
}

static int flush(struct writer *w)
{
	int err = stage_recipe_inline(w->r, w->buf.data, w->buf.len);

	buf_clear(&w->buf);
	return err;
}

static int put_ref(struct writer *w, const char *path, uint64_t size,
	uint64_t off, uint64_t len)
{
	int err = flush(w);
	int source = err ? err : stage_recipe_source(w->r, path, size);

	return source < 0 ? source :
		stage_recipe_copy(w->r, (unsigned)source, off, len);
}

/* ---- attributes ------------------------------------------------------------ */

static uint64_t attr_len(const struct stage_tf_attr *a)
{
	return field_len(strlen(a->key)) + field_len(a->len);
}

static int put_attr(struct writer *w, const struct stage_tf_attr *a)
{
	int err = put_head(&w->buf, 5, attr_len(a));
	uint64_t off;

	if (!err)
		err = put_bytes(&w->buf, 1, a->key, strlen(a->key));
	if (!err)
		err = put_head(&w->buf, 2, a->len);
	if (err)
		return err;
	if (a->len >= REF_MIN && w->m &&
	    stage_savedmodel_offset(w->m, a->value, &off))
		return put_ref(w, w->path, w->size, off, a->len);
	return buf_append(&w->buf, a->value, a->len);
}

/* ---- variables ------------------------------------------------------------- */

/* TensorProto up to its bytes: dtype 1, tensor_shape 2 {dim 2 {size 1}}, the
 * head of tensor_content 4. */
static int tensor_head(unsigned dtype, const uint64_t *dims, unsigned rank,
	uint64_t len, struct buf *ret)
{
	cleanup_buf struct buf shape = BUF_INIT(1024);
	int err = put_int(ret, 1, dtype);

	for (unsigned i = 0; i < rank && !err; i++) {
		err = put_head(&shape, 2, 1 + varint_len(dims[i]));
		if (!err)
			err = put_int(&shape, 1, dims[i]);
	}
	if (!err)
		err = put_bytes(ret, 2, shape.data, shape.len);
	return err || !len ? err : put_head(ret, 4, len);
}

/* What a Const holds, up to its bytes; *ret_len is their number. */
static int node_head(const struct stage_tf_frozen_node *n, struct buf *ret,
	uint64_t *ret_len)
{
	const struct stage_tf_const *c = n->value;
	const struct stage_graph_init *init = n->init;
	uint64_t dims[STAGE_RANK_MAX];

	*ret_len = c ? c->len : init ? init->len : 0;
	if (init)
		return tensor_head(stage_tf_from_dtype(init->dtype),
			init->dim, init->rank, init->len, ret);
	if (!c)
		return 0;
	memcpy(dims, c->t->dim, sizeof(dims));
	dims[0] = c->dim0;
	return tensor_head(c->t->dtype, dims, c->t->rank, c->len, ret);
}

static int put_init(struct writer *w, const struct stage_graph_init *init)
{
	if (init->data)
		return buf_append(&w->buf, init->data, (size_t)init->len);
	return put_ref(w, init->path, init->file_size, init->off, init->len);
}

/* The bytes [off, off + len) of the pieces put end to end. */
static int put_pieces(struct writer *w, const struct stage_tf_const *c)
{
	uint64_t off = c->off, len = c->len;
	int err = 0;

	for (unsigned i = 0; i < c->t->n_pieces && len && !err; i++) {
		const struct stage_bundle_piece *p = &c->t->pieces[i];
		uint64_t n;

		if (off >= p->len) {
			off -= p->len;
			continue;
		}
		n = p->len - off < len ? p->len - off : len;
		err = put_ref(w, w->b->files[p->file],
			w->b->file_sizes[p->file], p->off + off, n);
		off = 0;
		len -= n;
	}
	return err;
}

/* Attribute of a Const: {value: {tensor 8}} */
static int put_value(struct writer *w, const struct stage_tf_frozen_node *n,
	const struct buf *head, uint64_t len)
{
	uint64_t tensor = head->len + len;
	int err;

	err = put_head(&w->buf, 5, field_len(5) + field_len(field_len(tensor)));
	if (!err)
		err = put_bytes(&w->buf, 1, "value", 5);
	if (!err)
		err = put_head(&w->buf, 2, field_len(tensor));
	if (!err)
		err = put_head(&w->buf, 8, tensor);
	if (!err)
		err = buf_append(&w->buf, head->data, head->len);
	if (err || !len)
		return err;
	return n->value ? put_pieces(w, n->value) : put_init(w, n->init);
}

/* ---- nodes ----------------------------------------------------------------- */

static uint64_t node_len(const struct stage_tf_frozen_node *n,
	const struct buf *head, uint64_t payload)
{
	uint64_t len = field_len(strlen(n->name)) + field_len(strlen(n->op));

	for (size_t i = 0; i < n->n_input; i++)
		len += field_len(strlen(n->input[i]));
	for (size_t i = 0; i < n->n_attr; i++)
		len += field_len(attr_len(&n->attr[i]));
	if (n->value || n->init)
		len += field_len(field_len(5) + field_len(field_len(
			head->len + payload)));
	return len;
}

/* NodeDef: name 1, op 2, input 3, attr 5; the field of whom it is part. */
static int put_node(struct writer *w, unsigned field,
	const struct stage_tf_frozen_node *n)
{
	cleanup_buf struct buf head = BUF_INIT(2048);
	uint64_t payload;
	int err = node_head(n, &head, &payload);

	if (!err)
		err = put_head(&w->buf, field, node_len(n, &head, payload));
	if (!err)
		err = put_bytes(&w->buf, 1, n->name, strlen(n->name));
	if (!err)
		err = put_bytes(&w->buf, 2, n->op, strlen(n->op));
	for (size_t i = 0; i < n->n_input && !err; i++)
		err = put_bytes(&w->buf, 3, n->input[i], strlen(n->input[i]));
	for (size_t i = 0; i < n->n_attr && !err; i++)
		err = put_attr(w, &n->attr[i]);
	if (!err && (n->value || n->init))
		err = put_value(w, n, &head, payload);
	return err ? err : flush(w);
}

/* ---- functions ------------------------------------------------------------- */

/* OpDef.ArgDef: name 1, type 3 */
static int put_args(struct buf *b, unsigned field, const char *const *names,
	const unsigned *types, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		err = put_head(b, field, field_len(strlen(names[i])) + 1 +
			varint_len(types[i]));
		if (!err)
			err = put_bytes(b, 1, names[i], strlen(names[i]));
		if (!err)
			err = put_int(b, 3, types[i]);
	}
	return err;
}

/* FunctionDef's parts but for its nodes: signature 1 {OpDef: name 1, input_arg
 * 2, output_arg 3}, ret 4 */
static int function_head(const struct stage_tf_frozen_function *fn,
	struct buf *ret)
{
	cleanup_buf struct buf op = BUF_INIT(HEAD_MAX);
	int err = put_bytes(&op, 1, fn->name, strlen(fn->name));

	if (!err)
		err = put_args(&op, 2, fn->arg, fn->arg_type, fn->n_arg);
	if (!err)
		err = put_args(&op, 3, fn->out, fn->out_type, fn->n_out);
	if (!err)
		err = put_bytes(ret, 1, op.data, op.len);
	for (size_t i = 0; i < fn->n_out && !err; i++) {
		err = put_head(ret, 4, field_len(strlen(fn->out[i])) +
			field_len(strlen(fn->ret[i])));
		if (!err)
			err = put_bytes(ret, 1, fn->out[i],
				strlen(fn->out[i]));
		if (!err)
			err = put_bytes(ret, 2, fn->ret[i],
				strlen(fn->ret[i]));
	}
	return err;
}

static int function_len(const struct stage_tf_frozen_function *fn,
	uint64_t *ret)
{
	cleanup_buf struct buf whole = BUF_INIT(HEAD_MAX);
	int err = function_head(fn, &whole);
	uint64_t len = whole.len;

	for (size_t i = 0; i < fn->n && !err; i++) {
		cleanup_buf struct buf head = BUF_INIT(2048);
		uint64_t payload;

		err = node_head(&fn->v[i], &head, &payload);
		len += field_len(node_len(&fn->v[i], &head, payload));
	}
	*ret = len;
	return err;
}

/* library 2: FunctionDefLibrary, function 1 {node_def 3} */
static int put_library(struct writer *w, const struct stage_tf_frozen *f)
{
	const struct stage_tf_frozen_function *fn;
	uint64_t all = 0, len;
	int err = 0;

	for (fn = f->functions; fn && !err; fn = fn->next) {
		err = function_len(fn, &len);
		all += field_len(len);
	}
	if (!err)
		err = put_head(&w->buf, 2, all);
	for (fn = f->functions; fn && !err; fn = fn->next) {
		err = function_len(fn, &len);
		if (!err)
			err = put_head(&w->buf, 1, len);
		if (!err)
			err = function_head(fn, &w->buf);
		for (size_t i = 0; i < fn->n && !err; i++)
			err = put_node(w, 3, &fn->v[i]);
	}
	return err;
}

/* ---- variables of a graph that is to be trained ------------------------------ */

/* A message's field that is the name of an output. */
static int put_output(struct buf *b, unsigned number, const char *node)
{
	int err = put_head(b, number, strlen(node) + 2);

	if (!err)
		err = buf_append(b, node, strlen(node));
	return err ? err : buf_append(b, ":0", 2);
}

/* VariableDef: variable_name 1, initializer_name 2, snapshot_name 3,
 * is_resource 5, initial_value_name 6, trainable 7 */
static int variable_def(const struct stage_tf_thawed *v, struct buf *ret)
{
	int err = put_output(ret, 1, v->name);

	if (!err)
		err = put_bytes(ret, 2, v->assign, strlen(v->assign));
	if (!err)
		err = put_output(ret, 3, v->read);
	if (!err)
		err = put_int(ret, 5, 1);
	if (!err)
		err = put_output(ret, 6, v->initial);
	return err ? err : put_int(ret, 7, 1);
}

/* MetaGraphDef: collection_def 4 {key 1, value 2 {bytes_list 2 {value 1}}} */
static int put_collections(struct buf *b, const struct stage_tf_frozen *f)
{
	static const char *const keys[] = { "variables",
		"trainable_variables" };
	cleanup_buf struct buf list = BUF_INIT(HEAD_MAX);
	int err = 0;

	for (size_t i = 0; i < f->n_vars && !err; i++) {
		cleanup_buf struct buf one = BUF_INIT(HEAD_MAX);

		err = variable_def(&f->vars[i], &one);
		if (!err)
			err = put_bytes(&list, 1, one.data, one.len);
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !err; i++) {
		uint64_t value = field_len(list.len);

		err = put_head(b, 4, field_len(strlen(keys[i])) +
			field_len(value));
		if (!err)
			err = put_bytes(b, 1, keys[i], strlen(keys[i]));
		if (!err)
			err = put_head(b, 2, value);
		if (!err)
			err = put_bytes(b, 2, list.data, list.len);
	}
	return err;
}

/* graph_def 2's tag and length */
static int put_graph_head(struct buf *b, const struct stage_tf_frozen *f,
	const struct bytes *versions)
{
	uint64_t all = bytes_left(versions) ?
		field_len(bytes_left(versions)) : 0;
	int err = 0;

	for (size_t i = 0; i < f->n && !err; i++) {
		cleanup_buf struct buf head = BUF_INIT(2048);
		uint64_t payload;

		err = node_head(&f->v[i], &head, &payload);
		all += field_len(node_len(&f->v[i], &head, payload));
	}
	return err ? err : put_head(b, 2, all);
}

/* GraphDef: node 1, library 2, versions 4 */
int stage_tf_write(const struct stage_savedmodel *m,
	const struct stage_bundle *b, const struct stage_tf_frozen *f,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	struct writer w = { .m = m, .b = b, .path = path,
		.size = m ? m->size : 0, .buf = BUF_INIT(HEAD_MAX) };
	/* VersionDef: producer 1, min_consumer 2 */
	static const uint8_t ours[] = { 0x08, (PRODUCER & 127) | 128,
		PRODUCER >> 7, 0x10, MIN_CONSUMER };
	struct bytes versions = m ? m->versions : bytes_of(ours,
		sizeof(ours));
	int err;

	w.r = stage_recipe_new();
	err = w.r ? 0 : -ENOMEM;
	if (!err && f->vars)
		err = put_graph_head(&w.buf, f, &versions);
	for (size_t i = 0; i < f->n && !err; i++)
		err = put_node(&w, 1, &f->v[i]);
	if (!err && f->functions)
		err = put_library(&w, f);
	if (!err && bytes_left(&versions))
		err = put_bytes(&w.buf, 4, versions.p, bytes_left(&versions));
	if (!err && f->vars)
		err = put_collections(&w.buf, f);
	if (!err)
		err = flush(&w);
	buf_done(&w.buf);
	if (!err && stage_recipe_size(w.r) > STAGE_TF_FILE_MAX)
		err = -EFBIG;
	if (err) {
		stage_recipe_unref(w.r);
		return error_set(why, err, err == -EFBIG ? "the frozen graph "
			"is over 2 GiB, which no GraphDef can be" :
			"writing the graph: %s", strerror(-err));
	}
	*ret = w.r;
	return 0;
}
