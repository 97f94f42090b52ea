/*
 * What keeps a blueprint honest. A graph that computes something else than
 * the model is worse than none, so whatever the checkpoint or its config say
 * and the blueprint does not take up ends the run: weights nobody used, and
 * config keys that are known to change what some model computes.
 */
#include "config.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/blueprint-run.h"

#define SHOWN_MAX 3	/* unused weights named in a message */

/* Keys of config.json that change the mathematics of one family or another.
 * A blueprint reads them, states what it assumes of them, or says that they
 * do not matter. */
static const char *const watched[] = {
	"_remove_final_layer_norm", "activation", "activation_function",
	"adapter_layers", "add_bias_logits", "add_cross_attention",
	"add_final_layer_norm", "alibi", "attention_bias", "attention_type",
	"attn_logit_softcapping", "auto_map", "cross_attention_hidden_size",
	"do_layer_norm_before", "emb_layer_norm_before", "embedding_size",
	"enable_bias", "extra_pos_embeddings", "feed_forward_proj", "ffn_dim",
	"final_logit_softcapping", "head_dim", "hidden_act",
	"hidden_activation", "is_decoder", "is_encoder_decoder",
	"layer_norm_elementwise_affine", "layer_norm_eps",
	"layer_norm_epsilon", "layer_norm_type", "layer_types",
	"max_position_embeddings", "max_window_layers", "mlp_bias", "n_heads",
	"n_layers", "normalize_before", "normalize_embedding",
	"num_attention_heads", "num_experts", "num_hidden_groups",
	"num_hidden_layers", "num_key_value_heads",
	"original_max_position_embeddings", "partial_rotary_factor",
	"pos_att_type", "position_biased_input", "position_embedding_type",
	"pruned_heads", "quantization_config", "query_pre_attn_scalar",
	"relative_attention", "relative_attention_max_distance",
	"relative_attention_num_buckets", "rms_norm_eps",
	"rope_local_base_freq", "rope_parameters", "rope_scaling",
	"rope_theta", "rotary_emb_base", "rotary_pct", "rotary_value",
	"scale_attn_by_inverse_layer_idx", "scale_attn_weights",
	"scale_decoder_outputs", "scale_embedding", "share_att_key",
	"sinusoidal_pos_embds", "sliding_window", "sliding_window_pattern",
	"static_position_embeddings", "tie_encoder_decoder",
	"tie_word_embeddings", "token_dropout", "type_vocab_size", "use_bias",
	"use_bidirectional_attention", "use_bottleneck",
	"use_parallel_residual", "use_sliding_window", "use_task_id",
	"word_embed_proj_dim",
};

/* ---- weights --------------------------------------------------------------- */

static bool all_start_with(const struct stage_weights *w, size_t from,
	const char *prefix)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; i < w->n; i++)
		if (strlen(w->v[i].name) <= from + len ||
		    strncmp(w->v[i].name + from, prefix, len) != 0)
			return false;
	return w->n > 0;
}

void stage_bp_find_prefix(struct bp_run *r)
{
	static const char *const wrappers[] = {
		"0.auto_model.", "auto_model.", "module.", "_orig_mod.",
		"model.",
	};
	size_t i = 0;

	while (i < sizeof(wrappers) / sizeof(wrappers[0])) {
		if (all_start_with(r->args->weights, r->prefix, wrappers[i])) {
			r->prefix += strlen(wrappers[i]);
			i = 0;
		} else {
			i++;
		}
	}
}

static long find_weight(const struct bp_run *r, const char *name)
{
	const struct stage_weights *w = r->args->weights;
	const struct stage_tensor *t;
	char full[BP_STRING_MAX + 64];

	(void) snprintf(full, sizeof(full), "%.*s%s", (int)r->prefix,
		w->n ? w->v[0].name : "", name);
	t = stage_weights_find(w, full);
	return t ? (long)(t - w->v) : -1;
}

/* Checkpoints of before 2019 call a LayerNorm's weight and bias gamma and
 * beta, as TensorFlow did. */
