/*
 * The door: which blueprints there are, and which stager a path belongs to.
 */
#include "config.h"

#include "stage/stage.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/blueprint-ast.h"
#include "stage/library.h"
#include "stage/stager.h"
#include "stage/torchscript.h"
#include "stage/variant.h"
#include "stage/work.h"

static const struct stage_stager *const stagers[] = {
	&stage_stager_transformers,
	&stage_stager_savedmodel,
	&stage_stager_tensorflow,
	&stage_stager_torchvision,
	&stage_stager_script,
	&stage_stager_keras,
};
#define N_STAGERS (sizeof(stagers) / sizeof(stagers[0]))

int stage_new(const struct stage_conf *conf, struct stage **ret,
	struct error *why)
{
	struct stage *s;
	int r;

	if (conf->opset != 13 && conf->opset != 17)
		return error_set(why, -EINVAL, "stage.opset is %u, not 13 or "
			"17", conf->opset);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(why, -ENOMEM, "out of memory");
	s->opset = conf->opset;
	s->functions = conf->functions;
	s->pack.max = STAGE_WORK_INPUT_MAX;
	r = stage_library_read(s, conf->blueprint_dirs, why);
	if (r) {
		stage_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void stage_free(struct stage *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		stage_blueprint_free(s->v[i]);
	workers_free(s->workers);
	buf_done(&s->setup);
	buf_done(&s->pack);
	free(s->v);
	stage_blueprint_free(s->lib);
	free(s);
}

const struct stage_blueprint *stage_find_blueprint(const struct stage *s,
	const char *library, const char *type)
{
	for (size_t i = 0; i < s->n; i++)
		if (stage_blueprint_has_type(s->v[i], library, type))
			return s->v[i];
	return NULL;
}

static int add_name(void *arg, const char *name)
{
	return json_array_append_new(arg, json_string(name)) ? -ENOMEM : 0;
}

/* What programs of torch may call stands where a family's types do. */
static int add_programs(json_t *all)
{
	json_t *calls = json_array();

	if (!calls || stage_script_operators(add_name, calls)) {
		json_decref(calls);
		return -ENOMEM;
	}
	return json_array_append_new(all, json_pack("{s:s, s:s, s:o, s:[s]}",
		"family", "TorchScript, torch.export", "library", "torch",
		"model_types", calls, "tasks", "model")) ? -ENOMEM : 0;
}

char *stage_families_json(struct stage *s)
{
	cleanup_json json_t *all = json_array();

	for (size_t i = 0; i < s->n && all; i++) {
		cleanup_json json_t *some = stage_blueprint_families(s->v[i]);

		if (!some || json_array_extend(all, some))
			return NULL;
	}
	return all && !add_programs(all) ? json_dumps(all, JSON_COMPACT) :
		NULL;
}

/* ---- layout ---------------------------------------------------------------- */

/* Has the repository something of its own at a path? A directory may be both
 * its own and staged. */
static bool is_own(const struct stage_repo *repo, const char *path,
	enum listing_kind kind)
{
	return listing_find(repo->listing, path) ||
		(kind == LISTING_FILE && listing_is_dir(repo->listing, path));
}

/* Drops what the repository has itself. */
static int add_missing(const struct stage_repo *repo,
	const struct listing *all, struct listing *ret)
{
	int r = 0;

	for (size_t i = 0; i < all->n && !r; i++) {
		const struct listing_entry *e = &all->v[i];

		if (!is_own(repo, e->path, e->kind))
			r = listing_add(ret, e->path, e->kind, e->size,
				&e->id);
	}
	return r;
}

int stage_layout(struct stage *s, const struct stage_repo *repo,
	struct listing *ret)
{
	struct listing all = { 0 };
	int r = 0;

	(void) s;
	for (size_t i = 0; i < N_STAGERS && !r; i++)
		r = stagers[i]->layout(repo, &all);
	if (!r)
		r = stage_variant_layout(repo, NULL, &all);
	if (!r)
		r = add_missing(repo, &all, ret);
	if (!r)
		listing_sort(ret);
	listing_done(&all);
	return r;
}

const char *stage_layout_original(struct stage *s,
	const struct stage_repo *repo, const char *path)
{
	const char *original = NULL;

	(void) s;
	if (listing_find(repo->listing, path))
		return NULL;
	for (size_t i = 0; i < N_STAGERS && !original; i++)
		if (stagers[i]->original)
			original = stagers[i]->original(repo, path);
	return original;
}

/* ---- names that take reading ----------------------------------------------- */

static bool asks(const struct stage_stager *stager,
	const struct stage_repo *repo, const char *dir)
{
	return stager->asks && stager->asks(repo, dir);
}

bool stage_asks(struct stage *s, const struct stage_repo *repo,
	const char *dir)
{
	bool any = false;

	(void) s;
	for (size_t i = 0; i < N_STAGERS && !any; i++)
		any = asks(stagers[i], repo, dir);
	return any;
}

/* The files of its layout that are in dir. */
static int add_laid_out(const struct stage_stager *stager,
	const struct stage_repo *repo, const char *dir, struct listing *ret)
{
	struct listing all = { 0 };
	size_t len = strlen(dir);
	int r = stager->layout(repo, &all);

	for (size_t i = 0; i < all.n && !r; i++) {
		const struct listing_entry *e = &all.v[i];
		const char *base = path_base(e->path);
		size_t in = base > e->path ? (size_t)(base - e->path) - 1 : 0;

		if (e->kind == LISTING_FILE && in == len &&
		    !strncmp(e->path, dir, len))
			r = listing_add(ret, e->path, e->kind, e->size,
				&e->id);
	}
	listing_done(&all);
	return r;
}

/* `dir`, or where it lies if it is a file that holds a name. */
static int dir_of(const struct stage_repo *repo, const char *dir, char **ret)
{
	size_t above = (size_t)(path_base(dir) - dir);

	if (listing_find(repo->listing, dir))
		*ret = strndup(dir, above ? above - 1 : 0);
	else
		*ret = strdup(dir);
	return *ret ? 0 : -ENOMEM;
}

int stage_names(struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why)
{
	cleanup_free char *above = NULL;
	struct listing all = { 0 };
	int r = 0;

	if (s->workers)
		return stage_work_names(s, in, dir, ret, why);
	for (size_t i = 0; i < N_STAGERS && !r; i++) {
		if (asks(stagers[i], &in->repo, dir))
			r = stagers[i]->names(s, in, dir, &all, why);
		else
			r = add_laid_out(stagers[i], &in->repo, dir, &all);
	}
	if (!r)
		r = dir_of(&in->repo, dir, &above);
	if (!r)
		r = stage_variant_layout(&in->repo, above, &all);
	if (!r)
		r = add_missing(&in->repo, &all, ret);
	if (!r)
		listing_sort(ret);
	listing_done(&all);
	if (r && why && !why->code)
		return error_set(why, r, "%s: %s", dir, strerror(-r));
	return r;
}

/* ---- keys and plans -------------------------------------------------------- */

/* Who makes what is at a path. */
struct maker {
	const struct stage_stager *stager;	/* NULL: nobody, or, of a
						 * variant, the repository */
	enum stage_form form;	/* of base; STAGE_FORMS: no variant */
	char *base;
};

static void maker_done(struct maker *m)
{
	free(m->base);
}
#define cleanup_maker __attribute__((cleanup(maker_done)))

static const struct stage_stager *stager_of(const struct stage_repo *repo,
	const char *path)
{
	for (size_t i = 0; i < N_STAGERS; i++)
		if (stagers[i]->stages(repo, path))
			return stagers[i];
	return NULL;
}

/* A variant is one even where a stager would take its name for that of a
 * model; weights are its own business. -ENOENT: nobody does. */
static int maker_of(const struct stage_repo *repo, const char *path,
	struct maker *ret)
{
	const struct listing_entry *own;
	int r = 0;

	*ret = (struct maker){ .form = STAGE_FORMS };
	if (is_own(repo, path, LISTING_FILE))
		return -ENOENT;
	r = stage_variant_of(path, &ret->form, &ret->base);
	if (r)
		return r;
	if (ret->form == STAGE_FORM_WEIGHTS) {
		ret->stager = stager_of(repo, path);
		if (ret->stager) {
			ret->form = STAGE_FORMS;
			return 0;
		}
	}
	if (ret->form != STAGE_FORMS) {
		own = listing_find(repo->listing, ret->base);
		if (own && own->kind == LISTING_FILE)
			return 0;
		ret->stager = own ? NULL : stager_of(repo, ret->base);
		if (ret->stager)
			return 0;
		ret->form = STAGE_FORMS;
	}
	ret->stager = stager_of(repo, path);
	return ret->stager ? 0 : -ENOENT;
}

bool stage_layout_quiet(struct stage *s, const struct stage_repo *repo,
	const char *path)
{
	cleanup_maker struct maker m = { 0 };

	(void) s;
	return !maker_of(repo, path, &m) && (!m.stager || (m.stager->quiet &&
		m.stager->quiet(repo, path)));
}

const char *stage_holder(struct stage *s, const struct stage_repo *repo,
	const char *path)
{
	cleanup_maker struct maker m = { 0 };

	(void) s;
	if (maker_of(repo, path, &m) || !m.stager || !m.stager->holder)
		return NULL;
	return m.stager->holder(repo, m.form == STAGE_FORMS ? path : m.base);
}

/* Does what is at path depend on this file? m NULL: path is a directory. */
static bool depends(const struct maker *m, const struct stage_repo *repo,
	const char *path, const char *file)
{
	bool any = false;

	if (m && m->stager)
		return m->stager->reads(repo, m->form == STAGE_FORMS ? path :
			m->base, file);
	if (m)
		return stage_variant_reads(m->base, file);
	for (size_t i = 0; i < N_STAGERS && !any; i++)
		any = asks(stagers[i], repo, path) &&
			stagers[i]->reads(repo, path, file);
	return any;
}

/* [path, size, algorithm, digest] of each; *ret_named: all have a digest. */
static json_t *files_read(const struct maker *m,
	const struct stage_repo *repo, const char *path, bool *ret_named)
{
	json_t *files = json_array();

	*ret_named = true;
	for (size_t i = 0; i < repo->listing->n && files; i++) {
		const struct listing_entry *e = &repo->listing->v[i];
		char hex[OBJID_HEX_MAX];

		if (e->kind != LISTING_FILE ||
		    !depends(m, repo, path, e->path))
			continue;
		objid_hex(&e->id, hex);
		*ret_named = *ret_named && e->id.alg != OBJID_NONE;
		if (json_array_append_new(files, json_pack("[s, I, i, s]",
		    e->path, (json_int_t)e->size, (int)e->id.alg, hex))) {
			json_decref(files);
			return NULL;
		}
	}
	return files;
}

int stage_key(struct stage *s, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65])
{
	cleanup_maker struct maker m = { 0 };
	cleanup_json json_t *files = NULL;
	cleanup_json json_t *all = NULL;
	cleanup_free char *text = NULL;
	char hex[OBJID_HEX_MAX];
	struct objid id;
	bool named;
	int r = maker_of(repo, path, &m);

	if (r && (r != -ENOENT || !stage_asks(s, repo, path)))
		return r;
	files = files_read(r ? NULL : &m, repo, path, &named);
	if (!files)
		return -ENOMEM;
	all = json_pack("{s:i, s:s, s:i, s:b, s:s, s:s, s:s, s:O}",
		"version", STAGE_VERSION, "blueprints", s->digest,
		"opset", (int)s->opset, "functions", (int)s->functions,
		"stager", m.stager ? m.stager->name : r ? "names" : "variant",
		"path", path,
		"revision", named || !revision ? "" : revision,
		"files", files);
	text = all ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!text)
		return -ENOMEM;
	digest_sha256(text, strlen(text), &id);
	objid_hex(&id, hex);
	memcpy(ret, hex, 65);
	return 0;
}

