/*
 * torchvision's weights: MODEL/FILE.pth is the state_dict of what the function
 * MODEL of torchvision.models builds. There is no config.json: the name tells
 * the builder, and what builders of one family differ in a blueprint finds by
 * that name (cfg.builder), by the file's (cfg.file) or in the weights.
 *
 *	MODEL/FILE.onnx		the graph with the weights of FILE.pth; from
 *				2 GiB on the graph alone, whose external data
 *				FILE.pth beside it is
 *	MODEL/model.onnx	the same of the file the hub prefers, or of
 *				the only one
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/format/checkpoint.h"
#include "stage/stager.h"

#define HUB "pytorch/torchvision"
#define WEIGHTS ".pth"
#define STAGED ".onnx"
#define DEFAULT "model"

/* MODEL/NAME with such an ending: bytes of "MODEL/", and of NAME without the
 * ending; 0: it is nothing like it. */
static size_t split(const char *path, const char *ending, size_t *ret_name)
{
	const char *slash = strchr(path, '/');
	size_t len = strlen(path), tail = strlen(ending), dir;

	if (!slash || slash == path || strchr(slash + 1, '/'))
		return 0;
	dir = (size_t)(slash - path) + 1;
	if (len <= dir + tail || strcmp(path + len - tail, ending) != 0)
		return 0;
	*ret_name = len - tail - dir;
	return dir;
}

static bool is_default(const char *name, size_t len)
{
	return len == strlen(DEFAULT) && !strncmp(name, DEFAULT, len);
}

/* The weights that are meant by "MODEL/" alone, or NULL. */
static const struct listing_entry *preferred(const struct stage_repo *repo,
	const char *path, size_t dir)
{
	const struct listing_entry *only = NULL;
	size_t n = 0, name;

	for (size_t i = 0; i < repo->listing->n; i++) {
		const struct listing_entry *e = &repo->listing->v[i];

		if (e->kind != LISTING_FILE ||
		    split(e->path, WEIGHTS, &name) != dir ||
		    strncmp(e->path, path, dir) != 0)
			continue;
		if (repo->preferred && repo->preferred(repo->arg, e->path))
			return e;
		only = e;
		n++;
	}
	return n == 1 ? only : NULL;
}

/* The weights of which a staged path is made, or NULL: it is not staged. */
static const struct listing_entry *weights_of(const struct stage_repo *repo,
	const char *path)
{
	const struct listing_entry *e = NULL;
	cleanup_free char *weights = NULL;
	size_t name, dir = split(path, STAGED, &name);

	if (!dir || strcmp(repo->hub, HUB) != 0)
		return NULL;
	if (is_default(path + dir, name))
		e = preferred(repo, path, dir);
	if (e)
		return e;
	if (asprintf(&weights, "%.*s" WEIGHTS, (int)(dir + name), path) < 0) {
		weights = NULL;
		return NULL;
	}
	e = listing_find(repo->listing, weights);
	return e && e->kind == LISTING_FILE ? e : NULL;
}

/* ---- layout ---------------------------------------------------------------- */

static int add_file(struct listing *l, const char *path, size_t len,
	const char *name)
{
	const struct objid none = { .alg = OBJID_NONE };
	cleanup_free char *staged = NULL;
	int r;

	if (asprintf(&staged, "%.*s%s" STAGED, (int)len, path, name) < 0) {
		staged = NULL;
		return -ENOMEM;
	}
	r = listing_add(l, staged, LISTING_FILE, LISTING_SIZE_UNKNOWN, &none);
	/* A path that is too long is one we do not offer. */
	return r == -EINVAL ? 0 : r;
}

static int torchvision_layout(const struct stage_repo *repo,
	struct listing *ret)
{
	int r = 0;

	if (strcmp(repo->hub, HUB) != 0)
		return 0;
	for (size_t i = 0; i < repo->listing->n && !r; i++) {
		const struct listing_entry *e = &repo->listing->v[i];
		size_t name, dir = split(e->path, WEIGHTS, &name);

		if (e->kind != LISTING_FILE || !dir)
			continue;
		if (preferred(repo, e->path, dir) == e)
			r = add_file(ret, e->path, dir, DEFAULT);
		if (!r && !(is_default(e->path + dir, name) &&
		    preferred(repo, e->path, dir)))
			r = add_file(ret, e->path, dir + name, "");
	}
	return r;
}

