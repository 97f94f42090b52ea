#include "config.h"

#include "fs/errors.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

void fs_errors_init(struct fs_errors *e)
{
	memset(e, 0, sizeof(*e));
	pthread_mutex_init(&e->lock, NULL);
}

void fs_errors_done(struct fs_errors *e)
{
	for (size_t i = 0; i < FS_ERRORS_MAX; i++)
		free(e->line[i].path);
	pthread_mutex_destroy(&e->lock);
}

/* Of `path`, or NULL. Under the lock. */
static struct fs_error_line *line_of(struct fs_errors *e, const char *path)
{
	for (size_t i = 0; i < FS_ERRORS_MAX; i++)
		if (e->line[i].code && !strcmp(e->line[i].path, path))
			return &e->line[i];
	return NULL;
}

static struct fs_error_line *oldest_line(struct fs_errors *e)
{
	struct fs_error_line *l = &e->line[0];

	for (size_t i = 1; i < FS_ERRORS_MAX; i++)
		if (e->line[i].order < l->order)
			l = &e->line[i];
	return l;
}

void fs_errors_add(struct fs_errors *e, const char *path, int code,
	const char *text)
{
	struct fs_error_line *l;
	char *copy = strdup(path);

	if (!copy)
		return;
	if (!text || !*text)
		text = strerror(-code);
	pthread_mutex_lock(&e->lock);
	l = line_of(e, path);
	if (!l) {
		l = oldest_line(e);
		l->count = 0;
	}
	free(l->path);
	l->path = copy;
	l->code = code;
	l->count++;
	l->when = clock_wall();
	l->order = ++e->total;
	strncpy(l->text, text, sizeof l->text - 1);
	l->text[sizeof l->text - 1] = '\0';
	pthread_mutex_unlock(&e->lock);
}

void fs_errors_clear(struct fs_errors *e, const char *path)
{
	struct fs_error_line *l;

	pthread_mutex_lock(&e->lock);
	l = line_of(e, path);
	if (l) {
		free(l->path);
		memset(l, 0, sizeof(*l));
	}
	pthread_mutex_unlock(&e->lock);
}

int fs_errors_find(struct fs_errors *e, const char *path, struct buf *ret)
{
	struct fs_error_line *l;
	int r = -ENODATA;

	pthread_mutex_lock(&e->lock);
	l = line_of(e, path);
	if (l)
		r = buf_append_str(ret, l->text);
	pthread_mutex_unlock(&e->lock);
	return r;
}

static int show_line(const struct fs_error_line *l, struct buf *ret)
{
	char when[32] = "";
	time_t t = (time_t)l->when;
	struct tm tm;
	/* glibc calls it EOPNOTSUPP, which has the same number. */
	const char *name = l->code == -ENOTSUP ? "ENOTSUP" :
		strerrorname_np(-l->code);

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (l->count > 1)
		return buf_printf(ret, "%s %s %s: %s (%u times)\n", when,
			name ? name : "?", l->path, l->text, l->count);
	return buf_printf(ret, "%s %s %s: %s\n", when, name ? name : "?",
		l->path, l->text);
}

int fs_errors_show(struct fs_errors *e, size_t max, struct buf *ret)
{
	uint64_t below = UINT64_MAX;
	int r = 0;

	pthread_mutex_lock(&e->lock);
	for (; max && !r; max--) {
		const struct fs_error_line *newest = NULL;

		for (size_t i = 0; i < FS_ERRORS_MAX; i++) {
			const struct fs_error_line *l = &e->line[i];

			if (l->code && l->order < below &&
				(!newest || l->order > newest->order))
				newest = l;
		}
		if (!newest)
			break;
		below = newest->order;
		r = show_line(newest, ret);
	}
	pthread_mutex_unlock(&e->lock);
	return r;
}

uint64_t fs_errors_total(struct fs_errors *e)
{
	uint64_t n;

	pthread_mutex_lock(&e->lock);
	n = e->total;
	pthread_mutex_unlock(&e->lock);
	return n;
}

int fs_errno(int err)
{
	switch (-err) {
	case 0:
	case ENOENT:
	case EACCES:
	case EIO:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENOTSUP:
	case EFBIG:
	case ENOSPC:
	case EROFS:
	case ENOMEM:
	case EISDIR:
	case ENOTDIR:
	case ENAMETOOLONG:
	case EINVAL:
	case EINTR:
	case EMFILE:
		return err;
	case EPERM:
		return -EACCES;
	case EDQUOT:
		return -ENOSPC;
	case ECANCELED:
	case ENETUNREACH:
	case ECONNREFUSED:
		return -EHOSTUNREACH;
	default:
		return -EIO;
	}
}
