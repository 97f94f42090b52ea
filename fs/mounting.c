/*
 * libfuse's part of mounting. The session is made, and the mount with it, in
 * the supervisor; every server works on its copy of it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/serve.h"

/* libfuse says why it cannot mount, in pieces; kept for our one line. */
static char fuse_said[256];

static void __attribute__((format(printf, 2, 0)))
hear_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	size_t used = strlen(fuse_said);

	if (level > FUSE_LOG_ERR || strchr(fuse_said, '\n'))
		return;
	(void) vsnprintf(fuse_said + used, sizeof(fuse_said) - used, fmt, ap);
}

/* The first line, without its end. */
static const char *what_fuse_said(const char *otherwise)
{
	fuse_said[strcspn(fuse_said, "\n")] = '\0';
	return fuse_said[0] ? fuse_said : otherwise;
}

/* fusermount3 says why on its standard error, which is ours: listen. */
static int mount_and_listen(struct fuse_session *se, const char *point)
{
	int fds[2], mine = dup(STDERR_FILENO), r;
	ssize_t n;

	if (mine < 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK)) {
		if (mine >= 0)
			(void) close(mine);
		return fuse_session_mount(se, point);
	}
	(void) dup2(fds[1], STDERR_FILENO);
	r = fuse_session_mount(se, point);
	(void) dup2(mine, STDERR_FILENO);
	(void) close(mine);
	(void) close(fds[1]);
	n = read(fds[0], fuse_said, sizeof(fuse_said) - 1);
	if (n > 0)
		fuse_said[n] = '\0';
	(void) close(fds[0]);
	return r;
}

static int make_session(const struct session_conf *c, struct ll *ll,
	struct error *why)
{
	/* No default_permissions: everybody may read what is there, and the
	 * kernel would ask for attributes at every step of a path. */
	static const char own[] = "fsname=omnihub,subtype=omnihub,ro";
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	const char *options = c->options;
	int r = fuse_opt_add_arg(&args, "omnihub-mount");

	if (!r)
		r = fuse_opt_add_arg(&args, "-o") ||
			fuse_opt_add_arg(&args, own);
	if (!r && options && *options)
		r = fuse_opt_add_arg(&args, "-o") ||
			fuse_opt_add_arg(&args, options);
	if (!r)
		ll->se = fuse_session_new(&args, &fs_ll_ops,
			sizeof(fs_ll_ops), ll);
	fuse_opt_free_args(&args);
	if (ll->se)
		return 0;
	return error_set(why, -EINVAL, "%s",
		what_fuse_said("libfuse refuses the mount options"));
}

static int mount_it(const struct session_conf *c, struct ll *ll,
	struct error *why)
{
	int r = mount_and_listen(ll->se, c->mountpoint);

	if (r)
		return error_set(why, -EPERM, "cannot mount at %s: %s%s",
			c->mountpoint, what_fuse_said("mount failed"),
			geteuid() == 0 ? " (a container needs --cap-add"
			" SYS_ADMIN)" : "");
	return 0;
}

/* A mount that exists: libfuse takes a descriptor for a mountpoint. */
static int take_over(struct ll *ll, int device, struct error *why)
{
	char path[32];

	(void) snprintf(path, sizeof(path), "/dev/fd/%d", device);
	if (fuse_session_mount(ll->se, path))
		return error_set(why, -EPROTO, "cannot go on with the mount: "
			"%s", what_fuse_said("libfuse refuses it"));
	return 0;
}

int fs_mount_begin(const struct session_conf *c, struct ll *ll, int device,
	struct error *why)
{
	int r;

	fuse_said[0] = '\0';
	fuse_set_log_func(hear_fuse);
	ll->taken_over = device >= 0;
	r = make_session(c, ll, why);
	if (!r && device >= 0)
		r = take_over(ll, device, why);
	else if (!r)
		r = mount_it(c, ll, why);
	return r;
}

void fs_mount_end(const struct session_conf *c, struct ll *ll)
{
	struct pollfd p = { .fd = fuse_session_fd(ll->se) };
	bool gone = poll(&p, 1, 0) == 1 && p.revents & POLLERR;

	fuse_session_unmount(ll->se);
	/* One that was taken over libfuse knows no place of. */
	if (!gone && ll->taken_over)
		(void) fs_mount_detach(c->mountpoint);
}
