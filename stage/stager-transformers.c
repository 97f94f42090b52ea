/*
 * Hugging Face repositories of transformers, sentence-transformers and timm:
 * config.json says which model it is, a blueprint says how its graph is made
 * of the weights, and modules.json what stands behind the model.
 *
 *	pytorch/model.onnx		the graph with its weights; from 2 GiB
 *					on the graph alone
 *	pytorch/<weights>		the weight files, shown again beside it,
 *					which are external data then
 *	pytorch/weights.safetensors	the weights, when they have another form
 *
 * A task that takes several graphs has those of each in place of "model":
 * encoder_model, decoder_model, decoder_with_past_model. Whether it is one
 * stands in config.json, so that the directory asks.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/format/checkpoint.h"
#include "stage/safetensors-write.h"
#include "stage/stager-transformers.h"
#include "stage/tf-names.h"
#include "stage/timm.h"

#define DIR_NAME "pytorch"
#define SAFETENSORS DIR_NAME "/weights.safetensors"
#define PART_MAX 128		/* bytes of a part's name */

#define ENDING ".onnx"

/* ---- which weights --------------------------------------------------------- */

/* In order of preference. An index names shards: stem-00001-of-00002.ext. */
static const struct form {
	const char *path, *stem, *ext;
	bool as_it_is;		/* no weights.safetensors are made of it */
	bool tensorflow;	/* names and layouts are Keras's */
} forms[] = {
	{ "model.safetensors", NULL, NULL, true, false },
	{ "model.safetensors.index.json", "model", ".safetensors", true,
		false },
	{ "pytorch_model.bin", NULL, NULL, false, false },
	{ "pytorch_model.bin.index.json", "pytorch_model", ".bin", false,
		false },
	{ "tf_model.h5", NULL, NULL, true, true },
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

static int add_file(struct listing *l, const char *path)
{
	const struct objid none = { .alg = OBJID_NONE };

	return listing_add(l, path, LISTING_FILE, LISTING_SIZE_UNKNOWN, &none);
}

/* What is staged of a part. */
static int add_part(struct listing *l, const char *part)
{
	char path[sizeof(DIR_NAME) + PART_MAX + 32];

	(void) snprintf(path, sizeof(path), DIR_NAME "/%.*s" ENDING, PART_MAX,
		part);
	return add_file(l, path);
}

/* The weights, in their form and as safetensors. */
static int add_weights(const struct listing *own, const struct form *f,
	struct listing *ret)
{
	int r = f->as_it_is ? 0 : add_file(ret, SAFETENSORS);

	for (size_t i = 0; i < own->n && !r; i++) {
		const struct listing_entry *e = &own->v[i];
		cleanup_free char *path = NULL;

		if (e->kind != LISTING_FILE || !is_weights(f, e->path))
			continue;
		path = path_join(DIR_NAME, e->path);
		r = path ? listing_add(ret, path, LISTING_FILE, e->size,
			&e->id) : -ENOMEM;
	}
	return r;
}

static bool transformers_asks(const struct stage_repo *repo, const char *dir)
{
	return !strcmp(dir, DIR_NAME) && form_of(repo->listing) &&
		!is_file(repo->listing, DIR_NAME);
}

static int transformers_layout(const struct stage_repo *repo,
	struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	int r;

	if (!transformers_asks(repo, DIR_NAME))
		return 0;
	r = listing_add(ret, DIR_NAME, LISTING_DIR, 0, &none);
	if (!r)
		r = add_part(ret, "model");
	return r ? r : add_weights(repo->listing, form_of(repo->listing),
		ret);
}

static const char *transformers_original(const struct stage_repo *repo,
	const char *path)
{
	const struct form *f = form_of(repo->listing);
	const struct listing_entry *e;
	size_t len = strlen(DIR_NAME "/");

	if (!f || strncmp(path, DIR_NAME "/", len) != 0 ||
	    !is_weights(f, path + len))
		return NULL;
	e = listing_find(repo->listing, path + len);
	return e && e->kind == LISTING_FILE ? e->path : NULL;
}

static bool is_part(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && name[i] != '_')
			return false;
	return len > 0 && len <= PART_MAX;
}

