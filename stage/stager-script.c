/*
 * TorchScript and torch.export archives, wherever they are: FILE.pt gives
 * FILE.onnx beside it. Whether a .pt or .pth is one (or a checkpoint) stands in
 * it, so that directories with some ask; the other endings say it. One whose
 * size is not known is asked when somebody wants FILE.onnx, not by readdir.
 *
 *	DIR/FILE.onnx		of DIR/FILE.pt, .pth, .ptl, .pt2, .jit or
 *				.torchscript
 *	model.onnx		of the file that a torchserve archive's manifest
 *				calls serializedFile
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/stager.h"
#include "stage/torchscript.h"

#define TORCHVISION "pytorch/torchvision"	/* its .pth are its stager's */
#define STAGED ".onnx"
#define MANIFEST "MAR-INF/MANIFEST.json"
#define MODEL "model.onnx"
#define PROBES_MAX 32			/* files of one directory */

static const struct {
	const char *text;
	bool sure;		/* no checkpoint is called so */
} endings[] = {
	{ ".pt2", true }, { ".ptl", true }, { ".jit", true },
	{ ".torchscript", true }, { ".pt", false }, { ".pth", false },
};
#define N_ENDINGS (sizeof(endings) / sizeof(endings[0]))

/* Bytes of path before such an ending; 0: it has none. */
static size_t stem(const char *path, bool *ret_sure)
{
	size_t len = strlen(path), base = len - strlen(path_base(path));

	for (size_t i = 0; i < N_ENDINGS; i++) {
		size_t tail = strlen(endings[i].text);

		if (len > base + tail && !strcmp(path + len - tail,
		    endings[i].text)) {
			*ret_sure = endings[i].sure;
			return len - tail;
		}
	}
	return 0;
}

static bool is_mar(const struct stage_repo *repo, const char *path)
{
	return !strcmp(path, MODEL) && listing_find(repo->listing, MANIFEST);
}

/* The archive of which a staged path is made, or NULL. */
static const struct listing_entry *archive_of(const struct stage_repo *repo,
	const char *path)
{
	size_t len = strlen(path), tail = strlen(STAGED);

	if (!strcmp(repo->hub, TORCHVISION) || len <= tail ||
	    strcmp(path + len - tail, STAGED) != 0)
		return NULL;
	for (size_t i = 0; i < N_ENDINGS; i++) {
		cleanup_free char *name = NULL;
		const struct listing_entry *e;

		if (asprintf(&name, "%.*s%s", (int)(len - tail), path,
		    endings[i].text) < 0) {
			name = NULL;
			return NULL;
		}
		e = listing_find(repo->listing, name);
		if (e && e->kind == LISTING_FILE)
			return e;
	}
	return NULL;
}

/* ---- layout ---------------------------------------------------------------- */