long stage_bp_weight_index(const struct bp_run *r, const char *name)
{
	static const char *const aliases[][2] = {
		{ "LayerNorm.weight", "LayerNorm.gamma" },
		{ "LayerNorm.bias", "LayerNorm.beta" },
	};
	size_t len = strlen(name);
	char other[BP_STRING_MAX + 64];
	long i = find_weight(r, name);

	for (size_t k = 0; i < 0 && k < 2; k++) {
		size_t tail = strlen(aliases[k][0]);

		if (len < tail || strcmp(name + len - tail, aliases[k][0]))
			continue;
		(void) snprintf(other, sizeof(other), "%.*s%s",
			(int)(len - tail), name, aliases[k][1]);
		i = find_weight(r, other);
	}
	return i;
}

/* Where a weight's bytes lie and what they are: tied weights, which agree in
 * all of it, are one initializer. */
static void range_key(const struct stage_tensor *w, char *ret, size_t room)
{
	int n = snprintf(ret, room, "%u %llu %llu %d", w->file,
		(unsigned long long)w->off, (unsigned long long)w->len,
		(int)w->dtype);

	for (unsigned i = 0; i < w->rank && n > 0 && (size_t)n < room; i++)
		n += snprintf(ret + n, room - (size_t)n, " %llu",
			(unsigned long long)w->dim[i]);
}

static int weight_type(struct bp_run *r, const struct bp_place *at,
	const struct stage_tensor *w, struct stage_type *ret)
{
	*ret = (struct stage_type){ .dtype = w->dtype, .rank = w->rank };
	for (unsigned i = 0; i < w->rank; i++) {
		if (w->dim[i] > INT64_MAX)
			return stage_bp_fail(r, at, "weight \"%s\" is too "
				"large", w->name);
		ret->dim[i].size = (int64_t)w->dim[i];
	}
	if (w->dtype == STAGE_F32 || w->dtype == STAGE_F16 ||
	    w->dtype == STAGE_BF16)
		return 0;
	return stage_bp_fail(r, at, "weight \"%s\" is %s; f32, f16 and bf16 "
		"are handled", w->name, stage_dtype_name(w->dtype));
}

static int cast_weight(struct bp_run *r, const struct bp_place *at,
	struct bp_tensor *t, struct bp_tensor **ret)
{
	struct stage_attr *to = stage_arena_alloc(&r->arena, sizeof(*to));
	const char *path = r->path;
	int err;

	if (!to)
		return -ENOMEM;
	*to = (struct stage_attr){ .name = "to", .kind = STAGE_ATTR_INT,
		.i = STAGE_F32 };
	r->path = t->name;
	err = stage_bp_emit(r, at, stage_op_find("Cast"), &t, 1, to, 1, ret,
		1);
	r->path = path;
	return err;
}

static int new_weight(struct bp_run *r, const struct bp_place *at,
	const struct stage_tensor *w, struct bp_tensor **ret)
{
	struct bp_tensor *t = stage_arena_alloc(&r->arena, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->kind = BP_WEIGHT;
	t->weight = w;
	err = weight_type(r, at, w, &t->type);
	if (err)
		return err;
	t->name = stage_bp_unique(r, w->name);
	if (!t->name)
		return -ENOMEM;
	if (w->dtype != STAGE_F32)
		return cast_weight(r, at, t, ret);
	*ret = t;
	return 0;
}

int stage_bp_weight(struct bp_run *r, const struct bp_place *at,
	const char *name, struct bp_tensor **ret)
{
	long i = stage_bp_weight_index(r, name);
	char key[64 + STAGE_RANK_MAX * 21];
	const struct stage_tensor *w;
	struct bp_tensor *t;
	int err;

	if (i < 0)
		return stage_bp_fail(r, at, "the checkpoint has no weight "
			"\"%s\"", name);
	w = &r->args->weights->v[i];
	r->used[i] = true;
	range_key(w, key, sizeof(key));
	t = map_get(&r->ranges, key);
	if (!t) {
		err = new_weight(r, at, w, &t);
		if (!err)
			err = map_put(&r->ranges, key, t, NULL);
		if (err)
			return err;
	}
	*ret = t;
	return 0;
}

/* ---- what a blueprint states ----------------------------------------------- */

int stage_bp_key_seen(struct bp_run *r, const char *key)
{
	return map_put(r->keys, key, r, NULL);
}

int stage_bp_assume(struct bp_run *r, const struct bp_stmt *s)
{
	const char *key = s->names[0];
	const json_t *j = json_object_get(r->args->config, key);
	struct bp_value want, is;
	bool ok;
	char *text;
	int err = stage_bp_key_seen(r, key);

	if (!err)
		err = stage_bp_eval(r, s->a, &want);
	if (!err)
		err = stage_bp_from_json(r, &s->at, j, &is);
	if (err)
		return err;
	ok = is.kind == BP_V_NONE || stage_bp_equal(&is, &want);
	for (size_t i = 0; want.kind == BP_V_LIST && !ok && i < want.n; i++)
		ok = stage_bp_equal(&is, &want.list[i]);
	if (ok)
		return 0;
	text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);
	err = stage_bp_fail(r, &s->at, "config.json: %s is %.60s, which is "
		"not handled", key, text ? text : "?");
	free(text);
	return err;
}

