/*
 * Checked reads of untrusted bytes. A cursor never moves past its end: the
 * first short read sets `bad`, everything after returns 0, and the caller asks
 * once at the end. Sizes are added and multiplied only through size_*.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *p;	/* next byte */
	const uint8_t *end;
	bool bad;		/* a read went past the end */
};

static inline struct bytes bytes_of(const void *p, size_t len)
{
	const uint8_t *b = p;

	return (struct bytes){ b, b ? b + len : b, false };
}

static inline size_t bytes_left(const struct bytes *b)
{
	return b->bad ? 0 : (size_t)(b->end - b->p);
}

/* `len` bytes in place, or NULL (and bad) when there are not so many. */
static inline const uint8_t *bytes_take(struct bytes *b, uint64_t len)
{
	const uint8_t *at = b->p;

	if (b->bad || len > (uint64_t)(b->end - b->p)) {
		b->bad = true;
		return NULL;
	}
	if (len)	/* NULL + 0 is undefined */
		b->p += len;
	return at;
}

static inline uint64_t bytes_le(struct bytes *b, unsigned n)
{
	const uint8_t *p = bytes_take(b, n);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static inline uint64_t bytes_be(struct bytes *b, unsigned n)
{
	const uint8_t *p = bytes_take(b, n);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static inline uint8_t bytes_u8(struct bytes *b)
{
	return (uint8_t)bytes_le(b, 1);
}

static inline uint16_t bytes_le16(struct bytes *b)
{
	return (uint16_t)bytes_le(b, 2);
}

static inline uint32_t bytes_le32(struct bytes *b)
{
	return (uint32_t)bytes_le(b, 4);
}

static inline uint64_t bytes_le64(struct bytes *b)
{
	return bytes_le(b, 8);
}

/* LEB128 as protobuf and LevelDB write it: at most ten bytes. */
static inline uint64_t bytes_varint(struct bytes *b)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t c = bytes_u8(b);

		if (b->bad)
			return 0;
		if (shift == 63 && c > 1)
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	b->bad = true;
	return 0;
}

/* true on overflow, as the builtins; *ret is then unspecified. */
static inline bool size_add(uint64_t a, uint64_t b, uint64_t *ret)
{
	return __builtin_add_overflow(a, b, ret);
}

static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
	return __builtin_mul_overflow(a, b, ret);
}

/* Is [off, off+len) inside [0, size)? Empty ranges at the end are inside. */
static inline bool size_inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

#endif
