/*
 * Which weights a layer has, and in which order: a table of what Keras'
 * layers make in build(). Keras itself loads by position too.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "stage/keras.h"

/* A name, or "name?option": only when the layer's config does not say false.
 * "!" before the option: only when it is not set at all. */
static const struct layer_vars {
	const char *class, *below;	/* below: where .weights.h5 has them */
	const char *vars;
} table[] = {
	{ "BatchNormalization", "", "gamma?scale beta?center moving_mean "
		"moving_variance" },
	{ "Conv1D", "", "kernel bias?use_bias" },
	{ "Conv1DTranspose", "", "kernel bias?use_bias" },
	{ "Conv2D", "", "kernel bias?use_bias" },
	{ "Conv2DTranspose", "", "kernel bias?use_bias" },
	{ "Dense", "", "kernel bias?use_bias" },
	{ "DepthwiseConv1D", "", "kernel bias?use_bias" },
	{ "DepthwiseConv2D", "", "kernel bias?use_bias" },
	{ "Embedding", "", "embeddings" },
	{ "GRU", "cell/", "kernel recurrent_kernel bias?use_bias" },
	{ "GroupNormalization", "", "gamma?scale beta?center" },
	{ "LSTM", "cell/", "kernel recurrent_kernel bias?use_bias" },
	{ "LayerNormalization", "", "gamma?scale beta?center" },
	{ "LayerScale", "", "gamma" },
	{ "Normalization", "", "mean?!mean variance?!mean count?!mean" },
	{ "PReLU", "", "alpha" },
	{ "SeparableConv1D", "", "depthwise_kernel pointwise_kernel "
		"bias?use_bias" },
	{ "SeparableConv2D", "", "depthwise_kernel pointwise_kernel "
		"bias?use_bias" },
	{ "SimpleRNN", "cell/", "kernel recurrent_kernel bias?use_bias" },
};

static const char *const attention_parts[][2] = {
	{ "query", "query_dense/" }, { "key", "key_dense/" },
	{ "value", "value_dense/" }, { "attention_output", "output_dense/" },
};

struct vars {
	struct stage_keras_var *v;
	size_t n;
};

static bool wanted(const char *option, const json_t *config)
{
	const json_t *v;

	if (*option == '!') {
		v = json_object_get(config, option + 1);
		return !v || json_is_null(v);
	}
	return !json_is_false(json_object_get(config, option));
}

/* The words of a row, each under a name of its own. */
static int add_words(struct vars *all, const char *words, const char *name,
	const char *store, const json_t *config)
{
	size_t n = 0;

	for (const char *p = words; *p;) {
		size_t len = strcspn(p, " "), base = strcspn(p, " ?");
		char option[32] = "";

		if (base < len)
			(void) snprintf(option, sizeof(option), "%.*s",
				(int)(len - base - 1), p + base + 1);
		if (!*option || wanted(option, config)) {
			struct stage_keras_var *v = &all->v[all->n];

			if (all->n++ >= STAGE_KERAS_VARS_MAX)
				return -EFBIG;
			(void) snprintf(v->name, sizeof(v->name), "%s%.*s",
				name, (int)base, p);
			(void) snprintf(v->store, sizeof(v->store),
				"%svars/%zu", store, n++);
		}
		p += len + (p[len] == ' ');
	}
	return 0;
}

static int add_class(struct vars *all, const char *class, const char *name,
	const char *store, const json_t *config)
{
	char below[64];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(table[i].class, class) != 0)
			continue;
		(void) snprintf(below, sizeof(below), "%s%s", store,
			table[i].below);
		return add_words(all, table[i].vars, name, below, config);
	}
	return 0;
}

static int add_attention(struct vars *all, const json_t *config)
{
	char name[48];
	int err = 0;

	for (size_t i = 0; i < 4 && !err; i++) {
		(void) snprintf(name, sizeof(name), "%s.",
			attention_parts[i][0]);
		err = add_words(all, "kernel bias?use_bias", name,
			attention_parts[i][1], config);
	}
	return err;
}

int stage_keras_vars(const char *class, const json_t *config,
	struct stage_keras_var ret[STAGE_KERAS_VARS_MAX], size_t *ret_n)
{
	const json_t *inner = json_object_get(config, "layer");
	const char *inner_class = json_str(inner, "class_name");
	const json_t *inner_config = json_object_get(inner, "config");
	struct vars all = { ret, 0 };
	int err;

	if (!strcmp(class, "Bidirectional") && inner_class) {
		err = add_class(&all, inner_class, "forward.",
			"forward_layer/", inner_config);
		if (!err)
			err = add_class(&all, inner_class, "backward.",
				"backward_layer/", inner_config);
	} else if (!strcmp(class, "TimeDistributed") && inner_class) {
		err = add_class(&all, inner_class, "", "layer/",
			inner_config);
	} else if (!strcmp(class, "MultiHeadAttention")) {
		err = add_attention(&all, config);
	} else {
		err = add_class(&all, class, "", "", config);
	}
	*ret_n = all.n;
	return err;
}
