#include "config.h"

#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64	/* bytes; most buffers hold a path or a line */

/* Room for `len` more bytes and the NUL. */
static int reserve(struct buf *b, size_t len)
{
	size_t max = b->max < SIZE_MAX ? b->max : SIZE_MAX - 1;
	size_t need, room;
	uint8_t *data;

	if (b->len > max || len > max - b->len)
		return -EFBIG;
	need = b->len + len + 1;
	if (need <= b->room)
		return 0;
	room = b->room ? b->room : FIRST_ROOM;
	while (room < need)
		room = room > SIZE_MAX / 2 ? need : room * 2;
	if (room > max + 1)
		room = max + 1;
	data = realloc(b->data, room);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->room = room;
	return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int r = reserve(b, len);

	if (r)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	r = reserve(b, (size_t)n);
	if (r)
		return r;
	va_start(ap, fmt);
	(void) vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

int buf_append_le(struct buf *b, uint64_t v, unsigned n)
{
	uint8_t raw[sizeof(v)];

	if (n > sizeof(raw))
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return buf_append(b, raw, n);
}

int buf_append_varint(struct buf *b, uint64_t v)
{
	uint8_t raw[10];
	size_t n = 0;

	do {
		raw[n] = (uint8_t)(v & 0x7f);
		v >>= 7;
		if (v)
			raw[n] |= 0x80;
		n++;
	} while (v);
	return buf_append(b, raw, n);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_done(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = 0;
	b->room = 0;
}
