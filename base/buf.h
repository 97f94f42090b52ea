/*
 * A growable run of bytes that cannot be made without a ceiling, so that no
 * server and no file can make it grow past what its owner meant.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;	/* NULL while empty; always has a NUL behind len */
	size_t len;	/* bytes */
	size_t room;	/* bytes allocated */
	size_t max;	/* ceiling for len */
};

#define BUF_INIT(ceiling) { NULL, 0, 0, (ceiling) }

/* -EFBIG over the ceiling, -ENOMEM; the contents stay as they were. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Little-endian integer of n bytes; protobuf varint. */
int buf_append_le(struct buf *b, uint64_t v, unsigned n);
int buf_append_varint(struct buf *b, uint64_t v);
/* Forget the contents, keep the memory. */
void buf_clear(struct buf *b);
/* Free the memory; the buffer can be used again. */
void buf_done(struct buf *b);
static inline void buf_donep(struct buf *b)
{
	buf_done(b);
}
#define cleanup_buf __attribute__((cleanup(buf_donep)))

#endif
