/*
 * SavedModels of TensorFlow: one of a directory is frozen in its frozen/, one
 * of a repository's root in tensorflow/, unless the hub has nothing else than
 * SavedModels: then in frozen/ too.
 *
 *	DIR/frozen/SIGNATURE.pb		the graph of that signature
 *	tensorflow/SIGNATURE.pb		the same
 *	tensorflow/model.pb		the graph of "serving_default", or of
 *					the only signature there is
 *
 * Which signatures there are stands in saved_model.pb, so that a layout does
 * not list them: both directories ask.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "stage/stager.h"
#include "stage/tf.h"

#define MODEL "saved_model.pb"
#define PREFIX "variables/variables"
#define STAGED "model.pb"
#define SERVING "serving_default"
#define MODELS_MAX 10000	/* directories of one repository */

static bool is_file(const struct listing *repo, const char *path)
{
	const struct listing_entry *e = path ? listing_find(repo, path) : NULL;

	return e && e->kind == LISTING_FILE;
}

/* Is there a SavedModel in dir ("" the root)? */
static bool is_model(const struct listing *repo, const char *dir)
{
	cleanup_free char *model = path_join(dir, MODEL);
	cleanup_free char *index = path_join(dir, PREFIX ".index");

	return is_file(repo, model) && is_file(repo, index);
}

/* Is a SavedModel at the root frozen in tensorflow/? */
static bool beside_others(const struct stage_repo *repo)
{
	return strcmp(repo->hub, "tensorflow") != 0 &&
		strcmp(repo->hub, "kaggle") != 0;
}

/* Where the frozen graphs of dir are. NULL: out of memory. */
static char *frozen_dir(const struct stage_repo *repo, const char *dir)
{
	return !*dir && beside_others(repo) ? strdup("tensorflow") :
		path_join(dir, "frozen");
}

/* The directory of the model whose frozen graphs are in dir, or NULL. */
static char *model_of(const struct stage_repo *repo, const char *dir)
{
	size_t len = strlen(dir);
	cleanup_free char *frozen = NULL;
	char *model;

	if (listing_find(repo->listing, dir) ||
	    listing_is_dir(repo->listing, dir))
		return NULL;
	model = len > 7 && !strcmp(dir + len - 7, "/frozen") ?
		strndup(dir, len - 7) : strdup("");
	frozen = model ? frozen_dir(repo, model) : NULL;
	if (frozen && !strcmp(frozen, dir) && is_model(repo->listing, model))
		return model;
	free(model);
	return NULL;
}

/* The directory of the model of which path is a frozen graph, or NULL. */
static char *model_dir(const struct stage_repo *repo, const char *path)
{
	const char *base = path_base(path);
	cleanup_free char *dir = base > path ? strndup(path,
		(size_t)(base - path) - 1) : NULL;
	size_t len = strlen(base);

	if (!dir || len <= 3 || strcmp(base + len - 3, ".pb") != 0)
		return NULL;
	return model_of(repo, dir);
}

/* ---- layout ---------------------------------------------------------------- */

static int add_file(struct listing *l, const char *dir, const char *name)
{
	const struct objid none = { .alg = OBJID_NONE };
	cleanup_free char *path = path_join(dir, name);
	int r = path ? listing_add(l, path, LISTING_FILE,
		LISTING_SIZE_UNKNOWN, &none) : -ENOMEM;

	/* A path that is too long is one we do not offer. */
	return r == -EINVAL ? 0 : r;
}

/* What a directory has for nearly every SavedModel. */
static const char *likely(const char *frozen)
{
	return strcmp(frozen, "tensorflow") ? SERVING ".pb" : STAGED;
}

static int lay_out(const struct stage_repo *repo, const char *dir,
	struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	cleanup_free char *frozen = frozen_dir(repo, dir);
	int r;

	if (!frozen)
		return -ENOMEM;
	if (listing_find(repo->listing, frozen) ||
	    listing_is_dir(repo->listing, frozen))
		return 0;
	r = listing_add(ret, frozen, LISTING_DIR, 0, &none);
	if (!r)
		r = add_file(ret, frozen, likely(frozen));
	return r == -EINVAL ? 0 : r;
}

