/*
 * Hugging Face repositories of transformers and sentence-transformers:
 * config.json says which model it is, a blueprint says how its graph is made
 * of the weights, and modules.json what stands behind the model.
 *
 *	pytorch/model.onnx		the graph with its weights; from 2 GiB
 *					on the graph alone, as below
 *	pytorch/model_fp16.onnx		the same with weights in half precision
 *	pytorch/model_skeleton.onnx	the graph; its external data are
 *	pytorch/<weights>		the weight files, shown again beside it
 *	pytorch/weights.safetensors	the weights, when they have another form
 */
#include "config.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/format/checkpoint.h"
#include "stage/safetensors-write.h"
#include "stage/stager.h"

#define DIR_NAME "pytorch"

/* What is staged. */
enum what {
	MODEL,
	MODEL_F16,
	SKELETON,
	SAFETENSORS,
	N_WHAT,
};

static const char *const names[N_WHAT] = {
	[MODEL] = DIR_NAME "/model.onnx",
	[MODEL_F16] = DIR_NAME "/model_fp16.onnx",
	[SKELETON] = DIR_NAME "/model_skeleton.onnx",
	[SAFETENSORS] = DIR_NAME "/weights.safetensors",
};

/* ---- which weights --------------------------------------------------------- */

/* In order of preference. An index names shards: stem-00001-of-00002.ext. */
static const struct form {
	const char *path, *stem, *ext;
	bool safetensors;
} forms[] = {
	{ "model.safetensors", NULL, NULL, true },
	{ "model.safetensors.index.json", "model", ".safetensors", true },
	{ "pytorch_model.bin", NULL, NULL, false },
	{ "pytorch_model.bin.index.json", "pytorch_model", ".bin", false },
};

static bool is_file(const struct listing *repo, const char *path)
{
	const struct listing_entry *e = listing_find(repo, path);

	return e && e->kind == LISTING_FILE;
}

static const struct form *form_of(const struct listing *repo)
{
	if (!is_file(repo, "config.json"))
		return NULL;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (is_file(repo, forms[i].path))
			return &forms[i];
	return NULL;
}

