/*
 * A stager knows one kind of repository: what it adds to the repository's
 * listing, which files it looks at, and how to plan what it added. stage.c
 * holds the table.
 */
#ifndef STAGE_STAGER_H
#define STAGE_STAGER_H

#include <jansson.h>

#include "base/buf.h"
#include "stage/blueprint.h"
#include "stage/stage.h"

#define STAGE_JSON_MAX (8u << 20)	/* bytes of config.json and the like */

struct stage {
	unsigned opset;
	struct stage_blueprint *lib;	/* lib.bp, or NULL */
	struct stage_blueprint **v;	/* the first for a model type wins */
	size_t n, room;
	char digest[65];		/* hex SHA-256 over all their texts */
};

struct stage_stager {
	const char *name;
	/* Adds what it stages or shows again. Does not sort. */
	int (*layout)(const struct listing *repo, struct listing *ret);
	/* stage_layout_original() for a path of its layout, or NULL. */
	const char *(*original)(const struct listing *repo, const char *path);
	/* Is `path` a staged file of its layout of `repo`? */
	bool (*stages)(const struct listing *repo, const char *path);
	/* May a plan depend on this file? */
	bool (*reads)(const struct listing *repo, const char *path);
	int (*plan)(const struct stage *s, const struct stage_input *in,
		const char *path, struct stage_recipe **ret,
		struct error *why);
};

extern const struct stage_stager stage_stager_transformers;
extern const struct stage_stager stage_stager_savedmodel;

/* The blueprint for a model_type, or NULL. */
const struct stage_blueprint *stage_find_blueprint(const struct stage *s,
	const char *model_type);

/* A whole JSON file of the repository. -ENOENT: not listed (why unset);
 * -EFBIG; -EBADMSG; or what reading gave. */
int stage_input_json(const struct stage_input *in, const char *path,
	json_t **ret, struct error *why);

#endif
