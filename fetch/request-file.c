/*
 * A directory on disk that answers as a hub would. The reply is made of the
 * same status and headers, so nothing above knows the difference. Reading is
 * done in slices between the engine's other work: libcurl's own file protocol
 * would not let go of the thread before the last byte.
 */
#include "config.h"

#include "fetch/request.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "fetch/url.h"

static int open_regular(const char *path, struct stat *st)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	cleanup_free char *index = NULL;

	if (fd < 0)
		return -errno;
	if (fstat(fd, st))
		return -errno;
	if (S_ISDIR(st->st_mode)) {
		index = path_join(path, "index.json");
		if (!index)
			return -ENOMEM;
		(void) close(steal_fd(&fd));
		fd = open(index, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return -errno;
		if (fstat(fd, st))
			return -errno;
	}
	if (!S_ISREG(st->st_mode))
		return -ENOENT;
	return steal_fd(&fd);
}

static unsigned status_of(int err)
{
	switch (err) {
	case -ENOENT: case -ENOTDIR: case -EINVAL: case -ENAMETOOLONG:
		return 404;
	case -EACCES: case -EPERM: case -ELOOP:
		return 403;
	default:
		return 500;
	}
}

/* What a hub would say of it. */
static int refuse(struct fetch_request *r, int why)
{
	char line[128];
	int n;

	n = snprintf(line, sizeof(line), "HTTP/1.1 %u", status_of(why));
	n = fetch_reply_line(&r->reply, line, (size_t)n);
	if (n)
		return n;
	n = snprintf(line, sizeof(line), "X-Error-Message: %s",
		strerror(-why));
	return fetch_reply_line(&r->reply, line, (size_t)n);
}

/* Status and headers for [at, end) of a file; the reply begins. */
static int reply(struct fetch_request *r, unsigned status,
	const struct stat *st)
{
	char line[128];
	int n, err;

	n = snprintf(line, sizeof(line), "HTTP/1.1 %u", status);
	err = fetch_reply_line(&r->reply, line, (size_t)n);
	if (err)
		return err;
	n = snprintf(line, sizeof(line), "Content-Length: %" PRIu64,
		r->end - r->at);
	err = fetch_reply_line(&r->reply, line, (size_t)n);
	if (!err && status == 416) {
		n = snprintf(line, sizeof(line), "Content-Range: bytes */%jd",
			(intmax_t)st->st_size);
		return fetch_reply_line(&r->reply, line, (size_t)n);
	}
	if (!err && status < 300) {
		n = snprintf(line, sizeof(line), "ETag: \"%jx-%lx-%jx\"",
			(uintmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
			(uintmax_t)st->st_size);
		err = fetch_reply_line(&r->reply, line, (size_t)n);
	}
	if (err || status != 206)
		return err;
	n = snprintf(line, sizeof(line), "Content-Range: bytes %" PRIu64
		"-%" PRIu64 "/%jd", r->at, r->end - 1, (intmax_t)st->st_size);
	return fetch_reply_line(&r->reply, line, (size_t)n);
}

static void fail(struct fetch_request *r, int err)
{
	r->status = (struct fetch_status){ err, FETCH_AGAIN_NEVER };
	snprintf(r->words, sizeof(r->words), "%s", strerror(-err));
}

int fetch_request_file_open(struct fetch_request *r)
{
	cleanup_free char *path = NULL;
	struct stat st = { 0 };
	unsigned status = 200;
	int err;

	r->at = r->end = 0;
	err = fetch_url_file_path(r->url, &path);
	r->fd = err ? err : open_regular(path, &st);
	if (r->fd < 0) {
		status = 0;
		err = refuse(r, r->fd);
		r->fd = -1;
	} else if (!r->range) {
		r->end = (uint64_t)st.st_size;
	} else if (r->range->off >= (uint64_t)st.st_size) {
		status = 416;
	} else {
		status = 206;
		r->at = r->range->off;
		r->end = r->range->end < (uint64_t)st.st_size ?
			r->range->end : (uint64_t)st.st_size;
	}
	if (status)
		err = reply(r, status, &st);
	if (err) {
		fail(r, err);
		return err;
	}
	r->head_told = true;
	if (r->bare)
		r->at = r->end;
	if (r->head(r))
		r->stopped = true;
	return 0;
}

int fetch_request_file_step(struct fetch_request *r, void *scratch,
	size_t room)
{
	size_t n = r->end - r->at < room ? (size_t)(r->end - r->at) : room;
	int err;

	if (r->status.err || r->stopped || !n || r->fd < 0)
		return 0;
	err = io_pread(r->fd, scratch, n, r->at);
	if (err) {
		fail(r, -EIO);
		return 0;
	}
	atomic_fetch_add(r->received, n);
	r->at += n;
	if (r->body(r, scratch, n)) {
		r->stopped = true;
		return 0;
	}
	return r->at < r->end;
}