static bool torchvision_stages(const struct stage_repo *repo,
	const char *path)
{
	return !listing_find(repo->listing, path) && weights_of(repo, path);
}

static bool torchvision_reads(const struct stage_repo *repo, const char *path,
	const char *file)
{
	const struct listing_entry *e = weights_of(repo, path);

	return e && !strcmp(e->path, file);
}

/* ---- planning -------------------------------------------------------------- */

/* What no blueprint can say, by how the names of its builders begin. */
static const char *not_handled(const char *builder)
{
	static const char boxes[] = "detection is not handled: boxes are "
		"picked by rules that depend on what is found";
	static const char video[] = "models of video are not handled";
	static const struct {
		const char *stem, *why;
	} kinds[] = {
		{ "quantized_", "quantized weights are not handled" },
		{ "fasterrcnn_", boxes }, { "fcos_", boxes },
		{ "keypointrcnn_", boxes }, { "maskrcnn_", boxes },
		{ "retinanet_", boxes }, { "ssd", boxes },
		{ "raft_", "optical flow is not handled: it repeats itself "
			"over two images" },
		{ "mc3_", video }, { "mvit_", video }, { "r2plus1d_", video },
		{ "r3d_", video }, { "s3d", video }, { "swin3d_", video },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strncmp(builder, kinds[i].stem, strlen(kinds[i].stem)))
			return kinds[i].why;
	return NULL;
}

static int find_blueprint(const struct stage *s, const char *builder,
	const struct stage_blueprint **ret, const char **ret_task,
	struct error *why)
{
	const char *reason;

	*ret = stage_find_blueprint(s, "torchvision", builder);
	reason = *ret ? NULL : not_handled(builder);
	if (reason)
		return error_set(why, -ENOTSUP, "%s: %s", builder, reason);
	if (!*ret)
		return error_set(why, -ENOTSUP, "there is no blueprint for "
			"torchvision's \"%s\"", builder);
	*ret_task = stage_blueprint_task(*ret, builder);
	if (!*ret_task)
		return error_set(why, -ENOTSUP, "the blueprint for "
			"torchvision's \"%s\" has no task for it", builder);
	return 0;
}

static int write_model(const struct stage *s, const char *builder,
	const char *task, const struct stage_graph *g,
	struct stage_recipe **ret, struct error *why)
{
	const char *metadata[] = {
		"library", "torchvision", "architecture", builder, "task",
		task, NULL,
	};

	return stage_onnx_write_model(g, s->opset, metadata, ret, why);
}

static int torchvision_plan(const struct stage *s,
	const struct stage_input *in, const char *path,
	struct stage_recipe **ret, struct error *why)
{
	const struct listing_entry *e = weights_of(&in->repo, path);
	struct stage_blueprint_args args = { .opset = s->opset };
	const struct stage_blueprint *bp = NULL;
	struct stage_weights weights = { 0 };
	cleanup_json json_t *config = NULL;
	cleanup_free char *builder = NULL;
	struct stage_graph *g = NULL;
	size_t name = 0, dir;
	int r;

	if (!e)
		return error_set(why, -ENOENT, "%s is not staged", path);
	dir = split(e->path, WEIGHTS, &name);
	builder = strndup(e->path, dir - 1);
	config = json_pack("{s:s, s:s%}", "builder", builder ? builder : "",
		"file", e->path + dir, name);
	if (!builder || !config)
		return -ENOMEM;
	r = find_blueprint(s, builder, &bp, &args.task, why);
	if (!r)
		r = stage_checkpoint_read(in, e->path, &weights, why);
	args.config = config;
	args.weights = &weights;
	if (!r)
		r = stage_blueprint_run(bp, &args, &g, why);
	if (!r)
		r = write_model(s, builder, args.task, g, ret, why);
	stage_graph_free(g);
	stage_weights_done(&weights);
	return r;
}

const struct stage_stager stage_stager_torchvision = {
	.name = "torchvision",
	.layout = torchvision_layout,
	.stages = torchvision_stages,
	.reads = torchvision_reads,
	.plan = torchvision_plan,
};
