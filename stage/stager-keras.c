/*
 * Models and weights of Keras, each with its graph beside it:
 *
 *	NAME.onnx	of NAME.keras, or of NAME.h5, which tell the model's
 *			layers; from 2 GiB on the graph alone, whose external
 *			data the file beside it is
 *	MODEL/FILE.onnx	in the hub of keras.applications: of FILE.h5, which
 *			has weights alone; a blueprint says which layers the
 *			function MODEL makes for a file of that name
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/format/zipdir.h"
#include "stage/keras.h"
#include "stage/stager.h"

#define HUB "keras"
#define STAGED ".onnx"
#define GRAPH "model_config"	/* the blueprint that knows the layers */

/* In order of preference. */
static const char *const endings[] = { ".keras", ".h5" };
#define N_ENDINGS (sizeof(endings) / sizeof(endings[0]))

static bool ends_with(const char *path, const char *end)
{
	size_t len = strlen(path), tail = strlen(end);

	return len > tail && path[len - tail - 1] != '/' &&
		!strcmp(path + len - tail, end);
}

/* Weights of other libraries, or without a model. */
static bool other(const char *path)
{
	return !strcmp(path_base(path), "tf_model.h5") ||
		ends_with(path, ".weights.h5");
}

static bool is_hub(const struct stage_repo *repo)
{
	return !strcmp(repo->hub, HUB);
}

/* Which of the endings a file has; N_ENDINGS: none. */
static size_t ending_of(const struct stage_repo *repo, const char *path)
{
	size_t i = 0;

	if (is_hub(repo) && !strchr(path, '/'))
		return N_ENDINGS;
	while (i < N_ENDINGS && !ends_with(path, endings[i]))
		i++;
	return other(path) ? N_ENDINGS : i;
}

/* The file of which a staged path is made, or NULL. */
static const struct listing_entry *source_of(const struct stage_repo *repo,
	const char *path)
{
	size_t stem = strlen(path) - strlen(STAGED);

	if (!ends_with(path, STAGED))
		return NULL;
	for (size_t i = 0; i < N_ENDINGS; i++) {
		const struct listing_entry *e = NULL;
		cleanup_free char *from = NULL;

		if (asprintf(&from, "%.*s%s", (int)stem, path,
		    endings[i]) < 0) {
			from = NULL;
			return NULL;
		}
		if (ending_of(repo, from) == i)
			e = listing_find(repo->listing, from);
		if (e && e->kind == LISTING_FILE)
			return e;
	}
	return NULL;
}

/* ---- layout ---------------------------------------------------------------- */

static int keras_layout(const struct stage_repo *repo, struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	int r = 0;

	for (size_t i = 0; i < repo->listing->n && !r; i++) {
		const struct listing_entry *e = &repo->listing->v[i];
		size_t end = ending_of(repo, e->path);
		cleanup_free char *staged = NULL;

		if (e->kind != LISTING_FILE || end == N_ENDINGS)
			continue;
		if (asprintf(&staged, "%.*s" STAGED, (int)(strlen(e->path) -
		    strlen(endings[end])), e->path) < 0) {
			staged = NULL;
			return -ENOMEM;
		}
		if (source_of(repo, staged) != e)
			continue;
		r = listing_add(ret, staged, LISTING_FILE,
			LISTING_SIZE_UNKNOWN, &none);
		/* A path that is too long is one we do not offer. */
		r = r == -EINVAL ? 0 : r;
	}
	return r;
}

static bool keras_stages(const struct stage_repo *repo, const char *path)
{
	return !listing_find(repo->listing, path) && source_of(repo, path);
}

static bool keras_reads(const struct stage_repo *repo, const char *path,
	const char *file)
{
	const struct listing_entry *e = source_of(repo, path);

	return e && !strcmp(e->path, file);
}

/* ---- what a file tells ----------------------------------------------------- */

