/*
 * Blueprints: one short text per model family that says how its graph is made
 * of its weights and its config.json. stage/README.md describes the language;
 * it is total: loops over ranges and lists only, no recursion, and every run
 * has a budget of steps, nodes and memory.
 *
 * A parsed blueprint does not change: any number of threads may run it.
 */
#ifndef STAGE_BLUEPRINT_H
#define STAGE_BLUEPRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "stage/graph.h"
#include "stage/tensor.h"

#define BP_STEPS_MAX 20000000u		/* expressions evaluated in one run */
#define BP_RUN_ARENA_MAX (256u << 20)	/* bytes of one run */
#define BP_DEPTH_MAX 200		/* expressions within each other */
#define BP_LIST_MAX 65536		/* items of one list or range */
#define STAGE_LAYERS_MAX 20000		/* layers of one model */
#define BP_NODES_MAX 200000		/* operators of one graph */

struct stage_blueprint;

/* `file` is what messages call it; the text is not kept. lib: whose defs it
 * may use, kept by reference, or NULL. -EINVAL with file:line:column. */
int stage_blueprint_parse(const char *file, const char *text, size_t len,
	const struct stage_blueprint *lib, struct stage_blueprint **ret,
	struct error *why);
void stage_blueprint_free(struct stage_blueprint *bp);

/* Is one of its families for what the library ("transformers",
 * "torchvision") calls so: a model_type, a builder? */
bool stage_blueprint_has_type(const struct stage_blueprint *bp,
	const char *library, const char *type);
/* The task for an architecture, or NULL. */
const char *stage_blueprint_task(const struct stage_blueprint *bp,
	const char *arch);
/* The graphs of a task are files of these names ("encoder_model"); most have
 * the one, "model". Returns how many. */
size_t stage_blueprint_parts(const struct stage_blueprint *bp,
	const char *task, const char *const **ret);
/* [{"family", "library", "model_types", "blueprint", "tasks": {name: [archs]}}, …];
 * a new reference, NULL: out of memory. */
json_t *stage_blueprint_families(const struct stage_blueprint *bp);

struct stage_blueprint_args {
	const struct stage_weights *weights;
	const json_t *config;		/* config.json: an object */
	/* An object each of whose keys the blueprint has to look at, as cfg's;
	 * NULL: none. */
	const json_t *told;
	/* What stands behind the model in a sentence-transformers repository:
	 * {"pooling": ["mean"], "normalize": true}; NULL: nothing. */
	const json_t *sentence;
	const char *task;		/* of stage_blueprint_task */
	const char *part;		/* of its parts; NULL: the first */
	unsigned opset;			/* 13 or 17 */
	/* Not NULL: the run makes no graph, but puts into "layers" and
	 * "outputs" of this object what layer() and model() say. */
	json_t *layers;
};

/* A graph of this checkpoint. The others of its task are gone through too: a
 * weight has its place when one of them uses it. -ENOTSUP with
 * file:line:column and the reason when it cannot be told for sure (an unknown
 * or unused weight, a shape that contradicts, a config key nobody looked at,
 * …); -ENOENT: the task has no such part; -EFBIG over a budget. */
int stage_blueprint_run(const struct stage_blueprint *bp,
	const struct stage_blueprint_args *args, struct stage_graph **ret,
	struct error *why);

#endif
