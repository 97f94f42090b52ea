/*
 * The rooms below fs, small and in memory: a hub whose answers can be held
 * back or made to fail, a cache that is a map, a stager that knows one model.
 * Real are base and the recipes of stage.
 *
 * The hub has org/model at two revisions, the branch "main" and the tag "v1":
 *
 *   config.json  model.safetensors  onnx/own.onnx
 *
 * and staging adds pytorch/{model.onnx,model.safetensors,refused.onnx}. In
 * org/asks, which has the same, pytorch/ asks: it has part.onnx and
 * model.safetensors.
 * pytorch/torchvision is one repository and has late.bin of no known size
 * beside; tensorflow has pub/model of versions 1 and 2 and pub/deep/er/model of
 * version 5. The hub of archives, pytorch/torchserve, is one repository:
 *
 *   deep/t.tar.gz  own.zip  own/file  plain.txt  twin.tar.gz  twin.zip
 *   unknown.mar (of no known size)  z.zip
 */
#ifndef TESTS_UNIT_FS_DOUBLES_H
#define TESTS_UNIT_FS_DOUBLES_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "fs/fs.h"

#define DOUBLE_COMMIT_1 "1111111111111111111111111111111111111111"
#define DOUBLE_COMMIT_2 "2222222222222222222222222222222222222222"

struct double_bytes {
	const void *data;
	size_t len;
};

struct double_hub {
	unsigned resolves, lists, owners;	/* questions asked */
	unsigned plans;				/* stage_plan calls */
	unsigned named;				/* stage_names calls */
	int names_err;				/* what they fail with */
	unsigned spoils;			/* during so many of them some
						 * bytes turn out wrong */
	const char *main;			/* commit the branch is at */
	uint32_t at_hand_ms;			/* of every snapshot */
	int err;				/* answer of every question */
	int plan_err;				/* of every planning */
	void (*planning)(void);			/* called in each, its bytes
						 * read and its outcome found,
						 * which it says then; or
						 * NULL */
	void (*recalled)(void);			/* called when a plan's outcome
						 * was read in the index, who
						 * reads it not told; or NULL */
	void (*putting)(void);			/* called before a plan's
						 * outcome is put into the
						 * index; or NULL */
	void (*deleted)(void);			/* called when something of the
						 * index was; or NULL */
	bool gone;				/* pub/model was deleted */
	unsigned lose;				/* so often it does not know
						 * DOUBLE_COMMIT_1 when asked
						 * to list it */
	/* Bytes of every file of "pytorch/torchserve" that ends in .gz, and of
	 * the others; how often they were asked for, and what was put into the
	 * cache. */
	struct double_bytes tar, zip;
	unsigned opened, measured, puts;
	int room;		/* of every put, 0 or -ENOSPC */
	bool whole;		/* that hub lists nothing */
	bool here;		/* the cache has every byte of every file, and
				 * they are right */
	bool rough;		/* … which nobody has found out yet */
	unsigned grown;		/* bytes that late.bin has more than before */
	unsigned version;	/* of its bytes: another digest; 9: none */
	sem_t *slow;		/* what is measured next is fixed when this is
				 * posted, and told by double_tell(); or NULL */
};
extern struct double_hub double_hub;
/* A tree over them, with one more "KEY=VALUE" or NULL; the hub is as new. */
struct fs *double_fs(const char *more);
void double_fs_free(struct fs *fs);
int double_stat(struct fs *fs, const char *path, struct fs_attr *ret);
#define HF "huggingface/"

/* The cache has nothing any more that was put into it. */
void double_evict(void);

/* Has the index anything of plans? */
bool double_planned(struct fs *fs);

/* Answers wait until release. */
void double_hold(void);
void double_release(void);
/* Between the files of the double: until release; and err with words. */
void double_wait(void);
bool double_held(void);
int double_fail(struct error *why, int err);
/* Whoever asked last while `slow` is answered. */
void double_tell(void);
/* A reply says that late.bin has not `size` bytes. */
void double_contradict(struct fs *fs, uint64_t size);
/* Every src from now on has this epoch. */
void double_epoch(unsigned epoch);

#endif