static const char *digits(const char *p)
{
	const char *start = p;

	while (*p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

/* Is `path` one of the files whose bytes are the weights? */
static bool is_weights(const struct form *f, const char *path)
{
	const char *p = path;

	if (!f->stem)
		return !strcmp(path, f->path);
	if (strncmp(p, f->stem, strlen(f->stem)) != 0)
		return false;
	p += strlen(f->stem);
	p = *p == '-' ? digits(p + 1) : NULL;
	if (!p || strncmp(p, "-of-", 4) != 0)
		return false;
	p = digits(p + 4);
	return p && !strcmp(p, f->ext);
}

/* ---- layout ---------------------------------------------------------------- */

/* Is it staged from weights of this form? */
static bool is_offered(enum what what, const struct form *f)
{
	return what != SAFETENSORS || !f->safetensors;
}

static int transformers_layout(const struct listing *repo,
	struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	const struct form *f = form_of(repo);
	int r;

	if (!f || is_file(repo, DIR_NAME))
		return 0;
	r = listing_add(ret, DIR_NAME, LISTING_DIR, 0, &none);
	for (enum what w = 0; w < N_WHAT && !r; w++) {
		if (is_offered(w, f))
			r = listing_add(ret, names[w], LISTING_FILE,
				LISTING_SIZE_UNKNOWN, &none);
	}
	for (size_t i = 0; i < repo->n && !r; i++) {
		const struct listing_entry *e = &repo->v[i];
		cleanup_free char *path = NULL;

		if (e->kind != LISTING_FILE || !is_weights(f, e->path))
			continue;
		path = path_join(DIR_NAME, e->path);
		r = path ? listing_add(ret, path, LISTING_FILE, e->size,
			&e->id) : -ENOMEM;
	}
	return r;
}

static const char *transformers_original(const struct listing *repo,
	const char *path)
{
	const struct form *f = form_of(repo);
	const struct listing_entry *e;
	size_t len = strlen(DIR_NAME "/");

	if (!f || strncmp(path, DIR_NAME "/", len) != 0 ||
	    !is_weights(f, path + len))
		return NULL;
	e = listing_find(repo, path + len);
	return e && e->kind == LISTING_FILE ? e->path : NULL;
}

/* N_WHAT: nothing that is staged. */
static enum what what_of(const char *path)
{
	enum what w = 0;

	while (w < N_WHAT && strcmp(path, names[w]) != 0)
		w++;
	return w;
}

static bool transformers_stages(const struct listing *repo, const char *path)
{
	const struct form *f = form_of(repo);
	enum what w = what_of(path);

	return f && w < N_WHAT && is_offered(w, f) &&
		!listing_find(repo, path);
}

static bool transformers_reads(const struct listing *repo, const char *path)
{
	const struct form *f = form_of(repo);

	return !strcmp(path_base(path), "config.json") ||
		!strcmp(path, "modules.json") ||
		(f && (!strcmp(path, f->path) || is_weights(f, path)));
}

/* ---- sentence-transformers ------------------------------------------------- */

/* The last word of "sentence_transformers.models.Pooling". */
static const char *module_type(const json_t *module)
{
	const char *type = json_str(module, "type");
	const char *dot = type ? strrchr(type, '.') : NULL;

	return dot ? dot + 1 : type ? type : "?";
}

/* The modes that 1_Pooling/config.json switches on: by name, or by the flags
 * of releases before 6, whose order is that of the concatenation. */
static json_t *pooling_modes(const json_t *config)
{
	static const char *const flags[][2] = {
		{ "pooling_mode_cls_token", "cls" },
		{ "pooling_mode_max_tokens", "max" },
		{ "pooling_mode_mean_tokens", "mean" },
		{ "pooling_mode_mean_sqrt_len_tokens",
			"mean_sqrt_len_tokens" },
		{ "pooling_mode_weightedmean_tokens", "weightedmean" },
		{ "pooling_mode_lasttoken", "lasttoken" },
	};
	json_t *named = json_object_get(config, "pooling_mode");
	json_t *modes;

	if (json_is_array(named) && json_array_size(named))
		return json_incref(named);
	modes = json_array();
	if (json_is_string(named))
		json_array_append(modes, named);
	for (size_t i = 0; !named && i < sizeof(flags) / sizeof(flags[0]); i++)
		if (json_is_true(json_object_get(config, flags[i][0])))
			json_array_append_new(modes,
				json_string(flags[i][1]));
	if (!json_array_size(modes))
		json_array_append_new(modes, json_string("mean"));
	return modes;
}

static int read_pooling(const struct stage_input *in, const json_t *module,
	json_t *ret, struct error *why)
{
	const char *dir = json_str(module, "path");
	cleanup_free char *path = path_join(dir ? dir : "", "config.json");
	cleanup_json json_t *config = NULL;
	json_t *modes;
	int r = path ? stage_input_json(in, path, &config, why) : -ENOMEM;

	if (r == -ENOENT)
		return error_set(why, -ENOTSUP, "modules.json names %s, which "
			"is not there", path);
	if (r)
		return r;
	if (json_is_false(json_object_get(config, "include_prompt")))
		return error_set(why, -ENOTSUP, "%s: include_prompt is false, "
			"which is not handled", path);
	modes = pooling_modes(config);
	return json_object_set_new(ret, "pooling", modes) ? -ENOMEM : 0;
}

/* One module of modules.json, which is the i-th. */
static int read_module(const struct stage_input *in, const json_t *module,
	size_t i, json_t *ret, struct error *why)
{
	static const char *const order[] = {
		"Transformer", "Pooling", "Normalize",
	};
	const char *type = module_type(module);
	const char *path = json_str(module, "path");

	if (i >= 3 || strcmp(type, order[i]) != 0)
		return error_set(why, -ENOTSUP, "modules.json: %s as module "
			"%zu is not handled (Transformer, Pooling, Normalize "
			"are)", type, i);
	if (i == 0 && path && *path)
		return error_set(why, -ENOTSUP, "modules.json: the model is "
			"in %s, not beside it", path);
	if (i == 1)
		return read_pooling(in, module, ret, why);
	if (i == 2 && json_object_set_new(ret, "normalize", json_true()))
		return -ENOMEM;
	return 0;
}

/* *ret is NULL when nothing stands behind the model. */
static int read_sentence(const struct stage_input *in, json_t **ret,
	struct error *why)
{
	cleanup_json json_t *modules = NULL;
	cleanup_json json_t *s = json_pack("{s:b}", "normalize", 0);
	int r = stage_input_json(in, "modules.json", &modules, why);

	if (r == -ENOENT)
		return 0;
	if (!r && !json_is_array(modules))
		r = error_set(why, -ENOTSUP, "modules.json is no list");
	for (size_t i = 0; !r && i < json_array_size(modules); i++)
		r = read_module(in, json_array_get(modules, i), i, s, why);
	if (!r && json_object_get(s, "pooling"))
		*ret = json_incref(s);
	return r;
}

/* ---- planning -------------------------------------------------------------- */

struct plan {
	json_t *config;
	json_t *sentence;	/* NULL: nothing behind the model */
	const char *arch;	/* "" when config.json names none */
	const char *type;
	const struct stage_blueprint *bp;
	const char *task;
	struct stage_weights weights;
	struct stage_graph *graph;
};

static void plan_done(struct plan *p)
{
	json_decref(p->config);
	json_decref(p->sentence);
	stage_weights_done(&p->weights);
	stage_graph_free(p->graph);
}

static int find_task(const struct stage *s, struct plan *p, struct error *why)
{
	json_t *archs = json_object_get(p->config, "architectures");

	if (!json_is_object(p->config))
		return error_set(why, -ENOTSUP, "config.json is no object");
	p->type = json_str(p->config, "model_type");
	if (!p->type)
		return error_set(why, -ENOTSUP, "config.json has no "
			"model_type");
	p->bp = stage_find_blueprint(s, p->type);
	if (!p->bp)
		return error_set(why, -ENOTSUP, "there is no blueprint for "
			"model_type \"%s\"", p->type);
	p->arch = json_string_value(json_array_get(archs, 0));
	if (p->sentence || !p->arch) {
		p->task = "feature-extraction";
		p->arch = p->arch ? p->arch : "";
		return 0;
	}
	p->task = stage_blueprint_task(p->bp, p->arch);
	if (!p->task)
		return error_set(why, -ENOTSUP, "the architecture \"%s\" of "
			"model_type \"%s\" is not handled", p->arch, p->type);
	return 0;
}

static int make_graph(const struct stage *s, const struct stage_input *in,
	struct plan *p, struct error *why)
{
	struct stage_blueprint_args args;
	int r = stage_input_json(in, "config.json", &p->config, why);

	if (!r)
		r = read_sentence(in, &p->sentence, why);
	if (!r)
		r = find_task(s, p, why);
	if (!r)
		r = stage_checkpoint_read(in, form_of(in->listing)->path,
			&p->weights, why);
	if (r)
		return r;
	args = (struct stage_blueprint_args){
		.weights = &p->weights, .config = p->config,
		.sentence = p->sentence, .task = p->task, .opset = s->opset,
	};
	return stage_blueprint_run(p->bp, &args, &p->graph, why);
}

/* External data must be the files that are shown beside the graph. */
static int check_beside(const struct stage_input *in, const struct plan *p,
	struct error *why)
{
	const struct form *f = form_of(in->listing);

	for (unsigned i = 0; i < p->weights.n_files; i++) {
		const char *file = p->weights.files[i];
		cleanup_free char *shown = path_join(DIR_NAME, file);

		if (!shown)
			return -ENOMEM;
		if (!is_weights(f, file))
			return error_set(why, -ENOTSUP, "%s: the name of a "
				"shard is not handled", file);
		if (listing_find(in->listing, shown))
			return error_set(why, -ENOTSUP, "the repository has a "
				"file %s of its own", shown);
	}
	return 0;
}

/* The graph with its weights in another form. Computed weights lie in no file,
 * so there is no external form of it. */
static int write_variant(const struct plan *p, enum stage_variant kind,
	const struct stage_onnx_options *o, struct stage_recipe **ret,
	struct error *why)
{
	struct stage_graph *g = NULL;
	int r = stage_graph_variant(p->graph, kind, &g, why);

	if (!r)
		r = stage_onnx_write(g, o, ret, why);
	stage_graph_free(g);
	return r;
}

static int write_model(const struct stage *s, const struct stage_input *in,
	const struct plan *p, enum what what, struct stage_recipe **ret,
	struct error *why)
{
	const char *metadata[] = {
		"model_type", p->type, "architecture", p->arch, "task",
		p->sentence ? "sentence-similarity" : p->task,
		what == MODEL_F16 ? "weights" : NULL, "float16", NULL,
	};
	struct stage_onnx_options o = {
		.opset = s->opset, .external = what == SKELETON,
		.producer_version = PACKAGE_VERSION, .metadata = metadata,
	};
	int r = -EFBIG;

	if (what == MODEL_F16)
		return write_variant(p, STAGE_VARIANT_F16, &o, ret, why);
	if (what == MODEL)
		r = stage_onnx_write(p->graph, &o, ret, why);
	if (r != -EFBIG)
		return r;
	o.external = true;
	r = check_beside(in, p, why);
	return r ? r : stage_onnx_write(p->graph, &o, ret, why);
}

static int plan_safetensors(const struct stage_input *in,
	struct stage_recipe **ret, struct error *why)
{
	struct stage_weights w = { 0 };
	int r = stage_checkpoint_read(in, form_of(in->listing)->path, &w, why);

	if (!r)
		r = stage_safetensors_write(&w, ret, why);
	stage_weights_done(&w);
	return r;
}

static int transformers_plan(const struct stage *s,
	const struct stage_input *in, const char *path,
	struct stage_recipe **ret, struct error *why)
{
	enum what what = what_of(path);
	struct plan p = { 0 };
	int r;

	if (what == SAFETENSORS)
		return plan_safetensors(in, ret, why);
	r = make_graph(s, in, &p, why);
	if (!r)
		r = write_model(s, in, &p, what, ret, why);
	plan_done(&p);
	return r;
}

const struct stage_stager stage_stager_transformers = {
	.name = "transformers",
	.layout = transformers_layout,
	.original = transformers_original,
	.stages = transformers_stages,
	.reads = transformers_reads,
	.plan = transformers_plan,
};
