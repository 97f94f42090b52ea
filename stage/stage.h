/*
 * The door of the stage room: from the files of a repository to staged files,
 * without running a line of them. Planning reads headers only; its result is
 * a recipe (extent map) that says where every byte of the staged file lies. It
 * waits for the bytes it asks for (src_read_wait): never call stage_plan on a
 * FUSE worker or the engine thread.
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
#include "base/workers.h"
#include "stage/made.h"

/* ---- recipes --------------------------------------------------------------- */

enum stage_extent_kind {
	STAGE_INLINE,	/* bytes of the recipe itself */
	STAGE_REF,	/* bytes of a source */
	STAGE_ZERO,
	STAGE_XFORM,	/* computed from a source, see enum stage_xform */
};

/* What is computed from floating-point numbers: from each for itself, or from
 * each group of as many as the extent says, which lie one behind the other. */
enum stage_xform {
	STAGE_TO_F16 = 1,	/* 2 bytes an element: to nearest even, finite
				 * values at most 65504 */
	STAGE_TO_I8 = 2,	/* 1 byte an element: divided by the scale of
				 * its group, to nearest even, -127 to 127 */
	STAGE_TO_SCALE = 3,	/* f32, one a group: its largest magnitude, at
				 * most FLT_MAX, by that of 127 to 116 with the
				 * least squared error; NaN when one element is */
};

#define STAGE_GROUP_MAX 1024	/* elements */

struct stage_extent {
	uint64_t len;		/* bytes, > 0 */
	uint64_t off;		/* REF, XFORM: in the source; INLINE: in the
				 * pool */
	uint32_t source;	/* REF, XFORM: index into sources */
	uint8_t kind;
	uint8_t xform;		/* XFORM: enum stage_xform; else 0 */
	uint8_t from;		/* XFORM: enum stage_dtype, F32, F16 or BF16;
				 * else 0 */
	uint16_t group;		/* TO_I8, TO_SCALE: elements, at most
				 * STAGE_GROUP_MAX; else 0 */
};

struct stage_recipe;

struct stage_recipe *stage_recipe_new(void);
struct stage_recipe *stage_recipe_ref(struct stage_recipe *r);
struct stage_recipe *stage_recipe_unref(struct stage_recipe *r);

/* Building: extents are appended in output order, neighbours joined. */
/* Name a source (of the repository, or made.h) and its size; returns its index
 * >= 0. The same path twice gives the same index. */
int stage_recipe_source(struct stage_recipe *r, const char *path,
	uint64_t size);
int stage_recipe_inline(struct stage_recipe *r, const void *data, size_t len);
int stage_recipe_copy(struct stage_recipe *r, unsigned source, uint64_t off,
	uint64_t len);
int stage_recipe_zero(struct stage_recipe *r, uint64_t len);
/* Computed from n elements, which lie at off; of `how`, xform, from and group
 * count. -EINVAL: outside the source, or stage_recipe_check() would refuse. */
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
/* Fetch what is missing of the sources of `s`, made by it, although the staged
 * file does not need it (tensors it leaves out): only what is whole can be
 * verified. Waits. -EFBIG: more than `most` bytes are missing. */
int stage_recipe_src_complete(struct src *s, uint64_t most);

/* ---- planning -------------------------------------------------------------- */

struct stage_conf {
	unsigned opset;			/* 13 or 17 */
	const char *const *blueprint_dirs; /* NULL-ended; first match wins */
	bool functions;			/* of SavedModels: If and While stay,
					 * with their functions */
};

struct stage;
/* Reads the blueprints. -EINVAL with file:line in `why` when one is broken. */
int stage_new(const struct stage_conf *conf, struct stage **ret,
	struct error *why);
void stage_free(struct stage *s);

/* A repository at one revision. */
struct stage_repo {
	const char *hub;	/* directory in the mount: "huggingface" */
	const char *repo;	/* as the hub calls it */
	const struct listing *listing;	/* its own files */
	/* Is this file the one people mean who name only its directory? Any
	 * thread. NULL: nobody can tell. */
	bool (*preferred)(const void *arg, const char *path);
	const void *arg;
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
/* Of a path that shows a repository file again: that file's, else NULL. */
const char *stage_layout_original(struct stage *s,
	const struct stage_repo *repo, const char *path);

/* Is a path of the layout better not shown in a directory? The size of what is
 * made of an ONNX file takes reading all; not every GraphDef can be trained. */
bool stage_layout_quiet(struct stage *s, const struct stage_repo *repo,
	const char *path);

/* Does it take bytes of the repository to tell which staged files `dir` has?
 * Then stage_names() says so; the layout has those most of its kind have. */
bool stage_asks(struct stage *s, const struct stage_repo *repo,
	const char *dir);

/* `path` is told of by a file whose size is not known, so that readdir does not
 * ask it: that file, which is `dir` to stage_asks(), _names(), _key(). NULL: the
 * directory tells. Lives as long as the listing. */
const char *stage_holder(struct stage *s, const struct stage_repo *repo,
	const char *path);

/* How a planner gets at the repository. open returns a new reference. */
struct stage_input {
	struct stage_repo repo;
	int (*open)(void *arg, const struct listing_entry *e, struct src **ret,
		struct error *why);
	void *arg;
	/* What is made of a file (made.h), of so many bytes. NULL: nothing. */
	int (*make)(void *arg, const char *path, uint64_t size,
		struct src **ret, struct error *why);
};

/* All files staging adds to a directory that asks (none below its directories),
 * as a layout has them. Reads little, and waits; errors are those of reading. */
int stage_names(struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why);

/* The key of the plan behind a staged path, or of the names in a directory
 * that asks: hex SHA-256 over stager version, blueprints, options, and path,
 * size and digest of every file a planner may look at. Files without digest
 * make it depend on `revision`. -ENOENT: `path` is neither. */
int stage_key(struct stage *s, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65]);

