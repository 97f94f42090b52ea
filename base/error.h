/*
 * The errors of the house. Every function that can fail returns 0 (or a
 * count) or a negative errno; where a bare number would lose the story (URL,
 * status, byte offset), a struct error comes last and carries it in words.
 *
 * The vocabulary, one meaning each:
 *   ENOENT       no such repository, revision or file
 *   EACCES       the hub refuses us (bad or missing token, gated, disabled)
 *   EIO          bytes that contradict their digest; a hub that keeps failing
 *   EPROTO       the hub answered nonsense (becomes EIO at the door of fs)
 *   EBADMSG      a file contradicts its own format
 *   ETIMEDOUT    retries used up on time-outs
 *   EHOSTUNREACH no network, or offline and not cached
 *   ENOTSUP      a format feature or a model we do not handle
 *   EFBIG        over one of our own ceilings
 *   ENOSPC       the cache budget or the disk
 *   ESTALE       the revision we pinned is gone
 *   EROFS        any write
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <errno.h>

#define ERROR_TEXT_MAX 512

struct error {
	int code;			/* negative errno, 0 when unset */
	char text[ERROR_TEXT_MAX];	/* one line, no newline at the end */
};

/* Fill `e` (may be NULL) and return `code`, so that a caller can write
 * `return error_set(e, -EBADMSG, "…")`. Control characters become '?'. */
int error_set(struct error *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "<fmt>: " before the text; returns the code already there. */
int error_wrap(struct error *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The text if there is one, else that of strerror(-code); never NULL. */
const char *error_text(const struct error *e, int code);

#endif
