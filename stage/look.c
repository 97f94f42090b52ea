/*
 * What a model's file says of itself, whatever form it has. The bytes tell the
 * form, not the name: checkpoints begin with marks of their own, and of the
 * three that are protobuf each refuses the others.
 */
#include "config.h"

#include "stage/look.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stage/format/checkpoint.h"
#include "stage/format/savedmodel.h"
#include "stage/stage.h"

#define SIGNATURES_MAX 1000

static int text_of(json_t *out, char **ret)
{
	*ret = out ? json_dumps(out, JSON_COMPACT) : NULL;
	return *ret ? 0 : -ENOMEM;
}

/* One more of `key`. */
int stage_look_count(json_t *counts, const char *key, uint64_t n)
{
	json_t *v = json_object_get(counts, key);

	if (v)
		return json_integer_set(v, json_integer_value(v) +
			(json_int_t)n) ? -ENOMEM : 0;
	if (json_object_size(counts) >= STAGE_LOOK_MAX)
		return -EFBIG;
	return json_object_set_new(counts, key, json_integer((json_int_t)n)) ?
		-EBADMSG : 0;
}

/* ---- checkpoints ----------------------------------------------------------- */

/* 1: it is none. model: what is known besides, or NULL. */
static int look_weights(struct src *s, json_t *model, char **ret,
	struct error *why)
{
	cleanup_json json_t *types = json_object();
	cleanup_json json_t *out = NULL;
	struct stage_weights w = { 0 };
	uint64_t parameters = 0;
	int r = stage_weights_file(&w, "file", s->size);

	if (r >= 0)
		r = stage_weights_read(s, (unsigned)r, &w, why);
	for (size_t i = 0; i < w.n && !r; i++) {
		const struct stage_tensor *t = &w.v[i];
		unsigned size = stage_dtype_size(t->dtype);
		uint64_t n = size ? t->len / size : 0;

		parameters += n;
		r = stage_look_count(types, stage_dtype_name(t->dtype), n);
	}
	if (!r) {
		out = json_pack("{s:s, s:I, s:I, s:O}", "format", "checkpoint",
			"tensors", (json_int_t)w.n, "parameters",
			(json_int_t)parameters, "types", types);
		if (!out || (model && json_object_update(out, model)))
			r = -ENOMEM;
	}
	if (!r)
		r = text_of(out, ret);
	stage_weights_done(&w);
	return r;
}

static int look_checkpoint(struct src *s, char **ret, struct error *why)
{
	cleanup_json json_t *model = NULL;
	struct src *weights = NULL;
	int r = stage_look_keras(s, &model, &weights, why);

	if (r == -ENOENT)
		return look_weights(s, NULL, ret, why);
	if (!r)
		r = look_weights(weights, model, ret, why);
	src_unref(weights);
	return r;
}

/* ---- SavedModels ----------------------------------------------------------- */

/* TensorShapeProto: dim 2 { size 1 }, unknown_rank 3 */
static json_t *shape_of(const struct stage_tf_info *t)
{
	struct bytes m = bytes_of(t->shape, t->shape_len);
	json_t *shape = json_array();
	struct stage_wire f, d;

	while (t->shape && shape && stage_wire_next(&m, &f) > 0) {
		json_int_t size = 0;

		if (!stage_wire_is(&f, 2, STAGE_WIRE_BYTES))
			continue;
		while (stage_wire_next(&f.body, &d) > 0)
			if (stage_wire_is(&d, 1, STAGE_WIRE_VARINT))
				size = (json_int_t)d.value;
		if (json_array_size(shape) >= STAGE_LOOK_MAX)
			break;
		json_array_append_new(shape, size < 0 ? json_null() :
			json_integer(size));
	}
	return shape;
}

static json_t *ports_of(const struct stage_tf_info *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n && i < STAGE_LOOK_MAX && list; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:o}",
			"name", v[i].key, "type",
			stage_look_tf_type(v[i].dtype), "shape",
			shape_of(&v[i])));
	return list;
}

static int look_savedmodel(struct src *s, char **ret, struct error *why)
{
	cleanup_json json_t *out = json_pack("{s:s, s:[], s:{}}", "format",
		"SavedModel", "signatures", "operators");
	json_t *signatures = json_object_get(out, "signatures");
	struct stage_savedmodel *m = NULL;
	int r = out ? stage_savedmodel_open(s, &m, why) : -ENOMEM;

	if (r)
		return r;
	for (size_t i = 0; i < m->n_signatures && i < SIGNATURES_MAX; i++) {
		const struct stage_tf_signature *g = &m->signatures[i];

		json_array_append_new(signatures, json_pack(
			"{s:s, s:o, s:o}", "name", g->name, "inputs",
			ports_of(g->in, g->n_in), "outputs",
			ports_of(g->out, g->n_out)));
	}
	for (size_t i = 0; i < m->graph.n_nodes && !r; i++)
		r = stage_look_count(json_object_get(out, "operators"),
			m->graph.nodes[i].op, 1);
	stage_savedmodel_free(m);
	return r ? r : text_of(out, ret);
}

/* ---- any ------------------------------------------------------------------- */

int stage_look(struct src *s, char **ret, struct error *why)
{
	struct error first = { 0 }, other;
	int r = look_checkpoint(s, ret, why);

	if (r != 1)
		return r;
	r = stage_onnx_info(s, ret, &first);
	if (r == -EBADMSG) {
		other = (struct error){ 0 };
		r = stage_look_graphdef(s, ret, &other);
	}
	if (r == -EBADMSG) {
		other = (struct error){ 0 };
		r = look_savedmodel(s, ret, &other);
		if (r == -EBADMSG)
			other = first;
	}
	if (r && why)
		*why = first.code && (r == first.code) ? first : other;
	return r;
}