/* One plan. */
struct plan {
	const struct stage *s;
	const struct stage_input *in;
	const char *path;		/* of the source */
	struct src *src;		/* it */
	char *name;			/* of inner (made.h) */
	bool packed;			/* inner is made, src only the file */
	struct src *inner;		/* the HDF5 file: src or a part */
	struct stage_hdf5 *h;
	struct stage_keras_weights k;
	json_t *model;			/* keras.h */
	bool old;			/* of Keras 1 or 2 */
	const char *what;		/* for metadata */
	struct error *why;
};

static void plan_done(struct plan *p)
{
	stage_hdf5_close(p->h);
	src_unref(p->inner);
	src_unref(p->src);
	json_decref(p->model);
	free(p->name);
}

/* Layers of a model_config. */
static int read_config(struct plan *p, const void *text, size_t len)
{
	cleanup_json json_t *config = NULL;
	int r = json_parse(text, len, STAGE_JSON_MAX, &config, p->why);

	if (r)
		return error_wrap(p->why, "the model's configuration");
	return stage_keras_model(config, &p->model, p->why);
}

static int open_hdf5(struct plan *p)
{
	int r = stage_hdf5_open(p->inner, &p->h, p->why);

	p->k.name = p->name ? p->name : p->path;
	p->k.h = p->h;
	p->k.h_size = p->inner->size;
	return r;
}

static bool is_old(const char *version)
{
	return version && (!strncmp(version, "1.", 2) ||
		!strncmp(version, "2.", 2));
}

/* A whole model: model_config beside the weights. */
static int read_model_h5(struct plan *p)
{
	cleanup_free char *config = NULL, *version = NULL;
	size_t len = 0, n;
	int r = stage_hdf5_text(p->h, "", "model_config", &config, &len,
		p->why);

	if (r == -ENOENT)
		return error_set(p->why, -ENOTSUP, "%s has weights alone: "
			"there is no model_config in it", p->path);
	if (!r)
		r = stage_hdf5_text(p->h, "", "keras_version", &version, &n,
			p->why);
	if (r == -ENOENT)
		r = stage_hdf5_text(p->h, "model_weights", "keras_version",
			&version, &n, p->why);
	if (r == -ENOENT)
		r = error_set(p->why, -ENOTSUP, "%s does not say which Keras "
			"wrote it", p->path);
	if (!r)
		r = read_config(p, config, len);
	p->old = is_old(version);
	p->k.form = STAGE_KERAS_LEGACY;
	p->k.top = "model_weights";
	return r;
}

static int read_h5(struct plan *p)
{
	int r;

	p->inner = src_ref(p->src);
	r = open_hdf5(p);
	return r ? r : read_model_h5(p);
}

/* ---- .keras ---------------------------------------------------------------- */

int stage_keras_part(struct src *s, uint64_t off, uint64_t len,
	struct src **ret, struct error *why)
{
	struct stage_recipe *r = stage_recipe_new();
	int err = r ? stage_recipe_source(r, "archive", s->size) : -ENOMEM;

	if (err >= 0)
		err = stage_recipe_copy(r, (unsigned)err, off, len);
	if (!err)
		err = stage_recipe_src(r, &s, ret, why);
	stage_recipe_unref(r);
	return err;
}

static const struct stage_zip_member *member(const struct plan *p,
	const struct stage_zip *z, const char *name, int *ret)
{
	const struct stage_zip_member *m = stage_zip_find(z, name);

	if (!m)
		*ret = error_set(p->why, -ENOTSUP, "%s has no %s", p->path,
			name);
	else if (m->bad)
		*ret = error_set(p->why, -EBADMSG, "%s: %s %s", p->path, name,
			m->bad);
	else if ((m->method != STAGE_ZIP_STORED && m->method !=
		STAGE_ZIP_DEFLATED) || (m->flags & 1))
		*ret = error_set(p->why, -ENOTSUP, "%s: %s is encrypted, or "
			"compressed by other means than deflate", p->path,
			name);
	else
		*ret = 0;
	return *ret ? NULL : m;
}

