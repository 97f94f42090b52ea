/*
 * What is asked of workers, for work-ask.c (the parent), work-do.c and
 * worker-main.c (the worker). Integers are little-endian, texts are "u32 length,
 * bytes".
 *
 *   SETUP    u32 stager version  u32 opset  digest  packed blueprints
 *   PLAN     hub  repo  path  u32 files  each: u8 kind  u64 size  u8 algorithm
 *            u8 digits  32 bytes  path          result: stage_recipe_write()
 *   NAMES    the same, path is the directory    result: listing_to_json()
 *   LIST     u8 is there a sink                 result: stage_archive_to_json()
 *   INFLATE  u64 size  u64 packed  u64 header  u64 end  u32 CRC-32  u32 flags
 *            path                               result: none
 *   LOOK     nothing                            result: stage_look()
 *   DECODE   u64 size  group  path              result: none
 */
#ifndef STAGE_WORK_H
#define STAGE_WORK_H

#include "base/worker.h"
#include "base/workers.h"
#include "stage/stager.h"

enum {
	STAGE_WORK_SETUP = 1,
	STAGE_WORK_PLAN,
	STAGE_WORK_NAMES,
	STAGE_WORK_LIST,
	STAGE_WORK_INFLATE,
	STAGE_WORK_LOOK,
	STAGE_WORK_DECODE,
};

/* Questions. a: bytes in the window. */
enum {
	STAGE_ASK_OPEN = WORKER_OWN,	/* a path, or 0: the one source there
					 * is → a number, b size. Of what is
					 * made, b is the size it must have */
	STAGE_ASK_PREFERRED,		/* a path → a */
	STAGE_ASK_BEGIN,		/* a path, b size */
	STAGE_ASK_DATA,			/* a bytes */
	STAGE_ASK_END,			/* → id */
	STAGE_ASK_DROP,
};

#define STAGE_WORK_INPUT_MAX (512u << 20)	/* bytes */
#define STAGE_WORK_JSON_MAX (256u << 20)
#define STAGE_WORK_RECIPE_MAX (600u << 20)

/* Run in a worker of s. */
int stage_work_plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why);
int stage_work_names(const struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why);

/* The worker's side; ends with a run of NULL. Its own is a struct stage **. */
extern const struct worker_kind stage_work_kinds[];

#endif