/* Plan the staged file at `path`. -ENOENT: there is none; -ENOTSUP: cannot be
 * staged, why says it; -EBADMSG: a file contradicts its format; -EFBIG; or what
 * reading gave. */
int stage_plan(struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why);

/* ---- archives ---------------------------------------------------------------- */

/* What is in an archive: zip (.zip .mar .war .keras) by its directory, tar(.gz)
 * in one pass; the content says which. Refused members: format/archive.h. */
#define STAGE_ARCHIVE_MEMBERS 200000
#define STAGE_ARCHIVE_NAMES (32u << 20)		/* bytes */
#define STAGE_ARCHIVE_FREE (1ull << 30)		/* bytes */
#define STAGE_ARCHIVE_RATIO 200
#define STAGE_ARCHIVE_BYTES (1ull << 40)
#define STAGE_ARCHIVE_REASONS 64		/* that are kept */

enum stage_member_how {
	STAGE_MEMBER_DIR,	/* a directory, empty or not */
	STAGE_MEMBER_STORED,	/* a range of the archive */
	STAGE_MEMBER_DEFLATED,	/* in a zip */
	STAGE_MEMBER_STREAM,	/* comes by in stage_archive_read() */
};

struct stage_member {
	char *path;		/* checked by path_rel_ok() */
	enum stage_member_how how;
	uint64_t size;		/* bytes */
	struct objid id;	/* STREAM: what the sink said; else none */
	/* STORED and DEFLATED: as struct stage_zip_member has them. */
	uint32_t crc32;
	uint16_t flags;
	uint64_t packed, header, end;
};

struct stage_refused {
	char *name;		/* printable, may be cut */
	char *why;
};

struct stage_archive {
	struct stage_member *v;		/* sorted by path (strcmp) */
	size_t n, room;
	size_t names;			/* bytes of all paths */
	struct stage_refused *refused;	/* the first STAGE_ARCHIVE_REASONS */
	size_t n_refused;		/* all of them */
};

/* Where members go as they are unpacked, one after the other. */
struct stage_archive_sink {
	/* Before the first byte of a member of so many. Not 0: end all. */
	int (*begin)(void *arg, const char *path, uint64_t size);
	int (*data)(void *arg, const void *buf, size_t len);
	/* All bytes came. *ret: their SHA-256, or left alone. */
	int (*end)(void *arg, struct objid *ret);
	/* They did not: forget it. */
	void (*drop)(void *arg);
	void *arg;
};

/* What makes a name that of an archive to be shown as a directory; NULL-ended. */
extern const char *const stage_archive_endings[];
/* Bytes of `name` before its ending; 0: it has none of them. */
size_t stage_archive_stem(const char *name);

/* List it. A zip by its directory only; a tar goes through the sink (NULL: its
 * bytes are thrown away). Waits. -EBADMSG: no archive, or damaged; -ENOTSUP;
 * -EFBIG; what the sink or reading gave. */
int stage_archive_read(struct src *s, const struct stage_archive_sink *sink,
	struct stage_archive *ret, struct error *why);
void stage_archive_done(struct stage_archive *a);

const struct stage_member *stage_archive_find(const struct stage_archive *a,
	const char *path);
/* As a listing, sorted. */
int stage_archive_listing(const struct stage_archive *a, struct listing *ret);

/* Where the bytes of a member of a zip start. Waits. */
int stage_member_place(struct src *s, const struct stage_member *m,
	uint64_t *ret_off, struct error *why);
/* A DEFLATED member through the sink; held to size and CRC-32. Waits. */
int stage_member_inflate(struct src *s, const struct stage_member *m,
	const struct stage_archive_sink *sink, struct objid *ret,
	struct error *why);

/* For the index. The caller frees the text. -EBADMSG: not such a text. */
char *stage_archive_to_json(const struct stage_archive *a);
int stage_archive_from_json(const char *text, size_t len,
	struct stage_archive *ret, struct error *why);

/* ---- workers ------------------------------------------------------------------ */

/* From now on stage_plan(), stage_names() and the three below run in worker
 * processes (base/workers.h); without this they run where they are called.
 * -ENOENT: the program is missing. Before the first thread uses s. */
int stage_work_start(struct stage *s, bool strict, struct error *why);
/* NULL: none was started. */
struct workers *stage_workers(struct stage *s);

/* stage_archive_read(), stage_member_inflate() and stage_look(). `whose`
 * names the archive or repository: its worker may be used again for it. */
int stage_work_list(struct stage *s, const char *whose, struct src *src,
	const struct stage_archive_sink *sink, struct stage_archive *ret,
	struct error *why);
int stage_work_inflate(struct stage *s, const char *whose, struct src *src,
	const struct stage_member *m, const struct stage_archive_sink *sink,
	struct objid *ret, struct error *why);
int stage_work_look(struct stage *s, const char *whose, struct src *src,
	char **ret_json, struct error *why);

/* ---- looking into a model (omnihub info) ----------------------------------- */

/* From any model's file, by its structure alone: a JSON object with what its
 * "format" tells: inputs, outputs or signatures, opset, operators, parameters.
 * -EBADMSG, -ENOTSUP: no format we know. Waits. */
int stage_look(struct src *s, char **ret_json, struct error *why);
int stage_onnx_info(struct src *s, char **ret_json, struct error *why);
/* The families the blueprints know, as JSON for tables. */
char *stage_families_json(struct stage *s);

#endif