/* A deflated member as a source, which somebody makes of it. */
static int make_member(const struct plan *p, const struct stage_zip_member *m,
	struct src **ret)
{
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s//%s", p->path, m->name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return p->in->make ? p->in->make(p->in->arg, path, m->size, ret,
		p->why) : error_set(p->why, -ENOTSUP, "%s: %s is compressed",
		p->path, m->name);
}

static int read_made(const struct plan *p, const struct stage_zip_member *m,
	uint8_t **ret)
{
	cleanup_free uint8_t *data = NULL;
	struct src *s = NULL;
	int r;

	if (m->size > STAGE_JSON_MAX)
		return error_set(p->why, -EFBIG, "%s: %s is too long", p->path,
			m->name);
	data = calloc(1, (size_t)m->size + 1);
	r = data ? make_member(p, m, &s) : -ENOMEM;
	if (r)
		return r;
	r = s->size == m->size ? src_read_wait(s, 0, data, (size_t)m->size) :
		-EIO;
	if (r)
		r = stage_read_error(s, r, m->name, p->why);
	src_unref(s);
	if (r)
		return r;
	*ret = data;
	data = NULL;
	return 0;
}

static int read_json_member(struct plan *p, struct stage_window *w,
	const struct stage_zip *z, const char *name, uint8_t **ret,
	size_t *ret_len)
{
	int r;
	const struct stage_zip_member *m = member(p, z, name, &r);

	if (r)
		return r;
	*ret_len = (size_t)m->size;
	if (m->method == STAGE_ZIP_DEFLATED)
		return read_made(p, m, ret);
	return stage_zip_member_read(w, m, STAGE_JSON_MAX, ret, p->why);
}

static int open_weights(struct plan *p, struct stage_window *w,
	const struct stage_zip *z)
{
	int r;
	const struct stage_zip_member *m = member(p, z, "model.weights.h5",
		&r);
	uint64_t off = 0;

	if (r)
		return r;
	if (asprintf(&p->name, "%s//%s", p->path, m->name) < 0) {
		p->name = NULL;
		return -ENOMEM;
	}
	p->packed = m->method == STAGE_ZIP_DEFLATED;
	if (p->packed) {
		r = make_member(p, m, &p->inner);
	} else {
		r = stage_zip_data(w, m, &off, p->why);
		if (!r)
			r = stage_keras_part(p->src, off, m->size, &p->inner,
				p->why);
	}
	p->k.form = STAGE_KERAS_STORE;
	p->k.base = off;
	return r ? r : open_hdf5(p);
}

static int read_members(struct plan *p, struct stage_window *w,
	const struct stage_zip *z)
{
	cleanup_free uint8_t *config = NULL, *metadata = NULL;
	cleanup_json json_t *about = NULL;
	size_t len = 0;
	int r = read_json_member(p, w, z, "metadata.json", &metadata, &len);

	if (!r)
		r = json_parse(metadata, len, STAGE_JSON_MAX, &about, p->why);
	if (!r)
		r = read_json_member(p, w, z, "config.json", &config, &len);
	if (!r)
		r = read_config(p, config, len);
	if (r)
		return r;
	p->old = is_old(json_str(about, "keras_version"));
	return open_weights(p, w, z);
}

static int read_keras(struct plan *p)
{
	struct stage_zip z = { 0 };
	struct stage_window w;
	int r = stage_window_init(&w, p->src, STAGE_WINDOW_ROOM);

	if (r)
		return r;
	r = stage_zip_list(p->src, &z, p->why);
	if (!r)
		r = read_members(p, &w, &z);
	stage_zip_done(&z);
	stage_window_done(&w);
	return r;
}

/* ---- keras.applications ---------------------------------------------------- */