/* pytorch/PART.onnx: which part, into ret of PART_MAX + 1 bytes. */
static bool part_of(const char *path, char *ret)
{
	const char *base = path + strlen(DIR_NAME "/");
	size_t len, tail = strlen(ENDING);

	if (strncmp(path, DIR_NAME "/", strlen(DIR_NAME "/")) != 0)
		return false;
	len = strlen(base);
	if (len < tail || strcmp(base + len - tail, ENDING) != 0 ||
	    !is_part(base, len - tail))
		return false;
	memcpy(ret, base, len - tail);
	ret[len - tail] = '\0';
	return true;
}

static bool transformers_stages(const struct stage_repo *repo,
	const char *path)
{
	const struct form *f = form_of(repo->listing);
	char part[PART_MAX + 1];

	if (!f || listing_find(repo->listing, path))
		return false;
	return part_of(path, part) ||
		(!f->as_it_is && !strcmp(path, SAFETENSORS));
}

static bool transformers_reads(const struct stage_repo *repo,
	const char *path, const char *file)
{
	const struct form *f = form_of(repo->listing);

	(void) path;
	return !strcmp(path_base(file), "config.json") ||
		!strcmp(file, "modules.json") ||
		(f && (!strcmp(file, f->path) || is_weights(f, file)));
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
	json_t *cfg;		/* what a blueprint sees of it */
	const char *library;
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
	json_decref(p->cfg);
	json_decref(p->sentence);
	stage_weights_done(&p->weights);
	stage_graph_free(p->graph);
}

static int find_timm(const struct stage *s, struct plan *p, struct error *why)
{
	int r;

	if (p->sentence)
		return error_set(why, -ENOTSUP, "modules.json beside a model "
			"of timm is not handled");
	p->library = "timm";
	p->type = json_str(p->config, "architecture");
	p->arch = p->type;
	p->bp = stage_find_blueprint(s, p->library, p->type);
	if (!p->bp)
		return error_set(why, -ENOTSUP, "there is no blueprint for "
			"timm's \"%s\"", p->type);
	r = stage_timm_config(p->config, &p->cfg, why);
	if (r)
		return r;
	p->task = stage_blueprint_task(p->bp, stage_timm_arch(p->cfg));
	if (!p->task)
		return error_set(why, -ENOTSUP, "the blueprint for timm's "
			"\"%s\" has no task for it", p->type);
	return 0;
}

