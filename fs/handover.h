/*
 * What outlives the process that serves a mount: memory that the supervisor
 * holds open and every server maps. The kernel keeps numbers of files, counts
 * of them, and open files across a server's death; the next one finds here
 * what they mean.
 *
 * The first page is struct fs_handover_head; behind it seats, one for each
 * number the kernel knows. A server may be killed between any two stores: a
 * seat counts from its last store on (`used`), and a count may be left too
 * high, never too low, so that a seat may stay too long but is never missed.
 *
 * All functions may be called from any thread of the one server that lives.
 */
#ifndef FS_HANDOVER_H
#define FS_HANDOVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define FS_HANDOVER_INIT_MAX 256	/* bytes of an INIT request */
#define FS_SEAT_TEXT_MAX 8192		/* bytes */

struct fs_handover_head {
	uint64_t magic;			/* with the version of the layout */
	uint32_t generation;		/* of servers; the supervisor counts */
	_Atomic uint32_t init_len;	/* 0: the kernel has not asked yet */
	atomic_bool init_answered;
	atomic_bool greeted;		/* the mount has answered once */
	atomic_bool resends;		/* the kernel repeats what nobody
					 * answered: a new server can go on */
	uint8_t init[FS_HANDOVER_INIT_MAX];
	struct error why;		/* of a server that gave up */
	_Atomic uint64_t end;		/* bytes of seats, used and free */
};

/* What a number means, and what the kernel has of it. */
struct fs_seat {
	uint64_t parent;		/* number of its directory */
	uint64_t lookups;		/* as the kernel counts them */
	uint32_t opens;			/* files open, in the way of backing */
	int32_t backing;		/* passthrough id, or 0 */
	bool sure;			/* its bytes are known to be right */
	bool doubt;			/* who has it open may have seen wrong
					 * ones */
};

struct fs_handover;

/* New memory, or that behind fd (which is taken over). -EPROTO: made by a
 * program that lays it out otherwise. */
int fs_handover_new(struct fs_handover **ret);
int fs_handover_open(int fd, struct fs_handover **ret);
void fs_handover_free(struct fs_handover *h);
struct fs_handover_head *fs_handover_head(struct fs_handover *h);
int fs_handover_fd(const struct fs_handover *h);

/* In every server, before all below: read what the one before left. */
int fs_handover_resume(struct fs_handover *h);

/* The kernel is told of `ino` once more. text says how the node is made again;
 * it is looked at only for a number without a seat. -ENOMEM: then the number
 * means nothing to the next server. */
int fs_handover_known(struct fs_handover *h, uint64_t ino, uint64_t parent,
	const void *text, size_t len);
/* The kernel forgets it `times` times. Returns the backing id that nobody uses
 * any more, or 0. */
int fs_handover_forget(struct fs_handover *h, uint64_t ino, uint64_t times);
/* -ENOENT: no such number. Appends the text, if ret_text is not NULL. */
int fs_handover_find(struct fs_handover *h, uint64_t ino, struct fs_seat *ret,
	struct buf *ret_text);
/* The texts of the numbers in the directory `parent`. fn must not call back
 * here; stops when it returns not 0, and returns that. */
int fs_handover_each(struct fs_handover *h, uint64_t parent,
	int (*fn)(void *arg, const char *text, size_t len), void *arg);
/* The open state of a number; nothing happens without a seat. */
void fs_handover_opened(struct fs_handover *h, uint64_t ino, uint32_t opens,
	int backing);
void fs_handover_sure(struct fs_handover *h, uint64_t ino);
void fs_handover_unsure(struct fs_handover *h, uint64_t ino);
/* Its bytes become others: those of before are not to be relied on, and who has
 * it open goes on with neither. */
void fs_handover_another(struct fs_handover *h, uint64_t ino);
/* Everything open that is not sure may have shown wrong bytes. Returns how
 * many numbers are not; *ret is the caller's to free (NULL: none). */
size_t fs_handover_doubt(struct fs_handover *h, uint64_t **ret);

#endif