int stage_plan(struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	struct stage_recipe *recipe = NULL;
	cleanup_maker struct maker m = { 0 };
	int r = maker_of(&in->repo, path, &m);

	if (r == -ENOENT)
		return error_set(why, r, "%s is not staged", path);
	if (!r && s->workers)
		return stage_work_plan(s, in, path, ret, why);
	if (!r && m.form != STAGE_FORMS)
		r = stage_variant_plan(s, in, m.form, m.base, &recipe, why);
	else if (!r)
		r = m.stager->plan(s, in, path, &recipe, why);
	if (!r)
		r = stage_recipe_check(recipe, why);
	if (r) {
		stage_recipe_unref(recipe);
		return r;
	}
	*ret = recipe;
	return 0;
}

int stage_input_json(const struct stage_input *in, const char *path,
	json_t **ret, struct error *why)
{
	const struct listing_entry *e = listing_find(in->repo.listing, path);
	cleanup_free void *text = NULL;
	struct src *src;
	int r;

	if (!e || e->kind != LISTING_FILE)
		return -ENOENT;
	r = in->open(in->arg, e, &src, why);
	if (r)
		return r;
	if (src->size > STAGE_JSON_MAX)
		r = error_set(why, -EFBIG, "%s: over %u bytes", path,
			STAGE_JSON_MAX);
	if (!r) {
		text = malloc(src->size + 1);
		r = text ? src_read_wait(src, 0, text, src->size) :
			-ENOMEM;
		if (r)
			error_set(why, r, "%s: %s", path, strerror(-r));
	}
	if (!r) {
		r = json_parse(text, src->size, STAGE_JSON_MAX, ret, why);
		if (r)
			error_wrap(why, "%s", path);
	}
	src_unref(src);
	return r;
}
