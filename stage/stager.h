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
	bool functions;			/* as in struct stage_conf */
	struct stage_blueprint *lib;	/* lib.bp and lib-….bp, or NULL */
	struct stage_blueprint **v;	/* the first for a model type wins */
	size_t n, room;
	char digest[65];		/* hex SHA-256 over all their texts */
	struct buf pack;		/* the texts (library.c) */
	struct workers *workers;	/* planning is theirs; NULL: is done
					 * where it is asked for */
	struct buf setup;		/* what each of them is told first */
};

struct stage_stager {
	const char *name;
	/* Adds what it stages or shows again. Does not sort. */
	int (*layout)(const struct stage_repo *repo, struct listing *ret);
	/* stage_layout_original() for a path of its layout, or NULL. NULL: it
	 * shows nothing again. */
	const char *(*original)(const struct stage_repo *repo,
		const char *path);
	/* Is `path` a staged file of its layout of `repo`, or may it be one in
	 * a directory that asks? */
	bool (*stages)(const struct stage_repo *repo, const char *path);
	/* May the plan of what is staged at `path` (or the names in that
	 * directory) depend on this file? On nothing else of a repository but
	 * the path, as keys are made of these. */
	bool (*reads)(const struct stage_repo *repo, const char *path,
		const char *file);
	/* stage_asks() and stage_names() of it alone; does not sort. NULL:
	 * its layout is all there is. */
	bool (*asks)(const struct stage_repo *repo, const char *dir);
	int (*names)(const struct stage *s, const struct stage_input *in,
		const char *dir, struct listing *ret, struct error *why);
	/* stage_layout_quiet() of what it stages. NULL: nothing is. */
	bool (*quiet)(const struct stage_repo *repo, const char *path);
	/* stage_holder(), or NULL. NULL: its directories tell everything. */
	const char *(*holder)(const struct stage_repo *repo,
		const char *path);
	int (*plan)(const struct stage *s, const struct stage_input *in,
		const char *path, struct stage_recipe **ret,
		struct error *why);
};

extern const struct stage_stager stage_stager_transformers;
extern const struct stage_stager stage_stager_savedmodel;
extern const struct stage_stager stage_stager_tensorflow;
extern const struct stage_stager stage_stager_torchvision;
extern const struct stage_stager stage_stager_script;
extern const struct stage_stager stage_stager_keras;

/* The blueprint for a library's name of a model, or NULL. */
const struct stage_blueprint *stage_find_blueprint(const struct stage *s,
	const char *library, const char *type);

/* A whole JSON file of the repository. -ENOENT: not listed (why unset);
 * -EFBIG; -EBADMSG; or what reading gave. */
int stage_input_json(const struct stage_input *in, const char *path,
	json_t **ret, struct error *why);

#endif