static int savedmodel_layout(const struct stage_repo *repo,
	struct listing *ret)
{
	const struct listing *l = repo->listing;
	size_t models = 0;
	int r = 0;

	for (size_t i = 0; i < l->n && !r && models < MODELS_MAX; i++) {
		const char *path = l->v[i].path;
		const char *base = path_base(path);
		cleanup_free char *dir = NULL;

		if (strcmp(base, MODEL) != 0)
			continue;
		dir = base > path ? strndup(path, (size_t)(base - path) - 1) :
			strdup("");
		if (!dir)
			return -ENOMEM;
		if (is_model(l, dir)) {
			models++;
			r = lay_out(repo, dir, ret);
		}
	}
	return r;
}

static bool savedmodel_stages(const struct stage_repo *repo, const char *path)
{
	cleanup_free char *dir = model_dir(repo, path);

	return dir != NULL;
}

static bool savedmodel_reads(const struct stage_repo *repo,
	const char *path, const char *file)
{
	const char *base = path_base(file);

	(void) repo;
	(void) path;
	return !strcmp(base, MODEL) || !strncmp(base, "variables.", 10);
}

static bool savedmodel_asks(const struct stage_repo *repo, const char *dir)
{
	cleanup_free char *model = model_of(repo, dir);

	return model != NULL;
}

/* ---- planning -------------------------------------------------------------- */

struct plan {
	struct stage_savedmodel *m;
	struct stage_bundle bundle;
	struct map vars;
	struct stage_tf_frozen frozen;
};

static void plan_done(struct plan *p)
{
	stage_tf_frozen_done(&p->frozen);
	map_done(&p->vars);
	stage_bundle_done(&p->bundle);
	stage_savedmodel_free(p->m);
}

static const struct stage_tf_signature *find(const struct stage_savedmodel *m,
	const char *name, size_t len)
{
	for (size_t i = 0; i < m->n_signatures; i++)
		if (!strncmp(m->signatures[i].name, name, len) &&
		    !m->signatures[i].name[len])
			return &m->signatures[i];
	return NULL;
}

/* What runs initialisers is no signature for users. */
static bool is_hidden(const struct stage_tf_signature *s)
{
	return !strncmp(s->name, "__saved_model_", 14);
}

/* "model.pb" is serving_default, else the only signature. *ret_trainable: it
 * is asked for with variables. */
static int find_signature(const struct plan *p, const char *base,
	const struct stage_tf_signature **ret, bool *ret_trainable,
	struct error *why)
{
	const struct stage_savedmodel *m = p->m;
	size_t n = 0, len = strlen(base) - 3;

	*ret_trainable = false;
	*ret = find(m, base, len);
	if (!*ret && stage_tf_trainable(base, len) < len) {
		*ret_trainable = true;
		len = stage_tf_trainable(base, len);
		*ret = find(m, base, len);
	}
	if (*ret)
		return 0;
	if (len != strlen(STAGED) - 3 || strncmp(base, STAGED, len) != 0)
		return error_set(why, -ENOENT, "it has no signature %.*s",
			(int)len, base);
	*ret = find(m, SERVING, strlen(SERVING));
	for (size_t i = 0; i < m->n_signatures && !*ret; i++)
		n += !is_hidden(&m->signatures[i]);
	if (*ret)
		return 0;
	for (size_t i = 0; i < m->n_signatures && n == 1; i++)
		if (!is_hidden(&m->signatures[i]))
			*ret = &m->signatures[i];
	return *ret ? 0 : error_set(why, -ENOTSUP, "it has %zu signatures, "
		"none of which is " SERVING, n);
}

static int open_model(const struct stage_input *in, const char *path,
	struct plan *p, struct error *why)
{
	struct src *s;
	int err = in->open(in->arg, listing_find(in->repo.listing, path), &s,
		why);

	if (err)
		return err;
	err = stage_savedmodel_open(s, &p->m, why);
	src_unref(s);
	return err;
}