static int find_task(const struct stage *s, struct plan *p, struct error *why)
{
	json_t *archs = json_object_get(p->config, "architectures");

	if (!json_is_object(p->config))
		return error_set(why, -ENOTSUP, "config.json is no object");
	if (stage_timm_is(p->config))
		return find_timm(s, p, why);
	p->library = "transformers";
	p->cfg = json_incref(p->config);
	p->type = json_str(p->config, "model_type");
	if (!p->type)
		return error_set(why, -ENOTSUP, "config.json has no "
			"model_type");
	p->bp = stage_find_blueprint(s, "transformers", p->type);
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

/* What config.json and modules.json say. */
static int read_model(const struct stage *s, const struct stage_input *in,
	struct plan *p, struct error *why)
{
	int r = stage_input_json(in, "config.json", &p->config, why);

	if (!r)
		r = read_sentence(in, &p->sentence, why);
	return r ? r : find_task(s, p, why);
}

static int make_graph(const struct stage_input *in, const char *part,
	unsigned opset, struct plan *p, struct error *why)
{
	struct stage_blueprint_args args;
	const struct form *f = form_of(in->repo.listing);
	int r = stage_checkpoint_read(in, f->path, &p->weights, why);

	if (!r && f->tensorflow)
		r = stage_tf_weight_names(&p->weights, why);
	if (r)
		return r;
	args = (struct stage_blueprint_args){
		.weights = &p->weights, .config = p->cfg,
		.told = strcmp(p->library, "timm") ? NULL :
			stage_timm_told(p->config),
		.sentence = p->sentence, .task = p->task, .part = part,
		.opset = opset,
	};
	return stage_blueprint_run(p->bp, &args, &p->graph, why);
}

/* External data must be the files that are shown beside the graph. */
static int check_beside(const struct stage_input *in, const struct plan *p,
	struct error *why)
{
	const struct form *f = form_of(in->repo.listing);

	for (unsigned i = 0; i < p->weights.n_files; i++) {
		const char *file = p->weights.files[i];
		cleanup_free char *shown = path_join(DIR_NAME, file);

		if (!shown)
			return -ENOMEM;
		if (!is_weights(f, file))
			return error_set(why, -ENOTSUP, "%s: the name of a "
				"shard is not handled", file);
		if (listing_find(in->repo.listing, shown))
			return error_set(why, -ENOTSUP, "the repository has a "
				"file %s of its own", shown);
	}
	return 0;
}

static int write_model(const struct stage *s, const struct stage_input *in,
	const struct plan *p, struct stage_recipe **ret, struct error *why)
{
	bool timm = !strcmp(p->library, "timm");
	const char *metadata[] = {
		timm ? "library" : "model_type", timm ? p->library : p->type,
		"architecture", p->arch, "task",
		p->sentence ? "sentence-similarity" : p->task, NULL,
	};
	struct stage_onnx_options o = {
		.opset = s->opset, .producer_version = PACKAGE_VERSION,
		.metadata = metadata,
	};
	int r = stage_onnx_write(p->graph, &o, ret, why);

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
	int r = stage_checkpoint_read(in, form_of(in->repo.listing)->path, &w, why);

	if (!r)
		r = stage_safetensors_write(&w, ret, why);
	stage_weights_done(&w);
	return r;
}

static int transformers_plan(const struct stage *s,
	const struct stage_input *in, const char *path,
	struct stage_recipe **ret, struct error *why)
{
	char part[PART_MAX + 1];
	struct plan p = { 0 };
	int r;

	if (!strcmp(path, SAFETENSORS))
		return plan_safetensors(in, ret, why);
	if (!part_of(path, part))
		return error_set(why, -ENOENT, "%s is not staged", path);
	r = read_model(s, in, &p, why);
	if (!r)
		r = make_graph(in, part, s->opset, &p, why);
	if (!r)
		r = write_model(s, in, &p, ret, why);
	plan_done(&p);
	return r;
}

int stage_transformers_graph(const struct stage *s,
	const struct stage_input *in, const char *part, unsigned opset,
	struct stage_graph **ret, struct error *why)
{
	struct plan p = { 0 };
	int r = read_model(s, in, &p, why);

	if (!r)
		r = make_graph(in, part, opset, &p, why);
	if (!r) {
		*ret = p.graph;
		p.graph = NULL;
	}
	plan_done(&p);
	return r;
}

bool stage_transformers_has(const struct listing *repo)
{
	return form_of(repo) != NULL;
}

bool stage_transformers_reads(const struct stage_repo *repo, const char *file)
{
	return transformers_reads(repo, "", file);
}

int stage_transformers_parts(const struct stage *s,
	const struct stage_input *in, const char *const **ret, size_t *ret_n,
	struct error *why)
{
	static const char *const one[] = { "model" };
	struct error bad = { 0 };
	struct plan p = { 0 };
	int r = read_model(s, in, &p, &bad);

	*ret = one;
	*ret_n = 1;
	if (!r)
		*ret_n = stage_blueprint_parts(p.bp, p.task, ret);
	else if (r == -EBADMSG || r == -ENOTSUP || r == -EFBIG)
		r = 0;
	else if (why)
		*why = bad;
	plan_done(&p);
	return r;
}

static int transformers_names(const struct stage *s,
	const struct stage_input *in, const char *dir, struct listing *ret,
	struct error *why)
{
	const char *const *parts;
	size_t n;
	int r = stage_transformers_parts(s, in, &parts, &n, why);

	(void) dir;
	for (size_t i = 0; i < n && !r; i++)
		r = add_part(ret, parts[i]);
	return r ? r : add_weights(in->repo.listing,
		form_of(in->repo.listing), ret);
}

const struct stage_stager stage_stager_transformers = {
	.name = "transformers",
	.layout = transformers_layout,
	.original = transformers_original,
	.stages = transformers_stages,
	.reads = transformers_reads,
	.asks = transformers_asks,
	.names = transformers_names,
	.plan = transformers_plan,
};
