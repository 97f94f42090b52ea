/*
 * Blueprints: a text is parsed and run over a small checkpoint. What it makes
 * must be a graph the ONNX writer takes.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stage/blueprint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define LAYER "encoder.layer.0."

static const struct {
	const char *name;
	uint64_t rows, columns;		/* columns 0: one dimension */
} tensors[] = {
	{ "embeddings.word_embeddings.weight", 6, 4 },
	{ "embeddings.position_embeddings.weight", 5, 4 },
	{ "embeddings.token_type_embeddings.weight", 2, 4 },
	{ "embeddings.LayerNorm.gamma", 4, 0 },
	{ "embeddings.LayerNorm.beta", 4, 0 },
	{ LAYER "attention.self.query.weight", 4, 4 },
	{ LAYER "attention.self.query.bias", 4, 0 },
	{ LAYER "attention.self.key.weight", 4, 4 },
	{ LAYER "attention.self.value.weight", 4, 4 },
	{ LAYER "attention.output.dense.weight", 4, 4 },
	{ LAYER "attention.output.LayerNorm.weight", 4, 0 },
	{ LAYER "attention.output.LayerNorm.bias", 4, 0 },
	{ LAYER "intermediate.dense.weight", 3, 4 },
	{ LAYER "output.dense.weight", 4, 3 },
	{ LAYER "output.LayerNorm.weight", 4, 0 },
	{ LAYER "output.LayerNorm.bias", 4, 0 },
	{ "pooler.dense.weight", 4, 4 },
	{ "pooler.dense.bias", 4, 0 },
	{ "classifier.weight", 2, 4 },
	{ "classifier.bias", 2, 0 },
	{ "qa_outputs.weight", 2, 4 },
};

static const char config_text[] =
	"{\"hidden_size\": 4, \"num_hidden_layers\": 1, "
	"\"num_attention_heads\": 2, \"vocab_size\": 6, "
	"\"max_position_embeddings\": 5, \"model_type\": \"bert\"}";
static const char sentence_text[] =
	"{\"pooling\": [\"mean\", \"cls\", \"max\"], \"normalize\": true}";

static void fill(struct stage_weights *w)
{
	uint64_t at = 0;

	if (stage_weights_file(w, "model.safetensors", 1u << 20))
		abort();
	for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
		char name[64];
		struct stage_tensor t = { .name = name, .off = at };

		strcpy(name, tensors[i].name);
		t.dtype = i % 5 ? STAGE_F32 : STAGE_F16;
		t.rank = tensors[i].columns ? 2 : 1;
		t.dim[0] = tensors[i].rows;
		t.dim[1] = tensors[i].columns;
		t.len = t.dim[0] * (t.rank == 2 ? t.dim[1] : 1) *
			stage_dtype_size(t.dtype);
		if (stage_weights_add(w, &t, NULL))
			abort();
		at += t.len;
	}
	if (stage_weights_sort(w, NULL))
		abort();
}

static void run(const struct stage_blueprint *bp,
	const struct stage_blueprint_args *args)
{
	const struct stage_onnx_options o = { .opset = args->opset,
		.producer_version = "0" };
	struct stage_recipe *recipe = NULL;
	struct stage_graph *g = NULL;
	struct error why = { 0 };
	int r = stage_blueprint_run(bp, args, &g, &why);

	if (r) {
		if (g || !why.code || !why.text[0])
			abort();
		return;
	}
	if (stage_onnx_write(g, &o, &recipe, &why))
		abort();
	stage_recipe_unref(recipe);
	stage_graph_free(g);
}

static void run_all(const struct stage_blueprint *bp,
	const struct stage_weights *w)
{
	static const char *const tasks[] = {
		"feature-extraction", "text-classification",
		"question-answering",
	};
	json_t *config = json_loads(config_text, 0, NULL);
	json_t *sentence = json_loads(sentence_text, 0, NULL);
	struct stage_blueprint_args args = { .weights = w, .config = config };

	if (!config || !sentence)
		abort();
	for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {
		args.task = tasks[i];
		args.opset = i ? 13 : 17;
		run(bp, &args);
		args.sentence = sentence;
	}
	run(bp, &args);
	json_decref(config);
	json_decref(sentence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stage_blueprint *bp = NULL;
	struct stage_weights w = { 0 };
	struct error why = { 0 };

	if (stage_blueprint_parse("fuzz.bp", (const char *)data, len, NULL,
	    &bp, &why)) {
		if (bp || !why.code || !why.text[0])
			abort();
		return 0;
	}
	json_decref(stage_blueprint_families(bp));
	fill(&w);
	run_all(bp, &w);
	stage_weights_done(&w);
	stage_blueprint_free(bp);
	return 0;
}
