/*
 * The kernel may send the reads of one reader slightly out of order and on
 * several threads; a read a little behind the expected place therefore belongs
 * to the stream and changes nothing.
 */
#include "config.h"

#include "fs/readahead.h"

static uint64_t tolerance(const struct fs_ra_stream *s)
{
	return s->window / 2 > FS_RA_SKIP ? s->window / 2 : FS_RA_SKIP;
}

static bool belongs(const struct fs_ra_stream *s, uint64_t off)
{
	uint64_t t = tolerance(s);

	if (!s->used)
		return false;
	/* Before the second read nothing says that a far place belongs. */
	if (!s->window)
		return off == s->next;
	return off >= s->next ? off - s->next <= t : s->next - off <= t;
}

static struct fs_ra_stream *stream_of(struct fs_ra *ra, uint64_t off)
{
	struct fs_ra_stream *oldest = &ra->streams[0];

	for (unsigned i = 0; i < FS_RA_STREAMS; i++) {
		struct fs_ra_stream *s = &ra->streams[i];

		if (belongs(s, off))
			return s;
		if (s->used < oldest->used)
			oldest = s;
	}
	oldest->used = 0;
	return oldest;
}

/* Twice what the stream has read: a reader that stops early leaves little that
 * nobody wanted, one that goes on is soon a round trip behind its window. */
static uint64_t window_of(const struct fs_ra_stream *s)
{
	uint64_t w = 2 * (s->next - s->start);

	if (w < FS_RA_WINDOW_MIN)
		return FS_RA_WINDOW_MIN;
	return w < FS_RA_WINDOW_MAX ? w : FS_RA_WINDOW_MAX;
}

bool fs_ra_touch(struct fs_ra *ra, uint64_t off, uint64_t len, uint64_t size,
	struct fs_ra_hint *ret)
{
	struct fs_ra_stream *s = stream_of(ra, off);
	uint64_t end = off + len, from, to;

	if (!s->used) {
		*s = (struct fs_ra_stream){ off, end, end, 0, ++ra->clock };
		if (len < FS_RA_LARGE)
			return false;
	} else {
		s->used = ++ra->clock;
		if (end <= s->next)
			return false;
		s->next = end;
	}
	/* Ask again when a quarter of what was asked for has been read. */
	if (s->window && end + s->window / 4 * 3 < s->hinted)
		return false;
	s->window = window_of(s);
	from = s->hinted > end ? s->hinted : end;
	to = end + s->window;
	if (to > size)
		to = size;
	if (from >= to)
		return false;
	s->hinted = to;
	ret->off = from;
	ret->len = to - from;
	return true;
}
