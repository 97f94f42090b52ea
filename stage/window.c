/* One buffer, refilled from where it is asked and not found. */
#include "config.h"

#include "stage/window.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int stage_window_init(struct stage_window *w, struct src *src, size_t room)
{
	memset(w, 0, sizeof(*w));
	w->buf = malloc(room);
	if (!w->buf)
		return -ENOMEM;
	w->src = src;
	w->room = room;
	return 0;
}

static bool holds(const struct stage_window *w, uint64_t off, size_t len)
{
	return off >= w->off && size_inside(off - w->off, len, w->len);
}

/* How many bytes to read from off on. */
static size_t amount(struct stage_window *w, uint64_t off, size_t len)
{
	uint64_t left = w->src->size - off;
	size_t n = w->room;

	if (w->ahead) {
		w->ahead = off >= w->off && off <= w->off + w->len ?
			2 * w->ahead : STAGE_WINDOW_JUMP;
		if (w->ahead > w->room)
			w->ahead = w->room;
		n = w->ahead < len ? len : w->ahead;
	}
	return left < n ? (size_t)left : n;
}

int stage_window_get(struct stage_window *w, uint64_t off, size_t len,
	const uint8_t **ret)
{
	size_t n;
	int err;

	if (!size_inside(off, len, w->src->size))
		return -EBADMSG;
	if (len > w->room)
		return -EINVAL;
	if (!holds(w, off, len)) {
		n = amount(w, off, len);
		w->len = 0;
		err = src_read_wait(w->src, off, w->buf, n);
		if (err)
			return err;
		w->off = off;
		w->len = n;
	}
	*ret = w->buf + (off - w->off);
	return 0;
}

int stage_window_read(struct stage_window *w, uint64_t off, void *to,
	size_t len)
{
	const uint8_t *p;
	int err;

	if (!size_inside(off, len, w->src->size))
		return -EBADMSG;
	if (len > w->room)
		return src_read_wait(w->src, off, to, len);
	err = stage_window_get(w, off, len, &p);
	if (!err && len)
		memcpy(to, p, len);
	return err;
}

int stage_read_error(struct src *s, int err, const char *what,
	struct error *why)
{
	struct src_stat st;

	src_stat(s, &st);
	return error_set(why, err, "%s: %s", what,
		error_text(st.last.code == err ? &st.last : NULL, err));
}

void stage_window_done(struct stage_window *w)
{
	free(w->buf);
	memset(w, 0, sizeof(*w));
}
