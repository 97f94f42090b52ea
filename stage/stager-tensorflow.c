/*
 * TensorFlow's form of what stager-transformers.c stages: the same operator
 * stream, written as a GraphDef.
 *
 *	tensorflow/model.pb	or encoder_model.pb, decoder_model.pb, …
 *	tensorflow/model_trainable.pb	and so on: with variables
 *
 * A repository that has a SavedModel has that one's frozen graph there.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "stage/stager-transformers.h"
#include "stage/tf.h"

#define DIR_NAME "tensorflow"
#define OPSET 13		/* of the stream: the plainest form */
#define PART_MAX 128		/* bytes of a part's name */

static bool is_ours(const struct stage_repo *repo)
{
	return stage_transformers_has(repo->listing) &&
		!listing_find(repo->listing, "saved_model.pb") &&
		!listing_find(repo->listing, DIR_NAME) &&
		!listing_is_dir(repo->listing, DIR_NAME);
}

static int add_part(struct listing *l, const char *part, const char *ending)
{
	const struct objid none = { .alg = OBJID_NONE };
	char path[sizeof(DIR_NAME) + PART_MAX + 24];

	(void) snprintf(path, sizeof(path), DIR_NAME "/%.*s%s.pb", PART_MAX,
		part, ending);
	return listing_add(l, path, LISTING_FILE, LISTING_SIZE_UNKNOWN, &none);
}

static int tensorflow_layout(const struct stage_repo *repo,
	struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	int r;

	if (!is_ours(repo))
		return 0;
	r = listing_add(ret, DIR_NAME, LISTING_DIR, 0, &none);
	return r ? r : add_part(ret, "model", "");
}

/* The part that tensorflow/PART.pb is of, into ret of PART_MAX + 1 bytes. */
static bool part_of(const char *path, char *ret)
{
	const char *base = path + strlen(DIR_NAME "/");
	size_t len;

	if (strncmp(path, DIR_NAME "/", strlen(DIR_NAME "/")) != 0)
		return false;
	len = strlen(base);
	if (len <= 3 || len - 3 > PART_MAX || strcmp(base + len - 3, ".pb"))
		return false;
	len -= 3;
	for (size_t i = 0; i < len; i++)
		if (!(base[i] >= 'a' && base[i] <= 'z') && base[i] != '_')
			return false;
	memcpy(ret, base, len);
	ret[len] = '\0';
	return true;
}

static bool tensorflow_stages(const struct stage_repo *repo, const char *path)
{
	char part[PART_MAX + 1];

	return is_ours(repo) && part_of(path, part);
}

static bool tensorflow_reads(const struct stage_repo *repo, const char *path,
	const char *file)
{
	(void) path;
	return stage_transformers_reads(repo, file);
}

static bool tensorflow_asks(const struct stage_repo *repo, const char *dir)
{
	return !strcmp(dir, DIR_NAME) && is_ours(repo);
}

static int tensorflow_names(const struct stage *s,
	const struct stage_input *in, const char *dir, struct listing *ret,
	struct error *why)
{
	const char *const *parts;
	size_t n;
	int r = stage_transformers_parts(s, in, &parts, &n, why);

	(void) dir;
	for (size_t i = 0; i < n && !r; i++) {
		r = add_part(ret, parts[i], "");
		if (!r)
			r = add_part(ret, parts[i], "_trainable");
	}
	return r;
}

static int tensorflow_plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	struct stage_graph *g = NULL;
	char part[PART_MAX + 1];
	bool trainable;
	size_t stem;
	int r;

	if (!part_of(path, part))
		return -ENOENT;
	stem = stage_tf_trainable(part, strlen(part));
	trainable = part[stem];
	part[stem] = '\0';
	r = stage_transformers_graph(s, in, part, OPSET, &g, why);
	if (!r)
		r = stage_tf_from_graph(g, trainable, ret, why);
	stage_graph_free(g);
	return r;
}

const struct stage_stager stage_stager_tensorflow = {
	.name = "tensorflow",
	.layout = tensorflow_layout,
	.stages = tensorflow_stages,
	.reads = tensorflow_reads,
	.asks = tensorflow_asks,
	.names = tensorflow_names,
	.quiet = stage_tf_is_trainable,
	.plan = tensorflow_plan,
};