static int make(const struct stage_input *in, bool functions,
	const char *dir, const char *path, const char *base, struct plan *p,
	struct stage_recipe **ret, struct error *why)
{
	cleanup_free char *prefix = path_join(dir, PREFIX);
	const struct stage_tf_signature *s = NULL;
	bool trainable;
	int err = prefix ? open_model(in, path, p, why) : -ENOMEM;

	if (!err)
		err = find_signature(p, base, &s, &trainable, why);
	if (!err)
		err = stage_bundle_read(in, prefix, &p->bundle, why);
	if (!err)
		err = stage_tf_vars(p->m, &p->bundle, in, &p->vars, why);
	if (!err)
		err = stage_tf_freeze(p->m, &p->bundle, &p->vars, s,
			functions, &p->frozen, why);
	if (!err && trainable)
		err = stage_tf_thaw(&p->frozen, why);
	if (!err)
		err = stage_tf_write(p->m, &p->bundle, &p->frozen, path, ret,
			why);
	return err;
}

static int savedmodel_plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	cleanup_free char *dir = model_dir(&in->repo, path);
	cleanup_free char *model = dir ? path_join(dir, MODEL) : NULL;
	struct plan p = { 0 };
	int err;

	if (!model)
		return -ENOMEM;
	err = make(in, s->functions, dir, model, path_base(path), &p, ret, why);
	plan_done(&p);
	if (err && why && !why->code)
		return error_set(why, err, "%s: %s", model, strerror(-err));
	if (err)
		error_wrap(why, "%s", model);
	return err;
}

/* ---- which signatures ------------------------------------------------------ */

/* SIGNATURE.pb, and SIGNATURE_trainable.pb, which no signature is. */
static int add_both(struct listing *l, const char *dir, const char *base)
{
	cleanup_free char *trainable = NULL;
	int r = add_file(l, dir, base);

	if (asprintf(&trainable, "%.*s_trainable.pb", (int)strlen(base) - 3,
		    base) < 0) {
		trainable = NULL;
		return -ENOMEM;
	}
	if (r || !path_name_ok(trainable, strlen(trainable)))
		return r;
	return add_file(l, dir, trainable);
}

static int add_signatures(const struct plan *p, const char *dir,
	struct listing *ret)
{
	const struct stage_savedmodel *m = p->m;
	const struct stage_tf_signature *any = NULL;
	bool main = !strcmp(dir, "tensorflow");
	bool trainable;
	int r = 0;

	for (size_t i = 0; i < m->n_signatures && !r; i++) {
		cleanup_free char *base = NULL;

		if (is_hidden(&m->signatures[i]))
			continue;
		if (asprintf(&base, "%s.pb", m->signatures[i].name) < 0)
			return -ENOMEM;
		if (path_name_ok(base, strlen(base)))
			r = add_both(ret, dir, base);
	}
	if (!r && main && !find_signature(p, STAGED, &any, &trainable, NULL))
		r = add_both(ret, dir, STAGED);
	return r;
}

static int savedmodel_names(const struct stage *s,
	const struct stage_input *in, const char *dir, struct listing *ret,
	struct error *why)
{
	cleanup_free char *model = model_of(&in->repo, dir);
	cleanup_free char *path = model ? path_join(model, MODEL) : NULL;
	struct error bad = { 0 };
	struct plan p = { 0 };
	int r;

	(void) s;
	if (!path)
		return -ENOMEM;
	r = open_model(in, path, &p, &bad);
	if (!r)
		r = add_signatures(&p, dir, ret);
	else if (r == -EBADMSG || r == -ENOTSUP || r == -EFBIG)
		r = add_file(ret, dir, likely(dir)); /* whose plan says why */
	else if (why)
		*why = bad;
	plan_done(&p);
	return r;
}

const struct stage_stager stage_stager_savedmodel = {
	.name = "savedmodel",
	.layout = savedmodel_layout,
	.stages = savedmodel_stages,
	.reads = savedmodel_reads,
	.asks = savedmodel_asks,
	.names = savedmodel_names,
	.quiet = stage_tf_is_trainable,
	.plan = savedmodel_plan,
};
