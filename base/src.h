/*
 * struct src: immutable bytes of known size that may not be here yet. The
 * seam between every two rooms: cached-src fills from another src, remote-src
 * is one URL, recipe-src is made of extents of others.
 *
 * Nothing here waits: a read completes at once, or later through a callback.
 * A src is shared between threads; src_ref/src_unref count its users. The
 * caller keeps a reference until every read, pull and hint it started has
 * called back.
 *
 * There is no cancel: who no longer wants an answer drops it when it comes;
 * the bytes stay in the cache for the next reader.
 */
#ifndef BASE_SRC_H
#define BASE_SRC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/digest.h"
#include "base/error.h"

struct src;

/* What tells the versions of a whole apart that has no digest: in the upper half
 * the place that the bytes came from, in the lower half what it has, the same
 * numbers for every src over it. 0: nothing tells, or a digest does. What two
 * places say of their versions cannot be compared. */
static inline bool src_same_version(uint64_t a, uint64_t b)
{
	return a == b || !a || !b || a >> 32 != b >> 32;
}

/* One read. The caller owns it and keeps it still until done() or until
 * src_read() returned something other than -EINPROGRESS. */
struct src_read {
	uint64_t off;	/* bytes; off + len must be inside the src */
	size_t len;	/* bytes */
	void *buf;	/* len bytes, filled wholly on success */
	/* Room for pieces, from who can do without the copy. Then a src may
	 * answer with lent[0 .. n_lent): len bytes in order, each piece in buf
	 * or in memory that stays as long as the src does, as with peek.
	 * n_lent 0: all of it is in buf. */
	struct iovec *lent;
	int max_lent;	/* 0: only buf will do */
	int n_lent;
	/* Set by a src that knows it before done(): see src_same_version(). */
	uint64_t version;
	/* Called once, on any thread, never from inside src_read(); r may be
	 * freed by it. err: 0 or negative errno. Must not block. */
	void (*done)(struct src_read *r, int err);
};

/* A stream of bytes in order, for who stores them as they come. */
struct src_pull {
	uint64_t off;	/* bytes */
	uint64_t len;	/* bytes, > 0 */
	bool again;	/* what came before was wrong: from elsewhere, if the
			 * src knows several places */
	/* Set by the src before each data(): of which version of the whole the
	 * bytes are; see src_same_version(). */
	uint64_t version;
	/* Called zero or more times, in order, one at a time, on one thread at
	 * a time. Not 0: the pull ends with that error. Must not block on
	 * anything but the local disk. */
	int (*data)(struct src_pull *p, const void *buf, size_t len);
	/* Called once, after the last data(), never from inside src_pull().
	 * err 0: all len bytes were delivered. `why` may be NULL; it is
	 * valid during the call only. */
	void (*done)(struct src_pull *p, int err, const struct error *why);
	void *priv;	/* the src's own, while the pull runs */
};

enum src_state {
	SRC_REMOTE,	/* nothing of it is on this disk */
	SRC_PARTIAL,
	SRC_CACHED,	/* all here, no digest to compare with (yet) */
	SRC_VERIFIED,	/* all here and equal to its digest */
};

struct src_stat {
	enum src_state state;
	uint64_t cached_bytes;	/* of this src's bytes, on this disk */
	struct objid id;	/* what is known of its digest */
	struct error last;	/* why the last attempt failed; code 0: none */
	bool passes;		/* it is never kept: larger than there is room */
	bool passed_right;	/* … and who read it whole had the right bytes */
};

struct src_ops {
	const char *name;	/* "cached", "remote", … for messages */
	/* MUST. 0: buf is filled, done() will not be called. -EINPROGRESS:
	 * done() will be. Anything else: failed, done() will not be called. */
	int (*read)(struct src *s, struct src_read *r);
	/* MAY. Point iov at mapped memory that holds [off, off+len) now. The
	 * memory stays as long as the src does. Returns the count, or -EAGAIN
	 * when some byte is not here or max is too small. */
	int (*peek)(struct src *s, uint64_t off, size_t len,
		struct iovec *iov, int max);
	/* MAY. Stream [p->off, p->off+p->len). Only sources that cached-src
	 * fills from need it. Errors come through done(). */
	void (*pull)(struct src *s, struct src_pull *p);
	/* MAY. These bytes will be wanted soon. */
	void (*hint)(struct src *s, uint64_t off, uint64_t len);
	/* MAY. A descriptor of a whole verified file with just these bytes, for
	 * kernel passthrough; owned by the src. -EAGAIN: not now. */
	int (*fd)(struct src *s);
	/* MAY. A number that changes when bytes already handed out turned out
	 * wrong: handles opened under another number must fail from then on. */
	unsigned (*epoch)(const struct src *s);
	/* MAY. */
	void (*stat)(struct src *s, struct src_stat *ret);
	/* MAY. How many bytes of [off, off+len) are on this disk. */
	uint64_t (*present)(struct src *s, uint64_t off, uint64_t len);
	/* MUST. The last reference is gone. */
	void (*free)(struct src *s);
};

struct src {
	const struct src_ops *ops;
	uint64_t size;		/* bytes, constant */
	atomic_uint refs;
};

void src_init(struct src *s, const struct src_ops *ops, uint64_t size);
struct src *src_ref(struct src *s);
/* NULL is fine; returns NULL. */
struct src *src_unref(struct src *s);

/* The ops with their MAY cases filled in. src_read() checks the range and
 * answers -EINVAL when it is outside; len 0 completes at once. */
int src_read(struct src *s, struct src_read *r);
int src_peek(struct src *s, uint64_t off, size_t len, struct iovec *iov,
	int max);
void src_hint(struct src *s, uint64_t off, uint64_t len);
int src_fd(struct src *s);
unsigned src_epoch(const struct src *s);
void src_stat(struct src *s, struct src_stat *ret);
/* ops->present, else src_stat's cached_bytes scaled to the range: right for
 * all and for nothing, an estimate in between. */
uint64_t src_present(struct src *s, uint64_t off, uint64_t len);
/* src->ops->pull, or -ENOTSUP through done() on this thread. */
void src_pull(struct src *s, struct src_pull *p);

/* Wait for a read. For planners and the command line; never on a FUSE worker
 * or the engine thread. */
int src_read_wait(struct src *s, uint64_t off, void *buf, size_t len);

/* Bytes in memory: taken over (free()d with the src). NULL: out of memory,
 * and data stays the caller's. */
struct src *src_from_memory(void *data, size_t len);
/* A local file's [0, size): fd is taken over on success. Maps it. */
int src_from_fd(int fd, uint64_t size, struct src **ret);

#endif