int stage_bp_ignore(struct bp_run *r, const struct bp_stmt *s)
{
	struct bp_pattern *p;
	struct bp_value v;
	int err;

	if (s->n_names)
		return stage_bp_key_seen(r, s->names[0]);
	err = stage_bp_eval(r, s->a, &v);
	if (err)
		return err;
	p = stage_arena_alloc(&r->arena, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->text = v.s;
	p->next = r->ignored;
	r->ignored = p;
	return 0;
}

/* ---- at the end ------------------------------------------------------------ */

static bool ignored(const struct bp_run *r, const char *name)
{
	for (const struct bp_pattern *p = r->ignored; p; p = p->next)
		if (!fnmatch(p->text, name + r->prefix, FNM_NOESCAPE))
			return true;
	return false;
}

static int check_unused(struct bp_run *r)
{
	char names[ERROR_TEXT_MAX / 2];
	size_t n = 0, len = 0;

	names[0] = '\0';
	for (size_t i = 0; i < r->args->weights->n; i++) {
		const char *name = r->args->weights->v[i].name;

		if (r->used[i] || ignored(r, name))
			continue;
		if (n++ < SHOWN_MAX && len < sizeof(names))
			len += (size_t)snprintf(names + len,
				sizeof(names) - len, "%s\"%.60s\"",
				n > 1 ? ", " : "", name);
	}
	if (!n)
		return 0;
	return error_set(r->why, -ENOTSUP, "%s: %zu weight%s of the "
		"checkpoint without a place in %s: %s%s", r->bp->file, n,
		n > 1 ? "s" : "", r->args->task, names,
		n > SHOWN_MAX ? ", …" : "");
}

/* The arguments that config.json tells. */
static int check_told(struct bp_run *r)
{
	json_t *told = (json_t *)(uintptr_t)r->args->told;

	for (void *it = json_object_iter(told); it;
	     it = json_object_iter_next(told, it)) {
		const char *key = json_object_iter_key(it);

		if (!json_is_null(json_object_iter_value(it)) &&
		    !map_get(r->keys, key))
			return error_set(r->why, -ENOTSUP, "%s: config.json "
				"has the argument %.60s, which this blueprint "
				"does not handle", r->bp->file, key);
	}
	return 0;
}

static int check_keys(struct bp_run *r)
{
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
		const json_t *j = json_object_get(r->args->config, watched[i]);

		if (j && !json_is_null(j) && !map_get(r->keys, watched[i]))
			return error_set(r->why, -ENOTSUP, "%s: config.json "
				"has %s, which this blueprint does not handle",
				r->bp->file, watched[i]);
	}
	return 0;
}

int stage_bp_check(struct bp_run *r)
{
	int err = check_keys(r);

	if (!err)
		err = check_told(r);
	if (!err)
		err = check_unused(r);
	if (!err && !r->outputs)
		err = error_set(r->why, -ENOTSUP, "%s: the graph has no "
			"output", r->bp->file);
	return err;
}
