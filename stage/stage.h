/*
 * The door of the stage room: from the files of a repository to staged files,
 * without running a line of them. Planning reads headers only; its result is
 * a recipe (extent map) that says where every byte of the staged file lies.
 *
 * Planning waits for the bytes it asks for (src_read_wait): never call
 * stage_plan on a FUSE worker or the engine thread.
 */
#ifndef STAGE_STAGE_H
#define STAGE_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/listing.h"
#include "base/src.h"

/* ---- recipes --------------------------------------------------------------- */

enum stage_extent_kind {
	STAGE_INLINE,	/* bytes of the recipe itself */
	STAGE_REF,	/* bytes of a source */
	STAGE_ZERO,
	STAGE_XFORM,	/* computed from a source, see enum stage_xform */
};

/* What is computed from floating-point numbers, each for itself. */
enum stage_xform {
	STAGE_TO_F16 = 1,	/* 2 bytes an element: to nearest even, finite
				 * values at most 65504 */
};

struct stage_extent {
	uint64_t len;		/* bytes, > 0 */
	uint64_t off;		/* REF, XFORM: in the source; INLINE: in the
				 * pool */
	uint32_t source;	/* REF, XFORM: index into sources */
	uint8_t kind;
	uint8_t xform;		/* XFORM: enum stage_xform; else 0 */
	uint8_t from;		/* XFORM: enum stage_dtype, F32, F16 or BF16;
				 * else 0 */
};

struct stage_recipe;

struct stage_recipe *stage_recipe_new(void);
struct stage_recipe *stage_recipe_ref(struct stage_recipe *r);
struct stage_recipe *stage_recipe_unref(struct stage_recipe *r);

/* Building: extents are appended in output order; neighbours that continue
 * each other are joined. */
/* Name a source (repository path) and its size; returns its index >= 0. The
 * same path twice gives the same index. */
int stage_recipe_source(struct stage_recipe *r, const char *path,
	uint64_t size);
int stage_recipe_inline(struct stage_recipe *r, const void *data, size_t len);
int stage_recipe_copy(struct stage_recipe *r, unsigned source, uint64_t off,
	uint64_t len);
int stage_recipe_zero(struct stage_recipe *r, uint64_t len);
/* Computed from n elements, which lie at off; of `how`, xform and from count.
 * -EINVAL: outside the source, or what stage_recipe_check() would refuse. */
int stage_recipe_xform(struct stage_recipe *r, unsigned source, uint64_t off,
	uint64_t n, const struct stage_extent *how);

uint64_t stage_recipe_size(const struct stage_recipe *r);
unsigned stage_recipe_sources(const struct stage_recipe *r);
const char *stage_recipe_source_path(const struct stage_recipe *r, unsigned i);
uint64_t stage_recipe_source_size(const struct stage_recipe *r, unsigned i);
size_t stage_recipe_extents(const struct stage_recipe *r,
	const struct stage_extent **ret);

/* Every extent inside its source or pool, no empty one, the sum does not
 * overflow. -EBADMSG with which one. Run on every recipe before use. */
int stage_recipe_check(const struct stage_recipe *r, struct error *why);
int stage_recipe_write(const struct stage_recipe *r, struct buf *ret);
/* Reads and checks. */
int stage_recipe_parse(const void *data, size_t len,
	struct stage_recipe **ret, struct error *why);

/* A src made of extents. sources[i] must have the size the recipe says
 * (-EBADMSG); references are taken to the recipe and to all sources. */
int stage_recipe_src(struct stage_recipe *r, struct src *const *sources,
	struct src **ret, struct error *why);

/* ---- planning -------------------------------------------------------------- */

struct stage_conf {
	unsigned opset;			/* 13 or 17 */
	const char *const *blueprint_dirs; /* NULL-ended; first match wins */
};

struct stage;
/* Reads the blueprints. -EINVAL with file:line in `why` when one is broken. */
int stage_new(const struct stage_conf *conf, struct stage **ret,
	struct error *why);
void stage_free(struct stage *s);

/* A repository at one revision. */
struct stage_repo {
	const char *hub;	/* directory in the mount: "huggingface",
				 * "pytorch/torchvision" */
	const char *repo;	/* as the hub calls it */
	const struct listing *listing;	/* its own files */
};

/*
 * The names staging adds beside a repository's own files, from its listing
 * alone (no byte is read): directories, staged files with
 * LISTING_SIZE_UNKNOWN, and files of the repository shown again
 * ("pytorch/model.safetensors"), with their size. A path the repository has
 * itself is left out. *ret is sorted.
 */
int stage_layout(struct stage *s, const struct stage_repo *repo,
	struct listing *ret);
/* For a path that shows a repository file again: that file's path, else NULL
 * (it is staged). */
const char *stage_layout_original(struct stage *s,
	const struct stage_repo *repo, const char *path);

/* Does it take bytes of the repository to tell which staged files `dir` has?
 * Then stage_names() says so; the layout has those most of its kind have. */
bool stage_asks(struct stage *s, const struct stage_repo *repo,
	const char *dir);

/* How a planner gets at the repository. open returns a new reference. */
struct stage_input {
	struct stage_repo repo;
	int (*open)(void *arg, const struct listing_entry *e, struct src **ret,
		struct error *why);
	void *arg;
};

/* All files staging adds to a directory that asks (none below its
 * directories), as a layout has them. Reads little, and waits; an error is
 * what reading gave. */
int stage_names(struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why);

/* The key of the plan behind a staged path, or of the names in a directory
 * that asks: hex SHA-256 over stager version, blueprints, options, and path,
 * size and digest of every file a planner may look at. Files without digest
 * make it depend on `revision`. -ENOENT: `path` is neither. */
int stage_key(struct stage *s, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65]);

/* Plan the staged file at `path`. -ENOENT: there is none; -ENOTSUP: cannot be
 * staged, with the reason; -EBADMSG: a file contradicts its format; -EFBIG; or
 * what reading gave. */
int stage_plan(struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why);

/* ---- looking into a model (omnihub info) ----------------------------------- */

/* From an ONNX file (staged or original), reading its structure only: a JSON
 * object with inputs, outputs, opset, operators, parameters. Waits. */
int stage_onnx_info(struct src *s, char **ret_json, struct error *why);
/* The families the blueprints know, as JSON for tables. */
char *stage_families_json(struct stage *s);

#endif
