/*
 * libarchive inflates too, but does not compare gzip's check sum; and a member
 * of a zip archive is a bare deflate stream that nobody else has to find.
 */
#include "config.h"

#include "stage/format/inflate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#include "stage/window.h"

#define BLOCK (256u << 10)	/* bytes */
#define AHEAD (16u << 20)	/* bytes hinted before they are read */
#define WINDOW_GZIP (15 + 16)	/* zlib's way of saying it */
#define GZIP_MAGIC 0x1f

struct stage_inflate {
	struct src *src;
	struct error *why;
	uint64_t at, end;	/* packed bytes not read yet */
	uint64_t hinted;
	enum stage_packing how;
	bool ready;		/* z is to be ended */
	bool over;		/* the last stream has ended */
	z_stream z;
	uint8_t *block;		/* BLOCK bytes; z's input */
};

struct stage_inflate *stage_inflate_new(struct src *src, uint64_t off,
	uint64_t len, enum stage_packing how, struct error *why)
{
	struct stage_inflate *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->src = src;
	s->why = why;
	s->at = s->hinted = off;
	s->end = off + len;
	s->how = how;
	s->block = malloc(BLOCK);
	if (s->block && how != STAGE_PACKED_NOT)
		s->ready = inflateInit2(&s->z, how == STAGE_PACKED_GZIP ?
			WINDOW_GZIP : -15) == Z_OK;
	if (s->block && (s->ready || how == STAGE_PACKED_NOT))
		return s;
	stage_inflate_free(s);
	return NULL;
}

void stage_inflate_free(struct stage_inflate *s)
{
	if (!s)
		return;
	if (s->ready)
		(void) inflateEnd(&s->z);
	free(s->block);
	free(s);
}

/* The next packed bytes, at most `room`. */
static ssize_t more(struct stage_inflate *s, void *buf, size_t room)
{
	uint64_t left = s->end - s->at;
	size_t n = left < room ? (size_t)left : room;
	int err;

	if (s->at + AHEAD / 2 >= s->hinted && s->hinted < s->end) {
		uint64_t len = s->end - s->hinted;

		if (len > AHEAD)
			len = AHEAD;
		src_hint(s->src, s->hinted, len);
		s->hinted += len;
	}
	err = n ? src_read_wait(s->src, s->at, buf, n) : 0;
	if (err)
		return stage_read_error(s->src, err, "reading the archive",
			s->why);
	s->at += n;
	return (ssize_t)n;
}

static int fill(struct stage_inflate *s)
{
	ssize_t n;

	if (s->z.avail_in)
		return 0;
	n = more(s, s->block, BLOCK);
	if (n < 0)
		return (int)n;
	s->z.next_in = s->block;
	s->z.avail_in = (uInt)n;
	return 0;
}

/* A stream has ended: does another follow? */
static int next_stream(struct stage_inflate *s)
{
	int err = fill(s);

	if (err)
		return err;
	if (s->how == STAGE_PACKED_DEFLATE && s->z.avail_in)
		return error_set(s->why, -EBADMSG,
			"more packed bytes than the stream has");
	if (s->z.avail_in && *s->z.next_in == GZIP_MAGIC)
		return inflateReset(&s->z) == Z_OK ? 0 : -ENOMEM;
	s->over = true;
	return 0;
}

/* Read to the end all the same: whoever keeps the packed bytes compares their
 * digest when they are complete. */
static ssize_t drain(struct stage_inflate *s)
{
	ssize_t n = 1;

	s->z.avail_in = 0;
	while (n > 0)
		n = more(s, s->block, BLOCK);
	return n;
}

static int step(struct stage_inflate *s)
{
	int err = fill(s), z;

	if (err)
		return err;
	if (!s->z.avail_in)
		return error_set(s->why, -EBADMSG, "the packed bytes are cut "
			"short");
	z = inflate(&s->z, Z_NO_FLUSH);
	if (z == Z_STREAM_END)
		return next_stream(s);
	if (z == Z_MEM_ERROR)
		return -ENOMEM;
	if (z != Z_OK && z != Z_BUF_ERROR)
		return error_set(s->why, -EBADMSG, "the packed bytes are "
			"damaged (%s)", s->z.msg ? s->z.msg : "zlib");
	return 0;
}

ssize_t stage_inflate_read(struct stage_inflate *s, void *buf, size_t len)
{
	int err = 0;

	if (s->how == STAGE_PACKED_NOT)
		return more(s, buf, len);
	if (len > BLOCK)
		len = BLOCK;
	s->z.next_out = buf;
	s->z.avail_out = (uInt)len;
	while (!err && !s->over && s->z.avail_out == len)
		err = step(s);
	if (err)
		return err;
	len -= s->z.avail_out;
	return len ? (ssize_t)len : drain(s);
}