static int read_weights_only(struct plan *p, const char *builder)
{
	const struct stage_blueprint *bp = stage_find_blueprint(p->s, HUB,
		builder);
	const char *base = path_base(p->path);
	struct stage_weights none = { 0 };
	cleanup_json json_t *config = json_pack("{s:s, s:s%}", "builder",
		builder, "file", base, strlen(base) - strlen(".h5"));
	struct stage_blueprint_args args = { .weights = &none,
		.config = config, .opset = p->s->opset };
	int r;

	if (!bp)
		return error_set(p->why, -ENOTSUP, "there is no blueprint for "
			"keras.applications' \"%s\"", builder);
	p->what = builder;
	p->model = json_pack("{s:[], s:[]}", "layers", "outputs");
	args.layers = p->model;
	args.task = stage_blueprint_task(bp, builder);
	if (!config || !p->model)
		return -ENOMEM;
	if (!args.task)
		return error_set(p->why, -ENOTSUP, "the blueprint for \"%s\" "
			"has no task for it", builder);
	r = stage_blueprint_run(bp, &args, NULL, p->why);
	p->inner = src_ref(p->src);
	p->k.form = STAGE_KERAS_ORDER;
	p->k.top = "";
	return r ? r : open_hdf5(p);
}

/* ---- the graph ------------------------------------------------------------- */

static int write_model(const struct plan *p, const struct stage_graph *g,
	struct stage_recipe **ret)
{
	const char *metadata[] = {
		"library", "keras", "architecture", p->what, NULL,
	};

	return stage_onnx_write_model(g, p->s->opset, metadata, ret, p->why);
}

static int make_graph(struct plan *p, struct stage_recipe **ret)
{
	const struct stage_blueprint *bp = stage_find_blueprint(p->s, HUB,
		GRAPH);
	struct stage_weights weights = { 0 };
	struct stage_blueprint_args args = { .opset = p->s->opset,
		.weights = &weights, .config = p->model };
	struct stage_graph *g = NULL;
	int r;

	if (!bp)
		return error_set(p->why, -ENOTSUP, "there is no blueprint for "
			"the layers of Keras");
	args.task = stage_blueprint_task(bp, GRAPH);
	r = p->packed ? stage_weights_file(&weights, p->name, p->inner->size) :
		stage_weights_file(&weights, p->path, p->src->size);
	if (r >= 0) {
		p->k.file = (unsigned)r;
		r = stage_keras_read(&p->k, p->model, &weights, p->why);
	}
	if (!r && json_object_set_new(p->model, "old", json_boolean(p->old)))
		r = -ENOMEM;
	if (!r)
		r = stage_blueprint_run(bp, &args, &g, p->why);
	if (!r)
		r = write_model(p, g, ret);
	stage_graph_free(g);
	stage_weights_done(&weights);
	return r;
}

static int read_head(const struct plan *p, uint8_t *ret, size_t len)
{
	int r = src_read_wait(p->src, 0, ret, len);

	return r ? stage_read_error(p->src, r, p->path, p->why) : 0;
}

static int keras_plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	const struct listing_entry *e = source_of(&in->repo, path);
	struct plan p = { .s = s, .in = in, .what = "model_config", .why = why };
	cleanup_free char *builder = NULL;
	uint8_t head[8] = { 0 };
	int r;

	if (!e)
		return error_set(why, -ENOENT, "%s is not staged", path);
	p.path = e->path;
	r = in->open(in->arg, e, &p.src, why);
	if (r)
		return r;
	if (p.src->size < sizeof(head))
		r = error_set(why, -EBADMSG, "%s is empty", e->path);
	else
		r = read_head(&p, head, sizeof(head));
	if (!r && is_hub(&in->repo)) {
		builder = strndup(e->path, strcspn(e->path, "/"));
		r = builder ? read_weights_only(&p, builder) : -ENOMEM;
	} else if (!r && stage_hdf5_probe(head, sizeof(head), p.src->size)) {
		r = read_h5(&p);
	} else if (!r && !memcmp(head, "PK\3\4", 4)) {
		r = read_keras(&p);
	} else if (!r) {
		r = error_set(why, -ENOTSUP, "%s is neither a zip nor HDF5",
			e->path);
	}
	if (!r)
		r = make_graph(&p, ret);
	plan_done(&p);
	return r;
}

const struct stage_stager stage_stager_keras = {
	.name = "keras",
	.layout = keras_layout,
	.stages = keras_stages,
	.reads = keras_reads,
	.plan = keras_plan,
};