static int add_staged(const struct stage_repo *repo, const char *file,
	size_t len, struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	cleanup_free char *path = NULL;
	int r;

	if (asprintf(&path, "%.*s" STAGED, (int)len, file) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	/* Two archives of one name: archive_of() says which it is. */
	if (!archive_of(repo, path) ||
	    strcmp(archive_of(repo, path)->path, file) != 0)
		return 0;
	r = listing_add(ret, path, LISTING_FILE, LISTING_SIZE_UNKNOWN, &none);
	/* A path that is too long is one we do not offer. */
	return r == -EINVAL ? 0 : r;
}

static int script_layout(const struct stage_repo *repo, struct listing *ret)
{
	int r = 0;

	for (size_t i = 0; i < repo->listing->n && !r; i++) {
		const struct listing_entry *e = &repo->listing->v[i];
		bool sure = false;
		size_t len = stem(e->path, &sure);

		if (e->kind == LISTING_FILE && len && sure)
			r = add_staged(repo, e->path, len, ret);
	}
	return r;
}

static bool script_stages(const struct stage_repo *repo, const char *path)
{
	return !listing_find(repo->listing, path) &&
		(archive_of(repo, path) || is_mar(repo, path));
}

static bool script_reads(const struct stage_repo *repo, const char *path,
	const char *file)
{
	const struct listing_entry *e = archive_of(repo, path);
	bool sure;

	if (e && !is_mar(repo, path))
		return !strcmp(e->path, file);
	/* The names of a directory, or what a manifest names. */
	return stem(file, &sure) || !strcmp(file, MANIFEST);
}

static bool in_dir(const char *path, const char *dir)
{
	size_t len = strlen(dir), at = strlen(path) - strlen(path_base(path));

	return len ? at == len + 1 && !strncmp(path, dir, len) : !at;
}

/* Does `dir` ask this file, whose name leaves it open? */
static bool is_asked(const struct listing_entry *e, const char *dir)
{
	return e->size == LISTING_SIZE_UNKNOWN ? !strcmp(e->path, dir) :
		in_dir(e->path, dir);
}

static const char *script_holder(const struct stage_repo *repo,
	const char *path)
{
	const struct listing_entry *e = archive_of(repo, path);
	bool sure = true;

	return e && e->size == LISTING_SIZE_UNKNOWN && stem(e->path, &sure) &&
		!sure ? e->path : NULL;
}

static bool script_asks(const struct stage_repo *repo, const char *dir)
{
	bool sure;

	if (!strcmp(repo->hub, TORCHVISION))
		return false;
	for (size_t i = 0; i < repo->listing->n; i++) {
		const struct listing_entry *e = &repo->listing->v[i];

		if (e->kind == LISTING_FILE && stem(e->path, &sure) && !sure &&
		    is_asked(e, dir))
			return true;
	}
	return false;
}

/* ---- looking in ------------------------------------------------------------ */

static int probe(const struct stage_input *in, const struct listing_entry *e,
	const char **ret, struct error *why)
{
	struct error inner = { 0 };
	struct src *src;
	int r = in->open(in->arg, e, &src, why);

	*ret = NULL;
	if (r)
		return r;
	r = stage_script_probe(src, ret, &inner);
	src_unref(src);
	/* No zip, or a broken one: a file like any other. */
	if (r == -EBADMSG || r == -ENOTSUP || r == -EFBIG)
		return 0;
	if (r && why)
		*why = inner;
	return r;
}

/* What a torchserve archive calls its model, or NULL. */
static int serialized(const struct stage_input *in,
	const struct listing_entry **ret, struct error *why)
{
	cleanup_json json_t *manifest = NULL;
	const char *name = NULL;
	int r = stage_input_json(in, MANIFEST, &manifest, why);

	*ret = NULL;
	if (r)
		return r;
	(void) json_unpack(manifest, "{s:{s:s}}", "model", "serializedFile",
		&name);
	if (name)
		*ret = listing_find(in->repo.listing, name);
	return 0;
}

static int script_names(const struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why)
{
	const struct objid none = { .alg = OBJID_NONE };
	const struct listing *l = in->repo.listing;
	const struct listing_entry *mar = NULL;
	unsigned probes = 0;
	int r = 0;

	(void) s;
	if (!*dir && listing_find(l, MANIFEST))
		r = serialized(in, &mar, why);
	for (size_t i = 0; i < l->n && !r; i++) {
		const struct listing_entry *e = &l->v[i];
		const char *kind = "";
		bool sure = false;
		size_t len = stem(e->path, &sure);

		if (e->kind != LISTING_FILE || !len ||
		    !(sure ? in_dir(e->path, dir) : is_asked(e, dir)))
			continue;
		if (!sure && probes++ < PROBES_MAX)
			r = probe(in, e, &kind, why);
		if (!r && kind && (sure || probes <= PROBES_MAX))
			r = add_staged(&in->repo, e->path, len, ret);
		if (!r && kind && e == mar)
			r = listing_add(ret, MODEL, LISTING_FILE,
				LISTING_SIZE_UNKNOWN, &none);
	}
	return r;
}

/* ---- planning -------------------------------------------------------------- */

static int write_model(const struct stage *s, const struct stage_graph *g,
	const char *kind, struct stage_recipe **ret, struct error *why)
{
	const char *metadata[] = { "library", "torch", "source", kind, NULL };

	return stage_onnx_write_model(g, s->opset, metadata, ret, why);
}

static int plan_archive(const struct stage *s, struct src *src,
	const struct listing_entry *e, struct stage_recipe **ret,
	struct error *why)
{
	struct stage_graph *g = NULL;
	const char *kind = NULL;
	int r = stage_script_probe(src, &kind, why);

	if (!r && !kind)
		r = error_set(why, -ENOTSUP, "a checkpoint without its "
			"program: neither TorchScript nor torch.export");
	if (!r)
		r = stage_script_run(src, e->path, s->opset, &g, why);
	if (!r)
		r = write_model(s, g, kind, ret, why);
	stage_graph_free(g);
	if (r && why && why->code)
		(void) error_wrap(why, "%s", e->path);
	return r;
}

static int script_plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	const struct listing_entry *e = archive_of(&in->repo, path);
	struct src *src;
	int r = 0;

	if (!e && is_mar(&in->repo, path)) {
		r = serialized(in, &e, why);
		if (!r && !e)
			r = error_set(why, -ENOTSUP, "%s names no model",
				MANIFEST);
	}
	if (!r && !e)
		r = error_set(why, -ENOENT, "%s is not staged", path);
	if (!r)
		r = in->open(in->arg, e, &src, why);
	if (r)
		return r;
	r = plan_archive(s, src, e, ret, why);
	src_unref(src);
	return r;
}

const struct stage_stager stage_stager_script = {
	.name = "script",
	.layout = script_layout,
	.stages = script_stages,
	.reads = script_reads,
	.asks = script_asks,
	.names = script_names,
	.holder = script_holder,
	.plan = script_plan,
};
